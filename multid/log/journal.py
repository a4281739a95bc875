"""Writing to the journal of systemd in its native form, which knows levels and fields and stamps the time itself."""

import contextlib
import os
import socket
import sys
from collections.abc import Mapping

SOCKET = "/run/systemd/journal/socket"
_LARGEST = 128 * 1024


def is_journal(environ: Mapping[str, str]) -> bool:
    """Whether what we write to stderr arrives in the journal, as `$JOURNAL_STREAM` says."""
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def complain(text: str, environ: Mapping[str, str]) -> None:
    """Write what stops the daemon to stderr; in the journal each line is an error."""
    mark = "<3>" if is_journal(environ) else ""
    if sys.__stderr__ is not None:
        sys.__stderr__.write("".join(f"{mark}{line}\n" for line in text.splitlines()))
        sys.__stderr__.flush()


class Journal:
    """A connection to the journal; an entry that it does not take is written to stderr, which arrives there too."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)

    def write(self, entry: bytes, plain: str) -> None:
        """Send one entry; `plain` is the same as a line with its priority before it, such as `<6>up`."""
        if len(entry) <= _LARGEST:
            with contextlib.suppress(OSError):
                self._socket.sendto(entry, self._path)
                return
        if sys.__stderr__ is not None:
            sys.__stderr__.write(plain)
            sys.__stderr__.flush()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
