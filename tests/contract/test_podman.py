"""What our asking relies on in the real Podman."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.peers import Podman

from trainload.events import SILENT
from trainload.run.engines.podman.engine import make
from trainload.run.engines.table import Site
from trainload.store.store import Store


def test_a_container_that_is_removed_while_all_are_listed_hides_no_other(tmp_path: Path) -> None:
    if Podman.missing():
        pytest.skip(Podman.missing())
    (tmp_path / "root").mkdir()
    with Podman(tmp_path / "podman") as podman:
        engine = make(Site(Store.open(tmp_path / "home"), podman.environ, SILENT))
        words = ("create", "--network=none", "--log-driver=none", "--rootfs", str(tmp_path / "root"), "/true")
        container = engine.program.call(*words).strip()
        found = engine.containers.inspect(["0" * 64, container])
        assert [one["Id"] for one in found] == [container]
        engine.program.call("rm", "--force", container)
        assert engine.containers.inspect([container]) == []
