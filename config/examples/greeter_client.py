"""Tells the greeter some names and shows what it says."""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
with socket.create_connection(("127.0.0.1", port)) as client:
    print(client.recv(1024).decode("utf-8"))
    for name in ("Michael", "Tracy", "莎拉"):
        client.sendall(name.encode("utf-8"))
        print(client.recv(1024).decode("utf-8"))
    client.sendall(b"exit")
