r"""SMTP replies: the value, the canned ones, and the parser of those a next hop sends. Pure.

`Reply` is what a session answers, what a next hop said, and what a spool error tells (RFC 5321 4.2, RFC 2034, RFC
3463). A text may hold several lines, parted by LF; any other control character, CR among them, becomes `?` when the
reply is made, so that nothing reflected from a peer can end a line, of a conversation or of a log. On the wire a text
is ASCII (what is not is written `\xe9`), every line has the same code and, if there is one, the same enhanced code,
and is at most 512 octets with its CRLF.

`ReplyParser` takes a peer's octets as they come. It is strict, for what it reads decides whether a mail is kept:
`[2-5][0-9][0-9]`, then a space, `-` or the end of the line; one code for all lines of a reply; at most 100 lines of
at most 2 KiB. All else raises `ReplyError`, after which the connection is of no use.
"""

import re
from dataclasses import dataclass, field

MAX_LINES = 100
MAX_LINE = 2048
_WIRE_LINE = 512

_CONTROLS = {c: "?" for c in (*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029) if c != 0x0A}
_GRAMMAR = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply: `enhanced` is the code of RFC 3463 without the text, or empty (greeting, EHLO, 3xx)."""

    code: int
    enhanced: str
    text: str
    _wire: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.text.isprintable():
            object.__setattr__(self, "text", self.text.translate(_CONTROLS))

    @property
    def is_positive(self) -> bool:
        """2xx and 3xx: done, or go on."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4xx: try again later."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5xx: do not try this again."""
        return self.code >= 500

    @property
    def lines(self) -> list[str]:
        """The text's lines; at least one."""
        return self.text.split("\n")

    def __bytes__(self) -> bytes:
        """Return what is sent; made once, since most replies are constants."""
        if not self._wire:
            object.__setattr__(self, "_wire", _encoded(self))
        return self._wire

    def __str__(self) -> str:
        """Return one line, for logs and reports: `250 2.0.0 Ok`."""
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text.replace("\n", " "))))


def _encoded(reply: Reply) -> bytes:
    prefix = f"{reply.enhanced} " if reply.enhanced else ""
    *first, last = [
        (prefix + line).encode("ascii", "backslashreplace")[: _WIRE_LINE - len("250 \r\n")] for line in reply.lines
    ]
    return b"".join([b"%d-%s\r\n" % (reply.code, line) for line in first]) + b"%d %s\r\n" % (reply.code, last)


class ReplyError(ValueError):
    """The peer's octets are not a reply."""


class ReplyParser:
    """Replies out of a stream, in order; what is no whole reply yet stays in here."""

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[str] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of what was fed: a must before TLS starts and before a command is sent."""
        return not self._buffer and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that `data` completes; ReplyError where the grammar or a limit is broken."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        if len(self._buffer) > MAX_LINE:
            raise ReplyError("a reply line is longer than 2 KiB")
        return [reply for line in lines if (reply := self._line(line)) is not None]

    def _line(self, line: bytes) -> Reply | None:
        if len(line) > MAX_LINE:
            raise ReplyError("a reply line is longer than 2 KiB")
        match = _GRAMMAR.fullmatch(line.removesuffix(b"\r"))
        if match is None or self._code not in {b"", match[1]}:
            raise ReplyError("a line that is not part of a reply")
        self._code = match[1]
        self._lines.append((match[3] or b"").decode("utf-8", "backslashreplace"))
        if match[2] != b"-":
            return self._whole()
        if len(self._lines) >= MAX_LINES:
            raise ReplyError("a reply has more than 100 lines")
        return None

    def _whole(self) -> Reply:
        code, lines = int(self._code), self._lines
        self._code, self._lines = b"", []
        enhanced = _ENHANCED.match(lines[0])
        if enhanced is None or enhanced[1][0] != str(code)[0]:
            return Reply(code, "", "\n".join(lines))
        texts = [line.removeprefix(enhanced[1]).lstrip(" ") for line in lines]
        return Reply(code, enhanced[1], "\n".join(texts))


OK = Reply(250, "2.0.0", "Ok")
NO_ROOM = Reply(452, "4.3.1", "Insufficient system storage, try again later")
LOCAL_ERROR = Reply(451, "4.3.0", "Local error, try again later")
SHUTTING_DOWN = Reply(421, "4.3.2", "Service shutting down, try again later")
TIMEOUT = Reply(421, "4.4.2", "Timeout, closing")
