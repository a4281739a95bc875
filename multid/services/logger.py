"""Logger: takes lines from anybody, answers nothing, loses none.

Lines of a connection go through its splitter to every output, in order; when an output cannot take more, every
connection is read no further until it can, and goes on there. A datagram cannot be made to wait: while an output
waits it is dropped and counted. Each connection and the service keep an account in which every octet received is
written, dropped for a reason, or pending.
"""

import re
import socket
import time
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.protocol import connectionDone
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from multid.config.model import Duration, Model, ServiceConfig, Size
from multid.lines.escape import check_charset
from multid.lines.format import Format
from multid.lines.ledger import Ledger
from multid.lines.logfiles import FileOptions
from multid.lines.memory import keep_freed_memory
from multid.lines.output import Output
from multid.lines.path import PathTemplate
from multid.lines.record import Batch, Source
from multid.lines.rotation import Rotation, zstd_module
from multid.lines.splitter import Framing, Lines, Oversize, Splitter, Unterminated, make_splitter
from multid.lines.writer import FileWriter
from multid.net.peer import Peer
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import Change, ServiceError, ServiceKind

READ_SIZE = 256 * 1024
"""Octets read at a time from one connection: each chunk costs the same few calls, however long it is."""


def _octal(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f"a mode is three octal digits, such as 0640, not {value!r}")
    return int(value, 8)


Mode = Annotated[
    int,
    BeforeValidator(_octal),
    PlainSerializer(lambda mode: f"{mode:04o}", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^0?[0-7]{3}$"}),
]


class Rotate(Model):
    """When a file is put away under a dated name, and what is kept of those."""

    size: Size | None = Field(default=None, ge=1, description="before it grows beyond this size")
    every: Literal["hour", "day", "week"] | Duration | None = Field(
        default=None, description="at the end of each hour, day or week (UTC), or of a period such as 15m"
    )
    keep: int | None = Field(default=14, ge=0, description="how many are kept")
    age: Duration | None = Field(default=None, description="how old they may become")
    total: Size | None = Field(default=None, description="how large they may be together")
    compress: Literal["none", "gzip", "zstd"] = Field(default="none", description="how they are compressed")

    @field_validator("compress")
    @classmethod
    def _available(cls, value: str) -> str:
        if value == "zstd":
            try:
                zstd_module()
            except ImportError as error:
                raise ValueError(str(error)) from None
        return value


class FileOutput(Model):
    """A file, or one for each value of the fields in its path."""

    file: str = Field(
        description="path; it may hold {service}, {peer}, {host} and strftime fields, and stays below its fixed part"
    )
    format: Format = Field(default="text", description="what a record looks like")
    mode: Mode = Field(default=0o640, description="permissions of a new file, whatever the umask")
    rotate: Rotate | None = Field(default=None, description="when it is put away; never if absent")
    sync: Literal["never", "always"] | Duration = Field(
        default="never", description="when lines must be on the disk itself: never, always, or within a time such as 1s"
    )
    on_full: Literal["pause", "drop"] = Field(
        default="pause", description="what peers do while the disk takes no more: wait, or lose lines (counted)"
    )

    @field_validator("file")
    @classmethod
    def _is_path(cls, value: str) -> str:
        PathTemplate(value)
        return value

    def options(self) -> FileOptions:
        """Return what the file output is made with."""
        rotation = Rotation(**self.rotate.model_dump()) if self.rotate else Rotation()
        return FileOptions(PathTemplate(self.file), self.format, self.mode, rotation, self.sync, self.on_full)


class LoggerConfig(ServiceConfig):
    """What a line is, and where lines go."""

    framing: Framing = Field(
        default="auto",
        description="what ends a line: lf, crlf, nul, octet-counted (RFC 6587), or auto: octet-counted where a frame"
        " begins with a length and <PRI>, else LF with or without CR",
    )
    max_line: Size = Field(default=65536, ge=16, le=16 << 20, description="longest line")
    oversize: Oversize = Field(default="split", description="what happens to a longer one: split, truncate or drop")
    unterminated: Unterminated = Field(default="keep", description="the last line of a connection without a line end")
    charset: str = Field(
        default="utf-8", description="charset of the text; octets not valid in it are escaped, never refused"
    )
    output: tuple[FileOutput, ...] = Field(
        default=(FileOutput(file="var/log/{service}.log"),), min_length=1, description="where lines go, to each of them"
    )

    @field_validator("charset")
    @classmethod
    def _usable_charset(cls, value: str) -> str:
        try:
            return check_charset(value)
        except LookupError as error:
            raise ValueError(f"unknown or unusable charset {value!r}: {error}") from None


class LineCollector(StreamProtocol):
    """One connection that sends lines."""

    service: "LoggerService"

    def __init__(self, service: "LoggerService", peer: Peer) -> None:
        super().__init__(service)
        self.ledger = Ledger()
        self._splitter = service.splitter(self.config, self.ledger)
        self._source = service.source(self.config, peer)
        self._ended = False
        self._holds: set[str] = set()

    def connectionMade(self) -> None:
        """IProtocol API."""
        self.transport.read_size = READ_SIZE
        self.service.ledgers.add(self.ledger)
        if self.service.is_waiting:
            self.hold("full")

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        self.ledger.received_octets += len(data)
        for lines in self._splitter.feed(data):
            self.service.take(lines, self._source, self.ledger)
        self.ledger.held_octets = self._splitter.pending

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        self._end()
        self.finish()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self._end()
        self.service.ended(self.ledger)

    def drain(self) -> None:
        """Take what has arrived, which then ends as if the peer had ended it."""
        connection = getattr(self.transport, "transport", self.transport)  # below TLS
        with suppress(OSError):
            connection.getHandle().shutdown(socket.SHUT_RD)

    def hold(self, reason: str) -> None:
        """Read no further until every reason not to is released."""
        if not self._holds:
            self.transport.pauseProducing()
        self._holds.add(reason)

    def release(self, reason: str) -> None:
        """Read on, if there is no other reason not to."""
        if reason in self._holds:
            self._holds.remove(reason)
            if not self._holds:
                self.transport.resumeProducing()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        for lines in self._splitter.end():
            self.service.take(lines, self._source, self.ledger)
        self.ledger.held_octets = 0


class LoggerService(NetworkService):
    """Lines over TCP, TLS, UNIX sockets and UDP."""

    answers = False

    def startService(self) -> None:
        """IService API."""
        keep_freed_memory()
        super().startService()

    def __init__(self, name: str, config: LoggerConfig, runtime: Any) -> None:
        super().__init__(name, config, runtime)
        self.ledgers: set[Ledger] = set()  # of connections, and of those that ended with lines pending
        self._ended: set[Ledger] = set()  # those of the latter
        self._past = Ledger()  # of connections that have ended with everything settled
        self.probes = 0  # connections that sent nothing, as health checks do
        self._datagrams = Ledger()
        self._datagram_splitter: Splitter = self.splitter(config, self._datagrams)
        self._outputs: list[Output] = []
        self._waiting = 0  # outputs that cannot take more
        self._closing: set[Deferred[None]] = set()

    # NetworkService API

    async def open(self, config: LoggerConfig) -> Change:
        """Open the outputs, unless they stay what they are."""
        if self._outputs and config.output == self.config.output:
            return Change(lambda: self._tune(config), lambda: None)
        outputs: list[Output] = []
        try:
            for output in config.output:
                outputs.append(self._output(output))
                outputs[-1].open()
        except OSError as error:
            self._close(outputs)
            raise ServiceError(f"{error.filename or ''}: {error.strerror or error}".lstrip(": ")) from error

        def commit() -> None:
            self._close(self._outputs)
            self._outputs = outputs
            for output in outputs:
                output.start()
            self._tune(config)

        return Change(commit, lambda: self._close(outputs))

    async def close(self) -> None:
        """Close the outputs; what they hold is written."""
        self._close(self._outputs)
        self._outputs = []
        await DeferredList(list(self._closing))

    def connected(self, peer: Peer) -> LineCollector:
        """Return the protocol of a connection."""
        return LineCollector(self, peer)

    def received(self, data: bytes, peer: Peer) -> None:
        """Take the lines of a datagram; there is never an answer."""
        self._datagrams.received_octets += len(data)
        source = self.source(self.config, peer)
        for lines in self._datagram_splitter.datagram(data):
            if self._waiting:
                self._datagrams.drop("full", lines.count, lines.octets)
            else:
                self.take(lines, source, self._datagrams)

    def reopen(self) -> None:
        """Open files anew that somebody moved away."""
        for output in self._outputs:
            output.reopen()

    def details(self) -> dict[str, Any]:
        """Return the account, and the outputs."""
        return {"ledger": self.ledger().as_dict(), "outputs": [output.status() for output in self._outputs]}

    # Lines

    @property
    def is_waiting(self) -> bool:
        """Whether an output cannot take more, and so nobody may send."""
        return self._waiting > 0

    def splitter(self, config: LoggerConfig, ledger: Ledger) -> Splitter:
        """Return a splitter for one connection or for datagrams."""
        return make_splitter(
            config.framing,
            max_line=config.max_line,
            oversize=config.oversize,
            unterminated=config.unterminated,
            drop=ledger.drop,
        )

    def source(self, config: LoggerConfig, peer: Peer) -> Source:
        """Return whose lines those of a peer are."""
        return Source(self.name, str(peer), peer.host, config.charset)

    def take(self, lines: Lines, source: Source, ledger: Ledger) -> None:
        """Hand lines to every output."""
        batch = Batch(time.time(), source, lines, ledger, len(self._outputs))
        for output in self._outputs:
            output.write(batch)

    def ended(self, ledger: Ledger) -> None:
        """A connection has ended; its account goes into the service's as soon as nothing of it is pending."""
        if not ledger.received_octets:
            self.probes += 1
        for ended in [*self._ended, ledger]:
            if not ended.pending:
                self._past.add(ended)
                self.ledgers.discard(ended)
                self._ended.discard(ended)
            else:
                self._ended.add(ended)

    def ledger(self) -> Ledger:
        """Return the account of the service."""
        total = Ledger()
        for ledger in (self._past, self._datagrams, *self.ledgers):
            total.add(ledger)
        return total

    # Outputs

    def _output(self, output: FileOutput) -> Output:
        reactor = self.runtime.reactor

        def in_thread(work: Any) -> Deferred[None]:
            return deferToThreadPool(reactor, reactor.getThreadPool(), work)

        return FileWriter(self.name, output.options(), reactor, in_thread, self._press)

    def _press(self, waits: bool) -> None:
        was_waiting = self.is_waiting
        self._waiting += 1 if waits else -1
        if self.is_waiting == was_waiting:
            return
        for transport in list(self.connections):
            if self.is_waiting:
                transport.application.hold("full")
            else:
                transport.application.release("full")

    def _tune(self, config: LoggerConfig) -> None:
        self._datagram_splitter = self.splitter(config, self._datagrams)

    def _close(self, outputs: list[Output]) -> None:
        for output in outputs:
            closing = Deferred.fromCoroutine(output.close())
            self._closing.add(closing)
            closing.addBoth(self._closed, closing)

    def _closed(self, result: Failure | None, closing: Deferred[None]) -> None:
        self._closing.discard(closing)
        if isinstance(result, Failure):
            self.log.failure("{service}: closing an output", result, service=self.name)


KIND = ServiceKind("logger", "takes lines, keeps every one, answers nothing", LoggerConfig, LoggerService)
