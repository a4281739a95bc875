"""asyncio echo with protocols, which is faster than streams: `asyncio_echo.py tcp|udp PORT [uvloop]`."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def main(transport, port):
    loop = asyncio.get_running_loop()
    if transport == "tcp":
        await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    else:
        await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", port))
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[3:] == ["uvloop"]:
        import uvloop

        uvloop.run(main(sys.argv[1], int(sys.argv[2])))
    else:
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
