"""Ntp: the time, as a server of RFC 5905 gives it from the clock of this host, and how far it can be believed.

Leap second, stratum, root delay and dispersion, reference: from the kernel, and from chronyd where it runs. A clock
that nobody disciplines is announced as that (`alarm`), or not at all (`refuse`), or, where the operator knows better
than the kernel, as a local clock (`serve`). Each request is answered by one packet of 48 octets at most, without
memory of the client; one that asks too often is told so now and then (kiss code RATE, RFC 5905 section 7.4).
"""

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from multid.clock.chronyd import Chronyd
from multid.clock.kernel import Discipline, KernelClock, measure_precision
from multid.clock.packet import MASK, UNSYNCHRONISED, ClockState, encode_reply, is_before, parse_request, timestamp
from multid.clock.tracking import Tracking
from multid.config.model import ServiceConfig
from multid.net.datagram import Question
from multid.net.peer import Peer
from multid.net.service import NetworkService
from multid.service import Change, ServiceError, ServiceKind

LOCAL_CLOCK = bytes([127, 127, 1, 1])
LOCAL_PRIMARY = b"LOCL"
LOCAL_DISPERSION = 1.0
"""Seconds that a clock which nobody disciplines is said to be off by, where it is served all the same."""

KISS_POLL = 6
"""Exponent of the interval, 64 s, that one who asks too often is told to keep at least."""

Unsynchronised = Literal["alarm", "refuse", "serve"]


class NtpConfig(ServiceConfig):
    """What is said of the clock."""

    streams: ClassVar[bool] = False

    stratum: Literal["auto"] | Annotated[int, Field(ge=1, le=15)] = Field(
        default="auto", description="auto (chronyd's, else local_stratum) or a number from 1 to 15"
    )
    local_stratum: int = Field(default=10, ge=1, le=15, description="stratum where no chronyd tells its own")
    when_unsynchronised: Unsynchronised = Field(
        default="alarm",
        description="where nobody disciplines the clock: alarm says so, refuse is silent, serve says all is well",
    )


def clock_state(
    config: NtpConfig, discipline: Discipline, tracking: Tracking | None, now: int, precision: int
) -> ClockState | None:
    """Return what is said of the clock at `now`, in nanoseconds since 1970; None for nothing."""
    if not discipline.synchronised:
        return _unsynchronised(config, discipline, now, precision)
    leap = discipline.leap if is_last_day_of_month(now) else 0
    if tracking is None or tracking.leap == UNSYNCHRONISED or not tracking.stratum:
        return _local(config, leap, discipline.max_error, now, precision)
    return ClockState(
        leap,
        tracking.stratum if config.stratum == "auto" else config.stratum,
        precision,
        tracking.root_delay,
        tracking.root_dispersion,
        tracking.reference_id,
        min(tracking.reference_time, now),
    )


def _unsynchronised(config: NtpConfig, discipline: Discipline, now: int, precision: int) -> ClockState | None:
    if config.when_unsynchronised == "refuse":
        return None
    if config.when_unsynchronised == "alarm":
        return ClockState(UNSYNCHRONISED, 0, precision, 0.0, discipline.max_error, b"INIT", None)
    return _local(config, 0, LOCAL_DISPERSION, now, precision)


def _local(config: NtpConfig, leap: int, dispersion: float, now: int, precision: int) -> ClockState:
    stratum = config.local_stratum if config.stratum == "auto" else config.stratum
    reference = LOCAL_PRIMARY if stratum == 1 else LOCAL_CLOCK
    return ClockState(leap, stratum, precision, 0.0, dispersion, reference, now)


def is_last_day_of_month(unix_ns: int) -> bool:
    """Whether a leap second, which only ends a month of UTC, would be today's."""
    return (datetime.fromtimestamp(unix_ns // 10**9, UTC) + timedelta(days=1)).day == 1


def reference_text(state: ClockState) -> str:
    """Return a reference id as people read it: four letters up to stratum 1, beyond that an IPv4 address or a hash."""
    if state.stratum < 2:
        return state.reference_id.decode("ascii", "replace")
    return ".".join(map(str, state.reference_id))


class NtpService(NetworkService):
    """NTP over UDP."""

    client_ports = frozenset({123})
    asks_for_more = True
    tells_rate = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kernel = KernelClock(self.runtime.reactor.seconds)
        self.chronyd = Chronyd(self.runtime.reactor)
        self.precision = measure_precision()
        self._unused_bits = max(0, 32 + self.precision)

    async def open(self, config: NtpConfig) -> Change:
        """NetworkService API."""
        if self.chronyd.is_asking:
            return Change(lambda: None, lambda: None)
        try:
            self.chronyd.start()
        except OSError as error:
            raise ServiceError(f"chronyd cannot be asked: {error.strerror}") from error
        return Change(lambda: None, self.chronyd.stop)

    async def close(self) -> None:
        """NetworkService API."""
        self.chronyd.stop()

    def asked(self, question: Question) -> bytes | None:
        """NetworkService API."""
        now = time.time_ns()
        request = parse_request(question.data, question.peer.port)
        state = self.clock(now)
        if request is None or state is None:
            self.guard.count("no-request" if request is None else "unsynchronised")
            return None
        receive = self._stamp(min(question.arrival or now, now))
        transmit = self._stamp(max(now, time.time_ns()))
        if is_before(transmit, receive) or transmit == int.from_bytes(request.transmit, "big"):
            transmit = (receive + 1) & MASK
        return encode_reply(request, state, receive, transmit)

    def beyond_rate(self, data: bytes, peer: Peer) -> bytes | None:
        """NetworkService API: the kiss code RATE."""
        request = parse_request(data, peer.port)
        if request is None:
            return None
        now = self._stamp(time.time_ns())
        state = ClockState(UNSYNCHRONISED, 0, self.precision, 0.0, 0.0, b"RATE", None)
        return encode_reply(replace(request, poll=max(request.poll, KISS_POLL)), state, now, now)

    def clock(self, now: int) -> ClockState | None:
        """Return what is said of the clock now."""
        return clock_state(self.config, self.kernel.discipline(), self.chronyd.tracking, now, self.precision)

    def details(self) -> dict[str, Any]:
        """NetworkService API."""
        state = self.clock(time.time_ns())
        if state is None:
            return {"synchronised": False}
        return {
            "synchronised": state.leap != UNSYNCHRONISED,
            "stratum": state.stratum,
            "reference_id": reference_text(state),
            "root_delay": state.root_delay,
            "root_dispersion": state.root_dispersion,
        }

    def _stamp(self, unix_ns: int) -> int:
        """Return the timestamp, with chance in the bits that the clock does not fill."""
        return timestamp(unix_ns) >> self._unused_bits << self._unused_bits | random.getrandbits(self._unused_bits)


KIND = ServiceKind("ntp", "the time, and how far it can be believed (RFC 5905)", NtpConfig, NtpService)
