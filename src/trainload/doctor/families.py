"""Commands that differ from one distribution to the next."""

from __future__ import annotations

import re

from trainload.doctor.machine import Machine

_INSTALL = {
    "debian": "sudo apt-get install",
    "fedora": "sudo dnf install",
    "suse": "sudo zypper install",
    "arch": "sudo pacman -S",
    "alpine": "sudo apk add",
}
_NAMES = {("docker", "debian"): "docker.io", ("docker", "fedora"): "moby-engine"}
_DRIVER = {
    "ubuntu": ("sudo ubuntu-drivers install", "sudo reboot"),
    "debian": ("sudo apt-get install nvidia-driver", "sudo reboot"),
    "fedora": ("sudo dnf install akmod-nvidia", "sudo reboot"),
    "suse": ("sudo zypper install-new-recommends", "sudo reboot"),
    "arch": ("sudo pacman -S nvidia", "sudo reboot"),
}


def family(machine: Machine) -> str:
    """``debian``, ``fedora``, ``suse``, ``arch``, ``alpine``; Debian's words where nobody knows."""
    said = machine.text("/etc/os-release") or ""
    words = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^ID(?:_LIKE)?=(.*)$", said, re.MULTILINE))))
    for name, known in (
        ("debian", {"debian", "ubuntu"}), ("fedora", {"fedora", "rhel", "centos"}),
        ("suse", {"suse", "opensuse", "sles"}), ("arch", {"arch"}), ("alpine", {"alpine"}),
    ):  # fmt: skip
        if words & known:
            return name
    return "debian"


def install(machine: Machine, name: str) -> str:
    """How a package is installed here."""
    here = family(machine)
    return f"{_INSTALL[here]} {_NAMES.get((name, here), name)}"


def driver(machine: Machine) -> tuple[str, ...]:
    """How NVIDIA's newest driver gets here."""
    if "ubuntu" in (machine.text("/etc/os-release") or "").lower():
        return _DRIVER["ubuntu"]
    return _DRIVER.get(family(machine), _DRIVER["debian"])


def service(machine: Machine, verb: str, name: str) -> str:
    """Start or restart a service, also where systemd is not the init (WSL2, containers)."""
    if (machine.text("/proc/1/comm") or "").strip() == "systemd":
        return f"sudo systemctl {verb} {name}"
    return f"sudo service {name} {verb}"
