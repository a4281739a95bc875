"""Addresses to listen on, and networks: each part on both sides of its border."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.config.address import Address, parse_listen, parse_network


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tcp:7007", {"transport": "tcp", "host": "0.0.0.0", "port": 7007}),
        ("tcp:0", {"transport": "tcp", "host": "0.0.0.0", "port": 0}),
        ("tcp:65535", {"transport": "tcp", "host": "0.0.0.0", "port": 65535}),
        ("tcp:port=7007", {"transport": "tcp", "host": "0.0.0.0", "port": 7007}),
        ("tcp:7007:interface=127.0.0.1", {"transport": "tcp", "host": "127.0.0.1", "port": 7007}),
        (r"tcp:7007:interface=\:\:1", {"transport": "tcp", "host": "::1", "port": 7007}),
        ("tcp6:7007", {"transport": "tcp", "host": "::", "port": 7007}),
        (r"tcp6:7007:interface=fe80\:\:1%eth0", {"transport": "tcp", "host": "fe80::1%eth0", "port": 7007}),
        ("tcp:7007:backlog=1", {"transport": "tcp", "host": "0.0.0.0", "port": 7007, "backlog": 1}),
        ("udp:7007", {"transport": "udp", "host": "0.0.0.0", "port": 7007}),
        ("udp6:7007", {"transport": "udp", "host": "::", "port": 7007}),
        ("ssl:7443", {"transport": "ssl", "host": "0.0.0.0", "port": 7443}),
        ("ssl6:7443", {"transport": "ssl", "host": "::", "port": 7443}),
        ("unix:/run/x.sock", {"transport": "unix", "path": "/run/x.sock"}),
        ("unix:address=/run/x.sock:mode=600", {"transport": "unix", "path": "/run/x.sock", "mode": 0o600}),
        (
            "unix:/run/x.sock:mode=0777:backlog=5",
            {"transport": "unix", "path": "/run/x.sock", "mode": 0o777, "backlog": 5},
        ),
        (r"unix:/run/a\:b\\c", {"transport": "unix", "path": r"/run/a:b\c"}),
        (f"unix:{'x' * 107}", {"transport": "unix", "path": "x" * 107}),
        ("systemd:name=echo", {"transport": "systemd", "name": "echo"}),
        ("systemd:domain=INET:name=echo", {"transport": "systemd", "host": "INET", "name": "echo"}),
        ("systemd-udp:name=echo", {"transport": "systemd-udp", "name": "echo"}),
    ],
)
def test_an_address_is_taken_apart(text, parts):
    assert parse_listen(text) == Address(text, **parts)
    assert str(parse_listen(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tcp",
        "tcp:",
        "tcp:65536",
        "tcp:-1",
        "tcp:+1",
        "tcp: 1",
        "tcp:1 ",
        "tcp:٣",
        "tcp:9999999999",
        "tcp:http",
        "TCP:1",
        "7007",
        ":7007",
        "tcp:1:2",
        "tcp:1:port=2",
        "tcp:1:interface=",
        "tcp:1:interface=localhost",
        "tcp:1:interface=127.0.0.256",
        "tcp:1:interface=::1",
        "tcp6:1:interface=127.0.0.1",
        "udp:1:backlog=1",
        "tcp:1:backlog=0",
        "tcp:1:backlog=65536",
        "tcp:1:backlog=x",
        "tcp:1:mode=660",
        "unix:",
        "unix:/a:/b",
        "unix:/a:address=/b",
        "unix:/a:mode=66",
        "unix:/a:mode=668",
        "unix:/a:mode=1777",
        "unix:a\0b",
        f"unix:{'x' * 108}",
        f"unix:{'é' * 54}",
        "systemd:",
        "systemd:name=",
        "systemd:echo",
        "systemd:echo:name=echo",
        "systemd-udp:index=1",
        "systemd:domain=inet:name=echo",
    ],
)
def test_anything_else_is_no_address(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse_listen(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("7007", "did you mean 'tcp:7007'?"),
        ("tpc:7007", "did you mean 'tcp'?"),
        ("tcp:127.0.0.1:7007", "did you mean 'tcp:7007:interface=127.0.0.1'?"),
        ("tcp:7007:interface=::1", r"did you mean 'tcp:7007:interface=\:\:1'?"),
        ("tcp:7007:intreface=::1", "a colon inside a value is written '\\:'"),
        ("tcp:7007:intreface=127.0.0.1", "did you mean 'interface'?"),
    ],
)
def test_what_was_meant_is_said(text, hint):
    with pytest.raises(ValueError, match=r"\S") as caught:
        parse_listen(text)
    assert caught.value.hint == hint


def test_datagrams_and_connections_are_told_apart():
    assert [parse_listen(x).is_datagram for x in ("udp:1", "systemd-udp:name=x", "tcp:1", "unix:x")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_backlog_or_a_mode_makes_no_other_socket():
    assert parse_listen("tcp:1:backlog=5").key == parse_listen("tcp:1").key == parse_listen("ssl:1").key
    assert parse_listen("unix:/a:mode=600").key == parse_listen("unix:/a").key


@pytest.mark.parametrize("other", ["tcp:2", "udp:1", "tcp6:1", "tcp:1:interface=127.0.0.1", "unix:1", "systemd:name=1"])
def test_all_else_makes_another_socket(other):
    assert parse_listen(other).key != parse_listen("tcp:1").key


@given(st.text(alphabet="tcpudsxini:=\\0123456789./fae %", max_size=40) | st.text(max_size=20))
def test_no_text_does_more_harm_than_a_value_error(text):
    for begin in ("", "tcp:", "unix:", "udp6:1:"):
        try:
            assert parse_listen(begin + text).text == begin + text
        except ValueError:
            continue


@pytest.mark.parametrize(
    "text", ["127.0.0.1", "127.0.0.0/8", "0.0.0.0/0", "::/0", "2001:db8::/32", "192.0.2.1/32", "10.0.0.0/255.0.0.0"]
)
def test_a_network_may_be_a_lone_address(text):
    assert str(parse_network(text).network_address) == text.partition("/")[0]


@pytest.mark.parametrize(
    "text", ["", "localhost", "10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.0/8 ", "010.0.0.1"]
)
def test_anything_else_is_no_network(text):
    with pytest.raises(ValueError, match="a network is written"):
        parse_network(text)
