"""What a base image is found to have, from its layers as they come (THREATS L06, L07, L14, L15)."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Sequence

import pytest

from trainload.digest import Digest
from trainload.errors import LayerError
from trainload.layers.foreign.found import facts
from trainload.layers.foreign.look import Findings, joined, look
from trainload.limits import DEFAULT
from trainload.lock.found import Facts, FoundPython, Installed
from trainload.testing.bases import LIBC, distribution, program, system
from trainload.testing.tars import TarEntry, folder, hardlink, symlink, tar

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def findings(*entries: TarEntry, packed: bytes | None = None) -> Findings:
    stream = tar(*entries)
    data = gzip.compress(stream) if packed is None else packed
    found = look(io.BytesIO(data), Digest.sha256(stream), "layer")
    assert Findings.from_json(found.to_json()) == found
    return found


def seen(*layers: Sequence[TarEntry], env: dict[str, str] | None = None) -> Facts:
    return facts(joined(findings(*entries) for entries in layers), env or PATH)


def python(found: Facts) -> FoundPython:
    assert found.pythons
    return found.pythons[0]


DEBIAN_PYTHON = (
    symlink("usr/bin/python3", "python3.10"),
    TarEntry("usr/bin/python3.10", program("3.10.12"), mode=0o755),
)
STATUS = b"Package: libc6\nStatus: install ok installed\nVersion: 2.35-0ubuntu3.8\n\n"


def test_system_glibc_accounts_and_dpkg_are_found() -> None:
    found = seen(system(status=STATUS))
    assert (found.distribution, found.suite, found.glibc, found.musl) == ("ubuntu", "jammy", (2, 35), False)
    assert found.passwd.startswith("root:x:0:0") and "shadow:x:42" in found.group
    assert found.status == STATUS.decode() and found.pythons == ()


def test_a_link_to_os_release_is_followed_and_one_that_leads_outside_is_not() -> None:
    found = seen((*system(), symlink("etc/os-release", "../usr/lib/os-release")))
    assert found.suite == "jammy"
    outside = seen((symlink("etc/os-release", "../../../etc/hostname"), TarEntry("etc/hostname", b"ID=mine\n")))
    assert outside.distribution == ""


def test_the_distributions_own_python_finds_what_debian_and_pip_install() -> None:
    found = seen(
        system(*DEBIAN_PYTHON),
        (
            distribution("usr/lib/python3/dist-packages", "numpy", "1.21.5"),
            distribution("usr/local/lib/python3.10/dist-packages", "numpy", "1.24.4", "a; extra == 'x'"),
            TarEntry("usr/lib/python3/dist-packages/six-1.egg-info", b"Name: six\nVersion: 1.16.0\n"),
            TarEntry("usr/lib/python3/dist-packages/old.egg-info/PKG-INFO", b"Name: Old_Name\nVersion: 2\n"),
            distribution("usr/lib/python3.11/site-packages", "other", "1.0"),
        ),
    )  # fmt: skip
    assert python(found).path == "/usr/bin/python3.10" and python(found).version == "3.10.12"
    assert [(each.name, each.version) for each in python(found).installed] == [
        ("numpy", "1.24.4"), ("old-name", "2"), ("six", "1.16.0"),
    ]  # fmt: skip
    assert python(found).installed[0].requires == ("a; extra == 'x'",)


def test_a_python_beside_the_distributions_own_is_found_in_the_same_prefix() -> None:
    # a PPA's: /usr/bin/python3 stays the distribution's
    found = seen(system(*DEBIAN_PYTHON, TarEntry("usr/bin/python3.12", program("3.12.4"), mode=0o755)))
    assert [(each.path, each.version) for each in found.pythons] == [
        ("/usr/bin/python3.10", "3.10.12"), ("/usr/bin/python3.12", "3.12.4"),
    ]  # fmt: skip


def test_dockers_python_image_has_its_python_in_usr_local_and_the_version_in_its_library() -> None:
    library = TarEntry("usr/local/lib/libpython3.11.so.1.0", b"x" * (1 << 18) + program("3.11.9"), mode=0o755)
    found = seen(
        system(*DEBIAN_PYTHON),
        (
            TarEntry("usr/local/bin/python3.11", b"\x7fELF no version here", mode=0o755),
            symlink("usr/local/bin/python3", "python3.11"), symlink("usr/local/bin/python", "python3"), library,
            distribution("usr/local/lib/python3.11/site-packages", "pip", "24.0"),
        ),
    )  # fmt: skip
    assert [(each.path, each.version) for each in found.pythons] == [
        ("/usr/local/bin/python3.11", "3.11.9"), ("/usr/bin/python3.10", "3.10.12"),
    ]  # fmt: skip
    assert python(found).installed == (Installed("pip", "24.0"),)


def test_a_version_is_no_part_of_a_longer_number() -> None:
    content = b"\x7fELF 13.11.2\x00 4.3.11.3\x003.11.4 \x00 (3.11.5rc1\x003.11.6\x00"
    program = TarEntry("usr/local/bin/python3.11", content, mode=0o755)
    assert findings(program).versions == {"usr/local/bin/python3.11": "3.11.5rc1"}


@pytest.mark.parametrize(
    ("env", "status", "version"),
    [
        ({"PYTHON_VERSION": "3.11.4"}, b"", "3.11.4"),
        ({"PYTHON_VERSION": "3.12.1"}, b"", "3.11"),
        ({}, b"Package: python3.11\nStatus: install ok installed\nVersion: 3.11.2-6+deb12u2\n\n", "3.11.2"),
        ({}, b"", "3.11"),
    ],
)
def test_a_version_that_no_program_tells_is_what_the_makers_say(
    env: dict[str, str], status: bytes, version: str
) -> None:
    found = seen(system(TarEntry("usr/bin/python3.11", b"\x7fELF", mode=0o755), status=status), env=PATH | env)
    assert python(found).version == version


def test_condas_python_comes_first_when_the_path_says_so() -> None:
    conda = (
        hardlink("opt/conda/bin/python", "opt/conda/bin/python3.12"),
        symlink("opt/conda/bin/python3", "python3.12"),
        distribution("opt/conda/lib/python3.12/site-packages", "conda", "24.1"),
    )  # fmt: skip
    layers = (
        system(*DEBIAN_PYTHON, TarEntry("opt/conda/bin/python3.12", program("3.12.4"), mode=0o755)),
        conda[1:],
    )
    first = seen(*layers, env={"PATH": "/opt/conda/bin:/usr/bin"})
    assert (python(first).path, python(first).version) == ("/opt/conda/bin/python3.12", "3.12.4")
    assert [each.minor for each in seen(*layers).pythons] == ["3.10", "3.12"]


def test_a_virtual_environment_where_ours_would_be_is_ours_and_another_is_looked_into_by_a_path() -> None:
    def base(where: str, shared: str) -> tuple[TarEntry, ...]:
        return (
            *system(*DEBIAN_PYTHON), symlink(f"{where}/bin/python", "/usr/bin/python3"),
            symlink(f"{where}/bin/python3", "python"),
            TarEntry(f"{where}/pyvenv.cfg", f"home = /usr/bin\ninclude-system-site-packages = {shared}\n".encode()),
            distribution(f"{where}/lib/python3.10/site-packages", "torch", "2.5.0"),
            distribution("usr/lib/python3/dist-packages", "six", "1.16.0"),
        )  # fmt: skip

    ours = seen(base("opt/venv", "false"), env={"PATH": "/opt/venv/bin:/usr/bin"})
    assert ours.has_environment and python(ours).is_ours and python(ours).version == "3.10.12"
    assert [each.name for each in python(ours).installed] == ["torch"]
    other = python(seen(base("srv/env", "true"), env={"PATH": "/srv/env/bin:/usr/bin"}))
    assert (other.path, other.folders) == ("/usr/bin/python3.10", ("/srv/env/lib/python3.10/site-packages",))
    assert [each.name for each in other.installed] == ["six", "torch"]


def test_a_later_layer_replaces_hides_and_empties() -> None:
    lib = "usr/local/lib/python3.10/dist-packages"
    base = system(*DEBIAN_PYTHON, folder(lib), distribution(lib, "a", "1"), distribution(lib, "b", "1"))
    hidden = seen(base, (TarEntry(f"{lib}/.wh.a-1.dist-info"), TarEntry(f"{lib}/.wh.b-1.dist-info"),
                         distribution(lib, "b", "2")))  # fmt: skip
    assert [(each.name, each.version) for each in python(hidden).installed] == [("b", "2")]
    emptied = seen(base, (TarEntry(f"{lib}/.wh..wh..opq"), distribution(lib, "c", "3")))
    assert [each.name for each in python(emptied).installed] == ["c"]
    above = seen(base, (TarEntry("usr/local/.wh.lib"),))
    assert python(above).installed == ()
    assert seen(base, (TarEntry("usr/bin/.wh.python3.10"),)).pythons == ()
    whole = seen(base, (TarEntry(".wh..wh..opq"), TarEntry("etc/passwd", b"me:x:5:5::/:/\n")))
    assert (whole.passwd, whole.suite, whole.pythons) == ("me:x:5:5::/:/\n", "", ())


def test_a_folder_that_becomes_a_link_loses_what_was_in_it_and_leads_elsewhere() -> None:
    found = seen(
        system(
            folder("srv"), folder("srv/env"), TarEntry("srv/env/pyvenv.cfg", b"home = /usr/bin\n"), *DEBIAN_PYTHON
        ),
        (symlink("srv/env", "/usr"),),
        (symlink("lib", "usr/lib"),),
    )
    assert [each.path for each in found.pythons] == ["/usr/bin/python3.10"]


def test_musl_is_seen_and_distroless_status_files_are_no_dpkg() -> None:
    alpine = seen((TarEntry("lib/ld-musl-x86_64.so.1", b"\x7fELF", mode=0o755), TarEntry("etc/passwd", b"")))
    assert alpine.musl and alpine.glibc is None
    small = seen(
        (TarEntry("var/lib/dpkg/status.d/libc6", STATUS), TarEntry("lib/x86_64-linux-gnu/libc.so.6", LIBC))
    )
    assert small.glibc == (2, 35) and small.status == ""


def test_an_init_is_found_where_images_have_one() -> None:
    assert seen(system(TarEntry("usr/bin/tini", b"\x7fELF", mode=0o755))).init == "/usr/bin/tini"
    assert seen(system(symlink("usr/bin/tini", "/opt/nowhere"))).init == ""


def test_what_no_installer_would_know_is_left_out() -> None:
    lib = "usr/lib/python3/dist-packages"
    broken = (TarEntry(f"{lib}/x-1.dist-info/METADATA", b"Name: ../x\nVersion: 1\n"),
              TarEntry(f"{lib}/y-1.dist-info/METADATA", b"Name: y\nVersion: not a version\n"),
              TarEntry(f"{lib}/z-1.dist-info/METADATA", b"\xff\xfe\0"))  # fmt: skip
    assert python(seen(system(*DEBIAN_PYTHON), broken)).installed == ()


def test_links_in_a_circle_end() -> None:
    found = seen(system(symlink("usr/bin/python3", "python"), symlink("usr/bin/python", "python3")))
    assert found.pythons == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (TarEntry("../etc/passwd", b"x"), "leads outside"),
        (TarEntry("/etc/passwd", b"x"), "is absolute"),
        (TarEntry("a/.wh."), "hides no name"),
        (TarEntry("a/.wh..."), "hides no name"),
        (TarEntry(".wh.a/b"), "has something in it"),
        (TarEntry("var/lib/dpkg/status", b"x" * (8 * 1024 * 1024 + 1)), "is too large"),
    ],
)
def test_L06_L07_hostile_names_and_sizes_are_refused(entry: TarEntry, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        findings(entry)


def test_L14_what_is_not_the_layer_its_diff_id_names_is_not_believed() -> None:
    stream = tar(*system())
    with pytest.raises(LayerError, match="does not hold what the image says"):
        look(io.BytesIO(gzip.compress(stream)), Digest.sha256(b"another"), "layer")
    with pytest.raises(LayerError, match="cut off"):
        look(io.BytesIO(gzip.compress(stream)[:-20]), Digest.sha256(stream), "layer")


def test_L15_a_layer_of_too_many_members_or_bytes_is_refused() -> None:
    from dataclasses import replace

    stream = tar(*(TarEntry(f"f{number}") for number in range(11)))
    digest = Digest.sha256(stream)
    look(io.BytesIO(stream), digest, "layer", limits=replace(DEFAULT, archive_members=11))
    with pytest.raises(LayerError, match="too many members"):
        look(io.BytesIO(stream), digest, "layer", limits=replace(DEFAULT, archive_members=10))
    with pytest.raises(LayerError, match="unpacks to too much"):
        look(io.BytesIO(tar(TarEntry("f", b"12"))), digest, "layer", limits=replace(DEFAULT, unpacked=1))


def test_plain_and_zstd_layers_are_read_whatever_their_media_type_says() -> None:
    zstd = pytest.importorskip("backports.zstd")
    entries = system(status=STATUS)
    stream = tar(*entries)
    assert (
        findings(*entries, packed=stream) == findings(*entries, packed=zstd.compress(stream)) == findings(*entries)
    )


def test_of_two_entries_with_one_name_the_last_wins() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for data in (b"ID=first\n", b"ID=last\n"):
            info = tarfile.TarInfo("etc/os-release")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    stream = buffer.getvalue()
    found = joined([look(io.BytesIO(stream), Digest.sha256(stream), "layer")])
    assert facts(found, {}).distribution == "last"
