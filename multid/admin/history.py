"""The rates of the last hour, for the status page. Pure.

Every `STEP` seconds the totals of all services are noted; a rate is the growth between two notes. A total that has
shrunk is that of a service begun anew; every total begins at 0.
"""

from collections import deque
from collections.abc import Mapping

STEP = 20.0
SPAN = 3600.0


class History:
    """How often each service has done what it does, over the last hour."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._rates: dict[str, deque[float]] = {}

    def note(self, totals: Mapping[str, int]) -> None:
        """Take down the totals of now, `STEP` seconds after the last time; forget services that are no more."""
        self._rates = {name: self._rates.get(name) or deque(maxlen=int(SPAN / STEP)) for name in totals}
        for name, total in totals.items():
            before = self._totals.get(name, 0)
            self._rates[name].append((total - before if total >= before else total) / STEP)
        self._totals = dict(totals)

    def rates(self, name: str) -> list[float]:
        """Return the rates of a service a second, the oldest first."""
        return list(self._rates.get(name, ()))
