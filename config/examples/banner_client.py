"""Shows the banner."""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 12345
with socket.create_connection(("127.0.0.1", port)) as client:
    print(client.makefile(encoding="utf-8", newline="\r\n").read().rstrip())
