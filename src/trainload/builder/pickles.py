"""Weights that are pickles: found out once per file, remembered by its sha256, told at each build (THREATS P12)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trainload.digest import Digest, canonical_json
from trainload.errors import LayerError, Place, Problems, Text
from trainload.lock.model import File, InProject, Lock
from trainload.plan.model import Plan
from trainload.plan.weights import PICKLES
from trainload.project.weights import Pickles
from trainload.store.store import Store

if TYPE_CHECKING:
    from trainload.layers.model import Sources
    from trainload.layers.pickles import Found

_OURS = "weights {file"
"""What our warnings begin with."""
_TOLD = 6
"""Imports of one file that are told."""


def suspects(lock: Lock) -> tuple[File, ...]:
    """Files of weights whose names say that they may be pickles."""
    files = (one.file for weights in lock.weights for one in weights.files)
    return tuple(dict.fromkeys(file for file in files if file.name.lower().endswith(PICKLES)))


def check(lock: Lock, policy: Pickles, store: Store, sources: Sources) -> None:
    """Look into those nobody looked into yet. Raises :class:`LayerError` for pickles that are to be refused."""
    problems = Problems()
    for file in suspects(lock):
        found = _known(store, file) or (_look(store, sources, file) if _is_due(store, file, policy) else None)
        if policy is Pickles.REFUSE and found is not None and found.pickle:
            problems.add(
                LayerError(
                    Text("{file} is a pickle, which can run any code when it is loaded", file=file.name),
                    place=Place("tool.trainload.weights"),
                    got=", ".join(found.imports[:_TOLD]) or None,
                    want="no pickles: weights-pickles = refuse",
                    hints=[
                        Text("leave it out: exclude, where its repository has the same as safetensors"),
                        Text('or accept it: weights-pickles = "warn"'),
                    ],
                )
            )
    problems.check()


def told(plan: Plan, lock: Lock, store: Store) -> Plan:
    """``plan`` with warnings of what is known of them by now."""
    others = (warning for warning in plan.warnings if not warning.template.startswith(_OURS))
    return replace(plan, warnings=(*others, *_warnings(lock, store)))


def _warnings(lock: Lock, store: Store) -> Iterator[Text]:
    unknown = []
    for file in suspects(lock):
        found = _known(store, file)
        if found is None:
            unknown.append(file.name)
        elif found.imports or found.damaged:
            names = [*found.imports[:_TOLD], *(["…"] if len(found.imports) > _TOLD else [])]
            if found.damaged:
                names.append(found.damaged)
            text = (
                "weights {file}: a pickle that imports what weights do not need, and runs it when loaded: {names}"
            )
            yield Text(text, file=file.name, names=", ".join(names))
        elif found.pickle:
            yield Text("weights {file}: a pickle, though it imports only what weights need", file=file.name)
    if unknown:
        yield _by_name(unknown)


def _by_name(names: Sequence[str]) -> Text:
    shown = ", ".join(names[:5]) + (f" … ({len(names)})" if len(names) > 5 else "")
    return Text("weights {files}: a pickle can run any code when it is loaded; prefer safetensors", files=shown)


def _is_due(store: Store, file: File, policy: Pickles) -> bool:
    """To refuse, one must know; to warn, nothing is fetched that is not here."""
    here = isinstance(file.location, InProject)
    return here or policy is Pickles.REFUSE or store.files.find(file.sha256, file.size) is not None


def _statement(file: File) -> Digest:
    return Digest.sha256(canonical_json({"pickle": file.sha256, "version": 1}))


def _known(store: Store, file: File) -> Found | None:
    said = store.facts.said(_statement(file))
    if said is None:
        return None
    from trainload.layers.pickles import Found

    is_pickle, imports, damaged = json.loads(said)
    return Found(is_pickle, tuple(imports), damaged)


def _look(store: Store, sources: Sources, file: File) -> Found:
    from trainload.layers.pickles import scan

    with sources.open(file) as stream:
        found = scan(stream)
    store.facts.note(_statement(file), canonical_json([found.pickle, list(found.imports), found.damaged]))
    return found
