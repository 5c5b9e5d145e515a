"""The parts below the rules: words of the shell, places in YAML, edits by lines."""

from __future__ import annotations

import time

import pytest

from trainload.errors import ConfigError, Text, TrainloadError
from trainload.lint import yamledit
from trainload.lint.check import check, mended
from trainload.lint.code import health, servers, workers
from trainload.lint.dockerfile.pip import install
from trainload.lint.drivers import cuda_of
from trainload.lint.images import floats, pinned
from trainload.lint.kinds import kind_of
from trainload.lint.launch import launches, worker_option
from trainload.lint.model import Edit, Flaw, Kind, Rule, Surroundings
from trainload.lint.nodes import read
from trainload.lint.secrets import formed, literal, named
from trainload.lint.servers import server
from trainload.lint.shell import commands, unwrapped
from trainload.lint.source import Source


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a b && c", [("a", "b"), ("c",)]),
        ("a \\\n  b; c # d\ne", [("a", "b"), ("c",), ("e",)]),
        ("a \\\n# comment\n  b", [("a", "b")]),
        ("echo 'a && b' \"c;d\" e\\ f", [("echo", "a && b", "c;d", "e f")]),
        ("X=1 exec /usr/bin/env python -m a", [("python", "-m", "a")]),
        ("a $(b c) ${D:-e f}", [("a", "$(b c)", "${D:-e f}")]),
        ("if a; then b; fi", [("a",), ("b",)]),
        ("a 2>&1 | b", [("a", "2>&1"), ("b",)]),
        ("'unclosed", [("unclosed",)]),
    ],
)
def test_simple_commands_of_a_script(text: str, want: list[tuple[str, ...]]) -> None:
    assert [one.texts for one in commands(text)] == want


def test_a_word_knows_where_it_stands() -> None:
    text = "RUN" + " " * 3 + "pip \\\n  install 'a b'"
    words = commands(text)[0].words
    assert [text[word.start : word.end] for word in words] == ["RUN", "pip", "install", "'a b'"]


def test_the_script_of_a_shell_is_looked_into() -> None:
    assert [one.texts for one in unwrapped(["bash", "-lc", "a && torchrun x.py"])] == [("a",), ("torchrun", "x.py")]
    assert [one.texts for one in unwrapped(["python", "-c", "a && b"])] == [("python", "-c", "a && b")]


@pytest.mark.parametrize(
    ("text", "tool", "files", "packages"),
    [
        ("pip install -r requirements.txt", "pip", ("requirements.txt",), ()),
        ("python3.10 -m pip --no-cache-dir install torch==2.1 'numpy<2'", "pip", (), ("torch==2.1", "numpy<2")),
        ("/opt/venv/bin/pip3 install -Ur a.txt -i https://x.example/simple b", "pip", (), ("a.txt", "b")),
        ("uv pip install --system -r=a.txt", "uv", ("a.txt",), ()),
        ("conda run -n ml pip install jax", "pip", (), ("jax",)),
        ("uv sync --frozen", "uv", (), ()),
    ],
)
def test_installations_are_told_apart(
    text: str, tool: str, files: tuple[str, ...], packages: tuple[str, ...]
) -> None:
    found = install(commands(text)[0])
    assert found is not None
    assert (found.tool, found.files, found.packages) == (tool, files, packages)


@pytest.mark.parametrize(
    "text", ["pip list", "echo pip install x", "pipx install y", "apt-get install python3-pip"]
)
def test_what_only_looks_like_an_installation_is_none(text: str) -> None:
    assert install(commands(text)[0]) is None


def test_yaml_nodes_know_their_lines_and_merges() -> None:
    text = "x: &a\n  k: 1   # c\n  l: [1,\n    2]\nb:\n  <<: *a\n  m: >\n    text\n    more\n\n# end\n"
    (root,) = read(text, "x.yaml")
    first, second = root.get("x"), root.get("b")
    assert first is not None
    assert second is not None
    assert (first.line, first.last, second.line, second.last) == (1, 4, 6, 9)
    assert second.get("k") is not None
    assert not second.own("k")
    assert [name for name, _, _ in second.children()] == ["m", "k", "l"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "a: [",
        "a: b: c",
        "- " * 5000 + "x",
        "[" * 5000 + "]" * 5000,
        "a: !!python/object:os.system {}\n b: [",
    ],
)
def test_F06_yaml_that_is_none_or_has_no_end_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(text, "x.yaml")
    assert error.value.place is not None
    assert error.value.place.file == "x.yaml"


def test_F06_a_bomb_of_aliases_is_read_in_no_time() -> None:
    lines = ["services:", "  a0: &a0 {image: x:1}"]
    lines += [f"  a{n}: &a{n} {{b: [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]
    start = time.process_time()
    assert check("compose.yaml", "\n".join(lines) + "\n") == ()
    assert time.process_time() - start < 20


def test_F06_a_bomb_of_merges_is_read_in_no_time() -> None:
    lines = ["x0: &a0 {z: 1}"]
    lines += [f"x{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]
    start = time.process_time()
    (root,) = read("\n".join(lines) + "\n", "x.yaml")
    assert root.get("x59", "nothing") is None
    assert root.get("x59", "z") is not None
    assert time.process_time() - start < 20


def test_edits_of_yaml_keep_the_rest() -> None:
    text = "a:  # first\n  b: 1\n  c:   'two'   # note\nd: {e: 1}\n"
    source = Source.of(text)
    (root,) = read(text, "x.yaml")
    a, d = root.get("a"), root.get("d")
    assert a is not None
    assert d is not None
    pair, two = a.pair("b"), a.get("c")
    assert pair is not None
    assert two is not None
    assert yamledit.without(source, *pair) == Edit(2, 2, ())
    assert yamledit.added(a, ["x:", "  y: 1"]) == Edit(4, 3, ("  x:", "    y: 1"))
    assert yamledit.scalar(source, two, "three") == Edit(3, 3, ("  c:   three   # note",))
    assert yamledit.added(d, ["x: 1"]) is None  # in braces there is no line to add
    inner = d.pair("e")
    assert inner is not None
    assert yamledit.without(source, *inner) is None


def test_edits_are_applied_whatever_the_line_ends() -> None:
    source = Source.of("a\r\nb\r\nc")
    assert source.edited([Edit(2, 2, ("x", "y"))]).text == "a\r\nx\r\ny\r\nc"
    assert source.edited([Edit(4, 3, ("d",))]).text == "a\r\nb\r\nc\r\nd\r\n"
    assert source.edited([Edit(1, 1, ()), Edit(3, 3, ())]).text == "b\r\n"
    assert source.edited([Edit(2, 1, ("1",)), Edit(2, 1, ("2",))]).text == "a\r\n1\r\n2\r\nb\r\nc"
    assert Source.of("").edited([Edit(1, 0, ("a",))]).text == "a\n"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("# x\nFROM a\n", Kind.DOCKERFILE), ("ARG X=1\nFROM $X\n", Kind.DOCKERFILE),
        ("\n\nfrom python\n", Kind.DOCKERFILE),
        ("services:\n  a: {}\n", Kind.COMPOSE), ("kind: Job\napiVersion: v1\n", Kind.KUBERNETES),
        ("name: ml\nchannels: []\n", None), ("FROM: x\n", None), ("", None),
    ],
)  # fmt: skip
def test_the_content_says_what_a_file_is(text: str, kind: Kind | None) -> None:
    assert kind_of(text) is kind


@pytest.mark.parametrize(
    "comment", ["# trainload: ignore[root]", "# trainload: ignore", "#trainload: ignore[pip-cache, root]"]
)
def test_an_ignore_comment_keeps_a_rule_quiet(comment: str) -> None:
    assert check("Dockerfile", f"FROM python:3.11\n{comment}\nCMD python\n") == ()
    assert check("Dockerfile", f"FROM python:3.11\n{comment.replace('root', 'secret')}\nCMD python\n") != () or (
        "[" not in comment
    )


def test_an_ignore_comment_of_yaml_stands_on_the_line_too() -> None:
    text = "services:\n  a:\n    image: redis  # trainload: ignore[floating-image]\n"
    assert check("compose.yaml", text) == ()


def test_a_mend_that_changes_what_the_image_holds_is_not_made_by_fix() -> None:
    text = "FROM python:3.11\nENV API_KEY=abc123xyz\nUSER 1000\nCMD python\n"
    assert mended("Dockerfile", text).text == text
    assert [one.rule for one in mended("Dockerfile", text).left] == ["secret"]
    assert "API_KEY" not in mended("Dockerfile", text, risky=True).text


@pytest.mark.parametrize(
    ("name", "is_secret"),
    [
        ("HF_TOKEN", True), ("PASSWORD", True), ("AWS_SECRET_ACCESS_KEY", True), ("OPENAI_API_KEY", True),
        ("MAX_TOKENS", False), ("PAD_TOKEN", False), ("TOKENIZERS_PARALLELISM", False), ("KEY", False),
        ("SECRET_NAME", False), ("MONKEY", False),
    ],
)  # fmt: skip
def test_F12_names_of_secrets(name: str, is_secret: bool) -> None:
    assert named(name) is is_secret


def test_F12_values_are_secrets_only_when_they_stand_there() -> None:
    assert literal("abc")
    assert not any(map(literal, ["", "$X", "${X:?}", "/run/secrets/x", "<your token>", "{{ token }}"]))
    assert formed("https://user:hunter22@git.example/x") == "password in an address"
    assert formed("https://user:$TOKEN@git.example/x") is None


def test_a_value_that_is_missing_is_put_behind_its_colon() -> None:
    text = "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n      restartPolicy: # none\n"
    text += "      containers: [{image: 'a:1'}]\n"
    assert "      restartPolicy: Never # none\n" in mended("job.yaml", text).text


def test_a_mend_that_would_break_the_file_is_not_made_and_the_others_are() -> None:
    text = "services:\n  a:\n    image: redis\n    gpus: 2\n"

    def find(document: object, around: Surroundings) -> list[Flaw]:
        return (
            [Flaw(1, 1, Text("broken"), mend=(Edit(1, 1, ("services: [",)),))] if "2" in str(around.python) else []
        )

    from trainload.lint import table

    rules = (*table.RULES, Rule("breaks", Kind.COMPOSE, Text("broken"), find))
    found = mended("compose.yaml", text, Surroundings(python="2"), rules=rules)
    assert "image: redis:7.4" in found.text
    assert "count: 2" in found.text
    assert [one.rule for one in found.left] == ["breaks"]


def test_a_line_of_a_dockerfile_ends_where_docker_says() -> None:
    text = "FROM python:3.11\nRUN echo a\x85b\nRUN pip install x\nUSER 1\n"
    assert mended("Dockerfile", text).text == text.replace("pip install", "pip install --no-cache-dir")


def test_F12_no_output_shows_the_value() -> None:
    text = "FROM python:3.11\nENV DB_PASSWORD=hunter22\nRUN git clone https://u:swordfish9@git.example/x\nUSER 1\n"
    for one in check("Dockerfile", text):
        assert "hunter22" not in f"{one.flaw.why} {one.flaw.measure}"
        assert "swordfish9" not in f"{one.flaw.why} {one.flaw.measure}"


@pytest.mark.parametrize(
    ("image", "moves", "pin"),
    [
        ("python", True, "python:3.11"), ("python:3.12-slim", False, None),
        ("docker.io/library/python:slim", True, "docker.io/library/python:3.11-slim"),
        ("host.example:5000/a", True, None), ("host.example:5000/a:1", False, None),
        ("a@sha256:00", False, None), ("ubuntu:latest", True, "ubuntu:22.04"), ("x:latest-gpu", True, None),
    ],
)  # fmt: skip
def test_tags_that_move(image: str, moves: bool, pin: str | None) -> None:
    assert floats(image) is moves
    assert not moves or pinned(image) == pin


def test_launchers_and_their_options() -> None:
    (one,) = launches(commands("torchrun --nnodes=1:4 --nproc_per_node 8 --standalone train.py --nnodes=9"))
    assert (one.nodes, one.processes, one.several) == (4, 8, True)
    assert [x.tool for x in launches(commands("python -m torch.distributed.launch a.py; python -m x a"))] == [
        "launch"
    ]
    assert worker_option(["python", "x.py", "--dataloader_num_workers=4"]) == "--dataloader_num_workers 4"
    assert worker_option(["python", "x.py", "--num-workers", "0"]) is None


def test_servers_and_their_ports() -> None:
    def seen(text: str) -> tuple[str, int] | None:
        found = server(commands(text))
        return (found.program, found.port) if found else None

    assert seen("uvicorn a:b --port 9000") == ("uvicorn", 9000)
    assert seen("gunicorn -b 0.0.0.0:81 a:b") == ("gunicorn", 81)
    assert seen("python -m vllm.entrypoints.openai.api_server") == ("vllm", 8000)
    assert seen("tensorflow_model_server --port=8500 --rest_api_port 8601") == ("tensorflow_model_server", 8601)
    assert seen("vllm bench") is None
    assert seen("python train.py") is None


def test_code_is_read_for_workers_routes_and_servers() -> None:
    text = "p.add_argument('--workers', '-j', default=4)\nDataLoader(d, num_workers=args.workers)\n"
    found = workers({"a.py": "x = 1", "b.py": text})
    assert found is not None
    assert (found.file, found.line) == ("b.py", 1)
    assert workers({"a.py": "DataLoader(d, num_workers=0)"}) is None
    assert workers({"a.py": "num_workers = ("}) is None
    deep = workers({"a.py": "class C:\n    num_workers: int = os.cpu_count()\nL(num_workers=cfg.num_workers)\n"})
    assert deep is not None
    assert health(["@app.get('/api/health')\n"]) == "/api/health"
    assert servers({"app.py": "app.run(host='0.0.0.0', port=5001)", "t.py": ""}) == {"app.py": 5001}


def test_drivers_and_their_cuda() -> None:
    assert cuda_of("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19") == (12, 2)
    assert cuda_of("999.1") == (13, 0)
    assert cuda_of("none") is None


def test_nothing_is_found_twice_for_a_service_that_is_merged() -> None:
    text = (
        "x: &x\n  environment: {DB_PASSWORD: hunter22}\n  image: redis\nservices:\n"
        "  a:\n    <<: *x\n  b:\n    <<: *x\n"
    )
    assert [(one.rule, one.flaw.line) for one in check("compose.yaml", text)] == [
        ("secret", 2),
        ("floating-image", 3),
    ]


def test_a_server_of_a_script_is_seen() -> None:
    text = 'FROM python:3.11\nUSER 1\nCMD ["python", "app.py"]\n'
    around = Surroundings(servers={"app.py": 5001}, health="/health")
    (one,) = check("Dockerfile", text, around)
    assert one.rule == "no-healthcheck"
    assert "http://127.0.0.1:5001/health" in one.flaw.mend[0].lines[1]


@pytest.mark.parametrize("text", ["services: [a, b]\n", "services: 7\n", "services:\n  a: 1\n  b:\n"])
def test_what_is_no_service_is_told_and_not_taken_for_one_without_fault(text: str) -> None:
    with pytest.raises(TrainloadError, match="service"):
        check("compose.yaml", text)
    assert check("compose.yaml", "services:\n") == ()
