"""Breaks the daemon on purpose: each build is a defect that a campaign must find.

Python imports this file when a process starts, for its folder is in PYTHONPATH; only twistd is broken, and by its
fixture the campaign itself, for those that need no daemon.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable

BUILDS: dict[str, Callable[[], None]] = {}


def build(breaks: Callable[[], None]) -> Callable[[], None]:
    BUILDS[breaks.__name__] = breaks
    return breaks


@build
def rows_without_fsync() -> None:
    from multid.mail import spool_sqlite

    spool_sqlite._SETTINGS = spool_sqlite._SETTINGS.replace("FULL", "OFF")


@build
def files_without_fsync() -> None:
    from multid.mail import durable

    durable.os = type("os", (), {**vars(os), "fsync": lambda descriptor: None})


@build
def names_without_fsync() -> None:
    from multid.mail import durable

    durable.sync_directory = lambda path: None


@build
def acknowledged_before_commit() -> None:
    from twisted.internet.defer import succeed

    from multid.mail.group_commit import GroupCommit

    submit = GroupCommit.submit

    def at_once(self, change):
        submit(self, change).addErrback(lambda failure: None)
        return succeed(None)

    GroupCommit.submit = at_once


@build
def contents_written_blindly() -> None:
    from multid.mail.durable import DurableFile

    write = DurableFile.write

    def blindly(self, parts):
        try:
            write(self, parts)
        except OSError:
            pass

    DurableFile.write = blindly


@build
def failures_are_acknowledged() -> None:
    from multid.mail.inbound import Inbound
    from multid.mail.reply import Reply

    Inbound._failed = lambda self, failure: Reply(250, "2.0.0", "Ok: queued")


@build
def lines_written_blindly() -> None:
    from multid.lines.logfile import LogFile

    append = LogFile.append

    def blindly(self, data):
        try:
            append(self, data)
        except OSError:
            pass
        return len(data)

    LogFile.append = blindly


@build
def no_budget_of_descriptors() -> None:
    from multid.net.descriptors import Descriptors

    Descriptors.available = property(lambda self: 1)


@build
def timers_by_the_wall_clock() -> None:
    from twisted.internet import base

    base.ReactorBase.seconds = lambda self: time.time()
    base.ReactorBase.__getattribute__ = lambda self, name: (
        time.time if name == "seconds" else object.__getattribute__(self, name)
    )


@build
def retries_by_the_wall_clock() -> None:
    from multid.mail.retry import RetryPolicy

    RetryPolicy.wait = lambda self, due, now: max(0.0, due - now)


@build
def answers_nobody_asked_for() -> None:
    from multid.mail.conversation import Conversation
    from multid.mail.outbound import Connection

    received = Conversation.dataReceived

    def believe(self, data):
        self._expected = 1 << 20
        received(self, data)

    Conversation.dataReceived = believe
    Connection._stop_if_answered = lambda self: None


@build
def replies_without_bounds() -> None:
    from multid.mail import reply

    reply.MAX_LINES = reply.MAX_LINE = 1 << 40


@build
def connections_dropped_on_reload() -> None:
    from multid.net.service import NetworkService

    commit = NetworkService._commit

    def dropping(self, config, added):
        commit(self, config, added)
        self.abort()

    NetworkService._commit = dropping


@build
def descriptor_lost_on_reload() -> None:
    from multid.net.service import NetworkService

    commit = NetworkService._commit

    def losing(self, config, added):
        commit(self, config, added)
        os.open("/dev/null", os.O_RDONLY)

    NetworkService._commit = losing


@build
def no_budget_of_a_turn() -> None:
    from multid.net import datagram

    datagram._DATAGRAMS_A_TURN = datagram._OCTETS_A_TURN = 1 << 40


@build
def a_batch_lost_now_and_then() -> None:
    from multid.lines.logfile import LogFile

    append, count = LogFile.append, itertools.count()
    LogFile.append = lambda self, data: append(self, data) if next(count) % 50 else len(data)


@build
def no_stall_timeout() -> None:
    from multid.net.transport import StreamTransport

    StreamTransport.check = lambda self, now: None


@build
def what_waits_is_dropped() -> None:
    from multid.lines.waiting import WaitingOutput

    go_on = WaitingOutput.go_on

    def dropping(self):
        self._jobs.clear()
        go_on(self)

    WaitingOutput.go_on = dropping


@build
def lines_without_fsync() -> None:
    from multid.lines import logfile

    logfile.os = type("os", (), {**vars(os), "fdatasync": lambda descriptor: None})


@build
def log_names_without_fsync() -> None:
    from multid.lines import logfile

    logfile.sync_path = lambda path: None


@build
def torn_records_are_not_ended() -> None:
    from multid.lines.logfile import LogFile

    def tear(self):  # kills that cut a record are too rare
        if self.size:
            self.size -= 1
            os.ftruncate(self._descriptor, self.size)

    LogFile._mend = tear


@build
def compression_on_the_reactors_thread() -> None:
    from twisted.internet.defer import maybeDeferred

    from multid.services import logger

    logger.deferToThreadPool = lambda reactor, pool, work: maybeDeferred(work)


@build
def arrivals_are_forgotten() -> None:
    from multid.lines.backlog import Spool

    Spool.done = lambda self, octets: None


@build
def a_next_hop_is_called_once() -> None:
    from multid.lines.hop import Hop

    Hop.call_again = lambda self: None


@build
def reads_until_there_is_no_more() -> None:
    from multid.net.transport import StreamTransport

    read = StreamTransport.doRead

    def greedily(self):
        until, before, why = time.monotonic() + 1, -1, None
        while before != self.received_bytes and why is None and time.monotonic() < until:
            before = self.received_bytes
            why = read(self)
        return why

    StreamTransport.doRead = greedily


@build
def a_millisecond_for_each_read() -> None:
    from multid.net.transport import StreamTransport

    deliver = StreamTransport.deliver

    def slowly(self, data):
        time.sleep(0.001)
        deliver(self, data)

    StreamTransport.deliver = slowly


@build
def the_end_of_input_is_the_end() -> None:
    from multid.net.transport import StreamTransport

    StreamTransport.readConnectionLost = lambda self, reason: self.abort("done")


@build
def echo_reads_faster_than_it_is_read() -> None:
    from multid.services.echo import Echo

    Echo.connectionMade = lambda self: None


@build
def a_descriptor_lost_now_and_then() -> None:
    from multid.net.service import NetworkService

    disconnected, count = NetworkService.disconnected, itertools.count()

    def losing(self, transport):
        disconnected(self, transport)
        if next(count) % 100 == 0:
            os.open("/dev/null", os.O_RDONLY)

    NetworkService.disconnected = losing


@build
def lines_fail_at_odd_octets() -> None:
    from multid.services.logger import LineCollector

    received = LineCollector.dataReceived

    def failing(self, data):
        if b"\0" in data:
            raise ValueError("NUL")
        received(self, data)

    LineCollector.dataReceived = failing


@build
def lines_are_lost_where_chunks_begin_with_their_end() -> None:
    from multid.lines.splitter import Splitter

    feed = Splitter.feed

    def losing(self, chunk):
        if chunk[:1] in {b"\n", b"\0"}:
            self._held.clear()
        return feed(self, chunk)

    Splitter.feed = losing


@build
def contents_kept_in_memory() -> None:
    from multid.mail.incoming import DiskIncoming

    append, kept = DiskIncoming.append, []

    def keeping(self, data):
        kept.append(bytes(bytearray(data)))
        return append(self, data)

    DiskIncoming.append = keeping


@build
def read_only_is_not_looked_for() -> None:
    from multid.mail import spool_sqlite

    spool_sqlite.os = type("os", (), {**vars(os), "ST_RDONLY": 0})


@build
def a_mail_lost_now_and_then() -> None:
    from twisted.internet.defer import succeed

    from multid.mail.spool_sqlite import SqliteSpool

    insert, count = SqliteSpool.insert, itertools.count(1)
    SqliteSpool.insert = lambda self, *mail: insert(self, *mail) if next(count) % 50 else succeed(None)


@build
def a_delivery_forgotten_now_and_then() -> None:
    from multid.mail import schema

    delete, count = schema.delete, itertools.count()
    schema.delete = lambda rows, numbers: delete(rows, [number for number in numbers if next(count) % 5])


@build
def metrics_at_any_price() -> None:
    from multid.admin import share
    from multid.admin.metrics import Metrics

    text = Metrics.text

    def dearly(self):
        time.sleep(0.03)
        return text(self)

    Metrics.text = dearly
    share.SHARE = share.BURST = 1e6


@build
def a_third_mail_is_never_looked_at() -> None:
    from multid.mail.agenda import Agenda

    put = Agenda.put
    Agenda.put = lambda self, id_, at: put(self, id_, at) if len(self) != 2 else None


@build
def no_limit_of_commands() -> None:
    from multid.mail import dialogue

    dialogue.SPARE_COMMANDS = 1 << 40


if any(argument.endswith("/twistd") for argument in sys.orig_argv):
    BUILDS[os.environ["BROKEN_BUILD"]]()
