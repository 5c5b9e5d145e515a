"""What a command about a project comes to: a lock that holds, a plan, an image."""

from __future__ import annotations

from trainload.builder.mounts import MountedLayers
from trainload.builder.workshop import MadeLayer
from trainload.digest import Digest
from trainload.image.model import Image, ImageIndex
from trainload.layers.model import Sources
from trainload.lock.model import Lock
from trainload.plan.model import Plan
from trainload.project.model import CodeListing, Project
from trainload.project.weights import Pickles
from trainload.reference import Reference
from trainload.store.store import Store
from trainload.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock that holds for the project as it is now."""

    project: Project
    lock: Lock
    previous: Lock | None
    """What the lock file held before, if it was written anew."""
    is_new: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """A complete plan, and the code it is for."""

    locked: Locked
    plan: Plan
    listing: CodeListing


@dataclass(frozen=True, slots=True)
class Built:
    """An image in the store."""

    planned: Planned
    image: Image
    layers: tuple[MadeLayer, ...]
    references: tuple[str, ...]
    """Empty when it is not whole here."""
    mounted: tuple[MountedLayers, ...] = ()
    bundle: ImageIndex | None = None
    """What the references name, when something is mounted into the image."""

    @property
    def root(self) -> Digest:
        """Of what is named and sent."""
        return self.bundle.digest if self.bundle is not None else self.image.digest

    @property
    def elsewhere(self) -> dict[Digest, Reference]:
        """Layers that are not in the store, and the repositories they lie in."""
        return {
            made.layer.descriptor.digest: made.origin
            for made in (*self.layers, *(layer for one in self.mounted for layer in one.layers))
            if made.origin is not None and not made.here
        }

    def keep(self, store: Store) -> Built:
        """Stored and named; one that is not whole here, and was only to be sent, gets no name."""
        if self.elsewhere or self.bundle is not None:
            for one in (self.image, *(mounted.image for mounted in self.mounted)):
                store.put(one.config_bytes)
                store.put(one.manifest_bytes)
        if self.elsewhere:
            if self.bundle is not None:
                store.put(self.bundle.raw)
            return replace(self, references=())
        if self.bundle is not None:
            store.commit_index(self.bundle, self.references)
        else:
            store.commit_image(self.image, self.references)
        return self


def with_pickles(plan: Plan, lock: Lock, store: Store) -> Plan:
    """``plan`` with what is known of weights that are pickles."""
    if not lock.weights:
        return plan
    from trainload.builder.pickles import told

    return told(plan, lock, store)


def look_into(locked: Locked, store: Store, sources: Sources, policy: Pickles) -> None:
    """Look for pickles, if that is the policy: refused before anything is made, told once they are here."""
    if locked.lock.weights and locked.project.settings.weights_pickles.value is policy:
        from trainload.builder.pickles import check

        check(locked.lock, policy, store, sources)
