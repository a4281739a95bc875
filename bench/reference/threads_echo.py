"""Echo with a thread for each connection: `threads_echo.py PORT`."""

import socket
import sys
import threading


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def main(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
