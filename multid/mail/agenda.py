"""When each waiting mail is to be looked at next: a heap of times, and nothing else in memory for a mail. Pure."""

import heapq


class Agenda:
    """Ids by time; an id has one time, the last that was said."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, id_: str) -> bool:
        return id_ in self._at

    def put(self, id_: str, at: float) -> None:
        """Look at a mail at a time, and at no other."""
        self._at[id_] = at
        heapq.heappush(self._heap, (at, id_))
        if len(self._heap) > 2 * len(self._at) + 64:
            self._heap = [(at, id_) for id_, at in self._at.items()]
            heapq.heapify(self._heap)

    def discard(self, id_: str) -> None:
        """Do not look at a mail."""
        self._at.pop(id_, None)

    def next_at(self) -> float | None:
        """Return the earliest time, or None."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> str | None:
        """Take out the id whose time is the earliest, if that has come."""
        at = self.next_at()
        if at is None or at > now:
            return None
        id_ = heapq.heappop(self._heap)[1]
        del self._at[id_]
        return id_

    def oldest(self) -> str | None:
        """Return the smallest id, or None."""
        return min(self._at, default=None)
