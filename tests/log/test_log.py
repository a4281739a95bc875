"""The daemon's own log: levels, forms, and where it goes."""

import io
import json
import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, LogPublisher, formatEvent, formatTime
from twisted.logger._flatten import flattenEvent
from twisted.python.logfile import LogFile

from multid.log.format import as_dict, journal_entry, json_line, message, text_line
from multid.log.journal import Journal, complain, is_journal
from multid.log.levels import Levels
from multid.log.logbook import Logbook, open_logbook

NASTY = "a\nb\x1b[31m\x00\x9b\u2028\u202e\ud800 日本"


def event(text: str = "{service}: up", level: str = "info", **values):
    given = {"log_level": LogLevel.levelWithName(level), "log_namespace": "multid.daemon.Daemon", "log_time": 1.5}
    return {**given, "log_format": text, "service": "echo", **values}


def failed():
    """An event with a traceback, as Logger.failure makes it."""
    events = []
    log = Logger("multid.test", observer=LogPublisher(events.append))
    try:
        raise ZeroDivisionError("never\x1b")
    except ZeroDivisionError:
        log.failure("a defect in {service}", service="echo")
    return events[0]


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "critical"])
def test_the_level_for_all_lets_pass_itself_and_above(level) -> None:
    order = ["debug", "info", "warn", "error", "critical"]
    for written in order[:4]:
        assert Levels(written).passes(event(level=level)) is (order.index(level) >= order.index(written))


@pytest.mark.parametrize("name", ["echo", "multid", "multid.daemon", "daemon", "multid.daemon.Daemon"])
def test_a_service_or_a_namespace_has_a_level_of_its_own(name) -> None:
    levels = Levels("warn")
    levels.set(name, "debug")
    assert levels.passes(event(level="debug"))
    assert not levels.passes({**event(level="debug"), "service": "time", "log_namespace": "twisted.web"})
    assert levels.as_dict() == {"": "warn", name: "debug"}
    levels.reset(name)
    assert not levels.passes(event(level="info"))


def test_the_nearest_name_decides_and_a_service_before_a_namespace() -> None:
    levels = Levels()
    levels.set("multid", "error")
    levels.set("multid.daemon", "warn")
    assert levels.passes(event(level="warn"))
    levels.set("echo", "error")
    assert not levels.passes(event(level="warn"))
    levels.set("", "debug")
    assert levels.passes({**event(level="debug"), "service": "x", "log_namespace": "other"})


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="a level is debug, info, warn or error, not 'loud'"):
        Levels().set("echo", "loud")


def test_an_event_without_level_or_namespace_is_info() -> None:
    assert Levels().passes({"log_format": "legacy"})
    assert "[-#info] legacy" in text_line({"log_format": "legacy"})


class Unspeakable:
    def __str__(self) -> str:
        raise ValueError("never")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{service} {number:04d} {word!r} {{}}", {"number": 7, "word": "x"}),
        ("{word.real} {words[a]} {words[b].imag}", {"word": 1, "words": {"a": 2, "b": 3}}),
        ("{call()} {word.bit_length()}", {"call": lambda: "called", "word": 1}),
        ("no {such} field", {}),
        ("{word}", {"word": Unspeakable()}),
        (b"{service} in octets", {}),
        ("unbalanced {", {}),
        (None, {}),
    ],
)
def test_a_message_is_what_twisted_makes_of_it(text, values) -> None:
    given = event(text, **values)
    assert message(given).partition(":")[0] == formatEvent(given).partition(":")[0]


def test_a_flattened_event_is_formatted_without_its_values() -> None:
    given = event("{service} {word}", word="x")
    flattenEvent(given)
    del given["word"]
    assert message(given) == "echo x"


def test_the_time_of_a_line_is_that_of_twistd_and_each_second_its_own() -> None:
    for moment in (1_700_000_000.0, 1_700_000_000.999, 1_700_000_001.0, 1_700_000_000.5):
        assert text_line(event(log_time=moment)).startswith(f"{formatTime(moment)} [")
    assert text_line({"log_format": "x"}).startswith("- [")


def test_text_is_one_printable_line_as_twistd_writes_it() -> None:
    line = text_line(event("{service}: {what}", what=NASTY))
    assert line.endswith(r"[multid.daemon.Daemon#info] echo: a\nb\x1b[31m\x00\x9b\u2028\u202e\ud800 日本" + "\n")
    assert line[:-1].isprintable()


def test_a_traceback_follows_its_line_indented_and_escaped() -> None:
    first, *rest = text_line(failed()).splitlines()
    assert first.endswith("[multid.test#critical] a defect in echo")
    assert rest[0].startswith("\tTraceback")
    assert all(line.startswith("\t") and line[1:].isprintable() for line in rest)
    assert as_dict(failed())["traceback"].startswith("Traceback")


def test_a_failure_without_text_says_its_error() -> None:
    assert "] never\\x1b\n" in text_line({**failed(), "log_format": ""})


def test_json_has_the_fields_of_the_event_and_is_printable() -> None:
    line = json_line(event("{peer}: {what}", what=NASTY, peer="127.0.0.1:9", octets=5, other=object(), isError=0))
    assert line[:-1].isprintable()
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "level": "info",
        "namespace": "multid.daemon.Daemon",
        "message": r"127.0.0.1:9: a\nb\x1b[31m\x00\x9b\u2028\u202e\ud800 日本",
        "service": "echo",
        "peer": "127.0.0.1:9",
        "what": NASTY,
        "octets": 5,
    }


@given(st.text())
def test_no_text_makes_a_second_line(text) -> None:
    for line in (text_line(event("{what}", what=text)), json_line(event("{what}", what=text))):
        assert line.count("\n") == 1
        assert line[:-1].isprintable()


def test_a_journal_entry_has_priority_identifier_and_fields() -> None:
    entry = journal_entry(event(level="warn", peer="1.2.3.4:5"), "multid")
    assert entry.split(b"\n")[:-1] == [
        b"MESSAGE=echo: up",
        b"PRIORITY=4",
        b"SYSLOG_IDENTIFIER=multid",
        b"MULTID_NAMESPACE=multid.daemon.Daemon",
        b"MULTID_SERVICE=echo",
        b"MULTID_PEER=1.2.3.4:5",
    ]


def test_a_value_of_several_lines_is_sent_with_its_length() -> None:
    entry = journal_entry(failed(), "multid")
    _, _, rest = entry.partition(b"MULTID_TRACEBACK\n")
    length = int.from_bytes(rest[:8], "little")
    assert rest[8 : 8 + length].startswith(b"Traceback")
    assert rest[8 + length :] == b"\n"


def test_the_journal_takes_entries_and_stderr_what_it_does_not(tmp_path, monkeypatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stderr)
    path = str(tmp_path / "journal")
    journal = Journal(path)
    journal.write(b"MESSAGE=lost\n", "<6>nobody\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(path)
        journal.write(b"MESSAGE=found\n", "<6>found\n")
        assert daemon.recv(100) == b"MESSAGE=found\n"
        journal.write(b"x" * 200_000, "<3>large\n")
    journal.close()
    assert stderr.getvalue() == "<6>nobody\n<3>large\n"


def test_the_journal_is_recognised_by_its_stream() -> None:
    status = os.fstat(2)
    assert is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert not is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
    assert not is_journal({"JOURNAL_STREAM": "x"})
    assert not is_journal({})


def test_without_stderr_there_is_no_journal() -> None:
    program = "import os; os.close(2); from multid.log.journal import is_journal; print(is_journal({}))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_what_stops_the_daemon_is_an_error_in_the_journal_and_plain_elsewhere(monkeypatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stderr)
    complain("one\ntwo", {})
    status = os.fstat(2)
    complain("three", {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
    assert stderr.getvalue() == "one\ntwo\n<3>three\n"
    monkeypatch.setattr(sys, "__stderr__", None)
    complain("nobody reads it", {})


def test_the_logbook_writes_remembers_and_shows() -> None:
    stream, seen = io.StringIO(), []
    logbook = Logbook("json", stream)
    leave = logbook.follow(seen.append)
    logbook(event(level="debug"))
    logbook(event("loud", "error"))
    leave()
    logbook(event("later"))
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud", "later"]
    assert [one["message"] for one in logbook.recent] == ["loud", "later"]
    assert [one["log_format"] for one in seen] == ["{service}: up", "loud"]


def test_the_journal_form_writes_no_time_of_its_own(monkeypatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", stderr)
    monkeypatch.setattr("multid.log.journal.SOCKET", "/nonexistent")
    logbook = Logbook("journal", io.StringIO())
    logbook._journal._path = "/nonexistent"
    logbook(event(level="error"))
    logbook._journal.close()
    assert stderr.getvalue() == "<3>echo: up\n"


def test_twistds_options_say_where_the_log_goes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status = os.fstat(2)
    journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    assert open_logbook(None, "info", {"nodaemon": True}, {}).form == "text"
    assert open_logbook("json", "info", {"nodaemon": True, "logfile": "-"}, {}).form == "json"
    under_systemd = open_logbook(None, "info", {"nodaemon": True}, journal)
    assert under_systemd.form == "journal"
    under_systemd._journal.close()
    assert open_logbook("text", "info", {"nodaemon": True}, journal).form == "text"
    assert open_logbook(None, "info", {"syslog": True}, {}).form == "none"
    with pytest.raises(OSError, match="no stdout"):
        open_logbook(None, "info", {"logfile": "-"}, {})
    to_file = open_logbook("journal", "info", {}, {})
    to_file(event())
    (tmp_path / "twistd.log").rename(tmp_path / "old.log")
    to_file.reopen()
    to_file(event("after"))
    assert "echo: up" in (tmp_path / "old.log").read_text()
    assert (tmp_path / "twistd.log").read_text().endswith("] after\n")
    assert isinstance(to_file._destination, LogFile)
    to_file._destination.close()


def test_where_another_observer_writes_the_logbook_only_remembers() -> None:
    stream = io.StringIO()
    logbook = Logbook("none", stream)
    logbook(event())
    logbook.reopen()
    assert stream.getvalue() == ""
    assert len(logbook.recent) == 1
