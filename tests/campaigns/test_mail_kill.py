"""Ended at random moments under load, with a next hop that comes and goes: every mail answered 250 arrives.

SIGKILL leaves a mail to be sent once more only if its final dot was answered and the answer not yet in the spool: one
for each connection at the most; SIGTERM leaves none. At the end every mail is sought by its number: at the next hop,
and where it is not there, in the spool.
"""

import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.campaign import Campaign
from tests.campaigns.mail import NextHop, Senders, number_of
from tests.process import Multid

pytestmark = pytest.mark.campaign

SENDERS = 6
SIZES = [300] * 12 + [4000] * 3 + [150_000]
"""Octets of the mails; the largest lie in files of their own."""

CONNECTIONS = 5

PATIENCE = 60.0
"""Seconds without any arrival, after which nothing is expected any more."""


class Flapping(NextHop):
    """A next hop that is away again and again, and puts off one mail in five.

    `times` are when the connections were made over which each mail came: what a killed daemon had sent may be read
    after its end, but its connections were made before.
    """

    def __init__(self, seed: int) -> None:
        self.times: dict[int, list[float]] = {}
        self._lots = random.Random(f"{seed}/hop")
        self._steady = threading.Event()
        super().__init__()
        self._flapping = threading.Thread(target=self._flap)
        self._flapping.start()

    def answer_to(self, content: bytes) -> bytes:
        return b"451 4.3.0 Not now\r\n" if self._lots.random() < 0.2 else super().answer_to(content)

    def take(self, content: bytes, connected: float) -> None:
        super().take(content, connected)
        number = number_of(content)
        if number is not None:
            self.times.setdefault(number, []).append(connected)

    def _flap(self) -> None:
        lots = random.Random(self._lots.random())
        while not self._steady.wait(lots.uniform(0.3, 3.0)):
            self.is_closing = True
            self._steady.wait(lots.uniform(0.05, 0.5))
            self.is_closing = False

    def steady(self) -> None:
        self._steady.set()
        self._flapping.join()

    def close(self) -> None:
        self.steady()
        super().close()


class Ends:
    """When a daemon was ended, and which mails were under way then."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def end(self, daemon: Multid, number: int) -> None:
        daemon.stop(number)
        self.times.append(time.monotonic())

    def doubled(self, hop: Flapping) -> Counter[int | None]:
        """Return how many mails came from before each end and again from after it, None for those from one daemon."""
        return Counter(self._between(*pair) for times in hop.times.values() for pair in pairwise(sorted(times)))

    def _between(self, first: float, second: float) -> int | None:
        return next((n for n, at in enumerate(self.times) if first <= at <= second), None)


def configuration(hop: NextHop) -> dict[str, Any]:
    relay = {
        "type": "smtp",
        "listen": "tcp:0:interface=127.0.0.1",
        "hostname": "relay.test",
        "routes": [{"via": hop.url, "tls": "none", "connections": CONNECTIONS}],
        "retry": {"schedule": ["250ms"], "jitter": 0},
    }
    return {"services": {"relay": relay}}


def in_spool(folder: Path) -> set[int | None]:
    """Return the numbers of the mails that lie in the spool of a daemon that has ended."""
    (path,) = folder.glob("**/spool.db")
    spool = sqlite3.connect(path)
    contents = [content for (content,) in spool.execute("SELECT content FROM mail WHERE content IS NOT NULL")]
    spool.close()
    contents += [file.read_bytes() for file in (path.parent / "content").iterdir()]
    return {number_of(content) for content in contents}


def drain(folder: Path, config: dict[str, Any], hop: NextHop, wanted: set[int]) -> None:
    """Run for as long as mails arrive and some that are wanted have not."""
    with Multid(folder, config) as daemon:
        daemon.wait_for(r"relay: \S+ up on", 120)
        total, last = -1, time.monotonic()
        while wanted - hop.arrived.keys() and time.monotonic() - last < PATIENCE:
            if hop.arrived.total() != total:
                total, last = hop.arrived.total(), time.monotonic()
            time.sleep(0.1)
        daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_every_mail_that_was_acknowledged_arrives(campaign: Campaign, tmp_path: Path, number: int) -> None:
    ends = Ends()
    port = 0
    with Flapping(campaign.seed) as hop:
        config = configuration(hop)
        with Senders(
            lambda: port, SENDERS, seed=campaign.seed, numbers=count(), sizes=SIZES, every=campaign.times(0.01, 0.02)
        ) as senders:
            for _ in range(campaign.times(10, 200)):
                with Multid(tmp_path, config) as daemon:
                    if campaign.random.random() < 0.9:
                        daemon.wait_for(r"relay: \S+ up on", 120)
                        port = daemon.port("relay")
                    time.sleep(campaign.random.uniform(0.0, 1.5))
                    ends.end(daemon, number)
                assert "Traceback" not in daemon.log
        hop.steady()
        began = time.monotonic()
        late = senders.acknowledged - hop.arrived.keys()
        drain(tmp_path, config, hop, senders.acknowledged)
        drained = time.monotonic() - began
    missing = senders.acknowledged - hop.arrived.keys()
    waiting = missing & in_spool(tmp_path)
    doubled = ends.doubled(hop)
    campaign.ledger.update(
        {
            f"times {signal.Signals(number).name}": len(ends.times),
            "mails acknowledged": len(senders.acknowledged),
            "mails without an answer": len(senders.open),
            "mails arrived": len(hop.arrived),
            "mails that arrived after the last end": len(late - missing),
            "seconds for these": drained,
            "mails still in the spool": len(waiting),
            "mails lost": len(missing - waiting),
            "mails damaged": len(hop.damaged),
            "mails doubled": doubled.total(),
            "mails doubled by one end, at most": max(doubled.values(), default=0),
            "mails doubled by no end": doubled[None],
        }
    )
    assert not missing
    assert not hop.damaged
    assert hop.arrived.keys() <= senders.acknowledged | senders.open
    if number == signal.SIGTERM:
        assert not doubled.total()
    assert not doubled[None]
    assert max(doubled.values(), default=0) <= CONNECTIONS
