"""What goes below a project: the packages of each profile, and why.

Every system has its Essential packages (Debian policy 3.8), and other packages use them without saying so.
``dev`` holds all of them, because ``apt-get install`` and the maintainer scripts it runs need them. ``slim`` and
``distroless`` leave most of them out: what uses them is maintainer scripts, which are not run there. With
``configure = "sandbox"`` they are, and ``slim`` holds the Essential packages too.

* dpkg, init-system-helpers, sysvinit-utils, util-linux, mount, login, passwd: installing, booting, logging in.
* perl-base, debconf: maintainer scripts (debconf comes with ``slim`` all the same, since ca-certificates and
  tzdata depend on it; so does dpkg, and mawk for base-files).
* bsdutils, diffutils, ncurses-base, ncurses-bin, hostname: for people at a terminal; Python's curses has the
  terminals it needs from ncurses-base, which ``slim`` therefore holds.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from trainload.errors import ConfigError, Text
from trainload.values import dataclass, replace

_CORE = (
    "base-files",  # /etc/os-release, the folders of the system
    "base-passwd",  # the masters of /etc/passwd and /etc/group
    "ca-certificates",
    "libc-bin",  # ldconfig, getent, the C.UTF-8 locale
    "libgomp1",  # lightgbm's wheel expects it; those of torch and scikit-learn bring their own
    "libstdc++6",  # manylinux wheels expect it and libgcc (PEP 599): 11 of 12 large ones we looked into
    "netbase",  # /etc/protocols and /etc/services, for getaddrinfo and torch's rendezvous
    "python3",
    "python3-distutils",  # the standard library's distutils, which a distribution up to Python 3.11 splits off
    "tini",  # reaps and forwards signals as process 1
    "tzdata",
    "tzdata-legacy",  # names such as US/Pacific, where a distribution splits them off
)
_SHELL = (
    "bash", "coreutils", "dash", "findutils", "grep", "gzip", "ncurses-base", "sed", "tar",
)  # fmt: skip
_DEV = ("apt", "curl", "git", "less", "procps", "vim-tiny")

_FOR_SCRIPTS_ONLY = frozenset(
    {
        ("*", "debconf"),  # asks questions in maintainer scripts
        ("base-files", "awk"),  # its postinst
        ("ca-certificates", "openssl"),  # update-ca-certificates; we write the bundle
        ("python3-minimal", "dpkg"),  # its postinst
        ("readline-common", "dpkg"),  # install-info's trigger
    }
)


@dataclass(frozen=True, slots=True)
class Contents:
    """A profile's wishes."""

    packages: tuple[str, ...]
    optional: frozenset[str] = frozenset({"python3-distutils", "tzdata-legacy"})
    """Only where the distribution has them."""
    essential: bool = False
    """Every Essential package too."""
    ignored: frozenset[tuple[str, str]] = frozenset()
    """(package or ``*``, dependency) that only maintainer scripts use: left out."""

    def without_python(self) -> Contents:
        """For packages that bring their own."""
        return replace(self, packages=tuple(name for name in self.packages if not name.startswith("python3")))

    def wishes(self, names: Container[str], essential: tuple[str, ...]) -> tuple[str, ...]:
        """What to ask for, given the names a distribution has and its Essential packages; sorted."""
        wanted = {name for name in self.packages if name not in self.optional or name in names}
        return tuple(sorted(wanted | set(essential if self.essential else ())))


PROFILES: Mapping[str, Contents] = {
    "slim": Contents(_CORE + _SHELL),
    "dev": Contents(_CORE + _SHELL + _DEV, essential=True),
    "distroless": Contents(_CORE, ignored=_FOR_SCRIPTS_ONLY),
}


def profile(name: str) -> Contents:
    """The profile called ``name``. Raises :class:`ConfigError` for another."""
    if name not in PROFILES:
        raise ConfigError(Text("{profile} is not a profile", profile=name), want=", ".join(PROFILES))
    return PROFILES[name]
