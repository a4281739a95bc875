"""Where the benchmarks keep what they fetch, build and write: all of it below `var/bench`, nothing of it in git."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SOURCES = PROJECT / "bench"
WORK = PROJECT / "var" / "bench"
PEERS = WORK / "peers"
RESULTS = WORK / "results"
PLOTS = PROJECT / "docs" / "bench"
