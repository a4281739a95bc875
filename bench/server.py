"""One server under measurement: started on its own core in a fresh folder, watched, and stopped by its process id."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

READY, GRACE = 30.0, 5.0
PAGE = os.sysconf("SC_PAGE_SIZE")


class RunError(Exception):
    """The server or the load did not do its work in this run; the text says what was seen."""


@dataclass(frozen=True)
class Place:
    """What a server is given: an empty folder, the port to listen on, and the port mail is to be relayed to."""

    folder: Path
    port: int
    next_hop: int


@dataclass(frozen=True)
class Command:
    """How a server is started.

    `apart`: in a network namespace of its own with `host` as an address, because its port or its peers cannot be
    chosen. `ports`: all that answer once it has started, when there are more than the one of the place.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int | None = None
    apart: bool = False
    ports: tuple[int, ...] = ()


@dataclass(frozen=True)
class Server:
    """A started server: where it answers, what it costs, and what to write before a command that is to reach it."""

    process: subprocess.Popen[bytes]
    place: Place
    command: Command
    begun: float
    ready_at: float = 0.0

    @property
    def port(self) -> int:
        return self.command.port or self.place.port

    @property
    def enter(self) -> list[str]:
        if not self.command.apart:
            return []
        return [
            "nsenter",
            "--target",
            str(self.process.pid),
            "--net",
            *([] if os.geteuid() == 0 else ["--user", "-S", "0"]),
        ]

    def resident(self) -> int:
        """Octets of resident memory, of the process and its descendants."""
        pages = [_read(pid, "statm").split() for pid in descendants(self.process.pid)]
        return sum(int(each[1]) * PAGE for each in pages if each)

    def last_line(self) -> str:
        """What it said last."""
        said = (self.place.folder / "output").read_text(errors="replace").splitlines()
        return next((line for line in reversed(said) if line.strip()), "it said nothing")


@contextmanager
def started(command: Command, place: Place, core: int, ready: Callable[[Server], bool]) -> Iterator[Server]:
    """Starts `command` on `core` and waits until `ready`; afterwards the process and its children are gone."""
    argv = ["taskset", "--cpu-list", str(core), *_apart(command), *command.argv]
    begun = time.monotonic()
    with (place.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            argv,
            cwd=place.folder,
            env=os.environ | command.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(process, place, command, begun)
    try:
        _wait(server, ready)
        yield replace(server, ready_at=time.monotonic())
    finally:
        _stop(process)


def descendants(pid: int) -> list[int]:
    """The process and all below it, oldest first."""
    found = [pid]
    for parent in found:
        found += [int(child) for child in _children(parent)]
    return found


def _apart(command: Command) -> list[str]:
    if not command.apart:
        return []
    become = [] if os.geteuid() == 0 else ["--map-root-user"]
    addresses = f"ip link set lo up && ip address add {command.host}/32 dev lo"
    return ["unshare", "--net", *become, "sh", "-c", f'{addresses} && exec "$@"', "sh"]


def _wait(server: Server, ready: Callable[[Server], bool]) -> None:
    while not ready(server):
        if server.process.poll() is not None:
            raise RunError(f"ended with {server.process.returncode}: {server.last_line()}")
        if time.monotonic() - server.begun > READY:
            raise RunError(f"not ready after {READY:.0f} s: {server.last_line()}")
        time.sleep(0.001)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """TERM to the main process; what is left of the family after `GRACE` seconds is killed, one by one."""
    family = descendants(process.pid)
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + GRACE
    while (left := [pid for pid in family if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def _alive(pid: int) -> bool:
    state = _read(pid, "stat").rpartition(")")[2].split()
    return bool(state) and state[0] != "Z"


def _children(pid: int) -> list[str]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [child for thread in threads for child in _read(pid, f"task/{thread}/children").split()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""
