"""However a stream is cut, the same lines come out of it, and every octet is accounted for."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.lines.framing import make_splitter
from multid.lines.splitter import Lines

FRAMINGS = ["lf", "crlf", "nul", "octet-counted", "auto"]
PIECES = [
    b"\n", b"\r", b"\r\n", b"\0", b"a", b"long text", b" ", b"<13>", b"1", b"9 ", b"12 ", b"12 monkeys\n",
    b"3 <13>", b"5 <1>\n\n", b"6 <13>x\n", b"12 <13>abcdefgh\r\n", b"2026-01-02 03:04\n", "你好".encode(), b"\xff",
]  # fmt: skip


class Fed:
    """A splitter that is fed chunks, with what came of them."""

    def __init__(self, framing: str, **keys) -> None:
        self.dropped: dict[str, tuple[int, int]] = {}
        self.splitter = make_splitter(framing, drop=self.drop, **keys)
        self.out: list[Lines] = []
        self.fed = 0

    def drop(self, reason: str, lines: int, octets: int) -> None:
        before = self.dropped.get(reason, (0, 0))
        self.dropped[reason] = (before[0] + lines, before[1] + octets)

    def feed(self, *chunks: bytes) -> "Fed":
        for chunk in chunks:
            self.out += self.splitter.feed(chunk)
            self.fed += len(chunk)
            self.check()
        return self

    def end(self) -> "Fed":
        self.out += self.splitter.end()
        self.check()
        assert self.splitter.pending == 0
        return self

    def check(self) -> None:
        out = sum(lines.octets for lines in self.out)
        dropped = sum(octets for _, octets in self.dropped.values())
        assert self.fed == out + dropped + self.splitter.pending

    @property
    def lines(self) -> list[bytes]:
        return [line for lines in self.out for line in lines]

    @property
    def marked(self) -> list[tuple[bytes, str | None]]:
        return [(line, lines.mark) for lines in self.out for line in lines]

    @property
    def result(self):
        return self.marked, {reason: counts for reason, counts in self.dropped.items() if counts != (0, 0)}


def every_way(framing: str, data: bytes, **keys):
    """The result, which must be the same whole, one by one, and cut at every place."""
    whole = Fed(framing, **keys).feed(data).end().result
    assert Fed(framing, **keys).feed(*(data[at : at + 1] for at in range(len(data)))).end().result == whole
    for at in range(len(data) + 1):
        assert Fed(framing, **keys).feed(data[:at], data[at:]).end().result == whole, at
    return whole


@given(
    framing=st.sampled_from(FRAMINGS),
    pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=12),
    max_line=st.sampled_from([4, 5, 8, 20, 1000]),
    oversize=st.sampled_from(["split", "truncate", "drop"]),
    unterminated=st.sampled_from(["keep", "drop"]),
)
def test_any_stream_gives_the_same_lines_however_it_is_cut(framing, pieces, max_line, oversize, unterminated):
    marked, _dropped = every_way(
        framing, b"".join(pieces), max_line=max_line, oversize=oversize, unterminated=unterminated
    )
    assert all(len(line) <= max_line for line, _mark in marked)


@pytest.mark.parametrize(
    ("framing", "data", "lines"),
    [
        ("lf", b"a\nb\r\n\n", [b"a", b"b\r", b""]),
        ("crlf", b"a\nb\r\nc\rd\r\n", [b"a\nb", b"c\rd"]),
        ("nul", b"a\nb\0\0c\0", [b"a\nb", b"", b"c"]),
        ("auto", b"a\r\nb\r\r\nc\n", [b"a", b"b\r", b"c"]),
        ("auto", b"2026-01-02 03:04:05 x\nsecond\n", [b"2026-01-02 03:04:05 x", b"second"]),
        ("auto", b"12 monkeys\n7 <192>\n07 <13>a\n", [b"12 monkeys", b"7 <192>", b"07 <13>a"]),
        ("auto", b"12345678 <1>\n5 < 3>\n", [b"12345678 <1>", b"5 < 3>"]),
        ("auto", b"7 <13>a\nb8 <0>cdefg", [b"<13>a\nb", b"<0>cdefg"]),
        ("auto", b"7 <13>a\nbtext\n5 <13>x", [b"<13>a\nb", b"text", b"<13>x"]),
        ("auto", b"6 <13>a\n7 <13>b\r\n", [b"<13>a", b"<13>b"]),
        ("octet-counted", b"3 a\nb1 x", [b"a\nb", b"x"]),
        ("octet-counted", b"oops\n1 x", [b"oops", b"x"]),
    ],
)  # fmt: skip
def test_framings(framing, data, lines):
    """What each framing makes of a stream."""
    marked, dropped = every_way(framing, data)
    assert [line for line, _ in marked] == lines
    assert not dropped


@pytest.mark.parametrize(
    ("oversize", "expected", "dropped"),
    [
        ("split", [(b"abcd", "split"), (b"efgh", "split"), (b"i", None), (b"next", None)], {}),
        ("truncate", [(b"abcd", "truncated"), (b"next", None)], {"oversize": (0, 6)}),
        ("drop", [(b"next", None)], {"oversize": (1, 10)}),
    ],
)
def test_a_line_that_is_too_long_is_treated_as_told_and_the_next_is_whole(oversize, expected, dropped):
    assert every_way("auto", b"abcdefghi\nnext\n", max_line=4, oversize=oversize) == (expected, dropped)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_line_of_exactly_the_limit_is_whole(framing):
    end = {"crlf": b"\r\n", "nul": b"\0"}.get(framing, b"\n")
    for size, mark in ((8, None), (9, "split")):
        line = b"x" * size
        data = b"%d %b" % (size, line) if framing == "octet-counted" else line + end
        marked, _ = every_way(framing, data, max_line=8)
        assert marked[0] == (b"x" * 8, mark)


def test_a_cut_does_not_part_a_character():
    marked, _ = every_way("lf", "ab你好".encode() + b"\n", max_line=4)
    assert marked == [(b"ab", "split"), ("你".encode(), "split"), ("好".encode(), None)]


def test_continuation_octets_without_an_end_are_cut_at_the_limit():
    marked, _ = every_way("lf", b"\x80" * 9 + b"\n", max_line=4)
    assert [len(line) for line, _ in marked] == [4, 4, 1]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_has_no_end_is_kept_with_a_mark_or_dropped_and_counted(framing):
    data = b"9 half" if framing == "octet-counted" else b"half"
    assert every_way(framing, data) == ([(b"half", "unterminated")], {})
    assert every_way(framing, data, unterminated="drop") == ([], {"unterminated": (1, len(data))})


def test_a_message_may_be_counted_however_many_lines_came_before():
    """Wherever the stream is cut near it."""
    for before in (1 << 16, 1 << 20):
        data = b"x" * (before - 1) + b"\n8 <13>a\nb\nc\n"
        for at in range(before - 5, len(data) + 1):
            assert Fed("auto", max_line=1 << 21).feed(data[:at], data[at:]).end().lines[1:] == [b"<13>a\nb", b"c"], at


def test_a_stream_that_has_counted_a_message_may_count_more_at_any_time():
    data = b"6 <13>ab" + b"x\n" * 40000 + b"6 <13>cd"
    for at in (1, 7, 8, 65536, len(data) - 3):
        lines = Fed("auto").feed(data[:at], data[at:]).end().lines
        assert (lines[0], lines[-1], len(lines)) == (b"<13>ab", b"<13>cd", 40002)


@pytest.mark.parametrize(
    ("framing", "data", "lines"),
    [
        ("auto", b"", []),
        ("auto", b"one\ntwo", [b"one", b"two"]),
        ("auto", b"one\r\ntwo\r\n", [b"one", b"two"]),
        ("auto", b"<13>one\ntwo\n", [b"<13>one\ntwo"]),
        ("auto", b"7 <13>a\nb", [b"7 <13>a", b"b"]),
        ("lf", b"<13>one\ntwo", [b"<13>one", b"two"]),
        ("octet-counted", b"one\ntwo\n", [b"one\ntwo"]),
        ("octet-counted", b"", []),
        ("auto", b"abc\r", [b"abc\r"]),
    ],
)
def test_the_end_of_a_datagram_ends_its_last_line(framing, data, lines):
    fed = Fed(framing)
    for _ in range(2):
        out = fed.splitter.datagram(data)
        assert [line for some in out for line in some] == lines
        assert {some.mark for some in out} <= {None}
        assert sum(some.octets for some in out) == len(data)


def test_a_long_datagram_is_treated_as_any_long_line():
    fed = Fed("auto", max_line=8, oversize="truncate")
    for data in (b"<13>" + b"x" * 9, b"y" * 9, b"z"):
        fed.out += fed.splitter.datagram(data)
        fed.fed += len(data)
        fed.check()
    assert fed.marked == [(b"<13>xxxx", "truncated"), (b"y" * 8, "truncated"), (b"z", None)]


def test_lines_are_handed_over_together():
    """One `Lines` for all of a chunk: what makes everything behind it fast."""
    fed = Fed("auto").feed(b"a\nb\nc\nd")
    assert [lines.block for lines in fed.out] == [b"a\nb\nc\n"]
    assert fed.out[0].count == 3


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("oversize", ["split", "truncate", "drop"])
def test_memory_is_bounded_without_any_line_end(framing, oversize):
    chunk = b"9999999 <1>" + b"x" * 262133
    splitter = make_splitter(framing, oversize=oversize)
    for _ in range(4):
        splitter.feed(chunk)
    tracemalloc.start()
    for _ in range(60):
        splitter.feed(chunk)
        assert splitter.pending <= 65536 + len(b"9999999 ")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize(
    "unit",
    [b"\n", b"x", b"\r", b"1", b"1 ", b"1 <1", b"9 <13>abcd\n", b"a\n1 <1>", b"\r\n", b"7 <13>", b"x" * 99 + b"\n"],
)
@pytest.mark.parametrize("framing", ["auto", "octet-counted", "crlf"])
def test_time_grows_no_faster_than_the_stream(framing, unit):
    """Four times as much in one chunk, and as many one-octet chunks, takes about four times as long."""

    def seconds(size: int) -> float:
        data = (unit * size)[:size]
        begin = time.process_time()
        Fed(framing).feed(data)
        splitter = make_splitter(framing)
        for at in range(0, size, 16):
            splitter.feed(data[at : at + 16])
        return time.process_time() - begin

    small = min(seconds(1 << 14) for _ in range(3))
    assert any(seconds(1 << 16) < 12 * small + 0.01 for _ in range(3))
