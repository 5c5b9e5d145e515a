"""Laws of a base made of packages (THREATS D05, D06, D08–D10, D16, D5); packages are made by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.errors import FetchError, LayerError
from trainload.events import Event, Moved, Said
from trainload.layers.debian import index as indexing
from trainload.layers.debian.base import Cost, write_base
from trainload.layers.debian.scripts import effective_lines
from trainload.layers.model import Written
from trainload.layers.user import write_user
from trainload.limits import DEFAULT
from trainload.plan.base import bare
from trainload.plan.key import recipe_key
from trainload.plan.model import BaseRecipe, UserRecipe
from trainload.testing.debs import Item, MadeDeb, MadeSources

MASTERS = (
    Item("./usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\nmail:*:8:8:mail:/v:/n\n"),
    Item("./usr/share/base-passwd/group.master", b"root:*:0:\nshadow:*:42:\nmail:*:8:\nstaff:*:50:\n"),
)
PASSWD = MadeDeb("base-passwd").lists(*MASTERS)

Tree = dict[str, tarfile.TarInfo]


class Listening(list[str]):
    def report(self, event: Event) -> None:
        if isinstance(event, Said):
            self.append(str(event.text))


@pytest.fixture
def sources(tmp_path: Path) -> MadeSources:
    return MadeSources(tmp_path)


def recipe(sources: MadeSources, *debs: MadeDeb, profile: str = "slim") -> BaseRecipe:
    packages = sorted(sources.lock(deb) for deb in debs)
    return BaseRecipe("debian", "bookworm", profile, "amd64", (), tuple(packages))


def written(sources: MadeSources, *debs: MadeDeb, profile: str = "slim") -> tuple[Written, bytes]:
    out = io.BytesIO()
    made = write_base(recipe(sources, *debs, profile=profile), sources, out)
    return made, out.getvalue()


def tree(layer: bytes) -> Tree:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        return {info.name: info for info in archive}


def content(layer: bytes, path: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        file = archive.extractfile(path)
        assert file is not None
        return file.read()


def made(sources: MadeSources, *debs: MadeDeb, profile: str = "slim") -> Tree:
    return tree(written(sources, *debs, profile=profile)[1])


def refused(sources: MadeSources, *debs: MadeDeb, reason: str) -> str:
    out = io.BytesIO()
    with pytest.raises(LayerError, match=reason) as caught:
        write_base(recipe(sources, *debs), sources, out)
    assert out.getvalue() == b"", "nothing was written"
    return str(caught.value)


def deb(*items: Item, name: str = "one", **fields: str) -> MadeDeb:
    return MadeDeb(name, fields={key.replace("_", "-"): value for key, value in fields.items()}).lists(*items)


def test_files_keep_their_modes_and_owners_setuid_included(sources: MadeSources) -> None:
    found = made(
        sources,
        PASSWD,
        deb(
            Item("./usr/bin/su", b"su", 0o4755),
            Item("./usr/bin/write", b"w", 0o2755, owner=(0, 5, "root", "tty")),
            Item("./var/mail/", mode=0o2775, owner=(0, 99, "root", "mail")),
        ),
    )
    assert (found["usr/bin/su"].mode, found["usr/bin/su"].uid) == (0o4755, 0)
    assert (found["usr/bin/write"].mode, found["usr/bin/write"].gid) == (0o2755, 5)
    assert (found["var/mail"].mode, found["var/mail"].gid) == (0o2775, 8), "by name, as dpkg does"
    assert {info.uname for info in found.values()} == {""}
    assert {info.mtime for info in found.values()} == {0}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Item("./../../etc/passwd", b"x"), "leads outside"),
        (Item("/etc/passwd", b"x"), "absolute"),
        (Item("./etc/link", link="../../../../x"), "leads outside"),
        (Item("./etc/hard", hard="./etc/none"), "no earlier file"),
        (Item("./etc/hard", hard="/etc/passwd"), "no earlier file"),
        (Item("./etc/bad\nname", b"x"), "control characters"),
        (Item("./etc/.wh.passwd", b"x"), "deletion"),
    ],
)
def test_D05_names_and_links_that_leave_the_package_are_refused(
    sources: MadeSources, item: Item, reason: str
) -> None:
    out = io.BytesIO()
    with pytest.raises(LayerError, match=reason):
        write_base(recipe(sources, MadeDeb("one", [Item("./etc/"), item])), sources, out)


def test_D05_a_hard_link_to_a_symbolic_link_is_refused(sources: MadeSources) -> None:
    hostile = deb(Item("./etc/a", link="/etc/shadow"), Item("./etc/b", hard="./etc/a"))
    refused(sources, hostile, reason="no earlier file")


def test_D05_a_hard_link_to_a_later_file_is_refused(sources: MadeSources) -> None:
    refused(sources, deb(Item("./etc/a", hard="./etc/b"), Item("./etc/b", b"x")), reason="no earlier file")


def test_hard_links_stay_hard_links(sources: MadeSources) -> None:
    _, layer = written(sources, deb(Item("./bin/perl", b"perl", 0o755), Item("./usr/bin/perl5", hard="./bin/perl")))
    assert tree(layer)["usr/bin/perl5"].linkname == "usr/bin/perl"
    assert content(layer, "usr/bin/perl5") == b"perl"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_D06_devices_and_pipes_are_refused(sources: MadeSources, kind: bytes) -> None:
    refused(sources, deb(Item("./dev/null", kind=kind)), reason="is not accepted")


def test_D08_odd_modes_of_folders_are_only_data(sources: MadeSources) -> None:
    found = made(sources, deb(Item("./opt/shut/", mode=0), Item("./opt/shut/file", b"x", 0)))
    assert (found["opt/shut"].mode, found["opt/shut/file"].mode) == (0, 0)


def test_D09_a_package_that_is_not_the_locked_one_is_refused(sources: MadeSources) -> None:
    locked = sources.lock(deb(Item("./a", b"x")))
    other = replace(locked, version="2.0-1")
    with pytest.raises(LayerError, match="not the locked one"):
        write_base(BaseRecipe("debian", "bookworm", "slim", "amd64", (), (other,)), sources, io.BytesIO())


def test_D10_scripts_are_never_run_and_told_by_name(sources: MadeSources, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    script = f"#!/bin/sh\nset -e\ntouch {mark}\n"
    heard = Listening()
    odd = replace(deb(Item("./a", b"x"), name="odd"), scripts={"postinst": script, "preinst": script})
    harmless = '#!/bin/sh\nset -e\n# nothing\nif [ "$1" = configure ]; then\n    ldconfig\nfi\nexit 0\n'
    quiet = replace(deb(Item("./b", b"x"), name="quiet"), scripts={"postinst": harmless})
    write_base(recipe(sources, odd, quiet), sources, io.BytesIO(), heard)
    assert not mark.exists()
    assert [line.partition(":")[0] for line in heard] == ["odd", "odd"]
    assert "touch" in heard[0]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("cat > /etc/x <<EOF\nrm is text here\nEOF\nexit $?\n", ["cat > /etc/x <<EOF"]),
        ("make_it() {\n  mkdir -p /var/lib/x\n}\nmake_it $1 || return 0\n", ["mkdir -p /var/lib/x"]),
        ("make_it() {\n  :\n}\nmake_it >/etc/x\n", ["make_it >/etc/x"]),
        ("getent group rdma >/dev/null || addgroup --system rdma\n", None),
        ('case "$1" in\n  "/usr/lib/x"|*.so) ;;\n  *) return 1;;\n  gtk) # with windows\nesac\n', []),
        ("exit $?\n: # nothing\nexec >&2\ncd /tmp\n. /etc/default/x\nreadonly A=1\n", []),
        ("udevadm trigger --action=change || true\ndpkg-trigger --no-await update-initramfs\n", []),
        ("[ -e $LG ] && rm -f $LG\ntest -e /etc/x &&\n  mv /etc/x /etc/y\n", ["mv /etc/x /etc/y"]),
        ("chown root:root /etc/sudoers\nchmod 440 /etc/sudoers\n", ["chmod 440 /etc/sudoers"]),
        ("find /x -name a | while read link; do\n  ln -s $link /y\ndone\n", ["ln -s $link /y"]),
    ],
)
def test_D10_what_is_told_of_a_script_is_a_line_that_does_something(script: str, told: list[str] | None) -> None:
    lines = effective_lines(f"#!/bin/sh\nset -e\n{script}".encode())
    assert lines == (script.splitlines() if told is None else told)


def test_D10_byte_compilation_is_the_bytecode_layers_business_and_no_warning(sources: MadeSources) -> None:
    script = """#!/bin/sh
set -e
case "$1" in
    configure)
        files=$(dpkg -L python3-odd | sed -n '/\\.py$/p')
        for python in $(py3versions -s); do
            [ -x /usr/bin/$python ] || continue
            /usr/bin/$python -E -S /usr/lib/$python/py_compile.py $files
            if grep -sq '^byte-compile[^#]*optimize' /etc/python3/debian_config; then
                /usr/bin/$python -E -S -O /usr/lib/$python/py_compile.py $files
            fi
            python3 -m compileall -q /usr/lib/python3/dist-packages/odd
        done
    ;;
esac
"""
    heard = Listening()
    odd = replace(deb(Item("./a", b"x"), name="odd"), scripts={"postinst": script})
    write_base(recipe(sources, odd), sources, io.BytesIO(), heard)
    assert heard == []


def test_a_new_python_is_noted_as_its_preinst_does(sources: MadeSources) -> None:
    _, layer = written(sources, PASSWD, deb(name="python3.11-minimal"), deb(name="python3"))
    found = tree(layer)
    assert found["var/lib/python/python3.11_installed"].size == 0
    assert found["usr/local/lib/python3.11/dist-packages"].isdir()
    assert b"# how to byte-compile" in content(layer, "etc/python3/debian_config")


def test_progress_is_told_of_the_recipes_task_and_only_that(sources: MadeSources) -> None:
    class Hearing(list[Event]):
        def report(self, event: Event) -> None:
            self.append(event)

    heard = Hearing()
    asked = recipe(sources, PASSWD, deb(Item("./a", b"x"), name="other"))
    write_base(asked, sources, io.BytesIO(), heard)
    sizes = [package.file.size or 0 for package in asked.packages]
    assert heard == [Moved(str(recipe_key(asked)), sum(sizes[: n + 1])) for n in range(len(sizes))]


def test_D16_files_of_an_unmerged_package_go_where_the_links_lead(sources: MadeSources) -> None:
    found = made(
        sources,
        deb(
            Item("./bin/ls", b"ls", 0o755),
            Item("./lib/x86_64-linux-gnu/libc.so.6", b"c"),
            Item("./lib64/ld.so", link="/lib/x86_64-linux-gnu/ld.so"),
            Item("./sbin/", mode=0o755),
        ),
    )
    assert {name: found[name].linkname for name in ("bin", "lib", "lib64", "sbin")} == {
        "bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin",
    }  # fmt: skip
    assert found["usr/bin/ls"].isfile()
    assert found["usr/lib/x86_64-linux-gnu/libc.so.6"].isfile()
    assert found["usr/lib64/ld.so"].issym()
    assert not any(name.startswith(("bin/", "lib/", "lib64/")) for name in found)


def test_D16_two_spellings_of_one_place_are_two_owners(sources: MadeSources) -> None:
    one, two = deb(Item("./bin/x", b"1")), deb(Item("./usr/bin/x", b"2"), name="two")
    assert "two" in refused(sources, one, two, reason="two packages bring /usr/bin/x")
    refused(sources, deb(Item("./bin/x", b"1"), Item("./usr/bin/x", b"1")), reason="twice once /usr is merged")


def test_D16_a_link_that_leads_to_itself_once_merged_is_refused(sources: MadeSources) -> None:
    refused(sources, deb(Item("./bin/x", link="/usr/bin/x")), reason="leads to itself")


def test_D16_a_file_or_another_link_in_place_of_a_merged_folder_is_refused(sources: MadeSources) -> None:
    refused(sources, MadeDeb("one", [Item("./bin", b"x")]), reason="must be a directory")
    refused(sources, MadeDeb("one", [Item("./lib", link="/opt")]), reason="does not lead to usr/lib")


@pytest.mark.parametrize(
    "item",
    [Item("./usr", link="/etc"), Item("./var", b"x"), Item("./etc", link="usr"), Item("./usr/lib", link="x")],
)
def test_D16_a_folder_of_the_system_becomes_nothing_else(sources: MadeSources, item: Item) -> None:
    other = deb(Item("./usr/share/a", b"a"), name="other")
    for packages in ((MadeDeb("one", [item]),), (other, MadeDeb("two", [item])), (MadeDeb("one", [item]), other)):
        refused(sources, *packages, reason="must be a directory")


@pytest.mark.parametrize("item", [Item("./", link="/tmp"), Item(".", b"x")])
def test_D05_the_root_of_a_package_is_a_directory(sources: MadeSources, item: Item) -> None:
    if item.link:
        item = replace(item, name=".")
    refused(sources, MadeDeb("one", [item]), reason="the root of the package is no directory")


def test_D16_a_link_to_a_folder_is_kept_where_another_package_has_the_folder(sources: MadeSources) -> None:
    one = deb(Item("./usr/share/real/a", b"a"), Item("./usr/share/alias", link="real"))
    two = deb(Item("./usr/share/alias/b", b"b"), name="two")
    found = made(sources, one, two)
    assert found["usr/share/alias"].issym()
    assert found["usr/share/real/b"].isfile()


def test_D16_a_folder_behind_a_link_to_a_file_is_refused(sources: MadeSources) -> None:
    one = deb(Item("./usr/share/file", b"a"), Item("./usr/share/alias", link="file"))
    refused(sources, one, deb(Item("./usr/share/alias/"), name="two"), reason="is a directory of one package")


def test_D16_links_in_a_circle_are_refused(sources: MadeSources) -> None:
    one = deb(Item("./usr/share/a", link="b"), Item("./usr/share/b", link="a"))
    refused(sources, one, deb(Item("./usr/share/a/x", b"x"), name="two"), reason="circle")


def test_a_path_of_two_packages_is_refused_unless_it_is_the_same(sources: MadeSources) -> None:
    one = deb(Item("./usr/share/x", b"1"))
    message = refused(sources, one, deb(Item("./usr/share/x", b"2"), name="two"), reason="two packages bring")
    assert "one" in message
    refused(sources, one, deb(Item("./usr/share/x", b"1", 0o600), name="two"), reason="two packages bring")
    assert made(sources, one, deb(Item("./usr/share/x", b"1"), name="two"))["usr/share/x"].isfile()


@pytest.mark.parametrize("replacer", ["aaa", "zzz"])
def test_replaces_decides_whatever_the_order(sources: MadeSources, replacer: str) -> None:
    old = deb(Item("./usr/bin/x", b"old"), name="mid")
    new = deb(Item("./usr/bin/x", b"new"), name=replacer, Replaces="other, mid (<< 2)")
    _, layer = written(sources, old, new)
    assert content(layer, "usr/bin/x") == b"new"
    assert b"/usr/bin/x" not in content(layer, "var/lib/dpkg/info/mid.list").splitlines()
    assert b"/usr/bin/x" in content(layer, f"var/lib/dpkg/info/{replacer}.list").splitlines()
    late = deb(Item("./usr/bin/x", b"new"), name=replacer, Replaces="mid (<< 1.0)")
    refused(sources, old, late, reason="two packages bring")


def test_what_slim_images_leave_out_is_left_out_and_licences_stay(sources: MadeSources) -> None:
    package = deb(
        Item("./usr/share/doc/one/changelog.gz", b"x"),
        Item("./usr/share/doc/one/copyright", b"free"),
        Item("./usr/share/man/man1/one.1.gz", b"x"),
        Item("./usr/share/locale/de/LC_MESSAGES/one.mo", b"x"),
        Item("./usr/bin/dpkg", b"x"),
    )
    _, layer = written(sources, package)
    found = tree(layer)
    assert "usr/share/doc/one/copyright" in found
    assert not [name for name in found if name.startswith(("usr/share/man/", "usr/share/locale/de"))]
    assert "usr/share/doc/one/changelog.gz" not in found
    assert b"path-exclude=/usr/share/man/*" in content(layer, "etc/dpkg/dpkg.cfg.d/trainload")
    whole = made(sources, package, profile="dev")
    assert {"usr/share/man/man1/one.1.gz", "usr/share/doc/one/changelog.gz"} <= whole.keys()


def test_dpkgs_database_names_every_package_with_its_hashes(sources: MadeSources) -> None:
    package = MadeDeb(
        "lib",
        fields={"Multi-Arch": "same", "Depends": "libc6 (>= 2)"},
        scripts={
            "conffiles": "/etc/lib.conf\n", "postinst": "exit 0\n",
            "triggers": "interest-noawait /usr/share/icons\nactivate-noawait ldconfig\n",
        },
    ).lists(Item("./etc/lib.conf", b"a=1\n"), Item("./usr/lib/x", b"x"))  # fmt: skip
    _, layer = written(sources, package)
    status = content(layer, "var/lib/dpkg/status").decode()
    assert status.startswith("Package: lib\nStatus: install ok installed\n")
    digest = hashlib.md5(b"a=1\n", usedforsecurity=False).hexdigest()
    assert f"Conffiles:\n /etc/lib.conf {digest}\n" in status
    names = {name.rpartition("/")[2] for name in tree(layer) if name.startswith("var/lib/dpkg/info/")}
    assert names == {
        "format",
        *(f"lib:amd64.{end}" for end in ("list", "md5sums", "conffiles", "postinst", "triggers")),
    }
    assert content(layer, "var/lib/dpkg/info/lib:amd64.md5sums") == b"9dd4e461268c8034f5c8564e155c67a6  usr/lib/x\n"
    assert content(layer, "var/lib/dpkg/triggers/File") == b"/usr/share/icons lib:amd64/noawait\n"


def test_a_base_of_a_dockerfile_has_the_distributions_users_alone(sources: MadeSources) -> None:
    """``useradd -m -u 1000 user`` and ``groupadd -r app`` of tutorials find their names and numbers free."""
    made = recipe(sources, PASSWD, deb(Item("./bin/bash", b"x", 0o755), name="bash"))
    out = io.BytesIO()
    write_base(bare(made), sources, out)
    layer = out.getvalue()
    for file in ("passwd", "group", "shadow", "gshadow"):
        rows = content(layer, f"etc/{file}").splitlines()
        assert rows[0].startswith(b"root:") and not any(row.startswith(b"app:") or b":1000:" in row for row in rows)
    assert "home" in tree(layer) and "home/app" not in tree(layer)
    assert recipe_key(bare(made)) != recipe_key(made)


@pytest.mark.parametrize(("suite", "file"), [("jammy", "sources.list"), ("noble", "sources.list.d/ubuntu.sources")])
def test_a_base_of_a_dockerfile_has_its_archives_where_the_suites_own_images_have_them(
    sources: MadeSources, suite: str, file: str
) -> None:
    """``sed -i s/archive.ubuntu.com/…/ /etc/apt/sources.list`` of tutorials finds the file."""
    apt = deb(Item("./usr/bin/apt-get", b"x", 0o755), name="apt")
    key = deb(Item("./usr/share/keyrings/ubuntu-archive-keyring.gpg", b"x"), name="ubuntu-keyring")
    out = io.BytesIO()
    write_base(bare(replace(recipe(sources, PASSWD, apt, key), distribution="ubuntu", suite=suite)), sources, out)
    layer = out.getvalue()
    assert [path for path in tree(layer) if path.startswith("etc/apt/") and "sources" in path][
        -1
    ] == f"etc/apt/{file}"
    text = content(layer, f"etc/apt/{file}").decode()
    assert f"{suite}-security" in text and "ubuntu-archive-keyring.gpg" in text
    assert ("deb [signed-by=/usr" in text) is (suite == "jammy")


def test_every_base_has_a_user_that_is_not_root(sources: MadeSources) -> None:
    _, layer = written(sources, PASSWD, deb(Item("./bin/bash", b"x", 0o755), name="bash"))
    assert content(layer, "etc/passwd").splitlines()[0] == b"root:x:0:0:root:/root:/bin/bash"
    assert b"app:x:1000:1000:app:/home/app:/bin/bash" in content(layer, "etc/passwd").splitlines()
    assert b"app:x:1000:" in content(layer, "etc/group").splitlines()
    assert b"app:*::0:99999:7:::" in content(layer, "etc/shadow").splitlines()
    home, shadow = tree(layer)["home/app"], tree(layer)["etc/shadow"]
    assert (home.mode, home.uid, home.gid) == (0o755, 1000, 1000)
    assert (shadow.mode, shadow.gid) == (0o640, 42)


def test_users_that_packages_declare_are_there(sources: MadeSources) -> None:
    script = "#!/bin/sh\nadduser --system --group --home /run/x \\\n   --no-create-home --quiet xd || true\n"
    package = replace(
        deb(Item("./usr/lib/sysusers.d/y.conf", b'u yd - "The Y" /var/y\nm yd mail\n'), name="xd"),
        scripts={"postinst": script},
    )
    _, layer = written(sources, PASSWD, package)
    lines = content(layer, "etc/passwd").decode().splitlines()
    assert "yd:x:999:999:The Y:/var/y:/usr/sbin/nologin" in lines
    assert "xd:x:998:998::/run/x:/usr/sbin/nologin" in lines
    assert "mail:x:8:yd" in content(layer, "etc/group").decode().splitlines()


@pytest.mark.parametrize("row", ["root:*:\u00b2:0:root:/root:/bin/sh", "root:*:0:99999999999:root:/root:/bin/sh"])
def test_numbers_of_users_that_are_none_are_refused(sources: MadeSources, row: str) -> None:
    users = Item("./usr/share/base-passwd/passwd.master", f"{row}\n".encode())
    with pytest.raises(LayerError, match="malformed"):
        written(sources, MadeDeb("base-passwd").lists(users, MASTERS[1]))


def test_a_declared_user_cannot_shift_the_fields_of_passwd(sources: MadeSources) -> None:
    lines = b'u good \xc2\xb2 "a user" /srv\nu evil 2000 "x:/root:/bin/sh" /srv\n'
    declared = deb(Item("./usr/lib/sysusers.d/x.conf", lines), name="daemon")
    _, layer = written(sources, PASSWD, declared)
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as archive:
        passwd = archive.extractfile("etc/passwd")
        assert passwd is not None
        text = passwd.read()
    assert b"evil" not in text and b"good:x:999:" in text


def test_alternatives_in_plain_words_are_set(sources: MadeSources) -> None:
    script = (
        "#!/bin/sh\nupdate-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \\\n"
        "  --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz \\\n"
        "  --slave /usr/bin/nawk nawk /usr/bin/mawk\n"
    )
    mawk = replace(deb(Item("./usr/bin/mawk", b"m", 0o755), name="mawk"), scripts={"postinst": script})
    gawk = replace(
        deb(Item("./usr/bin/gawk", b"g", 0o755), name="gawk"),
        scripts={"postinst": "update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n"},
    )
    _, layer = written(sources, mawk)
    found = tree(layer)
    assert found["usr/bin/awk"].linkname == "/etc/alternatives/awk"
    assert found["etc/alternatives/awk"].linkname == "/usr/bin/mawk"
    assert found["etc/alternatives/nawk"].linkname == "/usr/bin/mawk"
    assert "etc/alternatives/awk.1.gz" not in found, "its page is not there"
    assert content(layer, "var/lib/dpkg/alternatives/awk") == (
        b"auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/man1/awk.1.gz\nnawk\n/usr/bin/nawk\n\n"
        b"/usr/bin/mawk\n5\n/usr/share/man/man1/mawk.1.gz\n/usr/bin/mawk\n\n"
    )
    assert made(sources, mawk, gawk)["etc/alternatives/awk"].linkname == "/usr/bin/gawk"


def test_a_file_of_ours_never_replaces_a_packages(sources: MadeSources) -> None:
    refused(sources, deb(Item("./etc/passwd", b"x")), reason="brought by a package and made by us")


def debs() -> Iterator[MadeDeb]:
    yield PASSWD
    for number in range(6):
        yield deb(
            *(Item(f"./usr/share/p{number}/{n}", b"%d" % n * 5000) for n in range(8)),
            name=f"p{number}",
        )


def test_D04_what_a_package_may_cost_is_the_users_to_say(sources: MadeSources) -> None:
    wanted = recipe(sources, *debs())
    for limits, told in (
        (replace(DEFAULT, archive_members=1), "too many members; want 1\nhint: if you trust it, accept it: limits"),
        (
            replace(DEFAULT, unpacked=1),
            "unpacks to too much; want 1 bytes\nhint: if you trust it, accept it",
        ),
    ):
        with pytest.raises(LayerError, match=told):
            write_base(wanted, sources, io.BytesIO(), cost=Cost(limits=limits))


def test_the_same_packages_make_the_same_layer_whatever_fits_in_memory(
    sources: MadeSources, tmp_path: Path
) -> None:
    plain = written(sources, *debs())
    assert plain == written(sources, *debs())
    budget = indexing.Budget(60_000)
    assert [budget.take(50_000), budget.take(20_000), budget.take(10_000)] == [True, False, True]

    for held in (0, 50_000):
        out = io.BytesIO()
        made = write_base(recipe(sources, *debs()), sources, out, cost=Cost(held))
        assert (made, out.getvalue()) == plain


def test_umask_and_time_zone_do_not_show(sources: MadeSources) -> None:
    before = written(sources, *debs())
    mask = os.umask(0)
    try:
        assert written(sources, *debs()) == before
        os.umask(0o777)
        assert written(sources, *debs())[0] == before[0]
    finally:
        os.umask(mask)


def test_a_package_that_cannot_be_had_leaves_nothing(sources: MadeSources) -> None:
    missing = sources.lock(deb(Item("./a", b"x")))
    (sources.folder / missing.file.sha256).unlink()
    out = io.BytesIO()
    with pytest.raises(FetchError):
        write_base(BaseRecipe("debian", "bookworm", "slim", "amd64", (), (missing,)), sources, out)
    assert out.getvalue() == b""


def test_a_numbered_user_gets_a_name_and_a_home(sources: MadeSources) -> None:
    base = recipe(sources, PASSWD)
    out = io.BytesIO()
    write_user(UserRecipe(4321, base), sources, out)
    layer = out.getvalue()
    files = {"etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"}
    assert set(tree(layer)) == {"etc", "home", "home/user4321"} | files
    assert (
        content(layer, "etc/passwd").splitlines()[-1].startswith(b"user4321:x:4321:4321:user 4321:/home/user4321:")
    )
    assert tree(layer)["home/user4321"].uid == 4321
    out = io.BytesIO()
    write_user(UserRecipe(8, base), sources, out)
    assert b"user8" not in gzip.decompress(out.getvalue())


def test_a_path_that_comes_twice_in_a_package_is_refused(sources: MadeSources) -> None:
    refused(sources, MadeDeb("one", [Item("./a", b"1"), Item("./a", b"2")]), reason="comes twice")
