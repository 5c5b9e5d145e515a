"""Three ways into an engine there, the best first.

What is much goes into a folder there first, where a cut leaves it, and the engine pulls from that; what is little
is pulled through the tunnel; who cannot pull gets an archive of what it lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from trainload.address import Address
from trainload.destinations.cargo import Cargo
from trainload.destinations.ship.engines import Engine, missing_there
from trainload.destinations.ship.offer import Offer
from trainload.destinations.ship.remote_store import RemoteStore, whole
from trainload.destinations.ship.taking import FullError, Taking, layers_of
from trainload.destinations.ship.there import There
from trainload.digest import Digest
from trainload.errors import HostError, Text
from trainload.events import Ended, How, Level, Reporter, Said
from trainload.limits import MiB
from trainload.reference import Reference

KEPT = "~/.cache/trainload/ship"
"""The folder there; it is empty again once the engine has the image."""
LITTLE = 4 * MiB
"""What a cut may cost: the engines keep nothing of a pull that ended early."""
_UNREACHED = ("connect: connection refused", "connect: network is unreachable")
_PYTHON = "command -v python3 >/dev/null && python3 -IS -c 'import sys; sys.exit(sys.version_info < (3, 8))'"


@dataclass(frozen=True, slots=True)
class Ways:
    """One image on its way into one engine."""

    address: Address
    engine: Engine
    name: Reference
    offer: Offer
    port: int
    """Where the offer is served here."""
    reporter: Reporter
    environ: Mapping[str, str] | None = None

    @property
    def cargo(self) -> Cargo:
        return self.offer.cargo

    def take(self, there: There) -> int:
        """Bytes of blobs that went out. Raises :class:`HostError`; then the engine has the old image."""
        missing = missing_there(there, self.engine, self.cargo)
        if sum(one.size for one in missing) <= LITTLE or there.ask(_PYTHON).code != 0:
            return self._pulled(there)
        kept = self._kept({one.digest for one in missing}, there)
        if kept is not None:
            return kept
        with There(self.address, self.port, self.environ) as another:  # the first one is a runner now
            return self._pulled(another)

    def _kept(self, missing: Collection[Digest], there: There) -> int | None:
        """Into the folder, and from there; None where nothing can be kept."""
        there_already = set(layers_of(self.cargo)) - set(missing)
        cargo = whole(self.cargo, [part for part in self.cargo.parts if part.blob.digest not in there_already])
        with RemoteStore(there, self.reporter) as store:
            try:
                store.open(KEPT, writing=True)
                store.send(cargo, store.look(cargo.parts))
            except HostError as error:
                if error.retryable:
                    raise
                self._say(Text("nothing can be kept on {host}, so a cut would begin anew: {reason}",
                               host=self.address, reason=error.text))  # fmt: skip
                return None
            port = store.serve(self.offer.name, self.cargo.documents)
            try:
                self._taking.pull(store, self._source(port))
            except HostError as error:
                if error.retryable:
                    raise
                store.empty()
                if isinstance(error, FullError):
                    raise
                self._say(self._why(error))
            else:
                store.empty()
                self._tell(there_already)
                return store.sent
        with There(self.address, None, self.environ) as another:
            return self._loaded(another)

    def _pulled(self, there: There) -> int:
        port = there.session.forwarded()
        if port is None:
            self._say(
                Text("the ssh server of {host} forbids forwarding: {engine} gets an archive of what it lacks",
                     host=self.address, engine=self.engine.choice),
            )  # fmt: skip
            return self._loaded(there)
        try:
            self._taking.pull(there, self._source(port))
        except HostError as error:
            if error.retryable or isinstance(error, FullError):
                raise
            self._say(self._why(error))
            return self._loaded(there)
        self.offer.finish()
        return self.offer.sent

    def _loaded(self, there: There) -> int:
        """What it has may lie there in another form than an archive can leave out; then it gets all of it."""
        omit = set(layers_of(self.cargo)) - {one.digest for one in missing_there(there, self.engine, self.cargo)}
        try:
            return self._taking.load(there, self.reporter, omit)
        except HostError as error:
            if not omit or error.retryable or isinstance(error, FullError):
                raise
        self._say(Text("{engine} needs the whole image", engine=self.engine.choice))
        with There(self.address, None, self.environ) as another:
            return self._taking.load(another, self.reporter, ())

    @property
    def _taking(self) -> Taking:
        return Taking(self.engine, self.name, self.cargo)

    def _source(self, port: int) -> str:
        return f"127.0.0.1:{port}/{self.offer.name}@{self.cargo.root.digest}"

    def _tell(self, present: Collection[Digest]) -> None:
        for part in self.cargo.parts:
            if part.blob.digest in present:
                self.reporter.report(Ended(str(part.blob.digest), part.label, How.PRESENT, part.blob.size))

    def _why(self, error: HostError) -> Text:
        if any(word in line for line in error.said for word in _UNREACHED):
            return Text(
                "{engine} on {host} runs in another network and cannot pull: it gets an archive of what it lacks",
                engine=self.engine.choice, host=self.address,
            )  # fmt: skip
        return Text(
            "{engine} on {host} could not pull ({reason}): it gets an archive of what it lacks",
            engine=self.engine.choice, host=self.address, reason=error.said[-1] if error.said else error.text,
        )  # fmt: skip

    def _say(self, text: Text) -> None:
        self.reporter.report(Said(text, Level.WARNING))
