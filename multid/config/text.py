"""Texts of the file on their way to the wire: their character set, the end of their lines. Pure but for the types."""

import codecs
from typing import Annotated, Literal

from pydantic import AfterValidator

EOL = {"crlf": "\r\n", "lf": "\n", "none": ""}

Eol = Literal["crlf", "lf", "none"]


def _known(name: str) -> str:
    try:
        codecs.getincrementaldecoder(name)()
        "".encode(name)
    except (LookupError, UnicodeError, TypeError):
        raise ValueError(f"a character set such as utf-8, gb18030 or latin-1, not {name!r}") from None
    return name


Charset = Annotated[str, AfterValidator(_known)]
"""The name of a character set, as Python knows it."""
