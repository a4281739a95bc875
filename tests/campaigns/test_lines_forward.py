"""The next hop goes away under load and comes back: a collector that says so loses nothing and gets nothing twice.

One that is killed loses what its kernel had acknowledged and it had not read: that is all that may be missing.
"""

import signal
import time

import pytest

from tests.campaigns.campaign import happens
from tests.campaigns.lines import LineSenders, account
from tests.process import Multid

pytestmark = pytest.mark.campaign
SOCKET_BUFFERS = 8 << 20
"""Octets that the kernels of both ends may hold between the programs."""


class Collector:
    """A logger that others forward to, on one port through all its lives."""

    def __init__(self, folder, framing: str) -> None:
        self.folder = folder
        folder.mkdir()
        self._framing = framing
        self._process = self._start(0)
        self.port = self._process.port("logger")

    def _start(self, port: int) -> Multid:
        logger = {
            "listen": f"tcp:{port}:interface=127.0.0.1",
            "framing": self._framing,
            "output": [{"file": "lines.log"}],
        }
        return Multid(self.folder, {"services": {"logger": logger}})

    def go(self, number: int) -> None:
        self._process.stop(number)
        self._process.__exit__()

    def come(self) -> None:
        self._process = self._start(self.port)
        self._process.port("logger")


@pytest.mark.parametrize("framing", ["lf", "octet-counted"])
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_next_hop_away_under_load(campaign, tmp_path, how, framing) -> None:
    absences = campaign.times([1.5, 1.5], [60.0, 5.0])
    collector = Collector(tmp_path / "collector", framing)
    output = {
        "forward": f"tcp:127.0.0.1:{collector.port}",
        "framing": framing,
        "format": "raw",
        "spool": {"dir": "spool"},
    }
    logger = {"listen": "tcp:0:interface=127.0.0.1", "output": [output]}
    with Multid(tmp_path, {"services": {"logger": logger}}) as edge:
        port = edge.port("logger")
        with LineSenders(lambda: port, 4, seed=campaign.seed, per_second=500) as senders:
            for away in absences:
                time.sleep(campaign.random.uniform(0.3, 1.0))
                collector.go(how)
                time.sleep(away)
                collector.come()
                time.sleep(campaign.random.uniform(0.3, 1.0))
        happens(lambda: account(collector.folder).reached == senders.sent, within=75)  # it may be called after 60 s
        edge.stop()
    collector.go(signal.SIGTERM)
    found = account(collector.folder)
    campaign.ledger.update(
        {
            "times away": len(absences),
            "seconds away": sum(absences),
            "lines sent": senders.total,
            "lines in the file": found.total - found.missing,
            "lines missing": found.missing,
            "lines doubled": found.doubled,
            "lines torn": len(found.torn),
        }
    )
    assert found.reached == senders.sent
    if how == signal.SIGTERM:
        assert (found.missing, found.doubled, found.torn) == (0, 0, [])
    else:
        assert 200 * (found.missing + found.doubled) <= len(absences) * SOCKET_BUFFERS
        assert len(found.torn) <= 2 * len(absences)
