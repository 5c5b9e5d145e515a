"""Commands that differ from one distribution to the next, and from root to others."""

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
_NAMES = {
    ("docker", "debian"): "docker.io", ("docker", "fedora"): "moby-engine", ("uidmap", "fedora"): "shadow-utils",
    ("uidmap", "suse"): "shadow", ("uidmap", "arch"): "shadow", ("uidmap", "alpine"): "shadow-uidmap",
    ("nvidia-container-toolkit", "fedora"): "golang-github-nvidia-container-toolkit",
}  # fmt: skip
_DRIVER = {
    "ubuntu": ("sudo ubuntu-drivers install", "sudo reboot"),
    "debian": (
        'sudo apt-get install "linux-headers-$(dpkg --print-architecture)" nvidia-driver firmware-misc-nonfree',
        "sudo reboot",
    ),
    "fedora": ("sudo dnf install akmod-nvidia", "sudo reboot"),
    "suse": ("sudo zypper install-new-recommends", "sudo reboot"),
    "arch": ("sudo pacman -S nvidia", "sudo reboot"),
}

_CAP_SYS_RESOURCE = 24  # linux/capability.h
_LISTS = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources")
_NONFREE = (
    "sudo sed -i -E '/^(deb|Components:)/s/\\bmain\\b.*/main contrib non-free non-free-firmware/' "
    f"$(ls {' '.join(_LISTS)} 2>/dev/null)",
    "sudo apt-get update",
)
"""Where Debian keeps NVIDIA's driver."""
_UNIFIED = "systemd.unified_cgroup_hierarchy=1"
_KERNEL = {
    "debian": (
        f"""sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&{_UNIFIED} /' /etc/default/grub""", "sudo update-grub",
        "sudo reboot",
    ),
    "fedora": (f"sudo grubby --update-kernel=ALL --args={_UNIFIED}", "sudo reboot"),
    "suse": (
        f"""sudo sed -i 's/^GRUB_CMDLINE_LINUX_DEFAULT="/&{_UNIFIED} /' /etc/default/grub""",
        "sudo grub2-mkconfig -o /boot/grub2/grub.cfg", "sudo reboot",
    ),
    "arch": (
        f"""sudo sed -i 's/^GRUB_CMDLINE_LINUX="/&{_UNIFIED} /' /etc/default/grub""",
        "sudo grub-mkconfig -o /boot/grub/grub.cfg", "sudo reboot",
    ),
    "alpine": ("""sudo sed -i 's/^#*rc_cgroup_mode=.*/rc_cgroup_mode="unified"/' /etc/rc.conf""", "sudo reboot"),
}  # fmt: skip


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
    here = family(machine)
    if here == "debian":
        lists = "\n".join(machine.text(path) or "" for path in _LISTS)
        ready = re.search(r"^(deb|Components:).*\snon-free(\s|$)", lists, re.MULTILINE)
        return _DRIVER[here] if ready else (*_NONFREE, *_DRIVER[here])
    return _DRIVER.get(here, _DRIVER["debian"])


def engine(machine: Machine) -> tuple[str, ...]:
    """How an engine gets here that needs nothing of this user's own."""
    if family(machine) == "fedora" and re.search(r"rhel|centos", machine.text("/etc/os-release") or ""):
        return install(machine, "podman"), "sudo trainload run --engine podman"  # it has no Docker
    group = () if machine.uid == 0 else ("sudo usermod -aG docker $USER", "newgrp docker")
    return install(machine, "docker"), *group, "trainload run --engine docker"


def unified_groups(machine: Machine) -> tuple[str, ...]:
    """How the kernel gets control groups of version 2, which systemd then uses."""
    return _KERNEL[family(machine)]


def as_root(command: str) -> str:
    """For root, whose machine may have no ``sudo``."""
    return re.sub(r"(^|\| |&& )sudo ", r"\1", command)


def service(machine: Machine, verb: str, name: str) -> str:
    """Start or restart a service, also where systemd is not the init (WSL2, containers)."""
    if (machine.text("/proc/1/comm") or "").strip() == "systemd":
        return f"sudo systemctl {verb} {name}"
    if machine.program("rc-service") is not None:
        return f"sudo rc-service {name} {verb}"
    if machine.text(f"/etc/init.d/{name}") is not None and _raises_limits(machine):
        return f"sudo service {name} {verb}"
    # nobody looks after it here: it starts in the background, and stays until the machine stops
    stop = "pkill -x dockerd; sleep 2; " if verb == "restart" else ""
    return f"sudo sh -c '{stop}nohup dockerd </dev/null >/var/log/dockerd.log 2>&1 &'"


def _raises_limits(machine: Machine) -> bool:
    """Whether root may, as Docker's script does first; in most containers it may not, and the script ends."""
    status = machine.text("/proc/self/status") or ""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> _CAP_SYS_RESOURCE & 1)


def start_docker(machine: Machine, address: str, verb: str = "start") -> tuple[str, ...]:
    """How the daemon behind ``address`` starts, whoever it belongs to."""
    own = machine.environ.get("XDG_RUNTIME_DIR")
    if own and address.startswith(f"unix://{own}/"):
        return (f"systemctl --user {verb} docker",)
    kernel = machine.text("/proc/version")
    if machine.text("/etc/os-release") is None and kernel is None:
        return ("open -a Docker",)  # macOS
    if machine.program("dockerd") is None and "microsoft" in str(kernel).lower():
        return ('"/mnt/c/Program Files/Docker/Docker/Docker Desktop.exe" &',)
    known = (machine.text("/proc/1/comm") or "").strip() == "systemd" or machine.text(
        "/etc/init.d/docker"
    ) is not None
    if machine.program("dockerd") is None and not known:  # its command only
        return install(machine, "docker"), service(machine, verb, "docker")
    return (service(machine, verb, "docker"),)


def container_toolkit(machine: Machine) -> tuple[str, ...]:
    """How NVIDIA's container toolkit gets here; nothing where it is."""
    return () if machine.program("nvidia-ctk") is not None else (install(machine, "nvidia-container-toolkit"),)
