"""What another builder is told."""

from __future__ import annotations

import pytest

from trainload.run.handing import BUILDERS, Order, argv, environment

ORDER = Order(
    "docker/D", ("a:1", "b"), "train", {"V": "secret-value", "A": "1"}, ("id=t,src=token",), ("default=/s",),
    "host", "linux/arm64", no_cache=True,
)  # fmt: skip


@pytest.mark.parametrize("builder", BUILDERS)
def test_everything_that_was_said_is_said(builder: str) -> None:
    assert argv(builder, ORDER) == (
        builder, "build", "--file", "docker/D", "--target", "train", "--network", "host", "--platform",
        "linux/arm64", "--tag", "a:1", "--tag", "b", "--build-arg", "A", "--build-arg", "V", "--secret",
        "id=t,src=token", "--ssh", "default=/s", "--no-cache", ".",
    )  # fmt: skip


def test_what_was_not_said_is_the_builders_business() -> None:
    assert argv("podman", Order("Dockerfile", ("a",))) == (
        "podman",
        "build",
        "--file",
        "Dockerfile",
        "--tag",
        "a",
        ".",
    )


def test_values_go_by_the_environment() -> None:
    assert "secret-value" not in " ".join(argv("docker", ORDER))
    assert environment("docker", ORDER, {"PATH": "/bin"}) == {
        "DOCKER_BUILDKIT": "1", "PATH": "/bin", "V": "secret-value", "A": "1",
    }  # fmt: skip
    assert environment("docker", ORDER, {"DOCKER_BUILDKIT": "0"})["DOCKER_BUILDKIT"] == "0"
    assert "DOCKER_BUILDKIT" not in environment("buildah", ORDER, {})
