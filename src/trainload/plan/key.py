"""The name under which a layer is found again: a digest of all that its recipe says."""

from __future__ import annotations

from functools import lru_cache

from trainload.digest import Digest, canonical_json
from trainload.plan.model import BuildRecipe, Recipe
from trainload.plan.placed import KnownRecipe
from trainload.values import names_of


@lru_cache(1024)  # asked for by everybody who looks for a layer; recipes are values
def recipe_key(recipe: Recipe | BuildRecipe) -> Digest:
    """Digest of *all* inputs of a layer or a build. Locations are left out: they do not change the bytes."""
    if isinstance(recipe, KnownRecipe):
        return Digest.parse(recipe.key)
    inputs = _without_locations(recipe)
    assert isinstance(inputs, dict)
    return Digest.sha256(canonical_json({"kind": type(recipe).__name__, **inputs}))


def _without_locations(item: object) -> object:
    """As ``dataclasses.asdict`` has it, which copies every leaf."""
    names = names_of(type(item))
    if names is not None:
        return {name: _without_locations(getattr(item, name)) for name in names if name != "location"}
    if isinstance(item, dict):
        return {str(key): _without_locations(inner) for key, inner in item.items() if key != "location"}
    if isinstance(item, list | tuple):
        return [_without_locations(inner) for inner in item]
    return item
