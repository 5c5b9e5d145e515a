"""Content digests as the OCI image specification writes them (descriptor.md § Digests)."""

from __future__ import annotations

import hashlib
import json
import re

from trainload.errors import ImageError, Text
from trainload.values import dataclass

_HEX_LENGTH = {"sha256": 64, "sha512": 128}  # the registered algorithms
_GRAMMAR = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([0-9a-f]+)", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A registered algorithm and the lower-case hexadecimal hash; safe to use in a file name (THREATS R07)."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The digest written as ``algorithm:hex``.

        Raises :class:`ImageError` for anything but a registered algorithm with a hash of its exact length.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None or _HEX_LENGTH.get(match[1]) != len(match[2]):
            raise ImageError(
                Text("{digest} is not a digest", digest=text[:200]), want="sha256:<64 hexadecimal digits>"
            )
        return cls(match[1], match[2])

    @classmethod
    def sha256(cls, data: bytes | bytearray | memoryview) -> Digest:
        return cls("sha256", hashlib.sha256(data).hexdigest())

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of ``data`` with a registered algorithm."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def matches(self, data: bytes | bytearray | memoryview) -> bool:
        """Whether ``data`` has this digest."""
        return hashlib.new(self.algorithm, data).hexdigest() == self.hex

    @property
    def short(self) -> str:
        """Twelve digits: enough for a person, as Docker shows them."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def canonical_json(value: object) -> bytes:
    """``value`` as JSON with one spelling only: sorted keys, no spaces, UTF-8, no NaN; what we hash and store."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
