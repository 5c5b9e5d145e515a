"""What is wrong with a compose file, but for its GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.compose.document import Compose, Service, Variable
from trainload.lint.images import floats, pinned
from trainload.lint.memory import USUAL, bus_error, needs
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.nodes import Node
from trainload.lint.secrets import formed, literal, named
from trainload.lint.source import Source

_SLIP = re.compile(r"shm[-.]?size|shm|shared[-_]?mem(?:ory)?(?:[-_]size)?", re.IGNORECASE)
_SMALL = {"64m", "64mb", "64M", "64MB", "67108864"}


def edits(*one: Edit | None) -> tuple[Edit, ...]:
    """All of them, or none where one of them cannot be made."""
    return tuple(edit for edit in one if edit) if all(one) else ()


def version(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    pair = document.root.pair("version")
    if pair is None:
        return
    key, value = pair
    edit = yamledit.without(document.source, key, value)
    if edit and not document.source.line(edit.last + 1).strip() and edit.first == 1:
        edit = Edit(edit.first, edit.last + 1, ())  # the empty line behind it
    yield Flaw(
        key.line, value.last,
        Text("version is obsolete: compose ignores it and warns at every call"),
        mend=edits(edit),
    )  # fmt: skip


def image(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    told: set[int] = set()
    for service in document.services:
        node = service.node.get("image")
        if node is None or node.text is None or service.built or not floats(service.image):
            continue
        if node.line in told:
            continue  # merged into several services
        told.add(node.line)
        known = pinned(service.image) if "$" not in node.text else None
        yield Flaw(
            node.line, node.last,
            Text("{image} has no tag that stays: another pull is another image", image=service.image),
            Text("a run cannot be repeated, and two machines may run different versions"),
            edits(yamledit.scalar(document.source, node, known)) if known else (),
        )  # fmt: skip


def shared_memory(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    for service in document.services:
        slip = next((key for name, key, _ in service.node.children() if _SLIP.fullmatch(name)), None)
        if slip is not None:
            edit = yamledit.scalar(document.source, slip, "shm_size")
            yield Flaw(slip.line, slip.line, Text("a service has no {name}; it is shm_size", name=slip.text),
                       bus_error(), edits(edit))  # fmt: skip
            continue
        reason = needs(service.commands, service.environ, around, own_code=service.own_code)
        if reason is None:
            continue
        size = service.node.get("shm_size")
        if size is not None and size.text in _SMALL:
            edit = yamledit.scalar(document.source, size, f'"{USUAL}"')
            yield Flaw(size.line, size.last, Text("shm_size is no more than the default: {reason}", reason=reason),
                       bus_error(), edits(edit))  # fmt: skip
        elif size is None and not _shares(service):
            yield Flaw(
                service.key.line, service.key.line,
                Text("service {name} has no shm_size: {reason}", name=service.name, reason=reason),
                bus_error(),
                edits(yamledit.added(service.node, [f'shm_size: "{USUAL}"'])),
            )  # fmt: skip


def _shares(service: Service) -> bool:
    """By other means: the host's or another container's memory, or a mount."""
    ipc = service.node.get("ipc")
    if ipc is not None and ipc.text not in (None, "", "private", "none"):
        return True
    for name in ("tmpfs", "volumes"):
        node = service.node.get(name)
        for item in (node.items or (node,)) if node is not None else ():
            target = item.get("target") if item.pairs else item
            if target is not None and target.text and "/dev/shm" in target.text:  # noqa: S108 - a container's
                return True
    return False


def secrets(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    told: set[int] = set()
    for service in document.services:
        for one in (*service.variables(), *service.build_arguments()):
            kind = formed(one.value)
            if (kind or (named(one.name) and literal(one.value))) and one.key.line not in told:
                told.add(one.key.line)
                yield Flaw(
                    one.key.line, one.node.last,
                    Text("the value of {name} is written into the file", name=one.name),
                    Text("everybody who reads the repository has it, for as long as its history is kept"),
                    edits(_from_outside(document.source, one)), sure=False,
                )  # fmt: skip
        for node in (service.node.get("entrypoint"), service.node.get("command")):
            for word in (node.items or (node,)) if node is not None else ():
                if (kind := formed(word.text or "")) and word.line not in told:
                    told.add(word.line)
                    yield Flaw(
                        word.line, word.last,
                        Text("a secret stands in the command: {kind}", kind=kind),
                        Text("everybody who reads the repository or lists processes has it"),
                    )  # fmt: skip


def _from_outside(source: Source, one: Variable) -> Edit | None:
    if one.in_list:
        return yamledit.scalar(source, one.node, one.name)  # compose passes the caller's variable
    return yamledit.scalar(source, one.node, f"${{{one.name}}}")


def lost(nodes: int | None, addressed: bool, environ: object) -> bool:  # noqa: FBT001 - a fact, not a switch
    """torchrun on several nodes that is not told where the first is; it reads PET_*, not MASTER_ADDR."""
    names = set(environ) if isinstance(environ, dict) else set()
    return (nodes or 1) > 1 and not addressed and not names & {"PET_MASTER_ADDR", "PET_RDZV_ENDPOINT"}


def at_home(address: str) -> Text:
    return Text("{address} is each node itself: the first one's name must stand there", address=address)


def not_told(nodes: int | None) -> Text:
    return Text(
        "torchrun --nnodes={nodes} without --master-addr or --rdzv-endpoint: it does not read MASTER_ADDR",
        nodes=nodes,
    )


def deprecated(source: Source, node: Node) -> Flaw:
    """``torch.distributed.launch`` in a command."""
    return deprecated_line(source, node.line, node.last)


def deprecated_line(source: Source, first: int, last: int) -> Flaw:
    """``torch.distributed.launch`` somewhere in these lines."""
    found = None
    for number in range(first, last + 1):
        line = source.line(number)
        if "torch.distributed.launch" in line:
            found = Edit(number, number, (line.replace("torch.distributed.launch", "torch.distributed.run"),))
            break
    return Flaw(
        found.first if found else first, found.first if found else last,
        Text("torch.distributed.launch is deprecated; torchrun (torch.distributed.run) has its place"),
        Text("it passes --local-rank to the script, which torchrun gives as LOCAL_RANK in the environment"),
        edits(found), sure=False,
    )  # fmt: skip
