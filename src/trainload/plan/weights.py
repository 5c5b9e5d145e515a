"""Weights in an image: where their files go, which layers they make, and what tells libraries where they are.

A hub's files go where its client keeps them, so that ``from_pretrained("org/model")`` finds them; a file by its
address goes where ``torch.hub`` looks for it; the project's own stay where they lie (docs/adr/0031).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from trainload.errors import LockError, Text
from trainload.lock.model import File, Lock, WeightFile, Weights
from trainload.plan.model import Kind, PlacedFile, PlannedLayer, PlannedMount, WeightsRecipe
from trainload.project.model import Project
from trainload.project.weights import COMMIT, DEFAULT_REVISION, HubSource, LocalSource, UrlSource, Wanted
from trainload.values import dataclass

FOLDER = "opt/weights"
HUB_HOME = f"{FOLDER}/huggingface"
HUB = f"{HUB_HOME}/hub"
TORCH_HOME = f"{FOLDER}/torch"
CHECKPOINTS = f"{TORCH_HOME}/hub/checkpoints"
_OPEN = (HUB_HOME, HUB, TORCH_HOME, f"{TORCH_HOME}/hub", CHECKPOINTS)
"""Folders that programs may put more into, as into /tmp; what lies there is not theirs to change."""
OWN_LAYER = 16_000_000
"""Bytes of a file from which it has a layer of its own."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
"""What pickles are called, which run code when they are loaded; they are looked into before they go in."""
LAYERS = 36
"""Most layers of large files; more files share them, in order."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One entry in the image."""

    title: str
    files: tuple[PlacedFile, ...]
    links: tuple[tuple[str, str], ...] = ()
    """(path, target)."""
    texts: tuple[tuple[str, str], ...] = ()
    """(path, content)."""


def weight_layers(project: Project, lock: Lock) -> tuple[PlannedLayer, ...]:
    """The layers of weights, large files first. Raises :class:`LockError` for a lock that is not the project's."""
    pairs = entries(project, lock)
    within = _layers([_placed(project, lock, *pair) for pair in pairs if not pair[0].mount])
    seen = [path for wanted, weights in pairs if wanted.mount for path in [_top(project, wanted, weights)]]
    shared = tuple(folder for folder in _OPEN if any(path.startswith(f"{folder}/") for path in seen))
    if not shared:
        return within
    recipe = WeightsRecipe((), shared=shared)
    return (*within, PlannedLayer(Kind.WEIGHTS, "folders of weights", recipe, 0, Text("weights are mounted there")))


def weight_mounts(project: Project, lock: Lock) -> tuple[PlannedMount, ...]:
    """Weights that are no part of the image, those of one place together."""
    found: dict[str, list[Placement]] = {}
    for wanted, weights in entries(project, lock):
        if wanted.mount:
            found.setdefault(_top(project, wanted, weights), []).append(_placed(project, lock, wanted, weights))
    return tuple(PlannedMount(made[0].title, path, _layers(made)) for path, made in sorted(found.items()))


def _top(project: Project, wanted: Wanted, weights: Weights) -> str:
    """The folder or file of the image that all of an entry lies in."""
    workdir = project.settings.workdir.value
    match wanted.source:
        case HubSource() as source if wanted.target is None:
            return _repository(source)
        case UrlSource() if wanted.target is None:
            return f"{CHECKPOINTS}/{weights.files[0].path}"
        case LocalSource(path) if wanted.target is None:
            return posixpath.join(workdir, path).strip("/")
        case _:
            return _folder(workdir, wanted).strip("/")


def _repository(source: HubSource) -> str:
    return f"{HUB}/{source.kind}--{source.repository.replace('/', '--')}"


def _layers(placed: Sequence[Placement]) -> tuple[PlannedLayer, ...]:
    large = sorted({file: one.title for one in placed for file in one.files if _is_large(file)}.items())
    layers = [*_large(large), *(layer for one in placed for layer in _rest(one))]
    return tuple({layer.recipe: layer for layer in layers}.values())


def weight_environment(project: Project) -> dict[str, str]:
    """What tells libraries where the weights are."""
    wanted = [one for one in project.settings.weights.value if one.target is None]
    env: dict[str, str] = {}
    if any(isinstance(one.source, HubSource) for one in wanted):
        # offline: a branch that moved since would otherwise be fetched anew, into folders that are not to change
        env |= {"HF_HOME": f"/{HUB_HOME}", "HF_HUB_OFFLINE": "1"}
    if any(isinstance(one.source, UrlSource) for one in wanted):
        env |= {"TORCH_HOME": f"/{TORCH_HOME}"}
    return env


def entries(project: Project, lock: Lock) -> list[tuple[Wanted, Weights]]:
    """What is wanted, with what is locked for it."""
    wanted = project.settings.weights.value
    if [str(one) for one in wanted] != [one.source for one in lock.weights]:
        raise LockError("the lock does not hold the project's weights", hints=[Text("run: trainload lock")])
    return list(zip(wanted, lock.weights, strict=True))


def _is_large(file: PlacedFile) -> bool:
    return (file.file.size or 0) >= OWN_LAYER


def _placed(project: Project, lock: Lock, wanted: Wanted, weights: Weights) -> Placement:
    workdir = project.settings.workdir.value
    match wanted.source:
        case HubSource(repository=title) as source if wanted.target is None:
            return _in_cache(_repository(source), _names(source, alone=_is_alone(lock, source)), weights, title)
        case UrlSource() if wanted.target is None:
            return Placement(weights.files[0].path, _below(CHECKPOINTS, weights.files))
        case LocalSource(path) if wanted.target is None:
            return Placement(path, _below(workdir, weights.files))
        case LocalSource(path):
            top = [one for one in weights.files if one.path == path]
            prefix = len(posixpath.dirname(path) if top else path)
            files = tuple(WeightFile(one.path[prefix:].strip("/"), one.file) for one in weights.files)
            return Placement(path, _below(_folder(workdir, wanted), files))
        case source:
            title = source.repository if isinstance(source, HubSource) else weights.files[0].path
            return Placement(title, _below(_folder(workdir, wanted), weights.files))


def _folder(workdir: str, wanted: Wanted) -> str:
    return posixpath.join(workdir, wanted.target or "")


def _below(folder: str, files: Sequence[WeightFile]) -> tuple[PlacedFile, ...]:
    return tuple(PlacedFile(f"{folder.strip('/')}/{one.path}".strip("/"), one.file) for one in files)


def _is_alone(lock: Lock, source: HubSource) -> bool:
    """Whether no other revision of the repository goes in."""
    prefix = str(source).rpartition("@")[0] + "@"
    return sum(one.source.startswith(prefix) for one in lock.weights) == 1


def cache_layers(hub: str, source: HubSource, weights: Weights) -> tuple[PlannedLayer, ...]:
    """The repository in the cache of the hub's client at ``hub``, as the client leaves it."""
    top = f"{hub}/{source.kind}--{source.repository.replace('/', '--')}"
    return _layers([_in_cache(top, _names(source, alone=False), weights, source.repository)])


def folder_layers(folder: str, title: str, weights: Weights) -> tuple[PlannedLayer, ...]:
    """The files below a folder of the image."""
    return _layers([Placement(title, _below(folder, weights.files))])


def _names(source: HubSource, *, alone: bool) -> list[str]:
    """References; ``alone``: programs that ask for no revision get this one, whatever it is called."""
    names = [source.revision] if not COMMIT.fullmatch(source.revision) else []
    return [*names, DEFAULT_REVISION] if alone and DEFAULT_REVISION not in names else names


def _in_cache(top: str, names: Sequence[str], weights: Weights, title: str) -> Placement:
    """As the hub's own client keeps a repository: blobs, named by what the hub calls them, and links to them."""
    blobs = {one.blob or one.file.sha256: one.file for one in weights.files}
    links = []
    for one in weights.files:
        path = f"{top}/snapshots/{weights.commit}/{one.path}"
        links.append((path, f"{'../' * (one.path.count('/') + 2)}blobs/{one.blob or one.file.sha256}"))
    return Placement(
        title=title,
        files=tuple(PlacedFile(f"{top}/blobs/{name}", file) for name, file in sorted(blobs.items())),
        links=tuple(sorted(links)),
        texts=tuple(sorted((f"{top}/refs/{name}", weights.commit) for name in names)),
    )


def _large(files: Sequence[tuple[PlacedFile, str]]) -> Iterator[PlannedLayer]:
    """One layer each; in groups where there are too many."""
    count = min(LAYERS, len(files))
    for number in range(count):
        group = files[number * len(files) // count : (number + 1) * len(files) // count]
        names = [_name(file.file) for file, _ in group]
        title = f"{group[0][1]}: {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        if group[0][1] == names[0]:
            title = names[0]
        yield _layer(title, [file for file, _ in group], why=Text("a large file: a layer of its own"))


def _name(file: File) -> str:
    return file.name


def _rest(placement: Placement) -> Iterator[PlannedLayer]:
    small = [file for file in placement.files if not _is_large(file)]
    if not small and not placement.links:
        return
    count = len(small)
    title = f"{placement.title}: {count} file{'' if count == 1 else 's'}" if count else f"{placement.title}: links"
    yield _layer(title, small, placement.links, placement.texts, Text("small files of weights share a layer"))


def _layer(
    title: str,
    files: Sequence[PlacedFile],
    links: tuple[tuple[str, str], ...] = (),
    texts: tuple[tuple[str, str], ...] = (),
    why: Text | None = None,
) -> PlannedLayer:
    paths = [*(file.path for file in files), *(path for path, _ in (*links, *texts))]
    shared = tuple(folder for folder in _OPEN if any(path.startswith(f"{folder}/") for path in paths))
    recipe = WeightsRecipe(tuple(sorted(files)), links, texts, shared)
    size = sum(file.file.size or 0 for file in files)
    return PlannedLayer(Kind.WEIGHTS, title, recipe, size, why or Text("weights"))
