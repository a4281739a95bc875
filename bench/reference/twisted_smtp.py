"""Stock Twisted ESMTP that stores nothing: `twisted_smtp.py PORT`. It shows what parsing costs."""

import sys

from twisted.internet import defer, reactor  # noqa: TID251  (a script, as a beginner writes it)
from twisted.internet.protocol import Factory
from twisted.mail import smtp  # noqa: TID251  (the peer itself)
from zope.interface import implementer


@implementer(smtp.IMessage)
class Forgotten:
    def lineReceived(self, line):
        pass

    def eomReceived(self):
        return defer.succeed(None)

    def connectionLost(self):
        pass


@implementer(smtp.IMessageDelivery)
class Delivery:
    def receivedHeader(self, helo, origin, recipients):
        return b"Received: from bench"

    def validateFrom(self, helo, origin):
        return origin

    def validateTo(self, user):
        return Forgotten


class Session(smtp.ESMTP):
    def __init__(self):
        super().__init__()
        self.delivery = Delivery()


def main(port):
    reactor.listenTCP(port, Factory.forProtocol(Session), backlog=1024, interface="127.0.0.1")
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
