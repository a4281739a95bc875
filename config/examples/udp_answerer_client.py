"""Sends the answerer some names and shows what it answers."""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9998
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.settimeout(5)
    for name in ("Michael", "Tracy", "莎拉"):
        client.sendto(name.encode("utf-8"), ("127.0.0.1", port))
        print(client.recv(1024).decode("utf-8"))
