"""Mails accepted, stored and relayed: the clock runs until the next hop has the last."""

import subprocess
import time

from bench import loads
from bench.peers import multid, postfix
from bench.row import Figure, Row, Sample, Target
from bench.server import RunError, Server

MAILS = 4000
SIZE = 4096
SESSIONS = 20
PATIENCE = 60.0


def ready(server: Server) -> bool:
    return loads.accepts(server.port)


def measure(server: Server) -> Sample:
    with loads.next_hop(server.place.next_hop, MAILS) as sink:
        begun = time.monotonic()
        done = loads.mails(server.port, MAILS, SIZE, SESSIONS)
        try:
            sink.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RunError(f"not all mails arrived within {PATIENCE:.0f} s") from None
        took = time.monotonic() - begun
    return {"rate": MAILS / took, "load": done.busy}


ROW = Row(
    name="smtp-through",
    work=f"smtp-source -s {SESSIONS} -l {SIZE} -d, {MAILS:,} mails, until smtp-sink has all",
    figures=(Figure("rate", "mails/s", targets=(Target(3, "Postfix"),)),),
    contenders={"Postfix": postfix.smtp_through, "multid": multid.smtp_through},
    ready=ready,
    measure=measure,
)
