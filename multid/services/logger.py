"""Logger: takes lines from anybody, answers nothing, loses none.

Lines of a connection go through its splitter to every output, in order; when an output cannot take more, every
connection is read no further until it can, and goes on there. A datagram cannot be made to wait: while an output
waits it is dropped and counted. Each connection and the service keep an account in which every octet received is
written, dropped for a reason, or pending.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from multid.lines import jsonlines, syslog
from multid.lines.datagrams import DatagramForwarder
from multid.lines.forward import Forwarder
from multid.lines.framing import make_splitter
from multid.lines.journal import Journal
from multid.lines.ledger import Accounts, Ledger
from multid.lines.memory import keep_freed_memory
from multid.lines.model import FileOutput, JournalOutput, OutputConfig
from multid.lines.output import Output
from multid.lines.record import Batch, Received, Source
from multid.lines.splitter import Lines, Splitter
from multid.lines.writer import FileWriter
from multid.net.follower import Follower
from multid.net.outgoing import client_context
from multid.net.peer import Peer
from multid.net.service import NetworkService
from multid.net.throttle import Throttle
from multid.service import Change, Measure, ServiceError, ServiceKind
from multid.services._logger_config import LoggerConfig
from multid.services._logger_connection import LEAST_READ, READ_SIZE, LineCollector
from multid.services._logger_live import Live

_CHEAP_TURN, _PARSED_TURN = 8 << 20, 512 << 10
"""Octets read of all connections together in one turn: what can be done with them while nobody has to wait for long."""
_LOOK_AGAIN = 1.0
"""Seconds between looks whether a peer has come back within its rate, or an output may be closed."""

_PARSERS: dict[str, Any] = {"none": None, "syslog": syslog.parse, "json": jsonlines.parse}


class LoggerService(NetworkService):
    """Lines over TCP, TLS, UNIX sockets and UDP."""

    answers = False

    def __init__(self, name: str, config: LoggerConfig, runtime: Any) -> None:
        super().__init__(name, config, runtime)
        self.accounts = Accounts()
        self._datagram_splitter: Splitter = self.splitter(config, self.accounts.datagrams)
        self._outputs: dict[OutputConfig, Output] = {}
        self._leaving: list[Output] = []  # no longer in the file, with lines that are not yet written
        self._farewell: Any = None
        self._waiting = 0  # outputs that cannot take more
        self._closing: set[Deferred[None]] = set()
        self._throttle: Throttle | None = None
        self._look: Any = None
        self._live: dict[Follower, Live] = {}  # of those who follow the service

    # NetworkService API

    def startService(self) -> None:
        """IService API."""
        keep_freed_memory()
        super().startService()

    async def open(self, config: LoggerConfig) -> Change:
        """Open the outputs that are new; those that stay what they are are kept."""
        for output in self._outputs.values():
            output.go_on()  # what is cut must be whole before another takes up the same file
        outputs: dict[OutputConfig, Output] = {}
        added: list[Output] = []
        try:
            for each in config.output:
                outputs[each] = self._outputs.get(each) or self._output(each)
                if each not in self._outputs:
                    added.append(outputs[each])
                    outputs[each].open()
        except (OSError, ValueError) as error:
            self._close(added)
            raise ServiceError(f"output: {_why(each, error)}") from error

        def commit() -> None:
            leaving = [output for each, output in self._outputs.items() if each not in outputs]
            self._outputs = outputs
            self._leave(leaving)
            for output in added:
                output.start()
            self._tune(config)

        return Change(commit, lambda: self._close(added))

    async def close(self) -> None:
        """Close the outputs; what they hold is written as far as that can be."""
        self._close([*self._outputs.values(), *self._leaving])
        self._outputs = {}
        self._leaving = []
        await DeferredList(list(self._closing))
        for call in (self._look, self._farewell):
            if call is not None and call.active():
                call.cancel()

    def connected(self, peer: Peer) -> LineCollector:
        """Return the protocol of a connection."""
        return LineCollector(self, peer)

    def received(self, data: bytes, peer: Peer) -> None:
        """Take the lines of a datagram; there is never an answer."""
        self.accounts.datagrams.received_octets += len(data)
        source = self.source(self.config, peer)
        for lines in self._datagram_splitter.datagram(data):
            reason = self._refuses(lines, peer)
            if reason is None:
                self.take(lines, source, self.accounts.datagrams, spend=False)
            else:
                self.accounts.datagrams.drop(reason, lines.count, lines.octets)

    def reopen(self) -> None:
        """Open files anew that somebody moved away."""
        for output in self._outputs.values():
            output.reopen()

    @property
    def has_files(self) -> bool:
        """NetworkService API."""
        return any(isinstance(each, FileOutput) for each in self._outputs)

    async def rotate(self) -> list[str]:
        """Put away every file of the outputs, and return their new names."""
        return [name for output in self._outputs.values() for name in output.rotate()]

    def activity(self) -> tuple[str, int]:
        """Return how many lines were received."""
        return "lines", self.accounts.total().received_lines

    def measures(self) -> Iterable[Measure]:
        """Return the lines received, and those dropped by reason."""
        total = self.accounts.total()
        yield Measure("multid_lines_total", total.received_lines)
        for reason, lines in total.dropped_lines.items():
            yield Measure("multid_dropped_total", lines, (reason,))

    def details(self) -> dict[str, Any]:
        """Return the account, and the outputs."""
        return {
            "ledger": self.accounts.total().as_dict(),
            "probes": self.accounts.probes,
            "outputs": [output.status() for output in self._outputs.values()],
        }

    # Lines

    @property
    def is_waiting(self) -> bool:
        """Whether an output cannot take more, and so nobody may send."""
        return self._waiting > 0

    @property
    def read_size(self) -> int:
        """How much is read of one connection at a time, so that a turn of all of them stays short."""
        turn = _CHEAP_TURN if self.config.parse == "none" else _PARSED_TURN
        return max(LEAST_READ, min(READ_SIZE, turn // max(1, len(self.connections))))

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
        return Source(self.name, str(peer), peer.host, config.charset, _PARSERS[config.parse])

    def take(self, lines: Lines, source: Source, ledger: Ledger, *, spend: bool = True) -> float:
        """Hand lines to every output; return how many seconds their peer has to wait because of its rate."""
        batch = Batch(time.time(), source, lines, ledger, len(self._outputs))
        for output in self._outputs.values():
            output.write(batch)
        if self.followers:
            self._show(batch)
        if self._throttle is None or not spend:
            return 0.0
        return self._throttle.spend(source.host, batch.count, self.runtime.reactor.seconds())

    def _show(self, batch: Received) -> None:
        now = self.runtime.reactor.seconds()
        self._live = {follower: self._live.get(follower) or Live(follower, now) for follower in self.followers}
        for live in self._live.values():
            live.show(batch, now)

    def ended(self, ledger: Ledger, source: Source) -> None:
        """Record the account of a connection that has ended; aloud if something was dropped or it is to be recorded."""
        self.accounts.close(ledger)
        account = ledger.as_dict()
        level = LogLevel.info if self.config.record or ledger.dropped_lines else LogLevel.debug
        self.log.emit(
            level,
            "{service}: {peer} sent {octets[received]} octets, {lines[received]} lines; dropped: {lines[dropped]}",
            event="lines",
            service=self.name,
            peer=source.peer,
            **account,
        )

    # Peers beyond their rate

    def _refuses(self, lines: Lines, peer: Peer) -> str | None:
        """Return why lines of a datagram are not taken."""
        if self._waiting:
            return "full"
        if self._throttle is None or self._throttle.allows(peer.host, lines.count, self.runtime.reactor.seconds()):
            return None
        return "line-rate"

    def _entered(self, host: str) -> None:
        self.log.warn(
            "{service}: {host} sends more than {rate:g} lines/s; it waits, its datagrams are dropped",
            service=self.name,
            host=host,
            rate=self.config.rate.lines,
        )
        if self._look is None:
            self._look = self.runtime.reactor.callLater(_LOOK_AGAIN, self._look_who_returned)

    def _look_who_returned(self) -> None:
        self._look = None
        if self._throttle is None:
            return
        now = self.runtime.reactor.seconds()
        for back in self._throttle.returned(now):
            self.log.info(
                "{service}: {host} keeps to its rate again after {seconds:.0f} s; {dropped} lines were dropped",
                service=self.name,
                host=back.host,
                seconds=now - back.since,
                dropped=back.refused,
            )
        if self._throttle.beyond:
            self._look = self.runtime.reactor.callLater(_LOOK_AGAIN, self._look_who_returned)

    # Outputs

    def _output(self, output: OutputConfig) -> Output:
        reactor = self.runtime.reactor

        def in_thread(work: Callable[[], None]) -> Deferred[None]:
            return deferToThreadPool(reactor, reactor.getThreadPool(), work)

        if isinstance(output, FileOutput):
            return FileWriter(self.name, output.options(), reactor, in_thread, self._press)
        if isinstance(output, JournalOutput):
            return Journal(self.name, output.journal, output.on_full, reactor, self._press)
        if output.forward.transport == "udp":
            return DatagramForwarder(self.name, output.options(), reactor, in_thread)
        tls = client_context(output.named, output.tls.ca, output.tls.certificate)
        return Forwarder(self.name, output.options(tls), reactor, in_thread, self._press)

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
        if config.rate != self.config.rate or self._throttle is None:
            rate = config.rate
            self._throttle = Throttle(rate.lines, rate.burst, self._entered) if rate else None
        self._datagram_splitter = self.splitter(config, self.accounts.datagrams)

    def _leave(self, outputs: list[Output]) -> None:
        """Close outputs that are no longer wanted, each as soon as nothing of it waits."""
        self._leaving += outputs
        self._close([output for output in self._leaving if output.is_idle])
        self._leaving = [output for output in self._leaving if not output.is_idle]
        if self._leaving:
            self._farewell = self.runtime.reactor.callLater(_LOOK_AGAIN, self._leave, [])

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


def _why(output: OutputConfig, error: OSError | ValueError) -> str:
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return f"{output.file if isinstance(output, FileOutput) else error.filename}: {error.strerror}"
