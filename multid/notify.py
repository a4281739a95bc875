"""The service manager (systemd): what it is told, and the listening sockets it keeps for us over a restart.

Everything is one datagram to `$NOTIFY_SOCKET`; without that variable nobody is told and nothing is kept. A manager that
does not answer holds nobody up: what matters (READY, sockets) waits at most `_PATIENCE` seconds, the rest not at all.
`inherited` returns the sockets that came with the process: kept ones by the names we gave them, and those of `.socket`
units by the names of their files. Protocol: sd_notify(3), sd_listen_fds(3).
"""

import contextlib
import os
import socket
import stat
import time
from collections.abc import MutableMapping

_FIRST = 3
_PATIENCE = 5.0
_LONGEST_STATUS = 1024

Environment = MutableMapping[str, str]


class ServiceManager:
    """Who started us, as far as it wants to be told."""

    def __init__(self, environ: Environment) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_interval = _watchdog_interval(environ)

    @property
    def keeps_sockets(self) -> bool:
        """Whether there is somebody to keep them."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Every required service is bound, or a reload has ended, whichever way."""
        self._tell("READY=1", _status(status), patience=_PATIENCE)

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._tell(_status(text))

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}", patience=_PATIENCE)

    def stopping(self) -> None:
        """The end has begun: open work is finished."""
        self._tell("STOPPING=1", "STATUS=finishing open work", patience=_PATIENCE)

    def alive(self) -> None:
        """Hold off the watchdog for another interval."""
        self._tell("WATCHDOG=1")

    def store(self, name: str, sock: socket.socket) -> None:
        """Have a socket kept over restarts and crashes; an error pending on it is no reason to let it go."""
        self._tell("FDSTORE=1", f"FDNAME={name}", "FDPOLL=0", sock=sock, patience=_PATIENCE)

    def remove(self, name: str) -> None:
        """Have a socket kept no more."""
        self._tell("FDSTOREREMOVE=1", f"FDNAME={name}", patience=_PATIENCE)

    def _tell(self, *lines: str, sock: socket.socket | None = None, patience: float = 0.0) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.suppress(OSError):
            manager.settimeout(patience)
            manager.connect(self._address)
            socket.send_fds(
                manager, ["\n".join(lines).encode("utf-8", "replace")], [] if sock is None else [sock.fileno()]
            )


def inherited(environ: Environment) -> dict[str, list[socket.socket]]:
    """Take the sockets that came with the process out of the environment, by name; what is no socket is left alone.

    Importing `twisted.internet.endpoints` deletes LISTEN_PID and LISTEN_FDS where they are meant for this process,
    and leaves the names: they alone then say how many there are.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    text = environ.pop("LISTEN_FDNAMES", "")
    names = text.split(":") if text else []
    if (pid or count) and pid != str(os.getpid()):
        return {}
    found: dict[str, list[socket.socket]] = {}
    for number in range(int(count) if count.isdecimal() else len(names)):
        sock = _socket(_FIRST + number)
        if sock is not None:
            found.setdefault(names[number] if number < len(names) else "unknown", []).append(sock)
    return found


def _socket(descriptor: int) -> socket.socket | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
    except OSError:
        return None
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _watchdog_interval(environ: Environment) -> float | None:
    """Return how often, in seconds, `alive` must be called: twice in the time that the manager waits."""
    microseconds, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2e6 or None


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:_LONGEST_STATUS]}"
