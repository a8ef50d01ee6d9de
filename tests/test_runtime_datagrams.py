"""The socket for datagrams: the port of the links, sealing, names, and packets that lead nowhere."""

import asyncio
import socket
from functools import partial

import pytest

from marmoset.codec.keyring import Key, Keyring
from marmoset.runtime.datagrams import Datagrams
from marmoset.runtime.sockets import ListenError, listen_twice, port_of


async def two(left: Keyring | None, right: Keyring | None) -> tuple[Datagrams, Datagrams, str, list[str], list[bytes]]:
    refused: list[str] = []
    got: list[bytes] = []
    made, addresses = [], []
    for name, ring in (("left", left), ("right", right)):
        listener, bound = listen_twice("127.0.0.1", 0, "a test")
        addresses.append(f"localhost:{port_of(listener)}")
        listener.close()
        sink = Datagrams(ring, "c", lambda address, data: got.append(data), partial(refused.append, name))
        await sink.open(bound)
        made.append(sink)
    return made[0], made[1], addresses[1], refused, got


async def send(source: Datagrams, address: str, packet: bytes, done: list[str] | list[bytes]) -> None:
    for _ in range(200):
        source.send(address, packet)
        await asyncio.sleep(0.01)
        if done:
            return


def test_packets_arrive_at_a_name_sealed_or_plain() -> None:
    async def run() -> None:
        ring = Keyring([Key(b"k" * 32)])
        for keys in (None, ring):
            left, right, address, refused, got = await two(keys, keys)
            await send(left, address, b"packet", got)
            assert got[0] == b"packet" and not refused
            left.close()
            right.close()
            left.send(address, b"late")

    asyncio.run(run())


def test_what_does_not_open_is_refused_until_the_key_is_there() -> None:
    async def run() -> None:
        ring = Keyring([Key(b"k" * 32)])
        left, right, address, refused, got = await two(ring, None)
        await send(left, address, b"packet", refused)
        assert refused[0] == "right" and not got
        right.use(ring)
        await send(left, address, b"packet", got)
        assert got
        left.close()
        right.close()

    asyncio.run(run())


def test_packets_to_nowhere_are_lost_and_nothing_else() -> None:
    async def run() -> None:
        left, right, _, _, _ = await two(None, None)
        for address in ("no address", "127.0.0.1:1", "no.such.host.invalid:7", "255.255.255.255:9"):
            left.send(address, b"packet")
            left.send(address, b"packet")
        await asyncio.sleep(0.05)
        left.close()
        right.close()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_both_sockets_have_one_port_and_both_have_to_be_free() -> None:
    listener, bound = listen_twice("127.0.0.1", 0, "a test")
    port = port_of(listener)
    assert bound.getsockname()[1] == port
    listener.close()
    with pytest.raises(ListenError, match="datagrams.*in use"):
        listen_twice("127.0.0.1", port, "a test")
    probe = socket.socket()
    probe.bind(("127.0.0.1", port))  # nothing was left behind
    probe.close()
    bound.close()
