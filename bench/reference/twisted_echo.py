"""Stock Twisted echo: `twisted_echo.py tcp|udp PORT`."""

import sys

from twisted.internet import reactor  # noqa: TID251  (a script, as a beginner writes it)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol


class Echo(Protocol):
    def dataReceived(self, data):
        self.transport.write(data)


class EchoDatagrams(DatagramProtocol):
    def datagramReceived(self, datagram, addr):
        self.transport.write(datagram, addr)


def main(transport, port):
    if transport == "tcp":
        reactor.listenTCP(port, Factory.forProtocol(Echo), backlog=4096, interface="127.0.0.1")
    else:
        reactor.listenUDP(port, EchoDatagrams(), interface="127.0.0.1", maxPacketSize=65536)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
