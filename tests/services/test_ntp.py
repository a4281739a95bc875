"""Ntp: what is said of the clock, and to whom."""

import struct
import time
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from multid.clock.kernel import Discipline
from multid.clock.packet import ClockState
from multid.clock.tracking import Tracking
from multid.net.datagram import Question
from multid.net.peer import Peer
from multid.service import ServiceError
from multid.services import ntp
from multid.services.ntp import NtpConfig, clock_state, is_last_day_of_month, reference_text
from tests.conftest import Bench

NOW = 1_700_000_000 * 10**9
GOOD = Discipline(synchronised=True, max_error=0.002)
BAD = Discipline(synchronised=False, max_error=20.0)
CHRONYD = Tracking(b"\xc0\0\2\1", 3, 0, NOW - 5 * 10**9, 0.01, 0.003)
UDP = "udp:0:interface=127.0.0.1"
ORIGIN = b"\xde\xad\xbe\xef\x01\x02\x03\x04"


def config(**keys):
    return NtpConfig(type="ntp", listen=UDP, **keys)


def question(data, arrival):
    return Question(None, data, Peer("127.0.0.1", 1), arrival, ("127.0.0.1", 1), None)


def state(discipline=GOOD, tracking=None, now=NOW, **keys):
    return clock_state(config(**keys), discipline, tracking, now, -24)


def request(version=4, mode=3, size=48):
    return (bytes([version << 3 | mode, 0, 6, 0xFA]) + bytes(36) + ORIGIN).ljust(size, b"\0")[:size]


def test_without_chronyd_a_synchronised_clock_is_a_local_one():
    assert state() == ClockState(0, 10, -24, 0.0, 0.002, b"\x7f\x7f\1\1", NOW)
    assert state(local_stratum=5).stratum == 5


def test_chronyd_knows_more():
    assert state(tracking=CHRONYD) == ClockState(0, 3, -24, 0.01, 0.003, b"\xc0\0\2\1", NOW - 5 * 10**9)


@pytest.mark.parametrize("change", [{"leap": 3}, {"stratum": 0}])
def test_a_chronyd_that_knows_no_time_says_nothing(change):
    tracking = Tracking(**{**vars(CHRONYD), **change})
    assert state(tracking=tracking) == state()


def test_a_stratum_may_be_set():
    assert state(stratum=2).stratum == state(stratum=2, tracking=CHRONYD).stratum == 2
    assert state(stratum=1).reference_id == b"LOCL"
    assert state(stratum="4").stratum == 4


@pytest.mark.parametrize("stratum", [0, 16, "high", -1])
def test_a_stratum_is_auto_or_1_to_15(stratum):
    with pytest.raises(ValidationError):
        config(stratum=stratum)


def test_the_reference_time_is_never_in_the_future():
    assert state(tracking=CHRONYD, now=NOW - 10 * 10**9).reference_time == NOW - 10 * 10**9


def test_an_unsynchronised_clock_says_so_or_nothing_or_what_it_is_told_to():
    assert state(BAD, CHRONYD) == ClockState(3, 0, -24, 0.0, 20.0, b"INIT", None)
    assert state(BAD, CHRONYD, when_unsynchronised="refuse") is None
    served = state(BAD, CHRONYD, when_unsynchronised="serve")
    assert served == ClockState(0, 10, -24, 0.0, 1.0, b"\x7f\x7f\1\1", NOW)


@pytest.mark.parametrize(
    ("day", "is_last"),
    [((2016, 12, 31), True), ((2016, 12, 30), False), ((2015, 6, 30), True), ((2016, 2, 28), False)],
)
@pytest.mark.parametrize("leap", [1, 2])
def test_a_leap_second_is_announced_on_its_day_only(day, is_last, leap):
    moment = int(datetime(*day, 12, tzinfo=UTC).timestamp()) * 10**9
    assert is_last_day_of_month(moment) is is_last
    assert state(Discipline(True, 0.002, leap), now=moment).leap == (leap if is_last else 0)


def test_references_as_people_read_them():
    assert reference_text(state()) == "127.127.1.1"
    assert reference_text(state(BAD)) == "INIT"


def test_connections_are_not_for_ntp():
    with pytest.raises(ValidationError, match="datagrams only"):
        NtpConfig(type="ntp", listen="tcp:0")


@pytest.fixture
def served(bench: Bench):
    service = bench.serve("ntp", listen=UDP)
    service.kernel._read = lambda: (0, 0, 2000)
    return service


def seconds(reply, offset):
    return struct.unpack_from("!Q", reply, offset)[0] / (1 << 32) - 2208988800


def test_a_client_gets_the_time(bench, served):
    client = bench.connect(served)
    before = time.time()
    client.send(request())
    reply = bench.receive(client)
    after = time.time()
    assert len(reply) == 48
    assert reply[:2] == bytes([0x24, 10])
    assert reply[24:32] == ORIGIN
    assert before - 1e-6 <= seconds(reply, 32) <= seconds(reply, 40) <= after + 1e-6
    assert seconds(reply, 16) <= after + 1e-6


def test_what_is_no_question_is_counted_and_not_answered(bench, served):
    client = bench.connect(served)
    for packet in (b"", request()[:47], request(mode=4), request(mode=6), request(mode=7, size=200)):
        client.send(packet)
    client.send(request(size=468))
    assert len(bench.receive(client)) == 48
    assert served.counters.dropped["no-request"] == 5


def test_an_unsynchronised_server_may_be_silent(bench):
    service = bench.serve("ntp", listen=UDP, when_unsynchronised="refuse")
    service.kernel._read = lambda: (5, 0x40, 16_000_000)
    bench.connect(service).send(request())
    bench.loop.until(lambda: service.counters.dropped["unsynchronised"] == 1)
    assert service.details() == {"synchronised": False}


def test_the_status_shows_the_clock(served):
    assert served.details() == {
        "synchronised": True,
        "stratum": 10,
        "reference_id": "127.127.1.1",
        "root_delay": 0.0,
        "root_dispersion": 0.002,
    }


def test_a_reload_keeps_asking_chronyd(bench, served):
    chronyd = served.chronyd.fileno()
    bench.retune(served, listen=UDP, local_stratum=4)
    assert served.chronyd.fileno() == chronyd
    assert served.details()["stratum"] == 4


def test_without_a_socket_for_chronyd_the_service_waits(bench, monkeypatch):
    monkeypatch.setattr("multid.clock.chronyd._HOST", "192.0.2.1")
    with pytest.raises(ServiceError, match="chronyd cannot be asked: Cannot assign"):
        bench.serve("ntp", listen=UDP)


def test_time_never_goes_back_within_a_reply_and_never_repeats_the_question(served, monkeypatch):
    """Also where the clock is set back meanwhile, and at the end of an era."""
    era = (2**32 - 2208988800) * 10**9
    for first, second in ((NOW, NOW - 10**9), (era - 1, era), (era, era - 1)):
        readings = iter([first, second])
        monkeypatch.setattr(ntp.time, "time_ns", lambda readings=readings: next(readings))
        reply = served.asked(question(request(), first))
        receive, transmit = struct.unpack_from("!QQ", reply, 32)
        assert (transmit - receive) & (2**64 - 1) < 1 << 33
    monkeypatch.setattr(ntp.time, "time_ns", lambda: NOW)
    monkeypatch.setattr(served, "_unused_bits", 0)
    asked = request()[:40] + struct.pack("!Q", ntp.timestamp(NOW))
    assert served.asked(question(asked, None))[40:48] != asked[40:48]


def test_the_bits_that_the_clock_does_not_fill_are_left_to_chance(served):
    stamps = {served._stamp(NOW) for _ in range(100)}
    assert len(stamps) > 10
    assert len({stamp >> served._unused_bits for stamp in stamps}) == 1


def test_one_that_asks_too_often_is_told_so_now_and_then(served):
    guard, peer, now = served.guard, "192.0.2.7", served.runtime.reactor.now
    refused = [number for number in range(2000) if guard.refuses(peer, 40000 + number % 1000, request(), now)]
    told = [number for number in refused if guard.tells(now)]
    assert 0.08 < len(told) / len(refused) < 0.17
    kiss = served.beyond_rate(request(), Peer(peer, 40000))
    assert kiss[:3] == bytes([0xE4, 0, 6])
    assert kiss[12:16] == b"RATE"
    assert kiss[24:32] == ORIGIN
    assert served.beyond_rate(request(mode=6), Peer(peer, 40000)) is None


def test_kisses_count_into_the_total_rate(bench):
    service = bench.serve("ntp", listen=UDP, limits={"total_rate": "5/s"})
    assert sum(service.guard.tells(bench.loop.now) for _ in range(1000)) == 5
