"""The seconds around 2036-02-07 06:28:16 UTC, when those since 1900 no longer fit into 32 bits."""

import socket
import time
from itertools import pairwise
from pathlib import Path

from tests.campaigns.preload import Faults, preload
from tests.interop.test_small_clients import SYNCHRONISED
from tests.process import Multid

WRAP = 1 << 32
ERA_1 = 2085978496
"""When it begins, in seconds since 1970."""


def test_the_time_goes_on_into_the_next_era(tmp_path: Path) -> None:
    """Time (RFC 868) and NTP tell the same, second by second, without a jump; daytime tells the year."""
    (tmp_path / "sitecustomize.py").write_text(SYNCHRONISED)
    faults = Faults(tmp_path / "faults", tmp_path / "none")
    services = {
        "day": {"type": "daytime", "listen": "tcp:0:interface=127.0.0.1", "zone": "utc"},
        "time": {"listen": "tcp:0:interface=127.0.0.1"},
        "ntp": {"listen": "udp:0:interface=127.0.0.1"},
    }
    prefix = (*preload(faults), "env", f"PYTHONPATH={tmp_path}")
    with Multid(tmp_path, {"services": services}, prefix=prefix) as multid:
        ports = {name: multid.port(name) for name in services}
        faults.step_clock(ERA_1 - 2 - time.time())
        seen = [asked(ports["time"])]
        deadline = time.monotonic() + 20
        while not 1 <= seen[-1] < 10:
            assert time.monotonic() < deadline
            time.sleep(0.1)
            seen.append(asked(ports["time"]))
            assert (asked_by_ntp(ports["ntp"]) - seen[-1]) % WRAP <= 1
        assert seen[0] > WRAP - 10
        assert all((later - earlier) % WRAP <= 5 for earlier, later in pairwise(seen))
        assert said(ports["day"]).startswith(b"Thu Feb  7 06:28:")
        assert said(ports["day"]).endswith(b" 2036\r\n")
        multid.stop()
        assert "Traceback" not in multid.log


def said(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        return b"".join(iter(lambda: client.recv(100), b""))


def asked(port: int) -> int:
    octets = said(port)
    assert len(octets) == 4
    return int.from_bytes(octets, "big")


def asked_by_ntp(port: int) -> int:
    """Return the seconds of a server's transmit timestamp."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        client.send(b"\x23" + bytes(47))
        reply = client.recv(100)
    assert (len(reply), reply[0], reply[1]) == (48, 0x24, 10)
    return int.from_bytes(reply[40:44], "big")
