"""A layer that came from elsewhere, read once for all that is ever asked of it: its listing, and what it tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trainload.builder.dockerfile.listing import Listing, Seen, of_member, statement
from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.image.model import Layer
from trainload.layers.foreign import look
from trainload.layers.foreign.changes import Change, Effect, LayerReader, Reader
from trainload.layers.tar import Header
from trainload.layers.tarread import MemberKind
from trainload.limits import DEFAULT, KiB, Limits
from trainload.store.store import Store
from trainload.values import dataclass, field

TEXT_LIMIT = 256 * KiB
_TEXT = re.compile(
    r"etc/(?!ssl/|alternatives/).* | (?:.*/)?bin/(?:pip|pip3)[0-9.]* | var/lib/apt/extended_states"
    r"| (?:.*/)?requirements[^/]*\.txt | usr/share/keyrings/.*"
    r"| var/cache/debconf/config\.dat",
    re.VERBOSE,
)
"""What lines of a Dockerfile ask for: kept with the listing, so that the layer is not read again for it."""
_AT_ONCE = 4
"""Inflating and hashing leave the interpreter to others; reading headers does not."""


def survey(layers: Sequence[Layer], store: Store, limits: Limits) -> None:
    """Note the listings of ``layers``, several at once. Raises :class:`LayerError` for a broken one."""
    work = partial(_survey, store=store, limits=limits)
    if len(layers) < 2:
        for layer in layers:
            work(layer)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_AT_ONCE, "survey") as pool:
        for done in [pool.submit(work, layer) for layer in layers]:
            done.result()


def _survey(layer: Layer, store: Store, limits: Limits) -> None:
    listing = _both(layer, store, limits) if store.facts.said(look.statement(layer.diff_id)) is None else None
    if listing is None:
        survey = _Survey(limits)
        with store.blob_file(layer.descriptor.digest) as blob:
            reader = LayerReader(blob, layer.diff_id, str(layer.diff_id), limits=limits)
            for change in reader:
                survey.take(change, reader, look.Findings())
        listing = survey.listing()
    store.facts.note(statement(layer.diff_id), listing.packed())


def _both(layer: Layer, store: Store, limits: Limits) -> Listing | None:
    """The listing, with the findings noted; None where these cannot be told, which is no fault of a COPY."""
    survey = _Survey(limits)
    try:
        with store.blob_file(layer.descriptor.digest) as blob:
            name = str(layer.diff_id)
            found = look.look(blob, layer.diff_id, name, limits=limits, beside=survey.take)
    except LayerError:
        return None
    store.facts.note(look.statement(layer.diff_id), found.to_json())
    return survey.listing()


def survey_written(
    diff_id: Digest, headers: Sequence[Header], folder: Path, store: Store, limits: Limits = DEFAULT
) -> Listing | None:
    """The listing of a layer that was just written and lies unpacked in ``folder``, with what it tells noted.

    Only files that something is asked of are opened. None where it cannot be told.
    """
    from trainload.builder.dockerfile.lying import Lying

    survey = _Survey(limits)
    try:
        found = look.look_at(Lying(headers, folder), str(diff_id), beside=survey.take)
    except (LayerError, OSError):
        return None
    store.facts.note(look.statement(diff_id), found.to_json())
    return survey.listing()


@dataclass(slots=True)
class _Survey:
    limits: Limits
    nodes: dict[str, Seen] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    hides: list[str] = field(default_factory=list)
    empties: list[str] = field(default_factory=list)

    def take(self, change: Change, reader: Reader, found: look.Findings) -> None:
        """``found``: what another has read of it."""
        path, member = change.path, change.member
        if change.effect is Effect.HIDES:
            self.hides.append(path)
        elif change.effect is Effect.EMPTIES:
            self.empties.append(path)
        elif path:
            self.nodes[path] = of_member(member)
            self.texts.pop(path, None)
            wanted = member.kind is MemberKind.FILE and member.size <= TEXT_LIMIT
            if wanted and _TEXT.fullmatch(path):
                self._keep(path, member.size, reader, found)
        if len(self.nodes) > self.limits.archive_members * 5:
            raise LayerError("the image has too many files")

    def _keep(self, path: str, size: int, reader: Reader, found: look.Findings) -> None:
        if reader.files.left == size:
            self.texts[path] = reader.files.content(TEXT_LIMIT)
            return
        text = found.texts.get(path, "")
        if "\ufffd" not in text and len(text.encode()) == size:  # else it is read when it is asked for
            self.texts[path] = text.encode()

    def listing(self) -> Listing:
        return Listing.of(self.nodes, self.hides, self.empties, self.texts)
