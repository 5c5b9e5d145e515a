"""An image in a registry, looked at: its manifest and config, and no layer."""

from __future__ import annotations

from trainload.errors import ImageError, Text
from trainload.image.model import Image, ImageIndex
from trainload.image.parse import is_image_config, make_image, parse_manifest, select
from trainload.limits import DEFAULT
from trainload.platform import Platform
from trainload.reference import Reference
from trainload.registry.client import Client
from trainload.values import replace


def remote_image(client: Client, reference: Reference, platform: Platform) -> Image:
    """What ``reference`` names; of an index the image for ``platform``.

    Raises :class:`RegistryError`, and :class:`ImageError` for what is no image.
    """
    name = str(reference)
    fetched = client.manifest(reference)
    parsed = parse_manifest(fetched.data, name, media_type=fetched.media_type)
    for _ in range(DEFAULT.index_depth):
        if not isinstance(parsed, ImageIndex):
            break
        fetched = client.manifest(replace(reference, tag=None, digest=select(parsed, platform).digest))
        parsed = parse_manifest(fetched.data, name, media_type=fetched.media_type)
    if isinstance(parsed, ImageIndex) or not is_image_config(parsed.config.media_type):
        raise ImageError(Text("{name} is no image that can run", name=name))
    if parsed.config.size > DEFAULT.config:
        raise ImageError(
            Text("the config of {name} is too large", name=name), got=f"{parsed.config.size:,} bytes",
            want=f"at most {DEFAULT.config:,} bytes",
        )  # fmt: skip
    config = bytearray()
    client.download(reference, parsed.config, config.extend, config.clear)
    return make_image(fetched.data, bytes(config), name)
