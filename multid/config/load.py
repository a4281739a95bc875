"""Reading the configuration: a file and what it includes become frozen values, or the list of all mistakes in them.

`load` is the only way in. It guarantees that either everything it returns fits the models of the kinds, or
`ConfigErrors` holds every mistake of every file, each with its place; no other exception leaves it, whatever the files
hold. Files named by `include` are found by pattern from the directory of the file that includes them, are read in the
order of the patterns and then of their names, and may add services, nothing else.
"""

import glob
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from multid.config.document import Document, Keys, read_document
from multid.config.explain import explain
from multid.config.model import File, ServiceConfig
from multid.config.problems import ConfigErrors, Place, Problem, did_you_mean, nearest

Kinds = Mapping[str, type[ServiceConfig]]


@dataclass(frozen=True)
class Loaded:
    """A valid configuration, the files it came from, and where in them each key stands."""

    file: File
    path: Path
    sources: tuple[Path, ...]
    places: Mapping[Keys, Place]

    def place(self, *keys: str | int) -> Place:
        """Return where a value stands, or the nearest above it that is written: `place("services", "echo")`."""
        while keys and keys not in self.places:
            keys = keys[:-1]
        return self.places.get(keys) or Place(str(self.path))


def load(path: Path, kinds: Kinds) -> Loaded:
    """Read the file and its includes; raise ConfigErrors with all that is wrong in them."""
    return _Reading(path, kinds).result()


class _Reading:
    """The reading of one configuration; collects problems until all is seen."""

    def __init__(self, path: Path, kinds: Kinds) -> None:
        self.path, self.kinds = path, kinds
        self.problems: list[Problem] = []
        self.documents: dict[Path, Document] = {}
        self._seen: set[str] = set()
        self.services: dict[str, ServiceConfig] = {}
        self.defined: dict[str, Document] = {}

    def result(self) -> Loaded:
        main = self._read(self.path)
        if main.data is None and not main.problems:
            self.problems.append(Problem(Place(main.name), "is empty", "a configuration has at least 'services:'"))
        file = self._file(main)
        self._services(main)
        for pattern, place in _patterns(main):
            self._include(pattern, place)
        self._clashes(file)
        self._shared_directories(file)
        if self.problems or file is None:
            raise ConfigErrors(self._sorted())
        file = file.model_copy(update={"services": self.services})
        return Loaded(file, self.path, tuple(self.documents), MappingProxyType(self._places()))

    def _file(self, document: Document) -> Any:
        """Return the keys of the file but for the services, or None where that cannot be."""
        data = self._mapping(document)
        if data is None:
            return None
        for key in self.kinds.keys() & data.keys():
            self.problems.append(
                Problem(document.keys[key,], f"unknown key {key!r}", "services stand below 'services:'")
            )
        return self._model(File, {key: data[key] for key in data if key not in {"services", *self.kinds}}, document)

    def _read(self, path: Path) -> Document:
        self._seen.add(os.path.abspath(path))
        document = self.documents[path] = read_document(path)
        self.problems += document.problems
        return document

    def _mapping(self, document: Document) -> dict[str, Any] | None:
        if document.data is None or isinstance(document.data, dict):
            return document.data
        message = "the file must be a mapping of keys and values, such as 'services:'"
        self.problems.append(Problem(document.top, message))
        return None

    def _include(self, pattern: str, place: Place) -> None:
        try:
            found = sorted(glob.glob(pattern, root_dir=self.path.parent, recursive=True))
        except ValueError:  # a zero octet
            found = []
        if not found and not glob.has_magic(pattern):
            self.problems.append(Problem(place, f"there is no file {pattern!r}"))
        for name in found:
            path = self.path.parent / name
            if os.path.abspath(path) not in self._seen:
                self._included(self._read(path))

    def _included(self, document: Document) -> None:
        for key in self._mapping(document) or ():
            if key != "services":
                message = f"unknown key {key!r}: an included file may have 'services' only"
                self.problems.append(Problem(document.keys[key,], message, did_you_mean(key, ["services"])))
        self._services(document)

    def _services(self, document: Document) -> None:
        stanzas = document.data.get("services") if isinstance(document.data, dict) else None
        if stanzas is not None and not isinstance(stanzas, dict):
            message = "services: must be a mapping of names and services"
            self.problems.append(Problem(document.place(("services",)), message))
            return
        for name, stanza in (stanzas or {}).items():
            here = document.keys["services", name]
            if name in self.defined:
                first = self.defined[name].keys["services", name]
                self.problems.append(Problem(here, f"duplicate service {name!r} (the first is at {first})"))
                continue
            self.defined[name] = document
            if not _is_name(name):
                message = f"a service's name has 1 to 64 printable characters without blanks and '/', not {name!r}"
                self.problems.append(Problem(here, message))
            service = self._service(name, stanza, document)
            if service is not None:
                self.services[name] = service

    def _service(self, name: str, stanza: Any, document: Document) -> ServiceConfig | None:
        keys: Keys = ("services", name)
        written = stanza.get("type") if isinstance(stanza, dict) else None
        kind = written if isinstance(written, str) else name
        if kind not in self.kinds:
            kind = self._unknown(kind, document.place((*keys, "type")) if written else document.keys[keys])
        model = self.kinds.get(kind)
        if model is None:
            return None
        data = {**stanza, "type": written or kind} if isinstance(stanza, dict) else stanza or {"type": kind}
        service: ServiceConfig | None = self._model(model, data, document, keys)
        return service

    def _unknown(self, kind: str, place: Place) -> str:
        """Note a type that is none; return the one that was meant, which tells the other mistakes of the stanza."""
        meant = nearest(kind, self.kinds)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(sorted(self.kinds))}"
        self.problems.append(Problem(place, f"unknown type of service {kind!r}", hint))
        return meant

    def _model(self, model: type[BaseModel], data: Any, document: Document, base: Keys = ()) -> Any:
        """Return the data as a value of the model, or None where it is none and the problems are noted."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self.problems += explain(error, model, document, base)
            return None

    def _clashes(self, file: File | None) -> None:
        """Two services cannot listen on one address, nor one where the status page is or beside all of a port."""
        taken: dict[object, dict[object, str]] = defaultdict(dict)
        """Of a port on every address: who has it, or which single ones of it."""
        if file is not None and file.admin.http is not None and not file.admin.http.port_is_chosen:
            taken[file.admin.http.everywhere][file.admin.http.key] = "admin.http"
        for name, service in self.services.items():
            for index, address in enumerate(service.listen if service.enabled else ()):
                if address.port_is_chosen:
                    continue
                beside = taken[address.everywhere]
                clashing = beside if address.key == address.everywhere else (address.key, address.everywhere)
                other = next((beside[key] for key in clashing if key in beside), None)
                if other is not None:
                    place = self.defined[name].place(("services", name, "listen", index))
                    by = "is here twice" if other == f"services.{name}" else f"is taken by {other}"
                    self.problems.append(Problem(place, f"services.{name}.listen: {address} {by}"))
                beside.setdefault(address.key, f"services.{name}")

    def _shared_directories(self, file: File | None) -> None:
        """What a service keeps in a directory is its own."""
        taken: dict[str, str] = {}
        for name, service in self.services.items():
            own = service.own_directory(file.state_dir) if file is not None and service.enabled else None
            if own is None:
                continue
            keys, path = own
            other = taken.setdefault(os.path.realpath(path), name)
            if other != name:
                place, first = (self.defined[one].place(("services", one, *keys)) for one in (name, other))
                message = f"services.{name}.{'.'.join(keys)}: {path} is used by services.{other} (at {first})"
                self.problems.append(Problem(place, message, "each needs a directory of its own"))

    def _sorted(self) -> Iterator[Problem]:
        order = {str(path): index for index, path in enumerate(self.documents)}
        return iter(sorted(self.problems, key=lambda one: (order[one.place.file], one.place.line, one.place.column)))

    def _places(self) -> dict[Keys, Place]:
        main, *included = self.documents.values()
        places = {keys: main.place(keys) for keys in main.keys}
        for document in included:
            places |= {keys: document.place(keys) for keys in document.keys if len(keys) > 1}
        return places


def _patterns(document: Document) -> Sequence[tuple[str, Place]]:
    """Return the patterns of `include` with their places; what is not a text is the model's to report."""
    include = document.data.get("include") if isinstance(document.data, dict) else None
    if isinstance(include, str):
        return [(include, document.place(("include",)))]
    items = include if isinstance(include, list) else []
    return [(item, document.place(("include", index))) for index, item in enumerate(items) if isinstance(item, str)]


def _is_name(name: str) -> bool:
    return 0 < len(name) <= 64 and name.isprintable() and not set(name) & set(" /") and name[0] not in ".-"
