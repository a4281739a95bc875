"""A mail relay: takes mail by SMTP, keeps it safe, and gets it to the next hop, or tells its sender that it could not.

What is acknowledged is on disk. The parts are in `multid.mail`; here they are joined with the network, the file and
what an operator sees. A change of the file keeps the queue and the mail in it, which follows the new routes.
"""

import ipaddress
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from multid.mail.auth import Authenticator, Failures, Users
from multid.mail.bounces import BounceSettings
from multid.mail.control import QueueControl
from multid.mail.drop import drop_directory
from multid.mail.inbound import Inbound, Reception, Taken
from multid.mail.interface import SpoolError
from multid.mail.pickup import Pickup
from multid.mail.queue import DeliveryQueue
from multid.mail.queued import MailState
from multid.mail.route import Hop, Route
from multid.mail.settings import Peer as MailPeer
from multid.mail.spool_sqlite import SqliteSpool
from multid.mail.tries import QueueSettings
from multid.net.peer import Peer, unmapped
from multid.net.protocol import StreamProtocol
from multid.net.service import NetworkService
from multid.service import Call, Change, Measure, Runtime, ServiceError, ServiceKind
from multid.services._smtp_config import SmtpConfig

_DNS_TIMEOUTS = (1, 3, 9)
"""Seconds for each round of asking the name servers."""


class SmtpConnection(Inbound, StreamProtocol):
    """A client of the relay, as a connection of the service."""

    def __init__(self, service: "SmtpService", peer: Peer) -> None:
        StreamProtocol.__init__(self, service)
        host = "" if peer.host == "unix" else unmapped(peer.host)
        Inbound.__init__(self, service.reception, MailPeer(host, peer.port, is_trusted=service.trusts(peer)))


class SmtpService(NetworkService):
    """One relay."""

    reception: Reception

    def __init__(self, name: str, config: SmtpConfig, runtime: Runtime) -> None:
        super().__init__(name, config, runtime)
        self.taken = Taken()
        self._failures = Failures()
        self._passwords = ThreadPool(0, 2, "multid-auth")
        self._spool: SqliteSpool | None = None
        self._queue: DeliveryQueue | None = None
        self._pickup: Pickup | None = None
        self._resolver: Any = None

    def connected(self, peer: Peer) -> SmtpConnection:
        """NetworkService API."""
        return SmtpConnection(self, peer)

    def activity(self) -> tuple[str, int]:
        """NetworkService API."""
        return "mails", self.taken.mails

    def measures(self) -> Iterable[Measure]:
        """NetworkService API."""
        queue = self._queue
        yield Measure("multid_mail_accepted_total", self.taken.mails)
        if queue is None:
            return
        for route, count in queue.results.delivered.items():
            yield Measure("multid_mail_delivered_total", count, (route,))
        yield Measure("multid_mail_deferred_total", queue.results.counters["deferred"])
        yield Measure("multid_mail_bounced_total", queue.results.counters["failed"])
        for state, count in queue.states().items():
            yield Measure("multid_mail_queue_messages", count, (state,))
        oldest = queue.oldest()
        yield Measure("multid_mail_queue_oldest_seconds", 0.0 if oldest is None else max(0.0, time.time() - oldest))

    def details(self) -> dict[str, Any]:
        """NetworkService API: the queue and its destinations."""
        if self._queue is None or self._spool is None:
            return {}
        details = self._queue.details()
        details["notes"] += [self._spool.damage] * bool(self._spool.damage)
        return details

    @property
    def state(self) -> str:
        """NetworkService API: `degraded` too when mail is delivered and none accepted."""
        state = super().state
        return "degraded" if state == "up" and self._spool is not None and self._spool.damage else state

    def readings(self) -> Mapping[str, Call]:
        """NetworkService API."""
        control = self._control()
        return {"queue": control.list, "mail": control.show}

    def actions(self) -> Mapping[str, Call]:
        """NetworkService API."""
        control = self._control()
        return {name: getattr(control, name) for name in ("retry", "hold", "release", "delete")}

    def _control(self) -> QueueControl:
        if self._queue is None:
            raise LookupError("the queue is not open")
        return QueueControl(self.runtime.reactor, self._queue, time.time)

    def trusts(self, peer: Peer) -> bool:
        """Whether a peer may relay without AUTH: one in `networks`, or whoever can open the UNIX socket."""
        if peer.host == "unix":
            return True
        address = ipaddress.ip_address(unmapped(peer.host).partition("%")[0])
        return any(address in network for network in self.config.networks)

    async def open(self, config: SmtpConfig) -> Change:
        """NetworkService API: take the spool, or keep it; read users and passwords."""
        settings, delivery = config.inbound(), _delivery(config)
        authenticator = self._authenticator(config)
        spool = await self._spool_of(config)
        found = await self._found(spool)

        def commit() -> None:
            self._spool = spool
            spool.inline, spool.minimum_free = config.queue.inline, config.queue.minimum_free
            self._deliver(spool, delivery, found)
            clock = self.runtime.reactor.seconds
            self.reception = Reception(settings, spool, self.taken, clock, self.tls, authenticator)
            if self._pickup is None:
                self._pickup = Pickup(self.runtime.reactor, drop_directory(spool.path), lambda: self.reception)
                self._pickup.start()

        def undo() -> None:
            if spool is not self._spool:
                spool.close().addErrback(self._not_closed)

        return Change(commit, undo)

    def _authenticator(self, config: SmtpConfig) -> Authenticator | None:
        if config.auth is None:
            return None
        try:
            users = Users(config.auth.users)
        except (OSError, ValueError) as error:
            raise ServiceError(f"auth: {error}") from error
        if not self._passwords.started:
            self._passwords.start()
        return Authenticator(self.runtime.reactor, self._passwords, users, self._failures)

    async def _found(self, spool: SqliteSpool) -> Sequence[tuple[str, MailState, float]]:
        """Return what lies in a spool that is new to us; one that cannot be read through is not to be used."""
        if spool is self._spool:
            return ()
        try:
            return await spool.scan()
        except SpoolError as error:
            await spool.close()
            raise ServiceError(f"cannot use the spool {spool.path}: {error}") from error

    def _deliver(
        self, spool: SqliteSpool, settings: QueueSettings, found: Sequence[tuple[str, MailState, float]]
    ) -> None:
        if self._queue is not None:
            self._queue.retune(settings)
            return
        self._queue = DeliveryQueue(
            self.runtime.reactor, spool, settings, new_id=spool.new_id, find_exchangers=self._exchangers
        )
        self._queue.start(found)

    async def _exchangers(self, domain: str, route: Route) -> Sequence[Hop]:
        from twisted.names.client import Resolver  # noqa: PLC0415 - only where a route delivers by MX

        from multid.mail.mx import Exchangers  # noqa: PLC0415

        if self._resolver is None:
            self._resolver = Resolver("/etc/resolv.conf", reactor=self.runtime.reactor, timeout=_DNS_TIMEOUTS)
        return await Exchangers(self._resolver, self.config.name).find(domain, route)

    async def _spool_of(self, config: SmtpConfig) -> SqliteSpool:
        _, path = config.own_directory(self.runtime.state_dir)
        if self._spool is not None:
            if self._spool.path != path:
                raise ServiceError("the path of the queue changes with a restart only")
            return self._spool
        spool = SqliteSpool(
            self.runtime.reactor, path, inline=config.queue.inline, minimum_free=config.queue.minimum_free
        )
        try:
            await spool.open()
        except SpoolError as error:
            raise ServiceError(str(error)) from error
        return spool

    def _not_closed(self, failure: Failure) -> None:
        self.log.failure("{service}: the spool was not closed", failure, service=self.name)

    async def close(self) -> None:
        """NetworkService API: what was taken is in the spool by now; what is being sent is sent."""
        if self._pickup is not None:
            await self._pickup.stop()
        if self._queue is not None:
            await self._queue.stop()
        if self._spool is not None:
            await self._spool.close()
        if self._passwords.started:
            self._passwords.stop()

    def abort(self) -> None:
        """NetworkService API."""
        super().abort()
        if self._queue is not None:
            self._queue.abort()


def _delivery(config: SmtpConfig) -> QueueSettings:
    try:
        routes = config.route_table()
    except ValueError as error:
        raise ServiceError(str(error)) from error
    domain = config.headers.domain or config.name
    bounces = BounceSettings(config.name, domain, config.bounces.postmaster, config.bounces.per_sender)
    return QueueSettings(config.name, bounces, routes, config.retry_policy(), config.mode)


KIND = ServiceKind("smtp", "a mail relay that never loses a mail (RFC 5321)", SmtpConfig, SmtpService)
