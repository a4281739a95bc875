"""Content: the same mail whatever the splits, and nothing in it ends it but CRLF.CRLF."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.mail.content import BARE_NEWLINE, NUL, TOO_BIG, Content, DotReader
from multid.mail.reply import Reply

nasty = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"a", b"A: b", b" ", b"\0"]), max_size=12).map(
    b"".join
)


def read(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    reader, content = DotReader(), b""
    for number, piece in enumerate(pieces):
        plain, rest = reader.feed(piece)
        content += plain
        if rest is not None:
            return content, rest + b"".join(pieces[number + 1 :])
    return content, None


def splits(data: bytes) -> list[list[bytes]]:
    octets = [data[i : i + 1] for i in range(len(data))]
    return [[data], octets, *([data[:i], data[i:]] for i in range(len(data)))]


def plainly(data: bytes) -> tuple[bytes, bytes]:
    """The rule of RFC 5321 4.5.2, line by line."""
    lines = data.split(b"\r\n")
    end = lines.index(b".")
    plain = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines[:end])
    return plain, b"\r\n".join(lines[end + 1 :])


@given(nasty, nasty)
def test_dots_are_read_as_the_rule_says_at_every_split(content: bytes, rest: bytes) -> None:
    wire = content + b"\r\n.\r\n" + rest
    expected = plainly(wire)
    for pieces in splits(wire):
        assert read(pieces) == expected


@given(nasty)
def test_stuffed_content_comes_out_as_it_was(content: bytes) -> None:
    content += b"\r\n"
    stuffed = re.sub(rb"(\A|\r\n)\.", rb"\1..", content)
    for pieces in splits(stuffed + b".\r\nQUIT\r\n"):
        assert read(pieces) == (content, b"QUIT\r\n")


@given(nasty)
def test_without_the_end_nothing_ends(content: bytes) -> None:
    wire = b"x" + content
    while b"\r\n.\r\n" in wire:
        wire = wire.replace(b"\r\n.\r\n", b"")
    for pieces in splits(wire):
        assert read(pieces)[1] is None


def stored(pieces: list[bytes], **options: bool) -> tuple[bytes, Content]:
    content = Content(
        1 << 20, lambda fields: b"T: t\r\n" + fields, **{"reject_bare": False, "is_binary": False, **options}
    )
    return b"".join([*map(content.feed, pieces), content.finish()]), content


@given(nasty, st.booleans(), st.booleans())
def test_content_is_stored_alike_at_every_split(data: bytes, reject_bare: bool, is_binary: bool) -> None:
    whole, content = stored([data], reject_bare=reject_bare, is_binary=is_binary)
    for pieces in splits(data):
        octets, other = stored(pieces, reject_bare=reject_bare, is_binary=is_binary)
        assert other.verdict == content.verdict
        if content.verdict is None:
            assert octets == whole
            assert other.is_ascii == content.is_ascii


@given(nasty)
def test_what_is_stored_has_whole_lines_only(data: bytes) -> None:
    octets, content = stored([data])
    if content.verdict:
        return
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", octets)
    assert octets.endswith(b"\r\n")
    header, blank, _ = octets.partition(b"\r\n\r\n")
    for line in header.split(b"\r\n"):
        assert re.match(rb"[!-9;-~]+[ \t]*:|[ \t]", line) or not blank, octets


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", b""),
        (b"A: b\r\n", b"A: b\r\n"),
        (b"A: b", b"A: b\r\n"),
        (b"A: b\r\n\r\nc", b"A: b\r\n\r\nc\r\n"),
        (b"A: b\r\r\n\rc\nd\r", b"A: b\r\n\r\nc\r\nd\r\n"),
        (b"text", b"\r\ntext\r\n"),
        (b"\r\ntext", b"\r\ntext\r\n"),
        (b" folded: first\r\n", b"\r\n folded: first\r\n"),
    ],
)
def test_lines_and_headers_are_made_whole(data: bytes, expected: bytes) -> None:
    assert stored([data])[0] == b"T: t\r\n" + expected


def test_binary_content_stays_as_it_is() -> None:
    assert stored([b"A: b\r\n\r\n\0\n\r.."], is_binary=True)[0] == b"T: t\r\nA: b\r\n\r\n\0\n\r.."


@pytest.mark.parametrize("data", [b"a\nb", b"a\rb", b"a\r\r\nb", b"a\r"])
def test_a_bare_newline_is_a_verdict_where_it_is_rejected(data: bytes) -> None:
    assert stored([b"A: b\r\n\r\n", data], reject_bare=True)[1].verdict == BARE_NEWLINE


def test_nul_is_a_verdict() -> None:
    assert stored([b"A: b\r\n\r\na\0b"])[1].verdict == NUL


def test_of_several_verdicts_the_size_comes_first() -> None:
    content = Content(10, lambda fields: fields, reject_bare=False, is_binary=False)
    content.feed(b"\0")
    assert content.verdict == NUL
    content.feed(b"x" * 10)
    assert content.verdict == TOO_BIG


def test_the_size_limit_holds_for_what_was_received() -> None:
    for size, verdict in ((10, None), (11, TOO_BIG)):
        content = Content(10, lambda fields: fields, reject_bare=False, is_binary=False)
        content.feed(b"\r\n" + b"x" * (size - 2))
        assert content.finish() is not None
        assert content.verdict == verdict


def test_a_header_that_is_refused_refuses_the_mail() -> None:
    refusal = Reply(554, "5.6.0", "No")
    content = Content(100, lambda _: refusal, reject_bare=False, is_binary=False)
    assert content.feed(b"A: b\r\n\r\nbody") == b""
    assert content.feed(b"more") == content.finish() == b""
    assert content.verdict == refusal


def test_what_is_ascii_is_known() -> None:
    assert stored([b"A: b\r\n\r\nabc"])[1].is_ascii
    assert not stored([b"A: b\r\n\r\nabc", b"\xe9"])[1].is_ascii
