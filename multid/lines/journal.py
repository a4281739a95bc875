"""The systemd journal of this host, by its native protocol: each line an entry, with the fields that were parsed.

`MESSAGE` is the escaped text, so that journalctl shows every line as a line; where that is not what was received,
`SYSLOG_RAW` is. An entry that no datagram can hold goes as a sealed file. While journald takes no more, the output
waits.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multid.lines import syslog
from multid.lines.escape import escape
from multid.lines.output import Pressure
from multid.lines.record import Batch, Record
from multid.lines.waiting import OnFull, WaitingOutput

SOCKET = Path("/run/systemd/journal/socket")

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class _Entry:
    """One entry, as it is sent."""

    where: str
    data: bytes
    lines: int = 1


def entry(record: Record) -> bytes:
    """Return a record in the journal's form: `NAME=VALUE` a line, or the value's size where it holds a line end."""
    fields, source = record.fields, record.source
    received = fields.get("message", record.line)
    text = escape(received, source.charset)
    pri = fields.get("pri", syslog.DEFAULT_PRI)
    values = {
        "MESSAGE": record.text if received is record.line else text,
        "PRIORITY": b"%d" % (pri & 7),
        "SYSLOG_FACILITY": b"%d" % (pri >> 3),
        "SYSLOG_IDENTIFIER": str(fields.get("app", source.service)).encode(),
        "SYSLOG_PID": str(fields.get("procid", "")).encode(),
        "SYSLOG_TIMESTAMP": str(fields.get("timestamp", "")).encode(),
        "SYSLOG_RAW": record.line if record.line != text else b"",
        "MULTID_SERVICE": source.service.encode(),
        "MULTID_PEER": source.peer.encode(),
        "MULTID_HOST": record.host.encode(),
    }
    return b"".join([_field(name.encode(), value) for name, value in values.items() if value or name == "MESSAGE"])


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name, value)


class Journal(WaitingOutput):
    """An `Output` to journald, whose socket is full every now and then."""

    retry = 0.01
    patience = 1.0

    def __init__(self, service: str, path: Path, on_full: OnFull, reactor: Any, pressure: Pressure) -> None:
        super().__init__(service, on_full, reactor, pressure)
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def open(self) -> None:
        """Nothing is opened: journald may come later."""

    def start(self) -> None:
        """Nothing goes on by time."""

    def reopen(self) -> None:
        """There is nothing that anybody could have moved."""

    def rotate(self) -> list[str]:
        """There is nothing to put away."""
        return []

    async def close(self) -> None:
        """Send what waits if that is possible now."""
        self.give_up()
        self._socket.close()

    def status(self) -> dict[str, Any]:
        """Return where to, and what waits and why."""
        return {"journal": self._path, "problem": self.problem, "waiting_lines": self.waiting_lines}

    def parts(self, batch: Batch) -> list[_Entry]:
        """Return an entry for each line."""
        return [_Entry(self._path, entry(record)) for record in batch.records]

    def put(self, part: _Entry) -> None:
        """Send an entry."""
        try:
            self._socket.sendto(part.data, self._path)
        except OSError as error:
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            self._send_as_file(part.data)

    def _send_as_file(self, data: bytes) -> None:
        with os.fdopen(os.memfd_create("multid", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(data)
            file.flush()
            fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
            descriptors = array.array("i", [file.fileno()])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)]
            self._socket.sendmsg((), rights, 0, self._path)
