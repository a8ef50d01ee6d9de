"""Spoilt datagrams for failure detection (beside the floors): the target `packets` of the fuzzer.

`Listener` is one live machine of SWIM, alone or with members that are alive, suspected, unreachable or have left, with
long names or short ones, with a keyring or without, leaving or not. It gets packets of every kind, from members,
strangers and itself, in other clusters and with seqs that are waited for, spoilt on fields and bytes. What has to hold:

- a datagram that does not open, and a packet that cannot be read, is refused with an error of its own and counted once;
- nobody is followed who was not added, and everything that is held is bounded (`Swim._check`);
- an answer is one packet at the most, fits, and can be read; a stranger gets no more bytes than it sent, and a few.
"""

from collections import Counter
from random import Random
from typing import Final, final

from marmoset.codec.keyring import Key, Keyring
from marmoset.codec.packets import PACKET_PROTOCOL, PACKET_ROOM, Details, Packet, Ping, PingRequest, decode_packet
from marmoset.codec.sealing import PacketSealer, SealError
from marmoset.errors import PeerError
from marmoset.membership.effects import Announced, Changed, Exchange, SendPacket
from marmoset.membership.profiles import LAN, LOOPBACK
from marmoset.membership.swim import Swim
from marmoset.sim.mutation import Maker

CLUSTER: Final = "marmoset"
SIZES: Final = (0, 1, 2, 5, 40, 300)
LONGEST: Final = ("ж" * 64, "ж" * 262, "ж" * 64, "9")
SHORT: Final = ("ada", "127.0.0.1:7000", "127.0.0.1:6379", "9")
STRANGERS: Final = 3
ANSWER_BYTES_MORE: Final = 64
"""An answer to a stranger may be longer than what it sent by two ids and an incarnation."""
CHECKED: Final = 16
TICKS: Final = 3
"""What is due at once behind a tick, such as a suspicion that our own failed probe cuts short, is done by the next."""


class PacketFault(Exception):
    """A machine that got packets has done what it must not do."""


@final
class Listener:
    """One machine of SWIM: `hear` gives it one spoilt datagram, and looks at what follows."""

    def __init__(self, rng: Random, maker: Maker, counts: Counter[str], states: Counter[str]) -> None:
        self.rng = rng
        self.maker = maker
        self.counts = counts
        self.states = states
        self.now = 0
        self.last = b""
        me, *others = (rng.getrandbits(60) or 1 for _ in range(1 + rng.choice(SIZES)))
        self.cluster = rng.choice([CLUSTER, "ж" * 64])
        details = Details(*rng.choice([SHORT, LONGEST]))
        self.swim = Swim(me, self.cluster, rng.choice([LAN, LOOPBACK]), Random(rng.random()), 0, details)
        for number, replica in enumerate(others):
            self.swim.add(replica, 0, f"10.0.{number >> 8}.{number & 255}:7946", rng.choice([None, details]))
        self.members = frozenset(self.swim.peers)
        if rng.random() < 0.2:
            self.swim.leave()
        self.swim.effects.clear()
        ring, other = (Keyring([Key(rng.randbytes(32))]) for _ in range(2))
        self.ring = rng.choice([None, ring])
        self.sealer = PacketSealer(self.ring, CLUSTER, rng.randbytes)
        self.foreign = PacketSealer(rng.choice([None, other] if self.ring else [other]), CLUSTER, rng.randbytes)
        self.known = [me, *others[:6], *(rng.getrandbits(60) or 1 for _ in range(STRANGERS))]
        self.kept = b"\x96"

    def hear(self) -> None:
        """One datagram. O(its length + members now and then)."""
        if self.rng.random() < 0.1:
            self._pass_time()
        self.maker.replicas = self.known
        data = self._spoilt()
        self.last = data
        sealed = (self.foreign if self.rng.random() < 0.1 else self.sealer).seal(data)
        if self.rng.random() < 0.1:
            sealed = self.maker.spoil_bytes(sealed, sealed)
        refused = sum(self.sealer.refused.values())
        try:
            opened = self.sealer.open(sealed)
        except SealError:
            self.counts["packets: not opened"] += 1
            if sum(self.sealer.refused.values()) != refused + 1:
                raise PacketFault("a datagram that does not open is not counted") from None
            return
        self._take(opened)

    def _spoilt(self) -> bytes:
        rng, maker, swim = self.rng, self.maker, self.swim
        waited = [*swim._asked, *list(swim._relays)[:4]]
        if swim._probe is not None:
            waited.append(swim._probe.seq)
        whole = maker.packet(PACKET_PROTOCOL, self.cluster, rng.choice(self.known), waited)
        if rng.random() < 0.2:
            self.kept = whole
            maker.newest += 1
        chance = rng.random()
        if chance < 0.3:
            return whole
        if chance < 0.6:
            return maker.spoil_packet(whole)
        if chance < 0.9:
            return maker.spoil_bytes(whole, self.kept)
        return whole + self.kept

    def _take(self, data: bytes) -> None:
        swim = self.swim
        before, packet = dict(swim.counters), None
        try:
            packet = decode_packet(data)
        except PeerError as problem:
            if problem.changed:
                raise PacketFault("a fault of a peer that changed something") from problem
        address = "10.9.9.9:1" if self.rng.random() < 0.5 else "10.0.0.0:7946"
        swim.handle_packet(address, data, self.now)
        grown = {name: count - before[name] for name, count in swim.counters.items() if count != before[name]}
        if grown.get("packets_in") != 1 or grown.get("packets_bad", 0) != (packet is None):
            raise PacketFault(f"a packet is not counted as it should be: {grown}")
        self.counts["packets: read" if packet is not None else "packets: refused"] += 1
        if packet is not None:
            self._check_counted(packet, grown)
            self.states[f"packet {type(packet.body).__name__} to {len(self.members)} members"] += 1
        self._check_effects(data, packet)
        self._check_held()

    def _check_counted(self, packet: Packet, grown: dict[str, int]) -> None:
        """What is dropped although it can be read is counted too."""
        swim, body = self.swim, packet.body
        is_ours = packet.cluster == self.cluster and packet.protocol == PACKET_PROTOCOL and packet.sender != swim.me
        asks = isinstance(body, PingRequest) and packet.sender not in self.members
        if grown.get("packets_foreign", 0) != (not is_ours or asks):
            raise PacketFault(f"a foreign packet is not counted as one: {packet}")
        if is_ours and isinstance(body, Ping) and grown.get("packets_misaddressed", 0) != (body.target != swim.me):
            raise PacketFault(f"a misaddressed packet is not counted as one: {packet}")

    def _check_effects(self, data: bytes, packet: Packet | None) -> None:
        sent = [effect for effect in self.swim.effects if isinstance(effect, SendPacket)]
        said = Counter(type(effect) for effect in self.swim.effects)
        if len(sent) > 1 or (packet is None and self.swim.effects):
            raise PacketFault(f"{len(self.swim.effects)} effects follow from one packet")
        for effect in sent:
            assert packet is not None
            if packet.sender not in self.members and len(effect.data) > len(data) + ANSWER_BYTES_MORE:
                raise PacketFault(f"a stranger gets {len(effect.data)} bytes for {len(data)}")
        updates = 0 if packet is None else len(packet.updates)
        exchanges = {effect.replica for effect in self.swim.effects if isinstance(effect, Exchange)}
        if len(exchanges) != said[Exchange] or said[Changed] + said[Announced] > updates + 2:
            raise PacketFault(f"{said} follow from a packet with {updates} updates")
        self._drop_effects()

    def _drop_effects(self) -> None:
        for effect in self.swim.effects:
            if isinstance(effect, SendPacket):
                if len(effect.data) > PACKET_ROOM:
                    raise PacketFault(f"a packet of {len(effect.data)} bytes is sent")
                decode_packet(effect.data)
                self.counts["packets: answers and probes"] += 1
        self.swim.effects.clear()

    def _check_held(self) -> None:
        if self.swim.peers.keys() != self.members:
            raise PacketFault("somebody is followed who was not added, or no more")
        if self.rng.randrange(CHECKED) == 0:
            self.swim._check()
            self.states.update(f"member {peer.state}" for peer in list(self.swim.peers.values())[:8])

    def _pass_time(self) -> None:
        """Some time passes, sometimes more than a machine that runs would let pass."""
        swim, rng = self.swim, self.rng
        if self.members and rng.random() < 0.05:
            swim.ask(rng.choice(sorted(self.members)))
        self.now = max(self.now, swim.due_ms if rng.random() < 0.9 else self.now + rng.randrange(5000))
        for _ in range(TICKS):
            swim.tick(self.now)
            self._drop_effects()
            if swim.due_ms > self.now:
                return
        raise PacketFault("time stands still")
