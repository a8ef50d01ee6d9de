"""Datagrams between nodes (floor 9): one UDP socket on the port of the links.

Each is sealed, or marked as plain, and sent at once or not at all: what carries failure detection never waits. The
address of a member may be a name; it is resolved in the background and asked again after a while, and packets to it are
dropped until it is known.

The socket has one family. Bound to an IPv6 address it reaches IPv4 too, where the machine lets it, by mapped addresses
(`::ffff:10.0.0.1`), which are seen here alone; bound to an IPv4 address it reaches nothing else, and what goes to an
IPv6 address is lost: members that link all the same find one another alive over their links.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, cast, final

from marmoset.codec.keyring import Keyring
from marmoset.codec.sealing import PacketSealer, SealError
from marmoset.units import address_text, parse_address

RESOLVED_S: Final = 30.0
NAMES_MAX: Final = 4096
SocketAddress = tuple[str | int, ...]
"""As the socket of this family takes it: host, port and for IPv6 perhaps flow and scope."""


@final
class Datagrams(asyncio.DatagramProtocol):
    """The socket of one node. `on_packet` gets address and packet, `on_refused` is called for what does not open."""

    __slots__ = ("_asking", "_family", "_loop", "_names", "_on_packet", "_on_refused", "_sealer", "_transport")

    def __init__(
        self,
        keyring: Keyring | None,
        cluster: str,
        on_packet: Callable[[str, bytes], None],
        on_refused: Callable[[], None],
    ) -> None:
        self._sealer = PacketSealer(keyring, cluster, secrets.token_bytes)
        self._on_packet = on_packet
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._family = socket.AF_INET
        self._names: dict[str, tuple[SocketAddress, float]] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def open(self, bound: socket.socket) -> None:
        """Begin to read from a socket that is bound."""
        self._family = bound.family
        await self._loop.create_datagram_endpoint(lambda: self, sock=bound)

    def close(self) -> None:
        """Take nothing more, and send nothing."""
        for task in self._asking.values():
            task.cancel()
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def use(self, keyring: Keyring | None) -> None:
        """Seal and open with another keyring from now on."""
        self._sealer.use(keyring)

    def send(self, address: str, packet: bytes) -> None:
        """Send a packet, if the socket takes it and the address is known."""
        if self._transport is None:
            return
        target = self._target(address)
        if target is None:
            return
        try:
            self._transport.sendto(self._sealer.seal(packet), target)
        except (OSError, ValueError):  # no route, a firewall says no, or no such interface: as good as lost
            return

    def _target(self, address: str) -> SocketAddress | None:
        known = self._names.get(address)
        if known is not None and known[1] > self._loop.time():
            return known[0]
        try:
            host, port = parse_address(address)
        except ValueError:
            return None
        try:
            literal = ip_address(host)
        except ValueError:
            if address not in self._asking:
                self._asking[address] = self._loop.create_task(self._resolve(address, host, port))
            return None if known is None else known[0]
        fitting = _fitting(literal, self._family)
        if fitting is None:
            return None
        target: SocketAddress = (fitting, port)
        self._remember(address, target, float("inf"))
        return target

    def _remember(self, address: str, target: SocketAddress, until: float) -> None:
        if len(self._names) >= NAMES_MAX:
            self._names.clear()
        self._names[address] = target, until

    async def _resolve(self, address: str, host: str, port: int) -> None:
        flags = socket.AI_V4MAPPED if self._family == socket.AF_INET6 else 0
        try:
            found = await self._loop.getaddrinfo(host, port, family=self._family, type=socket.SOCK_DGRAM, flags=flags)
            self._remember(address, cast("SocketAddress", found[0][4]), self._loop.time() + RESOLVED_S)
        except (OSError, UnicodeError):  # unknown, or no name at all; asked again with the next packet
            pass
        finally:
            del self._asking[address]

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """A datagram has come."""
        try:
            packet = self._sealer.open(data)
        except SealError:
            self._on_refused()
            return
        self._on_packet(_source_text(addr), packet)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, say: as good as lost."""


def _fitting(host: IPv4Address | IPv6Address, family: int) -> str | None:
    """A host as a socket of a family names it; None where it cannot reach it.

    >>> _fitting(ip_address("10.0.0.1"), socket.AF_INET6), _fitting(ip_address("::1"), socket.AF_INET)
    ('::ffff:10.0.0.1', None)
    """
    if family == socket.AF_INET6:
        return str(host) if isinstance(host, IPv6Address) else f"::ffff:{host}"
    plain = host.ipv4_mapped if isinstance(host, IPv6Address) else host
    return None if plain is None else str(plain)


def _source_text(source: tuple[str | int, ...]) -> str:
    """Where a datagram came from, as `send` takes it: no mapped address, and a scope where there has to be one.

    >>> _source_text(("::ffff:10.0.0.1", 7000, 0, 0)), _source_text(("fe80::1", 7000, 0, 2))
    ('10.0.0.1:7000', '[fe80::1%2]:7000')
    """
    host, port = str(source[0]), int(source[1])
    if len(source) == 4 and source[3] and "%" not in host:
        host = f"{host}%{source[3]}"
    elif host.startswith("::ffff:") and "." in host:
        host = host.removeprefix("::ffff:")
    return address_text(host, port)
