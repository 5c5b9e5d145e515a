"""An image's layers made again: equal, different, or not rebuilt, and why."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from trainload.builder.makers import Code
from trainload.builder.rebuild import Rebuild, Remade, Verdict
from trainload.builder.workshop import Workshop
from trainload.digest import Digest
from trainload.errors import Text
from trainload.events import SILENT
from trainload.image.assemble import assemble
from trainload.image.model import Image, Layer
from trainload.plan.model import (
    BytecodeRecipe,
    CodeRecipe,
    EnvironmentRecipe,
    Kind,
    Plan,
    PlannedLayer,
    RuntimeConfig,
    WheelsRecipe,
)
from trainload.platform import Platform
from trainload.project.model import CodeListing
from trainload.store.store import Store
from trainload.testing.sources import MemorySources, locked
from trainload.testing.zips import Made

CODE = Code(CodeListing(()), lambda path: cast("BinaryIO", io.BytesIO()))
WHY = Text("a test")
WHEEL = Made("torch")
LAYERS = (
    PlannedLayer(Kind.ENVIRONMENT, "venv", EnvironmentRecipe("3.11", "/usr/bin/python3"), None, WHY),
    PlannedLayer(
        Kind.PACKAGE,
        "torch 1.0",
        WheelsRecipe((locked(WHEEL.file, WHEEL.bytes()),), "3.11"),
        len(WHEEL.bytes()),
        WHY,
    ),
    PlannedLayer(Kind.CODE, "code", CodeRecipe("/app", 1000, Digest.sha256(b"").hex), 0, WHY),
)


def plan_of(layers: Sequence[PlannedLayer] = LAYERS) -> Plan:
    return Plan("app", Platform.host(), tuple(layers), RuntimeConfig("1000", "/app", (), (), {}, {}))


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    store = Store.open(tmp_path / "home")
    return Workshop(store, MemorySources({WHEEL.file: WHEEL.bytes()}), lambda files: None, SILENT, workers=2)


@pytest.fixture
def made(shop: Workshop) -> tuple[Layer, ...]:
    with shop.store.writing():
        return tuple(made.layer for made in shop.make(plan_of(), CODE))


def rebuilt(shop: Workshop, image: Image, plan: Plan | None = None) -> tuple[Remade, ...]:
    with shop.store.writing():
        return Rebuild(shop, plan or plan_of(), CODE, image).run()


def test_an_image_is_what_its_plan_gives_and_nothing_of_it_is_kept(
    shop: Workshop, made: Sequence[Layer], tmp_path: Path
) -> None:
    image = assemble(plan_of(), made)
    other = replace(shop, store=Store.open(tmp_path / "auditor"))
    found = rebuilt(other, image)
    assert [(one.title, one.verdict) for one in found] == [
        ("venv", Verdict.EQUAL), ("torch 1.0", Verdict.EQUAL), ("code", Verdict.EQUAL),
    ]  # fmt: skip
    assert list((tmp_path / "auditor").glob("blobs/sha256/*")) == []


def test_a_layer_that_only_claims_to_be_torch_is_found_out(shop: Workshop, made: Sequence[Layer]) -> None:
    venv, torch, code = made
    found = rebuilt(shop, assemble(plan_of(), [venv, code, code]))
    assert [one.verdict for one in found] == [Verdict.EQUAL, Verdict.DIFFERENT, Verdict.EQUAL]
    assert found[1].got == torch.descriptor.digest
    only_diff_id = replace(torch, diff_id=code.diff_id)
    assert rebuilt(shop, assemble(plan_of(), [venv, only_diff_id, code]))[1].verdict is Verdict.DIFFERENT


def test_what_cannot_be_rebuilt_says_why(shop: Workshop, made: Sequence[Layer]) -> None:
    venv, _, code = made
    image = assemble(plan_of(), made)
    without = plan_of((LAYERS[0], LAYERS[2]))
    assert str(rebuilt(shop, image, without)[1].reason) == "the lock and the files here do not describe it"
    bytecode = PlannedLayer(Kind.BYTECODE, "bytecode", BytecodeRecipe((venv.diff_id,), "3.11"), None, WHY)
    later = plan_of((LAYERS[0], bytecode))
    found = rebuilt(
        shop,
        assemble(later, [venv, code]),
        plan_of((LAYERS[0], replace(bytecode, recipe=BytecodeRecipe((), "3.11")))),
    )
    assert found[1].verdict is Verdict.NOT_REBUILT
    assert "needs a sandbox" in str(found[1].reason)
    data = image.manifest_bytes.replace(b"dev.trainload.recipe", b"dev.example.recipe")
    foreign = replace(
        image,
        manifest_bytes=data,
        manifest=replace(
            image.manifest, layers=tuple(replace(layer, annotations={}) for layer in image.manifest.layers)
        ),
    )
    assert {str(one.reason) for one in rebuilt(shop, foreign)} == {"others made it: it names no inputs"}
