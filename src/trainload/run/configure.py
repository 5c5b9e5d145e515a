"""The layer of ``configure = "sandbox"``: ``dpkg --configure`` runs what the base could only name (docs/adr/0012).

As root inside, without network and without anything of this machine but a folder for what it says. Packages whose
``postinst`` is not modelled are marked as unpacked; what dpkg and the scripts then change becomes the layer.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainload.digest import Digest
from trainload.errors import Place, RunError, Text
from trainload.events import SILENT, Reporter, Said
from trainload.image.model import Layer
from trainload.layers.debian import configuration
from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter
from trainload.limits import DEFAULT, Limits
from trainload.run.below import Below
from trainload.run.capture import Changes, Rules, find_changes, write_changes
from trainload.run.embedded import Changing, EmbeddedEngine
from trainload.run.model import Mount, RunSpec
from trainload.run.moved import move_unpacked
from trainload.run.unpack import LayerBlob, unpack
from trainload.system import scratch

OUT = "/run/trainload"
LOG = "output"
_POLICY = "usr/sbin/policy-rc.d"
_PROGRAM = (
    f'exec >{OUT}/{LOG} 2>&1 </dev/null; cd /; '
    "exec dpkg --log=/dev/null --no-pager --force-confold --force-unsafe-io --force-bad-path --configure --pending"
)  # fmt: skip
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBCONF_NOWARNINGS": "yes",
    "SOURCE_DATE_EPOCH": "0",  # reproducible-builds.org: fontconfig's caches, and others'
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PERL_HASH_SEED": "0",
}
_RULES = Rules(configuration.left_out, {"etc/shadow": configuration.without_dates})
_MOST = 5
"""Deleted paths, or lines, that an error names."""


def write_configured(
    below: Sequence[Layer],
    rootfs: Path,
    blob: Callable[[Digest], Path],
    sink: ByteSink,
    reporter: Reporter = SILENT,
    limits: Limits = DEFAULT,
) -> Written:
    """Writes what configuring the packages of ``below``, a base and perhaps its user, changes.

    ``rootfs``: where layers are unpacked; ``blob``: the file of a layer's blob. Raises :class:`RunError` naming the
    package whose script fails, or the file that a script deletes: layers hold no deletions.
    """
    blobs = [LayerBlob(blob(layer.descriptor.digest), layer.diff_id, layer.descriptor.size) for layer in below]
    seen = Below(blobs, unpack(blobs, rootfs, limits=limits))
    packages = configuration.to_configure(_info(seen, ".postinst"))
    if not packages:
        reporter.report(Said(Text("no package has a script to be run")))
        with LayerWriter(sink) as out:
            return out.close()
    if seen.place("usr/bin/dpkg") is None or seen.place("usr/bin/sh") is None:
        raise RunError(
            Text("scripts of {packages} need a shell and dpkg in the image", packages=", ".join(packages)),
            hints=[Text('set profile = "slim"'), Text('set configure = "never"')],
        )
    reporter.report(Said(Text("scripts run in the sandbox: {packages}", packages=", ".join(packages))))
    return _configure(seen, packages, EmbeddedEngine(rootfs, lambda _: blobs, limits=limits), sink)


def _configure(seen: Below, packages: Sequence[str], engine: EmbeddedEngine, sink: ByteSink) -> Written:
    written: list[Written] = []

    def prepare(upper: Path) -> None:
        status = configuration.unpacked(seen.text(configuration.STATUS), packages)
        seen.copy_up(configuration.STATUS, status, upper)

    def capture(upper: Path) -> None:
        changes = find_changes(upper, seen, _RULES)
        _check(changes, upper, seen, packages)
        with LayerWriter(sink) as out:
            write_changes(changes, out)
            written.append(out.close())
        move_unpacked(changes, written[0].diff_id, engine.rootfs)

    with scratch.folder("configure") as folder:
        policy = folder / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")  # no services are started (invoke-rc.d(8))
        policy.chmod(0o755)
        outside = folder / "out"
        outside.mkdir()
        (outside / LOG).touch()
        spec = RunSpec(
            image=Digest.sha256(b""),  # the engine is given the layers themselves
            id=secrets.token_hex(6),
            command=("/bin/sh", "-c", _PROGRAM),
            user="0",
            workdir="/",
            env=_ENV,
            mounts=(Mount(str(outside), OUT), Mount(str(policy), f"/{_POLICY}", read_only=True)),
            network=False,
            interactive=False,
            step=True,
            hostname="localhost",
        )
        outcome = engine.run(spec, Changing(prepare, capture))
        if outcome.exit_code != 0:
            raise _failure((outside / LOG).read_text("utf-8", "replace"), packages, outcome.reason)
    return written[0]


def _check(changes: Changes, upper: Path, seen: Below, packages: Sequence[str]) -> None:
    """Raises :class:`RunError` for deletions and for packages that are not installed after all."""
    if changes.deleted:
        paths = changes.deleted
        who = configuration.owner(paths[0], _info(seen, ".list"))
        raise RunError(
            Text(
                "a script of {packages} deletes {paths}, and a layer holds no deletions",
                packages=", ".join(packages),
                paths=", ".join(f"/{path}" for path in paths[:_MOST]),
            ),
            place=Place(who, f"/{paths[0]}") if who else None,
            hints=[Text('set configure = "never"')],
        )
    left = configuration.not_installed((upper / configuration.STATUS).read_bytes())
    if left:
        raise RunError(Text("dpkg left packages that are not installed: {packages}", packages=", ".join(left)))


def _failure(output: str, packages: Sequence[str], reason: Text) -> RunError:
    found = configuration.failures(output)
    lines = [line for failure in found for line in failure.lines] or output.split("\n")[-_MOST:]
    hints = [Text('set configure = "never"')]
    if os.geteuid() != 0:
        hints.append(Text("root can give files to other users, an ordinary user cannot: build as root"))
    return RunError(
        Text(
            "{packages} could not be configured: {reason}",
            packages=", ".join(failure.package for failure in found) or ", ".join(packages),
            reason=reason,
        ),
        got=" | ".join(lines) or None,
        hints=hints,
    )


def _info(seen: Below, ending: str) -> Mapping[str, bytes]:
    """package → dpkg's file about it that ends so."""
    names = [name for name in seen.names(configuration.INFO) if name.endswith(ending)]
    return {
        name.removesuffix(ending).partition(":")[0]: seen.text(f"{configuration.INFO}/{name}")
        for name in sorted(names)
    }
