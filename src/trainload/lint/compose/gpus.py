"""How a compose file asks for GPUs: every wrong shape of a reservation (compose-spec, deploy.md, "devices")."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from trainload.errors import Text
from trainload.lint import yamledit
from trainload.lint.compose.document import Compose, Service
from trainload.lint.compose.rules import edits
from trainload.lint.model import Edit, Flaw, Surroundings
from trainload.lint.nodes import Node
from trainload.lint.source import Source

_RESERVATION = (
    "resources:",
    "  reservations:",
    "    devices:",
    "      - driver: nvidia",
    "        count: all",
    "        capabilities: [gpu]",
)
_KEYS = frozenset({"driver", "count", "device_ids", "capabilities", "options"})
_RESERVED = frozenset({"cpus", "memory", "devices", "generic_resources"})
_DEPLOY = frozenset({
    "mode", "endpoint_mode", "replicas", "labels", "rollback_config", "update_config", "resources",
    "restart_policy", "placement",
})  # fmt: skip
_LIKE_GPU = re.compile(r"gpus?|nvidia[-_.]?gpus?", re.IGNORECASE)


def runtime(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    told: set[int] = set()
    for service in document.services:
        pair = service.node.pair("runtime")
        if pair is None or pair[1].text != "nvidia" or pair[0].line in told:
            continue
        told.add(pair[0].line)
        yield Flaw(
            pair[0].line, pair[1].last,
            Text("runtime: nvidia needs a runtime of this name in the daemon's settings; reserve the GPUs instead"),
            Text("it fails where the toolkit was set up by CDI, and where the runtime is not registered"),
            edits(_reserve(document.source, service, *pair)),
        )  # fmt: skip


def _reserve(source: Source, service: Service, key: Node, value: Node) -> Edit | None:
    if service.node.get("gpus") is not None or devices(service) is not None:
        return yamledit.without(source, key, value)
    if service.node.get("deploy") is None:
        return yamledit.replaced(source, key, value, ["deploy:", *("  " + line for line in _RESERVATION)])
    return None


def devices(service: Service) -> Node | None:
    return service.node.get("deploy", "resources", "reservations", "devices")


def reservation(document: Compose, around: Surroundings) -> Iterator[Flaw]:
    told: set[int] = set()
    for service in document.services:
        for flaw in _of_service(document.source, service):
            if flaw.line not in told:
                told.add(flaw.line)
                yield flaw


def _of_service(source: Source, service: Service) -> Iterator[Flaw]:
    yield from _gpus(source, service)
    yield from _misplaced(source, service)
    pair = (service.node.get("deploy", "resources", "reservations") or service.node).pair("devices")
    node = devices(service)
    if node is None or pair is None:
        return
    if node.items is None:
        what = Text("devices is a list: - driver: nvidia")
        yield Flaw(pair[0].line, node.last, what, _refused(), edits(_as_list(source, node)))
        return
    for item in node.items:
        yield from _device(source, item)


def _refused() -> Text:
    return Text("compose refuses the file, or starts the service without a GPU")


def _device(source: Source, item: Node, *, needs_capabilities: bool = True) -> Iterator[Flaw]:
    if item.pairs is None:
        yield Flaw(
            item.line, item.last, Text("a device is a mapping with driver, count and capabilities"), _refused()
        )
        return
    wanted = item.pair("capabilities")
    given = {name for name, _, _ in item.children()}
    meant: set[str] = set()
    for name, key, _ in item.children():
        if name in _KEYS:
            continue
        near = difflib.get_close_matches(name, _KEYS - given, n=1)
        meant.update(near)
        yield Flaw(
            key.line, key.line,
            Text("a device has no {names}, only driver, count, device_ids, capabilities and options", names=name),
            _refused(), edits(yamledit.scalar(source, key, near[0])) if near else (),
        )  # fmt: skip
    if wanted is None and needs_capabilities and "capabilities" not in meant:
        edit = yamledit.added(item, ["capabilities: [gpu]"]) or _into_braces(source, item)
        what = Text("a reserved device needs capabilities: [gpu]")
        yield Flaw(item.line, item.last, what, _refused(), edits(edit))
    elif wanted is not None:
        yield from _capabilities(source, *wanted)
    yield from _count(source, item)
    yield from _driver(source, item)


def _driver(source: Source, item: Node) -> Iterator[Flaw]:
    """A slip of the pen: engines know a driver by its exact name, and any other name is somebody's plugin."""
    pair = item.pair("driver")
    name = (pair[1].text or "") if pair else ""
    if pair and name != "nvidia" and difflib.get_close_matches(name.lower(), ["nvidia"], cutoff=0.75):
        edit = yamledit.scalar(source, pair[1], "nvidia")
        yield Flaw(pair[0].line, pair[1].last, Text("no driver is called {name}; it is nvidia", name=name),
                   _refused(), edits(edit))  # fmt: skip


def _capabilities(source: Source, key: Node, value: Node) -> Iterator[Flaw]:
    names = value.strings()
    if value.items is None:
        what = Text("capabilities is a list: [gpu]")
        yield Flaw(key.line, value.last, what, _refused(), edits(yamledit.scalar(source, value, f"[{value.text}]")))
    elif any(item.items is not None for item in value.items):
        what = Text("capabilities is a flat list here: [gpu]; the nested one is Docker's own API")
        flat = dict.fromkeys(name for item in value.items for name in item.strings())
        edit = yamledit.scalar_like(source, value, f"[{', '.join(flat)}]")
        yield Flaw(key.line, value.last, what, _refused(), edits(edit))
    elif not {"gpu", "tpu"} & set(names):
        text = "[" + ", ".join(("gpu", *(name for name in names if not _LIKE_GPU.fullmatch(name)))) + "]"
        what = Text("capabilities without gpu reserve no GPU")
        yield Flaw(key.line, value.last, what, _refused(), edits(yamledit.scalar_like(source, value, text)))


def _count(source: Source, item: Node) -> Iterator[Flaw]:
    count, ids = item.pair("count"), item.pair("device_ids")
    if count and ids:
        what = Text("count and device_ids exclude each other")
        yield Flaw(count[0].line, count[1].last, what, _refused(), edits(yamledit.without(source, *count)))
    elif count and not _is_count(count[1]):
        what = Text("count is a number or all")
        yield Flaw(count[0].line, count[1].last, what, _refused(), edits(yamledit.scalar(source, count[1], "all")))
    elif count and (count[1].text or "").lstrip("0") == "":
        yield Flaw(count[0].line, count[1].last, Text("count: 0 reserves no GPU"), _refused())
    if ids and ids[1].items is None:
        what = Text("device_ids is a list of texts")
        edit = yamledit.scalar(source, ids[1], f'["{ids[1].text}"]')
        yield Flaw(ids[0].line, ids[1].last, what, _refused(), edits(edit))
    elif ids and any(isinstance(one.value, int) for one in ids[1].items or ()):
        text = "[" + ", ".join(f'"{one}"' for one in ids[1].strings()) + "]"
        edit = yamledit.scalar_like(source, ids[1], text)
        what = Text("device_ids are texts, not numbers: {ids}", ids=text)
        yield Flaw(ids[0].line, ids[1].last, what, _refused(), edits(edit))


def _is_count(node: Node) -> bool:
    text = node.text or ""
    return text == "all" or text.removeprefix("-").isdigit() or "$" in text


def _gpus(source: Source, service: Service) -> Iterator[Flaw]:
    pair = service.node.pair("gpus")
    if pair and pair[1].text is not None and pair[1].text != "all" and "$" not in pair[1].text:
        number = pair[1].text if pair[1].text.isdigit() else "all"
        lines = ["gpus:", f"  - count: {number}"] if number != "all" else ["gpus: all"]
        edit = yamledit.replaced(source, *pair, lines)
        what = Text("gpus is all, or a list of devices")
        yield Flaw(pair[0].line, pair[1].last, what, _refused(), edits(edit))
    if pair and pair[1].items is not None and "all" in pair[1].strings():
        edit = yamledit.scalar_like(source, pair[1], "all")
        yield Flaw(pair[0].line, pair[1].last, Text("gpus is all, or a list of devices"), _refused(), edits(edit))
    else:
        for item in (pair[1].items or ()) if pair else ():
            yield from _device(source, item, needs_capabilities=False)


def _misplaced(source: Source, service: Service) -> Iterator[Flaw]:
    """Devices under another key than deploy.resources.reservations."""
    deploy = service.node.get("deploy")
    resources = deploy.get("resources") if deploy is not None else None
    what = Text("GPUs are reserved under deploy.resources.reservations.devices, and nowhere else")
    yield from _unknown(source, deploy, resources)
    if resources is not None and (pair := resources.pair("devices")):
        yield Flaw(pair[0].line, pair[1].last, what, _refused(), edits(_below(source, *pair, ["reservations:"])))
    limits = resources.pair("limits") if resources is not None else None
    if limits and limits[1].get("devices") is not None and resources is not None:
        alone = resources.get("reservations") is None and len(limits[1].pairs or ()) == 1
        edit = yamledit.scalar(source, limits[0], "reservations") if alone else None
        yield Flaw(limits[0].line, limits[1].last, what, _refused(), edits(edit))
    if deploy is not None and (pair := deploy.pair("reservations")):
        edit = _below(source, *pair, ["resources:"]) if resources is None else None
        yield Flaw(pair[0].line, pair[1].last, what, _refused(), edits(edit))
    if (pair := service.node.pair("resources")) and service.node.own("resources"):
        edit = _below(source, *pair, ["deploy:"]) if deploy is None else None
        yield Flaw(pair[0].line, pair[1].last, what, _refused(), edits(edit))
    pair = service.node.pair("devices")
    if pair and any(item.get("capabilities") is not None for item in pair[1].items or ()):
        yield Flaw(pair[0].line, pair[1].last, what, _refused())
    reserved = resources.get("reservations") if resources is not None else None
    for name, key, value in reserved.children() if reserved is not None else ():
        if name not in _RESERVED:
            yield Flaw(key.line, value.last, Text("reservations has no {name}", name=name), _refused())


def _unknown(source: Source, deploy: Node | None, resources: Node | None) -> Iterator[Flaw]:
    """``resource:``, ``reservation:``: no schema has them, and what stands below is overlooked."""
    for place, node, known, told in (
        ("deploy", deploy, _DEPLOY, "reservations"),
        ("resources", resources, frozenset({"limits", "reservations"}), "devices"),
    ):
        if node is None:
            continue
        given = {name for name, _, _ in node.children()}
        for name, key, value in node.children():
            if name in known or name == told or name.startswith("x-"):
                continue
            near = difflib.get_close_matches(name, known - given, n=1)
            what = Text(
                "{place} has no {name}, only {names}", place=place, name=name, names=", ".join(sorted(known))
            )
            edit = yamledit.scalar(source, key, near[0]) if near else None
            yield Flaw(key.line, value.last, what, _refused(), edits(edit))


def _below(source: Source, key: Node, value: Node, heads: list[str]) -> Edit | None:
    """The pair, two cells further in, under ``heads``."""
    if source.line(key.line)[: key.column].strip() or value.flow:
        return None
    moved = tuple("  " + line if line.strip() else line for line in source.part(key.line, value.last))
    return Edit(key.line, value.last, tuple(" " * key.column + head for head in heads) + moved)


def _as_list(source: Source, node: Node) -> Edit | None:
    """A mapping's lines as the only item of a list."""
    if node.pairs is None or node.flow or not node.pairs:
        return None
    lines = source.part(node.line, node.last)
    indent = " " * node.column
    if lines[0][: node.column].strip():
        return None
    first = indent + "- " + lines[0][node.column :]
    return Edit(node.line, node.last, (first, *("  " + line if line.strip() else line for line in lines[1:])))


def _into_braces(source: Source, item: Node) -> Edit | None:
    if not item.flow or item.line != item.last:
        return None
    line = source.line(item.line)
    inner = line[item.column : item.end_column].rstrip().removesuffix("}").rstrip()
    return Edit(
        item.line, item.line, (f"{line[: item.column]}{inner}, capabilities: [gpu]}}{line[item.end_column :]}",)
    )
