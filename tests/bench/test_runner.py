"""A run starts each contender anew, measures it, and leaves nothing behind, also when it fails."""

import json
import sys

import pytest

from bench import __main__ as command
from bench import machine, record, runner, server
from bench.obtain import MissingError
from bench.row import Figure, Outcome, Row
from bench.server import Command, RunError, descendants

SLEEPS = Command((sys.executable, "-c", "import time; time.sleep(60)"))


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "WORK", tmp_path)
    return tmp_path


def row(contenders, measure=lambda server: {"rate": 1.0}, ready=lambda server: True) -> Row:
    return Row("row", "work", (Figure("rate", "a second"),), contenders, ready=ready, measure=measure)


def silent(text: str) -> None:
    pass


def test_every_contender_is_measured_once_a_round_in_turn(work):
    told = []
    outcome = runner.measure(row({"a": lambda place: SLEEPS, "b": lambda place: SLEEPS}), 2, told.append)
    assert told == ["row: round 1, a", "row: round 1, b", "row: round 2, a", "row: round 2, b"]
    assert {name: len(samples) for name, samples in outcome.samples.items()} == {"a": 2, "b": 2}
    assert list(work.iterdir()) == []


def test_the_server_runs_while_it_is_measured_and_is_gone_afterwards(monkeypatch):
    monkeypatch.setattr(server, "GRACE", 0.05)
    seen = []

    def measure(running):
        seen.extend(descendants(running.process.pid))
        assert running.resident() > 0
        assert running.ready_at >= running.begun
        return {"rate": 1.0}

    forks = Command(("sh", "-c", "sleep 60 & exec sleep 60"))
    outcome = runner.measure(
        row({"a": lambda place: forks}, measure, lambda s: len(descendants(s.process.pid)) == 2), 1, silent
    )
    assert not outcome.missing
    assert len(seen) == 2
    assert all(descendants(pid) == [pid] for pid in seen)


def missing(place):
    raise MissingError("not a Debian: no apt-get")


def unwell(server):
    raise RunError("lines were lost")


def test_what_cannot_be_had_is_named_with_the_reason():
    outcome = runner.measure(row({"a": missing}), 2, silent)
    assert (outcome.samples, outcome.missing) == ({}, {"a": "not a Debian: no apt-get"})


def test_what_does_not_do_the_work_is_named_with_the_reason():
    assert runner.measure(row({"a": lambda place: SLEEPS}, unwell), 1, silent).missing == {
        "a": "lines were lost; its last words: it said nothing"
    }


def test_one_failure_among_good_runs_is_forgiven_and_told_and_the_second_is_the_last():
    turns = iter([True, False, True, False])

    def measure(running):
        if not next(turns):
            raise RunError("lost connection")
        return {"rate": 1.0}

    outcome = runner.measure(row({"a": lambda place: SLEEPS}, measure), 9, silent)
    assert len(outcome.samples["a"]) == 2
    assert outcome.missing["a"].startswith("lost connection")


def test_what_ends_before_it_is_ready_is_named_with_its_last_words():
    says = Command(("sh", "-c", "echo bad option; exit 3"))
    outcome = runner.measure(row({"a": lambda place: says}, ready=lambda server: False), 1, silent)
    assert outcome.missing == {"a": "ended with 3: bad option"}


def test_the_record_holds_machine_samples_medians_and_ratios(tmp_path):
    outcome = runner.measure(row({"a": lambda place: SLEEPS, "multid": lambda place: SLEEPS}), 1, silent)
    path = record.write({"date": "2026-11-20T11:22:33+00:00"}, {"row": record.row(outcome)}, tmp_path)
    written = json.loads(path.read_text())["measured"]["row"]
    assert path.name == "2026-11-20T11-22-33+00-00.json"
    assert written["figures"]["rate"] == {
        "unit": "a second",
        "median": {"a": 1.0, "multid": 1.0},
        "multid divided by": {"a": 1.0},
    }
    assert len(written["samples"]["multid"]) == 1


def test_nothing_is_recorded_as_a_ratio_to_nothing():
    """JSON has no word for it."""
    outcome = Outcome(row({}), {"C": [{"rate": 0.0}], "multid": [{"rate": 2.0}]})
    assert record.row(outcome)["figures"]["rate"]["multid divided by"] == {}


def test_the_machine_is_described():
    assert {"date", "processor", "kernel", "python"} <= set(machine.describe())


@pytest.mark.parametrize("arguments", [["no-such-row"], ["growth", "echo"]])
def test_an_unknown_name_is_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "no such thing to measure" in capsys.readouterr().err
