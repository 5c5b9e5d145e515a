"""Kubernetes documents as rules read them: workloads, their jobs, pods and containers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trainload.lint.launch import Launch, launches
from trainload.lint.nodes import Node
from trainload.lint.shell import Command, unwrapped
from trainload.lint.source import Source

_GPU = re.compile(r"(?:nvidia\.com|amd\.com)/(?:gpu|mig-.+)|gpu\.intel\.com/.+")
_RANK = re.compile(
    r"\brank|[-_]rank|nnodes|num[-_]nodes|rdzv|master[-_]addr|world[-_]size|coordinator", re.IGNORECASE
)
_RANKS = ("MASTER_ADDR", "WORLD_SIZE", "NODE_RANK", "RANK", "PET_NNODES")


@dataclass(frozen=True, slots=True)
class Variable:
    """One entry of ``env``."""

    name: str
    node: Node
    value: Node | None
    """None: it comes from somewhere else."""


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod."""

    node: Node

    @property
    def image(self) -> str:
        node = self.node.get("image")
        return node.text or "" if node is not None else ""

    @property
    def words(self) -> tuple[Node, ...]:
        """The items of ``command`` and ``args``."""
        lists = [self.node.get(name) for name in ("command", "args")]
        return tuple(item for one in lists if one is not None for item in one.items or () if item.text is not None)

    @property
    def commands(self) -> tuple[Command, ...]:
        return unwrapped([word.text or "" for word in self.words])

    @property
    def launches(self) -> tuple[Launch, ...]:
        return tuple(launches(self.commands))

    @property
    def variables(self) -> tuple[Variable, ...]:
        node = self.node.get("env")
        found = []
        for item in node.items or () if node is not None else ():
            name = item.get("name")
            if name is not None and name.text:
                found.append(Variable(name.text, item, item.get("value")))
        return tuple(found)

    @property
    def environ(self) -> Mapping[str, str]:
        return {one.name: (one.value.text or "") if one.value is not None else "" for one in self.variables}

    def amounts(self, what: str) -> Iterator[tuple[str, Node, Node]]:
        """The GPUs among ``limits`` or ``requests``."""
        node = self.node.get("resources", what)
        for name, key, value in node.children() if node is not None else ():
            if _GPU.fullmatch(name):
                yield name, key, value

    @property
    def gpus(self) -> int | None:
        """How many it may use, where that is a number."""
        return next((v.value for _, _, v in self.amounts("limits") if isinstance(v.value, int)), None)

    @property
    def text(self) -> str:
        """Everything of its command, for a search."""
        return "\n".join(word.text or "" for word in self.words)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod, or the template of one."""

    node: Node
    """Its spec."""
    labels: Mapping[str, str]

    @property
    def containers(self) -> tuple[Container, ...]:
        node = self.node.get("containers")
        return tuple(Container(item) for item in node.items or () if item.pairs) if node is not None else ()

    @property
    def every(self) -> tuple[Container, ...]:
        """Those that run before the others, too."""
        node = self.node.get("initContainers")
        before = tuple(Container(item) for item in node.items or () if item.pairs) if node is not None else ()
        return (*before, *self.containers)

    def is_set(self, name: str) -> bool:
        node = self.node.get(name)
        return node is not None and node.value is True


@dataclass(frozen=True, slots=True)
class Job:
    """The spec of a Job, wherever it stands: alone, in a CronJob, in a JobSet."""

    name: str
    named: Node | None
    """Where the name stands."""
    node: Node
    pod: Pod
    owner: str
    """The kind of the document."""
    labels: Mapping[str, str]
    replicas: int = 1
    """How many such Jobs there are, in a JobSet."""
    subdomain: str | None = None
    """Of a JobSet that names its own."""

    def number(self, name: str) -> int | None:
        node = self.node.get(name)
        return node.value if node is not None and isinstance(node.value, int) else None

    @property
    def parallelism(self) -> int:
        found = self.number("parallelism")
        return 1 if found is None else found

    @property
    def indexed(self) -> bool:
        node = self.node.get("completionMode")
        return node is not None and node.text == "Indexed"

    @property
    def gang(self) -> bool:
        """Its pods are ranks of one training, and not workers of a queue."""
        if self.parallelism < 2:
            return False
        for one in self.pod.containers:
            if one.launches or any(name in one.environ for name in _RANKS):
                return True
            if "JOB_COMPLETION_INDEX" in one.text and _RANK.search(one.text):
                return True  # the number alone may be that of a piece of work
        return False


@dataclass(frozen=True, slots=True)
class Workload:
    """One document that runs containers."""

    kind: str
    name: str
    node: Node
    pods: tuple[Pod, ...]
    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifests:
    """The whole file."""

    name: str
    source: Source
    documents: tuple[Node, ...]

    @property
    def workloads(self) -> tuple[Workload, ...]:
        return tuple(one for document in self.every for one in workloads(document))

    @property
    def every(self) -> tuple[Node, ...]:
        """The documents, and the items of lists among them."""
        found: list[Node] = []
        for document in self.documents:
            items = document.get("items") if kind_of(document) == "List" else None
            found += items.items or () if items is not None else (document,)
        return tuple(found)


def kind_of(document: Node) -> str:
    node = document.get("kind")
    return node.text or "" if node is not None else ""


def name_of(node: Node) -> str:
    found = node.get("metadata", "name")
    return found.text or "" if found is not None else ""


def labels_of(node: Node | None) -> dict[str, str]:
    found = node.get("metadata", "labels") if node is not None else None
    return {name: value.text or "" for name, _, value in found.children()} if found is not None else {}


_TEMPLATES = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
_REPLICAS = ("pytorchReplicaSpecs", "mpiReplicaSpecs", "tfReplicaSpecs", "xgbReplicaSpecs", "paddleReplicaSpecs")


def workloads(document: Node) -> Iterator[Workload]:
    """What runs in ``document``: one workload, or nothing."""
    kind, name, spec = kind_of(document), name_of(document), document.get("spec")
    if spec is None or spec.pairs is None:
        return
    if kind == "Pod":
        yield Workload(kind, name, document, (Pod(spec, labels_of(document)),))
    elif kind in _TEMPLATES:
        yield Workload(kind, name, document, tuple(_template(spec.get("template"))))
    else:
        jobs = tuple(_jobs(document, kind, name, spec))
        pods = [job.pod for job in jobs]
        for replicas in _REPLICAS:
            node = spec.get(replicas)
            for _, _, value in node.children() if node is not None else ():
                pods += _template(value.get("template"))
        if pods or kind == "TrainJob":
            yield Workload(kind, name, document, tuple(pods), jobs)


def _jobs(document: Node, kind: str, name: str, spec: Node) -> Iterator[Job]:
    named = document.get("metadata", "name")
    if kind == "Job":
        for pod in _template(spec.get("template")):
            yield Job(name, named, spec, pod, kind, labels_of(document))
    elif kind == "CronJob":
        inner = spec.get("jobTemplate", "spec")
        for pod in _template(inner.get("template") if inner is not None else None):
            assert inner is not None
            yield Job(name, named, inner, pod, kind, labels_of(spec.get("jobTemplate")))
    elif kind == "JobSet":
        replicated, own = spec.get("replicatedJobs"), spec.get("network", "subdomain")
        for one in replicated.items or () if replicated is not None else ():
            inner = one.get("template", "spec")
            for pod in _template(inner.get("template") if inner is not None else None):
                assert inner is not None
                replicas = one.get("replicas")
                count = replicas.value if replicas is not None and isinstance(replicas.value, int) else 1
                yield Job(name, named, inner, pod, kind, {}, count, own.text if own is not None else None)


def _template(node: Node | None) -> list[Pod]:
    spec = node.get("spec") if node is not None else None
    return [Pod(spec, labels_of(node))] if spec is not None and spec.pairs else []
