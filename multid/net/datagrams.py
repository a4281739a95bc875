"""The datagrams of a service: who is answered, and what is said about those who are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multid.net.datagram import Question
from multid.net.guard import Guard
from multid.net.stanza import Stanza

if TYPE_CHECKING:
    from multid.config.model import ServiceConfig
    from multid.net.peer import Peer
    from multid.service import Runtime

DATAGRAM_RATE = 20.0
"""Answers a second to one peer where the file says nothing."""


class DatagramSide(Stanza):
    """A stanza that takes datagrams; the kind says what the answer is (`received`, or `asked`)."""

    answers = True
    """Whether a datagram may have an answer, and so the guard must decide who gets one."""
    client_ports: frozenset[int] = frozenset()
    """Ports where services usually answer, but from which clients of this kind do ask."""
    asks_for_more = False
    """Whether datagrams go to `asked`, with all that is known of them, and not to `received`."""
    tells_rate = False
    """Whether a peer beyond its rate is told so now and then, in the words of `beyond_rate`."""

    def __init__(self, name: str, config: ServiceConfig, runtime: Runtime) -> None:
        super().__init__(name, config, runtime)
        self.guard = self._guard()

    def retune(self, config: ServiceConfig) -> None:
        """Stanza API."""
        super().retune(config)
        self.guard = self._guard()

    def received(self, data: bytes, peer: Peer) -> bytes | None:
        """Return the answer to a datagram, None for none."""
        raise NotImplementedError(f"{self.config.type} takes no datagrams")

    def asked(self, question: Question) -> bytes | None:
        """Return the answer to a datagram, None for none now: a question can be answered later."""
        raise NotImplementedError(f"{self.config.type} takes datagrams as they are")

    def beyond_rate(self, data: bytes, peer: Peer) -> bytes | None:
        """Return what tells a peer that it asks too often."""
        raise NotImplementedError(f"{self.config.type} has no word for that")

    def failed(self) -> None:
        """Count a fault of ours that cost a datagram its answer; the first is logged whole."""
        self.counters.errors += 1
        if self.counters.errors == 1:
            self.log.failure("{service}: a datagram was not answered", service=self.name)

    def _guard(self) -> Guard:
        limits = self.config.limits
        return Guard(
            rate=limits.rate if limits.rate is not None else DATAGRAM_RATE,
            total_rate=limits.total_rate,
            now=self.runtime.reactor.seconds(),
            access=self.admission.access,
            answers=self.answers,
            lowest_port=limits.lowest_port,
            own_ports=self.runtime.sockets.datagram_ports,
            client_ports=self.client_ports,
            refused=self.counters.dropped,
        )

    def report_datagrams(self, now: float) -> None:
        """Log what was not answered since the last time, if that is long enough ago."""
        report = self.guard.report(now)
        if report is None:
            return
        self.log.warn(
            "{service}: {total} datagrams not answered ({reasons}){muted}",
            service=self.name,
            total=sum(report.refused.values()),
            reasons=", ".join(f"{reason} {count}" for reason, count in sorted(report.refused.items())),
            muted=f", {report.mutes} muted: {' '.join(report.muted)}" if report.mutes else "",
        )
