"""A start that fails because the system does not give what the file asks for: one line, no traceback, status 71."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from multid.log.journal import complain


class CannotStart(SystemExit):
    """The end of a process that twistd has not yet forked: the line goes to stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(os.EX_OSERR)
        self.message = message
        complain(f"multid: {message}", os.environ)


class DaemonizeError(Exception):
    """The same once twistd has forked: it says so on the terminal it came from, which it leaves with 1.

    There it waits for an Exception; a SystemExit it would not see, and wait for ever.
    """


def stop(reactor: Any) -> None:
    """End a daemon that has begun to start; twistd, which would end with 0, cleans up first."""
    atexit.register(_leave, os.EX_OSERR)
    reactor.callWhenRunning(reactor.stop)


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
