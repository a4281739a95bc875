"""Mistakes of the configuration: what is wrong, where, and what was perhaps meant. Pure.

A `Problem` is shown as compilers do it, in one line that editors understand, with the source line and a caret:

    multid.yaml:4:3: error: unknown key 'services.loger'; did you mean 'logger'?
         4 |   loger:
           |   ^

Whatever the file holds, the text is printable: no control character of a file reaches the terminal.
"""

import difflib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

_WIDTH, _LONGEST = 120, 600


@dataclass(frozen=True)
class Place:
    """A point in a file; lines and columns count characters from 1, line 0 is the file as a whole."""

    file: str
    line: int = 0
    column: int = 0
    source: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{visible(self.file)}:{self.line}:{self.column}" if self.line else visible(self.file)

    def excerpt(self) -> str:
        """Return the numbered source line and the caret below it, or nothing where there is none to show."""
        if not self.line or not self.source:
            return ""
        before = self.source[: self.column - 1]
        start = max(0, len(before) - _WIDTH // 2) if len(self.source) > _WIDTH else 0
        shown = _cells(self.source[start : start + _WIDTH])
        return f"\n{self.line:6} | {shown}\n       | {_blank(before[start:])}^"


@dataclass(frozen=True)
class Problem:
    """One mistake; `hint` is what to do about it, where that can be known."""

    place: Place
    message: str
    hint: str = ""

    @property
    def headline(self) -> str:
        """The mistake in one line, without the source."""
        text = f"{self.message}; {self.hint}" if self.hint else self.message
        return f"{self.place}: error: {visible(text if len(text) <= _LONGEST else text[:_LONGEST] + '…')}"

    def __str__(self) -> str:
        return self.headline + self.place.excerpt()

    def as_json(self) -> dict[str, object]:
        """Return the mistake as plain values, for `multid check --json`."""
        where = self.place
        return {
            "file": where.file,
            "line": where.line,
            "column": where.column,
            "message": self.message,
            "hint": self.hint,
            "source": where.source,
        }


class ConfigErrors(Exception):  # noqa: N818 - it is many
    """All mistakes of a configuration, in the order of the files; nothing of it may be used."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def summary(self) -> str:
        """Return how many there are, in one line."""
        number = len(self.problems)
        return f"{number} mistake{'s' * (number != 1)} in the configuration"


class Mistake(ValueError):  # noqa: N818 - of the user, not an error of ours
    """A ValueError of a parser that also knows what was perhaps meant; `private`: the source must not be shown."""

    def __init__(self, message: str, hint: str = "", *, private: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.private = private


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the word that was most probably meant, or nothing where none is near."""
    if not any(character.isalpha() for character in word):
        return ""
    by_case = {known.lower(): known for known in words}
    near = difflib.get_close_matches(word.lower()[:60], by_case, n=1, cutoff=0.6)
    return by_case[near[0]] if near else ""


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the nearest of the words, or nothing where none is near."""
    meant = nearest(word, words)
    return f"did you mean {meant!r}?" if meant else ""


def visible(text: str) -> str:
    """Return the text with every character that is not printable escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _cells(text: str) -> str:
    # What is not printable (tabs, mostly) becomes blank, so that the caret stays below its character.
    return text if text.isprintable() else "".join(c if c.isprintable() else _blank(c) for c in text)


def _blank(text: str) -> str:
    return "".join("  " if unicodedata.east_asian_width(c) in "WF" else " " for c in text)
