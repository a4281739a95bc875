"""The daemon as a process: start, failures, reload, end."""

import contextlib
import os
import pwd
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.process import BIN, Multid, environment

LOOPBACK = "tcp:0:interface=127.0.0.1"


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture
def taken():
    """A listening socket of another program."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def test_every_enabled_service_answers_and_term_ends_it_cleanly(tmp_path) -> None:
    services = {
        "echo": {"listen": LOOPBACK},
        "lab": {"type": "time", "listen": LOOPBACK},
        "off": {"type": "time", "listen": LOOPBACK, "enabled": False},
    }
    with Multid(tmp_path, {"services": services}) as multid:
        assert ask(multid.port("echo"), b"abc") == b"abc"
        assert len(ask(multid.port("lab"), b"")) == 4
        assert multid.stop() == -signal.SIGTERM  # twistd ends as the signal says, after all is finished
        assert "Traceback" not in multid.log
        assert not re.search(r"\boff:", multid.log)


def test_a_taken_port_leaves_the_others_running_and_comes_up_when_it_is_free(tmp_path, taken) -> None:
    port = taken.getsockname()[1]
    config = {"services": {"echo": {"listen": f"tcp:{port}:interface=127.0.0.1"}, "time": {"listen": LOOPBACK}}}
    with Multid(tmp_path, config) as multid:
        assert len(ask(multid.port("time"), b"")) == 4
        multid.wait_for(rf"echo: cannot listen on tcp:{port}:interface=127.0.0.1: in use by \S+ \(pid \d+\)")
        taken.close()
        multid.wait_for(rf"echo: listens on tcp:{port}")
        assert ask(port, b"free") == b"free"


def test_a_required_service_that_cannot_bind_stops_the_daemon_with_one_line(tmp_path, taken) -> None:
    port = taken.getsockname()[1]
    config = {"services": {"echo": {"listen": f"tcp:{port}:interface=127.0.0.1", "required": True}}}
    with Multid(tmp_path, config) as multid:
        assert multid.finished() == 71
        said = [line for line in multid.log.splitlines() if line.startswith("multid: ")]
        assert len(said) == 1
        assert f"cannot listen on tcp:{port}" in said[0]
        assert "Traceback" not in multid.log


def test_a_bad_file_ends_with_78_and_no_traceback(tmp_path) -> None:
    with Multid(tmp_path, {"services": {"echo": {"listn": LOOPBACK}}}) as multid:
        assert multid.finished() == 78
        assert "did you mean 'listen'" in multid.log
        assert "Traceback" not in multid.log


def test_hup_applies_the_file_and_keeps_connections(tmp_path) -> None:
    services = {"echo": {"listen": LOOPBACK}, "time": {"listen": LOOPBACK}}
    with Multid(tmp_path, {"services": services}) as multid, multid.connect("echo") as kept:
        kept.sendall(b"a")
        assert kept.recv(1) == b"a"
        old = multid.port("time")
        services["echo"]["timeouts"] = {"idle": "10m"}
        del services["time"]
        services["discard"] = {"listen": LOOPBACK}
        multid.configure({"services": services})
        multid.send_signal(signal.SIGHUP)
        multid.wait_for("reloaded: 1 started, 1 changed, 1 stopped, 0 untouched")
        kept.sendall(b"b")
        assert kept.recv(1) == b"b"
        assert ask(multid.port("discard"), b"x") == b""
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old), timeout=5)


def test_hup_opens_log_files_anew(tmp_path) -> None:
    """As logrotate's rules for syslog daemons expect it."""
    log = tmp_path / "lines.log"
    logger = {"listen": LOOPBACK, "output": [{"file": str(log)}]}
    with Multid(tmp_path, {"services": {"logger": logger}}) as multid:
        multid.port("logger")
        for _ in range(3):
            log.rename(tmp_path / "moved")
            said = len(multid.log)
            multid.send_signal(signal.SIGHUP)
            multid.wait_for("reloaded", since=said)
            assert log.exists()


def test_hup_reads_anew_what_a_stanza_names_and_refuses_what_cannot_be_read(tmp_path) -> None:
    quotes = tmp_path / "quotes"
    quotes.write_text("old")
    with Multid(tmp_path, {"services": {"qotd": {"listen": LOOPBACK, "file": str(quotes)}}}) as multid:
        port = multid.port("qotd")
        assert ask(port, b"") == b"old\r\n"
        quotes.write_text("new")
        multid.send_signal(signal.SIGHUP)
        multid.wait_for("reloaded: 0 started, 0 changed, 0 stopped, 1 untouched")
        assert ask(port, b"") == b"new\r\n"
        quotes.unlink()
        multid.send_signal(signal.SIGHUP)
        multid.wait_for(rf"reload refused, nothing has changed: \S+: error: qotd: {quotes} cannot be read")
        assert ask(port, b"") == b"new\r\n"


def test_hup_with_a_bad_file_or_a_taken_port_changes_nothing(tmp_path, taken) -> None:
    good = {"services": {"echo": {"listen": LOOPBACK}}}
    with Multid(tmp_path, good) as multid:
        port = multid.port("echo")
        multid.configure({"services": {"eco": {"listen": LOOPBACK}}})
        multid.send_signal(signal.SIGHUP)
        multid.wait_for("reload refused, nothing has changed")
        taken_address = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        multid.configure({"services": {"time": {"listen": LOOPBACK}, "echo": {"listen": [LOOPBACK, taken_address]}}})
        multid.send_signal(signal.SIGHUP)
        refused = "reload refused, nothing has changed: "
        multid.wait_for(rf"{refused}\S+multid.yaml:\d+:7: error: echo: cannot listen on {taken_address}: in use by ")
        assert ask(port, b"as before") == b"as before"
        assert "Traceback" not in multid.log


def one_that_never_reads(port: int) -> socket.socket:
    """A client of echo whose octets wait for it in the daemon."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while client.send(b"x" * 65536):
            pass
    return client


def test_term_lets_open_work_finish_and_a_second_one_cuts_it_short(tmp_path) -> None:
    config = {"services": {"echo": {"listen": LOOPBACK}, "chargen": {"type": "echo", "listen": "udp:0"}}}
    with Multid(tmp_path, config) as multid:
        client = one_that_never_reads(multid.port("echo"))
        multid.send_signal(signal.SIGTERM)
        multid.wait_for("Received SIGTERM")
        with pytest.raises(subprocess.TimeoutExpired):
            multid.process.wait(0.5)
        multid.send_signal(signal.SIGTERM)
        assert multid.finished(within=5) == -signal.SIGTERM
        client.close()


def test_a_service_that_cannot_open_what_it_needs_refuses_its_clients_until_it_can(tmp_path, taken) -> None:
    port = taken.getsockname()[1]
    taken.close()
    spool = tmp_path / "var" / "mail" / "spool.db"
    spool.mkdir(parents=True)
    config = {"services": {"smtp": {"listen": f"tcp:{port}:interface=127.0.0.1"}, "time": {"listen": LOOPBACK}}}
    with Multid(tmp_path, config) as multid:
        multid.wait_for("smtp: cannot use the spool .*; tried again in 1 s")
        with pytest.raises(ConnectionRefusedError):
            ask(port, b"")
        assert len(ask(multid.port("time"), b"")) == 4
        spool.rmdir()
        multid.wait_for("smtp: smtp up on")
        assert ask(port, b"QUIT\r\n").startswith(b"220 ")


def test_from_term_on_nobody_new_waits_in_vain_and_no_socket_file_stays(tmp_path) -> None:
    """The operator's socket is there as long as there is work to ask about."""
    path, admin = tmp_path / "echo.sock", tmp_path / "var" / "admin.sock"
    config = {"services": {"echo": {"listen": [LOOPBACK, "udp:0:interface=127.0.0.1", f"unix:{path}"]}}}
    with Multid(tmp_path, config) as multid, one_that_never_reads(multid.port("echo")):
        multid.send_signal(signal.SIGTERM)
        multid.wait_for("Received SIGTERM")
        until_gone(path)
        with pytest.raises(ConnectionRefusedError):
            multid.connect("echo")
        said = subprocess.run(
            [BIN / "multid", "status", "--socket", admin], env=environment(), capture_output=True, text=True, check=True
        )
        tcp, udp = multid.ports("echo")
        assert re.search(rf"echo .*draining .*tcp:{tcp}.*udp:{udp}", said.stdout), said.stdout
        multid.send_signal(signal.SIGTERM)
        assert multid.finished(within=5) == -signal.SIGTERM
        assert not admin.exists()
        assert "Traceback" not in multid.log


def until_gone(path, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_files_of_sockets_are_those_of_the_user_that_twistd_becomes(tmp_path) -> None:
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, user.pw_uid, user.pw_gid)
        path = Path(folder) / "echo.sock"
        config = {"services": {"echo": {"listen": ["tcp:0:interface=127.0.0.1", f"unix:{path}"]}}}
        identity = ("--uid", str(user.pw_uid), "--gid", str(user.pw_gid))
        with Multid(Path(folder), config, *identity) as multid:
            assert ask(multid.port("echo"), b"abc") == b"abc"
            for file in (path, Path(folder) / "var" / "admin.sock"):
                assert (file.stat().st_uid, file.stat().st_gid) == (user.pw_uid, user.pw_gid)
            multid.stop()
            assert not path.exists()
            assert "Traceback" not in multid.log


def test_twistd_daemonizes_and_ends_by_its_pidfile(tmp_path) -> None:
    (tmp_path / "multid.yaml").write_text(f"services: {{echo: {{listen: '{LOOPBACK}'}}}}\n")
    subprocess.run([BIN / "twistd", "multid"], cwd=tmp_path, env=environment(), check=True, timeout=30)
    pid = int((tmp_path / "twistd.pid").read_text())
    with Followed(tmp_path / "twistd.log") as log:
        log.wait_for("echo: echo up on")
        subprocess.run(["kill", str(pid)], check=True)
        log.wait_for("Server Shut Down")
        log.until(lambda: not (tmp_path / "twistd.pid").exists())


def test_a_required_service_that_cannot_bind_ends_what_has_daemonized(tmp_path, taken) -> None:
    address = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
    (tmp_path / "multid.yaml").write_text(f"services: {{echo: {{listen: '{address}', required: true}}}}\n")
    command = [BIN / "twistd", "multid"]
    said = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30)
    assert said.returncode == 1
    assert f"echo: cannot listen on {address}" in said.stderr
    assert f"echo: cannot listen on {address}: in use by" in (tmp_path / "twistd.log").read_text()
    with Followed(tmp_path / "twistd.log") as log:
        log.until(lambda: not (tmp_path / "twistd.pid").exists())  # what twistd came from does not wait for that


def test_a_state_dir_that_cannot_be_made_stops_the_daemon(tmp_path) -> None:
    (tmp_path / "file").touch()
    with Multid(tmp_path, {"state_dir": "file/var", "services": {"echo": {"listen": LOOPBACK}}}) as multid:
        assert multid.finished(within=20) == 71
        assert "state_dir file/var: Not a directory" in multid.log
        assert "Traceback" not in multid.log


def test_twistd_lists_multid(tmp_path) -> None:
    said = subprocess.run([BIN / "twistd", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.search(r"multid\s+Line logger, time, echo", said.stdout)


class Followed:
    """A log file that is read until it says something."""

    def __init__(self, path) -> None:
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def wait_for(self, text: str) -> None:
        self.until(lambda: self.path.exists() and text in self.path.read_text())

    def until(self, condition) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.path.read_text() if self.path.exists() else "no log"
            time.sleep(0.02)
