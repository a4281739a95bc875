"""Real clients of the small services, at the well-known ports, in a network namespace of their own."""

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespace import apart, call, enter, run
from tests.process import Multid
from tests.programs import need

HOST = "127.0.0.1"
SMALL = {"echo": 7, "discard": 9, "daytime": 13, "qotd": 17, "chargen": 19, "time": 37}
SYNCHRONISED = """
import multid.clock.kernel as kernel
kernel.KernelClock.__init__.__defaults__ = (lambda: (0, 0, 2000),)
"""
"""A kernel whose clock is disciplined."""


def config() -> dict:
    services = {
        name: {"listen": [f"tcp:{port}", f"udp:{port}", f"tcp6:{port}", f"udp6:{port}"], "required": True}
        for name, port in SMALL.items()
    }
    services["qotd"]["text"] = "A quotation."
    services["ntp"] = {"listen": ["udp:123", "udp6:123"], "required": True}
    return {"services": services}


@pytest.fixture(scope="module")
def multid(tmp_path_factory) -> Iterator[Multid]:
    folder = tmp_path_factory.mktemp("small")
    (folder / "sitecustomize.py").write_text(SYNCHRONISED)
    with Multid(folder, config(), prefix=("env", f"PYTHONPATH={folder}", *apart())) as multid:
        multid.wait_for("ntp: ntp up")
        yield multid
        multid.stop()
        assert "Traceback" not in multid.log
        said_by = set(re.findall(r"^\S+ \[(?!multid\.)(.*?)[#\]]", multid.log, re.MULTILINE))
        assert said_by == {"twisted.scripts._twistd_unix.UnixAppLogger", "twisted.internet.base"}


@pytest.mark.parametrize("way", [[], ["-u"], ["-n"]], ids=["868 over TCP", "868 over UDP", "SNTP"])
def test_rdate_gets_the_time(multid: Multid, way: list[str]) -> None:
    said = run(multid.process.pid, need("rdate"), "-p", "-v", *way, HOST).stdout
    assert re.search(r"\d\d:\d\d:\d\d", said)


def test_busybox_gets_the_time(multid: Multid) -> None:
    assert re.search(r"\d\d:\d\d:\d\d", run(multid.process.pid, need("busybox"), "rdate", "-p", HOST).stdout)


@pytest.mark.campaign
def test_nmap_names_each_service(multid: Multid) -> None:
    said = run(multid.process.pid, need("nmap"), "-n", "-Pn", "-sV", "-p", "7,13,19,37", HOST, within=120).stdout
    for port, name in ((7, "echo"), (13, "daytime"), (19, "chargen"), (37, "time")):
        assert re.search(rf"^{port}/tcp +open +{name}( |$)", said, re.MULTILINE), said


@pytest.mark.campaign
def test_nmap_names_the_services_over_udp_and_reads_their_clocks(multid: Multid) -> None:
    scripts = "ntp-info,rfc868-time,daytime"
    command = ["-n", "-Pn", "-sU", "-sV", "-p", "13,37,123", "--script", scripts, HOST]
    said = run(multid.process.pid, need("nmap"), *command, within=240).stdout
    for pattern in (
        r"13/udp +open +daytime .*\n\|_daytime: \w{3} \w{3} +\d",
        r"37/udp +open +time +\(32 bits\)\n\|_rfc868-time: 20\d\d-",
        r"123/udp +open +ntp +NTP v4 .*\n\| ntp-info: \n\|_? +receive time stamp: 20\d\d-",
    ):
        assert re.search(pattern, said), said


def test_iperf_sends_into_discard(multid: Multid) -> None:
    said = run(multid.process.pid, need("iperf"), "-c", HOST, "-p", "9", "-t", "1").stdout
    assert re.search(r"[GM]bits/sec", said), said


def test_netcat_gets_every_octet_back_after_its_half_close(multid: Multid, tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    sent.write_bytes(random.Random(1).randbytes(4 << 20))
    command = f"{need('nc')} -N {HOST} 7 < {sent} | cmp - {sent}"
    run(multid.process.pid, "bash", "-c", f"set -o pipefail; {command}")


@pytest.mark.parametrize("place", ["TCP4:127.0.0.1:7", "TCP6:[::1]:7", "UDP4:127.0.0.1:7", "UDP6:[2001:db8::7]:7"])
def test_socat_is_echoed(multid: Multid, place: str) -> None:
    assert run(multid.process.pid, need("socat"), "-t1", "-", place, input="hello").stdout == "hello"


def test_telnet_is_echoed_also_its_negotiation(multid: Multid) -> None:
    script = f"(sleep 0.3; echo hi there; sleep 0.5) | {need('telnet')} {HOST} 7"
    assert "hi there" in run(multid.process.pid, "bash", "-c", script, check=False).stdout


def chronyd(multid: Multid, port: int, folder: Path) -> subprocess.CompletedProcess:
    server = f"server {HOST} port {port} iburst minpoll -2"
    command = ["-U", "-u", "root", "-Q", "-t", "10", "-f", "/dev/null", f"pidfile {folder}/c.pid", server, "cmdport 0"]
    return run(multid.process.pid, need("chronyd"), *command, check=False)


def test_chronyd_believes_a_synchronised_clock(multid: Multid, tmp_path: Path) -> None:
    done = chronyd(multid, 123, tmp_path)
    assert done.returncode == 0, done.stdout
    assert abs(float(re.search(r"System clock wrong by (-?[\d.]+) seconds", done.stdout)[1])) < 0.1


def test_what_chronyd_knows_is_passed_on(tmp_path: Path) -> None:
    """A chronyd with a local clock of stratum 5, and the daemon beside it, in one namespace."""
    (tmp_path / "sitecustomize.py").write_text(SYNCHRONISED)
    chronyd = [need("chronyd"), "-x", "-U", "-u", "root", "-d", "-f", "/dev/null", f"pidfile {tmp_path}/c.pid"]
    command = [*apart(), *chronyd, "local stratum 5", "bindcmdaddress 127.0.0.1", "bindcmdaddress /", "port 0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as reference:
        try:
            while b"Disabled control" not in reference.stderr.readline():
                assert reference.poll() is None
            prefix = (*enter(reference.pid), "env", f"PYTHONPATH={tmp_path}")
            with Multid(tmp_path, {"services": {"ntp": {"listen": "udp:123"}}}, prefix=prefix) as multid:
                multid.wait_for("ntp: ntp up")
                reply = bytes.fromhex(call(reference.pid, "ask", (HOST, 123), "23" + "00" * 47, 2))
                multid.stop()
            assert reply[1] == 5
            assert reply[12:16] == bytes([127, 127, 1, 1])
        finally:
            reference.kill()


def test_chronyd_and_rdate_refuse_an_unsynchronised_clock(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SYNCHRONISED.replace("(0, 0, 2000)", "(5, 0x40, 16000000)"))
    services = {"ntp": {"listen": "udp:123"}}
    prefix = ("env", f"PYTHONPATH={tmp_path}", *apart())
    with Multid(tmp_path, {"services": services}, prefix=prefix) as multid:
        multid.wait_for("ntp: ntp up")
        done = chronyd(multid, 123, tmp_path)
        assert done.returncode == 1
        assert "No suitable source" in done.stdout
        assert run(multid.process.pid, need("rdate"), "-p", "-n", HOST, check=False).returncode != 0
