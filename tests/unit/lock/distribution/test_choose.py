"""The rules by which apt chooses, one by one on small indexes."""

from __future__ import annotations

import pytest

from trainload.errors import LockError
from trainload.lock.distribution import stanzas
from trainload.lock.distribution.choose import choose
from trainload.lock.distribution.index import Index, Records
from trainload.lock.distribution.solver import Bounds
from trainload.testing.archive import stanza


def index(*packages: str, **suites: str) -> Index:
    """Stanzas of one suite; ``suites`` hold more by name, listed after it."""
    texts = {"stable": "\n".join(packages), **suites}
    return Index(
        [Records("debian", name, b"".join(stanzas.compact([text.encode()], name))) for name, text in texts.items()]
    )


def names(found: Index, *wishes: str, ignored: frozenset[tuple[str, str]] = frozenset()) -> list[str]:
    return [stanza.name for stanza in choose(found, "amd64", wishes, ignored=ignored)]


def test_dependencies_and_pre_dependencies_are_followed_recommendations_are_not() -> None:
    found = index(
        stanza("app", "1", "Depends: lib", "Pre-Depends: tool", "Recommends: docs"),
        stanza("lib"), stanza("tool"), stanza("docs"),
    )  # fmt: skip
    assert names(found, "app") == ["app", "lib", "tool"]


def test_the_first_alternative_that_can_be_had_is_taken() -> None:
    found = index(
        stanza("app", "1", "Depends: gone | broken | good"), stanza("broken", "1", "Depends: gone"), stanza("good")
    )
    assert names(found, "app") == ["app", "good"]


def test_an_alternative_that_is_wished_for_is_enough() -> None:
    found = index(stanza("app", "1", "Depends: first | second"), stanza("first"), stanza("second"))
    assert names(found, "app") == ["app", "first"]
    assert names(found, "app", "second") == ["app", "second"]


def test_a_failed_alternative_leaves_nothing_behind() -> None:
    found = index(
        stanza("app", "1", "Depends: big | small"),
        stanza("big", "1", "Depends: part, blocked"), stanza("part"),
        stanza("blocked", "1", "Depends: deep"), stanza("deep", "1", "Depends: gone"), stanza("small"),
    )  # fmt: skip
    assert names(found, "app") == ["app", "small"]


def test_the_newest_version_of_all_suites_is_the_candidate() -> None:
    found = index(stanza("aa", "1.0-1"), security=stanza("aa", "1.0-1+deb12u1"), updates=stanza("aa", "1.0-1+b1"))
    assert [s.version for s in choose(found, "amd64", ["aa"])] == ["1.0-1+deb12u1"]


def test_a_version_or_a_suite_can_be_wished_for() -> None:
    found = index(stanza("aa", "1"), security=stanza("aa", "2"))
    assert [s.version for s in choose(found, "amd64", ["aa=1"])] == ["1"]
    assert [s.version for s in choose(found, "amd64", ["aa/stable"])] == ["1"]
    assert [s.version for s in choose(found, "amd64", ["aa:amd64=2"])] == ["2"]
    with pytest.raises(LockError, match=r"the distribution has no aa=3; want 2 \(security\), 1 \(stable\)"):
        choose(found, "amd64", ["aa=3"])


def test_a_suite_wished_for_brings_what_the_newest_versions_do_not_satisfy() -> None:
    def release(version: str) -> str:
        return "\n".join([
            stanza("curl", version, f"Depends: libcurl (= {version}), libc"),
            stanza("libcurl", version, f"Depends: libcurl-data (= {version})"),
            stanza("libcurl-data", version), stanza("libc", version),
        ])  # fmt: skip

    found = index(release("1"), security=release("2"))
    chosen = {s.name: s.version for s in choose(found, "amd64", ["curl/stable"])}
    assert chosen == {"curl": "1", "libcurl": "1", "libcurl-data": "1", "libc": "2"}
    with pytest.raises(LockError, match=r"curl cannot be installed; got curl 1 → libcurl \(= 1\)"):
        choose(found, "amd64", ["curl=1"])


def test_versioned_relations_look_at_the_version_that_is_chosen() -> None:
    found = index(stanza("app", "1", "Depends: lib (>= 2) | other"), stanza("lib", "1"), stanza("other"))
    assert names(found, "app") == ["app", "other"]


def test_a_versioned_relation_is_satisfied_by_a_versioned_provides_only() -> None:
    need = stanza("app", "1", "Depends: api (= 5)")
    assert names(index(need, stanza("impl", "9", "Provides: api (= 5)")), "app") == ["app", "impl"]
    with pytest.raises(LockError, match=r"app cannot be installed; got app 1 → api \(= 5\)"):
        names(index(need, stanza("impl", "9", "Provides: api")), "app")


def test_of_several_providers_the_more_important_one_then_the_one_mentioned_last_is_taken() -> None:
    need = stanza("app", "1", "Depends: awk")
    providers = [stanza("gawk", "1", "Provides: awk"), stanza("mawk", "1", "Provides: awk", Priority="required")]
    assert names(index(need, *providers), "app") == ["app", "mawk"]
    equal = [stanza(name, "1", "Provides: awk") for name in ("aawk", "bawk", "cawk")]
    assert names(index(need, *equal), "app") == ["app", "cawk"]
    early = stanza("aaa", "1", "Suggests: cawk")
    assert names(index(early, need, *equal), "app") == ["app", "bawk"]


def test_the_named_package_comes_before_its_providers() -> None:
    found = index(
        stanza("app", "1", "Depends: awk"), stanza("awk"), stanza("zawk", "1", "Provides: awk", Priority="required")
    )
    assert names(found, "app") == ["app", "awk"]


def test_what_a_wish_excludes_is_no_candidate() -> None:
    found = index(
        stanza("app", "1", "Depends: mta"), stanza("mini", "1", "Conflicts: exim"),
        stanza("exim", "1", "Provides: mta", Priority="important"), stanza("null", "1", "Provides: mta"),
    )  # fmt: skip
    assert names(found, "app") == ["app", "exim"]
    assert names(found, "mini", "app") == ["app", "mini", "null"]


def test_a_package_does_not_exclude_itself_by_what_it_provides() -> None:
    found = index(stanza("exim", "1", "Provides: mta", "Conflicts: mta"))
    assert names(found, "exim") == ["exim"]


def test_wishes_that_exclude_each_other_are_told_by_name() -> None:
    found = index(stanza("aa", "1", "Breaks: bb (<< 2)"), stanza("bb", "1"))
    with pytest.raises(LockError, match=r"aa and bb cannot be installed together; got aa 1 excludes bb \(<< 2\)"):
        names(found, "aa", "bb")
    assert names(index(stanza("aa", "1", "Breaks: bb (<< 2)"), stanza("bb", "2")), "aa", "bb") == ["aa", "bb"]


def test_any_is_for_packages_that_allow_it_and_native_is_this_architecture() -> None:
    allowed = stanza("python3", "1", Multi_Arch="allowed")
    assert names(index(stanza("aa", "1", "Depends: python3:any"), allowed), "aa") == ["aa", "python3"]
    assert names(index(stanza("aa", "1", "Depends: python3:native"), stanza("python3")), "aa") == ["aa", "python3"]
    for need in ("python3:any", "python3:arm64"):
        with pytest.raises(LockError, match="aa cannot be installed"):
            names(index(stanza("aa", "1", f"Depends: {need}"), stanza("python3")), "aa")


def test_cycles_end() -> None:
    found = index(
        stanza("aa", "1", "Depends: bb"), stanza("bb", "1", "Depends: cc"), stanza("cc", "1", "Depends: aa")
    )
    assert names(found, "bb") == ["aa", "bb", "cc"]


def test_a_virtual_package_is_its_only_provider_or_a_question() -> None:
    one = stanza("exim", "1", "Provides: mta")
    assert names(index(one), "mta") == ["exim"]
    with pytest.raises(LockError, match="mta is a virtual package; .* want exim, postfix"):
        names(index(one, stanza("postfix", "1", "Provides: mta")), "mta")


def test_an_unknown_package_is_told_with_near_names() -> None:
    found = index(stanza("libgl1"), stanza("libglib2.0-0"), stanza("ffmpeg"))
    with pytest.raises(LockError, match="has no package libgl\nhint: did you mean libgl1"):
        names(found, "libgl")
    with pytest.raises(LockError, match="has no package ffmpge\nhint: did you mean ffmpeg"):
        names(found, "ffmpge")


@pytest.mark.parametrize("wish", ["../x", "a b", "a=", "a/", "-y", "a+b=", "A", ""])
def test_D09_a_wish_outside_the_grammar_is_refused(wish: str) -> None:
    with pytest.raises(LockError, match="is not the name of a distribution package"):
        names(index(stanza("aa")), wish)


def test_a_wish_for_another_architecture_is_refused() -> None:
    with pytest.raises(LockError, match="aa:armhf is of another architecture"):
        names(index(stanza("aa")), "aa:armhf")


def test_a_dependency_that_nothing_satisfies_is_told_as_a_chain() -> None:
    found = index(stanza("app", "1", "Depends: lib"), stanza("lib", "2", "Depends: gone (>= 3) | lost"))
    with pytest.raises(LockError, match=r"app cannot be installed; got app 1 → lib 2 → gone \(>= 3\) \| lost"):
        names(found, "app")


def test_what_only_maintainer_scripts_use_can_be_ignored() -> None:
    found = index(
        stanza("certs", "1", "Depends: openssl, debconf | debconf-2.0"), stanza("openssl"), stanza("debconf")
    )
    assert names(found, "certs", ignored=frozenset({("certs", "openssl"), ("*", "debconf")})) == ["certs"]
    assert names(found, "certs", "openssl", ignored=frozenset({("certs", "openssl")})) == [
        "certs",
        "debconf",
        "openssl",
    ]


def test_D17_a_virtual_package_bomb_is_bounded() -> None:
    """Each of 40 levels can be satisfied in 40 ways that all fail at the end."""
    levels = [
        stanza(f"p{level}x{way}", "1", f"Provides: v{level}", f"Depends: v{level + 1}")
        for level in range(40)
        for way in range(40)
    ]
    found = index(stanza("app", "1", "Depends: v0"), *levels)
    with pytest.raises(LockError, match="app cannot be installed|do not end"):
        choose(found, "amd64", ["app"], bounds=Bounds(marks=20_000))


@pytest.mark.parametrize(("length", "ends"), [(98, True), (99, False)])
def test_D17_depth_is_bounded_exactly(length: int, ends: bool) -> None:
    chain = [stanza(f"p{i}", "1", f"Depends: p{i + 1}") for i in range(length)]
    found = index(*chain, stanza(f"p{length}"))
    if ends:
        assert len(choose(found, "amd64", ["p0"], bounds=Bounds(depth=99))) == length + 1
    else:
        with pytest.raises(LockError, match="the dependencies of p0 do not end"):
            choose(found, "amd64", ["p0"], bounds=Bounds(depth=99))
