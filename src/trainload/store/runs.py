"""The record of runs: one SQLite file beside the store, safe under ``kill -9`` and several writers at once.

Names of environment variables are recorded, never values. A run that began and never ended although nobody
runs it any more is *lost*: whoever looks next says so.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from trainload.digest import Digest
from trainload.errors import Place, StoreError, Text
from trainload.values import dataclass, field, replace

_VERSION = 1
_BUSY = 10.0  # seconds to wait for another writer; each holds the file for milliseconds
_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, image TEXT NOT NULL, name TEXT NOT NULL, engine TEXT NOT NULL, command TEXT NOT NULL,
    request TEXT NOT NULL, folder TEXT NOT NULL, git_commit TEXT, git_dirty INTEGER,
    started TEXT NOT NULL, ended TEXT, exit_code INTEGER, reason TEXT
) STRICT
"""
_COLUMNS = (
    "id, image, name, engine, command, request, folder, git_commit, git_dirty, started, ended, exit_code, reason"
)
_NOTES = "CREATE TABLE IF NOT EXISTS notes (run TEXT NOT NULL, note TEXT NOT NULL, UNIQUE (run, note)) STRICT"
"""What a run's engine warned of; made with the first one, so that an older Trainload reads the rest."""
LOST = Text("lost: Trainload was killed")


@dataclass(frozen=True, slots=True)
class Run:
    """One run."""

    id: str
    image: Digest
    """Of the manifest."""
    name: str
    """What the user called the image, or the project."""
    engine: str
    command: tuple[str, ...]
    """The whole argv."""
    request: Mapping[str, object]
    """As ``run.request.request_document`` gives it: what a repetition needs."""
    folder: str
    """Where it was called."""
    started: datetime
    """UTC."""
    git_commit: str | None = None
    git_dirty: bool | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    reason: Text | None = field(default=None)
    """None while it runs."""
    notes: tuple[Text, ...] = ()
    """What its engine warned of."""

    @property
    def called(self) -> str | None:
        """``--name``."""
        name = self.request.get("called")
        return name if isinstance(name, str) else None

    @property
    def host(self) -> str | None:
        """The server it ran on, as the user called it; None: this machine."""
        there = self.request.get("host")
        name = there.get("name") if isinstance(there, Mapping) else None
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended."""

    at: datetime | None
    """UTC; None: nobody knows."""
    exit_code: int | None
    reason: Text


Look = Callable[[Run], End | None]
"""Asks how a run ended that has no recorded end; None: it runs still."""


def _runs_still(_: Run) -> None:
    return None


class RunRecords:
    """The runs of one store; the file is made by the first :meth:`begin`."""

    def __init__(self, home: Path, look: Look = _runs_still) -> None:
        """``look`` is asked about every run without a recorded end."""
        self._path = home / "runs.sqlite"
        self._look = look

    def begin(self, run: Run) -> None:
        """Write a run down before it starts."""
        with self._open(write=True) as database:
            places = ", ".join("?" * 13)
            database.execute(f"INSERT INTO runs ({_COLUMNS}) VALUES ({places})", _row(run))  # noqa: S608 - constants

    def end(self, run_id: str, ended: datetime, exit_code: int | None, reason: Text) -> None:
        """Write down how a run ended; once is enough, a second time changes nothing.

        That it was lost is a guess (it may not have come to its lock yet): an end with an exit code corrects it.
        """
        with self._open(write=True) as database:
            database.execute(
                "UPDATE runs SET ended = ?, exit_code = ?, reason = ? WHERE id = ?"
                " AND (ended IS NULL OR (exit_code IS NULL AND ? IS NOT NULL))",
                (ended.isoformat(), exit_code, _text(reason), run_id, exit_code),
            )

    def note(self, run_id: str, note: Text) -> None:
        """Write down what should be known of a run; once is enough."""
        with self._open(write=True) as database:
            database.execute(_NOTES)
            database.execute("INSERT OR IGNORE INTO notes (run, note) VALUES (?, ?)", (run_id, _text(note)))

    def all(self) -> tuple[Run, ...]:
        """Every run, the latest first, with ends that were not recorded yet. Writes nothing."""
        return tuple(self._looked_at(run) for run in self._rows())

    def settle(self, now: datetime) -> None:
        """Write down the ends of runs that nobody was there to see."""
        for run in self._rows():
            end = self._look(run) if run.reason is None else None
            if end is not None:
                self.end(run.id, end.at or now, end.exit_code, end.reason)

    def find(self, word: str) -> Run:
        """The latest run with the name ``word``, or the one whose id begins with it.

        Raises :class:`StoreError` for none or several.
        """
        runs = self._rows()
        found = [run for run in runs if run.called == word][:1] or [run for run in runs if run.id.startswith(word)]
        if len(found) != 1:
            many = Text("{id} means several runs", id=word)
            none = Text("there is no run {id}", id=word)
            raise StoreError(many if found else none, hints=("`trainload runs` lists them",))
        return self._looked_at(found[0])

    def named(self, name: str) -> tuple[Run, ...]:
        """Runs that were called so, the latest first."""
        return tuple(run for run in self._rows() if run.called == name)

    def _looked_at(self, run: Run) -> Run:
        end = self._look(run) if run.reason is None else None
        return run if end is None else replace(run, ended=end.at, exit_code=end.exit_code, reason=end.reason)

    def _rows(self) -> tuple[Run, ...]:
        if not self._path.exists():
            return ()
        with self._open(write=False) as database:
            rows = database.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY started DESC, rowid DESC")  # noqa: S608
            notes = _notes(database)
            return tuple(replace(run, notes=notes.get(run.id, ())) for run in map(_run, rows))

    @contextmanager
    def _open(self, *, write: bool) -> Iterator[sqlite3.Connection]:
        try:
            if write:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._path, timeout=_BUSY)
                # a record is not worth a tenth of a second: kill -9 cannot hurt it, only a power loss can
                connection.execute("PRAGMA synchronous = OFF")
            else:
                connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=_BUSY)
            with closing(connection), connection:
                self._check(connection, write=write)
                yield connection
        except sqlite3.Error as error:
            raise StoreError(
                Text("the record of runs cannot be used: {reason}", reason=error),
                place=Place(str(self._path)),
                hints=("it is only a record: move the file away and a new one is made",),
            ) from error

    def _check(self, connection: sqlite3.Connection, *, write: bool) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(
                Text("the record of runs was written by a newer Trainload"),
                place=Place(str(self._path)), got=version, want=_VERSION,
            )  # fmt: skip
        if version < _VERSION and write:
            connection.execute(_TABLE)
            connection.execute(f"PRAGMA user_version = {_VERSION}")


def _notes(database: sqlite3.Connection) -> Mapping[str, tuple[Text, ...]]:
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone() is None:
        return {}
    found: dict[str, tuple[Text, ...]] = {}
    for run, note in database.execute("SELECT run, note FROM notes ORDER BY rowid"):
        found[run] = (*found.get(run, ()), _told(note))
    return found


def _row(run: Run) -> tuple[object, ...]:
    return (
        run.id,
        str(run.image),
        run.name,
        run.engine,
        json.dumps(run.command),
        json.dumps(run.request, sort_keys=True),
        run.folder,
        run.git_commit,
        run.git_dirty,
        run.started.isoformat(),
        run.ended.isoformat() if run.ended else None,
        run.exit_code,
        _text(run.reason) if run.reason else None,
    )


def _run(row: Sequence[Any]) -> Run:
    run_id, image, name, engine, command, request, folder, commit, dirty, started, ended, code, reason = row
    return Run(
        id=run_id,
        image=Digest.parse(image),
        name=name,
        engine=engine,
        command=tuple(json.loads(command)),
        request=json.loads(request),
        folder=folder,
        started=datetime.fromisoformat(started),
        git_commit=commit,
        git_dirty=None if dirty is None else bool(dirty),
        ended=datetime.fromisoformat(ended) if ended else None,
        exit_code=None if code is None else int(code),
        reason=_told(reason) if reason else None,
    )


def _text(text: Text) -> str:
    return json.dumps([text.template, {key: str(value) for key, value in text.values.items()}])


def _told(data: str) -> Text:
    template, values = json.loads(data)
    return Text(template, **values)
