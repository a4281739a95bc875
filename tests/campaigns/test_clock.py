"""The wall clock is stepped by a day, there and back: no timeout fires or stalls, and a file is put away once."""

import itertools
import socket
import time

import pytest

from tests.campaigns.campaign import happens, until
from tests.campaigns.lines import LineSenders, account, logs
from tests.campaigns.mail import NextHop, Senders
from tests.campaigns.preload import Faults, preload
from tests.campaigns.watch import echoes, processor_seconds
from tests.process import Multid

pytestmark = pytest.mark.campaign
LOOPBACK = "tcp:0:interface=127.0.0.1"
DAY = 86400.0
IDLE = 2.0


def test_steps(campaign, tmp_path) -> None:
    steps = campaign.times(4, 60)
    faults = Faults(tmp_path / "faults", tmp_path / "none")
    numbers = itertools.count()
    with NextHop() as hop:
        hop.answer = b"450 4.2.0 Not now\r\n"
        output = {"file": "logs/lines.log", "rotate": {"every": "day", "keep": 1000}}
        services = {
            "echo": {"listen": LOOPBACK},
            "brief": {"type": "echo", "listen": LOOPBACK, "timeouts": {"idle": f"{IDLE:g}s"}},
            "logger": {"listen": LOOPBACK, "output": [output]},
            "smtp": {
                "listen": LOOPBACK,
                "hostname": "relay.example",
                "routes": [{"via": hop.url, "tls": "none"}],
                "retry": {"schedule": ["1s"], "warn": "3d", "expire": "4d"},
            },
        }
        with Multid(tmp_path, {"services": services}, prefix=preload(faults)) as multid:
            ports = {name: multid.port(name) for name in services}
            old = [multid.connect("echo") for _ in range(20)]
            lines = LineSenders(lambda: ports["logger"], 3, seed=campaign.seed, per_second=50)
            senders = Senders(lambda: ports["smtp"], 2, seed=campaign.seed, numbers=numbers, every=0.05)
            until(lambda: lines.total > 30, "lines")
            offset, latest, closings, spent = 0.0, 0.0, [], processor_seconds(multid)
            began = time.monotonic()
            for _ in range(steps):
                with socket.create_connection(("127.0.0.1", ports["brief"])) as brief:
                    assert echoes(brief)
                    spoke = time.monotonic()
                    time.sleep(campaign.random.uniform(0, IDLE / 2))
                    offset = campaign.random.choice([step for step in (-DAY, 0.0, DAY) if step != offset])
                    days, latest = max(0.0, offset - latest) / DAY, max(latest, offset)
                    campaign.ledger["days that were new"] += int(days)
                    faults.step_clock(offset)
                    brief.settimeout(3 * IDLE)
                    assert brief.recv(1) == b""
                    closings.append(time.monotonic() - spoke)
                campaign.ledger["connections lost"] += sum(not echoes(client) for client in old)
            busy = (processor_seconds(multid) - spent) / (time.monotonic() - began)
            senders.stop()
            lines.stop()
            hop.answer = b"250 2.0.0 Ok\r\n"
            arrived_in_time = happens(lambda: senders.acknowledged <= set(hop.arrived), within=60)
            log = multid.log
            for client in old:
                client.close()
            multid.stop()
    found = account(tmp_path / "logs")
    campaign.ledger.update(
        {
            "steps": steps,
            "lines sent": lines.total,
            "lines in the files": found.total,
            "lines missing, doubled or torn": found.missing + found.doubled + len(found.torn),
            "files put away": len(logs(tmp_path / "logs")) - 1,
            "mails acknowledged": len(senders.acknowledged),
            "mails arrived": len(hop.arrived),
            "mails returned": len(hop.others),
            "seconds to an idle close, least": min(closings),
            "seconds to an idle close, most": max(closings),
            "processor, part of one": busy,
        }
    )
    assert campaign.ledger["connections lost"] == 0
    assert min(closings) >= IDLE - 0.1
    assert max(closings) <= IDLE + 1.5
    assert found.reached == lines.sent
    assert (found.missing, found.doubled, found.torn) == (0, 0, [])
    assert arrived_in_time
    assert hop.others == []
    assert "Traceback" not in log
