"""What a refusal of a wheel must look like."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from trainload.errors import LayerError
from trainload.events import SILENT
from trainload.limits import DEFAULT
from trainload.testing.sources import wheel_layer

Refuses = Callable[..., LayerError]


@pytest.fixture
def refuses() -> Refuses:
    """``refuses(file, wheel, match)``: a message with file and fix, and nothing written unless it is ``late``."""

    def check(file: str, wheel: bytes, match: str, *, late: bool = False, **limits: int) -> LayerError:
        sink = io.BytesIO()
        with pytest.raises(LayerError, match=match) as caught:
            wheel_layer({file: wheel}, sink, SILENT, replace(DEFAULT, **limits))  # type: ignore[arg-type]
        assert caught.value.place is not None
        assert caught.value.place.file == file
        assert caught.value.hints
        assert str(caught.value).replace("\nhint: ", "").isprintable()
        assert late or sink.getvalue() == b""
        return caught.value

    return check
