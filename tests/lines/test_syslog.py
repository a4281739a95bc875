"""Syslog messages as RFC 5424 and RFC 3164 have them, and as they are found."""

import time
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.lines.syslog import nearest, parse

NOW = 1_780_000_000.0  # 2026-05-28


def test_a_message_of_rfc_5424_section_6_5():
    line = (
        b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 "
        b'[exampleSDID@32473 iut="3" eventSource="Application"][priority@1 class="high"] '
        b"\xef\xbb\xbfAn application event log entry..."
    )
    assert parse(line) == {
        "pri": 165,
        "facility": "local4",
        "severity": "notice",
        "timestamp": "2003-10-11T22:14:15.003Z",
        "host": "mymachine.example.com",
        "app": "evntslog",
        "msgid": "ID47",
        "data": {"exampleSDID@32473": {"iut": "3", "eventSource": "Application"}, "priority@1": {"class": "high"}},
        "message": b"An application event log entry...",
    }


@pytest.mark.parametrize(
    ("rest", "data", "message"),
    [
        (b"-", None, b""),
        (b"- ", None, b""),
        (b"- text", None, b"text"),
        (b"-  two", None, b" two"),
        (b"[a]", {"a": {}}, b""),
        (b'[a][b c=""] x', {"a": {}, "b": {"c": ""}}, b"x"),
        (rb'[a b="\"\\\]\n"] x', {"a": {"b": '"\\]\\n'}}, b"x"),
        ('[a b="你\nX"] 好'.encode(), {"a": {"b": "你\nX"}}, "好".encode()),
        (b'[a b="1" b="2" b="3"]', {"a": {"b": ["1", "2", "3"]}}, b""),
    ],
)  # fmt: skip
def test_structured_data(rest, data, message):
    found = parse(b"<0>1 - - - - - " + rest)
    assert "parse_error" not in found
    assert found.get("data") == data
    assert found["message"] == message
    assert set(found) <= {"pri", "facility", "severity", "data", "message"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"<13>2 - - - - - -", "VERSION is not 1"),
        (b"<13>1 ", "TIMESTAMP is malformed"),
        (b"<13>1 2003-10-11 host app - - -", "TIMESTAMP is malformed"),
        (b"<13>1 2003-10-11T22:14:15.1234567Z - - - - -", "TIMESTAMP is malformed"),
        (b"<13>1 2003-13-11T22:14:15Z - - - - -", "TIMESTAMP is no time"),
        (b"<13>1 2003-10-11T22:14:60Z - - - - -", "TIMESTAMP is no time"),
        (b"<13>1 - " + b"h" * 256 + b" - - - -", "HOSTNAME is malformed"),
        (b"<13>1 - h\xc3\xa9 - - - -", "HOSTNAME is malformed"),
        (b"<13>1 - - " + b"a" * 49 + b" - - -", "APP-NAME is malformed"),
        (b"<13>1 - - - " + b"p" * 129 + b" - -", "PROCID is malformed"),
        (b"<13>1 - - - - " + b"m" * 33 + b" -", "MSGID is malformed"),
        (b"<13>1 - - - - -", "MSGID is malformed"),
        (b"<13>1 - - - - - ", "STRUCTURED-DATA is malformed"),
        (b"<13>1 - - - - - text", "STRUCTURED-DATA is malformed"),
        (b"<13>1 - - - - - -text", "STRUCTURED-DATA is malformed"),
        (b"<13>1 - - - - - [a", "STRUCTURED-DATA is malformed"),
        (b"<13>1 - - - - - [a b=1]", "STRUCTURED-DATA is malformed"),
        (b'<13>1 - - - - - [a b="]"]', "STRUCTURED-DATA is malformed"),
        (b'<13>1 - - - - - [a b="\xff"]', "STRUCTURED-DATA is not UTF-8"),
        (b"<13>1 - - - - - [a][a]", "STRUCTURED-DATA has an SD-ID twice"),
    ],
)
def test_what_leaves_the_grammar_is_said_and_nothing_else_is_claimed(line, error):
    assert parse(line) == {"pri": 13, "facility": "user", "severity": "notice", "parse_error": error}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (b"<34>Oct 11 22:14:15 mymachine su: 'su root'", {"host": "mymachine", "app": "su", "message": b"'su root'"}),
        (b"<13>Jan  1 00:00:00 app[12]: text", {"app": "app", "procid": "12", "message": b"text"}),
        (b"<13>Jan 01 00:00:00 h app[12]: text", {"host": "h", "app": "app", "procid": "12", "message": b"text"}),
        (b"<13>Jan  1 00:00:00 2001:db8::1 app: ", {"host": "2001:db8::1", "app": "app", "message": b""}),
        (b"<13>Jan  1 00:00:00 host no tag here", {"host": "host", "message": b"no tag here"}),
        (b"<189>Jan  1 2026 00:00:00.123: %ASA-6-302013: Built", {"message": b"%ASA-6-302013: Built"}),
        (b"<189>*Mar  1 18:46:11: %SYS-5-CONFIG_I: x", {"message": b"%SYS-5-CONFIG_I: x"}),
        (b"<13>2026-01-02T03:04:05+01:00 h a: x", {"host": "h", "app": "a", "message": b"x"}),
        (b"<13>2026-99-02T03:04:05+01:00 h a: x", {"message": b"2026-99-02T03:04:05+01:00 h a: x"}),
        (b"<13>0001-01-01T00:00:00 h a: x", {"message": b"0001-01-01T00:00:00 h a: x"}),
        (b"<13>Feb 30 00:00:00 host app: x", {"message": b"Feb 30 00:00:00 host app: x"}),
        (b"<13>just text", {"message": b"just text"}),
        (b"", {"message": b""}),
        ("<13>Jan  1 00:00:00 host 应用: 文".encode(), {"host": "host", "app": "应用", "message": "文".encode()}),
    ],
)  # fmt: skip
def test_rfc_3164_is_guessed_and_never_refused(line, fields):
    found = parse(line, NOW)
    for name in ("host", "app", "procid", "message"):
        assert found.get(name) == fields.get(name), name


def test_times_are_rfc_3339():
    assert parse(b"<1>Jan  1 2026 00:00:00.123: x")["timestamp"].startswith("2026-01-01T00:00:00.123000")
    assert parse(b"<1>2026-01-02T03:04:05 h a: x")["timestamp"].startswith("2026-01-02T03:04:05+")
    assert parse(b"<1>2026-01-02T03:04:05.6+01:00 h a: x")["timestamp"] == "2026-01-02T03:04:05.6+01:00"


@pytest.mark.parametrize("line", [b"no priority", b"<192>x", b"<013>x", b"<>x", b"<1", b"13>x"])
def test_a_line_without_a_valid_priority_is_one_of_13(line):
    found = parse(line)
    assert (found["pri"], found["facility"], found["severity"], found["message"]) == (13, "user", "notice", line)


@pytest.mark.parametrize(("month", "year"), [("Nov", 2025), ("Dec", 2025), ("Jan", 2026), ("May", 2026), ("Oct", 2026)])
def test_a_time_without_a_year_is_that_nearest_to_now(month, year):
    found = parse(b"<13>%b 30 12:00:00 h a: x" % month.encode(), NOW)
    when = datetime.fromisoformat(found["timestamp"])
    assert when.year == year
    assert when.tzinfo is not None


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
@pytest.mark.parametrize("stamp", [b"0001-01-01T00:00:00", b"9999-12-31T23:59:59", b"Jan  1 0001 00:00:00",
                                   b"Dec 31 9999 23:59:59"])  # fmt: skip
def test_the_first_and_the_last_day_that_there_is(stamp, zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        nearest.cache_clear()
        assert parse(b"<13>" + stamp + b" h a: x", NOW)["message"] in {b"x", stamp + b" h a: x"}
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"<13>1 - - - - - [" + rest))
def test_no_octets_make_it_fail(line):
    found = parse(line)
    assert 0 <= found["pri"] <= 191
    assert ("message" in found) != ("parse_error" in found)
