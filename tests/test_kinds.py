"""Discovery: a file more is a kind more."""

import importlib
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import multid
import multid.services
from multid import kinds

GUIDE = Path(multid.__file__).parent.parent / "docs" / "adding-a-service.md"
SHOUT = re.search(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[1]  # type: ignore[index]
"""The service that the guide builds."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch):
    """One more folder of services."""
    monkeypatch.setattr(multid.services, "__path__", [*multid.services.__path__, str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name in {"multid.services.shout", "multid.services.wrong"}]:
        del sys.modules[name]
    importlib.invalidate_caches()


def test_a_new_file_is_a_new_kind_with_nothing_else_touched(folder: Path, bench) -> None:
    (folder / "shout.py").write_text(SHOUT)
    assert kinds.discover()["shout"].summary == "answers in capitals"
    service = bench.serve("shout", listen=["tcp:0:interface=127.0.0.1", "udp:0:interface=127.0.0.1"], mark="!")
    for number in (0, 1):
        client = bench.connect(service, number)
        client.send(b"hello")
        assert bench.read(client, 6) == b"HELLO!"


def test_a_file_without_a_kind_is_refused_by_name(folder: Path) -> None:
    (folder / "wrong.py").write_text("KIND = 'echo'\n")
    with pytest.raises(TypeError, match=r"multid\.services\.wrong\.KIND is no ServiceKind"):
        kinds.discover()


def test_a_name_that_is_taken_is_refused(folder: Path) -> None:
    (folder / "shout.py").write_text(SHOUT.replace('KIND = ServiceKind("shout"', 'KIND = ServiceKind("echo"'))
    with pytest.raises(ValueError, match="there is another kind named 'echo'"):
        kinds.discover()


def test_an_entry_point_of_another_package_is_a_kind(monkeypatch, folder: Path) -> None:
    (folder / "shout.py").write_text(SHOUT.replace('KIND = ServiceKind("shout"', 'KIND = ServiceKind("other"'))
    entry = EntryPoint("other", "multid.services.echo:KIND", "multid.kinds")
    monkeypatch.setattr(kinds, "entry_points", lambda group: [entry] if group == "multid.kinds" else [])
    with pytest.raises(ValueError, match=r"entry point multid\.services\.echo:KIND"):
        kinds.discover()
