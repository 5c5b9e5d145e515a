"""A layer that makes a numeric user known: programs that ask who they are get an answer (getpwuid(3))."""

from __future__ import annotations

from trainload.layers.debian import accounts as accounts_of
from trainload.layers.debian.accounts import User, numbered_user
from trainload.layers.debian.base import Cost, compose, shell_of, write_accounts
from trainload.layers.debian.root import Root
from trainload.layers.model import ByteSink, Sources, Written
from trainload.layers.tarread import MemberKind
from trainload.layers.writer import LayerWriter, Owner
from trainload.limits import DEFAULT, Limits
from trainload.plan.model import AccountFiles, UserRecipe


def write_user(recipe: UserRecipe, sources: Sources, sink: ByteSink, limits: Limits = DEFAULT) -> Written:
    """The base's account files with a line for ``recipe.uid``, and a home, unless the base knows the number.

    Raises :class:`LayerError` as the base does.
    """
    if isinstance(recipe.base, AccountFiles):
        return _over_image(recipe.uid, recipe.base, sink)
    base = compose(recipe.base, sources, cost=Cost(0, limits))
    user = numbered_user(recipe.uid, shell_of(base.root))
    accounts = base.accounts.with_user(user, user.name)
    root = Root()
    write_accounts(root, accounts)
    return _write(root, user if user in accounts.users else None, sink)


def user_lines(uid: int, files: AccountFiles) -> tuple[User, AccountFiles]:
    """The user ``uid`` that a base image does not know, and the base's lines with those for it.

    There is no password, and the line says so itself: ``/etc/shadow`` of the base, which may hold secrets, is not
    needed then (passwd(5)).
    """
    user = accounts_of.default_user("/bin/sh") if uid == accounts_of.USER_ID else numbered_user(uid, "/bin/sh")
    taken = {line.partition(":")[0] for line in files.passwd}
    if user.name in taken:
        user = numbered_user(uid, "/bin/sh")
    line = f"{user.name}:*:{user.uid}:{user.gid}:{user.comment}:{user.home}:{user.shell}"
    group = files.group
    if not any(known.split(":")[2:3] == [str(user.gid)] for known in group):
        group = (*group, f"{user.name}:*:{user.gid}:")
    return user, AccountFiles((*files.passwd, line), group)


def _over_image(uid: int, files: AccountFiles, sink: ByteSink) -> Written:
    user, changed = user_lines(uid, files)
    root = Root()
    root.write("etc/passwd", _text(changed.passwd))
    if changed.group != files.group:
        root.write("etc/group", _text(changed.group))
    return _write(root, user, sink)


def _text(lines: tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _write(root: Root, user: User | None, sink: ByteSink) -> Written:
    with LayerWriter(sink) as writer:
        # as below; a folder no layer names is closed to ordinary users in Docker 20.10
        for folder in ("etc", *((user.home.strip("/").rpartition("/")[0],) if user is not None else ())):
            writer.directory(folder)
        for path in sorted(root.nodes):
            node = root.nodes[path]
            if node.kind is MemberKind.FILE and node.content is not None:
                writer.file(path, node.content, mode=node.mode, owner=node.owner)
        if user is not None:
            writer.directory(user.home, owner=Owner(user.uid, user.gid))
        return writer.close()
