"""SIGKILL at any moment under load, again and again: each time the log is a clean prefix, and the next start writes on.

The files rotate and are compressed all the while, so a kill also falls between a rename and the next. What the kernel
has taken it keeps, so nothing that was written is missing; a record is torn only where a kill cut the write of it.
"""

import time

import pytest

from tests.campaigns.lines import LineSenders, account, logs, text
from tests.process import Multid

pytestmark = pytest.mark.campaign
SENDERS = 4


def test_lines_survive_kills(campaign, tmp_path) -> None:
    kills = campaign.times(8, 200)
    rotate = {"size": "2MiB", "keep": 1_000_000, "compress": "gzip"}
    output = [{"file": "lines.log", "rotate": rotate, "sync": "100ms"}]
    config = {"services": {"logger": {"listen": "tcp:0:interface=127.0.0.1", "output": output}}}
    sent: dict[int, int] = {}
    for kill in range(kills):
        with Multid(tmp_path, config) as multid:
            port = multid.port("logger")
            with LineSenders(
                lambda port=port: port, SENDERS, seed=campaign.seed + kill, first=kill * SENDERS
            ) as senders:
                time.sleep(campaign.random.uniform(0.02, 0.5))
                multid.process.kill()
            sent |= senders.sent
        assert "Traceback" not in multid.log
    with Multid(tmp_path, config) as multid:
        port = multid.port("logger")
        with LineSenders(lambda: port, SENDERS, seed=campaign.seed, per_second=100, first=kills * SENDERS) as senders:
            time.sleep(0.3)
        last = senders
        multid.stop()
    found = account(tmp_path)
    campaign.ledger.update(
        {
            "kills": kills,
            "lines sent": sum(sent.values()) + last.total,
            "lines in the files": found.total,
            "files": len(logs(tmp_path)),
            "lines missing in between": found.missing,
            "lines doubled": found.doubled,
            "records torn by a kill": len(found.torn),
        }
    )
    assert (found.missing, found.doubled) == (0, 0)
    assert {sender: found.reached[sender] for sender in last.sent} == last.sent
    assert all(found.reached.get(sender, 0) <= number for sender, number in sent.items())
    assert len(found.torn) <= kills
    assert all(_is_beginning(record) for record in found.torn)
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def _is_beginning(record: bytes) -> bool:
    """Whether a record is the beginning of one that was sent."""
    line = record.split(b" ", 3)[3:]
    name, blank, _ = (line or [b""])[0].partition(b" ")
    if not blank:
        return True
    sender, _, number = name.partition(b":")
    return text(int(sender), int(number)).startswith(line[0])
