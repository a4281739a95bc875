"""One file of the configuration: its plain data, and the place of every key and value.

`read_document` returns what a file holds as dict, list, str and None, with a `Place` for every path into it, and the
mistakes that need no schema: an unreadable file, bytes that are not UTF-8, syntax, duplicate keys, tags, aliases that
loop or explode. A mapping merged with `<<` yields to the keys beside it, and its values keep the place where they
stand. Reading is bounded: `MAX_OCTETS` of text, `MAX_VALUES` values after aliases are followed.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from multid.config.files import read_octets
from multid.config.problems import Place, Problem
from multid.config.scanner import LINE_END, MAX_DEPTH, Loader, RefusedError, UnknownAlias, explain

MAX_OCTETS = 1 << 20
MAX_VALUES = 50_000

_FORBIDDEN = re.compile(f"{yaml.reader.Reader.NON_PRINTABLE.pattern}|\ufeff")
_HALF = re.compile("[\ud800-\udfff]")

Keys = tuple[str | int, ...]
"""The way from the top of a file to a value: keys, and indices of lists from 0."""


@dataclass(frozen=True)
class Document:
    """What one file holds; `data` is None where it holds nothing or cannot be read."""

    name: str
    top: Place
    data: Any = None
    keys: dict[Keys, Place] = field(default_factory=dict)
    values: dict[Keys, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Keys) -> Place:
        """Return where a value stands: a text at itself, a mapping or a list at its key, else what is above it."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.values.get(path) or self.keys.get(path) or self.top


def read_document(path: Path) -> Document:
    """Read one file; whatever is wrong with it is in the document's `problems`, nothing is raised."""
    name = str(path)
    try:
        octets = read_octets(path, MAX_OCTETS + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Document(name, Place(name), problems=[Problem(Place(name), f"cannot be read: {reason}")])
    if len(octets) > MAX_OCTETS:
        return Document(name, Place(name), problems=[Problem(Place(name), f"is longer than {MAX_OCTETS} octets")])
    return parse_document(octets, name)


def parse_document(octets: bytes, name: str) -> Document:
    """Return the document in the octets of a file, as `read_document`."""
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = LINE_END.split(octets[: error.start].decode("utf-8"))
        source = octets[: error.start + 60].decode("utf-8", "replace")
        line = LINE_END.split(source)[len(before) - 1]
        place = Place(name, len(before), len(before[-1]) + 1, line)
        return Document(
            name, Place(name), problems=[Problem(place, f"not UTF-8: the octet 0x{octets[error.start]:02x}")]
        )
    return _Reading(text, name).document


Nodes = tuple[yaml.Node, ...]


class _Reading:
    """The reading of one text; it holds what a document is made of while it is made."""

    def __init__(self, text: str, name: str) -> None:
        self.lines = LINE_END.split(text)
        self.document = Document(name, Place(name))
        self._reported: set[Problem] = set()
        self._visits = 0
        text = self._without_control_characters(text)
        self._loader = Loader(text, self._report)
        try:
            root = self._loader.get_single_node()
            data = self._value(root, (), ()) if root is not None else None
            top = self._mark(root.start_mark) if root is not None else Place(name)
        except yaml.MarkedYAMLError as error:
            self._report(*explain(error, self.lines))
        except (ValueError, OverflowError):  # a number or an escape beyond all characters
            self._report(self._loader.get_mark(), "not a character or a number that YAML knows")
        else:
            self.document = replace(self.document, data=data, top=top)

    def _without_control_characters(self, text: str) -> str:
        if not _FORBIDDEN.search(text):
            return text
        for number, line in enumerate(self.lines):
            match = _FORBIDDEN.search(line)
            if match:
                place = Place(self.document.name, number + 1, match.start() + 1, line)
                message = f"the character U+{ord(match[0]):04X} has no place here"
                hint = "write it as an escape in double quotes"
                self.document.problems.append(Problem(place, message, hint))
        return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)

    def _report(self, mark: yaml.Mark, message: str, hint: str = "") -> None:
        problem = Problem(self._mark(mark), message, hint)
        if problem not in self._reported:  # an alias leads to the same mistake more than once
            self._reported.add(problem)
            self.document.problems.append(problem)

    def _mark(self, mark: yaml.Mark) -> Place:
        source = self.lines[mark.line] if mark.line < len(self.lines) else ""
        return Place(self.document.name, mark.line + 1, self._loader.column_of(mark) + 1, source)

    def _value(self, node: yaml.Node, path: Keys, above: Nodes) -> Any:
        self._visit(node, above)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return self._sequence(node, path, above)
        self._tag(node, "str", "null", "merge")
        return None if node.tag.endswith(":null") else self._text(node)

    def _visit(self, node: yaml.Node, above: Nodes) -> None:
        """Hold the bounds: aliases may lead anywhere, and each may lead to many more."""
        self._visits += 1
        if any(node is other for other in above):
            raise _error(node, "what this anchor names contains itself")
        if self._visits > MAX_VALUES:
            raise _error(node, f"more than {MAX_VALUES} values when aliases are followed")
        if len(above) > MAX_DEPTH:
            raise _error(node, f"nested deeper than {MAX_DEPTH} levels when aliases are followed")

    def _sequence(self, node: yaml.SequenceNode, path: Keys, above: Nodes) -> list[Any]:
        self._tag(node, "seq")
        values = []
        for index, item in enumerate(node.value):
            here = (*path, index)
            self.document.keys[here] = self._mark(item.start_mark)
            values.append(self._value(item, here, (*above, node)))
        return values

    def _mapping(self, node: yaml.MappingNode, path: Keys, above: Nodes) -> dict[str, Any]:
        values = {}
        for name, (key, value) in self._entries(node, above).items():
            here = (*path, name)
            self.document.keys[here] = self._mark(key.start_mark)
            if isinstance(value, yaml.ScalarNode):
                self.document.values[here] = self._mark(value.start_mark)
            values[name] = self._value(value, here, (*above, node))
        return values

    def _entries(self, node: yaml.MappingNode, above: Nodes) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return the keys and values of a mapping by the keys' text: its own, then what it merges besides."""
        self._tag(node, "map")
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        seen: dict[str, yaml.Node] = {}
        bases: list[yaml.MappingNode] = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._report(key.start_mark, "a key must be a plain text")
                continue
            name = self._text(key)
            first = seen.setdefault(name, key)
            if first is not key:
                line = first.start_mark.line + 1
                self._report(key.start_mark, f"duplicate key {name!r} (the first is on line {line})")
            elif key.tag.endswith(":merge"):
                bases = self._bases(value)
            else:
                own[name] = key, value
        for base in bases:
            self._visit(base, (*above, node))
            for name, entry in self._entries(base, (*above, node)).items():
                own.setdefault(name, entry)
        return own

    def _bases(self, node: yaml.Node) -> list[yaml.MappingNode]:
        bases = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for base in bases:
            if not isinstance(base, yaml.MappingNode | UnknownAlias):
                self._report(base.start_mark, "'<<' merges a mapping, or a list of mappings")
        return [base for base in bases if isinstance(base, yaml.MappingNode)]

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if not text.isascii() and _HALF.search(text):
            self._report(node.start_mark, "half of a surrogate pair is no character")
            return _HALF.sub("\N{REPLACEMENT CHARACTER}", text)
        return text

    def _tag(self, node: yaml.Node, *allowed: str) -> None:
        if node.tag.removeprefix("tag:yaml.org,2002:") not in allowed:
            message = f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')!r} has no place here"
            self._report(node.start_mark, message, "write the value alone")


def _error(node: yaml.Node, message: str) -> RefusedError:
    return RefusedError(None, None, message, node.start_mark)
