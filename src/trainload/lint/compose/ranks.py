"""Services that are the nodes of one training: where the first one is, and who has which number."""

from __future__ import annotations

from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint.compose.document import Compose, Service
from trainload.lint.compose.rules import at_home, deprecated, lost, not_told
from trainload.lint.launch import LOOPBACK, launches, loopback_interface
from trainload.lint.model import Flaw, Surroundings
from trainload.lint.nodes import Node

_NUMBERS = frozenset({"RANK", "NODE_RANK", "PET_NODE_RANK", "GROUP_RANK"})
_ADDRESSES = frozenset({"MASTER_ADDR", "PET_MASTER_ADDR"})


def launch(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    """Deprecated launchers, and nodes that do not know where the first one is."""
    for service in document.services:
        node = _command(service)
        if node is not None:
            yield from _launches(document, service, node)
    yield from _environments(document)
    yield from _same_number(document)


def _command(service: Service) -> Node | None:
    return service.node.get("command") or service.node.get("entrypoint")


def _launches(document: Compose, service: Service, node: Node) -> Iterator[Flaw]:
    for one in launches(service.commands):
        address = one.options.get("master-addr") or one.options.get("rdzv-endpoint", "")
        if one.tool == "launch":
            yield deprecated(document.source, node)
        elif (one.nodes or 1) > 1 and address.partition(":")[0] in LOOPBACK:
            yield Flaw(node.line, node.last, at_home(address), _waits())
        elif lost(one.nodes, one.has("master-addr", "rdzv-endpoint", "standalone"), service.environ):
            yield Flaw(node.line, node.last, not_told(one.nodes), _waits())


def _waits() -> Text:
    return Text("every node waits for itself until it times out")


def _environments(document: Compose) -> Iterator[Flaw]:
    """Ranks whose variables send each to itself."""
    ranks = [one for one in document.services if not one.shares_network and _is_node(one)]
    for service in ranks:
        for one in service.variables():
            # one service may hold all ranks
            if one.name in _ADDRESSES and one.value in LOOPBACK and len(ranks) > 1:
                yield Flaw(one.key.line, one.node.last, at_home(one.value), _waits())
            elif (why := loopback_interface(one.name, one.value)) and (len(ranks) > 1 or _over_nodes(service)):
                yield Flaw(one.key.line, one.node.last, why, _waits())


def _is_node(service: Service) -> bool:
    environ = service.environ
    several = environ.get("WORLD_SIZE", "1") not in ("", "1") or environ.get("NNODES", "1") not in ("", "1")
    return (several and bool(_NUMBERS & set(environ))) or _over_nodes(service)


def _over_nodes(service: Service) -> bool:
    return any((one.nodes or 1) > 1 for one in launches(service.commands))


def _same_number(document: Compose) -> Iterator[Flaw]:
    seen: dict[tuple[str, str], str] = {}
    for service in document.services:
        node = _command(service)
        for one in launches(service.commands) if node is not None else ():
            rank, address = one.options.get("node-rank", ""), one.options.get("master-addr", "")
            if (one.nodes or 1) < 2 or not rank.isdigit() or not address:
                continue
            other = seen.setdefault((address, rank), service.name)
            if other != service.name and node is not None:
                yield Flaw(
                    node.line, node.last,
                    Text("--node-rank={rank} is that of the service {name} already", rank=rank, name=other),
                    Text("two nodes with one number: the training does not start"),
                )  # fmt: skip
