"""A small group of live nodes with an intruder on every link and among the datagrams (beside the floors).

The nodes are the real ones, driven as the runtime drives them; what passes between them is spoilt now and then, in the
form that a peer without any manners would give it. So every state of a node and of a link is met by bytes that no
correct node sends. Nodes join, write, leave, are killed and started again under their names. What has to hold:

- no handler of a node ever raises: what cannot be taken closes the link, is counted, and nothing of it is kept;
- every datagram is counted by who gets it, as read, as bad or as ignored, and whatever a node sends fits a packet;
- what a node holds for others stays bounded, by its configuration;
- a node that cannot go on says so and ends, with code 1.

Whether the nodes agree is *not* checked: a peer that lies about its own operations is believed.
"""

from collections import Counter
from random import Random
from typing import Final, final

from marmoset.codec.channel import Channel
from marmoset.codec.frames import frames
from marmoset.codec.packets import PACKET_PROTOCOL, PACKET_ROOM, decode_packet
from marmoset.config import Config
from marmoset.errors import PeerError
from marmoset.node import Close, Dial, DropTimer, Exit, Node, Notify, Send, SendPacket, SetTimer
from marmoset.session import Clients, Session
from marmoset.sim.mutation import Maker
from marmoset.sim.world import US_PER_MS, World

WALL_MS: Final = 1_700_000_000_000
FRAME_MAX: Final = 4096
LIMIT: Final = FRAME_MAX + 4
LATENCY_US: Final = 300
LINKS_MAX: Final = 64
HELD_BYTES_MAX: Final = 4 << 20
SPOILT_SHARE: Final = 0.03
MACHINES: Final = 4
INJECTED: Final = 6
PACKETS_INJECTED: Final = 2

COMMANDS: Final = (
    "SADD s a b c",
    "SREM s a",
    "SET k v",
    "SET n 5",
    "INCRBY n 3",
    "RPUSH l a b c",
    "LPUSH l x",
    "LPOP l",
    "LSET l 0 z",
    "LINSERT l BEFORE a y",
    "HSET h f 1 g 2",
    "HINCRBY h f 2",
    "HDEL h g",
    "ZADD z 1 m 2 n",
    "ZINCRBY z 3 m",
    "EXPIRE s 1",
    "PERSIST s",
    "DEL l",
    "DEL h",
    "FLUSHALL",
)


class Fault(Exception):
    """Something that must not happen has happened."""


@final
class Machine:
    """One node and its end of every link, driven as the runtime does."""

    def __init__(self, group: "Intruded", number: int, join: tuple[str, ...]) -> None:
        self.group = group
        self.number = number
        self.address = f"127.0.0.1:{7000 + number}"
        config = Config(
            name=f"n{number}",
            gossip_port=7000 + number,
            join=join,
            gossip_interval=20,
            unreachable_after=300,
            join_timeout=500,
            reconnect_min=5,
            reconnect_max=1000,
            leave_timeout=500,
            log_budget=1 << 20,
            batch_bytes_max=1 << 16,
            frame_bytes_max=FRAME_MAX,
            link_buffer_max=1 << 16,
            split_above=8,
            presumed_dead_quorum="one",
        )
        self.node = Node(config, self, Random(group.rng.getrandbits(32)))
        self.session = Session(self.node, Clients(), 1, "127.0.0.1:1")
        self.ends: dict[int, Wire] = {}
        self.timers: set[int] = set()
        self.is_up = True
        self.node.start()
        self.settle()

    def monotonic_ms(self) -> int:
        """The time of the group."""
        return self.group.world.now_us // US_PER_MS

    def wall_ms(self) -> int:
        """The same, since 1970."""
        return WALL_MS + self.monotonic_ms()

    def settle(self) -> None:
        """Carry out the effects."""
        group, node = self.group, self.node
        while node.effects and self.is_up:
            effects, node.effects = node.effects, []
            for effect in effects:
                if isinstance(effect, Send):
                    if effect.link in self.ends:
                        self.ends[effect.link].send(self, effect.data)
                elif isinstance(effect, SendPacket):
                    group.send_packet(self, effect.address, effect.data)
                elif isinstance(effect, SetTimer):
                    self._set_timer(effect)
                elif isinstance(effect, DropTimer):
                    self.timers.remove(effect.token)
                elif isinstance(effect, Dial):
                    group.dial(self, effect.address)
                elif isinstance(effect, Close):
                    if effect.link in self.ends:
                        self.ends[effect.link].end(self)
                elif isinstance(effect, Notify):
                    group.counts[f"said: {effect.event}"] += 1
                    if "unsound" in effect.event:
                        group.counts[f"unsound: {effect.fields['why']}"] += 1
                elif isinstance(effect, Exit):
                    group.counts["ended: " + ("badly" if effect.code else "well")] += 1
                    self.stop()
                    return

    def _set_timer(self, effect: SetTimer) -> None:
        self.timers.add(effect.token)

        def due() -> None:
            if self.is_up and effect.token in self.timers:
                self.timers.remove(effect.token)
                self.node.handle_timer(effect.token)
                self.settle()

        self.group.world.after(effect.delay_ms * US_PER_MS, due)

    def stop(self) -> None:
        """The process is gone."""
        self.is_up = False
        for wire in list(self.ends.values()):
            wire.end(self)

    def attach(self, wire: "Wire", address: str) -> None:
        """A new link, dialled if there is an address."""
        if self.is_up:
            if address:
                self.node.handle_dialled(wire.number, address)
            else:
                self.node.handle_accepted(wire.number)
            self.settle()

    def receive_packet(self, address: str, data: bytes) -> None:
        """A datagram has come, which is counted by the node, once."""
        if not self.is_up or self.node.replica.unsound:
            return
        node, is_bad = self.node, False
        try:
            decode_packet(data)
        except PeerError:
            is_bad = True
        before = {**node.counters, **node.membership.counters}
        node.handle_packet(address, data)
        after = {**node.counters, **node.membership.counters}
        read, ignored, bad = (after[name] - before[name] for name in ("packets_in", "packets_ignored", "packets_bad"))
        if read + ignored != 1 or bad != (read and is_bad):
            raise Fault(f"a packet is counted as {read} read, {ignored} ignored and {bad} bad")
        self.group.counts["packets_ignored" if ignored else "packets_bad" if bad else "packets_in"] += 1
        self.settle()

    def command(self, text: str) -> None:
        """A client's turn."""
        self.session.receive(text.encode() + b"\r\n")
        self.node.end_turn()
        self.settle()

    def held_bytes(self) -> int:
        """What is kept of unfinished frames, messages and streams."""
        links = self.node.links.values()
        streams = sum(link.stream.held_bytes for link in links if link.stream is not None)
        channels = sum(wire.channels[self].held_bytes for wire in self.ends.values())
        return streams + channels + sum(link.messages.held_bytes for link in links)


@final
class Wire:
    """One link: what is sent on one side comes to the other a moment later, in order, sometimes spoilt."""

    def __init__(self, group: "Intruded", number: int, dialler: Machine, acceptor: Machine) -> None:
        self.group = group
        self.number = number
        self.sides = (dialler, acceptor)
        self.channels = {side: Channel(None, "marmoset", side is dialler, b"", LIMIT) for side in self.sides}
        for side in self.sides:
            side.ends[number] = self

    def send(self, source: Machine, data: bytes) -> None:
        """Send bytes from one side."""
        target = self.sides[1] if source is self.sides[0] else self.sides[0]
        self.group.world.after(LATENCY_US, lambda: self.arrive(target, self.group.meet(target, self.number, data)))

    def arrive(self, target: Machine, data: bytes) -> None:
        """Bytes come to one side."""
        if self.number in target.ends and target.is_up:
            try:
                payloads = self.channels[target].feed(data)
            except PeerError:
                self.group.counts["frames_bad"] += 1
                self._lose(target)
                target.node.handle_closed(self.number)
                target.settle()
                return
            for payload in payloads:
                if self.number in target.ends and target.is_up:
                    target.node.handle_message(self.number, payload)
                    target.settle()

    def end(self, source: Machine) -> None:
        """One side closes: the other is told behind what was sent."""
        self._lose(source)

    def _lose(self, source: Machine) -> None:
        source.ends.pop(self.number, None)
        target = self.sides[1] if source is self.sides[0] else self.sides[0]

        def tell() -> None:
            if target.ends.pop(self.number, None) is not None and target.is_up:
                target.node.handle_closed(self.number)
                target.settle()

        self.group.world.after(LATENCY_US, tell)


@final
class Intruded:
    """The group, for one run: `run(n)` goes on until n pieces were spoilt."""

    def __init__(self, rng: Random, maker: Maker, counts: Counter[str], states: Counter[str]) -> None:
        self.rng = rng
        self.maker = maker
        self.counts = counts
        self.states = states
        """How many pieces were spoilt, by the state of the node and of the link that got them."""
        self.world = World()
        self.spoilt = 0
        self.last = b""
        """The latest piece that was spoilt, for a report."""
        self._kept = b"\x90"
        self._wires = 0
        self.machines: list[Machine] = []

    def dial(self, source: Machine, address: str) -> None:
        """Open a link, if there is a node."""
        target = next((m for m in self.machines if m.address == address and m.is_up), None)

        def answer() -> None:
            if target is None or not target.is_up:
                if source.is_up:
                    source.node.handle_dial_failed(address, "nobody")
                    source.settle()
                return
            if source.is_up:
                self._wires += 1
                wire = Wire(self, self._wires, source, target)
                target.attach(wire, "")
                source.attach(wire, address)

        self.world.after(LATENCY_US, answer)

    def send_packet(self, source: Machine, address: str, data: bytes) -> None:
        """A datagram is sent: it comes a moment later, sometimes spoilt, to whoever is there."""
        if len(data) > PACKET_ROOM:
            raise Fault(f"a packet of {len(data)} bytes is sent")
        if self.rng.random() < SPOILT_SHARE:
            data = self._spoil_packet(data)

        def come() -> None:
            for target in self.machines:
                if target.address == address and target.is_up:
                    target.receive_packet(source.address, data)
                    return

        self.world.after(LATENCY_US, come)

    def _inject_packet(self, target: Machine) -> None:
        """A datagram that nobody sent, in the name of somebody."""
        replica, rng = target.node.replica, self.rng
        self.maker.replicas = [*filter(None, (replica.me, *replica.seen)), rng.getrandbits(60) or 1]
        sender = rng.choice(self.maker.replicas)
        whole = self.maker.packet(PACKET_PROTOCOL, target.node.config.cluster, sender, [])
        address = f"127.0.0.1:{7000 + rng.randrange(MACHINES)}"
        target.receive_packet(address, self._spoil_packet(whole) if rng.random() < 0.5 else whole)

    def _spoil_packet(self, data: bytes) -> bytes:
        self.spoilt += 1
        maker = self.maker
        self.last = maker.spoil_packet(data) if self.rng.random() < 0.5 else maker.spoil_bytes(data, self._kept)
        return self.last

    def run(self, count: int) -> None:
        """Go on until so many pieces were spoilt. Raises whatever a node raises, and `Fault`."""
        rng = self.rng
        while self.spoilt < count:
            up = self.machines
            serving = [machine for machine in up if machine.node.state == "serving"]
            chance = rng.random()
            if len(up) < MACHINES and (not up or chance < 0.3):
                number = rng.choice(sorted(set(range(MACHINES)) - {machine.number for machine in up}))
                up.append(Machine(self, number, tuple(machine.address for machine in serving or up)))
            elif chance < 0.04 or not serving:
                rng.choice(up).stop()
            elif chance < 0.05 and len(serving) > 2:
                rng.choice(serving).node.leave()
            else:
                rng.choice(serving).command(rng.choice(COMMANDS))
            for machine in up:
                machine.settle()
            for _ in range(INJECTED):
                self._inject(rng.choice(up))
            for _ in range(PACKETS_INJECTED):
                self._inject_packet(rng.choice(up))
            self.world.run_until(self.world.now_us + rng.randrange(20 * US_PER_MS))
            for machine in self.machines:
                self._check(machine)
            self.machines = [machine for machine in self.machines if machine.is_up]

    def _inject(self, target: Machine) -> None:
        """Something comes over a link on which nothing was sent."""
        if target.ends and target.is_up:
            number = self.rng.choice(sorted(target.ends))
            spoilt = self._spoil(target, number, frames(self._kept, FRAME_MAX))
            target.ends[number].arrive(target, spoilt)

    def meet(self, target: Machine, number: int, data: bytes) -> bytes:
        """What comes in the place of a piece of a stream: mostly itself."""
        if self.rng.random() >= SPOILT_SHARE or number not in target.ends or not target.is_up:
            return data
        return self._spoil(target, number, data)

    def _spoil(self, target: Machine, number: int, data: bytes) -> bytes:
        rng = self.rng
        link = target.node.links.get(number)
        self.spoilt += 1
        self.states[f"node {target.node.state}"] += 1
        self.states[f"link {'unknown' if link is None else link.state}"] += 1
        self.maker.replicas = [*target.node.replica.seen]
        first = data[5 : 4 + int.from_bytes(data[:4], "big")] if data[4:5] == b"\x01" else b""
        chance = rng.random()
        if chance < 0.5 and first:
            rest = data[5 + len(first) :]
            spoilt = frames(self.maker.spoil_fields(first), FRAME_MAX) + rest
        elif chance < 0.7:
            spoilt = data + frames(self.maker.message(), FRAME_MAX) if rng.random() < 0.5 else self._replay(data)
        elif chance < 0.85 and first:
            spoilt = frames(self.maker.spoil_bytes(first, self._kept), FRAME_MAX)
        else:
            spoilt = self.maker.spoil_frames(data)
        if first and rng.random() < 0.2:
            self._kept = first
        self.last = spoilt
        return spoilt

    def _replay(self, data: bytes) -> bytes:
        """Something that was sent before, perhaps on another link."""
        again = frames(self._kept, FRAME_MAX)
        return again + data if self.rng.random() < 0.5 else data + again

    def _check(self, machine: Machine) -> None:
        """What has to hold for every node, whatever came."""
        node = machine.node
        if machine.timers != node._timers.keys() or len(machine.timers) > len(set(node._timers.values())):
            raise Fault(f"timers {machine.timers} are under way where {node._timers} should be")
        if len(node.links) > LINKS_MAX or len(machine.ends) > LINKS_MAX:
            raise Fault(f"{len(node.links)} links are kept")
        held = machine.held_bytes()
        if held > HELD_BYTES_MAX:
            raise Fault(f"{held} bytes are held for others")
        if machine.is_up and set(node.links) - set(machine.ends):
            raise Fault("the node keeps a link that is gone")
