"""Paths that depend on who sent a line and when, confined to the folder that the operator wrote. Pure.

A template may hold `{service}`, `{peer}` (the address without its port), `{host}` (what the line calls its host, else
the address) and strftime fields, in UTC. The folder before the first of them is the template's root: no value can lead
out of it, and nothing below it is followed through a symbolic link.
"""

import re
import time
from pathlib import PurePosixPath

_FIELD = re.compile(r"\{([a-z]*)\}|%(.)")
_FIELDS = {"service", "peer", "host"}
_STRFTIME = set("YmdHMSjUGVuwyBbAa%")
_UNSAFE = re.compile(r"[^A-Za-z0-9._:%@+=-]")
_LONGEST_VALUE = 128
_PUT_AWAY = re.compile(r"(?:-\d{8}T\d{6}\.\d{3}Z(?:\.gz|\.zst)?(?:\.tmp)?|\.next)\Z", re.ASCII)
"""What ends the names of files that were put away, or are to be next."""


class PathTemplate:
    """A path with fields; ValueError names a field that there is not."""

    def __init__(self, text: str) -> None:
        fields = list(_FIELD.finditer(text))
        for match in fields:
            name, letter = match.groups()
            if letter is not None and letter not in _STRFTIME:
                raise ValueError(f"%{letter} is no field of a path; it may have %{' %'.join(sorted(_STRFTIME))}")
            if letter is None and name not in _FIELDS:
                raise ValueError(f"{{{name}}} is no field of a path; it may have {{service}}, {{peer}} and {{host}}")
        self.text = text
        literal = text[: fields[0].start()] if fields else text
        self.root = str(PurePosixPath(literal + "x").parent)
        names = {match[1] for match in fields}
        self.is_fixed = not names - {"service"} and not any(match[2] for match in fields)
        self.has_host = "host" in names
        below = PurePosixPath(text).relative_to(self.root).parts
        if text.endswith("/") or not below or ".." in below:
            raise ValueError(f"a path names a file below its folder, not {text!r}")

    def expand(self, service: str, peer: str, host: str, when: float) -> str:
        """Return the path for a line."""
        values = {"service": service, "peer": peer, "host": host}
        moment = time.gmtime(when)

        def value(match: re.Match[str]) -> str:
            return component(values[match[1]]) if match[1] else time.strftime(match[0], moment)

        return _FIELD.sub(value, self.text)


def component(value: str) -> str:
    """Return a value as part of a file name: no slash, no leading dot, nothing that a shell or terminal minds.

    Nor does it pass for a file of another host that was put away.
    """
    safe = _UNSAFE.sub("_", value[:_LONGEST_VALUE])
    if _PUT_AWAY.search(safe):
        safe += "_"
    return "_" + safe[1:] if safe.startswith(".") or not safe else safe
