"""The skeleton of the virtual environment."""

from __future__ import annotations

import gzip
import io
import tarfile

from trainload.layers.environment import write_environment
from trainload.plan.model import EnvironmentRecipe


def written(recipe: EnvironmentRecipe) -> dict[str, tarfile.TarInfo]:
    sink = io.BytesIO()
    made = write_environment(recipe, sink)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(sink.getvalue()))) as tar:
        members = {member.name: member for member in tar}
    assert made.entries == len(members)
    return members


def test_the_environment_leads_to_the_interpreter_of_the_recipe() -> None:
    members = written(EnvironmentRecipe("3.11", "/usr/bin/python3.11"))
    assert members["opt/venv/bin/python"].linkname == "/usr/bin/python3.11"
    assert members["opt/venv/bin/python3.11"].linkname == "python"
    assert members["opt/venv/lib64"].linkname == "lib"
    assert (members["opt"].mode, members["opt"].uid) == (0o755, 0), "as every base has it"


def test_every_entry_is_roots_and_from_the_epoch() -> None:
    for member in written(EnvironmentRecipe("3.12.8", "/opt/python/bin/python3.12")).values():
        assert (member.uid, member.gid, member.mtime, member.uname) == (0, 0, 0, "")


def test_pyvenv_cfg_names_the_interpreters_folder() -> None:
    sink = io.BytesIO()
    write_environment(EnvironmentRecipe("3.12.8", "/opt/python/bin/python3.12"), sink)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(sink.getvalue()))) as tar:
        file = tar.extractfile("opt/venv/pyvenv.cfg")
        assert file is not None
        assert file.read().startswith(b"home = /opt/python/bin\n")


def test_folders_of_the_base_are_found_after_the_environments_own() -> None:
    out = io.BytesIO()
    recipe = EnvironmentRecipe("3.10.12", "/usr/bin/python3.10", True, ("/srv/env/lib/python3.10/site-packages",))
    write_environment(recipe, out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:gz") as archive:
        path = archive.extractfile("opt/venv/lib/python3.10/site-packages/_trainload_base.pth")
        config = archive.extractfile("opt/venv/pyvenv.cfg")
        assert path is not None and path.read() == b"/srv/env/lib/python3.10/site-packages\n"
        assert config is not None and b"include-system-site-packages = true\n" in config.read()
