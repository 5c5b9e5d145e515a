"""What a Jupyter server in a container is told; pure (Jupyter Server 2: its configuration options)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

PORT = 8888
SETTINGS = "/var/lib/jupyter"
"""Inside: where Jupyter keeps what its user set, such as the theme."""
STATUS = "/api/status"
PREPARED = {
    "config/labconfig/page_config.json": {
        # the question whether it may fetch news of its makers
        "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}
    },
    "ipython/profile_default/ipython_config.json": {
        # a module that is edited is imported anew before the next cell: variables and the kernel stay
        "InteractiveShellApp": {"extensions": ["autoreload"], "exec_lines": ["%autoreload 2"]}
    },
}
"""Files below :data:`SETTINGS` that are there from the first time on; a user may change them."""


class Interface(StrEnum):
    """What is seen of it."""

    LAB = "lab"
    NOTEBOOK = "notebook"
    """One notebook at a time, the classic look."""
    NONE = "none"
    """Only the server, for editors that bring their own notebooks."""


_REQUIREMENTS: Mapping[Interface, tuple[str, ...]] = {
    Interface.LAB: ("jupyterlab>=4,<5",),
    Interface.NOTEBOOK: ("notebook>=7,<8",),
    Interface.NONE: ("jupyter-server>=2,<3", "ipykernel>=6,<8"),
}
_MODULES = {Interface.LAB: "jupyterlab", Interface.NOTEBOOK: "notebook", Interface.NONE: "jupyter_server"}
_PAGES = {Interface.LAB: "/lab", Interface.NOTEBOOK: "/tree", Interface.NONE: "/"}


def requirements(interface: Interface) -> tuple[str, ...]:
    """What must be there, beside or in the project's lock."""
    return _REQUIREMENTS[interface]


def name(interface: Interface) -> str:
    """Of the image that has it: ``jupyterlab``."""
    return {Interface.LAB: "jupyterlab", Interface.NOTEBOOK: "notebook", Interface.NONE: "jupyter"}[interface]


@dataclass(frozen=True, slots=True)
class Serving:
    """One server."""

    interface: Interface
    address: str
    """Inside, where it listens."""
    port: int
    """Inside and outside."""
    token: str
    folder: str
    """Inside: the project's."""
    is_root: bool = False

    def command(self) -> tuple[str, ...]:
        """Its argv. The token is not in it, since every user of a machine may read those."""
        root = ("--allow-root",) if self.is_root else ()
        quiet = (
            "--LabApp.news_url=None",  # an image asks nobody on the internet by itself
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",  # what is installed in a run is gone after it
        )
        return (
            "python", "-m", _MODULES[self.interface],
            f"--ServerApp.ip={self.address}",
            f"--ServerApp.port={self.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.answer_yes=True",  # Ctrl-C ends it at once
            "--log-level=WARN",  # two dozen lines otherwise, among them the address with a token of three dots
            "--KernelManager.transport=ipc",  # else its messages pass this machine's loopback, unencrypted
            f"--ServerApp.root_dir={self.folder}",
            *(quiet if self.interface is Interface.LAB else ()), *root,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return {
            "JUPYTER_TOKEN": self.token,
            "JUPYTER_CONFIG_DIR": f"{SETTINGS}/config",
            "JUPYTER_DATA_DIR": f"{SETTINGS}/data",
            "IPYTHONDIR": f"{SETTINGS}/ipython",
            "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # noqa: S108 - of the container
        }

    def url(self, host: str = "127.0.0.1") -> str:
        """What a browser opens."""
        return f"http://{host}:{self.port}{_PAGES[self.interface]}?token={self.token}"
