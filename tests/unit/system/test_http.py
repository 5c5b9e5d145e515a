"""Fetching from servers that lie, cut, stall and redirect (THREATS R02, R12, R15-R18, D15; faults 7-9)."""

from __future__ import annotations

import base64
import gzip
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from trainload.errors import FetchError
from trainload.limits import Limits
from trainload.system.http import CHUNK, Http, Retry, StatusError, redirect_target, shown
from trainload.system.process import run
from trainload.system.wire import version_of
from trainload.testing.server import FaultServer, Reply

NOW, OLD = "Sat, 28 Nov 2026 12:00:00 GMT", "Fri, 27 Nov 2026 07:00:00 GMT"
BODY = os.urandom(3 * CHUNK + 12_345)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


@dataclass
class Taken:
    """What a download gave us."""

    data: bytearray = field(default_factory=bytearray)
    restarts: int = 0

    def write(self, data: bytes) -> None:
        self.data += data

    def restart(self) -> None:
        self.data.clear()
        self.restarts += 1


def http(pauses: list[float] | None = None, **settings: object) -> Http:
    """A client that does not wait, and notes how long it would have."""
    noted = pauses if pauses is not None else []
    made = Http(stall_timeout=60.0, connect_timeout=60, sleep=noted.append, jitter=lambda: 1.0, proxies={})
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def fetch(url: str, client: Http | None = None, *, size: int | None = None) -> Taken:
    taken = Taken()
    (client or http()).download(url, taken.write, limit=64 * CHUNK, restart=taken.restart, size=size)
    return taken


def test_a_body_arrives_as_it_is(server: FaultServer) -> None:
    assert fetch(server.serve("/f", BODY), size=len(BODY)).data == BODY
    assert http().get(server.serve("/g", b"x" * 10), limit=10) == b"x" * 10


@pytest.mark.parametrize("cut", [0, 1, len(BODY) // 2, len(BODY) - 1])
@pytest.mark.parametrize("how", ["end", "reset", "stall"])
def test_fault_8_a_body_cut_at_any_byte_is_resumed_to_the_same_bytes(
    server: FaultServer, cut: int, how: str
) -> None:
    bad = Reply(BODY, etag='"v1"', cut=cut, reset=how == "reset", stall=how == "stall")
    url = server.serve("/f", bad, Reply(BODY, etag='"v1"'))
    taken = fetch(url, http(stall_timeout=2.0) if how == "stall" else None, size=len(BODY))
    assert taken.data == BODY
    assert taken.restarts == 0
    assert len(server.asked("/f")) >= 2


def test_fault_8_what_arrived_is_not_fetched_again(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, etag='"v1"', cut=2 * CHUNK + 5), Reply(BODY, etag='"v1"'))
    fetch(url, size=len(BODY))
    assert server.asked("/f")[1].headers["range"] == f"bytes={2 * CHUNK + 5}-"
    assert server.asked("/f")[1].headers["if-range"] == '"v1"'


def test_fault_8_a_link_that_always_dies_gets_there_by_steps(server: FaultServer) -> None:
    url = server.serve("/f", *[Reply(BODY, etag='"v1"', cut=300_000) for _ in range(12)], Reply(BODY, etag='"v1"'))
    assert fetch(url, size=len(BODY)).data == BODY


def test_fault_8_a_cut_body_of_unknown_size_is_noticed(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, chunked=True, cut=CHUNK + 1), Reply(BODY, chunked=True, ranges=False))
    assert fetch(url).data == BODY


def test_fault_8_tries_end(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, cut=0))
    with pytest.raises(FetchError, match="could not be fetched") as caught:
        fetch(url, size=len(BODY))
    assert caught.value.retryable
    assert len(server.asked("/f")) == Retry().tries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_fault_7_a_server_in_trouble_is_asked_again(server: FaultServer, status: int) -> None:
    pauses: list[float] = []
    url = server.serve("/f", Reply(status=status), Reply(status=status), BODY)
    assert fetch(url, http(pauses)).data == BODY
    assert pauses == [1.0, 2.0]


def test_fault_7_retry_after_is_honoured_within_its_bound(server: FaultServer) -> None:
    pauses: list[float] = []
    wait = [Reply(status=429, headers={"Retry-After": seconds}) for seconds in ("7", "99999", "junk", "²")]
    fetch(server.serve("/f", *wait, BODY), http(pauses))
    assert pauses == [7.0, 120.0, 4.0, 8.0]


@pytest.mark.parametrize("said", ["²", "9" * 5000, "-1", "0x10"])
def test_R02_a_length_that_is_no_number_counts_as_none(server: FaultServer, said: str) -> None:
    url = server.serve("/f", Reply(BODY, headers={"Content-Length": said, "Connection": "close"}))
    with pytest.raises(FetchError):
        http().get(url, limit=len(BODY) - 1)
    assert http().size(url) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451, 501])
def test_R18_another_refusal_is_told_at_once(server: FaultServer, status: int) -> None:
    with pytest.raises(StatusError) as caught:
        fetch(server.serve("/f", Reply(b"no\x1b[2J\nway", status)))
    assert caught.value.status == status and not caught.value.retryable
    assert f"HTTP {status}" in str(caught.value) and r"no\x1b[2J way" in str(caught.value)
    assert len(server.asked("/f")) == 1


def test_R18_an_error_body_is_told_up_to_a_kibibyte_and_no_page_for_browsers(server: FaultServer) -> None:
    with pytest.raises(StatusError) as caught:
        fetch(server.serve("/f", Reply(b"y" * 100_000, 404)))
    assert len(str(caught.value)) < 1_300
    with pytest.raises(StatusError) as page:
        fetch(server.serve("/g", Reply(b"<html>long story", 404)))
    assert "story" not in str(page.value)


def test_R02_a_body_larger_than_it_may_be_is_stopped(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, chunked=True))
    with pytest.raises(FetchError, match="more than it may"):
        http().get(url, limit=len(BODY) - 1)
    assert http().get(url, limit=len(BODY)) == BODY


@pytest.mark.parametrize("said", ["1", str(10**12)])
def test_R02_a_length_that_is_not_the_locked_one_is_refused_before_a_byte(server: FaultServer, said: str) -> None:
    taken = Taken()
    url = server.serve("/f", Reply(BODY, headers={"Content-Length": said}))
    with pytest.raises(FetchError, match="another size"):
        http().download(url, taken.write, limit=10**13, restart=taken.restart, size=len(BODY))
    assert taken.data == b""


def test_R02_a_length_beyond_the_limit_is_refused_before_a_byte(server: FaultServer) -> None:
    with pytest.raises(FetchError, match="another size"):
        http().get(server.serve("/f", BODY), limit=len(BODY) - 1)


def test_R02_a_length_that_promises_more_than_comes_is_a_cut(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY[:1000], headers={"Content-Length": "2000"}, cut=1000))
    with pytest.raises(FetchError, match="could not be fetched"):
        http().get(url, limit=10_000)


def test_R02_a_stall_counts_as_a_cut(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, cut=10, stall=True))
    with pytest.raises(FetchError, match="no byte came"):
        fetch(url, http(stall_timeout=2.0, retry=Retry(tries=2)), size=len(BODY))


def test_R12_credentials_stay_with_scheme_host_and_port(server: FaultServer) -> None:
    secret = {"Authorization": "Basic abc", "Cookie": "s=1", "X-Kept": "yes"}
    with FaultServer() as other:
        other.serve("/f", b"body")
        server.serve("/far", Reply(status=302, headers={"Location": f"{other.url}/f"}))
        server.serve("/near", Reply(status=307, headers={"Location": "/f"}))
        server.serve("/f", b"body")
        http().get(f"{server.url}/far", limit=10, headers=secret)
        http().get(f"{server.url}/near", limit=10, headers=secret)
        (far,) = other.asked("/f")
    assert "authorization" not in far.headers and "cookie" not in far.headers and far.headers["x-kept"] == "yes"
    assert server.asked("/f")[0].headers["authorization"] == "Basic abc"


def test_R12_credentials_do_not_come_back_after_a_detour(server: FaultServer) -> None:
    with FaultServer() as other:
        other.serve("/back", Reply(status=302, headers={"Location": f"{server.url}/f"}))
        server.serve("/far", Reply(status=302, headers={"Location": f"{other.url}/back"}))
        server.serve("/f", b"body")
        http().get(f"{server.url}/far", limit=10, headers={"Authorization": "Basic abc"})
    assert "authorization" not in server.asked("/f")[0].headers


@pytest.mark.parametrize("hops", [5, 6])
def test_R12_redirects_are_counted(server: FaultServer, hops: int) -> None:
    for hop in range(hops):
        server.serve(f"/{hop}", Reply(status=301, headers={"Location": f"/{hop + 1}"}))
    server.serve(f"/{hops}", b"body")
    if hops == Limits().redirects:
        assert http().get(f"{server.url}/0", limit=10) == b"body"
    else:
        with pytest.raises(FetchError, match="redirects too often"):
            http().get(f"{server.url}/0", limit=10)


def test_R12_no_redirect_leads_out_of_https() -> None:
    for target in ("http://files.example/f", "file:///etc/passwd", "ftp://files.example/f"):
        with pytest.raises(FetchError, match="from https to an unprotected"):
            redirect_target("https://files.example/a", target)
    assert redirect_target("https://files.example/a/b", "../c") == "https://files.example/c"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "gopher://x/", "javascript:1"])
def test_R12_no_redirect_leads_out_of_http(server: FaultServer, location: str) -> None:
    url = server.serve("/f", Reply(status=302, headers={"Location": location}))
    with pytest.raises(FetchError, match="not an http address"):
        http().get(url, limit=10)


@pytest.mark.parametrize("location", ["", "/a b", "/a\tb", "/a\x7fb", "http://h/\x01"])
def test_D15_a_redirect_with_control_characters_is_refused(server: FaultServer, location: str) -> None:
    with pytest.raises(FetchError, match="forbidden characters"):
        redirect_target(f"{server.url}/f", location)


def test_R15_a_small_document_may_not_be_large(server: FaultServer) -> None:
    url = server.serve("/token", Reply(b"x" * (4 << 20), chunked=True))
    with pytest.raises(FetchError, match="more than it may"):
        http().get(url, limit=1 << 20)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "x-gzip"])
def test_R16_a_content_encoding_nobody_asked_for_is_refused(server: FaultServer, encoding: str) -> None:
    url = server.serve("/f", Reply(gzip.compress(b"0" * 10_000_000), headers={"Content-Encoding": encoding}))
    with pytest.raises(FetchError, match="content encoding") as caught:
        http().get(url, limit=10**9)
    assert encoding in str(caught.value)
    assert server.asked("/f")[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [302, 404, 503])
def test_R16_no_body_is_inflated_behind_our_back(server: FaultServer, status: int) -> None:
    bomb = Reply(gzip.compress(b"0" * 50_000_000), status, {"Content-Encoding": "gzip", "Location": "/g"})
    server.serve("/f", bomb, Reply(b"body"))
    server.serve("/g", b"body")
    if status == 404:
        with pytest.raises(StatusError) as caught:
            http().get(f"{server.url}/f", limit=10)
        assert len(str(caught.value)) < 300
    else:
        assert http().get(f"{server.url}/f", limit=10) == b"body"


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-9/10", "bytes 5-99/100", "items 1000-2000/3000", "", "bytes 1048577-9999999/9999999"],
)
def test_R17_a_part_that_does_not_continue_starts_anew(server: FaultServer, content_range: str) -> None:
    lie = Reply(BODY, etag='"v1"', headers={"Content-Range": content_range})
    url = server.serve("/f", Reply(BODY, etag='"v1"', cut=CHUNK), lie, Reply(BODY, etag='"v1"'))
    taken = fetch(url, size=len(BODY))
    assert taken.data == BODY and taken.restarts == 1


def test_R17_the_whole_file_in_answer_to_a_part_starts_anew(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, cut=CHUNK + 9), Reply(BODY, ranges=False))
    taken = fetch(url, size=len(BODY))
    assert taken.data == BODY and taken.restarts == 1


def test_R17_a_file_that_changed_meanwhile_starts_anew(server: FaultServer) -> None:
    other = os.urandom(len(BODY))
    url = server.serve("/f", Reply(BODY, etag='"v1"', cut=CHUNK), Reply(other, etag='"v2"'))
    taken = fetch(url, size=len(BODY))
    assert taken.data == other and taken.restarts == 1


def test_R17_a_part_of_another_file_starts_anew(server: FaultServer) -> None:
    part = f"bytes {CHUNK}-{len(BODY) - 1}/{len(BODY)}"
    lie = Reply(BODY, 206, etag='"v2"', headers={"Content-Range": part})
    url = server.serve("/f", Reply(BODY, etag='"v1"', cut=CHUNK), lie, Reply(BODY, etag='"v1"'))
    taken = fetch(url, size=len(BODY))
    assert taken.data == BODY and taken.restarts == 1


def test_R17_a_part_nobody_asked_for_is_not_taken_for_the_file(server: FaultServer) -> None:
    part = Reply(BODY[10:], 206, headers={"Content-Range": f"bytes 10-{len(BODY) - 1}/{len(BODY)}"})
    assert fetch(server.serve("/f", part, BODY), size=len(BODY)).data == BODY


def test_R17_a_range_the_server_cannot_satisfy_starts_anew(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY, cut=CHUNK), Reply(status=416), BODY)
    assert fetch(url, size=len(BODY)).data == BODY


def test_R17_a_server_that_starts_anew_for_ever_is_left(server: FaultServer) -> None:
    lies = [Reply(BODY, cut=CHUNK), Reply(status=416)] * 10
    url = server.serve("/f", *lies)
    with pytest.raises(FetchError, match="could not be fetched"):
        fetch(url, http(retry=Retry(most=9)), size=len(BODY))
    assert len(server.asked("/f")) == 9


def test_what_the_writer_raises_is_passed_on_and_not_tried_again(server: FaultServer) -> None:
    def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    url = server.serve("/f", BODY)
    with pytest.raises(OSError, match="No space left"):
        http().download(url, full, limit=10**9, restart=list)
    assert len(server.asked("/f")) == 1


def test_fault_9_a_name_that_is_not_known_is_told() -> None:
    with pytest.raises(FetchError) as caught:
        http(retry=Retry(tries=1)).get("http://no-such-host.invalid/f", limit=10)
    assert "http://no-such-host.invalid/f could not be fetched" in str(caught.value)
    assert "DNS" in str(caught.value)


def test_fault_9_a_closed_port_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(FetchError, match="could not be fetched") as caught:
        http(retry=Retry(tries=2)).get(f"http://127.0.0.1:{port}/f", limit=10)
    assert caught.value.retryable


def test_fault_9_a_server_that_speaks_no_tls_is_told_with_the_clock(server: FaultServer) -> None:
    with pytest.raises(FetchError, match="clock"):
        http().get(server.url.replace("http:", "https:") + "/f", limit=10)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of nobody's for 127.0.0.1, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    kind = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem -out cert.pem"
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    done = run(["openssl", "req", "-x509", *kind.split(), *name], cwd=folder)
    assert done.exit_code == 0, done.complaint
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def test_R22_a_certificate_nobody_vouches_for_is_refused_at_once(certificate: Path) -> None:
    with FaultServer(certificate) as secure:
        url = secure.serve("/f", b"body")
        with pytest.raises(FetchError, match="certificate is not trusted here"):
            http().get(url, limit=10)
        assert secure.requests == []


def test_R22_the_users_own_authority_is_trusted(certificate: Path) -> None:
    with FaultServer(certificate) as secure:
        url = secure.serve("/f", b"body")
        assert http(ca_file=str(certificate)).get(url, limit=10) == b"body"


def test_R22_a_certificate_for_another_host_is_refused(certificate: Path) -> None:
    with FaultServer(certificate) as secure:
        url = secure.serve("/f", b"body").replace("127.0.0.1", "localhost")
        with pytest.raises(FetchError, match="certificate"):
            http(ca_file=str(certificate)).get(url, limit=10)


def test_R12_a_redirect_out_of_tls_is_refused(server: FaultServer, certificate: Path) -> None:
    with FaultServer(certificate) as secure:
        url = secure.serve("/f", Reply(status=302, headers={"Location": server.serve("/g", b"body")}))
        with pytest.raises(FetchError, match="from https to an unprotected"):
            http(ca_file=str(certificate)).get(url, limit=10)
    assert server.requests == []


def test_fault_9_a_proxy_carries_the_request_and_its_own_credentials(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    server.serve("http://far.example/f", b"through")
    client = http(proxies={"http": server.url.replace("//", "//user:se%40same@")})
    assert client.get("http://far.example/f", limit=10) == b"through"
    pair = base64.b64encode(b"user:se@same").decode()
    assert server.asked("http://far.example/f")[0].headers["proxy-authorization"] == f"Basic {pair}"


def test_fault_9_a_proxy_that_wants_a_password_is_told(server: FaultServer) -> None:
    refusal = Reply(b"who are you", 407)
    server.serve("http://far.example/f", refusal)
    server.serve("far.example:443", refusal)
    client = http(proxies={"http": server.url, "https": server.url})
    for url in ("http://far.example/f", "https://far.example/f"):
        with pytest.raises(FetchError, match="HTTP_PROXY"):
            client.get(url, limit=10)


def test_fault_9_a_kind_of_proxy_we_do_not_speak_is_told() -> None:
    with pytest.raises(FetchError, match="http or https proxy"):
        http(proxies={"http": "socks5://user:sesame@127.0.0.1:1"}).get("http://far.example/f", limit=10)


def test_C09_no_address_is_shown_with_its_secrets(server: FaultServer) -> None:
    assert shown("https://user:sesame@h.example/a/b?token=sesame#x") == "https://h.example/a/b"
    with pytest.raises(FetchError) as caught:
        http().get(server.serve("/f", Reply(status=404)).replace("//", "//u:sesame@") + "?t=sesame", limit=10)
    assert "sesame" not in str(caught.value)


def test_a_size_is_asked_without_the_body(server: FaultServer) -> None:
    url = server.serve("/f", Reply(BODY))
    assert http().size(url) == len(BODY)
    assert [request.method for request in server.requests] == ["HEAD"]
    server.serve("/g", Reply(status=302, headers={"Location": "/f"}))
    assert http().size(f"{server.url}/g") == len(BODY)
    assert http().size(server.serve("/c", Reply(BODY, chunked=True))) is None
    assert http().size(server.serve("/e", Reply(BODY, headers={"Content-Encoding": "gzip"}))) is None
    with pytest.raises(StatusError):
        http().size(f"{server.url}/nowhere")
    with pytest.raises(FetchError):
        http().size("http://127.0.0.1:9/f")


def test_many_threads_share_one_client(server: FaultServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client = http()
    urls = [server.serve(f"/{index}", bytes([index]) * 100_000) for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda url: client.get(url, limit=100_000), urls))
    assert bodies == [bytes([index]) * 100_000 for index in range(16)]


def test_a_port_that_holds_407_is_no_refusing_proxy() -> None:
    from urllib3.exceptions import ReadTimeoutError

    from trainload.system.wire import cut_by

    pool = "HTTPConnectionPool(host='127.0.0.1', port=40709)"
    assert "proxy" not in cut_by(ReadTimeoutError(None, "/", f"{pool}: Read timed out.")).reason  # type: ignore[arg-type]
    assert not cut_by(OSError("Tunnel connection failed: 407 Proxy Authentication Required")).helps


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"ETag": '"a-1"', "Last-Modified": "rubbish"}, 'ETag "a-1"'),
        ({"Last-Modified": OLD, "Date": NOW, "Content-Length": "7"}, f"{OLD}, 7 bytes"),
        ({"ETag": 'W/"a"', "Last-Modified": OLD, "Date": NOW, "Content-Length": "7"}, f"{OLD}, 7 bytes"),
        ({"Last-Modified": "Sat, 28 Nov 2026 11:59:30 GMT", "Date": NOW, "Content-Length": "7"}, None),
        ({"Last-Modified": OLD, "Date": NOW}, None),
        ({"Last-Modified": OLD, "Content-Length": "7"}, None),
        ({"Last-Modified": OLD, "Date": "2026-11-28 12:00", "Content-Length": "7"}, None),
        ({"Last-Modified": OLD.replace("GMT", "-0000"), "Date": NOW, "Content-Length": "7"}, None),
        ({}, None),
    ],
)
def test_a_version_is_told_by_what_changes_with_the_file(headers: dict[str, str], version: str | None) -> None:
    assert version_of(headers) == version


def test_a_server_is_asked_for_a_version_once(server: FaultServer) -> None:
    url = server.serve("/file", Reply(BODY, etag='"1"'))
    moved = server.serve("/moved", Reply(b"", 302, headers={"Location": "/file", "ETag": '"2"'}))
    assert http().version(moved) == 'ETag "1"'
    assert [(each.method, each.path) for each in server.requests] == [("HEAD", "/moved"), ("HEAD", "/file")]
    refusing = server.serve("/refused", Reply(b"", 503, etag='"1"'))
    assert http().version(refusing) is None
    assert len(server.asked("/refused")) == 1
    assert http(offline=True).version(url) is None
