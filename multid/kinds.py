"""Finding the service kinds: the files in `multid/services/`, and other packages' entry points `multid.kinds`.

A file there holds one `KIND`; its name says nothing, the kind's does. An entry point names such an object.
"""

import importlib
import pkgutil
from importlib.metadata import entry_points

import multid.services
from multid.service import ServiceKind


def discover() -> dict[str, ServiceKind]:
    """Return every kind by its name; TypeError where what should be one is none, ValueError where a name is twice."""
    found: dict[str, ServiceKind] = {}
    for origin, kind in [*_ours(), *_others()]:
        if not isinstance(kind, ServiceKind):
            raise TypeError(f"{origin} is no ServiceKind")
        if kind.name in found:
            raise ValueError(f"{origin}: there is another kind named {kind.name!r}")
        found[kind.name] = kind
    return found


def _ours() -> list[tuple[str, object]]:
    names = sorted(module.name for module in pkgutil.iter_modules(multid.services.__path__))
    modules = [importlib.import_module(f"multid.services.{name}") for name in names if not name.startswith("_")]
    return [(f"{module.__name__}.KIND", getattr(module, "KIND", None)) for module in modules]


def _others() -> list[tuple[str, object]]:
    return [(f"entry point {entry.value}", entry.load()) for entry in entry_points(group="multid.kinds")]
