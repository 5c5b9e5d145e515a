"""Weights in the words of a Dockerfile: fetched by address or copied from the project, checked, put in place."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping

from trainload.lock.model import InProject
from trainload.plan.model import Plan, WeightsRecipe

_TOP = "/weights"
TAKEN = f"COPY --from=weights {_TOP}/ /"
"""What puts them into the last stage."""
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=~?&-]+")


def recipes(plan: Plan) -> tuple[WeightsRecipe, ...]:
    return tuple(layer.recipe for layer in plan.layers if isinstance(layer.recipe, WeightsRecipe))


def of_project(plan: Plan) -> tuple[str, ...]:
    """The project's own files among them, which must not go in with the code as well."""
    places = (one.file.location for recipe in recipes(plan) for one in recipe.files)
    return tuple(sorted({place.path for place in places if isinstance(place, InProject)}))


def stage(plan: Plan, urls: Mapping[str, str]) -> str:
    """The stage that holds them below ``/weights`` as they lie in the image; ``urls``: by sha256.

    A file that is not the locked one ends the build.
    """
    lines = ["FROM base AS weights"]
    sums: list[str] = []
    steps: list[str] = []
    for recipe in recipes(plan):
        for one in recipe.files:
            place = one.file.location
            verb, source = ("COPY", place.path) if isinstance(place, InProject) else ("ADD", urls[one.file.sha256])
            lines.append(f"{verb} {_words(source, f'{_TOP}/{one.path}')}")
            sums.append(shlex.quote(f"{one.file.sha256}  {_TOP}/{one.path}"))
        for path, target in recipe.links:
            steps.append(
                f"mkdir -p {_quoted(posixpath.dirname(path))} && ln -s {shlex.quote(target)} {_quoted(path)}"
            )
        for path, text in recipe.texts:
            steps.append(
                f"mkdir -p {_quoted(posixpath.dirname(path))} && printf %s {shlex.quote(text)} >{_quoted(path)}"
            )
        steps += [f"mkdir -p {_quoted(path)} && chmod 1777 {_quoted(path)}" for path in recipe.shared]
    check = ["printf '%s\\n' \\", *(f"        {one} \\" for one in sums), "    | sha256sum --check --quiet \\"]
    rest = [f"    && {step} \\" for step in dict.fromkeys(steps)]
    return "\n".join(
        [*lines, f"RUN {check[0]}", *check[1:], f"    && chmod -R a+rX {_TOP} \\", *rest]
    ).removesuffix(" \\")


def _quoted(path: str) -> str:
    return shlex.quote(f"{_TOP}/{path}")


def _words(source: str, target: str) -> str:
    if _BARE.fullmatch(source) and _BARE.fullmatch(target):
        return f"{source} {target}"
    import json

    return json.dumps([source, target], ensure_ascii=False)
