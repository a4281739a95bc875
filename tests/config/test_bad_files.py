"""Each bad file beside what is said of it, compared whole. `python -m tests.config.test_bad_files` writes it anew."""

import os
import subprocess
from pathlib import Path

import pytest

from multid.config.load import load
from multid.config.problems import ConfigErrors
from multid.kinds import discover
from tests.process import BIN, environment

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.yaml"))
KINDS = {name: kind.config for name, kind in discover().items()}


def said_of(path: Path) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load(path, KINDS)
    return f"{caught.value}\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_mistake_is_told_at_its_place(path, monkeypatch):
    monkeypatch.chdir(BAD)
    assert said_of(Path(path.name)) == path.with_suffix(".expected").read_text("utf-8")


def test_the_corpus_is_large_and_whole():
    assert len(FILES) >= 40
    assert {path.stem for path in FILES} == {path.stem for path in BAD.glob("*.expected")}


def test_the_daemon_says_the_same_as_the_check_and_ends_with_78():
    file = str(BAD / "eight-mistakes.yaml")
    daemon, check = (
        subprocess.run([BIN / command[0], *command[1:]], env=environment(), capture_output=True, text=True)
        for command in (["twistd", "-n", "--pidfile=", "multid", "-c", file], ["multid", "check", file])
    )
    assert (daemon.returncode, daemon.stdout) == (check.returncode, check.stdout) == (os.EX_CONFIG, "")
    assert check.stderr == f"{daemon.stderr}8 mistakes in the configuration\n"
    assert daemon.stderr.replace(f"{BAD}/", "") == (BAD / "eight-mistakes.expected").read_text("utf-8")


if __name__ == "__main__":
    os.chdir(BAD)
    for file in FILES:
        file.with_suffix(".expected").write_text(said_of(Path(file.name)), "utf-8")
