"""Options that Docker has and we have not: what does the same, so that a known command line needs one change."""

from __future__ import annotations

from trainload.errors import Text

_BUILD = {
    "--pull": Text("a tag that moved is followed by: trainload lock --upgrade"),
    "--progress": Text("leave it out: in a log progress is plain lines; -q says less, --json prints the result"),
    "--load": Text("leave it out: the image is in the store, and trainload run finds it"),
    "--rm": Text("leave it out: nothing is left of a RUN but its layer"),
    "--force-rm": Text("leave it out: nothing is left of a RUN but its layer"),
    "--output": Text("trainload save writes an image to a file"),
    "--label": Text("write it into the Dockerfile: LABEL name=value"),
    "--no-cache-filter": Text("--no-cache makes every layer anew"),
    "--shm-size": Text("leave it out: RUN has this machine's memory; trainload run takes --shm-size"),
}
_RUN = {
    "--ipc": Text("give the container shared memory of its own: --shm-size 8g"),
    "--net": Text("--network"),
    "--runtime": Text("GPUs are given by: --gpus all"),
    "--privileged": Text("a container gets no rights over this machine; name what it needs: --gpus, -v, -p"),
    "--cap-add": Text("a container gets no rights over this machine; name what it needs: --gpus, -v, -p"),
}
_OF = {"build": _BUILD, "run": _RUN}


def instead(verb: str | None, option: str) -> Text | None:
    """What to write for ``option`` of Docker's ``verb``."""
    return _OF.get(verb or "", {}).get(option)
