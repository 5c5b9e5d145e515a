"""Laws of the plan."""

from __future__ import annotations

import dataclasses

import pytest

from trainload.errors import PlanError
from trainload.lock.model import ArchivePath, File, Found, StandalonePython, Url
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.diff import BuiltLayer, Change, compare
from trainload.plan.key import recipe_key
from trainload.plan.model import BaseRecipe, ConfiguredRecipe, Kind, Plan, WheelsRecipe
from trainload.plan.order import GRAINS, LAYERS, OWN_LAYER, Grouping, group
from trainload.plan.show import as_data
from trainload.platform import Platform
from trainload.testing import values

AMD64 = Platform("linux", "amd64")
CODE = CodeFacts("c" * 64, 1_234, 3)


def plan(**changed: object) -> Plan:
    packages = [
        values.wheel("numpy", size=18_000_000),
        values.wheel("torch", "2.13.0+cpu", 190_000_000),
        values.wheel("nvidia-cublas", size=400_000_000),
        values.wheel("click"),
        values.wheel("attrs"),
    ]
    return make_plan(values.project(**changed), values.lock(), AMD64, packages, CODE)


def test_layers_stand_in_the_canonical_order() -> None:
    assert [(layer.kind, layer.title) for layer in plan().layers] == [
        (Kind.BASE, "debian bookworm slim"),
        (Kind.ENVIRONMENT, "virtual environment /opt/venv"),
        (Kind.PACKAGE, "nvidia-cublas 1.0"),
        (Kind.PACKAGE, "torch 2.13.0+cpu"),
        (Kind.PACKAGE, "numpy 1.0"),
        (Kind.SMALL, "attrs, click"),
        (Kind.CODE, "code, 3 files"),
    ]


def test_a_package_has_its_own_layer_from_the_threshold_on_whatever_stands_beside_it() -> None:
    at, below = values.wheel("at", size=OWN_LAYER), values.wheel("below", size=OWN_LAYER - 1)
    crowd = [values.wheel(f"p{n:03}", size=OWN_LAYER - 1) for n in range(LAYERS)]
    assert group([below, at]).own == (at, below)
    assert group([*crowd, below, at]) == Grouping((at,), ((below, *crowd),), 0)


def test_more_large_packages_than_the_budget_share_the_layer_of_the_small_ones() -> None:
    files = [values.wheel(f"p{n:03}", size=OWN_LAYER + n) for n in range(LAYERS + 5)]
    grouped = group(files)
    assert len(grouped.own) == LAYERS - 1
    assert [[file.name for file in one] for one in grouped.together] == [[f"p{n:03}" for n in range(6)]]


def test_a_small_package_is_alone_from_the_grain_on_and_tiny_ones_share() -> None:
    tiny = [values.wheel(name, size=GRAINS[0] // 3) for name in ("b", "a", "c")]
    unknown, small = values.wheel("unknown", size=None), values.wheel("small", size=GRAINS[0])
    assert group([*tiny, small, unknown]) == Grouping((small,), ((tiny[1], tiny[0], tiny[2], unknown),), GRAINS[0])


def test_with_many_small_packages_the_grain_grows_until_the_layers_are_within_their_number() -> None:
    grouped = group([values.wheel(f"p{n:03}", size=300_000) for n in range(200)])
    assert GRAINS[0] < grouped.grain < OWN_LAYER
    assert LAYERS // 3 < len(grouped.own) + len(grouped.together) <= LAYERS


def test_the_order_of_the_packages_given_does_not_matter() -> None:
    files = [values.wheel(name, size=size) for name, size in [("b", 9_000_000), ("a", 9_000_000), ("c", 1)]]
    assert group(files) == group(files[::-1])


def test_where_bytes_come_from_does_not_change_a_recipes_key() -> None:
    file = File("x-1-py3-none-any.whl", "a" * 64, 10, Found("x-1-py3-none-any.whl"))
    elsewhere = dataclasses.replace(file, location=Url("https://index.example/x.whl"))
    assert recipe_key(WheelsRecipe((file,), "3.11")) == recipe_key(WheelsRecipe((elsewhere,), "3.11"))
    other_bytes = dataclasses.replace(file, sha256="b" * 64)
    assert recipe_key(WheelsRecipe((file,), "3.11")) != recipe_key(WheelsRecipe((other_bytes,), "3.11"))
    assert recipe_key(WheelsRecipe((file,), "3.11")) != recipe_key(WheelsRecipe((file,), "3.12"))


def test_a_user_the_base_does_not_know_gets_a_layer_and_root_and_the_default_do_not() -> None:
    assert [layer.kind for layer in plan(user=4242).layers][-2:] == [Kind.USER, Kind.CODE]
    assert Kind.USER not in [layer.kind for layer in (*plan(user=0).layers, *plan(user=1000).layers)]


def test_a_python_the_base_lacks_is_a_layer_and_comes_first_on_path() -> None:
    archive = File("cpython.tar.gz", "a" * 64, 30_000_000, ArchivePath("python", "cpython.tar.gz"))
    lock = values.lock(interpreter=StandalonePython("3.12.8", {"amd64": archive}))
    made = make_plan(values.project(), lock, AMD64, (), CODE)
    assert Kind.INTERPRETER in [layer.kind for layer in made.layers]
    assert made.config.env["PATH"].startswith("/opt/venv/bin:/opt/python/bin:")


def test_init_is_the_entrypoint_only_where_the_base_has_it() -> None:
    assert plan().config.entrypoint == ("/usr/bin/tini", "--")
    bare = values.lock(base={"amd64": (values.deb("base-files"),)})
    assert make_plan(values.project(), bare, AMD64, (), CODE).config.entrypoint == ()


def test_the_driver_is_asked_for_only_when_the_accelerator_is_cuda() -> None:
    cuda = make_plan(values.project(), values.lock(accelerator="cu128"), AMD64, (), CODE)
    assert cuda.config.env["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert "NVIDIA_VISIBLE_DEVICES" not in plan().config.env


def test_the_users_environment_wins() -> None:
    assert plan(env={"LANG": "zh_CN.UTF-8"}).config.env["LANG"] == "zh_CN.UTF-8"


def test_a_platform_the_lock_does_not_hold_is_refused_with_the_mending_line() -> None:
    with pytest.raises(PlanError, match="does not hold linux/arm64") as caught:
        make_plan(values.project(), values.lock(), Platform("linux", "arm64"), (), CODE)
    assert "platforms" in str(caught.value)


def test_scripts_run_in_a_layer_right_after_the_base_which_stays_the_same() -> None:
    base, configured, *_ = plan(configure="sandbox").layers
    assert base == plan().layers[0]
    assert (configured.kind, configured.recipe) == (Kind.CONFIGURED, ConfiguredRecipe(base.recipe))  # type: ignore[arg-type]
    assert plan(configure="sandbox").layers[2:] == plan().layers[1:]


def test_a_user_lies_below_the_scripts_which_may_add_accounts_of_their_own() -> None:
    base, user, configured, *above = plan(configure="sandbox", user=4711).layers
    assert [base.kind, user.kind, configured.kind] == [Kind.BASE, Kind.USER, Kind.CONFIGURED]
    assert configured.recipe == ConfiguredRecipe(base.recipe, 4711)  # type: ignore[arg-type]
    assert Kind.USER not in {layer.kind for layer in above}


def test_plan_as_data_lists_every_input_with_its_hash() -> None:
    made = plan()
    base = made.layers[0]
    assert isinstance(base.recipe, BaseRecipe)
    data = as_data(made, present={recipe_key(base.recipe)})
    assert data["layers"][0]["present"] is True
    assert data["layers"][1]["present"] is False
    assert [item["name"] for item in data["layers"][0]["inputs"]] == [
        "base-files_1.0-1_amd64.deb",
        "tini_1.0-1_amd64.deb",
    ]
    assert all(len(item["sha256"]) == 64 for layer in data["layers"] for item in layer["inputs"])


def test_compare_tells_same_new_and_gone() -> None:
    made = plan()
    kept = [BuiltLayer(layer.title, str(recipe_key(layer.recipe)), 5) for layer in made.layers[:-1]]
    old = [*kept, BuiltLayer("code, 2 files", "sha256:" + "d" * 64, 7)]
    changes = compare(made, old)
    assert [c.change for c in changes] == [*[Change.SAME] * len(kept), Change.NEW, Change.GONE]
    assert (changes[-1].title, changes[-1].size) == ("code, 2 files", 7)
