"""One owner for each path of an image (THREATS D5, W27): what is learned once about a set of packages, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from trainload.digest import Digest, canonical_json
from trainload.errors import Text
from trainload.events import Level, Reporter, Said
from trainload.layers.model import Sources
from trainload.limits import Limits
from trainload.lock.model import File
from trainload.plan.model import VENV, CondaRecipe, Plan, PrefixWheelsRecipe, WheelsRecipe
from trainload.values import names_of

if TYPE_CHECKING:
    from trainload.layers.ownership import Claim, Claims


class Memory(Protocol):
    """What was found out about digests (:class:`trainload.store.facts.Facts`)."""

    def known(self, statement: Digest, /) -> bool: ...
    def said(self, statement: Digest, /) -> bytes | None: ...
    def note(self, statement: Digest, content: bytes, /) -> object: ...


class _Forgetful:
    """Everything is to be found out again."""

    def known(self, statement: Digest, /) -> bool:
        return False

    def said(self, statement: Digest, /) -> bytes | None:
        return None

    def note(self, statement: Digest, content: bytes, /) -> None:
        """Not kept."""


FORGETFUL: Memory = _Forgetful()


def owning_recipes(plan: Plan) -> list[WheelsRecipe | CondaRecipe]:
    """Those whose files lie in one place together."""
    return [layer.recipe for layer in plan.layers if isinstance(layer.recipe, WheelsRecipe | CondaRecipe)]


def owners_of(plan: Plan) -> list[File]:
    """Their wheels and conda packages."""
    return [
        file
        for recipe in owning_recipes(plan)
        for file in (
            recipe.wheels if isinstance(recipe, WheelsRecipe) else [each.archive for each in recipe.packages]
        )
    ]


def statement(owners: Sequence[File], *, portable: bool = False) -> Digest:
    """That no path is claimed twice in this set of packages; ``portable``: on no file system."""
    words = {"portable": True} if portable else {}
    hashes = sorted(owner.sha256 for owner in owners)
    return Digest.sha256(canonical_json({"owners": hashes, "version": 1, **words}))


def unread(plan: Plan, limits: Limits, memory: Memory) -> list[File]:
    """The packages that :func:`check_owners` has to look into; what a wheel claims is remembered."""
    known = {wheel for recipe, wheel in _wheels(plan) if memory.known(_claiming(recipe, wheel, limits))}
    return [owner for owner in owners_of(plan) if owner not in known]


def _wheels(plan: Plan) -> Iterator[tuple[WheelsRecipe, File]]:
    for recipe in owning_recipes(plan):
        if isinstance(recipe, WheelsRecipe):
            yield from ((recipe, wheel) for wheel in recipe.wheels)


def _prefix(recipe: WheelsRecipe) -> str:
    return recipe.prefix if isinstance(recipe, PrefixWheelsRecipe) else VENV


def _claiming(recipe: WheelsRecipe, wheel: File, limits: Limits) -> Digest:
    """What the wheel puts where: it depends on its bytes and name, on where it goes and on what is refused."""
    bounds = {name: getattr(limits, name) for name in names_of(Limits) or ()}
    words = {"wheel": wheel.sha256, "name": wheel.name, "python": recipe.python, "prefix": _prefix(recipe)}
    return Digest.sha256(canonical_json({**words, "limits": bounds, "claims": 1}))


def _claims(recipe: WheelsRecipe, wheel: File, sources: Sources, limits: Limits, memory: Memory) -> Claims:
    from trainload.layers.ownership import claims, claims_from

    told = memory.said(_claiming(recipe, wheel, limits))
    if told is not None:
        return claims_from(told)
    with sources.open(wheel) as stream:
        found = claims(wheel, stream, recipe.python, limits, prefix=_prefix(recipe))
    note_claims(recipe, limits, memory, wheel, found)
    return found


def note_claims(recipe: WheelsRecipe, limits: Limits, memory: Memory, wheel: File, found: Claims) -> None:
    """Remember what ``wheel`` puts where."""
    from trainload.layers.ownership import claims_told

    memory.note(_claiming(recipe, wheel, limits), claims_told(found))


def check_owners(plan: Plan, sources: Sources, limits: Limits, reporter: Reporter, memory: Memory) -> None:
    """Look at every package's directory. Raises :class:`LayerError` for a path that two wheels want differently.

    What two conda packages want differently is told: conda takes the later one, and so does an image.
    """
    from trainload.layers.ownership import check_ownership, check_portable

    owners: dict[str, Claims] = {}
    conda: list[tuple[str, Mapping[str, Claim]]] = []
    for recipe in owning_recipes(plan):
        if isinstance(recipe, CondaRecipe):
            conda.extend(_conda_claims(recipe, sources, limits))
            continue
        owners |= {wheel.name: _claims(recipe, wheel, sources, limits, memory) for wheel in recipe.wheels}
    if conda:
        _tell(conda, reporter)
    if conda and owners:
        owners |= _beside(owners, conda)
    check_ownership(owners)
    if limits.portable:
        check_portable(
            (path for paths in (*owners.values(), *(each for _, each in conda)) for path in paths), plan.name
        )


def _conda_claims(recipe: CondaRecipe, sources: Sources, limits: Limits) -> list[tuple[str, Mapping[str, Claim]]]:
    from trainload.layers.conda.claims import conda_claims

    found = []
    for package in recipe.packages:
        with sources.open(package.archive) as stream:
            found.append((package.archive.name, conda_claims(recipe, package, stream, limits)))
    return found


def _tell(conda: Sequence[tuple[str, Mapping[str, Claim]]], reporter: Reporter) -> None:
    from trainload.layers.conda.claims import clashes

    for (hidden, counts), paths in clashes(conda).items():
        values = {"first": hidden, "second": counts, "path": f"/{min(paths)}", "count": len(paths) - 1}
        one = Text(
            "{first} and {second} both have {path}, with different content: that of {second} counts", **values
        )
        more = Text(
            "{first} and {second} both have {path}, and {count} more files, with different content: those of "
            "{second} count",
            **values,
        )
        reporter.report(Said(more if len(paths) > 1 else one, Level.WARNING))


def _beside(
    wheels: Mapping[str, Mapping[str, Claim]], conda: Sequence[tuple[str, Mapping[str, Claim]]]
) -> dict[str, Mapping[str, Claim]]:
    """What of conda's packages the wheels want too; modes are not compared, since lists of conda's have none."""
    wanted = {path: claim for claims in wheels.values() for path, claim in claims.items()}
    found: dict[str, Mapping[str, Claim]] = {}
    for name, claims in conda:
        common = wanted.keys() & claims.keys()
        different = {path: claims[path] for path in common if claims[path].sha256 != wanted[path].sha256}
        if different:
            found[name] = different
    return found
