"""Replies are one code, printable lines, and nothing a peer could end a line with; parsing is strict and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.reply import MAX_LINE, MAX_LINES, Reply, ReplyError, ReplyParser
from tests.mail.conversation import lint

codes = st.sampled_from([220, 250, 252, 354, 421, 451, 550, 554])


def test_a_reply_of_one_line() -> None:
    assert bytes(Reply(250, "2.1.0", "Ok")) == b"250 2.1.0 Ok\r\n"


def test_each_line_of_a_reply_has_both_codes() -> None:
    assert bytes(Reply(550, "5.7.1", "No\nNever")) == b"550-5.7.1 No\r\n550 5.7.1 Never\r\n"


def test_a_reply_knows_its_class() -> None:
    replies = [Reply(code, "", "x") for code in (250, 354, 421, 550)]
    assert [reply.is_positive for reply in replies] == [True, True, False, False]
    assert [reply.is_transient for reply in replies] == [False, False, True, False]
    assert [reply.is_permanent for reply in replies] == [False, False, False, True]


def test_what_could_end_a_line_is_taken_from_a_text() -> None:
    reply = Reply(550, "5.1.1", "a\r\x00\x1b\x7f\x85\u2028b")
    assert reply.text == "a??????b"
    assert str(Reply(550, "5.1.1", "a\nb")) == "550 5.1.1 a b"
    assert str(Reply(550, "", "x")) == "550 x"


def test_a_wire_line_is_at_most_512_octets_of_ascii() -> None:
    assert bytes(Reply(250, "2.0.0", "é")) == b"250 2.0.0 \\xe9\r\n"
    assert len(bytes(Reply(250, "2.0.0", "x" * 600))) == 512


@given(codes, st.text())
def test_any_text_makes_a_reply_that_keeps_the_rules(code: int, text: str) -> None:
    enhanced = f"{str(code)[0]}.0.0" if code != 354 else ""
    wire = bytes(Reply(code, enhanced, text))
    for line in wire.splitlines(keepends=True):
        assert line.startswith(b"%d" % code)
    if code not in {220, 354} and all(line[:1].strip() for line in text.split("\n")):
        assert len(lint(wire)) == 1


@given(st.lists(st.tuples(codes, st.text("ab \n", max_size=30)), max_size=5), st.data())
def test_parsing_gives_back_what_was_written_at_every_split(
    replies: list[tuple[int, str]], data: st.DataObject
) -> None:
    sent = [Reply(code, f"{str(code)[0]}.1.2" if code != 354 else "", f"x{text}") for code, text in replies]
    wire = b"".join(map(bytes, sent))
    cut = data.draw(st.integers(0, len(wire)))
    whole, halves, octets = ReplyParser(), ReplyParser(), ReplyParser()
    expected = whole.feed(wire)
    assert [reply.code for reply in expected] == [reply.code for reply in sent]
    assert [reply.enhanced for reply in expected] == [reply.enhanced for reply in sent]
    assert halves.feed(wire[:cut]) + halves.feed(wire[cut:]) == expected
    assert [reply for octet in wire for reply in octets.feed(bytes([octet]))] == expected
    assert whole.is_empty
    assert octets.is_empty


@given(st.binary(max_size=200))
def test_any_octets_are_replies_or_an_error(octets: bytes) -> None:
    parser = ReplyParser()
    try:
        replies = parser.feed(octets)
    except ReplyError:
        return
    assert all(200 <= reply.code < 600 for reply in replies)


def test_a_code_alone_is_a_reply() -> None:
    assert ReplyParser().feed(b"250\r\n250 \r\n") == [Reply(250, "", ""), Reply(250, "", "")]


def test_an_enhanced_code_of_another_class_is_text() -> None:
    assert ReplyParser().feed(b"450 5.1.1 x\r\n") == [Reply(450, "", "5.1.1 x")]


def test_an_enhanced_code_stands_once() -> None:
    assert ReplyParser().feed(b"550-5.1.1 one\r\n550-two\r\n550 5.1.1 three\r\n") == [
        Reply(550, "5.1.1", "one\ntwo\nthree")
    ]


@pytest.mark.parametrize(
    "octets",
    [b"\r\n", b"25\r\n", b"150 x\r\n", b"650 x\r\n", b"250x\r\n", b"OK\r\n", b"250-a\r\n251 b\r\n", b" 250 x\r\n"],
)
def test_what_is_no_reply_is_an_error(octets: bytes) -> None:
    with pytest.raises(ReplyError):
        ReplyParser().feed(octets)


def test_a_line_is_at_most_2_kib() -> None:
    longest = b"250 " + b"x" * (MAX_LINE - 5) + b"\r"
    assert len(ReplyParser().feed(longest + b"\n")) == 1
    with pytest.raises(ReplyError):
        ReplyParser().feed(longest + b"x\n")
    with pytest.raises(ReplyError):
        ReplyParser().feed(b"x" * (MAX_LINE + 1))


def test_a_reply_is_at_most_100_lines() -> None:
    assert len(ReplyParser().feed(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n")[0].lines) == MAX_LINES
    with pytest.raises(ReplyError):
        ReplyParser().feed(b"250-x\r\n" * MAX_LINES)


def test_a_parser_tells_that_something_is_left() -> None:
    parser = ReplyParser()
    parser.feed(b"220 go\r\n2")
    assert not parser.is_empty
    continued = ReplyParser()
    continued.feed(b"220-go\r\n")
    assert not continued.is_empty
