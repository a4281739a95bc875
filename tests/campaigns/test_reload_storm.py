"""Reloads under load, each of which changes something that concerns nobody: nobody notices."""

import itertools
import os
import random
import re
import signal
import socket
import threading
from typing import Any

import pytest
import yaml

from tests.campaigns.campaign import happens
from tests.campaigns.lines import LineSenders, account
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.watch import Clients, descriptors, echoes
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
MEMORY = 8 << 20


def test_reloads(campaign, tmp_path) -> None:
    reloads, warm_up = campaign.times(100, 1000), 20
    with NextHop() as hop:
        config = configuration(hop)
        with Multid(tmp_path, config) as multid:
            ports = {name: multid.port(name) for name in config["services"]}
            old = [Old(ports["echo"]) for _ in range(10)]
            datagrams = Datagrams(multid.ports("echo")[1])
            clients = Clients(ports["echo"])
            senders = Senders(
                lambda: ports["smtp"],
                2,
                seed=campaign.seed,
                numbers=itertools.count(),
                sizes=(300, 200_000),
                every=0.02,
            )
            lines = LineSenders(lambda: ports["logger"], 3, seed=campaign.seed, per_second=300)
            for number in range(reloads):
                if number == warm_up:
                    memory, files = multid.rss(), descriptors(multid)
                change(config, campaign.random, number)
                campaign.ledger["reloads refused"] += "refused" in reload(multid, config)
                if number % 10 == 9:
                    bad = {**config, "services": {**config["services"], "bad": {"type": "none"}}}
                    campaign.ledger["bad files refused"] += "refused" in reload(multid, bad)
            memory, files = multid.rss() - memory, descriptors(multid) - files
            for load in (*old, datagrams, clients, senders, lines):
                load.stop()
            happens(lambda: senders.acknowledged <= set(hop.arrived))
            log = multid.log
            multid.stop()
    found = account(tmp_path / "logs")
    campaign.ledger.update(
        {
            "reloads": reloads,
            "echoes on old connections": sum(each.echoes for each in old),
            "old connections dropped": sum(each.is_lost for each in old),
            "new connections served": len(clients.seconds),
            "new connections not served": len(clients.failures),
            "milliseconds of a new connection, 99 of 100": clients.percentile(99),
            "datagrams answered": datagrams.answered,
            "datagrams not answered": datagrams.lost,
            "lines sent": lines.total,
            "lines in the file": found.total,
            "lines missing, doubled or torn": found.missing + found.doubled + len(found.torn),
            "mails acknowledged": len(senders.acknowledged),
            "mails arrived once": sum(count == 1 for count in hop.arrived.values()),
            "mails refused": len(senders.refused),
            "mail connections lost": senders.lost_connections,
            "octets of memory more": memory,
            "descriptors more": files,
        }
    )
    assert campaign.ledger["reloads refused"] == 0
    assert campaign.ledger["bad files refused"] == reloads // 10
    assert campaign.ledger["old connections dropped"] == 0
    assert clients.failures == []
    assert datagrams.lost == 0
    assert (lines.broken, found.reached) == ({}, lines.sent)
    assert (found.missing, found.doubled, found.torn) == (0, 0, [])
    assert set(hop.arrived) == senders.acknowledged
    assert set(hop.arrived.values()) == {1}
    assert (senders.refused, senders.lost_connections) == (set(), 0)
    assert memory < MEMORY
    assert files < 20  # as many connections come and go
    assert not re.search("Traceback|defect", log)


def configuration(hop: NextHop) -> dict[str, Any]:
    smtp = {"listen": LOOPBACK, "hostname": "relay.example", "routes": [{"via": hop.url, "tls": "none"}]}
    services = {
        "echo": {"listen": [LOOPBACK, "udp:0:interface=127.0.0.1"]},
        "logger": {"listen": LOOPBACK, "output": [{"file": "logs/lines.log"}]},
        "smtp": smtp,
        "other": {"type": "daytime", "listen": LOOPBACK},
    }
    return {"services": services}


def change(config: dict[str, Any], lots: random.Random, number: int) -> None:
    """Change what nobody uses, or a rule of what somebody uses that does not touch those who are in."""
    services = config["services"]
    what = lots.randrange(6)
    if what == 0:
        services["other"]["format"] = f"%Y {number}"
    elif what == 1 and not services.pop("guest", None):
        services["guest"] = {"type": "qotd", "listen": LOOPBACK, "text": f"{number}"}
    elif what == 2:
        services["echo"]["limits"] = {"connections": 2000 + number}
    elif what == 3:
        config["drain_timeout"] = f"{20 + number}s"
    elif what == 4:
        services["smtp"]["limits"] = {"recipients": 50 + number}
    else:
        services["logger"]["max_line"] = str(70_000 + number)


def reload(multid: Multid, config: dict[str, Any]) -> str:
    """Put the new file in the place of the old one, whole, and return what the daemon says of it."""
    fresh, said = multid.file.with_suffix(".new"), len(multid.log)
    fresh.write_text(yaml.safe_dump(config))
    os.replace(fresh, multid.file)
    multid.send_signal(signal.SIGHUP)
    return multid.wait_for(r"reloaded: .*|reload refused.*", since=said)[0]


class Old:
    """A connection of old, which echoes all the time."""

    def __init__(self, port: int) -> None:
        self.echoes = 0
        self.is_lost = False
        self._stopping = threading.Event()
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)
        self._sock.close()

    def _run(self) -> None:
        while not self._stopping.wait(0.01) and not self.is_lost:
            self.is_lost = not echoes(self._sock)
            self.echoes += not self.is_lost


class Datagrams:
    """A client that asks by datagram and waits for the answer, all the time."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self.lost = 0
        self._stopping = threading.Event()
        self._port = port
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(20)

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", self._port))
            sock.settimeout(5)
            for number in itertools.count():
                try:
                    sock.send(b"%d" % number)
                    assert sock.recv(100) == b"%d" % number
                    self.answered += 1
                except OSError:
                    self.lost += 1
                if self._stopping.wait(0.01):
                    return
