"""The way from one configuration to the next: what it needs is prepared, then all of that is committed, or undone.

A service is prepared for what it shall be, bound and opened, while it goes on as it is. What cannot be had raises
ConfigErrors with the place in the file where it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from multid.config.problems import ConfigErrors, Problem
from multid.front import Front
from multid.net.sockets import BindError
from multid.service import ServiceError

if TYPE_CHECKING:
    from multid.config.load import Loaded
    from multid.config.model import ServiceConfig
    from multid.config.problems import Place
    from multid.net.service import NetworkService
    from multid.service import Change


class Transition:
    """Services that are prepared for a configuration."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._prepared: list[tuple[NetworkService, Change]] = []

    async def prepare(self, service: NetworkService, config: ServiceConfig, *, strict: bool) -> None:
        """Prepare one; `strict` demands every address."""
        try:
            change = await service.prepare(config, strict=strict)
        except ServiceError as error:
            place = _place(service, config, self._loaded, error)
            raise ConfigErrors([Problem(place, f"{service.name}: {error}")]) from error
        self._prepared.append((service, change))

    def commit(self, daemon: Any) -> None:
        """Make all of it current: who runs goes on, who does not begins as a part of the daemon."""
        for _, change in self._prepared:
            change.commit()
        for service, _ in self._prepared:
            if service.running:
                service.listen()
            else:
                service.setServiceParent(daemon)

    def undo(self) -> None:
        """Leave everything as it was."""
        for _, change in reversed(self._prepared):
            change.undo()


def _place(service: NetworkService, config: ServiceConfig, loaded: Loaded, error: ServiceError) -> Place:
    """Return where the address stands that cannot be bound, or the stanza."""
    index = config.listen.index(error.address) if isinstance(error, BindError) else 0
    if isinstance(service, Front):
        return loaded.place("admin", ("socket", "http")[index])
    if isinstance(error, BindError):
        return loaded.place("services", service.name, "listen", index)
    return loaded.place("services", service.name)
