"""Signals as calls in the reactor."""

import os
import signal

import pytest

from multid.signals import Signals

USED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def restored():
    before = {number: signal.getsignal(number) for number in USED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_a_call_in_the_next_turn_and_calls_who_was_there_before(loop) -> None:
    calls = []
    signal.signal(signal.SIGUSR1, lambda *_: calls.append("before"))
    signals = Signals(loop)
    signals.install({signal.SIGUSR1: lambda: calls.append("action"), signal.SIGHUP: lambda: calls.append("hup")})
    os.kill(os.getpid(), signal.SIGUSR1)
    assert calls == ["before"]
    loop.turn()
    assert calls == ["before", "action"]
    os.kill(os.getpid(), signal.SIGHUP)
    loop.turn()
    assert calls == ["before", "action", "hup"]


def test_at_the_end_they_are_ignored_and_a_further_term_is_heard(loop) -> None:
    calls = []
    signals = Signals(loop)
    signals.install({signal.SIGHUP: lambda: calls.append("hup")})
    signals.end(lambda: calls.append("abort"))
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    loop.turn()
    assert calls == ["abort", "abort"]
