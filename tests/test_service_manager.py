"""The daemon under a service manager: what it tells, what is kept for it, and what it logs."""

import json
import os
import select
import signal
import socket
import subprocess
import time

import pytest

from tests.process import BIN, Multid, environment

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Manager:
    """The other end of $NOTIFY_SOCKET: everything it was told, and the sockets it keeps by name."""

    def __init__(self, folder) -> None:
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.told: list[str] = []
        self.kept: dict[str, int] = {}

    def wait_for(self, text: str, within: float = 20.0) -> str:
        deadline = time.monotonic() + within
        while not any(text in one for one in self.told):
            assert select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0], self.told
            self._receive()
        return next(one for one in self.told if text in one)

    def _receive(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 4)
        lines = data.decode().split("\n")
        names = [line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")]
        if "FDSTORE=1" in lines:
            self.kept[names[0]] = descriptors[0]
        elif "FDSTOREREMOVE=1" in lines:
            os.close(self.kept.pop(names[0]))
        self.told.append(data.decode())

    def drain(self) -> None:
        while select.select([self.socket], [], [], 0)[0]:
            self._receive()

    def close(self) -> None:
        self.socket.close()
        for descriptor in self.kept.values():
            os.close(descriptor)


ADMIN = "multid/unix/var/admin.sock"


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.close()


class Managed(Multid):
    """A daemon that a manager starts, with the sockets it keeps and further variables."""

    def __init__(self, folder, config, manager: Manager, **variables: str) -> None:
        self._manager, self._variables = manager, variables
        super().__init__(folder, config, prefix=self._prefix(), pass_fds=manager.kept.values())

    def _prefix(self) -> tuple[str, ...]:
        # the shell becomes the daemon, so its process id is the one the sockets are for
        kept = self._manager.kept
        moved = " ".join(f"{3 + index}<&{descriptor} {descriptor}<&-" for index, descriptor in enumerate(kept.values()))
        script = "".join(f"export {name}={value!r};" for name, value in self._variables.items())
        script += f"export NOTIFY_SOCKET={self._manager.path};"
        if kept:
            script += f"export LISTEN_PID=$$ LISTEN_FDS={len(kept)} LISTEN_FDNAMES={':'.join(kept)};"
        return ("bash", "-c", f'{script} exec "$@" {moved}', "multid")


def test_ready_comes_when_all_have_been_tried_and_names_what_is_up_and_what_is_not(tmp_path, manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        services = {"echo": {"listen": LOOPBACK}, "time": {"listen": f"tcp:{port}:interface=127.0.0.1"}}
        with Managed(tmp_path, {"services": services}, manager, WATCHDOG_USEC="400000") as multid:
            ready = manager.wait_for("READY=1")
            assert f"STATUS=echo up; time down (cannot listen on tcp:{port}:interface=127.0.0.1: in use by" in ready
            taken.close()
            manager.wait_for("STATUS=echo, time up; 0 connections")
            multid.stop()
            manager.wait_for("STOPPING=1")


def test_a_reload_is_told_whichever_way_it_ends(tmp_path, manager) -> None:
    with Managed(tmp_path, {"services": {"echo": {"listen": LOOPBACK}}}, manager) as multid:
        manager.wait_for("READY=1")
        for config in ({"services": {"eco": {}}}, {"services": {"discard": {"listen": LOOPBACK}}}):
            manager.told.clear()
            multid.configure(config)
            multid.send_signal(signal.SIGHUP)
            manager.wait_for("RELOADING=1\nMONOTONIC_USEC=")
            manager.wait_for("READY=1")
        manager.wait_for("STATUS=discard up")
        manager.drain()
        assert list(manager.kept) == [ADMIN, "multid/tcp/127.0.0.1/discard"]


def test_killed_or_stopped_the_next_process_answers_on_the_same_sockets(tmp_path, manager) -> None:
    """Clients that connect while there is no process wait, and are served."""
    path = tmp_path / "echo.sock"
    config = {"services": {"echo": {"listen": [LOOPBACK, "udp:0:interface=127.0.0.1", f"unix:{path}"]}}}
    with Managed(tmp_path, config, manager) as multid:
        manager.wait_for("READY=1")
        ports = multid.ports("echo")
        multid.stop(signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGKILL):
        manager.drain()
        manager.told.clear()
        tcp = socket.create_connection(("127.0.0.1", ports[0]), timeout=10)
        unix = socket.socket(socket.AF_UNIX)
        unix.connect(str(path))
        udp = socket.socket(type=socket.SOCK_DGRAM)
        udp.settimeout(10)
        udp.connect(("127.0.0.1", ports[1]))
        for client in (tcp, unix, udp):
            client.send(b"early")
        with Managed(tmp_path, config, manager) as multid:
            for client in (tcp, unix, udp):
                assert client.recv(10) == b"early"
                client.close()
            assert multid.ports("echo") == ports
            manager.wait_for("READY=1")
            assert not any("FDSTORE=1" in one for one in manager.told), "what is kept is not sent again"
            multid.stop(number)


def test_what_the_file_names_no_more_is_given_up_at_the_next_start(tmp_path, manager) -> None:
    with Managed(tmp_path, {"services": {"echo": {"listen": LOOPBACK}}}, manager) as multid:
        manager.wait_for("READY=1")
        port = multid.port("echo")
        multid.stop(signal.SIGKILL)
    manager.told.clear()
    with Managed(tmp_path, {"services": {"time": {"listen": LOOPBACK}}}, manager):
        manager.wait_for("READY=1")
        assert list(manager.kept) == [ADMIN, "multid/tcp/127.0.0.1/time"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_the_watchdog_is_held_off(tmp_path, manager) -> None:
    with Managed(tmp_path, {"services": {"echo": {"listen": LOOPBACK}}}, manager, WATCHDOG_USEC="200000"):
        manager.wait_for("READY=1")
        manager.told.clear()
        for _ in range(3):
            manager.wait_for("WATCHDOG=1")
            manager.told.remove("WATCHDOG=1")


def test_the_log_as_json_keeps_to_one_object_a_line(tmp_path) -> None:
    config = {"log": {"format": "json", "level": "warn"}, "services": {"echo": {"listen": "tcp:1:interface=192.0.2.1"}}}
    with Multid(tmp_path, config) as multid:
        multid.wait_for("cannot listen")
        multid.stop()
        events = [json.loads(line) for line in multid.log.splitlines()]
        assert events[0]["level"] == "warn"
        assert events[0]["service"] == "echo"


def test_the_log_file_of_twistd_is_written_and_opened_anew(tmp_path) -> None:
    config = {"services": {"echo": {"listen": LOOPBACK}}}
    (tmp_path / "multid.yaml").write_text(json.dumps(config))
    log = tmp_path / "own.log"
    command = [BIN / "twistd", "-l", log, "--pidfile=own.pid", "multid"]
    subprocess.run(command, cwd=tmp_path, env=environment(), check=True, timeout=30)
    _until(lambda: "echo: echo up on" in log.read_text())
    log.rename(tmp_path / "moved.log")
    pid = int((tmp_path / "own.pid").read_text())
    os.kill(pid, signal.SIGUSR1)
    _until(log.exists)
    os.kill(pid, signal.SIGTERM)
    _until(lambda: "Server Shut Down" in log.read_text())
    _until(lambda: not (tmp_path / "own.pid").exists())


def _until(condition, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
