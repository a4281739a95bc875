"""Floods: everybody else is served as if there was none, the memory does not grow, and the log stays readable."""

import itertools
import random
import socket
import threading
import time
from datetime import datetime

import pytest

from tests.campaigns.campaign import happens
from tests.campaigns.lines import LineSenders, logs, records
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.watch import Clients
from tests.process import Multid

pytestmark = pytest.mark.campaign
TCP, UDP = "tcp:0:interface=127.0.0.1", "udp:0:interface=127.0.0.1"
MEMORY = 16 << 20
PROMPT = 2000.0
"""Milliseconds in which 95 of 100 are served, on a busy machine whose processors this process floods as well."""


class Flood:
    """A thread that does something over and over until `stop`; `count` says how often."""

    def __init__(self, act) -> None:
        self.count = 0
        self._act = act
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._act()
            except OSError:
                time.sleep(0.001)
            self.count += 1


def test_datagrams(campaign, tmp_path) -> None:
    """Datagrams of every size at every UDP service, as fast as they can be sent."""
    kinds = {name: {"listen": [TCP, UDP]} for name in ("echo", "discard", "chargen", "daytime", "time", "logger")}
    kinds["logger"]["output"] = [{"file": "logs/lines.log", "rotate": {"size": "4MiB", "keep": 2}}]
    kinds["ntp"] = {"listen": UDP}
    with Multid(tmp_path, {"services": kinds}) as multid:
        ports = [multid.ports(name)[-1] for name in kinds]
        before = multid.rss()
        lots = campaign.random

        def shot() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for port in ports:
                    datagram = lots.randbytes(lots.choice((0, 1, 48, 512, 1472, 9000, 60000)))
                    for _ in range(20):
                        sock.sendto(datagram, ("127.0.0.1", port))

        flood = Flood(shot)
        with Clients(multid.port("echo")) as clients:
            time.sleep(campaign.times(6, 120))
        flood.stop()
        growth = multid.rss() - before
        log = multid.log
        multid.stop()
    campaign.ledger.update(
        {
            "datagrams": flood.count * 20 * len(ports),
            "clients served": len(clients.seconds),
            "clients not served": len(clients.failures),
            "milliseconds of a client, 95 of 100": clients.percentile(95),
            "octets of memory more": growth,
            "log lines": log.count("\n"),
        }
    )
    assert clients.failures == []
    assert clients.percentile(95) < PROMPT
    assert growth < MEMORY
    assert log.count("\n") < 50 + campaign.times(6, 120) * len(kinds)
    assert "Traceback" not in log


def test_lines(campaign, tmp_path) -> None:
    """One sends lines as fast as it can, 20 send one now and then: theirs are written at once, and his too."""
    seconds = campaign.times(6, 120)
    output = {"file": "logs/lines.log", "rotate": {"size": "32MiB", "keep": 1000}}
    config = {"services": {"logger": {"listen": TCP, "output": [output]}}}
    with Multid(tmp_path, config) as multid:
        port = multid.port("logger")
        before = multid.rss()
        flooder = LineSenders(lambda: port, 1, seed=campaign.seed)
        slow = [Slow(port, campaign.random.random()) for _ in range(20)]
        time.sleep(seconds)
        growth = multid.rss() - before
        for load in (*slow, flooder):
            load.stop()
        log = multid.log
        multid.stop()
    late, flooded = [], 0
    for record in records(logs(tmp_path / "logs")):
        stamp, _service, _peer, text = record.split(b" ", 3)
        if text.startswith(b"now "):
            late.append(1000 * (datetime.fromisoformat(stamp.decode()).timestamp() - float(text[4:])))
        else:
            flooded += 1
    late.sort()
    sent = sum(each.sent for each in slow)
    campaign.ledger.update(
        {
            "lines of the flooder": flooder.total,
            "lines of the flooder in the files": flooded,
            "lines of the others": sent,
            "lines of the others in the files": len(late),
            "milliseconds until such a line is taken, median": late[len(late) // 2],
            "milliseconds until such a line is taken, 99 of 100": late[len(late) * 99 // 100],
            "octets of memory more": growth,
        }
    )
    assert flooded == flooder.total
    assert flooded > seconds * 10_000
    assert len(late) == sent
    assert late[len(late) * 99 // 100] < PROMPT
    assert growth < MEMORY
    assert "Traceback" not in log


class Slow:
    """One that sends a line now and then, which says when."""

    def __init__(self, port: int, pause: float) -> None:
        self.sent = 0
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._stopping = threading.Event()
        self._pause = 0.05 + pause / 10
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        self._sock.shutdown(socket.SHUT_WR)
        assert self._sock.recv(1) == b""
        self._sock.close()

    def _run(self) -> None:
        while not self._stopping.wait(self._pause):
            self._sock.sendall(b"now %.6f\n" % time.time())
            self.sent += 1


def test_mail(campaign, tmp_path) -> None:
    """One peer opens connections and sends nonsense as fast as it can; another's mail goes its way."""
    seconds = campaign.times(6, 120)
    with NextHop() as hop:
        smtp = {
            "listen": TCP,
            "hostname": "relay.example",
            "limits": {"per_peer": 20},
            "routes": [{"via": hop.url, "tls": "none"}],
        }
        with Multid(tmp_path, {"services": {"smtp": smtp}}) as multid:
            port = multid.port("smtp")
            before = multid.rss()
            nonsense = random.Random(campaign.seed).randbytes(20_000)

            def intrude() -> None:
                with socket.socket() as sock:
                    sock.bind(("127.0.0.2", 0))
                    sock.settimeout(5)
                    sock.connect(("127.0.0.1", port))
                    sock.sendall(b"EHLO x\r\n" + nonsense[: campaign.random.randrange(20_000)])
                    if campaign.random.random() < 0.5:
                        while sock.recv(65536):
                            pass

            floods = [Flood(intrude) for _ in range(3)]
            senders = Senders(lambda: port, 2, seed=campaign.seed, numbers=itertools.count(), every=0.02)
            with Clients(port, b"EHLO x\r\nQUIT\r\n", b"221 2.0.0 Bye\r\n") as clients:
                time.sleep(seconds)
            growth = multid.rss() - before
            senders.stop()
            for flood in floods:
                flood.stop()
            happens(lambda: senders.acknowledged <= set(hop.arrived))
            log = multid.log
            multid.stop()
    campaign.ledger.update(
        {
            "intrusions": sum(flood.count for flood in floods),
            "clients served": len(clients.seconds),
            "clients not served": len(clients.failures),
            "milliseconds of a client, 95 of 100": clients.percentile(95),
            "mails acknowledged": len(senders.acknowledged),
            "mails arrived": len(hop.arrived),
            "octets of memory more": growth,
        }
    )
    assert (clients.failures, senders.refused, senders.lost_connections) == ([], set(), 0)
    assert clients.percentile(95) < PROMPT
    assert set(hop.arrived) == senders.acknowledged
    assert growth < MEMORY
    assert "Traceback" not in log
