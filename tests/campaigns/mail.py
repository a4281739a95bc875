"""Mail for the campaigns: numbered mails, senders that note every answer, and a next hop that notes every arrival.

A mail's number is in its header and decides its body, so an arrival shows which mail it is and whether it is whole. A
mail is `acknowledged` when 250 followed its final dot, `refused` when another reply did, and `open` when the connection
ended between the two: it may arrive or not.
"""

import asyncio
import contextlib
import random
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count, cycle

_NUMBER = re.compile(rb"^X-Number: (\d+)\r\n", re.MULTILINE)
PAUSE = 0.05  # seconds after a refusal: who asks again without one is sent away, as a client that brings no mail


def number_of(content: bytes) -> int | None:
    """Return the number of a mail, None if it has none."""
    head, _, _ = content.partition(b"\r\n\r\n")
    found = _NUMBER.search(head + b"\r\n")
    return None if found is None else int(found[1])


def body(number: int, size: int) -> bytes:
    """Return the body of a mail: lines of its number, some of which begin with a dot."""
    line = b"%s%d %s\r\n" % (b"." * (number % 3), number, b"x" * (number % 60))
    return line * max(1, size // len(line))


def mail(number: int, size: int) -> bytes:
    return b"From: a@campaign.example\r\nX-Number: %d\r\nX-Size: %d\r\n\r\n" % (number, size) + body(number, size)


class NextHop:
    """An SMTP server in a thread; `arrived` counts each number before its 250 is sent, `damaged` is not to grow.

    While it `is_closing`, it takes leave (421) instead of answering a command.
    """

    def __init__(self, port: int = 0) -> None:
        self.arrived: Counter[int] = Counter()
        self.others: list[bytes] = []  # mails without a number: reports
        self.damaged: list[int] = []
        self.answer = b"250 2.0.0 Ok\r\n"
        self.is_closing = False
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Arrivals(self), "127.0.0.1", port, backlog=1024)
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    def close(self) -> None:
        def stop() -> None:
            self._server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> "NextHop":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answer_to(self, content: bytes) -> bytes:
        """Return the reply to a mail, which arrives if that is positive."""
        return self.answer

    def take(self, content: bytes, connected: float) -> None:
        """Note a mail that came over a connection made at that moment of the monotonic clock."""
        head, _, rest = content.partition(b"\r\n\r\n")
        number = number_of(content)
        if number is None:
            self.others.append(content)
            return
        size = int(re.search(rb"X-Size: (\d+)", head)[1])  # type: ignore[index]
        if rest != body(number, size):
            self.damaged.append(number)
        self.arrived[number] += 1


class _Arrivals(asyncio.Protocol):
    def __init__(self, hop: NextHop) -> None:
        self._hop = hop
        self._buffer = bytearray()
        self._in_mail = False

    def connection_made(self, transport) -> None:
        self._transport = transport
        self._connected = time.monotonic()
        transport.write(b"220 hop.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while not self._transport.is_closing() and (self._mail() if self._in_mail else self._command()):
            pass

    def _command(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        verb = bytes(line[:4]).upper()
        if self._hop.is_closing:
            self._transport.write(b"421 4.3.2 Closing\r\n")
            self._transport.close()
        elif verb == b"EHLO":
            self._transport.write(b"250-hop.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n")
        elif verb == b"DATA":
            self._in_mail = True
            self._transport.write(b"354 Go on\r\n")
        elif verb == b"QUIT":
            self._transport.write(b"221 Bye\r\n")
            self._transport.close()
        else:
            self._transport.write(b"250 Ok\r\n")
        return True

    def _mail(self) -> bool:
        end = 0 if self._buffer.startswith(b".\r\n") else self._buffer.find(b"\r\n.\r\n") + 2
        if end == 1:
            return False
        content = (b"\r\n" + self._buffer[:end]).replace(b"\r\n.", b"\r\n")[2:]
        del self._buffer[: end + 3]
        self._in_mail = False
        answer = self._hop.answer_to(content)
        if answer.startswith(b"2"):
            self._hop.take(content, self._connected)
        self._transport.write(answer)
        return True


class Senders:
    """Threads that each send one mail after the other until `stop`; sizes are drawn by lot, recipients taken in turn.

    With `every`, each waits so many seconds between two mails.
    """

    def __init__(
        self,
        port: Callable[[], int],
        threads: int,
        *,
        seed: int,
        numbers: count,
        sizes: Sequence[int] = (300,),
        recipients: Sequence[str] = ("b@campaign.example",),
        every: float = 0.0,
    ) -> None:
        self.acknowledged: set[int] = set()
        self.refused: set[int] = set()
        self.open: set[int] = set()
        self.replies: Counter[str] = Counter()
        self.lost_connections = 0
        self._port = port
        self._numbers = numbers
        self._sizes = sizes
        self._recipients = cycle(recipients)
        self._every = every
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{thread}"),), daemon=True)
            for thread in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread finish its mail, and return when all have."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a sender waits for a reply"

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, lots: random.Random) -> None:
        while not self._stopping.is_set():
            try:
                self._session(lots)
            except OSError:
                with self._lock:
                    self.lost_connections += 1
                self._stopping.wait(0.05)

    def _session(self, lots: random.Random) -> None:
        with socket.create_connection(("127.0.0.1", self._port()), timeout=20) as sock, sock.makefile("rb") as replies:
            self._expect(replies)
            self._say(sock, replies, b"EHLO sender.example")
            while not self._stopping.wait(self._every):
                recipient = next(self._recipients).encode()
                self._send(sock, replies, recipient, next(self._numbers), lots.choice(self._sizes))
            with contextlib.suppress(OSError):
                self._say(sock, replies, b"QUIT")

    def _send(self, sock: socket.socket, replies, recipient: bytes, number: int, size: int) -> None:
        sock.sendall(b"MAIL FROM:<a@campaign.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % recipient)
        answers = [self._expect(replies) for _ in range(3)]
        if not answers[2].startswith(b"354"):
            self._note(number, self.refused, answers)
            if answers[0].startswith(b"250"):
                self._say(sock, replies, b"RSET")
            time.sleep(PAUSE)
            return
        content = (b"\r\n" + mail(number, size)).replace(b"\r\n.", b"\r\n..")[2:]
        with self._lock:
            self.open.add(number)
        sock.sendall(content + b".\r\n")
        answer = self._expect(replies)
        with self._lock:
            self.open.discard(number)
        is_taken = answer.startswith(b"250")
        self._note(number, self.acknowledged if is_taken else self.refused, [answer])
        if not is_taken:
            time.sleep(PAUSE)

    def _note(self, number: int, where: set[int], answers: list[bytes]) -> None:
        with self._lock:
            where.add(number)
            for answer in answers:
                self.replies[answer[:9].decode("ascii", "replace").strip()] += answer[:1] not in b"23"

    def _say(self, sock: socket.socket, replies, command: bytes) -> bytes:
        sock.sendall(command + b"\r\n")
        return self._expect(replies)

    @staticmethod
    def _expect(replies) -> bytes:
        while True:
            line = replies.readline()
            if not line.endswith(b"\n"):
                raise ConnectionError("the connection was closed")
            if line[3:4] != b"-":
                return line
