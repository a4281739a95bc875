"""The daemon as a user runs it: a process of its own, from the same installation as the tests."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    """The environment without what would lead the daemon to somebody else's configuration or service manager."""
    hidden = ("MULTID_", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_", "JOURNAL_STREAM")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Multid:
    """A running daemon in a folder of its own; `wait_for` reads its log until a line matches."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        *arguments: str,
        prefix: tuple[str, ...] = (),
        pass_fds: Collection[int] = (),
    ) -> None:
        self.folder = folder
        self.file = folder / "multid.yaml"
        self.configure(config)
        self.log = ""
        self.process = subprocess.Popen(
            [*prefix, BIN / "twistd", "-n", "--pidfile=", *arguments, "multid", "-c", str(self.file)],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )
        self._more = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def configure(self, config: dict[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def wait_for(self, pattern: str, within: float = 20.0, *, since: int = 0) -> re.Match[str]:
        """Return the first match in the log from offset `since` on, waiting for it; AssertionError shows the log."""
        deadline = time.monotonic() + within
        with self._more:
            while not (match := re.compile(pattern, re.MULTILINE).search(self.log, since)):
                more = not self._ended and self._more.wait(deadline - time.monotonic())
                assert more, f"no {pattern!r} in the log:\n{self.log}"
        return match

    def _read(self) -> None:
        """Read what the daemon says, always: it would wait for a reader."""
        assert self.process.stdout is not None
        unread = b""
        while data := os.read(self.process.stdout.fileno(), 65536):
            *lines, unread = (unread + data).split(b"\n")
            with self._more:
                self.log += "".join(line.decode("utf-8", "replace") + "\n" for line in lines)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def ports(self, service: str) -> list[int]:
        """Return the ports of a service, in the order of its addresses, once it is up."""
        match = self.wait_for(rf"{re.escape(service)}: \S+ up on (.*)$")
        return [int(port) for port in re.findall(r"(?:tcp|udp|ssl)6?:(\d+)", match[1])]

    def port(self, service: str) -> int:
        return self.ports(service)[0]

    def connect(self, service: str) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port(service)), timeout=10)

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM, within: float = 40.0) -> int:
        """End the daemon and return its exit status; what it still logs is kept."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.finished(within)

    def finished(self, within: float = 40.0) -> int:
        """Wait for the end of the daemon and return its exit status."""
        status = self.process.wait(within)
        self._reader.join(5)
        return status

    def rss(self) -> int:
        """Return the resident memory in octets."""
        return self._memory("VmRSS")

    def peak_rss(self) -> int:
        """Return the most resident memory there ever was, in octets."""
        return self._memory("VmHWM")

    def _memory(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def __enter__(self) -> "Multid":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
