"""`multid check` shows every mistake at once and ends with 78, or says that all is well and ends with 0."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from multid.cli import main

GOOD = "services:\n  echo: {listen: tcp:7007}\n  time: {listen: tcp:7037, enabled: false}\n"
BAD = "servces: {}\nservices:\n  echo: {listen: tcp:99037}\n"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)


def check(*arguments):
    return CliRunner().invoke(main, ["check", *arguments])


def test_a_good_file_is_ok():
    Path("a.yaml").write_text(GOOD)
    result = check("a.yaml")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "a.yaml: ok, 2 services, 1 of them switched off\n",
        "",
    )


def test_included_files_are_counted():
    Path("a.yaml").write_text("include: b.yaml\n")
    Path("b.yaml").write_text("services: {echo: {listen: tcp:7007}}\n")
    assert check("a.yaml").stdout == "a.yaml (with 1 included): ok, 1 service\n"


def test_every_mistake_of_a_bad_file_is_on_stderr():
    Path("a.yaml").write_text(BAD)
    result = check("a.yaml")
    assert (result.exit_code, result.stdout) == (os.EX_CONFIG, "")
    assert result.stderr == (
        "a.yaml:1:1: error: unknown key 'servces'; did you mean 'services'?\n"
        "     1 | servces: {}\n"
        "       | ^\n"
        "a.yaml:3:18: error: services.echo.listen: a port is a number from 0 to 65535, not '99037'\n"
        "     3 |   echo: {listen: tcp:99037}\n"
        "       |                  ^\n"
        "2 mistakes in the configuration\n"
    )


def test_as_json_a_good_file_lists_its_files_and_services():
    Path("a.yaml").write_text(GOOD)
    assert json.loads(check("a.yaml", "--json").stdout) == {
        "ok": True, "files": ["a.yaml"], "services": {"echo": "echo", "time": "time"}, "problems": []
    }  # fmt: skip


def test_as_json_a_bad_file_lists_its_mistakes_and_the_exit_code_stays():
    Path("a.yaml").write_text(BAD)
    result = check("--json", "a.yaml")
    report = json.loads(result.stdout)
    assert (result.exit_code, result.stderr, report["ok"]) == (os.EX_CONFIG, "", False)
    assert [(problem["line"], problem["column"]) for problem in report["problems"]] == [(1, 1), (3, 18)]
    assert report["problems"][0] == {
        "file": "a.yaml", "line": 1, "column": 1,
        "message": "unknown key 'servces'", "hint": "did you mean 'services'?", "source": "servces: {}",
    }  # fmt: skip


def test_a_file_that_is_not_there_is_a_mistake():
    result = check("a.yaml")
    assert (result.exit_code, result.stderr) == (
        os.EX_CONFIG, "a.yaml: error: cannot be read: No such file or directory\n1 mistake in the configuration\n"
    )  # fmt: skip


def test_without_a_file_the_one_that_the_daemon_would_take_is_checked(monkeypatch):
    Path("config").mkdir()
    Path("config/multid.yaml").write_text(GOOD)
    assert check().stdout.startswith("config/multid.yaml: ok")
    Path("b.yaml").write_text(GOOD)
    monkeypatch.setenv("MULTID_CONFIG", "b.yaml")
    assert check().stdout.startswith("b.yaml: ok")


def test_wrong_usage_is_2():
    assert check("a", "b").exit_code == 2
