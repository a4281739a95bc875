"""Forward: passes connections and datagrams on to a target, what xinetd calls redirect.

Of several targets the first that can be connected to takes a connection; with `choose: turns` each is the first in
turn. A name is resolved each time. A client's datagrams go to one target for as long as its session lasts, and come
back from there; a session is counted, admitted and limited like a connection.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from twisted.internet.defer import DeferredList
from twisted.logger import Logger

from multid.config.model import LISTED, Duration, FilePath, ServiceConfig
from multid.config.target import Target, TargetText
from multid.net.datagram import Question
from multid.net.datagram_relay import Session
from multid.net.outgoing import client_context
from multid.net.peer import Peer
from multid.net.proxy import Proxied, encode_header
from multid.net.relay import Far, Relay, Route
from multid.net.seldom import Seldom
from multid.net.service import NetworkService
from multid.service import Change, ServiceError, ServiceKind


class ForwardConfig(ServiceConfig):
    """Where to, and how."""

    to: Annotated[tuple[TargetText, ...], LISTED] = Field(
        min_length=1, description="one target or a list: tcp:HOST:PORT, ssl:HOST:PORT, unix:PATH, or udp:HOST:PORT"
    )
    choose: Literal["first", "turns"] = Field(
        default="first", description="first: the others when it cannot be reached; turns: each is the first in turn"
    )
    connect_timeout: Duration = Field(default=5.0, gt=0, description="how long a target may take to accept")
    session: Duration = Field(default=60.0, gt=0, description="how long a client's datagrams may pause")
    send_proxy: Literal["none", "v1", "v2"] = Field(
        default="none", description="the PROXY header that tells a target of connections who the client is"
    )
    trust: FilePath | None = Field(
        default=None, description="PEM file of the authorities that ssl: targets are known by; by default the system's"
    )

    @model_validator(mode="after")
    def _same_way(self) -> "ForwardConfig":
        for address in self.listen:
            for target in self.to:
                if address.is_datagram != (target.transport == "udp"):
                    raise ValueError(f"what comes in on {address} cannot go out to {target}")
        return self


class ForwardService(NetworkService):
    """A forwarder of connections or of datagrams."""

    log = Logger()
    asks_for_more = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sessions: dict[Peer, Session] = {}
        self.outliving: set[Far] = set()
        self._routes: tuple[Route, ...] = ()
        self._turn = 0
        self._unreachable = Seldom()

    async def open(self, config: ForwardConfig) -> Change:
        """NetworkService API: read whom to trust."""
        try:
            routes = tuple(Route(target, client_context(target, config.trust)) for target in config.to)
        except ValueError as error:
            raise ServiceError(f"trust: {error}") from error

        def commit() -> None:
            self._routes = routes

        return Change(commit, lambda: None)

    async def close(self) -> None:
        """NetworkService API."""
        for session in list(self.sessions.values()):
            session.close()
        await DeferredList([far.gone for far in self.outliving])

    def abort(self) -> None:
        """NetworkService API."""
        super().abort()
        for far in list(self.outliving):
            far.transport.abortConnection()

    def outlives(self, far: Far) -> None:
        """A client has left and its target still takes what it said: the service ends no sooner than that."""
        self.outliving.add(far)
        far.gone.addCallback(lambda _: self.outliving.discard(far))

    def connected(self, peer: Peer) -> Relay:
        """NetworkService API."""
        return Relay(
            self, self._chosen(), lambda transport: self._header(peer, transport), self.unreachable, self.outlives
        )

    def asked(self, question: Question) -> None:
        """NetworkService API."""
        session = self.sessions.get(question.peer)
        if session is None:
            session = self._new_session(question)
        if session is not None:
            session.pass_on(question)

    def tick(self, now: float) -> None:
        """NetworkService API: end the sessions that nobody uses."""
        for session in list(self.sessions.values()):
            if now - session.last_used >= self.config.session:
                session.close()

    def session_ended(self, session: Session) -> None:
        """A client's session is over."""
        if self.sessions.get(session.question.peer) is session:
            del self.sessions[session.question.peer]
            self.admission.leave(session.question.peer)
            self.runtime.descriptors.give_back()

    def unreachable(self, target: Target, error: Exception) -> None:
        """Count a target that could not be reached, and tell of it now and then."""
        self.counters.errors += 1
        count = self._unreachable.note(self.runtime.reactor.seconds())
        if count:
            self.log.warn(
                "{service}: {count} times a target could not be reached, the last {target}: {why}",
                service=self.name,
                count=count,
                target=str(target),
                why=str(error) or type(error).__name__,
            )

    def details(self) -> dict[str, Any]:
        """NetworkService API."""
        return {"to": [str(target) for target in self.config.to], "sessions": len(self.sessions)}

    def _chosen(self) -> tuple[Route, ...]:
        """Return the targets in the order in which they are tried."""
        first = self._turn % len(self._routes)
        if self.config.choose == "turns":
            self._turn += 1
        return self._routes[first:] + self._routes[:first]

    def _new_session(self, question: Question) -> Session | None:
        reason = self.admission.refuse(question.peer, self.runtime.reactor.seconds())
        if reason is None and not self.runtime.descriptors.take():
            self.admission.leave(question.peer)
            reason = "descriptors"
        if reason is not None:
            self.guard.count(reason)
            return None
        session = self.sessions[question.peer] = Session(self, self._chosen()[0].target, question)
        session.open()
        return self.sessions.get(question.peer)

    def _header(self, peer: Peer, transport: Any) -> bytes:
        if self.config.send_proxy == "none":
            return b""
        host = transport.getHost()
        is_known = peer.host != "unix"
        proxied = Proxied((peer.host, peer.port), (host.host, host.port)) if is_known else Proxied()
        return encode_header(int(self.config.send_proxy[1]), proxied)


KIND = ServiceKind("forward", "passes connections and datagrams on to a target", ForwardConfig, ForwardService)
