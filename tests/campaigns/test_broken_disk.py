"""The disk gives errors, or is read-only all at once, and is well again: everything goes on where it stopped."""

import errno
import itertools
import re
import time

import pytest

from tests.campaigns.campaign import happens, until
from tests.campaigns.disk import DiskMultid
from tests.campaigns.lines import LineSenders, account, account_of
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.preload import NAME, SYNC, WRITE, Faults, preload
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"


def break_by_lot(campaign, faults, error: str) -> None:
    """Let some calls fail, or, of a file system that is read-only, all."""
    if error == "EROFS":
        faults.fail(errno.EROFS, WRITE | NAME)
    else:
        kinds = campaign.random.choice((WRITE, SYNC, NAME, WRITE | SYNC | NAME))
        faults.fail(errno.EIO, kinds, per_mille=campaign.random.choice((20, 300, 1000)))


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_lines(campaign, tmp_path, error) -> None:
    """No line is lost, doubled or torn; that nothing can be written is said once, and once that it is over."""
    rounds = campaign.times(8, 100)
    faults = Faults(tmp_path / "faults", tmp_path / "logs")
    (tmp_path / "logs").mkdir()
    output = {"file": "logs/lines.log", "sync": "100ms", "rotate": {"size": "256KiB", "keep": 1000}}
    config = {"services": {"logger": {"listen": LOOPBACK, "output": [output]}}}
    with Multid(tmp_path, config, prefix=preload(faults)) as multid:
        port = multid.port("logger")
        with LineSenders(lambda: port, 4, seed=campaign.seed, per_second=1000) as senders:
            for _ in range(rounds):
                break_by_lot(campaign, faults, error)
                time.sleep(campaign.random.uniform(0.1, 1))
                faults.heal()
                written = senders.total
                until(lambda before=written: senders.total > before + 100, "lines to be taken again")
        found = account(tmp_path / "logs")
        log = multid.log
        multid.stop()
    begun, over = (len(re.findall(words, log)) for words in ("peers wait", "written again"))
    campaign.ledger.update(
        {
            "times broken": rounds,
            "calls that failed": faults.failed,
            "lines sent": senders.total,
            "lines in the files": found.total,
            "lines missing": found.missing,
            "lines doubled": found.doubled,
            "lines torn": len(found.torn),
            "connections broken": len(senders.broken),
            "messages that peers wait": begun,
            "messages that it is over": over,
        }
    )
    assert found.reached == senders.sent
    assert (found.missing, found.doubled, found.torn, senders.broken) == (0, 0, [], {})
    assert begun == over


def test_lines_below_a_read_only_mount(campaign, tmp_path) -> None:
    """Where the next file cannot be opened peers wait, and nothing is lost when it can."""
    rounds = campaign.times(3, 40)
    config = {"services": {"logger": {"listen": LOOPBACK, "output": [{"file": "disk/%Y%m%dT%H%M%S.log"}]}}}
    with DiskMultid(tmp_path, config, size=512) as multid:
        port = multid.port("logger")
        with LineSenders(lambda: port, 4, seed=campaign.seed, per_second=1000) as senders:
            for _ in range(rounds):
                said = len(multid.log)
                with multid.read_only():
                    multid.wait_for("Read-only file system; peers wait", since=said)
                    time.sleep(campaign.random.uniform(0.1, 1))
                multid.wait_for("written again", since=said)
        files = sorted(multid.disk.glob("*.log"))
        found = account_of(files)
        log = multid.log
        multid.stop()
    campaign.ledger.update(
        {
            "times read-only": rounds,
            "lines sent": senders.total,
            "lines in the files": found.total,
            "files": len(files),
            "lines missing, doubled or torn": found.missing + found.doubled + len(found.torn),
            "connections broken": len(senders.broken),
        }
    )
    assert found.reached == senders.sent
    assert (found.missing, found.doubled, found.torn, senders.broken) == (0, 0, [], {})
    assert len(re.findall("peers wait|written again", log)) == 2 * rounds
    assert "Traceback" not in log


@pytest.mark.parametrize("error", ["EIO", "EROFS"])
def test_mail(campaign, tmp_path, error) -> None:
    """Mail is refused for a while (452) or taken; what is taken is delivered once, what is refused is not."""
    rounds = campaign.times(5, 60)
    faults = Faults(tmp_path / "faults", tmp_path / "var")
    with NextHop() as hop:
        smtp = {"listen": LOOPBACK, "hostname": "relay.example", "routes": [{"via": hop.url, "tls": "none"}]}
        with Multid(tmp_path, {"services": {"smtp": smtp}}, prefix=preload(faults)) as multid:
            port = multid.port("smtp")
            sizes = (300, 5_000, 200_000)
            with Senders(lambda: port, 6, seed=campaign.seed, numbers=itertools.count(), sizes=sizes) as senders:
                for _ in range(rounds):
                    break_by_lot(campaign, faults, error)
                    time.sleep(campaign.random.uniform(0.1, 1.5))
                    faults.heal()
                    taken = len(senders.acknowledged)
                    until(lambda before=taken: len(senders.acknowledged) > before + 20, "mail to be taken again")
            happens(lambda: senders.acknowledged <= set(hop.arrived), within=campaign.times(20, 120))
            log = multid.log
            multid.stop()
    arrived = set(hop.arrived)
    campaign.ledger.update(
        {
            "times broken": rounds,
            "calls that failed": faults.failed,
            "mails acknowledged": len(senders.acknowledged),
            "mails acknowledged that did not arrive": len(senders.acknowledged - arrived),
            "mails arrived": len(hop.arrived),
            "mails arrived twice": sum(count > 1 for count in hop.arrived.values()),
            "mails refused": len(senders.refused),
            "mails refused that arrived": len(senders.refused & arrived),
            "mails damaged": len(hop.damaged),
            "connections lost": senders.lost_connections,
        }
    )
    assert arrived == senders.acknowledged
    assert set(hop.arrived.values()) == {1}
    assert (hop.damaged, hop.others, senders.lost_connections) == ([], [], 0)
    assert "Traceback" not in log


def test_mail_below_a_read_only_mount(campaign, tmp_path) -> None:
    """Every mail is refused with 452 while nothing can be opened, and what was taken before is delivered meanwhile."""
    rounds = campaign.times(3, 40)
    with NextHop() as hop:
        smtp = {
            "listen": LOOPBACK,
            "hostname": "relay.example",
            "queue": {"minimum_free": "0"},
            "routes": [{"via": hop.url, "tls": "none"}],
        }
        with DiskMultid(tmp_path, {"state_dir": "disk", "services": {"smtp": smtp}}, size=64) as multid:
            port = multid.port("smtp")
            sizes = (300, 5_000, 200_000)
            with Senders(lambda: port, 6, seed=campaign.seed, numbers=itertools.count(), sizes=sizes) as senders:
                for _ in range(rounds):
                    with multid.read_only():
                        refused = len(senders.refused)
                        until(lambda before=refused: len(senders.refused) > before + 10, "refusals")
                        time.sleep(2)  # what is known of the file system may be old, and mails are under way
                        taken = len(senders.acknowledged)
                        time.sleep(campaign.random.uniform(0.1, 1.0))
                        campaign.ledger["mails acknowledged while read-only"] += len(senders.acknowledged) - taken
                    taken = len(senders.acknowledged)
                    until(lambda before=taken: len(senders.acknowledged) > before + 20, "mail to be taken again")
            happens(lambda: senders.acknowledged <= set(hop.arrived), within=campaign.times(20, 120))
            log = multid.log
            multid.stop()
    campaign.ledger.update(
        {
            "times read-only": rounds,
            "mails acknowledged": len(senders.acknowledged),
            "mails refused": len(senders.refused),
            "mails arrived": len(hop.arrived),
            "mails arrived twice": sum(count > 1 for count in hop.arrived.values()),
            "connections ended after too many errors": senders.lost_connections,
        }
    )
    assert set(hop.arrived) == senders.acknowledged
    assert set(hop.arrived.values()) == {1}
    assert campaign.ledger["mails acknowledged while read-only"] == 0
    assert set(senders.replies) <= {"452 4.3.1", "503 5.5.1", "421 4.7.0", "250 2.0.0"}
    assert (hop.damaged, hop.others) == ([], [])
    assert "Traceback" not in log
