"""``trainload``: the verbs, loaded when called, and the one place where errors become text and exit codes.

Exit codes: 0 done; 1 an error that was explained; 2 a wrong command line; 70 a bug in Trainload; 75 a run on a
server that cannot be reached any more; 129, 130, 143 hung up, interrupted, terminated; 141 the reader of our output
went away; with ``run``, ``shell``, ``rerun`` and ``attach`` the program's own.
"""

from __future__ import annotations

import copy
import errno
import gc
import importlib
import inspect
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import FrameType, TracebackType
from typing import TextIO

import click

from trainload import __version__
from trainload.cli.options import Start, everywhere, started
from trainload.cli.render import colours, error_document, error_lines
from trainload.cli.texts import Catalogue, choose, speaking
from trainload.errors import Place, Text, TrainloadError, UsageError

BUG = 70  # sysexits.h: EX_SOFTWARE
_GARBAGE = 200_000
"""New objects after which cycles among them are looked for. Python's own 700 is reached hundreds of times while
modules are loaded, which make no garbage; mypy has the same number for the same reason."""

# section → verb → (module under trainload.cli whose `command` it is, what `trainload --help` says)
VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "Your project": {
        "init": ("init", "Write a commented configuration and explain what was found."),
        "plan": ("plan", "Show what goes in, how big it is and why, before anything is built."),
        "lock": ("lock", "Pin the exact bytes of everything that goes in."),
        "freeze": ("freeze", "Write what is locked for conda, for pip, or as a list for bills of materials."),
        "build": ("build", "Make the image."),
        "matrix": ("matrix", "Make the images of several variants, Pythons and accelerators."),
        "run": ("run", "Run the project, or an image, here or on a server."),
        "dev": ("dev", "Run the project with live code, and again on every save."),
        "notebook": ("notebook", "Open Jupyter Lab with the project's packages."),
        "shell": ("shell", "Open a shell in the project's image."),
    },
    "Images": {
        "images": ("images", "List the images in the store."),
        "inspect": ("inspect", "Show an image's manifest and configuration."),
        "history": ("history", "Show an image's layers: what each holds and weighs."),
        "size": ("size", "Show why an image is as large as it is."),
        "diff": ("diff", "Show what differs between two images."),
        "tag": ("tag", "Give an image another name."),
        "rmi": ("rmi", "Remove an image's name."),
        "save": ("save", "Save images into one file, for Docker, Podman or another machine."),
        "load": ("load", "Load images from one file."),
        "export": ("export", "Write images in another form, such as an OCI layout."),
        "import": ("import_", "Take images from another form into the store."),
        "pack": ("pack", "Write images for a machine without a network, less what it has."),
        "unpack": ("unpack", "Take in what was packed elsewhere."),
        "gc": ("gc", "Remove what no image needs."),
        "verify": ("verify", "Check that the store is whole."),
    },
    "Registries": {
        "pull": ("pull", "Bring an image from a registry."),
        "push": ("push", "Send the project, or an image, to a registry."),
        "copy": ("copy", "Copy an image from one registry to another."),
        "ship": ("ship", "Send the project, or an image, to a server over ssh."),
        "tags": ("tags", "List the tags of a repository."),
        "cache": ("cache", "List and prune layers that are shared through a registry."),
        "login": ("login", "Log in to a registry."),
        "logout": ("logout", "Forget the credentials for a registry."),
        "registry": ("registry", "Serve images as a registry."),
    },
    "Runs": {
        "ps": ("ps", "List running programs."),
        "attach": ("attach", "Stay with a detached run until it ends."),
        "outputs": ("outputs", "Bring what a run on a server wrote so far."),
        "logs": ("logs", "Print what a detached run said."),
        "exec": ("exec_", "Run one more program in a running container."),
        "stop": ("stop", "Ask runs to end, then make them."),
        "kill": ("kill", "Send a signal to runs."),
        "wait": ("wait", "Wait until runs ended, and print their exit codes."),
        "stats": ("stats", "Show what running programs use."),
        "cp": ("cp", "Copy files out of a detached run."),
        "capture": ("capture", "Take what was changed by hand in a container into the project."),
        "commit": ("commit", "Make an image of what was changed by hand, that nobody can build again."),
        "rm": ("rm", "Remove detached runs."),
        "runs": ("runs", "List what was run, with which image, and how it ended."),
        "rerun": ("rerun", "Repeat a run with the same image and command."),
    },
    "Reference": {
        "lint": ("lint", "Find and mend what is wrong in Dockerfiles, compose files and manifests."),
        "doctor": ("doctor", "Try what a run needs on this machine, and say what mends the rest."),
        "schema": ("schema", "Print the JSON Schema of the configuration, for editors."),
    },
}
_TABLE = {verb: entry for section in VERBS.values() for verb, entry in section.items()}


class Verbs(click.Group):
    """A group that imports a verb's module only when the verb is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _TABLE:
            return None
        return adopted(command_of(cmd_name), started(ctx).catalogue)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        verb = args[0]
        if self.get_command(ctx, verb) is None and not verb.startswith("-") and not ctx.resilient_parsing:
            raise click.NoSuchCommand(verb, possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        tr = started(ctx).catalogue.template
        for section, verbs in VERBS.items():
            with formatter.section(tr(section)):
                formatter.write_dl([(verb, tr(text)) for verb, (_, text) in verbs.items()], col_max=12)


def command_of(verb: str) -> click.Command:
    """The command of a verb, as it is written."""
    command = importlib.import_module(f"trainload.cli.{_TABLE[verb][0]}").command
    assert isinstance(command, click.Command)
    return command


def adopted(command: click.Command, catalogue: Catalogue) -> click.Command:
    """``command`` with the global options and its help in the reader's language."""
    verb = copy.copy(command)
    verb.context_settings = {**_settings(catalogue), **command.context_settings}
    verb.help = catalogue.template(inspect.cleandoc(command.help or ""))
    verb.epilog = catalogue.template("Global options work here too: -C, -q, --json, --lang, --home.")
    verb.params = [_translated(param, catalogue) for param in [*command.params, *_rest(command)]]
    if isinstance(verb, click.Group):  # a verb with kinds, such as `export layout`
        verb.commands = {name: adopted(kind, catalogue) for name, kind in verb.commands.items()}
    return verb


def _rest(command: click.Command) -> Iterator[click.Parameter]:
    """The global options, less the words that the verb uses for something of its own."""
    taken = {word for param in command.params for word in param.opts}
    for option in everywhere(hidden=True):
        option.opts = [word for word in option.opts if word not in taken]
        option.name = f"everywhere_{option.name}"  # what is parsed is kept by name, and a verb's own has this one
        if option.opts:
            yield option


def _settings(catalogue: Catalogue) -> dict[str, object]:
    settings: dict[str, object] = {"help_option_names": ["-h", "--help"]}
    if catalogue.language == "zh":
        settings["terminal_width"] = 56  # click counts characters, and a Chinese one takes two cells
    return settings


def _translated(param: click.Parameter, catalogue: Catalogue) -> click.Parameter:
    if not isinstance(param, click.Option) or not param.help:
        return param
    twin = copy.copy(param)
    twin.help = catalogue.template(param.help)
    return twin


def _group(start: Start) -> Verbs:
    tr = start.catalogue.template
    return Verbs(
        "trainload",
        context_settings=_settings(start.catalogue),
        help=tr("Carries an AI project, unchanged and verifiable, to wherever the GPUs are."),
        epilog=tr("Begin in your project's folder with: trainload run"),
        params=[_translated(p, start.catalogue) for p in [*everywhere(hidden=False), _version()]],
        no_args_is_help=True,
    )


def _version() -> click.Parameter:
    def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
        if value:
            click.echo(f"trainload {__version__}")
            ctx.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Show the version."
    )


def run(
    argv: Sequence[str], *, environ: Mapping[str, str], cwd: Path | None, stdout: TextIO, stderr: TextIO
) -> int:
    """One command from its words to its exit code; errors are told, bugs are raised."""
    with speaking(choose(environ, argv)) as catalogue, redirect_stdout(stdout):
        start = Start(environ, cwd, stdout, stderr, catalogue)
        group = _group(start)
        completion = environ.get("_TRAINLOAD_COMPLETE")
        if completion:
            from click.shell_completion import shell_complete

            return shell_complete(group, {"obj": start}, "trainload", "_TRAINLOAD_COMPLETE", completion)
        try:
            with group.make_context("trainload", list(argv), obj=start) as ctx:
                code = group.invoke(ctx)
                return code if isinstance(code, int) else 0
        except click.exceptions.Exit as done:
            return done.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            stderr.write(error.format_message() + "\n")
            return error.exit_code
        except click.ClickException as error:
            return _tell(_usage(error), start)
        except TrainloadError as error:
            return _tell(error, start)
        except OSError as error:
            if error.errno not in _MACHINE:
                raise
            return _tell(_of_the_machine(error), start)


_MACHINE = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE,
    errno.EFBIG,
}  # fmt: skip
"""What a disk or a limit says at any moment; never a bug of ours."""


def _of_the_machine(error: OSError) -> TrainloadError:
    reason = os.strerror(error.errno or 0)
    where = Place(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    hints = [Text("make room, or set TRAINLOAD_HOME to a larger disk")] if error.errno == errno.ENOSPC else []
    return TrainloadError(Text("{reason}", reason=reason), place=where, hints=hints)


def _usage(error: click.ClickException) -> TrainloadError:
    """A wrong command line in our own form; click's message is translated already."""
    hints: list[Text] = []
    if isinstance(error, click.NoSuchOption | click.NoSuchCommand):
        message = error.message
        known = _habit(error)
        if known is not None:
            hints.append(known)
        elif error.possibilities:
            hints.append(Text("did you mean {words}?", words=", ".join(error.possibilities)))
    else:
        message = error.format_message()
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hints.append(Text("see {command} --help", command=error.ctx.command_path))
    return UsageError(Text("{message}", message=" ".join(message.split()).removesuffix(".")), hints=hints)


def _habit(error: click.NoSuchOption | click.NoSuchCommand) -> Text | None:
    from trainload.cli.habits import instead

    verb = error.ctx.info_name if error.ctx is not None else None
    return instead(verb, error.option_name) if isinstance(error, click.NoSuchOption) else None


def _tell(error: TrainloadError, start: Start) -> int:
    lines = error_lines(error, start.catalogue, colour=colours(start.stderr, start.environ))
    start.stderr.write("\n".join(lines) + "\n")
    if start.json:
        document = {"error": error_document(error, start.catalogue)}
        start.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    return error.exit_code


class _Stopped(BaseException):
    """A signal asks us to end; like KeyboardInterrupt it passes every ``except Exception``."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


_GRACE = 3.0  # seconds for unwinding
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _stop(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds, so that what is half written is taken back; the second ends the process.

    A thread that waits for a silent server would hold the end up for minutes: after the grace the process ends
    as it would by SIGKILL, which the store survives by design (THREATS fault 12).
    """
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    watch = threading.Timer(_GRACE, os._exit, [128 + number])
    watch.daemon = True
    watch.start()
    raise _Stopped(number)


def _bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    sys.stderr.write(
        f"\nthis is a bug in trainload {__version__} (Python {sys.version.split()[0]}, {sys.platform}), "
        "not a mistake of yours; please report it with the lines above\n"
    )
    raise SystemExit(BUG)


def main(argv: Sequence[str] | None = None) -> None:
    """The console script."""
    gc.set_threshold(_GARBAGE)
    sys.excepthook = _bug
    for one in _SIGNALS:
        if signal.getsignal(one) is not signal.SIG_IGN:  # nohup and background jobs stay as they are
            signal.signal(one, _stop)
    words = sys.argv[1:] if argv is None else argv
    try:
        code = run(words, environ=dict(os.environ), cwd=_cwd(), stdout=sys.stdout, stderr=sys.stderr)
        sys.stdout.flush()
    except _Stopped as stopped:
        sys.stderr.write("\n" if stopped.number == signal.SIGINT else "")  # ends the terminal's ^C
        code = 128 + stopped.number
    except BrokenPipeError:
        # what is still buffered has no reader; Python would complain about it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    if "rattler" in sys.modules:
        # its threads outlive the question; one that asks for Python's lock while Python ends aborts the process
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    gc.freeze()  # else Python looks through everything once more for what refers to itself, before all of it goes
    sys.exit(code)


def _cwd() -> Path | None:
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
