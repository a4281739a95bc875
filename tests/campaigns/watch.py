"""Looking at a daemon from outside: what it costs, and how fast it answers."""

import os
import socket
import threading
import time
from pathlib import Path

from tests.process import Multid


def descriptors(multid: Multid) -> int:
    return len(os.listdir(f"/proc/{multid.process.pid}/fd"))


def processor_seconds(multid: Multid) -> float:
    fields = Path(f"/proc/{multid.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def echoes(client: socket.socket, data: bytes = b"ping") -> bool:
    """Whether an echo service gives back what it was sent."""
    try:
        client.sendall(data)
        received = b""
        while len(received) < len(data):
            chunk = client.recv(len(data))
            if not chunk:
                return False
            received += chunk
    except OSError:
        return False
    return received == data


class Clients:
    """A normal client, again and again until `stop`: connects, says something, waits for the answer, leaves.

    `seconds` holds how long each took, `failures` what went wrong.
    """

    def __init__(self, port: int, say: bytes = b"ping", answer: bytes = b"ping", every: float = 0.02) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._port = port
        self._say = say
        self._answer = answer
        self._every = every
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def percentile(self, percent: float) -> float:
        """Return the milliseconds within which so many of a hundred were served."""
        assert self.seconds, "nobody was served"
        return 1000 * sorted(self.seconds)[int(len(self.seconds) * percent / 100)]

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self._port), timeout=10) as client:
                    client.sendall(self._say)
                    answer = b""
                    while not answer.endswith(self._answer):
                        chunk = client.recv(4096)
                        if not chunk:
                            raise ConnectionError(f"closed after {answer!r}")
                        answer += chunk
            except OSError as error:
                self.failures.append(str(error))
            else:
                self.seconds.append(time.monotonic() - began)
