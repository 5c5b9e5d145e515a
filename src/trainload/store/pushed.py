"""Which of what was pushed to the registry server gc keeps. Pure but for reading manifests.

A pushed image lives as long as a tag or an index names it, as an image that was built here does. Pushed by digest
only it stays until it is deleted; so does a blob that was uploaded and that no image uses yet. What is attached
to another manifest (a signature, a list of contents) stays with that one, or on its own while that one is not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trainload.digest import Digest
from trainload.store.closure import Closure, reach
from trainload.store.content import Content
from trainload.store.documents import Documents
from trainload.store.links import Link, Links


def keep_pushed(
    blobs: Content, links: Links, closure: Closure, held: Iterable[Digest], *, everything: bool
) -> list[Path]:
    """Add to ``closure`` what pushes keep; returns the links that nothing keeps.

    ``everything``: also what has no name and was not deleted yet. Raises as :func:`reach` for a manifest that
    cannot be read: then it is not known what it needs.
    """
    manifests = [link for name in links.repositories() for link in links.manifests(name)]
    loose = [link for name in links.repositories() for link in links.blobs(name)]
    roots = [link for link in manifests if link.root and blobs.has(link.descriptor.digest)]
    alone, attached = _sorted_out(blobs, roots)
    if everything:
        _add(blobs, alone, closure)
        closure.blobs.update((link.digest, 0) for link in loose if link.digest not in closure.blobs)
    _add_attached(blobs, attached, closure)
    kept = closure.blobs.keys() | set(held)
    return [
        *(link.path for link in manifests if link.descriptor.digest not in kept),
        *(link.path for link in loose if link.digest not in kept),
    ]


def _sorted_out(blobs: Content, roots: Iterable[Link]) -> tuple[list[Link], list[tuple[Link, Digest]]]:
    """Those that stand for themselves, and those that belong to another manifest of the store."""
    documents = Documents(blobs)
    alone: list[Link] = []
    attached: list[tuple[Link, Digest]] = []
    for link in roots:
        document = documents.find(link.descriptor)
        subject = document.subject if document else None
        if subject is not None and blobs.has(subject.digest):
            attached.append((link, subject.digest))
        else:
            alone.append(link)
    return alone, attached


def _add(blobs: Content, links: Iterable[Link], closure: Closure) -> None:
    more = reach(blobs, [link.descriptor for link in links])
    closure.blobs.update(more.blobs)
    closure.diff_ids.update(more.diff_ids)
    closure.stacks.update(more.stacks)


def _add_attached(blobs: Content, attached: list[tuple[Link, Digest]], closure: Closure) -> None:
    """A signature of a signature is kept too: until nothing more is found."""
    while True:
        kept = [link for link, subject in attached if subject in closure.blobs]
        if not kept:
            return
        _add(blobs, kept, closure)
        attached = [(link, subject) for link, subject in attached if link not in kept]
