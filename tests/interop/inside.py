"""What is done inside a network namespace: forged datagrams, clients at its addresses, its counters.

Run as `python -m tests.interop.inside TASK ARGUMENTS`, both JSON; prints the result as JSON.
"""

import json
import select
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any


def sent_datagrams() -> int:
    """Return how many UDP datagrams the namespace has sent, over IPv4 and IPv6; forged ones are not counted."""
    names, values = [
        line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")
    ]
    v6 = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    return int(values[names.index("OutDatagrams")]) + int(v6["Udp6OutDatagrams"])


def forge(source: tuple[str, int], destination: tuple[str, int], data: bytes) -> None:
    """Send one UDP datagram in somebody else's name."""
    udp = struct.pack("!HHHH", source[1], destination[1], 8 + len(data), 0) + data
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + udp, (destination[0], 0))


def pairs(host: str, ports: list[int], sources: list[int], pause: float) -> int:
    """Forge one datagram from each source port to each port; return how many datagrams were sent because of that."""
    before = sent_datagrams()
    for port in ports:
        for source in sources:
            forge((host, source), (host, port), b"\x23" + bytes(47) + b"to and fro")
            time.sleep(pause)
    time.sleep(0.5)
    return sent_datagrams() - before


def echo_rate(host: str, port: int, seconds: float) -> int:
    """Forge one datagram from a port to itself; return how many datagrams follow in so many seconds."""
    before = sent_datagrams()
    forge((host, port), (host, port), b"to and fro")
    time.sleep(seconds)
    return sent_datagrams() - before


def worst_pair(host: str, ports: list[int], seconds: float) -> int:
    """Forge one datagram between each ordered pair of ports, and return the most that followed in so many seconds.

    The first pair that does not stop is the last one: nothing could be counted beside it.
    """
    worst = 0
    for port in ports:
        for source in ports:
            before = sent_datagrams()
            forge((host, source), (host, port), b"to and fro")
            time.sleep(seconds)
            worst = max(worst, sent_datagrams() - before)
            if worst > 100:
                return worst
    return worst


def client(source: str, destination: tuple[str, int]) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((source, 0))
    sock.connect(socket.getaddrinfo(*destination, type=socket.SOCK_DGRAM)[0][4])
    return sock


def sizes(source: str, destination: tuple[str, int], lengths: list[int]) -> dict[int, int]:
    """Ask with each length from a socket of its own; return the length of each answer."""
    answers = {}
    for start in range(0, len(lengths), 50):
        sockets = {client(source, destination): length for length in lengths[start : start + 50]}
        for sock, length in sockets.items():
            sock.send((b"\x23" + bytes(47)).ljust(length, b"x")[:length])
        waiting = set(sockets)
        while waiting and (ready := select.select([*sockets], [], [], 0.3)[0]):
            for sock in ready:
                answers[sockets[sock]] = answers.get(sockets[sock], 0) + len(sock.recv(65536))
            waiting.difference_update(ready)
        for sock in sockets:
            sock.close()
    return answers


def answers(source: str, destination: tuple[str, int], count: int, pause: float, data: str) -> int:
    """Ask so many times, one after the other; return how many answers came."""
    got = 0
    with client(source, destination) as sock:
        sock.settimeout(0.5)
        for _ in range(count):
            sock.send(data.encode())
            try:
                sock.recv(65536)
                got += 1
            except TimeoutError:
                pass
            time.sleep(pause)
    return got


def victim(forged: str, destination: tuple[str, int], seconds: float, forged_rate: float, own_rate: float) -> list[int]:
    """Ask at a rate while somebody forges our address at another; return how often we asked and were answered."""
    random = Random(1)
    asked = got = number = 0
    with client(forged, destination) as sock:
        sock.setblocking(False)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            while number < passed * forged_rate:
                forge((forged, random.randrange(1024, 65536)), tuple(destination), b"%d" % number)
                number += 1
            while asked < passed * own_rate:
                sock.send(b"mine %d" % asked)
                asked += 1
            try:
                while True:
                    sock.recv(65536)
                    got += 1
            except BlockingIOError:
                time.sleep(0.001)
    return [asked, got]


def octets_of_echo(source: str, destination: tuple[str, int], lengths: list[int]) -> list[int]:
    """Return the lengths of which an echo was whole and the same."""
    same = []
    for length in lengths:
        with client(source, destination) as sock:
            sock.settimeout(1)
            data = Random(length).randbytes(length)
            sock.send(data)
            try:
                if sock.recv(65536) == data:
                    same.append(length)
            except TimeoutError:
                pass
    return same


def ask(destination: tuple[str, int], data: str, times: int) -> str:
    """Return the last of so many answers to a datagram, both in hexadecimal."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(tuple(destination))
        sock.settimeout(5)
        for _ in range(times):
            sock.send(bytes.fromhex(data))
            reply = sock.recv(65536)
            time.sleep(0.2)
    return reply.hex()


def stream(destination: tuple[str, int], said: str, most: int) -> str:
    """Return what a TCP service says, in hexadecimal, up to so many octets."""
    data = b""
    with socket.create_connection(tuple(destination), 5) as sock:
        sock.sendall(said.encode())
        while len(data) < most and (chunk := sock.recv(65536)):
            data += chunk
    return data[:most].hex()


def echoed(destination: tuple[str, int], size: int) -> int:
    """Return how many octets come back, and are the same, of so many that are sent before the half-close."""
    sent = Random(1).randbytes(size)
    with socket.create_connection(tuple(destination), 5) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(sent), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        received = b"".join(iter(lambda: sock.recv(65536), b""))
        sender.join()
    return len(received) if sent.startswith(received) else 0


def pour(port: int, size: int, seed: int) -> int:
    """Send so many random octets to a TCP port, over as many connections as it takes, reading what comes back."""
    random, sent = Random(seed), 0
    while sent < size:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setblocking(False)
            data, offset = random.randbytes(random.choice([1, 100, 65536, 1 << 20])), 0
            try:
                while offset < len(data):
                    readable, writable, _ = select.select([client], [client], [], 5)
                    if readable and not client.recv(1 << 20):
                        break
                    if writable:
                        offset += client.send(data[offset : offset + 65536])
            except (ConnectionError, BlockingIOError):
                pass
            sent += max(offset, 1)
    return sent


def rain(port: int, size: int, seed: int) -> int:
    """Send so many random octets to a UDP port in datagrams of every size, reading what comes back."""
    random, sent = Random(seed), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        while sent < size:
            data = random.randbytes(random.choice([0, 1, 48, 512, 1472, 65507]))
            try:
                client.send(data)
                client.recv(65536)
            except (BlockingIOError, ConnectionError):
                pass
            sent += len(data)
    return sent


def main() -> None:
    task: Any = globals()[sys.argv[1]]
    sys.stdout.write(json.dumps(task(*json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
