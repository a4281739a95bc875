"""Which events somebody wants to see."""

import pytest

from multid.net.follower import Follower, Wanted


@pytest.mark.parametrize(
    ("wanted", "peer", "admitted"),
    [
        ("", "anybody", True),
        ("192.0.2.1", "192.0.2.1:5", True),
        ("192.0.2.1", "192.0.2.11:5", False),
        ("192.0.2.1:5", "192.0.2.1:5", True),
        ("192.0.2.1:5", "192.0.2.1:55", False),
        ("192.0.2.0/24", "192.0.2.200:5", True),
        ("192.0.2.7/24", "192.0.3.1:5", False),
        ("192.0.2.0/24", "[::1]:5", False),
        ("192.0.2.0/24", "unix:77", False),
        ("::1", "[::1]:5", True),
        ("2001:db8::/32", "[2001:db8::5]:5", True),
        ("2001:DB8::5", "[2001:db8::5]:5", True),
        ("unix", "unix:77", True),
        ("unix", "", False),
    ],
)
def test_a_peer_is_an_address_with_or_without_a_port_or_a_network(wanted, peer, admitted):
    assert Wanted(peer=wanted).admits_peer(peer) is admitted
    assert Wanted(peer=wanted).admits({"peer": peer}) is admitted


@pytest.mark.parametrize(
    ("wanted", "event", "admitted"),
    [
        ({}, {}, True),
        ({"grep": "one"}, {"message": "someone"}, True),
        ({"grep": "One"}, {"message": "someone"}, False),
        ({"grep": "25"}, {"received_bytes": 1250}, True),
        ({"severity": "err"}, {"level": "critical"}, True),
        ({"severity": "err"}, {"level": "error"}, True),
        ({"severity": "err"}, {"level": "warn"}, False),
        ({"severity": "debug"}, {"peer": "127.0.0.1:5"}, False),
    ],
)
def test_an_event_is_judged_by_its_values(wanted, event, admitted):
    seen = []
    Follower(lambda _name, values: seen.append(values), Wanted(**wanted))("event", event)
    assert seen == ([event] if admitted else [])


def test_a_severity_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"no severity 'error'; there are emerg, .*err, "):
        Wanted(severity="error")
