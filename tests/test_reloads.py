"""Asking for a reload: one at a time, together, and always with an answer."""

from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from multid.config.problems import ConfigErrors, Place, Problem
from multid.reload import Difference, Plan
from multid.reloads import Reloaded, Reloads


class Work:
    """What a reload does, under the test's control."""

    def __init__(self) -> None:
        self.dry_runs: list[bool] = []
        self.waiting: list[Deferred[None]] = []
        self.error: Exception | None = None

    async def __call__(self, dry_run: bool) -> Reloaded:
        self.dry_runs.append(dry_run)
        gate: Deferred[None] = Deferred()
        self.waiting.append(gate)
        await gate
        if self.error:
            raise self.error
        return Reloaded(Plan(start=(str(len(self.dry_runs)),)), dry_run=dry_run)

    def finish(self) -> None:
        self.waiting.pop().callback(None)


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def reloads(work) -> Reloads:
    reloads = Reloads(work)
    reloads.open()
    return reloads


def answer(deferred):
    results = []
    deferred.addCallback(results.append)
    return results


def test_what_is_asked_during_a_reload_is_answered_together_by_the_next(work, reloads) -> None:
    first = answer(reloads.ask())
    others = [answer(reloads.ask()) for _ in range(5)]
    assert work.dry_runs == [False]
    work.finish()
    assert first[0].plan.start == ("1",)
    assert others == [[]] * 5
    assert work.dry_runs == [False, False]
    work.finish()
    assert [one[0].plan.start for one in others] == [("2",)] * 5
    assert len(work.dry_runs) == 2


def test_a_dry_run_is_no_answer_to_a_reload(work, reloads) -> None:
    dry = answer(reloads.ask(dry_run=True))
    real, another = answer(reloads.ask()), answer(reloads.ask(dry_run=True))
    work.finish()
    work.finish()
    work.finish()
    assert work.dry_runs == [True, False, True]
    assert (dry[0].dry_run, real[0].dry_run, another[0].dry_run) == (True, False, True)
    assert reloads.last is real[0]


def test_before_the_daemon_has_started_it_waits(work) -> None:
    reloads = Reloads(work)
    reloads.ask()
    assert work.dry_runs == []
    reloads.open()
    assert work.dry_runs == [False]


def test_mistakes_and_defects_are_answers_and_the_next_reload_goes_on(work, reloads, logged) -> None:
    mistake = Problem(Place("multid.yaml", 3, 5), "unknown key 'x'")
    asked = answer(reloads.ask())
    work.error = ConfigErrors([mistake])
    work.finish()
    assert asked[0].problems == (mistake,)
    assert asked[0].is_refused
    assert asked[0].as_json()["report"] == "multid.yaml:3:5: error: unknown key 'x'"
    work.error = ZeroDivisionError("ours")
    asked = answer(reloads.ask())
    work.finish()
    assert asked[0].problems[0].message == "a defect in multid, see its log"
    assert [event["log_failure"].type for event in logged if "log_failure" in event] == [ZeroDivisionError]
    work.error = None
    asked = answer(reloads.ask())
    work.finish()
    assert not asked[0].is_refused
    assert reloads.generation == 1
    assert reloads.succeeded() == reloads.generation == 2


def test_the_answer_as_plain_values() -> None:
    change = Difference("~", "echo.limits.connections", "5", "6", "multid.yaml:4:9")
    reloaded = Reloaded(Plan(keep=("time",), retune=("echo",)), (change,), generation=2)
    assert reloaded.as_json() == {
        "ok": True,
        "dry_run": False,
        "generation": 2,
        "kept": ["time"],
        "differences": [
            {"sign": "~", "key": "echo.limits.connections", "old": "5", "new": "6", "place": "multid.yaml:4:9"}
        ],
        "problems": [],
        "report": "",
    }


FILE = """\
state_dir: {state}
drain_timeout: {drain}
services:
  echo: {{listen: [tcp:0, udp:0], limits: {{connections: {connections}}}}}
  {name}: {{listen: tcp:0}}
  lab: {{type: {type}, listen: tcp:0}}
"""


def loaded(path: Path, **values):
    from multid.config.load import load
    from multid.kinds import discover

    keys = {"state": "var", "drain": "30s", "connections": 5, "name": "time", "type": "echo", **values}
    path.write_text(FILE.format(**keys))
    return load(path, {name: kind.config for name, kind in discover().items()})


def test_the_differences_name_old_and_new_values_and_their_places(tmp_path) -> None:
    from multid.reload import differences, plan_reload

    path = tmp_path / "multid.yaml"
    old = loaded(path)
    new = loaded(path, drain="1m", connections=6, name="discard", type="discard")
    plan = plan_reload(old.file.services, new.file.services)
    assert [str(one).replace(str(path), "F") for one in differences(old, new, plan)] == [
        "~ drain_timeout: 30s -> 1m (F:2:16)",
        "~ echo.limits.connections: 5 -> 6 (F:4:56)",
        "+ discard: discard on tcp:0 (F:5:3)",
        "+ lab: discard on tcp:0 (F:6:3)",
        "- time: time on tcp:0",
        "- lab: echo on tcp:0",
    ]


def test_lists_and_defaults_are_told_too(tmp_path) -> None:
    from multid.reload import differences, plan_reload

    path = tmp_path / "multid.yaml"
    old = loaded(path)
    path.write_text(path.read_text().replace("[tcp:0, udp:0], limits: {connections: 5}", "tcp:0, deny: 10.0.0.0/8"))
    from multid.config.load import load
    from multid.kinds import discover

    new = load(path, {name: kind.config for name, kind in discover().items()})
    plan = plan_reload(old.file.services, new.file.services)
    assert plan.retune == ("echo",)
    assert [str(one).replace(str(path), "F") for one in differences(old, new, plan)] == [
        "~ echo.listen: tcp:0, udp:0 -> tcp:0 (F:4:18)",
        "~ echo.deny: none -> 10.0.0.0/8 (F:4:31)",
        "~ echo.limits.connections: 5 -> 1024 (by default)",
    ]


def test_mappings_in_lists_are_compared_one_by_one_where_they_are_as_many() -> None:
    from multid.reload import _changes, _text

    old = {"routes": [{"via": "a", "tls": "none"}, {"via": "b"}]}
    new = {"routes": [{"via": "a", "tls": None}, {"via": "c", "auth": {"user": "u"}}]}
    assert list(_changes(old, new, ())) == [
        (("routes", 0, "tls"), "none", None),
        (("routes", 1, "via"), "b", "c"),
        (("routes", 1, "auth"), pytest.importorskip("multid.reload")._ABSENT, {"user": "u"}),
    ]
    assert list(_changes(old, {"routes": []}, ())) == [(("routes",), old["routes"], [])]
    assert _text(old["routes"]) == '[{"via": "a", "tls": "none"}, {"via": "b"}]'
    assert _text(True) == "true"
