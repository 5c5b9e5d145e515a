"""Layers of a conda environment: what decides their bytes, and what does not."""

from __future__ import annotations

from dataclasses import replace

from trainload.lock.model import ChannelPath, CondaEnvironment, CondaPackage, File
from trainload.plan.build import CodeFacts, make_plan
from trainload.plan.key import recipe_key
from trainload.plan.model import CondaEnvironmentRecipe, CondaRecipe, Kind, Plan, PrefixWheelsRecipe
from trainload.platform import Platform
from trainload.project.model import CondaFile
from trainload.testing import values

AMD = Platform.parse("linux/amd64")
CODE = CodeFacts("0" * 64, 10, 1)


def package(
    name: str, size: int = 1_000, noarch: str = "", address: str = "https://conda.example/c"
) -> CondaPackage:
    subdir = "noarch" if noarch else "linux-64"
    file = File(f"{name}-1-0.conda", name.encode().hex().ljust(64, "0")[:64], size,
                ChannelPath("c", f"{subdir}/{name}-1-0.conda", address))  # fmt: skip
    return CondaPackage(name, "1", "0", file, noarch)


def plan(*packages: CondaPackage, python: str = "3.11.9", wheels: int = 0, name: str = "demo") -> Plan:
    site = f"lib/python{python.rpartition('.')[0]}/site-packages"
    conda = CondaEnvironment((), (("c", "https://conda.example/c"),), {"amd64": packages}, python, site)
    lock = replace(values.lock(), conda=conda, python=python.rpartition(".")[0])
    environment = CondaFile(name=name, variables=(("MODE", "fast"),))
    project = values.project(dependencies=environment)
    return make_plan(project, lock, AMD, [values.wheel(f"w{n}") for n in range(wheels)], CODE)


def recipes(made: Plan) -> list[CondaRecipe]:
    return [layer.recipe for layer in made.layers if isinstance(layer.recipe, CondaRecipe)]


def test_large_packages_are_alone_and_the_environment_is_last() -> None:
    made = plan(package("python", 30_000_000), package("zlib"), package("xz"), package("torch", 90_000_000))
    titles = [layer.title for layer in made.layers if layer.kind is Kind.CONDA]
    assert titles == ["torch 1", "python 1", "xz, zlib", "conda environment /opt/conda"]
    assert not any(layer.kind in (Kind.ENVIRONMENT, Kind.INTERPRETER) for layer in made.layers)


def test_a_layer_depends_on_the_python_only_where_a_package_does() -> None:
    packages = (package("python", 30_000_000), package("zlib", 5_000_000), package("pure", 6_000_000, "python"))
    keys = {python: {each.packages[0].name: recipe_key(each) for each in recipes(plan(*packages, python=python))}
            for python in ("3.11.9", "3.12.1")}  # fmt: skip
    first, second = keys.values()
    assert first["zlib"] == second["zlib"] and first["python"] == second["python"]
    assert first["pure"] != second["pure"]


def test_the_name_of_an_environment_changes_no_layer() -> None:
    one, two = plan(package("python")), plan(package("python"), name="other")
    assert [layer.recipe for layer in one.layers] == [layer.recipe for layer in two.layers]
    assert (one.config.env["CONDA_DEFAULT_ENV"], two.config.env["CONDA_DEFAULT_ENV"]) == ("demo", "other")


def test_the_programs_of_the_environment_come_first_and_nothing_says_virtual_environment() -> None:
    env = plan(package("python")).config.env
    assert env["PATH"].split(":")[0] == "/opt/conda/bin" and "VIRTUAL_ENV" not in env
    assert (env["CONDA_PREFIX"], env["MODE"]) == ("/opt/conda", "fast")


def test_wheels_go_into_the_prefix_above_the_packages() -> None:
    made = plan(package("python"), wheels=3)
    kinds = [type(layer.recipe) for layer in made.layers]
    assert kinds.index(CondaEnvironmentRecipe) < kinds.index(PrefixWheelsRecipe)
    wheels = [layer.recipe for layer in made.layers if isinstance(layer.recipe, PrefixWheelsRecipe)]
    assert {recipe.prefix for recipe in wheels} == {"/opt/conda"}


def test_many_packages_stay_within_the_number_of_layers() -> None:
    packages = [package(f"p{n}", 3_000_000 + n) for n in range(150)]
    made = plan(*packages, wheels=100)
    assert len(made.layers) <= 66
    assert sorted(each.name for recipe in recipes(made) for each in recipe.packages) == sorted(
        p.name for p in packages
    )
