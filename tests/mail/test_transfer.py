"""Contents on their way out."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from multid.mail.transfer import BLOCK, DotStuffer, FileBlocks, stuffed
from tests.loop import Loop

CONTENT = b".\r\n..\r\na.\r\n.b\r\n\r\n.\r\n.\r\n\r\n..c\r\n.\r\nd"
STUFFED = b"..\r\n...\r\na.\r\n..b\r\n\r\n..\r\n..\r\n\r\n...c\r\n..\r\nd\r\n.\r\n"

pieces = st.lists(st.sampled_from([b".", b"\r\n", b"..", b"\r\n.", b"\r\n.\r\n", b"a", b"\r", b"\n", b""]))


def in_chunks(content: bytes, size: int) -> bytes:
    stuffer = DotStuffer()
    parts = [stuffer.feed(content[start : start + size]) for start in range(0, len(content), size)]
    return b"".join(parts) + stuffer.end()


@pytest.mark.parametrize("size", range(1, len(CONTENT) + 1))
def test_dots_are_doubled_at_every_chunk_size(size: int):
    assert in_chunks(CONTENT, size) == STUFFED


@pytest.mark.parametrize("split", range(len(CONTENT) + 1))
def test_dots_are_doubled_at_every_split(split: int):
    stuffer = DotStuffer()
    assert stuffer.feed(CONTENT[:split]) + stuffer.feed(CONTENT[split:]) + stuffer.end() == STUFFED


@given(pieces)
@example([b".\r\n"])
def test_there_is_one_end_and_what_is_taken_back_is_what_was_sent(parts: list[bytes]):
    content = b"".join(parts)
    stuffer = DotStuffer()
    wire = b"".join(stuffer.feed(part) for part in parts) + stuffer.end()
    assert wire == stuffed(content)
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3
    plain = (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:]
    assert plain == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")


def test_an_empty_content_is_only_its_end():
    assert stuffed(b"") == b".\r\n"


@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1])
def test_a_file_is_read_in_blocks(loop: Loop, tmp_path, size: int):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)

    async def read() -> list[bytes]:
        parts = []
        async with FileBlocks(loop, str(tmp_path / "file")) as blocks:
            while block := await blocks.read():
                parts.append(block)
        return parts

    parts = loop.result(read())
    assert b"".join(parts) == content
    assert all(len(part) <= BLOCK for part in parts)
