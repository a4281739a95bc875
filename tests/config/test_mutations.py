"""Whatever becomes of the example file, reading it ends in values or in problems, never in another exception."""

import random

import pytest

from multid.config.load import Loaded, load
from multid.config.problems import ConfigErrors
from tests.config.test_example import BLOCKS, EXAMPLE, KINDS, uncommented

TOKENS = [
    *("\t", " ", "\n", ":", ": ", "- ", "#", "'", '"', "[", "]", "{", "}", ",", "%", "@", "`", "?", "~", "|\n", ">\n"),
    *("&a ", "*a", "*", "<<: *a", "!!int ", "!x", "---\n", "...\n", "\\", "\0", "\x1b[2J", "\u2028", "\ufeff", "你好"),
    *("0", "-1", "99037", "1e309", "nan", "null", "yes", "9" * 5000, "tcp:", "unix:", "{file: x}", "\ud7ff"),
    *("type: smtp\n", "services:\n", "include: '*'\n"),
]


def mutate(text, dice):
    """Change a text at one to four places: cut, doubled, swapped, or strewn with what means something to YAML."""
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.choice([0, 1, 1, 2, 5, 20, 200]))
        lines = text.splitlines(keepends=True) or [""]
        one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
        match dice.randrange(6):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + dice.choice(TOKENS) + text[end:]
            case 2:
                text = text[:start] + "".join(dice.choices(TOKENS, k=3)) + text[start:]
            case 3:
                text = text[:end] + text[start:end] + text[end:]
            case 4:
                lines[one] = dice.choice(["  ", "\t", "- ", "#", ""]) + lines[one].lstrip(" ")
                text = "".join(lines)
            case 5:
                lines[one], lines[other] = lines[other], lines[one]
                text = "".join(lines)
    return text


def outcome(path):
    try:
        return load(path, KINDS)
    except ConfigErrors as errors:
        return errors


def survive(seeds, path):
    whole = [EXAMPLE.read_text("utf-8"), uncommented(*(number for block in BLOCKS for number in block))]
    outcomes = set()
    for seed in seeds:
        dice = random.Random(seed)
        path.write_bytes(mutate(dice.choice(whole), dice).encode("utf-8", "surrogatepass"))
        result = outcome(path)
        outcomes.add(type(result))
        if isinstance(result, ConfigErrors):
            assert result.problems, seed
            assert all(line.isprintable() for line in str(result).split("\n")), seed
            assert not any("ydantic" in problem.headline for problem in result.problems), seed
    assert outcomes == {Loaded, ConfigErrors}


def test_no_mutation_of_the_example_ends_in_a_traceback(tmp_path):
    survive(range(300), tmp_path / "multid.yaml")


@pytest.mark.campaign
def test_nor_do_ten_thousand(tmp_path):
    survive(range(1000, 11_000), tmp_path / "multid.yaml")
