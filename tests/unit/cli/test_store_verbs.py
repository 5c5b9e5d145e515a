"""The verbs that look at and tidy the store, as users see them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.main import run
from trainload.errors import Text
from trainload.image.model import Image
from trainload.run.engines.embedded.site import layers_of
from trainload.run.unpack import unpack
from trainload.store.runs import Run, RunRecords
from trainload.store.store import Store
from trainload.testing.images import layer_bytes, make, make_with_weights, plan_of, put_layer
from trainload.testing.verifier import snapshot, violations


class Shell:
    """Calls verbs on one store."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.out = self.err = ""

    def __call__(self, *argv: str) -> int:
        stdout, stderr = io.StringIO(), io.StringIO()
        environ = {"TRAINLOAD_HOME": str(self.home), "LANG": "C.UTF-8"}
        code = run(argv, environ=environ, cwd=self.home.parent, stdout=stdout, stderr=stderr)
        self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return code

    def json(self, *argv: str) -> Any:  # noqa: ANN401 - a document
        assert self(*argv, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def image(shell: Shell) -> Image:
    store = Store.open(shell.home)
    with store.writing():
        return make(store, "digits", {"a": b"1"}, {"b": b"2" * 2000}, names=("digits", "team/digits:v1"))


def test_images_lists_names_as_docker_does(shell: Shell, image: Image) -> None:
    assert shell("images") == 0
    lines = [line.split() for line in shell.out.splitlines()]
    assert lines[0] == ["REPOSITORY", "TAG", "IMAGE", "ID", "PLATFORM", "CREATED", "SIZE"]
    assert [line[:3] for line in lines[1:]] == [
        ["digits", "<none>", image.digest.short],
        ["team/digits", "v1", image.digest.short],
    ]
    assert "images: 1, together" in shell.err
    found = shell.json("images")
    assert [(one["digest"], one["names"]) for one in found] == [(str(image.digest), ["digits", "team/digits:v1"])]


def test_an_empty_store_is_no_error_and_stays_unmade(shell: Shell) -> None:
    for verb in (["images"], ["gc", "--dry-run"], ["verify", "--full"]):
        assert shell(*verb) == 0, shell.err
    assert not shell.home.exists()


def test_inspect_shows_both_documents_or_their_exact_bytes(shell: Shell, image: Image) -> None:
    found = shell.json("inspect", "digits")
    assert found[0]["config"] == json.loads(image.config_bytes)
    assert shell("inspect", "digits") == 0
    assert json.loads(shell.out) == found
    assert shell("inspect", "digits", "--raw", "manifest") == 0
    assert shell.out.encode() == image.manifest_bytes


def test_history_reads_like_a_bill_of_lading(shell: Shell, image: Image) -> None:
    assert shell("history", "digits") == 0
    rows = [line.split("  ") for line in shell.out.splitlines()]
    assert [row[0] for row in rows] == ["LAYER", *(layer.digest.short for layer in image.manifest.layers[::-1])]
    assert "layer 1" in rows[1][1]
    assert shell.json("history", "digits")[0]["diff_id"] == str(image.config.diff_ids[1])


def test_tag_and_rmi_change_names_only(shell: Shell, image: Image) -> None:
    assert shell("tag", "digits", "digits:v2") == 0
    assert shell("rmi", image.digest.short) == 1
    assert "several names" in shell.err
    assert "--force" in shell.err
    assert shell("rmi", "digits", "nothing-here", "digits:v2") == 1
    assert shell.out == "Untagged: digits\nUntagged: digits:v2\n"
    assert "there is no image nothing-here" in shell.err
    assert shell("rmi", "team/digits:v1") == 0
    assert f"Removed from the list: {image.digest}" in shell.out
    assert Store.open(shell.home).has(image.digest)
    assert shell("gc") == 0
    assert not Store.open(shell.home).has(image.digest)
    assert violations(shell.home, clean=True) == []


def test_gc_says_what_and_how_much(shell: Shell, image: Image) -> None:
    assert shell("rmi", "-f", image.digest.short) == 0
    before = snapshot(shell.home)
    planned = shell.json("gc", "--dry-run")
    assert snapshot(shell.home) == before
    assert shell("gc") == 0
    assert "freed" in shell.err
    assert planned["removed"]["blob"] == {"count": 4, "bytes": image.size}
    assert shell("gc") == 0
    assert "nothing to remove" in shell.err


def test_verify_tells_what_is_damaged_and_repairs(shell: Shell, image: Image) -> None:
    assert shell("verify", "--full") == 0
    assert "all as it should be" in shell.err
    path = Store.open(shell.home).path(image.manifest.layers[1].digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    assert shell("verify") == 1
    assert "is damaged" in shell.out
    assert "digits, team/digits:v1" in shell.out
    assert "--repair" in shell.err
    assert shell("verify", "--full", "--repair", "--json") == 1
    assert [finding["put_aside"] for finding in json.loads(shell.out)["findings"]] == [True]
    assert not path.exists()
    assert set(violations(shell.home)) == {f"I3 {image.manifest.layers[1].digest} is missing or has another size"}


def test_L02_a_broken_index_is_one_clear_error_for_every_verb(shell: Shell, image: Image) -> None:
    (shell.home / "index.json").write_text("{")
    before = snapshot(shell.home)
    for verb in (
        ["images"], ["inspect", "digits"], ["history", "digits"], ["tag", "digits", "x"], ["rmi", "digits"], ["gc"],
        ["verify"],
    ):  # fmt: skip
        assert shell(*verb) == 1
        assert "the list of images in the store cannot be read" in shell.err
        assert "Traceback" not in shell.err
    assert snapshot(shell.home) == before


def test_gc_leaves_weights_that_a_run_of_another_engine_may_see(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    store, records = Store.open(shell.home), RunRecords(shell.home)
    with store.writing():
        layer = put_layer(store, *layer_bytes({"a": b"1"}))
        image, artifact = make_with_weights(store, plan_of("digits", ("a",)), [layer], "opt/w", {"opt/w/m": b"2"})
        unpack(layers_of(store)(artifact.digest), store.rootfs)
        make(store, "digits", {"b": b"3"})
    began = datetime(2026, 1, 1, tzinfo=UTC)
    records.begin(Run("a" * 12, image.digest, "digits", "docker", ("x",), {}, "/", began))
    shell("gc")
    assert store.has(artifact.digest) and store.has(artifact.manifest.layers[0].digest)
    assert store.has(image.digest) and list(store.rootfs.glob("layers/*/done.json"))
    records.end("a" * 12, began, 0, Text("finished"))
    shell("gc")
    assert not store.has(artifact.digest) and not list(store.rootfs.glob("layers/*/done.json"))
    assert violations(shell.home, clean=True) == []
