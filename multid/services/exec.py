"""Exec: runs a program for each connection, with the socket as its standard input and output (what inetd is for).

The program runs as the daemon's user, with an environment of its own: what the file gives, PATH and LANG, and who is at
the other end in the words of both tcpserver (PROTO, TCPREMOTEIP, TCPREMOTEPORT, TCPLOCALIP, TCPLOCALPORT) and systemd
(REMOTE_ADDR, REMOTE_PORT). How many run at a time is `limits`, how long one may run `timeouts.lifetime`. Its end is
logged with exit status, duration and octets; what it writes to standard error goes to the log, never to the peer, and
the same line not again and again: how often it came is logged with it.
"""

import math
import shlex
import shutil
import socket
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, model_validator
from twisted.logger import Logger

from multid.config.address import Address
from multid.config.model import LISTED, FilePath, Limits, ServiceConfig
from multid.lines.escape import escape
from multid.net.peer import Peer
from multid.net.program import Program
from multid.net.seldom import SeldomEach
from multid.net.service import NetworkService
from multid.service import Change, ServiceError, ServiceKind

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def _words(value: Any) -> Any:
    return shlex.split(value) if isinstance(value, str) else value


class ExecConfig(ServiceConfig):
    """What is run, and where."""

    datagrams: ClassVar[bool] = False

    command: Annotated[tuple[str, ...], LISTED, BeforeValidator(_words)] = Field(
        min_length=1,
        description="the program and its arguments, as a list or as a shell would part them; no shell runs",
    )
    directory: FilePath | None = Field(default=None, description="working directory of the program")
    environment: dict[str, str] = Field(default={}, description="variables of the program's environment")
    limits: Limits = Field(default=Limits(connections=64, per_peer=16), description="how many programs at a time")

    @model_validator(mode="after")
    def _plain_sockets(self) -> "ExecConfig":
        if any(address.transport == "ssl" for address in self.listen):
            raise ValueError("a program takes the socket as it is: an ssl: address needs a forward before it")
        if self.proxy_protocol is not None:
            raise ValueError("a program takes the socket as it is: proxy_protocol needs a forward before it")
        return self


class ExecService(NetworkService):
    """Programs over TCP and UNIX sockets."""

    log = Logger()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._complaints = SeldomEach()

    async def open(self, config: ExecConfig) -> Change:
        """NetworkService API: the program must be there."""
        path = config.environment.get("PATH", PATH)
        if shutil.which(config.command[0], path=path) is None:
            raise ServiceError(f"no program {config.command[0]!r} can be run (PATH is {path})")
        if config.directory is not None and not config.directory.is_dir():
            raise ServiceError(f"directory {config.directory} is none")
        return Change(lambda: None, lambda: None)

    async def close(self) -> None:
        """NetworkService API."""
        self.tick(math.inf)

    def begin(self, sock: socket.socket, peer: Peer, address: Address, data: bytes) -> None:
        """NetworkService API."""
        program = Program(sock, peer, self)
        self.connections.add(program)
        environment = {"PATH": PATH, "LANG": "C.UTF-8", **who(sock, peer), **self.config.environment}
        try:
            program.start(self.config.command, environment, self.config.directory)
        except OSError as error:
            self.counters.errors += 1
            program.end = f"cannot run {self.config.command[0]}: {error.strerror}"
            self._complain(program.end, peer)
            sock.close()
            self.disconnected(program)

    def disconnected(self, transport: Any) -> None:
        """NetworkService API."""
        self.counters.received_bytes += transport.received_bytes
        self.counters.sent_bytes += transport.sent_bytes
        super().disconnected(transport)

    def said(self, peer: Peer, line: bytes) -> None:
        """Log a line of a program's standard error."""
        self._complain(escape(line).decode(), peer)

    def tick(self, now: float) -> None:
        """NetworkService API: what programs complained of again since it was logged."""
        for text, peer, count in self._complaints.due(now):
            self.log.warn(
                "{service}: {peer}: {text}{times}",
                service=self.name,
                peer=peer,
                text=text,
                count=count,
                times=f" ({count} times)" if count > 1 else "",
            )

    def _complain(self, text: str, peer: Peer) -> None:
        """Log a complaint at once, if it is new, so that what each connection repeats does not fill the log."""
        now = self.runtime.reactor.seconds()
        self._complaints.note(text, str(peer), now)
        self.tick(now)


def who(sock: socket.socket, peer: Peer) -> dict[str, str]:
    """Return the variables that tell a program who its client is."""
    if peer.host == "unix":
        return {"PROTO": "UNIX", "UNIXREMOTEPID": str(peer.port)}
    local = sock.getsockname()
    return {
        "PROTO": "TCP",
        "TCPREMOTEIP": peer.host,
        "TCPREMOTEPORT": str(peer.port),
        "TCPLOCALIP": local[0],
        "TCPLOCALPORT": str(local[1]),
        "REMOTE_ADDR": peer.host,
        "REMOTE_PORT": str(peer.port),
    }


KIND = ServiceKind("exec", "runs a program for each connection, as inetd does", ExecConfig, ExecService)
