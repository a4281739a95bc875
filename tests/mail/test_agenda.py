"""When mails are looked at, and when a destination that failed is: against the simplest models of them."""

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from multid.mail.agenda import Agenda
from multid.mail.breaker import FIRST, LAST, Breaker

IDS = st.sampled_from("abcdefgh")
TIMES = st.integers(0, 20).map(float)


class AgendaMachine(RuleBasedStateMachine):
    """An agenda is a mapping of ids to times, of which one takes out the earliest."""

    def __init__(self) -> None:
        super().__init__()
        self.agenda = Agenda()
        self.model: dict[str, float] = {}

    @rule(id_=IDS, at=TIMES)
    def put(self, id_: str, at: float) -> None:
        self.agenda.put(id_, at)
        self.model[id_] = at

    @rule(id_=IDS, at=TIMES, times=st.integers(1, 100))
    def put_often(self, id_: str, at: float, times: int) -> None:
        for _ in range(times):
            self.put(id_, at)

    @rule(id_=IDS)
    def discard(self, id_: str) -> None:
        self.agenda.discard(id_)
        self.model.pop(id_, None)

    @rule(now=TIMES)
    def pop(self, now: float) -> None:
        due = min(((at, id_) for id_, at in self.model.items() if at <= now), default=(0.0, None))[1]
        assert self.agenda.pop(now) == due
        self.model.pop(due or "", None)

    @invariant()
    def is_as_the_model(self) -> None:
        assert len(self.agenda) == len(self.model)
        assert [id_ in self.agenda for id_ in "abcdefgh"] == [id_ in self.model for id_ in "abcdefgh"]
        assert self.agenda.next_at() == min(self.model.values(), default=None)
        assert self.agenda.oldest() == min(self.model, default=None)

    @invariant()
    def is_no_larger_than_it_need_be(self) -> None:
        assert len(self.agenda._heap) <= 2 * len(self.model) + 65 + 2 * 8


TestAgenda = AgendaMachine.TestCase
TestAgenda.settings = settings(max_examples=40, stateful_step_count=30)


class BreakerMachine(RuleBasedStateMachine):
    """A breaker is open from a failure on, for twice as long after each, until it succeeds or is reset."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.failures = 0
        self.until = 0.0

    @rule()
    def fails(self) -> None:
        self.breaker.failed(self.now)
        self.until = self.now + min(LAST, FIRST * 2**self.failures)
        self.failures += 1

    @rule()
    def succeeds(self) -> None:
        self.breaker.succeeded()
        self.failures, self.until = 0, 0.0

    @rule()
    def is_reset(self) -> None:
        self.breaker.reset()
        self.until = 0.0

    @rule(seconds=st.sampled_from([0.0, 1.0, FIRST, LAST]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def is_as_the_model(self) -> None:
        assert self.breaker.is_open(self.now) == (self.now < self.until)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=40, stateful_step_count=30)


@given(st.integers(1, 10_000), st.floats(0, 1e9))
def test_however_often_a_destination_failed_it_is_tried_within_five_minutes(failures: int, now: float) -> None:
    breaker = Breaker()
    for _ in range(failures):
        breaker.failed(now)
    assume(now + LAST > now)
    assert not breaker.is_open(now + LAST)
