"""logrotate beside the logger: every line is in exactly one file, whichever way it rotates."""

import subprocess
import time

import pytest

from tests.campaigns.lines import LineSenders, account
from tests.process import Multid
from tests.programs import need

WAYS = {
    "create and USR1": "create 0600\npostrotate\n kill -USR1 {pid}\nendscript",
    "create, noticed": "create 0600",
    "nocreate, noticed": "nocreate",
    "copytruncate": "copytruncate",
}


@pytest.mark.campaign
@pytest.mark.parametrize("way", WAYS)
def test_every_line_is_in_exactly_one_file(tmp_path, way):
    logs = tmp_path / "logs"
    output = [{"file": str(logs / "lines.log")}]
    config = {"services": {"logger": {"listen": "tcp:0:interface=127.0.0.1", "output": output}}}
    rules = tmp_path / "rules"
    with Multid(tmp_path, config) as multid:
        port = multid.port("logger")
        rules.write_text(
            f"{logs}/lines.log {{\n rotate 100\n nocompress\n missingok\n"
            f" {WAYS[way].format(pid=multid.process.pid)}\n}}\n"
        )
        with LineSenders(lambda: port, 3, seed=1, per_second=300) as senders:
            for _ in range(3):
                time.sleep(1.3)  # to be noticed takes up to a second
                command = [need("logrotate"), "--force", "--state", str(tmp_path / "state"), str(rules)]
                subprocess.run(command, check=True, capture_output=True, timeout=20)
            time.sleep(1.2)
        multid.stop()
    order = sorted(logs.iterdir(), key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 1)
    assert len(order) == 4
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "lines.log").write_bytes(b"".join(path.read_bytes() for path in order))
    found = account(whole)
    assert b"\0" not in (whole / "lines.log").read_bytes()
    assert (found.doubled, found.torn) == (0, [])
    if way == "copytruncate":  # what is appended between its copy and its truncate is gone: no logger can know of it
        assert found.missing <= found.total // 10
    else:
        assert (found.reached, found.missing) == (senders.sent, 0)
