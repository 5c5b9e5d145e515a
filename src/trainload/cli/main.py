"""``trainload``: the verbs, loaded when called, and the one place where errors become text and exit codes.

Exit codes: 0 done; 1 an error that was explained; 2 a wrong command line; 130 interrupted; with ``run`` and
``shell``, the program's own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from trainload import __version__

# verb → (module under trainload.cli, what `trainload --help` says); one verb, one command object named `command`
VERBS: dict[str, tuple[str, str]] = {}


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"trainload.cli.{VERBS[cmd_name][0]}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trainload")
def trainload() -> None:
    """Carries an AI project, unchanged and verifiable, to wherever the GPUs are."""


def main(argv: Sequence[str] | None = None) -> None:
    """The console script."""
    trainload.main(args=list(argv) if argv is not None else sys.argv[1:], prog_name="trainload")
