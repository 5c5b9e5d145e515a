"""Pushing, pulling, copying and logging in, as users see them."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainload.cli.main import run
from trainload.image.model import Image
from trainload.store.store import Store
from trainload.testing.faults import FaultRegistry
from trainload.testing.images import make


class Shell:
    """Calls verbs on one store, as one user."""

    def __init__(self, folder: Path, language: str = "C.UTF-8") -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {
            "TRAINLOAD_HOME": str(self.home),
            "LANG": language,
            "HOME": str(folder),
            "PATH": "/usr/bin:/bin",
        }
        self.out = self.err = ""

    def __call__(self, *argv: str) -> int:
        stdout, stderr = io.StringIO(), io.StringIO()
        code = run(argv, environ=self.environ, cwd=self.folder, stdout=stdout, stderr=stderr)
        self.out, self.err = stdout.getvalue(), stderr.getvalue()
        return code

    def json(self, *argv: str) -> Any:  # noqa: ANN401 - a document
        assert self(*argv, "--json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def image(shell: Shell) -> Image:
    store = Store.open(shell.home)
    with store.writing():
        return make(store, "digits:v1", {"a": b"1"}, {"b": b"2" * 2000})


@pytest.fixture
def registry() -> Iterator[FaultRegistry]:
    with FaultRegistry() as made:
        yield made


def test_push_says_what_went_over_the_line_and_prints_names_and_digest(
    shell: Shell, image: Image, registry: FaultRegistry
) -> None:
    first, second = f"{registry.host}/team/digits:v1", f"{registry.host}/team/digits:latest"
    assert shell("push", "digits:v1", first, second, "--dry-run") == 0
    assert "to send" in shell.err
    assert registry.memory.repositories.get("team/digits") is None or not registry.requests("PUT")
    assert shell("push", "digits:v1", first, second) == 0
    assert shell.out.splitlines() == [f"{first}  {image.digest}", f"{second}  {image.digest}"]
    assert "sent" in shell.err
    found = shell.json("push", "digits:v1", first)
    assert found["digest"] == str(image.digest)
    assert found["repositories"][0]["sent"] == 0


def test_push_of_an_image_that_has_the_registrys_name_needs_one_word(
    shell: Shell, image: Image, registry: FaultRegistry
) -> None:
    name = f"{registry.host}/team/digits:v1"
    assert shell("tag", "digits:v1", name) == 0
    assert shell("push", name) == 0
    assert shell("tags", f"{registry.host}/team/digits") == 0
    assert shell.out == "v1\n"


def test_push_without_a_registry_says_what_is_missing(shell: Shell, image: Image) -> None:
    assert shell("push", "digits:v1") == 1
    assert "names no registry" in shell.err
    assert "registry.example/team/digits" in shell.err
    assert shell("push", "digits:v2") == 1
    assert "did you mean digits:v1?" in shell.err
    assert shell("push") == 2
    assert "where to?" in shell.err


def test_a_tag_that_was_not_given_is_told(shell: Shell, image: Image, registry: FaultRegistry) -> None:
    assert shell("push", "digits:v1", f"{registry.host}/team/digits") == 0
    assert "calls it latest" in shell.err


def test_pull_brings_what_is_missing_and_names_it(
    shell: Shell, image: Image, registry: FaultRegistry, tmp_path: Path
) -> None:
    name = f"{registry.host}/team/digits:v1"
    shell("push", "digits:v1", name)
    other = Shell(tmp_path / "other")
    other.folder.mkdir()
    assert other("pull", name) == 0
    assert other.out == f"{name}  {image.digest}\n"
    assert "already there" in other.err
    assert [one["names"] for one in other.json("images")] == [[name]]
    assert other.json("pull", name)[0]["fetched"] == 0
    assert other("pull", f"{registry.host}/team/digits:v9") == 1
    assert "MANIFEST_UNKNOWN" in other.err
    assert "Traceback" not in other.err


def test_copy_moves_between_registries_and_keeps_nothing(
    shell: Shell, image: Image, registry: FaultRegistry, tmp_path: Path
) -> None:
    source = f"{registry.host}/team/digits:v1"
    shell("push", "digits:v1", source)
    other = Shell(tmp_path / "other")
    other.folder.mkdir()
    with FaultRegistry() as far:
        target = f"{far.host}/copied/digits:v1"
        assert other("copy", source, target, "--dry-run") == 0
        assert far.requests("PUT") == []
        assert other("copy", source, target) == 0
        assert other.out == f"{target}  {image.digest}\n"
    assert not other.home.exists()


def test_tags_of_a_tag_are_refused(shell: Shell, registry: FaultRegistry) -> None:
    assert shell("tags", f"{registry.host}/team/digits:v1") == 2
    assert shell("tags", f"{registry.host}/team/nothing") == 1
    assert "NAME_UNKNOWN" in shell.err


def log_in(shell: Shell, monkeypatch: pytest.MonkeyPatch, registry: FaultRegistry, password: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    return shell("login", registry.host, "-u", "ada", "--password-stdin")


def test_login_checks_keeps_and_logout_forgets(
    shell: Shell, image: Image, registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.memory.demand = 'Basic realm="r"'
    registry.memory.accepts = {"Basic " + base64.b64encode(b"ada:sesame").decode()}
    name = f"{registry.host}/team/digits:v1"
    assert shell("push", "digits:v1", name) == 1
    assert f"trainload login {registry.host}" in shell.err
    assert log_in(shell, monkeypatch, registry, "wrong") == 1
    assert "does not accept" in shell.err
    assert not (shell.folder / ".docker").exists()
    assert log_in(shell, monkeypatch, registry, "sesame") == 0
    assert "unencrypted" in shell.err
    assert "sesame" not in shell.out + shell.err
    assert (shell.folder / ".docker/config.json").stat().st_mode & 0o777 == 0o600
    assert shell("push", "digits:v1", name) == 0
    assert shell("logout", registry.host) == 0
    assert "are forgotten" in shell.err
    assert shell("push", "digits:v1", f"{registry.host}/team/digits:v2") == 1
    assert shell("logout", registry.host) == 0
    assert "there were no credentials" in shell.err


def test_login_never_takes_a_password_as_an_argument(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shell("login", "r.example", "-u", "ada", "-p", "sesame") == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert shell("login", "r.example", "-u", "ada") == 2
    assert "--password-stdin" in shell.err
    assert shell("login", "r.example", "--password-stdin") == 2
    assert shell("login", "r.example", "-u", "ada", "--password-stdin") == 2
    assert "cannot be used" in shell.err


def test_a_registry_that_is_not_there_is_told_without_a_traceback(shell: Shell, image: Image) -> None:
    assert shell("push", "digits:v1", "registry.invalid/team/digits:v1", "--insecure-registry", "x/y") == 1
    assert "not the name of a registry" in shell.err


def test_messages_are_chinese_where_the_user_is(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "zh_CN.UTF-8")
    assert shell("push", "digits:v1") == 1
    assert "存储" in shell.err or "镜像" in shell.err


def test_a_folder_without_a_project_pushes_nothing(shell: Shell, registry: FaultRegistry) -> None:
    (shell.folder / "empty").mkdir()
    assert shell("push", f"{registry.host}/team/none:v1", "-C", "empty") == 2
    assert "holds no project" in shell.err
    assert registry.asked == []


def test_a_registry_that_lets_nobody_in_is_told_before_anything_is_built(
    shell: Shell, registry: FaultRegistry
) -> None:
    registry.memory.demand = 'Basic realm="r"'
    (shell.folder / "train.py").write_text("print(1)\n")
    assert shell("build", "--push", f"{registry.host}/team/app:v1") == 1
    assert f"trainload login {registry.host}" in shell.err
    assert not (shell.folder / "pylock.trainload.toml").exists()


def test_an_image_for_another_platform_than_the_wanted_is_refused(
    shell: Shell, image: Image, registry: FaultRegistry
) -> None:
    other = "linux/arm64" if str(image.config.platform) == "linux/amd64" else "linux/amd64"
    name = f"{registry.host}/team/digits:v1"
    assert shell("push", "digits:v1", name, "--platform", other) == 1
    assert f"not made for {other}" in shell.err
    shell("push", "digits:v1", name)
    assert shell("pull", name, "--platform", other) == 1
    assert shell("copy", name, f"{registry.host}/team/copy:v1", "--platform", other) == 1
    assert f"not made for {other}" in shell.err
