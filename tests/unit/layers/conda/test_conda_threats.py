"""Hostile and broken conda packages (THREATS C01–C07, C10): refused with file and member, whatever the form."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from trainload.errors import LayerError
from trainload.events import Event, Said
from trainload.layers.conda.activation import brought
from trainload.layers.conda.write import write_conda
from trainload.limits import DEFAULT, Limits
from trainload.lock.model import ChannelPath, File
from trainload.plan.model import CondaFiles, CondaRecipe
from trainload.testing.conda import PLACEHOLDER, Content, Spec, conda, package
from trainload.testing.sources import MemorySources

FORMS = pytest.mark.parametrize("form", [".conda", ".tar.bz2"])


def files(spec: Spec, data: bytes, **changes: str) -> CondaFiles:
    location = ChannelPath("c", f"{spec.subdir}/{spec.file}", "https://conda.example/c")
    archive = File(spec.file, hashlib.sha256(data).hexdigest(), len(data), location)
    values = {
        "name": spec.name, "release": spec.version, "build": spec.build, "noarch": spec.noarch or "", **changes,
    }  # fmt: skip
    return CondaFiles(
        archive=archive, channel="c", url="https://conda.example/c/x", depends=(), constrains=(), **values
    )


class Said_(list[str]):  # noqa: N801
    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.append(str(event.text))


def layer(
    spec: Spec,
    data: bytes | None = None,
    *,
    limits: Limits = DEFAULT,
    said: Said_ | None = None,
    changes: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    archive = package(spec) if data is None else data
    sink = io.BytesIO()
    recipe = CondaRecipe((files(spec, archive, **changes),), "lib/python3.11/site-packages", "3.11")
    write_conda(recipe, MemorySources({spec.file: archive}), sink, Said_() if said is None else said, limits)
    return sink.getvalue()


def refused(spec: Spec, match: str, data: bytes | None = None, **changes: str) -> LayerError:
    with pytest.raises(LayerError, match=match) as caught:
        layer(spec, data, changes=changes)
    assert caught.value.place is not None and caught.value.place.file == spec.file
    assert str(caught.value).replace("\nhint: ", "").isprintable()
    return caught.value


def one(path: str, content: Content, form: str = ".conda", **values: object) -> Spec:
    return replace(Spec("evil", files={"share/ok": Content(b"ok"), path: content}, form=form), **values)  # type: ignore[arg-type]


@FORMS
@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "lib/../../../etc/x"])
def test_C01_a_member_that_leads_out_is_refused(form: str, path: str) -> None:
    refused(one(path, Content(b"x"), form), "name (leads outside|is absolute)")


@FORMS
@pytest.mark.parametrize("target", ["../../../etc/passwd", "/etc/passwd", "../../x", PLACEHOLDER + "/lib/x"])
def test_C01_a_link_that_leads_out_is_refused(form: str, target: str) -> None:
    refused(one("lib/x", Content(link=target), form), "the link leads")


@FORMS
@pytest.mark.parametrize("target", ["share/nothing", "/etc/passwd", "../x"])
def test_C01_a_hard_link_to_no_file_of_the_package_is_refused(form: str, target: str) -> None:
    refused(one("lib/x", Content(hard=target), form), "hard link leads|name (leads outside|is absolute)")


@FORMS
@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_D06_devices_and_pipes_are_refused(form: str, kind: bytes) -> None:
    refused(one("lib/x", Content(kind=kind), form), "is not accepted")


@FORMS
@pytest.mark.parametrize("path", ["conda-meta/other-1-0.json", "lib/.wh.x", "lib/.wh..wh..opq"])
def test_C04_what_conda_itself_writes_and_deletions_are_refused(form: str, path: str) -> None:
    refused(one(path, Content(b"{}"), form), "conda itself writes|means a deletion")


def _zip(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def _members(spec: Spec) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package(spec))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_C02_other_members_than_the_three_are_refused() -> None:
    spec = Spec("evil", files={"x": Content(b"x")})
    members = _members(spec)
    refused(spec, "three members", _zip({**members, "extra": b""}))
    refused(spec, "three members", _zip({**members, "pkg-other-1.0-0.tar.zst": b""}))
    for name in members:
        refused(spec, "three members", _zip({key: value for key, value in members.items() if key != name}))
    refused(spec, "compressed once more", _zip(members, zipfile.ZIP_DEFLATED))
    refused(
        spec, "format that is not known", _zip({**members, "metadata.json": b'{"conda_pkg_format_version": 3}'})
    )
    refused(spec, "valid JSON", _zip({**members, "metadata.json": b"{"}))
    refused(spec, "end record|not a ZIP|archive", b"nothing")


def test_C02_each_half_holds_its_own_part_only() -> None:
    spec = Spec("evil", files={"x": Content(b"x")})
    inside = replace(spec, files={"x": Content(b"x"), "info/index.json": Content(b"{}", listed=False)})
    refused(inside, "wrong part of the package")
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w"):
        pass
    refused(spec, "lacks this file", conda(spec.stem, out.getvalue(), out.getvalue()))


@FORMS
def test_C03_the_list_of_paths_and_the_archive_agree(form: str) -> None:
    refused(one("lib/x", Content(b"x", sha256="0" * 64), form), "sha256 is not the one in the list")
    refused(one("lib/x", Content(b"x", size=5), form), "has 1 bytes and the list says 5")
    refused(one("lib/x", Content(b"x", listed=False), form), "list of paths does not have this file")
    refused(one("lib/x", Content(b"x", present=False), form), "lists this file and does not have it")
    info = {"paths.json": b'{"paths": [], "paths": [], "paths_version": 1}'}
    refused(one("lib/x", Content(b"x"), form, info=info), "a key comes twice")
    refused(one("lib/x", Content(b"x"), form, info={"paths.json": b'{"paths_version": 2}'}), "version")
    refused(one("lib/x", Content(b"x"), form, info={"paths.json": b'{"paths": NaN, "paths_version": 1}'}), "NaN")


@FORMS
@pytest.mark.parametrize(
    "point", ["../../bin/sh = a:b", "/x = a:b", "a/b = a:b", ".. = a:b", " = a:b", "x = os:system;import x",
              "x = a", "x\ny = a:b", "x = a:b" + "c" * 2000],
)  # fmt: skip
def test_C04_an_entry_point_that_is_none_is_refused(form: str, point: str) -> None:
    spec = Spec("evil", files={"site-packages/x.py": Content(b"")}, subdir="noarch", noarch="python", form=form,
                entry_points=[point])  # fmt: skip
    refused(spec, "this is no entry point")


@FORMS
def test_C05_a_package_that_is_another_one_is_refused(form: str) -> None:
    spec = Spec("evil", files={"x": Content(b"x")}, form=form)
    refused(spec, "says it is another one", release="2.0")
    refused(spec, "says it is another one", name="good")
    refused(spec, "kind is not the one that was locked", noarch="python")
    refused(replace(spec, index={"name": "../../x"}), "says it is another one")


def test_C06_a_prefix_that_does_not_fit_is_refused() -> None:
    refused(one("lib/x", Content(b"a/short\0b", placeholder="/short", binary=True)), "does not fit")
    refused(one("lib/x", Content(link="ok", placeholder=PLACEHOLDER)), "a prefix to be replaced|not as the format")


@FORMS
def test_C07_scripts_are_placed_and_told_and_not_run(form: str) -> None:
    spec = Spec("evil", files={
        "bin/.evil-post-link.sh": Content(b"#!/bin/sh\ntouch /evil\n", 0o755),
        "bin/.evil-pre-link.sh": Content(b"#!/bin/sh\n", 0o755),
        "etc/conda/activate.d/a.sh": Content(b"export A=1\n"),
    }, form=form)  # fmt: skip
    assert layer(spec)
    data = package(spec)
    found = brought(io.BytesIO(data), files(spec, data))
    assert found.linking == {"bin/.evil-post-link.sh": "#!/bin/sh\ntouch /evil\n"}
    assert found.scripts == {"etc/conda/activate.d/a.sh": "export A=1\n"}


@FORMS
def test_C10_cut_off_and_trailing_bytes_are_refused(form: str) -> None:
    spec = Spec("evil", files={"x": Content(b"x" * 5000)}, form=form)
    data = package(spec)
    for end in (0, 1, 10, len(data) // 2, len(data) - 1):
        refused(spec, ".", data[:end])
    refused(spec, ".", data + b"more")


@FORMS
def test_L_an_archive_within_the_limits_is_taken_and_one_beyond_is_not(form: str) -> None:
    spec = Spec("evil", files={f"share/{n}": Content(b"x" * 10_000) for n in range(20)}, form=form)
    total = 26 if form == ".tar.bz2" else 20
    layer(spec, limits=replace(DEFAULT, archive_members=total))
    with pytest.raises(LayerError, match="too many members"):
        layer(spec, limits=replace(DEFAULT, archive_members=19))
    with pytest.raises(LayerError, match="unpacks to too much"):
        layer(spec, limits=replace(DEFAULT, unpacked=200_000 - 1))
    bomb = Spec("evil", files={"x": Content(bytes(2_000_000))}, form=form)
    with pytest.raises(LayerError, match="expands too far"):
        layer(bomb, limits=replace(DEFAULT, expansion_size=1_000_000))


@FORMS
def test_C10_a_window_larger_than_the_limit_is_refused(form: str) -> None:
    spec = Spec("evil", files={"x": Content(bytes(range(256)) * 40_000)}, form=form)
    if form == ".conda":
        with pytest.raises(LayerError, match="compressed data is broken"):
            layer(spec, limits=replace(DEFAULT, zstd_window=1 << 16))
    layer(spec)


@FORMS
def test_a_path_twice_is_refused(form: str) -> None:
    spec = Spec("evil", files={"site-packages/x": Content(b"1"), "lib/python3.11/site-packages/x": Content(b"2")},
                subdir="noarch", noarch="python", form=form)  # fmt: skip
    refused(spec, "two files for")


@FORMS
def test_setuid_and_group_bits_do_not_go_in(form: str) -> None:
    spec = Spec("x", files={"bin/s": Content(b"s", 0o6777), "share/t": Content(b"t", 0o666)}, form=form)
    with tarfile.open(fileobj=io.BytesIO(layer(spec))) as tar:
        modes = {info.name: info.mode for info in tar}
    assert (modes["opt/conda/bin/s"], modes["opt/conda/share/t"]) == (0o755, 0o644)
