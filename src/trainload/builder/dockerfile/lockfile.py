"""The lock beside a Dockerfile: answers that are there are kept, new ones are asked for and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from trainload.errors import LockError, Place, Text
from trainload.lock.answers import Answer, dumps, loads
from trainload.system.files import replace
from trainload.tree import Tree
from trainload.values import dataclass, field


@dataclass(slots=True)
class Answers:
    """What was asked before, and what is asked now."""

    file: str
    """Its name in the project's folder."""
    known: dict[str, Answer] = field(default_factory=dict)
    frozen: bool = False
    """New questions are refused."""
    used: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Every question that was answered, in order."""

    @classmethod
    def read(cls, tree: Tree, file: str, *, frozen: bool, anew: bool = False) -> Answers:
        """``anew``: forget what is there. Raises :class:`LockError` for a broken file."""
        there = tree.find(file) is not None and not anew
        known = loads(tree.read(file, limit=64 << 20), file) if there else {}
        return cls(file, known, frozen)

    def get(self, question: str) -> Answer | None:
        found = self.known.get(question)
        if found is not None:
            self.used[question] = found
            self.asked.append(question)
        return found

    def put(self, question: str, answer: Answer) -> Answer:
        """Raises :class:`LockError` when the lock may not change."""
        if self.frozen:
            raise LockError(
                Text("the lock does not hold what the Dockerfile asks for: {question}", question=question),
                place=Place(self.file),
                hints=[Text("run `trainload build` without --frozen and keep {file}", file=self.file)],
            )
        self.known[question] = self.used[question] = answer
        self.asked.append(question)
        return answer

    def ask(self, question: str, answer: Callable[[], Answer]) -> Answer:
        """What is known, else what ``answer`` finds out."""
        known = self.get(question)
        if known is None and self.frozen:
            self.put(question, {})
        return known if known is not None else self.put(question, answer())

    def write(self, folder: Path, *, whole: bool) -> bool:
        """Write it when something is new; ``whole``: everything was asked, so what was not is left out."""
        keep = dict(self.used) if whole else dict(self.known)
        path = folder / self.file
        data = dumps(keep)
        if self.frozen or not keep or (path.exists() and path.read_bytes() == data):
            return False
        replace(path, data)
        return True
