"""`multid run` becomes twistd of the same installation, in the foreground and without a pidfile."""

import os
import sys

import pytest
from click.testing import CliRunner

from multid.cli import main


class Became(BaseException):
    """Stands for the process that another program has taken over."""


@pytest.fixture
def became(monkeypatch):
    def execv(path, arguments):
        raise Became(str(path), arguments)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "executable", "/opt/multid/bin/python")


@pytest.mark.parametrize(
    ("arguments", "options"),
    [([], []), (["-c", "a.yaml"], ["--config", "a.yaml"]), (["--config=-x"], ["--config", "-x"])],
)
def test_it_becomes_twistd(became, arguments, options):
    with pytest.raises(Became) as caught:
        CliRunner().invoke(main, ["run", *arguments])
    twistd = "/opt/multid/bin/twistd"
    assert caught.value.args == (twistd, [twistd, "--nodaemon", "--pidfile=", "multid", *options])


def test_without_twistd_it_is_71(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    result = CliRunner().invoke(main, ["run"])
    assert (result.exit_code, result.stderr) == (
        71,
        f"multid: cannot run {tmp_path}/twistd: No such file or directory\n",
    )


def test_unknown_arguments_are_wrong_usage(became):
    assert CliRunner().invoke(main, ["run", "a.yaml"]).exit_code == 2
