"""The next hop: everything arrives once, in order, however often it goes away."""

import os
import socket
from contextlib import suppress
from itertools import pairwise, product
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThreadPool

from multid.config.target import parse_target
from multid.lines import backlog as backlogs
from multid.lines import forward, hop, syslog
from multid.lines.backlog import MemoryBacklog, Spool
from multid.lines.datagrams import DatagramForwarder
from multid.lines.forward import Forwarder, ForwardOptions
from multid.lines.frames import encode, whole
from multid.lines.framing import make_splitter
from multid.lines.ledger import Ledger
from multid.lines.record import Batch, Source
from multid.lines.splitter import pack

HEADER = b"<13>1 1970-01-01T00:00:00.000000Z 192.0.2.1 log - - - "


def batch(*lines: bytes, ledger: Ledger | None = None, parse=None) -> Batch:
    packed = pack(list(lines), sum(map(len, lines)) + len(lines))
    return Batch(0.0, Source("log", "192.0.2.1:5", "192.0.2.1", parse=parse), packed, ledger or Ledger())


class Collector:
    """A next hop that can go away: it listens, takes connections one after another, and keeps what they send."""

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self.connection: socket.socket | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]

    def go(self, *, reset: bool = False) -> None:
        self.listener.close()
        if self.connection is not None:
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.close()
        self.connection = None

    def come(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.listener.setblocking(False)

    def take(self) -> None:
        """Read what is there."""
        with suppress(OSError):
            if self.connection is None:
                self.connection, _ = self.listener.accept()
                self.connection.setblocking(False)
                self.received.append(bytearray())
            while data := self.connection.recv(1 << 20):
                self.received[-1] += data
            self.connection.close()
            self.connection = None


class Rig:
    def __init__(self, loop, **options) -> None:
        self.loop = loop
        self.collector = Collector()
        self.ledger = Ledger()
        self.pressure: list[bool] = []
        self.options = {"framing": "lf", "format": "raw", **options}
        self.begin()

    def begin(self) -> None:
        target = parse_target(f"tcp:127.0.0.1:{self.collector.port}")
        self.output = Forwarder(
            "log", ForwardOptions(target, **self.options), self.loop, maybeDeferred, self.pressure.append
        )
        self.output.open()
        self.output.start()

    def write(self, *lines: bytes) -> None:
        self.output.write(batch(*lines, ledger=self.ledger))

    def until(self, condition) -> None:
        def turned() -> bool:
            self.collector.take()
            self.loop.now += 0.05
            return condition()

        self.loop.until(turned)

    def until_received(self, data: bytes) -> None:
        self.until(lambda: b"".join(self.collector.received) == data)

    def close(self) -> None:
        closing = Deferred.fromCoroutine(self.output.close())
        self.until(lambda: closing.called)
        assert not self.ledger.pending
        self.collector.go()


@pytest.fixture
def rig(loop):
    rigs = []

    def make(**options) -> Rig:
        rigs.append(Rig(loop, **options))
        return rigs[-1]

    yield make
    for one in rigs:
        one.close()


@pytest.mark.parametrize("spooled", [False, True])
def test_lines_arrive_and_are_settled(rig, tmp_path, spooled):
    one = rig(spool=tmp_path / "spool" if spooled else None)
    one.write(b"one", b"two")
    one.until_received(b"one\ntwo\n")
    one.write(b"three")
    one.until_received(b"one\ntwo\nthree\n")
    one.until(lambda: one.output.status() == {
        "forward": f"tcp:127.0.0.1:{one.collector.port}", "problem": "", "waiting_octets": 0
    })  # fmt: skip
    assert one.ledger.written_lines == 3


@pytest.mark.parametrize("how", list(product([False, True], [False, True], ["lf", "octet-counted"])))
def test_a_peer_that_goes_away_and_comes_back_gets_every_line_once(rig, tmp_path, logged, how):
    reset, spooled, framing = how
    one = rig(spool=tmp_path / "spool" if spooled else None, framing=framing)
    sent = [b"%030d" % number for number in range(3000)]
    for number, line in enumerate(sent):
        one.write(line)
        if number in (500, 1500):
            one.until(lambda: not one.output.status()["waiting_octets"])
            one.collector.go(reset=reset)
        elif number in (1000, 2000):
            one.until(lambda: one.output.status()["problem"])
            one.collector.come()
    splitter = make_splitter(framing)

    def lines() -> list[bytes]:
        splitter = make_splitter(framing)
        return [line for data in one.collector.received for some in splitter.feed(bytes(data)) for line in some]

    one.until(lambda: len(lines()) >= len(sent))
    assert lines() == sent
    assert splitter.pending == 0
    said = [event["what"] for event in logged if "what" in event]
    assert len(said) == 4
    assert "wait" in said[0]
    assert "reached after" in said[1]


def test_what_the_peer_had_not_acknowledged_is_sent_again_from_the_beginning_of_a_message(rig):
    """The peer takes some, then breaks the connection with most of it on the way."""
    one = rig()
    one.until(lambda: one.collector.connection)
    one.collector.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sent = [b"%099d" % number for number in range(30_000)]
    for at in range(0, len(sent), 1000):
        one.output.write(batch(*sent[at : at + 1000], ledger=one.ledger))
    for _ in range(50):
        one.loop.turn()
    one.collector.go(reset=True)
    one.collector.come()
    one.until(lambda: not one.output.status()["waiting_octets"])
    first, second = (bytes(data).splitlines() for data in one.collector.received)
    assert second[-1] == sent[-1]
    assert second == sent[sent.index(second[0]) :]
    lost = sent.index(second[0]) - sum(line in set(first) for line in sent[: sent.index(second[0])])
    assert 100 * lost <= 8 << 20  # no more than what the peer's kernel had acknowledged and its program had not read


@pytest.mark.parametrize("framing", ["lf", "octet-counted"])
def test_a_peer_that_says_that_it_leaves_gets_everything_exactly_once(rig, framing):
    """It ends its half, reads to the end, and comes back."""
    one = rig(framing=framing)
    one.until(lambda: one.collector.connection)
    sent = [b"%0999d" % number for number in range(20_000)]
    for at in range(0, len(sent), 500):
        one.write(*sent[at : at + 500])
        if at == 5000:
            one.collector.connection.shutdown(socket.SHUT_WR)
        one.loop.turn()
        if at % 2000 == 0:
            one.collector.take()
    one.until(lambda: not one.output.status()["waiting_octets"])
    one.collector.take()
    splitters = [make_splitter(framing) for _ in one.collector.received]
    found = [
        line
        for splitter, data in zip(splitters, one.collector.received, strict=True)
        for some in [*splitter.feed(bytes(data)), *splitter.end()]
        for line in some
    ]
    assert len(one.collector.received) == 2
    assert found == sent


def test_a_full_backlog_makes_peers_wait_until_there_is_room(rig, monkeypatch, logged):
    monkeypatch.setattr(forward, "MEMORY", 1000)
    one = rig()
    one.until(lambda: one.collector.connection)
    one.collector.go()
    one.until(lambda: one.output.status()["problem"])
    for number in range(30):
        one.write(b"%099d" % number)
    assert one.pressure == [True]
    one.collector.come()
    one.until_received(b"".join(b"%099d\n" % number for number in range(30)))
    one.until(lambda: one.pressure == [True, False])


def test_a_full_backlog_drops_and_counts_where_told_to(rig, monkeypatch):
    monkeypatch.setattr(forward, "MEMORY", 1000)
    one = rig(on_full="drop")
    one.collector.go()
    for number in range(30):
        one.write(b"%099d" % number)
    assert one.pressure == []
    assert dict(one.ledger.dropped_lines) == {"away": 19}
    one.collector.come()
    one.until_received(b"".join(b"%099d\n" % number for number in range(11)))
    one.until(lambda: not one.ledger.pending)


def test_a_spool_outlives_a_restart(rig, tmp_path):
    one = rig(spool=tmp_path / "spool")
    one.collector.go()
    one.write(b"one", b"two")
    assert one.ledger.written_lines == 2
    one.loop.result(one.output.close())
    one.collector.come()
    one.begin()
    one.write(b"three")
    one.until_received(b"one\ntwo\nthree\n")
    one.until(lambda: not one.output.status()["waiting_octets"])
    one.loop.result(one.output.close())
    one.begin()
    one.write(b"four")
    one.until_received(b"one\ntwo\nthree\nfour\n")


def test_what_memory_holds_at_the_end_is_counted_and_said(loop, logged):
    one = Rig(loop)
    one.collector.go()
    one.write(b"one")
    one.close()
    assert dict(one.ledger.dropped_lines) == {"away": 1}
    assert [event["lines"] for event in logged if "lines" in event] == [1]


class Unreachable:
    """An endpoint that nobody answers."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.calls: list[float] = []

    def connect(self, _factory) -> Deferred:
        self.calls.append(self.clock.seconds())
        return fail(ConnectionRefusedError("refused"))


def test_calls_are_repeated_after_longer_and_longer(logged, monkeypatch):
    clock = Clock()
    endpoint = Unreachable(clock)
    monkeypatch.setattr(hop, "HostnameEndpoint", lambda *_, **__: endpoint)
    output = Forwarder("log", ForwardOptions(parse_target("tcp:a:1")), clock, maybeDeferred, lambda waits: None)
    output.start()
    clock.pump([0.5] * 500)
    assert [later - sooner for sooner, later in pairwise(endpoint.calls)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert len(logged) == 1


def test_datagrams_are_one_line_each(loop):
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", 0))
    receiver.setblocking(False)
    hop = parse_target(f"udp:localhost:{receiver.getsockname()[1]}")
    in_thread = lambda work: deferToThreadPool(loop, loop.getThreadPool(), work)  # noqa: E731
    output = DatagramForwarder("log", ForwardOptions(hop), loop, in_thread)
    output.open()
    ledger = Ledger()
    output.write(batch(b"too early", ledger=ledger))
    output.start()
    loop.until(lambda: output._socket)
    output.write(batch(b"one", b"x" * 70000, b"two\nthree", ledger=ledger))
    assert [receiver.recv(65536) for _ in range(2)] == [HEADER + b"one", HEADER + b"two\nthree"]
    assert dict(ledger.dropped_lines) == {"unsent": 2}
    assert dict(ledger.dropped_octets) == {"unsent": len("too early\n") + 70001}
    assert ledger.written_lines == 2
    receiver.close()
    for _ in range(3):
        output.write(batch(b"nobody listens", ledger=ledger))
    assert not ledger.pending
    loop.result(output.close())


def test_an_address_is_sent_to_from_the_first_line_on(loop):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        options = ForwardOptions(parse_target(f"udp:127.0.0.1:{receiver.getsockname()[1]}"), format="raw")
        output = DatagramForwarder("log", options, loop, lambda _work: Deferred())
        output.start()
        output.write(batch(b"first"))
        assert receiver.recv(100) == b"first"
        loop.result(output.close())


def test_a_name_that_is_not_known_is_said_once(loop, logged):
    in_thread = lambda work: deferToThreadPool(loop, loop.getThreadPool(), work)  # noqa: E731
    output = DatagramForwarder("log", ForwardOptions(parse_target("udp:nowhere.invalid:514")), loop, in_thread)
    output.start()
    loop.until(lambda: output.status()["problem"])
    loop.now += 61
    loop.runUntilCurrent()
    loop.until(lambda: output._resolving is None)
    assert len([event for event in logged if "why" in event]) == 1
    loop.result(output.close())


def test_frames():
    lines = batch(b"one", b"t\nwo", b"")
    assert encode(lines, "raw", "octet-counted") == b"3 one4 t\nwo0 "
    assert encode(lines, "raw", "lf") == b"one\nt\\x0awo\n\n"
    assert encode(batch(b"one"), "rfc5424", "lf") == HEADER + b"one\n"
    parsed = batch(b"<34>Oct 11 22:14:15 host su[7]: no", parse=syslog.parse)
    assert b" host su 7 - - no" in encode(parsed, "rfc5424", "octet-counted")
    for framing, data, ends in (("lf", b"ab\n\nc\n", [3, 4, 6]), ("octet-counted", b"2 ab0 1 c", [4, 6, 9])):
        for upto in range(len(data) + 1):
            assert whole(data, framing, upto) == max([0, *(end for end in ends if end <= upto)])
        assert whole(data + b"9 x", framing) == len(data)


@pytest.mark.parametrize("make", ["memory", "spool"])
def test_a_backlog_hands_out_again_what_is_not_done(tmp_path, make):
    backlog = MemoryBacklog(1000, "lf") if make == "memory" else Spool(tmp_path / "spool", 1000, "lf")
    for line in (b"one", b"two", b"three"):
        assert backlog.put(line + b"\n", batch(line))
    assert backlog.octets == 14

    def read() -> bytes:
        return b"".join(iter(backlog.read, b""))

    assert read() == b"one\ntwo\nthree\n"
    backlog.done(6)
    backlog.rewind()
    assert read() == b"two\nthree\n"
    backlog.done(10)
    assert (backlog.octets, read()) == (0, b"")
    backlog.rewind()
    assert backlog.put(b"four\n", batch(b"four"))
    assert read() == b"four\n"
    backlog.close()


def test_a_spool_of_many_files_is_bounded_and_leaves_none_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(backlogs, "SEGMENT", 100)
    monkeypatch.setattr(backlogs, "PIECE", 7)
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000, "lf")
    sent = b""
    for number in range(40):
        if spool.put(b"%024d\n" % number, batch(b"")):
            sent += b"%024d\n" % number
    assert len(sent) == spool.octets == 1000
    assert len(list(folder.iterdir())) == 10
    read = b""
    while data := spool.read():
        read += data
        spool.done(len(data))
        save = spool.saving()
        if save is not None:
            save()
    assert read == sent
    assert sorted(path.name for path in folder.iterdir()) == ["0000000000000009", "position"]
    spool.close()


def test_a_spool_cuts_off_what_a_crash_left_half_written(tmp_path):
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000, "octet-counted")
    spool.put(b"3 one3 two", batch(b"one", b"two"))
    os.write(spool._writing, b"5 thr")
    again = Spool(folder, 1000, "octet-counted")
    assert again.octets == 10
    again.put(b"4 four", batch(b"four"))
    assert b"".join(iter(again.read, b"")) == b"3 one3 two4 four"
    for each in (spool, again):
        each.close()


def test_messages_are_durable_before_the_place_up_to_which_they_arrived(tmp_path, monkeypatch):
    """And a file goes only when that place is; nothing new costs nothing."""
    monkeypatch.setattr(backlogs, "SEGMENT", 10)
    folder = tmp_path / "spool"
    done: list[str] = []
    spool = Spool(folder, 1000, "lf")
    spool.saving()()
    sync, rename, unlink = os.fsync, os.rename, os.unlink
    monkeypatch.setattr("os.fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(Path, "rename", lambda path, to: (done.append(f"rename {path}"), rename(path, to)))
    monkeypatch.setattr(Path, "unlink", lambda path: (done.append(f"unlink {path}"), unlink(path)))
    spool.put(b"first\n", batch(b"first"))
    spool.put(b"second\n", batch(b"second"))
    for _ in range(2):
        spool.done(len(spool.read()))
    spool.read()
    spool.saving()()
    assert {str(folder), *(f"{folder}/{number:016d}" for number in (0, 1))} == set(done[:3])
    assert done[3:] == [
        f"{folder}/position.tmp", f"rename {folder}/position.tmp", str(folder), f"unlink {folder}/{0:016d}",
    ]  # fmt: skip
    assert spool.saving() is None
    spool.close()


def test_a_save_that_comes_after_the_end_leaves_the_spool_to_its_next_user(tmp_path):
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000, "lf")
    spool.put(b"one\n", batch(b"one"))
    late = spool.saving()
    spool.close()
    again = Spool(folder, 1000, "lf")
    again.done(len(again.read()))
    again.close()
    late()
    last = Spool(folder, 1000, "lf")
    assert last.read() == b""
    last.close()


def test_a_spool_that_cannot_be_made_durable_is_said_once(rig, tmp_path, monkeypatch, logged):
    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    one = rig(spool=tmp_path / "spool")
    one.write(b"one")
    one.until_received(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        for line in (b"two", b"three"):
            one.write(line)
            one.loop.now += 1
            one.loop.runUntilCurrent()
        assert one.output.status()["problem"] == "spool: Input/output error"
    assert len([event for event in logged if "may lose" in str(event.get("what"))]) == 1
    one.until(lambda: not one.output.status()["problem"])
    one.until_received(b"one\ntwo\nthree\n")


def test_a_spool_that_cannot_be_read_for_a_while_loses_and_doubles_nothing(rig, tmp_path, monkeypatch):
    """As when there is no descriptor to spare, also at the moment at which the connection breaks."""

    def fails(*_: object) -> bytes:
        raise OSError(24, "Too many open files")

    one = rig(spool=tmp_path / "spool")
    one.write(b"one")
    one.until_received(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr(Spool, "_read_piece", fails)
        one.collector.go()
        one.write(b"two")
        one.until(lambda: one.output._link is None)
        one.write(b"three")
        one.collector.come()
        one.until(lambda: one.output._link is not None)
        assert one.output.status()["problem"] == "spool: Too many open files"
    one.until_received(b"one\ntwo\nthree\n")
    one.until(lambda: not one.output.status()["problem"])


@pytest.mark.parametrize("position", ["", "nonsense", "7 0", "0 99999"])
def test_a_position_that_cannot_be_right_means_the_beginning(tmp_path, position):
    folder = tmp_path / "spool"
    spool = Spool(folder, 1000, "lf")
    spool.put(b"one\n", batch(b"one"))
    spool.close()
    (folder / "position").write_text(position)
    again = Spool(folder, 1000, "lf")
    assert again.read() == b"one\n"
    again.close()


def test_a_spool_whose_disk_is_full_keeps_whole_messages(rig, tmp_path):
    from tests.lines.test_writer import largest_file

    one = rig(spool=tmp_path / "spool")
    one.collector.go()
    one.write(b"one")
    with largest_file(10):
        one.write(b"x" * 20)
        assert one.pressure == [True]
        assert one.output.status()["problem"] == "spool: File too large"
    one.collector.come()
    one.until_received(b"one\n" + b"x" * 20 + b"\n")
    one.until(lambda: one.pressure == [True, False])


def test_where_a_spool_cannot_be_used_lines_are_kept_in_memory(rig, tmp_path, logged):
    (tmp_path / "spool" / f"{0:016d}").mkdir(parents=True)
    one = rig(spool=tmp_path / "spool")
    one.write(b"one")
    assert one.output.status()["problem"] == "spool: Is a directory"
    assert len([event for event in logged if "kept in memory" in str(event.get("what"))]) == 1
    one.until_received(b"one\n")


def test_a_spool_whose_disk_fails_at_the_end_is_said(loop, tmp_path, monkeypatch, logged):
    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    one = Rig(loop, spool=tmp_path / "spool")
    one.write(b"one")
    one.until_received(b"one\n")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        one.close()
    assert [event["what"] for event in logged if "spool" in str(event.get("what"))] == [
        "spool: Input/output error; some lines may come twice, or be lost if the machine crashes"
    ]


def test_a_spool_that_cannot_be_written_is_told_at_once(loop, tmp_path):
    (tmp_path / "file").write_text("")
    options = ForwardOptions(parse_target("tcp:a:1"), spool=tmp_path / "file" / "spool")
    with pytest.raises(OSError, match="file"):
        Forwarder("log", options, loop, maybeDeferred, lambda waits: None).open()


def test_a_peer_that_takes_nothing_has_some_time_when_we_stop(loop, logged):
    """What it has not taken by then is counted as lost."""
    one = Rig(loop)
    one.until(lambda: one.collector.connection and one.output._link)
    one.collector.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.write(*[b"x" * 60_000] * 60)
    closing = Deferred.fromCoroutine(one.output.close())
    loop.turn()
    assert not closing.called
    loop.now += forward.FAREWELL
    loop.until(lambda: closing.called)
    assert dict(one.ledger.dropped_lines) == {"away": 60}
    one.collector.go()


def test_a_peer_that_goes_while_we_stop_is_not_waited_for(loop):
    one = Rig(loop)
    one.until(lambda: one.collector.connection and one.output._link)
    one.collector.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.write(*[b"x" * 60_000] * 60)
    closing = Deferred.fromCoroutine(one.output.close())
    one.collector.go(reset=True)
    loop.until(lambda: closing.called)


def test_reopening_and_putting_away_mean_nothing_to_a_next_hop(rig, loop):
    one = rig()
    one.output.reopen()
    assert one.output.rotate() == []
    datagrams = DatagramForwarder("log", ForwardOptions(parse_target("udp:127.0.0.1:9")), loop, lambda work: Deferred())
    datagrams.reopen()
    datagrams.go_on()
    assert (datagrams.rotate(), datagrams.is_idle) == ([], True)


def test_a_name_that_means_another_address_is_followed(loop, monkeypatch):
    receivers = {}
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.2")):
        receivers[host] = (family, socket.socket(family, socket.SOCK_DGRAM))
        receivers[host][1].bind((host, 0))
    found: list[tuple] = []
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [found.pop()])
    in_thread = lambda work: maybeDeferred(work)  # noqa: E731, PLW0108
    output = DatagramForwarder("log", ForwardOptions(parse_target("udp:a:1"), format="raw"), loop, in_thread)
    for host, (family, receiver) in receivers.items():
        found.append((family, None, None, None, receiver.getsockname()))
        output._timer = output._timer and output._timer.cancel()
        output.start()
        output.write(batch(host.encode()))
        assert receiver.recv(100) == host.encode()
        receiver.close()
    loop.result(output.close())
