"""Where the configuration is looked for. Needs neither pydantic nor Twisted: every command starts here."""

from collections.abc import Mapping
from pathlib import Path

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
