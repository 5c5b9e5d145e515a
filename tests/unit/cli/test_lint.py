"""`trainload lint` as users call it: what it prints, writes, and returns."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from trainload.cli.main import run

CORPUS = Path(__file__).parents[1] / "lint" / "corpus"


def call(folder: Path, *argv: str, **environ: str) -> tuple[int, str, str]:
    stdout, stderr = io.StringIO(), io.StringIO()
    given = {"TRAINLOAD_HOME": str(folder / ".home"), "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", **environ}
    code = run(argv, environ=given, cwd=folder, stdout=stdout, stderr=stderr)
    return code, stdout.getvalue(), stderr.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        "FROM python:3.11-slim\nRUN pip install torch\nUSER 1000\nCMD python train.py\n"
    )
    (folder / "compose.yaml").write_text("version: '3'\nservices:\n  train:\n    build: .\n")
    (folder / "train.py").write_text("loader = DataLoader(data, num_workers=2)\n")
    (folder / "environment.yml").write_text("name: ml\n")
    return folder


def test_without_a_file_all_of_the_folder_are_checked(folder: Path) -> None:
    code, out, err = call(folder, "lint")
    assert code == 1
    assert "Dockerfile:2: pip keeps what it downloaded in the layer [pip-cache]" in out
    assert "    about 2.9 GB more in the image, for nothing\n" in out
    assert "    - RUN pip install torch\n    + RUN pip install --no-cache-dir torch\n" in out
    assert "compose.yaml:1: version is obsolete" in out
    assert "train.py:1 starts DataLoader workers (num_workers=2)" in out
    assert "environment.yml" not in out
    assert "found: 3; --fix mends 3, --fix-all 0 more" in err


def test_fix_mends_and_the_next_call_finds_nothing(folder: Path) -> None:
    code, out, err = call(folder, "lint", "--fix")
    assert (code, out) == (0, "")
    assert "mended: 3" in err
    assert (folder / "Dockerfile").read_text().splitlines()[1] == "RUN pip install --no-cache-dir torch"
    assert (folder / "compose.yaml").read_text() == 'services:\n  train:\n    build: .\n    shm_size: "8g"\n'
    assert call(folder, "lint")[0] == 0


def test_nothing_is_written_without_fix(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    call(folder, "lint")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_json_is_one_document_with_lines_and_mends(folder: Path) -> None:
    code, out, _ = call(folder, "--json", "lint", "Dockerfile")
    assert code == 1
    document = json.loads(out)
    assert document["files"] == ["Dockerfile"]
    (finding,) = document["findings"]
    assert (finding["rule"], finding["file"], finding["line"], finding["last"]) == ("pip-cache", "Dockerfile", 2, 2)
    assert finding["fix"] == "--fix"
    assert finding["mend"] == [
        {"file": "Dockerfile", "first": 2, "last": 2, "lines": ["RUN pip install --no-cache-dir torch"]}
    ]
    assert document["fixed"] == []


def test_fix_all_writes_dockerignore_beside(folder: Path) -> None:
    (folder / "Dockerfile").write_text("FROM python:3.11-slim\nUSER 1000\nCOPY . /app\n")
    (folder / "best.pt").write_bytes(b"\0" * 5000)
    (folder / ".dockerignore").write_text("*.md")
    assert call(folder, "lint", "Dockerfile", "--fix")[0] == 1
    assert (folder / ".dockerignore").read_text() == "*.md"
    assert call(folder, "lint", "Dockerfile", "--fix-all")[0] == 0
    assert (folder / ".dockerignore").read_text() == "*.md\nbest.pt\n"
    assert call(folder, "lint", "Dockerfile")[0] == 0


def test_a_byte_order_mark_and_the_mode_stay(folder: Path) -> None:
    path = folder / "compose.yaml"
    path.write_bytes(b"\xef\xbb\xbfversion: '3'\r\nservices:\r\n  a:\r\n    image: redis:7\r\n")
    path.chmod(0o640)
    assert call(folder, "lint", "compose.yaml", "--fix")[0] == 0
    assert path.read_bytes() == b"\xef\xbb\xbfservices:\r\n  a:\r\n    image: redis:7\r\n"
    assert path.stat().st_mode & 0o777 == 0o640


def test_the_driver_can_be_another_machines(folder: Path) -> None:
    shutil.copy(CORPUS / "faulty" / "driver.Dockerfile", folder / "Dockerfile")
    assert call(folder, "lint", "Dockerfile", "--driver", "550")[0] == 0
    code, out, _ = call(folder, "lint", "Dockerfile", "--driver", "470")
    assert code == 1
    assert "torch is built for CUDA 12.4, and this machine's driver runs CUDA 11.4 at most [torch-cuda]" in out


def test_a_service_in_a_neighbours_file_is_seen(folder: Path) -> None:
    job, service = (CORPUS / "clean" / "job-gang.yaml").read_text().split("---\n")[::-1]
    (folder / "job.yaml").write_text(job)
    assert "headless-service" in call(folder, "lint", "job.yaml")[1]
    (folder / "service.yaml").write_text(service)
    assert call(folder, "lint", "job.yaml")[:2] == (0, "")


def test_a_mirror_of_the_configuration_is_proposed(folder: Path) -> None:
    (folder / "trainload.toml").write_text('[mirrors]\npypi = ["https://mirror.example/simple"]\n')
    out = call(folder, "lint", "Dockerfile")[1]
    assert "+ RUN pip install --index-url https://mirror.example/simple torch" in out


@pytest.mark.parametrize(
    ("name", "content", "want"),
    [
        ("x.txt", b"hello\n", "neither a Dockerfile, nor a compose file, nor a Kubernetes manifest"),
        ("x.yaml", b"services: [\n", "this is not YAML"),
        ("x.yaml", b"apiVersion: v1\nkind: Job\nspec: \x01\n", "this is not YAML"),
        ("Dockerfile", b"FROM a\nRUNN x\n", "RUNN"),
        ("Dockerfile", b"FROM a\xff\n", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_place(folder: Path, name: str, content: bytes, want: str) -> None:
    (folder / name).write_bytes(content)
    code, out, err = call(folder, "lint", name)
    assert (code, out) == (1, "")
    assert want in err
    assert name in err


def test_an_empty_folder_and_a_missing_file_are_told(tmp_path: Path) -> None:
    code, _, err = call(tmp_path, "lint")
    assert code == 2
    assert "there is no Dockerfile, compose file or Kubernetes manifest" in err
    assert call(tmp_path, "lint", "Dockerfile")[0] == 2


def test_rules_are_listed(tmp_path: Path) -> None:
    code, out, _ = call(tmp_path, "lint", "--rules")
    assert code == 0
    assert "gpu-reservation" in out
    code, out, _ = call(tmp_path, "--json", "lint", "--rules")
    assert {"rule": "apt-yes", "kind": "dockerfile", "meaning": "apt-get install that asks"} in json.loads(out)


def tool(folder: Path, name: str, said: str) -> str:
    """A program that says ``said`` and what it was called with."""
    path = folder / "bin"
    path.mkdir(exist_ok=True)
    (path / name).write_text(f"#!/bin/sh\necho \"$@\" >{folder}/called\ncat <<'EOF'\n{said}\nEOF\n")
    (path / name).chmod(0o755)
    return f"{path}:/usr/bin:/bin"


def test_what_hadolint_finds_is_merged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '[{"file":"x","line":2,"column":1,"level":"warning","code":"DL3013","message":"Pin versions in pip"}]'
    path = tool(folder, "hadolint", said)
    monkeypatch.setenv("PATH", path)
    code, out, _ = call(folder, "lint", "--with", "hadolint", PATH=path)
    assert code == 1
    assert "Dockerfile:2: Pin versions in pip [hadolint:DL3013]" in out
    assert (folder / "called").read_text() == f"--no-fail --format json {folder}/Dockerfile\n"


def test_a_checker_that_is_missing_or_unclear_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, _, err = call(folder, "lint", "--with", "hadolint", PATH="/nowhere")
    assert code == 2
    assert "hadolint is not installed" in err
    path = tool(folder, "hadolint", "help")
    monkeypatch.setenv("PATH", path)
    code, _, err = call(folder, "lint", "--with", "hadolint", PATH=path)
    assert code == 2
    assert "hadolint did not answer as expected" in err


COMPOSE = """\
services:
  llm:
    image: vllm/vllm-openai:v0.6.0
    deploy:
      resources:
        reservations:
          devices:
            - driver: nvidia
              count: 1
"""
REFUSED = "services.llm.deploy.resources.reservations.devices.0 capabilities is required"


def test_what_compose_says_stands_on_its_line_and_a_docker_without_it_is_passed_over(tmp_path: Path) -> None:
    """A stand-in for the plugin; :func:`test_the_real_compose_agrees_with_the_corpus` asks the real one."""
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    path = tool(tmp_path, "docker", "unknown shorthand flag: 'f' in -f")
    (tmp_path / "bin/docker").write_text("#!/bin/sh\necho 'docker: compose is not a docker command' >&2; exit 1\n")
    said = f"echo 'validating {tmp_path}/compose.yaml: {REFUSED}' >&2; exit 15"
    (tmp_path / "bin/docker-compose").write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/called\n[ "$1" = version ] || {{ {said}; }}\n'
    )
    (tmp_path / "bin/docker-compose").chmod(0o755)
    code, out, _ = call(tmp_path, "lint", "--with", "compose", PATH=path)
    assert code == 1
    assert f"compose.yaml:8: {REFUSED} [compose]" in out
    called = (tmp_path / "called").read_text().split()
    assert called == ["-f", f"{tmp_path}/compose.yaml", "config", "--quiet", "--no-interpolate"]


def test_a_docker_that_knows_no_compose_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    path = tool(tmp_path, "docker", "")
    (tmp_path / "bin/docker").write_text("#!/bin/sh\necho 'unknown shorthand flag' >&2; exit 125\n")
    code, _, err = call(tmp_path, "lint", "--with", "compose", PATH=path)
    assert code == 2
    assert "docker compose did not answer as expected" in err
    assert "leave out --with compose" in err


def test_the_real_compose_agrees_with_the_corpus(tmp_path: Path) -> None:
    """It has nothing to say of clean files, whatever variables this machine has; and of mended ones."""
    known = ["docker", "compose", "version"]
    if not shutil.which("docker") or subprocess.run(known, capture_output=True, check=False).returncode:
        pytest.skip("this Docker has no compose")
    corpus = Path(__file__).parents[1] / "lint/corpus"
    for file in sorted(corpus.glob("*/compose-*.yaml")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
        if file.parent.name == "faulty":
            call(tmp_path, "lint", "--fix-all", file.name)
        _, out, err = call(tmp_path, "lint", "--with", "compose", file.name)
        assert "[compose]" not in out, (file.name, out, err)
