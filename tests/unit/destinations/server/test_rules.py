"""The server's pure rules: paths, ranges, pages, chunks, who may ask."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainload.destinations.server.access import Accounts, Guard, host_of, is_local_name, is_loopback
from trainload.destinations.server.chunks import ChunkError, Chunks
from trainload.destinations.server.messages import Body, Refusal, Request
from trainload.destinations.server.pages import LONGEST, page
from trainload.destinations.server.ranges import check_chunk, received_range, wanted_range
from trainload.destinations.server.routes import (
    Base,
    Blob,
    Catalog,
    Manifest,
    Referrers,
    Tags,
    Upload,
    Uploads,
    find_route,
)
from trainload.digest import Digest

HEX = "a" * 64
DIGEST = Digest("sha256", HEX)


class Nothing:
    """A request without a body."""

    length: int | None = 0

    def copy_to(self, write: object) -> int:
        return 0


def request(
    method: str = "GET", path: str = "/v2/", *, query: dict[str, str] | None = None, **headers: str
) -> Request:
    body: Body = Nothing()
    parameters = {name: (value,) for name, value in (query or {}).items()}
    return Request(method, path, parameters, {k.replace("_", "-"): v for k, v in headers.items()}, body)


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/v2/", Base()),
        ("GET", "/v2", Base()),
        ("GET", "/v2/_catalog", Catalog()),
        ("GET", f"/v2/a/blobs/sha256:{HEX}", Blob("a", DIGEST)),
        ("HEAD", f"/v2/a/b/c/blobs/sha256:{HEX}", Blob("a/b/c", DIGEST)),
        ("DELETE", f"/v2/a/blobs/sha256:{HEX}", Blob("a", DIGEST)),
        ("GET", "/v2/a/b/manifests/v1", Manifest("a/b", "v1")),
        ("PUT", f"/v2/a/manifests/sha256:{HEX}", Manifest("a", DIGEST)),
        ("GET", f"/v2/a/manifests/sha512:{'b' * 128}", Manifest("a", Digest("sha512", "b" * 128))),
        ("POST", "/v2/a/b/blobs/uploads/", Uploads("a/b")),
        ("POST", "/v2/a/b/blobs/uploads", Uploads("a/b")),
        ("PATCH", "/v2/a/blobs/uploads/some-session", Upload("a", "some-session")),
        ("GET", "/v2/a/b/tags/list", Tags("a/b")),
        ("GET", f"/v2/a/referrers/sha256:{HEX}", Referrers("a", DIGEST)),
        ("GET", "/v2/blobs/uploads/manifests/v1", Manifest("blobs/uploads", "v1")),
        ("GET", "/v2/manifests/manifests/manifests", Manifest("manifests", "manifests")),
        ("GET", "/v2/tags/list/tags/list", Tags("tags/list")),
    ],
)
def test_every_endpoint_of_the_specification_has_its_route(method: str, path: str, route: object) -> None:
    assert find_route(method, path) == route


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "UNSUPPORTED"),
        ("GET", "/v2/a", 404, "UNSUPPORTED"),
        ("GET", "/v1/a/manifests/b", 404, "UNSUPPORTED"),
        ("GET", "/v2/a/things/b", 404, "UNSUPPORTED"),
        ("GET", "/v2/A/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/../manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/a/%2e%2e/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/a//b/manifests/v1", 400, "NAME_INVALID"),
        ("GET", f"/v2/{'a' * 256}/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/.v1", 400, "MANIFEST_INVALID"),
        ("GET", f"/v2/a/manifests/{'v' * 129}", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/manifests/sha256:baddigest", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/sha256:../../../../etc/passwd", 404, "UNSUPPORTED"),
        ("GET", f"/v2/a/blobs/sha256:{'A' * 64}", 400, "DIGEST_INVALID"),
        ("GET", f"/v2/a/blobs/md5:{'a' * 32}", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/referrers/v1", 400, "DIGEST_INVALID"),
        ("POST", "/v2/", 405, "UNSUPPORTED"),
        ("PUT", f"/v2/a/blobs/sha256:{HEX}", 405, "UNSUPPORTED"),
        ("GET", "/v2/a/blobs/uploads/", 405, "UNSUPPORTED"),
        ("OPTIONS", "/v2/a/manifests/v1", 405, "UNSUPPORTED"),
    ],
)
def test_R07_what_is_no_endpoint_gets_a_code_of_the_specification(
    method: str, path: str, status: int, code: str
) -> None:
    with pytest.raises(Refusal) as refused:
        find_route(method, path)
    answer = refused.value.answer
    assert isinstance(answer.body, bytes)
    (error,) = json.loads(answer.body)["errors"]
    assert (answer.status, error["code"], answer.headers["Content-Type"]) == (status, code, "application/json")
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=500-1499", (500, 1000)),
        ("bytes=500-", (500, 1548)),
        ("bytes=-500", (1548, 500)),
        ("bytes=-5000", (0, 2048)),
        ("bytes=2000-5000", (2000, 48)),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_of_a_blob_is_what_rfc_9110_says(header: str | None, want: tuple[int, int] | None) -> None:
    assert wanted_range(header, 2048) == want


@pytest.mark.parametrize("header", ["bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=-0"])
def test_a_range_outside_of_the_blob_is_416_and_tells_its_size(header: str) -> None:
    with pytest.raises(Refusal) as refused:
        wanted_range(header, 2048)
    assert refused.value.status == 416
    assert refused.value.headers == {"Content-Range": "bytes */2048"}


@given(st.integers(1, 10_000), st.integers(0, 12_000), st.integers(0, 12_000))
def test_a_range_never_leaves_the_blob(size: int, first: int, last: int) -> None:
    try:
        found = wanted_range(f"bytes={first}-{last}", size)
    except Refusal:
        assert last < first or first >= size
        return
    assert found == (first, min(last, size - 1) - first + 1)


@pytest.mark.parametrize(
    ("header", "length", "so_far", "status"),
    [
        (None, 5, 3, 0),
        ("0-4", 5, 0, 0),
        ("5-9", 5, 5, 0),
        ("5-9", None, 5, 0),
        ("5-9", 5, 0, 416),
        ("0-4", 5, 5, 416),
        ("6-10", 5, 5, 416),
        ("5-4", 0, 5, 416),
        ("0-4", 4, 0, 400),
        ("bytes 0-4/5", 5, 0, 400),
        ("0-", 5, 0, 400),
        ("-4", 5, 0, 400),
    ],
)
def test_chunks_follow_one_another(header: str | None, length: int | None, so_far: int, status: int) -> None:
    if not status:
        check_chunk(header, length, so_far)
        return
    with pytest.raises(Refusal) as refused:
        check_chunk(header, length, so_far)
    assert refused.value.status == status
    if status == 416:
        assert refused.value.headers["Range"] == received_range(so_far)


@given(st.sets(st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,10}", fullmatch=True)), st.integers(1, 7))
def test_following_the_links_gives_every_name_once_in_order(names: set[str], size: int) -> None:
    ordered = sorted(names)
    found: list[str] = []
    query = {"n": str(size)}
    while True:
        part, headers = page(request(path="/v2/a/tags/list", query=query), ordered)
        found += part
        if "Link" not in headers:
            break
        assert len(part) == size
        address, _, relation = headers["Link"].partition(">; ")
        assert relation == 'rel="next"'
        query = {"n": str(size), "last": part[-1]}
        assert address == f"</v2/a/tags/list?n={size}&last={part[-1]}"
    assert found == ordered


def test_no_results_are_asked_for_and_none_come_without_a_link() -> None:
    """Listing Tags: "When n is zero, this endpoint MUST return an empty list, and MUST NOT include a Link"."""
    assert page(request(query={"n": "0"}), ["a", "b"]) == ([], {})


def test_last_need_not_be_there() -> None:
    assert page(request(query={"last": "b"}), ["a", "c", "d"]) == (["c", "d"], {})
    assert page(request(query={"last": "z", "n": "2"}), ["a", "c"]) == ([], {})


@pytest.mark.parametrize("count", ["-1", "x", "1e3", "", "٣", "9" * 40])
def test_a_number_of_results_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(Refusal) as refused:
        page(request(query={"n": count}), ["a"])
    assert refused.value.status == 400


def test_more_names_than_one_answer_holds_come_in_pages() -> None:
    names = [f"{number:06}" for number in range(LONGEST + 1)]
    part, headers = page(request(path="/v2/_catalog"), names)
    assert len(part) == LONGEST and "Link" in headers


def chunked(pieces: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + b"0\r\n\r\n"


@given(st.lists(st.binary(max_size=40)), st.binary(max_size=20), st.integers(1, 50))
def test_chunks_are_joined_however_they_arrive(pieces: list[bytes], rest: bytes, step: int) -> None:
    stream = chunked(pieces) + rest
    chunks, found, after = Chunks(), b"", b""
    for start in range(0, len(stream), step):
        if chunks.finished:
            after += stream[start : start + step]
        else:
            found += b"".join(bytes(piece) for piece in chunks.feed(stream[start : start + step]))
            after = chunks.rest
    assert chunks.finished
    assert (found, after) == (b"".join(pieces), rest)


def test_extensions_and_trailers_of_chunks_are_read_over() -> None:
    chunks = Chunks()
    stream = b'3;name="value"\r\nabc\r\n0 ;x\r\nTrailer: yes\r\n\r\n'
    assert b"".join(bytes(piece) for piece in chunks.feed(stream)) == b"abc"
    assert chunks.finished


@pytest.mark.parametrize(
    "stream",
    [
        b"3\nabc\r\n0\r\n\r\n",  # a bare line feed: RFC 9112 § 2.2, CVE-2025-43859
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\n",
        b"f" * 16 + b"\r\n",
        b"1;" + b"x" * 2000 + b"\r\na\r\n",
        b"3" * 5000,
        b"0\r\n" + b"A: b\r\n" * 5000,
    ],
)
def test_R02_a_chunked_body_that_two_readers_could_read_in_two_ways_is_refused(stream: bytes) -> None:
    with pytest.raises(ChunkError):
        list(Chunks().feed(stream))


@pytest.mark.parametrize(
    ("header", "host", "local"),
    [
        ("127.0.0.1:5000", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("LOCALHOST:80", "localhost", True),
        ("registry.localhost:80", "registry.localhost", True),
        ("[::1]:5000", "::1", True),
        ("192.0.2.7:5000", "192.0.2.7", True),  # an address cannot be rebound
        ("evil.example", "evil.example", False),
        ("evil.example.:5000", "evil.example", False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("localhost.evil.example:5000", "localhost.evil.example", False),
        ("", "", False),
    ],
)
def test_S12_a_name_that_a_web_page_could_have_is_not_ours(header: str, host: str, local: bool) -> None:
    assert host_of(header) == host
    assert is_local_name(host) is local
    guard = Guard()
    if local:
        guard.check(request(host=header))
        return
    with pytest.raises(Refusal) as refused:
        guard.check(request(host=header))
    assert refused.value.status == 403
    if host:
        Guard(names=frozenset({host})).check(request(host=header))
        Guard(local=False).check(request(host=header))


def test_S12_a_web_page_of_anywhere_changes_nothing() -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Refusal) as refused:
            Guard().check(request(method, host="127.0.0.1:5000", origin="https://evil.example"))
        assert refused.value.status == 403
        Guard().check(request(method, host="127.0.0.1:5000"))


def test_a_registry_for_reading_refuses_every_change() -> None:
    guard = Guard(read_only=True)
    for method in ("GET", "HEAD"):
        guard.check(request(method, host="localhost"))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(Refusal) as refused:
            guard.check(request(method, host="localhost"))
        assert (refused.value.status, refused.value.problems[0].code) == (405, "UNSUPPORTED")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_only_the_right_password_comes_in_and_is_checked_once() -> None:
    asked: list[tuple[str, str]] = []

    def check(user: str, password: str) -> bool:
        asked.append((user, password))
        return (user, password) == ("jo", "sé:same")

    guard = Guard(accounts=Accounts(check))
    for _ in range(3):
        guard.check(request(host="localhost", authorization=basic("jo", "sé:same")))
    assert asked == [("jo", "sé:same")]
    for wrong in (
        "",
        "Basic",
        "Basic !!!",
        "Bearer x",
        basic("jo", "sesame"),
        "Basic am8=",
    ):
        with pytest.raises(Refusal) as refused:
            guard.check(request(host="localhost", authorization=wrong))
        assert refused.value.status == 401
        assert refused.value.headers == {"WWW-Authenticate": 'Basic realm="Trainload registry"'}


@pytest.mark.parametrize(
    ("host", "want"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("192.0.2.1", False), ("laptop.example", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, want: bool) -> None:
    assert is_loopback(host) is want
