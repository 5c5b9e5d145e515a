"""A layer that makes a numeric user known: programs that ask who they are get an answer (getpwuid(3))."""

from __future__ import annotations

from trainload.layers.debian.accounts import numbered_user
from trainload.layers.debian.base import Cost, compose, shell_of, write_accounts
from trainload.layers.debian.root import Root
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import UserRecipe


def write_user(recipe: UserRecipe, sources: Sources, sink: ByteSink, limits: Limits = DEFAULT) -> Written:
    """The base's account files with a line for ``recipe.uid``, and a home, unless the base knows the number.

    Raises :class:`LayerError` as the base does.
    """
    base = compose(recipe.base, sources, cost=Cost(0, limits))
    user = numbered_user(recipe.uid, shell_of(base.root))
    accounts = base.accounts.with_user(user, user.name)
    root = Root()
    write_accounts(root, accounts)
    with LayerWriter(sink) as writer:
        for folder in ("etc", *((user.home.strip("/").rpartition("/")[0],) if user in accounts.users else ())):
            writer.directory(
                folder
            )  # as below; a folder no layer names is closed to ordinary users in Docker 20.10
        for path in sorted(root.nodes):
            node = root.nodes[path]
            if node.kind is MemberKind.FILE and node.content is not None:
                writer.file(path, node.content, mode=node.mode, owner=node.owner)
        if user in accounts.users:
            writer.directory(user.home, owner=Owner(user.uid, user.gid))
        return writer.close()
