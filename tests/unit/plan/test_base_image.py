"""Laws of a plan over a base image: its layers as they are, its config merged by the documented rules."""

from __future__ import annotations

import dataclasses

import pytest

from trainload.errors import PlanError
from trainload.lock.model import BaseImage, BasePython, Blob, File, ImageBase, Lock, StandalonePython, Url
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.key import recipe_key
from trainload.plan.model import (
    AccountFiles,
    BaseDocument,
    EnvironmentRecipe,
    ImageLayerRecipe,
    Kind,
    Plan,
    RuntimeConfig,
    SystemRecipe,
    UserRecipe,
)
from trainload.plan.order import MOST_LAYERS
from trainload.platform import Platform
from trainload.testing import values

AMD64 = Platform("linux", "amd64")
CODE = CodeFacts("c" * 64, 1_234, 3)
A = f"sha256:{'a' * 64}"
PASSWD, GROUP = ("root:x:0:0:root:/root:/bin/bash",), ("root:x:0:",)
PYTHON = BasePython("/usr/local/bin/python3.11", "3.11.9", (("pip", "24.0"),))
IMAGE = BaseImage(Blob(A, 1), Blob(A, 1), "debian", "bookworm", (2, 36), PYTHON, "/usr/bin/tini", (PASSWD, GROUP))


def layer(number: int, size: int = 30_000_000) -> ImageLayerRecipe:
    digest = f"sha256:{number:064x}"
    return ImageLayerRecipe(digest, size, digest, "application/vnd.oci.image.layer.v1.tar+gzip")


CONFIG = RuntimeConfig(
    user="root", workdir="/", command=("python3",), entrypoint=(),
    env={"PATH": "/usr/local/bin:/bin", "GPG_KEY": "A"},
    labels={"maintainer": "them"}, stop_signal="SIGINT", volumes=("/data",), ports=("80/tcp",),
)  # fmt: skip
HISTORY = ({"created_by": "/bin/sh -c #(nop) ADD file:1 in / "}, {"created_by": "CMD", "empty_layer": True},
           {"created_by": "RUN /bin/sh -c set -eux;   apt-get   update # buildkit"})  # fmt: skip
BASE = BaseDocument("python:3.11-slim", A, (layer(1), layer(2)), CONFIG, HISTORY)


def lock(image: BaseImage = IMAGE, **changed: object) -> Lock:
    base = ImageBase("python:3.11-slim", A, {"amd64": image}, profile="slim")
    return dataclasses.replace(values.lock(), base=base, platforms=(AMD64,), **changed)  # type: ignore[arg-type]


def plan(held: Lock | None = None, base: BaseDocument = BASE, **settings: object) -> Plan:
    packages = [values.wheel("torch", "2.13.0", 190_000_000), values.wheel("click")]
    return make_plan(values.project(**settings), held or lock(), AMD64, packages, CODE, base)


def test_the_bases_layers_come_first_as_they_are_with_what_their_history_says() -> None:
    made = plan()
    assert [(one.kind, one.title) for one in made.layers] == [
        (Kind.BASE, "ADD file:1 in /"), (Kind.BASE, "set -eux; apt-get update"),
        (Kind.ENVIRONMENT, "virtual environment /opt/venv"), (Kind.PACKAGE, "torch 2.13.0"),
        (Kind.SMALL, "click 1.0"),
        (Kind.USER, "user 1000"), (Kind.CODE, "code, 3 files"),
    ]  # fmt: skip
    assert [one.recipe for one in made.layers[:2]] == list(BASE.layers)
    assert made.base == BASE


def test_a_history_that_fits_no_layers_is_not_told() -> None:
    made = plan(base=dataclasses.replace(BASE, history=()))
    assert made.layers[0].title == BASE.layers[0].diff_id


def test_the_environment_is_made_with_the_bases_python_and_sees_what_it_has() -> None:
    def environment(python: BasePython | None) -> list[EnvironmentRecipe]:
        made = plan(lock(dataclasses.replace(IMAGE, python=python)))
        return [one.recipe for one in made.layers if isinstance(one.recipe, EnvironmentRecipe)]

    assert environment(PYTHON) == [EnvironmentRecipe("3.11.9", "/usr/local/bin/python3.11", True)]
    bare = dataclasses.replace(PYTHON, installed=(), folders=("/srv/env/lib/python3.11/site-packages",))
    assert environment(bare) == [EnvironmentRecipe("3.11.9", bare.path, folders=bare.folders)]
    assert environment(dataclasses.replace(PYTHON, is_ours=True)) == []
    assert environment(None) == [EnvironmentRecipe("3.11", "/usr/bin/python3.11")]


def test_a_standalone_python_lies_above_the_base_whatever_python_that_has() -> None:
    archive = File("cpython.tar.gz", "d" * 64, 30, Url("https://python.example/cpython.tar.gz"))
    made = plan(lock(interpreter=StandalonePython("3.12.8", {"amd64": archive}), python="3.12"))
    assert [one.kind for one in made.layers][2:4] == [Kind.INTERPRETER, Kind.ENVIRONMENT]
    assert made.layers[3].recipe == EnvironmentRecipe("3.12.8", "/opt/python/bin/python3.12")
    assert made.config.env["PATH"] == "/opt/venv/bin:/opt/python/bin:/usr/local/bin:/bin"


def test_the_config_is_the_bases_with_ours_over_it() -> None:
    config = plan(env={"GPG_KEY": "B"}).config
    assert (config.user, config.workdir, config.command) == ("1000", "/workspace", ("python", "train.py"))
    assert (config.labels, config.stop_signal) == ({"maintainer": "them"}, "SIGINT")
    assert (config.volumes, config.ports) == (("/data",), ("80/tcp",))
    assert config.env == {
        "PATH": "/opt/venv/bin:/usr/local/bin:/bin", "VIRTUAL_ENV": "/opt/venv", "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1", "GPG_KEY": "B",
    }  # fmt: skip


def test_what_the_base_says_of_gpus_languages_and_libraries_stays() -> None:
    env = {"LANG": "de_DE.UTF-8", "LD_LIBRARY_PATH": "/usr/local/nvidia/lib", "NVIDIA_DRIVER_CAPABILITIES": "all"}
    base = dataclasses.replace(BASE, config=dataclasses.replace(CONFIG, env=env))
    made = plan(lock(accelerator="cu124"), base).config.env
    assert {name: made[name] for name in env} == env
    assert (made["NVIDIA_VISIBLE_DEVICES"], made["PATH"].count("/opt/venv/bin")) == ("all", 1)


def test_the_entrypoint_is_the_users_else_the_bases_else_an_init() -> None:
    own = dataclasses.replace(
        BASE, config=dataclasses.replace(CONFIG, entrypoint=("/opt/nvidia/nvidia_entrypoint.sh",))
    )
    assert plan().config.entrypoint == ("/usr/bin/tini", "--")
    assert plan(base=own).config.entrypoint == own.config.entrypoint and not plan(base=own).warnings
    assert plan(base=own, entrypoint=()).config.entrypoint == ()
    assert plan(base=own, entrypoint=("sh", "-c")).config.entrypoint == ("sh", "-c")
    assert plan(lock(dataclasses.replace(IMAGE, init=""))).config.entrypoint == ()


def test_an_entrypoint_that_may_not_run_the_command_is_told_unless_it_was_chosen() -> None:
    server = dataclasses.replace(BASE, config=dataclasses.replace(CONFIG, entrypoint=("vllm", "serve")))
    assert ["vllm serve" in str(warning) for warning in plan(base=server).warnings] == [True]
    assert plan(base=server, entrypoint=()).warnings == ()


def test_the_user_is_added_to_what_the_base_knows_unless_it_knows_it() -> None:
    def users(image: BaseImage, user: int) -> list[object]:
        made = plan(lock(image), user=user)
        return [one.recipe for one in made.layers if one.kind is Kind.USER]

    assert users(IMAGE, 1000) == [UserRecipe(1000, AccountFiles(PASSWD, GROUP))]
    known = dataclasses.replace(IMAGE, accounts=((*PASSWD, "ubuntu:x:1000:1000::/home/ubuntu:/bin/bash"), GROUP))
    assert users(known, 1000) == users(IMAGE, 0) == []
    assert len(users(known, 1001)) == 1


def test_packages_on_top_make_the_user_known_themselves() -> None:
    packages = (values.deb("git"), values.deb("tini"))
    made = plan(lock(dataclasses.replace(IMAGE, packages=packages, init="")))
    system = made.layers[2]
    assert (system.kind, system.title) == (Kind.SYSTEM, "2 debian packages")
    assert system.recipe == SystemRecipe(
        (layer(1).diff_id, layer(2).diff_id), "bookworm", "slim", "amd64", packages, 1000
    )
    assert Kind.USER not in {one.kind for one in made.layers}
    assert made.config.entrypoint == ("/usr/bin/tini", "--")


def test_a_layer_of_packages_depends_on_what_lies_below_it() -> None:
    on_top = lock(dataclasses.replace(IMAGE, packages=(values.deb("git"),)))
    other = dataclasses.replace(BASE, layers=(layer(1), layer(3)))
    assert recipe_key(plan(on_top).layers[2].recipe) != recipe_key(plan(on_top, other).layers[2].recipe)


def test_a_base_of_many_layers_leaves_fewer_for_packages_and_one_of_too_many_is_refused() -> None:
    packages = [values.wheel(f"p{number:03}", size=9_000_000) for number in range(30)]

    def made(count: int) -> Plan:
        base = dataclasses.replace(BASE, layers=tuple(layer(number) for number in range(count)), history=())
        return make_plan(values.project(), lock(), AMD64, packages, CODE, base)

    assert len(made(80).layers) == 80 + 1 + 30 + 2
    full = made(110)
    assert len(full.layers) == MOST_LAYERS
    assert [one.kind for one in full.layers].count(Kind.PACKAGE) == MOST_LAYERS - 110 - 4
    assert len(made(MOST_LAYERS - 4).layers) == MOST_LAYERS
    with pytest.raises(PlanError, match="117 of them the base's"):
        made(117)


def test_cuda_in_the_base_and_in_wheels_is_told_with_both_sizes() -> None:
    base = dataclasses.replace(BASE, config=dataclasses.replace(CONFIG, env={"CUDA_VERSION": "12.4.1"}))
    packages = [values.wheel("nvidia-cublas-cu12", size=400_000_000), values.wheel("torch", size=800_000_000)]
    told = make_plan(values.project(), lock(), AMD64, packages, CODE, base).warnings
    assert "CUDA 12.4.1" in str(told[0]) and "400 MB beside the base's 60 MB" in str(told[0])
    assert make_plan(values.project(), lock(), AMD64, packages, CODE, BASE).warnings == ()
    assert make_plan(values.project(), lock(), AMD64, packages[1:], CODE, base).warnings == ()


def test_an_image_that_was_not_looked_up_is_no_plan() -> None:
    with pytest.raises(PlanError, match=r"python:3\.11-slim was not looked up"):
        make_plan(values.project(), lock(), AMD64, (), CODE)
