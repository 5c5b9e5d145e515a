"""A base is resolved from signed indexes only; everything else is refused and leaves nothing behind."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from trainload.errors import ConfigError, FetchError, LockError, SignatureError, TrainloadError
from trainload.lock.distribution.suites import Pocket
from trainload.lock.model import ArchivePath, DistributionBase, ReleaseFile
from trainload.resolve.archives import Archives, find_archives
from trainload.resolve.distribution import resolve_distribution
from trainload.resolve.indexes import Services
from trainload.system.http import Http, Retry
from trainload.system.process import run
from trainload.testing.archive import NOW, Archive, Key, Publication, base, stanza
from trainload.testing.server import LoopbackServer

MAIN = Pocket("debian", "bookworm")
IN_RELEASE = "debian/dists/bookworm/InRelease"
PACKAGES = "main/binary-amd64/Packages.xz"
KEY = Key()
OTHER_KEY = Key("Somebody else <else@archive.example>")


@dataclass
class Server:
    """The files of an archive on loopback; ``redirects`` and ``asked`` by path."""

    files: Mapping[str, bytes]
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    before: Callable[[str], object] = lambda path: None
    url: str = ""


@pytest.fixture
def serve() -> Iterator[Callable[[Mapping[str, bytes]], Server]]:
    running: list[tuple[LoopbackServer, threading.Thread]] = []

    def start(files: Mapping[str, bytes]) -> Server:
        server = Server(files)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                server.asked.append(path)
                server.before(path)
                if path in server.redirects:
                    self.send_response_only(302)
                    self.wfile.write(
                        b"HTTP/1.0 302 Found\r\nLocation: " + server.redirects[path].encode() + b"\r\n\r\n"
                    )
                    return
                body = server.files.get(path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                """Quiet."""

        http = LoopbackServer(Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        running.append((http, thread))
        server.url = f"http://127.0.0.1:{http.server_port}"
        return server

    yield start
    for http, thread in running:
        http.shutdown()
        thread.join()
        http.server_close()


Serve = Callable[[Mapping[str, bytes]], Server]


class MemoryCache(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


@dataclass
class World:
    archive: Archive
    server: Server
    cache: MemoryCache
    services: Services

    def resolve(self, *system: str, profile: str = "slim", suite: str = "bookworm") -> DistributionBase:
        return resolve_distribution(
            suite, profile=profile, system=system, architectures=("amd64",), services=self.services
        )

    def publish(self, packages: str, **changes: object) -> None:
        """Another index of the main pocket."""
        what = Publication(MAIN, {PACKAGES: lzma.compress(packages.encode())})
        self.archive.publish(replace(what, **changes))  # type: ignore[arg-type]

    def refused(self, kind: type[TrainloadError], *words: str, nothing: bool = True) -> TrainloadError:
        """The error of ``kind`` whose message has ``words``; and nothing was kept."""
        with pytest.raises(kind) as caught:
            self.resolve()
        for word in words:
            assert word in str(caught.value), str(caught.value)
        if nothing:
            assert self.cache == {}
        return caught.value


def http() -> Http:
    return Http(retry=Retry(tries=2, first=0.0), sleep=lambda seconds: None, proxies={})


def archives(*servers: Server) -> Archives:
    return find_archives([server.url for server in servers], system=Path("/nonexistent"), public={})


@pytest.fixture
def world(serve: Serve) -> World:
    archive = Archive(KEY)
    archive.publish_suite("bookworm", base(stanza("ffmpeg", "1.0-1", "Depends: libav")) + "\n" + stanza("libav"))
    server = serve(archive.files)
    cache = MemoryCache()
    return World(
        archive, server, cache, Services(http(), archives(server), cache, NOW, trust=lambda _: KEY.trust())
    )


def test_a_base_is_exact_bytes_located_by_archive_and_path(world: World) -> None:
    made = world.resolve("ffmpeg")
    assert (made.distribution, made.suite, made.profile) == ("debian", "bookworm", "slim")
    assert (made.python, made.glibc) == ("3.11", (2, 36))
    found = {package.name: package for package in made.packages["amd64"]}
    assert {"ffmpeg", "libav", "python3", "python3.11", "tini"} <= found.keys()
    assert "apt" not in found
    ffmpeg = found["ffmpeg"].file
    assert ffmpeg.location == ArchivePath("debian", "pool/main/f/ffmpeg/ffmpeg_1.0-1_amd64.deb")
    assert (ffmpeg.name, ffmpeg.size, found["ffmpeg"].installed_size) == ("ffmpeg_1.0-1_amd64.deb", 1000, 10240)
    assert ffmpeg.sha256 == hashlib.sha256(b"ffmpeg 1.0-1").hexdigest()
    assert [one.suite for one in made.releases] == ["bookworm", "bookworm-updates", "bookworm-security"]
    assert made.releases[0].date == "2035-01-14T12:00:00Z"
    assert list(made.packages["amd64"]) == sorted(made.packages["amd64"])


def test_both_architectures_are_resolved_wherever_we_run(world: World) -> None:
    made = resolve_distribution(
        "apt:bookworm", profile="slim", system=["ffmpeg"], architectures=("amd64", "arm64"), services=world.services
    )
    assert {package.architecture for package in made.packages["arm64"]} == {"arm64"}
    assert [p.name for p in made.packages["amd64"]] == [p.name for p in made.packages["arm64"]]


def test_ubuntu_for_arm64_comes_from_its_ports_archive(serve: Serve) -> None:
    archive = Archive(KEY)
    archive.publish_suite("noble", base())
    server = serve(archive.files)
    services = Services(http(), archives(server), MemoryCache(), NOW, trust=lambda _: KEY.trust())
    made = resolve_distribution(
        "noble", profile="slim", system=[], architectures=("amd64", "arm64"), services=services
    )
    places = {a: {p.file.location.archive for p in made.packages[a]} for a in made.packages}  # type: ignore[union-attr]
    assert places == {"amd64": {"ubuntu"}, "arm64": {"ubuntu-ports"}}


def test_a_second_lock_reads_the_signed_indexes_only(world: World) -> None:
    first = world.resolve()
    world.server.asked.clear()
    assert world.resolve() == first
    assert {path.rpartition("/")[2] for path in world.server.asked} == {"InRelease"}


def test_a_spoiled_cache_entry_is_made_again(world: World) -> None:
    first = world.resolve()
    for key in world.cache:
        world.cache[key] = world.cache[key][:-3] + b"xyz"
    assert world.resolve() == first


def test_unknown_suites_and_profiles_are_named_with_what_there_is(world: World) -> None:
    with pytest.raises(ConfigError, match="apt:buster.*want apt:bookworm, apt:trixie, apt:jammy, apt:noble"):
        world.resolve(suite="apt:buster")
    with pytest.raises(ConfigError, match="fat is not a profile; want slim, dev, distroless"):
        world.resolve(profile="fat")


def test_D11_an_unsigned_index_is_refused(world: World) -> None:
    world.publish(base(), sign=lambda text: text)
    world.refused(SignatureError, "is not signed", f"{world.server.url}/{IN_RELEASE}", "use another mirror")


def test_D11_an_index_signed_by_another_key_is_refused(world: World) -> None:
    world.publish(base(), sign=OTHER_KEY.sign)
    world.refused(SignatureError, "no key of the distribution has validly signed", IN_RELEASE, "use another mirror")


def test_D11_an_index_changed_after_signing_is_refused(world: World) -> None:
    world.archive.files[IN_RELEASE] = world.archive.files[IN_RELEASE].replace(b"Origin: Test", b"Origin: Best")
    world.refused(SignatureError, "no key of the distribution has validly signed")


def test_D11_a_key_that_is_not_pinned_does_not_count_even_when_we_have_it(world: World) -> None:
    trust = KEY.trust()
    world.services = replace(world.services, trust=lambda _: replace(trust, fingerprints=frozenset({"0" * 40})))
    world.refused(SignatureError, "no key of the distribution")


@pytest.mark.parametrize("where", ["before", "after", "between"])
def test_D11_text_outside_the_signed_part_is_refused(world: World, where: str) -> None:
    signed = world.archive.files[IN_RELEASE]
    evil = b"Origin: Evil\nSHA256:\n " + b"0" * 64 + b" 1 main/binary-amd64/Packages.xz\n"
    world.archive.files[IN_RELEASE] = {
        "before": evil + signed,
        "after": signed + evil,
        "between": signed + evil + signed,
    }[where]
    world.refused(SignatureError, "has text outside its signed part")


def test_D11_a_cut_index_is_refused(world: World) -> None:
    world.archive.files[IN_RELEASE] = world.archive.files[IN_RELEASE][:-100]
    world.refused(SignatureError, "is cut")


def test_D11_a_key_that_is_expired_does_not_count(world: World) -> None:
    short = Key(validity=3600)  # from the machine's clock on, and NOW is years later
    trust = short.trust()
    world.services = replace(world.services, trust=lambda _: trust)
    world.publish(base(), sign=short.sign)
    world.refused(SignatureError, "no key of the distribution has validly signed", "is expired", IN_RELEASE)


@pytest.mark.skipif(shutil.which("gpg") is None, reason="needs gpg to make a signature over SHA-1")
def test_D11_a_signature_over_a_weak_hash_is_refused(world: World) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="gpg-") as home:  # the agent's socket needs a short path
        try:
            refuses_a_weak_signature(world, Path(home))
        finally:
            run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])


def refuses_a_weak_signature(world: World, home: Path) -> None:
    from trainload.resolve.signatures import Trust

    gpg = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]
    made = run([*gpg, "--quick-generate-key", "weak@archive.example", "rsa2048", "sign", "never"])
    assert made.exit_code == 0, made.complaint
    listed = run([*gpg, "--with-colons", "--list-keys"]).stdout.decode()
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    trust = Trust(run([*gpg, "--export"]).stdout, frozenset({fingerprint}))

    def sign(algorithm: str) -> Callable[[bytes], bytes]:
        weak = ["--digest-algo", algorithm, "--allow-weak-digest-algos"]
        return lambda text: run([*gpg, *weak, "--clearsign"], stdin=text).stdout

    world.services = replace(world.services, trust=lambda _: trust)
    for pocket in (MAIN, Pocket("debian", "bookworm-updates"), Pocket("debian-security", "bookworm-security")):
        packages = {PACKAGES: lzma.compress(base().encode())}
        world.archive.publish(Publication(pocket, packages, sign=sign("SHA512")))
    assert world.resolve().packages
    world.cache.clear()
    world.publish(base(), sign=sign("SHA1"))
    world.refused(SignatureError, "no key of the distribution has validly signed")


def test_D11_an_index_with_weak_hashes_only_is_refused(world: World) -> None:
    world.publish(base(), hashes=("MD5Sum", "SHA1"))
    world.refused(SignatureError, "has no SHA256 hashes", "weaker hashes are not accepted")


def test_D11_a_signed_index_of_another_suite_is_refused(world: World) -> None:
    world.publish(base(), suite="buster")
    world.refused(SignatureError, "is of another suite; got buster; want bookworm")


def test_D12_an_index_past_its_valid_until_is_refused_unless_allowed(world: World) -> None:
    past = NOW - timedelta(hours=1)
    world.publish(base(), valid_until=past)
    world.refused(
        SignatureError, "the index of bookworm is stale", "valid until 2035-01-15 11:00 UTC", "--allow-stale"
    )
    world.services = replace(world.services, allow_stale=True)
    assert world.resolve().packages["amd64"]


def test_D12_an_index_older_than_the_last_locks_is_refused_unless_allowed(world: World) -> None:
    seen = ReleaseFile("debian", "bookworm", "2035-01-14T12:00:01Z", "0" * 64)
    world.services = replace(world.services, previous=(seen,))
    world.refused(SignatureError, "the index of bookworm is older than the one the lock was made from", "another")
    world.services = replace(world.services, previous=(replace(seen, date="2035-01-14T12:00:00Z"),))
    assert world.resolve().packages["amd64"]
    world.services = replace(world.services, previous=(seen,), allow_stale=True)
    assert world.resolve().packages["amd64"]


def test_D12_an_index_from_the_future_blames_the_clock(world: World) -> None:
    world.services = replace(world.services, now=NOW - timedelta(days=30))
    world.refused(SignatureError, "comes from the future", "check this machine's clock")


def test_D13_a_packages_file_that_the_index_does_not_name_is_refused(world: World) -> None:
    for path in list(world.archive.files):
        if path.startswith("debian/dists/bookworm/main/binary-amd64/"):
            world.archive.files[path] = b"x" * len(world.archive.files[path])
    error = world.refused(
        SignatureError, "is not the one that the signed index names", "want", "sha256", nothing=False
    )
    assert error.retryable
    assert all(b"ffmpeg" not in data for data in world.cache.values())


def test_D13_a_packages_file_that_is_too_long_is_refused(world: World) -> None:
    for path in list(world.archive.files):
        if path.startswith("debian/dists/bookworm/main/binary-amd64/"):
            world.archive.files[path] += b"x"
    world.refused(FetchError, "has another size than it should", nothing=False)


def test_D13_a_package_without_sha256_is_refused(world: World) -> None:
    weak = stanza("ffmpeg", SHA256="", MD5sum="0" * 32, SHA1="0" * 40)
    world.publish(base(weak))
    world.refused(LockError, "ffmpeg has no SHA256 in the index", "bookworm/main/binary-amd64", nothing=False)


def test_D14_a_mirror_that_moves_on_is_read_by_hash(world: World) -> None:
    """The plain path already has the next index; the file by hash is still there."""
    world.archive.files[f"debian/dists/bookworm/{PACKAGES}"] = lzma.compress(base(stanza("newer")).encode())
    assert world.resolve("ffmpeg").packages["amd64"]


def test_D14_an_archive_renewed_between_index_and_files_is_begun_anew_as_a_whole(world: World) -> None:
    old = {k: v for k, v in world.archive.files.items() if k.startswith("debian/dists/bookworm/")}
    newer = base(stanza("ffmpeg", "2.0-1"))
    renewed = Archive(KEY)
    renewed.publish_suite("bookworm", newer)

    def renew(path: str) -> None:
        if "by-hash" in path and any(path == k for k in old):
            for key in old:
                world.archive.files[key] = b"gone"
            world.archive.files.update(renewed.files)

    world.server.before = renew
    found = {p.name: p.version for p in world.resolve("ffmpeg").packages["amd64"]}
    assert found["ffmpeg"] == "2.0-1"
    assert world.server.asked.count(IN_RELEASE) == 2
    assert world.server.asked.count("debian-security/dists/bookworm-security/InRelease") == 2


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/\tx", "/debian/a b", "/x\x7fy"])
def test_D15_a_redirect_with_control_characters_is_refused(world: World, target: str) -> None:
    world.server.redirects[IN_RELEASE] = target
    world.refused(FetchError, "redirects to an address with forbidden characters")


def test_a_bad_mirror_is_passed_over_for_a_good_one(world: World, serve: Serve) -> None:
    hostile = Archive(OTHER_KEY)
    hostile.publish_suite("bookworm", base(stanza("ffmpeg", "9.9-1")))
    empty, bad = serve({}), serve(hostile.files)
    world.services = replace(world.services, archives=archives(empty, bad, world.server))
    assert {p.version for p in world.resolve("ffmpeg").packages["amd64"] if p.name == "ffmpeg"} == {"1.0-1"}


def test_of_several_reasons_the_gravest_is_told(world: World, serve: Serve) -> None:
    hostile = Archive(OTHER_KEY)
    hostile.publish_suite("bookworm", base())
    world.services = replace(world.services, archives=archives(serve({}), serve(hostile.files)))
    world.refused(SignatureError, "no key of the distribution")


def test_no_mirror_at_all_says_what_to_set(world: World) -> None:
    nothing = find_archives(system=Path("/nonexistent"), public={})
    world.services = replace(world.services, archives=nothing)
    world.refused(LockError, "no mirror of the debian archive is known", "TRAINLOAD_MIRRORS_APT")


def test_an_archive_that_does_not_answer_says_so(world: World, serve: Serve) -> None:
    world.services = replace(world.services, archives=archives(serve({})))
    world.refused(FetchError, "no mirror of the debian archive has bookworm", "HTTP 404", "set a mirror")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Package": "../../x"}, "Package of ../../x is malformed"),
        ({"Version": "1/2"}, "Version of evil is malformed"),
        ({"Filename": "../pool/x.deb"}, "Filename of evil is malformed"),
        ({"Filename": "/pool/x.deb"}, "Filename of evil is malformed"),
        ({"Filename": "pool//x.deb"}, "Filename of evil is malformed"),
        ({"Size": "-1"}, "Size of evil is malformed"),
        ({"Depends": "a\r"}, "carriage returns"),
        ({"Description": "x\0y"}, "NUL"),
        ({"Version": "1\nVersion: 2"}, "Version stands twice"),
        ({"Description": "x" * (1 << 20)}, "a stanza is too long"),
    ],
)
def test_D09_a_stanza_that_breaks_the_grammar_is_refused(world: World, change: dict[str, str], words: str) -> None:
    world.publish(base(stanza("evil", **change)))
    world.refused(LockError, words, "bookworm/main/binary-amd64/Packages.xz", nothing=False)
    assert all(b"evil" not in data for data in world.cache.values())


def test_D09_an_index_that_is_not_utf_8_is_refused(world: World) -> None:
    text = base(stanza("evil", Description="ä")).encode("latin-1")
    world.archive.publish(Publication(MAIN, {PACKAGES: lzma.compress(text)}))
    world.refused(LockError, "is not UTF-8", nothing=False)


@pytest.mark.parametrize(
    "spoil", [lambda d: d[: len(d) // 2], lambda d: b"BZh9" + d, lambda d: d + b"trailing junk"]
)
def test_a_packages_file_that_cannot_be_unpacked_is_refused(world: World, spoil: Callable[[bytes], bytes]) -> None:
    world.archive.publish(Publication(MAIN, {PACKAGES: spoil(lzma.compress(base().encode()))}))
    world.refused(LockError, "Packages.xz", nothing=False)


def test_D17_a_dependency_bomb_is_bounded_and_told_as_a_chain(world: World) -> None:
    chain = [stanza(f"bomb{i}", "1", f"Depends: bomb{i + 1}") for i in range(4000)]
    world.publish(base(*chain, stanza("bomb4000")))
    with pytest.raises(LockError, match="the dependencies of bomb0 do not end; got bomb0 → bomb1 → .* → … → "):
        world.resolve("bomb0")


def test_fault_9_offline_no_archive_is_asked(world: World) -> None:
    world.services = replace(world.services, http=replace(world.services.http, offline=True))
    world.refused(FetchError, "the packages of bookworm", "cannot be chosen offline")
    assert world.server.asked == []


def test_fault_9_offline_a_base_is_chosen_anew_from_what_was_seen_last(world: World) -> None:
    world.publish(base(stanza("ffmpeg")), valid_until=NOW + timedelta(days=7))
    first = world.resolve()
    asked = len(world.server.asked)
    online = world.services
    world.services = replace(online, http=replace(online.http, offline=True))
    assert world.resolve() == first
    more = {package.name for package in world.resolve("ffmpeg").packages["amd64"]}
    assert more - {package.name for package in first.packages["amd64"]} == {"ffmpeg"}
    assert len(world.server.asked) == asked
    world.services = replace(world.services, now=NOW + timedelta(days=8))
    world.refused(SignatureError, "is stale", "--allow-stale accepts it", nothing=False)
    world.services = replace(world.services, allow_stale=True)
    assert world.resolve() == first


def test_D11_offline_a_kept_index_is_verified_as_a_new_one(world: World) -> None:
    world.resolve()
    offline = replace(world.services, http=replace(world.services.http, offline=True))
    (key,) = [key for key in world.cache if key == "release-debian-bookworm"]
    good = world.cache[key]
    world.services = offline
    world.cache[key] = good.replace(b"Codename: bookworm", b"Codename: bookwork")
    world.refused(SignatureError, nothing=False)
    world.cache[key] = good
    del world.cache[next(name for name in world.cache if name.startswith("packages-"))]
    world.refused(FetchError, "cannot be chosen offline", nothing=False)
