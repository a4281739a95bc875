"""Which datagrams are answered: a UDP service must never loop, amplify, or be used to silence somebody. Pure.

No reply goes to

- a source port where another service answers by itself: the well-known ones (`LOOPING_PORTS`), and every UDP port
  this daemon serves (`own_ports`, which the caller keeps up to date); nor to one below `lowest_port`, if that is set;
- a source that is not one host: multicast, broadcast, 0/8, 240/4, unspecified;
- a peer beyond its rate (IPv4 by address, IPv6 by /64), except by the chance `leak`, so that whoever forges its address
  leaves it a quarter of its answers and more; `tells` says who of the others may be told so, in protocols that have a
  word for it;
- anybody beyond `total_rate`;
- a peer that repeats itself like a loop: without `RUN_GAP` seconds between two, the same octets from the same port,
  `REPEATS` times beyond its rate or `RUN` times in all, whatever else it sends meanwhile. It is muted for one second,
  for each further time twice as long up to a minute; only that port with those octets is, so that nobody can mute a
  client whose datagrams he cannot guess;
- a peer whose request was too small: a reply is at most 1.2 times its request, IP and UDP headers counted.

Loopback is held to no rate and to no size, a peer named in `allow` to no size; whom `allow` and `deny` keep out is
never answered. A service that answers nothing (`answers` false) needs no more than that last rule. Everything refused
is counted by reason; `report` returns what there is to log, at most once in `REPORT_EVERY` seconds.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import random

from multid.net.admission import Access
from multid.net.peer import source_prefix
from multid.net.tokens import BucketTable, TokenBucket

ACCESS = "access"
PORT = "looping-port"
LOW_PORT = "low-port"
SOURCE = "source"
DESTINATION = "destination"
RATE = "rate"
TOTAL = "total-rate"
REPEATED = "repeated"
SIZE = "size"

LOOPING_PORTS = frozenset({7, 13, 17, 19, 37, 53, 69, 111, 123, 137, 161, 389, 520, 1900, 2049, 5353, 11211})

LEAK = 0.3
TELL = 0.125
REPEATS = 8
RUN = 1024
RUN_GAP = 0.5
FIRST_MUTE = 1.0
LONGEST_MUTE = 60.0
REPORT_EVERY = 10.0
PEERS = 8192
UNITS = 4
"""How many ports and octets of a peer are watched: so many loops at once do not hide each other."""
NAMED = 8
"""How many muted peers a report names."""


@dataclass(frozen=True)
class Report:
    """What was refused since the last report: how many by reason, who was muted (the first few), how many mutes."""

    refused: dict[str, int]
    muted: tuple[str, ...]
    mutes: int


class _Unit:
    """A port and octets of an address: how often they came, and until when they are muted."""

    __slots__ = ("mute", "muted_until", "repeats", "run", "seen")

    def __init__(self) -> None:
        self.seen = -RUN_GAP
        self.run = self.repeats = 0
        self.mute = self.muted_until = 0.0

    def loops(self, within: bool, now: float) -> bool:
        """Count a datagram, within the rate or not, and return whether so many of them must be a loop."""
        if now - self.seen < RUN_GAP:
            self.run += 1
        else:
            self.run = self.repeats = 0
        self.repeats += not within
        self.seen = now
        return self.repeats >= REPEATS or self.run >= RUN

    def be_muted(self, now: float) -> None:
        """Be silent for a while, twice as long as the last time if that was not long ago."""
        is_recent = self.mute and now < self.muted_until + LONGEST_MUTE
        self.mute = min(2 * self.mute, LONGEST_MUTE) if is_recent else FIRST_MUTE
        self.muted_until = now + self.mute
        self.run = self.repeats = 0


class _Peer:
    """What is known of one address: its last few units by the hash of port and octets, so that no datagram is kept."""

    __slots__ = ("any_size", "bucket", "reason", "units")

    def __init__(self, reason: str | None, any_size: bool, bucket: TokenBucket | None) -> None:
        self.reason = reason
        self.any_size = any_size
        self.bucket = bucket
        self.units: dict[int, _Unit] = {}

    def unit(self, key: int) -> _Unit:
        """Return a unit and make it the last; the one that was not seen for longest goes when they are too many."""
        unit = self.units.pop(key, None)
        if unit is None:
            if len(self.units) >= UNITS:
                del self.units[next(iter(self.units))]
            unit = _Unit()
        self.units[key] = unit
        return unit


class Guard:
    """Decides, datagram by datagram, whether a UDP service answers."""

    def __init__(
        self,
        *,
        rate: float,
        total_rate: float,
        now: float,
        access: Access | None = None,
        answers: bool = True,
        own_ports: Collection[int] = (),
        client_ports: Collection[int] = (),
        lowest_port: int = 0,
        leak: float = LEAK,
        random: Callable[[], float] = random,
        refused: Counter[str] | None = None,
    ) -> None:
        """Build a guard; `client_ports` are looping ports from which this service's clients do ask (NTP's 123)."""
        self.refused: Counter[str] = refused if refused is not None else Counter()
        self._access = access if access is not None else Access()
        self._answers = answers
        self._own_ports = own_ports if answers else ()
        self._client_ports = frozenset(client_ports)
        self._looping_ports = LOOPING_PORTS - self._client_ports if answers else frozenset()
        self._lowest_port = lowest_port
        self._random = random
        self._buckets = BucketTable(rate, max(1.0, 2 * rate), leak=leak, limit=PEERS, random=random)
        self._total = TokenBucket(total_rate, max(1.0, total_rate), now)
        self._peers: dict[str, _Peer] = {}
        self._muted: list[str] = []
        self._mutes = 0
        self._news: Counter[str] = Counter()
        self._next_report = now

    def refuses(self, host: str, port: int, request: bytes, now: float) -> str | None:
        """Return the reason why this request gets no answer, or None: it may have one."""
        peer = self._peers.get(host)
        if peer is None:
            peer = self._meet(host, now)
        if port in self._looping_ports or (port in self._own_ports and port not in self._client_ports):
            return self.count(PORT)
        bucket = peer.bucket
        if bucket is None:
            return None if peer.reason is None else self.count(peer.reason)
        if port < self._lowest_port:
            return self.count(LOW_PORT)
        unit = peer.unit(hash((port, request)))
        if now < unit.muted_until:
            return self.count(REPEATED)
        within = bucket.take(now)
        if unit.loops(within, now):
            unit.be_muted(now)
            self._note_mute(host, port)
            return self.count(REPEATED)
        if not within and not self._buckets.leaks():
            return self.count(RATE)
        return None if self._total.take(now) else self.count(TOTAL)

    def refuses_reply(self, host: str, request_size: int, reply_size: int) -> str | None:
        """Return the reason why a reply of this many octets is not sent, or None."""
        if reply_size <= largest_reply(request_size, ":" in host) or self.any_size(host):
            return None
        return self.count(SIZE)

    def any_size(self, host: str) -> bool:
        """Whether replies to a host may be larger than what it asked with: loopback, and whom `allow` names."""
        peer = self._peers.get(host) or self._judge(host, 0.0)
        return peer.any_size

    def tells(self, now: float) -> bool:
        """Whether a peer that is beyond its rate is told so: by the chance `TELL`, within the total rate."""
        return self._random() < TELL and self._total.take(now)

    def count(self, reason: str) -> str:
        """Count a datagram that is not answered, for a reason of ours or the caller's, and return the reason."""
        self.refused[reason] += 1
        self._news[reason] += 1
        return reason

    def report(self, now: float) -> Report | None:
        """Return what was refused since the last report, None if that was nothing or the last report is recent."""
        if now < self._next_report or not self._news:
            return None
        report = Report(dict(self._news), tuple(self._muted), self._mutes)
        self._news.clear()
        self._next_report = now + REPORT_EVERY
        self._muted.clear()
        self._mutes = 0
        return report

    def _note_mute(self, host: str, port: int) -> None:
        self._mutes += 1
        if len(self._muted) < NAMED:
            self._muted.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def _meet(self, host: str, now: float) -> _Peer:
        if len(self._peers) >= PEERS:
            del self._peers[next(iter(self._peers))]
        peer = self._peers[host] = self._judge(host, now)
        return peer

    def _judge(self, host: str, now: float) -> _Peer:
        address = ipaddress.ip_address(host)
        if not self._access.permits(host):
            return _Peer(ACCESS, False, None)
        if address.is_loopback or not self._answers:
            return _Peer(None, True, None)
        if not _is_one_host(address):
            return _Peer(SOURCE, False, None)
        return _Peer(None, self._access.names(host), self._buckets.bucket(source_prefix(host), now))


def largest_reply(request_size: int, is_ipv6: bool) -> int:
    """Octets of the largest reply to a request of so many octets: 1.2 times, IP and UDP headers counted."""
    headers = 48 if is_ipv6 else 28
    return (request_size + headers) * 6 // 5 - headers


def _is_one_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if address.version == 4:
        return 1 <= int(address) >> 24 <= 223
    return not address.is_multicast and not address.is_unspecified
