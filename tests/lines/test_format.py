"""What records look like in files."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.lines import jsonlines, syslog
from multid.lines.escape import unescape
from multid.lines.format import FORMATS, message
from multid.lines.record import Received, Source, stamp
from multid.lines.splitter import pack

WHEN = 1795173753.123456
NASTY = b'\x1b[31m "quoted" \\ \x7f\t ' + "你好 \u202e\u2028\x9b".encode()

octets = st.binary(max_size=30) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))


def received(*lines: bytes, parse=None, mark=None, charset="utf-8") -> Received:
    return Received(WHEN, Source("log", "192.0.2.1:5", "192.0.2.1", charset, parse), pack(list(lines), 0, mark))


def objects(batch: Received) -> list[dict]:
    data = FORMATS["json"](batch)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", data.decode())
    return [json.loads(line) for line in data.splitlines()]


def test_a_time_has_microseconds_and_is_utc():
    assert stamp(WHEN) == "2026-11-20T11:22:33.123456Z"
    assert stamp(WHEN + 1) == "2026-11-20T11:22:34.123456Z"
    assert stamp(0.0) == "1970-01-01T00:00:00.000000Z"


def test_text_is_time_service_peer_text():
    batch = received(b"one", b"", b"th\xffree")
    prefix = b"2026-11-20T11:22:33.123456Z log 192.0.2.1:5 "
    assert FORMATS["text"](batch) == prefix + b"one\n" + prefix + b"\n" + prefix + b"th\\xffree\n"
    assert batch.count == 3


@given(lines=st.lists(octets, min_size=1, max_size=5), name=st.sampled_from(["text", "json", "rfc5424"]))
def test_a_record_is_one_line_that_gives_the_octets_back(lines, name):
    batch = received(*lines)
    records = FORMATS[name](batch).split(b"\n")
    assert records.pop() == b""
    assert len(records) == len(lines) == batch.count
    for record, line in zip(records, lines, strict=True):
        if name == "json":
            value = json.loads(record)
            text = value["text"].encode()
            assert (unescape(text) if value.get("escaped") else text) == line
        else:
            assert unescape(record.split(b" ", 3 if name == "text" else 7)[-1]) == line


@pytest.mark.parametrize("parse", [None, syslog.parse, jsonlines.parse])
@pytest.mark.parametrize("mark", [None, "split"])
def test_json_is_safe_to_look_at_and_text_is_as_received(parse, mark):
    (value,) = objects(received(NASTY, parse=parse, mark=mark))
    assert value["text"].encode() == NASTY
    assert value.get("mark") == mark
    assert (value["time"], value["service"], value["peer"]) == ("2026-11-20T11:22:33.123456Z", "log", "192.0.2.1:5")
    assert "escaped" not in value


def test_json_all_at_once_and_one_by_one_are_the_same():
    lines = [b"one", b'"\\\t\x01\x7f', "é“”".encode(), b""]
    assert objects(received(*lines)) == [value for line in lines for value in objects(received(line, b"\xff"))[:1]]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("parse", [None, syslog.parse])
def test_lines_are_counted_whatever_the_format(name, parse):
    for lines in ([b""], [b"one", b"", b'"two"'], [b"a\nb", b"c"]):
        batch = received(*lines, parse=parse)
        FORMATS[name](batch)
        assert batch.count == len(lines)


def test_json_of_octets_that_are_no_text():
    (value,) = objects(received(b"a\\\xff"))
    assert (value["text"], value["escaped"]) == ("a\\\\\\xff", True)


def test_json_has_what_was_parsed():
    line = b'<34>1 - host app 1 id [a b="c"] text'
    (value,) = objects(received(line, parse=syslog.parse))
    assert value["text"].encode() == line
    assert [value[name] for name in ("facility", "severity", "host", "app", "procid", "msgid", "data", "message")] == [
        "auth", "crit", "host", "app", "1", "id", {"a": {"b": "c"}}, "text",
    ]  # fmt: skip


def test_a_json_line_keeps_its_numbers_and_cannot_pass_for_ours():
    (value,) = objects(
        received(b' {"time":"forged",\t"n":12345678901234567890.10,"u":"\xc2\x9b"}\r', parse=jsonlines.parse)
    )
    assert value["time"] == "2026-11-20T11:22:33.123456Z"
    assert value["fields"] == {"time": "forged", "n": 12345678901234567890.10, "u": "\x9b"}
    assert b"12345678901234567890.10" in FORMATS["json"](
        received(b'{"n":12345678901234567890.10}', parse=jsonlines.parse)
    )


def test_line_ends_between_the_members_of_a_json_line_make_no_second_record():
    (value,) = objects(received(b'{"a":\n{"time":"forged"}\n}', parse=jsonlines.parse))
    assert value["fields"] == {"a": {"time": "forged"}}


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'"x"', b'{"a":NaN}', b"\xff", b'{"a":"\n"}', b"[" * 100000])
def test_what_is_no_json_object_is_kept_with_the_reason(line):
    (value,) = objects(received(line, b"x", parse=jsonlines.parse))[:1]
    assert "fields" not in value
    assert value["parse_error"].startswith("not ")


def test_rfc5424_keeps_what_was_parsed_and_makes_up_the_rest():
    whole = b'<34>1 2026-01-01T00:00:00Z h a 1 id [x y="\\"\\\\"] m'
    bsd = b"<34>Oct 11 22:14:15 host su[7]: failed"
    records = FORMATS["rfc5424"](received(whole, bsd, b"plain\n\x07", parse=syslog.parse)).split(b"\n")
    assert records[0] == whole
    assert re.fullmatch(rb"<34>1 \d{4}-10-11T22:14:15\S+ host su 7 - - failed", records[1])
    assert records[2] == b"<13>1 2026-11-20T11:22:33.123456Z 192.0.2.1 - - - - plain\\x0a\\x07"


def test_rfc5424_escapes_structured_data_without_breaking_it():
    record = FORMATS["rfc5424"](received(b'<34>1 - - - - - [x y="\\"\x1b"] \\m', parse=syslog.parse))
    assert record == b'<34>1 - - - - - [x y="\\"\\x1b"] \\\\m\n'
    assert syslog.parse(record[:-1])["data"] == {"x": {"y": '"\\x1b'}}


@given(line=octets | octets.map(lambda rest: b"<13>Jan  1 00:00:00 " + rest))
def test_any_line_makes_a_syslog_message(line):
    batch = received(line, parse=syslog.parse)
    made = syslog.parse(message(batch.records[0]))
    if "parse_error" not in batch.records[0].fields:
        assert "parse_error" not in made
        assert made["message"] == batch.records[0].fields["message"].removeprefix(b"\xef\xbb\xbf")


def test_another_charset_is_written_as_utf_8():
    batch = received("你好".encode("gb18030"), charset="gb18030")
    assert FORMATS["text"](batch).endswith(" 你好\n".encode())
    assert objects(batch)[0]["text"] == "你好"
    assert FORMATS["raw"](batch) == "你好\n".encode("gb18030")


def test_a_mark_stands_behind_the_text():
    for name in ("text", "rfc5424"):
        assert FORMATS[name](received(b"half", mark="unterminated")).endswith(b" half\\(unterminated)\n")
        assert FORMATS[name](received(b"half", mark="unterminated", parse=syslog.parse)).endswith(b"\\(unterminated)\n")
