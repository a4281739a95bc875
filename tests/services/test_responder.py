"""Responder: the greeter and the time stamper of the teaching texts, and their edges."""

import re
import socket

import pytest
from pydantic import ValidationError

from multid.services.responder import ResponderConfig
from tests.conftest import Bench

GREETER = {"greeting": "Welcome!", "reply": "Hello, {data}!", "quit": "exit", "unit": "chunk"}


def test_the_greeter_greets_answers_and_ends_on_its_word(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", **GREETER))
    assert bench.read(client, 8) == b"Welcome!"
    client.send(b"Michael")
    assert bench.read(client, 15) == b"Hello, Michael!"
    client.send(b"exit")
    assert bench.read_all(client) == b""


@pytest.mark.parametrize("word", [b"exit\r\n", b"exit\n"])
def test_the_quit_word_may_have_a_line_end(bench: Bench, word: bytes) -> None:
    client = bench.connect(bench.serve("responder", **GREETER))
    client.send(word)
    assert bench.read_all(client) == b"Welcome!"


def test_the_time_stamper_stamps(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", reply="[{ctime}] {data}", unit="chunk"))
    client.send(b"hi")
    assert re.fullmatch(rb"\[\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\] hi", bench.read(client, 29))


def test_lines_are_answered_one_by_one_however_they_arrive(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", reply="<{data}>", quit="bye"))
    for octet in b"one\r\ntw":
        client.send(bytes([octet]))
    assert bench.read(client, 7) == b"<one>\r\n"
    client.send(b"o\nthree\nbye\nnot heard\n")
    assert bench.read_all(client) == b"<two>\n<three>\n"


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "utf-16-le"])
def test_a_character_cut_in_two_is_whole_again(bench: Bench, charset: str) -> None:
    client = bench.connect(bench.serve("responder", reply="{data}", unit="chunk", charset=charset))
    text = "你好, мир €".encode(charset)
    for octet in text:
        client.send(bytes([octet]))
        bench.loop.turn()
    assert bench.read(client, len(text)) == text


def test_half_a_character_at_the_end_is_answered_as_what_it_is(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", reply="<{data}>", unit="chunk"))
    client.send("ü".encode()[:1])
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client).decode() == "<\ufffd>"


def test_a_last_line_without_an_end_is_answered(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", reply="<{data}>"))
    client.send(b"first\nlast")
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b"<first>\n<last>\n"


@pytest.mark.parametrize(("length", "answered"), [(65536, True), (65537, False)])
def test_a_line_has_a_longest_length(bench: Bench, length: int, answered: bool) -> None:
    client = bench.connect(bench.serve("responder", reply="ok"))
    client.setblocking(True)
    client.sendall(b"x" * length)
    client.setblocking(False)
    if answered:
        bench.loop.until(lambda: bench.services[0].counters.received_bytes == length)
        client.send(b"\n")
        assert bench.read(client, 3) == b"ok\n"
    else:
        assert bench.read_all(client) == b""


def test_datagrams_are_answered_but_for_the_quit_word(bench: Bench) -> None:
    service = bench.serve("responder", listen="udp:0:interface=127.0.0.1", reply="{peer} said {data}", quit="exit")
    client = bench.connect(service)
    client.send(b"exit")
    client.send("你好".encode())
    host, port = client.getsockname()
    assert bench.receive(client).decode() == f"{host}:{port} said 你好"


def test_octets_outside_the_charset_are_replaced(bench: Bench) -> None:
    client = bench.connect(bench.serve("responder", reply="{data}", unit="chunk", charset="ascii"))
    client.send(b"\xff!")
    assert bench.read(client, 2) == b"?!"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"reply": "{name}"}, r"a reply may hold \{data\}, \{peer\}, \{ctime\} and \{time\}, not \{name\}"),
        ({"reply": "{data"}, "a reply's braces must match"),
        ({"reply": "{data.__class__}"}, r"not \{data.__class__\}"),
        ({"charset": "klingon"}, "a character set such as utf-8"),
    ],
)
def test_a_reply_or_charset_that_cannot_be_is_an_error_of_the_file(keys: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ResponderConfig(listen="tcp:1", **keys)
