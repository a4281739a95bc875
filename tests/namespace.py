"""Network namespaces: well-known ports and addresses of one's own, where nobody else is disturbed."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.process import environment
from tests.programs import need

ADDRESSES = ("192.0.2.7", "192.0.2.8", "2001:db8::7", "2001:db8::8")
HOST, OTHER, PEER = "192.0.2.7", "192.0.2.9", "192.0.2.8"
"""Two addresses of a server, and that of its client, at the two ends of a cable."""
ROOT = Path(__file__).parents[1]


def apart(addresses: tuple[str, ...] = ADDRESSES) -> tuple[str, ...]:
    """Return what to write before a command so that it runs in a namespace of its own that has these addresses."""
    need("unshare")
    need("ip")
    become = () if os.geteuid() == 0 else ("--map-root-user",)
    setup = ["ip link set lo up", "sysctl -q -w net.ipv4.ip_unprivileged_port_start=0 || true"]
    setup += [f"ip address add {address} dev lo {'nodad' if ':' in address else ''}" for address in addresses]
    return ("unshare", "--net", *become, "sh", "-c", f'{" && ".join(setup)} && exec "$@"', "sh")


def enter(pid: int) -> list[str]:
    """Return what to write before a command that is to run in the namespace of a process."""
    return [
        "nsenter",
        "--target",
        str(pid),
        "--net",
        *([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]),
    ]


@contextlib.contextmanager
def beside(server: int) -> Iterator[int]:
    """A namespace for the clients, beside that of a server, with a cable between the two."""
    with subprocess.Popen([*apart(()), "sleep", "1000"]) as process:
        try:
            while _network(process.pid) == _network(os.getpid()):
                time.sleep(0.01)
            commands = [
                (server, f"ip link add name cable type veth peer name cable netns {process.pid}"),
                *((server, f"ip address add {address}/24 dev cable") for address in (HOST, OTHER)),
                (process.pid, f"ip address add {PEER}/24 dev cable"),
                (server, "ip link set cable up"),
                (process.pid, "ip link set cable up"),
            ]
            for pid, command in commands:
                subprocess.run([*enter(pid), *command.split()], check=True)
            yield process.pid
        finally:
            process.kill()


def _network(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def run(
    pid: int, *command: str, within: float = 60.0, check: bool = True, **options: Any
) -> subprocess.CompletedProcess:
    """Run a command in the namespace of a process and return what came of it, texts as UTF-8."""
    return subprocess.run(
        [*enter(pid), *command],
        timeout=within,
        check=check,
        env={**environment(), "LC_ALL": "C.UTF-8"},
        stdin=options.pop("stdin", subprocess.DEVNULL if "input" not in options else None),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        **options,
    )


def call(pid: int, task: str, *arguments: Any, within: float = 60.0) -> Any:
    """Call a function of tests/interop/inside.py in the namespace of a process; its arguments and result are JSON."""
    command = [*enter(pid), sys.executable, "-m", "tests.interop.inside", task, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, timeout=within, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
