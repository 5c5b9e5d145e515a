"""A numeric user over a base image: known by name, with a home, without what the base keeps secret."""

from __future__ import annotations

import io
import tarfile

import pytest

from trainload.layers.user import write_user
from trainload.plan.model import AccountFiles, UserRecipe
from trainload.testing.sources import MemorySources

FILES = AccountFiles(("root:x:0:0:root:/root:/bin/bash",), ("root:x:0:", "users:x:100:"))


def written(uid: int, files: AccountFiles = FILES) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    out = io.BytesIO()
    write_user(UserRecipe(uid, files), MemorySources({}), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue()), mode="r:gz") as archive:
        return {info.name: (info, f.read() if (f := archive.extractfile(info)) else b"") for info in archive}


@pytest.mark.parametrize(("uid", "name"), [(1000, "app"), (4711, "user4711")])
def test_the_user_gets_a_line_a_group_and_a_home(uid: int, name: str) -> None:
    found = written(uid)
    assert found["etc/passwd"][1].decode().splitlines()[1].startswith(f"{name}:*:{uid}:{uid}:")
    assert found["etc/group"][1].decode().splitlines()[2] == f"{name}:*:{uid}:"
    home = found[f"home/{name}"][0]
    assert (home.uid, home.gid) == (uid, uid)
    assert "etc/shadow" not in found


def test_a_name_or_group_that_is_taken_is_left_alone() -> None:
    taken = AccountFiles((*FILES.passwd, "app:x:5:5::/:/bin/sh"), (*FILES.group, "x:x:1000:"))
    found = written(1000, taken)
    assert b"user1000:*:1000:1000:" in found["etc/passwd"][1] and "etc/group" not in found
