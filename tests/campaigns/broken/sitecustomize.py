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
def mail_without_fsync() -> None:
    from multid.mail import durable, spool_sqlite

    spool_sqlite._SETTINGS = spool_sqlite._SETTINGS.replace("FULL", "OFF")
    durable.os = type("os", (), {**vars(os), "fsync": lambda descriptor: None})


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


if any(argument.endswith("/twistd") for argument in sys.orig_argv):
    BUILDS[os.environ["BROKEN_BUILD"]]()
