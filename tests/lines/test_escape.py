"""Escaping is reversible, and what is escaped is safe to print."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multid.lines.escape import check_charset, escape, escape_lines, mark, unescape

CHARSETS = ["utf-8", "gb18030", "gbk", "big5", "latin-1", "cp1252", "shift_jis", "euc_jp", "euc_kr", "koi8-r", "ascii"]
DANGEROUS = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_safe(text: bytes) -> bool:
    return not any(unicodedata.category(char) == "Cc" or char in DANGEROUS for char in text.decode())


octets = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))


@given(data=octets, charset=st.sampled_from(CHARSETS))
@example(data=b"C:\\x41\\\\x0a\\(split)", charset="utf-8")
@example(data=b"\xed\xa0\x80\xf5\x80\xc0\x80\xe2\x80", charset="utf-8")
@example(data=b"a\\\xa1\xfe\xa2@\n", charset="big5")
@example(data=b"\xc2\xa9\xff\xc2", charset="gb18030")
def test_what_is_unescaped_is_what_was_received(data, charset):
    text = escape(data, charset)
    assert is_safe(text)
    assert unescape(text, charset) == data


@given(lines=st.lists(octets, max_size=6), charset=st.sampled_from(CHARSETS))
def test_many_lines_at_once_are_each_line_alone(lines, charset):
    lines = [line.replace(b"\n", b"") for line in lines]
    block = b"".join(line + b"\n" for line in lines)
    alone = [unescape(escape(line, charset), charset) for line in lines]
    together = escape_lines(block, charset).split(b"\n")[:-1]
    assert [unescape(line, charset) for line in together] == alone == lines
    assert all(is_safe(line) for line in together)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", b"plain"),
        ("你好 ñ 🙂 “quoted” \u00a0".encode(), "你好 ñ 🙂 “quoted” \u00a0".encode()),
        (b"C:\\new", b"C:\\\\new"),
        (b"\x1b[31m\a\0\t\n\r\x7f", b"\\x1b[31m\\x07\\x00\\x09\\x0a\\x0d\\x7f"),
        (b"\xc2\x9b2J", b"\\xc2\\x9b2J"),
        ("a\u2028b\u202ec".encode(), b"a\\xe2\\x80\\xa8b\\xe2\\x80\\xaec"),
        (b"\xff\xc3(\xe4\xbd", b"\\xff\\xc3(\\xe4\\xbd"),
    ],
)
def test_what_escaped_text_looks_like(data, text):
    assert escape(data) == text


def test_every_octet_alone_and_in_company():
    for octet in range(256):
        for data in (bytes([octet]), b"a%cb" % octet, bytes([0xE4, octet]), bytes([0xC2, octet]), bytes([octet] * 5)):
            assert unescape(escape(data)) == data
            assert is_safe(escape(data))


def test_text_of_another_charset_is_readable():
    assert escape("你好".encode("gb18030"), "gb18030") == "你好".encode()
    assert escape("é\n".encode("latin-1"), "latin-1") == "é\\x0a".encode()


def test_a_second_spelling_of_a_character_is_escaped_and_other_lines_are_not():
    """Big5 has two codes for some; only one of them would come back."""
    good, second = "好".encode("big5"), b"\xa1\xfe"
    assert escape_lines(good + b"\n" + second + b"\n", "big5") == "好\n\\xa1\\xfe\n".encode()


def test_controls_of_another_charset_are_escaped_as_they_were_received():
    assert escape(b"\x81\x30\x81\x30", "gb18030") == b"\\x81\\x30\\x81\\x30"  # U+0080


def test_marks_are_no_received_text_and_are_taken_out():
    assert mark("split") == b"\\(split)"
    assert unescape(escape(b"\\(split)") + mark("split")) == b"\\(split)"


def test_what_is_no_escape_stays():
    for text in (b"\\", b"\\q", b"\\x", b"\\x4", b"\\xzz", b"\\(", b"\\()"):
        assert unescape(text) == text


@pytest.mark.parametrize(
    "name", ["utf-16", "utf-7", "iso2022_jp", "hz", "rot13", "cp037", "idna", "punycode", "utf-8-sig", "nonesuch"]
)
def test_charsets_in_which_a_line_cannot_be_told_are_refused(name):
    with pytest.raises(LookupError):
        check_charset(name)


def test_charsets_are_known_by_any_of_their_names():
    assert check_charset("UTF8") == "utf-8"
    assert check_charset("latin1") == "iso8859-1"
