"""``--on HOST``, for verbs that reach runs on servers."""

from __future__ import annotations

import click

on_option = click.option(
    "--on", metavar="HOST", help="On a server: a name of [tool.trainload.hosts], or USER@HOST[:PORT]."
)
