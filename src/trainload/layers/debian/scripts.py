"""Which packages' maintainer scripts would do something that is not modelled (THREATS D10, D7); nothing is run.

A script counts as modelled when its package is in :data:`MODELLED`, or when nothing is left of it once comments,
the parts that debhelper wrote, and lines without an effect on a fresh system are taken away.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trainload.layers.debian import alternatives
from trainload.layers.debian.deb import ControlFile

MODELLED: Mapping[str, str] = {
    "adduser": "effects: adduser.conf",
    "apt": "user _apt: accounts; timers: no init system",
    "base-files": "effects: copies, folders, links",
    "base-passwd": "accounts: the masters",
    "bash": "links that the packages bring",
    "ca-certificates": "certificates",
    "coreutils": "a link that the package brings",
    "dash": "the package brings /bin/sh",
    "debconf": "an empty frame",
    "debian-archive-keyring": "removes old keys",
    "debianutils": "effects: shells; alternatives: which",
    "dpkg": "moves misplaced state",
    "git": "upgrades",
    "init-system-helpers": "undoes what debootstrap did",
    "libc-bin": "effects: nsswitch.conf; ldcache",
    "libc6": "upgrades: restarts services",
    "libgcrypt20": "upgrades",
    "libgssapi-krb5-2": "upgrades",
    "libpam-modules": "effects: opasswd",
    "libpam-runtime": "effects: the files of pam-auth-update",
    "libpam0g": "upgrades: restarts services",
    "libssl3": "upgrades: restarts services",
    "netbase": "effects: networks; hosts is the engine's",
    "openssl": "a link that the package brings",
    "passwd": "accounts: shadow files",
    "perl": "upgrades",
    "perl-base": "upgrades",
    "procps": "upgrades",
    "python3": "effects: debian_config; byte-compilation is a layer",
    "readline-common": "effects: inputrc",
    "tzdata": "effects: localtime",
    "usrmerge": "merge",
    "vim-common": "a link that the package brings",
    "vim-runtime": "diversions",
}
"""Package → what stands for its scripts; checked against bookworm, trixie, jammy and noble."""
_MODELLED_PATTERN = re.compile(r"(lib)?python3(\.[0-9]+)?(-minimal|-stdlib)?")

_GENERATED = re.compile(
    r"# Automatically added by (dh\w+)[^\n]*\n(.*?)# End automatically added section", re.DOTALL
)
_KNOWN_HELPERS = frozenset(
    {
        "dh_installinit", "dh_installsystemd", "dh_installsystemduser", "dh_systemd_enable", "dh_systemd_start",
        "dh_makeshlibs",  # ldconfig
        "dh_python3", "dh_installdeb",  # byte-compilation; upgrades
        "dh_installmenu", "dh_installdebconf", "dh_icons", "dh_installtmpfiles", "dh_installudev", "dh_lintian",
        "dh_installsysusers", "dh_sysuser",  # accounts
        "dh_installalternatives",  # alternatives, if literal
        "dh_installlogrotate", "dh_installmime", "dh_ucf", "dh_usrlocal", "dh_installchangelogs",
    }
)  # fmt: skip
_IDLE = re.compile(
    r"""(
      \#.* | set\s+[-+]\w+ | exit(\s+[\w$?"]+)?;? | :(\s.*)? | true | return(\s+[\w$?"]+)? | ;; | exec\s+>&2
    | \(?[\w|*"'./$\ -]+\)\s*(:|(exit|return)\s+\d+|\w+=\w+)?\s*(;;)?(\s*esac)?(\s*\#.*)?  # a label of a case
    | (!\s*)?(\[|test)\s[^;&|]*(&&|\|\||;\s*then)(\s*(\[|test)\s[^;&|]*)?  # a condition alone
    | (\[|test)\s[^;]*(&&|\|\|)\s*rm\b[^;&|]*
    | esac | (fi|done)(\s*;;)? | else | then | do | \} | \{ | (function\s+)?[\w-]+\s*\(\)\s*\{? | case\b.*
    | (el)?if\b.* | while\b.* | for\b.* | \w+=.* | echo\b.*>&2.* | echo\b.* | printf\b.*
    | \.\s+/usr/share/debconf/confmodule | db_(version|stop|go|input|get|set|fset|subst|reset|unregister|purge)\b.*
    | (\[|test)\s.*(\]|\S)\s*(\|\||&&)\s*(true|:|continue|exit\s\d+|return(\s\d+)?) | continue | break
    | (\S*/)?(\$\{?)?python[\w.]*\}?\s.*\b(py_compile|compileall)\b.*  # the bytecode layer's business
    | (export|unset|local|shift|umask|readonly|declare|cd|print)\b.* | getent\b[^|&;]* | set\s+--.* | \.\s+\S+
    | "\$@"
    | [^;&]*\|\s*while\b.* | (\[|test)\s.*&&\s*echo\b.*
    | chown\s+(0:0|root:root)\s.*  # as what a package brings is
    | dpkg-trigger\b.*  # the script that acts on it is judged itself
    | (udevadm|dbus-send|restorecon)\b.*  # speak to a running system, which an image is not
    | dpkg-maintscript-helper\b.* | ldconfig\b.* | py3compile\b.* | update-menus\b.* | rm\b.* | rmdir\b.*
    | (deb-systemd-helper|deb-systemd-invoke|systemctl|invoke-rc\.d|update-rc\.d)\b.*
    | update-alternatives\b.* | add-shell\b.*
    | dpkg-divert\b[^$`]*\s--rename\b[^$`]*  # diversions
    | dpkg-divert\b.*usr-is-merged.*  # keeps upgrades of a system from losing files (Debian DEP 17)
    )""",
    re.VERBOSE,
)
_ON_UPGRADE = re.compile(
    r"^if .*(dpkg --compare-versions|\[ -n \"?\$2|\[ x?\"?\$1\"? = \"?x?(upgrade|triggered)).*$"
)
_HEREDOC = re.compile(r"""(<<-?\s*['"]?(\w+)['"]?[^\n]*\n)(?:.*?\n)??[ \t]*\2(?=\n|$)""", re.DOTALL)
"""A text that is given to a command: no commands."""
_FUNCTION = re.compile(r"^\s*(?:function\s+)?([\w-]+)\s*\(\)", re.MULTILINE)
CONFIGURES = "postinst"
"""The script that ``dpkg --configure`` runs."""
_RUN_ON_INSTALL = ("preinst", CONFIGURES)


@dataclass(frozen=True, slots=True)
class Unmodelled:
    """A package that wants to be configured."""

    package: str
    script: str
    lines: tuple[str, ...]
    """What it would do, at most five lines."""


def unmodelled(package: str, members: Mapping[str, ControlFile]) -> list[Unmodelled]:
    """The scripts of ``package`` whose effects are not there; empty for most packages."""
    if package in MODELLED or _MODELLED_PATTERN.fullmatch(package):
        return []
    found = []
    for name in _RUN_ON_INSTALL:
        member = members.get(name)
        if member is None:
            continue
        lines = effective_lines(member.content)
        if lines:
            found.append(Unmodelled(package, name, tuple(lines[:5])))
    return found


def needs_configuration(packages: Iterable[tuple[str, Mapping[str, ControlFile]]]) -> list[Unmodelled]:
    """What ``configure = "sandbox"`` would have to run, in the order given."""
    return [each for package, members in packages for each in unmodelled(package, members)]


def effective_lines(content: bytes) -> list[str]:
    """Lines of a script that may do something on a fresh system."""
    script = content.decode("utf-8", "replace")
    if script.startswith("#!") and not re.match(r"#!\s*/bin/(ba|da)?sh\b", script):
        return [script.partition("\n")[0]]  # perl, an executable
    _, others = alternatives.parse(script)
    script = _HEREDOC.sub(r"\1", script)
    script = _GENERATED.sub(lambda match: "" if match[1] in _KNOWN_HELPERS else match[2], script)
    script = re.sub(r"\\\n", " ", script)
    lines = [line.strip() for line in _without_upgrades(script.split("\n"))]
    own = set(_FUNCTION.findall(script))
    left = [line for line in lines if line and not _is_idle(line, own)]
    return [*left, *(["update-alternatives --install …"] if others else [])]


def _is_idle(line: str, own: Collection[str]) -> bool:
    """A line that does nothing itself; of calls of the script's ``own`` functions their bodies tell."""
    if _IDLE.fullmatch(line) or "adduser --system" in line:
        return True
    return line.partition(" ")[0].rstrip(";") in own and not re.search("[;&|>]", line.replace("|| return", ""))


def _without_upgrades(lines: list[str]) -> list[str]:
    """``lines`` without blocks that only run when an older version was there."""
    kept: list[str] = []
    depth = 0
    for line in lines:
        stripped = line.strip()
        if depth:
            depth += len(re.findall(r"(?:^|[;\s])if\s", stripped)) - len(
                re.findall(r"(?:^|[;\s])fi(?:$|[;\s])", stripped)
            )
            continue
        if _ON_UPGRADE.match(stripped):
            depth = 1 - len(re.findall(r"(?:^|[;\s])fi(?:$|[;\s])", stripped))
            continue
        kept.append(line)
    return kept
