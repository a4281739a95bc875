"""The delivery queue, with mails in memory and next hops that answer as they are told."""

from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail

from multid.mail.bounces import BounceSettings
from multid.mail.envelope import Envelope, Recipient
from multid.mail.interface import SpoolError
from multid.mail.outbound import HopError
from multid.mail.queue import DeliveryQueue
from multid.mail.queued import Content, DeliveryState, MailState, QueuedMail, Update, new_mail
from multid.mail.reply import LOCAL_ERROR, NO_ROOM, Reply
from multid.mail.retry import RetryPolicy
from multid.mail.route import Hop, Pattern, Route
from multid.mail.spool import MemorySpool
from multid.mail.tries import QueueSettings
from tests.loop import Loop

OK = Reply(250, "2.0.0", "Ok")
BUSY = Reply(450, "4.2.1", "Busy")
NO = Reply(550, "5.1.1", "No such user")

HOP = Hop("hop.test", 25, "none")
DOWN_HOP = Hop("down.test", 25, "none")
ROUTE = Route("main", (HOP,), connections=2)
POLICY = RetryPolicy(schedule=(60.0, 120.0), jitter=0.0, warn=1000.0, expire=10_000.0)
HOUR = 3600.0
PATIENT = replace(POLICY, warn=None, expire=100 * HOUR)


class FakeConnection:
    """A connection whose deliveries the test answers."""

    def __init__(self, net: "Net", hop: Hop) -> None:
        self.net = net
        self.hop = hop
        self.is_usable = True
        self.is_stale = False
        self.extensions: dict[str, str] = dict.fromkeys(net.extensions, "")
        self.tls = ""
        self.on_lost: Callable[[], object] = lambda: None
        self.before_content: Deferred[None] | None = None
        self.quits = 0

    async def deliver(self, mail: QueuedMail, places: list[int]) -> dict[int, Reply]:
        self.net.tries.append((mail.envelope.id, [mail.envelope.recipients[place].address for place in places]))
        answer = self.net.answer
        await self.settled()
        if self.net.held is not None:
            gate: Deferred[None] = Deferred()
            self.net.held.append(gate)
            await gate
        result = answer(mail.envelope, places) if callable(answer) else answer
        if isinstance(result, Exception):
            raise result
        self.is_stale = True
        return result if isinstance(result, dict) else dict.fromkeys(places, result)

    async def settled(self) -> None:
        before, self.before_content = self.before_content, None
        if before is not None:
            await before

    async def quit(self) -> None:
        self.quits += 1
        self.net.open.discard(self)

    def abort(self) -> None:
        self.is_usable = False


class Net:
    """The servers there are: `down` ones cannot be connected to."""

    def __init__(self) -> None:
        self.answer: Any = OK
        self.down: dict[Hop, Reply] = {}
        self.tries: list[tuple[str, list[str]]] = []
        self.connects: list[Hop] = []
        self.open: set[FakeConnection] = set()
        self.held: list[Deferred[None]] | None = None
        self.extensions: tuple[str, ...] = ()
        self.stuck: str = ""  # where a new connection hangs
        self.most = 0

    async def connect(self, reactor: Any, hop: Hop, name: str, login: Any) -> Any:
        self.connects.append(hop)
        if self.stuck:
            try:
                await Deferred()
            except CancelledError:
                if self.stuck == "connecting":
                    raise HopError(BUSY) from None
                raise
        if hop in self.down:
            raise HopError(self.down[hop])
        connection = FakeConnection(self, hop)
        self.open.add(connection)
        self.most = max(self.most, len(self.open))
        return connection


class Rig:
    """A queue on a spool in memory, and its clock."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.net = Net()
        self.step = 0.0  # of the wall clock
        self.spool = MemorySpool()
        self.queue: DeliveryQueue = self.make()

    def make(self, **changes: Any) -> DeliveryQueue:
        self.settings = settings(**changes)
        return DeliveryQueue(
            self.loop,
            self.spool,
            self.settings,
            new_id=self.spool.new_id,
            connect=self.net.connect,
            wall=lambda: self.loop.now + self.step,
            randomness=lambda: 0.5,
        )

    def start(self, **changes: Any) -> None:
        self.queue = self.make(**changes)
        self.queue.start(self.wait(self.spool.scan()))
        self.settle()

    def wait(self, awaitable: Any) -> Any:
        return self.loop.result(awaitable)

    def settle(self) -> None:
        """Turn until nothing is to be done at this time."""
        for _ in range(10_000):
            calls = self.loop.getDelayedCalls()
            if not (self.loop.threadCallQueue or any(call.getTime() <= self.loop.now for call in calls)):
                return
            self.loop.turn()
        raise AssertionError("it never comes to rest")

    def pass_(self, seconds: float) -> None:
        """Let time pass, stopping at everything that happens."""
        end = self.loop.now + seconds
        while True:
            self.settle()
            next_ = min((call.getTime() for call in self.loop.getDelayedCalls()), default=float("inf"))
            if next_ > end:
                break
            self.loop.now = max(self.loop.now, next_)
        self.loop.now = end
        self.settle()

    def put(self, *recipients: str | Recipient, content: bytes = b"Subject: x\r\n\r\n", **fields: Any) -> str:
        incoming = self.spool.begin(0)
        incoming.append(content)
        self.wait(incoming.commit(envelope(incoming.id, *recipients, size=len(content), now=self.loop.now, **fields)))
        self.settle()
        return incoming.id

    def mail(self, id_: str) -> QueuedMail:
        return self.spool.mails[id_]

    @property
    def reports(self) -> list[QueuedMail]:
        return [mail for mail in self.spool.mails.values() if mail.envelope.origin == "dsn"]

    def hold(self) -> None:
        self.net.held = []

    def release(self, number: int = 0) -> None:
        assert self.net.held is not None
        self.net.held.pop(number).callback(None)
        self.settle()


def settings(**changes: Any) -> QueueSettings:
    base = QueueSettings("me.test", BounceSettings("me.test", "me.test"), (ROUTE,), POLICY)
    return replace(base, **changes)


def envelope(id_: str, *recipients: str | Recipient, now: float, **fields: Any) -> Envelope:
    names = recipients or ("b@example.com",)
    all_of = tuple(Recipient(name) if isinstance(name, str) else name for name in names)
    return Envelope(id_, recipients=all_of, **({"sender": "a@example.org", "received_at": now} | fields))


@pytest.fixture
def rig(loop: Loop):
    return Rig(loop)


def test_a_new_mail_is_delivered_at_once_and_is_gone(rig: Rig):
    rig.start()
    id_ = rig.put()
    assert rig.net.tries == [(id_, ["b@example.com"])]
    assert rig.spool.mails == {}
    assert rig.queue.results.counters["sent"] == 1
    assert rig.queue.results.delivered["main"] == 1


def test_what_lay_in_the_spool_is_delivered_at_start(rig: Rig):
    first, second = rig.put(), rig.put("c@example.com")
    rig.start()
    assert rig.net.tries == [(first, ["b@example.com"]), (second, ["c@example.com"])]
    assert rig.spool.mails == {}


def test_a_deferred_mail_is_tried_again_by_the_schedule(rig: Rig):
    rig.net.answer = BUSY
    rig.start()
    id_ = rig.put()
    times = [rig.loop.now]
    for _ in range(600):
        tries = len(rig.net.tries)
        rig.pass_(1)
        if len(rig.net.tries) > tries:
            times.append(rig.loop.now)
    assert [b - a for a, b in pairwise(times)] == [60, 120, 120, 120, 120]
    delivery = rig.mail(id_).deliveries[0]
    assert (delivery.attempts, delivery.reply, delivery.remote) == (6, BUSY, "hop.test:25")


def test_a_restart_keeps_the_times(rig: Rig):
    rig.net.answer = BUSY
    rig.start()
    rig.put()
    rig.wait(rig.queue.stop())
    rig.pass_(50)
    rig.start()
    rig.pass_(9)
    assert len(rig.net.tries) == 1
    rig.pass_(2)
    assert len(rig.net.tries) == 2


def test_a_clock_that_was_set_back_keeps_no_mail_waiting(rig: Rig):
    """However late it was when the next try was fixed, that is never further away than the schedule says."""
    rig.net.answer = BUSY
    rig.start(retry=PATIENT)
    rig.put()
    rig.step = 24 * HOUR
    rig.pass_(60)
    assert len(rig.net.tries) == 2
    rig.step = 0.0
    rig.wait(rig.queue.stop())
    rig.start(retry=PATIENT)
    rig.pass_(120)
    assert len(rig.net.tries) == 3


def test_a_clock_that_is_set_back_during_a_try_keeps_no_mail_waiting(rig: Rig):
    rig.net.answer = BUSY
    rig.step = 24 * HOUR
    rig.start(retry=PATIENT)
    written = rig.spool.update

    def set_back(change):
        rig.step = 0.0
        return written(change)

    rig.spool.update = set_back
    rig.put()
    rig.pass_(120)
    assert len(rig.net.tries) == 2


def test_each_recipient_goes_its_own_way(rig: Rig):
    rig.net.answer = lambda envelope, places: {
        place: {"ok": OK, "busy": BUSY, "no": NO}[envelope.recipients[place].address.split("@")[0]] for place in places
    }
    rig.start()
    id_ = rig.put("ok@x.test", "busy@x.test", "no@x.test")
    rig.net.answer = OK
    assert [d.state for d in rig.mail(id_).deliveries] == [DeliveryState.SENT, DeliveryState.OPEN, DeliveryState.FAILED]
    rig.pass_(61)
    assert (id_, ["busy@x.test"]) in rig.net.tries
    assert id_ not in rig.spool.mails


def test_a_failure_is_told_to_the_sender_in_the_same_update(rig: Rig):
    updates: list[Update] = []
    real = rig.spool.update
    rig.spool.update = lambda change: updates.append(change) or real(change)  # type: ignore[method-assign]
    rig.net.answer = lambda envelope, places: NO if envelope.sender else OK
    rig.start()
    id_ = rig.put()
    (update,) = [u for u in updates if u.id == id_]
    assert update.delete
    (report,) = update.reports
    assert (report.envelope.sender, report.envelope.recipients) == ("", (Recipient("a@example.org"),))
    assert rig.net.tries[1][1] == ["a@example.org"]
    assert rig.spool.mails == {}


def test_a_mail_expires_after_a_try_and_its_sender_is_told(rig: Rig):
    rig.net.answer = BUSY
    rig.start()
    id_ = rig.put()
    rig.pass_(POLICY.expire - 200)
    assert id_ in rig.spool.mails
    rig.net.answer = lambda envelope, places: BUSY if envelope.sender else OK
    rig.pass_(400)
    assert id_ not in rig.spool.mails
    assert rig.queue.results.counters["failed"] == 1


def test_a_mail_that_expired_while_nobody_ran_gets_one_more_try(rig: Rig):
    id_ = rig.put()
    rig.loop.now += POLICY.expire + 1
    rig.start()
    assert rig.net.tries == [(id_, ["b@example.com"])]
    assert rig.spool.mails == {}


def test_the_sender_is_warned_once(rig: Rig):
    rig.net.answer = lambda envelope, places: BUSY if envelope.sender else OK
    rig.start()
    rig.put()
    rig.pass_(POLICY.expire - 200)
    assert len([t for t in rig.net.tries if t[1] == ["a@example.org"]]) == 1


def test_mail_without_a_route_waits_until_there_is_one(rig: Rig):
    rig.start(routes=())
    id_ = rig.put()
    rig.pass_(POLICY.expire * 2)
    assert list(rig.queue.waiting.unrouted) == [id_]
    assert rig.net.tries == []
    rig.queue.retune(settings())
    rig.settle()
    assert rig.spool.mails == {}


def test_recipients_take_their_routes_and_the_rest_waits(rig: Rig):
    lan = Route("lan", (Hop("lan.test", 25, "none"),), recipient=Pattern("*@lan.test"))
    rig.start(routes=(lan,))
    id_ = rig.put("a@lan.test", "b@else.test")
    assert rig.net.tries == [(id_, ["a@lan.test"])]
    assert rig.mail(id_).open == [1]
    rig.queue.retune(settings(routes=(lan, ROUTE)))
    rig.settle()
    assert rig.net.tries[1:] == [(id_, ["b@else.test"])]
    assert rig.spool.mails == {}


def test_queued_mail_follows_the_routes_of_a_reload(rig: Rig):
    rig.net.down[HOP] = BUSY
    rig.start()
    id_ = rig.put()
    assert list(rig.queue.destinations.lanes[ROUTE, ""].parked) == [id_]
    other = Route("other", (Hop("other.test", 25, "none"),))
    rig.queue.retune(settings(routes=(other,)))
    rig.settle()
    assert rig.net.connects[-1].host == "other.test"
    assert rig.spool.mails == {}


def test_mail_waits_in_mode_hold(rig: Rig):
    rig.start(mode="hold")
    id_ = rig.put()
    rig.pass_(10 * HOUR)
    assert rig.net.tries == []
    assert rig.mail(id_).state is MailState.READY
    rig.queue.retune(settings())
    rig.settle()
    assert rig.spool.mails == {}


def test_captured_mail_is_never_sent(rig: Rig):
    rig.start(mode="capture")
    id_ = rig.put()
    rig.queue.retune(settings())
    rig.pass_(10 * HOUR)
    assert rig.mail(id_).state is MailState.CAPTURED
    assert rig.net.tries == []
    rig.put("c@example.com")
    assert list(rig.spool.mails) == [id_]


def test_a_hop_that_is_down_costs_no_mail_a_try(rig: Rig):
    rig.net.down[HOP] = Reply(451, "4.4.1", "Refused")
    rig.start()
    ids = [rig.put() for _ in range(5)]
    rig.pass_(600)
    assert rig.net.tries == []
    assert [rig.mail(id_).deliveries[0].attempts for id_ in ids] == [0] * 5
    assert len(rig.net.connects) < 12
    rig.net.down.clear()
    rig.pass_(300)
    assert sorted(t[0] for t in rig.net.tries) == ids
    assert rig.spool.mails == {}


def test_one_mail_probes_whether_a_hop_is_back(rig: Rig):
    rig.net.down[HOP] = BUSY
    rig.start()
    for _ in range(5):
        rig.put()
    rig.net.down.clear()
    rig.hold()
    rig.pass_(20)
    assert len(rig.net.open) <= 2
    assert rig.net.held


def test_mail_for_a_hop_that_stays_down_is_late_and_then_expires(rig: Rig):
    other = Route("reports", (Hop("other.test", 25, "none"),), recipient=Pattern("*@example.org"))
    rig.net.down[HOP] = Reply(451, "4.4.1", "Refused")
    rig.start(routes=(other, ROUTE))
    id_, began = rig.put(), rig.loop.now
    rig.pass_(POLICY.warn or 0)
    rig.pass_(120)
    assert [t[1] for t in rig.net.tries] == [["a@example.org"]]
    while id_ in rig.spool.mails:
        rig.pass_(1)
    assert rig.loop.now - began < POLICY.expire + 120
    assert [t[1] for t in rig.net.tries] == [["a@example.org"]] * 2
    assert [route["parked"] for route in rig.queue.details()["routes"]] == [0, 0]


def test_hops_are_tried_in_their_order(rig: Rig):
    first, second = Hop("first.test", 25, "none"), Hop("second.test", 25, "none")
    rig.net.down[first] = BUSY
    rig.start(routes=(Route("two", (first, second)),))
    rig.put()
    assert rig.net.connects == [first, second]
    assert rig.spool.mails == {}


def test_no_more_connections_than_the_route_allows(rig: Rig):
    rig.hold()
    rig.start()
    for _ in range(20):
        rig.put()
    assert rig.net.most == 2
    while rig.net.held:
        rig.release()
    assert rig.net.most == 2
    assert rig.spool.mails == {}
    assert len(rig.net.connects) == 2


def test_a_lane_with_room_does_not_wait_until_a_long_queue_was_looked_at(rig: Rig):
    """Mails that are brought to it come before those that only turn out to wait for it too."""
    for _ in range(400):
        rig.put()
    read = rig.spool.load
    reads: list[Deferred[None]] = []

    async def load(id_: str) -> Any:
        turn: Deferred[None] = Deferred()
        reads.append(turn)
        await turn
        return await read(id_)

    rig.spool.load = load
    rig.hold()
    rig.start()
    for done in range(200):
        reads[done].callback(None)
        rig.pass_(0.001)
        if done % 10 == 9:
            rig.release()
    assert len(rig.net.tries) > 20


def test_mails_beyond_what_a_lane_takes_are_parked_by_id(rig: Rig):
    rig.hold()
    rig.start()
    ids = [rig.put() for _ in range(20)]
    lane = rig.queue.destinations.lanes[ROUTE, ""]
    assert len(lane.parked) + 2 * ROUTE.connections == 20
    assert set(lane.parked) <= set(ids)


def test_the_rate_of_a_route_is_kept(rig: Rig):
    rig.start(routes=(replace(ROUTE, rate=2.0),))
    for _ in range(10):
        rig.put()
    rig.pass_(2.2)
    assert len(rig.net.tries) == 5
    rig.pass_(2.5)
    assert len(rig.net.tries) == 10


def test_an_idle_connection_is_used_again_and_then_left(rig: Rig):
    rig.start()
    rig.put()
    rig.pass_(4)
    rig.put()
    assert len(rig.net.connects) == 1
    rig.pass_(6)
    assert rig.net.open == set()


def test_a_stale_connection_costs_a_mail_no_try(rig: Rig):
    rig.start()
    rig.put()
    answers = [HopError(BUSY), OK]
    rig.net.answer = lambda envelope, places: answers.pop(0)
    rig.put("c@example.com")
    assert [t[1] for t in rig.net.tries[1:]] == [["c@example.com"]] * 2
    assert len(rig.net.connects) == 2
    assert rig.spool.mails == {}


def test_a_destination_that_takes_no_mail_fails_it_at_once(rig: Rig):
    rig.net.down[HOP] = Reply(556, "5.1.10", "Null MX")
    rig.start(routes=(Route("else", (Hop("o", 25, "none"),), recipient=Pattern("*@example.org")), ROUTE))
    rig.put()
    assert rig.queue.results.counters["failed"] == 1
    assert rig.spool.mails == {}


def test_a_mail_whose_handling_raises_is_quarantined_the_third_time_and_the_rest_flows(rig: Rig):
    bad = "bad@example.com"
    rig.net.answer = lambda envelope, places: ZeroDivisionError("x") if envelope.recipients[0].address == bad else OK
    rig.start()
    id_ = rig.put(bad)
    rig.put()
    assert list(rig.spool.mails) == [id_]
    rig.pass_(600)
    assert rig.mail(id_).state is MailState.QUARANTINED
    assert rig.queue.states() == {"ready": 0, "active": 0, "quarantined": 1}
    assert [t[0] for t in rig.net.tries].count(id_) == 3


def test_a_result_is_written_until_the_spool_takes_it_and_nothing_new_is_sent(rig: Rig):
    real = rig.spool.update
    failures = [SpoolError("full", NO_ROOM)] * 3

    def update(change: Update) -> Any:
        return fail(failures.pop()) if failures else real(change)

    rig.spool.update = update  # type: ignore[method-assign]
    rig.start()
    first, second = rig.put(), rig.put("c@example.com")
    assert [t[0] for t in rig.net.tries] == [first]
    rig.pass_(20)
    assert [t[0] for t in rig.net.tries] == [first, second]
    assert rig.spool.mails == {}


def test_stop_waits_for_what_is_being_sent_and_begins_nothing(rig: Rig):
    rig.hold()
    rig.start()
    for _ in range(4):
        rig.put()
    stopped: list[Any] = []
    Deferred.fromCoroutine(rig.queue.stop()).addCallback(stopped.append)
    rig.settle()
    assert not stopped
    assert len(rig.net.tries) == 2
    rig.release()
    rig.release()
    assert stopped
    assert len(rig.net.tries) == 2
    assert len(rig.spool.mails) == 2


@pytest.mark.parametrize("where", ["connecting", "greeting"])
def test_stop_waits_for_no_connection_that_is_being_made(rig: Rig, where: str):
    rig.net.stuck = where
    rig.start(routes=(replace(ROUTE, hops=(HOP, HOP)),))
    rig.put()
    rig.wait(rig.queue.stop())
    assert rig.net.connects == [HOP]
    assert len(rig.spool.mails) == 1


def test_a_report_that_fails_goes_to_the_postmaster_and_then_is_dead(rig: Rig):
    rig.net.answer = NO
    rig.start(bounces=BounceSettings("me.test", "me.test", "post@me.test"))
    rig.put()
    assert [t[1] for t in rig.net.tries] == [["b@example.com"], ["a@example.org"], ["post@me.test"]]
    (mail,) = rig.spool.mails.values()
    assert (mail.state, mail.envelope.recipients[0].address) == (MailState.DEAD, "post@me.test")
    assert rig.queue.results.counters["dead"] == 1
    rig.pass_(10 * HOUR)
    assert len(rig.net.tries) == 3


def test_without_a_postmaster_a_report_that_fails_is_dead(rig: Rig):
    rig.net.answer = NO
    rig.start()
    rig.put()
    (mail,) = rig.spool.mails.values()
    assert (mail.state, mail.envelope.recipients[0].address) == (MailState.DEAD, "a@example.org")
    assert mail.note


def test_dead_mail_is_set_aside_after_a_restart(rig: Rig):
    rig.net.answer = NO
    rig.start()
    rig.put()
    rig.wait(rig.queue.stop())
    rig.start()
    rig.pass_(HOUR)
    assert len(rig.net.tries) == 2
    assert list(rig.queue.waiting.aside.values()) == [MailState.DEAD]


def test_reports_to_one_sender_are_capped_and_the_mails_kept(rig: Rig):
    rig.net.answer = lambda envelope, places: NO if envelope.sender else OK
    rig.start(bounces=BounceSettings("me.test", "me.test", None, 3 / HOUR))
    for _ in range(5):
        rig.put()
    assert [t[1] for t in rig.net.tries].count(["a@example.org"]) == 3
    assert [mail.state for mail in rig.spool.mails.values()] == [MailState.DEAD] * 2
    rig.pass_(HOUR)
    rig.put()
    assert [t[1] for t in rig.net.tries].count(["a@example.org"]) == 4


NOTIFY = [
    (frozenset(), NO, (), 1),
    (frozenset({"NEVER"}), NO, (), 0),
    (frozenset({"SUCCESS"}), NO, (), 0),
    (frozenset({"FAILURE"}), NO, (), 1),
    (frozenset(), OK, (), 0),
    (frozenset({"SUCCESS"}), OK, (), 1),
    (frozenset({"SUCCESS"}), OK, ("DSN",), 0),
]


@pytest.mark.parametrize(("notify", "answer", "extensions", "reports"), NOTIFY)
def test_notify_says_what_is_reported(rig: Rig, notify, answer, extensions, reports):
    rig.net.answer = lambda envelope, places: answer if envelope.sender else OK
    rig.net.extensions = extensions
    rig.start()
    rig.put(Recipient("b@example.com", notify))
    assert len(rig.net.tries) - 1 == reports
    assert rig.spool.mails == {}


def test_a_report_can_be_read_by_programs(rig: Rig):
    contents: list[bytes] = []

    def answer(envelope: Envelope, places: list[int]) -> Reply:
        contents.append(rig.spool.mails[envelope.id].content.data or b"")
        return NO if envelope.sender else OK

    rig.net.answer = answer
    rig.start()
    rig.put("b@example.com", content=b"Subject: hello\r\nX: y\r\n\r\nbody\r\n")
    report = message_from_bytes(contents[1])
    assert report.get_content_type() == "multipart/report"
    text, status, header = report.get_payload()
    assert "No such user" in text.get_payload()
    fields = status.get_payload()[1]
    assert (fields["Final-Recipient"], fields["Action"], fields["Status"]) == (
        "rfc822; b@example.com",
        "failed",
        "5.1.1",
    )
    assert "Subject: hello" in header.get_payload()


def test_a_binary_mail_comes_back_as_its_header_in_lines(rig: Rig):
    contents: list[bytes] = []

    def answer(envelope: Envelope, places: list[int]) -> Reply:
        contents.append(rig.spool.mails[envelope.id].content.data or b"")
        return NO if envelope.sender else OK

    rig.net.answer = answer
    rig.start()
    rig.put("b@example.com", content=b"Subject: a\0b\r\n\r\nx\n.\n\0", body="BINARYMIME", ret="FULL")
    assert b"Subject: a\\x00b\r\n" in contents[1]
    assert b"\0" not in contents[1]
    assert b"\n" not in contents[1].replace(b"\r\n", b"")


def test_a_mail_that_cannot_be_written_for_its_own_fault_is_quarantined(rig: Rig):
    real = rig.spool.update
    rig.spool.update = lambda change: fail(SpoolError("odd", LOCAL_ERROR)) if change.deliveries else real(change)  # type: ignore[method-assign]
    rig.net.answer = BUSY
    rig.start()
    id_ = rig.put()
    rig.pass_(600)
    assert rig.mail(id_).state is MailState.QUARANTINED


def test_the_window_bounds_what_is_in_memory(rig: Rig):
    for number in range(500):
        id_ = rig.spool.new_id()
        rig.spool.mails[id_] = new_mail(envelope(id_, f"{number}@x.test", now=0.0, size=0), Content(0, b""))
    rig.hold()
    rig.start()
    assert len(rig.net.tries) == 2
    assert len(rig.queue.active) <= 200
    while rig.net.held:
        rig.release()
    assert rig.spool.mails == {}


def test_destinations_that_nothing_goes_to_are_forgotten_when_they_become_many(rig: Rig):
    async def find(domain: str, route: Route) -> list[Hop]:
        return [DOWN_HOP if domain.startswith("d") else HOP]

    rig.net.down[DOWN_HOP] = BUSY
    mx = Route("mx")
    rig.queue = DeliveryQueue(
        rig.loop,
        rig.spool,
        settings(routes=(mx,)),
        new_id=rig.spool.new_id,
        find_exchangers=find,
        connect=rig.net.connect,
        wall=lambda: rig.loop.now,
    )
    rig.queue.start(rig.wait(rig.spool.scan()))
    late = rig.put("r@down.test")
    for number in range(250):
        rig.put(f"r@a{number}.test")
        rig.pass_(1)
    rig.pass_(60)
    rig.put("r@last.test")
    assert len(rig.queue.destinations.lanes) <= 150
    assert rig.queue.destinations.lanes[mx, "down.test"].parked.keys() == {late}
    assert list(rig.spool.mails) == [late]
    rig.net.down.clear()
    rig.pass_(HOUR)
    assert not rig.spool.mails
    rig.wait(rig.queue.stop())
    assert not rig.net.open
