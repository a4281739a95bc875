"""The commands that ask a running daemon: what they print, and with which exit status they end."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from multid.cli import main
from multid.cli._client import find_socket
from tests.process import BIN, Multid, environment

LOOPBACK = "tcp:0:interface=127.0.0.1"
SERVICES = {
    "echo": {"listen": LOOPBACK},
    "lab": {"type": "echo", "listen": [LOOPBACK, "tcp:1:interface=192.0.2.1"]},
    "off": {"type": "time", "listen": LOOPBACK, "enabled": False},
}


@pytest.fixture(scope="module")
def multid(tmp_path_factory):
    with Multid(tmp_path_factory.mktemp("daemon"), {"services": SERVICES}) as running:
        running.port("echo")
        yield running


@pytest.fixture
def run(multid, monkeypatch):
    """A function that runs a command in the daemon's folder, and returns its result."""
    monkeypatch.chdir(multid.folder)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)
    yield lambda *arguments: CliRunner().invoke(main, arguments)
    multid.configure({"services": SERVICES})


def test_status_has_a_line_for_each_service_and_says_why_one_is_not_up(run, multid) -> None:
    said = run("status")
    assert said.exit_code == 0
    first, titles, *lines = said.output.splitlines()
    assert re.fullmatch(r"multid \S+  running for 00:0\d:\d\d  pid \d+  \S+multid.yaml, generation \d+ of \S+Z", first)
    assert titles.split() == ["SERVICE", "TYPE", "STATE", "LISTENS", "ON", "NOW", "TOTAL", "ERRORS"]
    assert lines[0].split()[:3] == ["echo", "echo", "up"]
    assert lines[1].split()[:3] == ["lab", "echo", "degraded"]
    assert lines[2].strip().startswith("cannot listen on tcp:1:interface=192.0.2.1: ")
    assert lines[3].split()[:3] == ["off", "time", "disabled"]


def test_status_as_json(run, multid) -> None:
    status = json.loads(run("status", "--json").output)
    assert status["pid"] == multid.process.pid
    assert [service["name"] for service in status["services"]] == ["echo", "lab", "off"]


def test_the_daemon_is_found_also_when_its_file_is_broken(run, multid) -> None:
    multid.file.write_text("services: {echo: [\n\tnonsense: :\nstate_dir: var # here\n")
    assert run("status").exit_code == 0


def test_reload_prints_old_and_new_values_and_what_stays(run, multid) -> None:
    multid.configure({"services": {**SERVICES, "echo": {"listen": LOOPBACK, "limits": {"connections": 7}}}})
    dry = run("reload", "--dry-run")
    assert dry.exit_code == 0
    change = r"~ echo.limits.connections: 1024 -> 7  \(\S+multid.yaml:\d+:\d+\)\n= lab: untouched\n"
    assert re.fullmatch(r"generation \d+ can be changed to:\n" + change, dry.output)
    assert re.fullmatch(r"generation \d+, applied:\n" + change, run("reload").output)
    assert json.loads(run("reload", "--json").output)["differences"] == []
    assert run("reload").output.startswith("nothing differs\n")


def test_a_refused_reload_ends_with_78_and_shows_the_mistakes(run, multid) -> None:
    multid.configure({"services": {**SERVICES, "echo": {"listne": LOOPBACK}}})
    said = run("reload")
    assert said.exit_code == 78
    assert "did you mean 'listen'?" in said.stderr
    assert "^" in said.stderr
    assert said.stderr.endswith("nothing has changed\n")
    assert json.loads(run("reload", "--json").stdout)["ok"] is False
    assert "last reload refused:" in run("status").output
    multid.configure({"services": SERVICES})
    assert run("reload").exit_code == 0


def test_log_levels(run) -> None:
    assert run("log-level").output == "all others: info\n"
    assert run("log-level", "echo=debug", "warn").output == "all others: warn\necho: debug\n"
    assert json.loads(run("log-level", "--json", "echo=", "info").output) == {"": "info"}
    wrong = run("log-level", "echo=loud")
    assert (wrong.exit_code, wrong.stderr) == (2, "multid: a level is debug, info, warn or error, not 'loud'\n")


def test_pause_and_resume_and_rotate(run, multid) -> None:
    assert run("pause", "echo", "lab").output == "echo: paused\nlab: paused\n"
    assert run("resume", "echo", "lab").output == "echo: up\nlab: degraded\n"
    assert run("rotate").output == ""
    said = run("rotate", "echo")
    assert (said.exit_code, said.stderr) == (2, "multid: echo has no files to rotate\n")
    assert run("pause").exit_code == 2


def test_an_unknown_service_is_a_plain_error(run) -> None:
    said = run("pause", "ecco")
    assert (said.exit_code, said.stderr) == (1, "multid: no service 'ecco' runs; did you mean 'echo'?\n")


@contextmanager
def running(*arguments, cwd):
    """A command as a process of its own, which does not outlive the test."""
    process = subprocess.Popen([BIN / "multid", *arguments], cwd=cwd, env=environment(), stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("filters", [(), ("--peer", "127.0.0.0/8")])
def test_tail_shows_events_until_it_is_interrupted(run, multid, filters) -> None:
    with running("tail", "echo", *filters, cwd=multid.folder) as tail:
        peers = []
        while not select.select([tail.stdout], [], [], 0.1)[0]:
            assert len(peers) < 100
            with multid.connect("echo") as client:
                peers.append("{}:{}".format(*client.getsockname()))
        with multid.connect("echo") as client:  # what it saw first may have been the end of one
            peers.append("{}:{}".format(*client.getsockname()))
        first = next(line for line in tail.stdout if b"connected" in line)
        peer = re.fullmatch(rb"\d\d:\d\d:\d\d.\d\d\d (\S+) connected\n", first)[1]
        assert peer.decode() in peers
        closed = next(line for line in tail.stdout if b"closed" in line and peer in line)
        assert re.search(rb"%b closed end=done seconds=\S+ received_bytes=0 sent_bytes=0$" % peer, closed)
        tail.send_signal(signal.SIGINT)
        assert tail.wait(10) == 0


def test_what_tail_could_not_show_is_said(monkeypatch) -> None:
    """Before the next line: what the service left out, and what was not read in time."""
    event = {"time": 0.0, "event": "line", "peer": "127.0.0.1:5", "text": "one"}
    asked = {}

    def lines(_daemon, *path, **query):
        asked[path] = query
        yield from (event, {**event, "left_out": "3", "missed": 2}, event)

    monkeypatch.setattr("multid.cli._client.Daemon.lines", lines)
    said = CliRunner().invoke(main, ["tail", "logger", "--socket", "x", "--grep", "o", "--severity", "err"]).output
    assert re.fullmatch(r"(\S+ 127\.0\.0\.1:5 line text=one\n)\(5 left out\)\n\1\1multid: the daemon has ended\n", said)
    assert asked == {("tail", "logger"): {"grep": "o", "severity": "err"}}


def test_tail_ends_with_the_daemon(tmp_path) -> None:
    with Multid(tmp_path, {"services": {"echo": {"listen": LOOPBACK}}}) as multid:
        multid.port("echo")
        with running("tail", "echo", "--json", cwd=tmp_path) as tail:
            while not select.select([tail.stdout], [], [], 0.1)[0]:
                multid.connect("echo").close()
            assert json.loads(tail.stdout.readline())["event"] in {"connected", "closed"}
            multid.stop()
            assert tail.wait(10) == 69


def test_without_a_daemon_3_without_permission_77_without_an_answer_69(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)
    runner = CliRunner()
    nobody = runner.invoke(main, ["status", "--socket", "nobody.sock"])
    assert (nobody.exit_code, nobody.stderr) == (3, "multid: no daemon runs at nobody.sock\n")
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind("deaf.sock")
        assert runner.invoke(main, ["status", "--socket", "deaf.sock"]).exit_code == 3
        deaf.listen()

        def hang_up() -> None:
            deaf.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        said = runner.invoke(main, ["status", "--socket", "deaf.sock"])
        thread.join()
        assert said.exit_code == 69
        assert said.stderr.startswith("multid: the daemon at deaf.sock does not answer: ")
    assert runner.invoke(main, ["status", "--socket", "x" * 200]).exit_code == 69
    monkeypatch.setattr(socket.socket, "connect", _forbidden)
    said = runner.invoke(main, ["status", "--socket", "deaf.sock"])
    assert (said.exit_code, said.stderr) == (77, "multid: you may not use deaf.sock\n")


def _forbidden(*_):
    raise PermissionError(13, "Permission denied")


def test_a_stranger_may_not_change_and_is_told_with_77(tmp_path) -> None:
    """The daemon's answer 403, from a server of the test's own."""
    answer = b'HTTP/1.1 403 Forbidden\r\nContent-Length: 16\r\n\r\n{"error": "no!"}'
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()

        def serve() -> None:
            peer = server.accept()[0]
            peer.recv(65536)
            peer.send(answer)
            peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        said = CliRunner().invoke(main, ["reload", "--socket", str(tmp_path / "s")])
        thread.join()
    assert (said.exit_code, said.stderr) == (77, "multid: no!\n")


def test_without_any_configuration_it_is_that_of_the_system(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MULTID_CONFIG", raising=False)
    assert str(find_socket("given", None)) == "given"
    if not os.path.exists("/etc/multid/multid.yaml"):
        assert str(find_socket(None, None)) == "/run/multid/admin.sock"
    with pytest.raises(SystemExit) as ended:
        find_socket(None, "missing.yaml")
    assert ended.value.code == 78
    assert capsys.readouterr().err == "missing.yaml: error: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell) -> None:
    said = CliRunner().invoke(main, ["completion", shell])
    assert said.exit_code == 0
    assert "_MULTID_COMPLETE" in said.output


def test_services_are_completed(run, multid) -> None:
    given = {**environment(), "_MULTID_COMPLETE": "bash_complete", "COMP_WORDS": "multid pause e", "COMP_CWORD": "2"}
    said = subprocess.run([BIN / "multid"], cwd=multid.folder, env=given, capture_output=True, text=True, timeout=30)
    assert said.stdout == "plain,echo\n"
    elsewhere = subprocess.run([BIN / "multid"], cwd="/", env=given, capture_output=True, text=True, timeout=30)
    assert (elsewhere.stdout.strip(), elsewhere.stderr) == ("", "")


def test_the_commands_import_neither_twisted_nor_pydantic() -> None:
    names = ["status", "queue", "reload", "tail", "log-level", "pause", "resume", "rotate", "completion"]
    program = (
        "import sys; from multid.cli import main; [main.get_command(None, name) for name in sys.argv[1:]];"
        "print({'twisted', 'pydantic', 'yaml'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
