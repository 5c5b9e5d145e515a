"""What the OCI distribution specification demands of a registry, section by section (spec.md)."""

from __future__ import annotations

import itertools
import json
from urllib.parse import quote

import pytest
from tests.unit.destinations.server.conftest import Peer, Serve

from trainload.digest import Digest
from trainload.image.model import CONFIG, DOCKER_MANIFEST, INDEX, MANIFEST, UNDISTRIBUTED
from trainload.limits import DEFAULT
from trainload.store.store import Store
from trainload.testing.images import make
from trainload.testing.verifier import images, violations

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def sha(data: bytes) -> str:
    return str(Digest.sha256(data))


# § Determining Support


def test_the_base_says_that_this_is_a_registry(peer: Peer) -> None:
    reply = peer.ask("GET", "/v2/")
    assert (reply.status, reply.headers["docker-distribution-api-version"]) == (200, "registry/2.0")


# § Pulling manifests, § Pulling blobs


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_manifest_is_given_as_it_was_pushed_by_tag_and_by_digest(peer: Peer, method: str) -> None:
    data = b" " + peer.manifest("a/b") + b"\n"  # "in the exact byte representation provided by the client"
    assert peer.ask("PUT", "/v2/a/b/manifests/v1", data, Content_Type=MANIFEST).status == 201
    for reference in ("v1", sha(data)):
        reply = peer.ask(method, f"/v2/a/b/manifests/{reference}", Accept=MANIFEST)
        assert reply.status == 200
        assert reply.headers["docker-content-digest"] == sha(data)
        assert reply.headers["content-type"] == MANIFEST
        assert reply.headers["content-length"] == str(len(data))
        assert reply.body == (data if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_is_given_with_its_digest_and_size(peer: Peer, method: str) -> None:
    digest = peer.upload("a", b"some bytes")
    reply = peer.ask(method, f"/v2/a/blobs/{digest}")
    assert (reply.status, reply.headers["content-length"]) == (200, "10")
    assert reply.headers["docker-content-digest"] == digest
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.body == (b"some bytes" if method == "GET" else b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("thing", [f"blobs/{EMPTY}", f"manifests/{EMPTY}", "manifests/v1"])
def test_what_is_not_there_is_404(peer: Peer, method: str, thing: str) -> None:
    peer.push("here", "v2")
    for name in ("here", "not/here"):  # "An attempt to pull a nonexistent repository MUST return 404"
        reply = peer.ask(method, f"/v2/{name}/{thing}")
        assert reply.status == 404
        if method == "GET":
            assert reply.code == ("BLOB_UNKNOWN" if "blobs" in thing else "MANIFEST_UNKNOWN")


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-3", 206, "bytes 7-9/10", b"789"),
        ("bytes=8-100", 206, "bytes 8-9/10", b"89"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=1-2,4-5", 200, None, b"0123456789"),
    ],
)
def test_a_part_of_a_blob_is_given(
    peer: Peer, wanted: str, status: int, content_range: str | None, body: bytes | None
) -> None:
    digest = peer.upload("a", b"0123456789")
    reply = peer.ask("GET", f"/v2/a/blobs/{digest}", Range=wanted)
    assert (reply.status, reply.headers.get("content-range")) == (status, content_range)
    assert body is None or reply.body == body
    head = peer.ask("HEAD", f"/v2/a/blobs/{digest}", Range=wanted)
    assert (head.status, head.headers["content-length"]) == (status, reply.headers["content-length"])


def test_a_client_that_has_it_already_is_told_so(peer: Peer) -> None:
    """RFC 9110 § 13.1: If-None-Match and If-Range; a blob's digest is its strong validator."""
    digest = peer.upload("a", b"0123456789")
    tag = peer.ask("GET", f"/v2/a/blobs/{digest}").headers["etag"]
    assert tag == f'"{digest}"'
    assert peer.ask("GET", f"/v2/a/blobs/{digest}", If_None_Match=tag).status == 304
    assert peer.ask("GET", f"/v2/a/blobs/{digest}", Range="bytes=1-2", If_Range=tag).status == 206
    assert peer.ask("GET", f"/v2/a/blobs/{digest}", Range="bytes=1-2", If_Range='"other"').status == 200
    manifest = peer.push("a", "v1")
    assert peer.ask("GET", "/v2/a/manifests/v1", If_None_Match=f'"{manifest}"').status == 304


# § Pushing a blob monolithically


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 300_000])
def test_post_then_put(peer: Peer, algorithm: str, data: bytes) -> None:
    begun = peer.ask("POST", "/v2/a/blobs/uploads/")
    assert begun.status == 202
    digest = str(Digest.of(data, algorithm))
    done = peer.ask("PUT", f"{begun.headers['location']}?digest={digest}", data)
    assert (done.status, done.headers["docker-content-digest"]) == (201, digest)
    assert peer.ask("GET", done.headers["location"]).body == data
    assert peer.ask("GET", begun.headers["location"]).status == 404  # the session is over


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_single_post(peer: Peer, algorithm: str) -> None:
    digest = str(Digest.of(b"all at once", algorithm))
    done = peer.ask("POST", f"/v2/a/blobs/uploads/?digest={quote(digest)}", b"all at once")
    assert done.status == 201
    assert peer.ask("GET", done.headers["location"]).body == b"all at once"


def test_bytes_that_are_not_the_digest_s_are_400_and_leave_nothing(peer: Peer) -> None:
    wrong = sha(b"other bytes")
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    for reply in (
        peer.ask("POST", f"/v2/a/blobs/uploads/?digest={wrong}", b"bytes"),
        peer.ask("PUT", f"{location}?digest={wrong}", b"bytes"),
    ):
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    for digest in (wrong, sha(b"bytes")):
        assert peer.ask("HEAD", f"/v2/a/blobs/{digest}").status == 404
    assert list((peer.home / "blobs" / "sha256").iterdir()) == []


@pytest.mark.parametrize("digest", ["", "sha256:short", "md5:" + "0" * 32, "sha256:" + "Z" * 64, "../../x"])
def test_an_invalid_digest_is_400(peer: Peer, digest: str) -> None:
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    assert peer.ask("PUT", f"{location}?digest={quote(digest)}", b"bytes").status == 400
    if digest:
        assert peer.ask("POST", f"/v2/a/blobs/uploads/?digest={quote(digest)}", b"bytes").status == 400
        assert peer.ask("POST", f"/v2/a/blobs/uploads/?mount={quote(digest)}&from=b").status == 400


def test_an_algorithm_can_be_announced_and_one_we_do_not_know_is_400(peer: Peer) -> None:
    begun = peer.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=sha512")
    digest = str(Digest.of(b"bytes", "sha512"))
    assert begun.status == 202
    assert peer.ask("PUT", f"{begun.headers['location']}?digest={digest}", b"bytes").status == 201
    assert peer.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5").status == 400


# § Pushing a blob in chunks


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("last_by_put", [True, False])
def test_chunks_in_order(peer: Peer, algorithm: str, last_by_put: bool) -> None:
    data = bytes(range(256)) * 500
    cuts = [0, 1, 50_000, len(data)]
    location = peer.ask("POST", "/v2/a/blobs/uploads/", b"").headers["location"]
    parts = list(itertools.pairwise(cuts))
    for start, end in parts[:-1] if last_by_put else parts:
        reply = peer.ask("PATCH", location, data[start:end], Content_Range=f"{start}-{end - 1}")
        assert (reply.status, reply.headers["range"]) == (202, f"0-{end - 1}")
        location = reply.headers["location"]
        assert peer.ask("GET", location).headers["range"] == f"0-{end - 1}"
    start, end = parts[-1]
    digest = str(Digest.of(data, algorithm))
    last = (data[start:end], f"{start}-{end - 1}") if last_by_put else (b"", None)
    headers = {"Content_Range": last[1]} if last[1] else {}
    done = peer.ask("PUT", f"{location}?digest={digest}", last[0], **headers)
    assert done.status == 201
    assert peer.ask("GET", done.headers["location"]).body == data


def test_a_chunk_out_of_order_is_416_and_the_status_tells_where_to_go_on(peer: Peer) -> None:
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    assert peer.ask("PATCH", location, b"world", Content_Range="5-9").status == 416
    assert peer.ask("PATCH", location, b"hello", Content_Range="0-4").status == 202
    for wrong in ("0-4", "6-10"):
        refused = peer.ask("PATCH", location, b"world", Content_Range=wrong)
        assert (refused.status, refused.headers["range"], refused.headers["location"]) == (416, "0-4", location)
    digest = sha(b"helloworld")
    assert peer.ask("PUT", f"{location}?digest={digest}", b"world", Content_Range="6-10").status == 416
    status = peer.ask("GET", location)
    assert (status.status, status.headers["range"], status.headers["location"]) == (204, "0-4", location)
    assert peer.ask("PUT", f"{location}?digest={digest}", b"world", Content_Range="5-9").status == 201


def test_a_stream_without_lengths(peer: Peer) -> None:
    """As ``docker push`` sends layers: PATCH with a chunked body and no Content-Range."""
    data = bytes(range(256)) * 3000
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    pieces = (data[start : start + 33_333] for start in range(0, len(data), 33_333))
    reply = peer.ask("PATCH", location, pieces, Transfer_Encoding="chunked")
    assert (reply.status, reply.headers["range"]) == (202, f"0-{len(data) - 1}")
    digest = sha(data)
    assert peer.ask("PUT", f"{reply.headers['location']}?digest={digest}").status == 201
    assert peer.ask("GET", f"/v2/a/blobs/{digest}").body == data


def test_a_session_belongs_to_its_repository_and_ends_when_it_is_cancelled(peer: Peer) -> None:
    """§ Cancel a blob upload."""
    location = peer.ask("POST", "/v2/a/blobs/uploads/").headers["location"]
    peer.ask("PATCH", location, b"hello")
    assert peer.ask("GET", location.replace("/v2/a/", "/v2/b/")).status == 404
    assert peer.ask("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        reply = peer.ask(method, location)
        assert reply.status == 404
    assert peer.ask("PATCH", location, b"x").code == "BLOB_UPLOAD_UNKNOWN"


# § Mounting a blob from another repository


def test_a_blob_is_mounted_from_another_repository_or_from_anywhere(peer: Peer) -> None:
    digest = peer.upload("from/here", b"layer")
    for target, query in (("to/a", "&from=from/here"), ("to/b", "")):
        reply = peer.ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}{query}")
        assert (reply.status, reply.headers["location"]) == (201, f"/v2/{target}/blobs/{digest}")
        assert peer.ask("GET", reply.headers["location"]).body == b"layer"


def test_what_cannot_be_mounted_begins_an_upload(peer: Peer) -> None:
    digest = peer.upload("from/here", b"layer")
    for query in (f"mount={digest}&from=not/there", f"mount={EMPTY}&from=from/here", f"mount={EMPTY}"):
        reply = peer.ask("POST", f"/v2/to/blobs/uploads/?{query}")
        assert reply.status == 202
        assert peer.ask("GET", reply.headers["location"]).status == 204


# § Pushing Manifests


def test_a_manifest_pushed_by_digest_must_have_that_digest(peer: Peer) -> None:
    data = peer.manifest("a")
    for wrong in (EMPTY, "sha256:baddigeststring"):
        reply = peer.ask("PUT", f"/v2/a/manifests/{wrong}", data, Content_Type=MANIFEST)
        assert (reply.status, reply.code) == (400, "DIGEST_INVALID")
    for algorithm in ("sha256", "sha512"):
        digest = str(Digest.of(data, algorithm))
        reply = peer.ask("PUT", f"/v2/a/manifests/{digest}", data, Content_Type=MANIFEST)
        assert (reply.status, reply.headers["docker-content-digest"]) == (201, digest)
        assert peer.ask("GET", reply.headers["location"]).body == data
    assert peer.ask("GET", "/v2/a/tags/list").json["tags"] == []


def test_tags_can_come_with_a_digest(peer: Peer) -> None:
    data = peer.manifest("a")
    tags = [f"v{number}" for number in range(12)]  # "SHOULD support pushing at least 10 tags per request"
    query = "&".join(f"tag={tag}" for tag in tags)
    reply = peer.ask("PUT", f"/v2/a/manifests/{sha(data)}?{query}", data, Content_Type=MANIFEST)
    assert reply.status == 201
    assert reply.headers["oci-tag"].split(", ") == tags
    assert peer.ask("GET", "/v2/a/tags/list").json["tags"] == sorted(tags)
    assert peer.ask("PUT", f"/v2/a/manifests/{sha(data)}?tag=.x", data, Content_Type=MANIFEST).status == 400


def test_a_manifest_that_needs_what_is_not_there_names_all_of_it(peer: Peer) -> None:
    data = peer.manifest("elsewhere")
    reply = peer.ask("PUT", "/v2/a/manifests/v1", data, Content_Type=MANIFEST)
    assert reply.status == 404
    errors = reply.json["errors"]
    assert {error["code"] for error in errors} == {"MANIFEST_BLOB_UNKNOWN"}
    assert {error["detail"]["digest"] for error in errors} == {sha(b'{"of":"x"}'), sha(b"x")}
    assert peer.ask("GET", "/v2/a/tags/list").status == 404


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", MANIFEST),
        (b"not JSON", MANIFEST),
        (b"[]", MANIFEST),
        (b'{"schemaVersion":1}', MANIFEST),
        (b'{"schemaVersion":2,"mediaType":"' + INDEX.encode() + b'","manifests":[]}', MANIFEST),
        (b'{"schemaVersion":2,"manifests":[],"layers":[]}', INDEX),  # CVE-2021-41190
        (b'{"schemaVersion":2,"manifests":[],"manifests":[]}', INDEX),
        (b'{"schemaVersion":2,"manifests":[]}', "text/plain"),
        (b'{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../x","size":1},"layers":[]}', MANIFEST),
    ],
)
def test_R04_R05_R07_what_is_no_manifest_is_refused(peer: Peer, data: bytes, content_type: str) -> None:
    reply = peer.ask("PUT", "/v2/a/manifests/v1", data, Content_Type=content_type)
    assert (reply.status, reply.code) == (400, "MANIFEST_INVALID")
    assert images(peer.home) == {}


def test_a_manifest_is_at_most_4_MiB(peer: Peer) -> None:
    def padded(size: int) -> bytes:
        data = peer.manifest("a", annotations={"pad": ""})
        return data.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(data)) + b'"')

    fits, too_large = padded(DEFAULT.manifest), padded(DEFAULT.manifest + 1)
    assert peer.ask("PUT", "/v2/a/manifests/v1", fits, Content_Type=MANIFEST).status == 201
    assert peer.ask("GET", "/v2/a/manifests/v1").body == fits
    assert peer.ask("PUT", "/v2/a/manifests/v2", too_large, Content_Type=MANIFEST).status == 413
    pieces = (too_large[start : start + 100_000] for start in range(0, len(too_large), 100_000))
    streamed = peer.ask("PUT", "/v2/a/manifests/v2", pieces, Content_Type=MANIFEST, Transfer_Encoding="chunked")
    assert (streamed.status, streamed.code) == (413, "SIZE_INVALID")


def test_kinds_of_manifests(peer: Peer) -> None:
    """Docker schema 2, artifacts, no layers, custom fields, undistributed layers, an index of indexes."""
    peer.upload("a", b"{}")
    config = peer.descriptor(b"{}", "application/vnd.example.config+json")
    away = {"mediaType": UNDISTRIBUTED[1], "digest": EMPTY, "size": 5, "urls": ["https://owner.example/layer"]}
    documents: list[tuple[str, dict[str, object]]] = [
        (DOCKER_MANIFEST, {"mediaType": DOCKER_MANIFEST, "config": config, "layers": []}),
        (MANIFEST, {"config": config, "layers": [], "artifactType": "application/vnd.example"}),
        (
            MANIFEST,
            {"mediaType": MANIFEST, "config": config, "layers": [away], "org.example.more": {"x": [1, None]}},
        ),
        (INDEX, {"mediaType": INDEX, "manifests": []}),
    ]
    for number, (media_type, document) in enumerate(documents):
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        put = peer.ask("PUT", f"/v2/a/manifests/t{number}", data, Content_Type=f"{media_type}; charset=utf-8")
        assert put.status == 201, put
        got = peer.ask("GET", f"/v2/a/manifests/t{number}")
        assert (got.body, got.headers["content-type"]) == (data, media_type)
    inner = peer.index(json.dumps({"schemaVersion": 2, **documents[3][1]}).encode())
    inner = inner.replace(MANIFEST.encode(), INDEX.encode())
    assert peer.ask("PUT", "/v2/a/manifests/nested", inner, Content_Type=INDEX).status == 201
    assert violations(peer.home) == []


# § Pushing Manifests with Subject, § Listing Referrers


def test_referrers_are_listed_in_either_order_of_pushing(peer: Peer) -> None:
    subject = peer.manifest("a", "subject")
    link = peer.descriptor(subject)
    kinds = ("application/vnd.example.sbom", "application/vnd.example.signature")
    pushed = []
    for kind in kinds:
        data = peer.manifest("a", kind, subject=link, artifactType=kind, annotations={"kind": kind})
        reply = peer.ask("PUT", f"/v2/a/manifests/{sha(data)}", data, Content_Type=MANIFEST)
        assert (reply.status, reply.headers["oci-subject"]) == (201, sha(subject))
        pushed.append(data)
    assert peer.ask("PUT", "/v2/a/manifests/v1", subject, Content_Type=MANIFEST).status == 201
    listed = peer.ask("GET", f"/v2/a/referrers/{sha(subject)}")
    assert (listed.status, listed.headers["content-type"]) == (200, INDEX)
    assert "oci-filters-applied" not in listed.headers
    assert (listed.json["schemaVersion"], listed.json["mediaType"]) == (2, INDEX)
    want = [
        {**peer.descriptor(data), "artifactType": kind, "annotations": {"kind": kind}}
        for data, kind in zip(pushed, kinds, strict=True)
    ]
    assert sorted(listed.json["manifests"], key=str) == sorted(want, key=str)
    one = peer.ask("GET", f"/v2/a/referrers/{sha(subject)}?artifactType={quote(kinds[0])}")
    assert one.headers["oci-filters-applied"] == "artifactType"
    assert [entry["artifactType"] for entry in one.json["manifests"]] == [kinds[0]]
    assert peer.ask("DELETE", f"/v2/a/manifests/{sha(pushed[0])}").status == 202
    assert len(peer.ask("GET", f"/v2/a/referrers/{sha(subject)}").json["manifests"]) == 1


def test_the_type_of_a_referrer_is_its_config_s_and_an_index_may_have_none(peer: Peer) -> None:
    link = {"mediaType": MANIFEST, "digest": EMPTY, "size": 7}
    manifest = peer.manifest("a", "plain", subject=link)
    index = peer.index(subject=link, annotations={"a": "b"})
    for data, media_type in ((manifest, MANIFEST), (index, INDEX)):
        assert peer.ask("PUT", f"/v2/a/manifests/{sha(data)}", data, Content_Type=media_type).status == 201
    listed = {one["digest"]: one for one in peer.ask("GET", f"/v2/a/referrers/{EMPTY}").json["manifests"]}
    assert listed[sha(manifest)]["artifactType"] == CONFIG
    assert listed[sha(index)] == {**peer.descriptor(index, INDEX), "annotations": {"a": "b"}}


def test_referrers_are_never_404(peer: Peer) -> None:
    for name in ("a", "not/here"):
        reply = peer.ask("GET", f"/v2/{name}/referrers/{EMPTY}")
        assert (reply.status, reply.json["manifests"]) == (200, [])
    assert peer.ask("GET", "/v2/a/referrers/sha256:x").status == 400


def test_referrers_under_the_fallback_tag_are_listed_too(peer: Peer) -> None:
    """§ Enabling the Referrers API: manifests that an index under the tag schema lists."""
    link = {"mediaType": MANIFEST, "digest": EMPTY, "size": 7}
    data = peer.manifest("a", "old", subject=link)
    peer.ask("PUT", f"/v2/a/manifests/{sha(data)}", data, Content_Type=MANIFEST)
    index = peer.index(data)
    assert peer.ask("PUT", f"/v2/a/manifests/{EMPTY.replace(':', '-')}", index, Content_Type=INDEX).status == 201
    assert [one["digest"] for one in peer.ask("GET", f"/v2/a/referrers/{EMPTY}").json["manifests"]] == [sha(data)]


def test_more_referrers_than_a_manifest_may_hold_come_in_pages(peer: Peer) -> None:
    link = {"mediaType": MANIFEST, "digest": EMPTY, "size": 7}
    pushed = set()
    for number in range(5):
        data = peer.manifest("a", f"r{number}", subject=link, annotations={"pad": "x" * 1_000_000})
        assert peer.ask("PUT", f"/v2/a/manifests/{sha(data)}", data, Content_Type=MANIFEST).status == 201
        pushed.add(sha(data))
    found: list[str] = []
    path = f"/v2/a/referrers/{EMPTY}?artifactType={quote(CONFIG)}"
    pages = 0
    while path:
        reply = peer.ask("GET", path)
        assert len(reply.body) <= DEFAULT.manifest
        found += [one["digest"] for one in reply.json["manifests"]]
        path = reply.headers.get("link", "<>").partition(">")[0][1:]
        pages += 1
    assert (set(found), len(found)) == (pushed, 5)
    assert pages == 2


# § Listing Tags


def test_tags_are_sorted_and_come_in_pages(peer: Peer) -> None:
    tags = ["B", "a", "a.b", "b-c", "v1", "v10", "v2"]
    data = peer.manifest("a")
    for tag in reversed(tags):
        assert peer.ask("PUT", f"/v2/a/manifests/{tag}", data, Content_Type=MANIFEST).status == 201
    whole = peer.ask("GET", "/v2/a/tags/list")
    assert whole.json == {"name": "a", "tags": sorted(tags)}
    assert "link" not in whole.headers
    first = peer.ask("GET", "/v2/a/tags/list?n=3")
    assert (first.json["tags"], first.headers["link"]) == (tags[:3], '</v2/a/tags/list?n=3&last=a.b>; rel="next"')
    assert peer.ask("GET", "/v2/a/tags/list?n=3&last=a.b").json["tags"] == tags[3:6]
    assert peer.ask("GET", "/v2/a/tags/list?last=v10").json["tags"] == ["v2"]
    none = peer.ask("GET", "/v2/a/tags/list?n=0")
    assert (none.json["tags"], "link" in none.headers) == ([], False)
    assert peer.ask("GET", "/v2/a/tags/list?n=x").status == 400
    unknown = peer.ask("GET", "/v2/not/here/tags/list")
    assert (unknown.status, unknown.code) == (404, "NAME_UNKNOWN")


def test_all_repositories_are_listed_in_pages(peer: Peer) -> None:
    for name in ("b", "a/b", "a"):
        peer.upload(name, b"x")
    assert peer.ask("GET", "/v2/_catalog").json == {"repositories": ["a", "a/b", "b"]}
    first = peer.ask("GET", "/v2/_catalog?n=1")
    assert (first.json["repositories"], "link" in first.headers) == (["a"], True)


# § Content Management


def test_a_deleted_tag_is_gone_and_its_manifest_stays(peer: Peer) -> None:
    digest = peer.push("a", "v1")
    assert peer.ask("DELETE", "/v2/a/manifests/v1").status == 202
    assert peer.ask("GET", "/v2/a/manifests/v1").status == 404
    assert peer.ask("GET", f"/v2/a/manifests/{digest}").status == 200
    assert peer.ask("DELETE", "/v2/a/manifests/v1").status == 404


def test_a_deleted_manifest_is_gone_with_all_its_tags(peer: Peer) -> None:
    digest = peer.push("a", "v1")
    peer.push("a", "v2")
    other = peer.push("b", "v1")
    assert digest == other
    assert peer.ask("DELETE", f"/v2/a/manifests/{digest}").status == 202
    for reference in (digest, "v1", "v2"):
        assert peer.ask("GET", f"/v2/a/manifests/{reference}").status == 404
    assert peer.ask("GET", "/v2/b/manifests/v1").status == 200
    assert peer.ask("DELETE", f"/v2/a/manifests/{digest}").status == 404
    assert peer.ask("DELETE", f"/v2/not/here/manifests/{digest}").status == 404


def test_a_deleted_blob_is_gone_at_once_and_one_that_is_needed_stays(peer: Peer) -> None:
    digest = peer.upload("a", b"loose")
    assert peer.ask("DELETE", f"/v2/a/blobs/{digest}").status == 202
    assert peer.ask("GET", f"/v2/a/blobs/{digest}").status == 404
    assert peer.ask("DELETE", f"/v2/a/blobs/{digest}").status == 404
    peer.push("a", "v1")
    refused = peer.ask("DELETE", f"/v2/a/blobs/{sha(b'x')}")
    assert (refused.status, refused.code) == (405, "DENIED")
    assert peer.ask("GET", f"/v2/a/blobs/{sha(b'x')}").status == 200


# the store behind it


def test_images_of_the_store_are_there_to_pull_and_a_missing_tag_is_latest_when_read(serve: Serve) -> None:
    peer = serve()
    store = Store.open(peer.home)
    plain, tagged = make(store, "digits", {"a": b"1"}), make(store, "team/digits:v1", {"b": b"2"})
    store.close()
    assert peer.ask("GET", "/v2/digits/manifests/latest").body == plain.manifest_bytes
    assert peer.ask("GET", "/v2/digits/tags/list").json["tags"] == ["latest"]
    assert peer.ask("GET", "/v2/team/digits/manifests/v1").body == tagged.manifest_bytes
    layer = plain.manifest.layers[0]
    assert len(peer.ask("GET", f"/v2/digits/blobs/{layer.digest}").body) == layer.size
    assert peer.ask("GET", f"/v2/team/digits/blobs/{layer.digest}").status == 404
    assert set(images(peer.home)) == {"digits", "team/digits:v1"}


def test_what_is_pushed_is_an_image_of_the_store(peer: Peer) -> None:
    digest = peer.push("team/digits", "v1")
    assert images(peer.home) == {"team/digits:v1": digest}
    store = Store.open(peer.home)
    store.gc()
    store.close()
    assert peer.ask("GET", "/v2/team/digits/manifests/v1").status == 200
    assert violations(peer.home) == []


def test_L03_I11_a_damaged_blob_is_not_given_and_a_push_mends_it(peer: Peer) -> None:
    digest = peer.upload("a", b"good bytes")
    path = peer.home / "blobs" / "sha256" / digest[7:]
    path.chmod(0o644)
    path.write_bytes(b"evil bytes")
    assert peer.ask("GET", f"/v2/a/blobs/{digest}").status == 404
    assert peer.ask("HEAD", f"/v2/a/blobs/{digest}").status == 404
    peer.upload("a", b"good bytes")
    assert peer.ask("GET", f"/v2/a/blobs/{digest}").body == b"good bytes"


def test_L01_a_link_among_the_blobs_gives_nothing_away(
    peer: Peer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret"
    secret.write_bytes(b"good bytes")
    digest = peer.upload("a", b"good bytes")
    path = peer.home / "blobs" / "sha256" / digest[7:]
    path.unlink()
    path.symlink_to(secret)
    assert peer.ask("GET", f"/v2/a/blobs/{digest}").status == 404


def test_I5_what_a_client_was_told_is_there_stays_until_it_has_pushed(peer: Peer) -> None:
    """Another client moves the only tag that kept the layer, and gc runs; the push that relies on it works."""
    peer.push("a", "v1", "shared")
    data = peer.manifest("a", "shared").replace(b'"layers"', b' "layers"')
    for blob in (b"shared", b'{"of":"shared"}'):
        assert peer.ask("HEAD", f"/v2/a/blobs/{sha(blob)}").status == 200
    peer.push("a", "v1", "other")
    store = Store.open(peer.home)
    store.gc()
    assert store.has(Digest.sha256(b"shared"))
    store.close()
    assert peer.ask("PUT", "/v2/a/manifests/v2", data, Content_Type=MANIFEST).status == 201
