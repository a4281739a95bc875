"""From exec until every TCP port answers, and the memory then; multid with the file it comes with."""

from bench import loads
from bench.peers import multid, postfix, python, rsyslog, syslog_ng, xinetd
from bench.row import Figure, Row, Sample, Target
from bench.server import Server


def ready(server: Server) -> bool:
    return loads.accepts(*(server.command.ports or (server.port,)))


def measure(server: Server) -> Sample:
    return {"seconds": server.ready_at - server.begun, "memory": server.resident() / (1 << 20)}


ROW = Row(
    name="start",
    work="exec until bound; multid: config/multid.yaml",
    figures=(
        Figure("seconds", "seconds", more=False, targets=(Target(0.6),)),
        Figure("memory", "MiB resident", more=False, targets=(Target(60),)),
    ),
    contenders={
        "stock Twisted, one echo": python.twisted_echo_tcp,
        "xinetd": xinetd.echo_tcp,
        "rsyslog": rsyslog.logger,
        "syslog-ng": syslog_ng.logger,
        "Postfix": postfix.smtp_through,
        "multid": multid.default_file,
    },
    ready=ready,
    measure=measure,
)
