"""Which events are written: a level for all, others for parts of the program or for single services, at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import LogLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVELS = ("debug", "info", "warn", "error")


class Levels:
    """The least serious level that is written, by service or namespace; the nearest name decides.

    A name is that of a service, or a namespace and all below it: `multid.mail`, also written `mail`.
    """

    def __init__(self, default: str = "info") -> None:
        self.default = default
        self._named: dict[str, str] = {}

    def set(self, name: str, level: str) -> None:
        """Write the events of a service or namespace from a level on; ValueError where there is no such level."""
        if level not in LEVELS:
            raise ValueError(f"a level is {', '.join(LEVELS[:-1])} or {LEVELS[-1]}, not {level!r}")
        if name:
            self._named[name] = level
        else:
            self.default = level

    def reset(self, name: str) -> None:
        """Let the level for all hold for a name again."""
        self._named.pop(name, None)

    def as_dict(self) -> dict[str, str]:
        """Return the level of every name that has one; that for all has the name ''."""
        return {"": self.default, **self._named}

    def passes(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is written."""
        level: Any = event.get("log_level") or LogLevel.info
        return bool(level >= _LEVEL[self._level(event)])

    def _level(self, event: Mapping[str, Any]) -> str:
        if not self._named:
            return self.default
        service = event.get("service")
        if isinstance(service, str) and service in self._named:
            return self._named[service]
        parts = str(event.get("log_namespace", "")).split(".")
        for end in range(len(parts), 0, -1):
            name = ".".join(parts[:end])
            level = self._named.get(name) or self._named.get(name.removeprefix("multid."))
            if level is not None:
                return level
        return self.default


_LEVEL: dict[str, Any] = {name: LogLevel.levelWithName(name) for name in LEVELS}
