"""Mails accepted, each on disk before its 250; also where each fsync takes 5 ms longer."""

from functools import partial

from bench import loads
from bench.peers import floor, multid, postfix, python
from bench.row import Figure, Row, Sample, Target
from bench.server import Server
from bench.slow_disk import on_slow_disk

MAILS, FEWER = 4000, 1000
SIZE = 4096
SESSIONS = 20


def ready(server: Server) -> bool:
    return loads.accepts(server.port)


def measure(server: Server, mails: int = MAILS) -> Sample:
    done = loads.mails(server.port, mails, SIZE, SESSIONS)
    return {"rate": mails / done.seconds, "load": done.busy}


ROW = Row(
    name="smtp-in",
    work=f"smtp-source -s {SESSIONS} -l {SIZE} -d, {MAILS:,} mails, durable before 250",
    figures=(Figure("rate", "mails/s", targets=(Target(5, "Postfix"),)),),
    contenders={
        "smtp-sink, stores nothing": floor.smtp,
        "stock Twisted, stores nothing": python.twisted_smtp,
        "aiosmtpd, stores nothing": python.aiosmtpd,
        "Postfix": postfix.smtp_in,
        "multid": multid.smtp_in,
    },
    ready=ready,
    measure=measure,
)

SLOW = Row(
    name="smtp-in-slow-disk",
    work=f"smtp-source -s {SESSIONS} -l {SIZE} -d, {FEWER:,} mails, durable before 250, 5 ms added to each fsync",
    figures=ROW.figures,
    contenders={"Postfix": on_slow_disk(postfix.smtp_in, 5), "multid": on_slow_disk(multid.smtp_in, 5)},
    ready=ready,
    measure=partial(measure, mails=FEWER),
)
