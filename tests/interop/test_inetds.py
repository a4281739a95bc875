"""The table of `tests.interop.inetds`, of which every row must be right."""

import pytest

from tests.interop.inetds import is_right, is_ring, table


def test_the_ring_is_known_from_what_is_not_the_ring() -> None:
    endless = bytes(range(0x20, 0x7F)) * 3
    lines = [endless[n:][:72] for n in range(95)]
    assert is_ring(b"\r\n".join([*lines, b""]))
    assert not is_ring(b"\r\n".join([*lines[:50], lines[52], *lines[51:], b""]))


@pytest.mark.campaign
def test_multid_is_right_on_every_row() -> None:
    rows = table()
    assert {name: value for name, value in rows["multid"].items() if not is_right(name, value)} == {}
    assert len(rows["multid"]) >= 14
