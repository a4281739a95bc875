"""Exec: a program for each connection."""

import socket
import sys

import pytest
from pydantic import ValidationError

from multid.net.program import GRACE, MOST_LINES
from multid.net.seldom import CAUSES, EVERY
from multid.service import ServiceError
from multid.services.exec import ExecConfig
from tests.conftest import Bench


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def ended(logged) -> list[str]:
    return [event["end"] for event in logged if event.get("event") == "connection"]


def test_a_program_has_the_socket_and_its_end_is_logged(bench: Bench, logged) -> None:
    service = bench.serve("exec", command="cat")
    client = bench.connect(service)
    client.send(b"through cat")
    assert bench.read(client, 11) == b"through cat"
    client.shutdown(socket.SHUT_WR)
    assert bench.read_all(client) == b""
    bench.loop.until(lambda: not service.connections)
    (event,) = [event for event in logged if event.get("event") == "connection"]
    assert (event["end"], event["received_bytes"], event["sent_bytes"]) == ("exit 0", 11, 11)
    assert service.counters.received_bytes == 11
    assert bench.runtime.descriptors.taken == service.admission.connections == 0


def test_a_program_knows_its_client_and_nothing_of_our_environment(bench: Bench, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SECRET", "of the daemon")
    service = bench.serve("exec", command=["env"], environment={"COLOUR": "blue"}, directory=str(tmp_path))
    client = bench.connect(service)
    said = dict(line.split("=", 1) for line in bench.read_all(client).decode().splitlines())
    assert said.pop("COLOUR") == "blue"
    assert said.pop("TCPREMOTEPORT") == said.pop("REMOTE_PORT") == str(client.getsockname()[1])
    assert said.pop("TCPLOCALPORT") == str(client.getpeername()[1])
    assert set(said) <= {"PATH", "LANG", "PROTO", "TCPREMOTEIP", "TCPLOCALIP", "REMOTE_ADDR", "PWD"}


def test_a_program_runs_in_its_directory(bench: Bench, tmp_path) -> None:
    service = bench.serve("exec", command="pwd", directory=str(tmp_path))
    assert bench.read_all(bench.connect(service)).decode().strip() == str(tmp_path)


def test_a_client_of_a_unix_socket_is_named_by_its_process(bench: Bench, tmp_path) -> None:
    service = bench.serve("exec", command="env", listen=f"unix:{tmp_path}/x.sock")
    assert b"PROTO=UNIX\nUNIXREMOTEPID=" in bench.read_all(bench.connect(service))


@pytest.mark.parametrize(
    ("code", "end"), [("raise SystemExit(3)", "exit 3"), ("import os; os.abort()", "killed by SIGABRT")]
)
def test_how_a_program_ended_is_logged(bench: Bench, logged, code: str, end: str) -> None:
    service = bench.serve("exec", command=python(code))
    bench.connect(service)
    bench.loop.until(lambda: ended(logged))
    assert ended(logged) == [end]


def test_standard_error_goes_to_the_log_escaped_and_bounded_and_never_to_the_peer(bench: Bench, logged) -> None:
    code = r"import sys; print('bad \x1b[31m', 'y' * 3000, *range(200), sep='\n', file=sys.stderr)"
    service = bench.serve("exec", command=python(code))
    assert bench.read_all(bench.connect(service)) == b""
    bench.loop.until(lambda: not service.connections)
    lines = [event["text"] for event in logged if "text" in event]
    assert lines[0] == "bad \\x1b[31m"
    assert all(len(line) <= 1024 for line in lines)
    assert CAUSES <= len(lines) <= MOST_LINES


def test_what_every_connection_complains_of_is_logged_once_with_its_count(bench: Bench, logged) -> None:
    service = bench.serve("exec", command=python("import sys; sys.stderr.write('no such table')"))

    def complaints() -> list[tuple[str, int]]:
        return [(event["text"], event["count"]) for event in logged if "text" in event]

    for connections in range(1, 4):
        bench.connect(service)
        bench.loop.until(lambda connections=connections: len(ended(logged)) == connections)
    assert complaints() == [("no such table", 1)]
    bench.loop.advance(EVERY)
    assert complaints() == [("no such table", 1), ("no such table", 2)]
    bench.connect(service)
    bench.loop.until(lambda: len(ended(logged)) == 4)
    bench.loop.result(service.stopService())
    assert [count for _, count in complaints()] == [1, 2, 1]


def test_a_last_line_without_an_end_is_logged(bench: Bench, logged) -> None:
    service = bench.serve("exec", command=python("import sys; sys.stderr.write('last')"))
    bench.connect(service)
    bench.loop.until(lambda: ended(logged))
    assert [event["text"] for event in logged if "text" in event] == ["last"]


def test_a_program_that_runs_too_long_is_asked_to_go_and_then_made_to(bench: Bench, logged) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    service = bench.serve("exec", command=python(code), timeouts={"lifetime": "10s"})
    client = bench.connect(service)
    assert bench.read(client, 3) == b"up\n"
    bench.loop.advance(9)
    assert service.connections
    bench.loop.advance(1.5)
    bench.loop.advance(GRACE - 1)
    assert service.connections
    bench.loop.advance(2)
    bench.loop.until(lambda: not service.connections)
    assert ended(logged) == ["lifetime, killed by SIGKILL"]


def test_a_service_that_stops_lets_programs_finish_and_kills_those_that_do_not(bench: Bench, logged) -> None:
    service = bench.serve("exec", command="cat")
    clients = [bench.connect(service) for _ in range(2)]
    bench.loop.until(lambda: len(service.connections) == 2)
    stopping = service.stopService()
    clients[0].send(b"still served")
    assert bench.read(clients[0], 12) == b"still served"
    clients[0].close()
    bench.loop.until(lambda: len(service.connections) == 1)
    service.abort()
    bench.loop.result(stopping)
    assert sorted(ended(logged)) == ["aborted, killed by SIGKILL", "exit 0"]


def test_programs_are_limited_in_number(bench: Bench) -> None:
    service = bench.serve("exec", command="cat", limits={"connections": 1})
    bench.connect(service)
    bench.loop.until(lambda: service.connections)
    assert bench.read_all(bench.connect(service)) == b""
    assert service.counters.rejected["connections"] == 1


def test_a_program_that_has_gone_since_is_an_error_of_its_connection_only(bench: Bench, logged, tmp_path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = bench.serve("exec", command=[str(program)])
    program.unlink()
    assert bench.read_all(bench.connect(service)) == b""
    assert ended(logged) == [f"cannot run {program}: No such file or directory"]
    assert [event["text"] for event in logged if "text" in event] == ended(logged)
    assert bench.runtime.descriptors.taken == service.admission.connections == 0


@pytest.mark.parametrize(
    ("keys", "why"),
    [({"command": "/no/such/program"}, "no program"), ({"command": "cat", "directory": "/no/such"}, "directory /no")],
)
def test_a_program_or_directory_that_is_none_is_a_problem(bench: Bench, keys: dict, why: str) -> None:
    with pytest.raises(ServiceError, match=why):
        bench.serve("exec", **keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"command": []},
        {"command": "cat", "listen": "udp:1"},
        {"command": "cat", "listen": "ssl:1", "tls": {"certificate": "x"}},
        {"command": "cat", "proxy_protocol": {"from": "10.0.0.0/8"}},
    ],
)
def test_what_a_program_cannot_take_is_an_error_of_the_file(keys: dict) -> None:
    with pytest.raises(ValidationError):
        ExecConfig(**{"listen": "tcp:1", **keys})


def test_a_command_is_words_or_a_list() -> None:
    assert ExecConfig(listen="tcp:1", command="cat -n 'a b'").command == ("cat", "-n", "a b")
    assert ExecConfig(listen="tcp:1", command=["cat", "a b"]).command == ("cat", "a b")
    assert ExecConfig(listen="tcp:1", command="cat").limits.connections == 64
