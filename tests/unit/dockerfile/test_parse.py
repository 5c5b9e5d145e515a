"""What a Dockerfile says, as values: every instruction, its flags, its line."""

from __future__ import annotations

import pytest

from trainload.dockerfile import model
from trainload.dockerfile.model import Words
from trainload.dockerfile.mounts import read_mount
from trainload.dockerfile.parse import LONGEST, parse, parse_trigger
from trainload.errors import ConfigError, ManyErrors, Place


def one(text: str) -> model.What:
    return parse(text.encode(), "Dockerfile").instructions[-1].what


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("FROM python:3.11-slim", model.From("python:3.11-slim")),
        ("from python AS Build", model.From("python", "build")),
        ("FROM --platform=$BUILDPLATFORM python as b", model.From("python", "b", "$BUILDPLATFORM")),
        ("ARG A B=1 C=", model.Arg((("A", None), ("B", "1"), ("C", "")))),
        ("ENV A=1 B='2 3'", model.Env((("A", "1"), ("B", "'2 3'")))),
        ("ENV A 1 2  3", model.Env((("A", "1 2  3"),), is_old=True)),
        ('LABEL "a.b"=c', model.Label((('"a.b"', "c"),))),
        ("RUN echo hi && \\\n  echo there", model.Run(Words(("echo hi &&   echo there",), is_exec=False))),
        ('RUN ["a", "b c"]', model.Run(Words(("a", "b c"), is_exec=True))),
        ("RUN --network=none --mount=type=cache,target=/c x",
         model.Run(Words(("x",), is_exec=False), (), ("type=cache,target=/c",), "none")),
        ("COPY a b /c/", model.Copy(("a", "b"), "/c/")),
        ('COPY ["a b", "/c"]', model.Copy(("a b",), "/c")),
        ("COPY --from=b --chown=1:2 --chmod=755 --link --parents --exclude=*.pyc --exclude=x a /c",
         model.Copy(("a",), "/c", "b", "1:2", "755", link=True, parents=True, exclude=("*.pyc", "x"))),
        ("ADD --checksum=sha256:00 https://e.example/f /f", model.Add(
            model.Copy(("https://e.example/f",), "/f"), "sha256:00")),
        ("CMD python x.py", model.Cmd(Words(("python x.py",), is_exec=False))),
        ('CMD ["python"]', model.Cmd(Words(("python",), is_exec=True))),
        ("CMD ['python']", model.Cmd(Words(("['python']",), is_exec=False))),
        ("CMD []", model.Cmd(Words((), is_exec=True))),
        ('ENTRYPOINT ["python3.10"]', model.Entrypoint(Words(("python3.10",), is_exec=True))),
        ('SHELL ["/bin/bash", "-c"]', model.Shell(("/bin/bash", "-c"))),
        ("USER a:b", model.User("a:b")),
        ("WORKDIR /a b", model.Workdir("/a b")),
        ("EXPOSE 80 81/udp", model.Expose(("80", "81/udp"))),
        ("VOLUME /a /b", model.Volume(("/a", "/b"))),
        ('VOLUME ["/a b"]', model.Volume(("/a b",))),
        ("STOPSIGNAL SIGINT", model.StopSignal("SIGINT")),
        ("HEALTHCHECK NONE", model.Healthcheck(None)),
        ("HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=5s --retries=4 CMD curl x || exit 1",
         model.Healthcheck(
             Words(("curl x || exit 1",), is_exec=False), 90 * 10**9, 5 * 10**8, 5 * 10**9, retries=4)),
        ('HEALTHCHECK CMD ["a"]', model.Healthcheck(Words(("a",), is_exec=True))),
        ("MAINTAINER A B <a@b.example>", model.Maintainer("A B <a@b.example>")),
        ("ONBUILD COPY . /app", model.Onbuild("COPY . /app")),
    ],
)  # fmt: skip
def test_each_instruction(text: str, want: model.What) -> None:
    assert one(text) == want


def test_lines_are_counted_over_comments_continuations_and_heredocs() -> None:
    text = "# hi\nFROM a\n\nRUN <<EOF\none\ntwo\nEOF\n# c\nRUN a \\\n# between\n  b\nUSER c\n"
    found = parse(text.encode(), "D").instructions
    assert [(i.line, i.last) for i in found] == [(2, 2), (4, 7), (9, 11), (12, 12)]
    assert isinstance(found[1].what, model.Run)
    assert found[1].what.heredocs == (model.Heredoc("EOF", "one\ntwo\n", expand=True),)


def test_heredocs_of_copy_are_no_sources() -> None:
    what = one("COPY <<a.txt <<-'b' c /d/\n1\na.txt\n\t2\n\tb\n")
    assert isinstance(what, model.Copy)
    assert what.sources == ("c",)
    assert what.heredocs == (
        model.Heredoc("a.txt", "1\n", expand=True),
        model.Heredoc("b", "\t2\n", expand=False, chomp=True),
    )


def test_escape_directive_and_windows_lines() -> None:
    found = parse(b"# escape=`\r\nFROM a\r\nRUN x `\r\n  y\r\n", "D")
    assert found.escape == "`"
    assert found.instructions[1].what == model.Run(Words(("x   y",), is_exec=False))


@pytest.mark.parametrize(
    "text",
    ["# syntax=evil/frontend:1\nFROM a", "#syntax = evil/frontend:1\nFROM a",
     "# escape=`\n# syntax=evil/frontend:1\nFROM a"],
)  # fmt: skip
def test_F10_a_syntax_line_is_told_and_changes_nothing(text: str) -> None:
    found = parse(text.encode(), "D")
    assert found.syntax == "evil/frontend:1"
    assert [i.what for i in found.instructions] == [model.From("a")]


def test_a_comment_after_the_first_lines_is_no_directive() -> None:
    assert parse(b"FROM a\n# syntax=evil\n", "D").syntax is None
    assert parse(b"# just words\n# syntax=evil\nFROM a\n", "D").syntax is None


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("FROM a\nCOPI b c\nRUN x\nENVV A=1\nFRUM b", [2, 4, 5]),
        ("FROM a\nRUNN x \\\n  && y\nCOPY a", [2, 4]),
        ("FROM a\nRUNN <<EOF\nfoo\nEOF\nENV A\nCOPI a b", [2, 5, 6]),
        ("FROM a b\nFOO\nRUNN <<EOF\nfoo\n", [1, 2, 3]),
    ],
)
def test_all_that_is_wrong_is_told_at_once_by_line(text: str, lines: list[int]) -> None:
    with pytest.raises(ManyErrors) as caught:
        parse(text.encode(), "D")
    assert [error.place and error.place.line for error in caught.value] == lines


def test_a_line_that_lacks_its_backslash_is_told_as_that() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(b"FROM a\nRUN apt-get update &&\n    apt-get install -y git\n", "D")
    assert "ends with \\" in str(caught.value.hints[0])


def test_a_file_of_another_kind_is_not_told_line_by_line() -> None:
    with pytest.raises(ManyErrors) as caught:
        parse("".join(f"print({number})\n" for number in range(100)).encode(), "D")
    assert len(caught.value.errors) == 10


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("FROM a\nFOO b", "unknown instruction: FOO", 2),
        ("FROM a b", "FROM names one image", 1),
        ("FROM a AS 1x", "1x cannot be a stage's name", 1),
        ("FROM a\nRUN", "RUN needs an argument", 2),
        ("FROM a\nRUN <<EOF\nx", "unterminated heredoc", 2),
        ("FROM a\nCOPY a", "COPY needs a source and a target", 2),
        ("FROM a\nCOPY --fro=b a b", "COPY has no flag --fro", 2),
        ("FROM a\nCOPY --from=b --from=c a b", "--from is given twice", 2),
        ("FROM a\nADD --from=b a b", "ADD has no flag --from", 2),
        ("FROM a\nCOPY --link=maybe a b", "--link is true or false", 2),
        ("FROM a\nRUN --mount=type=warp,target=/x y", "RUN --mount has no type warp", 2),
        ("FROM a\nRUN --mount=type=cache y", "a mount of type cache needs a target", 2),
        ("FROM a\nRUN --mount=type=tmpfs,target=/x,from=b y", "a mount of type tmpfs has no from", 2),
        ("FROM a\nRUN --network=moon y", "RUN has no such network", 2),
        ("FROM a\nRUN --security=insecure y", "RUN is never given more rights", 2),
        ("FROM a\nHEALTHCHECK --interval=5 CMD x", "--interval is a time", 2),
        ("FROM a\nHEALTHCHECK --interval=1us CMD x", "--interval is a time", 2),
        ("FROM a\nHEALTHCHECK FOO x", "HEALTHCHECK is followed by CMD or NONE", 2),
        ("FROM a\nSHELL bash -c", "SHELL is a JSON list", 2),
        ("FROM a\nONBUILD FROM b", "ONBUILD needs an instruction other than", 2),
        ("FROM a\nENV A", "ENV must have two arguments", 2),
        ("FROM a\nENV =b", "ENV needs a name", 2),
        ("FROM a\nCMD --x", "CMD has no flag --x", 2),
        ('FROM a\nRUN ["a", 1]', "Only strings are supported in JSON arrays", 2),
        ("# only a comment", "the file has no instruction", None),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str, line: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "docker/D")
    assert told in str(caught.value.text)
    assert caught.value.place == Place("docker/D", line=line)


def test_all_wrong_lines_are_told_together() -> None:
    with pytest.raises(ManyErrors) as caught:
        parse(b"FROM a b\nRUN\nUSER x\nCOPY y", "D")
    assert [error.place and error.place.line for error in caught.value] == [1, 2, 4]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        parse(b"FROM a\nRUN \xff\n", "D")
    assert caught.value.place == Place("D", line=2)
    with pytest.raises(ConfigError, match="too long"):
        parse(b"FROM a\n" + b"#" * LONGEST, "D")


def test_a_byte_order_mark_and_a_missing_last_newline_change_nothing() -> None:
    assert parse(b"\xef\xbb\xbfFROM a\nUSER b", "D").instructions == parse(b"FROM a\nUSER b\n", "D").instructions


def test_a_trigger_of_a_base_has_no_line() -> None:
    found = parse_trigger("COPY . /app", "\\", "base:1")
    assert (found.what, found.line) == (model.Copy((".",), "/app"), 0)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("target=/a", model.RunMount("bind", "/a")),
        ("type=bind,from=b,source=/x,dst=/a,rw", model.RunMount("bind", "/a", "/x", "b", read_only=False)),
        ("type=cache,target=/root/.cache,sharing=locked,id=pip,uid=1000,mode=0700",
         model.RunMount("cache", "/root/.cache", id="pip", sharing="locked", mode=0o700, uid=1000)),
        ("type=tmpfs,target=/t,size=2g", model.RunMount("tmpfs", "/t", size=2 << 30)),
        ("type=secret,id=t,required=true,env=TOKEN", model.RunMount("secret", id="t", required=True, env="TOKEN")),
        ("type=secret,id=t,ro=false", None),
        ("type=bind,target", None),
        ("type=cache,target=/a,sharing=wild", None),
        ("", None),
    ],
)  # fmt: skip
def test_mounts(text: str, want: model.RunMount | None) -> None:
    if want is None:
        with pytest.raises(ConfigError):
            read_mount(text, Place("D", line=3))
    else:
        assert read_mount(text, Place("D", line=3)) == want


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("COPY --chwn=1 a /", "did you mean --chown?"),
        ("HEALTHCHECK --intervall=5s CMD x", "did you mean --interval?"),
    ],
)
def test_a_misspelt_flag_is_told_with_the_one_it_is_nearest_to(line: str, hint: str) -> None:
    with pytest.raises(ConfigError) as failed:
        parse(f"FROM a\n{line}\n".encode(), "Dockerfile")
    assert hint in str(failed.value)


def test_what_the_parser_refuses_is_told_with_its_line_and_a_form() -> None:
    with pytest.raises(ConfigError) as failed:
        parse(b"FROM a\nLABEL me\n", "Dockerfile")
    assert (failed.value.got, failed.value.want) == ("LABEL me", "LABEL name=value")


def test_a_file_in_chinas_older_encoding_is_told_with_the_way_to_utf8() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("FROM a\n# 安装依赖\nRUN x\n".encode("gbk"), "Dockerfile")
    assert caught.value.place == Place("Dockerfile", line=2)
    assert str(caught.value.hints[0]).endswith("iconv -f GB18030 -t UTF-8 Dockerfile")


def test_bytes_that_are_no_text_are_not_called_chinese() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(b"FROM a\n\xff\x00\n", "Dockerfile")
    assert str(caught.value.hints[0]) == "save it as UTF-8"
