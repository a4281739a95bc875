"""The power fails at any moment: what was not synchronised is gone, or some of it is there, in any order."""

import errno
import itertools
import time

import pytest

from tests.campaigns.campaign import happens
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.preload import SYNC, Faults, PowerLoss, preload
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"


@pytest.mark.parametrize("disk", ["good", "failing"])
def test_mail(campaign, tmp_path, disk) -> None:
    """What was answered 250 is delivered; on a failing disk, also where fsync has failed before."""
    rounds = campaign.times(5, 40)
    var = tmp_path / "var"
    var.mkdir()
    numbers, acknowledged, refused = itertools.count(), set(), set()
    with NextHop() as hop:
        smtp = {"listen": LOOPBACK, "hostname": "relay.example", "routes": [{"via": hop.url, "tls": "none"}]}
        faults = Faults(tmp_path / "faults", var)
        for _ in range(rounds):
            luck = campaign.random.choice((0, 20, 500))
            loss = PowerLoss(var, tmp_path / "disk", seed=campaign.random.randrange(1 << 30), luck=luck)
            with Multid(tmp_path, {"services": {"smtp": smtp}}, prefix=preload(loss, faults)) as multid:
                port = multid.port("smtp")
                senders = Senders(
                    lambda port=port: port,
                    6,
                    seed=campaign.random.randrange(1 << 30),
                    numbers=numbers,
                    sizes=(300, 5_000, 200_000),
                )
                if disk == "failing":
                    time.sleep(campaign.random.uniform(0, 0.5))
                    faults.fail(errno.EIO, SYNC, per_mille=campaign.random.choice((50, 300)))
                time.sleep(campaign.random.uniform(0.1, 2))
                multid.process.kill()
                multid.process.wait()
                faults.heal()
                senders.stop()
            loss.happen()
            acknowledged |= senders.acknowledged
            refused |= senders.refused
        with Multid(tmp_path, {"services": {"smtp": smtp}}) as multid:
            multid.port("smtp")
            happens(lambda: acknowledged <= set(hop.arrived), within=15)
            multid.stop()
    campaign.ledger.update(
        {
            "power losses": rounds,
            "calls of fsync that failed": faults.failed,
            "mails acknowledged": len(acknowledged),
            "mails arrived": len(hop.arrived),
            "mails acknowledged that did not": len(acknowledged - set(hop.arrived)),
            "mails refused": len(refused),
            "mails refused that arrived": len(refused & set(hop.arrived)),
            "mails arrived again after a loss": sum(count > 1 for count in hop.arrived.values()),
            "mails damaged": len(hop.damaged),
        }
    )
    assert acknowledged <= set(hop.arrived)
    assert (hop.damaged, hop.others) == ([], [])
