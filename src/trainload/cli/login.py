"""``trainload login``: keep credentials for a registry, after the registry has accepted them."""

from __future__ import annotations

import sys

import click

from trainload.cli.options import pass_world, registry_options
from trainload.cli.world import World
from trainload.errors import Text, UsageError
from trainload.reference import DOCKER_HUB, registry_named

_LONGEST = 1 << 16  # bytes; some registries use whole JSON keys as passwords


@click.command()
@click.argument("registry", metavar="[REGISTRY]", default=DOCKER_HUB)
@click.option("-u", "--username", metavar="USER", help="Who you are there.")
@click.option("--password-stdin", is_flag=True, help="Read the password or token from standard input.")
@registry_options
@pass_world
def command(world: World, *, registry: str, username: str | None, password_stdin: bool) -> None:
    """Log in to a registry; Docker Hub when none is named.

    The password is read from standard input or asked for on the terminal, never given as an argument. It is kept
    where Docker keeps it: with the helper its config.json names, else in that file.
    """
    from trainload.registry.challenge import Credential
    from trainload.registry.credentials import Keyring
    from trainload.registry.login import log_in

    name = registry_named(registry)
    user, password = _ask(world, username, from_stdin=password_stdin)
    found = log_in(name, Credential(user, password), world.http, world.hosts)
    if not found.asked:
        world.warn(Text("{registry} lets anybody in: the password was not checked", registry=name))
    file = Keyring.of(world.environ).own
    helper = file.save(name, found.credential)
    if helper is not None:
        world.say(Text("{user} is logged in to {registry}; {program} keeps the password", user=user, registry=name,
                       program=helper.program))  # fmt: skip
    else:
        world.say(Text("{user} is logged in to {registry}", user=user, registry=name))
        world.warn(
            Text(
                "{file} holds the password unencrypted; a credential helper (credsStore) avoids that",
                file=file.path,
            )
        )
    world.result({"registry": name, "user": user, "helper": helper.program if helper is not None else None})


def _ask(world: World, username: str | None, *, from_stdin: bool) -> tuple[str, str]:
    """User and password. Raises :class:`UsageError` when they cannot be had."""
    if from_stdin:
        if not username:
            raise UsageError(Text("--password-stdin needs --username"))
        password = sys.stdin.read(_LONGEST + 1).removesuffix("\n").removesuffix("\r")
    elif not sys.stdin.isatty():
        raise UsageError(
            Text("there is no terminal to ask for a password"),
            hints=[Text("give it by standard input: … | trainload login REGISTRY -u USER --password-stdin")],
        )
    else:
        username = username or str(click.prompt(world.translate(Text("Username")), err=True))
        password = str(click.prompt(world.translate(Text("Password")), hide_input=True, err=True))
    if not password or len(password) > _LONGEST or ":" in username:
        raise UsageError(
            Text("this user and password cannot be used"), want=Text("a user without : and a password")
        )
    return username, password
