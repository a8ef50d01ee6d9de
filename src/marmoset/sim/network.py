"""The simulated network (beside the floors): links that keep the order of their bytes, as TCP does, and datagrams.

A link is two directions. What is sent in one direction arrives in order, each piece a latency after it was sent and
never before the one ahead of it; sometimes a piece arrives in two parts. A lost packet is a latency that is longer
by a retransmission. While a direction is cut, everything sent in it waits; a link that has waited for `break_us`
breaks at both ends, as it would by TCP's own timeouts, and what was under way is lost. A host that is stopped takes
nothing either, but its kernel answers, so the link stays. Different links are not ordered with one another.

A datagram arrives or does not, now and then twice where the network is lossy, and in no order with others.

Cuts are pairs (from, to) of host names, so a cut can be of one way only. What is blocked is looked at again when a
cut ends or a host goes on: nothing polls.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, final
from zlib import crc32

from marmoset.sim.trace import Trace
from marmoset.sim.world import US_PER_MS, World

if TYPE_CHECKING:
    from marmoset.sim.host import Host

RETRANSMIT_US: Final = 200 * US_PER_MS
DOUBLED_SHARE: Final = 0.02
"""How many of the datagrams that are not lost come twice, in a lossy network."""
DIAL_TIMEOUT_US: Final = 1000 * US_PER_MS

PAUSED: Final = "paused"
RESUMED: Final = "resumed"
CLOSED: Final = "closed"
"""What the end of a link is told."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the network behaves: latencies in microseconds, shares from 0 to 1."""

    latency_us_min: int = 50
    latency_us_max: int = 2000
    slow_share: float = 0.0
    slow_us_max: int = 0
    loss_share: float = 0.0
    split_share: float = 0.0
    """How often a piece arrives in two parts."""
    break_us: int = 8_000_000
    """For how long a link may get nothing through before it breaks."""
    window_bytes: int = 1 << 18
    """What is under way in one direction before the sender is told to pause."""


@final
class Direction:
    """One direction of a link: the pieces under way, each with the moment at which it arrives; None is the end."""

    __slots__ = ("blocked_since_us", "bytes", "last_us", "paused", "pieces", "scheduled")

    def __init__(self) -> None:
        self.pieces: deque[tuple[int, bytes | None]] = deque()
        self.bytes = 0
        self.last_us = 0
        self.paused = False
        self.scheduled = False
        self.blocked_since_us = -1


@final
class Wire:
    """One link between two hosts; each end knows it by a number of its own."""

    __slots__ = ("directions", "ends", "numbers", "open")

    def __init__(self, ends: "tuple[Host, Host]", numbers: tuple[int, int]) -> None:
        self.ends = ends
        self.numbers = numbers
        self.directions = (Direction(), Direction())
        self.open = [True, True]


@final
class Network:
    """All links, and the cuts between hosts."""

    def __init__(self, world: World, rng: Random, conditions: Conditions, trace: Trace) -> None:
        self.world = world
        self.rng = rng
        self.conditions = conditions
        self.trace = trace
        self.cuts: set[tuple[str, str]] = set()
        self.hosts: dict[str, Host] = {}
        self.messages = 0
        self.bytes = 0
        self.datagrams = 0
        self.datagrams_lost = 0
        self.breaks = 0
        self.pauses = 0
        self.way_bytes_max = 0
        """The most that ever was under way in one direction."""
        self._blocked: list[tuple[Wire, int]] = []

    def latency_us(self, target: "Host | None" = None) -> int:
        """A latency drawn from the conditions, longer towards a host that is slow."""
        conditions, rng = self.conditions, self.rng
        latency = rng.randint(conditions.latency_us_min, conditions.latency_us_max)
        if conditions.slow_share and rng.random() < conditions.slow_share:
            latency += rng.randint(0, conditions.slow_us_max)
        while conditions.loss_share and rng.random() < conditions.loss_share:
            latency += RETRANSMIT_US
        return latency if target is None else latency + target.lag_us

    # -- cuts

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one host to another."""
        return (source, target) in self.cuts

    def cut(self, pairs: list[tuple[str, str]]) -> None:
        """Let nothing through any more between pairs of hosts, in the direction given."""
        self.cuts.update(pairs)

    def heal(self) -> None:
        """Let everything through again."""
        self.cuts.clear()
        self.kick()

    def kick(self, awake: "Host | None" = None) -> None:
        """Look again at what was blocked; what waited in the kernel of a host that goes on is there at once."""
        blocked, self._blocked = self._blocked, []
        for wire, side in blocked:
            wire.directions[side].scheduled = False
            wire.directions[side].blocked_since_us = -1
            target = wire.ends[1 - side]
            self._schedule(wire, side, self.world.now_us + (0 if target is awake else self.latency_us(target)))

    # -- datagrams

    def send_datagram(self, source: "Host", address: str, data: bytes) -> None:
        """Send a datagram, which may be lost, come twice, or be overtaken. O(1)."""
        loss_share, rng = self.conditions.loss_share, self.rng
        self.datagrams += 1
        copies = 1
        if loss_share:
            copies = 0 if rng.random() < loss_share else 2 if rng.random() < DOUBLED_SHARE else 1
        self.datagrams_lost += not copies
        for _ in range(copies):
            target = self.hosts.get(address)
            self.world.after(self._datagram_us(target), lambda: self._arrive_datagram(source, address, data))

    def _datagram_us(self, target: "Host | None") -> int:
        conditions, rng = self.conditions, self.rng
        latency = rng.randint(conditions.latency_us_min, conditions.latency_us_max)
        if conditions.slow_share and rng.random() < conditions.slow_share:
            latency += rng.randint(0, conditions.slow_us_max)
        return latency if target is None else latency + target.lag_us

    def _arrive_datagram(self, source: "Host", address: str, data: bytes) -> None:
        target = self.hosts.get(address)
        if target is None or self.is_cut(source.name, target.name):
            self.datagrams_lost += 1
            return
        self.trace.line(self.world.now_us, f"{source.name}~{target.name} {len(data)} {crc32(data):08x}")
        target.receive_datagram(source.address, data)

    # -- links

    def dial(self, source: "Host", address: str, opened: Callable[[Wire], None], failed: Callable[[str], None]) -> None:
        """Open a link: three ways, all of which have to get through."""
        run = source.run

        def fail(why: str) -> None:
            if source.run == run:
                failed(why)

        def arrive() -> None:
            target = self.hosts.get(address)
            if source.run != run:
                return
            if target is None or (target.node is None and not target.is_silent):
                fail("connection refused")
            elif target.node is None or self.is_cut(source.name, target.name) or self.is_cut(target.name, source.name):
                self.world.after(DIAL_TIMEOUT_US, lambda: fail("timed out"))
            else:
                opened(Wire((source, target), (source.new_link(), target.new_link())))

        self.world.after(2 * self.latency_us(), arrive)

    def send(self, wire: Wire, side: int, data: bytes) -> None:
        """Send bytes from one end of a link. O(1)."""
        direction = wire.directions[side]
        direction.bytes += len(data)
        self.messages += 1
        self.bytes += len(data)
        self.way_bytes_max = max(self.way_bytes_max, direction.bytes)
        self._put(wire, side, data)
        if not direction.paused and direction.bytes > self.conditions.window_bytes:
            direction.paused = True
            self.pauses += 1
            wire.ends[side].tell(wire, side, PAUSED)

    def _put(self, wire: Wire, side: int, piece: bytes | None) -> None:
        direction = wire.directions[side]
        direction.last_us = max(self.world.now_us + self.latency_us(wire.ends[1 - side]), direction.last_us)
        direction.pieces.append((direction.last_us, piece))
        if not direction.scheduled:
            self._schedule(wire, side, direction.last_us)

    def _schedule(self, wire: Wire, side: int, moment_us: int) -> None:
        wire.directions[side].scheduled = True
        self.world.at(moment_us, lambda: self._arrive(wire, side))

    def _arrive(self, wire: Wire, side: int) -> None:
        direction, other = wire.directions[side], 1 - side
        direction.scheduled = False
        source, target = wire.ends[side], wire.ends[other]
        if not wire.open[other]:
            direction.pieces.clear()
            return
        now = self.world.now_us
        if target.is_stopped or self.is_cut(source.name, target.name):
            direction.scheduled = True
            self._blocked.append((wire, side))
            if direction.blocked_since_us < 0:
                direction.blocked_since_us = now
                self.world.after(self.conditions.break_us, lambda: self._break_if_blocked_since(wire, side, now))
            return
        direction.blocked_since_us = -1
        data, ends = self._take(direction, now)
        if direction.paused and direction.bytes <= self.conditions.window_bytes // 2:
            direction.paused = False
            if wire.open[side]:
                source.tell(wire, side, RESUMED)
        if data:
            self.trace.line(now, f"{source.name}>{target.name} {len(data)} {crc32(data):08x}")
            target.receive(wire, other, data)
        if ends and wire.open[other]:
            target.tell(wire, other, CLOSED)
        elif direction.pieces and not direction.scheduled:
            self._schedule(wire, side, max(now, direction.pieces[0][0]))

    def _take(self, direction: Direction, now_us: int) -> tuple[bytes, bool]:
        """What has arrived by now, and whether the link ends behind it."""
        parts: list[bytes] = []
        pieces = direction.pieces
        while pieces and pieces[0][0] <= now_us:
            piece = pieces.popleft()[1]
            if piece is None:
                return b"".join(parts), True
            if not parts and len(piece) > 1 and self.rng.random() < self.conditions.split_share:
                middle = self.rng.randrange(1, len(piece))
                pieces.appendleft((now_us + self.latency_us(), piece[middle:]))
                piece = piece[:middle]
            parts.append(piece)
            direction.bytes -= len(piece)
        return b"".join(parts), False

    def _break_if_blocked_since(self, wire: Wire, side: int, since_us: int) -> None:
        direction = wire.directions[side]
        if direction.blocked_since_us != since_us:
            return
        if wire.ends[1 - side].is_stopped:  # its kernel answers
            self.world.after(self.conditions.break_us, lambda: self._break_if_blocked_since(wire, side, since_us))
            return
        self.breaks += 1
        for end in (0, 1):
            wire.directions[end].pieces.clear()
            if wire.open[end]:
                wire.ends[end].tell(wire, end, CLOSED)

    def close(self, wire: Wire, by: int) -> None:
        """One end closes a link: what it has sent arrives first, then the other end is told."""
        if wire.open[by]:
            wire.open[by] = False
            self._put(wire, by, None)

    def drop(self, wire: Wire, by: int, silent: bool) -> None:
        """The process at one end is gone: a prefix of what it has sent arrives; with `silent` nothing, and the other
        end finds out by its timeouts."""
        if not wire.open[by]:
            return
        wire.open[by] = False
        direction = wire.directions[by]
        pieces = list(direction.pieces)
        kept = 0 if silent else self.rng.randint(0, len(pieces))
        direction.pieces.clear()
        direction.pieces.extend(pieces[:kept])
        if kept < len(pieces) and not silent and pieces[kept][1]:
            moment, piece = pieces[kept]
            assert piece is not None
            direction.pieces.append((moment, piece[: self.rng.randrange(len(piece))]))
        if silent:
            other = 1 - by

            def notice() -> None:
                if wire.open[other]:
                    wire.ends[other].tell(wire, other, CLOSED)

            self.world.after(self.conditions.break_us, notice)
        else:
            self._put(wire, by, None)
