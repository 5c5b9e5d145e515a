"""Configuration of the machine is read without anything that YAML can do and JSON cannot."""

from __future__ import annotations

import time

import pytest

from trainload.errors import ConfigError
from trainload.run.gpus.documents import parse


def test_scalars_mean_what_json_has() -> None:
    text = b"a: 1\nb: \"1\"\nc: true\nd: ~\ne: 0.5.0\nf: [x, {y: -3}]\ng: 0666\nh: \n'i': no\n"
    assert parse(text, "x.yaml") == {
        "a": 1, "b": "1", "c": True, "d": None, "e": "0.5.0", "f": ["x", {"y": -3}],
        "g": 0o666, "h": None, "i": "no",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: !!python/object/apply:os.system [id]\n",
        "a: !!str 1\n",
        "a: 1\na: 2\n",
        "<<: {a: 1}\n",
        "? [a]\n: 1\n",
        "&k a: 1\n",
        "a: 1\n---\nb: 2\n",
        "",
        "a: [\n",
        "a: \x01\n",
        "\t- x",
        "[" * 200 + "]" * 200,
    ],
)
def test_F06_what_json_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "x.yaml")
    assert caught.value.got


def test_F06_bombs_end_at_once() -> None:
    began = time.process_time()  # whatever else the machine does
    bomb = b"a: &a [1,1]\n" + b"".join(b"%c: &%c [*%c,*%c]\n" % (c + 1, c + 1, c, c) for c in range(97, 121))
    for text, name in [
        (bomb, "x.yaml"),
        (b"[" * 100_000, "x.yaml"),
        (b"[" * 100_000, "x.json"),
        (b"a: " + b"x" * (5 << 20), "x.yaml"),
        (b"a: \xff", "x.yaml"),
        (b'{"a":1,"a":2}', "x.json"),
    ]:
        with pytest.raises(ConfigError):
            parse(text, name)
    assert time.process_time() - began < 10  # seconds; taken at its word the first would take days
