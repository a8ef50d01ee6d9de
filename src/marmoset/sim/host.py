"""A simulated machine (beside the floors): one node at a time on it, with clocks that may be wrong.

It does what the runtime does: calls the node's handlers, then carries out the effects in order. A host that is stopped
(a slow node, a SIGSTOP) handles nothing; timers and bytes wait. A crash takes the node and all its links away without a
word; a restart makes a new node under the same name.
"""

from collections.abc import Callable
from random import Random
from typing import final

from marmoset.codec.frames import FrameReader
from marmoset.config import Config
from marmoset.node import Close, Dial, Exit, Node, Notify, Send, SetTimer
from marmoset.sim.network import Network, Wire
from marmoset.sim.world import US_PER_MS, World

WALL_EPOCH_MS = 1_700_000_000_000


@final
class HostTime:
    """The clocks of one host: the monotonic one is the world's, the wall clock is off by `skew_ms`."""

    __slots__ = ("_world", "skew_ms")

    def __init__(self, world: World) -> None:
        self._world = world
        self.skew_ms = 0

    def monotonic_ms(self) -> int:
        """Milliseconds since the world began."""
        return self._world.now_us // US_PER_MS

    def wall_ms(self) -> int:
        """What this host believes the time to be."""
        return WALL_EPOCH_MS + self._world.now_us // US_PER_MS + self.skew_ms


@final
class Host:
    """One machine of the simulated cluster."""

    def __init__(self, world: World, network: Network, name: str, config: Config, rng: Random) -> None:
        self.world = world
        self.network = network
        self.name = name
        self.address = f"{config.bind}:{config.gossip_port}"
        self.config = config
        self.rng = rng
        self.time = HostTime(world)
        self.node: Node | None = None
        self.run = 0
        """Grows with each start and crash, so that what belongs to an earlier run is ignored."""
        self.is_stopped = False
        self.exited: Exit | None = None
        self.on_notify: Callable[[Host, Notify], None] | None = None
        self._wires: dict[int, tuple[Wire, int]] = {}
        self._readers: dict[int, FrameReader] = {}
        self._links = 0
        self._waiting: list[Callable[[], None]] = []
        network.hosts[self.address] = self

    def start(self, join: tuple[str, ...]) -> None:
        """Start a node here."""
        from dataclasses import replace

        self.run += 1
        self.exited = None
        self.config = replace(self.config, join=join)
        self.node = Node(self.config, self.time, Random(self.rng.getrandbits(64)))
        self.node.start()
        self.settle()

    def crash(self) -> None:
        """The process is gone, without a word."""
        self.run += 1
        self.node = None
        self.is_stopped = False
        self._waiting.clear()
        wires, self._wires = list(self._wires.values()), {}
        self._readers.clear()
        for wire, side in wires:
            self.network.close(wire, side)

    def stop(self) -> None:
        """Handle nothing until `go_on`."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Handle what has waited, and everything from now on."""
        self.is_stopped = False
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def new_link(self) -> int:
        """A number for a new link."""
        self._links += 1
        return self._links

    # -- from the network

    def attach(self, wire: Wire, side: int) -> int:
        """Know a link by its number."""
        number = wire.numbers[side]
        self._wires[number] = (wire, side)
        self._readers[number] = FrameReader(self.config.frame_bytes_max + 4)
        return number

    def receive(self, wire: Wire, side: int, data: bytes) -> None:
        """Bytes have come over a link."""
        number = wire.numbers[side]
        node, reader = self.node, self._readers.get(number)
        if node is None or reader is None or self._wires.get(number, (None, 0))[0] is not wire:
            return
        for payload in reader.feed(data):
            node.handle_message(number, payload)
            self.settle()
            if self.node is not node or number not in self._wires:
                return

    def tell(self, wire: Wire, side: int, what: str) -> None:
        """A link is paused, resumed or closed; told at once, or when the host goes on."""
        number, run = wire.numbers[side], self.run

        def act() -> None:
            node = self.node
            if node is None or self.run != run or self._wires.get(number, (None, 0))[0] is not wire:
                return
            if what == "closed":
                del self._wires[number]
                del self._readers[number]
                node.handle_closed(number)
            elif what == "paused":
                node.handle_paused(number)
            else:
                node.handle_resumed(number)
            self.settle()

        if self.is_stopped:
            self._waiting.append(act)
        else:
            self.world.after(0, act)

    # -- effects

    def settle(self) -> None:
        """Carry out what the node wants done."""
        while self.node is not None and self.node.effects:
            effects, self.node.effects = self.node.effects, []
            for effect in effects:
                if isinstance(effect, Send):
                    self._send(effect)
                elif isinstance(effect, SetTimer):
                    self._set_timer(effect)
                elif isinstance(effect, Dial):
                    self._dial(effect.address)
                elif isinstance(effect, Close):
                    wire_side = self._wires.pop(effect.link, None)
                    self._readers.pop(effect.link, None)
                    if wire_side is not None:
                        self.network.close(*wire_side)
                elif isinstance(effect, Notify):
                    if self.on_notify is not None:
                        self.on_notify(self, effect)
                else:
                    self.exited = effect
                    self.crash()
                    self.exited = effect
                    return

    def _send(self, effect: Send) -> None:
        wire_side = self._wires.get(effect.link)
        if wire_side is not None and wire_side[0].is_open:
            self.network.send(*wire_side, effect.data)

    def _set_timer(self, effect: SetTimer) -> None:
        run = self.run

        def due() -> None:
            if self.node is None or self.run != run:
                return
            if self.is_stopped:
                self._waiting.append(due)
                return
            self.node.handle_timer(effect.token)
            self.settle()

        self.world.after(effect.delay_ms * US_PER_MS, due)

    def _dial(self, address: str) -> None:
        run = self.run

        def opened(wire: Wire) -> None:
            target = wire.ends[1]
            if self.node is None or self.run != run or target.node is None:
                return
            number, accepted = self.attach(wire, 0), target.attach(wire, 1)
            target_run = target.run

            def accept() -> None:
                if target.node is not None and target.run == target_run:
                    target.node.handle_accepted(accepted)
                    target.settle()

            if target.is_stopped:
                target._waiting.append(accept)
            else:
                accept()
            if self.is_stopped:
                self._waiting.append(lambda: self._dialled(run, number, address))
            else:
                self._dialled(run, number, address)

        def failed(why: str) -> None:
            if self.node is not None and self.run == run:
                self.node.handle_dial_failed(address, why)
                self.settle()

        self.network.dial(self, address, opened, failed)

    def _dialled(self, run: int, number: int, address: str) -> None:
        if self.node is not None and self.run == run and number in self._wires:
            self.node.handle_dialled(number, address)
            self.settle()
