"""A machine of the test's own: a real systemd with the Debian package of multid in it."""

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

BOOT = Path(__file__).parent / "boot.sh"


class Machine:
    """A booted systemd; `run` runs a command in it, `clients` one that shares its network alone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", BOOT, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "systemd did not boot"
        self.init = int(line)
        self.root = Path(f"/proc/{self.init}/root")

    def run(self, *command: str, check: bool = True, within: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine; what it said is in the result, and in the error where `check` finds one."""
        namespaces = ["nsenter", "-t", str(self.init), "-m", "-p", "-u", "-i", "-n", "-C"]
        done = subprocess.run([*namespaces, *command], capture_output=True, text=True, timeout=within)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def clients(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of this machine's, which meets the other machine's network."""
        return subprocess.Popen(
            ["nsenter", "-t", str(self.init), "-n", *command], stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def put(self, source: Path, path: str) -> None:
        """Copy a file into the machine."""
        shutil.copy(source, self.root / path.lstrip("/"))

    def write(self, path: str, text: str) -> None:
        """Write a file in the machine."""
        (self.root / path.lstrip("/")).write_text(text)

    def read(self, path: str) -> str:
        """Read a file of the machine."""
        return (self.root / path.lstrip("/")).read_text()

    def journal(self) -> str:
        """Return what the journal holds of multid."""
        return self.run("journalctl", "-u", "multid", "--no-pager", "-o", "cat").stdout

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.run("systemctl", "show", "multid", "-p", name, "--value").stdout.strip()

    def until(self, condition: Callable[[], object], within: float = 40) -> None:
        """Wait until a condition of the machine holds."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, self.journal()[-3000:]
            time.sleep(0.1)

    def power_off(self) -> None:
        """End it; nothing of it is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
