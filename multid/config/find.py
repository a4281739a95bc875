"""Where the configuration is looked for, and the daemon that runs with it. Needs neither pydantic nor Twisted.

The commands that talk to the daemon start here, so that they answer at once: of the file they need no more than the
place of its admin socket, and whether the rest of it is good is not their business.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multid.config.document import read_document
from multid.config.problems import ConfigErrors, Place, Problem

VARIABLE = "MULTID_CONFIG"
SEARCHED = ("multid.yaml", "config/multid.yaml", "/etc/multid/multid.yaml")


def find_config(explicit: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """Return the file that was named, or the first that is there; ConfigErrors where none is.

    A file named on the command line or by `MULTID_CONFIG` is the answer whether it is there or not.
    """
    named = explicit or env.get(VARIABLE)
    if named:
        return cwd / named
    for name in SEARCHED:
        if (cwd / name).is_file():
            return cwd / name
    message = f"no configuration: there is no {', '.join(SEARCHED[:-1])} here, and no {SEARCHED[-1]}"
    raise ConfigErrors([Problem(Place("multid"), message, f"name one with -c FILE or {VARIABLE}")])


def admin_socket(path: Path) -> Path:
    """Return the admin socket of the daemon that runs with a configuration; ConfigErrors where it cannot be read."""
    document = read_document(path)
    if document.data is None and document.problems:
        raise ConfigErrors(document.problems)
    socket = _text(document.data, "admin", "socket")
    return Path(socket or f"{_text(document.data, 'state_dir') or 'var'}/admin.sock")


def _text(data: Any, *keys: str) -> str | None:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else None
