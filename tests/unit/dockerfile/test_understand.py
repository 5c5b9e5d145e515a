"""RUN lines as tutorials write them, and what they are taken for."""

from __future__ import annotations

from typing import Any

import pytest

from trainload.dockerfile.installs import (
    CondaActive,
    CreateCondaEnvironment,
    InstallConda,
    InstallPoetry,
    InstallPython,
    Project,
    SyncProject,
)
from trainload.dockerfile.model import Heredoc, RunMount
from trainload.dockerfile.steps import (
    AddArchive,
    AddGroup,
    AddUser,
    ChangeMode,
    ChangeOwner,
    ChangeUser,
    Clear,
    Edit,
    EditFile,
    FetchWeights,
    InstallDistribution,
    Link,
    MakeFolder,
    Nothing,
    PlacedStep,
    Remove,
    RunProgram,
    SetPip,
    UpdateDistribution,
    UpgradeDistribution,
    Within,
    WriteFile,
)
from trainload.dockerfile.understand import poetry, uv
from trainload.dockerfile.understand.line import understand, understand_all
from trainload.dockerfile.understood import Opaque, RunLine, Understood

SHELL = ("/bin/sh", "-c")
UPDATE = UpdateDistribution()
LISTS = Clear(("/var/lib/apt/lists",))
ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "VERSION": "1.2", "LIST": "git curl", "TORCH": "torch==2.1"}


def line(text: str | None, env: dict[str, str] | None = None, user: str = "", **more: object) -> RunLine:
    values: dict[str, object] = {
        "line": 1, "script": text, "argv": (*SHELL, text), "shell": SHELL, "env": ENV if env is None else env,
        "user": user, "workdir": "/app",
    }  # fmt: skip
    return RunLine(**{**values, **more})  # type: ignore[arg-type]


def apt(*packages: str, recommends: bool | None = False) -> InstallDistribution:
    return InstallDistribution(packages, recommends)


def pip(*requirements: str, tool: tuple[str, ...] = ("pip",), **more: Any) -> InstallPython:  # noqa: ANN401
    return InstallPython(tool, requirements, **more)


KEPT: dict[str, Any] = {"cache_kept": True}
FILE = ("/app/requirements.txt",)

UNDERSTOOD: list[tuple[str, tuple[PlacedStep, ...]]] = [
    # apt
    (
        "apt-get update && apt-get install -y --no-install-recommends ffmpeg libgl1 && rm -rf /var/lib/apt/lists/*",
        (UPDATE, apt("ffmpeg", "libgl1"), LISTS),
    ),
    ("apt-get update && apt-get install -y git", (UPDATE, apt("git", recommends=None))),
    ("apt-get update && apt-get upgrade -y", (UPDATE, UpgradeDistribution())),
    ("apt update && apt -y upgrade", (UPDATE, UpgradeDistribution(whole=True))),
    (
        'apt-get update && apt-get -o Dpkg::Options::="--force-confold" dist-upgrade -y && apt-get clean',
        (UPDATE, UpgradeDistribution(whole=True, options=("--force-confold",)), Nothing("apt-get clean")),
    ),
    (
        "apt-get update && apt-get install -qq -o=Dpkg::Use-Pty=0 --fix-broken 'git=1:2.39*' curl/bookworm",
        (UPDATE, apt("git=1:2.39*", "curl/bookworm", recommends=None)),
    ),
    ("apt-get update && apt-get install -y --install-recommends jq", (UPDATE, apt("jq", recommends=True))),
    (
        "apt-get update && apt-get install -y ./x_1.0_amd64.deb /tmp/y.deb git",
        (UPDATE, InstallDistribution(("git",), files=("/app/x_1.0_amd64.deb", "/tmp/y.deb"))),
    ),
    ("apt update && apt install -y git", (UPDATE, apt("git", recommends=None))),
    ("apt-get update -y && apt-get -y install git", (UPDATE, apt("git", recommends=None))),
    ("apt-get update -qq && apt-get install -qq g++", (UPDATE, apt("g++", recommends=None))),
    ("apt-get -q update; apt-get -qy install make", (UPDATE, apt("make", recommends=None))),
    (
        "apt-get update \\\n    && apt-get install -y --no-install-recommends \\\n      curl \\\n      wget",
        (UPDATE, apt("curl", "wget")),
    ),
    (
        "set -eux; apt-get update; apt-get install -y --no-install-recommends git=1:2.39.5-0+deb12u2;"
        " apt-get clean; rm -rf /var/lib/apt/lists/* /tmp/* /var/tmp/*",
        (
            Nothing("set"),
            UPDATE,
            apt("git=1:2.39.5-0+deb12u2"),
            Nothing("apt-get clean"),
            Clear(("/var/lib/apt/lists", "/tmp", "/var/tmp")),
        ),
    ),
    (
        "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y tzdata && rm -rf /var/lib/apt/lists",
        (UPDATE, apt("tzdata", recommends=None), Clear((), ("/var/lib/apt/lists",))),
    ),
    (
        "export DEBIAN_FRONTEND=noninteractive && apt-get update && apt-get install --yes tzdata",
        (UPDATE, apt("tzdata", recommends=None)),
    ),
    ("apt-get update && apt-get install -y $LIST", (UPDATE, apt("git", "curl", recommends=None))),
    (
        "apt-get update && apt-get -o Acquire::Retries=3 -o APT::Install-Recommends=false install -y jq",
        (UPDATE, apt("jq")),
    ),
    ("apt-get update > /dev/null 2>&1 && apt-get install -y jq >/dev/null", (UPDATE, apt("jq", recommends=None))),
    (
        "add-apt-repository -y ppa:deadsnakes/ppa && apt-get update && apt-get install -y python3.10",
        (AddArchive("ppa:deadsnakes/ppa"), UPDATE, UPDATE, apt("python3.10", recommends=None)),
    ),
    ("apt-get update", (UPDATE,)),
    ("apt-get clean && rm -rf /var/lib/apt/lists/*", (Nothing("apt-get clean"), LISTS)),
    # pip
    ("pip install --no-cache-dir -r requirements.txt", (pip(files=FILE),)),
    ("pip3 install -r ./requirements.txt", (pip(tool=("pip3",), files=FILE, **KEPT),)),
    (
        "pip install --no-cache-dir --no-index --find-links=wheels -f http://links.example/ flask",
        (pip("flask", find_links=("/app/wheels", "http://links.example/"), no_index=True),),
    ),
    (
        "pip install --no-cache-dir --find-links file:///wheels flask",
        (pip("flask", find_links=("/wheels",)),),
    ),
    (
        "pip install --no-cache-dir -r requirements.txt && rm requirements.txt && rm -rf /wheels /root/.cache",
        (
            pip(files=FILE),
            Remove(("/app/requirements.txt",)),
            Clear((), ("/root/.cache",)),
            Remove(("/wheels",), recursive=True, force=True),
        ),
    ),
    ("python -m pip install flask", (pip("flask", tool=("python", "-m", "pip"), **KEPT),)),
    ("python3.10 -m pip install -q numpy", (pip("numpy", tool=("python3.10", "-m", "pip"), **KEPT),)),
    ("/opt/venv/bin/pip install flask", (pip("flask", tool=("/opt/venv/bin/pip",), **KEPT),)),
    (
        "pip install \"uvicorn[standard]==0.30.*\" 'gunicorn>=20,<23'",
        (pip("uvicorn[standard]==0.30.*", "gunicorn>=20,<23", **KEPT),),
    ),
    ("pip install --no-cache-dir fastapi==0.110.0 uvicorn", (pip("fastapi==0.110.0", "uvicorn"),)),
    (
        "pip install --upgrade pip && pip install --no-cache-dir --user -r requirements.txt",
        (pip("pip", upgrade=True, **KEPT), pip(files=FILE, user=True)),
    ),
    (
        "pip install --no-cache-dir torch==2.3.0 --index-url https://wheels.example/whl/cpu",
        (pip("torch==2.3.0", index="https://wheels.example/whl/cpu"),),
    ),
    (
        "pip install $TORCH torchvision --extra-index-url=https://wheels.example/whl/cu121",
        (pip("torch==2.1", "torchvision", extra_indexes=("https://wheels.example/whl/cu121",), **KEPT),),
    ),
    (
        "pip install --pre --no-deps -c constraints.txt foo==${VERSION}",
        (pip("foo==1.2", constraints=("/app/constraints.txt",), prereleases=True, dependencies=False, **KEPT),),
    ),
    ("pip install --force-reinstall --disable-pip-version-check foo", (pip("foo", reinstall=True, **KEPT),)),
    ("pip install --prefix=/install -r requirements.txt", (pip(files=FILE, prefix="/install", **KEPT),)),
    ("pip install --break-system-packages rich", (pip("rich", system=True, **KEPT),)),
    ("PIP_NO_CACHE_DIR=1 pip install rich", (pip("rich"),)),
    (
        "uv pip install --system --no-cache -r requirements.txt",
        (pip(tool=("uv", "pip"), files=FILE, system=True, folder="/app"),),
    ),
    (
        "uv venv --python 3.11 /opt/venv && uv pip install -n -p /opt/venv rich && uv cache clean",
        (
            RunProgram(("uv", "venv", "--python", "3.11", "/opt/venv"), uv.ALONE, uv.FAILS),
            pip("rich", tool=("uv", "pip"), folder="/app", python="/opt/venv"),
            Nothing("uv cache clean"),
        ),
    ),
    (
        "pip install --no-cache-dir -e '.[Dev,test]' ./lib rich",
        (pip("rich", projects=(Project("/app", ("dev", "test"), editable=True), Project("/app/lib"))),),
    ),
    ("pip install --target lib rich", (pip("rich", target="/app/lib", **KEPT),)),
    (
        "pip install -i http://wheels.example/simple --trusted-host wheels.example --compile rich",
        (pip("rich", index="http://wheels.example/simple", trusted=("wheels.example",), **KEPT),),
    ),
    ("pip install --no-cache-dir --require-hashes -r requirements.txt", (pip(files=FILE, hashes=True),)),
    (
        "pip install https://files.example/x-1.0-py3-none-any.whl 'y @ https://files.example/y-2-py3-none-any.whl'",
        (
            pip(
                "https://files.example/x-1.0-py3-none-any.whl",
                "y @ https://files.example/y-2-py3-none-any.whl",
                **KEPT,
            ),
        ),
    ),
    ("pip install rich && pip cache purge", (pip("rich", **KEPT), Nothing("pip cache purge"))),
    # conda
    ("conda env create -f environment.yml", (CreateCondaEnvironment("conda", "/app/environment.yml"),)),
    (
        "mamba env update -n base --file environment.yml && mamba clean -afy",
        (CreateCondaEnvironment("mamba", "/app/environment.yml", "base", update=True), Nothing("mamba clean")),
    ),
    (
        "conda install -y -c conda-forge numpy=1.26 pip",
        (InstallConda("conda", ("numpy=1.26", "pip"), ("conda-forge",)),),
    ),
    (
        "conda create -y --name x --override-channels -c conda-forge python=3.11",
        (InstallConda("conda", ("python=3.11",), ("conda-forge",), "x", creates=True, override=True),),
    ),
    (
        "conda install --yes --file specs.txt --file /srv/more pip",
        (InstallConda("conda", ("pip",), files=("/app/specs.txt", "/srv/more")),),
    ),
    (
        "micromamba install -y -n base -f /tmp/env.yaml && micromamba clean --all --yes",
        (CreateCondaEnvironment("micromamba", "/tmp/env.yaml", "base", update=True), Nothing("micromamba clean")),
    ),
    ("mamba install -yq -p ./env numpy", (InstallConda("mamba", ("numpy",), (), "/app/env"),)),
    (
        "conda run -n x pip install foo",
        (pip("foo", active=CondaActive("conda", "x"), **KEPT),),
    ),
    (
        ". /opt/conda/etc/profile.d/conda.sh && conda activate x && pip install foo",
        (pip("foo", active=CondaActive("/opt/conda/bin/conda", "x", "/opt/conda/etc/profile.d/conda.sh"), **KEPT),),
    ),
    # accounts
    ("useradd -m app", (AddUser("app", makes_home=True),)),
    ("useradd -ms /bin/bash -u 1000 app", (AddUser("app", 1000, makes_home=True, shell="/bin/bash"),)),
    (
        'groupadd -r web && useradd --no-log-init -r -g web -G audio,video -d /srv/web -c "Web server" web',
        (
            AddGroup("web", system=True),
            AddUser(
                "web", group="web", groups=("audio", "video"), home="/srv/web", comment="Web server", system=True
            ),
        ),
    ),
    (
        "groupadd --gid 1000 app && useradd --uid 1000 --gid app --create-home app",
        (AddGroup("app", 1000), AddUser("app", 1000, "app", makes_home=True)),
    ),
    ('adduser --disabled-password --gecos "" app', (AddUser("app", comment=",,,", debian=True),)),
    (
        "adduser --disabled-login --gecos 'A B,2' --ingroup web app",
        (AddUser("app", group="web", comment="A B,2,,", nologin=True, debian=True),),
    ),
    ("adduser --system --gid 0 -q app", (AddUser("app", group="0", system=True, debian=True),)),
    (
        "pip config set global.index-url https://x.example/simple",
        (SetPip("pip", "global", "index-url", "https://x.example/simple", ENV["PATH"]),),
    ),
    ("adduser app video", (ChangeUser("app", ("video",), debian=True),)),
    ("adduser --system --group app", (AddUser("app", own_group=True, system=True, debian=True),)),
    ("addgroup --system app", (AddGroup("app", system=True, debian=True),)),
    ("usermod -aG video,audio app", (ChangeUser("app", ("video", "audio")),)),
    # files
    ("mkdir -p /app/data logs", (MakeFolder("/app/data", parents=True), MakeFolder("/app/logs", parents=True))),
    ("ln -sf /usr/bin/python3.10 /usr/bin/python", (Link("/usr/bin/python3.10", "/usr/bin/python", force=True),)),
    ("ln -s ../lib/x y", (Link("../lib/x", "/app/y"),)),
    ("chmod +x /entrypoint.sh", (ChangeMode("+x", ("/entrypoint.sh",)),)),
    ("chmod -R 755 /app", (ChangeMode("755", ("/app",), recursive=True),)),
    ("chown -R app:app /app", (ChangeOwner("app:app", ("/app",), recursive=True),)),
    (
        "useradd -m app && mkdir /data && chown app: /data",
        (AddUser("app", makes_home=True), MakeFolder("/data"), ChangeOwner("app:", ("/data",))),
    ),
    ('echo "backend: Agg" > matplotlibrc', (WriteFile("/app/matplotlibrc", "backend: Agg\n"),)),
    ("echo 'alias ll=ls' >> /root/.bashrc", (WriteFile("/root/.bashrc", "alias ll=ls\n", append=True),)),
    ("echo done", (Nothing("echo"),)),
    (
        "sed -i 's/deb.debian.org/mirror.example/g' /etc/apt/sources.list",
        (EditFile("/etc/apt/sources.list", (Edit("deb.debian.org", "mirror.example", every=True),)),),
    ),
    (
        "sed -i -e 's@//.*archive.ubuntu.com@//m.example@g;s|^# *||' -e '/^en_US/s/x/y\\/z/' a b",
        tuple(
            EditFile(
                path,
                (
                    Edit("//.*archive.ubuntu.com", "//m.example", every=True),
                    Edit("^\\#\\ *", ""),
                    Edit("x", "y/z", where="^en_US"),
                ),
            )
            for path in ("/app/a", "/app/b")
        ),
    ),
    # what holds for the rest of a line
    ("cd /x && pip install foo", (Within("/x"), pip("foo", **KEPT))),
    (
        "cd src && cd b; pip install -r r.txt; cd /app; pip install .",
        (
            Within("/app/src"),
            Within("/app/src/b"),
            pip(files=("/app/src/b/r.txt",), **KEPT),
            Within(),
            pip(projects=(Project("/app"),), **KEPT),
        ),
    ),
    ("X=1 && pip install foo==$X", (pip("foo==1", **KEPT),)),
    ("export X=1; pip install foo==$X", (Within(env=(("X", "1"),)), pip("foo==1", **KEPT))),
    ("VERSION=2; pip install foo==$VERSION", (Within(env=(("VERSION", "2"),)), pip("foo==2", **KEPT))),
    (
        "export PIP_INDEX_URL=https://a.example && pip install -i $PIP_INDEX_URL foo",
        (pip("foo", index="https://a.example", **KEPT),),
    ),
    (
        ". /opt/venv/bin/activate && pip install foo",
        (
            Within(env=(("PATH", f"/opt/venv/bin:{ENV['PATH']}"), ("VIRTUAL_ENV", "/opt/venv")), venv="/opt/venv"),
            pip("foo", **KEPT),
        ),
    ),
    ("rm -rf ~/.cache", (Within(home="/root"), Clear((), ("/root/.cache",)))),
    ("apt-get update || true", (UPDATE,)),
    ("mkdir x || exit 1; cd x || echo no >&2", (MakeFolder("/app/x"), Within("/app/x"))),
    (
        'ln -sf "$(which python3)" /usr/local/bin/python; ln -s `command -v python3` p',
        (
            Link("python3", "/usr/local/bin/python", force=True, finder="which", search=ENV["PATH"]),
            Link("python3", "/app/p", finder="command -v", search=ENV["PATH"]),
        ),
    ),
    ("echo x > /etc/apt/sources.list", (WriteFile("/etc/apt/sources.list", "x\n"),)),
    # weights
    (
        "python -c \"from transformers import pipeline, AutoModel; AutoModel.from_pretrained('org/model')\"",
        (FetchWeights("org/model", ("python",), ("AutoModel",)),),
    ),
    (
        "huggingface-cli download org/model --revision main config.json --local-dir weights",
        (FetchWeights("org/model", ("huggingface-cli",), (), "main", ("config.json",), "/app/weights"),),
    ),
    (
        "python3 -c \"from sentence_transformers import SentenceTransformer; SentenceTransformer('org/mini')\"",
        (FetchWeights("org/mini", ("python3",), ("SentenceTransformer",)),),
    ),
]

RUN = [
    "sed 's/a/b/' x",
    "sed -i 's/a/b/'",
    "sed -n -i 's/a/b/' x",
    "sed -i.bak 's/a/b/' x",
    "sed -i 's/a*/b/g' x",
    "sed -i 's/.*a.*/b/g' x",
    "sed -i 's/[ab]/c/' x",
    "sed -i 's/\\(a\\)/b\\1/' x",
    "sed -i 's/a/&b/' x",
    "sed -i -E 's/a+/b/' x",
    "sed -i '/a/d' x",
    "sed -i 's/a/b/I' x",
    "sed -i 's//b/' x",
    "sed -i s/a/b/ /etc/apt/sources.list.d/*",
    "echo root:x | chpasswd",
    "apt-get update || apt-get update --fix-missing",
    "pip install foo || pip install bar",
    "true || true > x",
    "cd && pip install foo",
    "cd - && pip install foo",
    "cd ../x && pip install foo",
    "cd $(which x) && pip install foo",
    "export LD_PRELOAD=/x.so && pip install foo",
    "export X && pip install foo",
    "A=1 B=$A; pip install foo==$B",
    "source /opt/venv/bin/activate && pip install foo",
    ". activate && pip install foo",
    "pip install foo $(which python3)",
    "rm -rf $(which python3)",
    "ln -s /a$(which python3) /b",
    "ln -s /a $(which b)",
    "ln -s $(python3 -c pass) /b",
    "mkdir ~app",
    "curl -sSL https://install.example | bash",
    "apt-get install -y git",
    "apt-get install -y git && apt-get update",
    "apt-get update && apt-get install git",
    "apt-get upgrade -y",
    "apt-get update && apt-get upgrade",
    "apt-get update && apt-get install -y git=*",
    "apt-get update && apt-get install -y python3-*",
    "apt-get update && apt-get install -y ./*.deb",
    "apt-get update && apt-get install -y x/y.deb",
    "apt-get update && apt-get install -y libc6:i386",
    "apt-get update && apt-get install -y -t bookworm-backports git",
    "apt-get update & apt-get install -y git",
    "(apt-get update && apt-get install -y git)",
    "apt-get update && apt-get install -y $(cat packages.txt)",
    "xargs apt-get install -y < packages.txt",
    "pip install torch>=2.0",
    "pip install 'x @ .'",
    "pip install -e git+https://git.example/x#egg=x",
    "pip install git+https://git.example/x",
    "pip install ./wheels/x-1.0-py3-none-any.whl",
    "pip install https://files.example/x-1.0.tar.gz",
    "pip install https://me@files.example/x-1.0-py3-none-any.whl",
    "pip install 'x @ file:///x-1.0-py3-none-any.whl'",
    "pip install --target /x --user foo",
    "pip install $UNKNOWN",
    "pip download foo",
    "source activate x && pip install foo",
    "conda activate x && pip install foo",
    ". /opt/conda/etc/profile.d/conda.sh && conda activate x",
    ". /opt/conda/etc/profile.d/conda.sh && conda activate && pip install foo",
    ". /opt/conda/etc/profile.d/conda.sh && conda activate x && conda activate y && pip install foo",
    ". etc/profile.d/conda.sh && conda activate x && pip install foo",
    "pip uninstall -y foo",
    "pip install *.whl",
    "pip install --index-url https://user:word@wheels.example/simple foo",
    "HOME=/x pip install foo",
    "echo 'a\\tb' > x",
    "echo -e 'a' > x",
    "echo $VERSION | tee x",
    "rm -rf /app/*",
    "rm -rf /",
    "rm -rf /usr",
    "rm -rf *.whl",
    "rm -rf /var/lib/dpkg/info",
    "rm /var/lib/apt/lists/*",
    "ln /a /b",
    "ln -s /a /b /c/",
    "mkdir -p /app/{a,b}",
    "mkdir ../x",
    "chmod u+s /bin/x",
    "chown -R app /app/*",
    "useradd -p secret app",
    "useradd -m App",
    "adduser app",
    "usermod -u 5 app",
    "python -c \"import nltk; nltk.download('punkt')\"",
    "python -c \"from transformers import AutoModel; AutoModel.from_pretrained('x', trust_remote_code=True)\"",
    "python -c \"from transformers import AutoModel; AutoModel.from_pretrained(open('x').read())\"",
    "python setup.py install",
    "make -j",
    "git clone https://git.example/x",
    "bash -c 'apt-get update'",
    "cat <<EOF > x\nEOF",
    "! true",
    "if true; then apt-get update; fi",
    "for x in a; do mkdir $x; done",
]


@pytest.mark.parametrize(("script", "steps"), UNDERSTOOD, ids=[script[:60] for script, _ in UNDERSTOOD])
def test_lines_of_tutorials_are_taken_apart(script: str, steps: tuple[PlacedStep, ...]) -> None:
    found = understand(line(script))
    assert isinstance(found, Understood)
    assert found.steps == steps


@pytest.mark.parametrize("script", RUN)
def test_what_is_not_known_for_certain_is_run(script: str) -> None:
    found = understand(line(script))
    assert isinstance(found, Opaque)
    assert str(found.reason)


def test_an_extra_outside_of_quotes_is_kept_as_what_must_have_no_match() -> None:
    found = understand(line("pip install --no-cache-dir uvicorn[standard]"))
    assert found == Understood((pip("uvicorn[standard]"),), ("/app/uvicorn[standard]",))


def test_a_version_with_a_star_outside_of_quotes_is_kept_as_what_must_have_no_match() -> None:
    found = understand(line("apt-get update && apt-get install -y git=1:2*"))
    assert isinstance(found, Understood)
    assert (found.steps[-1], found.literal) == (apt("git=1:2*", recommends=None), ("/app/git=1:2*",))


def test_variables_of_pip_count_as_its_options() -> None:
    env = {"PIP_INDEX_URL": "https://wheels.example/simple", "PIP_NO_CACHE_DIR": "1"}
    found = understand(line("pip install foo", env))
    assert found == Understood((pip("foo", index="https://wheels.example/simple"),))
    assert isinstance(understand(line("pip install foo", {"PIP_PREFIX": "/x"})), Opaque)
    assert isinstance(understand(line("pip install foo", {"PYTHONHOME": "/x"})), Opaque)


def test_variables_decide_where_and_what_pip_installs() -> None:
    env = {"PIP_USER": "1", "PIP_PRE": "yes", "PIP_CONSTRAINT": "c.txt"}
    found = understand(line("pip install foo", env))
    assert found == Understood((pip("foo", user=True, prereleases=True, constraints=("/app/c.txt",), **KEPT),))
    assert isinstance(understand(line("pip install --target /x foo", env)), Opaque)


def test_options_add_to_what_variables_list() -> None:
    env = {"PIP_EXTRA_INDEX_URL": "https://a.example/simple", "PYTHONPATH": "/app", "PIP_TRUSTED_HOST": "a.example"}
    found = understand(line("pip install --no-cache-dir --extra-index-url https://b.example/simple foo", env))
    both = ("https://a.example/simple", "https://b.example/simple")
    assert found == Understood((pip("foo", extra_indexes=both, trusted=("a.example",)),))


def test_an_exported_option_holds_for_the_rest_of_the_line() -> None:
    found = understand(line("export PIP_NO_CACHE_DIR=1 && pip install foo"))
    assert found == Understood((pip("foo"),))


def test_another_user_than_root_may_only_install_for_itself() -> None:
    assert isinstance(understand(line("mkdir x", user="app")), Opaque)
    assert isinstance(understand(line("pip install --user foo", user="app")), Understood)
    assert isinstance(understand(line("mkdir x", user="0:0")), Understood)


SHOWN = (RunMount("cache", "/root/.cache/uv"), RunMount("bind", "/app/uv.lock", "uv.lock"))


def test_a_sync_is_what_is_chosen_of_the_lock_and_what_uv_hears() -> None:
    found = understand(
        line(
            "uv sync --locked -q --no-install-project --extra gpu --group=test "
            "--link-mode copy --no-install-package x",
            env={**ENV, "UV_NO_DEV": "1", "UV_COMPILE_BYTECODE": "1", "UV_PYTHON": "3.11"},
            mounts=SHOWN,
        )
    )
    tools = pip(tool=("uv", "pip"), folder="/app", python="/app/.venv", **KEPT)
    step = SyncProject(
        "uv", "/app", "/app/.venv", tools, ("--no-dev", "--extra=gpu", "--group=test"), (), ("x",), project=False
    )
    assert found == Understood((step,))
    elsewhere = {**ENV, "UV_PROJECT_ENVIRONMENT": "/opt/env", "UV_FROZEN": "1", "UV_NO_CACHE": "1"}
    found = understand(line("/bin/uv sync --no-editable --python 3.11 --inexact", env=elsewhere))
    tools = pip(tool=("uv", "pip"), folder="/app", python="/opt/env")
    more = ("--no-editable", "--inexact", "--python=3.11")
    assert found == Understood((SyncProject("/bin/uv", "/app", "/opt/env", tools, more=more, checked=False),))


@pytest.mark.parametrize(
    "script",
    [
        "uv sync --active", "uv sync --upgrade", "uv sync --package lib", "uv sync lib", "uv run train.py",
        "uv venv --seed", "uv add torch", "uv pip install --python 3.12 torch", "uv sync --frozen && curl x",
    ],
)  # fmt: skip
def test_what_else_uv_does_is_run(script: str) -> None:
    assert isinstance(understand(line(script)), Opaque)


def test_an_environment_is_made_without_files_that_only_a_mount_shows() -> None:
    assert isinstance(understand(line("uv venv", mounts=SHOWN[:1])), Understood)
    assert isinstance(understand(line("uv venv", mounts=SHOWN)), Opaque)


def test_poetry_installs_groups_and_extras_of_its_lock() -> None:
    script = "poetry install --no-root --no-interaction --no-ansi --only main,docs -E 'a b' --with x --without=dev"
    found = understand(line(script, env={**ENV, "POETRY_VIRTUALENVS_CREATE": "false"}))
    step = InstallPoetry(
        "poetry", "/app", only=("main", "docs"), more=("x",), less=("dev",), extras=("a", "b"), creates=False
    )
    assert found == Understood((step,))
    set_up = RunProgram(("poetry", "config", "virtualenvs.create", "false"), poetry.ALONE, poetry.FAILS)
    both = understand(line("poetry config virtualenvs.create false && poetry install --no-root"))
    assert both == Understood((set_up, InstallPoetry("poetry", "/app")))
    for other in ("poetry install", "poetry install --no-root --sync", "poetry add torch", "poetry run x"):
        assert isinstance(understand(line(other)), Opaque), other
    assert isinstance(understand(line("poetry install --no-root", env={**ENV, "POETRY_PYPI_TOKEN": "x"})), Opaque)


def test_mounts_other_than_caches_are_seen_only_by_running() -> None:
    cached = line("pip install foo", mounts=(RunMount("cache", "/root/.cache/pip"),))
    assert isinstance(understand(cached), Understood)
    assert isinstance(understand(line("pip install foo", mounts=(RunMount("secret", id="x"),))), Opaque)
    shown: dict[str, Any] = {"mounts": (RunMount("bind", "/app/r.txt", "r.txt"),)}
    assert isinstance(understand(line("pip install -r r.txt && rm -rf /root/.cache", **shown)), Understood)
    for script in ("pip install .", "pip install --find-links /x foo", "mkdir x", "echo x > y"):
        assert isinstance(understand(line(script, **shown)), Opaque)
    other = (RunMount("bind", "/bin/uv", "/uv", "ghcr.example/uv"),)
    assert isinstance(understand(line("pip install foo", mounts=other)), Opaque)
    assert isinstance(understand(line("pip install foo", network="none")), Opaque)
    assert isinstance(understand(line("cat <<E", heredocs=(Heredoc("E", "pip install x", expand=True),))), Opaque)


@pytest.mark.parametrize(
    ("shell", "known"),
    [
        (("/bin/bash", "-c"), True),
        (("/bin/bash", "-o", "pipefail", "-c"), True),
        (("/bin/bash", "-euxo", "pipefail", "-c"), True),
        (("/bin/bash", "-ec"), True),
        (("/bin/bash", "--login", "-c"), False),
        (("/bin/bash", "-l", "-c"), False),
        (("/bin/zsh", "-c"), False),
        (("powershell", "-command"), False),
        (("conda", "run", "-n", "env", "/bin/bash", "-c"), True),
        (("conda", "run", "--no-capture-output", "-n", "env", "/bin/bash", "-c"), True),
        (("conda", "run", "-n", "env", "--cwd", "/x", "/bin/bash", "-c"), False),
        (("conda", "run", "-n", "env", "/bin/bash", "-lc"), False),
    ],
)
def test_shells_that_read_lines_alike(shell: tuple[str, ...], known: bool) -> None:
    assert isinstance(understand(line("pip install foo", shell=shell)), Understood) is known


def test_the_exec_form_has_no_shell() -> None:
    words = ("pip", "install", "--no-cache-dir", "$X", "a;b")
    assert isinstance(understand(line(None, argv=words)), Opaque)
    found = understand(line(None, argv=("pip", "install", "--no-cache-dir", "foo")))
    assert found == Understood((pip("foo"),))
    assert isinstance(understand(line(None, argv=("set", "-e"))), Opaque)


def test_lists_that_a_later_line_reads_are_made_by_running() -> None:
    leaves = line("apt-get update && apt-get install -y git")
    clears = line("apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*")
    reads, renews = line("apt-get install -y make || make"), line("apt-get update; apt-get install -y make || make")
    kinds = [[type(each) for each in understand_all(lines)] for lines in ([leaves, reads], [leaves, renews])]
    assert kinds == [[Opaque, Opaque], [Understood, Opaque]]
    assert [type(each) for each in understand_all([clears, reads])] == [Understood, Opaque]
    assert [type(each) for each in understand_all([line("apt-get update"), line("apt-get install -y make")])] == [
        Opaque,
        Opaque,
    ]
    assert [type(each) for each in understand_all([leaves, renews, leaves])] == [Understood, Opaque, Understood]


ALONE = (
    "apt-get purge -y --auto-remove git",
    "cp a b",
    "rm -rf /opt/x/*.so",
    "sed -i 's/a b\\|c/d/' /etc/x",
    "echo 'tzdata tzdata/Areas select Asia' | debconf-set-selections",
    "echo root:x | chpasswd",
    "echo x > /var/lib/y",
    "update-alternatives --set editor /usr/bin/vi",
    "python3 -m venv /opt/venv",
    "locale-gen en_US.UTF-8",
    "gosu nobody true",
    "tini --version",
    "git config --global user.name 'A B'",
    "find / -name '*.pyc' -delete",
    "pip uninstall -y foo",
)


@pytest.mark.parametrize("command", ALONE)
def test_commands_between_packages_run_by_themselves(command: str) -> None:
    found = understand(line(f"apt-get update && apt-get install -y git && {command}"))
    assert isinstance(found, Understood)
    assert found.steps[-1] == RunProgram(("/bin/sh", "-c", command)), "as it stands there"
    assert isinstance(understand(line(command)), Opaque), "a line without packages is run whole"


@pytest.mark.parametrize(
    "command",
    [
        "service x start",
        "curl https://files.example/x -o x",
        "X=1 cp a b",
        "apt-get remove git",
        "apt-get purge git",
        "find / -exec rm {} ;",
        "find / -name x -exec touch",
        "python3 -m venv --upgrade-deps /x",
        "python3 -c 'x'",
        "cp $(cat list) b",
        "cp a b &",
        "cp a b || cp c d",
        "cat x | sh",
        "pip uninstall -y -r list",
        "git clone x",
        "bash x.sh",
        "cd /x/*",
        "eval cp a b",
        "command cp a b",
        "exec cp a b",
        "exit 0",
        "umask 077",
    ],
)
def test_commands_that_may_do_more_make_all_of_the_line_one_that_is_run(command: str) -> None:
    assert isinstance(understand(line(f"apt-get update && apt-get install -y git && {command}")), Opaque)


def test_accounts_beside_packages_say_how_they_run_by_themselves() -> None:
    command = "adduser --disabled-password --gecos '' app"
    found = understand(line(f"apt-get update && apt-get install -y sudo && {command} && useradd bob"))
    assert isinstance(found, Understood)
    assert found.steps[2:] == (
        AddUser("app", comment=",,,", debian=True, program=RunProgram(("/bin/sh", "-c", command))),
        AddUser("bob", program=RunProgram(("/bin/sh", "-c", "useradd bob"))),
    )


@pytest.mark.parametrize(
    ("script", "stops"),
    [
        ("apt-get update && apt-get install -y git", True),
        ("apt-get update; apt-get install -y git", False),
        ("set -eux; apt-get update; apt-get install -y git", True),
        ("set -x; apt-get update; apt-get install -y git", False),
        ("set -e; apt-get update && apt-get install -y git; rm -rf /tmp/*", False),
    ],
)
def test_whether_a_failure_ends_the_line(script: str, stops: bool) -> None:
    found = understand(line(script))
    assert isinstance(found, Understood)
    assert found.stops is stops


def test_programs_do_not_run_by_themselves_beside_mounts() -> None:
    script = "apt-get update && apt-get install -y git && cp a /tmp/x"
    assert isinstance(understand(line(script, mounts=(RunMount("tmpfs", "/tmp"),))), Opaque)


SUM = "ab" * 32


@pytest.mark.parametrize(
    ("script", "text", "rest"),
    [
        (
            f"curl -fsSL https://x.example/v${{V}}/a.tgz -o /tmp/a.tgz && echo '{SUM}  /tmp/a.tgz' | sha256sum -c -"
            " && tar -xzf /tmp/a.tgz -C /opt && rm -rf /tmp/* && mkdir /srv/x",
            f"cat /run/packages/a.tgz > /tmp/a.tgz && echo '{SUM}  /tmp/a.tgz' | sha256sum -c -"
            " && tar -xzf /tmp/a.tgz -C /opt && rm -rf /tmp/*",
            (MakeFolder("/srv/x"),),
        ),
        (
            f"set -e; cd /tmp; wget -nv https://x.example/b; echo '{SUM} *b' | sha256sum --check --status; cd /srv;"
            " cp /tmp/b c; useradd ada",
            f"cat /run/packages/b > /tmp/b && echo '{SUM} *b' | sha256sum --check --status && cd /srv"
            " && cp /tmp/b c",
            (Within("/srv"), AddUser("ada", program=RunProgram(("/bin/sh", "-c", "useradd ada")))),
        ),
        (
            f"set -o pipefail; curl 'https://x.example/c?d=1' > c && printf '%s  %s\\n' {SUM} c | shasum -a 256 -c",
            f"cat /run/packages/c > /srv/app/c && printf '%s  %s\\n' {SUM} c | shasum -a 256 -c",
            (),
        ),
    ],
)
def test_a_file_whose_sha256_the_line_checks_is_fetched_here(
    script: str, text: str, rest: tuple[PlacedStep, ...]
) -> None:
    found = understand(line(script, env={"V": "1", "PATH": "/bin"}, workdir="/srv/app"))
    assert isinstance(found, Understood), found
    number = next(n for n, step in enumerate(found.steps) if isinstance(step, RunProgram))
    program = found.steps[number]
    assert isinstance(program, RunProgram)
    assert program.argv == ("/bin/sh", "-c", text)
    assert [(one.sha256, one.search) for one in program.fetched] == [(SUM, "/bin")]
    assert found.steps[number + 1 :] == rest


@pytest.mark.parametrize(
    "script",
    [
        "curl -LO https://x.example/a",
        f"curl -L https://x.example/a -o a && echo '{SUM}  b' | sha256sum -c -",
        f"curl -L https://x.example/a -o a && echo '{SUM}  a' | sha256sum",
        f"curl -L https://x.example/a -o a && echo '{SUM[:-1]}  a' | sha256sum -c",
        f"echo '{SUM}  a' | sha256sum -c && curl -L https://x.example/a -o a",
        f"curl -H 'A: b' https://x.example/a -o a && echo '{SUM}  a' | sha256sum -c",
        f"curl https://me:pass@x.example/a -o a && echo '{SUM}  a' | sha256sum -c",
        f"curl -Lo a -O https://x.example/a && echo '{SUM}  a' | sha256sum -c",
        f"wget https://x.example/a?b && echo '{SUM}  a?b' | sha256sum -c",
        f"wget -O- https://x.example/a > a && echo '{SUM}  a' | sha256sum -c",
        f"curl -L https://x.example/a -o a && bash a && echo '{SUM}  a' | sha256sum -c",
        f"curl -L https://x.example/a -o a && echo '{SUM}  a' | sha256sum -c && bash a",
        "pip config unset global.index-url",
        "pip config --site set global.index-url x",
        "pip config set index-url x",
        "XDG_CONFIG_HOME=/x pip config set global.index-url x",
    ],
)
def test_a_file_that_nobody_checks_or_that_is_fetched_otherwise_is_run(script: str) -> None:
    assert isinstance(understand(line(script)), Opaque)
