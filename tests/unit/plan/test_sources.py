"""Packages built from source in a plan: named before, and as ordinary wheels once they are built."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainload.errors import LockError
from trainload.lock.model import Build, DistributionBase, File, Found, Lock, Made, PythonFile, PythonPackage
from trainload.lock.select import select
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.key import recipe_key
from trainload.plan.model import Plan, UnbuiltRecipe, WheelsRecipe
from trainload.plan.show import as_data
from trainload.plan.sources import build_recipe, refuse_platform, settled, unbuilt
from trainload.platform import Platform
from trainload.testing import values

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
SDIST = File("src_pkg-1.0.tar.gz", "a" * 64, 500, Found("src_pkg-1.0.tar.gz"))
SOURCE = PythonFile("src-pkg", "1.0", SDIST, is_wheel=False)
TOOL = values.wheel("setuptools", "80.0").file
WHEEL = File("src_pkg-1.0-py3-none-any.whl", "b" * 64, 400, Made("src_pkg-1.0-py3-none-any.whl"))


def lock() -> Lock:
    build = Build("src-pkg", "1.0", (PythonPackage("setuptools", "80.0", (TOOL,)),))
    return replace(values.lock(), packages=(PythonPackage("src-pkg", "1.0", (), SDIST),), builds=(build,))


def plan(*more: PythonFile) -> Plan:
    return make_plan(values.project(), lock(), AMD64, [*more, SOURCE], CodeFacts("c" * 64, 1, 1))


def test_a_plan_names_what_is_to_be_built_and_with_what() -> None:
    (build,) = unbuilt(plan(values.wheel("click")))
    assert (build.name, build.release, build.source.sdist, build.tools.wheels) == ("src-pkg", "1.0", SDIST, (TOOL,))
    shown = next(layer for layer in as_data(plan())["layers"] if layer["builds"])
    assert shown["builds"] == [{"package": "src-pkg 1.0", "wheel": None}]
    assert shown["inputs"][0]["name"] == SDIST.name


def test_once_built_the_layer_is_the_one_of_that_wheel_from_anywhere() -> None:
    before = plan(values.wheel("zlib-ng"), values.wheel("click"))
    (build,) = unbuilt(before)
    done = settled(before, {recipe_key(build): WHEEL})
    assert unbuilt(done) == ()
    elsewhere = PythonFile("src-pkg", "1.0", replace(WHEEL, location=Found(WHEEL.name)))
    usual = make_plan(
        values.project(), values.lock(), AMD64,
        [values.wheel("zlib-ng"), values.wheel("click"), elsewhere], CodeFacts("c" * 64, 1, 1),
    )  # fmt: skip
    assert [recipe_key(layer.recipe) for layer in done.layers] == [
        recipe_key(layer.recipe) for layer in usual.layers
    ]
    (shown,) = [build for layer in as_data(done)["layers"] for build in layer["builds"]]
    assert shown == {"package": "src_pkg 1.0", "wheel": WHEEL.sha256}


def test_a_layer_with_something_still_to_be_built_is_left_as_it_is() -> None:
    assert settled(plan(), {}) == plan()
    assert isinstance(plan().layers[2].recipe, UnbuiltRecipe)
    assert isinstance(plan(values.wheel("big", size=9_000_000)).layers[2].recipe, WheelsRecipe)


def test_every_input_of_a_build_is_in_its_key() -> None:
    recipe = build_recipe(lock(), AMD64, SOURCE)
    base = lock().base
    assert isinstance(base, DistributionBase)
    more = replace(base, packages={"amd64": (*base.packages["amd64"], values.deb("gcc"))})
    tool = PythonPackage("setuptools", "80.0", (replace(TOOL, sha256="d" * 64),))
    others = [
        build_recipe(replace(lock(), build_base=more), AMD64, SOURCE),
        build_recipe(replace(lock(), builds=(Build("src-pkg", "1.0", (tool,)),)), AMD64, SOURCE),
        build_recipe(replace(lock(), python="3.12"), AMD64, SOURCE),
        build_recipe(lock(), AMD64, replace(SOURCE, file=replace(SDIST, sha256="e" * 64))),
    ]
    assert len({recipe_key(one) for one in (recipe, *others)}) == 5
    moved = replace(SOURCE, file=replace(SDIST, location=Found("elsewhere.tar.gz")))
    assert recipe_key(build_recipe(lock(), AMD64, moved)) == recipe_key(recipe)


def test_an_sdist_whose_build_is_not_locked_is_refused_by_name() -> None:
    with pytest.raises(LockError, match=r"the lock does not say what builds src-pkg 1\.0"):
        build_recipe(replace(lock(), builds=()), AMD64, SOURCE)


def test_another_machines_package_is_refused_with_what_to_do() -> None:
    error = refuse_platform(build_recipe(lock(), AMD64, SOURCE), ARM64)
    assert str(error.text) == "src-pkg 1.0 has only its source, and only a machine that is linux/arm64 can build it"
    assert any("find-links" in str(hint) for hint in error.hints)


def test_sources_are_selected_only_where_they_are_asked_for() -> None:
    assert select(lock(), AMD64, sdists=True).python == (SOURCE,)
    with pytest.raises(LockError, match="has no wheel for linux/amd64, only its source"):
        select(lock(), AMD64)
