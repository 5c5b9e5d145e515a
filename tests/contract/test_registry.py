"""The client against real registries: Debian's docker-registry."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from tests.peers import DockerRegistry

from trainload.digest import Digest, canonical_json
from trainload.errors import RegistryError
from trainload.events import How
from trainload.image.model import CONFIG, LAYER_GZIP, MANIFEST, Descriptor
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.system.http import Http

pytestmark = pytest.mark.skipif(bool(DockerRegistry.missing()), reason=DockerRegistry.missing())
BLOB = os.urandom(3 << 20)


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("registry")) as made:
        yield made


def blob_of(data: bytes, kind: str = LAYER_GZIP) -> Descriptor:
    return Descriptor(kind, Digest.sha256(data), len(data))


def test_what_was_pushed_is_found_listed_and_read_back(peer: DockerRegistry) -> None:
    client = Client(Http())
    name = Reference.parse(f"{peer.host}/team/app:v1")
    config, layer = blob_of(b"{}", CONFIG), blob_of(BLOB)
    assert client.find(name) is None
    assert client.upload(name, layer, lambda: io.BytesIO(BLOB)) is How.SENT
    assert client.upload(name, layer, lambda: io.BytesIO(BLOB)) is How.PRESENT
    assert client.upload(name, config, lambda: io.BytesIO(b"{}")) is How.SENT
    other = Reference.parse(f"{peer.host}/team/other")
    assert client.upload(other, layer, lambda: io.BytesIO(BLOB), [name]) is How.MOUNTED
    data = canonical_json(
        {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": str(config.digest), "size": config.size},
            "layers": [{"mediaType": LAYER_GZIP, "digest": str(layer.digest), "size": layer.size}],
        }
    )  # fmt: skip
    digest = client.put_manifest(name, data, MANIFEST)
    found = client.find(name)
    assert found == Descriptor(MANIFEST, digest, len(data))
    assert client.manifest(name).data == data
    assert client.manifest(Reference(name.domain, name.path, digest=digest)).data == data
    assert client.tags(name) == ("v1",)
    taken = bytearray()
    assert client.download(name, layer, taken.extend, taken.clear) == len(BLOB)
    assert taken == BLOB
    assert client.referrers(name, digest) == ()
    client.delete(Reference(name.domain, name.path, digest=digest))
    assert client.find(name) is None
    with pytest.raises(RegistryError, match="MANIFEST_UNKNOWN"):
        client.manifest(name)
