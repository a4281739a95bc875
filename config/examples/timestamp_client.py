"""Sends each line of standard input to the time stamper and shows what comes back."""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 21567
with socket.create_connection(("127.0.0.1", port)) as client:
    for line in sys.stdin:
        client.sendall(line.rstrip("\n").encode("utf-8"))
        print(client.recv(1024).decode("utf-8"))
