"""What is fuzzed: each target takes octets and raises AssertionError, or what it should never raise."""

import random
from collections.abc import Callable
from contextlib import suppress

from multid.clock.packet import parse_request
from multid.clock.tracking import parse_reply
from multid.config.document import parse_document
from multid.config.problems import ConfigErrors
from multid.lines import syslog
from multid.lines.escape import escape, unescape
from multid.lines.framing import make_splitter
from multid.lines.splitter import Splitter
from multid.mail.address import parse_mailbox
from multid.mail.headers import map_addresses, parse_fields
from multid.mail.reply import ReplyError, ReplyParser
from multid.mail.transfer import DotStuffer, stuffed
from multid.net.proxy import ProxyError, parse_header
from tests.mail.conversation import Conversation

TARGETS: dict[str, Callable[[bytes], None]] = {}


def target(act: Callable[[bytes], None]) -> Callable[[bytes], None]:
    TARGETS[act.__name__] = act
    return act


def pieces(data: bytes) -> list[bytes]:
    """Cut octets, the same ones always in the same places."""
    lots = random.Random(data)
    cuts = sorted(lots.randrange(len(data) + 1) for _ in range(4))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def lines(splitter: Splitter, chunks: list[bytes]) -> list[bytes]:
    found = [part for chunk in chunks for part in splitter.feed(chunk)] + splitter.end()
    return [line for part in found for line in part]


@target
def splitter(data: bytes) -> None:
    for framing in ("auto", "lf", "crlf", "nul", "octet-counted"):
        whole = lines(make_splitter(framing, max_line=16), [data])
        assert lines(make_splitter(framing, max_line=16), pieces(data)) == whole


@target
def escaping(data: bytes) -> None:
    text = escape(data)
    assert unescape(text) == data
    assert text.decode().isprintable() or not text.decode().isascii()


@target
def syslog_line(data: bytes) -> None:
    assert isinstance(syslog.parse(data, 1_700_000_000.0), dict)


@target
def session(data: bytes) -> None:
    conversation = Conversation()
    for piece in pieces(data):
        conversation.feed(piece)


@target
def replies(data: bytes) -> None:
    with suppress(ReplyError):
        parser = ReplyParser()
        found = [reply for piece in pieces(data) for reply in parser.feed(piece)]
        assert found == ReplyParser().feed(data)


@target
def dots(data: bytes) -> None:
    stuffer = DotStuffer()
    assert b"".join([*map(stuffer.feed, pieces(data)), stuffer.end()]) == stuffed(data)


@target
def address(data: bytes) -> None:
    with suppress(ValueError):
        assert parse_mailbox(parse_mailbox(data.decode()))


@target
def header(data: bytes) -> None:
    parse_fields(data)
    assert map_addresses(data, lambda found: found) == data


@target
def proxy(data: bytes) -> None:
    with suppress(ProxyError):
        found = parse_header(data)
        assert found is None or 0 < found[1] <= len(data)


@target
def ntp(data: bytes) -> None:
    parse_request(data, 123)
    parse_reply(data, 1)


@target
def document(data: bytes) -> None:
    with suppress(ConfigErrors):
        parse_document(data, "fuzzed.yaml")
