"""A text becomes plain data with places; what is no YAML, or more than a configuration needs, becomes problems."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multid.config.document import MAX_VALUES, parse_document, read_document
from multid.config.scanner import MAX_DEPTH


def parse(text):
    return parse_document(text.encode() if isinstance(text, str) else text, "a")


def told(text):
    return [problem.headline for problem in parse(text).problems]


def test_every_plain_scalar_is_a_text_but_null():
    document = parse(
        "[1, 0x10, 0640, 1.5, .inf, yes, no, on, 22:22, 2026-11-20, null, ~, Null, NULL, nULL, '', 'null', =]"
    )
    assert document.data == [
        "1", "0x10", "0640", "1.5", ".inf", "yes", "no", "on", "22:22", "2026-11-20",
        None, None, None, None, "nULL", "", "null", "=",
    ]  # fmt: skip
    assert not document.problems


def test_places_are_those_of_keys_and_of_texts():
    document = parse("a: 1\nb:\n  - x\n  - {c: d}\n")
    where = {path: (document.place(path).line, document.place(path).column) for path in document.keys}
    assert where == {("a",): (1, 4), ("b",): (2, 1), ("b", 0): (3, 5), ("b", 1): (4, 5), ("b", 1, "c"): (4, 9)}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028"])
def test_lines_are_counted_by_any_line_end(end):
    document = parse(end.join(["# x", "a: 1", "b: 2"]))
    assert (document.place(("b",)).line, document.place(("b",)).source) == (3, "b: 2")


def test_a_merged_mapping_yields_to_the_keys_beside_it():
    document = parse("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc: {y: 0, <<: [*a, *b]}\nd: {<<: *a, x: 5}\n")
    assert document.data["c"] == {"y": "0", "x": "1", "z": "4"}
    assert document.data["d"] == {"x": "5", "y": "2"}
    assert document.place(("c", "x")).line == 1
    assert document.place(("c", "z")).line == 2
    assert not document.problems


def test_a_mapping_that_was_merged_may_merge_itself():
    assert parse("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n").data["c"] == {"y": "2", "x": "1"}


def test_a_quoted_merge_key_is_a_key():
    assert parse("'<<': 1").data == {"<<": "1"}


def test_merging_twice_is_a_duplicate_key():
    assert told("a: &a {x: 1}\nb: {<<: *a, <<: *a}") == ["a:2:13: error: duplicate key '<<' (the first is on line 2)"]


def test_a_duplicate_inside_an_anchor_is_told_once():
    assert len(told("a: &a {x: 1, x: 2}\nb: *a\nc: {<<: *a}\n")) == 1


@pytest.mark.parametrize(("depth", "problems"), [(MAX_DEPTH, 0), (MAX_DEPTH + 1, 1), (100_000, 1)])
def test_depth_is_bounded(depth, problems):
    assert len(told("[" * depth + "]" * depth)) == problems


def test_depth_through_aliases_is_bounded():
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 5000))]
    assert "nested deeper than" in told("\n".join(lines))[0]


@pytest.mark.parametrize("levels", [12, 1000])
def test_merging_again_and_again_is_bounded(levels):
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}" for n in range(1, levels))]
    assert "when aliases are followed" in told("\n".join(lines))[0]


@pytest.mark.parametrize(("number", "problems"), [(MAX_VALUES, 0), (MAX_VALUES + 1, 1)])
def test_the_number_of_values_is_bounded(number, problems):
    text = "a: &a [" + "x," * 999 + "x]\nb: ["  # a with its list is 1001 values, each alias 1001 more
    left, aliases = number - 1 - 1001 - 1, 0
    while left > 1001:
        left, aliases = left - 1001, aliases + 1
    assert len(told(text + "*a," * aliases + "x," * left + "]")) == problems


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: {c: *a}}", "a: &a {<<: *a}", "a: &a {b: 1, <<: {c: *a}}"])
def test_what_contains_itself_is_refused(text):
    assert told(text) == ["a:1:4: error: what this anchor names contains itself"]


def test_many_duplicate_keys_take_no_long_time():
    assert len(told("a: 1\n" * 20_000)) == 19_999


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a:\n\tb: 1\n\tc: 2\n", {"a": {"b": "1", "c": "2"}}),
        ("a:\n  b:\n\tc: 1\n  d: 2\n", {"a": {"b": {"c": "1"}, "d": "2"}}),
        ("a:\n    b:\n\tc: 1\n    d: 2\n", {"a": {"b": {"c": "1"}, "d": "2"}}),
        ("a:\n\tb:\n\t\tc: 1\n\td: 2\ne: 3\n", {"a": {"b": {"c": "1"}, "d": "2"}, "e": "3"}),
        ("a:\n  b: 1\n\tc: 2\n  d: 3\n", {"a": {"b": "1", "c": "2", "d": "3"}}),
        ("a:\n\t- b\n\t- c: 1\n", {"a": ["b", {"c": "1"}]}),
        ("a:\tb\n", {"a": "b"}),
        ("a: b\t\nc: d\t# e\n", {"a": "b", "c": "d"}),
        ("a: b\tc\nd: e\n", {"a": "b", "d": "e"}),
        ("a: [b,\tc,\n\td]\n", {"a": ["b", "c", "d"]}),
        ("a: {b: 1,\t\tc:\t2}\n", {"a": {"b": "1", "c": "2"}}),
        ("a: b\n\tc\nd: e\n", {"a": "b", "d": "e"}),
        ("a: |\n\tb\n\tc: d\ne: f\n", {"a": "", "e": "f"}),
        ("\ta: 1\n", {"a": "1"}),
        ("a: 1\n\t\nb: 2\n", {"a": "1", "b": "2"}),
        ("a: 1\n\t# c\nb: 2\n", {"a": "1", "b": "2"}),
    ],
)
def test_a_tab_hides_nothing_else(text, data):
    document = parse(text)
    assert document.data == data
    lines = [number for number, line in enumerate(text.splitlines(), 1) if "\t" in line]
    assert [problem.place.line for problem in document.problems] == lines


@pytest.mark.parametrize("text", ["a: 'b\tc'", 'a: "b\tc"', "a: b # c\td", "a: |\n  b\tc\n", "a: >-\n  b\tc\n"])
def test_a_tab_inside_of_a_text_or_a_comment_is_no_mistake(text):
    assert not told(text)


def test_behind_a_repaired_tab_columns_are_those_of_the_file():
    document = parse("a:\n\t\tb: 1\n")
    assert (document.place(("a", "b")).line, document.place(("a", "b")).column) == (2, 6)


def test_an_octet_that_is_not_utf8_is_told_at_its_place():
    assert told("a: 你\nb: é".encode() + b"\xff\n") == ["a:2:5: error: not UTF-8: the octet 0xff"]


@pytest.mark.parametrize("text", ["a: b\ufeff # c\nd: e", "\ufeff\ufeffa: b", "a: \ufeff\t# c\nd: e"])
def test_a_byte_order_mark_stands_at_the_beginning_or_is_a_mistake(text):
    assert "the character U+FEFF has no place here" in told(text)[0]
    assert not parse("\ufeffa: b").problems


def test_a_text_cut_in_the_middle_of_a_character_is_not_utf8():
    assert told("a: é".encode()[:-1]) == ["a:1:4: error: not UTF-8: the octet 0xc3"]


@pytest.mark.parametrize(
    "text",
    [
        "'",
        '"',
        "{",
        "[",
        "{a",
        "a: b: c",
        "&",
        "*",
        "!",
        "!<",
        "%",
        "@",
        "`",
        "|x",
        ">0",
        "? ",
        ", a",
        "- a\nb",
        "%YAML 9.9\n--- a",
        "%YAML 1.1\n%YAML 1.1\n--- a",
        "%TAG ! !\n%TAG ! !\n---",
        "!x!y z",
        '"\\x"',
        '"\\u12"',
        "...\na",
        "--- a\n--- b",
        "&a a: &a b",
        "a\n- b",
        "\x00",
        "\ufffe",
        "%YAML " + "9" * 5000 + ".1\n---",
    ],
)
def test_what_is_no_yaml_is_told_and_never_raised(text):
    for line in told(text):
        assert "error: " in line
        assert "Error" not in line


@given(st.text(alphabet="ab:-?[]{},&*!|>'\"%@`#\\ \n\t\r~<0\x85\u2028\ufeff\x00", max_size=60))
@example("a:\n\t? b")
def test_no_text_does_more_harm_than_a_problem(text):
    document = parse(text)
    for problem in document.problems:
        assert str(problem)


@given(st.binary(max_size=60))
def test_no_octets_do_more_harm_than_a_problem(octets):
    for problem in parse(octets).problems:
        assert str(problem)


def test_a_fifo_into_which_nobody_writes_is_empty_and_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "multid.yaml")
    assert read_document(tmp_path / "multid.yaml").data is None


def test_a_pipe_is_read_to_its_end():
    reading, writing = os.pipe()
    try:
        os.write(writing, b"services: {}\n")
        os.close(writing)
        assert read_document(Path(f"/proc/self/fd/{reading}")).data == {"services": {}}
    finally:
        os.close(reading)
