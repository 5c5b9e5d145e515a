"""Conda lines of a Dockerfile as layers: the tree is the one rattler installs, and conda's own notes are there.

Nothing runs: the base is made by hand, with what rattler put into ``/opt/conda``.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainload.testing.conda import PLACEHOLDER, Content, Spec, write_channel
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

TRAINLOAD = Path(sys.executable).with_name("trainload")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are root's")
P = PLACEHOLDER.encode()
STATUS = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nMaintainer: x\n\n"
IGNORED = {"link", "extracted_package_dir", "md5", "package_tarball_full_path", "url", "channel"}
Files = dict[str, tuple[Any, ...]]


def interpreter(version: str) -> dict[str, Content]:
    return {
        "bin/python3.11": Content(b"\x7fELF " + version.encode() + b"\0", 0o755),
        "bin/python3": Content(link="python3.11"), "bin/python": Content(link="python3.11"),
        "lib/python3.11/os.py": Content(b"import sys\n"),
    }  # fmt: skip


def packages() -> list[Spec]:
    library = b"\x7fELF" + P + b"/share/hello\0tail"
    script = Content(b"#!/bin/sh\nexit 1\n", 0o755)
    return [
        *(Spec("python", version, "h0_0", interpreter(version)) for version in ("3.11.8", "3.11.9")),
        Spec("pip", "24.0", "0", {
            "site-packages/pip/__init__.py": Content(b""),
            "site-packages/pip-24.0.dist-info/METADATA": Content(b"Name: pip\nVersion: 24.0\n"),
        }, "noarch", depends=["python"], noarch="python", entry_points=["pip = pip:main"]),
        *(Spec("openssl", version, "0", {f"lib/libssl.so.{version}": Content(b"s"), "etc/both": Content(b"x")})
          for version in ("1.0", "2.0")),
        *(Spec("kept", version, "0", {"share/kept": Content(version.encode())}) for version in ("1.0", "2.0")),
        Spec("libhello", "1.2", "0", {
            "lib/libhello.so": Content(library, 0o755, placeholder=PLACEHOLDER, binary=True),
            "lib/libhello.so.1": Content(link="libhello.so"),
            "bin/hello-config": Content(b"#!/bin/sh\necho " + P + b"\n", 0o755, placeholder=PLACEHOLDER),
        }, depends=["kept"]),
        Spec("hello", "2.0", "0", {
            "site-packages/hello.py": Content(b"def main(): pass\n"),
            "site-packages/hello-2.0.dist-info/METADATA": Content(b"Name: hello\nVersion: 2.0\n"),
        }, "noarch", depends=["python >=3.8", "libhello"], noarch="python",
           entry_points=["say-hello = hello:main"]),
        Spec("scripted", "1.0", "0", {"bin/.scripted-post-link.sh": script}),
    ]  # fmt: skip


def installed(channel: Path, prefix: str, wanted: Sequence[str], area: Path) -> Path:
    """What rattler makes of what it solves, for ``prefix`` of the image."""
    import rattler

    async def work() -> None:
        gateway = rattler.Gateway(cache_dir=area / "cache")
        records = await rattler.solve(
            [rattler.Channel(f"{channel.as_uri()}/")], list(wanted), gateway=gateway,
            platforms=[rattler.Subdir("linux-64"), rattler.Subdir("noarch")], add_pip_as_python_dependency=True,
        )  # fmt: skip
        await rattler.install(
            records, area / "prefix", cache_dir=area / "pkgs", platform=rattler.Subdir("linux-64"),
            alternative_target_prefix=prefix, execute_link_scripts=False, show_progress=False,
        )  # fmt: skip

    asyncio.run(work())
    return area / "prefix"


@dataclass(frozen=True)
class Bench:
    folder: Path
    mirror: Path
    index: str

    def trainload(self, at: Path, *words: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        home = {"TRAINLOAD_HOME": str(self.folder / "home"), "TRAINLOAD_MIRRORS_CONDA": str(self.mirror)}
        environ = {**os.environ, **home, **more}
        done = subprocess.run([TRAINLOAD, *words], cwd=at, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    def project(self, name: str, lines: str, files: Mapping[str, str] | None = None, base: str = "base") -> Path:
        at = self.folder / name
        at.mkdir()
        for path, text in (files or {}).items():
            (at / path).write_text(text)
        (at / "trainload.toml").write_text('dockerfile = "Dockerfile"\n')
        (at / "Dockerfile").write_text(f"FROM {base}\nWORKDIR /work\n{lines}".replace("INDEX", self.index))
        return at

    def files(self, at: Path) -> tuple[str, Files]:
        """The digest of the image, and its files."""
        digest = str(json.loads(self.trainload(at, "build", "--json", "-q").stdout)["digest"])
        blobs = self.folder / "home" / "blobs" / "sha256"
        manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
        found: Files = {}
        for layer in manifest["layers"]:
            with tarfile.open(blobs / layer["digest"].removeprefix("sha256:")) as archive:
                _apply(archive, found)
        return digest, found

    def rows(self, at: Path) -> list[tuple[str, str]]:
        """How each RUN is done, and why."""
        found = json.loads(self.trainload(at, "plan", "--json").stdout)
        rows = [row for stage in found for row in stage["lines"] if row["text"].startswith("RUN")]
        return [(row["how"], row["why"]) for row in rows]


def _apply(archive: tarfile.TarFile, files: Files) -> None:
    for member in archive:
        path = member.name.strip("/")
        above, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            del files[f"{above}/{name[4:]}"]
            continue
        data = archive.extractfile(member) if member.isreg() else None
        content = data.read() if data else member.linkname
        files[path] = (member.type, member.mode, member.uid, member.gid, content)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("conda")
    write_channel(folder / "mirror" / "conda-forge", packages())
    with FaultServer() as server:
        index = PackageIndex(server)
        index.add(wheel("demo", "1.0"), wheel("demo", "2.0", requires=["hello>=2"]), wheel("other", "1.0"))
        found = Bench(folder, folder / "mirror", index.url)
        root = folder / "base"
        wanted = ["python=3.11.8", "openssl=1.0", "kept=1.0"]
        made = installed(folder / "mirror" / "conda-forge", "/opt/conda", wanted, folder / "area")
        for path, text in {
            "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nuser:x:1000:1000::/home/user:/bin/sh\n",
            "etc/group": "root:x:0:\nuser:x:1000:\n", "etc/os-release": "ID=debian\nVERSION_CODENAME=bookworm\n",
            "var/lib/dpkg/status": STATUS, "root/.profile": "", "home/user/.profile": "", "bin/micromamba": "x",
            "srv/condarc": "pinned_packages: [kept=1]\n",
        }.items():  # fmt: skip
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        (root / "bin/micromamba").chmod(0o755)
        (root / "opt").mkdir()
        made.rename(root / "opt/conda")
        conda = root / "opt/conda/bin/conda"
        conda.write_text("#!/opt/conda/bin/python\n")
        conda.chmod(0o755)
        (root / "opt/conda/bin/mamba").symlink_to("conda")
        (root / "opt/conda/bin/activate").write_text("")
        (root / "opt/conda/etc/profile.d").mkdir(parents=True)
        (root / "opt/conda/etc/profile.d/conda.sh").write_text("")
        (root / "opt/conda/conda-meta/history").write_text(
            "==> 2024-01-01 00:00:00 <==\n# cmd: constructor\n# update specs: ['python 3.11.*', 'kept=1']\n"
        )
        (root / "opt/conda/.condarc").write_text("channels:\n  - conda-forge\n")
        (root / "Dockerfile").write_text(
            "FROM scratch\nCOPY . /\nENV PATH=/opt/conda/bin:/usr/bin:/bin\nENV PIP_NO_CACHE_DIR=1\n"
            f"ENV PIP_INDEX_URL={index.url}\n"
        )
        (root / ".dockerignore").write_text("*Dockerfile*\n.dockerignore\n")
        found.trainload(root, "build", "-t", "base")
        (root / "Dockerfile.user").write_text(
            "FROM scratch\nCOPY etc /etc\nCOPY var /var\nCOPY bin /bin\n"
            "COPY --chown=1000:1000 home/user /home/user\n"
            "COPY --chown=1000:1000 home/user/.profile /opt/conda/conda-meta/.keep\n"
            "ENV MAMBA_ROOT_PREFIX=/opt/conda MAMBA_USER=user PATH=/usr/bin:/bin MAMBA_DOCKERFILE_ACTIVATE=1\n"
            f"ENV PIP_NO_CACHE_DIR=1 PIP_INDEX_URL={index.url}\n"
            'USER user\nSHELL ["/usr/local/bin/_dockerfile_shell.sh"]\n'
        )
        found.trainload(root, "build", "-f", "Dockerfile.user", "-t", "user-base")
        yield found


def below(files: Files, prefix: str) -> Files:
    return {path.removeprefix(f"{prefix}/"): what for path, what in files.items() if path.startswith(f"{prefix}/")}


def on_disk(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def plain(path: str, content: object) -> object:
    if not path.startswith("conda-meta/") or not isinstance(content, bytes):
        return content
    found = json.loads(content)
    return {key: value for key, value in found.items() if key not in IGNORED and value not in ([], None)}


ENVIRONMENT = """\
name: science
channels: [conda-forge]
dependencies:
  - python=3.11
  - hello
  - pip:
      - -r requirements.txt
variables: {MODE: fast}
"""


def test_an_environment_of_a_file_and_pip_in_it(bench: Bench, tmp_path: Path) -> None:
    at = bench.project(
        "science",
        "COPY environment.yml requirements.txt ./\n"
        "RUN conda env create -f environment.yml && conda clean -afy\n"
        "RUN conda run -n science pip install other\n"
        'SHELL ["conda", "run", "-n", "science", "/bin/bash", "-c"]\n'
        "RUN pip install demo\n"
        'SHELL ["/bin/bash", "-c"]\n'
        "ENV PATH=/opt/conda/envs/science/bin:$PATH\nRUN pip install other==1.0\n",
        {"environment.yml": ENVIRONMENT, "requirements.txt": "demo==2.0\n"},
    )
    digest, files = bench.files(at)
    assert [how for how, _ in bench.rows(at)] == ["placed"] * 4
    ours = below(files, "opt/conda/envs/science")
    wanted = ["python=3.11", "hello", "pip"]
    theirs = on_disk(installed(bench.mirror / "conda-forge", "/opt/conda/envs/science", wanted, tmp_path))
    site = "lib/python3.11/site-packages"
    pip = {path for path in ours if path.startswith((f"{site}/demo", f"{site}/other"))}
    mine = {path: what[4] for path, what in ours.items() if what[0] != tarfile.DIRTYPE and path not in pip}
    state = mine.pop("conda-meta/state")
    history = mine.pop("conda-meta/history")
    assert set(mine) == set(theirs) - {"CACHEDIR.TAG", "conda-meta/history"}
    for path, content in mine.items():
        assert plain(path, content) == plain(path, theirs[path]), path
    assert json.loads(state) == {"env_vars": {"MODE": "fast"}}
    assert b'# update specs: ["python=3.11", "hello", "pip"]' in history
    assert b"+conda-forge/noarch::hello-2.0-0\n" in history
    assert files["root/.conda/environments.txt"][4] == b"/opt/conda/envs/science\n"
    assert {f"{site}/demo-2.0.dist-info/METADATA", f"{site}/other-1.0.dist-info/METADATA"} <= pip
    lock = (at / "Dockerfile.lock").read_text()
    assert '"noarch/hello-2.0-0.conda"' in lock and str(bench.mirror) not in lock
    assert json.loads(bench.trainload(at, "build", "--json", "--frozen").stdout)["digest"] == digest


def test_packages_go_beside_what_base_has(bench: Bench) -> None:
    at = bench.project("beside", "RUN conda install -y hello && conda clean -afy\nRUN conda create -y -n x kept\n")
    _, files = bench.files(at)
    assert [how for how, _ in bench.rows(at)] == ["placed", "placed"]
    ours = below(files, "opt/conda")
    names = {path for path in ours if path.startswith("conda-meta/") and path.endswith(".json")}
    assert names == {f"conda-meta/{each}.json" for each in (
        "python-3.11.8-h0_0", "pip-24.0-0", "kept-1.0-0", "openssl-2.0-0", "hello-2.0-0", "libhello-1.2-0"
    )}  # fmt: skip
    assert "lib/libssl.so.2.0" in ours and "lib/libssl.so.1.0" not in ours and ours["etc/both"][4] == b"x"
    assert (
        ours["lib/libhello.so"][4]
        == b"\x7fELF/opt/conda/share/hello".ljust(len(b"\x7fELF" + P + b"/share/hello"), b"\0") + b"\0tail"
    )
    history = ours["conda-meta/history"][4].decode()
    assert history.startswith("==> 2024-01-01") and "-openssl-1.0-0\n+conda-forge/" in history
    assert below(files, "opt/conda/envs/x")["share/kept"][4] == b"2.0"
    assert files["root/.conda/environments.txt"][4] == b"/opt/conda\n/opt/conda/envs/x\n"


def test_specifications_in_a_file_and_an_update_of_base_by_its_prefix(bench: Bench) -> None:
    at = bench.project(
        "listed", "COPY specs.txt exact.txt env.yml ./\nRUN conda install -y --file specs.txt\n"
        "RUN conda create -y -n x --file exact.txt libhello\nRUN mamba env update -f env.yml -p /opt/conda\n"
        "RUN conda create -y -n y --file none.txt\n",
        {"specs.txt": "# ours\n\nhello >=2  # a comment\n", "exact.txt": "kept=1.0\n",
         "env.yml": "name: other\nchannels: [conda-forge]\ndependencies: [openssl, {pip: [demo]}]\n"},
    )  # fmt: skip
    done = bench.trainload(at, "build", code=1)  # the last line is run, and the base has no shell
    assert "Traceback" not in done.stderr
    rows = bench.rows(at)
    assert [how for how, _ in rows] == ["placed"] * 3 + ["run"]
    assert rows[3][1] == "the file /work/none.txt, which is not there"
    text = (at / "Dockerfile").read_text().rpartition("RUN")[0]
    (at / "Dockerfile").write_text(text)
    _, files = bench.files(at)
    names = {path.rpartition("/")[2] for path in files if "/conda-meta/" in path and path.endswith(".json")}
    assert {"hello-2.0-0.json", "libhello-1.2-0.json", "kept-1.0-0.json", "openssl-2.0-0.json"} <= names
    x = below(files, "opt/conda/envs/x")
    assert x["share/kept"][4] == b"1.0" and "conda-meta/libhello-1.2-0.json" in x
    assert b'# update specs: ["libhello", "kept 1.0"]' in x["conda-meta/history"][4]
    assert "opt/conda/lib/python3.11/site-packages/demo-2.0.dist-info/METADATA" in files
    assert "opt/conda/envs/other/conda-meta/history" not in files


def test_pip_after_an_activation_goes_where_conda_run_would_have_it(bench: Bench) -> None:
    lines = (
        "RUN conda create -y -n x python=3.11 hello\n"
        "RUN . /opt/conda/etc/profile.d/conda.sh && conda activate x && pip install demo\n"
        'SHELL ["/bin/bash", "-c"]\n'
    )
    at = bench.project("active", f"{lines}RUN source activate x && pip install other\n")
    _, files = bench.files(at)
    assert [how for how, _ in bench.rows(at)] == ["placed"] * 3
    site = "opt/conda/envs/x/lib/python3.11/site-packages"
    assert {f"{site}/demo-2.0.dist-info/METADATA", f"{site}/other-1.0.dist-info/METADATA"} <= set(files)
    ends = {
        "source activate x && touch /x && pip install other": "touch",
        "source activate x && conda install -y kept": "conda activate",
        "source activate x": "conda activate",
        "source activate none && pip install other": "the environment none, which is not there",
        ". /srv/etc/profile.d/conda.sh && conda activate x && pip install other":
            "the image has no /srv/bin/conda",
        "conda activate x && pip install other": "conda activate",
    }  # fmt: skip
    for number, (line, why) in enumerate(ends.items()):
        at = bench.project(f"not-active{number}", f"{lines}RUN {line}\n")
        bench.trainload(at, "build", code=1)  # the base has no shell
        assert bench.rows(at)[-1] == ("run", why)


def test_another_user_and_micromamba(bench: Bench) -> None:
    at = bench.project(
        "micro", "COPY env.yaml /tmp/env.yaml\n"
        "RUN micromamba install -y -n base -f /tmp/env.yaml && micromamba clean --all --yes\n"
        "RUN pip install demo\n",
        {"env.yaml": "name: base\nchannels: [conda-forge]\ndependencies: [python=3.11, hello]\n"}, "user-base",
    )  # fmt: skip
    _, files = bench.files(at)
    assert [how for how, _ in bench.rows(at)] == ["placed", "placed"]
    ours = below(files, "opt/conda")
    assert {what[2:4] for what in ours.values()} == {(1000, 1000)}
    assert "lib/python3.11/site-packages/demo-2.0.dist-info/METADATA" in ours and "bin/say-hello" in ours
    assert files["home/user/.conda/environments.txt"][1:5] == (0o644, 1000, 1000, b"/opt/conda\n")


def test_what_would_be_different_is_run(bench: Bench) -> None:
    lines = {
        "conda install -y scripted": "the scripts of scripted, which conda runs",
        "conda install -n nowhere -y kept": "the environment /opt/conda/envs/nowhere, which is not there",
        "conda create -p /opt/conda -y kept": "the environment /opt/conda, which is there already",
        "conda update -y kept": "conda update",
        "conda install -y ./x.conda": "the package ./x.conda",
        "conda install -y --file /srv/condarc": "/srv/condarc has pinned_packages: [kept=1]",
    }
    more = {
        "ENV CONDARC=/srv/condarc": "/srv/condarc has pinned_packages",
        "ENV CONDA_PINNED_PACKAGES=kept": "the variable CONDA_PINNED_PACKAGES, which is an option of conda",
    }
    stages = [f"RUN {line}\n" for line in lines] + [f"{line}\nRUN conda install -y kept=2\n" for line in more]
    copies = "".join(f"COPY --from={number} /etc/group /{number}\n" for number in range(len(stages)))
    at = bench.project("honest", "FROM base\n".join([*stages, copies]))
    done = bench.trainload(at, "build", code=1)  # the base has no shell
    assert "Traceback" not in done.stderr
    assert bench.rows(at) == [("run", why) for why in (*lines.values(), *more.values())]
