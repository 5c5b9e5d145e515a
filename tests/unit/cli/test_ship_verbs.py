"""ship, pack and unpack, as users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.test_transfer_verbs import Shell

from trainload.address import Address
from trainload.cli.ship import target_of
from trainload.cli.texts import Catalogue
from trainload.cli.world import World
from trainload.destinations.ship.engines import Choice
from trainload.destinations.ship.ship import Target
from trainload.image.model import Image
from trainload.store.store import Store
from trainload.system import host
from trainload.testing.images import make
from trainload.testing.verifier import images, snapshot, violations


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def built(shell: Shell) -> dict[str, Image]:
    """An image and the one after a change of its code."""
    store = Store.open(shell.home)
    with store.writing():
        return {
            name: make(store, name, {"torch": b"0" * 1000}, {"train.py": name.encode()})
            for name in ("app:1", "app:2")
        }


@pytest.mark.parametrize("output", ["one.tar", "one.tar.gz", "folder"])
def test_a_second_pack_holds_only_what_the_listing_lacks(
    shell: Shell, built: dict[str, Image], output: str
) -> None:
    assert shell("pack", "app:1", "-o", "first.tar") == 0, shell.err
    assert shell("unpack", "first.tar", "--listing", "l.json", home="far") == 0, shell.err
    assert shell("pack", "--list", home="far") == 0
    assert json.loads(shell.out) == json.loads((shell.folder / "l.json").read_bytes())
    told = shell.json("pack", "app:2", "-o", output, "--have", "l.json")
    torch = built["app:2"].manifest.layers[0].size
    assert told["omitted"] == torch
    assert told["written"] == told["size"] - torch
    assert shell("unpack", output, home="far") == 0, shell.err
    assert images(shell.folder / "far") == {name: str(image.digest) for name, image in built.items()}
    assert violations(shell.folder / "far", clean=True) == []


def test_a_pack_whose_rest_is_not_there_changes_nothing(shell: Shell, built: dict[str, Image]) -> None:
    assert shell("pack", "--list") == 0
    (shell.folder / "l.json").write_text(shell.out)
    assert shell("pack", "app:2", "-o", "empty.tar", "--have", "l.json") == 0, shell.err
    store = Store.open(shell.folder / "far")
    with store.writing():
        make(store, "other:1", {"x": b"1"})
    store.close()
    before = snapshot(shell.folder / "far")
    assert shell("unpack", "empty.tar", home="far") == 1
    assert "not whole" in shell.err
    assert snapshot(shell.folder / "far") == before


@pytest.mark.parametrize("listing", ["", "{}", "[]", '{"trainload":"listing","version":2,"blobs":{}}', "\xff",
                                     '{"trainload":"listing","version":1,"blobs":{"../x":1}}'])  # fmt: skip
def test_what_is_no_listing_is_refused(shell: Shell, built: dict[str, Image], listing: str) -> None:
    (shell.folder / "l.json").write_bytes(listing.encode("latin-1"))
    assert shell("pack", "app:1", "-o", "x.tar", "--have", "l.json") == 1
    assert "../x" in listing or "pack --list > listing.json" in shell.err, shell.err
    assert not (shell.folder / "x.tar").exists()


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("ship",), 2, "where to?"),
        (("ship", "a", "b", "c"), 2, "where to?"),
        (("ship", "app:1", "-oProxyCommand=id"), 2, ""),
        (("ship", "app:1", "--", "-oProxyCommand=id"), 2, "is not a host"),
        (("ship", "app:1", "$(id)"), 2, "is not a host"),
        (("ship", "app:1", "a b"), 2, "is not a host"),
        (("ship", "app:1"), 2, "app:1 is an image; where to?"),
        (("ship", "me@host", "app:1"), 2, "trainload ship app:1 me@host"),
        (("ship", "host"), 2, "holds no project"),
        (("ship", "nothing:1", "host"), 1, "there is no image"),
        (("ship", "app:1", "host", "--to", "x", "--engine", "docker"), 2, "--to is a folder"),
        (("pack", "app:1"), 2, "where to?"),
        (("pack", "--list", "app:1"), 2, "goes alone"),
        (("pack", "app:1", "-o", "x", "--have", "nothing"), 2, "listing cannot be read"),
        (("unpack", "nothing.tar"), 2, "the pack cannot be read"),
    ],
)
def test_S01_wrong_command_lines_are_told(
    shell: Shell, built: dict[str, Image], argv: tuple[str, ...], code: int, said: str
) -> None:
    (shell.folder / "empty").mkdir()
    if argv[-1] == "host":
        argv = ("-C", "empty", *argv)
    assert shell(*argv) == code
    assert said in shell.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('address = "-oProxyCommand=id"', "hosts.gpu1.address"),
        ('engine = "docker"', "hosts.gpu1.address"),
        ('address = "h"\nengine = "moby"', "hosts.gpu1.engine"),
        ('address = "h"\nport = 22', "hosts.gpu1.port"),
    ],
)
def test_wrong_hosts_in_the_configuration_are_told_with_their_place(
    shell: Shell, built: dict[str, Image], table: str, said: str
) -> None:
    (shell.folder / "trainload.toml").write_text(f"[hosts.gpu1]\n{table}\n")
    assert shell("ship", "app:1", "gpu1") == 1
    assert said in shell.err


def test_a_host_may_be_named_in_the_configuration(shell: Shell, built: dict[str, Image]) -> None:
    (shell.folder / "trainload.toml").write_text(
        '[hosts.gpu1]\naddress = "me@h:22"\nengine = "store"\nfolder = "/x"\n'
    )
    import io

    world = World(
        shell.home, shell.folder, {}, host.now(), 1, False, True, Catalogue(), io.StringIO(), io.StringIO()
    )
    assert target_of(world, "gpu1", None, None) == Target(Address("h", "me", 22), Choice.STORE, "/x")
    assert target_of(world, "gpu1", "docker", None).choice is Choice.DOCKER
    assert target_of(world, "gpu1", "store", "/y").folder == "/y"
    assert target_of(world, "gpu2", None, None) == Target(Address("gpu2"))
