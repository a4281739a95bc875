"""The guard of the UDP services: who gets an answer, and how large a one."""

from collections import Counter
from ipaddress import ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@pytest.mark.parametrize("loops", range(1, g.UNITS + 1))
def test_loops_of_one_peer_do_not_hide_each_other(loops):
    """Nor does somebody at its address who never says the same twice."""
    guard = make(rate=1000, total_rate=1e9)
    reasons = []
    for number in range(g.RUN + 1):
        reasons = [guard.refuses(PEER, 40000 + loop, b"to and fro", number * 0.1) for loop in range(loops)]
        if loops < g.UNITS:
            guard.refuses(PEER, 50000, b"%d" % number, number * 0.1)
    assert reasons == [g.REPEATED] * loops


def test_who_repeats_itself_beyond_its_rate_now_and_then_is_no_loop():
    guard = make(rate=1)
    for hour in range(20):
        assert ask(guard, 3, start=hour * 3600.0) == [None, None, g.RATE]


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


HOSTS = ["192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8", "2001:db8:0:1::7", "127.0.0.1", "::1", "224.0.0.1"]
STRANGERS = [host for host in HOSTS if not (host.startswith("127") or host in {"::1", "224.0.0.1"})]
PREFIXES = {host: host if "." in host else host[: host.index("::")] for host in STRANGERS}
requests = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.499, 0.5, 1.0, 70.0]),
        st.sampled_from(HOSTS),
        st.sampled_from([7, 123, 7007, 1023, 40000, 40001]),
        st.sampled_from([b"", b"same", b"other"]),
        st.integers(1, 30),
    ),
    max_size=60,
)


def answers(guard, asked):
    """Ask in turn, each as often as it says, at once; yield the time, who asked, and what came of it."""
    now = 0.0
    for gap, host, port, data, times in asked:
        now += gap
        for _ in range(times):
            yield now, host, port, data, guard.refuses(host, port, data, now)


def most_in_any_stretch(moments, rate):
    """Return how many moments there were in the worst stretch of time, beyond what its length allows at a rate."""
    worst = 0.0
    for first, start in enumerate(moments):
        for number, end in enumerate(moments[first:], 1):
            worst = max(worst, number - (end - start) * rate)
    return worst


@given(requests)
def test_whatever_is_asked_no_port_that_might_loop_and_no_source_of_many_is_answered(asked):
    guard = make(own_ports={7007}, lowest_port=1024)
    for _, host, port, _, reason in answers(guard, asked):
        if port in {7, 123, 7007}:
            assert reason == g.PORT
        elif host == "224.0.0.1":
            assert reason == g.SOURCE
        elif host in {"127.0.0.1", "::1"}:
            assert reason is None
        elif port < 1024:
            assert reason == g.LOW_PORT


@settings(max_examples=50)
@given(requests, st.sampled_from([1, 5, 20]), st.sampled_from([3, 30, 5000]))
def test_whatever_is_asked_the_answers_keep_to_both_budgets(asked, rate, total):
    guard = make(rate=rate, total_rate=total)
    given_to = {prefix: [] for prefix in PREFIXES.values()}
    everybody = []
    for now, host, _, _, reason in answers(guard, asked):
        if reason is None and host in PREFIXES:
            given_to[PREFIXES[host]].append(now)
            everybody.append(now)
    for moments in given_to.values():
        assert most_in_any_stretch(moments, rate) <= 2 * rate + 1e-6
    assert most_in_any_stretch(everybody, total) <= total + 1e-6


@settings(max_examples=50)
@given(requests, st.integers(0, 2**32))
def test_who_is_muted_hears_nothing_until_it_is_over_and_nobody_else_is(asked, seed):
    """Also with a leak: luck is for those beyond their rate, not for a loop."""
    guard = make(rate=2, leak=0.5, random=Random(seed).random)
    for now, host, port, data, reason in answers(guard, asked):
        unit = guard._peers[host].units.get(hash((port, data)))
        is_the_muted_one = unit is not None and now < unit.muted_until
        assert (reason == g.REPEATED) <= is_the_muted_one
        if reason is None and host in PREFIXES:
            assert not is_the_muted_one
        assert unit is None or unit.mute <= g.LONGEST_MUTE


@given(st.sampled_from(STRANGERS), st.floats(0.0, 0.499), st.sampled_from([1, 20, 1e6]))
@settings(max_examples=15)
def test_a_loop_of_any_speed_gets_a_thousand_answers_at_most_before_it_is_muted(host, every, rate):
    guard = make(rate=rate, total_rate=1e9)
    reasons = ask(guard, g.RUN + 1, host=host, every=every)
    assert g.REPEATED in reasons


@given(st.integers(0, 65507), st.integers(0, 65507), st.sampled_from(HOSTS[:7]))
def test_a_reply_that_may_go_to_a_stranger_is_no_more_than_a_fifth_larger(asked, reply, host):
    headers = 48 if ":" in host else 28
    is_small = 10 * (reply + headers) <= 12 * (asked + headers)
    assert (make().refuses_reply(host, asked, reply) is None) == (is_small or host not in STRANGERS)


@given(requests)
def test_whatever_is_asked_each_refusal_is_counted_once_and_reported_once(asked):
    guard = make(rate=1, total_rate=50)
    refused = Counter(reason for *_, reason in answers(guard, asked) if reason is not None)
    assert guard.refused == refused
    report = guard.report(1e9)
    assert (Counter(report.refused) if report else Counter()) == refused
