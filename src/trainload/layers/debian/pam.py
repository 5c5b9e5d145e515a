"""What pam-auth-update(8) writes for libpam-runtime on a new system on which only passwords let somebody in."""

from __future__ import annotations

from collections.abc import Mapping

from trainload.layers.debian.root import Root

TEXTS = ("usr/share/pam/common-", "usr/share/pam-configs/")
_PROFILES = "usr/share/pam-configs"
_KINDS = {"auth": "Auth", "account": "Account", "password": "Password", "session": "Session",
          "session-noninteractive": "Session"}  # fmt: skip
_NULL = ("null", "[default=1]\t\t\tpam_permit.so")
"""What stands for the modules of a block that has none, and is skipped to by the rest."""


def configure(root: Root) -> None:
    """``/etc/pam.d/common-*`` from their templates, and the notes of what was written.

    Nothing where another profile than ``unix`` is on by default: how they go together is for the script to say.
    """
    profiles = {path.rpartition("/")[2]: _fields(root.text(path) or b"") for path, _ in root.below(_PROFILES)}
    used = [name for name, fields in profiles.items() if fields.get("Default") == ["yes"]]
    if used != ["unix"]:
        return
    for kind, field in _KINDS.items():
        template = root.text(f"usr/share/pam/common-{kind}")
        if template is None or root.has(f"etc/pam.d/common-{kind}"):
            continue
        unix = profiles["unix"]
        lines = unix.get(f"{field}-Initial") or unix.get(field, [])
        blocks = {"primary": [_NULL], "additional": []}
        place = "primary" if unix.get(f"{field}-Type") == ["Primary"] else "additional"
        blocks[place] = [("unix", line) for line in lines]
        root.write(f"etc/pam.d/common-{kind}", _filled(template, kind, blocks))
        notes = [f"Module: {name}\n{line}\n" for name, line in (*blocks["primary"], *blocks["additional"])]
        root.write(f"var/lib/pam/{kind}", "".join(notes).encode())
    names = sorted(profiles, key=lambda name: -int("".join(profiles[name].get("Priority", ["0"]))))
    root.write("var/lib/pam/seen", "".join(f"{name}\n" for name in names).encode())


def _fields(text: bytes) -> dict[str, list[str]]:
    """Of a profile: what stands behind each name, and in the indented lines after it."""
    found: dict[str, list[str]] = {}
    last: list[str] = []
    for line in text.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if line[:1].isspace():
            last.append(line.strip())
        elif colon:
            last = found[name] = [value.strip()] if value.strip() else []
    return found


def _filled(template: bytes, kind: str, blocks: Mapping[str, list[tuple[str, str]]]) -> bytes:
    kept = []
    for line in template.decode("utf-8", "replace").splitlines():
        block = line.removeprefix("$").rpartition("_")[2]
        if line.startswith("$") and block in blocks:
            kept += _lines(kind.partition("-")[0], blocks[block])
        else:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept).encode()


def _lines(kind: str, modules: list[tuple[str, str]]) -> list[str]:
    """``end`` of a line is a jump behind the last module of its block."""
    found = []
    for number, (name, line) in enumerate(modules):
        control, _, rest = line.partition("\t")
        module, _, options = rest.strip().partition(" ")
        control = control.replace("end", str(len(modules) - number))
        found.append(f"{kind}\t{line}" if (name, line) == _NULL else f"{kind}\t{control}\t{module} {options}")
    return found
