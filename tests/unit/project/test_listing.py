"""What goes into the code layer and what never does."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from trainload.errors import ConfigError, ManyErrors
from trainload.limits import MiB
from trainload.project.detect import read_project
from trainload.project.listing import list_code
from trainload.project.model import CodeListing, Left
from trainload.system.tree import DiskTree
from trainload.testing.tree import Fifo, Link, MemoryTree, Node, Sparse
from trainload.tree import Entry, EntryKind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BARE: dict[str, Node] = {"train.py": "print()"}
TOKEN = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ2cF4hJ6l"  # made up: no real token has these letters


def listing(nodes: dict[str, Node], config: str = "") -> CodeListing:
    tree = MemoryTree({**BARE, **nodes, **({"trainload.toml": config} if config else {})})
    return list_code(tree, read_project(tree))


def names(nodes: dict[str, Node], config: str = "") -> set[str]:
    return {file.path for file in listing(nodes, config).files} - {"train.py", "trainload.toml"}


def left(nodes: dict[str, Node], config: str = "") -> dict[str, tuple[Left, str]]:
    return {path: (why, rule) for path, why, rule in listing(nodes, config).left_out}


def test_the_listing_is_sorted_and_knows_size_and_executable_bit() -> None:
    tree = MemoryTree({"run.sh": "abc", "a/b.py": "", **BARE}, modes={"run.sh": 0o755})
    found = list_code(tree, read_project(tree))
    assert [(f.path, f.size, f.executable) for f in found.files] == [
        ("a/b.py", 0, False), ("run.sh", 3, True), ("train.py", 7, False),
    ]  # fmt: skip
    assert found.size == 10


def test_what_tools_make_stays_out() -> None:
    nodes: dict[str, Node] = {
        ".git/config": "x", "a/__pycache__/m.pyc": "x", ".venv/pyvenv.cfg": "x", "env/pyvenv.cfg": "x",
        "env/lib/x.py": "x",
        "node_modules/a/b.js": "x", "outputs/model.bin": "x", "src/outputs/keep.py": "x", "m.pyc": "x",
        "pylock.trainload.toml": "x", ".mypy_cache/x": "x",
    }  # fmt: skip
    assert names(nodes) == {"src/outputs/keep.py"}
    assert left(nodes)["env/"] == (Left.GENERATED, "a virtual environment")
    assert left(nodes)[".git/"] == (Left.GENERATED, ".git")


def saved(first: str, size: int = MiB) -> bytes:
    """A tar whose first member has this name."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, length in ((first, 8), ("more", size)):
            info = tarfile.TarInfo(name)
            info.size = length
            archive.addfile(info, io.BytesIO(bytes(length)))
    return data.getvalue()


@pytest.mark.parametrize(
    "first",
    ["oci-layout", "blobs/sha256/ab", "manifest.json", f"{'ab' * 32}/", f"{'0f' * 32}.json", "repositories"],
)
def test_images_that_were_saved_here_stay_out_whatever_they_are_called(first: str) -> None:
    data = saved(first)
    found = listing({"x.tar": data, "backup": data, "small.tar": saved(first, 100)})
    assert {file.path for file in found.files} == {"train.py", "small.tar"}
    assert [str(text) for text in found.warnings] == [
        "backup, x.tar: an image that was saved here is no part of the project, and is left out"
    ]
    assert ("x.tar", Left.GENERATED, "an image") in found.left_out


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, zstd.compress])
def test_an_image_stays_out_however_it_is_compressed(compress: Callable[[bytes], bytes]) -> None:
    assert names({"x": compress(saved("oci-layout", 0) + os.urandom(MiB))}) == set()


def test_other_archives_go_in() -> None:
    nodes: dict[str, Node] = {
        "data.tar": saved("data/train.csv"), "data.tgz": gzip.compress(saved("data/x")), "zeros": Sparse(2 * MiB),
        "broken.gz": b"\x1f\x8b" + os.urandom(MiB), "broken.zst": b"\x28\xb5\x2f\xfd" + os.urandom(MiB),
        "broken.xz": b"\xfd7zXZ\0" + os.urandom(MiB),
    }  # fmt: skip
    assert names(nodes) == set(nodes)


def test_an_image_layout_stays_out_and_exclude_takes_back_what_is_wanted() -> None:
    nodes: dict[str, Node] = {
        "layout/oci-layout": "{}", "layout/index.json": "{}", "layout/blobs/sha256/ab": "x",
        "other/index.json": "{}", "x.tar": saved("oci-layout"),
    }  # fmt: skip
    assert names(nodes) == {"other/index.json"}
    assert left(nodes)["layout/"] == (Left.GENERATED, "an image")
    assert names(nodes, 'exclude = ["!layout", "!*.tar"]') == set(nodes)


def test_find_links_folders_stay_out() -> None:
    assert names({"wheels/a.whl": "x", "lib/wheels/b.txt": "x"}, 'find-links = ["./wheels"]') == {
        "lib/wheels/b.txt"
    }


def test_gitignore_is_obeyed_nested_and_negated() -> None:
    nodes: dict[str, Node] = {
        ".gitignore": "*.csv\n/data/\n", "a.csv": "", "data/x": "", "lib/data/y": "",
        "lib/.gitignore": "!keep.csv\ntmp",
        "lib/keep.csv": "", "lib/z.csv": "", "lib/tmp/q": "",
    }  # fmt: skip
    assert names(nodes) == {".gitignore", "lib/.gitignore", "lib/data/y", "lib/keep.csv"}
    assert left(nodes)["data/"] == (Left.IGNORED, "/data/")


def test_F07_an_ignore_file_may_have_any_line_ends_and_any_bytes() -> None:
    strange = os.fsdecode(b"\xff")
    nodes: dict[str, Node] = {".gitignore": b"\xef\xbb\xbfa\r\n\xff\r\n", "a": "", "b": "", strange: ""}
    assert names(nodes) == {".gitignore", "b"}


def test_dockerignore_is_obeyed_in_dockers_way() -> None:
    nodes: dict[str, Node] = {
        ".dockerignore": "*\n!src\n!train.py\nsrc/*.log\n",
        "src/a.py": "",
        "src/b.log": "",
        "c.py": "",
    }
    assert names(nodes) == {"src/a.py"}


def test_include_and_exclude() -> None:
    nodes: dict[str, Node] = {"data/big": "", "data/small": "", "lib/a.py": "", "doc/x": ""}
    assert names(nodes, 'exclude = ["data/**", "!data/small"]') == {"data/small", "lib/a.py", "doc/x"}
    assert names(nodes, 'include = ["lib", "*.py"]') == {"lib/a.py"}


def test_exclude_can_take_back_what_git_ignores() -> None:
    nodes: dict[str, Node] = {".gitignore": "models/\n", "models/a.bin": "x", "models/b.log": "x"}
    config = 'exclude = ["!models/**", "*.log"]'
    assert names(nodes, config) == {".gitignore", "models/a.bin"}


@pytest.mark.parametrize(
    "path",
    [
        ".env", ".env.local", "deploy/.ENV", "id_rsa", "keys/id_ed25519", "server.pem", "x.key", ".aws/credentials",
        ".netrc", "kubeconfig", ".kube/config", ".pypirc", ".git-credentials", ".docker/config.json", "kaggle.json",
        "my-service-account-1.json", "client_secret_1.json", ".cache/huggingface/token", "terraform.tfstate",
    ],
)  # fmt: skip
def test_P08_a_file_that_is_a_secret_by_its_name_stays_out(path: str) -> None:
    found = listing({path: "x"})
    assert {file.path for file in found.files} == {"train.py"}
    ((at, why, _),) = found.left_out
    assert path.startswith(at.rstrip("/"))
    assert why is Left.SECRET or path.startswith(".cache/")
    if why is Left.SECRET:
        assert f"{at} looks like a secret" in str(found.warnings[0])


def test_P08_many_secrets_are_told_shortly() -> None:
    found = listing({f"{n:02}.pem": "x" for n in range(30)})
    assert len(found.warnings) == 21
    assert str(found.warnings[-1]) == "10 more files look like secrets and are left out"


def test_P08_a_template_of_a_secret_goes_in() -> None:
    assert names({".env.example": "KEY=", "tokenizer.json": "{}"}) == {".env.example", "tokenizer.json"}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (f'TOKEN = "{TOKEN}"', "Hugging Face token"),
        ("aws = 'AKIA" + "Q3EGRZLWKHTPXY5B'", "AWS access key"),
        ("-----BEGIN RSA " + "PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA7x" * 8, "private key"),
        ("x = 'ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8" + "'", "GitHub token"),
    ],
)
def test_P08_a_file_with_a_token_in_it_stays_out(content: str, kind: str) -> None:
    assert left({"conf.py": content}) == {"conf.py": (Left.SECRET, kind)}


def test_P08_a_placeholder_is_no_token() -> None:
    assert names({"doc.md": "export HF_TOKEN=hf_" + "x" * 34 + " AKIAIOSFODNN7EXAMPLE"}) == {"doc.md"}


def test_P11_only_an_explicit_key_takes_a_secret_back() -> None:
    nodes: dict[str, Node] = {".gitignore": "!.env\n!*.pem\n", ".dockerignore": "!.env", ".env": "x", "ca.pem": "x",
                              ".aws/config": "x", "c.py": f"'{TOKEN}'"}  # fmt: skip
    kept = {".gitignore", ".dockerignore"}
    assert names(nodes, 'exclude = ["!.env", "!*.pem"]\ninclude = ["**", ".env"]') == kept
    assert names(nodes, 'secrets = ["ca.pem", "c.py"]') == {*kept, "ca.pem", "c.py"}
    assert names(nodes, 'secrets = [".aws/config"]') == {*kept, ".aws/config"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/etc/passwd", "absolute path"),
        ("../x", "leads out of the project"),
        ("a/../../x", "leads out of the project"),
        ("out", "leads out of the project"),
    ],
)
def test_P01_a_link_to_outside_is_refused(target: str, said: str) -> None:
    with pytest.raises((ConfigError, ManyErrors)) as caught:
        listing({"data": Link(target), "a/b": "", "out": Link("../y")})
    assert f"-> {target}" in str(caught.value)
    assert said in str(caught.value)
    assert 'exclude = ["data"]' in str(caught.value)


def test_P01_a_link_that_is_excluded_is_no_error() -> None:
    assert names({"data": Link("/mnt/data")}, 'exclude = ["data"]') == set()


def test_P02_loops_and_dangling_links_are_refused() -> None:
    with pytest.raises(ManyErrors) as caught:
        listing({"a": Link("b"), "b": Link("a"), "c": Link("none")})
    assert str(caught.value).count("round in a circle") == 2
    assert "c: the link points to nothing" in str(caught.value)


def test_P02_a_link_inside_stays_a_link() -> None:
    found = {f.path: f.target for f in listing({"a/b": "", "d": Link("a"), "a/l": Link("../a/b")}).files}
    assert found == {"a/b": None, "d": "a", "a/l": "../a/b", "train.py": None}


def test_a_link_to_what_stays_out_stays_out() -> None:
    assert left({".env": "x", "settings": Link(".env")})["settings"] == (
        Left.EXCLUDED,
        "what it points at stays out",
    )


def test_P03_a_fifo_is_refused_and_named() -> None:
    with pytest.raises(ConfigError, match="pipe: a FIFO, socket or device cannot go into an image"):
        listing({"pipe": Fifo()})
    assert names({"pipe": Fifo()}, 'exclude = ["pipe"]') == set()


def test_P06_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.txt").chmod(0)
    if os.access(tmp_path / "a.txt", os.R_OK):
        pytest.skip("this user reads everything")
    tree = DiskTree(tmp_path)
    with pytest.raises(ConfigError, match="a.txt: this cannot be read"):
        list_code(tree, read_project(tree))


def test_P07_strange_names_come_through_exactly() -> None:
    strange = {"new\nline.py", "-rf", "x" * 255, os.fsdecode(b"\xff.py"), " lead", "näme"}
    assert names(dict.fromkeys(strange, "x")) == strange


def test_P07_a_name_that_would_become_a_whiteout_is_refused() -> None:
    with pytest.raises(ConfigError, match="lib/.wh.x: a file of this name would delete another"):
        listing({"lib/.wh.x": ""})


@pytest.mark.timeout(300)
def test_P09_a_huge_sparse_file_costs_nothing_but_a_warning(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    with (tmp_path / "data.npy").open("wb") as file:
        file.truncate(500 * 1024**3)
    tree = DiskTree(tmp_path)
    start = time.process_time()
    found = list_code(tree, read_project(tree))
    assert time.process_time() - start < 3  # a third of it on an idle machine
    assert found.size == 500 * 1024**3
    assert "data.npy (536871 MB) goes into the code layer" in str(found.warnings[0])


class Endless(MemoryTree):
    """A data set whose files are made while one looks."""

    def walk(self, enter: Callable[[Entry], bool]) -> Iterator[Entry]:
        yield from super().walk(enter)
        folder = Entry("data", EntryKind.FOLDER)
        yield folder
        if enter(folder):
            for number in count():
                yield Entry(f"data/{number:09}.png", EntryKind.FILE, 1)


def test_P09_a_data_set_is_refused_as_code_and_told_how_to_mount() -> None:
    tree = Endless(BARE)
    with pytest.raises(ConfigError) as caught:
        list_code(tree, read_project(tree))
    assert str(caught.value) == (
        "the project has too many files for a code layer; got more than 200000; want at most 200000\n"
        'hint: leave data out: exclude = ["data"]\n'
        'hint: and mount it: run.volumes = ["./data:/data:ro"]\n'
        "hint: if you trust it, accept it: limits.max-members = 2000000 in the configuration"
    )


def test_P09_how_many_files_are_code_is_the_users_to_say() -> None:
    files: dict[str, Node] = {f"data/{number}": "" for number in range(3)}
    tree = MemoryTree({"train.py": "", **files, "trainload.toml": "limits.max-members = 5"})
    assert len(list_code(tree, read_project(tree)).files) == 5
    tree = MemoryTree({"train.py": "", **files, "trainload.toml": "limits.max-members = 4"})
    with pytest.raises(ConfigError, match="too many files for a code layer; got more than 4"):
        list_code(tree, read_project(tree))


@pytest.mark.parametrize("pattern", ["data", "data/**", "/data/*", "**/data/**"])
def test_P09_an_excluded_data_set_is_not_looked_into(pattern: str) -> None:
    tree = Endless({**BARE, "trainload.toml": f'exclude = ["{pattern}"]'})
    assert list_code(tree, read_project(tree)).left_out == (("data/", Left.EXCLUDED, pattern),)


def test_P10_only_the_executable_bit_of_the_owner_counts() -> None:
    modes = {"a": 0o4755, "b": 0o666, "c": 0o600, "d": 0o711}
    tree = MemoryTree({**BARE, "a": "", "b": "", "c": "", "d": ""}, modes=modes)
    found = {f.path: f.executable for f in list_code(tree, read_project(tree)).files}
    assert found == {"a": True, "b": False, "c": False, "d": True, "train.py": False}


def test_P12_pickles_are_flagged_and_shipped() -> None:
    found = listing({"model.pt": "x", "w.bin": b"PK\x03\x04", "raw.bin": b"\0\0\0"})
    assert {f.path for f in found.files} == {"model.pt", "raw.bin", "train.py", "w.bin"}
    assert [str(w) for w in found.warnings] == [
        "model.pt, w.bin: a pickle can run any code when it is loaded; prefer safetensors"
    ]


def tensors(header: bytes, body: bytes = b"\0" * 8) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (tensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'), None),
        (tensors(b'{"a":{"data_offsets":[0,9]}}'), "a tensor lies outside the file"),
        (tensors(b'{"a":{"data_offsets":[0,8]},"b":{"data_offsets":[4,8]}}'), "tensors overlap"),
        (tensors(b'{"a":{}}'), "a tensor has no place"),
        (tensors(b"[" * 5000), "its header is not JSON"),
        ((2**60).to_bytes(8, "little") + b"x", "its header does not fit"),
        (b"x", "its header does not fit"),
    ],
)
def test_P12_a_safetensors_header_is_checked(content: bytes, said: str | None) -> None:
    warnings = [str(w) for w in listing({"m.safetensors": content}).warnings]
    assert warnings == ([f"m.safetensors is not a sound safetensors file: {said}"] if said else [])


def test_large_data_in_the_code_is_told_with_its_size() -> None:
    (warning,) = listing({"data.npy": Sparse(200 * MiB)}).warnings
    assert str(warning).startswith("data.npy (210 MB) goes into the code layer")


def test_a_search_that_was_not_complete_says_so() -> None:
    nodes: dict[str, Node] = {f"t/{n}.txt": "x" for n in range(2100)}
    assert "2000 of 2101 text files were searched" in str(listing(nodes).warnings[0])
