"""Breaks the daemon on purpose: each build is a defect that a campaign must find.

Python imports this file when a process starts, for its folder is in PYTHONPATH; only twistd is broken.
"""

import os
import sys
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
    import time

    from twisted.internet import base

    base.ReactorBase.seconds = lambda self: time.time()
    base.ReactorBase.__getattribute__ = lambda self, name: (
        time.time if name == "seconds" else object.__getattribute__(self, name)
    )


@build
def retries_by_the_wall_clock() -> None:
    from multid.mail.retry import RetryPolicy

    RetryPolicy.wait = lambda self, due, now: max(0.0, due - now)
    RetryPolicy.delay = lambda self, attempts, random: 3600.0


@build
def answers_nobody_asked_for() -> None:
    from multid.mail.conversation import Conversation

    def believe(self, data):
        self._replies.extend(self._parser.feed(data))
        self._wake()

    Conversation.dataReceived = believe


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

    append, count = LogFile.append, iter(range(1 << 40))
    LogFile.append = lambda self, data: append(self, data) if next(count) % 50 else len(data)


@build
def no_stall_timeout() -> None:
    from multid.net.transport import StreamTransport

    StreamTransport.check = lambda self, now: None


if any(argument.endswith("/twistd") for argument in sys.orig_argv):
    BUILDS[os.environ["BROKEN_BUILD"]]()
