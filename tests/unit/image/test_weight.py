"""What an image holds, what weighs, and what differs: laws over small inventories."""

from __future__ import annotations

from trainload.image.contents import Contents, join
from trainload.image.difference import FileChange, PackageChange, compare
from trainload.image.kinds import FileKind, kind_of
from trainload.image.model import Image
from trainload.image.weight import weigh
from trainload.layers.foreign.installed import Package
from trainload.layers.foreign.inventory import Entry, Inventory
from trainload.layers.tarread import MemberKind
from trainload.store.store import Store
from trainload.testing.images import make

MB = 1_000_000


def file(path: str, size: int = 1, content: str = "", owner: int | None = None) -> Entry:
    return Entry(path, MemberKind.FILE, size, size // 2, 0o644, "", content or path, owner)


def folder(path: str) -> Entry:
    return Entry(path, MemberKind.DIRECTORY, 0, 0, 0o755, "", "", None)


def layer(
    *entries: Entry, hides: tuple[str, ...] = (), empties: tuple[str, ...] = (), packages: tuple[Package, ...] = ()
) -> Inventory:
    evidence = tuple(f"evidence/{package.name}" for package in packages)
    proofs = tuple(file(path) for path in evidence)
    return Inventory((*entries, *proofs), hides, empties, packages, evidence)


def paths(contents: Contents) -> set[str]:
    return set(contents.seen)


def test_whiteouts_take_away_what_is_below_and_nothing_of_their_own_layer() -> None:
    base = layer(folder("a"), file("a/x"), file("a/y"), folder("b"), file("b/z"), file("c"))
    top = layer(file("a/new"), folder("b"), file("b/z2"), hides=("a/x", "c"), empties=("b",))
    contents = join([base, top])
    assert paths(contents) == {"a", "a/y", "a/new", "b", "b/z2"}
    assert {one.entry.path for one in contents.hidden} == {"a/x", "c", "b/z", "b"}


def test_a_whiteout_of_a_folder_takes_all_of_it() -> None:
    contents = join([layer(folder("a"), folder("a/b"), file("a/b/c"), file("ab")), layer(hides=("a",))])
    assert paths(contents) == {"ab"}


def test_a_folder_that_becomes_a_file_loses_what_was_in_it() -> None:
    contents = join([layer(folder("a"), file("a/x")), layer(file("a"))])
    assert paths(contents) == {"a"}
    assert contents.seen["a"].entry.kind is MemberKind.FILE


def test_a_package_is_there_as_long_as_the_file_that_says_so() -> None:
    old, new = Package("python", "torch", "1"), Package("python", "torch", "2")
    base = layer(packages=(old,))
    assert join([base]).packages == (old,)
    assert join([base, layer(packages=(new,))]).packages == (new,)
    assert join([base, layer(hides=("evidence/torch",))]).packages == ()


def test_kinds_are_told_by_path_and_package() -> None:
    site = "opt/venv/lib/python3.11/site-packages"
    nvidia, numpy = Package("python", "nvidia-cublas-cu12", "1"), Package("python", "numpy", "1")
    libc = Package("dpkg", "libc6", "1")
    contents = join([
        layer(
            file(f"{site}/nvidia/cublas/lib/libcublas.so.12", owner=0), file(f"{site}/numpy/x.py", owner=1),
            file(f"{site}/numpy/__pycache__/x.pyc", owner=1), file("usr/lib/libc.so.6", owner=2),
            file("usr/local/cuda-12.4/lib64/libcudart.so.12"), file("app/train.py"),
            file("app/model.safetensors", 9 * MB),
            file("root/.cache/huggingface/hub/models--x/blobs/abc", 9 * MB), file("root/.cache/pip/http/x", 9 * MB),
            file(f"{site}/stray.py"), file("usr/bin/env"), file("data/readme"), file("app/small.bin"),
            packages=(nvidia, numpy, libc),
        )
    ])  # fmt: skip
    kinds = {path: kind_of(placed, "/app") for path, placed in contents.seen.items()}
    assert kinds == {
        f"{site}/nvidia/cublas/lib/libcublas.so.12": FileKind.GPU,
        f"{site}/numpy/x.py": FileKind.PYTHON,
        f"{site}/numpy/__pycache__/x.pyc": FileKind.BYTECODE,
        "usr/lib/libc.so.6": FileKind.DISTRIBUTION,
        "usr/local/cuda-12.4/lib64/libcudart.so.12": FileKind.GPU,
        "app/train.py": FileKind.CODE,
        "app/model.safetensors": FileKind.WEIGHTS,
        "root/.cache/huggingface/hub/models--x/blobs/abc": FileKind.WEIGHTS,
        "root/.cache/pip/http/x": FileKind.CACHE,
        f"{site}/stray.py": FileKind.PYTHON,
        "usr/bin/env": FileKind.DISTRIBUTION,
        "data/readme": FileKind.OTHER,
        "app/small.bin": FileKind.CODE,
        "evidence/nvidia-cublas-cu12": FileKind.OTHER,
        "evidence/numpy": FileKind.OTHER,
        "evidence/libc6": FileKind.OTHER,
    }


def test_nothing_is_weighed_twice_and_nothing_is_left_out() -> None:
    contents = join([layer(file("usr/a", 10 * MB), file("b", 4)), layer(file("b", 6), hides=("usr/a",))])
    weights = weigh(contents, "/")
    stored = sum(placed.entry.packed for placed in (*contents.seen.values(), *contents.hidden))
    assert weights.seen.packed + weights.hidden.packed == stored
    assert sum(one.packed for one in weights.kinds.values()) == weights.seen.packed
    assert sum(seen.packed + hidden.packed for seen, hidden in weights.layers.values()) == stored
    assert weights.hidden.unpacked == 10 * MB + 4


def test_the_same_cuda_library_in_base_and_wheel_is_told_with_what_to_do() -> None:
    base = layer(file("usr/local/cuda-12.4/lib64/libcublas.so.12.4.5.8", 100 * MB))
    wheel = layer(file("opt/venv/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so.12", 90 * MB))
    weights = weigh(join([base, wheel]), "/app")
    [twice] = weights.twice
    assert (twice.name, twice.waste, twice.same_content) == ("libcublas.so.12", 90 * MB, False)
    assert "take a base without CUDA" in str(weights.hints[0])
    assert "90 MB" in str(weights.hints[0])
    assert weigh(join([wheel]), "/app").hints == ()


def test_other_versions_of_a_library_are_not_the_same() -> None:
    weights = weigh(join([layer(file("a/libcublas.so.11", 9 * MB), file("b/libcublas.so.12", 9 * MB))]), "/")
    assert weights.twice == ()


def test_the_same_content_twice_is_found_and_small_files_are_not_told() -> None:
    contents = join(
        [layer(file("a/x.bin", MB, "same"), file("b/y.bin", MB, "same"), file("c", 9, "s"), file("d", 9, "s"))]
    )
    [twice] = weigh(contents, "/").twice
    assert twice.paths == ("a/x.bin", "b/y.bin")
    assert (twice.waste, twice.same_content) == (MB, True)


def test_what_is_there_for_nothing_is_told() -> None:
    base = layer(file("usr/old", 40 * MB), file("root/.cache/pip/x", 40 * MB), file("usr/lib/libx.a", 40 * MB))
    hints = " ".join(str(hint) for hint in weigh(join([base, layer(hides=("usr/old",))]), "/").hints)
    assert "20 MB lie in lower layers" in hints
    assert "20 MB are caches" in hints
    assert "20 MB are static libraries" in hints


def image_of(store: Store, *contents: dict[str, bytes], name: str) -> Image:
    with store.writing():
        return make(store, name, *contents)


def test_images_differ_in_packages_settings_files_and_layers(store: Store) -> None:
    old = image_of(store, {"a": b"1"}, {"b": b"1"}, name="old")
    new = image_of(store, {"a": b"1"}, {"b": b"2"}, name="new")
    torch = [Package("python", "torch", version) for version in ("2.12", "2.13")]
    gone = Package("python", "gone", "1")
    before = join([layer(file("t", 10, owner=0), file("x"), packages=(torch[0], gone))])
    after = join([layer(file("t", 15, "other", owner=0), file("y"), packages=(torch[1],))])
    found = compare(old, new, before, after)
    assert found.packages == (
        PackageChange("python", "gone", "1", None, 0, 0), PackageChange("python", "torch", "2.12", "2.13", 10, 15),
    )  # fmt: skip
    assert FileChange("t", 10, 15, owned=True) in found.files
    assert FileChange("x", 1, None) in found.files
    assert FileChange("y", None, 1) in found.files
    assert [(one.in_old, one.in_new) for one in found.layers] == [(True, False), (True, True), (False, True)]
    assert found.settings == ()
    assert found.size(in_old=True, in_new=True) == old.manifest.layers[0].size
