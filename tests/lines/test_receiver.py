"""Twisted's LineReceiver by its interface."""

import pytest
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver as Stock

from multid.lines.receiver import LineReceiver


class Recorder:
    """What a user's protocol does with either of the two."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def lineReceived(self, line: bytes) -> None:
        self.seen.append(line)
        if line == b"raw":
            self.setRawMode()
        if line == b"pause":
            self.pauseProducing()
        if line == b"quit":
            self.transport.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        self.seen.append(("raw", data))
        if b"." in data:
            _, _, rest = data.partition(b".")
            self.setLineMode(rest)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.seen.append(("long", len(line)))


class Ours(Recorder, LineReceiver):
    pass


class Theirs(Recorder, Stock):
    def __init__(self) -> None:
        self.seen = []


def connected(kind=Ours, **attributes):
    protocol = kind()
    for name, value in attributes.items():
        setattr(protocol, name, value)
    protocol.makeConnection(StringTransport())
    return protocol


@pytest.mark.parametrize(
    "data",
    [
        b"one\r\ntwo\r\n\r\nthree",
        b"one\ntwo\r\n",
        b"raw\r\nsome.two\r\nthree\r\n",
        b"pause\r\ntwo\r\nthree\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_it_does_what_the_stock_one_does(data, size):
    seen = []
    for kind in (Ours, Theirs):
        protocol = connected(kind)
        for at in range(0, len(data), size):
            protocol.dataReceived(data[at : at + size])
        raw = b"".join(one[1] for one in protocol.seen if isinstance(one, tuple))
        seen.append(([one for one in protocol.seen if not isinstance(one, tuple)], raw))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_after_the_connection_is_given_up_no_line_is_delivered(kind):
    protocol = connected(kind)
    protocol.dataReceived(b"quit\r\nnever\r\n")
    assert protocol.seen == [b"quit"]


def test_sending_and_the_delimiter():
    protocol = connected(delimiter=b"\n")
    protocol.sendLine(b"hello")
    protocol.dataReceived(b"one\ntwo\n")
    assert protocol.transport.value() == b"hello\n"
    assert protocol.seen == [b"one", b"two"]


def test_a_line_that_is_too_long_ends_nothing():
    protocol = connected(MAX_LENGTH=4)
    protocol.dataReceived(b"four\r\nfivefive\r\nnext\r\n")
    assert protocol.seen == [b"four", ("long", 4), b"next"]


def test_by_default_nothing_is_done_about_a_line_that_is_too_long():
    protocol = LineReceiver()
    protocol.MAX_LENGTH = 1
    protocol.dataReceived(b"two\r\n")
    assert protocol.clearLineBuffer() == b""


def test_what_a_pause_held_back_comes_when_it_ends():
    protocol = connected()
    protocol.dataReceived(b"pause\r\ntwo\r\n")
    assert protocol.transport.producerState == "paused"
    protocol.resumeProducing()
    assert protocol.seen == [b"pause", b"two"]
    protocol.stopProducing()
    assert protocol.transport.producerState == "stopped"


def test_what_arrived_before_the_end_is_delivered():
    protocol = connected()
    protocol.dataReceived(b"pause\r\ntwo\r\nend")
    protocol.connectionLost()
    protocol.connectionLost()
    assert protocol.seen == [b"pause", b"two", b"end"]


def test_a_last_line_without_its_end_may_be_dropped():
    protocol = connected(unterminated="drop")
    protocol.dataReceived(b"one\r\nend")
    protocol.connectionLost()
    assert protocol.seen == [b"one"]


def test_the_buffer_is_what_was_not_delivered():
    protocol = connected()
    protocol.dataReceived(b"pause\r\ntwo\r\nthr")
    assert protocol.clearLineBuffer() == b"two\r\nthr"
    protocol.resumeProducing()
    protocol.dataReceived(b"four\r\n")
    assert protocol.seen == [b"pause", b"four"]


def test_a_protocol_must_say_what_it_does():
    protocol = LineReceiver()
    protocol.makeConnection(StringTransport())
    with pytest.raises(NotImplementedError):
        protocol.dataReceived(b"x\r\n")
    protocol.setRawMode()
    with pytest.raises(NotImplementedError):
        protocol.dataReceived(b"x")
