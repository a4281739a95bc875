"""The small services beside three inetds, in one run, each in a network namespace of its own.

`python -m tests.interop.inetds` prints the table; the inetds are unpacked from their Debian packages, not installed.
"""

import contextlib
import getpass
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.obtain import MissingError, debian, libraries
from tests.namespace import HOST, OTHER, PEER, apart, beside, call, enter
from tests.process import Multid

NAMES = {"echo": 7, "discard": 9, "daytime": 13, "chargen": 19, "time": 37}
LENGTHS = [0, 1, 512, 1472, 2049, 8193, 65507]


@contextlib.contextmanager
def multid(folder: Path) -> Iterator[int]:
    services = {name: {"listen": [f"tcp:{port}", f"udp:{port}"]} for name, port in NAMES.items()}
    with Multid(folder, {"services": services}, prefix=apart(())) as daemon:
        daemon.wait_for("time: time up")
        yield daemon.process.pid


@contextlib.contextmanager
def xinetd(folder: Path) -> Iterator[int]:
    stanzas = "".join(
        f"service {name}\n{{\n type = INTERNAL\n id = {name}-{kind}\n socket_type = {kind}\n protocol = {protocol}\n"
        f" wait = {wait}\n user = root\n disable = no\n}}\n"
        for name in NAMES
        for kind, protocol, wait in (("stream", "tcp", "no"), ("dgram", "udp", "yes"))
    )
    (folder / "conf").write_text("defaults\n{\n cps = 100000 1\n instances = UNLIMITED\n}\n" + stanzas)
    with _peer(folder, "xinetd", "usr/sbin/xinetd", "-dontfork", "-f", "conf", "-pidfile", "pid") as pid:
        yield pid


@contextlib.contextmanager
def openbsd_inetd(folder: Path) -> Iterator[int]:
    with _peer(folder, "openbsd-inetd", "usr/sbin/inetd", "-d", "-R", "0", _classic(folder)) as pid:
        yield pid


@contextlib.contextmanager
def inetutils_inetd(folder: Path) -> Iterator[int]:
    arguments = ("-d", "-R", "100000", _classic(folder))
    with _peer(folder, "inetutils-inetd", "usr/sbin/inetutils-inetd", *arguments) as pid:
        yield pid


def _classic(folder: Path) -> str:
    lines = [
        f"{name} {kind} nowait {getpass.getuser()} internal\n".replace("dgram udp nowait", "dgram udp wait")
        for name in NAMES
        for kind in ("stream tcp", "dgram udp")
    ]
    (folder / "inetd.conf").write_text("".join(lines))
    return str(folder / "inetd.conf")


@contextlib.contextmanager
def _peer(folder: Path, package: str, program: str, *arguments: str) -> Iterator[int]:
    root = debian(package)
    environment = [f"{name}={value}" for name, value in libraries(root).items()]
    command = [*apart(()), "env", *environment, str(root / program), *arguments]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            _await(process.pid)
            yield process.pid
        finally:
            process.kill()


def _await(pid: int) -> None:
    """Wait until something listens at the port of the time service."""
    probe = [*enter(pid), "python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 37), 1)"]
    for _ in range(100):
        time.sleep(0.1)
        if subprocess.run(probe, capture_output=True).returncode == 0:
            return
    raise MissingError("it did not start")


SERVERS = {
    "xinetd": xinetd,
    "openbsd-inetd": openbsd_inetd,
    "inetutils-inetd": inetutils_inetd,
    "multid": multid,
}


def largest_factor(answers: dict[str, int]) -> float:
    """Return the most octets out for each octet in, IP and UDP headers counted."""
    return max(((answer + 28) / (int(size) + 28) for size, answer in answers.items()), default=0.0)


def measured(server: int, client: int) -> dict[str, Any]:
    """Return what a server does, by the names of the rows, asked from a namespace beside its own."""
    row: dict[str, Any] = {}
    for name in ("echo", "daytime", "time", "chargen"):
        asked = (PEER, (HOST, NAMES[name]), 30, 0, "x" * 40)
        row[f"{name}: answered of 30 datagrams in sequence"] = call(client, "answers", *asked)
        time.sleep(3)
    row["echo: datagrams whole and the same"] = call(client, "octets_of_echo", PEER, (HOST, 7), LENGTHS)
    row["echo: from 127.0.0.1"] = call(server, "octets_of_echo", "127.0.0.1", ("127.0.0.1", 7), [8]) == [8]
    row["echo: from the address that was asked"] = call(client, "octets_of_echo", PEER, (OTHER, 7), [8]) == [8]
    row["time: octets over TCP"] = len(bytes.fromhex(call(client, "stream", (HOST, 37), "", 100)))
    row["time: octets over UDP"] = call(client, "sizes", PEER, (HOST, 37), [40]).get("40")
    row["daytime: its line"] = bytes.fromhex(call(client, "stream", (HOST, 13), "", 100)).decode().strip()
    ring = bytes.fromhex(call(client, "stream", (HOST, 19), "", 95 * 74 * 2))
    row["chargen: the ring of 95 characters"] = is_ring(ring)
    row["echo: octets back of 1 MiB, after half-close"] = call(client, "echoed", (HOST, 7), 1 << 20)
    lengths = [0, 1, 8, 40, 74, 512, 1024, 1472]
    answers = []
    for name in ("chargen", "daytime", "time"):
        time.sleep(1)
        answers.append(call(client, "sizes", PEER, (HOST, NAMES[name]), lengths))
    row["largest answer for each octet asked, by IP octets"] = round(max(map(largest_factor, answers)), 2)
    row["datagrams in 0.5 s after one forged, echo to itself"] = call(server, "echo_rate", HOST, 7, 0.5)
    row["datagrams in 0.5 s after one forged, worst of all ordered pairs"] = call(
        server, "worst_pair", HOST, list(NAMES.values()), 0.5
    )
    return row


def is_ring(text: bytes) -> bool:
    """Whether lines of 72 characters go through all the printable ones, wherever they begin."""
    lines = text.split(b"\r\n")[:-1]
    endless = bytes(range(0x20, 0x7F)) * 3
    start = endless.index(lines[0][:1])
    return len(lines) >= 95 and all(line == endless[(start + n) % 95 :][:72] for n, line in enumerate(lines))


RIGHT: dict[str, Any] = {
    "datagrams in 0.5 s after one forged, worst of all ordered pairs": lambda value: value <= 1,
    "datagrams in 0.5 s after one forged, echo to itself": lambda value: value <= 1,
    "largest answer for each octet asked, by IP octets": lambda value: value <= 1.2,
    "echo: datagrams whole and the same": lambda value: value == LENGTHS,
    "time: octets over TCP": lambda value: value == 4,
    "time: octets over UDP": lambda value: value == 4,
    "daytime: its line": lambda value: re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", value),
    "echo: octets back of 1 MiB, after half-close": lambda value: value == 1 << 20,
}
"""What is right, where it is not `True` or all of 30."""


def is_right(name: str, value: Any) -> bool:
    if name in RIGHT:
        return bool(RIGHT[name](value))
    return value == (30 if "of 30" in name else True)


def table() -> dict[str, dict[str, Any]]:
    """Return the rows of each server that can be had."""
    rows = {}
    for name, server in SERVERS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                with server(Path(folder)) as pid, beside(pid) as client:
                    rows[name] = measured(pid, client)
            except MissingError as error:
                sys.stderr.write(f"{name}: {error}\n")
    return rows


def main() -> None:
    rows = table()
    for row in rows["multid"]:
        sys.stdout.write(f"{row}\n")
        for server, values in rows.items():
            mark = " " if is_right(row, values[row]) else "-"
            sys.stdout.write(f"  {mark} {server:16} {values[row]}\n")


if __name__ == "__main__":
    main()
