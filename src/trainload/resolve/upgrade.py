"""What to take anew although the last lock has it, and that it is there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from packaging.utils import canonicalize_name

from trainload.errors import Text, UsageError
from trainload.lock.model import Base, DistributionBase, PythonPackage, packages_of
from trainload.project.weights import HubSource, Wanted
from trainload.values import dataclass, replace

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What ``trainload lock --upgrade`` says."""

    everything: bool = False
    packages: tuple[str, ...] = ()
    """Names, with uv's version specifiers behind them if the user wrote some."""


def split(upgrade: Upgrade, weights: Sequence[Wanted]) -> tuple[frozenset[str], Upgrade]:
    """Which weights are to be asked for anew, as the project names them, and what remains for packages.

    ``org/model``, or the whole ``hf://org/model@main``, is no name that a package could have.
    """
    if upgrade.everything:
        return frozenset(map(str, weights)), upgrade
    names = {str(one): str(one) for one in weights}
    names |= {one.source.repository: str(one) for one in weights if isinstance(one.source, HubSource)}
    named = frozenset(names[word] for word in upgrade.packages if word in names)
    return named, replace(upgrade, packages=tuple(word for word in upgrade.packages if word not in names))


def check_upgrade(upgrade: Upgrade, packages: Sequence[PythonPackage], base: Base) -> None:
    """Every package that is to be upgraded is in the lock.

    Raises :class:`UsageError` naming the first that is not, and what is near: an upgrade that changed nothing
    because of a slip of the keys would look like one that found nothing newer.
    """
    known = {str(canonicalize_name(package.name)) for package in packages}
    for word in upgrade.packages:
        match = _NAME.match(word)
        name = str(canonicalize_name(match[0])) if match else word
        if name not in known:
            raise UsageError(
                Text("the lock has no Python package {name}", name=name), hints=[_hint(name, known, base)]
            )


def _hint(name: str, known: set[str], base: Base) -> Text:
    if any(package.name == name for chosen in packages_of(base).values() for package in chosen):
        return Text(
            "{name} is a package of {suite}, and those are of one point in time: trainload lock --upgrade",
            name=name, suite=base.suite if isinstance(base, DistributionBase) else base.reference,
        )  # fmt: skip
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
    if near:
        return Text("did you mean {names}?", names=", ".join(near))
    return Text("for a new package: write it into the project's dependencies")
