"""What images hold, entry by entry: each layer is read once per store, several at once, and remembered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from trainload.errors import StoreError
from trainload.events import SILENT, Began, Ended, How, Moved, Reporter
from trainload.image.contents import Contents, join
from trainload.image.history import Step, steps
from trainload.image.model import Image
from trainload.layers.foreign.inventory import Inventory, statement, take_inventory
from trainload.store.store import Store

_STEP = 4 << 20
"""Bytes between two reports."""


def look_into(store: Store, image: Image, workers: int, reporter: Reporter = SILENT) -> Contents:
    """What ``image`` holds.

    Raises :class:`MissingError` for a layer that is not there, :class:`LayerError` for one that is broken.
    """
    layers = [step for step in steps(image) if step.layer is not None]
    with ThreadPoolExecutor(max(1, workers), "inventory") as pool:
        return join(list(pool.map(lambda step: _inventory(store, step, reporter), layers)))


def _inventory(store: Store, step: Step, reporter: Reporter) -> Inventory:
    layer, diff_id = step.layer, step.diff_id
    assert layer is not None
    assert diff_id is not None
    known = store.facts.said(statement(layer.digest, diff_id))
    if known is not None:
        return Inventory.from_bytes(known)
    task, label, told = str(layer.digest), step.title or layer.digest.short, [0]

    def moved(done: int) -> None:
        if done - told[0] >= _STEP:
            told[0] = done
            reporter.report(Moved(task, done))

    reporter.report(Began(task, label, layer.size))
    try:
        with store.blob_file(layer.digest) as blob:
            inventory = take_inventory(blob, diff_id, label, moved=moved)
    except BaseException:
        reporter.report(Ended(task, label, How.FAILED))
        raise
    reporter.report(Ended(task, label, How.CHECKED, layer.size))
    with suppress(StoreError):  # a store that cannot be written is read again next time
        store.facts.note(statement(layer.digest, diff_id), inventory.to_bytes())
    return inventory
