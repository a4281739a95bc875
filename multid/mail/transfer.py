r"""Content on its way out: dots doubled at every line's start, ended by a line of one dot (RFC 5321 4.5.2).

`DotStuffer` holds at any chunking: what it returns for the chunks of a content, joined, is what it would have returned
for the content whole, and nowhere in it is a line of a lone dot before the end.
"""

import os
from typing import Any

from twisted.internet.threads import deferToThreadPool

BLOCK = 256 * 1024
"""Octets of a file that are read at a time."""


class DotStuffer:
    """Doubles the dots of one content, whose line ends are CRLF."""

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def feed(self, chunk: bytes) -> bytes:
        """Return a chunk as it is sent."""
        # Two octets are enough to know whether a dot begins a line, and too few to hold such a dot themselves.
        window = self._tail + chunk
        self._tail = window[-2:]
        return window.replace(b"\r\n.", b"\r\n..")[2:]

    def end(self) -> bytes:
        """Return what ends the content; a last line without its end gets it."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


def stuffed(content: bytes) -> bytes:
    """Return a whole content as it is sent, its end included."""
    stuffer = DotStuffer()
    return stuffer.feed(content) + stuffer.end()


class FileBlocks:
    """The blocks of a file, read outside the reactor's thread; an asynchronous context that opens and closes it."""

    def __init__(self, reactor: Any, path: str) -> None:
        self._reactor = reactor
        self._path = path
        self._descriptor = -1

    async def __aenter__(self) -> "FileBlocks":
        self._descriptor = await self._in_thread(self._open)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._in_thread(os.close, self._descriptor)

    async def read(self) -> bytes:
        """Return the next block; empty at the end."""
        return bytes(await self._in_thread(os.read, self._descriptor, BLOCK))

    def _open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)
