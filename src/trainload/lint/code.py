"""What the project's Python files say that a container must know; they are read, never run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping

from trainload.lint.model import Seen

_HEALTH = re.compile(
    r"@\w+\.(?:get|route|api_route)\(\s*[rf]?[\"'](/(?:[\w./-]*/)?(?:health|healthz|livez|ready|readyz|ping|-/healthy))[\"']"
)
_SERVES = (
    (re.compile(r"\buvicorn\.run\("), 8000), (re.compile(r"\b(?:app|server|application)\.run\("), 5000),
    (re.compile(r"\bserve\(\s*app\b"), 8080), (re.compile(r"\.launch\("), 7860),
)  # fmt: skip
_PORT = re.compile(r"\bport\s*=\s*(?:int\()?(?:os\.(?:environ\.get|getenv)\([^,)]*,\s*)?[\"']?([0-9]{2,5})")
_OPTION = re.compile(r"--(?:[a-z]+[-_])?(?:num[-_])?(?:data[-_])?(?:loader[-_])?workers")


def workers(files: Mapping[str, str]) -> Seen | None:
    """The first place where worker processes of a DataLoader are asked for."""
    for file, text in files.items():
        if "workers" in text:
            for seen in _workers(file, text):
                return seen
    return None


def _workers(file: str, text: str) -> Iterator[Seen]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, file)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    named: dict[str, Seen] = {}
    uses: list[ast.keyword] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            uses += [one for one in node.keywords if one.arg == "num_workers"]
            if seen := _argument(node, file):
                named["args"] = seen
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _some(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                name = target.id if isinstance(target, ast.Name) else target.attr if isinstance(
                    target, ast.Attribute) else ""  # fmt: skip
                if name.lower().endswith("num_workers"):
                    named[name] = Seen(file, node.lineno, f"{name} = {ast.unparse(node.value)}")
    for use in uses:
        if _some(use.value):
            yield Seen(file, use.value.lineno, f"num_workers={ast.unparse(use.value)}")
        elif isinstance(use.value, ast.Name | ast.Attribute):
            name = use.value.id if isinstance(use.value, ast.Name) else use.value.attr
            if name in named or (isinstance(use.value, ast.Attribute) and "args" in named):
                yield named.get(name) or named["args"]


def _some(value: ast.expr) -> bool:
    """More than none: a number, or as many as there are processors."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int) and not isinstance(value.value, bool) and value.value > 0
    text = ast.unparse(value)
    return "cpu_count" in text or "sched_getaffinity" in text


def _argument(node: ast.Call, file: str) -> Seen | None:
    """``add_argument("--num-workers", default=4)``."""
    first = node.args[0] if node.args else None
    for one in node.args:
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and _OPTION.fullmatch(one.value.lower()):
            first = one
    if not (
        isinstance(first, ast.Constant) and isinstance(first.value, str) and _OPTION.fullmatch(first.value.lower())
    ):
        return None
    default = next((one.value for one in node.keywords if one.arg == "default"), None)
    if default is not None and _some(default):
        return Seen(file, node.lineno, f"{first.value} {ast.unparse(default)}")
    return None


def health(texts: Iterable[str]) -> str | None:
    """The route of a health check."""
    return next((match[1] for text in texts if (match := _HEALTH.search(text))), None)


def servers(files: Mapping[str, str]) -> dict[str, int]:
    """Scripts that start a server themselves, and its port."""
    found: dict[str, int] = {}
    for file, text in files.items():
        for pattern, usual in _SERVES:
            if match := pattern.search(text):
                port = _PORT.search(text, match.start())
                found[file] = int(port[1]) if port else usual
                break
    return found


_CALLS = (
    (re.compile(r"\buvicorn\.(run)\("), re.compile(r"\bhost\s*="), ""),
    (re.compile(r"\b(?:app|server|application)\.(run)\("), re.compile(r"\bhost\s*="), r"\b(?:flask|dash)\b"),
    (re.compile(r"\.(launch)\("), re.compile(r"\bserver_name\s*="), r"\bgradio\b"),
)
"""Calls that serve on 127.0.0.1 unless this argument says otherwise, in files that have these words."""
_ARGUMENTS = re.compile(r"[^()]*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)[^()]*)*")
_INSIDE = re.compile(r"\b(?:host|server_name)\s*=\s*[\"'](?:127\.0\.0\.1|localhost)[\"']")


def inside(files: Mapping[str, str]) -> dict[str, Seen]:
    """Scripts whose server is reached from its own machine only, and the call that says so."""
    found: dict[str, Seen] = {}
    for file, text in files.items():
        for call, option, words in _CALLS:
            match = call.search(text)
            if match is None:
                continue
            given = _ARGUMENTS.match(text, match.end())
            arguments = given[0] if given else ""
            silent = not option.search(arguments) and "**" not in arguments and "GRADIO_SERVER_NAME" not in text
            if (_INSIDE.search(arguments) or silent) and re.search(words, text, re.IGNORECASE):
                found[file] = Seen(file, text.count("\n", 0, match.start()) + 1, match[1])
            break
    return found
