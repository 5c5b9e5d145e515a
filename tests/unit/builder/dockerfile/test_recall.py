"""A line that was made before is not understood, asked or made again.

And whatever is changed, the image is the one that an empty store gives.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainload import pipeline
from trainload.builder.dockerfile.bench import Secret, Wanted
from trainload.builder.dockerfile.ground import Ground
from trainload.builder.dockerfile.rows import Row
from trainload.digest import Digest
from trainload.dockerbuild import look
from trainload.dockerfile.understand import line
from trainload.errors import RunError
from trainload.events import SILENT, Event, How, Reporter, Said
from trainload.image.assemble import assemble
from trainload.image.model import Layer
from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter
from trainload.limits import Limits
from trainload.pipeline import Built, Site, Wishes
from trainload.plan.lines import LineJob
from trainload.store.store import Store
from trainload.system.http import Http
from trainload.testing.images import plan_of, put_layer
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer, Reply
from trainload.testing.tars import TarEntry, folder, tar
from trainload.values import replace

PYTHON = {
    "etc/os-release": b"ID=debian\nVERSION_CODENAME=bookworm\n", "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n", "lib/libc.so.6": b"GNU C Library (x) stable release version 2.36.\n",
    "usr/local/bin/python3.11": b"\x7fELF \x003.11.9\x00", "usr/local/bin/pip": b"#!/usr/local/bin/python3.11\n",
    "usr/local/lib/python3.11/site-packages/here": b"", "srv/here": b"", "bin/mkdir": b"\x7fELF",
}  # fmt: skip
FILE = """\
FROM slim
USER 0
ARG V=1
ENV PATH=/usr/local/bin:/bin
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --index-url INDEX -r requirements.txt
RUN mkdir -p /srv/$V && chmod 700 /srv/$V
RUN ./configure
COPY . .
"""


class Sandbox:
    """Runs no line, but leaves what a line would leave."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.broken = False

    def run(self, job: LineJob, ground: Ground, sink: ByteSink, /) -> Written:
        self.ran.append(" ".join(job.recipe.argv))
        if self.broken:
            raise RunError("it failed")
        with LayerWriter(sink) as out:
            out.file("configured", self.ran[-1].encode())
            return out.close()

    def unpacked(self, below: Sequence[Layer], limits: Limits, /) -> Callable[[str], Path | None]:
        raise AssertionError("nothing is copied from a stage")

    def lies(self, diff_id: Digest, /) -> Path | None:
        return None


class Place:
    """A project and the stores it is built with."""

    def __init__(self, at: Path, index: PackageIndex, server: FaultServer) -> None:
        self.root, self.at, self.index, self.server = at / "project", at, index, server
        self.sandbox = Sandbox()
        self.reporter: Reporter = SILENT
        self.stores: list[Store] = []
        self.base: Mapping[str, bytes] = PYTHON
        self.root.mkdir()
        self.write("Dockerfile", FILE.replace("INDEX", index.url))
        self.write("trainload.toml", 'dockerfile = "Dockerfile"\n')
        self.write("requirements.txt", "tool\n")
        self.write("train.py", "print(1)\n")
        self.write(".dockerignore", "Dockerfile*\n.dockerignore\nignored\n")
        self.warm = self.store()

    def store(self) -> Store:
        """An empty one, with the base alone."""
        store = Store.open(self.at / f"home{len(self.stores)}")
        self.stores.append(store)
        self.move(store, self.base)
        return store

    def move(self, store: Store, base: Mapping[str, bytes]) -> None:
        """What ``slim`` means."""
        self.base = base
        names = sorted({str(parent) for path in base for parent in Path(path).parents} - {"."})
        stream = tar(*map(folder, names), *(TarEntry(path, data, mode=0o755) for path, data in base.items()))
        with store.writing():
            layer = put_layer(store, gzip.compress(stream, 1, mtime=0), Digest.sha256(stream))
            store.commit_image(assemble(plan_of("slim", ("base",)), [layer]), ("slim",))

    def write(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)

    def replace(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def build(self, store: Store | None = None, wanted: Wanted | None = None, **environ: str) -> Built:
        return pipeline.build(
            self._site(store, environ), Wishes(references=("x:1",), dockerfile=wanted or Wanted())
        )

    def plan(self) -> Sequence[Row]:
        site, wishes = self._site(None, {}), Wishes(dockerfile=Wanted())
        project = pipeline.dockerfile_of(site, wishes)
        assert project is not None
        return look(site, wishes, project).stages[-1].rows

    def _site(self, store: Store | None, environ: Mapping[str, str]) -> Site:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        return Site(self.root, store or self.warm, Http(), self.reporter, environ, now, 2, rooms=self.sandbox)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Place]:
    with FaultServer() as server:
        index = PackageIndex(server)
        index.add(wheel("tool", "1.0", requires=("part",)), wheel("part", "1.0"), wheel("other", "1.0"))
        there = Place(tmp_path, index, server)
        yield there
        for store in there.stores:
            store.close()


def refuse(*_: object) -> object:
    raise AssertionError("it was known")


def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is understood or placed from now on."""
    monkeypatch.setattr(line, "understand", refuse)
    monkeypatch.setattr("trainload.builder.dockerfile.placing.putting.place", refuse)


def test_nothing_changed_nothing_is_done(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    first = made.build()
    lock = (made.root / "Dockerfile.lock").read_bytes()
    asleep(monkeypatch)
    monkeypatch.setattr(made.server, "next_reply", refuse)
    again = made.build()
    assert again.image.digest == first.image.digest
    assert {layer.how for layer in again.layers} == {How.PRESENT}
    assert [layer.planned.title for layer in again.layers] == [layer.planned.title for layer in first.layers]
    assert (made.root / "Dockerfile.lock").read_bytes() == lock
    assert made.sandbox.ran == ["/bin/sh -c ./configure"]


def test_an_edit_makes_the_layer_of_the_code_alone(made: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made.build()
    asleep(monkeypatch)
    made.write("train.py", "print(2)\n")
    made.write("Dockerfile", f"# a comment\n\n{(made.root / 'Dockerfile').read_text()}")
    again = made.build()
    assert [layer.planned.title for layer in again.layers if layer.how is How.MADE] == ["COPY . ."]
    monkeypatch.undo()
    assert again.image.digest == made.build(made.store()).image.digest


def _unlock(made: Place) -> None:
    made.index.add(wheel("part", "2.0"))
    (made.root / "Dockerfile.lock").unlink()


def _relock(made: Place) -> None:
    """The lock says another version of what it was asked for."""
    name, data = wheel("part", "0.5")
    made.index.add((name, data))
    text = (made.root / "Dockerfile.lock").read_text()
    row = next(one for one in text.splitlines() if '"part"' in one)
    old = wheel("part", "1.0")
    new = row.replace(made.index.path(*old), made.index.path(name, data)).replace(old[0], name)
    new = new.replace('"1.0"', '"0.5"').replace(Digest.sha256(old[1]).hex, Digest.sha256(data).hex)
    new = new.replace(f" {len(old[1])}", f" {len(data)}")
    assert new != row
    made.write("Dockerfile.lock", text.replace(row, new))


CHANGES: Mapping[str, Callable[[Place], object]] = {
    "requirements": lambda made: made.write("requirements.txt", "tool\nother\n"),
    "the line": lambda made: made.replace("Dockerfile", "-r requirements.txt", "-r requirements.txt other"),
    "a variable": lambda made: made.replace("Dockerfile", "ARG V=1", "ARG V=2"),
    "the environment": lambda made: made.replace("Dockerfile", "ENV PATH", "ENV A=b PATH"),
    "the user": lambda made: made.replace("Dockerfile", "RUN ./configure", "USER 5\nRUN ./configure"),
    "an ignored file": lambda made: made.write(".dockerignore", "Dockerfile*\n.dockerignore\ntrain.py\n"),
    "the base": lambda made: made.move(made.warm, {**PYTHON, "etc/more": b"1"}),
    "the base's packages": lambda made: made.move(made.warm, {
        **PYTHON,
        "usr/local/lib/python3.11/site-packages/part-1.0.dist-info/METADATA": b"Name: part\nVersion: 1.0\n",
    }),
    "the lock": _relock,
    "no lock": _unlock,
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_comes_out_as_from_an_empty_store(made: Place, what: str) -> None:
    before = made.build()
    CHANGES[what](made)
    after = made.build()
    assert after.image.digest != before.image.digest
    assert made.build(made.store()).image.digest == after.image.digest
    again = made.build()
    assert again.image.digest == after.image.digest
    assert {layer.how for layer in again.layers} == {How.PRESENT}


def test_a_build_argument_counts_and_proxies_do_not(made: Place) -> None:
    made.build()
    other = made.build(wanted=Wanted(arguments={"V": "7"}))
    made_now = [one.planned.title for one in other.layers if one.how is How.MADE]
    assert made_now == ["mkdir -p /srv/$V && chmod 700 /srv/$V", "RUN ./configure", "COPY . ."]
    assert other.image.digest == made.build(made.store(), Wanted(arguments={"V": "7"})).image.digest
    ran = len(made.sandbox.ran)
    proxied = made.build(wanted=Wanted(arguments={"V": "7", "HTTP_PROXY": "http://proxy.example"}))
    assert proxied.image.digest == other.image.digest
    assert len(made.sandbox.ran) == ran


def test_settings_and_variables_of_this_machine_count_and_secrets_do_not(
    made: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.build()
    asleep(monkeypatch)
    made.build(wanted=Wanted(secrets={"token": Secret("train.py")}), USER="someone")
    with pytest.raises(AssertionError, match="it was known"):
        made.build(PIP_INDEX_URL=made.index.url)
    made.write("trainload.toml", 'dockerfile = "Dockerfile"\nlimits.max-ratio = 60\n')
    with pytest.raises(AssertionError, match="it was known"):
        made.build()


def test_a_line_that_failed_is_understood_anew(made: Place) -> None:
    """It was run because nothing fits; once something does it is placed."""
    made.write("requirements.txt", "late\n")
    made.sandbox.broken = True
    with pytest.raises(RunError):
        made.build()
    made.sandbox.broken = False
    made.index.add(wheel("late", "1.0"))
    assert "late 1.0" in [layer.planned.title for layer in made.build().layers]


def test_layers_that_are_gone_are_made_again(made: Place) -> None:
    first = made.build()
    gone = next(layer for layer in first.layers if layer.planned.title.startswith("mkdir"))
    made.warm.path(gone.layer.descriptor.digest).unlink()
    again = made.build()
    assert again.image.digest == first.image.digest
    assert [layer.planned.title for layer in again.layers if layer.how is How.MADE] == [gone.planned.title]


def test_no_cache_makes_every_line(made: Place) -> None:
    made.build()
    store = made.warm
    site = Site(made.root, store, Http(), SILENT, {}, datetime(2026, 1, 1, tzinfo=UTC), 2, rooms=made.sandbox)
    wishes = Wishes(references=("x:1",), dockerfile=Wanted())
    wishes = replace(wishes, caching=replace(wishes.caching, anew=True))
    pipeline.build(site, wishes)
    assert len(made.sandbox.ran) == 2


def test_what_a_page_of_plain_links_has_is_fetched_once_and_hashed_as_it_comes(
    made: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dict([wheel("tool", "2.0", requires=("part",)), wheel("part", "1.5"), wheel("part", "0.5")])
    for name, data in files.items():
        made.server.serve(f"/plain/{name}", data)
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in files).encode()
    made.server.serve("/plain/", Reply(page, headers={"Content-Type": "text/html; charset=utf-8"}))
    made.replace("Dockerfile", f"--index-url {made.index.url}", f"--no-index --find-links {made.server.url}/plain/")
    heard: list[str] = []

    class Listening:
        def report(self, event: Event, /) -> None:
            heard.extend([str(event.text)] if isinstance(event, Said) else [])

    cache = tmp_path / "cache-of-uv"
    made.reporter = Listening()
    first = made.build(UV_CACHE_DIR=str(cache), UV_NO_CONFIG="1")
    rows = tomllib.loads((made.root / "Dockerfile.lock").read_text())
    locked = {row["file"]: (row["sha256"], row["size"]) for row in _packages(rows)}
    chosen = [name for name in files if not name.startswith("part-0.5")]
    assert locked == {name: (hashlib.sha256(files[name]).hexdigest(), len(files[name])) for name in chosen}
    assert any("taken on trust" in text and all(name in text for name in chosen) for text in heard)
    assert [path for path in cache.rglob("*") if path.name == "RECORD"] == []
    came = [each.path[7:] for each in made.server.requests if each.method == "GET" and each.path[7:]]
    assert sorted(came) == sorted(chosen)  # uv asks us for the metadata
    monkeypatch.setattr(made.server, "next_reply", refuse)
    assert made.build(UV_CACHE_DIR=str(cache), UV_NO_CONFIG="1").image.digest == first.image.digest


def test_what_came_from_a_page_before_comes_again_only_if_its_server_has_another(made: Place) -> None:
    files = dict([wheel("tool", "2.0"), wheel("part", "1.5"), wheel("told", "1.0")])
    again = dict([wheel("part", "1.5", files={"part/more.py": b"x = 1"})])
    for number, (name, data) in enumerate(files.items()):
        # one whose server says nothing of versions comes every time
        made.server.serve(f"/plain/{name}", Reply(data, etag=None if name.startswith("told") else f'"{number}"'))
    page = "".join(f'<a href="{name}">{name}</a>\n' for name in files).encode()
    made.server.serve("/plain/", Reply(page, headers={"Content-Type": "text/html; charset=utf-8"}))
    made.replace("Dockerfile", f"--index-url {made.index.url}", f"--no-index --find-links {made.server.url}/plain/")

    def build(*names: str) -> tuple[dict[str, str], list[str]]:
        """What is locked, and what was fetched for it."""
        made.write("requirements.txt", "".join(f"{name}\n" for name in names))
        made.server.requests.clear()
        made.build(UV_NO_CONFIG="1")
        rows = _packages(tomllib.loads((made.root / "Dockerfile.lock").read_text()))
        fetched = [each.path[7:] for each in made.server.requests if each.method == "GET" and each.path[7:]]
        return {str(row["file"]): str(row["sha256"]) for row in rows}, fetched

    (tool, part, told) = files
    assert sorted(build("tool", "told")[1]) == sorted([told, tool])
    assert sorted(build("tool", "told", "part")[1]) == sorted([part, told])
    made.server.serve(f"/plain/{part}", Reply(again[part], etag='"other"'))
    locked, fetched = build("part", "tool")
    assert fetched == [part]
    sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in {**files, **again}.items()}
    assert locked == {name: sha256[name] for name in (tool, part)}


def test_a_wheel_whose_metadata_we_cannot_tell_is_left_to_uv(made: Place) -> None:
    name, data = wheel("tool", "2.0")
    parts, version, gone = Reply(data), Reply(data), Reply(b"", 404)
    made.server.serve(f"/plain/{name}", parts, version, gone, Reply(data))
    page = f'<a href="{name}">{name}</a>\n'.encode()
    made.server.serve("/plain/", Reply(page, headers={"Content-Type": "text/html; charset=utf-8"}))
    made.replace("Dockerfile", f"--index-url {made.index.url}", f"--no-index --find-links {made.server.url}/plain/")
    made.build(UV_NO_CONFIG="1")
    rows = _packages(tomllib.loads((made.root / "Dockerfile.lock").read_text()))
    assert [(row["url"], row["sha256"]) for row in rows] == [
        (f"{made.server.url}/plain/{name}", hashlib.sha256(data).hexdigest())
    ]
    agents = [each.headers["user-agent"].partition("/")[0] for each in made.server.asked(f"/plain/{name}")]
    assert agents[:4] == ["trainload", "trainload", "trainload", "uv"]


def test_a_server_that_sends_parts_is_asked_by_uv(made: Place) -> None:
    name, data = wheel("tool", "2.0", files={"tool/large": os.urandom(1 << 20)})
    made.server.serve(f"/plain/{name}", Reply(data, headers={"Accept-Ranges": "bytes"}))
    page = f'<a href="{name}">{name}</a>\n'.encode()
    made.server.serve("/plain/", Reply(page, headers={"Content-Type": "text/html; charset=utf-8"}))
    made.replace("Dockerfile", f"--index-url {made.index.url}", f"--no-index --find-links {made.server.url}/plain/")
    made.build(UV_NO_CONFIG="1")
    asked = made.server.asked(f"/plain/{name}")
    assert any(each.headers["user-agent"].startswith("uv") and "range" in each.headers for each in asked)
    whole = [each for each in asked if each.method == "GET" and "range" not in each.headers]
    assert [each.headers["user-agent"].partition("/")[0] for each in whole] == ["trainload"]


def _packages(value: object) -> list[dict[str, object]]:
    """The rows of all answers of a lock."""
    if isinstance(value, dict):
        own = value.get("packages")
        inner = [row for one in value.values() for row in _packages(one)]
        return own if isinstance(own, list) else inner
    return [row for one in value for row in _packages(one)] if isinstance(value, list) else []


def test_a_plan_says_of_a_line_that_had_to_be_run_that_and_why(made: Place) -> None:
    """``pip install raw`` is understood, but the index has no wheel of it: only asking tells."""
    made.index.add(("raw-1.0.tar.gz", b"no archive"))
    made.replace(
        "Dockerfile", "RUN ./configure", "RUN pip install --index-url INDEX raw".replace("INDEX", made.index.url)
    )
    (expected,) = (row for row in made.plan() if "raw" in row.text)
    assert (expected.how.value, expected.present) == ("placed", False)
    made.build()
    rows = made.plan()
    (found,) = (row for row in rows if "raw" in row.text)
    assert (found.how.value, found.present) == ("run", True)
    assert "raw" in str(found.why)
    assert all(row.present for row in rows if row.how.value in ("placed", "run"))


def test_a_line_whose_extra_index_is_out_of_reach_is_run_where_it_has_a_network(made: Place) -> None:
    """pip warns, and goes on with the other index."""
    gone = "http://127.0.0.1:9/simple"
    made.replace("Dockerfile", "-r requirements.txt", f"--extra-index-url {gone} -r requirements.txt")
    made.build(wanted=Wanted(network=True, network_asked="host"))
    assert [one for one in made.sandbox.ran if gone in one]
