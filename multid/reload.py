"""What a new configuration changes, by service name and key by key. Pure.

A stanza that is equal is kept untouched; one of the same type is changed in place; another type under the same name
is the end of one service and the start of another. A disabled stanza is as good as none.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from multid.config.model import ServiceConfig

if TYPE_CHECKING:
    from multid.config.load import Loaded

Services = Mapping[str, ServiceConfig]
Keys = tuple[str | int, ...]

_ABSENT: Any = object()


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


@dataclass(frozen=True)
class Difference:
    """One thing that a reload changes: `+` a service, `-` a service, `~` a value; `place` is that of the new value."""

    sign: str
    key: str
    old: str = ""
    new: str = ""
    place: str = ""

    def __str__(self) -> str:
        if self.sign == "~" and self.old:
            return f"~ {self.key}: {self.old} -> {self.new} ({self.place})"
        return f"{self.sign} {self.key}: {self.old}{self.new}" + (f" ({self.place})" if self.place else "")

    def as_json(self) -> dict[str, str]:
        """Return it as plain values."""
        return asdict(self)


def differences(old: "Loaded", new: "Loaded", plan: Plan) -> tuple[Difference, ...]:
    """Return what is different, value by value, with the places of the new values."""
    return (*_general(old, new), *_retuned(old, new, plan), *_started(new, plan), *_stopped(old, plan))


def _general(old: "Loaded", new: "Loaded") -> Iterator[Difference]:
    without = {"services", "include"}
    before = old.file.model_dump(mode="json", by_alias=True, exclude=without)
    after = new.file.model_dump(mode="json", by_alias=True, exclude=without)
    for keys, was, will in _changes(before, after, ()):
        yield _changed(keys, was, will, new, keys)


def _retuned(old: "Loaded", new: "Loaded", plan: Plan) -> Iterator[Difference]:
    for name in plan.retune:
        before, after = old.file.services[name], new.file.services[name]
        dumps = before.model_dump(mode="json", by_alias=True), after.model_dump(mode="json", by_alias=True)
        for keys, was, will in _changes(*dumps, (name,)):
            yield _changed(keys, was, will, new, ("services", *keys))


def _started(new: "Loaded", plan: Plan) -> Iterator[Difference]:
    for name in plan.start:
        yield Difference("+", name, new=_what(new, name), place=str(new.place("services", name)))


def _stopped(old: "Loaded", plan: Plan) -> Iterator[Difference]:
    for name in plan.stop:
        yield Difference("-", name, old=_what(old, name))


def _what(loaded: "Loaded", name: str) -> str:
    config = loaded.file.services[name]
    return f"{config.type} on {', '.join(str(address) for address in config.listen)}"


def _changed(keys: Keys, old: Any, new: Any, loaded: "Loaded", full: Keys) -> Difference:
    is_written = full in loaded.places
    place = str(loaded.places[full]) if is_written else "by default"
    return Difference("~", ".".join(str(key) for key in keys), _text(old), _text(new), place)


def _changes(old: Any, new: Any, keys: Keys) -> Iterator[tuple[Keys, Any, Any]]:
    """Walk two values of one shape; lists of as many mappings are compared one by one, all others as a whole."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _changes(old.get(key, _ABSENT), new.get(key, _ABSENT), (*keys, key))
    elif _are_alike(old, new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changes(*pair, (*keys, index))
    else:
        yield keys, old, new


def _are_alike(old: Any, new: Any) -> bool:
    return (
        isinstance(old, list)
        and isinstance(new, list)
        and len(old) == len(new)
        and all(isinstance(one, dict) for one in [*old, *new])
    )


def _text(value: Any) -> str:
    if value is _ABSENT or value is None or value == []:
        return "none"
    if isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        return ", ".join(_text(one) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
