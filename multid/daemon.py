"""The daemon: a MultiService that makes what runs equal to what the file says, at the start and at each reload.

Start: ports are bound while twistd still has its privileges, then each service opens what it needs and runs. One that
cannot is tried again (1 s, doubled to 60 s) while the others run, and meanwhile refuses connections: it gives up its
addresses, but for a port that it had no right to bind again. If it is `required` the process ends with 71. When every
one has been tried the service manager is told READY. Reload (SIGHUP, or over the admin socket): the new file is read,
everything it needs is bound and opened, and only when all of that has gone well is it made current; else what was
opened is closed and nothing has changed. Files that a stanza names (certificates, users, quotations) are read anew at
each reload, also where the stanza stays. Stop (SIGTERM): nothing new is accepted, open work is finished up to
`drain_timeout`; a second signal resets what is left. SIGUSR1 opens log files anew.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, DeferredLock
from twisted.logger import ILogObserver, Logger, globalLogPublisher

from multid.config.problems import ConfigErrors, Problem
from multid.exits import CannotStart, DaemonizeError, stop
from multid.net.descriptors import Descriptors
from multid.net.service import FIRST_RETRY, LAST_RETRY, NetworkService
from multid.net.sockets import BindError
from multid.overview import summary
from multid.reload import Plan, differences, enabled, plan_reload
from multid.reloads import Reloaded, Reloads
from multid.service import Change, Runtime, ServiceError, ServiceKind
from multid.signals import Signals
from multid.transition import Transition
from multid.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from multid.config.load import Loaded
    from multid.config.model import ServiceConfig
    from multid.front import Front
    from multid.log.logbook import Logbook
    from multid.net.sockets import SocketStore
    from multid.notify import ServiceManager


@dataclass
class Waiting:
    """A service that could not open what it needs, and when it is tried again."""

    service: NetworkService
    config: ServiceConfig
    problem: str
    delay: float = FIRST_RETRY
    retry: Any = None


class Daemon(MultiService):
    """Every service of one file; `read` reads the file again, raising ConfigErrors."""

    log = Logger()
    front: Front | None = None

    def __init__(
        self,
        reactor: Any,
        kinds: Mapping[str, ServiceKind],
        loaded: Loaded,
        read: Callable[[], Loaded],
        *,
        sockets: SocketStore,
        manager: ServiceManager,
        logbook: Logbook,
        foreground: bool = True,
    ) -> None:
        MultiService.__init__(self)
        self.reactor = reactor
        self.kinds = kinds
        self.loaded = loaded
        self.read = read
        self.manager = manager
        self.logbook = logbook
        self.foreground = foreground
        self.runtime = Runtime(reactor, sockets, Descriptors(), loaded.file.state_dir)
        self.waiting: dict[str, Waiting] = {}
        self.draining: list[NetworkService] = []
        self.started_at = time.time()
        self.ending_since: float | None = None
        self.is_ready = False
        self.reloads = Reloads(self._reload)
        self._watch = Watch(self)
        self._changing = DeferredLock()
        """Held by whatever prepares and commits: a reload, or a service that is tried again."""
        self._signals = Signals(reactor)

    def setServiceParent(self, parent: Any) -> None:
        """IService API: twistd asks its application for the log observer."""
        if self.logbook.form == "none":
            globalLogPublisher.addObserver(self.logbook)
        else:
            parent.setComponent(ILogObserver, self.logbook)
        MultiService.setServiceParent(self, parent)

    # Start

    def privilegedStartService(self) -> None:
        """IService API: bind every port, for after this twistd may give up the right to; files are the user's."""
        for name, config in enabled(self.loaded.file.services).items():
            for address in config.listen:
                if address.transport == "unix":
                    continue
                try:
                    self.runtime.sockets.bind(address, name)
                except BindError as error:
                    if config.required:
                        raise self._cannot_start(f"{name}: {error}") from None
        MultiService.privilegedStartService(self)

    def _cannot_start(self, problem: str) -> BaseException:
        if self.foreground:
            return CannotStart(problem)
        self.log.critical("{problem}", problem=problem)
        return DaemonizeError(problem)

    def startService(self) -> None:
        """IService API: begin; services come up as what they need has been opened."""
        MultiService.startService(self)
        self.log.info("configuration: {path}", path=str(self.loaded.path))
        self._signals.install({signal.SIGHUP: self.reload, signal.SIGUSR1: self.reopen})
        Deferred.fromCoroutine(self._begin()).addErrback(self._broken)

    async def _begin(self) -> None:
        try:
            self.loaded.file.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
            await self._open_front()
            for name, config in enabled(self.loaded.file.services).items():
                await self._start(name, config)
        except OSError as error:
            self._exit(f"state_dir {self.loaded.file.state_dir}: {error.strerror}")
        except ServiceError as error:
            self._exit(str(error))
        else:
            self._ready()

    async def _open_front(self) -> None:
        if self.front is not None:
            change = await self.front.prepare(self.front.wanted(self.loaded.file), strict=False)
            change.commit()
            self.front.startService()

    async def _start(self, name: str, config: ServiceConfig) -> None:
        service = self._build(name, config)
        try:
            change = await service.prepare(config, strict=False)
        except ServiceError as error:
            if config.required:
                raise ServiceError(f"{name}: {error}") from error
            self._wait(Waiting(service, config, str(error)))
            return
        if self.running:
            self._run(service, change)
        else:
            change.undo()

    def _ready(self) -> None:
        if not self.running:
            return
        for name in enabled(self.loaded.file.services):
            self._tell(name)
        for name in self.runtime.sockets.release():
            self.log.warn("the service manager passed a socket named {name}: no service listens on it", name=name)
        self.is_ready = True
        self.manager.ready(summary(self))
        self._watch.start()
        self.reloads.open()

    def _build(self, name: str, config: ServiceConfig) -> NetworkService:
        return self.kinds[config.type].build(name, config, self.runtime)

    def _run(self, service: NetworkService, change: Change) -> None:
        change.commit()
        service.setServiceParent(self)

    def _wait(self, waiting: Waiting) -> None:
        self.waiting[waiting.service.name] = waiting
        self._keep_sockets(self.loaded)
        self.log.error(
            "{service}: {problem}; tried again in {delay:g} s",
            service=waiting.service.name,
            problem=waiting.problem,
            delay=waiting.delay,
        )
        waiting.retry = self.reactor.callLater(waiting.delay, self._try_again, waiting)

    def _try_again(self, waiting: Waiting) -> None:
        Deferred.fromCoroutine(self._retry(waiting)).addErrback(self._broken)

    async def _retry(self, waiting: Waiting) -> None:
        async with self._changing:
            if self.waiting.get(waiting.service.name) is not waiting:
                return
            try:
                change = await waiting.service.prepare(waiting.config, strict=False)
            except ServiceError as error:
                delay = min(waiting.delay * 2, LAST_RETRY)
                self._wait(Waiting(waiting.service, waiting.config, str(error), delay))
                return
            if not self.running:
                change.undo()
                return
            del self.waiting[waiting.service.name]
            self._run(waiting.service, change)
            self._tell(waiting.service.name)

    def _tell(self, name: str) -> None:
        """Log one line of a service: its name, type, state and addresses."""
        if name not in self.namedServices:
            return
        service = self.namedServices[name]
        self.log.info(
            "{service}: {type} {state} on {addresses}",
            service=name,
            type=service.config.type,
            state=service.state,
            addresses=", ".join(str(binding) for binding in service.bindings.values()),
        )

    # Reload

    def reload(self, *, dry_run: bool = False) -> Deferred[Reloaded]:
        """Apply the file anew; fires when it is current, or with the reasons why nothing has changed."""
        return self.reloads.ask(dry_run=dry_run)

    async def _reload(self, dry_run: bool) -> Reloaded:
        if not self.running:
            raise ConfigErrors([Problem(self.loaded.place(), "the daemon is ending")])
        if dry_run:
            async with self._changing:
                return await self._apply(self.read(), dry_run=True)
        self.manager.reloading()
        try:
            async with self._changing:
                reloaded = await self._apply(self.read())
        except ConfigErrors as errors:
            self.log.error("reload refused, nothing has changed: {why}", why=_headlines(errors))
            raise
        finally:
            self.manager.ready(summary(self))
        self.reopen()
        self._tell_reloaded(reloaded)
        return reloaded

    def _tell_reloaded(self, reloaded: Reloaded) -> None:
        plan = reloaded.plan
        for difference in reloaded.differences:
            self.log.info("reload: {difference}", difference=str(difference))
        for name in [*plan.start, *plan.retune]:
            self._tell(name)
        self.log.info(
            "reloaded: {started} started, {retuned} changed, {stopped} stopped, {kept} untouched",
            started=len(plan.start),
            retuned=len(plan.retune),
            stopped=len(plan.stop),
            kept=len(plan.keep),
        )

    async def _apply(self, loaded: Loaded, *, dry_run: bool = False) -> Reloaded:
        """Make a configuration current, or raise ConfigErrors with everything as it was; so does a dry run."""
        self._fixed(loaded)
        plan = plan_reload(self.loaded.file.services, loaded.file.services)
        changed = differences(self.loaded, loaded, plan)
        transition = Transition(loaded)
        try:
            for service, config, strict in self._wanted(loaded, plan):
                await transition.prepare(service, config, strict=strict)
            if not self.running:
                raise ConfigErrors([Problem(loaded.place(), "the daemon is ending")])
        except BaseException:
            self._undo(transition)
            raise
        if dry_run:
            self._undo(transition)
            return Reloaded(plan, changed, dry_run=True, generation=self.reloads.generation)
        self._commit(loaded, plan, transition)
        return Reloaded(plan, changed, generation=self.reloads.succeeded())

    def _fixed(self, loaded: Loaded) -> None:
        """Refuse what cannot change while the daemon runs."""
        if loaded.file.state_dir != self.loaded.file.state_dir:
            message = f"state_dir cannot change while the daemon runs (it is {self.loaded.file.state_dir}): restart it"
            raise ConfigErrors([Problem(loaded.place("state_dir"), message)])

    def _wanted(self, loaded: Loaded, plan: Plan) -> Iterator[tuple[NetworkService, ServiceConfig, bool]]:
        """Return each service that goes on or begins, what it shall be, and whether all it binds is new to it."""
        if self.front is not None:
            yield self.front, self.front.wanted(loaded.file), True
        services = loaded.file.services
        for name in plan.retune:
            yield self.namedServices.get(name) or self._build(name, services[name]), services[name], True
        for name in plan.start:
            yield self._build(name, services[name]), services[name], True
        for name in plan.keep:
            if name in self.namedServices:
                yield self.namedServices[name], services[name], False

    def _undo(self, transition: Transition) -> None:
        transition.undo()
        self._keep_sockets(self.loaded)

    def _commit(self, loaded: Loaded, plan: Plan, transition: Transition) -> None:
        self.loaded = loaded
        self.logbook.levels.default = loaded.file.log.level
        for name in [*plan.stop, *plan.retune]:
            self._forget_waiting(name)
        self._keep_sockets(loaded)  # first: who still waits at an address that is given up comes in by the old rules
        for name in plan.stop:
            if name in self.namedServices:
                self._retire(self.namedServices[name])
        transition.commit(self)

    def _forget_waiting(self, name: str) -> None:
        waiting = self.waiting.pop(name, None)
        if waiting is not None and waiting.retry.active():
            waiting.retry.cancel()

    def _retire(self, service: NetworkService) -> None:
        """Stop a service that the file names no more; its connections may finish until `drain_timeout`."""
        self.draining.append(service)
        Deferred.fromCoroutine(self._drain(service)).addErrback(self._broken)

    async def _drain(self, service: NetworkService) -> None:
        deadline = self.reactor.callLater(self.loaded.file.drain_timeout, service.abort)
        try:
            await service.disownServiceParent()
        finally:
            self.draining.remove(service)
            if deadline.active():
                deadline.cancel()

    def _keep_sockets(self, loaded: Loaded) -> None:
        self._keep({**enabled(loaded.file.services), **self._wanted_in_front(loaded)}, but=self.waiting)

    def _wanted_in_front(self, loaded: Loaded) -> dict[str, ServiceConfig]:
        return {self.front.name: self.front.wanted(loaded.file)} if self.front is not None else {}

    def _keep(self, wanted: Mapping[str, ServiceConfig], but: Container[str] = ()) -> None:
        sockets = self.runtime.sockets
        sockets.keep(
            (address, name)
            for name, config in wanted.items()
            for address in config.listen
            if name not in but or not sockets.may_return(address, name)
        )

    # Stop

    def stopService(self) -> Deferred[Any]:
        """IService API: finish open work, up to `drain_timeout` or a second signal."""
        self.running = 0
        self.ending_since = time.time()
        self.manager.stopping()
        self._watch.stop()
        for name in list(self.waiting):
            self._forget_waiting(name)
        self._signals.end(self._abort)
        deadline = self.reactor.callLater(self.loaded.file.drain_timeout, self._abort)
        return Deferred.fromCoroutine(self._stop(deadline))

    async def _stop(self, deadline: Any) -> None:
        self._close_sockets(self._wanted_in_front(self.loaded))  # first: who waits comes in, to be drained
        stopping = [Deferred.fromCoroutine(_stopped(service)) for service in self]
        await DeferredList(stopping, consumeErrors=True)
        self._close_sockets({})
        if self.front is not None and self.front.running:
            await self.front.stopService()
        if deadline.active():
            deadline.cancel()

    def _close_sockets(self, wanted: Mapping[str, ServiceConfig]) -> None:
        """Close all that are not wanted, unless they are kept for us: no client shall wait for a daemon that goes."""
        if not self.manager.keeps_sockets:
            self._keep(wanted)

    def _abort(self) -> None:
        for service in [*self, *self.draining, *([self.front] if self.front is not None else [])]:
            service.abort()

    def reopen(self) -> None:
        """Open log files anew."""
        self.logbook.reopen()
        for service in self:
            service.reopen()

    def _broken(self, failure: Any) -> None:
        self.log.failure("a defect in multid; please report it", failure=failure)

    def _exit(self, message: str) -> None:
        self.log.critical("{message}", message=message)
        stop(self.reactor)


def _headlines(errors: ConfigErrors) -> str:
    return "; ".join(problem.headline for problem in errors.problems)


async def _stopped(service: NetworkService) -> None:
    await service.stopService()
