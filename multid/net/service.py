"""One stanza of the file, running: its addresses, its admission, its connections, its counters.

A kind derives from `NetworkService` and says what a connection or a datagram does (`connected`, `received`), and
what else must be opened (`open`). There is one way for every configuration, the first as well as each later one:
`prepare` binds and opens, and may fail; the `Change` it returns is then committed or undone. A change keeps the
service, its counters, and every socket whose address stays; connections keep the rules they began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from multid.net.datagram import DatagramListener
from multid.net.datagrams import DatagramSide
from multid.net.sockets import BindError
from multid.net.stream import StreamListener
from multid.net.streams import StreamSide
from multid.net.tls import server_context
from multid.service import Call, Change, Measure, Runtime, ServiceError

if TYPE_CHECKING:
    from multid.config.address import Address
    from multid.config.model import ServiceConfig

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between tries to bind an address: doubled from the first to the last."""


@dataclass
class Binding:
    """One address of the service: its listener, or why there is none and when it is tried again."""

    address: Address
    listener: StreamListener | DatagramListener | None = None
    port: int = 0
    problem: str = ""
    delay: float = FIRST_RETRY
    retry: Any = None

    def __str__(self) -> str:
        """Return the address, with the port the kernel chose where the file leaves it the choice."""
        return str(self.address).replace(":0", f":{self.port}", 1) if self.port else str(self.address)

    def stop(self) -> None:
        """Listen no more, try no more; the socket is the store's."""
        if self.retry is not None and self.retry.active():
            self.retry.cancel()
        if self.listener is not None:
            self.listener.stop()


class NetworkService(StreamSide, DatagramSide):
    """A running stanza; see the module."""

    def __init__(self, name: str, config: ServiceConfig, runtime: Runtime) -> None:
        super().__init__(name, config, runtime)
        self.bindings: dict[Any, Binding] = {}
        self.is_paused = False
        self._sweep: Any = None

    # What a kind may say, besides what its connections (`StreamSide`) and datagrams (`DatagramSide`) do

    async def open(self, config: Any) -> Change:
        """Open what a configuration needs besides its addresses; raise ServiceError where that cannot be."""
        return Change(lambda: None, lambda: None)

    async def close(self) -> None:
        """Close what `open` opened; the connections have ended."""

    def tick(self, now: float) -> None:
        """Do what must be done about once a second, besides what each connection's transport does."""

    def details(self) -> dict[str, Any]:
        """Return what the status of this kind shows besides addresses and counters."""
        return {}

    def reopen(self) -> None:
        """Open files anew that somebody may have moved away (SIGUSR1)."""

    @property
    def has_files(self) -> bool:
        """Whether there are files that `rotate` puts away."""
        return False

    async def rotate(self) -> list[str]:
        """Begin new files now; return the names of the old ones."""
        return []

    def activity(self) -> tuple[str, int]:
        """Return what the kind does most, and how often it has done it: the status page draws its rate."""
        return "requests", self.counters.connections_total + self.counters.datagrams

    def measures(self) -> Iterable[Measure]:
        """Return the numbers of this kind besides the counters."""
        return ()

    def readings(self) -> Mapping[str, Call]:
        """Return what may be asked about this service, by name: `GET /services/SERVICE/NAME` of the admin socket."""
        return {}

    def actions(self) -> Mapping[str, Call]:
        """Return what may be done to it: `POST /services/SERVICE/NAME`, for those who may change something."""
        return {}

    def fault(self) -> str:
        """Return what is wrong that only a new process can put right, such as a thread that has died; or nothing."""
        return ""

    # A configuration, the first or another

    async def prepare(self, config: Any, *, strict: bool) -> Change:
        """Bind and open what a configuration needs; `strict` makes a failed bind an error also where not required.

        Raise ServiceError, with everything as it was.
        """
        added = self.bind(config, strict=strict)
        try:
            tls = server_context(config.tls) if config.tls is not None else None
        except ValueError as error:
            raise ServiceError(f"tls: {error}") from error
        inner = await self.open(config)

        def commit() -> None:
            self.tls = tls
            inner.commit()
            self._commit(config, added)

        return Change(commit, inner.undo)

    def bind(self, config: Any, *, strict: bool) -> dict[Any, Binding]:
        """Bind the addresses that a configuration adds; what fails is kept with its problem, or raised.

        A socket that turns out not to be wanted stays with the store, whose owner closes it (`SocketStore.keep`).
        """
        added: dict[Any, Binding] = {}
        for address in config.listen:
            if address.key in self.bindings:
                continue
            added[address.key] = binding = Binding(address)
            try:
                self.runtime.sockets.bind(address, self.name)
            except BindError as error:
                binding.problem = str(error)
                if strict or config.required:
                    raise
        return added

    def _commit(self, config: Any, added: dict[Any, Binding]) -> None:
        if config == self.config and not added and self.bindings:
            return
        self.retune(config)
        wanted = {address.key for address in config.listen}
        for key in [key for key in self.bindings if key not in wanted]:
            self.bindings.pop(key).stop()
        self.bindings = {address.key: self._bound(address, added) for address in config.listen}

    def _bound(self, address: Address, added: dict[Any, Binding]) -> Binding:
        """Return the binding of an address; what may change of one that stays (`ssl:`, mode, backlog) has changed."""
        if address.key in added:
            return added[address.key]
        binding = self.bindings[address.key]
        if binding.address != address:
            binding.address = address
            self.runtime.sockets.retune(address, self.name)
            if binding.listener is not None:
                binding.listener.address = address
        return binding

    # Running

    def startService(self) -> None:
        """IService API: take connections on every address that is bound, and try the others again."""
        Service.startService(self)
        self.readers.startReading()
        self.listen()
        self._schedule_sweep()

    def listen(self) -> None:
        """Begin to listen on the addresses that are new; called when every service that gave one up has stopped."""
        for binding in self.bindings.values():
            if binding.listener is None and binding.retry is None:
                self._listen(binding)

    def stopService(self) -> Deferred[None]:
        """IService API: accept no more, finish open work; fires when the last connection has ended."""
        Service.stopService(self)
        for binding in self.bindings.values():
            binding.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.drain()
        if self._sweep is not None and self._sweep.active():
            self._sweep.cancel()
        self.readers.close()
        await self.close()

    def pause(self) -> None:
        """Accept and receive nothing until `resume`: clients wait with the kernel, open connections go on."""
        self.is_paused = True
        for binding in self.bindings.values():
            if binding.listener is not None:
                binding.listener.stop()

    def resume(self) -> None:
        """Accept and receive again, unless the service stops."""
        if not self.running:
            return
        self.is_paused = False
        for binding in self.bindings.values():
            if binding.listener is not None:
                binding.listener.start()

    def _listen(self, binding: Binding) -> None:
        address = binding.address
        try:
            sock = self.runtime.sockets.bind(address, self.name)
        except BindError as error:
            binding.problem = str(error)
            self._retry(binding)
            return
        if binding.problem:
            self.log.info("{service}: listens on {address}", service=self.name, address=str(address))
        binding.problem = ""
        binding.port = sock.getsockname()[1] if address.port_is_chosen else 0
        kind = DatagramListener if address.is_datagram else StreamListener
        binding.listener = kind(address, sock, self)
        self.runtime.sockets.lend(address, self.name, partial(self._finish, binding.listener))
        if not self.is_paused:
            binding.listener.start()

    def _finish(self, listener: StreamListener | DatagramListener) -> None:
        """Take who waits at an address that is given up; a service that has stopped takes nobody."""
        if self.running:
            listener.finish()

    def _retry(self, binding: Binding) -> None:
        self.log.warn(
            "{service}: {problem}; tried again in {delay:g} s",
            service=self.name,
            problem=binding.problem,
            delay=binding.delay,
        )
        binding.retry = self.runtime.reactor.callLater(binding.delay, self._listen, binding)
        binding.delay = min(binding.delay * 2, LAST_RETRY)

    def _schedule_sweep(self) -> None:
        timeouts = self.config.timeouts
        every = min(1.0, timeouts.idle / 4, timeouts.stall / 4)
        self._sweep = self.runtime.reactor.callLater(every, self._check)

    def _check(self) -> None:
        now = self.runtime.reactor.seconds()
        try:
            self.check_connections(now)
            self.report_datagrams(now)
            self.tick(now)
        finally:  # a fault of a kind must not be the end of every timeout
            if self.running or self.connections:
                self._schedule_sweep()

    # What an operator sees

    @property
    def state(self) -> str:
        """`up`, `degraded` (some addresses), `down` (none), `paused`, `draining` or `stopped`."""
        if not self.running:
            return "draining" if self.connections else "stopped"
        if self.is_paused:
            return "paused"
        problems = sum(bool(binding.problem) for binding in self.bindings.values())
        if not problems:
            return "up"
        return "down" if problems == len(self.bindings) else "degraded"

    def status(self) -> dict[str, Any]:
        """Return name, type, state, addresses (with problems), counters and details, as plain data."""
        return {
            "name": self.name,
            "type": self.config.type,
            "state": self.state,
            "listen": [{"address": str(binding), "problem": binding.problem} for binding in self.bindings.values()],
            "counters": self.counters.as_dict(),
            "details": self.details(),
        }
