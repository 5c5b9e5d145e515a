"""The same plan and layers make the same image bytes, and the image reads like a bill of lading."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from trainload.digest import Digest
from trainload.errors import Text
from trainload.image.assemble import assemble, created_at, make_index, weight
from trainload.image.history import steps
from trainload.image.model import LAYER_GZIP, RECIPE, Descriptor, Layer
from trainload.plan.key import recipe_key
from trainload.plan.model import CodeRecipe, EnvironmentRecipe, Kind, Plan, PlannedLayer, RuntimeConfig
from trainload.platform import Platform


def layer(name: str, size: int) -> Layer:
    return Layer(
        Descriptor(LAYER_GZIP, Digest.sha256(name.encode()), size), Digest.sha256(name[::-1].encode()), size
    )


def plan(architecture: str = "amd64", **env: str) -> Plan:
    environment = EnvironmentRecipe("3.11", "/usr/bin/python3.11")
    code = CodeRecipe("/workspace", 1000, "0" * 64)
    return Plan(
        name="digits",
        platform=Platform("linux", architecture),
        layers=(
            PlannedLayer(Kind.PACKAGE, "torch 2.13.0+cpu", environment, None, Text("x")),
            PlannedLayer(Kind.CODE, "your code", code, None, Text("x")),
        ),
        config=RuntimeConfig("1000", "/workspace", ("python", "train.py"), (), env, {"z": "1", "a": "2"}),
    )


LAYERS = (layer("torch", 192_204_911), layer("code", 1_432))


def test_same_plan_same_bytes_whatever_the_order_of_the_environment() -> None:
    one = assemble(plan(B="2", A="1"), LAYERS)
    two = assemble(plan(A="1", B="2"), LAYERS)
    assert one == two
    assert list(one.config.runtime.env) == ["A", "B"]


def test_same_bytes_in_another_process_with_another_hash_seed_locale_and_zone() -> None:
    code = "from test_assemble import *; print(assemble(plan(B='2', A='1'), LAYERS, created_at(86400)).digest)"
    here = os.path.dirname(__file__)  # noqa: PTH120
    found = set()
    for seed, zone, lang in (("1", "Asia/Shanghai", "C"), ("2", "America/New_York", "tr_TR.UTF-8")):
        env = {"PYTHONHASHSEED": seed, "TZ": zone, "LANG": lang, "LC_ALL": lang, "PYTHONPATH": here}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        found.add(done.stdout.strip())
    assert found == {str(assemble(plan(B="2", A="1"), LAYERS, "1970-01-02T00:00:00Z").digest)}


def test_what_is_not_set_is_not_written_and_the_time_is_the_epoch() -> None:
    document = json.loads(assemble(plan(), LAYERS).config_bytes)
    assert set(document["config"]) == {"User", "WorkingDir", "Cmd", "Labels"}
    assert document["created"] == "1970-01-01T00:00:00Z"
    assert created_at(1_700_000_000) == "2023-11-14T22:13:20Z"


def test_the_history_reads_like_a_bill_of_lading() -> None:
    image = assemble(plan(), LAYERS)
    assert [entry.created_by for entry in image.config.history] == [
        "torch 2.13.0+cpu · 192 MB",
        "your code · 1.4 kB",
    ]
    assert [step.title for step in steps(image)] == ["torch 2.13.0+cpu", "your code"]
    assert image.size == len(image.manifest_bytes) + len(image.config_bytes) + 192_204_911 + 1_432


def test_each_layer_names_its_recipe_so_that_a_plan_can_be_compared() -> None:
    made = plan()
    image = assemble(made, LAYERS)
    assert [step.recipe for step in steps(image)] == [str(recipe_key(item.recipe)) for item in made.layers]
    assert image.manifest.layers[0].annotations[RECIPE]


def test_images_of_several_platforms_are_listed_in_one_order() -> None:
    images = [assemble(plan(architecture), LAYERS) for architecture in ("arm64", "amd64")]
    assert make_index(images) == make_index(images[::-1])
    assert [str(child.platform) for child in make_index(images).manifests] == ["linux/amd64", "linux/arm64"]


def test_sizes_are_short() -> None:
    sizes = [0, 999, 1000, 9_949, 9_950, 999_499, 999_500, 192_204_911, 5_000_000_000]
    assert [weight(n) for n in sizes] == [
        "0 B", "999 B", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB", "192 MB", "5.0 GB",
    ]  # fmt: skip
