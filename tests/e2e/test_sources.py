"""Packages that have only their source: locked, built in the sandbox over a real base, and run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from trainload.platform import Platform
from trainload.testing.index import sdist
from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.verifier import violations

TRAINLOAD = Path(sys.executable).with_name("trainload")
SETUP = """
from setuptools import setup
setup(name="probe-old-setup", version="1.0", py_modules=["probe_old_setup"], install_requires=["idna"])
"""
TABLE = '[project]\nname = "{name}"\nversion = "1.0"\ndescription = "x"\n'


def pyproject(requires: str, backend: str, name: str) -> dict[str, str]:
    table = TABLE.format(name=name)
    text = f'[build-system]\nrequires = ["{requires}"]\nbuild-backend = "{backend}"\n{table}'
    return {"pyproject.toml": text, f"{name.replace('-', '_')}.py": ""}


PURE: Mapping[str, Mapping[str, str]] = {
    "probe-old-setup": {
        "setup.py": SETUP.format(
            name="probe-old-setup", module="probe_old_setup", more=", install_requires=['idna']"
        ),
        "probe_old_setup.py": "import idna\n",
    },
    "probe-new-setup": pyproject("setuptools>=61", "setuptools.build_meta", "probe-new-setup"),
    "probe-hatch": pyproject("hatchling", "hatchling.build", "probe-hatch"),
    "probe-flit": pyproject("flit_core>=3.4", "flit_core.buildapi", "probe-flit"),
    "probe-poetry": pyproject("poetry-core>=2", "poetry.core.masonry.api", "probe-poetry"),
}
FLIT = {"probe-flit": PURE["probe-flit"]}
BUILD = """
import os, sys
os.umask(0o077)
os.chdir(sys.argv[1])
sys.argv = ["trainload", "build", "--json", "-q"]
from trainload.cli.main import main
main()
"""


def project(at: Path, sources: Mapping[str, Mapping[str, str]], config: str = "") -> Path:
    (at / "links").mkdir(parents=True)
    for name, files in sources.items():
        file, data = sdist(name, "1.0", files)
        (at / "links" / file).write_bytes(data)
    modules = ", ".join(name.replace("-", "_") for name in sources)
    (at / "requirements.txt").write_text("".join(f"{name}==1.0\n" for name in sources))
    (at / "train.py").write_text(f"import {modules}\nprint('imported')\n")
    (at / "trainload.toml").write_text(f'find-links = ["links"]\nexclude = ["links"]\n{config}')
    return at


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: the base is made once."""
    return tmp_path_factory.mktemp("home")


def trainload(folder: Path, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TRAINLOAD_HOME": str(home), "A_SECRET": "hunter2"}
    return subprocess.run(
        [TRAINLOAD, *words], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def good(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if "does not let us make namespaces" in done.stderr:
        pytest.skip("this machine does not allow user namespaces")
    assert done.returncode == 0, done.stderr
    return done


def built(folder: Path, home: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads(good(trainload(folder, home, "build", "--json")).stdout)
    return document


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A folder everybody may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_every_usual_backend_builds_and_another_machine_gets_the_same_image(
    tmp_path: Path, home: Path, theirs: Path
) -> None:
    folder = project(tmp_path / "project", PURE)
    planned = good(trainload(folder, home, "plan"))
    assert "to be built from source in the sandbox: " in planned.stdout
    made = good(trainload(folder, home, "build", "--json"))
    assert all(f"building {name} 1.0 from source in the sandbox" in made.stderr for name in PURE)
    digest = json.loads(made.stdout)["digest"]
    assert good(trainload(folder, home, "-q", "run")).stdout == "imported\n"

    again = good(trainload(folder, home, "build", "--frozen", "--offline", "--json"))
    assert "building" not in again.stderr and json.loads(again.stdout)["digest"] == digest
    assert "\nbuilt from source in the sandbox: " in good(trainload(folder, home, "plan")).stdout

    why = cannot_be_ordinary(theirs) if os.geteuid() == 0 else "needs root, to compare with"
    if why is not None:
        pytest.skip(why)
    other = project(theirs / "elsewhere", PURE)
    (other / "pylock.trainload.toml").write_bytes((folder / "pylock.trainload.toml").read_bytes())
    settings = {name: value for name, value in os.environ.items() if "proxy" in name or name[:3] in ("PIP", "UV_")}
    done = as_ordinary_user(
        BUILD, str(other), home=theirs,
        env={**settings, "TRAINLOAD_HOME": str(theirs / "home"), "TZ": "Asia/Shanghai", "LANG": "zh_CN.UTF-8"},
    )  # fmt: skip
    if "namespaces" in done.complaint:
        pytest.skip("this machine does not allow user namespaces")
    assert done.exit_code == 0, done.complaint
    assert json.loads(done.stdout)["digest"] == digest, "a root and a user, two folders, two times, two masks"


NOSY = """
import json, os, socket, sys
seen = {"environ": dict(os.environ), "uid": os.getuid(), "stdin": sys.stdin.read(), "tty": os.isatty(2)}
seen["root"] = sorted(os.listdir("/"))
seen["wrote"] = []
for place in ("/etc/x", "/usr/x", "/opt/venv/x", "/opt/venv/lib/python3.11/site-packages/x.pth", "/root/x"):
    try:
        open(place, "w").close()
        seen["wrote"].append(place)
    except OSError:
        pass
seen["reached"] = []
for address in (("127.0.0.1", PORT), ("192.0.2.1", 80)):
    try:
        socket.create_connection(address, 0.3).close()
        seen["reached"].append(address)
    except OSError:
        pass
try:
    os.mknod("/tmp/device", 0o60600, os.makedev(8, 0))
    seen["wrote"].append("a device")
except OSError:
    pass
open("probe_nosy.py", "w").write("seen = " + repr(seen))
from setuptools import setup
setup(name="probe-nosy", version="1.0", py_modules=["probe_nosy"])
"""


def test_D7_package_code_sees_nothing_of_this_machine(tmp_path: Path, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        setup = NOSY.replace("PORT", str(server.getsockname()[1]))
        folder = project(tmp_path / "project", {"probe-nosy": {"setup.py": setup, "probe_nosy.py": ""}})
        (folder / "train.py").write_text("import json, probe_nosy\nprint(json.dumps(probe_nosy.seen))\n")
        built(folder, home)
    seen = json.loads(good(trainload(folder, home, "-q", "run")).stdout)
    assert (seen["uid"], seen["stdin"], seen["tty"]) == (1000, "", False)
    assert (seen["wrote"], seen["reached"]) == ([], [])
    assert "hunter2" not in json.dumps(seen) and "TRAINLOAD_HOME" not in seen["environ"]
    assert seen["environ"]["HOME"] == "/nonexistent"
    assert seen["environ"]["SOURCE_DATE_EPOCH"] == "315532800"
    assert Path(__file__).parts[1] not in set(seen["root"]) - {"tmp", "home", "root", "var", "srv", "opt"}


BACKEND = """
import base64, hashlib, os, zipfile
def get_requires_for_build_wheel(settings=None):
    return []
def build_wheel(folder, settings=None, metadata=None):
    name = "probe_evil-1.0-py3-none-any.whl"
    files = {"probe_evil.py": b"", "probe_evil-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\\nTag: py3-none-any\\n",
             "probe_evil-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\\nName: probe-evil\\nVersion: 1.0\\n"}
    EVIL
    rows = [f"{k},sha256={base64.urlsafe_b64encode(hashlib.sha256(v).digest()).rstrip(b'=').decode()},{len(v)}\\n"
            for k, v in files.items()]
    files["probe_evil-1.0.dist-info/RECORD"] = ("".join(rows) + "probe_evil-1.0.dist-info/RECORD,,\\n").encode()
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return name
"""
EVIL = {
    "W01 its wheel leads outside": ('files["../../../../tmp/evil"] = b"x"', r"\.\./tmp/evil"),
    "W22 its wheel is another package's": ('name = "numpy-1.0-py3-none-any.whl"', "of another package"),
    "its wheel is a link out of the sandbox": (
        'os.symlink("/etc/passwd", os.path.join(folder, name)); return name', "made no wheel",
    ),
    "it makes two wheels": (
        'open(os.path.join(folder, "b-1.0-py3-none-any.whl"), "w").close()', "made no wheel",
    ),
    "it makes none": ("return name", "made no wheel"),
    "it never ends": ("while True: pass", "killed because it took more than 3 s"),
    "it multiplies": (
        "while True:\n        try: os.fork()\n        except OSError: pass", "killed because it took more than 3 s",
    ),
    "it fails": ('print("the last words"); raise SystemExit(3)', "exit code 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", EVIL)
def test_D7_a_hostile_backend_is_contained_and_named(tmp_path: Path, home: Path, case: str) -> None:
    evil, reason = EVIL[case]
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil_backend"\nbackend-path = ["."]\n'
        + TABLE.format(name="probe-evil"),
        "evil_backend.py": BACKEND.replace("EVIL", evil),
    }
    seconds = 3 if "killed" in reason else 60
    folder = project(tmp_path / "project", {"probe-evil": files}, f"[build]\ntimeout = {seconds}\n")
    before = set((home / "recipes").glob("*.wheel"))
    done = trainload(folder, home, "build")
    if "does not let us make namespaces" in done.stderr:
        pytest.skip("this machine does not allow user namespaces")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr.replace("| Traceback", "")
    assert re.search(reason, done.stderr), done.stderr
    assert "probe-evil 1.0" in done.stderr or "probe_evil-1.0" in done.stderr
    assert set((home / "recipes").glob("*.wheel")) == before, "nothing was kept"
    if case == "it fails":
        log = home / "cache" / "builds" / "probe-evil-1.0.log"
        assert "  | the last words\n" in done.stderr and str(log) in done.stderr
        assert "the last words" in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_fault12_a_build_from_source_that_is_interrupted_ends_with_all_its_processes(
    tmp_path: Path, home: Path, number: signal.Signals
) -> None:
    waits = 'import subprocess; subprocess.run(["sleep", "999"], check=False)'
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "evil_backend"\nbackend-path = ["."]\n'
        + TABLE.format(name="probe-evil"),
        "evil_backend.py": BACKEND.replace("EVIL", waits),
    }
    folder = project(tmp_path / "project", {"probe-evil": files})
    env = {**os.environ, "TRAINLOAD_HOME": str(home)}
    with subprocess.Popen(
        [TRAINLOAD, "build"], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as child:  # fmt: skip
        assert child.stderr is not None
        for line in child.stderr:
            if "does not let us make namespaces" in line:
                pytest.skip("this machine does not allow user namespaces")
            if "building probe-evil 1.0 from source" in line:
                break
        sleeping = _descendants_called("sleep", child.pid, 90)
        child.send_signal(number)
        out, err = child.communicate(timeout=120)
        assert child.returncode == 128 + number, err
    assert "Traceback" not in err and out == ""
    end = time.monotonic() + 60  # of a container that was killed, the kernel may still be at the last process
    while any(Path(f"/proc/{pid}").exists() for pid in sleeping):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert violations(home) == []


def _descendants_called(name: str, ancestor: int, seconds: float) -> list[int]:
    """Waits for processes of that name below ``ancestor``; their ids as this machine knows them."""
    for _ in range(int(seconds * 10)):
        parents: dict[int, int] = {}
        called = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = stat.read_text()
            except OSError:
                continue
            pid = int(stat.parent.name)
            parents[pid] = int(text.rpartition(")")[2].split()[1])
            if text.partition("(")[2].rpartition(")")[0] == name:
                called.append(pid)
        found = [pid for pid in called if ancestor in _ancestors(pid, parents)]
        if found:
            return found
        time.sleep(0.1)
    pytest.fail(f"no {name} ran in {seconds} s")


def _ancestors(pid: int, parents: Mapping[int, int]) -> list[int]:
    found = []
    while (pid := parents.get(pid, 0)) and pid not in found:
        found.append(pid)
    return found


TINY = {"CC": "tcc", "LDSHARED": "tcc -shared", "CFLAGS": "-w"}
"""The smallest compiler of the distribution; setuptools wants gcc unless it is told."""
NATIVE = {
    "probe-native": {
        "setup.py": f"import os\nif os.path.exists('/usr/bin/tcc'):\n    os.environ.update({TINY!r})\n"
        "from setuptools import setup, Extension\n"
        "setup(name='probe-native', version='1.0', ext_modules=[Extension('probe_native', ['n.c'])])\n",
        "n.c": "#include <Python.h>\n"
        'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "probe_native", "", -1, 0};\n'
        "PyMODINIT_FUNC PyInit_probe_native(void) { return PyModule_Create(&d); }\n",
    }
}


def test_a_compiler_is_asked_for_by_key_and_never_part_of_the_image(tmp_path: Path, home: Path) -> None:
    folder = project(tmp_path / "project", NATIVE)
    done = trainload(folder, home, "build")
    if "does not let us make namespaces" in done.stderr:
        pytest.skip("this machine does not allow user namespaces")
    assert done.returncode == 1
    assert "gcc" in done.stderr and 'build.packages = ["build-essential", "python3-dev"]' in done.stderr
    config = (folder / "trainload.toml").read_text()
    (folder / "trainload.toml").write_text(config + '[build]\npackages = ["tcc", "libc6-dev", "python3-dev"]\n')
    document = built(folder, home)
    assert good(trainload(folder, home, "-q", "run")).stdout == "imported\n"
    layers = document["layers"]
    assert isinstance(layers, list)
    assert sum(layer["size"] for layer in layers) < 30_000_000, "the compiler is not in the image"


def test_another_platforms_source_is_refused_by_name_before_anything_is_built(tmp_path: Path, home: Path) -> None:
    folder = project(
        tmp_path / "project",
        FLIT,
        'platforms = ["linux/amd64", "linux/arm64"]\n',
    )
    other = next(p for p in (Platform("linux", "amd64"), Platform("linux", "arm64")) if p != Platform.host())
    done = trainload(folder, home, "build", "--platform", str(other))
    assert done.returncode == 1
    assert f"probe-flit 1.0 has only its source, and only a machine that is {other} can build it" in done.stderr
    assert "hint: build the image on a machine that is" in done.stderr and "find-links" in done.stderr


def test_sources_can_be_refused(tmp_path: Path, home: Path) -> None:
    folder = project(tmp_path / "project", FLIT, '[build]\nsources = "never"\n')
    done = trainload(folder, home, "build")
    assert done.returncode == 1 and "probe-flit: no wheel fits" in done.stderr
