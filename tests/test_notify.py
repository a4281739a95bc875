"""What the service manager is told, and the sockets it passes."""

import os
import socket
import subprocess
import sys

import pytest

from multid.notify import ServiceManager, inherited


@pytest.fixture
def manager(tmp_path):
    """The service manager's end of $NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def told(manager) -> list[str]:
    return manager.recv(65536).decode().split("\n")


def service(manager) -> ServiceManager:
    return ServiceManager({"NOTIFY_SOCKET": manager.getsockname()})


def test_ready_and_status_are_one_datagram_and_one_line(manager) -> None:
    service(manager).ready("echo up;\nmail\tdown")
    assert told(manager) == ["READY=1", "STATUS=echo up; mail down"]


def test_a_reload_is_told_with_the_monotonic_time_in_one_datagram(manager) -> None:
    import time

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    service(manager).reloading()
    first, second = told(manager)
    assert first == "RELOADING=1"
    assert before <= int(second.removeprefix("MONOTONIC_USEC=")) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def test_the_rest_of_the_vocabulary(manager) -> None:
    systemd = service(manager)
    systemd.status("x" * 5000)
    assert told(manager) == ["STATUS=" + "x" * 1024]
    systemd.stopping()
    assert told(manager) == ["STOPPING=1", "STATUS=finishing open work"]
    systemd.alive()
    assert told(manager) == ["WATCHDOG=1"]
    systemd.remove("multid/tcp/127.0.0.1/7")
    assert told(manager) == ["FDSTOREREMOVE=1", "FDNAME=multid/tcp/127.0.0.1/7"]


def test_a_socket_is_sent_with_its_name(manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        service(manager).store("multid/tcp/127.0.0.1/7", listening)
        data, descriptors, _, _ = socket.recv_fds(manager, 4096, 1)
        assert data == b"FDSTORE=1\nFDNAME=multid/tcp/127.0.0.1/7\nFDPOLL=0"
        with socket.socket(fileno=descriptors[0]) as received:
            assert received.getsockname() == listening.getsockname()


def test_an_abstract_socket_is_understood() -> None:
    name = f"multid-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + name)
        sock.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": "@" + name}).alive()
        assert told(sock) == ["WATCHDOG=1"]


def test_no_manager_a_dead_one_and_one_that_reads_nothing_hold_nobody_up(manager, tmp_path) -> None:
    ServiceManager({}).ready("fine")
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("fine")
    systemd = service(manager)
    for _ in range(2000):
        systemd.alive()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environ, interval) -> None:
    assert ServiceManager(environ).watchdog_interval == interval
    assert not environ


PASSED = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "ours" else "1"
if sys.argv[2] == "endpoints":
    import twisted.internet.endpoints
from multid.notify import inherited
found = inherited(os.environ)
print({name: [(s.type.name, s.getsockname()[1], s.get_inheritable()) for s in socks] for name, socks in found.items()})
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


@pytest.mark.parametrize(
    ("pid", "before", "names", "is_found"),
    [
        ("ours", "nothing", "echo:echo:", True),
        ("ours", "endpoints", "echo:echo:", True),
        ("another", "nothing", "echo:echo:", False),
        ("another", "endpoints", "echo:echo:", False),
    ],
)
def test_passed_sockets_are_taken_by_name_also_after_twisted_has_looked(pid, before, names, is_found) -> None:
    """Three descriptors from 3 on: a stream and a datagram socket of one name, and a pipe."""
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", 0))
        read, write = os.pipe()
        wanted = [stream.fileno(), datagram.fileno(), read]
        spare = [os.dup(fd) for fd in wanted]
        program = f"exec 3<&{spare[0]} 4<&{spare[1]} 5<&{spare[2]}; exec {sys.executable} -c '{PASSED}' {pid} {before}"
        environ = {**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": names}
        said = subprocess.run(
            ["bash", "-c", program], env=environ, pass_fds=spare, capture_output=True, text=True, check=True
        )
        ports = stream.getsockname()[1], datagram.getsockname()[1]
        for fd in (read, write, *spare):
            os.close(fd)
    found, left = said.stdout.splitlines()
    expected = {"echo": [("SOCK_STREAM", ports[0], False), ("SOCK_DGRAM", ports[1], False)]} if is_found else {}
    assert found == str(expected)
    assert left == "[]"


def test_descriptors_without_names_are_unknown_and_a_closed_one_is_none(monkeypatch) -> None:
    monkeypatch.setattr("multid.notify._FIRST", 900)
    with socket.create_server(("127.0.0.1", 0)) as stream:
        os.dup2(stream.fileno(), 900)
        found = inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})
        assert [sock.getsockname() for sock in found["unknown"]] == [stream.getsockname()]
        found["unknown"][0].close()
