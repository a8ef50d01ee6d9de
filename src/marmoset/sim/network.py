"""The simulated network (beside the floors): links that keep the order of their bytes, as TCP does.

A link is two directions. What is sent in one direction arrives in order, each frame a latency after it was sent and
never before the one ahead of it. A lost packet is a latency that is longer by a retransmission. While a direction is
cut, everything sent in it waits; a link that has waited for longer than `BREAK_US` breaks at both ends, as it would by
TCP's own timeouts. Different links are not ordered with one another.

Cuts are pairs (from, to) of host names, so a cut can be of one way only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final, final

from marmoset.sim.world import US_PER_MS, World

if TYPE_CHECKING:
    from marmoset.sim.host import Host

BREAK_US: Final = 8000 * US_PER_MS
RETRY_US: Final = 20 * US_PER_MS
RETRANSMIT_US: Final = 200 * US_PER_MS


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the network behaves: latencies in microseconds, shares from 0 to 1."""

    latency_us_min: int = 50
    latency_us_max: int = 2000
    slow_share: float = 0.0
    slow_us_max: int = 0
    loss_share: float = 0.0
    window_bytes: int = 1 << 18
    """What is under way in one direction before the sender is told to pause."""


@final
class Direction:
    """One direction of a link: what is under way in it."""

    __slots__ = ("blocked_since_us", "busy", "bytes", "last_us", "paused", "queue")

    def __init__(self) -> None:
        self.queue: list[bytes] = []
        self.busy = False
        self.bytes = 0
        self.last_us = 0
        self.paused = False
        self.blocked_since_us: int | None = None


@final
class Wire:
    """One link between two hosts; each end knows it by a number of its own."""

    __slots__ = ("directions", "ends", "is_open", "numbers")

    def __init__(self, ends: tuple["Host", "Host"], numbers: tuple[int, int]) -> None:
        self.ends = ends
        self.numbers = numbers
        self.directions = (Direction(), Direction())
        self.is_open = True


@final
class Network:
    """All links, and the cuts between hosts."""

    def __init__(self, world: World, rng: Random, conditions: Conditions) -> None:
        self.world = world
        self.rng = rng
        self.conditions = conditions
        self.cuts: set[tuple[str, str]] = set()
        self.hosts: dict[str, Host] = {}
        self.messages = 0
        self.bytes = 0

    def latency_us(self) -> int:
        """A latency drawn from the conditions."""
        conditions, rng = self.conditions, self.rng
        latency = rng.randint(conditions.latency_us_min, conditions.latency_us_max)
        if conditions.slow_share and rng.random() < conditions.slow_share:
            latency += rng.randint(0, conditions.slow_us_max)
        while conditions.loss_share and rng.random() < conditions.loss_share:
            latency += RETRANSMIT_US
        return latency

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one host to another."""
        return (source, target) in self.cuts

    def dial(self, source: "Host", address: str, opened: Callable[[Wire], None], failed: Callable[[str], None]) -> None:
        """Open a link: three ways, all of which have to get through."""
        run = source.run

        def arrive() -> None:
            target = self.hosts.get(address)
            if source.run != run:
                return
            if target is None or target.node is None:
                failed("connection refused")
            elif self.is_cut(source.name, target.name) or self.is_cut(target.name, source.name):
                self.world.after(3 * RETRANSMIT_US, lambda: failed("timed out") if source.run == run else None)
            else:
                opened(Wire((source, target), (source.new_link(), target.new_link())))

        self.world.after(2 * self.latency_us(), arrive)

    def send(self, wire: Wire, side: int, data: bytes) -> None:
        """Send bytes from one end of a link."""
        direction = wire.directions[side]
        direction.queue.append(data)
        direction.bytes += len(data)
        self.messages += 1
        self.bytes += len(data)
        if not direction.paused and direction.bytes > self.conditions.window_bytes:
            direction.paused = True
            wire.ends[side].tell(wire, side, "paused")
        if not direction.busy:
            direction.busy = True
            self._schedule(wire, side)

    def _schedule(self, wire: Wire, side: int) -> None:
        direction = wire.directions[side]
        moment = max(self.world.now_us + self.latency_us(), direction.last_us)
        direction.last_us = moment
        self.world.at(moment, lambda: self._arrive(wire, side))

    def _arrive(self, wire: Wire, side: int) -> None:
        if not wire.is_open:
            return
        direction = wire.directions[side]
        source, target = wire.ends[side], wire.ends[1 - side]
        if self.is_cut(source.name, target.name) or target.is_stopped:
            now = self.world.now_us
            if direction.blocked_since_us is None:
                direction.blocked_since_us = now
            if now - direction.blocked_since_us > BREAK_US and not target.is_stopped:
                self.close(wire, None)
            else:
                self.world.after(RETRY_US, lambda: self._arrive(wire, side))
            return
        direction.blocked_since_us = None
        data = b"".join(direction.queue)  # what was sent meanwhile comes with it
        direction.queue.clear()
        direction.bytes = 0
        direction.busy = False
        if direction.paused:
            direction.paused = False
            source.tell(wire, side, "resumed")
        target.receive(wire, 1 - side, data)
        if wire.is_open and direction.queue and not direction.busy:
            direction.busy = True
            self._schedule(wire, side)

    def close(self, wire: Wire, by: int | None) -> None:
        """Close a link. The end that closes it sends what it has first; the other end is told when that has come."""
        if not wire.is_open:
            return
        if by is None:
            wire.is_open = False
            for side in (0, 1):
                wire.ends[side].tell(wire, side, "closed")
            return
        direction = wire.directions[by]
        target, other = wire.ends[1 - by], 1 - by
        pending = b"".join(direction.queue)
        wire.is_open = False

        def arrive() -> None:
            if self.is_cut(wire.ends[by].name, target.name) or target.is_stopped:
                self.world.after(RETRY_US * 5, arrive)
                return
            if pending:
                target.receive(wire, other, pending)
            target.tell(wire, other, "closed")

        self.world.after(self.latency_us(), arrive)
