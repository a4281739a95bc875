"""Addresses of peers as text."""

import pytest

from multid.net.peer import Peer, source_prefix, unmapped


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::%eth0/64"),
    ],
)
def test_one_source_is_an_ipv4_address_or_an_ipv6_network(host, prefix):
    assert source_prefix(host) == Peer(host, 1).group == prefix


def test_peers_of_a_unix_socket_are_one_group():
    assert Peer("unix", 17).group == "unix"


@pytest.mark.parametrize(
    ("host", "plain"),
    [("::ffff:192.0.2.7", "192.0.2.7"), ("192.0.2.7", "192.0.2.7"), ("::ffff:1", "::ffff:1"), ("::1", "::1")],
)
def test_an_ipv4_address_mapped_into_ipv6_is_itself(host, plain):
    assert unmapped(host) == plain


def test_an_ipv6_peer_is_written_in_brackets():
    assert str(Peer("2001:db8::1", 25)) == "[2001:db8::1]:25"
    assert str(Peer("192.0.2.7", 25)) == "192.0.2.7:25"


@pytest.mark.parametrize(("host", "local"), [("127.9.9.9", True), ("::1", True), ("unix", True), ("192.0.2.7", False)])
def test_loopback_and_unix_sockets_are_local(host, local):
    assert Peer(host, 1).is_local is local
