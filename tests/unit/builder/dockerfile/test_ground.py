"""What lies below a line, told by the layers' listings: links followed, deletions gone, names in numbers."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainload.builder.dockerfile.ground import Accounts, Ground
from trainload.digest import Digest
from trainload.errors import ConfigError
from trainload.image.model import Layer
from trainload.layers.foreign.tree import read_tree
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import Owner
from trainload.store.store import Store
from trainload.testing.images import put_layer
from trainload.testing.tars import TarEntry, folder, tar

LINK, HARD = b"2", b"1"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nada:x:1000:1001:Ada:/home/ada:/bin/sh\nbroken\n"
LAYERS = (
    (
        folder("etc"), TarEntry("etc/passwd", PASSWD), TarEntry("etc/group", b"root:x:0:\nvideo:x:44:ada\n"),
        folder("usr"), folder("usr/lib"), TarEntry("lib", kind=LINK, link="usr/lib"),
        TarEntry("usr/lib/a.so", b"a"), TarEntry("odd", kind=LINK, link="lib/../lib/a.so"),
        folder("opt"), folder("opt/old"), TarEntry("opt/old/x", b"1"), folder("keep"), TarEntry("keep/1", b"1"),
        TarEntry("gone", b"1"), folder("tmp", 0o1777), TarEntry("turn", kind=LINK, link="around"),
        TarEntry("around", kind=LINK, link="turn"), TarEntry("up", kind=LINK, link="../../../etc"),
    ),
    (
        TarEntry(".wh.gone", b""), folder("opt"), TarEntry("opt/.wh.old", b""), folder("keep"),
        TarEntry("keep/.wh..wh..opq", b""), TarEntry("keep/2", b"2"), TarEntry("usr/lib/b.so", b"bb", owner=(5, 6)),
        TarEntry("c", kind=HARD, link="usr/lib/b.so"),
    ),
    (TarEntry("opt", b"a file now"), TarEntry("etc/group", b"root:x:0:\nvideo:x:45:\n")),
)  # fmt: skip


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    store = Store.open(tmp_path)
    with store.writing():
        layers: list[Layer] = []
        for entries in LAYERS:
            stream = tar(*entries)
            layers.append(put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream)))
        yield Ground(store, tuple(layers))


def test_what_is_seen_is_what_the_layers_give_together(ground: Ground) -> None:
    opened = [
        (lambda layer=layer: ground.store.blob_file(layer.descriptor.digest), layer.diff_id)
        for layer in ground.layers
    ]
    tree = read_tree(opened, lambda _: False)
    assert {path: (n.kind, n.mode, n.owner, n.target, n.size) for path, n in ground.nodes.items()} == {
        path: (n.kind, n.mode, n.owner, n.target, n.size) for path, n in tree.nodes.items()
    }
    assert "gone" not in ground.nodes
    assert ground.folder("keep") == ("2",)


def test_links_are_followed_inside_the_image_only(ground: Ground) -> None:
    assert ground.real("lib/b.so") == "usr/lib/b.so"
    assert ground.real("/up/passwd") == "etc/passwd"
    assert ground.real("odd") == "usr/lib/a.so"
    assert ground.real("nothing/here") == "nothing/here"
    found = ground.find("/lib/b.so")
    assert found is not None
    assert (found.kind, found.owner) == (MemberKind.FILE, Owner(5, 6))
    link = ground.find("lib")
    assert link is not None
    assert link.kind is MemberKind.SYMLINK
    with pytest.raises(ConfigError, match="around in a circle"):
        ground.real("turn/x")


def test_files_are_read_from_the_layer_that_has_them_last(ground: Ground) -> None:
    assert ground.read("lib/a.so") == b"a"
    assert ground.read("c") == b"bb"
    assert ground.read("opt") == b"a file now"
    assert ground.read("etc/group") == b"root:x:0:\nvideo:x:45:\n"
    assert (ground.read("gone"), ground.read("usr"), ground.read("opt/old/x")) == (None, None, None)


def test_a_listing_is_read_once_per_store(ground: Ground) -> None:
    first = dict(ground.nodes)
    for layer in ground.layers:
        ground.store.path(layer.descriptor.digest).unlink()
    assert Ground(ground.store, ground.layers).nodes == first


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("ada", Owner(1000, 1001)), ("ada:video", Owner(1000, 45)), ("7", Owner(7, 7)), ("7:8", Owner(7, 8)),
        (":video", Owner(0, 45)), ("1000", Owner(1000, 1000)), ("root:8", Owner(0, 8)),
        ("ghost", None), ("ada:ghosts", None), ("-1", None), ("99999999999", None),
    ],
)  # fmt: skip
def test_owners_by_name_and_number(ground: Ground, text: str, owner: Owner | None) -> None:
    accounts = Accounts.of(ground)
    if owner is None:
        with pytest.raises(ConfigError, match="the image has no"):
            accounts.owner(text)
    else:
        assert accounts.owner(text) == owner
