"""What a table says follows from the samples and nothing else."""

import pytest

from bench import figures, table
from bench.row import Figure, Outcome, Row, Target

FIGURE = Figure("rate", "round trips/s", targets=(Target(1.8, "stock Twisted"), Target(0.6, "C")))
MEMORY = Figure("memory", "MiB", more=False, targets=(Target(60),))


def outcome(*figures: Figure, **samples) -> Outcome:
    names = {"c": "C", "twisted": "stock Twisted", "multid": "multid", "xinetd": "xinetd"}
    row = Row("echo", "ping-pong", figures, dict.fromkeys(names.values()), ready=None, measure=None)
    return Outcome(row, {names[name]: taken for name, taken in samples.items()})


def rates(*values: float) -> list[dict[str, float]]:
    return [{"rate": value, "server": 1.0, "load": 0.5} for value in values]


def test_a_summary_is_the_middle_and_the_outermost():
    assert figures.summary([5, 1, 3]) == figures.Summary(3, 1, 5)


def test_a_ratio_is_taken_round_by_round():
    """In the second round the machine was ten times slower for both: the ratio does not notice."""
    assert figures.ratio([200, 20, 210], [100, 10, 100]) == 2.0


def test_a_ratio_to_nothing_is_infinite():
    assert figures.ratio([1], [0]) == float("inf")


@pytest.mark.parametrize(("ours", "good"), [(180, True), (179, False)])
def test_more_is_reached_at_the_bound_and_not_below(ours, good):
    measured = outcome(FIGURE, twisted=rates(100), multid=rates(ours))
    assert figures.reached(measured, FIGURE, Target(1.8, "stock Twisted")) == (ours / 100, good)


@pytest.mark.parametrize(("ours", "good"), [(60, True), (60.1, False)])
def test_less_is_reached_at_the_bound_and_not_above(ours, good):
    measured = outcome(MEMORY, multid=[{"memory": ours}])
    assert figures.reached(measured, MEMORY, Target(60)) == (ours, good)


def test_a_target_without_its_peer_is_neither_reached_nor_missed():
    measured = outcome(FIGURE, multid=rates(100))
    assert figures.reached(measured, FIGURE, Target(0.6, "C")) is None


def test_the_table_shows_median_spread_ratio_and_target():
    measured = outcome(FIGURE, c=rates(1000, 2000, 3000), twisted=rates(500, 500, 500), multid=rates(1000, 1000, 1000))
    measured.missing |= {"xinetd": "not a Debian: no apt-get", "C": "lost connection"}
    assert table.render(measured).splitlines() == [
        "echo: ping-pong",
        "  round trips/s  median  least  greatest  server  load  multid ÷ it  to reach",
        "  C               2,000  1,000     3,000    100%   50%         0.50     ≥ 0.6  not reached",
        "  stock Twisted     500    500       500    100%   50%         2.00     ≥ 1.8      reached",
        "  multid          1,000  1,000     1,000    100%   50%",
        "  xinetd: missing, not a Debian: no apt-get",
        "  C: failed, beside 3 good runs, lost connection",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs", "text"), [([2], [1], "2.00"), ([0], [1], "0.00"), ([7], [0], "\N{EN DASH}")]
)
def test_nobody_is_so_many_times_nothing(ours, theirs, text):
    assert table.times(ours, theirs) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123"), (1.5, "1.5"), (99.94, "99.9"), (431.2, "431"), (1234567.8, "1,234,568")]
)
def test_numbers_are_short(value, text):
    assert table.number(value) == text
