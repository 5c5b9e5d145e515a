"""Dockerfiles of the kind that tutorials show, whose lines are placed here and run by buildah: the same image.

What may differ is written down in :data:`LEFT`: logs, caches, backups, byte-compiled files, and who installed it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trainload.lock.distribution.suites import SUITES, Pocket
from trainload.resolve.archives import find_archives
from trainload.testing.archive import Archive, Key, Publication, stanza
from trainload.testing.debs import Item, MadeDeb
from trainload.testing.hub import MemoryHub
from trainload.testing.index import PackageIndex, wheel
from trainload.testing.server import FaultServer

TRAINLOAD = Path(sys.executable).with_name("trainload")
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files are given to other users"),
    pytest.mark.skipif(shutil.which("buildah") is None, reason="buildah is not installed"),
]
PATH = "/opt/py/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE = """\
base = "apt:bookworm"
system = [
    "python3-pip", "python3-venv", "passwd", "login", "apt", "adduser", "diffutils", "debconf", "perl-base",
    "curl",
]
user = 0
"""
ENVIRONMENT = f"""\
FROM plain
COPY apt /etc/apt
RUN python3 -m venv /opt/py && rm -rf /opt/py/lib/python3.11/site-packages/setuptools*
ENV PATH={PATH}
WORKDIR /
"""
LEFT = re.compile(
    r"var/(log|cache|tmp)/.* | var/lib/apt/lists.* | tmp/.* | run.* | (.*/)?__pycache__(/.*)? | .*\.pyc"
    r"| root/\.cache(/.*)? | etc/(passwd|group|shadow|gshadow|subuid|subgid)- | etc/\.pwd\.lock | etc/ld\.so\.cache"
    r"| .*\.dist-info/(RECORD|INSTALLER|REQUESTED|uv_cache\.json)"
    r"| etc/(hosts|resolv\.conf|hostname) | (proc|sys|dev)"
    r"| var/lib/dpkg/(status|available|lock.*|triggers/.*|status-old|diversions.*|info/.*) | etc/mtab"
    r"| var/lib/apt/extended_states.* | var/lib/systemd.* | (opt|app)/(.*/)?\.lock",
    re.VERBOSE,
)
"""Of the differential comparison; what dpkg knows is compared by its own reading of it."""
BACKEND = b"""\
import os, zipfile

METADATA = "Metadata-Version: 2.1\\nName: own-project\\nVersion: 1.0\\nProvides-Extra: more\\n"
METADATA += "Requires-Dist: helper\\nRequires-Dist: Odd_Name; extra == 'more'\\n"
INFO = "own_project-1.0.dist-info"


def make(folder, files):
    name = "own_project-1.0-py3-none-any.whl"
    files[INFO + "/METADATA"] = METADATA
    files[INFO + "/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: tiny\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[INFO + "/entry_points.txt"] = "[console_scripts]\\nown = own:main\\n"
    files[INFO + "/RECORD"] = "".join(path + ",,\\n" for path in [*files, INFO + "/RECORD"])
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name


def build_wheel(folder, config_settings=None, metadata_directory=None):
    return make(folder, {"own.py": open("own.py").read()})


def build_editable(folder, config_settings=None, metadata_directory=None):
    return make(folder, {"own.pth": os.getcwd() + "\\n"})
"""
"""Builds a project without any tool of an index (PEP 517, PEP 660)."""
Files = dict[str, tuple[Any, ...]]
DEBS = (
    MadeDeb("own-plain", fields={"Depends": "own-data (>= 2)"}).lists(Item("./usr/share/own/plain", b"plain\n")),
    MadeDeb("own-data", version="2.0-1").lists(Item("./usr/share/own/data", b"data\n")),
    MadeDeb(
        "own-script",
        fields={"Depends": "own-data"},
        scripts={"postinst": "#!/bin/sh\nset -e\ndpkg -s own-data | grep -q 'ok installed'\n"
                 "echo $1 > /etc/own-made\n"
                 "chown daemon:mail /etc/own-made && chmod 640 /etc/own-made\n"},
    ).lists(Item("./usr/share/own/script", b"script\n")),
    MadeDeb("own-choice", fields={"Recommends": "own-virtual, own-none"}).lists(),
    MadeDeb("own-zeta", fields={"Provides": "own-virtual", "Priority": "standard"}).lists(),
    MadeDeb("own-alpha", fields={"Provides": "own-virtual"}).lists(),
    MadeDeb("hello", version="99.0-1").lists(Item("./usr/share/own/hello", b"the archive's own\n")),
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """A store with the base, and an index of small packages."""

    home: Path
    index: str
    folder: Path
    wheels: Mapping[str, tuple[str, str]]
    """``demo-2.0`` → address and sha256 of the index's own."""
    server: FaultServer | None = None

    def trainload(self, folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "TRAINLOAD_HOME": str(self.home)}
        done = subprocess.run(
            [TRAINLOAD, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    def project(self, name: str, dockerfile: str, files: Mapping[str, str]) -> Path:
        at = self.folder / name
        at.mkdir()
        for path, text in files.items():
            (at / path).parent.mkdir(parents=True, exist_ok=True)
            (at / path).write_text(text)
        (at / "Dockerfile").write_text(dockerfile.replace("INDEX", self.index))
        (at / "trainload.toml").write_text('dockerfile = "Dockerfile"\n')
        (at / ".dockerignore").write_text("Dockerfile*\ntrainload.toml\n.dockerignore\n")
        return at

    def ours(self, at: Path) -> tuple[dict[str, Any], Files]:
        found = json.loads(self.trainload(at, "build", "--json", "-t", f"{at.name}:ours").stdout)
        return contents(self.home, found["digest"])

    def theirs(self, at: Path, base: str = "slim") -> tuple[dict[str, Any], Files]:
        root = self.folder / f"{at.name}-buildah"
        buildah = ["buildah", "--root", f"{root}/r", "--runroot", f"{root}/rr", "--storage-driver"]
        buildah.append(self.driver([*buildah, "overlay"]))
        words = ["build", "--isolation", "chroot", "--network", "host", "--format", "docker", "-q"]
        done = subprocess.run(
            [*buildah, *words, "--build-arg", f"BASE=oci:{self.home}:{base}", "-t", "theirs", "."],
            cwd=at, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        layout = root / "dir"
        subprocess.run([*buildah, "push", "-q", "-f", "v2s2", "theirs", f"dir:{layout}"], check=True)
        (layout / "blobs").mkdir()
        (layout / "blobs" / "sha256").symlink_to(layout)  # a dir: is a flat folder
        found = contents(layout, "manifest.json")
        shutil.rmtree(root)
        return found

    @staticmethod
    def driver(buildah: list[str]) -> str:
        """The quick one where this machine's file system lets it."""
        tried = subprocess.run([*buildah, "info"], capture_output=True, check=False)
        return "overlay" if tried.returncode == 0 else "vfs"

    def rows(self, at: Path, *words: str) -> dict[int, tuple[str, str]]:
        """Line → how it is done, and why, as ``plan`` tells it."""
        found = json.loads(self.trainload(at, "plan", "--json", *words).stdout)
        return {row["line"]: (row["how"], row["why"]) for stage in found for row in stage["lines"]}


def contents(layout: Path, digest: str) -> tuple[dict[str, Any], Files]:
    """The config's part that runs, and every path with kind, mode, owner, and content or target."""

    def blob(one: str) -> bytes:
        return (layout / "blobs" / "sha256" / one.removeprefix("sha256:")).read_bytes()

    manifest = json.loads(blob(digest))
    files: Files = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layer["digest"]))) as archive:
            _apply(archive, files)
    return json.loads(blob(manifest["config"]["digest"]))["config"], files


def _apply(archive: tarfile.TarFile, files: Files) -> None:
    for member in archive:
        path = member.name.strip("/").removeprefix("./")
        above, _, name = path.rpartition("/")
        if name.startswith(".wh."):
            hidden = above if name == ".wh..wh..opq" else f"{above}/{name[4:]}"
            itself = name != ".wh..wh..opq"
            for one in [p for p in files if p.startswith(f"{hidden}/") or (itself and p == hidden)]:
                del files[one]
            continue
        data = archive.extractfile(member) if member.isreg() else None
        content = data.read() if data else b""
        if member.islnk():
            content = files[member.linkname.strip("/").removeprefix("./")][-1]
        kind = tarfile.REGTYPE if member.islnk() else member.type
        target = "" if member.islnk() else member.linkname
        files[path] = (kind, member.mode & 0o7777, member.uid, member.gid, target, content)


def differing(ours: Files, theirs: Files) -> dict[str, tuple[Any, Any]]:
    """Paths that are not the same on both sides, apart from what may differ."""
    found = {}
    for path in sorted({*ours, *theirs}):
        one, other = ours.get(path), theirs.get(path)
        if one == other or LEFT.fullmatch(path):
            continue
        if path in ("etc/shadow", "etc/gshadow") and _undated(one) == _undated(other):
            continue  # the day of the build
        if one and other and "/bin/" in f"/{path}" and one[:5] == other[:5] and one[-1][:2] == b"#!":
            continue  # launchers: they are called below
        found[path] = one, other
    return found


def _undated(entry: tuple[Any, ...] | None) -> list[str]:
    text = entry[-1].decode() if entry else ""
    return [re.sub(r"^([^:]*:[^:]*):[0-9]*:", r"\1::", line) for line in text.splitlines()]


def installed(files: Files) -> tuple[list[str], list[str]]:
    """(Python distributions, packages of dpkg), each with its version."""
    python = sorted(path for path in files if path.endswith(".dist-info/METADATA"))
    status = files["var/lib/dpkg/status"][-1].decode()
    rows = re.findall(r"^Package: (\S+)\n(?:.+\n)*?Version: (\S+)$", status, re.MULTILINE)
    return python, sorted(f"{name} {version}" for name, version in rows)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("dockerfiles")
    tool = b"def main():\n    print('tool of demo', __import__('demo').__version__)\n"
    points = b"[console_scripts]\ndemo = demo.cli:main\n"
    with FaultServer() as server:
        index = PackageIndex(server)
        wheels: list[tuple[str, bytes]] = []
        for version in ("1.0", "2.0"):
            info = f"demo-{version}.dist-info/entry_points.txt"
            made = wheel("demo", version, requires=["helper>=1"], files={"demo/cli.py": tool, info: points})
            wheels.append(made)
        wheels.append(wheel("tiny-build", "1.0", files={"tiny_build/backend.py": BACKEND}))
        wheels += [wheel("helper", "1.5"), wheel("Odd_Name", "0.1", files={"odd_name/data/x.txt": b"x\n"})]
        index.add(*wheels)
        index.add(wheel("pip", "99.0", files={"pip/__main__.py": b"print('pip 99')\n"}))
        known = {
            "-".join(name.split("-")[:2]): (server.url + index.path(name, data), hashlib.sha256(data).hexdigest())
            for name, data in wheels
        }
        found = Bench(folder / "home", index.url, folder, known, server)
        plain = folder / "plain"
        plain.mkdir()
        (plain / "trainload.toml").write_text(BASE)
        found.trainload(plain, "build", "-t", "plain")
        slim = found.project("slim", ENVIRONMENT, {})
        publish(server, slim / "apt")
        found.trainload(slim, "build", "-t", "slim")
        yield found


def publish(server: FaultServer, apt: Path) -> None:
    """What the image's apt knows: the distribution, and an archive that is signed by a key of its own."""
    key, archive, stanzas = Key(), Archive(), []
    for deb in DEBS:
        data = deb.bytes()
        path = f"pool/{deb.name}_{deb.version}_{deb.architecture}.deb"
        server.serve(f"/own/{path}", data)
        fields = {"Filename": path, "Size": str(len(data)), "SHA256": hashlib.sha256(data).hexdigest()}
        stanzas.append(stanza(deb.name, deb.version, **{**fields, **deb.fields}))
    files = {"main/binary-amd64/Packages": "\n".join(stanzas).encode()}
    archive.publish(Publication(Pocket("own", "stable"), files, datetime.now(UTC), sign=key.sign))
    for path, content in archive.files.items():
        server.serve(f"/{path}", content)
    for folder in ("sources.list.d", "keyrings", "preferences.d", "apt.conf.d"):
        (apt / folder).mkdir(parents=True)
    (apt / "keyrings/own.gpg").write_bytes(key.trust().certificates)
    (apt / "preferences.d/own-600").write_text("Package: *\nPin: release o=Test\nPin-Priority: 600\n")
    (apt / "apt.conf.d/99few").write_text('APT::Install-Recommends "false";\n')
    roots, suite = find_archives(public={}), SUITES["bookworm"]
    (apt / "sources.list").write_text(
        "".join(f"deb {roots.of(pocket.archive)[0].url} {pocket.suite} main\n" for pocket in suite.pockets)
    )
    (apt / "sources.list.d/own.list").write_text(
        f"deb [arch=amd64 signed-by=/etc/apt/keyrings/own.gpg] {server.url}/own stable main\n"
    )


def check(bench: Bench, at: Path, placed: int, base: str = "slim") -> Files:
    """Both builds of the project, compared; ``placed``: how many of its RUN lines are placed."""
    config, files = bench.ours(at)
    their_config, their_files = bench.theirs(at, base)
    assert installed(files) == installed(their_files)
    assert differing(files, their_files) == {}
    assert sorted(config["Env"]) == sorted(their_config["Env"])
    for key in ("Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "StopSignal"):
        assert (config.get(key) or None) == (their_config.get(key) or None), key
    how = [how for how, _ in bench.rows(at).values()]
    runs = sum(line.startswith("RUN") for line in (at / "Dockerfile").read_text().splitlines())
    assert how.count("run") == runs - placed, bench.rows(at)
    return files


def test_packages_accounts_folders_links_and_owners(bench: Bench) -> None:
    at = bench.project(
        "everything",
        "ARG BASE=slim\nFROM $BASE\nWORKDIR /app\nCOPY requirements.txt .\n"
        "RUN pip install --no-cache-dir --index-url INDEX -r requirements.txt\n"
        "RUN pip install --no-cache-dir -i INDEX --upgrade demo && pip install -i INDEX -U helper\n"
        'RUN groupadd -r web && useradd --no-log-init -r -g web -d /srv/web -c "Web server" web\n'
        "RUN useradd -ms /bin/bash ada && usermod -aG web,video ada\n"
        "RUN groupadd -g 4000 team; useradd -u 4001 -g team -G audio -M bob\n"
        "COPY --chown=ada:ada code code\n"
        "RUN mkdir -p /app/data/deep && chown -R ada:ada /app && chmod 750 /app/data\n"
        "RUN chmod -R go-rwx,u+X code\n"
        'RUN ln -s /usr/bin/python3 /usr/local/bin/py && ln -sf ../app /srv/link && echo "a b" > /etc/motd\n'
        "RUN echo more >> /etc/motd && rm -rf /tmp/* /var/tmp/* /root/.cache\n"
        "RUN --mount=type=bind,source=few.txt,target=/app/few.txt pip install --no-cache-dir -i INDEX -r few.txt\n"
        'RUN set -e; ln -s "$(which python3)" /usr/local/bin/python9; rm -rf ~/.cache || true\n'
        "RUN mkdir /opt/inner && cd /opt && . py/bin/activate && export V=1.5 && cd inner && \\\n"
        "    pip install --no-cache-dir -i INDEX --target here helper==$V && touch first && cd / && touch last\n"
        'RUN pip config set global.timeout 60 && pip config --global set install.trusted-host "a.example b"\n'
        'USER ada\nEXPOSE 8000\nENTRYPOINT ["demo"]\n',
        {
            "requirements.txt": "demo<2  # not the newest\nodd.name\n",
            "few.txt": "tiny-build\n",
            "code/a.py": "print(1)\n",
            "code/deep/b.sh": "echo\n",
        },
    )
    files = check(bench, at, placed=13)
    assert "opt/py/lib/python3.11/site-packages/demo-2.0.dist-info/METADATA" in files
    assert not [path for path in files if "demo-1.0" in path]
    assert bench.trainload(at, "run").stdout == "tool of demo 2.0\n"


ADDUSER = """\
RUN addgroup --system --gid 1001 web && adduser --system --uid 1001 --ingroup web --home /srv/web web
RUN adduser --disabled-password --gecos "" --shell /bin/sh ada && adduser ada video
RUN adduser --system --group daemon9 && adduser --quiet --disabled-login --gecos 'Bob,,1' --no-create-home bob
"""


def test_adduser_of_debian(bench: Bench) -> None:
    text = (
        "RUN apt-get update && apt-get install -y own-plain && adduser --system last && rm -rf /var/lib/apt/lists/*"
    )
    at = bench.project("adduser", f"ARG BASE=slim\nFROM $BASE\n{ADDUSER}{text}\n", {})
    files = check(bench, at, placed=4)
    assert files["etc/passwd"][-1].decode().splitlines()[-1].startswith("last:x:")
    assert (files["home/ada"][1], "home/bob" in files) == (0o700, False)


def test_adduser_of_ubuntu(bench: Bench) -> None:
    plain = bench.folder / "jammy"
    plain.mkdir()
    (plain / "trainload.toml").write_text(BASE.replace("bookworm", "jammy"))
    bench.trainload(plain, "build", "-t", "jammy")
    at = bench.project("adduser-jammy", f"ARG BASE=jammy\nFROM $BASE\n{ADDUSER}", {})
    files = check(bench, at, placed=3, base="jammy")
    assert (files["home/ada"][1], files["home/daemon9"][1]) == (0o750, 0o750)


def test_files_whose_sha256_the_line_checks(bench: Bench) -> None:
    assert bench.server is not None
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo("tool/bin/tool")
        info.size, info.mode = 5, 0o755
        archive.addfile(info, io.BytesIO(b"#!/x\n"))
    sums = {}
    for name, data in (("tool.tgz", packed.getvalue()), ("own", b"#!/bin/sh\necho own\n")):
        bench.server.serve(f"/files/{name}", data)
        sums[name] = hashlib.sha256(data).hexdigest()
    at, first = f"{bench.server.url}/files", "/tmp/tool.tgz"
    text = (
        "ARG BASE=slim\nFROM $BASE\nARG WHERE=/usr/local/bin\n"
        f"RUN curl -fsSL {at}/tool.tgz -o {first} && echo '{sums['tool.tgz']}  {first}' | sha256sum -c - && \\\n"
        f"    tar -xzf {first} -C /opt --no-same-owner && rm {first}\n"
        f"RUN set -eux; cd $WHERE; curl --retry 3 -LO {at}/own; echo '{sums['own']} *own' | sha256sum --check; \\\n"
        "    chmod +x own; cd /; useradd -m bob; mkdir left\n"
        'CMD ["own"]\n'
    )
    project = bench.project("checked", text, {})
    files = check(bench, project, placed=2)
    assert files["usr/local/bin/own"][1] == 0o755 and "tmp/tool.tgz" not in files
    assert bench.trainload(project, "run").stdout == "own\n"
    assert "locked by its sha256" in bench.rows(project)[4][1]
    (project / "Dockerfile").write_text(text.replace(sums["own"], "0" * 64))
    said = bench.trainload(project, "build", code=1).stderr
    assert "0" * 64 in said and sums["own"] in said and "Dockerfile:6: own is not the file" in said, said
    assert "the line says which sha256" in said and "trainload lock" not in said
    (project / "Dockerfile").write_text(re.sub("echo '[0-9a-f]{64} [*]own' . sha256sum --check; ", "", text))
    assert bench.rows(project)[6] == ("run", "curl, of whose file the line checks no sha256")


def test_a_user_copy_of_another_stage(bench: Bench) -> None:
    at = bench.project(
        "multistage",
        "ARG BASE=slim\nFROM $BASE AS builder\nCOPY requirements.txt .\n"
        "RUN /usr/bin/pip install --user --break-system-packages --no-cache-dir -i INDEX -r requirements.txt\n\n"
        "ARG BASE\nFROM $BASE\nCOPY --from=builder /root/.local /root/.local\nENV PATH=/root/.local/bin:$PATH\n"
        'USER root\nCMD ["demo"]\n',
        {"requirements.txt": "demo\n"},
    )
    files = check(bench, at, placed=1)
    assert "root/.local/lib/python3.11/site-packages/demo/cli.py" in files
    assert bench.trainload(at, "run").stdout == "tool of demo 2.0\n"


def test_wheels_of_a_folder_and_indexes_that_the_requirements_name(bench: Bench) -> None:
    at = bench.project(
        "folders",
        "ARG BASE=slim\nFROM $BASE\nCOPY wheels /wheels\nCOPY requirements.txt /r/\n"
        "RUN pip install --no-cache-dir --no-index --find-links=/wheels local\n"
        "RUN pip install --no-cache-dir --no-index -r /r/requirements.txt\n"
        'CMD ["python", "-c", "import demo, local; print(demo.__version__, local.__version__)"]\n',
        {"requirements.txt": f"demo\n--find-links /wheels\n--extra-index-url {bench.index}\n"},
    )
    (at / "wheels").mkdir()
    for name, data in (wheel("local", "3.0", requires=["helper"]), wheel("helper", "1.7"), wheel("demo", "1.5")):
        (at / "wheels" / name).write_bytes(data)
    check(bench, at, placed=2)
    assert bench.trainload(at, "run").stdout == "1.5 3.0\n"


def test_hashes_addresses_folders_and_what_pip_conf_says(bench: Bench) -> None:
    address, sha256 = bench.wheels["demo-2.0"][0], bench.wheels["Odd_Name-0.1"][1]
    hashed = f"odd-name==0.1 --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{sha256}  # two\n"
    at = bench.project(
        "options",
        "ARG BASE=slim\nFROM $BASE\nENV PYTHONPATH=/srv/app\nCOPY app /srv/app\nCOPY project /srv/project\n"
        "COPY pip.conf /etc/\n"
        "COPY requirements.txt /r/\n"
        "RUN pip install --no-cache-dir --require-hashes -r /r/requirements.txt\n"
        f"RUN pip install --no-cache-dir {address}\n"
        "RUN pip install --no-cache-dir --target /opt/apart --trusted-host a.example demo\n"
        "RUN pip install --no-cache-dir -e '/srv/project[more]'\n"
        'CMD ["sh", "-c", "demo && own"]\n',
        {
            "project/pyproject.toml": '[build-system]\nrequires = ["tiny-build"]\n'
            'build-backend = "tiny_build.backend"\n',
            "project/own.py": "import helper\n\n\ndef main():\n    print('own with', helper.__version__)\n",
            "pip.conf": f"[global]\nindex-url = {bench.index}\ntimeout = 60\n[list]\nformat = columns\n",
            "requirements.txt": f"--prefer-binary\n{hashed}",
            "app/main.py": "",
        },
    )
    files = check(bench, at, placed=4)
    origin = json.loads(files["opt/py/lib/python3.11/site-packages/demo-2.0.dist-info/direct_url.json"][-1])
    assert origin == {"archive_info": {}, "url": address}, "as this image's old pip writes it"
    assert {"opt/apart/bin/demo", "opt/apart/helper/__init__.py"} <= set(files), "beside which nothing counts"
    assert bench.trainload(at, "run").stdout == "tool of demo 2.0\nown with 1.5\n"


def test_what_would_be_different_is_run(bench: Bench) -> None:
    at = bench.project(
        "honest",
        "ARG BASE=slim\nFROM $BASE\nRUN pip install --no-cache-dir -i INDEX nobody-has-it || true\n"
        "RUN pip install --no-cache-dir -i http://plain.example/simple nobody-has-it || true\n"
        "COPY pip.conf /etc/pip.conf\n"
        "RUN pip install --no-cache-dir demo\nRUN true || false\nRUN useradd -m bob && true || false\n",
        {"pip.conf": f"[global]\nindex-url = {bench.index}\nsrc = /srv\n"},
    )
    bench.trainload(at, "build", "--network", "default")
    rows = bench.rows(at, "--network", "default")
    assert rows[3][0] == "run", "what the index said is told by a plan, too"
    assert rows[3][1].startswith("what nothing fits"), rows[3]
    assert rows[6] == ("run", "/etc/pip.conf of the image changes what is installed")
    assert [rows[7][0], rows[8][0]] == ["run", "run"]
    assert rows[4][1].endswith("which pip does not ask without --trusted-host plain.example"), rows[4]


def test_the_lock_keeps_what_an_index_had(bench: Bench, tmp_path: Path) -> None:
    with FaultServer() as server:
        index = PackageIndex(server)
        index.add(wheel("kept", "1.0"))
        text = f"ARG BASE=slim\nFROM $BASE\nRUN pip install --no-cache-dir -i {index.url} kept\n"
        at = bench.project("lock", text, {})
        first = json.loads(bench.trainload(at, "build", "--json").stdout)["digest"]
        index.add(wheel("kept", "2.0"))
        bench.trainload(at, "plan")
        bench.trainload(at, "lock")
        assert json.loads(bench.trainload(at, "build", "--json").stdout)["digest"] == first
    (at / "code.py").write_text("")
    assert json.loads(bench.trainload(at, "build", "--json", "--frozen").stdout)["digest"] == first
    (at / "Dockerfile").write_text(text.replace("kept\n", "kept other\n"))
    assert "--frozen" in bench.trainload(at, "build", "--frozen", code=1).stderr


def test_packages_of_apt_scripts_and_commands_between(bench: Bench) -> None:
    at = bench.project(
        "packages",
        "ARG BASE=slim\nFROM $BASE\nCOPY mine.deb /\n"
        "RUN sed -i 's@^deb http@deb  http@g;s/ main$/ main  /' /etc/apt/sources.list && "
        "apt-get update && apt-get install -y own-plain hello/bookworm && echo a b | tee /srv/tee && "
        "rm -rf /var/lib/apt/lists/*\n"
        "RUN apt-get update && apt-get upgrade -y && apt-mark showauto > /srv/auto && rm -rf /var/lib/apt/lists/*\n"
        "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\\n"
        "      own-script 'tree=2*' && cp /etc/own-made /srv/copy && apt-get purge -y hello \\\n"
        "    && rm -rf /var/lib/apt/lists/*\n"
        "RUN apt-get update; apt-get install -y own-script; rm -rf /var/lib/apt/lists/*\n"
        "RUN apt-get update && apt-get install -y --install-recommends own-choice ./mine.deb && "
        "rm -rf /var/lib/apt/lists/*\n",
        {},
    )
    scripts = {"postinst": "#!/bin/sh\necho made > /etc/mine\n"}
    mine = MadeDeb("own-mine", fields={"Depends": "own-plain"}, scripts=scripts).lists(Item("./srv/mine", b"m\n"))
    (at / "mine.deb").write_bytes(mine.bytes())
    files = check(bench, at, placed=5)
    assert files["etc/mine"][-1] == b"made\n"
    assert {"own-choice 1.0-1", "own-zeta 1.0-1"} <= set(installed(files)[1]), "of two providers apt's own choice"
    assert files["srv/auto"][-1] == b"own-data\n", "what was needed before is not wished for after an upgrade"
    assert "scripts in the sandbox" in bench.rows(at)[5][1]
    assert files["etc/own-made"][1:4] == (0o640, 1, 8)
    assert (
        "usr/share/own/hello" not in files and "usr/bin/tree" in files and files["srv/copy"][-1] == b"configure\n"
    )
    locked = (at / "Dockerfile.lock").read_text()
    assert "/own/pool/own-script_1.0-1_amd64.deb" in locked


WEIGHTS = {
    "config.json": b'{"model_type": "tiny"}', "model.safetensors": bytes(range(256)) * 20, "sub/vocab.txt": b"a\n",
    "tf_model.h5": b"h" * 3000, "README.md": b"# tiny\n",
}  # fmt: skip


def test_weights_lie_where_the_real_client_puts_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryHub() as hub:
        hub.push("org/tiny", WEIGHTS)
        first = hub.push("org/tiny", {**WEIGHTS, "sub/vocab.txt": b"b\n"}, revision="v1")
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        at = bench.project(
            "weights",
            f"ARG BASE=slim\nFROM $BASE\nENV HF_ENDPOINT={hub.url}\n"
            "RUN pip install --no-cache-dir huggingface_hub\n"
            "RUN hf download org/tiny --quiet\n"
            "RUN python -c \"from huggingface_hub import snapshot_download; snapshot_download('org/tiny')\"\n"
            "RUN hf download org/tiny --revision v1 --include '*.json' --exclude 'sub/*' --local-dir /opt/tiny\n"
            "RUN HF_HOME=/theirs hf download org/tiny\n"
            "RUN HF_HOME=/notes hf download org/tiny --revision v1 --include '*.json' --exclude 'sub/*' "
            "--local-dir /theirs/tiny\n",
            {},
        )
        found = json.loads(bench.trainload(at, "build", "--json", "--network", "default").stdout)
        _, files = contents(bench.home, found["digest"])
        hows = [how for how, _ in bench.rows(at).values()]
        assert hows.count("run") == 2, bench.rows(at)
    ours, theirs = (below(files, top) for top in ("root/.cache/huggingface/hub", "theirs/hub"))
    assert len(ours) > 15
    assert set(ours) ^ set(theirs) == set()
    assert ours == theirs
    assert below(files, "opt/tiny") == below(files, "theirs/tiny")
    assert first in (at / "Dockerfile.lock").read_text()


def below(files: Files, top: str) -> Files:
    """What is in a folder, without what the client notes for itself."""
    own = re.compile(r"\.locks(/.*)?|[^/]+/trees(/.*)?|\.cache(/.*)?|CACHEDIR\.TAG|version\.txt|xet(/.*)?")
    inside = {path.removeprefix(f"{top}/"): entry for path, entry in files.items() if path.startswith(f"{top}/")}
    return {path: entry for path, entry in inside.items() if not own.fullmatch(path)}
