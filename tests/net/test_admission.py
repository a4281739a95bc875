"""Who may come in."""

from ipaddress import ip_network

import pytest

from multid.config.model import Limits
from multid.net import admission
from multid.net.admission import Access, Admission
from multid.net.peer import Peer

HERE = Peer("192.0.2.7", 40000)


def networks(*texts):
    return tuple(map(ip_network, texts))


@pytest.mark.parametrize(
    ("allow", "deny", "host", "permitted"),
    [
        ((), (), "192.0.2.7", True),
        ((), ("192.0.2.0/24",), "192.0.2.7", False),
        ((), ("192.0.2.0/24",), "198.51.100.1", True),
        (("192.0.2.0/24",), (), "198.51.100.1", False),
        (("192.0.2.7/32",), ("192.0.2.0/24",), "192.0.2.7", True),
        (("192.0.2.0/24",), ("192.0.2.7/32",), "192.0.2.7", False),
        (("192.0.2.0/24",), ("192.0.2.0/24",), "192.0.2.7", False),
        (("fe80::/10",), (), "fe80::1%eth0", True),
        (("2001:db8::/32",), (), "192.0.2.7", False),
        ((), ("0.0.0.0/0", "::/0"), "unix", True),
    ],
)
def test_the_longest_network_that_holds_the_peer_decides(allow, deny, host, permitted):
    access = Access(networks(*allow), networks(*deny))
    assert access.permits(host) is permitted
    assert access.permits(host) is permitted


def test_only_who_is_in_allow_is_named():
    access = Access(networks("192.0.2.0/24"), networks("192.0.2.7/32"))
    assert access.names("192.0.2.8")
    assert not access.names("192.0.2.7")
    assert not Access().names("192.0.2.8")


def test_what_is_remembered_is_bounded():
    access = Access(deny=networks("10.0.0.0/8"))
    for number in range(3 * admission._CACHED_HOSTS):
        access.permits(f"192.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(access._known) <= admission._CACHED_HOSTS


def test_a_network_of_ipv6_is_one_peer_and_a_unix_socket_is_none():
    door = Admission(Limits(per_peer=1), Access())
    assert door.refuse(Peer("2001:db8::1", 1), 0) is None
    assert door.refuse(Peer("2001:db8::2", 2), 0) == "per_peer"
    assert door.refuse(Peer("2001:db8:0:1::2", 2), 0) is None
    assert [door.refuse(Peer("unix", number), 0) for number in range(3)] == [None] * 3
    door.leave(Peer("2001:db8::1", 1))
    assert door.refuse(Peer("2001:db8::2", 2), 0) is None


def test_the_rate_is_accepts_a_second_of_one_peer():
    door = Admission(Limits(rate=2.0), Access())
    assert [door.refuse(HERE, 0) for _ in range(3)] == [None, None, "rate"]
    assert door.refuse(Peer("192.0.2.8", 1), 0) is None
    assert door.refuse(HERE, 0.5) is None


def test_other_limits_hold_from_now_on_and_the_same_rate_goes_on_counting():
    door = Admission(Limits(rate=2.0), Access())
    for _ in range(3):
        door.refuse(HERE, 0)
    door.retune(Limits(rate=2.0, connections=100), Access())
    assert door.refuse(HERE, 0) == "rate"
    door.retune(Limits(rate=5.0), Access())
    assert door.refuse(HERE, 0) is None
    door.retune(Limits(connections=1), Access())
    assert door.refuse(HERE, 0) == "connections"
    door.retune(Limits(), Access(deny=networks("192.0.2.0/24")))
    assert door.refuse(HERE, 0) == "access"
