"""The daemon: a MultiService that makes what runs equal to what the file says, at the start and at each reload.

Start: addresses are bound while twistd still has its privileges, then each service opens what it needs and runs. One
that cannot is tried again (1 s, doubled to 60 s) while the others run, unless it is `required`: then the process
ends with 71. Reload (SIGHUP): the new file is read, everything it needs is bound and opened, and only when all of
that has gone well is it made current; else what was opened is closed and nothing has changed. Files that a stanza
names (certificates, users, quotations) are read anew at each reload, also where the stanza stays. Reloads that are
asked for during one are answered together by the next. Stop (SIGTERM): nothing new is accepted, open work is finished
up to `drain_timeout`; a second signal resets what is left. SIGUSR1 opens log files anew.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from multid.config.problems import ConfigErrors
from multid.net.descriptors import Descriptors
from multid.net.service import FIRST_RETRY, LAST_RETRY, NetworkService
from multid.net.sockets import BindError, SocketStore
from multid.reload import Plan, enabled, plan_reload
from multid.service import Change, Runtime, ServiceError, ServiceKind

if TYPE_CHECKING:
    from multid.config.load import Loaded
    from multid.config.model import ServiceConfig

EX_OSERR = 71


class CannotStart(SystemExit):
    """The system does not give what a required service needs: one line on stderr, exit status 71, no traceback."""

    def __init__(self, message: str) -> None:
        super().__init__(EX_OSERR)
        self.message = message
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"multid: {message}\n")

    def __str__(self) -> str:
        """Return what twistd tells the terminal when it has daemonized."""
        return self.message


@dataclass
class Waiting:
    """A service that could not open what it needs, and when it is tried again."""

    service: NetworkService
    config: ServiceConfig
    problem: str
    delay: float = FIRST_RETRY
    retry: Any = None


@dataclass(frozen=True)
class Reloaded:
    """How a reload went: what it changed, or why nothing has changed."""

    plan: Plan
    errors: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether the old configuration stays."""
        return bool(self.errors)


class Daemon(MultiService):
    """Every service of one file; `read` reads the file again, raising ConfigErrors."""

    log = Logger()

    def __init__(
        self, reactor: Any, kinds: Mapping[str, ServiceKind], loaded: Loaded, read: Callable[[], Loaded]
    ) -> None:
        MultiService.__init__(self)
        self.reactor = reactor
        self.kinds = kinds
        self.loaded = loaded
        self.read = read
        self.runtime = Runtime(reactor, SocketStore(), Descriptors(), loaded.file.state_dir)
        self.waiting: dict[str, Waiting] = {}
        self.draining: list[NetworkService] = []
        self.started_at = time.time()
        self.last_reload: Reloaded | None = None
        self.last_reload_success = self.started_at
        self._asked: list[Deferred[Reloaded]] = []
        self._reloading = False
        self._signals: dict[int, Any] = {}

    # Start

    def privilegedStartService(self) -> None:
        """IService API: bind every address, for after this twistd may give up the right to."""
        for name, config in enabled(self.loaded.file.services).items():
            for address in config.listen:
                try:
                    self.runtime.sockets.bind(address, name)
                except BindError as error:
                    if config.required:
                        raise CannotStart(f"{name}: {error}") from None
        MultiService.privilegedStartService(self)

    def startService(self) -> None:
        """IService API: begin; services come up as what they need has been opened."""
        MultiService.startService(self)
        self.log.info("configuration: {path}", path=str(self.loaded.path))
        self._install_signals()
        Deferred.fromCoroutine(self._begin()).addErrback(self._broken)

    async def _begin(self) -> None:
        try:
            self.loaded.file.state_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            self._exit(f"state_dir {self.loaded.file.state_dir}: {error.strerror}")
            return
        for name, config in enabled(self.loaded.file.services).items():
            service = self._build(name, config)
            try:
                change = await service.prepare(config, strict=False)
            except ServiceError as error:
                if config.required:
                    self._exit(f"{name}: {error}")
                    return
                self._wait(Waiting(service, config, str(error)))
            else:
                self._run(service, change)
        for name in enabled(self.loaded.file.services):
            self._tell(name)

    def _build(self, name: str, config: ServiceConfig) -> NetworkService:
        return self.kinds[config.type].build(name, config, self.runtime)

    def _run(self, service: NetworkService, change: Change) -> None:
        change.commit()
        service.setServiceParent(self)

    def _wait(self, waiting: Waiting) -> None:
        self.waiting[waiting.service.name] = waiting
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
        try:
            change = await waiting.service.prepare(waiting.config, strict=False)
        except ServiceError as error:
            delay = min(waiting.delay * 2, LAST_RETRY)
            if self.waiting.get(waiting.service.name) is waiting:
                self._wait(Waiting(waiting.service, waiting.config, str(error), delay))
            return
        if self.waiting.get(waiting.service.name) is not waiting or not self.running:
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

    def reload(self) -> Deferred[Reloaded]:
        """Apply the file anew; fires when it is current, or with the reasons why nothing has changed."""
        answer: Deferred[Reloaded] = Deferred()
        self._asked.append(answer)
        if not self._reloading:
            self._reloading = True
            Deferred.fromCoroutine(self._reload_all()).addErrback(self._broken)
        return answer

    async def _reload_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                self.last_reload = await self._reload()
                for answer in asked:
                    answer.callback(self.last_reload)
        finally:
            self._reloading = False

    async def _reload(self) -> Reloaded:
        try:
            loaded = self.read()
            plan = await self.apply(loaded)
        except (ConfigErrors, ServiceError) as error:
            self.log.error("reload refused, nothing has changed: {why}", why=str(error))
            return Reloaded(Plan(), tuple(str(error).splitlines()))
        self.last_reload_success = time.time()
        for name in [*plan.start, *plan.retune]:
            self._tell(name)
        self.log.info(
            "reloaded: {started} started, {retuned} changed, {stopped} stopped, {kept} untouched",
            started=len(plan.start),
            retuned=len(plan.retune),
            stopped=len(plan.stop),
            kept=len(plan.keep),
        )
        return Reloaded(plan)

    async def apply(self, loaded: Loaded) -> Plan:
        """Make a configuration current, or raise ServiceError with everything as it was."""
        plan = plan_reload(self.loaded.file.services, loaded.file.services)
        services = loaded.file.services
        changes: list[Change] = []
        built: list[NetworkService] = []
        try:
            for name in [*plan.retune, *plan.start]:
                service = self._candidate(name, services[name], plan)
                changes.append(await self._prepared(service, services[name], strict=True))
                built.append(service)
            for service in [self.namedServices[name] for name in plan.keep if name in self.namedServices]:
                changes.append(await self._prepared(service, service.config, strict=False))
        except ServiceError:
            for change in reversed(changes):
                change.undo()
            self._keep_sockets(self.loaded)
            raise
        self._commit(loaded, plan, changes, built)
        return plan

    def _candidate(self, name: str, config: ServiceConfig, plan: Plan) -> NetworkService:
        running = self.namedServices.get(name)
        return running if running is not None and name in plan.retune else self._build(name, config)

    async def _prepared(self, service: NetworkService, config: ServiceConfig, *, strict: bool) -> Change:
        try:
            return await service.prepare(config, strict=strict)
        except ServiceError as error:
            raise ServiceError(f"{service.name}: {error}") from error

    def _commit(self, loaded: Loaded, plan: Plan, changes: list[Change], services: list[NetworkService]) -> None:
        self.loaded = loaded
        for name in [*plan.stop, *plan.retune]:
            self._forget_waiting(name)
        for name in plan.stop:
            if name in self.namedServices:
                self._retire(self.namedServices[name])
        for change in changes:
            change.commit()
        for service in services:
            if service.parent is None:
                service.setServiceParent(self)
            else:
                service.listen()
        self._keep_sockets(loaded)

    def _forget_waiting(self, name: str) -> None:
        waiting = self.waiting.pop(name, None)
        if waiting is not None and waiting.retry.active():
            waiting.retry.cancel()

    def _retire(self, service: NetworkService) -> None:
        """Stop a service that the file names no more; its connections may finish until `drain_timeout`."""
        self.draining.append(service)
        stopped = Deferred.fromCoroutine(self._drain(service))
        stopped.addErrback(self._broken)

    async def _drain(self, service: NetworkService) -> None:
        deadline = self.reactor.callLater(self.loaded.file.drain_timeout, service.abort)
        try:
            await service.disownServiceParent()
        finally:
            self.draining.remove(service)
            if deadline.active():
                deadline.cancel()

    def _keep_sockets(self, loaded: Loaded) -> None:
        services = enabled(loaded.file.services).items()
        self.runtime.sockets.keep((address, name) for name, config in services for address in config.listen)

    # Stop

    def stopService(self) -> Deferred[Any]:
        """IService API: finish open work, up to `drain_timeout` or a second signal."""
        self.running = 0
        for name in list(self.waiting):
            self._forget_waiting(name)
        self._restore_signals()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.reactor.callFromThread(self._abort))
        deadline = self.reactor.callLater(self.loaded.file.drain_timeout, self._abort)
        stopping = [Deferred.fromCoroutine(_stopped(service)) for service in self]
        done: Deferred[Any] = DeferredList(stopping, consumeErrors=True)
        return done.addBoth(_cancelled, deadline)

    def _abort(self) -> None:
        for service in [*self, *self.draining]:
            service.abort()

    # Signals and failures

    def _install_signals(self) -> None:
        for number, action in ((signal.SIGHUP, self._hang_up), (signal.SIGUSR1, self._reopen)):
            self._signals[number] = signal.getsignal(number)
            signal.signal(number, self._later(action, self._signals[number]))

    def _later(self, action: Callable[[], None], before: Any) -> Callable[..., None]:
        def on_signal(number: int, frame: Any) -> None:
            if callable(before):
                before(number, frame)
            self.reactor.callFromThread(action)

        return on_signal

    def _restore_signals(self) -> None:
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)

    def _hang_up(self) -> None:
        self.reload()

    def _reopen(self) -> None:
        for service in self:
            service.reopen()

    def _broken(self, failure: Any) -> None:
        self.log.failure("a defect in multid; please report it", failure=failure)

    def _exit(self, message: str) -> None:
        """Stop a daemon that has begun to start, with 71; twistd, which would end with 0, cleans up first."""
        self.log.critical("{message}", message=message)
        atexit.register(_leave, EX_OSERR)
        self.reactor.stop()


async def _stopped(service: NetworkService) -> None:
    await service.stopService()


def _cancelled(result: Any, call: Any) -> Any:
    if call.active():
        call.cancel()
    return result


def _leave(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
