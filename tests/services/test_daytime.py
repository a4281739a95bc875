"""Daytime (RFC 867)."""

import pytest
from pydantic import ValidationError

from multid.services.daytime import DaytimeConfig, line
from tests.conftest import Bench

MOMENT = 1790000000.25


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"zone": "utc"}, b"Mon Sep 21 14:13:20 2026\r\n"),
        ({"zone": "utc", "format": "iso8601"}, b"2026-09-21T14:13:20+00:00\r\n"),
        ({"zone": "Europe/Berlin", "format": "iso8601", "eol": "lf"}, b"2026-09-21T16:13:20+02:00\n"),
        ({"zone": "utc", "format": "%Y-%m-%d %H:%M:%S.%f", "eol": "none"}, b"2026-09-21 14:13:20.250000"),
        ({"zone": "utc", "format": "%Y年%m月%d日"}, "2026年09月21日\r\n".encode()),
    ],
)
def test_the_line_is_as_the_file_says(keys: dict, text: bytes) -> None:
    assert line(DaytimeConfig(listen="tcp:13", **keys), MOMENT) == text


def test_a_zone_that_is_none_is_an_error_of_the_file() -> None:
    with pytest.raises(ValidationError, match="the name of a time zone such as Europe/Berlin, not 'Mars/Olympus'"):
        DaytimeConfig(listen="tcp:13", zone="Mars/Olympus")


def test_one_line_then_the_end(bench: Bench) -> None:
    client = bench.connect(bench.serve("daytime"))
    said = bench.read_all(client)
    assert said.endswith(b"\r\n")
    assert said.count(b"\n") == 1
    assert len(said) == 26


def test_a_datagram_is_answered_by_the_line(bench: Bench) -> None:
    client = bench.connect(bench.serve("daytime", listen="udp:0:interface=127.0.0.1"))
    client.send(b"")
    assert bench.receive(client).endswith(b"\r\n")
