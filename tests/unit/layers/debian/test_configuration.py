"""What dpkg is told before it configures, and what is kept of its work."""

from __future__ import annotations

import pytest

from trainload.layers.debian.configuration import (
    Failure,
    failures,
    left_out,
    not_installed,
    owner,
    to_configure,
    unpacked,
    without_dates,
)

STATUS = b"""Package: one
Status: install ok installed
Version: 1
Description: says
 Status: install ok installed

Package: two
Status: install ok installed
Version: 2

"""
OUTPUT = """Setting up fine (1) ...
Setting up one (1) ...
first
one.postinst: 3: no-such: not found
dpkg: error processing package one (--configure):
 installed one package post-installation script subprocess returned error exit status 127
dpkg: dependency problems prevent configuration of two:
 two depends on one; however:
  Package one is not configured yet.

dpkg: error processing package two (--configure):
 dependency problems - leaving unconfigured
Processing triggers for libc-bin (2.36-9) ...
Errors were encountered while processing:
 one
 two
"""


def test_only_packages_whose_postinst_does_what_is_not_modelled_are_configured() -> None:
    scripts = {
        "zeta": b"#!/bin/sh\nset -e\nmake-something\n",
        "alpha": b"#!/bin/sh\ncreate-it /var/x\n",
        "idle": b"#!/bin/sh\nset -e\nexit 0\n",
        "libc-bin": b"#!/bin/sh\nmodelled-elsewhere\n",
    }
    assert to_configure(scripts) == ("alpha", "zeta")


def test_packages_to_configure_are_unpacked_and_the_others_stay_as_they_are() -> None:
    changed = unpacked(STATUS, {"one"})
    assert changed == STATUS.replace(b"Status: install ok installed", b"Status: install ok unpacked", 1)
    assert not_installed(changed) == ("one",)
    assert not_installed(STATUS) == ()


def test_the_package_whose_script_failed_is_named_and_not_those_that_wait_for_it() -> None:
    assert failures(OUTPUT) == (Failure("one", ("first", "one.postinst: 3: no-such: not found")),)
    assert failures("Setting up fine (1) ...\n") == ()


@pytest.mark.parametrize(
    "path",
    [
        "var/log/dpkg.log", "var/cache/ldconfig/aux-cache", "etc/passwd-", "etc/.pwd.lock", "etc/machine-id",
        "var/cache/debconf/config.dat-old", "var/lib/dpkg/status-old", "var/lib/dpkg/lock", "tmp/x", "run/lock/x",
        "usr/share/fonts/truetype/.uuid", "var/cache/fontconfig/0c6d36b5-1dec-48cc-b295-b390e33acf0a-le64.cache-7",
        "etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "usr/lib/python3/dist-packages/a/__pycache__",
    ],
)  # fmt: skip
def test_what_differs_from_day_to_day_or_is_secret_is_left_out(path: str) -> None:
    assert left_out(path)


@pytest.mark.parametrize(
    "path",
    [
        "tmp",
        "run",
        "var/log",
        "etc/passwd",
        "var/lib/dpkg/status",
        "etc/ssh",
        "var/cache/debconf/config.dat",
        "var/cache/fontconfig/d589a48862398ed80a3d6066f4f56f4c-le64.cache-8",
    ],
)
def test_everything_else_is_kept(path: str) -> None:
    assert not left_out(path)


def test_accounts_have_no_day_of_change() -> None:
    assert without_dates(b"root:*:20000:0:99999:7:::\nada:!:1::::::\n") == b"root:*::0:99999:7:::\nada:!:::::::\n"


def test_a_path_belongs_to_the_package_that_lists_it() -> None:
    lists = {"one": b"/.\n/etc\n/etc/one\n", "two": b"/.\n/etc/on\n"}
    assert owner("etc/one", lists) == "one"
    assert owner("etc/o", lists) == ""
