"""The code layer: only names, contents, executable bits and links of the listed files show in its bytes."""

from __future__ import annotations

import errno
import io
import tarfile
from collections.abc import Callable
from typing import BinaryIO

import pytest

from trainload.errors import LayerError
from trainload.layers.code import code_content, write_code
from trainload.plan.model import CodeRecipe
from trainload.project.model import CodeFile, CodeListing

FILES = {
    "train.py": b"print(1)\n",
    "src/model.py": b"x = 1\n",
    "src/run.sh": b"#!/bin/sh\n",
    "名前/\udcff": b"bytes",
}
LISTING = CodeListing(
    (
        CodeFile("link", 0, target="src/model.py"),
        *(CodeFile(path, len(data), executable=path.endswith(".sh")) for path, data in FILES.items()),
    )
)


def opened(files: dict[str, bytes]) -> Callable[[str], BinaryIO]:
    return lambda path: io.BytesIO(files[path])


def made(listing: CodeListing = LISTING, workdir: str = "/app") -> tuple[bytes, CodeRecipe]:
    recipe = CodeRecipe(workdir, 1000, code_content(listing, opened(FILES)))
    sink = io.BytesIO()
    write_code(recipe, listing, opened(FILES), sink)
    return sink.getvalue(), recipe


def entries(blob: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(blob), mode="r:gz") as tar:
        return {info.name: info for info in tar}


def test_P10_every_entry_belongs_to_the_user_and_has_a_plain_mode_and_no_time() -> None:
    found = entries(made()[0])
    assert list(found) == [
        "app", "app/link", "app/outputs", "app/src", "app/src/model.py", "app/src/run.sh", "app/train.py",
        "app/名前", "app/名前/\udcff",
    ]  # fmt: skip
    assert {(info.uid, info.gid, info.uname, info.gname, info.mtime) for info in found.values()} == {
        (1000, 1000, "", "", 0)
    }
    assert found["app/src/run.sh"].mode == 0o755
    assert found["app/src/model.py"].mode == 0o644
    assert found["app/link"].linkname == "src/model.py"
    assert found["app/outputs"].isdir()


def test_the_order_of_the_listing_does_not_show() -> None:
    backwards = CodeListing(tuple(reversed(LISTING.files)))
    assert made(backwards) == made()


@pytest.mark.parametrize(
    ("workdir", "folders"),
    [
        ("/", {}),
        ("/tmp", {"tmp": (0o1777, 0)}),
        ("/root", {"root": (0o700, 0)}),
        ("/lib/app", {"lib/app": (0o755, 1000)}),
        ("/home/me/app", {"home": (0o755, 0), "home/me": (0o755, 1000), "home/me/app": (0o755, 1000)}),
        ("/var/tmp/x/y", {"var": (0o755, 0), "var/tmp": (0o1777, 0), "var/tmp/x": (0o755, 0),
                          "var/tmp/x/y": (0o755, 1000)}),
    ],
)  # fmt: skip
def test_folders_above_are_named_and_keep_the_bases_attributes(
    workdir: str, folders: dict[str, tuple[int, int]]
) -> None:
    found = entries(made(workdir=workdir)[0])
    base = workdir.strip("/")
    above = {
        name: (info.mode, info.uid) for name, info in found.items() if not name.startswith(f"{base}/".lstrip("/"))
    }
    assert above == folders
    assert f"{base}/train.py".strip("/") in found


def test_the_content_is_another_for_another_name_mode_target_or_byte() -> None:
    def content(*files: CodeFile, data: bytes = b"1") -> str:
        return code_content(CodeListing(files), lambda _: io.BytesIO(data))

    different = [
        content(CodeFile("a", 1)), content(CodeFile("b", 1)), content(CodeFile("a", 1, executable=True)),
        content(CodeFile("a", 0, target="b")), content(CodeFile("a", 0, target="c")),
        content(CodeFile("a", 1), data=b"2"), content(), content(CodeFile("a", 1), CodeFile("b", 1)),
    ]  # fmt: skip
    assert len(set(different)) == len(different)


@pytest.mark.parametrize("now", [b"print(12)\n", b"print()\n"])
def test_P04_a_file_that_grew_or_shrank_is_refused(now: bytes) -> None:
    listing = CodeListing((CodeFile("train.py", len(FILES["train.py"])),))
    with pytest.raises(LayerError, match="changed while it was read") as caught:
        code_content(listing, opened({"train.py": now}))
    assert caught.value.retryable
    recipe = CodeRecipe("/app", 0, code_content(listing, opened(FILES)))
    with pytest.raises(LayerError, match=r"train\.py.*changed"):
        write_code(recipe, listing, opened({"train.py": now}), io.BytesIO())


def test_P04_a_file_replaced_by_one_of_the_same_size_is_noticed() -> None:
    listing = CodeListing((CodeFile("train.py", len(FILES["train.py"])),))
    recipe = CodeRecipe("/app", 0, code_content(listing, opened(FILES)))
    with pytest.raises(LayerError, match="project changed") as caught:
        write_code(recipe, listing, opened({"train.py": b"print(2)\n"}), io.BytesIO())
    assert caught.value.retryable


def test_P06_an_unreadable_file_is_named() -> None:
    def refuse(path: str) -> BinaryIO:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    with pytest.raises(LayerError, match=r"data/x\.bin: the file cannot be read: Permission denied"):
        code_content(CodeListing((CodeFile("data/x.bin", 3),)), refuse)


@pytest.mark.parametrize("path", [".wh.train.py", "src/.wh..wh..opq", "a/.wh.d/x"])
def test_P07_a_name_that_would_delete_is_refused_before_anything_is_read(path: str) -> None:
    with pytest.raises(LayerError, match="means a deletion"):
        code_content(CodeListing((CodeFile(path, 1),)), opened({}))
