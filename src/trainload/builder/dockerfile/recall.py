"""RUN lines as an earlier build left them: not understood, placed or asked again while all inputs are the same.

What is kept is which layers a line came to, or that it is one that is run. The layers are looked up by their own
keys, and answers of the lock have to be the same as then; where anything is not, the line is done anew. So this can
only save work.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from trainload import __version__
from trainload.builder.dockerfile.bench import Bench
from trainload.builder.workshop import MadeLayer, Workshop
from trainload.digest import Digest
from trainload.dockerfile.understood import Opaque, RunLine
from trainload.errors import Text
from trainload.plan.key import recipe_key
from trainload.plan.lines import Folder
from trainload.plan.model import Kind, PlannedLayer
from trainload.plan.placed import KnownRecipe
from trainload.values import dataclass

_FORMAT = 2
_WHY = Text("what the line changes is known")
_ASKED_OF = ("UV_", "PIP_", "HF_", "CONDA_", "TRAINLOAD_")
"""Variables of this machine that answers may depend on, and which lines are those that are run."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What is noted of a line."""

    build: Digest
    """Its layers, or that it was run to its end."""
    plan: Digest
    """What was decided about it, with a network or without: for a plan, since an index may say otherwise later."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The lines of one stage."""

    bench: Bench
    shop: Workshop
    env: Mapping[str, str]
    """The image's own, at the end of the stage."""

    def key(
        self,
        line: RunLine,
        below: Sequence[str],
        folders: Sequence[Folder],
        later: Iterable[RunLine | str],
        shown: Sequence[str] = (),
    ) -> Keys:
        """Of everything that decides what becomes of ``line``.

        ``below``: diff_ids; ``folders``: WORKDIRs that are not made yet; ``later``: lines, as they are evaluated or
        written, that may need what it leaves; ``shown``: digests of what its bind mounts show.
        """
        said = _of_line(line)
        bench = self.bench
        inputs = {
            "format": _FORMAT,
            "version": __version__,
            "line": said,
            # apt's lists are left for a later line that reads them, so such lines decide what becomes of this one
            "later": [_of_line(one) for one in later] if "apt" in json.dumps(said) else [],
            "below": list(below),
            "folders": plain(tuple(folders)),
            "env": dict(self.env),
            "platform": str(bench.platform),
            "network": bench.wanted.network,
            "limits": plain(self.shop.limits),
            "settings": plain(bench.settings),
            "environ": {name: value for name, value in bench.environ.items() if name.startswith(_ASKED_OF)},
        }
        inputs |= {"shown": list(shown)} if shown else {}
        plan = {**inputs, "network": None}
        return Keys(*(Digest.sha256(json.dumps(one, sort_keys=True).encode()) for one in (inputs, plan)))

    def reason(self, key: Digest) -> Text | None:
        """Why the line was run when it was last decided about (:attr:`Keys.plan`)."""
        said = self.shop.store.facts.said(key)
        known = json.loads(said) if said is not None else {"run": None}
        return _text(known["run"]) if known["run"] is not None else None

    def find(self, key: Digest) -> tuple[MadeLayer, ...] | Opaque | None:
        """What the line came to; None: that is not known, or no longer so."""
        said = None if self.shop.anew else self.shop.store.facts.said(key)
        if said is None:
            return None
        known = json.loads(said)
        answers = self.bench.answers
        if any(_digest(answers.known.get(question)) != digest for question, digest in known["answers"].items()):
            return None
        found = tuple(self._layer(row) for row in known["layers"])
        layers = tuple(layer for layer in found if layer is not None)
        if len(layers) < len(found):
            return None
        for question in known["answers"]:
            answers.get(question)  # it stays in the lock
        for layer in layers:
            self.shop.tell(layer)
        return Opaque(_text(known["run"])) if known["run"] is not None else layers

    def _layer(self, row: Mapping[str, object]) -> MadeLayer | None:
        recipe, size = KnownRecipe(str(row["key"])), row["size"]
        assert isinstance(size, int | None)
        return self.shop.known(PlannedLayer(Kind(str(row["kind"])), str(row["title"]), recipe, size, _WHY))

    def note(self, key: Digest, layers: Sequence[MadeLayer], asked: Iterable[str], run: Text | None = None) -> None:
        """``asked``: questions of the lock; ``run``: why it is run, with no layers then."""
        if self.shop.limits.unrecorded:
            return  # what only --allow-unrecorded accepts is not found by others
        rows = [
            {
                "kind": made.planned.kind.value, "title": made.planned.title, "size": made.planned.size,
                "key": str(recipe_key(made.planned.recipe)),
            }
            for made in layers
        ]  # fmt: skip
        answers = {question: _digest(self.bench.answers.known.get(question)) for question in asked}
        said = {"layers": rows, "answers": answers, "run": None if run is None else _said(run)}
        self.shop.store.facts.note(key, json.dumps(said).encode())


def plain(value: object) -> object:
    """``value`` as JSON with one spelling."""
    names = getattr(type(value), "__dataclass_fields__", None)
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(str(plain(inner)) for inner in value)
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Enum):
        return str(value.value)
    return value if isinstance(value, str | int | float | None) else str(value)


def _of_line(line: RunLine | str) -> object:
    """All of it but its number: a comment above it changes nothing."""
    said = plain(line)
    return {name: value for name, value in said.items() if name != "line"} if isinstance(said, dict) else said


def _digest(answer: object) -> str | None:
    """``answer``: somebody may have written it by hand, and TOML has more than JSON."""
    said = json.dumps(answer, sort_keys=True, default=str)
    return None if answer is None else str(Digest.sha256(said.encode()))


def _said(text: Text) -> list[object]:
    """A text with the texts in it."""
    values = {name: _said(value) if isinstance(value, Text) else str(value) for name, value in text.values.items()}
    return [text.template, values]


def _text(said: Sequence[object]) -> Text:
    template, values = said
    assert isinstance(values, dict)
    return Text(str(template), **{k: _text(v) if isinstance(v, list) else v for k, v in values.items()})
