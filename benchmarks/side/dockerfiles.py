"""The Dockerfiles that the peers are given: as pip's, uv's and Docker's documentation recommend them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.side.materials import Materials


class Installer(StrEnum):
    PIP = "pip"
    UV = "uv"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How dependencies get in."""

    installer: Installer
    mounts: bool = False
    """A cache that is kept between builds is mounted (``RUN --mount=type=cache``)."""

    @property
    def label(self) -> str:
        return f"{self.installer}, cache mount" if self.mounts else str(self.installer)

    def dockerfile(self, made: Materials) -> str:
        """Dependencies before code, so that an edit leaves them alone."""
        sources = f"--no-index --find-links {made.links} -r requirements.txt"
        match self.installer, self.mounts:
            case Installer.PIP, False:
                step = f"RUN pip install --no-cache-dir {sources}"
            case Installer.PIP, True:
                step = f"RUN --mount=type=cache,target=/root/.cache/pip pip install {sources}"
            case Installer.UV, False:
                step = f"RUN uv pip install --no-cache --python /opt/venv/bin/python {sources}"
            case _:
                step = (
                    "ENV UV_LINK_MODE=copy\n"
                    "RUN --mount=type=cache,target=/root/.cache/uv "
                    f"uv pip install --python /opt/venv/bin/python {sources}"
                )
        uv = f"COPY --from={made.uv} /bin-of-uv/uv /bin/\n" if self.installer is Installer.UV else ""
        return (
            f"FROM {made.base}\n{uv}WORKDIR /app\nCOPY requirements.txt .\n{step}\nCOPY . .\n"
            'CMD ["python", "train.py"]\n'
        )
