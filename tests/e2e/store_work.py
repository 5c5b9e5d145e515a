"""What the fault tests interrupt: ``python store_work.py HOME VERB ARGS…``, one small piece of work on a store.

``build NAME SEED``: an image of three layers, two of them cached by recipe. ``many NAME COUNT``: that many builds.
``gc``, ``tag IMAGE NAME``, ``read``. Exit code 1 and one line on stderr for an error that was explained.
"""

from __future__ import annotations

import sys
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import TrainloadError
from trainload.image.assemble import assemble
from trainload.image.model import Layer
from trainload.store.store import Store
from trainload.testing.images import layer_bytes, plan_of, put_layer


def layer(store: Store, name: str, data: bytes) -> Layer:
    """As a build makes a layer: found by its recipe, else made once by whoever holds the lock."""
    key = Digest.sha256(name.encode() + data)
    with store.lock(str(key)):
        found = store.recipes.find(key)
        if found is None:
            sys.stdout.write(f"made {name}\n")
            found = put_layer(store, *layer_bytes({name: data}))
            store.recipes.record(key, found)
    return found


def build(store: Store, name: str, seed: str) -> Digest:
    with store.writing():
        layers = [layer(store, part, part.encode() * 20_000) for part in ("base", "torch")]
        layers.append(layer(store, "code", seed.encode()))
        return store.commit_image(assemble(plan_of(name, ("base", "torch", "code")), layers), [name])


def work(home: str, verb: str, args: list[str]) -> None:
    store = Store.open(Path(home))
    if verb == "build":
        sys.stdout.write(f"{build(store, *args)}\n")
    elif verb == "many":
        for number in range(int(args[1])):
            build(store, f"{args[0]}:{number}", f"{args[0]} {number}")
            sys.stdout.write(f"done {args[0]}:{number}\n")
            sys.stdout.flush()
    elif verb == "gc":
        store.gc()
    elif verb == "tag":
        store.tag(*args)
    elif verb == "read":
        for one in store.images():
            assert one.reason is None, one.reason
            sys.stdout.write(f"{one.digest}\n")
        assert store.verify(full=True).findings == ()
    store.close()


if __name__ == "__main__":
    try:
        work(sys.argv[1], sys.argv[2], sys.argv[3:])
    except TrainloadError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
