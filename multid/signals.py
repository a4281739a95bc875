"""Signals as calls in the reactor: HUP and USR1 while the daemon runs, a further TERM or INT while it ends.

A handler that was there before is called as well: twistd's own opens `twistd.log` anew on USR1.
"""

import signal
from collections.abc import Callable, Mapping
from typing import Any

ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What the process does on a signal; every action runs in a turn of the reactor, never in the handler."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._installed: set[int] = set()

    def install(self, actions: Mapping[int, Callable[[], object]]) -> None:
        """Call an action at each of these signals."""
        for number, action in actions.items():
            signal.signal(number, self._handler(action, signal.getsignal(number)))
            self._installed.add(number)

    def end(self, action: Callable[[], object]) -> None:
        """Ignore what was installed, and call an action where the end is asked for once more."""
        for number in self._installed:
            signal.signal(number, signal.SIG_IGN)
        for number in ENDING:
            signal.signal(number, self._handler(action, None))

    def _handler(self, action: Callable[[], object], before: Any) -> Callable[..., None]:
        def on_signal(number: int, frame: Any) -> None:
            if callable(before):
                before(number, frame)
            self._reactor.callFromThread(action)

        return on_signal
