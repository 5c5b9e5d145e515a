"""What of a run is here and what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainload.address import Address
from trainload.destinations.ship.engines import Choice
from trainload.errors import UsageError
from trainload.run.hosts.place import Host, Output, host_from, outputs_from, placed, with_outputs
from trainload.run.model import Mount
from trainload.run.request import Request

HERE = Path("/home/me/project")


def request(*mounts: Mount) -> Request:
    return Request(mounts=mounts)


def test_a_folder_of_the_project_is_an_output_and_any_other_path_is_the_servers() -> None:
    there, outputs = placed(
        request(
            Mount(f"{HERE}/outputs", "/outputs"),
            Mount("/data", "/data", read_only=True),
            Mount("cache", "/cache", volume=True),
            Mount(f"{HERE}/logs/tb", "/tb"),
        ),
        HERE,
    )
    assert outputs == (Output("outputs", "/outputs"), Output("logs/tb", "/tb"))
    assert [mount.source for mount in with_outputs(there.mounts, "/srv/hosted/abc")] == [
        "/srv/hosted/abc/out/0", "/data", "cache", "/srv/hosted/abc/out/1",
    ]  # fmt: skip


def test_a_folder_whose_name_only_begins_like_the_projects_is_the_servers() -> None:
    mount = Mount(f"{HERE}-data/x", "/x")
    assert placed(request(mount), HERE) == (request(mount), ())


@pytest.mark.parametrize(
    "mount", [Mount(f"{HERE}/data", "/data", read_only=True), Mount(str(HERE), "/code")], ids=["read only", "all"]
)
def test_what_would_have_to_be_sent_is_refused(mount: Mount) -> None:
    with pytest.raises(UsageError):
        placed(request(mount), HERE)


def test_a_file_of_this_machine_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("x: 1\n")
    with pytest.raises(UsageError, match=r"config\.yaml is on this machine"):
        placed(request(Mount(str(tmp_path / "config.yaml"), "/config.yaml")), tmp_path)


def test_a_host_and_its_outputs_survive_the_record() -> None:
    host = Host("gpu1", Address.parse("me@gpu1.example:2222"), Choice.DOCKER, "/scratch/me")
    outputs = (Output("outputs", "/outputs"),)
    document = host.document(outputs)
    assert host_from(document) == host
    assert outputs_from(document) == outputs
