"""The disk fills and is freed, again and again: nothing taken is lost, doubled or torn, and nobody is told a lie."""

import itertools
import re
import time

import pytest

from tests.campaigns.campaign import happens, until
from tests.campaigns.disk import DiskMultid
from tests.campaigns.lines import LineSenders, account
from tests.campaigns.mail import NextHop, Senders

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"


def test_lines(campaign, tmp_path) -> None:
    rounds = campaign.times(5, 60)
    output = {"file": "disk/lines.log", "rotate": {"size": "8MiB", "keep": 1000}}
    config = {"state_dir": "disk", "services": {"logger": {"listen": LOOPBACK, "output": [output]}}}
    with DiskMultid(tmp_path, config, size=512) as multid:
        port = multid.port("logger")
        with LineSenders(lambda: port, 4, seed=campaign.seed, per_second=2000) as senders:
            for _ in range(rounds):
                said = len(multid.log)
                multid.fill(leave=campaign.random.randrange(300_000))
                multid.wait_for("peers wait", since=said)
                multid.fill()
                sent = senders.total
                time.sleep(campaign.random.uniform(0.1, 1.0))
                campaign.ledger["lines sent while full"] += senders.total - sent
                multid.relieve()
                multid.wait_for("written again", since=said)
                time.sleep(campaign.random.uniform(0, 0.5))
        found = account(multid.disk)
        log = multid.log
        multid.stop()
    messages = len(re.findall(r"peers wait|written again", log))
    campaign.ledger.update(
        {
            "times full": rounds,
            "lines sent": senders.total,
            "lines in the files": found.total,
            "lines missing": found.missing,
            "lines doubled": found.doubled,
            "lines torn": len(found.torn),
            "connections broken": len(senders.broken),
            "messages": messages,
        }
    )
    assert found.reached == senders.sent
    assert (found.missing, found.doubled, found.torn, senders.broken) == (0, 0, [], {})
    assert messages == 2 * rounds
    assert "Traceback" not in log


def test_mail(campaign, tmp_path) -> None:
    rounds = campaign.times(4, 20)
    with NextHop() as hop:
        smtp = {
            "listen": LOOPBACK,
            "hostname": "relay.example",
            "queue": {"minimum_free": "0"},
            "routes": [{"via": hop.url, "tls": "none"}],
        }
        with DiskMultid(tmp_path, {"state_dir": "disk", "services": {"smtp": smtp}}, size=64) as multid:
            port = multid.port("smtp")
            sizes = (300, 5_000, 300_000)
            with Senders(lambda: port, 6, seed=campaign.seed, numbers=itertools.count(), sizes=sizes) as senders:
                for _ in range(rounds):
                    refused = len(senders.refused)
                    multid.fill(leave=campaign.random.randrange(500_000))
                    until(lambda before=refused: len(senders.refused) > before, "a refusal")
                    multid.fill()
                    time.sleep(campaign.random.uniform(0.1, 1.5))
                    multid.relieve()
                    taken = len(senders.acknowledged)
                    until(lambda before=taken: len(senders.acknowledged) > before, "mail is taken again")
            happens(lambda: senders.acknowledged <= set(hop.arrived), within=campaign.times(20, 120))
            log = multid.log
            multid.stop()
    campaign.ledger.update(
        {
            "times full": rounds,
            "mails acknowledged": len(senders.acknowledged),
            "mails refused": len(senders.refused),
            "mails arrived": len(hop.arrived),
            "mails arrived twice": sum(count > 1 for count in hop.arrived.values()),
            "mails refused that arrived": len(senders.refused & set(hop.arrived)),
            "mails damaged": len(hop.damaged),
            "connections lost": senders.lost_connections,
        }
    )
    assert set(hop.arrived) == senders.acknowledged
    assert set(hop.arrived.values()) == {1}
    assert (hop.damaged, hop.others, senders.lost_connections) == ([], [], 0)
    assert set(senders.replies) <= {"452 4.3.1", "503 5.5.1", "250 2.0.0"}
    assert "Traceback" not in log
