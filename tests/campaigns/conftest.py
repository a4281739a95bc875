"""The campaign fixture, and the ledgers behind the results."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.campaign import Campaign

BROKEN = Path(__file__).parent / "broken"
_REPORTS = pytest.StashKey[list[str]]()


@pytest.fixture
def campaign(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Campaign]:
    options = request.config.option
    if options.broken:
        monkeypatch.setenv("PYTHONPATH", str(BROKEN))
        monkeypatch.setenv("BROKEN_BUILD", options.broken)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    campaign = Campaign(seed, is_long=options.campaign == "long")
    yield campaign
    reports = request.config.stash.setdefault(_REPORTS, [])
    reports.append(f"{request.node.nodeid.rpartition('/')[2]}: {campaign.report()}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.config.stash.get(_REPORTS, [])
    if reports:
        terminalreporter.section("ledgers")
    for report in reports:
        terminalreporter.write_line(f"{report}\n")
