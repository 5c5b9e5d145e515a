"""What must be placed so that a base image has what is wished for: as apt would with its status."""

from __future__ import annotations

import pytest

from trainload.errors import LockError
from trainload.lock.distribution.index import Index, Records
from trainload.lock.distribution.installed import choose_over, installed
from trainload.lock.distribution.recommends import choose_like_apt, upgraded
from trainload.lock.distribution.stanzas import compact
from trainload.testing.archive import stanza


def index(*stanzas: str) -> Index:
    data = b"".join(compact(["\n".join(stanzas).encode() + b"\n"], "Packages"))
    return Index([Records("ubuntu", "jammy", data)])


def has(name: str, version: str = "1.0-1", *lines: str, of: str = "amd64", state: str = "installed") -> str:
    head = f"Package: {name}\nStatus: install ok {state}\nVersion: {version}\nArchitecture: {of}\n"
    return head + "".join(f"{line}\n" for line in lines) + "Description: x\n y\n"


def placed(wishes: list[str], status: list[str], *stanzas: str) -> dict[str, str]:
    base = installed("\n".join(status), "amd64")
    return {one.name: one.version for one in choose_over(index(*stanzas), "amd64", wishes, base)}


def test_only_installed_packages_of_the_architecture_count() -> None:
    status = [has("aa"), has("bb", state="config-files"), has("cc", of="i386"), has("dd", of="all"), "junk"]
    assert sorted(installed("\n".join(status), "amd64")) == ["aa", "dd"]


def test_what_the_base_has_is_not_placed_again_and_needs_nothing_more() -> None:
    status = [has("libc6", "2.35-1"), has("curl", "1.0-1", "Depends: gone")]
    git = stanza("git", "2.0-1", "Depends: libc6 (>= 2.30), curl")
    assert placed(["git", "curl"], status, git, stanza("libc6", "2.35-9"), stanza("curl", "9")) == {"git": "2.0-1"}


def test_an_older_version_is_replaced_with_all_that_goes_with_it_and_no_more() -> None:
    status = [
        has("perl-base", "5.34-1"), has("perl-tools", "5.34-1", "Depends: perl-base (= 5.34-1)"), has("other", "1"),
    ]  # fmt: skip
    found = placed(
        ["git"], status,
        stanza("git", "2.0-1", "Depends: perl"), stanza("perl", "5.34-2", "Depends: perl-base (= 5.34-2)"),
        stanza("perl-base", "5.34-2"), stanza("perl-tools", "5.34-2", "Depends: perl-base (= 5.34-2)"),
        stanza("other", "2"),
    )  # fmt: skip
    assert found == {"git": "2.0-1", "perl": "5.34-2", "perl-base": "5.34-2", "perl-tools": "5.34-2"}


def test_a_package_of_the_base_that_a_new_one_breaks_is_replaced() -> None:
    new = stanza("new", "2.0-1", "Breaks: lib (<< 2)")
    assert placed(["new"], [has("lib", "1.0-1")], new, stanza("lib", "2.0-1")) == {"new": "2.0-1", "lib": "2.0-1"}


def test_a_package_of_another_maker_that_does_not_go_with_a_wish_is_refused_by_name() -> None:
    status = [has("cuda-compat", "550", "Depends: lib (= 1)"), has("lib", "1")]
    with pytest.raises(LockError, match="cuda-compat of the base does not go with git") as caught:
        placed(["git"], status, stanza("git", "2.0-1", "Depends: lib (>= 2)"), stanza("lib", "2"))
    assert caught.value.got == "cuda-compat 550"


def test_a_version_that_is_asked_for_is_placed_unless_it_is_there() -> None:
    there = [stanza("tini", "0.19-1"), stanza("tini", "0.20-1")]
    assert placed(["tini=0.19-1"], [has("tini", "0.18-1")], *there) == {"tini": "0.19-1"}
    assert placed(["tini=0.19-1"], [has("tini", "0.19-1")], *there) == {}


def test_what_the_base_provides_satisfies() -> None:
    status = [has("mawk", "1.0-1", "Provides: awk")]
    there = stanza("xx", "1", "Depends: awk"), stanza("mawk", "1.0-1", "Provides: awk")
    assert placed(["xx"], status, *there) == {"xx": "1"}


def test_what_the_base_provides_is_enough_where_a_package_of_that_name_is_to_be_had() -> None:
    # bookworm: supervisor needs lsb-base, which sysvinit-utils provides and an old package is still called
    status = [has("sysvinit-utils", "3.06-4", "Provides: lsb-base (= 11.1)"), has("mawk", "1", "Provides: awk")]
    there = (
        stanza("sysvinit-utils", "3.06-4", "Provides: lsb-base (= 11.1)"), stanza("lsb-base", "11.6"),
        stanza("mawk", "1", "Provides: awk"), stanza("gawk", "5", "Provides: awk"),
        stanza("supervisor", "4", "Depends: lsb-base (>= 3.0), gawk | awk"),
        stanza("later", "1", "Depends: lsb-base (>= 11.5)"),
    )  # fmt: skip
    assert placed(["supervisor"], status, *there) == {"supervisor": "4"}
    assert placed(["later"], status, *there) == {"later": "1", "lsb-base": "11.6"}


def test_what_nothing_satisfies_is_told_with_the_chain() -> None:
    with pytest.raises(LockError, match="git cannot be installed") as caught:
        placed(["git"], [has("libc6")], stanza("git", "2.0-1", "Depends: nothing-has-this"))
    assert "nothing-has-this" in str(caught.value.got)


def test_two_wishes_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(LockError, match="cannot be installed"):
        placed(["aa", "bb"], [], stanza("aa", "1", "Conflicts: bb"), stanza("bb", "1"))


def upgrade(status: list[str], *stanzas: str, new: bool = False, recommends: bool = True) -> dict[str, str]:
    base = installed("\n".join(status), "amd64")
    found = upgraded(index(*stanzas), "amd64", base, recommends=recommends, new=new)
    return {one.name: one.version for one in found}


def test_an_upgrade_brings_the_newest_of_what_is_there_and_nothing_else() -> None:
    status = [has("aa", "1.0-1", "Depends: bb"), has("bb", "2.0-1"), has("own", "9.0-1")]
    there = stanza("aa", "1.0-2", "Depends: bb"), stanza("bb", "2.0-1"), stanza("own", "8.0-1"), stanza("cc", "1")
    assert upgrade(status, *there) == {"aa": "1.0-2"}
    assert upgrade(status, stanza("aa", "1.0-1", "Depends: bb")) == {}


def test_new_packages_come_only_with_a_whole_upgrade() -> None:
    status = [has("aa", "1.0-1")]
    there = stanza("aa", "2.0-1", "Depends: lib", "Recommends: more"), stanza("lib", "1"), stanza("more", "1")
    with pytest.raises(LockError, match="an upgrade needs new packages: lib"):
        upgrade(status, *there)
    assert upgrade(status, *there, new=True) == {"aa": "2.0-1", "lib": "1", "more": "1"}
    assert upgrade(status, *there, new=True, recommends=False) == {"aa": "2.0-1", "lib": "1"}


def test_a_version_with_a_star_is_the_newest_that_begins_so() -> None:
    there = stanza("git", "1:2.39-1"), stanza("git", "1:2.40-1"), stanza("git", "2:1.0-1")
    assert placed(["git=1:2*"], [], *there) == {"git": "1:2.40-1"}
    with pytest.raises(LockError, match="3\\*"):
        placed(["git=3*"], [], *there)


def test_what_only_one_package_is_leaves_no_choice() -> None:
    """git recommends ssh-client, which is no package: openssh-client alone provides it."""
    git = stanza("git", "2", "Recommends: gone | ssh-client | ssh-server")
    client, other = (stanza(name, "1", "Provides: ssh-client") for name in ("openssh-client", "dropbear"))
    servers = [stanza(name, "1", "Provides: ssh-server") for name in ("openssh-server", "tinyssh")]
    status = "\n".join([has("base")])
    base = installed(status, "amd64")
    chosen = choose_like_apt(index(git, client, *servers), "amd64", ["git"], base, recommends=True)
    assert sorted(one.name for one in chosen) == ["git", "openssh-client"]
    with pytest.raises(LockError, match="leaves a choice"):
        choose_like_apt(index(git, client, other), "amd64", ["git"], base, recommends=True)
