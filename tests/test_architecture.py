"""Who may import whom, and what every service kind must bring along."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import multid
from multid.kinds import discover

ROOT = Path(multid.__file__).parent
PROJECT = ROOT.parent

FLOORS = [
    {"config"},
    {"service"},
    {"net", "lines", "mail", "clock"},
    {"services"},
    {"kinds", "reload", "notify", "signals", "log", "front", "overview"},
    {"exits", "reloads", "transition", "watch"},
    {"daemon"},
    {"admin"},
    {"tap", "cli"},
]
"""Lower floors know nothing of higher ones; parts of one floor do not know each other."""

PURE = [
    "clock/packet.py",
    "lines/escape.py",
    "lines/framing.py",
    "lines/splitter.py",
    "lines/syslog.py",
    "mail/address.py",
    "mail/dsn.py",
    "mail/reply.py",
    "mail/retry.py",
    "mail/session.py",
    "net/follower.py",
    "net/guard.py",
    "net/proxy.py",
    "net/tokens.py",
    "reload.py",
]
"""Files without Twisted and without sockets, so that they are fuzzed and timed alone."""


FILES = [path for path in sorted(ROOT.rglob("*.py")) if path.name != "__init__.py" or path.parent.name == "cli"]


def imports(path: Path, *, everywhere: bool = False) -> Iterator[str]:
    """The modules a file imports as it is loaded; those for type checkers alone do not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if everywhere else _loaded(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _loaded(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _loaded(node.body + node.orelse)
        elif isinstance(node, ast.Try):
            yield from _loaded(node.body)
        else:
            yield node


def part(module: str) -> str:
    """`multid.net.peer.Peer` is of the part `net`."""
    return module.split(".")[1]


def floor(name: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if name in parts)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_its_own_part_and_lower_floors(path: Path) -> None:
    own = part("multid." + str(path.relative_to(ROOT).with_suffix("")).replace("/", "."))
    for module in imports(path):
        if not module.startswith("multid.") or module == "multid.__version__":
            continue
        other = part(module)
        if own == "services" and other == "services":
            assert module.startswith("multid.services._"), f"{path.name}: services never import each other"
        assert other == own or floor(other) < floor(own), f"{own} must not import {module}"


@pytest.mark.parametrize("name", PURE)
def test_the_pure_parts_import_neither_twisted_nor_sockets(name: str) -> None:
    for module in imports(ROOT / name, everywhere=True):
        assert not module.startswith(("twisted", "socket.", "OpenSSL", "ssl")), f"{name} imports {module}"
        assert module != "socket"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_takes_the_global_reactor_at_its_top(path: Path) -> None:
    assert "twisted.internet.reactor" not in list(imports(path))


@pytest.mark.parametrize("kind", list(discover().values()), ids=lambda kind: kind.name)
def test_every_kind_has_a_test_file_a_stanza_and_documentation(kind) -> None:
    module = importlib.import_module(kind.config.__module__)
    assert module.__doc__
    assert kind.config.__doc__
    for field in kind.config.model_fields.values():
        assert field.description
    assert (PROJECT / "tests" / "services" / f"test_{kind.name}.py").exists()
    shipped = yaml.safe_load((PROJECT / "config" / "multid.yaml").read_text())["services"]
    assert kind.name in {(stanza or {}).get("type", name) for name, stanza in shipped.items()}


def test_nothing_of_ours_makes_twisted_a_package_of_its_own() -> None:
    assert not list((PROJECT / "twisted").rglob("__init__.py"))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Before Python 3.11.5, as on Debian 12, `(ab)*+` keeps a part of what did not match; `(?>(ab)*)` does not."""
    assert re.findall(r"\)(?:[*+?]|\{[\d,]*\})\+", path.read_text("utf-8")) == []
