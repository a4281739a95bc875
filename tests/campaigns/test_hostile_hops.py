"""Next hops do their worst: no mail is lost, the others go their way, memory stays bounded."""

import itertools
import time

import pytest

from tests.campaigns.campaign import happens
from tests.campaigns.hostile import HOPS, Hostile
from tests.campaigns.mail import NextHop, Senders
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
MEMORY = 64 << 20


def test_hostile_hops(campaign, tmp_path) -> None:
    seconds = campaign.times(10, 150)
    numbers = itertools.count()
    hostile = {name: Hostile(serve) for name, serve in HOPS.items()}
    with NextHop() as good:
        routes = [
            {"recipient": f"*@{name}.example", "via": f"smtp://127.0.0.1:{hop.port}", "tls": "none", "connections": 2}
            for name, hop in hostile.items()
        ]
        smtp = {
            "listen": LOOPBACK,
            "hostname": "relay.example",
            "routes": [*routes, {"via": good.url, "tls": "none"}],
            "retry": {"schedule": ["1s"]},
        }
        config = {"drain_timeout": "2s", "services": {"smtp": smtp}}
        with Multid(tmp_path, config) as multid:
            port = multid.port("smtp")
            before = multid.rss()
            towards = [f"b@{name}.example" for name in hostile]
            evil = Senders(
                lambda: port, 2, seed=1, numbers=numbers, recipients=towards, sizes=(300, 3_000_000), every=0.05
            )
            kind = Senders(lambda: port, 2, seed=2, numbers=numbers, sizes=(300, 30_000), every=0.02)
            most, began = 0, time.monotonic()
            while time.monotonic() - began < seconds:
                most = max(most, multid.rss())
                time.sleep(0.05)
            for senders in (evil, kind):
                senders.stop()
            stopped = time.monotonic()
            happens(lambda: kind.acknowledged <= set(good.arrived), within=10)
            late = time.monotonic() - stopped
            first = set(good.arrived)
            multid.stop(within=20)
            log = multid.log
        for hop in hostile.values():
            hop.close()
        healed = [NextHop(hop.port) for hop in hostile.values()]
        with Multid(tmp_path, config) as multid:
            multid.port("smtp")
            happens(lambda: evil.acknowledged <= arrived(healed), within=campaign.times(20, 60))
            multid.stop()
            log += multid.log
        for hop in healed:
            hop.close()
    campaign.ledger.update(
        {
            "hostile hops": len(hostile),
            "hostile hops that were not tried": sum(not hop.connections for hop in hostile.values()),
            "connections to them": sum(hop.connections for hop in hostile.values()),
            "mails for them, acknowledged": len(evil.acknowledged),
            "mails for them, arrived when they were well": len(arrived(healed)),
            "mails for others, acknowledged": len(kind.acknowledged),
            "mails for others, arrived": len(first),
            "mails refused": len(evil.refused | kind.refused),
            "mails returned": len(good.others) + sum(len(hop.others) for hop in healed),
            "mails damaged": sum(len(hop.damaged) for hop in [good, *healed]),
            "seconds until the last of the others": late,
            "octets of memory more": most - before,
        }
    )
    assert most - before < MEMORY
    assert campaign.ledger["hostile hops that were not tried"] == 0
    assert kind.acknowledged <= first <= kind.acknowledged | kind.open
    assert late < 5
    assert evil.acknowledged <= arrived(healed) <= evil.acknowledged | evil.open
    assert (evil.refused, kind.refused) == (set(), set())
    assert campaign.ledger["mails returned"] == 0
    assert campaign.ledger["mails damaged"] == 0
    assert "Traceback" not in log


def arrived(hops: list[NextHop]) -> set[int]:
    return {number for hop in hops for number in list(hop.arrived)}
