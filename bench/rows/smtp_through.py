"""Mails stored and relayed: the clock runs until the next hop has the last; also where each fsync takes 5 ms longer."""

import subprocess
import time
from functools import partial

from bench import loads
from bench.peers import multid, postfix
from bench.row import Figure, Row, Sample, Target
from bench.server import RunError, Server
from bench.slow_disk import on_slow_disk

MAILS, FEWER = 4000, 1000
SIZE = 4096
SESSIONS = 20
PATIENCE = 60.0


def ready(server: Server) -> bool:
    return loads.accepts(server.port)


def measure(server: Server, mails: int = MAILS) -> Sample:
    with loads.next_hop(server.place.next_hop, mails) as sink:
        begun = time.monotonic()
        done = loads.mails(server.port, mails, SIZE, SESSIONS)
        try:
            sink.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RunError(f"not all mails arrived within {PATIENCE:.0f} s") from None
        took = time.monotonic() - begun
    return {"rate": mails / took, "load": done.busy}


ROW = Row(
    name="smtp-through",
    work=f"smtp-source -s {SESSIONS} -l {SIZE} -d, {MAILS:,} mails, until smtp-sink has all",
    figures=(Figure("rate", "mails/s", targets=(Target(3, "Postfix"),)),),
    contenders={"Postfix": postfix.smtp_through, "multid": multid.smtp_through},
    ready=ready,
    measure=measure,
)

SLOW = Row(
    name="smtp-through-slow-disk",
    work=f"smtp-source -s {SESSIONS} -l {SIZE} -d, {FEWER:,} mails, until smtp-sink has all, 5 ms added to each fsync",
    figures=ROW.figures,
    contenders={"Postfix": on_slow_disk(postfix.smtp_through, 5), "multid": on_slow_disk(multid.smtp_through, 5)},
    ready=ready,
    measure=partial(measure, mails=FEWER),
)
