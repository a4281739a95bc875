"""A relay as it is when nothing is said about who may use it, and somebody who comes from outside."""

import contextlib
import re
import sqlite3
from pathlib import Path

from tests.namespace import HOST, PEER, apart, beside, run
from tests.process import Multid
from tests.programs import need

FORMS = 16
"""In how many ways nmap's script asks to relay."""


def test_no_form_of_an_address_makes_an_open_relay(tmp_path: Path) -> None:
    """Each is refused for that reason, the peer is named by its outside address, and the queue stays empty."""
    nmap = need("nmap")
    smtp = {"listen": "tcp:25", "hostname": "mail.example.org", "mode": "hold", "limits": {"errors": 100}}
    smtp["queue"] = {"path": "queue"}
    with Multid(tmp_path, {"services": {"smtp": smtp}}, prefix=apart(())) as multid:
        multid.port("smtp")
        with beside(multid.process.pid) as client:
            arguments = f"smtp-open-relay.domain=victim.test,smtp-open-relay.ip={HOST}"
            command = ["-Pn", "-n", "-p", "25", "--script", "+smtp-open-relay", "--script-args", arguments]
            said = run(client, nmap, "--script-trace", *command, HOST).stdout
        assert "Server doesn't seem to be an open relay, all tests failed" in said, said
        replies = re.findall(r"READ SUCCESS .*\): (55\d \S+|501 \S+)", said)
        assert len(replies) == FORMS
        assert set(replies) == {"550 5.7.1", "501 5.1.3"}
        multid.wait_for(re.escape(f"{PEER}:") + r"\d+: RCPT TO:<relaytest@victim\.test>: 550 5\.7\.1 Relaying denied")
        multid.stop()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue" / "spool.db")) as queue:
        assert queue.execute("SELECT count(*) FROM mail").fetchone() == (0,)
