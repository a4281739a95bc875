"""Who takes the mail of a domain."""

from typing import Any

import pytest
from twisted.internet.defer import fail, succeed
from twisted.names import client, dns, server
from twisted.names.authority import FileAuthority
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError

from multid.mail.mx import Exchangers
from multid.mail.outbound import HopError
from multid.mail.route import Route
from tests.loop import Loop

ROUTE = Route("mx", tls="opportunistic")


def mx(preference: int, name: str) -> dns.RRHeader:
    return dns.RRHeader("x.test", dns.MX, payload=dns.Record_MX(preference, name))


class Resolver:
    def __init__(self, answers: Any = (), address: bool = True) -> None:
        self.answers = answers
        self.address = address
        self.asked: list[str] = []

    def lookupMailExchange(self, name: str) -> Any:
        self.asked.append(name)
        return fail(self.answers) if isinstance(self.answers, Exception) else succeed((list(self.answers), [], []))

    def lookupAddress(self, name: str) -> Any:
        return succeed(([dns.RRHeader(name, dns.A, payload=dns.Record_A("192.0.2.1"))] if self.address else [], [], []))

    def lookupIPV6Address(self, name: str) -> Any:
        return succeed(([], [], []))


def names(loop: Loop, resolver: Resolver, domain: str = "x.test", reverse: bool = False) -> list[str]:
    exchangers = Exchangers(resolver, "me.test", lambda hops: hops.reverse() if reverse else None)
    hops = loop.result(exchangers.find(domain, ROUTE))
    assert all((hop.port, hop.tls) == (25, "opportunistic") for hop in hops)
    return [hop.host for hop in hops]


def refusal(loop: Loop, resolver: Resolver, domain: str = "x.test") -> Any:
    with pytest.raises(HopError) as error:
        names(loop, resolver, domain)
    return error.value.reply


def test_the_lowest_preference_is_first(loop: Loop):
    assert names(loop, Resolver([mx(20, "b.test"), mx(10, "a.test"), mx(30, "c.test")])) == [
        "a.test",
        "b.test",
        "c.test",
    ]


def test_equal_preferences_are_shuffled(loop: Loop):
    records = [mx(10, "a.test"), mx(10, "b.test"), mx(5, "c.test")]
    assert names(loop, Resolver(records)) == ["c.test", "a.test", "b.test"]
    assert names(loop, Resolver(records), reverse=True) == ["c.test", "b.test", "a.test"]


def test_a_domain_without_mx_takes_its_own_mail(loop: Loop):
    assert names(loop, Resolver()) == ["x.test"]


def test_other_records_in_the_answer_are_no_exchangers(loop: Loop):
    alias = dns.RRHeader("x.test", dns.CNAME, payload=dns.Record_CNAME("y.test"))
    assert names(loop, Resolver([alias, mx(1, "a.test")])) == ["a.test"]


def test_we_are_never_our_own_next_hop(loop: Loop):
    records = [mx(10, "a.test"), mx(20, "ME.test"), mx(20, "b.test"), mx(30, "c.test")]
    assert names(loop, Resolver(records)) == ["a.test"]


@pytest.mark.parametrize("records", [[mx(10, "me.test")], [mx(10, "me.test"), mx(20, "a.test")]])
def test_mail_that_only_we_take_is_a_loop(loop: Loop, records):
    reply = refusal(loop, Resolver(records))
    assert (reply.is_permanent, reply.enhanced) == (True, "5.4.6")


def test_our_own_domain_without_mx_is_a_loop(loop: Loop):
    assert refusal(loop, Resolver(), "me.test").enhanced == "5.4.6"


PERMANENT = [
    (Resolver([mx(0, "")]), "5.1.10"),
    (Resolver(DNSNameError()), "5.1.2"),
    (Resolver((), address=False), "5.1.2"),
]


@pytest.mark.parametrize(("resolver", "enhanced"), PERMANENT)
def test_domains_that_take_no_mail(loop: Loop, resolver, enhanced):
    reply = refusal(loop, resolver)
    assert (reply.is_permanent, reply.enhanced) == (True, enhanced)


@pytest.mark.parametrize("error", [DNSServerError(), DNSQueryTimeoutError(1), OSError("no network")])
def test_a_dns_that_fails_is_asked_again(loop: Loop, error):
    reply = refusal(loop, Resolver(error))
    assert (reply.is_transient, reply.enhanced) == (True, "4.4.3")


def test_many_exchangers_are_cut_to_ten(loop: Loop):
    assert len(names(loop, Resolver([mx(n, f"m{n}.test") for n in range(20)]))) == 10


@pytest.mark.parametrize(("domain", "host"), [("[192.0.2.1]", "192.0.2.1"), ("[ipv6:2001:db8::1]", "2001:db8::1")])
def test_an_address_literal_is_its_own_exchanger(loop: Loop, domain, host):
    assert names(loop, Resolver(DNSServerError()), domain) == [host]


def test_a_domain_is_asked_for_in_its_dns_form(loop: Loop):
    resolver = Resolver([mx(1, "a.test")])
    names(loop, resolver, "b\u00fccher.test")
    assert resolver.asked == ["xn--bcher-kva.test"]


def test_a_domain_that_has_no_dns_form_does_not_exist(loop: Loop):
    assert refusal(loop, Resolver(), "x" * 64 + "\u00fc.test").enhanced == "5.1.2"


class Zone(FileAuthority):
    def loadFile(self, filename: str) -> None:
        start = dns.Record_SOA("x.test", "x.test")
        self.records = {
            b"x.test": [start, dns.Record_MX(20, "b.test"), dns.Record_MX(10, "a.test")],
            b"null.x.test": [dns.Record_MX(0, "")],
        }
        self.soa = (b"x.test", start)


def test_a_real_dns_server_is_understood(loop: Loop):
    factory = server.DNSServerFactory(authorities=[Zone("")])
    factory.noisy = False
    protocol = dns.DNSDatagramProtocol(factory, reactor=loop)
    port = loop.listenUDP(0, protocol, interface="127.0.0.1")
    resolver = client.Resolver(servers=[("127.0.0.1", port.getHost().port)], reactor=loop)
    assert names(loop, resolver) == ["a.test", "b.test"]
    assert refusal(loop, resolver, "null.x.test").enhanced == "5.1.10"
    assert refusal(loop, resolver, "nothing.x.test").enhanced == "5.1.2"
    loop.result(port.stopListening())
