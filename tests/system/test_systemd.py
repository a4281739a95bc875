"""multid as a service of a real systemd, installed from its Debian package."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.system

CLIENTS = Path(__file__).parent / "clients.py"
FILE = "/etc/multid/multid.yaml"


@pytest.fixture
def file(machine: Machine) -> Iterator[str]:
    """The configuration of the package; put back, and running, after the test."""
    before = machine.read(FILE)
    yield before
    machine.write(FILE, before)
    machine.run("systemctl", "reset-failed", "multid", check=False)
    machine.run("systemctl", "restart", "multid")


@contextmanager
def clients(machine: Machine, begin: int) -> Iterator[dict[str, Any]]:
    """Clients at a steady rate while the block runs; their result is there after it."""
    result: dict[str, Any] = {}
    process = subprocess.Popen(
        ["nsenter", "-t", str(machine.init), "-n", sys.executable, CLIENTS, str(begin)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield result
        said, _ = process.communicate("", timeout=60)
        result.update(json.loads(said))
    finally:
        process.kill()
        process.wait()


def tell(result: dict[str, Any]) -> None:
    print(f"{result['served']} served, {result['refused']} refused, broken: {Counter(result['why'])}")


def logged(machine: Machine) -> str:
    return machine.read("/var/log/multid/lines.log")


def queued(machine: Machine) -> int:
    count = "import sqlite3; print(*sqlite3.connect('file:/var/lib/multid/mail/spool.db?mode=ro', uri=True)"
    count += ".execute('SELECT count(*) FROM mail').fetchone())"
    return int(machine.run("/usr/bin/python3", "-c", count).stdout)


def make_room(machine: Machine) -> None:
    """Make room for a crowd that comes from one address, as all of the test's clients do."""
    text = machine.read(FILE)
    for name in ("echo", "logger", "smtp"):
        text = text.replace(f"  {name}:\n", f"  {name}:\n    limits: {{per_peer: 1000}}\n")
    machine.write(FILE, text)
    machine.run("systemctl", "reload", "multid")


@pytest.fixture
def room(machine: Machine, file: str) -> None:
    make_room(machine)


def test_it_is_up_as_its_own_user_on_the_low_ports(machine: Machine) -> None:
    status = machine.run("systemctl", "status", "multid", "--no-pager").stdout
    assert "active (running)" in status
    assert "Status:" in status
    pid = machine.show("MainPID")
    assert machine.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "multid"
    for port in (7, 13, 25, 37):
        with machine.clients("nc", "-z", "-w", "5", "127.0.0.1", str(port)) as nc:
            assert nc.wait(10) == 0, port


def test_root_and_the_group_may_look_and_only_root_may_change(machine: Machine) -> None:
    machine.run("useradd", "--groups", "multid", "member")
    machine.run("useradd", "stranger")
    assert "echo" in machine.run("multid", "status").stdout
    assert "echo" in machine.run("runuser", "-u", "member", "--", "multid", "status").stdout
    assert machine.run("runuser", "-u", "member", "--", "multid", "reload", check=False).returncode == 77
    assert machine.run("runuser", "-u", "stranger", "--", "multid", "status", check=False).returncode in {69, 77}


def test_a_reload_with_a_good_file_changes_and_with_a_bad_one_fails_and_says_where(machine: Machine, file: str) -> None:
    machine.write(FILE, file.replace("  discard:\n", "  discarded:\n    type: discard\n"))
    machine.run("systemctl", "reload", "multid")
    assert "discarded" in machine.run("multid", "status").stdout
    machine.write(FILE, file.replace("  echo:\n", "  ecko:\n"))
    assert machine.run("systemctl", "reload", "multid", check=False).returncode != 0
    line = file.splitlines().index("  echo:") + 1
    assert f"multid.yaml:{line}:3: error:" in machine.journal()
    assert machine.show("ActiveState") == "active"
    assert "discarded" in machine.run("multid", "status").stdout


def test_a_restart_refuses_nobody_and_loses_no_line(machine: Machine, room: None) -> None:
    before = queued(machine)
    with clients(machine, 100_000) as result:
        for _ in range(3):
            machine.run("sleep", "1")
            machine.run("systemctl", "restart", "multid")
        machine.run("sleep", "1")
    log = logged(machine)
    tell(result)
    assert result["refused"] == 0
    assert result["served"] > 100
    assert [line for line in result["taken"]["lines"] if line not in log] == []
    assert queued(machine) - before >= len(result["taken"]["mails"])


def test_killed_it_comes_back_and_refuses_nobody(machine: Machine, room: None) -> None:
    before = queued(machine)
    with clients(machine, 200_000) as result:
        for _ in range(2):
            machine.run("sleep", "1")
            machine.run("systemctl", "reset-failed", "multid")  # the limit of starts a minute is not what is tested
            restarts = int(machine.show("NRestarts"))
            machine.run("systemctl", "kill", "--signal=KILL", "multid")
            machine.until(lambda restarts=restarts: int(machine.show("NRestarts")) == restarts + 1)
            machine.until(lambda: machine.show("ActiveState") == "active")
        machine.run("sleep", "1")
    log = logged(machine)
    tell(result)
    assert result["refused"] == 0
    assert result["served"] > 100
    assert [line for line in result["taken"]["lines"] if line not in log] == []
    assert queued(machine) - before >= len(result["taken"]["mails"])


def test_a_process_that_hangs_is_replaced_by_the_watchdog(machine: Machine) -> None:
    machine.run("systemctl", "reset-failed", "multid")
    pid = machine.show("MainPID")
    machine.run("kill", "-STOP", pid)
    machine.until(lambda: machine.show("MainPID") not in {pid, "0"}, within=60)
    machine.until(lambda: machine.show("ActiveState") == "active")
    assert "Watchdog timeout" in machine.journal()


def test_a_bad_file_at_the_start_ends_with_78_and_no_loop(machine: Machine, file: str) -> None:
    machine.run("systemctl", "stop", "multid")
    machine.run("systemctl", "reset-failed", "multid", check=False)
    machine.write(FILE, file.replace("  echo:\n", "  ecko:\n"))
    assert machine.run("systemctl", "start", "multid", check=False).returncode != 0
    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"
    assert machine.show("ActiveState") == "failed"
    assert "unknown" in machine.journal()


def test_systemd_finds_no_fault_with_the_unit_and_little_exposure(machine: Machine) -> None:
    unit = "/lib/systemd/system/multid.service"
    verified = machine.run("systemd-analyze", "verify", unit)
    assert verified.stderr == ""
    said = machine.run("systemd-analyze", "security", "--offline=true", unit).stdout
    exposure = float(said.rsplit("Overall exposure level for multid.service:", 1)[1].split()[0])
    assert exposure <= 1.4


def test_the_package_upgrades_under_load_and_is_purged_without_a_trace(machine: Machine) -> None:
    make_room(machine)
    with clients(machine, 300_000) as result:
        machine.run("dpkg", "--install", "/opt/multid.deb", within=120)
        machine.until(lambda: machine.show("ActiveState") == "active")
        machine.run("sleep", "1")
    tell(result)
    assert result["refused"] == 0
    machine.run("dpkg", "--purge", "multid", within=60)
    assert machine.run("systemctl", "is-active", "multid", check=False).returncode != 0
    for path in ("/usr/lib/multid", "/etc/multid", "/lib/systemd/system/multid.service", "/usr/bin/multid"):
        assert not (machine.root / path.lstrip("/")).exists(), path
