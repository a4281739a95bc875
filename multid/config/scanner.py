"""YAML text to nodes, by a loader that types nothing and goes on after the mistakes that it can repair.

Every plain scalar stays text, except null and the merge key `<<`: the schema decides what `no`, `22:22` or `0640` is.
Reported and repaired, so that they hide nothing else: a tab (once a line), a text that begins with `*`, `@`, `` ` ``
or `%` and should be quoted, an alias of an unknown anchor. Any other mistake of syntax ends the reading of the file.
Depth is bounded, so no file can exhaust the stack.
"""

import re
from collections.abc import Callable
from typing import Any

import yaml

from multid.config.problems import did_you_mean

MAX_DEPTH = 40
LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")

_STRUCTURE = re.compile(r"[-?] |[^#]*:(\s|$)|[\[{}\]#]|$")
_BEGINS_BLOCK = re.compile(r"(^|[\s:-])[|>][-+\d]*\s*(#.*)?$")
_NEVER_CLOSED = re.compile(r"'<(document end|stream end|block end|document start)>'")

Report = Callable[[yaml.Mark, str, str], None]
"""Takes place, message and hint."""


class RefusedError(yaml.MarkedYAMLError):
    """Good YAML that goes beyond a bound of ours."""


class UnknownAlias(yaml.ScalarNode):
    """Stands for an alias that was reported; its value is the text as written."""


class Loader(yaml.SafeLoader):
    """A SafeLoader up to its nodes; `report` hears of each repaired mistake."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, text: str, report: Report) -> None:
        super().__init__(text)
        self._lines = LINE_END.split(text)
        self._unit = _indentation_unit(self._lines)
        self._report = report
        self._depth = 0
        self._tabs: dict[int, int] = {}  # line -> how far its columns are moved to the left by the repair
        self._in_block = -2  # the last line of a block of text whose indentation holds tabs
        self._indents_of: dict[int, int] = {}  # width of a repaired line's white space -> the column it was given

    def column_of(self, mark: yaml.Mark) -> int:
        """Return the column in the file that a mark names."""
        return int(mark.column) + self._tabs.get(mark.line, 0)

    def scan_to_next_token(self) -> None:
        """Go to the next token, over blanks, comments and line ends; a tab before it is reported."""
        while True:
            while self.peek() == " ":
                self.forward()
            if self.peek() == "\t":
                self._step_over_tab()
                continue
            if self.peek() == "#":
                self._skip_line()
            if not self.scan_line_break():
                return
            if not self.flow_level:
                self.allow_simple_key = True

    def _step_over_tab(self) -> None:
        line, column = self.line, self.column_of(self.get_mark())
        before, rest = self._lines[line][:column], self._lines[line][column:]
        if line not in self._tabs:
            self._report(self.get_mark(), "a tab where only blanks may be", "indent with blanks" if not before else "")
            self._tabs[line] = 0
        while self.peek() in "\t ":
            self.forward()
        content = rest.lstrip(" \t")
        if not before.strip():
            self._reindent(before + rest[: -len(content)] if content else "", content)
        elif before.rstrip()[-1] not in ":,[{-?" and content and content[0] not in "#:,]}":
            self._skip_line()  # inside a plain text: what follows the tab is still that text

    def _reindent(self, blank: str, content: str) -> None:
        """Give a line whose indentation holds tabs the column that it most probably means."""
        if self.flow_level or not content:
            return
        number = next((n for n in range(self.line - 1, -1, -1) if self._lines[n].strip(" \t")), -1)
        above = self._lines[number].rstrip() if number >= 0 else ""
        if _BEGINS_BLOCK.search(above) or number == self._in_block:
            self._in_block = self.line
            self._skip_line()
        elif not _STRUCTURE.match(content):
            self._skip_line()  # goes on with the text above
        else:
            self._move(len(blank.expandtabs(8)), below=above.endswith(":"))

    def _move(self, width: int, *, below: bool) -> None:
        """Take this line as standing below a key, or else beside the last line that was as wide, or the last of all."""
        if below:
            column = self.indent + self._unit if self.indent >= 0 else 0
        else:
            column = self._indents_of.get(width, width if width in self.indents else max(self.indent, 0))
        self._indents_of[width] = column
        self._tabs[self.line] = self.column - column
        self.column = column

    def _skip_line(self) -> None:
        length = len(self._lines[self.line]) - self.column_of(self.get_mark())
        self.pointer += length
        self.index += length
        self.column += length

    def fetch_alias(self) -> None:
        """Read `*name`; a star before anything else was meant as text."""
        if re.match(r"[\w-]", self.peek(1), re.ASCII):
            super().fetch_alias()
            return
        self._unquoted()
        self.fetch_plain()

    def check_plain(self) -> bool:
        """Whether a plain text begins here; one that begins with a reserved character is reported."""
        if super().check_plain():
            return True
        if self.peek() not in "@`%":
            return False
        self._unquoted()
        return True

    def _unquoted(self) -> None:
        self._report(self.get_mark(), f"a text that begins with {self.peek()!r} must stand in quotes", "")

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node; an alias of an unknown anchor is reported and read as text."""
        if self.check_event(yaml.AliasEvent) and self.peek_event().anchor not in self.anchors:
            event = self.get_event()
            message = f"'*{event.anchor}' refers to no anchor '&{event.anchor}' above"
            hint = did_you_mean(event.anchor, self.anchors) or "a text that begins with '*' must stand in quotes"
            self._report(event.start_mark, message, hint)
            return UnknownAlias("tag:yaml.org,2002:str", f"*{event.anchor}", event.start_mark, event.end_mark)
        if self._depth >= MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise RefusedError(None, None, f"nested deeper than {MAX_DEPTH} levels", mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


Loader.yaml_implicit_resolvers = {
    **{c: [("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"))] for c in ("~", "n", "N", "")},
    "<": [("tag:yaml.org,2002:merge", re.compile(r"^<<$"))],
}


def explain(error: yaml.MarkedYAMLError, lines: list[str]) -> tuple[yaml.Mark, str, str]:
    """Return the place, the message and the hint of a mistake of syntax, in the words of a user of the file."""
    problem, context = error.problem or "", error.context or ""
    here: Any = error.problem_mark
    began: Any = error.context_mark or here
    if isinstance(error, RefusedError):
        return here, problem, ""
    if problem == "could not find expected ':'":
        return began, "a key without ':' after it", "a key and its value are written 'key: value', with a blank"
    if problem == "mapping values are not allowed here":
        return here, "a ':' that makes no key here", _why_no_key(here, lines)
    if problem.startswith("expected ',' or"):
        bracket = "]" if "']'" in problem else "}"
        if _NEVER_CLOSED.search(problem):
            return began, f"never closed with '{bracket}'", ""
        return here, f"a ',' or '{bracket}' is missing before this", f"it began on line {began.line + 1}"
    if problem.startswith("expected <block end>"):
        return here, f"does not belong to what began on line {began.line + 1}", "check the indentation and the quotes"
    if problem == "found unexpected end of stream":
        return began, "a quote that is never closed", ""
    if problem.startswith("expected the node content"):
        return here, "a value is missing before this", "is a bracket never closed?" if "end>" in problem else ""
    if problem.startswith("found unknown escape character"):
        return here, "an unknown escape in a double-quoted text", "write a backslash as '\\\\', or use single quotes"
    if context == "expected a single document in the stream":
        return here, "a second document ('---') in one file", ""
    if problem == "second occurrence":
        return here, f"a second anchor of the same name (the first is on line {began.line + 1})", ""
    return here, f"not YAML: {' '.join((context, problem)).strip()}", ""


def _why_no_key(mark: yaml.Mark, lines: list[str]) -> str:
    if ": " in lines[mark.line][: mark.column]:
        return "quote a text that holds ': '"
    above = next((number for number in range(mark.line - 1, -1, -1) if lines[number].strip()), mark.line)
    if ":" not in lines[above]:
        return f"is a ':' missing on line {above + 1}?"
    return "check the indentation"


def _indentation_unit(lines: list[str]) -> int:
    widths = (len(x) - len(x.lstrip(" ")) for x in lines if x.strip() and x.lstrip(" ")[0] not in "#\t")
    return min((width for width in widths if width), default=2)
