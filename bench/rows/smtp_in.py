"""Mails accepted, each on disk before its 250."""

from bench import loads
from bench.peers import floor, multid, postfix, python
from bench.row import Figure, Row, Sample, Target
from bench.server import Server

MAILS = 4000
SIZE = 4096
SESSIONS = 20


def ready(server: Server) -> bool:
    return loads.accepts(server.port)


def measure(server: Server) -> Sample:
    done = loads.mails(server.port, MAILS, SIZE, SESSIONS)
    return {"rate": MAILS / done.seconds, "load": done.busy}


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
