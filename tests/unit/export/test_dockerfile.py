"""What `trainload export dockerfile` writes: every variant parses, is pinned, and our own lint is content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainload.dockerfile.parse import parse
from trainload.errors import Text
from trainload.export import conda
from trainload.export.dockerfile import PUBLIC, Wanted, dockerfile, nearest
from trainload.export.ignorefile import ignore_file
from trainload.export.requirements import in_folders, requirements, sources
from trainload.lint.check import check, mended
from trainload.lint.model import Surroundings
from trainload.lock.freeze import requirements as frozen
from trainload.lock.model import (
    BaseImage,
    BasePython,
    Blob,
    ChannelPath,
    CondaEnvironment,
    CondaPackage,
    DistributionBase,
    File,
    Found,
    HubPath,
    ImageBase,
    InProject,
    Lock,
    PythonPackage,
    StandalonePython,
    Url,
)
from trainload.lock.select import select
from trainload.plan.model import (
    CondaEnvironmentRecipe,
    HealthConfig,
    Kind,
    PlacedFile,
    Plan,
    PlannedLayer,
    WeightsRecipe,
)
from trainload.plan.runtime import runtime
from trainload.platform import Platform
from trainload.project.detect import read_project
from trainload.project.listing import list_code
from trainload.project.model import Project
from trainload.testing.tree import MemoryTree

AMD64 = Platform.parse("linux/amd64")
SHA = {letter: letter * 64 for letter in "0123456789abcdef"}
PINNED = f"debian:bookworm-slim@sha256:{SHA['a']}"
BASE = DistributionBase(
    "debian", "bookworm", "slim", ("python3",), (), {"amd64": ()}, "3.11", (2, 36), system=("ffmpeg",)
)
PYTHON = StandalonePython(
    "3.12.8",
    {"amd64": File("cpython-3.12.8.tar.gz", SHA["f"], 9, Url("https://python.example/cpython-3.12.8.tar.gz"))},
)
IMAGE = ImageBase(
    "nvcr.example/nvidia/pytorch:24.04-py3", f"sha256:{SHA['b']}",
    {"amd64": BaseImage(Blob("", 0), Blob("", 0), "ubuntu", "jammy", (2, 35),
                        BasePython("/usr/bin/python3.11", "3.11.9", (("torch", "2.3.0a0"),)))},
    requested=("ffmpeg",),
)  # fmt: skip


def wheel(name: str, version: str, letter: str, url: str = "") -> PythonPackage:
    file = f"{name}-{version}-py3-none-any.whl"
    place = Url(url) if url else Url(f"https://files.example/{file}")
    return PythonPackage(name, version, (File(file, SHA[letter], 10, place),))


SOURCE = PythonPackage("sdist", "1", (), File("s-1.tar.gz", SHA["3"], 1, Url("https://files.example/s-1.tar.gz")))
NUMPY, TORCH = wheel("numpy", "2.1.0", "1"), wheel("torch", "2.6.0+cpu", "2", "https://torch.example/torch.whl")


def wanted(project: Project, lock: Lock, **more: str) -> Wanted:
    config = runtime(project, lock, AMD64, None)
    if isinstance(lock.base, DistributionBase):
        config = replace(config, entrypoint=("/usr/bin/tini", "--"))
    plan = Plan("digits", AMD64, (), config)
    return Wanted(
        project, lock, plan, select(lock, AMD64, sdists=True), more.get("base", PINNED),
        requirements="requirements.trainload.txt" if lock.packages else "", wheels=more.get("wheels", ""),
        sources=sources([select(lock, AMD64, sdists=True)]),
    )  # fmt: skip


def project_of(**nodes: str) -> Project:
    files = {name.replace("__", "."): text for name, text in nodes.items()}
    return read_project(MemoryTree({"train.py": "print()\n", "trainload.toml": files.pop("toml", ""), **files}))


def lock_of(*packages: PythonPackage, **more: object) -> Lock:
    lock = Lock("", "3.11", packages, BASE, (AMD64,))
    return replace(lock, **more)  # type: ignore[arg-type]


def environment(python: str = "3.11.9") -> CondaEnvironment:
    def package(name: str, letter: str, channel: str, address: str) -> CondaPackage:
        file = f"{name}-1.0-0.conda"
        return CondaPackage(
            name, "1.0", "0", File(file, SHA[letter], 9, ChannelPath(channel, f"linux-64/{file}", address))
        )

    near, far = "https://conda.example", "https://own.example/channels"
    packages = (
        package("own", "a", "team", f"{far}/team"), package("python", "b", "conda-forge", f"{near}/conda-forge"),
        package("zlib", "c", "conda-forge", f"{near}/conda-forge"),
    )  # fmt: skip
    site = "lib/python3.11/site-packages" if python else ""
    return CondaEnvironment(("python",), (), {"amd64": packages}, python, site)


CONDA = project_of(environment__yml="name: x\nchannels: [conda-forge]\ndependencies: [python=3.11]\n")
TOOLS = project_of(
    environment__yml="name: x\nchannels: [conda-forge]\ndependencies: [zlib]\n", toml='command = ["zlib"]\n'
)
VARIANTS = {
    "packages": (project_of(), lock_of(NUMPY, TORCH), {}),
    "wheels": (project_of(), lock_of(NUMPY), {"wheels": "wheels"}),
    "nothing": (project_of(), lock_of(), {}),
    "python": (project_of(), lock_of(NUMPY, python="3.12", interpreter=PYTHON), {}),
    "python in wheels": (project_of(), lock_of(NUMPY, python="3.12", interpreter=PYTHON), {"wheels": "a/wheels"}),
    "root": (project_of(toml="user = 0\n"), lock_of(NUMPY), {}),
    "image": (project_of(), lock_of(NUMPY, base=IMAGE), {"base": nearest(lock_of(base=IMAGE))}),
    "env": (project_of(toml='[env]\nA = "a $b \\"c\\" \\\\d"\n'), lock_of(NUMPY), {}),
    "source": (project_of(), lock_of(SOURCE), {}),
    "conda": (CONDA, lock_of(conda=environment()), {}),
    "conda and pip": (CONDA, lock_of(NUMPY, conda=environment()), {}),
    "conda in wheels": (CONDA, lock_of(NUMPY, conda=environment()), {"wheels": "wheels"}),
    "conda without Python": (TOOLS, lock_of(python="", conda=environment(python="")), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_our_own_lint_finds_nothing_in_it(name: str) -> None:
    project, lock, more = VARIANTS[name]
    text = dockerfile(wanted(project, lock, **more))
    parse(text.encode(), "Dockerfile")
    around = Surroundings(files={"train.py": 9, "requirements.trainload.txt": 9})
    assert [(one.rule, one.lines) for one in check("Dockerfile", text, around)] == []


def test_a_server_gets_a_health_check_and_then_nothing_is_found() -> None:
    project = project_of(toml='command = ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "9000"]\n')
    text = dockerfile(wanted(project, lock_of(NUMPY)))
    around = Surroundings(health="/health")
    assert [one.rule for one in check("Dockerfile", text, around)] == ["no-healthcheck"]
    found = mended("Dockerfile", text, around, only=("no-healthcheck",))
    assert "http://127.0.0.1:9000/health" in found.text
    assert check("Dockerfile", found.text, around) == ()


def test_the_base_is_the_nearest_public_one_and_what_the_lock_has_by_digest() -> None:
    assert nearest(lock_of()) == "debian:bookworm-slim"
    assert nearest(lock_of(base=IMAGE)) == f"nvcr.example/nvidia/pytorch:24.04-py3@sha256:{SHA['b']}"
    assert set(PUBLIC) == {"bookworm", "trixie", "jammy", "noble"}


def test_stages_packages_user_and_command() -> None:
    text = dockerfile(wanted(project_of(), lock_of(NUMPY)))
    assert text.count("\nFROM ") == 3
    assert f"FROM {PINNED} AS base\n" in text
    assert "        ffmpeg \\\n        python3 \\\n        tini \\\n        tzdata \\\n" in text
    assert "--mount=type=cache,target=/root/.cache/pip" in text
    assert "--require-hashes --no-deps --no-compile" in text
    assert text.endswith('USER 1000\nENTRYPOINT ["/usr/bin/tini", "--"]\nCMD ["python", "train.py"]\n')


def test_a_base_with_torch_is_seen_by_the_environment() -> None:
    text = dockerfile(wanted(*VARIANTS["image"][:2], base="x:1"))
    assert "RUN /usr/bin/python3.11 -m venv --system-site-packages /opt/venv\n" in text


def test_a_python_of_its_own_is_checked_by_its_hash() -> None:
    text = dockerfile(wanted(*VARIANTS["python"][:2]))
    assert "ADD https://python.example/cpython-3.12.8.tar.gz /tmp/fetched/\n" in text
    assert f'RUN echo "{SHA["f"]}  $(ls /tmp/fetched/*)" | sha256sum --check' in text
    assert "/opt/python/bin/python3.12 -m venv /opt/venv" in text
    assert "python3 \\" not in text


def test_with_wheels_no_index_is_asked_and_they_stay_out_of_the_image() -> None:
    text = dockerfile(wanted(project_of(), lock_of(NUMPY), wheels="wheels"))
    assert "--no-index --find-links=/tmp/wheels" in text
    assert "--mount" not in text
    assert "RUN rm -rf /app/wheels\n" in text


def test_weights_are_fetched_checked_and_apart_from_the_code() -> None:
    own = File("best.pt", SHA["5"], 4, InProject("models/best.pt"))
    hub = File("model.safetensors", SHA["6"], 4, HubPath("models", "org/m", "0" * 40, "model.safetensors"))
    recipe = WeightsRecipe(
        (PlacedFile("app/models/best.pt", own), PlacedFile("opt/weights/a b", hub)),
        (("opt/weights/l/x", "../../a b"),), (("opt/weights/refs/main", "0" * 40),), ("opt/weights",),
    )  # fmt: skip
    plain = wanted(project_of(), lock_of(NUMPY))
    layers = (PlannedLayer(Kind.WEIGHTS, "m", recipe, 8, Text("a large file")),)
    made = replace(plain, plan=replace(plain.plan, layers=layers), urls={SHA["6"]: "https://hub.example/m"})
    text = dockerfile(made)
    assert check("Dockerfile", text) == ()
    assert "COPY models/best.pt /weights/app/models/best.pt\n" in text
    assert 'ADD ["https://hub.example/m", "/weights/opt/weights/a b"]\n' in text
    assert f"        '{SHA['6']}  /weights/opt/weights/a b' \\\n    | sha256sum --check --quiet \\\n" in text
    assert "ln -s '../../a b' /weights/opt/weights/l/x" in text
    assert "chmod 1777 /weights/opt/weights\n\nFROM base AS code\n" in text
    assert "RUN rm -rf /app/models/best.pt\n" in text
    assert "\nCOPY --from=weights /weights/ /\n" in text


def test_values_of_the_environment_are_not_expanded() -> None:
    text = dockerfile(wanted(*VARIANTS["env"][:2]))
    assert 'A="a \\$b \\"c\\" \\\\d"' in text


def test_requirements_have_every_hash_and_builds_of_their_own_an_address() -> None:
    lock = lock_of(NUMPY, TORCH)
    text = requirements(lock, [select(lock, AMD64)], ("https://me:secret@extra.example/simple", ""), folder=False)
    assert [line for line in text.splitlines() if "index-url" in line] == [
        "--extra-index-url https://extra.example/simple"
    ]
    assert f"numpy==2.1.0 \\\n    --hash=sha256:{SHA['1']}\n" in text
    assert f"torch @ https://torch.example/torch.whl \\\n    --hash=sha256:{SHA['2']}\n" in text
    text = requirements(lock, [select(lock, AMD64)], (), folder=True)
    assert f"torch==2.6.0+cpu \\\n    --hash=sha256:{SHA['2']}\n" in text
    assert "https://" not in text


def test_frozen_requirements_name_a_build_of_its_own_by_its_address() -> None:
    text = frozen(lock_of(NUMPY, TORCH), AMD64)
    assert f"\ntorch @ https://torch.example/torch.whl --hash=sha256:{SHA['2']}\n" in text
    assert f"\nnumpy==2.1.0 --hash=sha256:{SHA['1']}\n" in text


def test_the_main_index_is_named_as_such() -> None:
    lock = lock_of(NUMPY)
    text = requirements(
        lock, [select(lock, AMD64)], ("https://a.example/simple", "https://b.example/simple"), folder=False
    )
    assert "--index-url https://b.example/simple\n--extra-index-url https://a.example/simple\n" in text


def test_conda_packages_are_placed_by_micromamba_from_the_locks_list() -> None:
    lock = lock_of(NUMPY, conda=environment())
    text = dockerfile(wanted(CONDA, lock))
    assert f"FROM {conda.IMAGE} AS conda\nUSER root\nCOPY conda.trainload.lock /tmp/\n" in text
    assert "s|^https://conda.example/|${CONDA_MIRROR:-https://conda.example}/|" in text
    assert "        python3 \\\n" not in text, "the environment brings its own"
    assert "/tmp/pip/bin/pip --python /opt/conda/bin/python install --require-hashes --no-deps" in text
    assert "\nCOPY --from=build --chown=0:0 /opt/conda /opt/conda\nRUN ln -s /opt/conda /opt/venv\n" in text
    listed = conda.listed(lock, AMD64, folder=False)
    assert f"\nhttps://own.example/channels/team/linux-64/own-1.0-0.conda#{SHA['a']}\n" in listed


def test_projects_that_are_installed_in_place_are_found_there_too() -> None:
    made = wanted(CONDA, lock_of(NUMPY, conda=environment()))
    recipe = CondaEnvironmentRecipe(
        (), (), paths=("/app", "/app/my lib"), site_packages="lib/python3.11/site-packages"
    )
    layer = PlannedLayer(Kind.CONDA, "x", recipe, None, Text("x"))
    text = dockerfile(replace(made, plan=replace(made.plan, layers=(*made.plan.layers, layer))))
    place = "/opt/conda/lib/python3.11/site-packages/__editable__.project.pth"
    assert f"RUN ln -s /opt/conda /opt/venv && printf '%s\\n' /app '/app/my lib' > {place}\n" in text


def test_conda_packages_in_a_folder_are_named_there() -> None:
    lock = lock_of(conda=environment())
    assert conda.listed(lock, AMD64, folder=True).splitlines()[2:] == [
        f"file:///tmp/conda/team/linux-64/own-1.0-0.conda#{SHA['a']}",
        f"file:///tmp/conda/conda-forge/linux-64/python-1.0-0.conda#{SHA['b']}",
        f"file:///tmp/conda/conda-forge/linux-64/zlib-1.0-0.conda#{SHA['c']}",
    ]
    text = dockerfile(wanted(CONDA, lock, wheels="wheels"))
    assert "COPY wheels/conda /tmp/conda\n" in text and "CONDA_MIRROR" not in text and "--mount" not in text
    assert "\nCOPY --from=conda --chown=0:0 /opt/conda /opt/conda\n" in text, "there is nothing for pip to add"


def test_a_health_check_keeps_its_times() -> None:
    made = wanted(project_of(), lock_of(NUMPY))
    test = ("CMD-SHELL", "test -e /ok")
    health = HealthConfig(test, interval=5_000_000_000, start_period=1_500_000_000, retries=3)
    plan = replace(made.plan, config=replace(made.plan.config, health=health))
    text = dockerfile(replace(made, plan=plan))
    assert "\nHEALTHCHECK --interval=5000ms --start-period=1500ms --retries=3 CMD test -e /ok\n" in text


def test_an_index_of_ones_own_may_want_a_password() -> None:
    project = project_of(toml='index = "https://pypi.example/simple"\n')
    assert "--mount=type=secret,id=netrc,target=/root/.netrc" in dockerfile(wanted(project, lock_of(NUMPY)))
    assert "netrc" not in dockerfile(wanted(project_of(), lock_of(NUMPY)))


@pytest.mark.parametrize("include", ['["*.py"]', "[]"])
def test_dockerignore_takes_what_the_build_reads_whatever_is_included(include: str) -> None:
    from trainload.dockerfile.ignore import Ignored

    tree = MemoryTree({
        "train.py": "", "notes.txt": "", "requirements.trainload.txt": "", "wheels/a.whl": "",
        "trainload.toml": f'include = {include}\ncommand = ["true"]\n',
    })  # fmt: skip
    project = read_project(tree)
    text = ignore_file(
        project.settings, list_code(tree, project), ["Dockerfile"], ["requirements.trainload.txt", "wheels/**"]
    )
    ignored = Ignored(text, ".dockerignore")
    assert not ignored.out("requirements.trainload.txt") and not ignored.out("wheels/a.whl")
    assert ignored.out("notes.txt") and ignored.out("Dockerfile")
    assert ignored.out("train.py") is (include == "[]")


def test_wheels_that_no_index_has_are_known() -> None:
    local = PythonPackage("a", "1", (File("a-1-py3-none-any.whl", SHA["4"], 1, Found("a-1-py3-none-any.whl")),))
    lock = lock_of(local, NUMPY)
    assert [file.name for file in in_folders([select(lock, AMD64)])] == ["a-1-py3-none-any.whl"]


def test_dockerignore_leaves_out_what_the_code_layer_leaves_out() -> None:
    from trainload.dockerfile.ignore import Ignored

    tree = MemoryTree({
        "train.py": "", ".env": "A=1", "lib/.env.example": "", "data/x.csv": "1", "lib/a.py": "", "outputs/a": "",
        "lib/__pycache__/a.pyc": "", ".gitignore": "/data\n", "keys/id_rsa": "x", "big/[1].bin": "",
        ".venv/.env.example": "",
        "trainload.toml": 'exclude = ["big/**"]\n', ".git/config": "", "pylock.trainload.toml": "",
    })  # fmt: skip
    project = read_project(tree)
    listing = list_code(tree, project)
    ignored = Ignored(ignore_file(project.settings, listing, ["Dockerfile", ".dockerignore"]), ".dockerignore")
    every = [entry.path for entry in tree.walk(lambda _: True) if entry.kind.value == "file"]
    assert [path for path in every if not ignored.out(path)] == [file.path for file in listing.files]
