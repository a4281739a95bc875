"""Clients that come at a steady rate, to echo, the logger and the relay in turn, until their input ends.

Prints what became of them: each is served (all it asked for was done and its connection ended well), refused, or
broken in the midst; and the lines and mails that were taken.
"""

import asyncio
import json
import sys

RATE = 150


class Clients:
    def __init__(self, begin: int) -> None:
        self.number = begin
        self.served = self.refused = 0
        self.taken: dict[str, list[str]] = {"lines": [], "mails": []}
        self.why: list[str] = []

    async def one(self, number: int) -> None:
        ask = (self.echo, self.logger, self.smtp)[number % 3]
        try:
            await asyncio.wait_for(ask(f"number {number};"), 20)
            self.served += 1
        except ConnectionRefusedError:
            self.refused += 1
        except (OSError, asyncio.IncompleteReadError, TimeoutError, AssertionError) as error:
            self.why.append(f"{ask.__name__}: {type(error).__name__}")

    async def echo(self, text: str) -> None:
        assert await exchange(7, text) == text

    async def logger(self, text: str) -> None:
        assert await exchange(514, text + "\n") == ""
        self.taken["lines"].append(text)

    async def smtp(self, text: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", 25)
        try:
            await reader.readuntil(b"\n")
            for said in ("HELO me", "MAIL FROM:<a@b.example>", "RCPT TO:<c@d.example>", "DATA", text + "\r\n."):
                writer.write(said.encode() + b"\r\n")
                reply = await reader.readuntil(b"\n")
                assert reply[:1] in b"23", reply
            self.taken["mails"].append(text)
        finally:
            writer.close()

    async def run(self, end: asyncio.Event) -> None:
        clients = set()
        while not end.is_set():
            client = asyncio.create_task(self.one(self.number))
            clients.add(client)
            client.add_done_callback(clients.discard)
            self.number += 1
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*clients)


async def exchange(port: int, text: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(text.encode())
        writer.write_eof()
        return (await reader.read()).decode()
    finally:
        writer.close()


async def main() -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, end.set)
    clients = Clients(int(sys.argv[1]))
    await clients.run(end)
    print(json.dumps(vars(clients)))


asyncio.run(main())
