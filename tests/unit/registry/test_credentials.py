"""Where credentials are kept: Docker's and Podman's files, and helper programs (THREATS R23)."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest

from trainload.errors import RegistryError
from trainload.registry.challenge import Credential
from trainload.registry.credentials import AuthFile, Helper, Keyring


def auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(tmp_path), "PATH": f"{tmp_path}/bin:/usr/bin:/bin", **more}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def helper(tmp_path: Path, script: str, name: str = "test") -> None:
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def find(tmp_path: Path, registry: str, *scopes: str, **more: str) -> Credential | None:
    return Keyring.of(environ(tmp_path, **more)).find(registry, scopes)


def test_docker_config_is_read_by_host_and_port(tmp_path: Path) -> None:
    write(
        tmp_path / ".docker/config.json",
        {"auths": {"r.example": auth("u", "p:q"), "r.example:5000": auth("v", "w")}},
    )
    assert find(tmp_path, "r.example") == Credential("u", "p:q")
    assert find(tmp_path, "r.example:5000") == Credential("v", "w")
    assert find(tmp_path, "R.example") is None
    assert find(tmp_path, "r.example:443") is None
    assert find(tmp_path, "xr.example") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_is_found_by_its_old_names(tmp_path: Path, key: str) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {key: auth("u", "p")}})
    assert find(tmp_path, "docker.io") == Credential("u", "p")


def test_keys_with_a_scheme_and_path_are_the_host(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"https://r.example/v2/": auth("u", "p")}})
    assert find(tmp_path, "r.example") == Credential("u", "p")


def test_an_identity_token_is_one(tmp_path: Path) -> None:
    entry = {**auth("u", ""), "identitytoken": "refresh"}
    write(tmp_path / ".docker/config.json", {"auths": {"r.example": entry}})
    assert find(tmp_path, "r.example") == Credential("u", "refresh", is_token=True)


def test_podmans_file_has_keys_for_parts_of_a_registry(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write(run / "containers/auth.json", {"auths": {"r.example/team": auth("t", "1"), "r.example": auth("u", "2")}})
    more = {"XDG_RUNTIME_DIR": str(run)}
    assert find(tmp_path, "r.example", "repository:team/app:pull", **more) == Credential("t", "1")
    assert find(tmp_path, "r.example", "repository:teams/app:pull", **more) == Credential("u", "2")


def test_files_are_looked_into_in_order(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"r.example": auth("docker", "1")}})
    write(tmp_path / ".config/containers/auth.json", {"auths": {"r.example": auth("podman", "2")}})
    write(tmp_path / "named.json", {"auths": {"r.example": auth("named", "3")}})
    write(tmp_path / "other/config.json", {"auths": {"r.example": auth("other", "4")}})
    assert find(tmp_path, "r.example") == Credential("docker", "1")
    assert find(tmp_path, "r.example", REGISTRY_AUTH_FILE=str(tmp_path / "named.json")) == Credential("named", "3")
    assert find(tmp_path, "r.example", DOCKER_CONFIG=str(tmp_path / "other")) == Credential("other", "4")
    given = json.dumps({"auths": {"r.example": auth("ci", "5")}})
    assert find(tmp_path, "r.example", DOCKER_AUTH_CONFIG=given) == Credential("ci", "5")
    (tmp_path / ".docker/config.json").unlink()
    assert find(tmp_path, "r.example") == Credential("podman", "2")


def test_nothing_is_nothing(tmp_path: Path) -> None:
    assert find(tmp_path, "r.example") is None
    write(
        tmp_path / ".docker/config.json", {"auths": {"r.example": {}, "s.example": {"auth": "!!"}, "t.example": 7}}
    )
    for name in ("r.example", "s.example", "t.example"):
        assert find(tmp_path, name) is None


@pytest.mark.parametrize("text", ["{", "[]", "nul", '{"auths":{"a":1,"a":2}}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    with pytest.raises(RegistryError, match="config.json"):
        find(tmp_path, "r.example")


def test_R23_a_helper_gets_the_server_by_stdin_and_gives_the_secret_by_stdout(tmp_path: Path) -> None:
    helper(
        tmp_path, 'read s; echo "$0 $*" >"$HOME/argv"; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"for $s\\"}"'
    )
    write(tmp_path / ".docker/config.json", {"credsStore": "test"})
    assert find(tmp_path, "r.example") == Credential("u", "for r.example")
    assert (tmp_path / "argv").read_text().split()[1:] == ["get"]


def test_a_helper_for_one_registry_goes_before_the_store(tmp_path: Path) -> None:
    helper(tmp_path, 'cat >/dev/null; echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"one\\"}"', "one")
    helper(tmp_path, 'cat >/dev/null; echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"all\\"}"', "all")
    write(tmp_path / ".docker/config.json", {"credsStore": "all", "credHelpers": {"r.example": "one"}})
    assert find(tmp_path, "r.example") == Credential("u", "one")
    assert find(tmp_path, "s.example") == Credential("<token>", "all", is_token=True)


def test_a_helper_that_has_nothing_is_no_error(tmp_path: Path) -> None:
    helper(tmp_path, "echo 'credentials not found in native keychain'; exit 1")
    write(tmp_path / ".docker/config.json", {"credsStore": "test", "auths": {"r.example": auth("u", "p")}})
    assert find(tmp_path, "r.example") == Credential("u", "p")


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "echo sesame-junk",
        "echo '{}'",
        'echo \'{"Username":"u"}\'',
        'echo \'{"Username":1,"Secret":"s"}\'',
    ],
)
def test_R23_a_helper_that_does_not_work_is_named_and_not_quoted(tmp_path: Path, script: str) -> None:
    helper(tmp_path, f"cat >/dev/null; {script}")
    write(tmp_path / ".docker/config.json", {"credsStore": "test"})
    with pytest.raises(RegistryError, match="docker-credential-test") as caught:
        find(tmp_path, "r.example")
    assert "sesame" not in str(caught.value)


def test_R23_a_helper_that_is_missing_is_named(tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "desktop-of-no-one"})
    with pytest.raises(RegistryError, match="docker-credential-desktop-of-no-one") as caught:
        find(tmp_path, "r.example")
    assert "not installed" in str(caught.value)


def test_R23_a_helper_that_hangs_is_ended(tmp_path: Path) -> None:
    helper(tmp_path, "exec sleep 60")
    with pytest.raises(RegistryError, match="docker-credential-test"):
        Helper("test", environ(tmp_path), timeout=0.3).get("r.example")


@pytest.mark.parametrize("name", ["../evil", "a b", "x;y", "/bin/sh"])
def test_R23_a_helpers_name_is_no_path(tmp_path: Path, name: str) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": name})
    with pytest.raises(RegistryError, match="its name"):
        find(tmp_path, "r.example")


def test_a_login_is_kept_for_its_owner_only_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    path = write(
        tmp_path / ".docker/config.json",
        {"proxies": {"default": {"httpProxy": "x"}}, "auths": {"s.example": auth("s", "1")}, "psFormat": "t"},
    )
    path.chmod(0o644)
    file = Keyring.of(environ(tmp_path)).own
    assert file.save("r.example", Credential("u", "p")) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["proxies"] == {"default": {"httpProxy": "x"}}
    assert document["psFormat"] == "t"
    assert set(document["auths"]) == {"s.example", "r.example"}
    assert find(tmp_path, "r.example") == Credential("u", "p")
    assert file.erase("r.example")
    assert not file.erase("r.example")
    assert find(tmp_path, "r.example") is None
    assert find(tmp_path, "s.example") == Credential("s", "1")


def test_a_login_makes_the_file_and_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / ".docker/config.json").symlink_to(tmp_path / "dotfiles/docker.json")
    Keyring.of(environ(tmp_path)).own.save("docker.io", Credential("u", "token", is_token=True))
    assert (tmp_path / ".docker/config.json").is_symlink()
    assert "https://index.docker.io/v1/" in json.loads((tmp_path / "dotfiles/docker.json").read_text())["auths"]
    assert find(tmp_path, "docker.io") == Credential("u", "token", is_token=True)


def test_a_login_goes_to_the_helper_where_there_is_one(tmp_path: Path) -> None:
    helper(tmp_path, 'cat >>"$HOME/said"; echo " $*" >>"$HOME/said"')
    write(tmp_path / ".docker/config.json", {"credsStore": "test"})
    kept = Keyring.of(environ(tmp_path)).own.save("r.example", Credential("u", "p"))
    assert kept is not None
    assert kept.program == "docker-credential-test"
    said = (tmp_path / "said").read_text()
    assert json.loads(said.rpartition(" ")[0])["Secret"] == "p"
    assert "p" not in json.dumps(json.loads((tmp_path / ".docker/config.json").read_text())["auths"]["r.example"])


def test_secrets_are_in_no_representation(tmp_path: Path) -> None:
    assert "sesame" not in repr(Credential("u", "sesame"))
    given = json.dumps({"auths": {"r.example": auth("u", "sesame")}})
    assert "sesame" not in repr(Keyring.of(environ(tmp_path, DOCKER_AUTH_CONFIG=given)))
    assert "sesame" not in repr(AuthFile(tmp_path, {"TOKEN": "sesame"}, "sesame"))
