"""The programs that load a server, on the other core, and what share of the time they were busy themselves.

A load whose share is near 1 was the limit, not the server. The ping-pong and line programs are ours (`bench/load`),
smtp-source and smtp-sink are Postfix's.
"""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.obtain import compiled, debian, libraries
from bench.server import RunError, Server

PATIENCE = 120.0


@dataclass(frozen=True)
class Done:
    """A load that ended well: what it printed, how long it took, and the share of that it was on the processor."""

    printed: str
    seconds: float
    busy: float


def pingpong(server: Server, transport: str, connections: int, size: int, seconds: float) -> dict[str, float]:
    """Round trips a second and their latency in microseconds, over so many connections (or UDP sockets) at once."""
    program = [str(compiled("load/pingpong")), transport, server.command.host, str(server.port)]
    done = run([*server.enter, *program, str(connections), str(size), str(seconds)])
    seen = json.loads(done.printed)
    return {
        "rate": seen["trips"] / seen["seconds"],
        "p50": seen["p50"],
        "p99": seen["p99"],
        "again": seen["again"],
        "load": seen["busy"],
    }


def answers(server: Server, transport: str) -> bool:
    """Whether one octet comes back."""
    try:
        return pingpong(server, transport, 1, 1, 0.02)["rate"] > 0
    except RunError:
        return False


def accepts(*ports: int) -> bool:
    """Whether every one of the ports takes a TCP connection."""
    for port in ports:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return False
    return True


def lines(port: int, count: int, size: int, connections: int = 1) -> tuple[float, float]:
    """Sends numbered lines; the monotonic second of the first octet, and the load's busy share."""
    numbers = map(str, (port, count, size, connections))
    done = run([str(compiled("load/lines")), "127.0.0.1", *numbers])
    return json.loads(done.printed)["begun"], done.busy


def mails(port: int, count: int, size: int, sessions: int, patience: float = PATIENCE) -> Done:
    """Hands over `count` mails of `size` octets over `sessions` connections that stay open."""
    root = debian("postfix")
    program = [str(root / "usr/sbin/smtp-source"), "-d", "-s", str(sessions), "-l", str(size), "-m", str(count)]
    addresses = ["-f", "sender@bench.example", "-t", "recipient@bench.example"]
    return run([*program, *addresses, f"127.0.0.1:{port}"], libraries(root), patience)


@contextmanager
def next_hop(port: int, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A server that takes mails and forgets them, and ends when it has `count`."""
    root = debian("postfix")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    program = [
        str(root / "usr/sbin/smtp-sink"),
        *user,
        "-c",
        "-m",
        "1000",
        "-M",
        str(count),
        f"127.0.0.1:{port}",
        "1000",
    ]
    sink = subprocess.Popen(
        _pinned(program), env=os.environ | libraries(root), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield sink
    finally:
        sink.kill()
        sink.wait()


def run(argv: list[str], env: dict[str, str] | None = None, patience: float = PATIENCE) -> Done:
    """Runs a load on its core until it ends; raises `RunError` with its last line when it does not end well."""
    begun = time.monotonic()
    before = os.times()
    try:
        done = subprocess.run(
            _pinned(argv),
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"the load did not end within {patience:.0f} s") from None
    seconds = time.monotonic() - begun
    after = os.times()
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RunError(f"{Path(argv[0]).name}: {said[-1] if said else f'exit {done.returncode}'}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Done(done.stdout, seconds, used / seconds)


def _pinned(argv: list[str]) -> list[str]:
    _, load = machine.cores()
    return ["taskset", "--cpu-list", str(load), *argv]
