"""A daemon on a loop turned by hand, and a client of its admin socket."""

import io
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from multid.admin.service import Admin
from multid.config.load import load
from multid.daemon import Daemon
from multid.kinds import discover
from multid.log.logbook import Logbook
from multid.net.sockets import SocketStore
from multid.notify import ServiceManager
from tests.loop import Loop

ANY = "tcp:0:interface=127.0.0.1"


class Answer:
    """An answer over HTTP."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Operated:
    """A running daemon and its operator."""

    def __init__(self, loop: Loop, folder: Path, config: dict[str, Any]) -> None:
        self.loop, self.folder = loop, folder
        self.file = folder / "multid.yaml"
        self.kinds = {name: kind.config for name, kind in discover().items()}
        self.configure(config)
        self.log = io.StringIO()
        self.daemon = Daemon(
            loop, discover(), self.read(), self.read,
            sockets=SocketStore(), manager=ServiceManager({}), logbook=Logbook("text", self.log),
        )  # fmt: skip
        self.daemon.front = self.admin = Admin(self.daemon)
        self.daemon.startService()
        loop.until(lambda: self.daemon.is_ready)
        self.clients: list[socket.socket] = []

    def read(self) -> Any:
        return load(self.file, self.kinds)

    def configure(self, config: dict[str, Any]) -> None:
        given = {"state_dir": str(self.folder / "var"), "admin": {"http": ANY}, "services": {}}
        self.file.write_text(yaml.safe_dump({**given, **config}))

    def reload(self) -> Any:
        return self.loop.result(self.daemon.reload())

    def connect(self, *, tcp: bool = False) -> socket.socket:
        unix, http = self.admin.bindings.values()
        client = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        client.connect((http if tcp else unix).listener.socket.getsockname())
        client.setblocking(False)
        self.clients.append(client)
        return client

    def ask(self, target: str, *, method: str = "GET", body: Any = None, tcp: bool = False, raw: bytes = b"") -> Answer:
        client = self.connect(tcp=tcp)
        data = raw or (b"" if body is None else json.dumps(body).encode())
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        client.send(head.encode() + data)
        return Answer(self.read_all(client))

    def read_all(self, client: socket.socket) -> bytes:
        data = bytearray()

        def ended() -> bool:
            try:
                chunk = client.recv(65536)
            except BlockingIOError:
                return False
            data.extend(chunk)
            return not chunk

        self.loop.until(ended)
        return bytes(data)

    def read_until(self, client: socket.socket, text: bytes) -> bytes:
        data = bytearray()

        def found() -> bool:
            try:
                data.extend(client.recv(65536))
            except BlockingIOError:
                return False
            return text in data

        self.loop.until(found)
        return bytes(data)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.daemon.running:
            stopping = self.daemon.stopService()
            self.daemon._abort()
            self.loop.result(stopping)
        self.daemon.runtime.sockets.keep(())


@contextmanager
def operating(loop: Loop, folder: Path, config: dict[str, Any]) -> Iterator[Operated]:
    """Run a daemon for a while; signals are afterwards handled as before."""
    used = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in used}
    operated = Operated(loop, folder, config)
    try:
        yield operated
    finally:
        operated.close()
        for number, handler in before.items():
            signal.signal(number, handler)
