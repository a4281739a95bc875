"""The power fails at any moment: what was not synchronised is gone, or some of it is there, in any order."""

import errno
import itertools
import threading
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from multid.cli._client import Daemon
from tests.campaigns.campaign import happens
from tests.campaigns.lines import LineSenders, logs, parsed, records
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.preload import SYNC, Faults, PowerLoss, preload
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
SYNC_EVERY = 0.1
SYNC_TAKES = 1.5
"""Seconds within which a synchronisation has begun and is over, where the machine lets the daemon run."""
ROTATE = {"size": "512KiB", "keep": 100_000}


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
            happens(lambda: acknowledged <= set(hop.arrived), within=campaign.times(15, 120))
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


def test_lines(campaign, tmp_path) -> None:
    """What the account calls written is in the files, or what it called so in time where it is synchronised later."""
    rounds = campaign.times(4, 20)
    folder = tmp_path / "logs"
    folder.mkdir()
    services = {
        name: {
            "type": "logger",
            "listen": LOOPBACK,
            "output": [{"file": f"logs/{name}.log", "sync": sync, "rotate": ROTATE}],
        }
        for name, sync in (("always", "always"), ("later", f"{SYNC_EVERY:g}s"))
    }
    config = {"services": services}
    promised: dict[str, dict[int, int]] = {name: {} for name in services}
    sent: dict[int, int] = {}
    for round_ in range(rounds):
        luck = campaign.random.choice((0, 20, 500))
        loss = PowerLoss(folder, tmp_path / "disk", seed=campaign.random.randrange(1 << 30), luck=luck)
        with Multid(tmp_path, config, prefix=preload(loss)) as multid:
            multid.wait_for("later: .* up on")
            senders = {
                name: LineSenders(partial(multid.port, name), 1, seed=round_, first=2 * round_ + n)
                for n, name in enumerate(services)
            }
            written = Written(tmp_path / "var/admin.sock")
            time.sleep(campaign.random.uniform(0.1, 1.5) + SYNC_EVERY + SYNC_TAKES)
            multid.process.kill()
            multid.process.wait()
            written.stop()
            for name, load in senders.items():
                load.stop()
                sent |= load.sent
                before = SYNC_EVERY + SYNC_TAKES + 2 * written.longest if name == "later" else 0.0
                promised[name] |= dict.fromkeys(load.sent, written.before(name, before))
        loss.happen()
    with Multid(tmp_path, config) as multid:
        multid.port("later")
        multid.stop()
    found = {name: in_order(folder, f"{name}.log") for name in services}
    for name in services:
        there = {sender: min(found[name][sender], count) for sender, count in promised[name].items()}
        campaign.ledger.update(
            {
                f"{name}: lines sent": sum(sent[sender] for sender in promised[name]),
                f"{name}: lines promised": sum(promised[name].values()),
                f"{name}: lines promised that are there": sum(there.values()),
                f"{name}: lines in the files": sum(found[name].values()),
                f"{name}: files": len(logs(folder, f"{name}.log")),
            }
        )
        assert there == promised[name]
    campaign.ledger["power losses"] = rounds
    assert sum(promised["always"].values()) > 1000 * rounds


def in_order(folder: Path, name: str) -> Counter[int]:
    """How many lines of each sender there are, from its first on, without a gap."""
    found: Counter[int] = Counter()
    for line in map(parsed, records(logs(folder, name))):
        if line is not None and line[1] == found[line[0]]:
            found[line[0]] += 1
    return found


class Written:
    """A thread that asks, until the daemon is gone, how many lines each logger calls written."""

    def __init__(self, socket: Path) -> None:
        self._daemon = Daemon(socket)
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._thread.join(20)
        self._ended = time.monotonic()

    @property
    def longest(self) -> float:
        """The longest time from one answer to the next: how long the daemon had to wait for the machine."""
        times = [at for at, _ in self._seen] + [self._ended]
        return max(after - before for before, after in pairwise(times))

    def before(self, name: str, seconds: float) -> int:
        """Return what had been written of a service so many seconds before the end, as far as was asked."""
        return max((seen[name] for at, seen in self._seen if at <= self._ended - seconds), default=0)

    def _run(self) -> None:
        while True:
            try:
                services = self._daemon.get("status.json")["services"]
            except SystemExit:  # as the command ends where nobody answers
                return
            self._seen.append(
                (time.monotonic(), {one["name"]: one["details"]["ledger"]["lines"]["written"] for one in services})
            )
            time.sleep(0.005)
