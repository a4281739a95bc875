"""Our load generators, driven against the reference servers, say when something is wrong."""

import shutil

import pytest

from bench import loads, machine, obtain, runner, server
from bench.peers import floor
from bench.rows import logger
from bench.server import Command, Place, RunError, started

LISTEN = "import socket,sys\nl=socket.create_server(('127.0.0.1',int(sys.argv[1])))\n"

pytestmark = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("taskset")), reason="needs gcc and taskset")


@pytest.fixture(autouse=True, scope="session")
def built(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(obtain, "WORK", tmp_path_factory.mktemp("built"))
        patch.setattr(runner, "WORK", tmp_path_factory.mktemp("runs"))
        yield


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, machine.free_port(), machine.free_port())


@pytest.mark.parametrize(("transport", "contender"), [("tcp", floor.echo_tcp), ("udp", floor.echo_udp)])
@pytest.mark.parametrize("size", [1, 64, 40_000])
def test_an_echo_is_counted(place, transport, contender, size):
    ready = lambda server: loads.answers(server, transport)  # noqa: E731
    with started(contender(place), place, machine.cores()[0], ready) as server:
        long_enough = (0.05, 0.5, 5.0)  # for a machine that has much else to do
        assert any(loads.pingpong(server, transport, 3, size, seconds)["rate"] > 0 for seconds in long_enough)


def test_a_server_that_answers_otherwise_is_found_out(place):
    wrong = LISTEN + "while 1:\n c,_=l.accept()\n c.recv(9); c.sendall(b'?')"
    command = Command((shutil.which("python3"), "-c", wrong, str(place.port)))
    with (
        started(command, place, machine.cores()[0], lambda server: loads.accepts(server.port)) as server,
        pytest.raises(RunError, match="other octets"),
    ):
        loads.pingpong(server, "tcp", 1, 64, 0.05)


def test_lines_are_timed_until_the_last_is_in_the_file(monkeypatch):
    monkeypatch.setattr(logger, "LINES", 5000)
    assert runner.one(logger.ROW, floor.logger)["rate"] > 0


def test_lines_that_do_not_arrive_are_found_out(monkeypatch):
    monkeypatch.setattr(logger, "LINES", 5000)
    monkeypatch.setattr(logger, "PATIENCE", 0.1)
    short = LISTEN + "f=open('lines.log','wb')\n"
    short += "while 1:\n c,_=l.accept()\n d=b''.join(iter(lambda: c.recv(65536), b''))\n f.write(d[:-157]); f.flush()"
    with pytest.raises(RunError, match="4,999 of 5,000"):
        runner.one(logger.ROW, lambda place: Command((shutil.which("python3"), "-c", short, str(place.port))))


def test_a_server_that_never_is_ready_is_given_up(place, monkeypatch):
    monkeypatch.setattr(server, "READY", 0.05)
    with pytest.raises(RunError, match="not ready"), started(Command(("sleep", "60")), place, 0, lambda server: False):
        pass
