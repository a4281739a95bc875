"""Crowds and rude clients at the small services: others are served as if they were not there, and nothing grows."""

import os
import resource
import select
import socket
import struct
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.campaigns.campaign import Campaign, until
from tests.interop.inside import echoed
from tests.namespace import apart, call
from tests.process import Multid

pytestmark = pytest.mark.campaign

SHIPPED = Path(__file__).parents[2] / "config" / "multid.yaml"
LOOPBACK = "tcp:0:interface=127.0.0.1"
CROWD = {"connections": 20000, "per_peer": 20000}
ALL = {
    "echo": {},
    "discard": {},
    "chargen": {},
    "daytime": {},
    "time": {},
    "qotd": {"text": "A quotation."},
    "responder": {"reply": "{peer} said {data}"},
    "logger": {"output": [{"file": "lines.log", "rotate": {"size": "1MiB", "keep": 1}}]},
}


def cpu(multid: Multid) -> float:
    """Return the seconds of processor that the daemon has used."""
    fields = Path(f"/proc/{multid.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(multid: Multid) -> int:
    return len(list(Path(f"/proc/{multid.process.pid}/fd").iterdir()))


def connect(multid: Multid, service: str, buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(20)
    client.connect(("127.0.0.1", multid.port(service)))
    return client


def round_trip(client: socket.socket) -> float:
    """Return how long an echo takes, in milliseconds."""
    began = time.monotonic()
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    return (time.monotonic() - began) * 1000


@pytest.fixture(autouse=True)
def many_descriptors():
    """As many of our own as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_64_descriptors_and_200_clients(tmp_path, campaign: Campaign) -> None:
    """Who was there first is served, files can be opened, the rest wait their turn, and waiting costs nothing."""
    services = {
        "echo": {"listen": LOOPBACK, "limits": CROWD},
        "logger": {"listen": "udp:0:interface=127.0.0.1", **ALL["logger"]},
    }
    prefix = ("prlimit", "--nofile=64:64")
    with Multid(tmp_path, {"services": services}, prefix=prefix) as multid, ExitStack() as clients:
        multid.port("logger")
        crowd = [clients.enter_context(connect(multid, "echo")) for _ in range(200)]
        multid.wait_for("accepts no more until a connection ends")
        for client in crowd:
            client.sendall(b"x")
        served = [client for client in crowd if select.select([client], [], [], 0.01)[0]]
        assert 16 <= len(served) < 64
        for client in served:
            assert client.recv(1) == b"x"
            round_trip(client)
        log = clients.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        log.connect(("127.0.0.1", multid.port("logger")))
        for _ in range(60):
            log.send(b"y" * 30000)
            time.sleep(0.002)
        until(lambda: len(list(tmp_path.glob("lines.log*"))) > 1, "a rotated file")
        before, notices = cpu(multid), multid.log.count("accepts no more")
        time.sleep(2)
        campaign.ledger["% of a processor while 200 wait"] = (cpu(multid) - before) * 50
        assert cpu(multid) - before < 0.2
        for client in served:
            client.close()
        waited = [client for client in crowd if client not in served]
        for client in waited:
            assert client.recv(1) == b"x"
            client.close()
        multid.stop()
        assert multid.log.count("accepts no more") - notices <= 12
        assert "Traceback" not in multid.log
        campaign.ledger["served at a time with 64 descriptors"] = len(served)


def test_64_mebibytes_come_back_after_the_half_close(tmp_path, campaign: Campaign) -> None:
    with Multid(tmp_path, {"services": {"echo": {"listen": LOOPBACK}}}) as multid:
        began = time.monotonic()
        assert echoed(("127.0.0.1", multid.port("echo")), 64 << 20) == 64 << 20
        campaign.ledger["MiB a second, there and back"] = 64 / (time.monotonic() - began)


def test_a_thousand_drips(tmp_path, campaign: Campaign) -> None:
    """Each says an octet a second and no line end; somebody else is served as promptly as ever."""
    stanza = {"listen": LOOPBACK, "limits": CROWD}
    services = {"responder": {**stanza, **ALL["responder"]}, "echo": stanza}
    with Multid(tmp_path, {"services": services}) as multid, ExitStack() as clients:
        drips = [clients.enter_context(connect(multid, "responder")) for _ in range(1000)]
        before, slowest = multid.rss(), 0.0
        normal = clients.enter_context(connect(multid, "echo"))
        for _ in range(campaign.times(5, 60)):
            deadline = time.monotonic() + 1
            for drip in drips:
                drip.sendall(b"x")
            while time.monotonic() < deadline:
                slowest = max(slowest, round_trip(normal))
                with connect(multid, "echo") as other:
                    slowest = max(slowest, round_trip(other))
                time.sleep(0.01)
        campaign.ledger["slowest answer in ms"] = slowest
        campaign.ledger["growth in KiB"] = (multid.rss() - before) // 1024
        assert slowest < 100
        assert multid.rss() - before < 20 << 20
        multid.stop()
        assert "Traceback" not in multid.log


@pytest.mark.parametrize("service", ["chargen", "echo"])
def test_a_hundred_that_never_read(tmp_path, campaign: Campaign, service: str) -> None:
    """Memory is bounded while they are there, and at `stall` they are not."""
    stanza = {"listen": LOOPBACK, "limits": CROWD, "timeouts": {"stall": "5s"}}
    services = {service: stanza, "daytime": {"listen": LOOPBACK}}
    with Multid(tmp_path, {"services": services}) as multid, ExitStack() as clients:
        multid.port("daytime")
        before = multid.rss()
        crowd = [clients.enter_context(connect(multid, service, 4096)) for _ in range(100)]
        until_gone, gone, most, slowest = time.monotonic() + 30, set(), 0, 0.0
        for client in crowd:
            client.setblocking(False)
        while len(gone) < len(crowd):
            assert time.monotonic() < until_gone, f"{len(crowd) - len(gone)} are still there"
            for client in crowd:
                try:
                    if service == "echo" and client not in gone:
                        client.send(b"x" * 65536)
                except BlockingIOError:
                    pass
                except OSError:
                    gone.add(client)
            poll = select.poll()
            for client in crowd:
                poll.register(client, 0)
            lost = {number for number, events in poll.poll(50) if events & (select.POLLHUP | select.POLLERR)}
            gone |= {client for client in crowd if client.fileno() in lost}
            most = max(most, multid.rss() - before)
            began = time.monotonic()
            with connect(multid, "daytime") as other:
                assert other.recv(100)
            slowest = max(slowest, (time.monotonic() - began) * 1000)
        campaign.ledger[f"{service}: growth in KiB"] = most // 1024
        campaign.ledger[f"{service}: slowest answer to another in ms"] = slowest
        assert most < 20 << 20
        multid.stop()
        assert "Traceback" not in multid.log


def connect_and_close(ports: list[int], count: int) -> None:
    """Every second time with a reset."""
    for number in range(count):
        with socket.create_connection(("127.0.0.1", ports[number // 2 % len(ports)])) as client:
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_ten_thousand_that_connect_and_close(tmp_path, campaign: Campaign) -> None:
    """Half of them with a reset; nothing is said about any of them, and nothing of them stays."""
    services = {name: {"listen": LOOPBACK, "limits": CROWD, **keys} for name, keys in ALL.items()}
    services["quiet"] = {"type": "echo", "listen": LOOPBACK}
    with Multid(tmp_path, {"services": services}) as multid:
        multid.port("quiet")
        ports = [multid.port(name) for name in ALL]
        connect_and_close(ports, 5000)
        memory = multid.rss()
        began = time.monotonic()
        connect_and_close(ports, campaign.times(10_000, 100_000))
        campaign.ledger["connections a second"] = campaign.times(10_000, 100_000) / (time.monotonic() - began)
        began = time.monotonic()
        with connect(multid, "quiet") as client:
            round_trip(client)
        campaign.ledger["another service's answer in ms"] = (time.monotonic() - began) * 1000
        until(lambda: descriptors(multid) < 40, "every descriptor to be closed")
        campaign.ledger["growth in KiB"] = (multid.rss() - memory) // 1024
        assert campaign.ledger["another service's answer in ms"] < 500
        assert multid.rss() - memory < 4 << 20
        before = cpu(multid)
        time.sleep(1)
        assert cpu(multid) - before < 0.2
        lines = len(multid.log.splitlines())
        multid.stop()
        assert "Traceback" not in multid.log
        assert len(multid.log.splitlines()) < lines + 20


def test_random_octets_at_every_port_of_the_shipped_configuration(tmp_path, campaign: Campaign) -> None:
    """The file as it is, in a network of its own; what is there after a first round is all that there ever is."""
    config = yaml.safe_load(SHIPPED.read_text())
    listen = [address for stanza in config["services"].values() for address in _listed(stanza["listen"])]
    ports = {tuple(address.split(":")[:2]) for address in listen}
    size = campaign.times(1 << 20, 64 << 20)
    with Multid(tmp_path, config, prefix=apart()) as multid:
        for name in config["services"]:
            multid.wait_for(rf"{name}: \S+ up on ")
        memory = 0
        for octets in (1 << 20, size):
            memory = multid.rss()
            for kind, port in sorted(ports):
                task = {"tcp": "pour", "udp": "rain"}[kind]
                sent = call(multid.process.pid, task, int(port), octets, campaign.seed, within=600)
                campaign.ledger[f"octets over {kind}"] += sent
        assert call(multid.process.pid, "echoed", ("127.0.0.1", 7007), 1 << 20) == 1 << 20
        campaign.ledger["ports"] = len(ports)
        campaign.ledger["growth in KiB"] = (multid.rss() - memory) // 1024
        assert multid.rss() - memory < 20 << 20
        multid.stop()
        assert "Traceback" not in multid.log
        campaign.ledger["lines of the log"] = multid.log.count("\n")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
