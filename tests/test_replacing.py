"""The table of what multid replaces: every stanza in it is one that multid takes."""

import re
from pathlib import Path

import pytest
import yaml

import multid
from multid.config.load import load
from multid.kinds import discover

DOCUMENT = Path(multid.__file__).parent.parent / "docs" / "operating.md"
TABLE = DOCUMENT.read_text().split("| before | after |")[1]
STANZAS = [cell for cell in re.findall(r"\| `([^`|]+)` \|$", TABLE, re.MULTILINE) if ": " in cell]


def services(stanza: str) -> dict:
    """A stanza, or a key of one, as the services of a file."""
    value = yaml.safe_load(stanza)
    if "routes" in value:
        return {"smtp": {"listen": "tcp:25", **value}}
    return {"logger": {"listen": "tcp:514", **value}} if "output" in value else value


@pytest.mark.parametrize("stanza", STANZAS)
def test_it_loads(stanza: str, tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    file = tmp_path / "multid.yaml"
    file.write_text(yaml.safe_dump({"services": services(stanza)}))
    assert load(file, {name: kind.config for name, kind in discover().items()}).file.services


def test_the_table_has_what_it_is_there_for() -> None:
    assert len(STANZAS) >= 7
