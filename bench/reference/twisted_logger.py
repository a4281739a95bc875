"""Stock LineReceiver that writes each line to a file with time and peer: `twisted_logger.py PORT FILE`."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet import reactor  # noqa: TID251  (a script, as a beginner writes it)
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver


class Lines(LineReceiver):
    delimiter = b"\n"
    MAX_LENGTH = 65536

    def connectionMade(self):
        peer = self.transport.getPeer()
        self.peer = f"{peer.host}:{peer.port}"

    def dataReceived(self, data):
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.prefix = f"{now} logger {self.peer} ".encode()
        super().dataReceived(data)
        self.factory.file.flush()

    def lineReceived(self, line):
        self.factory.file.write(self.prefix + line + b"\n")


def main(port, path):
    factory = Factory.forProtocol(Lines)
    reactor.listenTCP(port, factory, interface="127.0.0.1")
    with Path(path).open("ab", buffering=1 << 20) as factory.file:
        reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
