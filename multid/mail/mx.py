"""Which servers take the mail of a domain (RFC 5321 5.1, RFC 7505).

By preference, equal ones in random order; the domain itself where it has addresses and no MX. We are never our own
next hop: with our name among the exchangers only those before us count. A domain that does not exist, takes no mail
(null MX), or has nobody but us to take it, is a HopError whose reply is permanent; a DNS that fails is one whose reply
is transient.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.names.error import DNSNameError

from multid.mail.outbound import HopError
from multid.mail.reply import Reply
from multid.mail.route import Hop, Route

MAX_HOPS = 10
"""Servers of a domain that are tried at a time."""

_PORT = 25

NO_DOMAIN = Reply(550, "5.1.2", "The domain does not exist, or has neither mail servers nor addresses")
NULL_MX = Reply(556, "5.1.10", "The domain takes no mail (null MX)")
LOOP = Reply(550, "5.4.6", "The domain's mail comes back to this server")


class Exchangers:
    """Finds the hops of a domain; `resolver` has the lookup methods of twisted.names."""

    def __init__(self, resolver: Any, hostname: str, shuffle: Callable[[list[Any]], None] = random.shuffle) -> None:
        self._resolver = resolver
        self._hostname = hostname.casefold()
        self._shuffle = shuffle

    async def find(self, domain: str, route: Route) -> Sequence[Hop]:
        """Return the hops of a domain in the order to try them, with TLS as the route says."""
        if domain.startswith("["):
            return [Hop(domain.strip("[]").removeprefix("ipv6:"), _PORT, route.tls)]
        records = await self._records(self._resolver.lookupMailExchange, domain, dns.MX)
        if not records:
            return [Hop(await self._with_address(domain), _PORT, route.tls)]
        exchangers = [(record.preference, _name(record.name)) for record in records]
        if exchangers == [(exchangers[0][0], "")]:
            raise HopError(NULL_MX)
        return [Hop(name, _PORT, route.tls) for name in self._ordered(exchangers)[:MAX_HOPS]]

    def _ordered(self, exchangers: list[tuple[int, str]]) -> list[str]:
        ours = [preference for preference, name in exchangers if name.casefold() == self._hostname]
        others = [pair for pair in exchangers if pair[1] and (not ours or pair[0] < min(ours))]
        if not others:
            raise HopError(LOOP)
        self._shuffle(others)
        return [name for _, name in sorted(others, key=lambda pair: pair[0])]

    async def _with_address(self, domain: str) -> str:
        if domain == self._hostname:
            raise HopError(LOOP)
        for lookup, kind in ((self._resolver.lookupAddress, dns.A), (self._resolver.lookupIPV6Address, dns.AAAA)):
            if await self._records(lookup, domain, kind):
                return domain
        raise HopError(NO_DOMAIN)

    async def _records(self, lookup: Callable[[str], Deferred[Any]], domain: str, kind: int) -> list[Any]:
        try:
            answers, _, _ = await lookup(domain.encode("idna").decode())
        except (DNSNameError, UnicodeError):
            raise HopError(NO_DOMAIN) from None
        except Exception as error:
            text = f"The DNS gives no answer for {domain}: {str(error) or type(error).__name__}"
            raise HopError(Reply(451, "4.4.3", text)) from None
        return [answer.payload for answer in answers if answer.type == kind]


def _name(name: Any) -> str:
    return str(name).rstrip(".")
