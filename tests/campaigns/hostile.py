"""Next hops that mean no good: each a function that serves one connection, and never acknowledges a mail as one may."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable

Serve = Callable[[socket.socket], None]
HOPS: dict[str, Serve] = {}


def hop(serve: Serve) -> Serve:
    HOPS[serve.__name__.replace("_", "-")] = serve
    return serve


class Hostile:
    """A server that treats every connection so, until `close`."""

    def __init__(self, serve: Serve) -> None:
        self.connections = 0
        self._serve = serve
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._run, args=(sock,), daemon=True).start()

    def _run(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, EOFError):
            self._serve(sock)


class Reader:
    """The commands of the relay, one by one; EOFError when it has gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""

    def line(self) -> bytes:
        return self.upto(b"\r\n")

    def upto(self, end: bytes) -> bytes:
        while end not in self._data:
            data = self._sock.recv(65536)
            if not data:
                raise EOFError
            self._data += data
        line, _, self._data = self._data.partition(end)
        return line


EHLO = b"250-hostile.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n"


def talk(sock: socket.socket, **other: bytes | None) -> None:
    """Speak SMTP, but for the steps named: those get other answers, or, with None, the end of the connection."""
    reader = Reader(sock)

    def step(name: str, usual: bytes) -> None:
        answer = other.get(name, usual)
        if answer is None:
            raise EOFError
        sock.sendall(answer)

    step("greeting", b"220 hostile.example\r\n")
    while True:
        verb = reader.line()[:4].decode("ascii", "replace").lower()
        step(verb, {"ehlo": EHLO, "data": b"354 Go on\r\n", "quit": b"221 Bye\r\n"}.get(verb, b"250 Ok\r\n"))
        if verb == "data":
            reader.upto(b"\r\n.\r\n")
            step("end", b"451 4.3.0 Never\r\n")


def flood(sock: socket.socket, piece: bytes) -> None:
    while True:
        sock.sendall(piece * 100)


@hop
def endless_greeting(sock) -> None:
    flood(sock, b"220-and another thing\r\n")


@hop
def endless_ehlo(sock) -> None:
    sock.sendall(b"220 hostile.example\r\n")
    Reader(sock).line()
    flood(sock, b"250-X-MORE\r\n")


@hop
def endless_line(sock) -> None:
    flood(sock, b"220 and so on ")


@hop
def megabyte_replies(sock) -> None:
    talk(sock, mail=b"250 " + b"x" * (1 << 20) + b"\r\n")


@hop
def megabyte_refusal(sock) -> None:
    talk(sock, rcpt=b"450 " + b"x" * (1 << 20) + b"\r\n")


@hop
def closes_at_once(sock) -> None:
    talk(sock, greeting=None)


@hop
def closes_at_ehlo(sock) -> None:
    talk(sock, ehlo=None)


@hop
def closes_at_mail(sock) -> None:
    talk(sock, mail=None)


@hop
def closes_at_rcpt(sock) -> None:
    talk(sock, rcpt=None)


@hop
def closes_at_data(sock) -> None:
    talk(sock, data=None)


@hop
def closes_at_the_end(sock) -> None:
    talk(sock, end=None)


@hop
def leaves_at_any_step(sock) -> None:
    step = random.choice(("ehlo", "mail", "rcpt", "data", "end"))
    talk(sock, **{step: b"421 4.3.2 Leaving\r\n"})


@hop
def resets(sock) -> None:
    sock.sendall(b"220 hostile.example\r\n")
    sock.recv(10)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@hop
def is_silent(sock) -> None:
    while sock.recv(65536):
        pass


@hop
def answers_ahead(sock) -> None:
    sock.sendall(b"220 hostile.example\r\n" + EHLO + b"250 Ok\r\n250 Ok\r\n354 Go on\r\n250 2.0.0 Ok\r\n")
    while sock.recv(65536):
        pass


@hop
def answers_early(sock) -> None:
    talk(sock, data=b"354 Go on\r\n250 2.0.0 Ok\r\n")


def to_the_content(sock: socket.socket) -> None:
    """Speak SMTP until a content comes; of a large one, most is still to be sent then."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.sendall(b"220 hostile.example\r\n")
    reader = Reader(sock)
    reader.line()
    sock.sendall(EHLO.replace(b"250-PIPELINING\r\n", b""))
    while reader.line() != b"DATA":
        sock.sendall(b"250 Ok\r\n")
    sock.sendall(b"354 Go on\r\n")


@hop
def answers_in_the_content(sock) -> None:
    to_the_content(sock)
    if len(sock.recv(4096)) == 4096:
        sock.sendall(b"250 2.0.0 Ok\r\n")


@hop
def never_reads(sock) -> None:
    to_the_content(sock)
    threading.Event().wait(3600)


@hop
def closes_in_the_content(sock) -> None:
    to_the_content(sock)
    sock.recv(100)


@hop
def takes_data_for_done(sock) -> None:
    talk(sock, data=b"250 2.0.0 Ok\r\n")


@hop
def goes_on_at_every_step(sock) -> None:
    talk(sock, mail=b"354 Go on\r\n", rcpt=b"354 Go on\r\n")


@hop
def odd_codes(sock) -> None:
    talk(sock, mail=b"999 Odd\r\n", rcpt=b"000 Odd\r\n", end=b"25 Ok\r\n")


@hop
def noise(sock) -> None:
    flood(sock, random.randbytes(4096))


@hop
def drips(sock) -> None:
    for octet in b"220 " + b"x" * 3600:
        sock.sendall(bytes((octet,)))
        time.sleep(0.5)
