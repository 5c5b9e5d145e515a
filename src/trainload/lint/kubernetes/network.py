"""How the ranks of a training find each other: names, Services, ports."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.kubernetes.document import Container, Job, Manifests, kind_of, name_of
from trainload.lint.kubernetes.jobs import edits, gangs, set_to
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.nodes import Node

_PORT = re.compile(r"(?:.*:)?[0-9]{2,5}")
_OWN_LABELS = ("job-name", "batch.kubernetes.io/job-name")


def host_network(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for workload in document.workloads:
        for pod in workload.pods:
            pair = pod.node.pair("hostNetwork")
            port = next((port for one in pod.containers if (port := _fixed_port(one))), None)
            if pair and pod.is_set("hostNetwork") and port:
                edit = yamledit.without(document.source, *pair)
                yield Flaw(
                    pair[0].line, pair[1].last,
                    Text("hostNetwork with the fixed port {port}: two pods cannot share a node", port=port),
                    Text("the second pod, of this training or another, dies of EADDRINUSE"),
                    edits(edit), sure=False,
                )  # fmt: skip


def _fixed_port(container: Container) -> str | None:
    for launch in container.launches:
        for option in ("master-port", "rdzv-endpoint"):
            value = launch.options.get(option, "")
            if _PORT.fullmatch(value):
                return value.rpartition(":")[2]
    port = container.environ.get("MASTER_PORT", "")
    return port if _PORT.fullmatch(port) else None


def subdomain(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in gangs(document):
        if job.owner == "JobSet":
            yield from _of_jobset(document, job)
            continue
        for address, node in _addresses(job):
            host, _, rest = address.partition(":")[0].partition(".")
            if host != f"{job.name}-0" and not host.endswith("-0"):
                continue
            here = job.pod.node.get("subdomain")
            if here is not None and rest:
                continue
            service = (here.text if here is not None else None) or rest.partition(".")[0] or job.name
            mend = [] if rest else [yamledit.scalar(document.source, node, _address(node, address, host, service))]
            if here is None:
                mend.append(yamledit.added(job.pod.node, [f"subdomain: {service}"]))
            yield Flaw(
                node.line, node.last,
                Text("{host} has no address: a Job's pods have names only below a headless Service's subdomain",
                     host=address),
                Text("every rank but the first waits for a name that never resolves"),
                edits(*mend),
            )  # fmt: skip


def _of_jobset(document: Manifests, job: Job) -> Iterator[Flaw]:
    """It makes the Service and sets the subdomain itself, and a pod's name is none without it."""
    for address, node in _addresses(job):
        host, _, rest = address.partition(":")[0].partition(".")
        if not rest and host.startswith(f"{job.name}-") and re.search(r"-[0-9]+-[0-9]+$", host):
            mend = yamledit.scalar(document.source, node, _address(node, address, host, job.subdomain or job.name))
            yield Flaw(
                node.line, node.last,
                Text("{host} has no address: a JobSet's pods have names only below its subdomain", host=address),
                Text("every rank but the first waits for a name that never resolves"), edits(mend),
            )  # fmt: skip


def _addresses(job: Job) -> Iterator[tuple[str, Node]]:
    for container in job.pod.containers:
        for variable in container.variables:
            if variable.name in ("MASTER_ADDR", "PET_MASTER_ADDR") and variable.value is not None:
                yield variable.value.text or "", variable.value
        for word in container.words:
            match = re.search(r"--(?:master[-_]addr|rdzv[-_]endpoint)[= ]([A-Za-z0-9.:-]+)", word.text or "")
            if match:
                yield match[1], word


def _address(node: Node, address: str, host: str, service: str) -> str:
    text = (node.text or "").replace(address, address.replace(host, f"{host}.{service}", 1), 1)
    return text if node.plain else f'"{text}"'


def service(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    services = [one for one in document.every if kind_of(one) == "Service"]
    others = [one for one in around.services if isinstance(one, Node) and kind_of(one) == "Service"]
    for job in gangs(document):
        node = job.pod.node.get("subdomain")
        if node is None or not node.text or job.owner == "JobSet":
            continue
        known = [one for one in services if name_of(one) == node.text]
        if not known and not any(name_of(one) == node.text for one in others):
            yield _missing(document, job, node)
        for one in known:
            yield from _headless(document, job, one)


def _missing(document: Manifests, job: Job, node: Node) -> Flaw:
    lines = [
        "---", "apiVersion: v1", "kind: Service", "metadata:", f"  name: {node.text}", "spec:", "  clusterIP: None",
        "  publishNotReadyAddresses: true", "  selector:", f"    job-name: {job.name}",
    ]  # fmt: skip
    end = len(document.source.lines)
    return Flaw(
        node.line, node.last,
        Text("no headless Service is called {name}", name=node.text),
        Text("the pods' names do not resolve, and the ranks never meet"),
        (Edit(end + 1, end, tuple(lines)),),
    )  # fmt: skip


def _headless(document: Manifests, job: Job, one: Node) -> Iterator[Flaw]:
    spec, named = one.get("spec"), one.get("metadata", "name")
    if spec is None or spec.pairs is None or named is None:
        return
    address = spec.get("clusterIP")
    if address is None or address.text != "None":
        yield Flaw(
            named.line, named.last,
            Text("the Service {name} is not headless: clusterIP: None gives each pod its name", name=named.text),
            Text("the pods' names do not resolve, and the ranks never meet"),
            edits(set_to(document, spec, "clusterIP", "None")),
        )  # fmt: skip
    ready = spec.get("publishNotReadyAddresses")
    if ready is None or ready.value is not True:
        yield Flaw(
            named.line, named.last,
            Text("the Service {name} does not publishNotReadyAddresses", name=named.text),
            Text("a rank's name is there only when it is ready, and it is ready only when it has met the others"),
            edits(set_to(document, spec, "publishNotReadyAddresses", "true")),
        )  # fmt: skip
    wanted = spec.get("selector")
    for name, key, value in wanted.children() if wanted is not None else ():
        if not _selected(job, name, value.text or ""):
            yield Flaw(key.line, value.last,
                       Text("the Service {name} selects no pod of the Job {job}", name=named.text, job=job.name),
                       Text("the pods' names do not resolve, and the ranks never meet"))  # fmt: skip


def _selected(job: Job, name: str, value: str) -> bool:
    if name in _OWN_LABELS:
        return value == job.name
    return job.pod.labels.get(name) == value or name.endswith("controller-uid")
