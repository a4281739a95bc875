"""64 file descriptors and 200 clients: who is in is served, files rotate, mail goes its way, and nothing spins."""

import itertools
import re
import socket
import time

import pytest

from tests.campaigns.campaign import happens, until
from tests.campaigns.lines import LineSenders, account, logs
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.watch import descriptors, echoes, processor_seconds
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
LIMIT = 64


def test_few_descriptors(campaign, tmp_path) -> None:
    seconds = campaign.times(5, 120)
    limits = {"limits": {"connections": 1000, "per_peer": 1000}}
    with NextHop() as hop:
        services = {
            "echo": {"listen": LOOPBACK, **limits},
            "logger": {
                "listen": LOOPBACK,
                "output": [{"file": "logs/lines.log", "rotate": {"size": "64KiB", "keep": 10000}}],
                **limits,
            },
            "smtp": {
                "listen": LOOPBACK,
                "hostname": "relay.example",
                "routes": [{"via": hop.url, "tls": "none", "connections": 2}],
                "queue": {"inline": "1KiB"},
                **limits,
            },
        }
        with Multid(tmp_path, {"services": services}, prefix=("prlimit", f"--nofile={LIMIT}")) as multid:
            ports = {name: multid.port(name) for name in services}
            old = [multid.connect("echo") for _ in range(10)]
            senders = Senders(
                lambda: ports["smtp"],
                2,
                seed=campaign.seed,
                numbers=itertools.count(),
                sizes=(300, 20_000),
                every=0.05,
            )
            lines = LineSenders(lambda: ports["logger"], 2, seed=campaign.seed, per_second=300)
            until(lambda: senders.acknowledged and lines.total > 100, "everybody is in")
            crowd = [connect(campaign.random.choice([ports["echo"], ports["logger"]])) for _ in range(200)]
            until(lambda: "accepts no more" in multid.log, "the limit")
            began, said = time.monotonic(), len(multid.log)
            most = 0
            while time.monotonic() - began < seconds:
                campaign.ledger["echoes of old clients"] += sum(echoes(client) for client in old)
                campaign.ledger["echoes that failed"] += sum(not echoes(client) for client in old)
                most = max(most, descriptors(multid))
                time.sleep(0.1)
            messages = len(re.findall("accepts no more|cannot accept", multid.log[said:]))
            senders.stop()
            lines.stop()
            happens(lambda: senders.acknowledged <= set(hop.arrived), within=campaign.times(30, 90))
            used = processor_seconds(multid)
            time.sleep(1)
            idle = processor_seconds(multid) - used
            for client in crowd:
                client.close()
            with multid.connect("echo") as late:
                is_late_served = echoes(late)
            for client in old:
                client.close()
            log = multid.log
            multid.stop()
    found = account(tmp_path / "logs")
    campaign.ledger.update(
        {
            "descriptors at most": most,
            "lines sent": lines.total,
            "lines in the files": found.total,
            "lines missing, doubled or torn": found.missing + found.doubled + len(found.torn),
            "log files": len(logs(tmp_path / "logs")),
            "mails acknowledged": len(senders.acknowledged),
            "mails arrived": len(hop.arrived),
            "mails refused": len(senders.refused),
            "messages": messages,
            "processor, of an idle second": idle,
        }
    )
    assert campaign.ledger["echoes that failed"] == 0
    assert most <= LIMIT
    assert found.reached == lines.sent
    assert (found.missing, found.doubled, found.torn) == (0, 0, [])
    assert len(logs(tmp_path / "logs")) > 2
    assert set(hop.arrived) == senders.acknowledged
    assert senders.refused == set()
    assert is_late_served
    assert messages <= seconds
    assert idle < 0.3
    assert "Traceback" not in log


def connect(port: int) -> socket.socket:
    """Connect without waiting for anybody to accept."""
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    return client
