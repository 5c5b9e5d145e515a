"""What a Dockerfile means: variables, stages, config and steps, as BuildKit evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from trainload.dockerfile.config import FROM_SCRATCH, PATH, inherited
from trainload.dockerfile.parse import parse
from trainload.dockerfile.program import CopyStep, FolderStep, Program, RunStep, evaluate
from trainload.dockerfile.stages import Staged, find_stages, undeclared
from trainload.errors import ConfigError, Place, TrainloadError, UsageError
from trainload.plan.model import HealthConfig, RuntimeConfig
from trainload.platform import Platform

AMD = Platform("linux", "amd64")
PYTHON = RuntimeConfig("", "/", ("python3",), (), {"PATH": "/usr/bin", "LANG": "C.UTF-8"}, {"a": "1"})


def staged(text: str, given: Mapping[str, str] | None = None) -> Staged:
    return find_stages(parse(text.encode(), "Dockerfile"), given or {}, AMD)


def program(text: str, below: RuntimeConfig = PYTHON, given: Mapping[str, str] | None = None) -> Program:
    found = staged(text, given)
    return evaluate(found, found.stages[-1], below)


def run(text: str, given: Mapping[str, str] | None = None, below: RuntimeConfig = PYTHON) -> RunStep:
    step = program(f"FROM a\n{text}", below, given).steps[-1]
    assert isinstance(step, RunStep)
    return step


def copy(text: str, below: RuntimeConfig = PYTHON) -> CopyStep:
    step = program(f"FROM a AS first\nFROM b\n{text}", below).steps[-1]
    assert isinstance(step, CopyStep)
    return step


def config(text: str, below: RuntimeConfig = PYTHON, given: Mapping[str, str] | None = None) -> RuntimeConfig:
    return program(f"FROM a\n{text}", below, given).config


@pytest.mark.parametrize(
    ("lines", "value"),
    [
        ("ENV A=x\nENV B=$A-${A}", "x-x"),
        ("ENV A=x\nENV B='$A'", "$A"),
        ('ENV A=x\nENV B="$A y"', "x y"),
        ("ENV A=x\nENV B=\\$A", "$A"),
        ("ENV A=x\nENV A=y B=$A", "x"),
        ("ENV B=${A:-d}", "d"),
        ("ENV A=\nENV B=${A:-d}", "d"),
        ("ENV A=\nENV B=${A-d}", ""),
        ("ENV A=x\nENV B=${A:+d}", "d"),
        ("ENV B=${A:+d}", ""),
        ("ENV B=${LANG}", "C.UTF-8"),
        ("ENV A=foobar\nENV B=${A#foo}", "bar"),
        ("ENV A=a.tar.gz\nENV B=${A%.*}", "a.tar"),
        ("ENV A=a.tar.gz\nENV B=${A%%.*}", "a"),
        ("ENV A=a-b-c\nENV B=${A/-/_}", "a_b-c"),
        ("ENV A=a-b-c\nENV B=${A//-/_}", "a_b_c"),
        ("ENV B $A  two words", "  two words"),
        ("ENV B 'two words'", "two words"),
        ("ARG A=x\nENV B=$A", "x"),
        ("ARG A=x\nENV A=y\nENV B=$A", "y"),
        ("ENV A=y\nARG A=x\nENV B=$A", "y"),
        ("ARG A\nENV B=[$A]", "[]"),
        ("ARG TARGETARCH\nENV B=$TARGETARCH", "amd64"),
        ("ENV B=[$TARGETARCH]", "[]"),
        ("ARG V=1 W=2\nENV B=$V$W", "12"),
    ],
)
def test_words_are_expanded_as_docker_does(lines: str, value: str) -> None:
    assert config(lines).env["B"] == value


def test_arguments_come_from_the_command_line_then_the_default_then_from_before_the_first_from() -> None:
    text = "ARG V=outer\nFROM a:$V\nARG V\nENV B=$V"
    found = staged(text)
    assert found.stages[0].base == "a:outer"
    assert evaluate(found, found.stages[0], PYTHON).config.env["B"] == "outer"
    found = staged(text, {"V": "given"})
    assert found.stages[0].base == "a:given"
    assert evaluate(found, found.stages[0], PYTHON).config.env["B"] == "given"
    assert program("ARG V=outer\nFROM a\nARG V=inner\nENV B=$V").config.env["B"] == "inner"
    assert program("ARG V=outer\nFROM a\nENV B=[$V]").config.env["B"] == "[]"


def test_arguments_of_a_stage_end_with_it_and_variables_go_on() -> None:
    text = "FROM a AS one\nARG A=x\nENV E=y\nFROM one\nENV B=[$A$E]"
    found = staged(text)
    first = evaluate(found, found.stages[0], PYTHON)
    assert evaluate(found, found.stages[1], first.config).config.env["B"] == "[y]"


def test_arguments_that_nothing_declares_are_told_but_proxies_are_not() -> None:
    assert undeclared(staged("FROM a\nARG A", {"A": "1", "TYPO": "2", "HTTP_PROXY": "3"})) == ("TYPO",)


def test_a_question_mark_makes_a_variable_mandatory_and_tells_the_line() -> None:
    with pytest.raises(ConfigError, match="V: say which") as caught:
        config('USER x\nENV B="${V:?say which}"')
    assert caught.value.place == Place("Dockerfile", line=3)


@pytest.mark.parametrize(
    ("lines", "want"),
    [
        ("CMD python x.py", {"command": ("/bin/sh", "-c", "python x.py")}),
        ('CMD ["python", "$X"]', {"command": ("python", "$X")}),
        ('SHELL ["/bin/bash", "-c"]\nCMD a b',
         {"command": ("/bin/bash", "-c", "a b"), "shell": ("/bin/bash", "-c")}),
        ('ENTRYPOINT ["python3.10"]', {"entrypoint": ("python3.10",), "command": ()}),
        ('CMD ["x"]\nENTRYPOINT ["y"]', {"entrypoint": ("y",), "command": ("x",)}),
        ('ENTRYPOINT ["y"]\nCMD ["x"]', {"entrypoint": ("y",), "command": ("x",)}),
        ("ENTRYPOINT y z", {"entrypoint": ("/bin/sh", "-c", "y z"), "command": ()}),
        ("ENTRYPOINT []", {"entrypoint": (), "command": ()}),
        ("EXPOSE 80 53/UDP 7000-7002", {"ports": ("53/udp", "7000/tcp", "7001/tcp", "7002/tcp", "80/tcp")}),
        ("ENV P='1 2'\nEXPOSE $P", {"ports": ("1/tcp", "2/tcp"), "env": {**PYTHON.env, "P": "1 2"}}),
        ("VOLUME /b /a\nVOLUME /a", {"volumes": ("/a", "/b")}),
        ("LABEL a=2 b=\"c d\"", {"labels": {"a": "2", "b": "c d"}}),
        ("USER ${U:-app}:7", {"user": "app:7"}),
        ("WORKDIR /a\nWORKDIR b/../c", {"workdir": "/a/c"}),
        ("WORKDIR rel", {"workdir": "/rel"}),
        ("STOPSIGNAL SIG${S:-INT}", {"stop_signal": "SIGINT"}),
        ("MAINTAINER me", {"author": "me"}),
        ("ONBUILD RUN x\nONBUILD COPY . /", {"onbuild": ("RUN x", "COPY . /")}),
        ("HEALTHCHECK NONE", {"health": HealthConfig(("NONE",))}),
        ("HEALTHCHECK --retries=3 --interval=2s CMD curl -f x",
         {"health": HealthConfig(("CMD-SHELL", "curl -f x"), 2 * 10**9, retries=3)}),
        ('HEALTHCHECK CMD ["a", "b"]', {"health": HealthConfig(("CMD", "a", "b"))}),
    ],
)  # fmt: skip
def test_the_config_is_dockers(lines: str, want: Mapping[str, object]) -> None:
    found = config(lines)
    assert {key: getattr(found, key) for key in want} == want
    rest = {key: getattr(found, key) for key in RuntimeConfig.__dataclass_fields__ if key not in want}
    assert rest == {key: getattr(PYTHON, key) for key in rest}


def test_a_stage_always_has_a_path() -> None:
    """Docker's builders give one to a base that has none."""
    bare = replace(PYTHON, env={"LANG": "C.UTF-8"})
    assert inherited(bare).env == {"LANG": "C.UTF-8", "PATH": PATH}
    assert inherited(PYTHON) == PYTHON


def test_an_image_from_scratch_has_a_path() -> None:
    assert program("FROM scratch\nUSER 1", FROM_SCRATCH).config.env == {"PATH": PATH}


def test_triggers_of_the_base_come_first_and_are_gone() -> None:
    below = RuntimeConfig("", "/app", (), (), {}, {}, onbuild=("COPY req.txt .", "ENV A=1"))
    found = program("FROM base:1\nENV B=$A", below)
    assert [(type(step), step.line) for step in found.steps] == [(CopyStep, 1)]
    assert (found.config.env, found.config.onbuild) == ({"A": "1", "B": "1"}, ())


def test_a_run_sees_arguments_and_variables_and_the_image_keeps_only_these() -> None:
    step = run("ARG A=1\nARG E=2\nENV E=3\nRUN x", {"HTTP_PROXY": "p", "A": "9"})
    assert step.run.env == {**PYTHON.env, "A": "9", "E": "3", "HTTP_PROXY": "p"}
    assert step.run.args == {"A", "HTTP_PROXY"}
    assert "A" not in config("ARG A=1\nRUN x").env


@pytest.mark.parametrize(
    ("lines", "argv"),
    [
        ("RUN echo $X", ("/bin/sh", "-c", "echo $X")),
        ('RUN ["echo", "$X"]', ("echo", "$X")),
        ("RUN <<EOF\necho 1\necho $X\nEOF", ("/bin/sh", "-c", "echo 1\necho $X\n")),
        ("RUN <<-EOF\n\techo 1\n\tEOF", ("/bin/sh", "-c", "echo 1\n")),
        ("RUN python3 <<EOF\nprint(1)\nEOF", ("/bin/sh", "-c", "python3 <<EOF\nprint(1)\nEOF")),
        ("RUN cat <<-A <<B > x\n\t1\nA\n2\nB", ("/bin/sh", "-c", "cat <<-A <<B > x\n\t1\nA\n2\nB")),
        ('SHELL ["bash", "-eo", "pipefail", "-c"]\nRUN x | y', ("bash", "-eo", "pipefail", "-c", "x | y")),
    ],
)
def test_what_a_run_line_executes(lines: str, argv: tuple[str, ...]) -> None:
    assert run(lines).run.argv == argv


def test_a_run_knows_its_user_folder_and_mounts() -> None:
    flags = "--network=none --mount=type=cache,target=$C --mount=type=bind,target=x"
    found = run(f"WORKDIR /w\nUSER app\nARG C=/c\nRUN {flags} y").run
    assert (found.user, found.workdir, found.network) == ("app", "/w", "none")
    assert [mount.target for mount in found.mounts] == ["/c", "/w/x"]


def test_targets_of_copy_are_absolute() -> None:
    assert copy("WORKDIR /w\nCOPY a b .").target == "/w/"
    assert copy("WORKDIR /w\nCOPY a b").target == "/w/b"
    assert copy("WORKDIR /w\nCOPY a b/").target == "/w/b/"
    assert copy("COPY a /").target == "/"
    assert copy("COPY a ../../b").target == "/b"


def test_heredocs_of_copy_are_expanded_unless_quoted() -> None:
    assert copy("ENV A=1\nCOPY <<f /x\n'$A'\nf").contents == (("f", "'1'\n"),)
    assert copy("ENV A=1\nCOPY <<'f' /x\n$A\nf").contents == (("f", "$A\n"),)


def test_copy_takes_from_stages_by_name_and_number_or_from_images() -> None:
    assert (copy("COPY --from=first a b").stage, copy("COPY --from=0 a b").stage) == (0, 0)
    assert copy("COPY --from=busybox:1 a b").image == "busybox:1"
    with pytest.raises(ConfigError, match="there is no stage 7 above"):
        copy("COPY --from=7 a b")


def test_several_sources_need_a_folder() -> None:
    with pytest.raises(ConfigError, match="ends with a slash") as caught:
        copy("COPY a b /c")
    assert caught.value.place == Place("Dockerfile", line=3)


def test_workdir_is_a_step_with_its_user() -> None:
    assert program("FROM a\nUSER u\nWORKDIR /x").steps == (FolderStep(3, "WORKDIR /x", "/x", "u"),)


def test_only_stages_that_are_needed() -> None:
    text = (
        "FROM a AS unused\nFROM b AS build\nRUN x\nFROM c AS data\nFROM build AS more\n"
        "RUN --mount=type=bind,from=data,target=/d y\nFROM d\nCOPY --from=more /x /y\n"
    )
    found = staged(text)
    assert [stage.label for stage in found.needed(4)] == ["build", "data", "more", "4"]
    assert [stage.label for stage in found.needed(found.target("data"))] == ["data"]
    assert found.stages[3].parent == 1


def test_a_target_that_is_not_there_is_told_with_what_is_near() -> None:
    with pytest.raises(UsageError) as caught:
        staged("FROM a AS build\nFROM b AS serve").target("biuld")
    assert "build" in str(caught.value.hints[0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RUN x", "only ARG may stand before the first FROM"),
        ("ARG A=1", "the file has no FROM"),
        ("FROM $X", "FROM names nothing"),
        ("FROM a\nEXPOSE 70000", "EXPOSE takes ports"),
        ("FROM a\nEXPOSE 9-8", "EXPOSE takes ports"),
        ("FROM a\nENV A=${B", "missing '}'"),
        ("FROM a\nENV A=${B^}", "unsupported modifier"),
    ],
)
def test_what_means_nothing_is_told(text: str, told: str) -> None:
    with pytest.raises(TrainloadError, match=told.replace("}", r"\}")):
        program(text)


@pytest.mark.parametrize(
    ("line", "warned"),
    [
        ("ENV HF_TOKEN=abc", True), ("ENV DB_PASSWORD=x", True), ("ARG API_KEY=x", True), ("ENV apikey=x", True),
        ("ARG TOKEN", False), ("ENV TOKENIZERS_PARALLELISM=false", False), ("ENV KEYBOARD=us", False),
        ("ENV PUBLIC_KEY=x", False), ("ENV MONKEY=x", False),
    ],
)  # fmt: skip
def test_F12_what_looks_like_a_secret_is_told_without_its_value(line: str, warned: bool) -> None:
    warnings = program(f"FROM a\n{line}").warnings
    assert bool(warnings) == warned
    assert all("abc" not in str(warning) for warning in warnings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ARG TOP=1\nFROM a\nENV A=$TOP", "Dockerfile:3: $TOP is empty: the ARG of line 1 does not hold here"),
        ("FROM b AS x\nARG IN=1\nFROM a\nUSER ${IN}", "Dockerfile:4: $IN is empty: the ARG of line 2"),
        ("FROM a\nARG V\nCOPY x /$V/", "Dockerfile:3: $V is empty: it is not given"),
        ("FROM a\nARG VERSION=1\nLABEL v=$VERISON", "did you mean $VERSION?"),
        ("FROM a\nWORKDIR /${GONE}", "Dockerfile:2: $GONE is empty: no ARG or ENV has this name"),
    ],
)
def test_a_variable_without_a_value_is_told_with_the_usual_reason(text: str, told: str) -> None:
    (warning,) = program(text).warnings
    assert told in str(warning)


@pytest.mark.parametrize(
    "line",
    [
        "ENV LD_LIBRARY_PATH=/x:$LD_LIBRARY_PATH",  # what images below may or may not set
        "ENV A=${GONE:-1} B=${GONE-2} C=${GONE:+3}",
        r"ENV A=\$GONE B='$GONE'",
        "ENV P=$PATH:$LANG",
        "RUN echo $GONE",
        "CMD echo $GONE",
    ],
)
def test_a_variable_that_may_be_unset_is_nothing_to_tell(line: str) -> None:
    assert program(f"FROM a\n{line}").warnings == ()


def test_an_entrypoint_without_words_is_none() -> None:
    from trainload.builder.dockerfile.build import general_warnings

    assert program("FROM a\nENTRYPOINT\nCMD").config.entrypoint == ()
    assert general_warnings(staged("FROM a\nENTRYPOINT\nCMD")) == ()


def test_a_stage_that_is_none_is_told_with_the_one_it_is_nearest_to() -> None:
    from trainload.builder.dockerfile.build import misspelt

    found = staged("FROM a AS base\nFROM bsae\nCOPY --from=bse /x /y\nCOPY --from=other /x /y")
    lines = [list(map(str, misspelt(found, Place("Dockerfile", line=line)))) for line in (1, 2, 3, 4)]
    assert lines == [[], ["did you mean the stage base?"], ["did you mean the stage base?"], []]
    assert list(misspelt(found, None)) == []
