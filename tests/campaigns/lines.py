"""Lines for the campaigns: senders of numbered lines, and the account of what the files hold of them.

A line names its sender and its number, and both decide the rest of it, so a line in a file is whole or it is torn. A
sender that has ended its stream and has seen the daemon's end of it knows that all its lines were taken.
"""

import gzip
import os
import random
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


def text(sender: int, number: int) -> bytes:
    return b"%d:%d %s." % (sender, number, b"abcdefghij" * ((sender * 7 + number) % 30))


class LineSenders:
    """Threads that send lines until `stop`, each over one connection; `sent[sender]` lines were handed to the kernel.

    With `per_second`, each sends about so many; else as fast as they are taken.
    """

    def __init__(
        self, port: Callable[[], int], threads: int, *, seed: int, per_second: float | None = None, first: int = 0
    ) -> None:
        self.sent = dict.fromkeys(range(first, first + threads), 0)
        self.ended: set[int] = set()
        self.broken: dict[int, str] = {}
        self._port = port
        self._pause = None if per_second is None else 1 / per_second
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(sender, random.Random(f"{seed}/{sender}")), daemon=True)
            for sender in self.sent
        ]
        for thread in self._threads:
            thread.start()

    @property
    def total(self) -> int:
        return sum(self.sent.values())

    def stop(self, within: float = 60.0) -> None:
        """Let every sender end its stream, and wait until the daemon has ended it too."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(within)
            assert not thread.is_alive(), "the daemon takes no lines"

    def __enter__(self) -> "LineSenders":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, sender: int, lots: random.Random) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self._port()), timeout=120) as sock:
                while not self._stopping.is_set():
                    self._send(sock, sender, lots)
                sock.shutdown(socket.SHUT_WR)
                if sock.recv(1) == b"":
                    self.ended.add(sender)
        except OSError as error:
            self.broken[sender] = str(error)

    def _send(self, sock: socket.socket, sender: int, lots: random.Random) -> None:
        number = self.sent[sender]
        lines = 1 if self._pause is not None else lots.choice((1, 7, 50, 300))
        sock.sendall(b"".join(text(sender, number + n) + b"\n" for n in range(lines)))
        self.sent[sender] += lines
        if self._pause is not None:
            self._stopping.wait(self._pause)


@dataclass
class Account:
    """What files hold of the lines of each sender: how far they are whole and in order, and what is not."""

    reached: dict[int, int] = field(default_factory=dict)
    doubled: int = 0
    missing: int = 0
    torn: list[bytes] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.reached.values())

    def take(self, record: bytes) -> None:
        """Take a record of format `text`, without its line end."""
        found = parsed(record)
        if found is None:
            self.torn.append(record)
            return
        sender, number = found
        expected = self.reached.get(sender, 0)
        if number < expected:
            self.doubled += 1
            return
        self.missing += number - expected
        self.reached[sender] = number + 1


def parsed(record: bytes) -> tuple[int, int] | None:
    """Return sender and number of a record of format `text`; None where it is not whole."""
    line = record.split(b" ", 3)[-1]
    name, _, _rest = line.partition(b" ")
    sender, _, number = name.partition(b":")
    if not (sender.isdigit() and number.isdigit() and line == text(int(sender), int(number))):
        return None
    return int(sender), int(number)


def account(folder: Path, name: str = "lines.log") -> Account:
    """Return the account of a log and of all that was put away of it."""
    return account_of(logs(folder, name))


def account_of(paths: Iterable[Path]) -> Account:
    """Return the account of files, in their order."""
    result = Account()
    for record in records(paths):
        result.take(record)
    return result


def records(paths: Iterable[Path]) -> Iterator[bytes]:
    """Return every record of files, in their order; a last one without its line end too."""
    for path in paths:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for record in file:
                yield record.removesuffix(b"\n") if record.endswith(b"\n") else record + b"(no line end)"


def logs(folder: Path, name: str = "lines.log") -> list[Path]:
    """Return the files of a log, oldest first."""
    dated = re.compile(re.escape(name) + r"-(\d+T[\d.]+Z)(?:\.(\d+))?(?:\.gz)?")
    away = [(match[1], int(match[2] or 0), match[0]) for match in map(dated.fullmatch, os.listdir(folder)) if match]
    return [folder / found for _, _, found in sorted(away)] + [folder / name]
