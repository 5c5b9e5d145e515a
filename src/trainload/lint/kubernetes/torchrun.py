"""torchrun in a pod: what it must be told there, and what others tell it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.compose.rules import at_home, deprecated, lost, not_told
from trainload.lint.kubernetes.document import Container, Manifests
from trainload.lint.kubernetes.jobs import edits, gangs, jobs
from trainload.lint.launch import LOOPBACK, Launch, loopback_interface
from trainload.lint.model import Edit, Flaw, Surroundings

_LITERAL = re.compile(r"\$\{?([A-Z_][A-Z0-9_]*)\}?")
_INDEX = "$(JOB_COMPLETION_INDEX)"
_INJECTED = ("nnodes", "node-rank", "nproc-per-node", "master-addr", "master-port", "rdzv-endpoint", "rdzv-backend")
_KUBEFLOW = ("PyTorchJob", "TrainJob", "MPIJob")


def sizes(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    """Nodes are pods, and processes are GPUs."""
    for job in jobs(document):
        for container in job.pod.containers:
            for launch in container.launches:
                yield from _nodes(document, container, launch, job.parallelism * job.replicas)
    for workload in document.workloads:
        for pod in workload.pods:
            for container in pod.containers:
                for launch in container.launches:
                    yield from _processes(document, container, launch)


def _nodes(document: Manifests, container: Container, launch: Launch, pods: int) -> Iterator[Flaw]:
    if launch.nodes is not None and launch.nodes != pods:
        yield Flaw(
            container.words[0].line, container.words[-1].last,
            Text("torchrun expects {nodes} nodes, and the Job has {pods} pods at once",
                 nodes=launch.nodes, pods=pods),
            Text("the ranks that run wait for those that do not"),
            edits(_number(document, container, "nnodes", pods)), sure=False,
        )  # fmt: skip


def _processes(document: Manifests, container: Container, launch: Launch) -> Iterator[Flaw]:
    gpus, processes = container.gpus, launch.processes
    if gpus and processes and processes != gpus:
        yield Flaw(
            container.words[0].line, container.words[-1].last,
            Text("torchrun starts {processes} processes, and the container has {gpus} GPUs",
                 processes=processes, gpus=gpus),
            Text("processes without a GPU of their own fail with invalid device ordinal")
            if processes > gpus else Text("GPUs that are reserved and paid for stand idle: {count}",
                                          count=gpus - processes),
            edits(_number(document, container, "nproc-per-node", gpus)), sure=False,
        )  # fmt: skip


def _number(document: Manifests, container: Container, option: str, number: int) -> Edit | None:
    pattern = re.compile(rf"(--{option.replace('-', '[-_]')}[= ])[0-9]+(?![0-9:])")
    for node in container.words:
        for at in range(node.line, node.last + 1):
            line = document.source.line(at)
            if pattern.search(line):
                return Edit(at, at, (pattern.sub(rf"\g<1>{number}", line, count=1),))
    return None


def rendezvous(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    """torchrun on several nodes that does not know the first one, or its own number."""
    for workload in document.workloads:
        if workload.kind in _KUBEFLOW:
            continue
        for pod in workload.pods:
            for container in pod.containers:
                for launch in container.launches:
                    yield from _meets(document, container, launch)
    for job in gangs(document):
        for container in job.pod.containers:
            yield from _at_home(container)


def _at_home(container: Container) -> Iterator[Flaw]:
    """Variables that send the ranks of several pods each to itself."""
    environ = container.environ
    alone = any(launch.has("standalone") or launch.nodes in (None, 1) for launch in container.launches)
    ranked = bool({"RANK", "NODE_RANK"} & set(environ)) or environ.get("WORLD_SIZE", "1") not in ("", "1")
    over_nodes = any((launch.nodes or 1) > 1 for launch in container.launches)
    for one in container.variables:
        value = (one.value.text or "") if one.value is not None else ""
        if one.name in ("MASTER_ADDR", "PET_MASTER_ADDR") and value in LOOPBACK and ranked and not alone:
            yield Flaw(one.node.line, one.node.last, at_home(value),
                       Text("every node waits for itself until it times out"))  # fmt: skip
        elif (why := loopback_interface(one.name, value)) and (over_nodes or ranked) and not alone:
            yield Flaw(one.node.line, one.node.last, why, Text("every node waits for itself until it times out"))


def _meets(document: Manifests, container: Container, launch: Launch) -> Iterator[Flaw]:
    first, last = container.words[0].line, container.words[-1].last
    if launch.tool == "launch":
        for node in container.words:
            if "torch.distributed.launch" in (node.text or ""):
                yield deprecated(document.source, node)
                return
    environ = container.environ
    address = launch.options.get("master-addr") or launch.options.get("rdzv-endpoint", "")
    if (launch.nodes or 1) > 1 and address.partition(":")[0] in LOOPBACK:
        yield Flaw(first, last, at_home(address), Text("every node waits for itself until it times out"))
    elif lost(launch.nodes, launch.has("master-addr", "rdzv-endpoint", "standalone"), environ):
        yield Flaw(first, last, not_told(launch.nodes), Text("every node waits for itself until it times out"),
                   edits(_option(document, container, "--master-addr=$(MASTER_ADDR)"))
                   if "MASTER_ADDR" in environ else ())  # fmt: skip
    elif (launch.nodes or 1) > 1 and launch.has("master-addr") and not launch.has("node-rank", "rdzv-endpoint"):
        if not {"PET_NODE_RANK"} & set(environ):
            yield Flaw(first, last, Text("torchrun --nnodes={nodes} without --node-rank: every pod is node 0",
                                         nodes=launch.nodes),
                       Text("every node waits for itself until it times out"),
                       edits(_option(document, container, f"--node-rank={_INDEX}")))  # fmt: skip
    elif (launch.nodes or 1) > 1 and re.fullmatch(r"[0-9]+", launch.options.get("node-rank", "")):
        rank = launch.options["node-rank"]
        yield Flaw(first, last, Text("--node-rank={rank} is the same in every pod", rank=rank),
                   Text("every node waits for itself until it times out"),
                   edits(_ranked(document, container)))  # fmt: skip


def _option(document: Manifests, container: Container, option: str) -> Edit | None:
    """One more option of torchrun, behind the one that says how many nodes there are."""
    for node in container.words:
        if re.match(r"--nnodes=", node.text or "") and node.line == node.last:
            line = document.source.line(node.line)
            if line.lstrip().startswith("- "):
                return Edit(node.line + 1, node.line, (f'{document.source.indent(node.line)}- "{option}"',))
            return Edit(node.line, node.line, (f'{line[: node.end_column]}, "{option}"{line[node.end_column :]}',))
        if re.search(r"--nnodes[= ]\S+", node.text or "") and " " in (node.text or ""):
            for number in range(node.line, node.last + 1):
                line = document.source.line(number)
                if match := re.search(r"--nnodes[= ][^\s\\]+", line):
                    return Edit(number, number, (f"{line[: match.end()]} {option}{line[match.end() :]}",))
    return None


def _ranked(document: Manifests, container: Container) -> Edit | None:
    for node in container.words:
        for number in range(node.line, node.last + 1):
            line = document.source.line(number)
            if re.search(r"--node[-_]rank[= ][0-9]+", line):
                return Edit(
                    number, number, (re.sub(r"(--node[-_]rank[= ])[0-9]+", rf"\g<1>{_INDEX}", line, count=1),)
                )
    return None


def variables(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    """``$NAME`` in an argument that no shell sees: Kubernetes knows ``$(NAME)`` only."""
    for workload in document.workloads:
        for pod in workload.pods:
            for container in pod.containers:
                if container.words and not _shell(container):
                    yield from _literal(document, container)


def _shell(container: Container) -> bool:
    name = (container.words[0].text or "").rpartition("/")[2]
    return name in ("sh", "bash", "ash", "dash", "zsh") or container.node.get("command") is None


def _literal(document: Manifests, container: Container) -> Iterator[Flaw]:
    for node in container.words:
        names = [m[1] for m in _LITERAL.finditer(node.text or "") if "$(" not in m[0]]
        if names and (set(names) & {*container.environ, "JOB_COMPLETION_INDEX", "HOSTNAME"}):
            text = _LITERAL.sub(r"$(\1)", node.text or "")
            yield Flaw(
                node.line, node.last,
                Text("no shell reads this argument: ${name} stays as it is written, $({name}) is replaced",
                     name=names[0]),
                None,
                edits(yamledit.scalar(document.source, node, text if node.plain else f'"{text}"')),
            )  # fmt: skip


def trainjob(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    """Kubeflow's TrainJob sets torchrun's PET_* variables itself."""
    for workload in document.workloads:
        trainer = workload.node.get("spec", "trainer") if workload.kind == "TrainJob" else None
        if trainer is None:
            continue
        container = Container(trainer)
        for launch in container.launches:
            given = [name for name in _INJECTED if name in launch.options]
            if given:
                yield Flaw(
                    container.words[0].line, container.words[-1].last,
                    Text("a TrainJob gives torchrun its nodes and addresses as PET_*: leave out {options}",
                         options=", ".join(f"--{name}" for name in given)),
                    Text("what is written here wins, and is wrong as soon as numNodes changes"),
                    edits(*_left_out(document, container)),
                )  # fmt: skip


def _left_out(document: Manifests, container: Container) -> Iterator[Edit | None]:
    for node in container.words:
        if not re.fullmatch(rf"--(?:{'|'.join(_INJECTED).replace('-', '[-_]')})=\S+", node.text or ""):
            continue
        line = document.source.line(node.line)
        if line.strip().startswith("- ") and node.line == node.last:
            yield Edit(node.line, node.line, ())
        else:
            yield None


def overrides(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for workload in document.workloads:
        spec = workload.node.get("spec") if workload.kind == "TrainJob" else None
        pair = spec.pair("podTemplateOverrides") if spec is not None else None
        if pair is not None:
            yield Flaw(pair[0].line, pair[1].last,
                       Text("podTemplateOverrides became runtimePatches in Kubeflow Trainer 2.2"),
                       Text("newer versions refuse it"))  # fmt: skip
