"""The machine a figure was measured on, and the two cores of it that are used."""

import os
import platform
import resource
import socket
from datetime import UTC, datetime
from pathlib import Path

DESCRIPTORS = 65536


def cores() -> tuple[int, int]:
    """The core of the server and the core of the load: the first and the last this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def raise_descriptor_limit() -> int:
    """As many descriptors as the hard limit and good sense allow; children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def busy_seconds(core: int) -> float:
    """Seconds this core has worked since it was started, for whomever."""
    user, nice, system, _idle, _waiting, interrupts, soft, *_ = map(
        int, _field("/proc/stat", f"cpu{core}", " ").split()
    )
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of 127.0.0.1 that is free now for both TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def describe() -> dict[str, object]:
    server, load = cores()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _field("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count(),
        "server core": server,
        "load core": load,
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB",
        "system": _field("/etc/os-release", "PRETTY_NAME", "="),
        "kernel": platform.release().partition("-")[0],
        "python": platform.python_version(),
    }


def _field(path: str, name: str, separator: str = ":") -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(separator)
        if key.strip() == name:
            return value.strip().strip('"')
    return ""
