"""What strace sees: between the last write of a mail's content and its 250 that content was synced."""

import os
import re
import signal
import smtplib
from pathlib import Path

import pytest

from tests.process import Multid
from tests.programs import need

CALLS = "openat,write,pwrite64,sendto,sendmsg,fsync,fdatasync,rename,close"


def traced(folder: Path, size: int) -> list[str]:
    """Hand a mail of so many octets to a daemon under strace; return its system calls, completed ones, in order."""
    relay = {
        "type": "smtp",
        "listen": "tcp:0:interface=127.0.0.1",
        "hostname": "relay.test",
        "mode": "hold",
        "queue": {"path": str(folder / "spool"), "inline": "64KiB"},
    }
    trace = folder / "trace"
    strace = (need("strace"), "-f", "-y", "-s", "4000", "-o", str(trace), "-e", f"trace={CALLS}")
    with Multid(folder, {"services": {"relay": relay}}, prefix=strace) as daemon:
        port = daemon.port("relay")
        with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
            line = "the content " + "x" * 60 + "\r\n"
            client.sendmail("a@example.org", ["b@example.com"], "Subject: x\r\n\r\n" + line * (size // len(line)))
        os.kill(int(trace.read_text().split(None, 1)[0]), signal.SIGTERM)
        daemon.finished()
    return in_order(trace.read_text().splitlines())


def in_order(lines: list[str]) -> list[str]:
    """Return the calls at the place where they began, but syncs, which threads interrupt, where they had succeeded."""
    begun: dict[str, str] = {}
    calls = []
    for line in lines:
        thread, _, call = line.partition(" ")
        if re.match(r" *<\.\.\. f(?:data)?sync resumed", call):
            call = begun.pop(thread) + call.partition(">")[2]
        elif "sync(" in call and call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>")
            continue
        calls.append(call)
    return calls


def last(calls: list[str], pattern: str, before: int) -> int:
    """Return the place of the last call before a place that matches."""
    found = [place for place in range(before) if re.search(pattern, calls[place])]
    assert found, f"no {pattern}"
    return found[-1]


def accepted(calls: list[str]) -> int:
    """Return the place where the reply to the final dot begins to be sent."""
    return next(
        place
        for place, call in enumerate(calls)
        if re.search(r"(?:write|sendto|sendmsg)\(.*250 2\.0\.0 .*queued", call)
    )


@pytest.mark.campaign  # strace slows the daemon's start down
def test_a_small_mail_is_synced_in_the_log_of_the_database_before_it_is_accepted(tmp_path: Path) -> None:
    calls = traced(tmp_path, 1000)
    reply = accepted(calls)
    written = last(calls, r"pwrite64\(\d+<.*spool\.db-wal>, .*the content", reply)
    assert any(is_synced(call, r"spool\.db-wal") for call in calls[written:reply])


@pytest.mark.campaign
def test_a_large_mail_is_synced_in_its_file_then_its_name_then_its_row(tmp_path: Path) -> None:
    calls = traced(tmp_path, 500_000)
    reply = accepted(calls)
    written = last(calls, r"write\(\d+<.*/incoming/.*the content", reply)
    file = next(place for place in range(written, reply) if is_synced(calls[place], r"/incoming/[^>]*"))
    renamed = next(place for place in range(file, reply) if "rename(" in calls[place])
    named = next(place for place in range(renamed, reply) if is_synced(calls[place], r"/spool/content"))
    row = last(calls, r"pwrite64\(.*spool\.db-wal>", reply)
    assert row > named
    assert any(is_synced(call, r"spool\.db-wal") for call in calls[row:reply])


def is_synced(call: str, path: str) -> bool:
    """Whether a call has synced a file."""
    return re.search(rf"f(?:data)?sync\(\d+<[^>]*{path}>\s*\)\s+= 0$", call) is not None
