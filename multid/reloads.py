"""Asking for a reload: by a signal or over the admin socket, one at a time.

Reloads that are asked for during one are answered together by the next. Each ends with a `Reloaded`, also where
the file is wrong, something cannot be bound or opened, or we have a defect: then nothing has changed and it says why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from multid.config.problems import ConfigErrors, Place, Problem
from multid.reload import Difference, Plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True)
class Reloaded:
    """How a reload went: what it changed (a dry run: would change), or why nothing has changed."""

    plan: Plan
    differences: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()
    dry_run: bool = False
    generation: int = 0

    @property
    def is_refused(self) -> bool:
        """Whether the old configuration stays because of a mistake."""
        return bool(self.problems)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values, for the admin socket."""
        return {
            "ok": not self.is_refused,
            "dry_run": self.dry_run,
            "generation": self.generation,
            "kept": list(self.plan.keep),
            "differences": [difference.as_json() for difference in self.differences],
            "problems": [problem.as_json() for problem in self.problems],
            "report": "\n".join(str(problem) for problem in self.problems),
        }


class Reloads:
    """The queue of those who asked; `apply` does the work, raising ConfigErrors with everything as it was."""

    log = Logger()

    def __init__(self, apply: Callable[[bool], Awaitable[Reloaded]]) -> None:
        self._apply = apply
        self._asked: list[tuple[bool, Deferred[Reloaded]]] = []
        self._busy = True
        self.generation = 1
        self.last: Reloaded | None = None
        self.succeeded_at = time.time()

    def ask(self, *, dry_run: bool = False) -> Deferred[Reloaded]:
        """Apply the file anew, or only see whether that could be done; fires when the answer is known."""
        answer: Deferred[Reloaded] = Deferred()
        self._asked.append((dry_run, answer))
        self.begin()
        return answer

    def open(self) -> None:
        """The daemon has started: what was asked for meanwhile is done now."""
        self._busy = False
        self.begin()

    def begin(self) -> None:
        """Begin with what was asked, unless that goes on already."""
        if self._asked and not self._busy:
            self._busy = True
            Deferred.fromCoroutine(self._all())

    async def _all(self) -> None:
        while self._asked:
            dry_run = self._asked[0][0]
            asked = [answer for dry, answer in self._asked if dry is dry_run]
            self._asked = [one for one in self._asked if one[0] is not dry_run]
            reloaded = await self._once(dry_run)
            for answer in asked:
                answer.callback(reloaded)
        self._busy = False

    async def _once(self, dry_run: bool) -> Reloaded:
        try:
            reloaded = await self._apply(dry_run)
        except ConfigErrors as errors:
            reloaded = self._refused(errors.problems, dry_run)
        except Exception:  # noqa: BLE001, RUF100 - whoever asked must be answered, and the next one too
            self.log.failure("a defect in multid; please report it")
            reloaded = self._refused((Problem(Place("multid"), "a defect in multid, see its log"),), dry_run)
        if not dry_run:
            self.last = reloaded
        return reloaded

    def _refused(self, problems: tuple[Problem, ...], dry_run: bool) -> Reloaded:
        return Reloaded(Plan(), problems=problems, dry_run=dry_run, generation=self.generation)

    def succeeded(self) -> int:
        """Count a configuration that has become current; return how many there were."""
        self.generation += 1
        self.succeeded_at = time.time()
        return self.generation
