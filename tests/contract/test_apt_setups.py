"""Several archives, pins, recommendations and upgrades: our choice is that of the real apt-get, or we make none."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainload.errors import FetchError, LockError, SignatureError
from trainload.lock.distribution.index import Index
from trainload.lock.distribution.installed import installed
from trainload.lock.distribution.pins import parse
from trainload.lock.distribution.recommends import choose_like_apt
from trainload.lock.distribution.suites import Pocket
from trainload.resolve.archives import Archives
from trainload.resolve.indexes import Services
from trainload.resolve.thirdparty import OwnArchive, Setup, load
from trainload.system.http import Http, Retry
from trainload.system.process import run
from trainload.testing.archive import Archive, Key, Publication, stanza
from trainload.testing.server import FaultServer

pytestmark = pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt-get, the peer")
MAIN = (
    stanza("tool", "1.0-1", "Depends: lib (>= 1)", "Recommends: extra, nowhere"),
    stanza("tool", "1.2-1", "Depends: lib (>= 1)", "Recommends: extra, more"),
    stanza("lib", "1.5-1"), stanza("extra", "1.0-1"), stanza("more", "1.0-1", "Breaks: old (<< 2)"),
    stanza("old", "2.0-1"), stanza("chooser", "1.0-1", "Recommends: nowhere | extra"),
    stanza("strict", "2.0-1", "Depends: old (>= 2)"), stanza("game", "1.0-1", "Depends: absent"),
)  # fmt: skip
OWN = (stanza("tool", "1.1-1", "Depends: lib"), stanza("lib", "1.4-9"), stanza("driver", "5.0-1", "Depends: lib"))
NEWER = (stanza("lib", "9.0-1"), stanza("unasked", "1.0-1"))
STATUS = "\n".join(
    stanza(name, version, "Status: install ok installed", *more, Filename="", Size="", SHA256="")
    for name, version, *more in (
        ("old", "1.0-1"), ("lib", "1.0-1"), ("shared", "1.0-1", "Depends: old"), ("chooser", "0.1-1"),
    )
)  # fmt: skip
PINS = {
    "none": "",
    "own first": "Package: *\nPin: release l=Own\nPin-Priority: 600\n",
    "by origin": 'Explanation: why\nPackage: tool\nPin: origin "127.0.0.1"\nPin-Priority: -1\n',
    "one away": "Package: tool lib\nPin: release l=Own\nPin-Priority: -1\n\nPackage: *\nPin: release o=T*\n"
    "Pin-Priority: 600\n",
    "a version": "Package: to*\nPin: version 1.0*\nPin-Priority: 900\n",
    "first counts": "Package: *\nPin: release n=own\nPin-Priority: 400\n\nPackage: *\nPin: release n=own\n"
    "Pin-Priority: 900\n",
    "wanted most": "Package: lib\nPin: release a=newer\nPin-Priority: 700\n",
}
WISHES = (
    "tool", "tool=1.1-1", "driver", "old", "strict", "chooser", "lib", "more", "extra old", "game",
    "shared", "unasked",
)  # fmt: skip


@dataclass
class World:
    """Three archives with keys of their own, of which the last is asked only by name."""

    server: FaultServer
    keys: dict[str, Key] = field(default_factory=dict)

    def publish(self, name: str, packages: tuple[str, ...], *lines: str, signer: Key | None = None) -> None:
        key = self.keys.setdefault(name, Key(f"{name} <{name}@archive.example>"))
        archive = Archive(key)

        def sign(text: bytes) -> bytes:
            more = "".join(f"{line}\n" for line in (f"Label: {name.title()}", *lines)).encode()
            return (signer or key).sign(more + text)

        data = "\n".join(packages).encode()
        files = {"main/binary-amd64/Packages": data, "universe/binary-amd64/Packages": b"\n"}
        archive.publish(Publication(Pocket(name, name), files, datetime.now(UTC), sign=sign))
        for path, content in archive.files.items():
            self.server.serve(f"/{path}", content)

    def own(self, name: str) -> OwnArchive:
        trust = self.keys[name].trust()
        return OwnArchive(f"{self.server.url}/{name}", name, ("main",), trust.certificates)

    def services(self) -> Services:
        return Services(Http(retry=Retry(tries=1)), Archives(), Cache(), datetime.now(UTC))


class Cache(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with FaultServer() as server:
        made = World(server)
        made.publish("main", MAIN)
        made.publish("own", OWN)
        made.publish("newer", NEWER, "NotAutomatic: yes")
        yield made


def apt(world: World, root: Path, pins: str) -> list[str]:
    for folder in ("etc/preferences.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial"):
        (root / folder).mkdir(parents=True)
    (root / "state/status").write_text(STATUS)
    lines = []
    for name, key in world.keys.items():
        (root / f"{name}.gpg").write_bytes(key.trust().certificates)
        lines.append(f"deb [signed-by={root}/{name}.gpg] {world.server.url}/{name} {name} main\n")
    (root / "etc/sources.list").write_text("".join(lines))
    (root / "etc/preferences").write_text(pins)
    settings = {
        "Dir::Etc": f"{root}/etc/", "Dir::Etc::sourcelist": f"{root}/etc/sources.list",
        "Dir::Etc::preferences": f"{root}/etc/preferences", "Dir::Etc::parts": "/nonexistent",
        "Dir::State": f"{root}/state/", "Dir::State::status": f"{root}/state/status",
        "Dir::State::extended_states": f"{root}/state/extended", "Dir::Cache": f"{root}/cache/",
        "APT::Architecture": "amd64", "APT::Architectures": "amd64", "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }  # fmt: skip
    command = ["apt-get", *(word for item in settings.items() for word in ("-o", "=".join(item)))]
    updated = run([*command, "update", "-q"], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
    assert updated.exit_code == 0, updated.complaint
    return command


def theirs(command: list[str], wishes: list[str], *, recommends: bool) -> dict[str, str] | None:
    """Package → version; None: apt refuses, or would remove something."""
    words = [*command, "-s", "-q", "-y", "install", *wishes, *([] if recommends else ["--no-install-recommends"])]
    done = run(words, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
    said = done.stdout.decode()
    if done.exit_code != 0 or re.search(r"(?m)^Remv ", said):
        return None
    return dict(re.findall(r"(?m)^Inst (\S+) (?:\[\S+\] )?\((\S+) ", said))


@pytest.mark.parametrize("pins", PINS)
def test_archives_pins_recommendations_and_upgrades_are_apts(world: World, tmp_path: Path, pins: str) -> None:
    command = apt(world, tmp_path, PINS[pins])
    setup = Setup(tuple(map(world.own, world.keys)), parse(PINS[pins]))
    loaded = load(setup, "amd64", world.services())
    made = 0
    for wishes in map(str.split, WISHES):
        for recommends in (True, False) if wishes[0] in ("tool", "more") else (True,):
            index = Index([*loaded.before, *loaded.after], loaded.priorities(setup, ()))
            base = installed(STATUS, "amd64")
            expected = theirs(command, wishes, recommends=recommends)
            try:
                chosen = choose_like_apt(index, "amd64", wishes, base, recommends=recommends)
            except LockError:
                continue  # the line is run: apt's own choice it is
            made += 1
            assert {one.name: one.version for one in chosen} == expected, (wishes, recommends)
    assert made >= len(WISHES) - 4  # what leaves a choice, or cannot be had, is apt's own


def test_D11_an_archive_counts_only_with_a_key_that_the_image_names_for_it(world: World) -> None:
    stranger = OwnArchive(f"{world.server.url}/own", "own", ("main",), world.keys["main"].trust().certificates)
    for archive in (stranger, OwnArchive(stranger.address, "own", ("main",), b"")):
        with pytest.raises((SignatureError, LockError)):
            load(Setup((archive,)), "amd64", world.services())
    with pytest.raises(FetchError):
        load(Setup((OwnArchive(stranger.address, "/", (), stranger.certificates),)), "amd64", world.services())
    with pytest.raises(LockError, match="has no packages"):
        load(Setup((OwnArchive(stranger.address, "own", ("absent",), world.own("own").certificates),)), "amd64",
             world.services())  # fmt: skip


def test_D13_an_index_that_is_not_the_signed_one_is_refused(world: World) -> None:
    world.publish("moved", OWN)
    world.server.serve("/moved/dists/moved/main/binary-amd64/Packages", b"Package: evil\n")
    with pytest.raises(SignatureError, match="not the one that the signed index names"):
        load(Setup((world.own("moved"),)), "amd64", world.services())
    del world.keys["moved"]
