"""What pods ask for: GPUs, shared memory, images, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.images import floats, pinned
from trainload.lint.kubernetes.document import Container, Manifests, Pod, Workload, kind_of
from trainload.lint.kubernetes.jobs import edits
from trainload.lint.launch import trains
from trainload.lint.memory import bus_error, needs
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.nodes import Node
from trainload.lint.secrets import formed, literal, named

_GPU = "nvidia.com/gpu"
_SHM = "/dev/shm"  # noqa: S108 - a container's
_GPU_IMAGE = re.compile(
    r"cuda|nvcr\.io/nvidia/(?:pytorch|tensorflow|tritonserver|nemo)|vllm/vllm-openai(?!-cpu)|-gpu\b"
)
_WRONG = re.compile(
    r"gpus?|nvidia/gpu|nvidia-gpu|nvidia\.com/gpus|nvidia\.com|nvidia\.gpu|alpha\.kubernetes\.io/nvidia-gpu"
)
_TRAINING = ("Job", "JobSet", "PyTorchJob", "CronJob", "Pod")


def gpus(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for workload in document.workloads:
        if workload.kind == "DaemonSet":
            continue  # device plugins and exporters see GPUs without reserving them
        for pod in workload.pods:
            for container in pod.every:
                yield from _amounts(document, container)
                yield from _misnamed(document, container)
            yield from _none(document, pod)


def _amounts(document: Manifests, container: Container) -> Iterator[Flaw]:
    limits = {name: value for name, _, value in container.amounts("limits")}
    for name, key, value in container.amounts("requests"):
        limit = limits.get(name)
        if limit is None:
            yield Flaw(
                key.line, value.last,
                Text("{resource} is requested without a limit", resource=name),
                Text("the API server refuses it: GPUs cannot be shared, so the limit is the request"),
                edits(_limit(container, name, value.text or "1")),
            )  # fmt: skip
        elif limit.text != value.text:
            yield Flaw(
                key.line, value.last,
                Text("{resource}: the request ({request}) and the limit ({limit}) must be equal",
                     resource=name, request=value.text, limit=limit.text),
                Text("the API server refuses it"),
                edits(yamledit.scalar(document.source, value, limit.text or "1")),
            )  # fmt: skip
    for name, value in limits.items():
        if not re.fullmatch(r"[0-9]+|.*[${].*", value.text or ""):
            yield Flaw(value.line, value.last,
                       Text("{resource} is a whole number, not {value}", resource=name, value=value.text),
                       Text("the API server refuses it"))  # fmt: skip


def _misnamed(document: Manifests, container: Container) -> Iterator[Flaw]:
    """A resource that only looks like a GPU: no node has it, or nobody counts it."""
    for what in ("limits", "requests"):
        node = container.node.get("resources", what)
        for name, key, value in node.children() if node is not None else ():
            if _WRONG.fullmatch(name):
                yield Flaw(
                    key.line, value.last,
                    Text("no resource is called {name}; a GPU is {resource}", name=name, resource=_GPU),
                    Text("the pod waits for ever for a node that has it"),
                    edits(yamledit.scalar(document.source, key, _GPU)),
                )  # fmt: skip


def _limit(container: Container, name: str, count: str) -> Edit | None:
    resources = container.node.get("resources")
    if resources is None:
        return yamledit.added(container.node, ["resources:", "  limits:", f"    {name}: {count}"])
    limits = resources.get("limits")
    if limits is None:
        return yamledit.added(resources, ["limits:", f"  {name}: {count}"])
    return yamledit.added(limits, [f"{name}: {count}"])


def _none(document: Manifests, pod: Pod) -> Iterator[Flaw]:
    """A pod that is for a GPU and reserves none."""
    if any(True for one in pod.every for what in ("limits", "requests") for _ in one.amounts(what)):
        return
    if any(True for one in pod.containers for _ in _misnamed(document, one)):
        return
    if any(one.node.get("resources", "claims") is not None for one in pod.containers):
        return
    found = next(((one, why) for one in pod.containers if (why := _for_gpu(pod, one))), None)
    if found is None:
        return
    container, why = found
    place = container.node.get("image") or container.node
    count = next((launch.processes for launch in container.launches if launch.processes), 1)
    yield Flaw(
        place.line, place.last,
        Text("no limit for {resource}, although {why}", resource=_GPU, why=why),
        Text("the pod is put on any node, and sees no GPU"),
        edits(_limit(container, _GPU, str(count))),
    )  # fmt: skip


def _for_gpu(pod: Pod, container: Container) -> Text | None:
    if _GPU_IMAGE.search(container.image):
        return Text("the image is for GPUs ({image})", image=container.image)
    if any(launch.options.get("nproc-per-node") == "gpu" for launch in container.launches):
        return Text("torchrun starts one process per GPU")
    if re.search(r"\bnccl\b", container.text):
        return Text("the command names NCCL")
    runtime = pod.node.get("runtimeClassName")
    if runtime is not None and (runtime.text or "").startswith("nvidia"):
        return Text("runtimeClassName is {name}", name=runtime.text)
    tolerations = pod.node.get("tolerations")
    for item in tolerations.items or () if tolerations is not None else ():
        key = item.get("key")
        if key is not None and key.text == _GPU:
            return Text("the pod tolerates the taint {name}", name=_GPU)
    selector = pod.node.get("nodeSelector")
    for name, _, _ in selector.children() if selector is not None else ():
        if "gpu" in name or "accelerator" in name:
            return Text("nodeSelector asks for {name}", name=name)
    return None


def shared_memory(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for workload in document.workloads:
        for pod in workload.pods:
            if pod.is_set("hostIPC"):
                continue
            for container in pod.containers:
                reason = _reason(workload, container, around)
                if reason:
                    yield from _shm(document, pod, container, reason)


def _reason(workload: Workload, container: Container, around: Surroundings) -> Text | None:
    found = needs(container.commands, container.environ, around, own_code=True)
    if found or workload.kind not in _TRAINING or not container.gpus:
        return found
    code_is_here = any(path.endswith(".py") for path in around.files)
    if not code_is_here and any(trains(command.texts) for command in container.commands):
        return Text(
            "a training on a GPU reads its data with DataLoader workers, which pass batches through /dev/shm"
        )
    return None


def _shm(document: Manifests, pod: Pod, container: Container, reason: Text) -> Iterator[Flaw]:
    mounts = container.node.get("volumeMounts")
    mount = (
        next((m for m in mounts.items or () if _text(m, "mountPath").rstrip("/") == _SHM), None) if mounts else None
    )
    small = bus_error()
    if mount is None:
        place = container.node.get("name") or container.node
        yield Flaw(
            place.line, place.last,
            Text("no emptyDir with medium: Memory at /dev/shm: {reason}", reason=reason), small,
            edits(_mount(container.node, mounts), _volume(pod.node)),
        )  # fmt: skip
        return
    volumes = pod.node.get("volumes")
    name = _text(mount, "name")
    volume = next((v for v in volumes.items or () if _text(v, "name") == name), None) if volumes else None
    directory = volume.pair("emptyDir") if volume else None
    if directory and directory[1].get("medium") is None:
        lines = ["emptyDir:", "  medium: Memory"]
        limit = directory[1].get("sizeLimit")
        lines += [f"  sizeLimit: {limit.text}"] if limit is not None else []
        yield Flaw(
            directory[0].line, directory[1].last,
            Text("the emptyDir at /dev/shm is on disk without medium: Memory"),
            Text("batches between processes go through the node's disk"),
            edits(yamledit.replaced(document.source, *directory, lines)),
        )  # fmt: skip
    elif volume is None:
        yield Flaw(mount.line, mount.last, Text("no volume is called {name}", name=name),
                   Text("the API server refuses it"), edits(_volume(pod.node, name)))  # fmt: skip


def _text(node: Node, name: str) -> str:
    found = node.get(name)
    return found.text or "" if found is not None else ""


def _mount(container: Node, mounts: Node | None) -> Edit | None:
    item = ["- name: dshm", f"  mountPath: {_SHM}"]
    if mounts is None:
        return yamledit.added(container, ["volumeMounts:", *("  " + line for line in item)])
    return yamledit.item_added(mounts, item)


def _volume(pod: Node, name: str = "dshm") -> Edit | None:
    item = [f"- name: {name}", "  emptyDir:", "    medium: Memory", "    sizeLimit: 8Gi"]
    volumes = pod.get("volumes")
    if volumes is None:
        return yamledit.added(pod, ["volumes:", *("  " + line for line in item)])
    return yamledit.item_added(volumes, item)


def images(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    told: set[int] = set()
    for workload in document.workloads:
        for pod in workload.pods:
            for container in pod.every:
                node = container.node.get("image")
                if node is None or not floats(container.image) or node.line in told:
                    continue
                told.add(node.line)
                known = pinned(container.image)
                yield Flaw(
                    node.line, node.last,
                    Text("{image} has no tag that stays: another pull is another image", image=container.image),
                    Text("two pods of one training may run different versions"),
                    edits(yamledit.scalar(document.source, node, known)) if known else (),
                )  # fmt: skip


def secrets(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for one in document.every:
        if kind_of(one) == "ConfigMap":
            yield from _in_config(one)
    for workload in document.workloads:
        for pod in workload.pods:
            for container in pod.every:
                yield from _in_words(container)
                yield from _in_variables(document, container)


def _in_variables(document: Manifests, container: Container) -> Iterator[Flaw]:
    for one in container.variables:
        value = one.value.text or "" if one.value is not None else ""
        if one.value is None or not (formed(value) or (named(one.name) and literal(value))):
            continue
        pair = one.node.pair("value")
        assert pair is not None
        key = one.name.lower().replace("_", "-")
        lines = ["valueFrom:", "  secretKeyRef:", f"    name: {key}", f"    key: {one.name}"]
        yield Flaw(
            one.node.line, one.node.last, Text("the value of {name} is written into the file", name=one.name),
            Text("everybody who reads the repository or the pod has it"),
            edits(yamledit.replaced(document.source, *pair, lines)), sure=False,
        )  # fmt: skip


def _in_words(container: Container) -> Iterator[Flaw]:
    for word in container.words:
        if kind := formed(word.text or ""):
            yield Flaw(word.line, word.last, Text("a secret stands in the command: {kind}", kind=kind),
                       Text("everybody who reads the repository or the pod has it"))  # fmt: skip


def _in_config(config: Node) -> Iterator[Flaw]:
    """A ConfigMap is no place for them: who may list pods reads it, and nothing encrypts it."""
    data = config.get("data")
    for name, key, value in data.children() if data is not None else ():
        text = value.text or ""
        if formed(text) or (named(name) and literal(text)):
            yield Flaw(key.line, value.last, Text("{name} stands in a ConfigMap; a Secret is for that", name=name),
                       Text("everybody who reads the repository or the namespace has it"))  # fmt: skip
