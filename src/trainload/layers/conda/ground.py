"""What lies below a prefix's new packages, as far as it counts: its owner, links to folders, folders' own looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trainload.layers.writer import ROOT, LayerWriter, Owner
from trainload.plan.model import CondaRecipe, PrefixCondaRecipe
from trainload.plan.placed import Below
from trainload.values import dataclass, field


@dataclass(frozen=True, slots=True)
class Ground:
    """Nothing of it counts in a prefix of ours."""

    owner: Owner = ROOT
    prefix: str = ""
    known: Mapping[str, Below] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, recipe: CondaRecipe) -> Ground:
        if not isinstance(recipe, PrefixCondaRecipe):
            return cls()
        return cls(
            Owner(recipe.uid, recipe.gid),
            recipe.prefix.strip("/"),
            {each.path: each for each in recipe.below if not each.target},
            {each.path: each.target for each in recipe.below if each.target},
        )

    def real(self, path: str) -> str:
        """``path`` where links of the image lead; links of packages lie in it as they are."""
        if not self.links:
            return path
        above, slash, name = path.rpartition("/")
        here = ""
        for part in above.split("/"):
            here = f"{here}/{part}" if here else part
            here = self.links.get(here, here)
        return f"{here}{slash}{name}"

    def folders(self, paths: Iterable[str]) -> list[str]:
        """Every folder of a layer, and those above them; a link to a folder stays one."""
        found: set[str] = set()
        for path in paths:
            real = self.links.get(self.real(path), self.real(path))
            while real and real not in found:
                found.add(real)
                real = real.rpartition("/")[0]
        return sorted(found)

    def directory(self, out: LayerWriter, path: str) -> None:
        below = self.known.get(path)
        if below is not None:
            out.directory(path, mode=below.mode, owner=Owner(below.uid, below.gid))
        elif self.prefix and f"{path}/".startswith(f"{self.prefix}/"):
            out.directory(path, owner=self.owner)
        else:
            out.directory(path)
