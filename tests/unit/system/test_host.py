from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from trainload.system import host


def test_the_store_lies_where_the_user_says() -> None:
    assert host.data_home({"TRAINLOAD_HOME": "/srv/tl"}, Path("/work")) == Path("/srv/tl")
    assert host.data_home({"TRAINLOAD_HOME": "tl"}, Path("/here")) == Path("/here/tl")


def test_the_store_lies_in_the_users_data_folder_by_default() -> None:
    home = host.data_home({}, Path("/here"))
    assert home.is_absolute()
    assert home.name == "trainload"


def test_cores_are_those_this_process_may_use() -> None:
    assert 1 <= host.cpu_count() <= (os.cpu_count() or 1)


def test_certificates_are_those_the_user_names() -> None:
    assert host.ca_file({}) is None
    assert host.ca_file({"REQUESTS_CA_BUNDLE": "/b", "SSL_CERT_FILE": "/a"}) == "/a"
    assert host.ca_file({"SSL_CERT_FILE": "", "CURL_CA_BUNDLE": "/c"}) == "/c"


def test_the_clock_is_utc() -> None:
    assert host.now().utcoffset() == timedelta(0)
