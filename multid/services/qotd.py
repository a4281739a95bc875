"""Qotd: one text to whoever asks, then the end (RFC 865); a welcome banner is the same with a text of one's own.

The text is written in the file, or taken by chance from a file of many in the form of fortune(6): a line of one `%`
stands between two. A quotation is shorter than 512 characters, as the RFC has it; longer ones of a file are left out.
"""

import random
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from twisted.logger import Logger

from multid.config.files import read_octets
from multid.config.model import FilePath, ServiceConfig
from multid.config.text import EOL, Charset, Eol
from multid.net.oneshot import OneShotService
from multid.service import Change, ServiceError, ServiceKind

LONGEST = 511


class QotdConfig(ServiceConfig):
    """What is said, and how it is written."""

    text: str | None = Field(default=None, max_length=LONGEST, description="the text; or else `file`")
    file: FilePath | None = Field(default=None, description="file of texts, with a line of one % between two")
    charset: Charset = Field(default="utf-8", description="character set of the file and of what is sent")
    eol: Eol = Field(default="crlf", description="end of each line; none: lf between lines, nothing after the last")

    @model_validator(mode="after")
    def _one_source(self) -> "QotdConfig":
        if (self.text is None) == (self.file is None):
            raise ValueError("a quotation is exactly one of 'text' or 'file'")
        if self.text is not None:
            try:
                self.text.encode(self.charset)
            except UnicodeEncodeError as error:
                raise ValueError(f"{self.charset} has no {error.object[error.start]!r}") from None
        return self


class QotdService(OneShotService):
    """Quotations over TCP and UDP."""

    log = Logger()
    _answers: tuple[bytes, ...] = ()

    async def open(self, config: QotdConfig) -> Change:
        """NetworkService API: read the quotations."""
        texts = [config.text] if config.file is None else _read(config.file, config.charset)
        short = [text for text in texts if text is not None and len(text) <= LONGEST]
        if not short:
            raise ServiceError(f"{config.file} holds no quotation shorter than 512 characters")
        if len(short) < len(texts):
            self.log.warn(
                "{service}: {count} quotations are longer than 511 characters and left out",
                service=self.name,
                count=len(texts) - len(short),
            )
        answers = tuple(encode(text, config.charset, config.eol) for text in short)

        def commit() -> None:
            self._answers = answers

        return Change(commit, lambda: None)

    def answer(self) -> bytes:
        """OneShotService API."""
        return random.choice(self._answers)  # noqa: S311 (nobody is harmed who guesses the next quotation)

    def details(self) -> dict[str, Any]:
        """NetworkService API."""
        return {"quotations": len(self._answers)}


def encode(text: str, charset: str, eol: Eol) -> bytes:
    """Return a text as it is sent, whatever line ends it has."""
    lines = text.splitlines() or [""]
    end = EOL[eol] or "\n"
    return (end.join(lines) + EOL[eol]).encode(charset)


def _read(path: Path, charset: str) -> list[str]:
    try:
        content = read_octets(path).decode(charset)
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeError as error:
        raise ServiceError(f"{path} is not {charset}: {error}") from None
    texts = "\n".join(content.splitlines()).split("\n%\n")
    texts[0] = texts[0].removeprefix("%\n")
    texts[-1] = texts[-1].removesuffix("\n%")
    return [text for text in texts if text.strip("\n %")]


KIND = ServiceKind("qotd", "one text to whoever asks (RFC 865)", QotdConfig, QotdService)
