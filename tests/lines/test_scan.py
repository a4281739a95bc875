"""Whoever looks, the same is found."""

import ctypes
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.lines import scan
from multid.lines.scan import absence, presence

PATTERN = rb"\n[1-9]\d{0,6} (?=<(?:0|[1-9]\d?)>)"
SHORT = st.lists(st.sampled_from([b"\n", b"1", b"23", b" ", b"<5>", b"<05>", b"\0", b"x" * 1500]), max_size=8)


@given(pieces=SHORT)
def test_a_pattern_is_found_by_pcre2_where_it_is_found_by_re(pieces):
    data = b"".join(pieces)
    assert presence(PATTERN)(data) == bool(re.search(PATTERN, data))


@pytest.mark.parametrize("library", ["missing", "failing"])
def test_without_pcre2_it_is_found_as_well(monkeypatch, library):
    def missing(_name: str) -> None:
        raise OSError("no such library")

    if library == "missing":
        monkeypatch.setattr(ctypes, "PyDLL", missing)
    else:
        monkeypatch.setattr(scan, "_pcre2", lambda _pattern: lambda _data: -47)
    holds = presence(PATTERN)
    assert holds(b"x" * 9000 + b"\n12 <3>")
    assert not holds(b"x" * 9000)


def test_a_pattern_that_pcre2_does_not_know_is_left_to_re():
    assert presence(rb"(?P<name>a)(?(name)b|c)\Z")(b"x" * 9000 + b"ab")
    with pytest.raises(OSError, match="does not know"):
        scan._pcre2(b"(")


@given(st.binary(max_size=50))
def test_absence(data):
    assert absence(b"\n\0ab")(data) == (not set(data) & set(b"\n\0ab"))
