"""Each campaign finds a build that is broken on purpose: so it is known to be able to fail (`make broken`)."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILDS = [
    ("rows_without_fsync", "test_power_loss.py::test_mail[good]"),
    ("files_without_fsync", "test_power_loss.py::test_mail[good]"),
    ("names_without_fsync", "test_power_loss.py::test_mail[good]"),
    ("acknowledged_before_commit", "test_power_loss.py::test_mail[good]"),
    ("lines_written_blindly", "test_disk_full.py::test_lines"),
    ("contents_written_blindly", "test_disk_full.py::test_mail"),
    ("lines_written_blindly", "test_broken_disk.py::test_lines[EROFS]"),
    ("contents_written_blindly", "test_broken_disk.py::test_mail[EIO]"),
    ("no_budget_of_descriptors", "test_descriptors.py::test_few_descriptors"),
    ("timers_by_the_wall_clock", "test_clock.py::test_steps"),
    ("answers_nobody_asked_for", "test_hostile_hops.py::test_hostile_hops"),
    ("connections_dropped_on_reload", "test_reload_storm.py::test_reloads"),
    ("descriptor_lost_on_reload", "test_reload_storm.py::test_reloads"),
    ("no_budget_of_a_turn", "test_floods.py::test_datagrams"),
    ("a_batch_lost_now_and_then", "test_floods.py::test_lines"),
    ("no_stall_timeout", "test_crowds.py::test_a_hundred_that_never_read[chargen]"),
]


@pytest.mark.broken
@pytest.mark.parametrize(("build", "campaign"), BUILDS)
def test_is_found(build: str, campaign: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--campaign=short", f"--broken={build}", f"{HERE}/{campaign}"]
    result = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=300)
    print(result.stdout)
    assert result.returncode == 1, "the campaign has not found it"
    assert "AssertionError" in result.stdout or "assert" in result.stdout
