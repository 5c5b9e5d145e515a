"""The keys that come with Trainload are the pinned ones, and they are usable."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trainload.resolve.signatures import shipped


@pytest.mark.parametrize(("distribution", "count"), [("debian", 9), ("ubuntu", 1)])
def test_every_pinned_key_is_shipped_and_its_expiry_can_be_read(distribution: str, count: int) -> None:
    import pysequoia

    trust = shipped(distribution)
    certificates = {c.fingerprint.upper(): c for c in pysequoia.Cert.split_bytes(trust.certificates)}
    assert len(trust.fingerprints) == count
    assert trust.fingerprints <= certificates.keys()
    for fingerprint in trust.fingerprints:
        expiration = certificates[fingerprint].expiration
        assert not certificates[fingerprint].is_revoked
        assert expiration is None or expiration > datetime(2028, 1, 1, tzinfo=UTC)
