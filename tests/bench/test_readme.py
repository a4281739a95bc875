"""The README's table shows every figure beside every peer's, with date and machine, and names what is missing."""

import pytest

from bench import readme
from bench.row import Figure, Outcome, Row

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "processor": "A Processor",
    "cores": 2,
    "memory": "24 GiB",
    "system": "Debian",
    "kernel": "6.1",
    "python": "3.11.2",
}


def outcome() -> Outcome:
    row = Row("echo", "ping-pong", (Figure("rate", "trips/s"), Figure("p99", "µs")), {}, ready=None, measure=None)
    samples = {"C": [{"rate": 4000.0}] * 3, "multid": [{"rate": 2000.0, "p99": 7.0}] * 3}
    return Outcome(row, samples, {"inetd": "no apt-get"})


def test_the_table_has_a_line_for_each_figure_and_names_what_is_missing():
    text = readme.section(MACHINE, [outcome()])
    assert text.startswith("2026-01-02, A Processor, 2 cores")
    assert "24 GiB, Debian, Linux 6.1, Python 3.11.2; medians of 3 runs" in text
    assert "| [echo](docs/bench/echo.svg) | ping-pong: trips/s | **2,000** | C 4,000 (0.50) |" in text
    assert "| [echo](docs/bench/echo-p99.svg) | ping-pong: µs | **7** |  |" in text
    assert text.endswith("Missing: inetd (no apt-get).")


def test_a_table_takes_the_place_of_the_last_one(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- begin bench, made so -->\nold\n<!-- end bench -->\nafter\n")
    for _ in range(2):
        readme.write(MACHINE, [outcome()], path)
    text = path.read_text()
    assert text.startswith("before\n<!-- begin bench, made so -->\n2026-01-02")
    assert text.endswith("\n<!-- end bench -->\nafter\n")
    assert "old" not in text
    assert text.count("[echo](docs/bench/echo.svg)") == 1


def test_a_readme_without_marks_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing\n")
    with pytest.raises(ValueError, match="no marks"):
        readme.write(MACHINE, [], tmp_path / "README.md")


def test_the_readme_has_marks():
    text = readme.README.read_text("utf-8")
    assert text.count("<!-- begin bench") == text.count("<!-- end bench -->") == 1
