"""Targets: where a service connects to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.config.target import Target, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp:10.0.0.5:23", ("tcp", "10.0.0.5", 23, "")),
        ("ssl:log.example.org:6514", ("ssl", "log.example.org", 6514, "")),
        ("udp:[2001:db8::1]:514", ("udp", "2001:db8::1", 514, "")),
        (r"tcp:2001\:db8\:\:1:65535", ("tcp", "2001:db8::1", 65535, "")),
        ("tcp:[fe80::1%eth0]:1", ("tcp", "fe80::1%eth0", 1, "")),
        ("unix:/run/a socket:1", ("unix", "", 0, "/run/a socket:1")),
    ],
)
def test_a_target_is_what_its_text_says(text, target):
    assert parse_target(text) == Target(text, *target)
    assert str(parse_target(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:",
        "tcp:host",
        "tcp:host:",
        "tcp:host:x",
        "tcp::1",
        "tcp:a b:1",
        "http:host:1",
        "unix:relative",
        "tcp:2001:db8::1:25",
        "tcp:host:0",
        "tcp:host:65536",
        "tcp:host:25:timeout=3",
        "tcp:[]:1",
    ],
)
def test_what_is_no_target_is_an_error_that_names_the_form(text):
    with pytest.raises(ValueError, match=r"a target is tcp:HOST:PORT|a port is a number from 1 to 65535"):
        parse_target(text)


@given(st.text(max_size=40) | st.text(max_size=30).map(lambda rest: "tcp:" + rest))
def test_any_text_is_a_target_or_an_error(text):
    try:
        target = parse_target(text)
    except ValueError:
        return
    assert target.path or (target.host and target.port)
