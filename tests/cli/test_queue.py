"""`multid queue` against a running daemon."""

import json
import smtplib

import pytest
from click.testing import CliRunner

from multid.cli import main
from tests.process import Multid

RELAY = {"type": "smtp", "listen": "tcp:0:interface=127.0.0.1", "hostname": "relay.test", "mode": "hold"}


@pytest.fixture(scope="module")
def multid(tmp_path_factory):
    services = {"relay": RELAY, "echo": {"listen": "tcp:0:interface=127.0.0.1"}}
    with Multid(tmp_path_factory.mktemp("daemon"), {"services": services}) as running:
        running.port("relay")
        yield running


@pytest.fixture
def run(multid, monkeypatch):
    """A function that runs a command of the queue, and returns its result; afterwards the queue is empty."""
    monkeypatch.chdir(multid.folder)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)
    yield lambda *arguments: CliRunner().invoke(main, ["queue", *arguments])
    CliRunner().invoke(main, ["queue", "delete", "--all"])


def send(multid, sender: str = "a@example.org", *recipients: str) -> None:
    with smtplib.SMTP("127.0.0.1", multid.port("relay")) as client:
        client.sendmail(sender, recipients or ["b@example.com"], b"Subject: hello\r\n\r\nbody \x1b[2J\xc2\x9b2J\tx\r\n")


def ids(run, *arguments: str) -> list[str]:
    return [json.loads(line)["id"] for line in run("list", "--json", *arguments).output.splitlines()]


def test_an_empty_queue(run):
    said = run("list")
    assert (said.exit_code, said.output) == (0, "The mail queue is empty, or nothing fits.\n")


def test_mails_are_listed_for_people(run, multid):
    send(multid, "a@example.org", "b@example.com", "c@example.com")
    first, second, third, total = run("list").output.splitlines()
    assert first.split()[1] == "ready"
    assert first.endswith("<a@example.org>")
    assert (second.strip(), third.strip()) == ("<b@example.com>", "<c@example.com>")
    assert total == "1 mail, 0 KiB"


def test_mails_are_chosen_by_options(run, multid):
    send(multid, "a@example.org")
    send(multid, "x@example.org", "y@else.test")
    (one,) = ids(run, "--sender", "x@*")
    assert ids(run, "--recipient", "*@else.test", "--state", "ready") == [one]
    assert ids(run, one) == [one]
    assert len(ids(run)) == 2


def test_a_mail_is_shown(run, multid):
    send(multid)
    (id_,) = ids(run)
    said = run("show", id_)
    assert "Subject: hello" in said.output
    assert "peer 127.0.0.1:" in said.output
    assert "body" not in said.output
    assert run("show", "--content", id_).output.endswith("\n\nbody \\x1b[2J\\x9b2J\tx\n\n")
    assert json.loads(run("show", "--json", id_).output)["helo"]


def test_a_mail_is_held_released_and_deleted(run, multid):
    send(multid)
    (id_,) = ids(run)
    assert run("hold", id_).output == "1 mail held\n"
    assert "held by the operator" in run("list").output
    assert run("release", "--state", "held").output == "1 mail released\n"
    assert json.loads(run("retry", "--json", "--all").output) == {"done": 1}
    assert run("delete", id_).output == "1 mail deleted\n"
    assert ids(run) == []


@pytest.mark.parametrize(
    "arguments", [["show", "0" * 12], ["delete", "0" * 12], ["hold", "--service", "echo", "--all"]]
)
def test_what_is_not_there_is_said(run, arguments):
    said = run(*arguments)
    assert said.exit_code == 1
    assert said.output.startswith("multid: ")


@pytest.mark.parametrize("arguments", [["delete"], ["list", "--state", "odd"], ["frobnicate"]])
def test_wrong_usage(run, arguments):
    assert run(*arguments).exit_code == 2


def test_a_pattern_that_is_none(run):
    said = run("delete", "--sender", "nonsense")
    assert said.exit_code == 2
    assert "an address pattern" in said.output
