"""One owner for each path of an image (THREATS D5, W27): what is learned once about a set of packages, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainload.digest import Digest, canonical_json
from trainload.errors import Text
from trainload.events import Level, Reporter, Said
from trainload.layers.model import Sources
from trainload.limits import Limits
from trainload.lock.model import File
from trainload.plan.model import VENV, CondaRecipe, Plan, PrefixWheelsRecipe, WheelsRecipe

if TYPE_CHECKING:
    from trainload.layers.ownership import Claim, Claims


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


def check_owners(plan: Plan, sources: Sources, limits: Limits, reporter: Reporter) -> None:
    """Read every package's directory. Raises :class:`LayerError` for a path that two wheels want differently.

    What two conda packages want differently is told: conda takes the later one, and so does an image.
    """
    from trainload.layers.ownership import check_ownership, check_portable, claims

    owners: dict[str, Claims] = {}
    conda: list[tuple[str, Mapping[str, Claim]]] = []
    for recipe in owning_recipes(plan):
        if isinstance(recipe, CondaRecipe):
            conda.extend(_conda_claims(recipe, sources, limits))
            continue
        prefix = recipe.prefix if isinstance(recipe, PrefixWheelsRecipe) else VENV
        for wheel in recipe.wheels:
            with sources.open(wheel) as stream:
                owners[wheel.name] = claims(wheel, stream, recipe.python, limits, prefix=prefix)
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
