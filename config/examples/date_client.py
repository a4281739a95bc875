"""Asks the date server and shows its answer as a date of Python's own."""

import socket
import sys
from datetime import datetime

port = int(sys.argv[1]) if len(sys.argv) > 1 else 9091
with socket.create_connection(("127.0.0.1", port)) as client:
    answer = client.makefile(encoding="utf-8").read()
print(datetime.fromisoformat(answer))
