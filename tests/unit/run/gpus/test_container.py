"""Real containers with harmless device nodes in place of GPUs: what a specification asks for is what is seen."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from trainload.digest import Digest
from trainload.errors import RunError
from trainload.events import Event, Said
from trainload.layers.debian.ldcache import FLAGS, Cached, encode
from trainload.platform import Platform
from trainload.run.embedded import EmbeddedEngine
from trainload.run.gpus.host import VARIABLE, facts
from trainload.run.gpus.model import Grant, Node
from trainload.run.gpus.seen import troubles
from trainload.run.inside import Inside
from trainload.run.model import Mount, RunSpec
from trainload.run.overlay import Way
from trainload.run.unpack import LayerBlob
from trainload.system import scratch
from trainload.testing.gpus import as_json, as_yaml, driver_library, hook, mount, node, spec
from trainload.testing.people import as_ordinary_user, cannot_be_ordinary
from trainload.testing.rootfs import programs_layer
from trainload.testing.tars import TarEntry, blob, folder, symlink, tar

LIB = "/usr/lib/driver"
SPEC = RunSpec(
    image=Digest.sha256(b""), id="gpus", command=("sh",), user="1000", workdir="/", env={"A": "1"}, gpus="all"
)


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> LayerBlob:
    return blob(tmp_path_factory.mktemp("layer") / "blob", programs_layer())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the nodes and files of a driver, and the folder ``cdi`` for specifications."""
    library = driver_library()
    if library is None:
        pytest.skip("this machine has no libzstd.so.1 to make a driver's library of")
    for name in ("nvidia0", "nvidiactl"):
        try:
            os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # as /dev/null
        except PermissionError:
            pytest.skip("an ordinary user cannot make device nodes")
        (tmp_path / name).chmod(0o666)
    (tmp_path / "libcuda.so.550.1").write_bytes(library)
    (tmp_path / "nvidia.conf").write_text("a driver's file\n")
    (tmp_path / "cdi").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cdi"))
    return tmp_path


def document(host: Path, **more: object) -> dict[str, object]:
    return spec(
        {"0": {"deviceNodes": [node("/dev/nvidia0", hostPath=str(host / "nvidia0"), major=1, minor=3)]}},
        {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [node("/dev/nvidia-caps/cap1", hostPath=str(host / "nvidiactl"))],
            "mounts": [
                mount(str(host / "libcuda.so.550.1"), f"{LIB}/libcuda.so.550.1"),
                mount(str(host / "nvidia.conf"), "/etc/nvidia/nvidia.conf"),
            ],
            "hooks": [
                hook(
                    "create-symlinks",
                    "--link",
                    f"libcuda.so.1::{LIB}/libcuda.so",
                    "--link",
                    "../nvidia0::/dev/by/0",
                ),
                hook("update-ldcache", "--folder", LIB),
                hook("chmod", "--mode", "711", "--path", "/dev/nvidia-caps"),
            ],
            **more,
        },
    )


@pytest.fixture
def told(layer: LayerBlob, host: Path) -> Callable[..., tuple[str, list[str]]]:
    """Runs a script; what it wrote, and what we warned of."""

    def run(
        script: str, *layers: LayerBlob, ways: tuple[Way, ...] = tuple(Way), **changed: object
    ) -> tuple[str, list[str]]:
        warned: list[str] = []

        class Heard:
            def report(self, event: Event) -> None:
                if isinstance(event, Said):
                    warned.append(str(event.text))
                    (host / "out" / "heard").touch()

        (host / "out").mkdir(exist_ok=True)
        (host / "out" / "heard").unlink(missing_ok=True)
        wanted = replace(
            SPEC, command=("sh", "-c", f"{{ {script}\n}} >/out/told 2>&1"), seconds=90.0,
            mounts=(Mount(str(host / "out"), "/out"),), **changed,  # type: ignore[arg-type]
        )  # fmt: skip
        engine = EmbeddedEngine(host / "rootfs", lambda _: [layer, *layers], reporter=Heard(), ways=ways)
        assert engine.run(wanted).exit_code == 0, (host / "out" / "told").read_text()
        return (host / "out" / "told").read_text(), warned

    return run


UNTIL_HEARD = "until [ -e /out/heard ]; do sleep 0.05; done"
LOOK = f"""
cat /dev/nvidia0 /dev/nvidia-caps/cap1 >/dev/null 2>&1; stat -c '%n %t:%T' /dev/nvidia0
stat -c '%n %a' /dev/nvidia-caps
stat -c '%N' {LIB}/libcuda.so {LIB}/libcuda.so.1 /dev/by/0
cat /etc/nvidia/nvidia.conf
(echo x >/etc/nvidia/nvidia.conf) 2>/dev/null || echo refused
echo $NVIDIA_VISIBLE_DEVICES $A $LD_LIBRARY_PATH
LD_PRELOAD=libcuda.so.1 cat /dev/null
sleep 0.4
"""
SEEN = [
    "/dev/nvidia0 1:3", "/dev/nvidia-caps 711", f"'{LIB}/libcuda.so' -> 'libcuda.so.1'",
    f"'{LIB}/libcuda.so.1' -> 'libcuda.so.550.1'", "'/dev/by/0' -> '../nvidia0'", "a driver's file", "refused",
    "void 1",
]  # fmt: skip


@pytest.mark.parametrize("way", list(Way))
def test_nodes_mounts_variables_links_and_the_linkers_cache(
    host: Path, told: Callable[..., tuple[str, list[str]]], way: Way
) -> None:
    (host / "cdi" / "nvidia.yaml").write_bytes(as_yaml(document(host)))
    text, warned = told(LOOK, ways=(way,))
    assert text.splitlines() == SEEN
    assert [line for line in warned if "overlay" not in line] == []


ORDINARY = """
import sys
from pathlib import Path
from trainload.digest import Digest
from trainload.run.embedded import EmbeddedEngine
from trainload.run.model import Mount, RunSpec
from trainload.testing.tars import blob
home, script = Path(sys.argv[1]), sys.argv[3]
layer = blob(home / "blob", Path(sys.argv[2]).read_bytes())
(home / "out").mkdir()
spec = RunSpec(
    image=Digest.sha256(b""), id="gpus", command=("sh", "-c", "{ " + script + " } >/out/told 2>&1"), user="1000",
    workdir="/", env={"A": "1"}, gpus="all", mounts=(Mount(str(home / "out"), "/out"),), seconds=90.0,
)
EmbeddedEngine(home / "rootfs", lambda _: [layer]).run(spec)
print((home / "out" / "told").read_text(), end="")
"""


def test_a_program_that_ends_at_once_is_not_waited_for(
    host: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host)))
    told("true")
    took: list[float] = []
    while len(took) < 3 and not any(seconds < 9 for seconds in took):  # a busy machine may be slow itself
        began = time.monotonic()
        assert told("true") == ("", [])
        took.append(time.monotonic() - began)
    assert min(took) < 9  # the patience is 10 s


def test_an_ordinary_user_sees_the_same(host: Path) -> None:
    with scratch.folder("gpus") as own:  # pytest closes its folders to others
        own.chmod(0o755)
        (own / "home").mkdir()
        reason = cannot_be_ordinary(own / "home")
        if reason is not None:
            pytest.skip(reason)
        for name in ("nvidia0", "nvidiactl"):
            os.mknod(own / name, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            (own / name).chmod(0o666)
        for name in ("libcuda.so.550.1", "nvidia.conf"):
            (own / name).write_bytes((host / name).read_bytes())
        (own / "cdi").mkdir()
        (own / "cdi" / "nvidia.yaml").write_bytes(as_yaml(document(own)))
        (own / "layer.tar").write_bytes(programs_layer())
        done = as_ordinary_user(
            ORDINARY, str(own / "home"), str(own / "layer.tar"), LOOK, home=own / "home",
            env={VARIABLE: str(own / "cdi")},
        )  # fmt: skip
        assert done.stdout.decode().splitlines() == SEEN, done.complaint


def test_the_images_own_cache_is_kept_below_the_drivers_entries(
    host: Path, tmp_path: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    library, flags = driver_library(), FLAGS[Platform.host().architecture]
    assert library is not None
    own = [Cached("libother.so", "/opt/libcuda.so.1", flags), Cached("libcuda.so.1", "/opt/stub", flags)]
    more = tar(folder("opt"), TarEntry("opt/libcuda.so.1", library), TarEntry("opt/stub", b"no library"),
               folder("etc"), TarEntry("etc/ld.so.cache", encode(own)))  # fmt: skip
    (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host)))
    text, warned = told("LD_PRELOAD='libcuda.so.1 libother.so' cat /dev/null; sleep 0.3",
                        blob(tmp_path / "more", more))  # fmt: skip
    assert (text, warned) == ("", [])


def test_a_newer_driver_part_of_the_image_goes_first(
    host: Path, tmp_path: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    library = driver_library()
    assert library is not None
    compat = "usr/local/cuda/compat"
    more = tar(*(folder(name) for name in ("usr/local", "usr/local/cuda", compat)),
               TarEntry(f"{compat}/libcuda.so.570.2", library),
               symlink(f"{compat}/libcuda.so.1", "libcuda.so.570.2"))  # fmt: skip
    for driver, place in (("550.1", f"/{compat}"), ("580.9", LIB)):
        hooks = [
            hook("update-ldcache", "--folder", LIB),
            hook("enable-cuda-compat", f"--host-driver-version={driver}"),
        ]
        (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host, hooks=hooks)))
        text, _ = told("LD_PRELOAD=libcuda.so.1 LD_TRACE_LOADED_OBJECTS=1 cat; sleep 0.3",
                       blob(tmp_path / "more", more))  # fmt: skip
        assert f"{place}/libcuda.so.1" in text


def test_an_image_that_cannot_load_the_driver_is_told(
    host: Path, tmp_path: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    library = driver_library()
    assert library is not None
    broken = library.replace(b"libc.so.6\0", b"libq.so.9\0")
    (host / "libcuda.so.550.1").write_bytes(broken)
    (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host)))
    assert ["cannot be loaded" in line for line in told(UNTIL_HEARD)[1]] == [True]
    (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host, mounts=[])))
    assert ["has no libcuda.so.1" in line for line in told(UNTIL_HEARD)[1]] == [True]


def test_a_node_that_is_not_seen_is_named(host: Path, tmp_path: Path) -> None:
    found = troubles(Inside(tmp_path), Grant(nodes=(Node("/dev/nvidia0", "/nvidia0"), Node("/x", "/gone"))))
    assert ["/gone" in str(text) and "nvidia0" not in str(text) for text in found] == [True]


def test_L12_a_link_of_the_image_does_not_lead_a_specification_out(
    host: Path, tmp_path: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    evil = tar(folder("usr"), folder("usr/lib"), symlink("usr/lib/driver", str(victim)), folder("etc"),
               symlink("etc/nvidia", str(victim)))  # fmt: skip
    (host / "cdi" / "nvidia.json").write_bytes(as_json(document(host)))
    text, _ = told(f"stat -c %N {LIB}/libcuda.so; cat /etc/nvidia/nvidia.conf", blob(tmp_path / "evil", evil))
    assert text == f"'{LIB}/libcuda.so' -> 'libcuda.so.1'\na driver's file\n"
    assert list(victim.iterdir()) == []


def test_a_specification_that_others_may_write_is_told(
    host: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    path = host / "cdi" / "nvidia.json"
    path.write_bytes(as_json(document(host)))
    path.chmod(0o666)
    assert sum("chmod 644" in line for line in told("true")[1]) == 1


def test_a_broken_specification_is_named_when_it_would_have_been_needed(
    host: Path, told: Callable[..., tuple[str, list[str]]]
) -> None:
    (host / "cdi" / "nvidia.yaml").write_text("cdiVersion: [")
    with pytest.raises(RunError, match="no GPU") as caught:
        told("true")
    assert "nvidia.yaml" in str(caught.value.hints[0])


def test_what_was_made_since_the_start_wins(tmp_path: Path) -> None:
    for name, variable in (("etc", "A=old"), ("run", "A=new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_bytes(as_json(spec({"0": {"env": [variable]}})))
    (tmp_path / "run" / "notes.txt").write_text("no specification")
    found = facts((tmp_path / "etc", tmp_path / "run", tmp_path / "gone"), tmp_path)
    assert [one.devices["0"].env for one in found.specs] == [("A=new",), ("A=old",)]


def test_a_machine_is_read(tmp_path: Path) -> None:
    for place in ("dev/dri", "etc", "usr/lib/wsl", "proc/driver/nvidia"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "dev/nvidia0").write_text("no node")
    flags = FLAGS[Platform.host().architecture]
    cache = [Cached("libcuda.so.1", "/a/libcuda.so.1", flags), Cached("libcuda.so.1", "/i386/libcuda.so.1", 3)]
    (tmp_path / "etc/ld.so.cache").write_bytes(encode(cache))
    (tmp_path / "proc/driver/nvidia/version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.1  x\n"
    )
    found = facts((), tmp_path)
    assert found.nodes == {}
    assert found.libraries == {"libcuda.so.1": "/a/libcuda.so.1"}
    assert (found.driver, found.files) == ("550.1", frozenset({"/usr/lib/wsl"}))
