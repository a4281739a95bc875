"""Many messages at once are the same as one by one, to the octet."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.lines import bulk, jsonlines, syslog
from multid.lines.record import Received, Source
from multid.lines.splitter import pack

WHEN = time.time()  # of which day it is, both must be of one mind
PARTS = [
    b"<13>", b"<191>", b"<192>", b"<013>", b"Nov 20 11:22:33 ", b"Feb 30 11:22:33 ", b"Nov 20 11:22:33: ", b"host ",
    b'a"b ', b"c\\d ", b"::1 ", b"app: ", b"app[12]: ", b"app[]: ", b"app:", b"a%p: ", "应用: ".encode(), b"text",
    b'say "x" \\ y', b" ", b"1 ", b"- ", b"-", b"2026-01-02T03:04:05.678901Z ", b"2026-02-29T03:04:05Z ",
    b"2026-04-31T03:04:05+01:00 ", b"2026-12-31T23:59:59-23:59 ", b'[a b="c"] ', b"\xef\xbb\xbf", "你好".encode(),
    b"\x9b", "\u202e".encode(), b"\t", b"x" * 60, b": ", b":", "\u0085".encode(), b"\xc3\xbf",
]  # fmt: skip
PLAIN = [
    b"<34>Oct 11 22:14:15 host su[7]: failed",
    b'<34>Oct  1 22:14:15 host su: say "x" \\ y',
    b"<34>Oct 11 22:14:15 host su:",
    b"<34>Oct 11 22:14:15 host su: su: ",
    "<34>Oct 11 22:14:15 host 应用[一]: 你好".encode(),
    b'<0>Jan 01 00:00:00 a"b\\c app[]: x',
]  # fmt: skip
PLAIN_5424 = [
    b"<34>1 2026-01-02T03:04:05.678901Z host app 1 id - text",
    b"<34>1 - - - - - - ",
    b'<34>1 2028-01-31T23:59:59+23:59 h"\\ a p m - say "x" \\ y',
    b"<34>1 2026-04-30T00:00:00Z h a p m - \xef\xbb\xbftext",
    b"<34>1 - h a - - - \xe4\xbd\xa0",
]


def batch(*lines: bytes) -> Received:
    return Received(WHEN, Source("log", "192.0.2.1:5", "192.0.2.1", "utf-8", syslog.parse), pack(list(lines), 0))


def one_by_one(some: Received) -> bytes:
    begin = jsonlines._members(some.time, some.source.service, some.source.peer)[:-1]
    return jsonlines._one_by_one(some, begin)


@given(
    st.lists(
        st.lists(st.sampled_from(PARTS), max_size=9).map(b"".join) | st.sampled_from(PLAIN + PLAIN_5424),
        min_size=1,
        max_size=4,
    )
)
def test_any_lines(lines):
    some = batch(*lines)
    assert jsonlines.render(some) == one_by_one(batch(*lines))


@pytest.mark.parametrize("lines", [PLAIN, PLAIN_5424])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_plain_messages_go_at_once(lines, count, monkeypatch):
    expected = one_by_one(batch(*lines[:count]))
    monkeypatch.setattr(jsonlines, "_one_by_one", None)
    made = jsonlines.render(batch(*lines[:count]))
    assert made == expected
    assert len([json.loads(line) for line in made.splitlines()]) == count


def test_heads_are_kept_for_a_day_and_not_without_bound(monkeypatch):
    monkeypatch.setattr(bulk, "_MOST_HEADS", 2)
    lines = [b"<34>Oct 11 22:14:15 host su[%d]: x" % pid for pid in range(5)]
    for today in (19000, 20000, 19000):
        made = bulk.render(b'{"text":', b"\n".join(lines) + b"\n", today).splitlines()
        assert [json.loads(line)["procid"] for line in made] == [*"01234"]
        assert {json.loads(line)["timestamp"] for line in made} == {syslog.nearest(b"Oct 11 22:14:15 ", today)}
        assert len(bulk._heads_of(today)) <= 2


@pytest.mark.parametrize(
    "block",
    [
        PLAIN[0] + b"\n" + PLAIN_5424[0] + b"\n",
        b"x" + PLAIN[0] + b"\n",
        PLAIN[0] + b"\nx" + PLAIN[1] + b"\n",
        b"<34>Oct 11 22:14:15 host " + PLAIN[0] + b"\n",
        b"<34>Oct 11 22:14:15 host su:: x\n",
        b"<34>Oct 11 22:14:15 host su:x: y\n",
        b"<34>Oct 11 22:14:15 su: x\n",
        b"<192>Oct 11 22:14:15 host su: x\n",
        b"<34>Feb 30 22:14:15 host su: x\n",
        b"<34>1 2026-02-29T00:00:00Z h a p m - x\n",
        b"<34>1 2026-01-02T24:00:00Z h a p m - x\n",
        b"<34>1 2026-01-02T00:00:00Z h a p m [a] x\n",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_alone(block):
    assert bulk.render(b'{"text":', block, 20000) is None
