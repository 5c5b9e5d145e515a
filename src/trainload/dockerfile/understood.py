"""What a RUN line does, where that is understood: typed steps that are placed, not run.

``understand(line)`` is pure over the text. It promises the same result or says why it cannot: then the line is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainload.dockerfile.model import Heredoc, RunMount
from trainload.errors import Text
from trainload.values import dataclass, field

if TYPE_CHECKING:
    from trainload.dockerfile.steps import PlacedStep


PROGRAMS = "/run/pipes"
"""Where a heredoc lies that names its own interpreter (``#!``); BuildKit has it in ``/dev/pipes``."""


@dataclass(frozen=True, slots=True)
class RunLine:
    """One RUN with everything its shell would see."""

    line: int
    """Of the Dockerfile."""
    script: str | None
    """Shell form: the text, continuations joined, the markers of heredocs in it; None for the exec form."""
    argv: tuple[str, ...]
    """What is executed: the exec form, or the shell's words and the script."""
    shell: tuple[str, ...]
    """SHELL in force: ``("/bin/sh", "-c")``."""
    env: Mapping[str, str]
    """ENV so far, and ARGs on top, as the program sees them."""
    args: frozenset[str] = frozenset()
    """Names in ``env`` that are ARGs: they do not stay in the image."""
    user: str = ""
    """USER in force; empty: root."""
    workdir: str = "/"
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Understood:
    """The line is placed: these steps, in order, have its result."""

    steps: tuple[PlacedStep, ...]
    literal: tuple[str, ...] = ()
    """Patterns that stand for themselves as long as no file in the working directory fits: ``name[extra]``."""
    stops: bool = True
    """A command that fails ends the line; otherwise it may go on."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """The line is run."""

    reason: Text = field(default_factory=lambda: Text("what it does is not known before it runs"))


Understanding = Understood | Opaque
