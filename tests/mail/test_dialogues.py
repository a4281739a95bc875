"""Wire dialogues, one file each: replies and mails are the same however the client's octets are split.

A file's first lines say in `#` what it shows. `= name word` is a setting. `> text` is a line of the client, `>> text`
are octets with Python's escapes and no line end, `~` is where the client waits for TLS. `< text` is a line of the
server, in which `*` stands for anything. `closed` is said where the server closes. `mail <sender> <recipient> ...` is
a mail that was taken, `| text` a line of its content,
`||` are octets of it.
"""

import random
import re
from pathlib import Path

import pytest

from tests.mail.conversation import Conversation, Mail, lint, settings_of

FILES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))


class Dialogue:
    """What a file says."""

    def __init__(self, text: str) -> None:
        self.segments = [b""]
        self.expected: list[str] = []
        self.mails: list[tuple[str, bytes]] = []
        self.words: dict[str, str] = {}
        self.is_closed = False
        for line in text.splitlines():
            self._read(line)

    def _read(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        match kind:
            case "#" | "":
                pass
            case "=":
                name, _, word = rest.partition(" ")
                self.words[name] = word
            case ">":
                self.segments[-1] += rest.encode() + b"\r\n"
            case ">>":
                self.segments[-1] += _octets(rest)
            case "~":
                self.segments.append(b"")
            case "<":
                self.expected.append(rest)
            case "closed":
                self.is_closed = True
            case "mail":
                self.mails.append((rest, b""))
            case "|":
                self._add(rest.encode() + b"\r\n")
            case "||":
                self._add(_octets(rest))
            case _:
                raise ValueError(line)

    def _add(self, data: bytes) -> None:
        addresses, content = self.mails[-1]
        self.mails[-1] = addresses, content + data

    def play(self, split: "Splitter") -> Conversation:
        settings, peer = settings_of(self.words)
        conversation = Conversation(settings, peer)
        for segment in self.segments:
            for piece in split(segment):
                conversation.feed(piece)
        return conversation


class Splitter:
    """Ways to split what a client sends."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name = name
        self._random = random.Random(seed)

    def __call__(self, data: bytes) -> list[bytes]:
        if self.name == "whole":
            return [data]
        if self.name == "bytes":
            return [data[i : i + 1] for i in range(len(data))]
        cuts = sorted(self._random.choices(range(len(data) + 1), k=self._random.randint(1, 8)))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def __repr__(self) -> str:
        return self.name


SPLITTERS = [Splitter("whole"), Splitter("bytes"), *(Splitter(f"random{seed}", seed) for seed in range(8))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("split", SPLITTERS, ids=repr)
def test_dialogue(path: Path, split: Splitter) -> None:
    dialogue = Dialogue(path.read_text())
    conversation = dialogue.play(split)
    lint(conversation.out)
    lines = conversation.out.decode("ascii").splitlines()
    for line, expected in zip(lines, dialogue.expected, strict=False):
        pattern = ".*".join(map(re.escape, expected.split("*")))
        assert re.fullmatch(pattern, line), f"{line!r} is not {expected!r}"
    assert len(lines) == len(dialogue.expected), (lines[len(dialogue.expected) :], dialogue.expected[len(lines) :])
    assert bool(conversation.closed) == dialogue.is_closed, conversation.closed
    assert [_told(mail) for mail in conversation.mails] == dialogue.mails


def _octets(text: str) -> bytes:
    return text.encode().decode("unicode_escape").encode("latin-1")


def _told(mail: Mail) -> tuple[str, bytes]:
    envelope = mail.envelope
    addresses = [envelope.sender, *(recipient.address for recipient in envelope.recipients)]
    return " ".join(f"<{address}>" for address in addresses), mail.content
