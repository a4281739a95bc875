"""Where the configuration is looked for, and the daemon that runs with it. Needs neither pydantic nor Twisted.

The commands that talk to the daemon start here, so that they answer at once: of the file they need no more than the
place of its admin socket, and whether the rest of it is good is not their business.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        if _is_there(cwd / name):
            return cwd / name
    message = f"no configuration: there is no {', '.join(SEARCHED[:-1])} here, and no {SEARCHED[-1]}"
    raise ConfigErrors([Problem(Place("multid"), message, f"name one with -c FILE or {VARIABLE}")])


def _is_there(path: Path) -> bool:
    """Whether there is a file; one that we are not let near is taken to be, so that this is what is said of it."""
    try:
        return path.is_file()
    except PermissionError:
        return True


def admin_socket(path: Path) -> Path:
    """Return the admin socket of the daemon that runs with a configuration; ConfigErrors where it cannot be read.

    A mistake elsewhere in the file locks nobody out: where it is no YAML, the two keys are read by themselves.
    """
    try:
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise ConfigErrors([Problem(Place(str(path)), f"cannot be read: {error.strerror}")]) from None
    top = _parsed(text)
    if not isinstance(top, dict):
        top = {key: (_parsed(_block(text, key)) or {}).get(key) for key in ("admin", "state_dir")}
    socket = _text(top, "admin", "socket")
    return Path(socket or f"{_text(top, 'state_dir') or 'var'}/admin.sock")


def mail_spool(path: Path) -> Path:
    """Return the spool of the first smtp service of a configuration; ConfigErrors where there is none to be found."""
    try:
        top = _parsed(path.read_text("utf-8", "replace"))
    except OSError as error:
        raise ConfigErrors([Problem(Place(str(path)), f"cannot be read: {error.strerror}")]) from None
    services = top.get("services") if isinstance(top, dict) else None
    for name, keys in services.items() if isinstance(services, dict) else ():
        if (_text(keys, "type") or name) == "smtp" and _text(keys, "enabled") != "false":
            return Path(_text(keys, "queue", "path") or f"{_text(top, 'state_dir') or 'var'}/mail")
    raise ConfigErrors([Problem(Place(str(path)), "has no smtp service")])


def _parsed(text: str) -> Any:
    """Return a YAML document with every scalar as text, None where it is none."""
    import yaml  # noqa: PLC0415 - a command that is told the socket needs none

    try:
        return yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506 - makes texts only
    except yaml.YAMLError:
        return None


def _block(text: str, key: str) -> str:
    """Return the lines of one key at the top of a file, down to the next key."""
    found = re.search(rf"^{key}[ \t]*:.*\n?(?:[ \t#\r\n].*\n?)*", text, re.MULTILINE)
    return found[0] if found else ""


def _text(data: Any, *keys: str) -> str | None:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, str) else None
