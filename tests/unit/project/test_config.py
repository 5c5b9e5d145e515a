"""The configuration file: hostile, odd and wrong ones (THREATS F06, F07, F12, F14)."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from trainload.errors import ConfigError, ManyErrors
from trainload.limits import DEFAULT, Allowed, GiB, MiB
from trainload.project.detect import limits_given, read_project
from trainload.project.model import Origin, Project
from trainload.testing.tree import MemoryTree, Node, Sparse


def project(config: Node, **more: Node) -> Project:
    return read_project(MemoryTree({"train.py": "", "trainload.toml": config, **more}))


def warnings(config: Node) -> list[str]:
    return [str(text) for text in project(config).warnings]


def test_two_places_of_configuration_are_refused_naming_both() -> None:
    tree = MemoryTree(
        {"train.py": "", "trainload.toml": "user = 1", "pyproject.toml": "[tool.trainload]\nuser = 2"}
    )
    with pytest.raises(ConfigError, match=r"both trainload\.toml and \[tool\.trainload\] in pyproject\.toml"):
        read_project(tree)


@pytest.mark.parametrize(
    ("written", "size"),
    [("8g", 8 * GiB), ("512m", 512 * MiB), ("1.5G", 3 * GiB // 2), ("2 GiB", 2 * GiB), ("64kb", 65536), ("10", 10)],
)
def test_sizes_are_bytes_in_binary_units(written: str, size: int) -> None:
    assert project(f'run.memory = "{written}"').settings.run.value.memory == size


def test_limits_are_set_by_flag_environment_or_file_and_for_an_image_by_the_first_two() -> None:
    tree = MemoryTree({"train.py": "", "trainload.toml": "[limits]\nmax-unpacked = '1g'\nmax-ratio = 99\n"})
    variables, flags = {"TRAINLOAD_LIMITS_MAX_RATIO": "77"}, {"limits.max-unpacked": "2g"}
    limits = read_project(tree, environ=variables).settings.limits
    assert (limits.value, limits.origin) == (
        Allowed(max_unpacked=GiB, max_ratio=77), Origin.ENVIRONMENT,
    )  # fmt: skip
    assert limits_given(flags, variables) == Allowed(max_unpacked=2 * GiB, max_ratio=77)
    assert limits_given({}, {}).limits() == DEFAULT
    with pytest.raises(ConfigError, match=r"--max-unpacked: this value cannot be used; got \"much\"") as caught:
        limits_given({"limits.max-unpacked": "much"}, {})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", ['"8 apples"', "0", "-1", "true", "1.5", '"0g"', '"99999999999999999t"', "[]"])
def test_what_is_no_size_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"trainload\.toml: run\.memory: this value cannot be used"):
        project(f"run.memory = {value}")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("pyton", "did you mean python?"), ("find_links", "did you mean find-links?"),
        ("gpus", "did you mean run.gpus?"), ("gpu", "did you mean run.gpus?"), ("port", "did you mean run.ports?"),
        ("memory", "did you mean run.memory?"), ("constraint", "did you mean build.constraints?"),
        ("run.memoryswap", "did you mean run.memory-swap?"), ("qqqqqq", "the keys are name, python, base"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_exist_has_a_nearest(key: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(f"{key} = 1")
    assert f"trainload.toml: {key}: there is no such key" in str(caught.value)
    assert f"hint: {hint}" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ('workdir = "app"', "an absolute path"), ('workdir = "/etc/x"', "an absolute path"),
        ('workdir = "/a/../b"', "an absolute path"), ("user = -1", "from 0 to"), ("user = 4294967296", "from 0 to"),
        ('python = "3"', "a minor version"), ('python = "3.11.7"', "a minor version"),
        ("python = 3.11", "a minor version"),
        ('name = "Digits"', "lower-case"), ('accelerator = "gpu"', "cpu, cuda, auto"),
        ('profile = "fat"', "slim, dev"),
        ('requirements = ["../x"]', "inside the project"), ('requirements = ["/x"]', "inside the project"),
        ('env = { "A=B" = "x" }', "a table of strings"), ('index = "file:///x"', "a URL"),
        ('command = "python train.py"', "an array of strings"), ('platforms = ["windows/amd64"]', "linux/amd64 or"),
        ('run.ports = ["x:y"]', "HOST:CONTAINER"), ("run = 3", "[run]"), ('bytecode = "yes"', "true or false"),
    ],
)  # fmt: skip
def test_a_wrong_value_tells_what_is_wanted(line: str, want: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(line)
    assert want in str(caught.value.want)
    assert caught.value.place is not None
    assert caught.value.place.inside


@pytest.mark.parametrize(
    "bomb",
    [
        "x = " + "[" * 100_000,
        "x = " + "[" * 500 + "]" * 500,
        "x = " + "{a=" * 150 + "1" + "}" * 150,
        ".".join(["a"] * 100_000) + " = 1",
        "[" + ".".join(["a"] * 100_000) + "]",
        "x = '" + "a" * (100 * MiB) + "'",
        Sparse(100 * MiB),
        "a = 1\na = 2",
        "[a]\n[a]",
        b"\xff\xfex\x00",
        b"a = '\xff'",
        "user = " + "9" * 5_000,
    ],
    ids=[
        "array",
        "closed array",
        "inline",
        "dotted",
        "header",
        "scalar",
        "sparse",
        "key",
        "table",
        "utf16",
        "bytes",
        "number",
    ],
)
def test_F06_a_toml_bomb_is_refused_in_a_second(bomb: Node) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match=r"trainload\.toml"):
        project(bomb)
    assert time.process_time() - start < 3  # a third of it on an idle machine


def test_F06_the_densest_file_that_is_read_costs_a_second_at_most() -> None:
    start = time.process_time()
    with pytest.raises(ConfigError, match="there is no such key"):
        project("x = [" + "1," * (255 * 1024) + "]")
    assert time.process_time() - start < 4  # a quarter of it on an idle machine


@pytest.mark.parametrize("text", ["user = 7", "user = 7\n", "user = 7\r\n", "\ufeffuser = 7\r\n", "\n\r\nuser = 7"])
def test_F07_line_ends_and_a_byte_order_mark_change_nothing(text: str) -> None:
    assert project(text).settings.user.value == 7


def test_F07_utf16_is_refused_with_what_to_do() -> None:
    with pytest.raises(
        ConfigError,
        match=r"trainload\.toml:1: the file is not UTF-8 text(.|\n)*hint: it reads as UTF-16; save it",
    ):
        project("user = 7".encode("utf-16"))


def test_F12_a_secret_in_env_is_told_by_name_and_never_by_value() -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    found = warnings(
        f'env = {{ WANDB_API_KEY = "hunter2hunter2", OTHER = "{token}", TOKENIZERS_PARALLELISM = "no" }}'
    )
    assert len(found) == 2
    assert found[0].startswith("env.WANDB_API_KEY looks like a secret")
    assert found[1].startswith("env.OTHER looks like a secret")
    assert not any("hunter2" in text or token in text for text in found)


def test_F12_an_error_in_env_does_not_tell_the_value() -> None:
    with pytest.raises(ManyErrors) as caught:
        project('env = { API_KEY = ["hunter2"], PASSWORD = 1234 }')
    assert "hunter2" not in str(caught.value)
    assert "1234" not in str(caught.value)
    assert "trainload.toml: env.API_KEY: this value cannot be used; got list; want a string" in str(caught.value)


def test_F12_credentials_in_a_url_are_warned_about_and_not_told() -> None:
    found = warnings('index = "https://me:hunter2@packages.example/simple"')
    assert found == ["index holds credentials; give them by TRAINLOAD_* variables or a netrc file"]
    with pytest.raises(ConfigError) as caught:
        project('index = "https://me:hunter2@packages.example/a b"')
    assert "hunter2" not in str(caught.value)
    assert warnings('index = "http://[::1]/simple"') == warnings('index = "http://[::1]:80/simple"')


@pytest.mark.parametrize(("mode", "warned"), [(0o644, False), (0o664, True), (0o666, True), (0o600, False)])
def test_F14_a_configuration_that_others_can_write_is_warned_about(mode: int, warned: bool) -> None:
    tree = MemoryTree({"train.py": "", "trainload.toml": ""}, modes={"trainload.toml": mode})
    found = [str(text) for text in read_project(tree).warnings]
    assert any("can be written by other users" in text for text in found) == warned


@pytest.mark.parametrize(("mode", "warned"), [(0o664, False), (0o666, True)])
def test_F14_the_users_own_group_is_nobody_else(mode: int, warned: bool) -> None:
    nodes, modes = {"train.py": "", "trainload.toml": ""}, {"trainload.toml": mode}
    found = [str(text) for text in read_project(MemoryTree(nodes, modes=modes, private_group=True)).warnings]
    assert any("can be written by other users" in text for text in found) == warned


def test_F14_a_configuration_of_another_user_is_warned_about() -> None:
    tree = MemoryTree({"train.py": "", "trainload.toml": ""}, foreign=frozenset({"trainload.toml"}))
    assert [str(w) for w in read_project(tree).warnings] == [
        "trainload.toml belongs to another user, who decides what runs here"
    ]


def test_a_configuration_with_everything_is_read(golden: Callable[[str, str], None]) -> None:
    from dataclasses import fields

    found = project(
        """
        name = "digits"
        python = "3.12"
        base = "apt:noble"
        profile = "dev"
        system = ["ffmpeg", "libgl1"]
        requirements = ["requirements.txt"]
        find-links = ["../wheels"]
        index = "https://packages.example/simple"
        accelerator = "cu128"
        command = ["python", "train.py", "--epochs", "3"]
        user = 0
        workdir = "/srv/digits/"
        env = { OMP_NUM_THREADS = "4" }
        bytecode = true
        configure = "sandbox"
        include = ["**"]
        exclude = ["data/**"]
        platforms = ["x86_64", "linux/arm64"]
        [mirrors]
        apt = ["https://mirror.example/{distribution}"]
        registry = { "docker.io" = ["https://mirror.example"] }
        [run]
        gpus = 2
        memory = "8g"
        cpus = 1.5
        volumes = ["./data:/data:ro"]
        ports = ["8000:8000"]
        [limits]
        max-unpacked = "1t"
        """,
        **{"requirements.txt": "numpy\n"},
    ).settings
    lines = [
        f"{field.name}: {getattr(found, field.name).value!r} ({getattr(found, field.name).origin}:"
        f" {getattr(found, field.name).reason})"
        for field in fields(found)
    ]
    golden("everything.txt", "\n".join(lines))
