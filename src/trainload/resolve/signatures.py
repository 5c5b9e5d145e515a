"""Who signed an index: OpenPGP clear-signed text against keys pinned by fingerprint (RFC 9580 section 7).

Only the signed part of an InRelease file is ever looked at (THREATS D11). The machine's own trust settings
(``Signed-By``, ``trusted.gpg.d``) do not count: a base is the same on every machine or refused.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from trainload.errors import Place, SignatureError, Text, printable
from trainload.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pysequoia

_PINNED = {
    "debian": frozenset(
        {
            "1F89983E0081FDE018F3CC9673A4F27B8DD47936",  # archive, 11/bullseye
            "AC530D520F2F3269F5E98313A48449044AAD5C5D",  # security archive, 11/bullseye
            "A4285295FC7B1A81600062A9605C66F00D6C9793",  # stable release, 11/bullseye
            "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",  # archive, 12/bookworm
            "05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",  # security archive, 12/bookworm
            "4D64FEC119C2029067D6E791F8D2585B8783D481",  # stable release, 12/bookworm
            "04B54C3CDCA79751B16BC6B5225629DF75B188BD",  # archive, 13/trixie
            "5E04A1E3223A19A20706E20F9904613D4CCE68C6",  # security archive, 13/trixie
            "41587F7DB8C774BCCF131416762F67A0B2C39DE4",  # stable release, 13/trixie
        }
    ),
    "ubuntu": frozenset(
        {
            # the archive key of 2012 is not: it binds its own name with SHA-1, and signs nothing we take
            "F6ECB3762474EDA9D21B7022871920D1991BC93C",  # archive, 2018
        }
    ),
}
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_FRAME = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----\r?\n(?:Hash: [A-Za-z0-9, -]+\r?\n)*\r?\n"
    rb".*\n-----BEGIN PGP SIGNATURE-----\r?\n[A-Za-z0-9+/=:. ()@<>\r\n-]*-----END PGP SIGNATURE-----\s*",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Trust:
    """Keys that may sign a distribution's indexes."""

    certificates: bytes
    """OpenPGP certificates, binary or armored, one after the other."""
    fingerprints: frozenset[str]
    """Primary keys that count, upper-case hexadecimal."""


def shipped(distribution: str) -> Trust:
    """The keys of ``debian`` or ``ubuntu`` as they come with Trainload (``data/keyrings/README.md``)."""
    data = files("trainload").joinpath("data", "keyrings", f"{distribution}.pgp").read_bytes()
    return Trust(data, _PINNED[distribution])


def signed_part(data: bytes, trust: Trust, file: str, now: datetime | None) -> bytes:
    """The text of a clear-signed message with at least one valid signature of a pinned key.

    Raises :class:`SignatureError` for a message that is not signed, is signed by other keys only, has text
    outside the signed part, or is more than one message. Weak hashes do not count, nor does a key that is
    expired ``now``; None: it is enough that the key was valid when it signed.
    """
    if _BEGIN not in data:
        raise SignatureError(
            "the index of an archive is not signed",
            place=Place(file),
            hints=["use another mirror of the distribution"],
        )
    if _FRAME.fullmatch(data) is None or data.count(_BEGIN) != 1 or data.count(_SIGNATURE) != 1:
        raise SignatureError(
            "the index of an archive is cut, or has text outside its signed part",
            place=Place(file),
            hints=["use another mirror of the distribution"],
            retryable=True,
        )
    import pysequoia

    certificates = pysequoia.Cert.split_bytes(trust.certificates)
    pinned = [cert for cert in certificates if cert.fingerprint.upper() in trust.fingerprints]
    expired = {cert.fingerprint.upper() for cert in pinned if now and _expired(cert, now)}
    try:
        # returns only if a signature is valid under sequoia's policy, which refuses SHA-1 and MD5
        verified = pysequoia.verify(bytes=data, store=lambda _ids: pinned)
    except (RuntimeError, ValueError, OSError) as error:
        raise _unverified(file, error, pinned) from None
    signers = {signature.certificate.upper() for signature in verified.valid_sigs}
    if not (signers & trust.fingerprints) - expired or verified.bytes is None:
        late = signers & expired
        raise _unverified(file, f"the key {', '.join(sorted(late))} is expired" if late else None, pinned)
    return bytes(verified.bytes)


def _expired(certificate: pysequoia.Cert, now: datetime) -> bool:
    try:
        expiration: datetime | None = certificate.expiration
    except RuntimeError:  # its expiry is stated under a hash that does not count
        return True
    return expiration is not None and expiration <= now


def _unverified(file: str, error: object, pinned: Sequence[object]) -> SignatureError:
    reason = printable(str(error).split("\n", 1)[0])[:300] if error else None
    return SignatureError(
        Text("no key of the distribution has validly signed the index of an archive"),
        place=Place(file),
        got=reason,
        want=f"a signature of one of the {len(pinned)} keys that come with Trainload",
        hints=["the file was changed on its way, or the mirror signs with keys of its own; use another mirror"],
    )
