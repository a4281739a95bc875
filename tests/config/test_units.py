"""Durations, sizes and rates: what is one, on both sides of the border, and back to text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.config.units import (
    format_duration,
    format_rate,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("30s", 30),
        ("5m", 300),
        ("1h", 3600),
        ("4d", 345600),
        ("36500d", 3153600000),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "30",
        "30 s",
        " 30s",
        "30s ",
        "30S",
        "-1s",
        "+1s",
        ".5s",
        "1.s",
        "1e3s",
        "5min",
        "1w",
        "1h30m",
        "٣s",
        "30s\n",
        "inf",
        "nan",
        "36501d",
        "9" * 400 + "s",
    ],
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("64KiB", 65536),
        ("25MiB", 26214400),
        ("1GiB", 1 << 30),
        ("2TiB", 2 << 40),
        ("1048576TiB", 1 << 60),
    ],
)
def test_a_size_is_a_whole_number_and_a_unit_of_1024(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    "text", ["", "B", "-1", "1.5MiB", "1KB", "1kB", "1kib", "1 KiB", "1K", "1M", "٣", "1048577TiB", "9" * 5000]
)
def test_anything_else_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("20/s", 20), ("60/min", 1), ("36/h", 0.01), ("0.5/s", 0.5), ("1000000000/s", 1e9)]
)
def test_a_rate_is_a_number_by_a_time(text, rate):
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text",
    ["", "20", "/s", "20/", "20/m", "20/d", "20 / s", "-1/s", "20/s/peer", "٣/s", "1000000001/s", "9" * 400 + "/h"],
)
def test_anything_else_is_no_rate(text):
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (1, "1s"), (90, "90s"), (300, "5m"), (3600, "1h"), (345600, "4d"), (1.5, "1500ms")],
)
def test_a_duration_is_written_shortest(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"), [(0, "0B"), (1000, "1000B"), (1024, "1KiB"), (1 << 30, "1GiB"), (3 << 40, "3TiB")]
)
def test_a_size_is_written_shortest(octets, text):
    assert format_size(octets) == text


@pytest.mark.parametrize(
    ("rate", "text"), [(20, "20/s"), (0.5, "30/min"), (0.01, "36/h"), (0, "0/s"), (1 / 7200, "0.5/h"), (1.5, "1.5/s")]
)
def test_a_rate_is_written_with_the_first_unit_that_gives_one_or_more(rate, text):
    assert format_rate(rate) == text


@given(st.integers(0, 3_153_600_000_000))
def test_a_duration_in_milliseconds_survives_being_written(milliseconds):
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-6)


@given(st.integers(0, 1 << 60))
def test_a_size_survives_being_written(octets):
    assert parse_size(format_size(octets)) == octets


@given(st.floats(0, 1e9))
def test_a_rate_survives_being_written(rate):
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-3, abs=1e-6)
