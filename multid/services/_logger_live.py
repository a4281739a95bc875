"""Lines of a logger for one who follows it live, by the filters asked for, and so few that it is not slowed.

No more is looked at than `LOOKED_AT` octets a second, and no more shown than `LEGIBLE` lines a second. The next line
that is shown says how many were left out. A line's severity is that of its `<PRI>`, or notice (RFC 3164 4.3.3).
"""

from collections.abc import Iterator

from multid.lines import syslog
from multid.lines.record import Received, Record
from multid.net.follower import Follower
from multid.net.tokens import TokenBucket

LEGIBLE = 1000.0
LOOKED_AT = 32 * 1024 * 1024.0


class Live:
    """What one follower is shown."""

    def __init__(self, follower: Follower, now: float) -> None:
        self._follower = follower
        self._legible = TokenBucket(LEGIBLE, LEGIBLE, now)
        self._looked_at = TokenBucket(LOOKED_AT, LOOKED_AT, now)
        self._left_out = 0

    def show(self, batch: Received, now: float) -> None:
        """Show those lines of a batch that are wanted."""
        if not self._follower.wanted.admits_peer(batch.source.peer):
            return
        if not self._looked_at.take(now, len(batch.lines.block)):
            self._left_out += batch.count
            return
        for line in self._wanted(batch):
            if self._legible.take(now):
                self._show(batch, line)
            else:
                self._left_out += 1

    def _wanted(self, batch: Received) -> Iterator[bytes]:
        wanted = self._follower.wanted
        try:
            text = wanted.grep.encode(batch.source.charset)
        except UnicodeEncodeError:  # no line of this charset holds it
            return
        if text not in batch.lines.block:
            return
        for line in batch.lines:
            if text in line and (wanted.worst is None or syslog.severity(line) <= wanted.worst):
                yield line

    def _show(self, batch: Received, line: bytes) -> None:
        source = batch.source
        fields = source.parse(line) if source.parse is not None else {}
        record = Record(batch.time, source, line, batch.lines.mark)
        values = {name: value for name, value in fields.items() if isinstance(value, str)}
        if self._left_out:
            values["left_out"] = str(self._left_out)
            self._left_out = 0
        self._follower.take("line", {"peer": source.peer, "text": record.text.decode(), **values})
