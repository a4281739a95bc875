"""`multid unescape` gives back the octets that were received, whatever they were."""

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from multid.cli import main
from multid.lines.escape import escape


def unescape(octets, *arguments):
    return CliRunner().invoke(main, ["unescape", *arguments], input=octets)


def test_it_reads_standard_input():
    assert unescape(b"a\\x1b[1m\\\\ \xe4\xbd\xa0\\xff\n").stdout_bytes == b"a\x1b[1m\\ \xe4\xbd\xa0\xff\n"


def test_it_reads_a_file(tmp_path):
    (tmp_path / "a.log").write_bytes(b"a\\x00\nb\\x0d\n")
    assert unescape(b"", str(tmp_path / "a.log")).stdout_bytes == b"a\0\nb\r\n"


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=4))
def test_what_was_escaped_comes_back(lines):
    assert unescape(b"".join(escape(line) + b"\n" for line in lines)).stdout_bytes == b"".join(x + b"\n" for x in lines)


def test_a_file_that_is_not_there_is_wrong_usage():
    assert unescape(b"", "/no/such/file").exit_code == 2


def test_it_gives_back_another_charset():
    assert unescape("你\\xff\n".encode(), "--charset=gb18030").stdout_bytes == "你".encode("gb18030") + b"\xff\n"


def test_an_unknown_charset_is_wrong_usage():
    result = unescape(b"", "--charset=utf-99")
    assert (result.exit_code, "unknown encoding: utf-99" in result.stderr) == (2, True)


def test_text_of_another_charset_is_an_error():
    assert unescape(b"\xff\n", "--charset=gb18030").exit_code == 1
