"""From ``base = "image:tag"`` to what the lock keeps of it; images and registry in memory (THREATS R20)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest

from trainload.digest import Digest
from trainload.errors import ConfigError, LockError
from trainload.events import Event, Said
from trainload.image.model import Image
from trainload.image.parse import make_image
from trainload.lock.found import Facts, FoundPython, Installed
from trainload.lock.model import BasePython, Blob, ImageBase, ReleaseFile
from trainload.platform import Platform
from trainload.project.model import Project
from trainload.reference import Reference
from trainload.resolve.image import Resolved, resolve_image
from trainload.resolve.indexes import Services
from trainload.testing import values
from trainload.testing.bases import image as made_image
from trainload.testing.tars import TarEntry

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
PYTHON = FoundPython("/usr/bin/python3.11", "3.11.2", (Installed("pip", "24.0", ("x",)),))
FACTS = Facts("debian", "bookworm", (2, 36), pythons=(PYTHON,), init="/usr/bin/tini",
              passwd="root:x:0:0::/:/bin/sh\nbad\x07line\n", group="root:x:0:\n")  # fmt: skip


def whole(platform: Platform, content: str = "a") -> Image:
    made = made_image((TarEntry(content),), platform=platform)
    config = next(data for data in made.blobs.values() if data.startswith(b"{"))
    return make_image(made.manifest, config, "base")


class Heard(list[str]):
    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.append(str(event.text))


@dataclass
class Memory:
    """Images by platform, and what each has."""

    found: Mapping[Platform, Facts]
    content: str = "a"
    now: Digest | None = None
    asked: list[str] = field(default_factory=list)

    def current(self, reference: Reference, /) -> Digest | None:
        self.asked.append("current")
        return self.now

    def pin(
        self, reference: Reference, platforms: Sequence[Platform], /
    ) -> tuple[Digest, Mapping[Platform, Image]]:
        self.asked.append(f"pin {reference}")
        digest = Digest.sha256(self.content.encode())
        return digest, {platform: whole(platform, self.content) for platform in platforms}

    def image(self, reference: Reference, manifest: Blob, config: Blob, /) -> Image:
        self.asked.append("image")
        return next(
            image for platform in self.found for image in [whole(platform)] if str(image.digest) == manifest.digest
        )

    def facts(self, reference: Reference, image: Image, /) -> Facts:
        return self.found[image.config.platform]


def nobody(_: Sequence[ReleaseFile]) -> Services:
    raise AssertionError("no distribution is asked")


def project(requires: str | None = None, **changed: object) -> Project:
    return replace(values.project(**{"base": "python:3.11-slim", **changed}), requires_python=requires)


def resolved(
    images: Memory, asked: Project | None = None, old: ImageBase | None = None, heard: Heard | None = None
) -> Resolved:
    previous = replace(values.lock(), base=old) if old is not None else None
    return resolve_image(
        asked or project(), sorted(images.found), previous, images, nobody, heard if heard is not None else Heard()
    )  # fmt: skip


def test_the_lock_keeps_digests_and_what_a_build_needs_and_no_secret() -> None:
    found = resolved(Memory({AMD64: FACTS}))
    assert found.base.reference == "python:3.11-slim" and found.base.digest == str(Digest.sha256(b"a"))
    kept = found.base.images["amd64"]
    image = whole(AMD64)
    assert kept.manifest == Blob(str(image.digest), len(image.manifest_bytes))
    assert kept.config == Blob(str(image.manifest.config.digest), image.manifest.config.size)
    assert kept.python == BasePython("/usr/bin/python3.11", "3.11.2", (("pip", "24.0"),))
    assert (kept.glibc, kept.init, kept.suite) == ((2, 36), "/usr/bin/tini", "bookworm")
    assert kept.accounts == (("root:x:0:0::/:/bin/sh",), ("root:x:0:",))
    assert found.pythons == {AMD64: PYTHON} and not found.standalone


def test_a_name_without_a_tag_is_latest_and_a_digest_is_asked_as_it_is() -> None:
    images = Memory({AMD64: FACTS})
    resolved(images, project(base="python"))
    pinned = f"localhost:5000/a/b@{Digest.sha256(b'a')}"
    resolved(images, project(base=pinned))
    assert images.asked == ["pin python:latest", f"pin {pinned}"]


def test_R20_a_tag_that_means_another_image_is_told_and_not_followed() -> None:
    images, heard = Memory({AMD64: FACTS}), Heard()
    first = resolved(images)
    assert resolved(images, old=first.base, heard=heard).base == first.base and heard == []
    images.content, images.now = "b", Digest.sha256(b"b")
    assert resolved(images, old=first.base, heard=heard).base == first.base
    assert len(heard) == 1 and images.now.short in heard[0] and Digest.sha256(b"a").short in heard[0]
    assert resolved(images).base.digest == str(images.now)  # nothing is kept: an upgrade


def test_another_name_or_other_platforms_are_looked_up_anew() -> None:
    images = Memory({AMD64: FACTS})
    first = resolved(images)
    images.asked.clear()
    resolved(images, project(base="python:3.12-slim"), first.base)
    resolved(Memory({AMD64: FACTS, ARM64: FACTS}, asked=images.asked), old=first.base)
    assert images.asked == ["pin python:3.12-slim", "pin python:3.11-slim"]


def test_of_several_pythons_the_one_the_project_takes_is_used() -> None:
    other = FoundPython("/opt/conda/bin/python3.12", "3.12.4")
    images = Memory({AMD64: replace(FACTS, pythons=(other, PYTHON))})
    assert resolved(images).pythons[AMD64] == other
    assert resolved(images, project(python="3.11")).pythons[AMD64] == PYTHON
    assert resolved(images, project(requires="<3.12")).pythons[AMD64] == PYTHON
    assert resolved(images, project(requires=">=3.13")).standalone


def test_a_python_no_distribution_of_ours_has_comes_standalone() -> None:
    rocky = replace(FACTS, distribution="rocky", suite="", pythons=())
    found = resolved(Memory({AMD64: rocky}))
    assert found.standalone and found.base.images["amd64"].python is None and found.base.requested == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"glibc": None, "musl": True}, "has the C library musl"),
        ({"glibc": None}, "has no C library"),
        ({"has_environment": True}, "has something at /opt/venv"),
    ],
)
def test_an_image_that_cannot_be_a_base_is_refused_with_what_to_do(
    changed: dict[str, object], message: str
) -> None:
    with pytest.raises(LockError, match=message) as caught:
        resolved(Memory({AMD64: replace(FACTS, **changed)}))  # type: ignore[arg-type]
    assert caught.value.hints and "python:3.11-slim" in str(caught.value)


def test_the_bases_environment_at_our_place_is_used_if_its_python_is_taken() -> None:
    ours = replace(PYTHON, is_ours=True)
    facts = replace(FACTS, has_environment=True, pythons=(ours,))
    assert resolved(Memory({AMD64: facts})).pythons[AMD64] == ours
    with pytest.raises(LockError, match="has something at /opt/venv"):
        resolved(Memory({AMD64: facts}), project(python="3.12"))


def test_packages_on_a_base_of_no_known_distribution_are_refused_by_name() -> None:
    rocky = replace(FACTS, distribution="rocky", suite="")
    with pytest.raises(LockError, match="packages cannot be placed on python:3.11-slim") as caught:
        resolved(Memory({AMD64: rocky}), project(system=("git",)))
    assert caught.value.got == "rocky" and "bookworm" in str(caught.value.want)
    distroless = replace(FACTS, status="")
    with pytest.raises(LockError, match="packages cannot be placed"):
        resolved(Memory({AMD64: distroless}), project(system=("git",)))


def test_platforms_with_different_pythons_are_refused() -> None:
    older = replace(FACTS, pythons=(FoundPython("/usr/bin/python3.10", "3.10.1"),))
    with pytest.raises(LockError, match="not the same Python on all platforms"):
        resolved(Memory({AMD64: FACTS, ARM64: older}))


def test_scripts_of_packages_are_not_run_over_an_image() -> None:
    with pytest.raises(ConfigError, match="on composed bases only"):
        resolved(Memory({AMD64: FACTS}), project(configure="sandbox"))
