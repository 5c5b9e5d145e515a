"""Archives of images for tests: ours, taken apart and put together again, and such as Docker 20.10 writes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Mapping

from trainload.destinations.arrivals import Arriving
from trainload.destinations.departure import choose
from trainload.destinations.intake import Wanted
from trainload.destinations.load import load
from trainload.destinations.save import pack, write
from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.events import SILENT
from trainload.image.model import Image
from trainload.platform import Platform
from trainload.store.store import Store
from trainload.testing.tars import TarEntry, tar
from trainload.testing.verifier import snapshot, violations


def saved(store: Store, *names: str, omit: Iterable[Digest] = (), platform: Platform | None = None) -> bytes:
    out = io.BytesIO()
    archive = pack(choose(store, names, platform), frozenset(omit))
    write(store, archive, out)
    assert len(out.getvalue()) == archive.size
    return out.getvalue()


def loaded(store: Store, data: bytes, *names: str, platform: Platform | None = None) -> list[Arriving]:
    with store.writing():
        return list(load(store, io.BytesIO(data), "x.tar", Wanted(names, platform), SILENT))


def refusal(store: Store, data: bytes, *names: str) -> TrainloadError:
    """Why the archive is refused; the store is as it was, to the byte. Raises AssertionError when it is taken."""
    before = snapshot(store.home)
    try:
        loaded(store, data, *names)
    except TrainloadError as error:
        if snapshot(store.home) != before or violations(store.home, clean=True):
            raise AssertionError(f"the store was changed by an archive that was refused: {error}") from error
        return error
    raise AssertionError("the archive was taken")


def files_of(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def tarred(files: Mapping[str, bytes]) -> bytes:
    return tar(*(TarEntry(name, data) for name, data in files.items()))


def docker_files(image: Image, store: Store, *, packed: bool = False) -> dict[str, bytes]:
    """As `docker save` of Docker 20.10 writes it, with plain or gzipped layers."""
    config = f"{image.manifest.config.digest.hex}.json"
    files = {config: image.config_bytes}
    for number, layer in enumerate(image.manifest.layers):
        blob = store.path(layer.digest).read_bytes()
        files[f"layer{number}/layer.tar"] = blob if packed else gzip.decompress(blob)
        files[f"layer{number}/VERSION"] = b"1.0"
    layers = [name for name in files if name.endswith("layer.tar")]
    entry = {"Config": config, "RepoTags": ["digits:v3", "docker.io/team/other:latest"], "Layers": layers}
    return {**files, "manifest.json": json.dumps([entry]).encode(), "repositories": b"{}"}
