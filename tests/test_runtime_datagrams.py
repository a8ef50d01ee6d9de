"""The socket for datagrams: the port of the links, sealing, names, and packets that lead nowhere."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import uvloop

from marmoset.codec.keyring import Key, Keyring
from marmoset.runtime.datagrams import Datagrams
from marmoset.runtime.sockets import ListenError, listen_twice, port_of

RUNNERS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
"""The two loops differ in what `sendto` takes, and in what it raises."""
Run = Callable[[Coroutine[Any, Any, None]], None]


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


# IPv6


def bound(host: str) -> tuple[socket.socket, int]:
    """A socket for datagrams as a node makes it, and its port."""
    try:
        listener, datagrams = listen_twice(host, 0, "a test")
    except ListenError as problem:
        if ":" in host:
            pytest.skip(f"IPv6 IS NOT TESTED: {problem}")
        raise
    listener.close()
    return datagrams, port_of(datagrams)


class End:
    """One socket, and what came to it from where."""

    def __init__(self, host: str, ring: Keyring | None = None) -> None:
        self.socket, self.port = bound(host)
        self.got: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        self.sink = Datagrams(ring, "c", lambda *what: self.got.append(what), lambda: self.refused.append("one"))


async def met(source: End, address: str, packet: bytes, target: End) -> tuple[str, bytes]:
    """Send until something has come, and what it was."""
    target.got.clear()
    for _ in range(200):
        source.sink.send(address, packet)
        await asyncio.sleep(0.01)
        if target.got:
            return target.got[-1]
    raise AssertionError(f"nothing has come to {address}")


@asynccontextmanager
async def opened(*ends: End) -> AsyncIterator[None]:
    """Closed whatever happens: a loop with an open socket may not end."""
    try:
        for end in ends:
            await end.sink.open(end.socket)
        yield
    finally:
        for end in ends:
            end.sink.close()
        await asyncio.sleep(0)


@RUNNERS
def test_two_nodes_speak_over_ipv6_and_answer_where_a_packet_came_from(run: Run) -> None:
    async def main() -> None:
        for ring in (None, Keyring([Key(b"k" * 32)])):
            left, right = End("::1", ring), End("::1", ring)
            async with opened(left, right):
                source, packet = await met(left, f"[::1]:{right.port}", b"packet", right)
                assert (source, packet) == (f"[::1]:{left.port}", b"packet")
                assert await met(right, source, b"answer", left) == (f"[::1]:{right.port}", b"answer")

    run(main())


@RUNNERS
def test_who_listens_everywhere_speaks_both_families_and_sees_plain_addresses(run: Run) -> None:
    async def main() -> None:
        both, new, old = End("::"), End("::1"), End("127.0.0.1")
        async with opened(both, new, old):
            for other, host in ((new, "[::1]"), (old, "127.0.0.1"), (old, "localhost")):
                source, _ = await met(both, f"{host}:{other.port}", b"packet", other)
                plain = "127.0.0.1" if other is old else host
                assert source == f"{plain}:{both.port}"
                assert await met(other, source, b"answer", both) == (f"{plain}:{other.port}", b"answer")

    run(main())


@RUNNERS
def test_what_goes_to_the_other_family_is_lost_and_nothing_else(run: Run) -> None:
    async def main() -> None:
        new, old = End("::1"), End("127.0.0.1")
        hosts = ("ip6-localhost", "a" * 64, f"{'a' * 64}.example", "[fe80::1%no-such-interface]", "[fe80::1]")
        async with opened(new, old):
            for _ in range(3):
                old.sink.send(f"[::1]:{new.port}", b"packet")
                new.sink.send(f"127.0.0.1:{old.port}", b"packet")
                for end in (new, old):
                    for host in hosts:
                        end.sink.send(f"{host}:9", b"packet")
                await asyncio.sleep(0.02)
            assert not new.got and not old.got
            mapped = await met(old, f"[::ffff:127.0.0.1]:{old.port}", b"mapped", old)
            assert mapped == (f"127.0.0.1:{old.port}", b"mapped")

    run(main())
