"""Qotd (RFC 865), and the welcome banner."""

import os

import pytest
from pydantic import ValidationError

from multid.service import ServiceError
from multid.services.qotd import QotdConfig, encode
from tests.conftest import Bench


def test_a_banner_is_said_and_the_connection_closed(bench: Bench) -> None:
    client = bench.connect(bench.serve("qotd", text="Thank you for connecting"))
    assert bench.read_all(client) == b"Thank you for connecting\r\n"


def test_a_datagram_is_answered_by_a_quotation(bench: Bench) -> None:
    client = bench.connect(bench.serve("qotd", text="Short.", listen="udp:0:interface=127.0.0.1"))
    client.send(b"")
    assert bench.receive(client) == b"Short.\r\n"


@pytest.mark.parametrize(
    ("text", "eol", "sent"),
    [
        ("one\ntwo", "crlf", b"one\r\ntwo\r\n"),
        ("one\r\ntwo\r\n", "lf", b"one\ntwo\n"),
        ("one\ntwo\n", "none", b"one\ntwo"),
        ("", "crlf", b"\r\n"),
    ],
)
def test_every_line_ends_as_the_file_says(text: str, eol: str, sent: bytes) -> None:
    assert encode(text, "utf-8", eol) == sent


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "big5"])
def test_a_text_is_sent_in_its_character_set(bench: Bench, charset: str) -> None:
    client = bench.connect(bench.serve("qotd", text="歡迎", charset=charset, eol="none"))
    assert bench.read_all(client) == "歡迎".encode(charset)


@pytest.mark.parametrize(
    ("content", "quotations"),
    [
        ("one\n", {"one"}),
        ("one\n%\ntwo\nlines\n%\nthree\n", {"one", "two\nlines", "three"}),
        ("%\none\n%\n", {"one"}),
        ("one\r\n%\r\n100 %\r\n%\r\n", {"one", "100 %"}),
        ("\n%\n\n%\none\n%\n%\n", {"one"}),
    ],
)
def test_a_file_holds_quotations_between_percent_signs(bench: Bench, tmp_path, content: str, quotations: set) -> None:
    file = tmp_path / "quotes"
    file.write_bytes(content.encode())
    service = bench.serve("qotd", file=str(file), eol="none")
    assert {answer.decode().rstrip("\n") for answer in service._answers} == quotations
    assert service.details() == {"quotations": len(service._answers)}
    assert service.answer() in service._answers


def test_a_file_in_its_own_character_set_is_passed_on_in_it(bench: Bench, tmp_path) -> None:
    file = tmp_path / "quotes"
    file.write_bytes("学而时习之".encode("gb18030"))
    client = bench.connect(bench.serve("qotd", file=str(file), charset="gb18030"))
    assert bench.read_all(client).decode("gb18030") == "学而时习之\r\n"


def test_quotations_that_are_too_long_are_left_out_and_told_of(bench: Bench, tmp_path, logged) -> None:
    file = tmp_path / "quotes"
    file.write_text("x" * 511 + "\n%\n" + "y" * 512 + "\n")
    service = bench.serve("qotd", file=str(file), eol="none")
    assert service._answers == (b"x" * 511,)
    assert [event["count"] for event in logged if "left out" in event["log_format"]] == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff\xfe", "is not utf-8"),
        (b"%\n%\n", "holds no quotation shorter than 512"),
        (b"x" * 512, "holds no quotation shorter than 512"),
    ],
)
def test_a_file_without_quotations_is_a_problem_with_its_name(bench: Bench, tmp_path, content, message) -> None:
    file = tmp_path / "quotes"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServiceError, match=message) as raised:
        bench.serve("qotd", file=str(file))
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "exactly one of 'text' or 'file'"),
        ({"text": "x", "file": "y"}, "exactly one of 'text' or 'file'"),
        ({"text": "x" * 512}, "at most 511"),
        ({"text": "Grüße", "charset": "ascii"}, "ascii has no 'ü'"),
        ({"text": "x", "charset": "base64"}, "a character set such as"),
    ],
)
def test_what_cannot_be_said_is_an_error_of_the_file(keys: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QotdConfig(listen="tcp:17", **keys)


def test_a_fifo_into_which_nobody_writes_is_a_file_without_quotations(bench: Bench, tmp_path) -> None:
    os.mkfifo(tmp_path / "quotes")
    with pytest.raises(ServiceError, match="quotes"):
        bench.serve("qotd", file=str(tmp_path / "quotes"))
