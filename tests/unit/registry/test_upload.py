"""The conversation of an upload, without any network: what is asked next, whatever was answered (THREATS R19)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from trainload.digest import Digest
from trainload.errors import RegistryError
from trainload.events import How
from trainload.image.model import LAYER_GZIP, Descriptor
from trainload.limits import MiB
from trainload.reference import Reference
from trainload.registry.protocol import Answer, Request, Rest
from trainload.registry.upload import Quirks, Upload, Wait, quirks_of
from trainload.system.wire import Cut
from trainload.testing.registry import Asked, MemoryRegistry

BASE = "https://registry.example"
NAME = Reference.parse("registry.example/team/app")


@dataclass
class Driver:
    """Does what a conversation yields, against a registry in memory; ``cut`` decides how much of a body arrives."""

    data: bytes
    cut: Callable[[int], int | None] = lambda length: None
    memory: MemoryRegistry = field(default_factory=MemoryRegistry)
    asked: list[Request] = field(default_factory=list)
    waits: int = 0

    def run(self, quirks: Quirks = Quirks(), source: Reference | None = None) -> How:  # noqa: B008  # frozen
        blob = Descriptor(LAYER_GZIP, Digest.sha256(self.data), len(self.data))
        talk = Upload(BASE, NAME, blob, source, quirks).run()
        reply: Answer | Cut | None = None
        try:
            while True:
                step = next(talk) if reply is None else talk.send(reply)
                reply = Answer("", 0) if isinstance(step, Wait) else self._answer(step)
                self.waits += isinstance(step, Wait)
                assert self.waits < 50
        except StopIteration as end:
            how: How = end.value
            return how

    def _answer(self, request: Request) -> Answer | Cut:
        self.asked.append(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = request.url.removeprefix(BASE)
        body = b""
        if isinstance(request.body, Rest):
            body = self.data[request.body.start : request.body.start + request.body.length]
            arrives = self.cut(len(body))
            if arrives is not None:
                self.memory.arrived(Asked(request.method, target, headers), body[:arrives])
                return Cut("the line died")
        reply = self.memory.serve(Asked(request.method, target, headers, body))
        lower = {name.lower(): value for name, value in reply.headers.items()}
        return Answer(BASE + target, reply.status, lower, reply.body)

    def methods(self) -> list[str]:
        return [request.method for request in self.asked]


def test_an_upload_is_one_post_one_put_and_a_look() -> None:
    driver = Driver(b"x" * 100)
    assert driver.run() is How.SENT
    assert driver.methods() == ["POST", "PUT", "HEAD"]


def test_a_mount_is_one_post_and_a_look() -> None:
    driver = Driver(b"x" * 100)
    driver.memory.put_blob("team/other", driver.data)
    assert driver.run(source=Reference.parse("registry.example/team/other")) is How.MOUNTED
    assert driver.methods() == ["POST", "HEAD"]
    assert driver.asked[0].scopes == ("repository:team/app:pull,push", "repository:team/other:pull")


def once(arrives: int) -> Callable[[int], int | None]:
    left = [arrives]
    return lambda length: left.pop() if left else None


def test_amazons_registry_gets_no_patch() -> None:
    driver = Driver(b"x" * 100, once(60))
    assert driver.run(quirks_of("1234.dkr.ecr.eu-west-1.amazonaws.com")) is How.SENT
    assert driver.methods() == ["POST", "PUT", "HEAD", "POST", "PUT", "HEAD"]


def test_githubs_registry_gets_small_chunks() -> None:
    driver = Driver(b"x" * (10 * MiB), once(MiB))
    assert driver.run(quirks_of("ghcr.io")) is How.SENT
    sizes = [one.body.length for one in driver.asked if one.method == "PATCH" and isinstance(one.body, Rest)]
    assert sizes == [4 * MiB, 4 * MiB, MiB]


def test_others_get_the_rest_at_once() -> None:
    driver = Driver(b"x" * 100, once(60))
    assert driver.run() is How.SENT
    assert driver.methods() == ["POST", "PUT", "HEAD", "GET", "PATCH", "PUT", "HEAD"]
    assert driver.asked[4].headers["Content-Range"] == "60-99"


@given(
    size=st.integers(0, 300),
    cuts=st.lists(st.one_of(st.none(), st.integers(0, 300)), max_size=12),
    chunk=st.sampled_from([None, 1, 7, 64]),
    chunks=st.booleans(),
    lost=st.sets(st.integers(0, 20), max_size=3),
)
def test_whatever_is_cut_or_lost_the_blob_arrives_or_nothing_does(
    size: int, cuts: list[int | None], chunk: int | None, chunks: bool, lost: set[int]
) -> None:
    left = list(cuts)

    def cut(length: int) -> int | None:
        if len(driver.asked) in lost:
            driver.memory.uploads.clear()
        arrives = left.pop(0) if left else None
        return None if arrives is None else min(arrives, length)

    driver = Driver(bytes(number % 251 for number in range(size)), cut)
    try:
        driver.run(Quirks(chunks, chunk))
    except RegistryError:
        assert driver.memory.repository("team/app").blobs == {}
    else:
        assert driver.memory.repository("team/app").blobs == {str(Digest.sha256(driver.data)): driver.data}


def test_an_answer_that_is_lost_costs_a_look_and_no_upload() -> None:
    driver = Driver(b"x" * 100)
    answer = driver._answer

    def lose(request: Request) -> Answer | Cut:
        given = answer(request)
        return Cut("the line died") if isinstance(request.body, Rest) else given

    driver._answer = lose  # type: ignore[method-assign]
    assert driver.run() is How.SENT
    assert driver.methods() == ["POST", "PUT", "HEAD", "HEAD"]
