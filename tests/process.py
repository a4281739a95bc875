"""The daemon as a user runs it: a process of its own, from the same installation as the tests."""

import contextlib
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
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
        self._unread = b""
        self.process = subprocess.Popen(
            [*prefix, BIN / "twistd", "-n", "--pidfile=", *arguments, "multid", "-c", str(self.file)],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )

    def configure(self, config: dict[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))

    def wait_for(self, pattern: str, within: float = 20.0, *, since: int = 0) -> re.Match[str]:
        """Return the first match in the log from offset `since` on, waiting for it; AssertionError shows the log."""
        deadline = time.monotonic() + within
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.log, since)
            if match:
                return match
            assert self._read(deadline - time.monotonic()), f"no {pattern!r} in the log:\n{self.log}"

    def _read(self, within: float) -> bool:
        with selectors.DefaultSelector() as selector:
            assert self.process.stdout is not None
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if within <= 0 or not selector.select(within):
                return False
            data = os.read(self.process.stdout.fileno(), 65536)
        *lines, self._unread = (self._unread + data).split(b"\n")
        self.log += "".join(line.decode("utf-8", "replace") + "\n" for line in lines)
        return bool(data)

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
        deadline = time.monotonic() + within
        while self._read(deadline - time.monotonic()):
            pass
        return self.process.wait(max(0.1, deadline - time.monotonic()))

    def rss(self) -> int:
        """Return the resident memory in octets."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def __enter__(self) -> "Multid":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
