"""Lines from TCP connections to a file: the clock runs from the first octet sent to the last in the file."""

import time
from functools import partial

from bench import loads, machine
from bench.peers import floor, multid, python, rsyslog, syslog_ng
from bench.row import Figure, Row, Sample, Target
from bench.server import RunError, Server

LINES = 1_000_000
SIZE = 157
PATIENCE = 60.0


def ready(server: Server) -> bool:
    return loads.accepts(server.port)


def measure(server: Server, connections: int = 1) -> Sample:
    """All lines are of one length: the file is complete when as long as that many of the first; then it is counted.

    Connecting is not measured, nor is counting, also not in what share of the time the server's core worked.
    """
    path = server.place.folder / "lines.log"
    core, _ = machine.cores()
    worked = machine.busy_seconds(core)
    begun, busy = loads.lines(server.port, LINES, SIZE, connections)
    with path.open("rb") as file:
        first = len(_first_line(file.readline))
        deadline = time.monotonic() + PATIENCE
        while path.stat().st_size < LINES * first:
            if time.monotonic() > deadline:
                raise RunError(f"{path.stat().st_size // first:,} of {LINES:,} lines arrived")
            time.sleep(0.002)
        took = time.monotonic() - begun
        share = (machine.busy_seconds(core) - worked) / took
        file.seek(0)
        found = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    if found != LINES:
        raise RunError(f"{found:,} lines in the file instead of {LINES:,}")
    return {"rate": LINES / took, "load": busy, "server": share}


def _first_line(readline):
    deadline = time.monotonic() + PATIENCE
    line = readline()
    while not line.endswith(b"\n"):
        if time.monotonic() > deadline:
            raise RunError("no line arrived")
        time.sleep(0.002)
        line += readline()
    return line


ROW = Row(
    name="logger",
    work=f"1 connection, {LINES:,} lines of {SIZE} octets, TCP to a text file",
    figures=(Figure("rate", "lines/s", targets=(Target(2.5, "rsyslog"), Target(10, "syslog-ng"))),),
    contenders={
        "C, copies unread": floor.logger,
        "rsyslog": rsyslog.logger,
        "syslog-ng": syslog_ng.logger,
        "stock LineReceiver": python.twisted_logger,
        "multid": multid.logger,
    },
    ready=ready,
    measure=measure,
)

TEN = Row(
    name="logger-10",
    work=f"10 connections, {LINES:,} lines of {SIZE} octets, TCP to a text file",
    figures=ROW.figures,
    contenders=ROW.contenders,
    ready=ready,
    measure=partial(measure, connections=10),
)

JSON = Row(
    name="logger-json",
    work=f"1 connection, {LINES:,} lines of {SIZE} octets, TCP to a file of JSON: time, peer, text",
    figures=(Figure("rate", "lines/s", targets=(Target(2.5, "rsyslog"),)),),
    contenders={"rsyslog": rsyslog.logger_json, "syslog-ng": syslog_ng.logger_json, "multid": multid.logger_json},
    ready=ready,
    measure=measure,
)

PARSED = Row(
    name="logger-parsed",
    work=f"1 connection, {LINES:,} lines of {SIZE} octets, parsed (RFC 3164), TCP to a file of JSON: all fields",
    figures=(Figure("rate", "lines/s", targets=(Target(2.5, "rsyslog"),)),),
    contenders={"rsyslog": rsyslog.logger_parsed, "syslog-ng": syslog_ng.logger_parsed, "multid": multid.logger_parsed},
    ready=ready,
    measure=measure,
)
