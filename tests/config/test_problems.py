"""A mistake is shown in one line that editors understand, with the source and a caret, whatever the file holds."""

import pytest

from multid.config.problems import ConfigErrors, Place, Problem, did_you_mean, visible


def caret_below(problem):
    """Return the character that the caret points at, wide characters counted as two columns."""
    _, source, caret = str(problem).splitlines()
    cells = [cell for c in source for cell in ([c, c] if ord(c) > 0x2E80 else [c])]
    return cells[caret.index("^")]


def test_a_mistake_is_a_headline_the_source_and_a_caret():
    place = Place("a.yaml", 14, 5, "    port: 7007")
    assert str(Problem(place, "duplicate key 'port'", "the first is on line 13")) == (
        "a.yaml:14:5: error: duplicate key 'port'; the first is on line 13\n    14 |     port: 7007\n       |     ^"
    )


def test_a_mistake_of_a_file_as_a_whole_has_no_source():
    assert str(Problem(Place("a.yaml"), "is empty")) == "a.yaml: error: is empty"


@pytest.mark.parametrize("before", ["", "\t", "  ", "你好 ", "ab\u3000", "é", "\x1b[2J"])
def test_the_caret_stands_below_its_character(before):
    assert caret_below(Problem(Place("a", 1, len(before) + 1, before + "X: 1"), "m")) == "X"


@pytest.mark.parametrize("column", [1, 59, 60, 61, 62, 119, 120, 121, 180, 999, 1000])
def test_of_a_long_line_the_part_around_the_caret_is_shown(column):
    line = "x" * (column - 1) + "X" + "x" * (1000 - column)
    problem = Problem(Place("a", 1, column, line), "m")
    assert caret_below(problem) == "X"
    assert max(map(len, str(problem).splitlines())) <= 130


def test_no_control_character_of_the_file_reaches_the_terminal():
    problem = Problem(Place("a\nb", 1, 1, "\x1b]0;\x07\u202e"), "unknown key '\x1b[2J\u2028'", "\r")
    assert all(line.isprintable() for line in str(problem).splitlines())
    assert problem.headline == "a\\nb:1:1: error: unknown key '\\x1b[2J\\u2028'; \\r"


def test_a_message_has_an_end():
    assert len(Problem(Place("a"), "x" * 100_000).headline) < 700


def test_as_json_it_is_plain_values():
    assert Problem(Place("a", 1, 2, "source"), "message", "hint").as_json() == {
        "file": "a", "line": 1, "column": 2, "message": "message", "hint": "hint", "source": "source"
    }  # fmt: skip


def test_all_mistakes_are_shown_and_counted():
    errors = ConfigErrors([Problem(Place("a"), "one"), Problem(Place("b"), "two")])
    assert str(errors) == "a: error: one\nb: error: two"
    assert errors.summary() == "2 mistakes in the configuration"
    assert ConfigErrors(errors.problems[:1]).summary() == "1 mistake in the configuration"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("loger", "logger"),
        ("LOGGER", "logger"),
        ("eco", "echo"),
        ("tiem", "time"),
        ("zebra", ""),
        ("", ""),
        ("1.1", ""),
    ],
)
def test_the_nearest_word_was_meant_if_one_is_near(word, meant):
    assert did_you_mean(word, ["echo", "time", "logger", "1.2"]) == (f"did you mean {meant!r}?" if meant else "")


def test_a_place_is_the_same_whatever_its_source_shows():
    assert Place("a", 1, 1, "x") == Place("a", 1, 1, "y") != Place("a", 1, 2, "x")


def test_visible_text_is_left_as_it_is():
    assert visible("naïve 你好") == "naïve 你好"
