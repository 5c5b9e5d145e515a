"""``trainload gc``: free the space of what no image needs."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import click

from trainload.cli.options import pass_world
from trainload.cli.render import table
from trainload.cli.units import size
from trainload.cli.world import World
from trainload.digest import Digest
from trainload.errors import Text

_SHELLS = timedelta(days=14)


@click.command()
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be removed; remove nothing.")
@click.option("--keep-cache", is_flag=True, help="Keep layers that a build can use again.")
@click.option("--keep-unnamed", is_flag=True, help="Keep images that lost their name to a newer one.")
@click.option("--pushed", is_flag=True, help="Remove what was pushed to the registry server without a name too.")
@click.option("-a", "--all", "everything", is_flag=True, help="Remove fetched files too: wheels, packages.")
@pass_world
def command(
    world: World, *, dry_run: bool, keep_cache: bool, keep_unnamed: bool, pushed: bool, everything: bool
) -> None:
    """Remove what no image needs.

    Named images stay, and so does everything that a build, run or push now going on needs. Layers of no image go,
    and images that lost their name. Fetched files stay, unless --all: the next change of a lock needs them. What
    was pushed to `registry serve` by digest, or is not used by an image yet, stays unless --pushed. What shells
    kept for `trainload capture` goes after two weeks; with --all, at once.
    """
    from trainload.store.collect import Keep, Rubbish

    words = {
        Rubbish.IMAGE: Text("images without a name"),
        Rubbish.BLOB: Text("blobs"),
        Rubbish.RECIPE: Text("recipes"),
        Rubbish.FILE: Text("fetched files"),
        Rubbish.UNPACKED: Text("unpacked layers"),
        Rubbish.UNFINISHED: Text("unfinished files"),
        Rubbish.DAMAGED: Text("damaged blobs"),
        Rubbish.LOCK: Text("locks"),
        Rubbish.LINK: Text("entries of repositories"),
    }
    _forget_shells(world, dry_run=dry_run, everything=everything)
    done = world.store.gc(
        Keep(
            cache=keep_cache, unnamed=keep_unnamed, files=not everything, pushed=not pushed, run=_run_now(world)
        ),
        dry_run=dry_run,
    )  # fmt: skip
    counts = Counter(piece.kind for piece in done.pieces) + Counter({Rubbish.IMAGE: len(done.images)})
    sizes: Counter[Rubbish] = Counter()
    for piece in done.pieces:
        sizes[piece.kind] += piece.size
    rows = [[words[kind], counts[kind], size(sizes[kind])] for kind in words if counts[kind]]
    document = {
        "dry_run": dry_run,
        "bytes": done.size,
        "images": [str(digest) for digest in done.images],
        "removed": {kind.value: {"count": counts[kind], "bytes": sizes[kind]} for kind in Rubbish if counts[kind]},
    }
    heads = [Text("WHAT"), Text("COUNT"), Text("SIZE")]
    world.result(document, table(heads, rows, world.catalogue, right=[1, 2]) if rows else ())
    if not rows:
        world.say(Text("nothing to remove"))
    elif dry_run:
        world.say(Text("{size} would be freed", size=size(done.size)))
    else:
        world.say(Text("{size} freed", size=size(done.size)))


def _run_now(world: World) -> frozenset[Digest]:
    """Images of runs of this machine that go on, in whatever engine, or of which nobody can say so now."""
    from trainload.cli.engines import records

    return frozenset(run.image for run in records(world).all() if run.reason is None and run.host is None)


def _forget_shells(world: World, *, dry_run: bool, everything: bool) -> None:
    from trainload.run.engines.embedded.keeping import prune
    from trainload.run.engines.embedded.site import containers

    before = world.now if everything else world.now - _SHELLS
    count = prune(containers(world.home), before, dry_run=dry_run)
    if count:
        world.say(Text("changes that {count} shells kept: removed", count=count) if not dry_run else
                  Text("changes that {count} shells kept: would be removed", count=count))  # fmt: skip
