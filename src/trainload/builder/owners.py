"""One owner for each path of an image (THREATS D5, W27): what is learned once about a set of wheels, and how."""

from __future__ import annotations

from collections.abc import Sequence

from trainload.digest import Digest, canonical_json
from trainload.layers.model import Sources
from trainload.limits import Limits
from trainload.lock.model import File
from trainload.plan.model import Plan, WheelsRecipe


def wheel_recipes(plan: Plan) -> list[WheelsRecipe]:
    return [layer.recipe for layer in plan.layers if isinstance(layer.recipe, WheelsRecipe)]


def wheels_of(plan: Plan) -> list[File]:
    return [wheel for recipe in wheel_recipes(plan) for wheel in recipe.wheels]


def statement(wheels: Sequence[File], *, portable: bool = False) -> Digest:
    """That no path is claimed twice in this set of wheels; ``portable``: on no file system."""
    words = {"portable": True} if portable else {}
    owners = sorted(wheel.sha256 for wheel in wheels)
    return Digest.sha256(canonical_json({"owners": owners, "version": 1, **words}))


def check_owners(plan: Plan, sources: Sources, limits: Limits) -> None:
    """Read every wheel's directory. Raises :class:`LayerError` for a path that two wheels want differently."""
    from trainload.layers.ownership import check_ownership, check_portable, claims

    owners = {}
    for recipe in wheel_recipes(plan):
        for wheel in recipe.wheels:
            with sources.open(wheel) as stream:
                owners[wheel.name] = claims(wheel, stream, recipe.python, limits)
    check_ownership(owners)
    if limits.portable:
        check_portable((path for paths in owners.values() for path in paths), plan.name)
