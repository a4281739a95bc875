"""The `multid` command finds its subcommands by their files, and imports what is heavy only when it is needed."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

import multid.cli
from multid.cli import main

COMMANDS = sorted(path.stem for path in Path(multid.cli.__file__).parent.glob("[!_]*.py"))


def test_every_file_is_a_command():
    listed = CliRunner().invoke(main, ["--help"]).stdout.partition("Commands:")[2]
    assert [line.split()[0].replace("-", "_") for line in listed.splitlines() if line[:3].strip()] == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(main, [name.replace("_", "-"), "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4


def test_without_a_command_it_is_wrong_usage():
    assert CliRunner().invoke(main, []).exit_code == 2


@pytest.mark.parametrize(("word", "hint"), [("chekc", "; did you mean 'check'?"), ("zebra", ""), ("__init__", "")])
def test_an_unknown_command_is_wrong_usage(word, hint):
    result = CliRunner().invoke(main, [word])
    assert result.exit_code == 2
    assert f"no command '{word}'{hint}\n" in result.stderr


def test_the_version_is_that_of_the_package():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"multid {version('multid')}\n"


def test_no_command_imports_what_is_heavy_before_it_is_called():
    code = f"import sys, {', '.join(f'multid.cli.{name}' for name in COMMANDS)}; print(*sys.modules)"
    imported = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    assert imported >= {f"multid.cli.{name}" for name in COMMANDS}
    assert not {"twisted", "pydantic", "prometheus_client", "cryptography", "sqlite3"} & imported


@pytest.mark.parametrize("command", ["--version", "schema", "completion bash", "check config/multid.yaml --json"])
def test_a_full_disk_is_said_in_one_line(command):
    arguments = [sys.executable, "-c", "from multid.cli import main; main()", *command.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(arguments, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "multid: [Errno 28] No space left on device\n")
