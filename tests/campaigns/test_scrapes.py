"""Somebody asks for the metrics without a pause while others play ping-pong: those others hardly notice.

The rate of the echoes is taken in turns, with and without the scraper, each for a short while; what is compared is the
better half of each, since a machine that does something else now and then slows both.
"""

import http.client
import json
import subprocess
import threading
from statistics import mean

import pytest

from bench.obtain import compiled
from tests.campaigns.watch import processor_seconds
from tests.process import Multid, free_port
from tests.programs import need

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
WINDOW = "0.5"
TURNS = 60
"""How often the rate is taken without the scraper; then it goes on without a pause."""


def test_scrapes(campaign, tmp_path) -> None:
    need("gcc")
    scrapes, http_port = campaign.times(1000, 10_000), free_port()
    config = {
        "admin": {"http": f"tcp:{http_port}:interface=127.0.0.1"},
        "services": {name: {"listen": LOOPBACK} for name in ("echo", "time", "discard", "smtp")},
    }
    alone: list[float] = []
    scraped: list[float] = []
    with Multid(tmp_path, config) as multid:
        echo = multid.port("echo")
        multid.wait_for("smtp: smtp up")
        rate(echo)
        with Scraper(http_port) as scraper:
            while scraper.count < scrapes and scraper.is_well:
                if len(alone) < TURNS:
                    scraper.pause()
                    alone.append(rate(echo))
                    scraper.go_on()
                scraped.append(rate(echo))
        spent = processor_seconds(multid)
        multid.stop()
        assert "Traceback" not in multid.log
    campaign.ledger.update(
        {
            "scrapes": scraper.count,
            "scrapes that failed": scraper.failures,
            "processor seconds of the daemon": spent,
            "echoes a second, alone": better(alone),
            "echoes a second, scraped": better(scraped),
            "of a hundred are left": 100 * better(scraped) / better(alone),
        }
    )
    assert scraper.failures == 0
    assert scraper.count >= scrapes
    assert better(scraped) > 0.3 * better(alone)  # 90 of 100 and more where the machine does nothing else


def rate(port: int) -> float:
    """Return the round trips a second of twenty connections."""
    command = [compiled("load/pingpong"), "tcp", "127.0.0.1", str(port), "20", "64", WINDOW]
    said = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    return said["trips"] / said["seconds"]


def better(rates: list[float]) -> float:
    return mean(sorted(rates)[len(rates) // 2 :])


class Scraper:
    """Asks for the metrics, again and again as soon as it has them, unless it pauses."""

    def __init__(self, port: int) -> None:
        self.count = self.failures = 0
        self._goes_on, self._ends = threading.Event(), False
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def is_well(self) -> bool:
        return not self.failures

    def pause(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self.go_on()
        self._thread.join(40)
        self._connection.close()

    def _run(self) -> None:
        while self._goes_on.wait() and not self._ends and self.is_well:
            try:
                self._connection.request("GET", "/metrics")
                answer = self._connection.getresponse()
                self.failures += answer.status != 200 or b"multid_connections_total" not in answer.read()
            except (OSError, http.client.HTTPException):
                self.failures += 1
            self.count += 1
