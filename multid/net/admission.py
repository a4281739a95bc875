"""May this peer in? One decision, before a protocol exists; nothing of it costs anything per octet. Pure.

Access: of `allow` and `deny` the longest network that holds the peer decides; where neither holds it, everybody is
let in unless `allow` names somebody. Limits: connections at a time, of one peer, and accepts a second per peer.
Peers of a UNIX socket are bounded by the file's mode and the total alone.
"""

import ipaddress
from collections import Counter

from multid.config.model import Limits, Networks
from multid.net.peer import Peer
from multid.net.tokens import BucketTable

_CACHED_HOSTS = 4096


class Access:
    """The networks that may connect; `permits` remembers its last few thousand answers."""

    def __init__(self, allow: Networks = (), deny: Networks = ()) -> None:
        rules = [(network, True) for network in allow] + [(network, False) for network in deny]
        self._rules = sorted(rules, key=lambda rule: (rule[0].prefixlen, not rule[1]), reverse=True)
        self._otherwise = not allow
        self._allowed = allow
        self._known: dict[str, bool] = {}

    def permits(self, host: str) -> bool:
        """Whether an IP address, as text, may connect."""
        if not self._rules or host == "unix":
            return True
        if host not in self._known:
            if len(self._known) >= _CACHED_HOSTS:
                self._known.clear()
            self._known[host] = self._decide(host)
        return self._known[host]

    def names(self, host: str) -> bool:
        """Whether `allow` names the host in so many words."""
        return bool(self._allowed) and self.permits(host)

    def _decide(self, host: str) -> bool:
        address = ipaddress.ip_address(host.partition("%")[0])
        for network, allowed in self._rules:
            if address in network:
                return allowed
        return self._otherwise


class Admission:
    """Counts the connections of a service; `refuse` lets one in or says why not, `leave` takes it back."""

    def __init__(self, limits: Limits, access: Access) -> None:
        self.limits = limits
        self.access = access
        self.connections = 0
        self._peers: Counter[str] = Counter()
        self._buckets = _buckets(limits.rate)

    def retune(self, limits: Limits, access: Access) -> None:
        """Judge by other rules from now on; who is in stays in."""
        if limits.rate != self.limits.rate:
            self._buckets = _buckets(limits.rate)
        self.limits, self.access = limits, access

    def refuse(self, peer: Peer, now: float) -> str | None:
        """Count the peer in and return None, or return the reason why not: access, connections, per_peer or rate."""
        if not self.access.permits(peer.host):
            return "access"
        if self.connections >= self.limits.connections:
            return "connections"
        group = peer.group
        if group != "unix":
            if self._peers[group] >= self.limits.per_peer:
                return "per_peer"
            if self._buckets is not None and not self._buckets.take(group, now):
                return "rate"
        self.connections += 1
        self._peers[group] += 1
        return None

    def leave(self, peer: Peer) -> None:
        """Count one connection of the peer less."""
        group = peer.group
        self.connections -= 1
        self._peers[group] -= 1
        if self._peers[group] <= 0:
            del self._peers[group]


def _buckets(rate: float | None) -> BucketTable | None:
    return None if rate is None else BucketTable(rate, max(1.0, rate))
