"""Jobs whose pods are the ranks of one training: what passes every schema and never starts, or never ends.

What is right here: an Indexed Job, one pod per node, a headless Service that knows pods before they are ready,
rank 0 in pod 0, and no pod that is started again alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.kubernetes.document import Job, Manifests
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.nodes import Node

_LONGEST = 52
"""A Job's pods and CronJob's Jobs get suffixes of up to 11 characters, and a host name has at most 63."""


def jobs(document: Manifests) -> Iterator[Job]:
    for workload in document.workloads:
        yield from workload.jobs


def gangs(document: Manifests) -> Iterator[Job]:
    return (job for job in jobs(document) if job.gang)


def edits(*one: Edit | None) -> tuple[Edit, ...]:
    """All of them, or none where one of them cannot be made."""
    return tuple(edit for edit in one if edit) if all(one) else ()


def set_to(document: Manifests, mapping: Node, name: str, value: str) -> Edit | None:
    """``name: value`` in a mapping, whether it is there or not."""
    pair = mapping.pair(name)
    if pair is None:
        return yamledit.added(mapping, [f"{name}: {value}"])
    return yamledit.scalar(document.source, pair[1], value)


def not_indexed(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in jobs(document):
        asks = any("JOB_COMPLETION_INDEX" in one.text for one in job.pod.containers)
        if job.indexed or not (job.gang or asks):
            continue
        place = job.node.pair("parallelism") or job.node.pair("template")
        assert place is not None
        lines = ["completionMode: Indexed"]
        if job.node.get("completions") is None:
            lines.insert(0, f"completions: {job.parallelism}")
        mode = job.node.get("completionMode")
        edit = (
            yamledit.added(job.node, lines) if mode is None else yamledit.scalar(document.source, mode, "Indexed")
        )
        yield Flaw(
            place[0].line, place[0].line,
            Text("{count} pods of a Job without completionMode: Indexed have no rank", count=job.parallelism),
            Text("$(JOB_COMPLETION_INDEX) stays as it is written, and no pod is called {pod}",
                 pod=f"{job.name}-0"),
            edits(edit),
        )  # fmt: skip


def completions(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in gangs(document):
        pair = job.node.pair("completions")
        if pair is None and job.indexed:
            place = job.node.pair("completionMode")
            assert place is not None
            edit = yamledit.added(job.node, [f"completions: {job.parallelism}"])
            yield Flaw(place[0].line, place[0].line, Text("an Indexed Job needs completions"),
                       Text("the API server refuses it"), edits(edit))  # fmt: skip
        elif pair is not None and pair[1].value != job.parallelism:
            what = Text("completions is {completions} and parallelism {parallelism}: all ranks must run at once",
                        completions=pair[1].text, parallelism=job.parallelism)  # fmt: skip
            edit = yamledit.scalar(document.source, pair[1], str(job.parallelism))
            yield Flaw(pair[0].line, pair[1].last, what, Text("the ranks that run wait for those that do not"),
                       edits(edit), sure=False)  # fmt: skip


def restart(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in jobs(document):
        pair = job.pod.node.pair("restartPolicy")
        policy = pair[1].text if pair else "Always"
        if policy in ("Always", None, ""):
            why = Text("a Job's pods need restartPolicy: Never or OnFailure")
            measure = Text("the API server refuses it")
        elif policy == "OnFailure" and (job.gang or job.owner == "JobSet"):
            why = Text("restartPolicy: OnFailure starts one rank again while the others go on without it")
            measure = Text("the others wait in a collective until NCCL's or gloo's timeout, 10 to 30 minutes")
        else:
            continue
        place = pair[0] if pair else (job.pod.node.pair("containers") or job.pod.node.pairs[0])[0]  # type: ignore[index]
        yield Flaw(place.line, place.line, why, measure,
                   edits(set_to(document, job.pod.node, "restartPolicy", "Never")))  # fmt: skip


def backoff(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in gangs(document):
        if job.number("backoffLimit") == 0 or job.node.get("podFailurePolicy") is not None:
            continue
        pair = job.node.pair("backoffLimit")
        shown = pair[1].text if pair else "6"
        place = pair or job.node.pair("parallelism")
        assert place is not None
        yield Flaw(
            place[0].line, place[1].last,
            Text("backoffLimit is {limit}: a plain Job replaces one pod, and cannot start the others again with it",
                 limit=shown),
            Text("up to {limit} new pods wait for ranks that will not come; use 0 and submit again, or a JobSet",
                 limit=shown),
            edits(set_to(document, job.node, "backoffLimit", "0")),
        )  # fmt: skip


def name(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in jobs(document):
        if job.named is not None and len(job.name) > _LONGEST:
            yield Flaw(
                job.named.line, job.named.last,
                Text("the name has {count} characters, at most {most} leave room for the pods' own",
                     count=len(job.name), most=_LONGEST),
                Text("the API server refuses the pods, and the Job waits for ever"),
            )  # fmt: skip


def suspended(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    for job in jobs(document):
        node = job.node.get("suspend")
        if job.owner != "Job" or "kueue.x-k8s.io/queue-name" not in job.labels:
            continue
        if node is None or node.value is not True:
            place = job.named or job.node
            yield Flaw(
                place.line, place.line,
                Text("a Job for Kueue's queue begins with suspend: true"),
                Text("otherwise some of its pods may start, and hold their GPUs, before there is room for all"),
                edits(set_to(document, job.node, "suspend", "true")),
            )  # fmt: skip


def jobset(document: Manifests, around: Surroundings) -> Iterator[Flaw]:
    """A JobSet can start the whole gang again, when it is told to."""
    for workload in document.workloads:
        if workload.kind != "JobSet" or not any(job.gang for job in workload.jobs):
            continue
        spec = workload.node.get("spec")
        if spec is not None and spec.get("failurePolicy", "maxRestarts") is None:
            place = spec.pair("failurePolicy") or spec.pair("replicatedJobs")
            assert place is not None
            policy = spec.get("failurePolicy")
            edit = yamledit.added(spec, ["failurePolicy:", "  maxRestarts: 3"]) if policy is None else (
                yamledit.added(policy, ["maxRestarts: 3"])
            )  # fmt: skip
            yield Flaw(place[0].line, place[0].line,
                       Text("a JobSet without failurePolicy.maxRestarts does not start the gang again"),
                       Text("one lost node ends the training"), edits(edit))  # fmt: skip
