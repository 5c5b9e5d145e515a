"""Weights in a plan: where they go, which layers they make, what does not move them."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from trainload.errors import LockError
from trainload.lock.model import File, HubPath, InProject, Lock, Url, WeightFile, Weights
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.key import recipe_key
from trainload.plan.model import Kind, Plan, PlannedLayer, WeightsRecipe
from trainload.plan.weights import LAYERS, OWN_LAYER
from trainload.platform import Platform
from trainload.project.weights import HubSource, LocalSource, UrlSource, Wanted
from trainload.testing import values

AMD64 = Platform("linux", "amd64")
MODEL = HubSource("models", "org/tiny")
COMMIT = "c" * 40


def file(path: str, size: int, seed: str = "", commit: str = COMMIT) -> WeightFile:
    sha256 = hashlib.sha256(f"{path}{seed}".encode()).hexdigest()
    blob = "" if size > 1000 else sha256[:40]
    return WeightFile(
        path, File(path.rpartition("/")[2], sha256, size, HubPath("models", "org/tiny", commit, path)), blob
    )


def weights(*files: WeightFile, source: object = MODEL, commit: str = COMMIT) -> Weights:
    return Weights(str(source), tuple(sorted(files)), commit)


USUAL = weights(file("config.json", 10), file("a.safetensors", OWN_LAYER), file("sub/b.safetensors", OWN_LAYER + 1))


def plan(wanted: tuple[Wanted, ...] = (Wanted(MODEL),), *locked: Weights, **changed: object) -> Plan:
    lock: Lock = replace(values.lock(), weights=locked or (USUAL,))
    return make_plan(values.project(weights=wanted, **changed), lock, AMD64, [], CodeFacts("c" * 64, 1, 1))


def layers(made: Plan) -> list[PlannedLayer]:
    return [layer for layer in made.layers if layer.kind is Kind.WEIGHTS]


def recipe(layer: PlannedLayer) -> WeightsRecipe:
    assert isinstance(layer.recipe, WeightsRecipe)
    return layer.recipe


def test_each_large_file_has_a_layer_and_the_small_ones_share_one_below_the_code() -> None:
    made = plan()
    assert [layer.title for layer in layers(made)] == [
        "org/tiny: a.safetensors", "org/tiny: b.safetensors", "org/tiny: 1 file",
    ]  # fmt: skip
    assert made.layers[-1].kind is Kind.CODE and made.layers[-2].kind is Kind.WEIGHTS


def test_a_hubs_files_lie_as_its_client_keeps_them() -> None:
    top = "opt/weights/huggingface/hub/models--org--tiny"
    large, _, small = map(recipe, layers(plan()))
    assert [one.path for one in large.files] == [f"{top}/blobs/{USUAL.files[0].file.sha256}"]
    assert small.texts == ((f"{top}/refs/main", COMMIT),)
    links = dict(small.links)
    assert links[f"{top}/snapshots/{COMMIT}/config.json"] == f"../../blobs/{USUAL.files[1].blob}"
    assert links[f"{top}/snapshots/{COMMIT}/sub/b.safetensors"] == f"../../../blobs/{USUAL.files[2].file.sha256}"
    env = plan().config.env
    assert (env["HF_HOME"], env["HF_HUB_OFFLINE"]) == ("/opt/weights/huggingface", "1")
    assert plan(env={"HF_HUB_OFFLINE": "0"}).config.env["HF_HUB_OFFLINE"] == "0"


def test_a_new_commit_moves_what_changed_and_nothing_else() -> None:
    new = weights(*(file(one.path, one.file.size or 0, commit="d" * 40) for one in USUAL.files), commit="d" * 40)
    before, after = layers(plan()), layers(plan((Wanted(MODEL),), new))
    keys = [[recipe_key(layer.recipe) for layer in made] for made in (before, after)]
    assert keys[0][:2] == keys[1][:2] and keys[0][2] != keys[1][2]


def test_a_revision_that_is_alone_is_what_programs_get_that_ask_for_none() -> None:
    def names(*sources: HubSource) -> list[str]:
        made = plan(tuple(map(Wanted, sources)), *(weights(file("x", 5), source=one) for one in sources))
        return [path.rpartition("/refs/")[2] for layer in layers(made) for path, _ in recipe(layer).texts]

    assert names(replace(MODEL, revision="v1")) == ["main", "v1"]
    assert names(replace(MODEL, revision=COMMIT)) == ["main"]
    assert names(MODEL, replace(MODEL, revision="v1")) == ["main", "v1"]


def test_an_address_goes_where_torch_looks_and_local_files_stay_where_they_are() -> None:
    url, local = UrlSource("https://files.example/r.pt", "1" * 64), LocalSource("models/best")
    pt = WeightFile("r.pt", File("r.pt", "1" * 64, 5, Url(url.url)))
    best = WeightFile("models/best/x", File("x", "2" * 64, 5, InProject("models/best/x")))
    locked = (weights(pt, source=url, commit=""), weights(best, source=local, commit=""))
    made = plan((Wanted(url), Wanted(local)), *locked)
    paths = [one.path for layer in layers(made) for one in recipe(layer).files]
    assert paths == ["opt/weights/torch/hub/checkpoints/r.pt", "workspace/models/best/x"]
    assert made.config.env["TORCH_HOME"] == "/opt/weights/torch" and "HF_HOME" not in made.config.env
    elsewhere = plan((Wanted(url, target="/m"), Wanted(local, target="m")), *locked)
    paths = [one.path for layer in layers(elsewhere) for one in recipe(layer).files]
    assert paths == ["m/r.pt", "workspace/m/x"] and "TORCH_HOME" not in elsewhere.config.env


def test_a_target_takes_a_hubs_files_as_they_are() -> None:
    made = plan((Wanted(MODEL, target="/models/tiny"),))
    paths = [one.path for layer in layers(made) for one in recipe(layer).files]
    assert paths == ["models/tiny/a.safetensors", "models/tiny/sub/b.safetensors", "models/tiny/config.json"]
    assert not any(recipe(layer).links for layer in layers(made)) and "HF_HOME" not in made.config.env


def test_many_shards_share_layers_in_order() -> None:
    shards = [file(f"model-{n:05}.safetensors", OWN_LAYER) for n in range(163)]
    made = layers(plan((Wanted(MODEL),), weights(*shards)))
    assert len(made) == LAYERS + 1
    placed = [one for layer in made for one in recipe(layer).files]
    assert placed == sorted(placed) and len(placed) == 163


def test_two_entries_with_the_same_large_file_have_one_layer_for_it() -> None:
    other = replace(MODEL, revision="v1")
    made = plan((Wanted(MODEL), Wanted(other)), USUAL, replace(USUAL, source=str(other)))
    assert len({layer.recipe for layer in layers(made)}) == len(layers(made)) == 4


def test_a_lock_of_other_weights_is_refused() -> None:
    with pytest.raises(LockError, match="does not hold the project's weights"):
        plan((Wanted(LocalSource("x")),))


def test_a_project_without_weights_is_planned_as_ever() -> None:
    made = make_plan(values.project(), values.lock(), AMD64, [], CodeFacts("c" * 64, 1, 1))
    assert not layers(made) and not {"HF_HOME", "TORCH_HOME", "HF_HUB_OFFLINE"} & set(made.config.env)
