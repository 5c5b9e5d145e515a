"""Files of specifications, ``conda install --file specs.txt``: a line each, as conda reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trainload.builder.dockerfile.ground import Ground
from trainload.dockerfile.understand.parts import Beyond
from trainload.errors import Text

_LARGEST = 1 << 20
_SPEC = re.compile(
    r"(?P<name>(?:[A-Za-z0-9_./-]+::)?[A-Za-z0-9_.-]+)\s*"
    r"(?:(?P<exact>=[A-Za-z0-9_.*+!]+(?:=[A-Za-z0-9_.*]+)?)|(?P<rule>(?:[=!~<>]=|[<>])[A-Za-z0-9_.*+!,<>=|~\s-]+))?"
)


def specs_of(file: str, ground: Ground, tool: str) -> Iterator[str]:
    """The specifications in ``file``, an absolute path. Raises :class:`Beyond` for what is not one in each line."""
    data = ground.read(file)
    if data is None or len(data) > _LARGEST:
        raise Beyond(Text("the file {path}, which is not there", path=file))
    for raw in data.decode("utf-8", "replace").splitlines():
        line = raw.partition("#")[0].strip()
        match = _SPEC.fullmatch(line)
        if not line:
            continue
        if match is None:
            raise Beyond(Text("{path} has {line}", path=file, line=line[:80]))
        name = match["name"].lower()
        if match["exact"] and tool == "mamba":  # its version 1 reads them as conda, its version 2 does not
            raise Beyond(Text("{path} has {line}", path=file, line=line[:80]))
        if match["exact"]:
            # conda: cli.common.spec_from_line has =1.2 as exactly that
            yield name + (match["exact"].replace("=", " ") if tool == "conda" else match["exact"])
        else:
            yield " ".join((name, *("".join(part.split()) for part in [match["rule"]] if part)))
