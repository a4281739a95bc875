"""The journal's native protocol, spoken to a socket of the test's own."""

import os
import socket
from contextlib import suppress

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from multid.lines import syslog
from multid.lines.journal import Journal, entry
from multid.lines.ledger import Ledger
from multid.lines.record import Batch, Received, Source
from multid.lines.splitter import pack


def fields(data: bytes) -> dict[str, bytes]:
    """What journald reads."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        found[name.decode()] = value
    return found


def source(parse=None) -> Source:
    return Source("log", "192.0.2.1:5", "192.0.2.1", parse=parse)


def sent(line: bytes, parse=None, mark=None) -> dict[str, bytes]:
    return fields(entry(Received(0.0, source(parse), pack([line], 0, mark)).records[0]))


def test_a_plain_line():
    assert sent(b"text") == {
        "MESSAGE": b"text",
        "PRIORITY": b"5",
        "SYSLOG_FACILITY": b"1",
        "SYSLOG_IDENTIFIER": b"log",
        "MULTID_SERVICE": b"log",
        "MULTID_PEER": b"192.0.2.1:5",
        "MULTID_HOST": b"192.0.2.1",
    }


def test_a_syslog_message_with_all_that_was_parsed():
    line = b"<34>Oct 11 22:14:15 host su[7]: \x1bfailed"
    found = sent(line, syslog.parse)
    assert (found["MESSAGE"], found["SYSLOG_RAW"]) == (b"\\x1bfailed", line)
    assert (found["PRIORITY"], found["SYSLOG_FACILITY"]) == (b"2", b"4")
    assert (found["SYSLOG_IDENTIFIER"], found["SYSLOG_PID"], found["MULTID_HOST"]) == (b"su", b"7", b"host")


def test_no_line_can_add_a_field():
    line = b"x\nPRIORITY=0\nMULTID_PEER=forged"
    found = sent(line)
    assert found["MESSAGE"] == b"x\\x0aPRIORITY=0\\x0aMULTID_PEER=forged"
    assert found["SYSLOG_RAW"] == line
    assert (found["PRIORITY"], found["MULTID_PEER"]) == (b"5", b"192.0.2.1:5")


def test_a_mark_stands_behind_the_message():
    assert sent(b"half", mark="unterminated")["MESSAGE"] == b"half\\(unterminated)"


class Journald:
    def __init__(self, path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)

    def take(self) -> dict[str, bytes]:
        data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
        if descriptors:
            data = os.pread(descriptors[0], 1 << 30, 0)
            os.close(descriptors[0])
        return fields(data)

    def take_all(self) -> list[bytes]:
        taken = []
        with suppress(BlockingIOError):
            while True:
                taken.append(self.take()["MESSAGE"])
        return taken

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A short path: that of a UNIX socket may not be long."""
    monkeypatch.chdir(tmp_path)
    return tmp_path.joinpath("journal").relative_to(tmp_path)


class Rig:
    def __init__(self, path) -> None:
        self.clock = Clock()
        self.pressure: list[bool] = []
        self.ledger = Ledger()
        self.output = Journal("log", path, "pause", self.clock, self.pressure.append)
        self.output.open()
        self.output.start()
        self.output.reopen()

    def write(self, *lines: bytes) -> None:
        packed = pack(list(lines), sum(map(len, lines)) + len(lines))
        self.output.write(Batch(0.0, source(), packed, self.ledger))

    def close(self) -> None:
        assert Deferred.fromCoroutine(self.output.close()).called


def test_each_line_is_an_entry_however_long(path):
    journald = Journald(path)
    rig = Rig(path)
    rig.write(b"one", b"x" * 1_000_000, b"two")
    assert [journald.take()["MESSAGE"] for _ in range(3)] == [b"one", b"x" * 1_000_000, b"two"]
    assert rig.ledger.written_lines == 3
    rig.close()
    journald.close()


def test_while_journald_takes_no_more_peers_wait_and_nothing_is_lost(path, logged):
    journald = Journald(path)
    rig = Rig(path)
    lines = [b"%d" % number for number in range(2000)]
    rig.write(*lines)
    assert rig.pressure == [True]
    assert rig.output.status()["waiting_lines"] > 0
    taken = []
    while rig.pressure == [True]:
        taken += journald.take_all()
        rig.clock.advance(0.01)
    taken += journald.take_all()
    assert taken == lines
    assert rig.pressure == [True, False]
    assert logged == []  # it did not last
    rig.close()
    journald.close()


def test_journald_may_come_later(path, logged):
    rig = Rig(path)
    rig.write(b"early")
    rig.clock.pump([0.01] * 120)
    journald = Journald(path)
    rig.clock.advance(0.01)
    assert journald.take()["MESSAGE"] == b"early"
    assert len(logged) == 2
    rig.close()
    journald.close()
