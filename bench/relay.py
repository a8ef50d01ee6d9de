"""A process that sends on what it gets: what `bench.replication` compares the way of a write with.

    python -m bench.relay [PORT …]      dials the ports, and prints the one that it listens on

What arrives on one connection, dialled or accepted, goes out on all its others, unread. The same event loop as a node.
Ends when its standard input does, so never later than who started it.
"""

import asyncio
import socket
import sys
from typing import cast

import uvloop

from bench.processes import LOOPBACK


class Relay(asyncio.Protocol):
    """One connection of those that send on to each other."""

    def __init__(self, others: "list[Relay]") -> None:
        self._all = others
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """One more."""
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._all.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """One less."""
        self._all.remove(self)

    def data_received(self, data: bytes) -> None:
        """To all others."""
        for each in self._all:
            if each is not self:
                each._transport.write(data)


async def run(ports: list[int]) -> None:
    loop, relays = asyncio.get_running_loop(), list[Relay]()
    for port in ports:
        await loop.create_connection(lambda: Relay(relays), LOOPBACK, port)
    server = await loop.create_server(lambda: Relay(relays), LOOPBACK, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run([int(word) for word in sys.argv[1:]]))
