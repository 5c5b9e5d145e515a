"""THREATS W21-W31: a wheel whose metadata lies, or that wants a place it must not have, is refused."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from trainload.errors import LayerError, ManyErrors
from trainload.events import Event, Said
from trainload.layers import wheeltree
from trainload.layers.ownership import case_clashes, check_ownership, claims, runs_at_start
from trainload.limits import DEFAULT
from trainload.testing.sources import locked, unpacked, wheel_layer
from trainload.testing.zips import Made, Part, archive, deflated, row

Refuses = Callable[..., LayerError]
SITE = "lib/python3.11/site-packages"
BODY = b"y = 2\n" * 50


def record(made: Made, change: Callable[[str], str]) -> Made:
    """The wheel with its RECORD changed."""
    text = next(part.data for part in made.parts() if part.raw.endswith(b"RECORD")).decode()
    return replace(made, record=change(text).encode())


def test_W21_a_wheel_without_record_is_refused(refuses: Refuses) -> None:
    parts = [part for part in Made().parts() if not part.raw.endswith(b"RECORD")]
    refuses(Made().file, archive(parts), "RECORD.*lacks this file")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda text: text + row("demo/ghost.py", b""), "not in the wheel", id="lists-a-missing-file"),
        pytest.param(lambda text: text.split("\n", 1)[1], "does not list it", id="omits-a-present-file"),
        pytest.param(lambda text: text + text.split("\n", 1)[0] + "\n", "twice", id="twice"),
        pytest.param(lambda text: text + "../../x,,\n", "leads elsewhere", id="dots"),
        pytest.param(lambda text: text.replace("sha256=", "md5=", 1), "only md5", id="md5"),
        pytest.param(lambda text: text.replace("sha256=", "sha1=", 1), "only sha1", id="sha1"),
        pytest.param(lambda text: text.replace("sha256=", "sha256=A", 1), "is not one", id="length"),
        pytest.param(lambda text: text.replace("sha256=", "sha256=!", 1), "is not one", id="alphabet"),
        pytest.param(lambda text: text.replace(",6\n", ",7\n", 1), "has 6 bytes and RECORD says 7", id="size"),
        pytest.param(lambda text: text.replace(",6\n", ",six\n", 1), "not path, hash and size", id="word"),
        pytest.param(lambda text: text.replace(",6\n", "\n", 1), "not path, hash and size", id="two-fields"),
        pytest.param(lambda text: text + '"open\n', "not a CSV file", id="quote"),
        pytest.param(lambda text: text.replace(",", "\0,", 1), "not in the wheel|CSV", id="nul"),
    ],
)
def test_W21_a_record_that_lies_is_refused(refuses: Refuses, change: Callable[[str], str], reason: str) -> None:
    made = record(Made(), change)
    refuses(made.file, made.bytes(), reason)


def test_W21_a_record_without_a_hash_is_refused(refuses: Refuses) -> None:
    first = row("demo/__init__.py", b"x = 1\n")
    made = record(Made(), lambda text: text.replace(first, "demo/__init__.py,,\n"))
    refuses(made.file, made.bytes(), "no hash")


@pytest.mark.parametrize("method", [0, 8])
def test_W21_a_file_with_another_sha256_than_recorded_is_refused(refuses: Refuses, method: int) -> None:
    other = row("demo/__init__.py", b"x = 2\n")
    made = record(Made(), lambda text: other + text.split("\n", 1)[1])
    parts = [replace(part, method=method) for part in made.parts()]
    refuses(made.file, archive(parts), r"demo/__init__\.py.*RECORD says", late=True)


def test_W21_a_script_that_is_rewritten_is_checked_before(refuses: Refuses) -> None:
    made = Made(files={".data/scripts/run": b"#!python\nprint(1)\n"})
    path = "demo-1.0.data/scripts/run"
    lie = record(made, lambda text: row(path, b"#!python\nprint(2)\n") + text.split("\n", 1)[1])
    refuses(made.file, lie.bytes(), "sha256 is not the one in RECORD")


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_W21_stronger_hashes_are_checked_too(refuses: Refuses, algorithm: str) -> None:
    def strong(data: bytes) -> str:
        digest = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
        return f"demo/__init__.py,{algorithm}={digest},6\n"

    made = record(Made(), lambda text: strong(b"x = 1\n") + text.split("\n", 1)[1])
    assert unpacked({made.file: made.bytes()})[f"{SITE}/demo/__init__.py"] == (0o644, b"x = 1\n")
    lie = record(Made(), lambda text: strong(b"x = 2\n") + text.split("\n", 1)[1])
    refuses(made.file, lie.bytes(), f"its {algorithm} is not the one in RECORD")


def test_W21_a_record_of_more_than_the_limit_is_refused(refuses: Refuses) -> None:
    made = Made(record=b"x" * ((32 << 20) + 1))
    refuses(made.file, made.bytes(), "RECORD.*the limit is", expansion_ratio=10**9)


def test_W21_a_record_may_have_a_row_for_each_file(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel of a million files has a RECORD of 80 MB; it grows with what ``limits.max-members`` allows."""
    monkeypatch.setattr(wheeltree, "METADATA_LIMIT", 500)
    made = Made(files={f"demo/m{number}.py": b"" for number in range(100)})
    rows = next(part.data for part in made.parts() if part.raw.endswith(b"RECORD"))
    assert len(rows) > 10 * 500
    assert f"{SITE}/demo/m99.py" in unpacked({made.file: made.bytes()})
    more = record(made, lambda text: text + "\n" * (336 * 104))
    refuses(more.file, more.bytes(), "RECORD.*the limit is", expansion_ratio=10**9)


def test_W12_a_file_that_is_called_empty_and_is_not_is_refused(refuses: Refuses) -> None:
    made = Made(files={"demo/a.py": b""})
    for packed in (deflated(BODY), b"\x03\x00junk", b"\xff\xff"):
        parts = [replace(part, packed=packed) if part.name == "demo/a.py" else part for part in made.parts()]
        refuses(made.file, archive(parts), r"demo/a\.py", late=True)
    for packed in (b"", b"\x03\x00"):
        parts = [replace(part, packed=packed) if part.name == "demo/a.py" else part for part in made.parts()]
        assert unpacked({made.file: archive(parts)})[f"{SITE}/demo/a.py"] == (0o644, b"")


def test_W21_signatures_of_record_need_no_row() -> None:
    made = Made(more=(Part(".dist-info/RECORD.jws", b"signed"),))
    assert unpacked({made.file: made.bytes()})[f"{SITE}/demo-1.0.dist-info/RECORD.jws"] == (0o644, b"signed")


def test_W21_a_file_that_record_does_not_list_goes_in_only_when_that_is_allowed(refuses: Refuses) -> None:
    record = next(part.data for part in Made().parts() if part.raw.endswith(b"RECORD"))
    made = Made(record=record.split(b"\n", 1)[1])
    error = refuses(made.file, made.bytes(), "does not list it")
    assert "--allow-unrecorded accepts it" in str(error)
    wheel_layer({made.file: made.bytes()}, sink := io.BytesIO(), limits=replace(DEFAULT, unrecorded=True))
    assert sink.getvalue()
    lying = Made(record=record.replace(b"sha256=", b"sha256=A", 1))
    refuses(lying.file, lying.bytes(), "is not one", unrecorded=True)


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param(Made(metadata=b"Name: other\nVersion: 1.0\n"), "says other 1.0", id="name"),
        pytest.param(Made(metadata=b"Name: demo\nVersion: 2.0\n"), "says demo 2.0", id="version"),
        pytest.param(Made(metadata=b"Name: demo\n"), "the file name says demo 1.0", id="no-version"),
        pytest.param(Made(metadata=b"\nName: demo\nVersion: 1.0\n"), "the file name says", id="empty-header"),
        pytest.param(Made(wheel=b"Wheel-Version: 2.0\n"), "wheel format is 2.0", id="format"),
        pytest.param(Made(wheel=b""), "wheel format is", id="no-format"),
        pytest.param(Made(files={"other-1.0.dist-info/METADATA": b""}), "2 .dist-info", id="two"),
    ],
)
def test_W22_file_name_metadata_and_dist_info_must_agree(refuses: Refuses, made: Made, reason: str) -> None:
    refuses("demo-1.0-py3-none-any.whl", made.bytes(), reason)


@pytest.mark.parametrize(
    "file", ["demo-2.0-py3-none-any.whl", "other-1.0-py3-none-any.whl", "demo.whl", "demo.zip"]
)
def test_W22_another_file_name_is_refused(refuses: Refuses, file: str) -> None:
    refuses(file, Made().bytes(), "file name")


@pytest.mark.parametrize(
    "path",
    [".data/purelib/pip-99.dist-info/METADATA", ".data/platlib/Pip-99.Dist-Info/RECORD",
     ".data/data/lib/python3.11/site-packages/pip-99.dist-info/METADATA",
     ".data/data/lib64/python3.11/site-packages/pip-99.dist-info/METADATA"],
)  # fmt: skip
def test_W22_no_other_package_is_made_up_through_the_data_folder(refuses: Refuses, path: str) -> None:
    made = Made(files={path: BODY})
    refuses(made.file, made.bytes(), "it would stand for another package, [Pp]ip-99")


@pytest.mark.parametrize(
    ("file", "made"),
    [
        ("demo-1.0+cpu-py3-none-any.whl", Made(metadata=b"Name: demo\nVersion: 1.0\n")),
        ("demo-1.0.0-py3-none-any.whl", Made()),
        ("Demo-1.0-py3-none-any.whl", Made(metadata=b"Name: DEMO\nVersion: 1.0\n")),
    ],
)
def test_W22_spellings_of_the_same_name_and_version_agree(file: str, made: Made) -> None:
    assert f"{SITE}/demo/__init__.py" in unpacked({file: made.bytes()})


@pytest.mark.parametrize("start", ["run = demo:main\n", "\ufeff[console_scripts]\n", "[console_scripts\n"])
def test_W23_scripts_without_a_section_are_not_lost_in_silence(refuses: Refuses, start: str) -> None:
    made = Made(entry_points=f"{start}run = demo:main\n")
    refuses(made.file, made.bytes(), "the file begins with no section")


@pytest.mark.parametrize(
    "name", ["../../bin/sh", "/x", "a/b", "..", ".", "", "a b", "a\\b", "a\x1bb", "x" * 256, "a:b"]
)
def test_W23_a_script_name_that_is_no_plain_file_name_is_refused(refuses: Refuses, name: str) -> None:
    made = Made(entry_points=f"[console_scripts]\n{name} = demo:main\n")
    error = refuses(made.file, made.bytes(), "cannot be the name of a script")
    assert error.place is not None
    assert error.place.line == 2


@pytest.mark.parametrize(
    "value",
    ["os:system;import x", "demo", "demo:", ":main", "demo:main()", "demo.1:main", "demo:main # x", "demo main:x",
     "demo:" + "a" * 1_000_000, "de mo:main", "demo..x:main", "demo:a..b", "demo:main [x", "demo:main\rimport os"],
)  # fmt: skip
@pytest.mark.parametrize("section", ["console_scripts", "gui_scripts"])
def test_W24_a_value_that_names_no_object_is_refused(refuses: Refuses, section: str, value: str) -> None:
    made = Made(entry_points=f"[{section}]\nrun = {value}\n")
    refuses(made.file, made.bytes(), "names no Python object", expansion_ratio=10**9)


def test_W24_the_script_is_a_fixed_template() -> None:
    text = (
        "[other]\nx = y\n[console_scripts]\n# note\nrun=demo.cli : app.main [extra]\n[gui_scripts]\nwin = demo:w\n"
    )
    made = Made(entry_points=text)
    found = unpacked({made.file: made.bytes()})
    mode, script = found["bin/run"]
    assert mode == 0o755
    assert script is not None
    assert script.decode().splitlines() == [
        "#!/opt/venv/bin/python",
        "# -*- coding: utf-8 -*-",
        "import sys",
        "from demo.cli import app",
        'if __name__ == "__main__":',
        '    if sys.argv[0].endswith("-script.pyw"):',
        "        sys.argv[0] = sys.argv[0][:-11]",
        '    elif sys.argv[0].endswith(".exe"):',
        "        sys.argv[0] = sys.argv[0][:-4]",
        "    sys.exit(app.main())",
    ]
    assert found["bin/win"][0] == 0o755


def test_pip_is_there_for_this_python_only() -> None:
    points = "[console_scripts]\npip = demo:a\npip3 = demo:b\npip3.8 = demo:c\nother3.8 = demo:d\n"
    made = Made(entry_points=points)
    found = unpacked({made.file: made.bytes()})
    assert {path for path in found if path.startswith("bin/")} == {
        "bin/other3.8",
        "bin/pip",
        "bin/pip3",
        "bin/pip3.11",
    }


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "python3.12", "pythonw", "sh", "bash", "env"])
def test_W25_a_script_that_stands_in_for_the_interpreter_or_a_shell_is_refused(refuses: Refuses, name: str) -> None:
    for made in (
        Made(entry_points=f"[console_scripts]\n{name} = demo:main\n"),
        Made(files={f".data/scripts/{name}": BODY}),
        Made(files={f".data/data/bin/{name}": BODY}),
    ):
        refuses(made.file, made.bytes(), f"a command called {name}")


@pytest.mark.parametrize(
    "path",
    [".data/data/pyvenv.cfg", ".data/data/lib64", ".data/data/bin/activate", ".data/scripts/activate",
     ".data/data/bin", ".data/data/lib", ".data/data/lib/python3.11", ".data/data/lib/python3.11/site-packages"],
)  # fmt: skip
def test_W25_the_environments_own_files_stay(refuses: Refuses, path: str) -> None:
    made = Made(files={path: BODY})
    refuses(made.file, made.bytes(), "virtual environment itself|a file where a folder belongs")


def test_W25_two_wheels_with_one_script_are_refused() -> None:
    one = Made(entry_points="[console_scripts]\nrun = demo:main\n")
    two = Made(name="other", files={}, entry_points="[console_scripts]\nrun = other:main\n")
    with pytest.raises(LayerError, match="/opt/venv/bin/run") as caught:
        wheel_layer({one.file: one.bytes(), two.file: two.bytes()}, io.BytesIO())
    assert one.file in str(caught.value)
    assert two.file in str(caught.value)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".data/data/../../etc/passwd", "leads out"), (".data/headers/../x", "leads out"),
        (".data/other/x", "other is no part"), (".data/x", "x is no part"), (".data/scripts/a/b", "one folder"),
        (".data/scripts/a/", "one folder"), (".data/data", "a file where a folder belongs"),
        (".data/data/x/.wh.y", "means a deletion"), ("demo/.wh..wh..opq", "means a deletion"),
    ],
)  # fmt: skip
def test_W26_data_that_leads_elsewhere_is_refused(refuses: Refuses, path: str, reason: str) -> None:
    made = Made(more=(Part(path, b"" if path.endswith("/") else BODY),))
    refuses(made.file, made.bytes(), reason)


def test_every_part_of_the_data_folder_goes_to_its_place() -> None:
    made = Made(
        files={
            ".data/purelib/demo/p.py": BODY, ".data/platlib/demo/q.py": BODY, ".data/headers/demo.h": BODY,
            ".data/data/share/demo/x": BODY, ".data/data/lib64/y": BODY, ".data/scripts/old": b"#!python\nold\n",
            ".data/scripts/win": b"#!pythonw -u\nw\n", ".data/scripts/three": b"#!python3\n",
            ".data/scripts/raw": b"#!/bin/sh\n", ".data/scripts/bin": bytes(range(256)), "demo/empty/": b"",
        }
    )  # fmt: skip
    found = unpacked({made.file: made.bytes()})
    assert {path: value for path, value in found.items() if value[1] is not None and "dist-info" not in path} == {
        f"{SITE}/demo/p.py": (0o644, BODY),
        f"{SITE}/demo/q.py": (0o644, BODY),
        "include/site/python3.11/demo/demo.h": (0o644, BODY),
        "share/demo/x": (0o644, BODY),
        "lib/y": (0o644, BODY),
        "bin/old": (0o755, b"#!/opt/venv/bin/python\nold\n"),
        "bin/win": (0o755, b"#!/opt/venv/bin/python -u\nw\n"),
        "bin/three": (0o755, b"#!/opt/venv/bin/python3\n"),
        "bin/raw": (0o755, b"#!/bin/sh\n"),
        "bin/bin": (0o755, bytes(range(256))),
    }
    assert found[f"{SITE}/demo/empty"] == (0o755, None)
    written = found[f"{SITE}/demo-1.0.dist-info/RECORD"][1]
    assert written is not None
    assert row("../../../bin/old", b"#!/opt/venv/bin/python\nold\n") in written.decode()
    assert row("../../../share/demo/x", BODY) in written.decode()
    assert row("demo-1.0.dist-info/INSTALLER", b"trainload\n") in written.decode()
    assert written.decode().splitlines() == sorted(written.decode().splitlines())


def test_W27_two_wheels_with_one_path_and_different_bytes_are_refused_by_name() -> None:
    one, two = Made(), Made(name="other", files={"demo/__init__.py": b"x = 2\n"})
    sink = io.BytesIO()
    with pytest.raises(LayerError, match=r"demo/__init__\.py") as caught:
        wheel_layer({one.file: one.bytes(), two.file: two.bytes()}, sink)
    assert f"{one.file} and {two.file} both have" in str(caught.value)
    assert caught.value.hints
    assert sink.getvalue() == b""


def test_W27_the_same_file_in_two_wheels_comes_once() -> None:
    one, two = Made(), Made(name="other")
    found = unpacked({one.file: one.bytes(), two.file: two.bytes()})
    assert found[f"{SITE}/demo/__init__.py"] == (0o644, b"x = 1\n")
    for info in ("demo-1.0", "other-1.0"):
        written = found[f"{SITE}/{info}.dist-info/RECORD"][1]
        assert written is not None
        assert b"demo/__init__.py" in written


def test_W27_another_mode_or_a_file_where_a_folder_is_are_refused() -> None:
    one = Made(files={"demo": b"x"})
    for two in (
        Made(name="other", files={"demo": b"x"}, modes={"demo": 0o100755}),
        Made(name="other", files={"demo/x": b"x"}),
        Made(name="other", files={"demo/": b""}),
    ):
        with pytest.raises(LayerError):
            wheel_layer({one.file: one.bytes(), two.file: two.bytes()}, io.BytesIO())


def test_W27_all_clashes_across_layers_are_told_at_once() -> None:
    made = [
        Made(name=name, files={"demo/__init__.py": body, f"{name}.py": b""})
        for name, body in (("a", b"1"), ("b", b"2"), ("c", b"1"), ("d", b"3"))
    ]
    owners = {one.file: claims(locked(one.file, b""), io.BytesIO(one.bytes()), "3.11") for one in made}
    with pytest.raises(ManyErrors) as caught:
        check_ownership(owners)
    assert [(error.place.file if error.place else "") for error in caught.value] == [made[1].file, made[3].file]
    del owners[made[1].file], owners[made[3].file]
    check_ownership(owners)


def test_W28_names_that_one_file_system_holds_as_one_are_found() -> None:
    paths = ["a/README", "a/readme", "b/\u00e9", "b/e\u0301", "c/Ａ", "c/a", "d/x"]
    assert len(list(case_clashes(paths))) == 3


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def report(self, event: Event, /) -> None:
        if isinstance(event, Said):
            self.said.append(str(event.text))


def test_W28_they_are_told_and_kept() -> None:
    made, listener = Made(files={"demo/A.py": b"", "demo/a.py": b"", "demo/b.py": b""}), Listener()
    found = unpacked({made.file: made.bytes()}, listener)
    assert {f"{SITE}/demo/A.py", f"{SITE}/demo/a.py"} <= found.keys()
    assert len(listener.said) == 1
    assert f"/opt/venv/{SITE}/demo/A.py and /opt/venv/{SITE}/demo/a.py" in listener.said[0]


@pytest.mark.parametrize("name", ["demo.pth", "sitecustomize.py", "usercustomize.py", "demo.egg-link"])
def test_W29_what_python_runs_at_start_is_reported(name: str) -> None:
    made, listener = Made(files={name: b""}), Listener()
    assert f"{SITE}/{name}" in unpacked({made.file: made.bytes()}, listener)
    assert listener.said == [f"{made.file} has {name}, which Python runs when it starts"]
    assert not runs_at_start(f"opt/venv/{SITE}/demo/{name}")


@pytest.mark.parametrize(
    ("mode", "want"),
    [(0o104755, 0o755), (0o102755, 0o755), (0o101777, 0o755), (0o100666, 0o644), (0o100777, 0o755),
     (0o100600, 0o644), (0o100000, 0o644), (0, 0o644), (0o100010, 0o755), (0o100640, 0o644), (0o755, 0o755)],
)  # fmt: skip
def test_W31_one_bit_of_a_mode_counts(mode: int, want: int) -> None:
    made = Made(modes={"demo/__init__.py": mode})
    assert unpacked({made.file: made.bytes()})[f"{SITE}/demo/__init__.py"][0] == want


def test_parents_are_plain_folders_below_the_environment_only() -> None:
    found = unpacked({Made().file: Made().bytes()})
    folders = {path: value for path, value in found.items() if value[1] is None}
    assert set(folders) == {
        "opt", "opt/venv", "lib", "lib/python3.11", SITE, f"{SITE}/demo", f"{SITE}/demo-1.0.dist-info",
    }  # fmt: skip
    assert set(folders.values()) == {(0o755, None)}
