"""What an image stands on: tags that move, and CUDA that is there twice or in another version."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.dockerfile.model import Copy, From, Instruction
from trainload.errors import Text
from trainload.lint.dockerfile.document import Dockerfile, Script, Stage, expanded
from trainload.lint.dockerfile.pip import Install, installs, name_of
from trainload.lint.dockerfile.weights import cuda_in_wheels, names, shown, wanted
from trainload.lint.images import floats, pinned, split
from trainload.lint.model import Edit, Flaw, Surroundings

_CUDA = re.compile(
    r"(?P<version>(?P<major>[0-9]+)\.(?P<minor>[0-9]+)(?:\.[0-9]+)?)-(?P<flavour>.*?)(?P<os>-?(?:ubuntu|ubi|rockylinux|centos|opensuse)\S*)?"
)
_IN_TAG = re.compile(r"cuda(?P<version>(?P<major>[0-9]+)\.(?P<minor>[0-9]+))(?P<flavour>)(?P<os>)")
_BUILD = re.compile(r"(?:whl/|\+|/simple-)(cu[0-9]{2,3}|cpu|rocm[0-9.]+)(?=[/\s\"']|\Z)")
_COMPILES = re.compile(
    r"\bnvcc\b|flash[-_]attn|\bapex\b|TORCH_CUDA_ARCH_LIST|CUDA_HOME|deepspeed|--no-build-isolation|setup\.py"
    r"|xformers\.git|\bcmake\b|bitsandbytes\.git|auto-gptq|exllama|detectron2|mmcv|pytorch3d|build_ext|\bninja\b",
    re.IGNORECASE,
)
# base image flavour → about what is unpacked, MB (nvidia/cuda 11.8 to 12.4, ubuntu22.04)
_FLAVOURS = {"devel": 7300, "runtime": 2200, "cudnn-devel": 9400, "cudnn-runtime": 3600}
# torch release → the CUDA its wheels of the usual index have, and the builds that other indexes have
_TORCH = {
    "1.13": ("11.7", ("cu116", "cu117")), "2.0": ("11.7", ("cu117", "cu118")), "2.1": ("12.1", ("cu118", "cu121")),
    "2.2": ("12.1", ("cu118", "cu121")), "2.3": ("12.1", ("cu118", "cu121")),
    "2.4": ("12.1", ("cu118", "cu121", "cu124")), "2.5": ("12.4", ("cu118", "cu121", "cu124")),
    "2.6": ("12.4", ("cu118", "cu124", "cu126")), "2.7": ("12.6", ("cu118", "cu126", "cu128")),
    "2.8": ("12.8", ("cu126", "cu128", "cu129")), "2.9": ("12.8", ("cu126", "cu128", "cu130")),
    "2.10": ("12.8", ("cu126", "cu128", "cu130")),
}  # fmt: skip
_RELEASES = {"11.3": "11.3.1", "11.6": "11.6.2", "11.7": "11.7.1", "11.8": "11.8.0", "12.1": "12.1.1",
             "12.4": "12.4.1", "12.6": "12.6.3", "12.8": "12.8.1", "12.9": "12.9.1", "13.0": "13.0.1"}  # fmt: skip


def floating(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    names_of_stages = {stage.name for stage in document.stages}
    for stage in document.stages:
        if stage.parent is None and stage.base != "scratch" and floats(stage.base):
            yield _floating(document, stage.opening, stage.base, around)
        for item in stage.items:
            what = item.what
            other = what.from_ if isinstance(what, Copy) else None
            if other and not other.isdigit() and other.lower() not in names_of_stages and floats(other):
                yield _floating(document, item, other, around)


def _floating(document: Dockerfile, item: Instruction, image: str, around: Surroundings) -> Flaw:
    known = pinned(image, around.python)
    line = document.source.line(item.line)
    written = item.what.image if isinstance(item.what, From) else image
    edit = (Edit(item.line, item.line, (line.replace(written, known, 1),)),) if known and written in line else ()
    if "$" in written:
        edit = ()
    return Flaw(
        item.line, item.line,
        Text("{image} has no tag that stays: the next build stands on something else", image=image),
        Text("another Python or CUDA from one day to the next; wheels that fit today may not fit then"),
        edit,
    )  # fmt: skip


def _torch(document: Dockerfile, around: Surroundings) -> Iterator[tuple[Stage, Script, Install, str, str]]:
    """Where torch is installed from wheels: its release and build, empty where they are not written."""
    for stage in document.chain:
        for script in document.scripts(stage):
            for one in installs(script.commands):
                values = document.environ(stage, script.item.line)
                found = [expanded(text, values) for text in wanted(one, around.texts)]
                indexes = [expanded(index, values) for index in one.indexes]
                torch = next((text for text in found if name_of(text) == "torch"), None)
                if torch is None and not any(_BUILD.search(index) for index in indexes):
                    continue
                release = re.search(r"==\s*([0-9]+\.[0-9]+)", torch or "")
                build = next((m[1] for text in (torch or "", *indexes) if (m := _BUILD.search(text))), "")
                if torch is None and not names(found) & {"torchvision", "torchaudio"} and found:
                    continue
                yield stage, script, one, release[1] if release else "", build


def cuda_twice(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    yield from _torch_twice(document, around)
    base = _cuda_base(document.image)
    if base is None or base["flavour"].startswith("base"):
        return
    if _COMPILES.search(document.source.text):
        return  # then the base's compiler is used
    for _, script, _, _, build in _torch(document, around):
        if build == "cpu":
            continue
        flavour = re.sub(r"cudnn[0-9]*", "cudnn", base["flavour"])
        weight = _FLAVOURS.get(flavour, _FLAVOURS["runtime"])
        opening = document.chain[0].opening
        slim = document.image.replace(base["flavour"], "base", 1)
        line = document.source.line(opening.line)
        mend = (Edit(opening.line, opening.line, (line.replace(base["flavour"], "base", 1),)),)
        yield Flaw(
            opening.line, opening.line,
            Text("CUDA is in the base, and once more in torch's wheels (line {line}), which use their own",
                 line=script.item.line),
            Text("about {base} of the base are never used, beside {wheels} in the wheels; {slim} is enough",
                 base=shown(weight - 250), wheels=shown(cuda_in_wheels(around)), slim=slim),
            mend if base["flavour"] in line else (),
        )  # fmt: skip
        return


def _torch_twice(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    """Another torch than the one that the base exists for: both are in the image then."""
    name, tag, _ = split(document.image)
    if name not in ("pytorch/pytorch", "nvcr.io/nvidia/pytorch"):
        return
    own = re.match(r"[0-9]+\.[0-9]+", tag) if name == "pytorch/pytorch" else None
    for _, script, one, release, _ in _torch(document, around):
        forced = one.has("--force-reinstall", "-I", "--ignore-installed", "-U", "--upgrade")
        if not (release or forced) or (own and release == own[0] and not forced):
            continue
        yield Flaw(
            script.item.line, max(script.item.last, script.item.line),
            Text("torch is installed over the one of {image}", image=document.image),
            Text("about {wheels} more, and the base's own torch and CUDA are never used: take the release that the"
                 " base has, or a slim base", wheels=shown(cuda_in_wheels(around))),
        )  # fmt: skip
        return


def _cuda_base(image: str) -> re.Match[str] | None:
    name, tag, _ = split(image)
    return _CUDA.fullmatch(tag) if name.endswith("nvidia/cuda") or name == "nvcr.io/nvidia/cuda" else None


def _any_cuda(image: str) -> re.Match[str] | None:
    """CUDA of NVIDIA's image, or of PyTorch's own: ``2.6.0-cuda12.4-cudnn9-runtime``."""
    return _cuda_base(image) or _IN_TAG.search(split(image)[1])


def cuda_mismatch(document: Dockerfile, around: Surroundings) -> Iterator[Flaw]:
    base = _any_cuda(document.image)
    for _, script, _, release, build in _torch(document, around):
        built = _version(build) if build else _TORCH.get(release, ("", ()))[0]
        why = _contradiction(base, build, built, around.driver)
        if why is None:
            continue
        mend = _other_build(document, script, release, build, base) if base is not None else ()
        yield Flaw(
            script.item.line, max(script.item.last, script.item.line), why,
            Text("torch finds no GPU, or extensions built here do not load"),
            mend or _other_base(document, base, built, build), sure=bool(mend) and build != "cpu",
        )  # fmt: skip


def _contradiction(
    base: re.Match[str] | None, build: str, built: str, driver: tuple[int, int] | None
) -> Text | None:
    if base is not None and build == "cpu":
        return Text("torch for CPUs on a base with CUDA {cuda}", cuda=base["version"])
    if not built:
        return None
    major, minor = (int(part) for part in built.split("."))
    if base is not None:
        here = (int(base["major"]), int(base["minor"]))
        if here[0] != major or (build and here != (major, minor)):
            return Text(
                "torch is built for CUDA {built}, and the base has CUDA {cuda}", built=built, cuda=base["version"]
            )
    if driver is not None and major > driver[0]:
        return Text("torch is built for CUDA {built}, and this machine's driver runs CUDA {cuda} at most",
                    built=built, cuda=f"{driver[0]}.{driver[1]}")  # fmt: skip
    return None


def _version(build: str) -> str:
    match = re.fullmatch(r"cu([0-9]+)([0-9])", build)
    return f"{match[1]}.{match[2]}" if match else ""


def _other_build(
    document: Dockerfile, script: Script, release: str, build: str, base: re.Match[str]
) -> tuple[Edit, ...]:
    """The build for the base's CUDA, where this release of torch has one."""
    wanted_build = f"cu{base['major']}{base['minor']}"
    known = _TORCH.get(release, ("", ()))[1] if release else tuple(f"cu{v.replace('.', '')}" for v in _RELEASES)
    if not build or wanted_build not in known:
        return ()
    edits = []
    for number in range(script.item.line, max(script.item.last, script.item.line) + 1):
        line = document.source.line(number)
        new = re.sub(rf"(whl/|\+){build}(?![0-9])", rf"\g<1>{wanted_build}", line)
        if new != line:
            edits.append(Edit(number, number, (new,)))
    return tuple(edits)


def _other_base(document: Dockerfile, base: re.Match[str] | None, built: str, build: str) -> tuple[Edit, ...]:
    """The base with torch's CUDA."""
    if base is None or base.re is _IN_TAG or built not in _RELEASES or build == "cpu":
        return ()
    opening = document.chain[0].opening
    line = document.source.line(opening.line)
    flavour = base["flavour"]
    plain = re.sub(r"cudnn[0-9]+", "cudnn", flavour)
    if float(built) < 12.4 and "cudnn" in flavour:
        plain = re.sub(r"cudnn(?![0-9])", "cudnn8", plain)
    if base[0] not in line:
        return ()
    new = f"{_RELEASES[built]}-{plain}{base['os'] or ''}"
    return (Edit(opening.line, opening.line, (line.replace(base[0], new, 1),)),)
