"""The guard of the UDP services: who gets an answer, and how large a one."""

from collections import Counter
from ipaddress import ip_network
from random import Random

import pytest

from multid.net import guard as g
from multid.net.admission import Access
from multid.net.guard import Guard, Report, largest_reply

PEER = "192.0.2.7"


def make(**options):
    return Guard(**{"rate": 20, "total_rate": 5000, "now": 0.0, "leak": 0.0, **options})


def ask(guard, count, *, host=PEER, port=40000, data=b"", start=0.0, every=0.0):
    return [guard.refuses(host, port, data, start + number * every) for number in range(count)]


@pytest.mark.parametrize("port", sorted(g.LOOPING_PORTS))
@pytest.mark.parametrize("host", [PEER, "127.0.0.1", "::1"])
def test_a_port_that_answers_by_itself_gets_no_answer(host, port):
    guard = make()
    assert guard.refuses(host, port, b"", 0) == g.PORT
    assert guard.refused[g.PORT] == 1


def test_ports_this_daemon_serves_get_no_answer_from_the_moment_it_serves_them():
    own = set()
    guard = make(own_ports=own)
    assert guard.refuses("127.0.0.1", 7007, b"", 0) is None
    own.add(7007)
    assert guard.refuses("127.0.0.1", 7007, b"", 0) == g.PORT


def test_a_service_may_have_clients_that_ask_from_its_own_port():
    guard = make(client_ports={123}, own_ports={123})
    assert guard.refuses(PEER, 123, b"", 0) is None
    assert guard.refuses(PEER, 7, b"", 0) == g.PORT


def test_low_ports_are_refused_only_by_choice():
    assert make().refuses(PEER, 1023, b"", 0) is None
    assert make(lowest_port=1024).refuses(PEER, 1023, b"", 0) == g.LOW_PORT
    assert make(lowest_port=1024).refuses(PEER, 1024, b"", 0) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1"])
def test_a_source_that_is_not_one_host_gets_no_answer(host):
    assert make().refuses(host, 40000, b"", 0) == g.SOURCE


@pytest.mark.parametrize("host", ["1.0.0.1", "223.255.255.255", "2001:db8::1", "fe80::1%lo"])
def test_one_host_gets_an_answer(host):
    assert make().refuses(host, 40000, b"", 0) is None


def test_a_peer_within_its_rate_always_gets_an_answer():
    assert ask(make(), 1000, every=1 / 20) == [None] * 1000


def test_a_peer_beyond_its_rate_gets_what_the_rate_allows():
    guard = make()
    answers = [guard.refuses(PEER, 40000, str(n).encode(), n / 100).__class__ for n in range(1000)]
    assert answers.count(type(None)) == pytest.approx(20 * 10 + 40, abs=2)


def test_an_ipv6_network_is_one_peer():
    guard = make()
    answers = [guard.refuses(f"2001:db8::{n:x}", 40000, b"", 0) for n in range(100)]
    assert answers == [None] * 40 + [g.RATE] * 60
    assert guard.refuses("2001:db8:0:1::1", 40000, b"", 0) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_is_held_to_no_rate_and_no_size(host):
    guard = make(rate=1, total_rate=1)
    assert set(ask(guard, 2000, host=host)) == {None}
    assert guard.refuses_reply(host, 0, 60000) is None


def test_all_peers_together_are_held_to_the_total_rate():
    guard = make(total_rate=100)
    answers = [guard.refuses(f"192.0.{n >> 8}.{n & 255}", 40000, b"", 0) for n in range(1000)]
    assert answers == [None] * 100 + [g.TOTAL] * 900


def test_a_forger_cannot_take_all_answers_from_its_victim():
    """Ten times the limit arrives in the victim's name; it still gets a quarter of its own answers."""
    random = Random(5)
    guard = make(leak=0.25, random=random.random)
    answered = 0
    for n in range(20 * 10 * 60):
        guard.refuses(PEER, random.randrange(1024, 65536), b"forged", n / 200)
        if n % 40 == 0:
            answered += guard.refuses(PEER, 40000, b"mine", n / 200) is None
    assert answered >= 300 / 4


def test_a_peer_that_repeats_itself_beyond_its_rate_is_muted():
    guard = make()
    assert ask(guard, 60) == [None] * 40 + [g.RATE] * 7 + [g.REPEATED] * 13
    assert guard.refuses(PEER, 40000, b"", 0.999) == g.REPEATED
    assert guard.refuses(PEER, 40000, b"", 1.0) is None


def test_a_mute_is_of_one_port_and_its_octets_only():
    guard = make()
    ask(guard, 60)
    assert guard.refuses(PEER, 40000, b"", 0.5) == g.REPEATED
    assert guard.refuses(PEER, 40001, b"", 0.5) is None
    assert guard.refuses(PEER, 40000, b"other", 0.5) is None
    assert guard.refuses(PEER, 40000, b"", 0.5) == g.REPEATED


def test_each_mute_is_twice_as_long_up_to_a_minute_and_quiet_is_rewarded():
    guard = make(rate=0.001)
    now, mutes = 0.0, []
    for _ in range(9):
        while guard.refuses(PEER, 40000, b"", now) != g.REPEATED:
            pass
        start = now
        while guard.refuses(PEER, 40000, b"", now) == g.REPEATED:
            now += 0.5
        mutes.append(now - start)
    assert mutes == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now += g.LONGEST_MUTE
    while guard.refuses(PEER, 40000, b"", now) != g.REPEATED:
        pass
    assert guard.refuses(PEER, 40000, b"", now + 1) != g.REPEATED


def test_a_loop_slower_than_the_rate_ends_too():
    guard = make()
    answers = ask(guard, 1100, every=0.1)
    assert answers.index(g.REPEATED) == g.RUN


def test_a_monitor_that_asks_the_same_twice_a_second_is_no_loop():
    assert set(ask(make(), 5000, every=0.5)) == {None}


@pytest.mark.parametrize(("is_ipv6", "headers"), [(False, 28), (True, 48)])
def test_octets_out_are_at_most_one_and_a_fifth_of_octets_in(is_ipv6, headers):
    for size in range(1473):
        largest = largest_reply(size, is_ipv6)
        assert largest >= size
        assert 10 * (largest + headers) <= 12 * (size + headers) < 10 * (largest + 1 + headers)


def test_a_stranger_pads_its_request_or_gets_nothing():
    guard = make()
    assert guard.refuses_reply(PEER, 0, 5) is None
    assert guard.refuses_reply(PEER, 0, 6) == g.SIZE
    assert guard.refuses_reply("2001:db8::1", 0, 9) is None
    assert guard.refuses_reply("2001:db8::1", 0, 10) == g.SIZE
    assert guard.refused[g.SIZE] == 2


def test_a_peer_named_in_allow_is_held_to_no_size_and_all_others_are_kept_out():
    guard = make(access=Access((ip_network("198.51.100.0/24"), ip_network("2001:db8::/32"))))
    assert guard.refuses("198.51.100.1", 40000, b"", 0) is None
    assert guard.refuses_reply("198.51.100.1", 0, 512) is None
    assert guard.refuses_reply("2001:db8::1", 0, 512) is None
    assert guard.refuses(PEER, 40000, b"", 0) == g.ACCESS
    assert guard.refuses("127.0.0.1", 40000, b"", 0) == g.ACCESS


def test_who_is_denied_is_kept_out_and_all_others_are_strangers():
    guard = make(access=Access(deny=(ip_network("198.51.100.0/24"),)))
    assert guard.refuses("198.51.100.1", 40000, b"", 0) == g.ACCESS
    assert guard.refuses(PEER, 40000, b"", 0) is None
    assert guard.refuses_reply(PEER, 0, 512) == g.SIZE


def test_a_service_that_answers_nothing_keeps_out_only_whom_it_must():
    guard = make(answers=False, rate=1, total_rate=1, own_ports={514}, access=Access(deny=(ip_network("10.0.0.0/8"),)))
    assert set(ask(guard, 2000, port=514)) == {None}
    assert guard.refuses("10.0.0.1", 40000, b"", 0) == g.ACCESS


def test_a_peer_named_in_allow_still_keeps_to_its_rate():
    guard = make(access=Access((ip_network("192.0.2.0/24"),)))
    assert ask(guard, 41)[-1] == g.RATE


def test_refusals_are_reported_together_and_not_too_often():
    guard = make()
    assert guard.report(0) is None
    guard.refuses(PEER, 7, b"", 0)
    assert guard.report(0) == Report({g.PORT: 1}, (), 0)
    ask(guard, 60)
    ask(guard, 60, host="2001:db8::1")
    assert guard.report(g.REPORT_EVERY - 0.1) is None
    report = guard.report(g.REPORT_EVERY)
    assert report == Report({g.RATE: 14, g.REPEATED: 26}, ("192.0.2.7:40000", "[2001:db8::1]:40000"), 2)
    assert guard.report(1000) is None


def test_a_report_names_only_the_first_few_of_many_mutes():
    guard = make(rate=1)
    for number in range(20):
        ask(guard, 60, host=f"192.0.2.{number + 1}")
    report = guard.report(0)
    assert (len(report.muted), report.mutes) == (g.NAMED, 20)


def test_what_is_known_of_peers_is_bounded():
    guard = make(total_rate=1e9)
    for number in range(g.PEERS + 500):
        guard.refuses(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 40000, b"x" * 1000, 0)
    assert len(guard._peers) == g.PEERS
    assert len(guard._buckets) == g.PEERS


def test_counters_may_belong_to_the_caller_and_outlive_the_guard():
    refused = Counter()
    make(refused=refused).refuses(PEER, 7, b"", 0)
    make(refused=refused).refuses(PEER, 7, b"", 0)
    assert refused[g.PORT] == 2
