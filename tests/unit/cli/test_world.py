from __future__ import annotations

import io
import json
from pathlib import Path

from trainload.cli.texts import Catalogue
from trainload.cli.world import World
from trainload.errors import Text
from trainload.system import host


def world(home: Path, *, as_json: bool = False, quiet: bool = False) -> tuple[World, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    made = World(
        home=home, cwd=home.parent, environ={"SSL_CERT_FILE": "/ca.pem"}, now=host.now(), cpus=1,
        json=as_json, quiet=quiet, catalogue=Catalogue(), stdout=out, stderr=err,
    )  # fmt: skip
    return made, out, err


def test_data_goes_to_stdout_and_talk_to_stderr(tmp_path: Path) -> None:
    made, out, err = world(tmp_path / "home")
    made.say(Text("{count} problems found", count=2))
    made.result({"a": 1}, ["one", "two"])
    assert (out.getvalue(), err.getvalue()) == ("one\ntwo\n", "2 problems found\n")


def test_json_is_one_document(tmp_path: Path) -> None:
    made, out, _ = world(tmp_path / "home", as_json=True)
    made.result({"名": "数字"}, ["one"])
    assert json.loads(out.getvalue()) == {"名": "数字"}
    assert "数字" in out.getvalue()


def test_quiet_keeps_results_and_warnings(tmp_path: Path) -> None:
    made, out, err = world(tmp_path / "home", quiet=True)
    made.say(Text("talk"))
    made.warn(Text("danger"))
    made.result(None, ["data"])
    assert (out.getvalue(), err.getvalue()) == ("data\n", "warning: danger\n")


def test_nothing_to_print_prints_nothing(tmp_path: Path) -> None:
    made, out, _ = world(tmp_path / "home")
    made.result([], [])
    assert out.getvalue() == ""


def test_the_store_is_opened_once_and_reading_makes_nothing(tmp_path: Path) -> None:
    made, _, _ = world(tmp_path / "home")
    assert made.store is made.store
    made.close()
    assert not (tmp_path / "home").exists()


def test_the_client_knows_this_machines_certificates(tmp_path: Path) -> None:
    made, _, _ = world(tmp_path / "home")
    assert made.http.ca_file == "/ca.pem"
    assert made.http.user_agent.startswith("trainload/")
