"""``weights`` as people write them: what each form means, and every mistake with its key path."""

from __future__ import annotations

import pytest

from trainload.errors import ManyErrors, TrainloadError
from trainload.project.detect import read_project
from trainload.project.inputs import inputs, inputs_digest
from trainload.project.listing import list_code
from trainload.project.model import Left
from trainload.project.schema import schema
from trainload.project.weights import HubSource, LocalSource, UrlSource, Wanted, chosen, parse_source
from trainload.testing.tree import MemoryTree

SHA = "ab" * 32


def wanted(toml: str) -> tuple[Wanted, ...]:
    tree = MemoryTree({"train.py": b"print()", "trainload.toml": f"weights = {toml}".encode()})
    return read_project(tree).settings.weights.value


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://org/model", HubSource("models", "org/model", "main")),
        ("hf://org/model@v1.0", HubSource("models", "org/model", "v1.0")),
        ("hf://gpt2", HubSource("models", "gpt2", "main")),
        ("hf://org/model@refs/pr/1", HubSource("models", "org/model", "refs/pr/1")),
        ("hf://datasets/org/digits@main", HubSource("datasets", "org/digits", "main")),
        (f"https://files.example/a%20b.pt#sha256={SHA}", UrlSource("https://files.example/a%20b.pt", SHA)),
        ("./models/bert/", LocalSource("models/bert")),
        ("best.pt", LocalSource("best.pt")),
    ],
)
def test_a_source_is_what_it_looks_like(text: str, source: object) -> None:
    assert wanted(f'["{text}"]') == (Wanted(source),)  # type: ignore[arg-type]
    assert parse_source(str(source), locked=True) is not None


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://a/b/c/d", "hf://org/mo del", "hf://org/model@", "hf://org/model@../x", "hf://-org/model",
        "hf://org/a--b", "https://files.example/a.pt", "https://files.example/a.pt#sha256=abc",
        f"https://files.example/#sha256={SHA}", f"https://user:word@files.example/a#sha256={SHA}", "/data/model",
        "../model", ".", "", "s3://bucket/model",
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(TrainloadError, match=r"weights\[1\]"):
        wanted(f'["hf://org/model", "{text}"]')


def test_an_address_with_a_signature_is_refused_and_not_told() -> None:
    with pytest.raises(TrainloadError) as caught:
        wanted(f'["https://files.example/a.pt?X-Amz-Signature=hush#sha256={SHA}"]')
    assert "would be in the lock" in str(caught.value) and "hush" not in str(caught.value)


def test_a_table_says_more_and_every_mistake_in_it_is_told_at_once() -> None:
    made = wanted('[{ source = "hf://a/b", include = ["*.json", "x/"], target = "/models/b", mount = true }]')
    assert made == (Wanted(HubSource("models", "a/b"), ("*.json", "x/*"), (), "/models/b", mount=True),)
    with pytest.raises(ManyErrors) as caught:
        wanted(
            '[{ target = "/x" }, { source = "hf://a/b", target = "/usr/lib" }, { source = "hf://c/d", allow = 1 }]'
        )
    told = str(caught.value)
    assert "weights[0].source" in told and "weights[1].target" in told and "weights[2].allow" in told


def test_what_goes_in_as_weights_is_no_code() -> None:
    files = {"train.py": b"print()", "m/best/a.pt": b"a", "m/best.py": b"", "m/other.pt": b"b", "one.pt": b"c"}
    tree = MemoryTree({**files, "trainload.toml": b'weights = ["m/best", "one.pt"]'})
    listing = list_code(tree, read_project(tree))
    assert [file.path for file in listing.files] == ["m/best.py", "m/other.pt", "train.py", "trainload.toml"]
    assert [(path, why) for path, why, _ in listing.left_out] == [
        ("m/best/", Left.WEIGHTS), ("one.pt", Left.WEIGHTS),
    ]  # fmt: skip


def test_the_same_twice_is_a_mistake() -> None:
    with pytest.raises(TrainloadError, match=r"weights\[1\]"):
        wanted('["hf://a/b", "hf://a/b@main"]')


def test_patterns_match_as_hubs_match_them() -> None:
    one = Wanted(HubSource("models", "a/b"), ("*.safetensors", "tokenizer/*"), ("*fp16*",))
    paths = ["a.safetensors", "deep/a.safetensors", "a.fp16.safetensors", "tokenizer/vocab.txt", "config.json"]
    assert [path for path in paths if chosen(one, path)] == [paths[0], paths[1], paths[3]]


def test_what_is_asked_for_decides_the_lock_and_where_it_goes_does_not() -> None:
    def digest(toml: str, **local: str) -> str:
        tree = MemoryTree({"train.py": b"print()", **({"trainload.toml": toml.encode()} if toml else {})})
        return inputs_digest(tree, read_project(tree), local=local)

    usual = digest('name = "x"\nweights = ["hf://a/b"]')
    assert usual == digest('name = "x"\nweights = [{ source = "hf://a/b@main", target = "/m", mount = true }]')
    others = ['weights = ["hf://a/b@v2"]', 'weights = [{ source = "hf://a/b", include = ["*"] }]', ""]
    assert len({usual, *(digest(f'name = "x"\n{other}') for other in others)}) == 4
    assert digest('weights = ["m.pt"]', **{"m.pt": "1" * 64}) != digest('weights = ["m.pt"]', **{"m.pt": "2" * 64})


def test_a_project_without_weights_has_the_inputs_it_always_had() -> None:
    tree = MemoryTree({"train.py": b"print()"})
    assert not [name for name in inputs(tree, read_project(tree)) if "weights" in name]


def test_the_schema_knows_both_forms() -> None:
    properties = schema()["properties"]
    assert isinstance(properties, dict)
    forms = properties["weights"]["items"]["anyOf"]
    assert [form["type"] for form in forms] == ["string", "object"] and forms[1]["required"] == ["source"]
