"""What is generated in the documents is what the models and the commands say now, and their examples are true."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from multid.config.load import load
from multid.config.model import File
from multid.kinds import discover

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def generator():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module
    spec.loader.exec_module(module)
    return module


GENERATE = generator()
SECTIONS = GENERATE.sections()


@pytest.mark.parametrize(("path", "name"), SECTIONS, ids=lambda part: Path(part).name)
def test_the_generated_part_is_current(path, name):
    document = path.read_text("utf-8")
    text = SECTIONS[path, name]
    assert GENERATE.replaced(document, name, text) == document, "run: python docs/generate.py"


def test_a_document_without_marks_is_refused():
    with pytest.raises(ValueError, match="the marks of 'keys' are there 0 times"):
        GENERATE.replaced("# begin\n", "keys", "")


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("page", sorted((DOCS / "man").iterdir()), ids=lambda path: path.name)
def test_a_man_page_has_no_mistake(page):
    command = ["groff", "-man", "-ww", "-b", "-z", "-Tutf8", "-Kutf8", str(page)]
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def stanzas():
    for page in sorted([*DOCS.glob("*.md"), ROOT / "README.md"]):
        blocks = re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text("utf-8"))
        yield from (pytest.param(block, id=f"{page.name}-{number}") for number, block in enumerate(blocks, 1))


@pytest.mark.parametrize("text", [*stanzas()])
def test_a_configuration_shown_is_a_good_one(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text if text.startswith(TOP) else "services:\n" + indent(text, "  "))
    load(tmp_path / "a.yaml", {name: kind.config for name, kind in discover().items()})


TOP = tuple(f"{name}:" for name in File.model_fields)


def test_the_mistakes_shown_are_what_is_said(tmp_path):
    text = "# A test.\n\nservices:\n  loger:\n    listen: tcp:5140\n\n\n  echo:\n    listen: tcp:99037\n"
    (tmp_path / "multid.yaml").write_text(text)
    command = [sys.executable, "-c", "from multid.cli import main; main()", "check"]
    said = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True).stderr
    assert f"$ multid check\n{said}```" in (DOCS / "configuration.md").read_text("utf-8")
