"""The PROXY protocol's header, versions 1 and 2: whole, in pieces, wrong, and followed by anything."""

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multid.net.proxy import MAX_LENGTH, Proxied, ProxyError, encode_header, parse_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V4 = Proxied(("192.0.2.7", 51000), ("198.51.100.1", 25))
V6 = Proxied(("2001:db8::7", 51000), ("2001:db8::1", 25))


def v2(command=0x21, family=0x11, body=b"", length=None):
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def packed(proxied):
    source, destination = (ipaddress.ip_address(end[0]).packed for end in (proxied.source, proxied.destination))
    return source + destination + struct.pack("!HH", proxied.source[1], proxied.destination[1])


TLVS = b"\x04\0\x03\0\0\0" + b"\x02\0\x0bexample.org"

RIGHT = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25\r\n": V4,
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25\n": V4,
    b"PROXY TCP6 2001:db8::7 2001:DB8:0:0::1 51000 25\r\n": V6,
    b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 51000 25\r\n": V4,
    b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n": Proxied(("0.0.0.0", 0), ("255.255.255.255", 65535)),
    b"PROXY UNKNOWN\r\n": Proxied(),
    b"PROXY UNKNOWN ffff::1 \xff\x1b anything\r\n": Proxied(),
    v2(body=packed(V4)): V4,
    v2(body=packed(V4) + TLVS): V4,
    v2(family=0x12, body=packed(V4)): V4,
    v2(family=0x21, body=packed(V6) + TLVS): V6,
    v2(family=0x31, body=b"/run/a".ljust(216, b"\0")): Proxied(),
    v2(family=0x00): Proxied(),
    v2(family=0x00, body=TLVS): Proxied(),
    v2(command=0x20, family=0x00): Proxied(),
    v2(command=0x20, family=0x11, body=packed(V4)): Proxied(),
    v2(command=0x20, family=0x11, body=b"short"): Proxied(),
    v2(body=packed(V4).ljust(MAX_LENGTH, b"\0")): V4,
}

WRONG = {
    b"GET / HTTP/1.0\r\n": "no PROXY header",
    b"proxy TCP4 192.0.2.7 198.51.100.1 51000 25\r\n": "no PROXY header",
    b"PROXY\tTCP4 192.0.2.7 198.51.100.1 51000 25\r\n": "no PROXY header",
    b"\r\n\r\n\0\r\nQUIT\r": "no PROXY header",
    b"PROXY \r\n": "unknown family",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 51000 25\r\n": "unknown family",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000\r\n": "not two addresses and two ports",
    b"PROXY TCP4 192.0.2.7  198.51.100.1 51000 25\r\n": "not two addresses and two ports",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25 \r\n": "not two addresses and two ports",
    b"PROXY TCP4 \x1b[31m 198.51.100.1 51000 25\r\n": "not an IP address",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 51000 25\r\n": "not an IP address",
    b"PROXY TCP4 192.0.02.1 198.51.100.1 51000 25\r\n": "not an IP address",
    b"PROXY TCP4 192.0.2.7 example.org 51000 25\r\n": "not an IP address",
    b"PROXY TCP4 2001:db8::7 198.51.100.1 51000 25\r\n": "not an address of its family",
    b"PROXY TCP6 192.0.2.7 2001:db8::1 51000 25\r\n": "not an address of its family",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::1 51000 25\r\n": "not an address of its family",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n": "not a port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 025\r\n": "not a port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 -1\r\n": "not a port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 \xb2\r\n": "not a port",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 25\r\r\n": "not a port",
    b"PROXY UNKNOWN " + b"x" * 93: "longer than 107 octets",
    v2(command=0x11, body=packed(V4)): "unknown version or command",
    v2(command=0x22, body=packed(V4)): "unknown version or command",
    v2(family=0x41, body=packed(V4)): "unknown family",
    v2(family=0x13, body=packed(V4)): "unknown family",
    v2(body=packed(V4)[:-1]): "shorter than its addresses",
    v2(family=0x21, body=packed(V4)): "shorter than its addresses",
    v2(length=MAX_LENGTH + 1): "longer than it may be",
}


@pytest.mark.parametrize(("header", "proxied"), RIGHT.items())
@pytest.mark.parametrize("rest", [b"", b"\n", b"EHLO client\r\n", SIGNATURE])
def test_a_header_is_read_to_its_end_and_no_further(header, proxied, rest):
    assert parse_header(header + rest) == (proxied, len(header))


@pytest.mark.parametrize("header", RIGHT)
def test_a_header_cut_anywhere_waits_for_the_rest(header):
    for length in range(len(header)):
        assert parse_header(header[:length]) is None


@pytest.mark.parametrize(("header", "reason"), WRONG.items())
def test_a_wrong_header_is_refused_with_its_reason(header, reason):
    with pytest.raises(ProxyError, match=f"^{reason}$"):
        parse_header(header)


@pytest.mark.parametrize("header", WRONG)
def test_what_is_refused_stays_refused_whatever_follows(header):
    with pytest.raises(ProxyError):
        parse_header(header + b"more\r\n")


def test_the_longest_line_of_version_1_is_107_octets():
    line = b"PROXY UNKNOWN ".ljust(105, b"x") + b"\r\n"
    assert parse_header(line) == (Proxied(), 107)
    with pytest.raises(ProxyError):
        parse_header(b"x".join([line[:-2], b"\r\n"]))


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: SIGNATURE + tail))
def test_any_octets_are_a_header_or_refused_or_wait_and_never_change_their_mind(data):
    outcomes = []
    for length in range(len(data) + 1):
        try:
            outcome = parse_header(data[:length])
        except ProxyError as error:
            outcome = str(error)
        if outcomes and outcomes[-1] is not None:
            assert outcome == outcomes[-1]
        outcomes.append(outcome)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("proxied", [V4, V6, Proxied()])
def test_what_is_encoded_is_parsed(version, proxied):
    header = encode_header(version, proxied)
    assert parse_header(header) == (proxied, len(header))


ADDRESSES = st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535))


@given(ADDRESSES, ADDRESSES, st.binary(max_size=50))
def test_both_versions_say_the_same(source, destination, rest):
    proxied = Proxied(source, destination)
    line = f"PROXY TCP4 {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()
    assert parse_header(line + rest) == (proxied, len(line))
    assert parse_header(v2(body=packed(proxied)) + rest) == (proxied, 28)
