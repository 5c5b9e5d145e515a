"""What a Jupyter server is told."""

from __future__ import annotations

import pytest

from trainload.run.jupyter import Interface, Serving, name, requirements


@pytest.mark.parametrize("interface", list(Interface))
def test_the_token_is_in_the_environment_and_never_on_the_command_line(interface: Interface) -> None:
    serving = Serving(interface, "127.0.0.1", 8888, "secret", "/app")
    assert not any("secret" in word for word in serving.command())
    assert serving.environment()["JUPYTER_TOKEN"] == "secret"
    assert serving.url().endswith("?token=secret")


def test_it_listens_where_it_is_told_and_nowhere_else() -> None:
    command = Serving(Interface.LAB, "127.0.0.1", 9000, "t", "/app").command()
    assert "--ServerApp.ip=127.0.0.1" in command and "--ServerApp.port=9000" in command
    assert "--ServerApp.port_retries=0" in command, "another port would not be the published one"
    assert "--KernelManager.transport=ipc" in command, "loopback is everybody's"
    assert not any("disable_check_xsrf" in word or "allow_origin" in word for word in command)
    assert "--allow-root" not in command


def test_lab_asks_nobody_for_news_and_root_is_allowed_only_as_root() -> None:
    assert "--LabApp.news_url=None" in Serving(Interface.LAB, "", 1, "t", "/").command()
    assert "--LabApp.news_url=None" not in Serving(Interface.NONE, "", 1, "t", "/").command()
    assert "--allow-root" in Serving(Interface.NONE, "", 1, "t", "/", is_root=True).command()


def test_each_interface_has_its_own_image_and_a_kernel() -> None:
    assert len({name(interface) for interface in Interface}) == 3
    assert any(text.startswith("ipykernel") for text in requirements(Interface.NONE))
