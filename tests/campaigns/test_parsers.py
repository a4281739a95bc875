"""Every parser against mutated input, guided by the lines of the parser that an input reaches for the first time."""

import ipaddress
import json
import struct
import sys
import time
from collections.abc import Callable, Sequence
from random import Random
from types import FrameType
from typing import Any

import pytest

from multid.clock.packet import ClockState, encode_reply, parse_request
from multid.clock.tracking import parse_reply
from multid.config.target import parse_target
from multid.lines.framing import make_splitter
from multid.lines.syslog import parse
from multid.net.proxy import MAX_LENGTH, ProxyError, parse_header
from tests.campaigns.campaign import Campaign

pytestmark = pytest.mark.campaign

INTERESTING = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b" ",
    b"<",
    b"-",
    b"0",
    b"9999999 <13>",
    b"\xef\xbb\xbf",
    b"::ffff:1.2.3.4",
]


class Fuzzer:
    """Keeps the inputs that reach a new line, or take a new way from one line to the next, and mutates those."""

    def __init__(self, seeds: Sequence[bytes], module: str, random: Random) -> None:
        self.corpus = list(seeds)
        self._file = sys.modules[module].__file__
        self._random = random
        self._ways: set[tuple[int, int]] = set()

    def run(self, check: Callable[[bytes], None], seconds: float) -> int:
        """Check as many inputs as there is time for; return their number."""
        for seed in list(self.corpus):
            self._try(check, seed)
        count, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            data = self._mutated()
            if self._try(check, data):
                self.corpus.append(data)
            count += 1
        return count

    def _try(self, check: Callable[[bytes], None], data: bytes) -> bool:
        """Check an input; return whether it went a way that none had gone before."""
        new, last = False, [0]

        def trace(frame: FrameType, event: str, arg: Any) -> Any:
            if frame.f_code.co_filename != self._file:
                return None
            nonlocal new
            way = (last[0], frame.f_lineno)
            last[0] = frame.f_lineno
            if way not in self._ways:
                self._ways.add(way)
                new = True
            return trace

        sys.settrace(trace)
        try:
            check(data)
        except BaseException:
            sys.stderr.write(f"input: {data!r}\n")
            raise
        finally:
            sys.settrace(None)
        return new

    def _mutated(self) -> bytes:
        random = self._random
        data = bytearray(random.choice(self.corpus))
        for _ in range(random.choice((1, 1, 2, 4, 8))):
            at = random.randrange(len(data) + 1)
            match random.randrange(6):
                case 0:
                    data[at : at + random.randrange(9)] = b""
                case 1:
                    data[at:at] = random.choice(INTERESTING)
                case 2:
                    data[at:at] = random.randbytes(random.randrange(1, 9))
                case 3 if at < len(data):
                    data[at] ^= 1 << random.randrange(8)
                case 4:
                    other = random.choice(self.corpus)
                    data[at:] = other[random.randrange(len(other) + 1) :]
                case _ if data:
                    piece = data[random.randrange(len(data)) :][: random.randrange(1, 40)]
                    data[at:at] = piece
        return bytes(data[:20000])


def proxy(data: bytes) -> None:
    try:
        found = parse_header(data)
    except ProxyError:
        return
    if found is None:
        assert len(data) < 16 + MAX_LENGTH
        return
    proxied, length = found
    assert 0 < length <= len(data)
    assert parse_header(data[:length]) == found
    assert parse_header(data[: length - 1]) is None
    for end in (proxied.source, proxied.destination):
        if end is not None:
            assert str(ipaddress.ip_address(end[0])) == end[0]
            assert 0 <= end[1] <= 65535


def ntp(data: bytes) -> None:
    request = parse_request(data, data[0] if data else 0)
    if request is None:
        return
    reply = encode_reply(request, ClockState(0, 3, -24, 0.1, 0.2, b"\x0a\0\0\1", 10**18), 1, 2)
    assert len(reply) == 48 <= len(data)
    assert reply[24:32] == data[40:48]
    assert reply[0] & 7 in {2, 4}
    assert reply[0] >> 3 & 7 == data[0] >> 3 & 7


def tracking(data: bytes) -> None:
    found = parse_reply(data, 77)
    if found is not None:
        assert 0 <= found.stratum <= 255
        assert 0 <= found.leap <= 3
        assert -1e30 < found.root_delay < 1e30


def target(data: bytes) -> None:
    try:
        found = parse_target(data.decode("latin-1"))
    except ValueError:
        return
    assert found.path or (found.host.isprintable() and 1 <= found.port <= 65535)


def syslog(data: bytes) -> None:
    fields = parse(data, 1_790_000_000.0)
    assert fields.pop("message", b"") in data
    json.dumps(fields)
    assert 0 <= fields["pri"] <= 191


def framing(data: bytes) -> None:
    """However a stream is cut, and whatever its framing, its lines are the same and nothing is held beyond bounds."""
    for name in ("auto", "octet-counted", "lf", "crlf", "nul"):
        whole = make_splitter(name, max_line=100)
        lines = _lines(whole.feed(data) + whole.end())
        for size in (1, 7):
            cut, given = make_splitter(name, max_line=100), []
            for start in range(0, len(data), size):
                given += cut.feed(data[start : start + size])
                assert cut.pending <= 100 + size + 20
            assert _lines(given + cut.end()) == lines


def _lines(groups: list[Any]) -> list[tuple[bytes, Any]]:
    return [(line, group.mark) for group in groups for line in group]


ADDRESSES = bytes([192, 0, 2, 7, 198, 51, 100, 1]) + struct.pack("!HH", 51000, 25)
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRACKING = struct.pack("!BBxxHHHxxxxxxIxxxxxxxx", 6, 2, 33, 5, 0, 77) + bytes(76)
PARSERS: dict[str, tuple[str, Callable[[bytes], None], list[bytes]]] = {
    "PROXY": (
        "multid.net.proxy",
        proxy,
        [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25\r\nrest",
            b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 25\n",
            b"PROXY UNKNOWN\r\n",
            SIGNATURE + b"\x21\x11\0\x0c" + ADDRESSES,
            SIGNATURE + b"\x21\x21\0\x24" + bytes(36),
            SIGNATURE + b"\x20\0\0\0",
            SIGNATURE + b"\x21\x31\0\xd8" + bytes(216),
        ],
    ),
    "NTP": ("multid.clock.packet", ntp, [b"\x23" + bytes(47), b"\x09" + bytes(47), b"\x19\0\x80" + bytes(65)]),
    "tracking": ("multid.clock.tracking", tracking, [TRACKING]),
    "target": (
        "multid.config.target",
        target,
        [b"tcp:host:25", b"ssl:[2001:db8::1]:25", b"unix:/run/a", b"udp:a\\:b:1"],
    ),
    "syslog": (
        "multid.lines.syslog",
        syslog,
        [
            b'<165>1 2003-10-11T22:14:15.003Z host app 1 ID47 [a@1 b="c\\"\\]"][d e=""] \xef\xbb\xbftext',
            b"<34>Oct 11 22:14:15 host su[1]: 'su root' failed",
            b"<189>45: *Mar  1 18:46:11 UTC: %SYS-5-CONFIG_I: text",
            b"no priority at all",
        ],
    ),
    "framing": (
        "multid.lines.splitter",
        framing,
        [
            b"one\ntwo\r\nthree",
            b"5 <13>a12 <13>abc\ndef\n<13>x\n",
            b"12 monkeys\n2026-01-02 x\n",
            b"a\0b\0" + b"x" * 250 + b"\n",
        ],
    ),
}


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_and_mutated_input(name: str, campaign: Campaign) -> None:
    module, check, seeds = PARSERS[name]
    fuzzer = Fuzzer(seeds, module, campaign.random)
    campaign.ledger[f"{name}: inputs"] = fuzzer.run(check, campaign.times(3.0, 60.0))
    campaign.ledger[f"{name}: of them kept for their way"] = len(fuzzer.corpus) - len(seeds)
