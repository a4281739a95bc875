"""The campaign fixture, and the ledgers behind the results."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaigns.broken import sitecustomize
from tests.campaigns.campaign import Campaign

_REPORTS = pytest.StashKey[list[str]]()


@pytest.fixture(autouse=True)
def broken_build(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break this process and those to come, if the command line says so."""
    build = request.config.option.broken
    if build:
        monkeypatch.setenv("PYTHONPATH", str(Path(sitecustomize.__file__).parent))
        monkeypatch.setenv("BROKEN_BUILD", build)
        sitecustomize.BUILDS[build]()


@pytest.fixture
def campaign(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    options = request.config.option
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
