"""`twistd multid`: its options, and the service it runs.

Everything that can be wrong with the file is said here, before twistd forks: on stderr, with exit status 78 and
without a traceback. Nothing is opened, bound or started until the service is.

Nearly all that is made until then stays, so the collector of cycles rests meanwhile, which is a tenth of the start, and
never goes through it later.
"""

import gc

gc.disable()

import os
import time
from pathlib import Path
from typing import Any

from twisted.python import usage

from multid.admin.service import Admin
from multid.config.find import find_config
from multid.config.load import Loaded, load
from multid.config.problems import ConfigErrors
from multid.daemon import Daemon
from multid.exits import CannotStart
from multid.kinds import discover
from multid.log.journal import complain
from multid.log.logbook import Logbook, open_logbook
from multid.net.sockets import SocketStore
from multid.notify import ServiceManager, inherited


class Options(usage.Options):
    """The options of `twistd multid`; reads the file."""

    optParameters = [["config", "c", None, "the configuration file; by default the first that is found"]]
    longdesc = "Runs the services of one YAML file. See `multid --help` for the commands that go with it."

    loaded: Loaded
    path: Path

    def postOptions(self) -> None:
        """usage.Options API."""
        self.kinds = discover()
        try:
            self.path = find_config(self["config"], os.environ, Path.cwd())
            self.loaded = self.read()
        except ConfigErrors as errors:
            complain(str(errors), os.environ)
            raise SystemExit(os.EX_CONFIG) from None

    def read(self) -> Loaded:
        """Read the file as it is now; raise ConfigErrors with every mistake."""
        return load(self.path, {name: kind.config for name, kind in self.kinds.items()})


def makeService(options: Options, reactor: Any = None) -> Daemon:
    """Return the daemon of the file; IServiceMaker API."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: PLC0415, TID251
    reactor.seconds = time.monotonic  # a clock that is set must neither fire nor hold up any timeout
    manager = ServiceManager(os.environ)
    daemon = Daemon(
        reactor,
        options.kinds,
        options.loaded,
        options.read,
        sockets=SocketStore(inherited(os.environ), manager),
        manager=manager,
        logbook=_logbook(options),
        foreground=options.parent is None or options.parent["nodaemon"],
    )
    daemon.front = Admin(daemon)
    reactor.callWhenRunning(_collect)
    return daemon


def _collect() -> None:
    gc.freeze()
    gc.enable()


def _logbook(options: Options) -> Logbook:
    log = options.loaded.file.log
    try:
        return open_logbook(log.format, log.level, options.parent or {}, os.environ)
    except OSError as error:
        raise CannotStart(f"the log: {error.strerror or error}") from None
