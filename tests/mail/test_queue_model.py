"""The delivery queue against a model: whatever happens, a mail that was accepted is somewhere.

Mails come in while two next hops take, defer, refuse, want a login, raise, are slow or down; time passes, an operator
holds, releases, retries and deletes, the file is reloaded and the daemon restarted. After each step every mail is
delivered, reported to its sender, deleted by the operator, or lies in the spool; none is delivered twice, and once
nothing stands in the way the rest arrives.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from multid.mail.control import QueueControl
from multid.mail.outbound import HopError
from multid.mail.reply import Reply
from multid.mail.route import Pattern, Route
from tests.loop import Loop
from tests.mail.test_queue import BUSY, DOWN_HOP, HOP, NO, OK, PATIENT, Rig
from tests.mail.test_queue import settings as queue_settings

ANSWERS: list[Any] = [OK, BUSY, NO, HopError(BUSY), RuntimeError("a defect")]
DOMAINS = ("example.com", "example.net")
ROUTES = tuple(
    Route(domain, (hop,), recipient=Pattern(f"*@{domain}"), connections=1)
    for domain, hop in zip(DOMAINS, (HOP, DOWN_HOP), strict=True)
)
"""Reports have no route: they stay where they are counted."""

HOPS = st.sampled_from([0, 1])


class QueueModel(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.rig = Rig(self.loop)
        self.rig.net.answer = self.answer
        self.answers: list[Any] = [OK, OK]
        self.routes = ROUTES
        self.accepted: dict[str, int] = {}  # the number of recipients
        self.arrived: list[tuple[str, int]] = []
        self.refused: list[tuple[str, int]] = []
        self.deleted: set[str] = set()

    def answer(self, envelope: Any, places: list[int]) -> Any:
        answer = self.answers[DOMAINS.index(envelope.recipients[places[0]].address.rpartition("@")[2])]
        ledger = {OK: self.arrived, NO: self.refused}.get(answer) if isinstance(answer, Reply) else None
        if ledger is not None:
            ledger += [(envelope.id, place) for place in places]
        return answer

    def teardown(self) -> None:
        self.the_next_hops_are_slow(False)
        self.rig.wait(self.rig.queue.stop())
        self.loop.disconnectAll()
        self.loop.close()

    @initialize()
    def begin(self) -> None:
        self.rig.start(routes=self.routes, retry=PATIENT)

    def control(self, command: str, **arguments: Any) -> None:
        control = QueueControl(self.loop, self.rig.queue, wall=lambda: self.loop.now)
        self.rig.wait(getattr(control, command)(arguments))
        self.rig.settle()

    @rule(hops=st.lists(HOPS, min_size=1, max_size=3))
    def enqueue(self, hops: list[int]) -> None:
        id_ = self.rig.put(*(f"{n}@{DOMAINS[hop]}" for n, hop in enumerate(hops)))
        self.accepted[id_] = len(hops)

    @rule(hop=HOPS, answer=st.sampled_from(ANSWERS))
    def the_next_hop_answers(self, hop: int, answer: Any) -> None:
        self.answers[hop] = answer

    @rule(down=st.sets(st.sampled_from([HOP, DOWN_HOP])))
    def next_hops_are_down(self, down: set[Any]) -> None:
        self.rig.net.down = dict.fromkeys(down, BUSY)

    @rule(slow=st.booleans())
    def the_next_hops_are_slow(self, slow: bool) -> None:
        waiting, self.rig.net.held = self.rig.net.held or [], [] if slow else None
        for gate in waiting:
            gate.callback(None)
        self.rig.settle()

    @rule(pick=st.integers(0))
    def one_answer_comes(self, pick: int) -> None:
        if self.rig.net.held:
            self.rig.release(pick % len(self.rig.net.held))

    @rule(seconds=st.sampled_from([1.0, 61.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.pass_(seconds)

    @rule(command=st.sampled_from(["hold", "release", "retry"]), domain=st.sampled_from(DOMAINS))
    def the_operator_says(self, command: str, domain: str) -> None:
        self.control(command, recipient=f"*@{domain}")

    @rule(pick=st.integers(0))
    def the_operator_deletes(self, pick: int) -> None:
        mails = [id_ for id_ in self.accepted if id_ in self.rig.spool.mails]
        if mails:
            id_ = mails[pick % len(mails)]
            self.control("delete", ids=[id_])
            self.deleted.add(id_)

    @rule(routes=st.sampled_from([ROUTES, ROUTES[:1], ROUTES[1:]]))
    def the_file_is_reloaded(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self.rig.queue.retune(queue_settings(routes=routes, retry=PATIENT))
        self.rig.settle()

    @rule()
    def the_daemon_is_restarted(self) -> None:
        self.the_next_hops_are_slow(False)
        self.rig.wait(self.rig.queue.stop())
        self.begin()

    @rule()
    def all_is_well_again(self) -> None:
        """Once nothing stands in the way, nothing is left."""
        self.rig.net.down = {}
        self.answers = [OK, OK]
        self.the_next_hops_are_slow(False)
        self.the_file_is_reloaded(ROUTES)
        for state in ("held", "quarantined"):
            self.control("release", state=state)
        self.rig.pass_(2000.0)
        assert not [id_ for id_ in self.accepted if id_ in self.rig.spool.mails], "still there"

    @invariant()
    def no_mail_is_lost(self) -> None:
        arrived, bounced = set(self.arrived), set()
        for id_ in self.accepted.keys() - self.rig.spool.mails.keys() - self.deleted:
            for place in range(self.accepted[id_]):
                if (id_, place) not in arrived:
                    assert (id_, place) in self.refused, "lost"
                    bounced.add(id_)
        assert len(self.rig.reports) >= len(bounced), "its sender was not told"
        for id_, mail in self.rig.spool.mails.items():
            assert all((id_, place) not in arrived for place in mail.open), "delivered, and still to be delivered"

    @invariant()
    def no_mail_arrives_twice(self) -> None:
        assert len(self.arrived) == len(set(self.arrived))


QueueModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25, derandomize=True)
TestQueueModel = QueueModel.TestCase
