"""What a package diverts goes where its preinst says (dpkg-divert(1)); packages are made by hand."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from trainload.errors import LayerError
from trainload.events import Event, Said
from trainload.layers.debian.base import write_base
from trainload.layers.debian.diversions import Diversion, parse
from trainload.plan.model import BaseRecipe
from trainload.testing.debs import Item, MadeDeb, MadeSources

PREINST = """#!/bin/sh
set -e
if [ "$1" = "install" ]; then
    dpkg-divert --package parallel --add --rename \\
                --divert /usr/bin/parallel.moreutils \\
                /usr/bin/parallel
fi
"""


class Listening(list[str]):
    def report(self, event: Event) -> None:
        if isinstance(event, Said):
            self.append(str(event.text))


def layer(folder: Path, *debs: MadeDeb) -> tuple[dict[str, bytes], list[str]]:
    sources = MadeSources(folder)
    packages = tuple(sorted(sources.lock(deb) for deb in debs))
    out, said = io.BytesIO(), Listening()
    write_base(BaseRecipe("debian", "bookworm", "dev", "amd64", (), packages), sources, out, said)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:gz") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isfile() or info.islnk() else None
            found[info.name] = file.read() if file else b""
    return found, said


def package(name: str, *items: Item, preinst: str = "") -> MadeDeb:
    return MadeDeb(name, scripts={"preinst": preinst} if preinst else {}).lists(*items)


def test_a_diverted_file_lies_beside_the_one_that_diverts_it(tmp_path: Path) -> None:
    found, said = layer(
        tmp_path,
        package("moreutils", Item("./usr/bin/parallel", b"old"), Item("./usr/bin/same", hard="./usr/bin/parallel")),
        package("parallel", Item("./usr/bin/parallel", b"new"), preinst=PREINST),
    )
    assert found["usr/bin/parallel"] == b"new"
    assert found["usr/bin/parallel.moreutils"] == found["usr/bin/same"] == b"old"
    state = found["var/lib/dpkg/diversions"]
    assert state == b"/usr/bin/parallel\n/usr/bin/parallel.moreutils\nparallel\n"
    assert b"/usr/bin/parallel\n" in found["var/lib/dpkg/info/moreutils.list"], "as dpkg lists it"
    assert said == []


def test_vims_help_makes_way_for_the_whole_vim(tmp_path: Path) -> None:
    path = "./usr/share/vim/vim90/doc/help.txt"
    script = '#!/bin/sh\ndpkg-divert --package vim-runtime --add --rename --divert "$1.vim-tiny" "$1"\n'
    found, said = layer(
        tmp_path,
        package("vim-tiny", Item(path, b"short")),
        package("vim-runtime", Item(path, b"long"), preinst=script),
    )
    assert found[path[2:]] == b"long"
    assert found[path[2:] + ".vim-tiny"] == b"short"
    assert said == []


@pytest.mark.parametrize(
    "line",
    [
        "dpkg-divert --package a --add --no-rename --divert /usr/b /usr/a",
        "dpkg-divert --package a --remove --rename /usr/a",
        'dpkg-divert --package a --add --rename --divert "$1.x" "$1"',
        "dpkg-divert --package a --add --rename --divert /usr/../b /usr/a",
        "dpkg-divert --package a --add --rename --divert usr/b /usr/a",
        "dpkg-divert --package a --rename --divert",
        "# dpkg-divert --package a --add --rename --divert /usr/b /usr/a",
        "dpkg-divert --package a --add --rename --divert '/usr/b /usr/a",
    ],
)
def test_what_is_not_plain_diverts_nothing(line: str) -> None:
    assert parse(line) == []


def test_options_may_be_joined_to_their_values() -> None:
    line = "dpkg-divert --quiet --package=a --rename --divert=/usr/b --add /usr/a"
    assert parse(line) == [Diversion("usr/a", "usr/b", "a")]


def test_two_packages_of_one_path_are_still_refused_without_a_diversion(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="two packages bring /usr/bin/parallel"):
        layer(
            tmp_path,
            package("moreutils", Item("./usr/bin/parallel", b"old")),
            package("parallel", Item("./usr/bin/parallel", b"new")),
        )
