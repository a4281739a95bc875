"""What a new configuration changes, by service name. Pure.

A stanza that is equal is kept untouched; one of the same type is changed in place; another type under the same name
is the end of one service and the start of another. A disabled stanza is as good as none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from multid.config.model import ServiceConfig

Services = Mapping[str, ServiceConfig]


@dataclass(frozen=True)
class Plan:
    """The names of the services that are kept, changed in place, started and stopped, each in the file's order."""

    keep: tuple[str, ...] = ()
    retune: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not (self.retune or self.start or self.stop)


def plan_reload(old: Services, new: Services) -> Plan:
    """Compare two configurations; every enabled service of either is named once, one whose type changes twice."""
    old, new = enabled(old), enabled(new)
    same = [name for name in new if name in old and old[name].type == new[name].type]
    return Plan(
        keep=tuple(name for name in same if old[name] == new[name]),
        retune=tuple(name for name in same if old[name] != new[name]),
        start=tuple(name for name in new if name not in same),
        stop=tuple(name for name in old if name not in same),
    )


def enabled(services: Services) -> dict[str, ServiceConfig]:
    """Return the services that the file switches on."""
    return {name: config for name, config in services.items() if config.enabled}
