"""What `twistd multid` does before anything runs."""

import subprocess
import sys

PROGRAM = """
import gc, sys
from multid.tap import Options, makeService
assert not gc.isenabled()
options = Options()
options.parseOptions(["-c", sys.argv[1]])
hooks = []
class Reactor:
    def callWhenRunning(self, call): hooks.append(call)
    def callFromThread(self, call): raise NotImplementedError
makeService(options, Reactor())
for hook in hooks:
    hook()
print(gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


def test_the_collector_rests_until_the_daemon_runs_and_never_goes_through_what_was_made_before(tmp_path) -> None:
    """What was made at the start is there to stay: no later pause is for looking through it."""
    file = tmp_path / "multid.yaml"
    file.write_text("services: {echo: {listen: 'tcp:0:interface=127.0.0.1'}}\n")
    said = subprocess.run([sys.executable, "-c", PROGRAM, file], capture_output=True, text=True, timeout=30)
    assert said.stdout == "True True\n", said.stderr
