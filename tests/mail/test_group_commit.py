"""What is acknowledged is in the store and what is not is not, whatever fails at whichever moment."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from multid.mail.group_commit import GroupCommit
from multid.mail.reply import LOCAL_ERROR, NO_ROOM

IOERR, CONSTRAINT = 10, 19
FAULTS = ("begin", "apply", "commit", "commit that reached the disk")
"""When the store fails."""


class Connection(sqlite3.Connection):
    """One whose next transaction fails as `fault` says."""

    fault = ""

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self.fault == "commit that reached the disk" and statement == "COMMIT":
            super().execute(statement)
        if (self.fault.startswith("commit") and statement == "COMMIT") or (
            self.fault == "begin" and statement.startswith("BEGIN")
        ):
            self.fault = ""
            raise error(IOERR)
        return super().execute(statement, *values)


def error(code: int) -> sqlite3.Error:
    made = sqlite3.OperationalError("as the test says")
    made.sqlite_errorcode = code
    return made


class Numbers:
    """A store of numbers; negative ones are refused as at fault themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self.transactions = 0

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, factory=Connection)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER UNIQUE)")
        return connection

    def apply(self, connection: sqlite3.Connection, changes: Sequence[int]) -> None:
        self.transactions += 1
        fault, self.fault = self.fault, ""
        for number in changes:
            if number < 0:
                raise error(CONSTRAINT)
            connection.execute("INSERT INTO numbers VALUES (?)", (number,))
        if fault == "apply":
            raise error(IOERR)
        assert isinstance(connection, Connection)
        connection.fault = fault

    def revoke(self, connection: sqlite3.Connection, changes: Sequence[int]) -> None:
        connection.executemany("DELETE FROM numbers WHERE number = ?", [(number,) for number in changes])

    def content(self) -> set[int]:
        with sqlite3.connect(self.path) as connection:
            found = {number for (number,) in connection.execute("SELECT number FROM numbers")}
        connection.close()
        return found


BATCHES = st.lists(
    st.tuples(st.sampled_from(["", *FAULTS]), st.lists(st.booleans(), min_size=1, max_size=5)), max_size=8
)
"""How the store fails in each batch, if so, and which of its changes are sound."""


def numbered(batches: list[tuple[str, list[bool]]]) -> Iterator[tuple[str, list[int]]]:
    next_one = iter(range(1, 1000))
    for fault, are_sound in batches:
        yield fault, [number if is_sound else -number for is_sound, number in zip(are_sound, next_one, strict=False)]


@settings(max_examples=50)
@given(BATCHES)
def test_the_store_holds_what_was_acknowledged_and_nothing_else(batches: list[tuple[str, list[bool]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Numbers(Path(folder) / "numbers.db")
        commits: GroupCommit[int] = GroupCommit(None, store)
        commits._open()
        acknowledged: set[int] = set()
        for fault, changes in numbered(batches):
            store.fault = fault if fault != "begin" else ""
            if fault == "begin" and isinstance(commits._connection, Connection):
                commits._connection.fault = fault
            results = commits._commit(changes)
            acknowledged |= {number for number, result in zip(changes, results, strict=True) if result is None}
            for number, result in zip(changes, results, strict=True):
                assert result is None or result.reply in (LOCAL_ERROR, NO_ROOM)
                assert number > 0 or result is not None
            if not fault:
                assert {number for number in changes if number > 0} <= acknowledged, "only the culprits fail"
        assert commits._commit([999]) == [None], "the store is well again"
        assert store.content() == acknowledged | {999}
        commits._close()
