"""A simulated machine (beside the floors): one node at a time on it, with clocks that may be wrong.

It does what the runtime does: calls the node's handlers, then carries out the effects in order. A host that is
stopped (a slow node, a SIGSTOP) handles nothing; timers and bytes wait. A crash takes the node and all its links
away; a restart makes a new node under the same name. After each event the history is told what has changed.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final, final

from marmoset.codec.channel import RANDOM_BYTES, Channel
from marmoset.codec.keyring import Keyring
from marmoset.codec.sealing import PacketSealer, SealError
from marmoset.config import Config
from marmoset.ids import ReplicaId
from marmoset.node import Close, Dial, DropTimer, Exit, Node, Notify, Send, SendPacket, SetTimer
from marmoset.session import Clients, Session
from marmoset.sim.history import Breach, History, Witness
from marmoset.sim.network import CLOSED, PAUSED, Network, Wire
from marmoset.sim.world import US_PER_MS, World

WALL_EPOCH_MS: Final = 1_700_000_000_000
HANDSHAKE_US: Final = 3000 * US_PER_MS
FORBIDDEN_EVENTS: Final = ("internal error", "bad message")
"""What no correct node may say among correct nodes."""
DATAGRAMS_WAITING_MAX: Final = 500
"""What the kernel of a stopped host keeps."""
NAP_US_MIN: Final = 2_000_000
"""Stops of this length are long enough that a node has to notice them."""


@final
class HostTime:
    """The clocks of one host: the monotonic one is the world's, the wall clock is off by `skew_ms`."""

    __slots__ = ("_world", "latest_ms", "skew_ms")

    def __init__(self, world: World) -> None:
        self._world = world
        self.skew_ms = 0
        self.latest_ms = 0
        """The latest time that the wall clock ever showed."""

    def monotonic_ms(self) -> int:
        """Milliseconds since the world began."""
        return self._world.now_us // US_PER_MS

    def wall_ms(self) -> int:
        """What this host believes the time to be."""
        now_ms = WALL_EPOCH_MS + self._world.now_us // US_PER_MS + self.skew_ms
        self.latest_ms = max(self.latest_ms, now_ms)
        return now_ms


@final
class Host:
    """One machine of the simulated cluster."""

    def __init__(
        self,
        world: World,
        network: Network,
        history: History,
        config: Config,
        rng: Random,
        prepare: Callable[[Node], None] = lambda node: None,
        keyring: Keyring | None = None,
    ) -> None:
        self.world = world
        self.network = network
        self.history = history
        self.name = config.name
        self.address = f"{config.bind}:{config.gossip_port}"
        self.config = config
        self.rng = rng
        self.prepare = prepare
        """Shrinks the limits of a new node."""
        self.keyring = keyring
        self.sealing_rng = Random(f"{config.name} sealing {[] if keyring is None else keyring.ids()}")
        self._sealer = PacketSealer(keyring, config.cluster, self.sealing_rng.randbytes)
        self._datagrams_waiting = 0
        self.time = HostTime(world)
        self.node: Node | None = None
        self.witness: Witness | None = None
        self.clients = Clients()
        self.run = 0
        """Grows with each start and crash, so that what belongs to an earlier run is ignored."""
        self.ended_us: dict[ReplicaId, int] = {}
        """When the nodes that ran here ended, by a crash or by themselves, under their last ids; in this order."""
        self.is_stopped = False
        self.nap: tuple[int, int] | None = None
        """From when to when it was last stopped for longer than `NAP_US_MIN`, and than it takes to find out that
        somebody is gone: whoever came back meanwhile may have been lost again."""
        self._stopped_us = 0
        self.is_silent = False
        """The machine is off: nobody answers, not even with a refusal."""
        self.lag_us = 0
        self.exited: Exit | None = None
        self.on_notify: Callable[[Host, Notify], None] | None = None
        self.on_exit: Callable[[Host, Exit], None] | None = None
        self._wires: dict[int, tuple[Wire, int]] = {}
        self._channels: dict[int, Channel] = {}
        self._shaking: dict[int, str] = {}
        """Links whose channels are not open yet, with the address that was dialled."""
        self._links = 0
        self._waiting: list[Callable[[], None]] = []
        self.timers: set[int] = set()
        """The tokens of the timers that are under way."""
        self._turn_wanted = False
        network.hosts[self.address] = self

    @property
    def is_serving(self) -> bool:
        """Whether clients get answers here."""
        return self.node is not None and self.node.state == "serving"

    def start(self, join: tuple[str, ...], bootstrap_expect: int = 0) -> None:
        """Start a node here."""
        assert self.node is None
        self.run += 1
        self.nap = None
        self.exited = None
        self.is_silent = False
        self.config = replace(self.config, join=join, bootstrap_expect=bootstrap_expect)
        self.clients = Clients()
        self.node = Node(self.config, self.time, Random(self.rng.getrandbits(64)))
        self.prepare(self.node)
        node = self.node

        def may_reset() -> bool:
            return node.state == "rehabilitating" or node.memory_limit.is_removing

        self.witness = Witness(self.history, node.replica, self.name, may_reset)
        self.node.start()
        self.settle()

    def crash(self, silent: bool = False) -> None:
        """The process is gone; with `silent` the whole machine, so that nobody is told."""
        self.run += 1
        self._end()
        self.witness = None
        self.is_stopped = False
        self.is_silent = silent
        self._turn_wanted = False
        self._waiting.clear()
        self.timers.clear()
        self._datagrams_waiting = 0
        for wire, side in self._detach_all():
            self.network.drop(wire, side, silent)
        self.network.kick()

    def _end(self) -> None:
        if self.node is not None:
            self.ended_us[self.node.replica.me] = self.world.now_us
        self.node = None

    def stop(self) -> None:
        """Handle nothing until `go_on`."""
        self.is_stopped = True
        self._stopped_us = self.world.now_us

    def go_on(self) -> None:
        """Handle what has waited, and everything from now on."""
        self.is_stopped = False
        if self.world.now_us - self._stopped_us > max(NAP_US_MIN, self.config.unreachable_after * US_PER_MS):
            self.nap = (self._stopped_us, self.world.now_us)
        waiting, self._waiting = self._waiting, []
        self._datagrams_waiting = 0
        for action in waiting:
            action()
        self.network.kick(self)

    def new_link(self) -> int:
        """A number for a new link."""
        self._links += 1
        return self._links

    # -- clients

    def connect(self, number: int) -> Session:
        """A client connects."""
        assert self.node is not None
        return Session(self.node, self.clients, number, f"10.0.0.{number}:1")

    def command(self, session: Session, data: bytes, turn_us: int) -> bytes:
        """A client's bytes arrive: the reply. The turn ends a moment later."""
        assert self.witness is not None
        self.witness.in_command = True
        reply = session.receive(data)
        self.witness.in_command = False
        self.settle()
        self._want_turn(turn_us)
        return reply

    def program(self, work: Callable[[Node], None], turn_us: int) -> None:
        """A program in the node's process does something, without the protocol. The turn ends a moment later."""
        assert self.node is not None and self.witness is not None
        self.witness.in_command = True
        work(self.node)
        self.witness.in_command = False
        self.settle()
        self._want_turn(turn_us)

    def _want_turn(self, turn_us: int) -> None:
        if not self._turn_wanted:
            self._turn_wanted = True
            run = self.run
            self.world.after(turn_us, lambda: self._end_turn(run))

    def _end_turn(self, run: int) -> None:
        if self.node is None or self.run != run:
            return
        if self.is_stopped:
            self._waiting.append(lambda: self._end_turn(run))
            return
        self._turn_wanted = False
        self.node.end_turn()
        self.settle()

    # -- from the network

    def attach(self, wire: Wire, side: int) -> int:
        """Know a link by its number."""
        number = wire.numbers[side]
        self._wires[number] = (wire, side)
        randomness = b"" if self.keyring is None else self.sealing_rng.randbytes(RANDOM_BYTES)
        frame_bytes_max = self.config.frame_bytes_max + 4
        self._channels[number] = Channel(self.keyring, self.config.cluster, side == 0, randomness, frame_bytes_max)
        return number

    def _detach(self, number: int) -> tuple[Wire, int] | None:
        self._channels.pop(number, None)
        self._shaking.pop(number, None)
        return self._wires.pop(number, None)

    def _detach_all(self) -> list[tuple[Wire, int]]:
        wires, self._wires = list(self._wires.values()), {}
        self._channels.clear()
        self._shaking.clear()
        return wires

    def _shake(self, number: int, address: str) -> None:
        """Begin the handshake of a link whose channel is not open, and end it where that takes too long."""
        self._shaking[number] = address
        wire, side = self._wires[number]
        run = self.run
        if self._channels[number].first:
            self.network.send(wire, side, self._channels[number].first)

        def give_up() -> None:
            if self.run == run and number in self._shaking and self._has(number, wire):
                self._detach(number)
                self.network.close(wire, side)
                self._dial_failed(run, address, "no handshake")

        self.world.after(HANDSHAKE_US, give_up)

    def _dial_failed(self, run: int, address: str, why: str) -> None:
        if self.node is None or self.run != run or not address:
            return
        if self.is_stopped:
            self._waiting.append(lambda: self._dial_failed(run, address, why))
            return
        self.node.handle_dial_failed(address, why)
        self.settle()

    def _has(self, number: int, wire: Wire) -> bool:
        known = self._wires.get(number)
        return known is not None and known[0] is wire

    def receive(self, wire: Wire, side: int, data: bytes) -> None:
        """Bytes have come over a link."""
        number = wire.numbers[side]
        node, channel = self.node, self._channels.get(number)
        if node is None or channel is None or not self._has(number, wire):
            return
        payloads = channel.feed(data)
        if reply := channel.take_reply():
            self.network.send(wire, side, reply)
        if channel.is_open and number in self._shaking:
            address = self._shaking.pop(number)
            if address:
                node.handle_dialled(number, address)
            else:
                node.handle_accepted(number)
            self.settle()
        for payload in payloads:
            if self.node is not node or number not in self._wires:
                return
            node.handle_message(number, payload)
            self.settle()

    def receive_datagram(self, address: str, data: bytes) -> None:
        """A datagram has come; a stopped host reads it later, if its kernel has room."""
        node, run = self.node, self.run
        if node is None:
            return
        if self.is_stopped:
            if self._datagrams_waiting < DATAGRAMS_WAITING_MAX:
                self._datagrams_waiting += 1
                self._waiting.append(lambda: self.receive_datagram(address, data) if self.run == run else None)
            return
        try:
            packet = self._sealer.open(data)
        except SealError:
            node.counters["datagrams_refused"] += 1
            return
        node.handle_packet(address, packet)
        self.settle()

    def tell(self, wire: Wire, side: int, what: str) -> None:
        """A link is paused, resumed or closed; told at once, or when the host goes on."""
        number, run = wire.numbers[side], self.run

        def act() -> None:
            node = self.node
            if node is None or self.run != run or not self._has(number, wire):
                return
            if self.is_stopped:
                self._waiting.append(act)
                return
            if what == CLOSED:
                wire.open[side] = False
                address = self._shaking.get(number, "")
                self._detach(number)
                node.handle_closed(number)
                if address:
                    node.handle_dial_failed(address, "closed before its handshake was over")
            elif what == PAUSED:
                node.handle_paused(number)
            else:
                node.handle_resumed(number)
            self.settle()

        self.world.after(0, act)

    def held_bytes(self) -> int:
        """Bytes of unfinished frames and messages."""
        frames = sum(channel.held_bytes for channel in self._channels.values())
        return frames + (0 if self.node is None else sum(link.messages.held_bytes for link in self.node.links.values()))

    # -- effects

    def settle(self) -> None:
        """Tell the history what the node has done, and carry out what it wants done."""
        if self.witness is not None:
            self.witness.note()
        while self.node is not None and self.node.effects:
            effects, self.node.effects = self.node.effects, []
            for effect in effects:
                if isinstance(effect, Send):
                    wire_side = self._wires.get(effect.link)
                    if wire_side is not None:
                        self.network.send(*wire_side, self._channels[effect.link].seal(effect.data))
                elif isinstance(effect, SendPacket):
                    self.network.send_datagram(self, effect.address, self._sealer.seal(effect.data))
                elif isinstance(effect, SetTimer):
                    self._set_timer(effect)
                elif isinstance(effect, DropTimer):
                    self.timers.remove(effect.token)
                elif isinstance(effect, Dial):
                    self._dial(effect.address)
                elif isinstance(effect, Close):
                    wire_side = self._detach(effect.link)
                    if wire_side is not None:
                        self.network.close(*wire_side)
                elif isinstance(effect, Notify):
                    self._notified(effect)
                else:
                    self._exit(effect)
                    return

    def _notified(self, notice: Notify) -> None:
        if self.on_notify is not None:
            self.on_notify(self, notice)
        if notice.event in FORBIDDEN_EVENTS:
            raise Breach(f"{self.name} says {notice.event}: {notice.fields}")

    def _exit(self, effect: Exit) -> None:
        if self.on_exit is not None:
            self.on_exit(self, effect)
        self.run += 1
        self._end()
        self.witness = None
        self._waiting.clear()
        self.timers.clear()
        self._datagrams_waiting = 0
        self._turn_wanted = False
        for wire, side in self._detach_all():
            self.network.close(wire, side)
        self.exited = effect

    def _set_timer(self, effect: SetTimer) -> None:
        run = self.run
        self.timers.add(effect.token)

        def due() -> None:
            if self.node is None or self.run != run or effect.token not in self.timers:
                return
            if self.is_stopped:
                self._waiting.append(due)
                return
            self.timers.remove(effect.token)
            self.node.handle_timer(effect.token)
            self.settle()

        self.world.after(effect.delay_ms * US_PER_MS, due)

    def _dial(self, address: str) -> None:
        run = self.run

        def opened(wire: Wire) -> None:
            target = wire.ends[1]
            number = self.attach(wire, 0)
            target._accept(wire)
            if self._channels[number].is_open:
                self._dialled(run, wire, number, address)
            else:
                self._shake(number, address)

        self.network.dial(self, address, opened, lambda why: self._dial_failed(run, address, why))

    def _accept(self, wire: Wire) -> None:
        number, run = self.attach(wire, 1), self.run

        def accept() -> None:
            if self.node is not None and self.run == run and self._has(number, wire):
                self.node.handle_accepted(number)
                self.settle()

        if not self._channels[number].is_open:
            self._shake(number, "")
        elif self.is_stopped:
            self._waiting.append(accept)
        else:
            accept()

    def _dialled(self, run: int, wire: Wire, number: int, address: str) -> None:
        if self.node is None or self.run != run or not self._has(number, wire):
            return
        if self.is_stopped:
            self._waiting.append(lambda: self._dialled(run, wire, number, address))
            return
        self.node.handle_dialled(number, address)
        self.settle()
