"""The fuzzer (beside the floors): whatever comes over the network, no node falls over it.

    python -m marmoset.sim.fuzz --count 1000000 --seed 7          # make fuzz FUZZ_COUNT=1000000

Four targets take turns, each round from a generator that seed, target and number of the round name:

- `codec`: streams of frames, cut anywhere, through channel, message reader and decoders;
- `sealed`: handshakes, records and datagrams of encrypted nodes, changed on their way;
- `packets`: datagrams of failure detection, for machines of SWIM in every state (`sim.packet_fuzz`);
- `nodes`: live nodes in every state, with an intruder on every link and among the datagrams (`sim.intruder`).

Every spoilt piece is either refused with a `PeerError` (in a node: counted, and the link closed) or it says something
that a node could have said. Anything else raised is a fault: it is printed with its piece and the way to play it again.
What the readers hold is bounded at every step, and the process may not grow by more than `GROWTH_MAX`.
"""

import argparse
import resource
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final, final

from marmoset.codec.channel import RECORD_BYTES, Channel
from marmoset.codec.frames import MessageReader, frames
from marmoset.codec.keyring import Key, Keyring
from marmoset.codec.messages import Batch, SnapshotPart, decode
from marmoset.codec.sealing import PacketSealer, SealError
from marmoset.codec.wire import decode_operations
from marmoset.crdts.exports import decode_entries
from marmoset.errors import PeerError
from marmoset.sim.intruder import Fault, Intruded
from marmoset.sim.mutation import Maker
from marmoset.sim.packet_fuzz import Listener

ROUND: Final = {"codec": 5000, "sealed": 2000, "packets": 5000, "nodes": 3000}
"""How many pieces of each target make a round of all."""
FRAME_MAX: Final = 4096
MESSAGE_MAX: Final = 1 << 16
KEPT: Final = 64
GROUP: Final = 500
"""How many pieces one group of nodes gets."""
HEARD: Final = 250
"""How many datagrams one machine of SWIM gets."""
GROWTH_MAX: Final = 256 << 20


@final
class Fuzzer:
    """One run: `counts` says what became of the pieces, `states` which states of nodes and links they met."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.states: Counter[str] = Counter()
        self.last = b""
        self._rounds = 0

    def run(self, count: int) -> int:
        """Spoil at least so many pieces; how many it were. Raises what a target raises, and `Fault`."""
        pieces = 0
        while pieces < count:
            self._rounds += 1
            share = min(1.0, (count - pieces) / sum(ROUND.values()))
            for target, size in ROUND.items():
                pieces += self._play(target, max(1, round(size * share)))
        return pieces

    def _play(self, target: str, count: int) -> int:
        rng = Random(f"{self.seed} {target} {self._rounds}")
        play: Callable[[Random, Maker, int], None] = {
            "codec": self._codec,
            "sealed": self._sealed,
            "packets": self._packets,
            "nodes": self._nodes,
        }[target]
        play(rng, Maker(rng), count)
        self.counts[f"{target}: pieces"] += count
        return count

    # -- codec

    def _codec(self, rng: Random, maker: Maker, count: int) -> None:
        corpus = [maker.message() for _ in range(KEPT)]
        channel, reader = Channel(None, "", False, b"", FRAME_MAX), MessageReader(MESSAGE_MAX)
        for _ in range(count):
            if rng.random() < 0.05:
                corpus[rng.randrange(KEPT)] = maker.message()
            whole = rng.choice(corpus)
            chance = rng.random()
            if chance < 0.3:
                piece = frames(maker.spoil_fields(whole), rng.choice([16, FRAME_MAX]))
            elif chance < 0.8:
                piece = frames(maker.spoil_bytes(whole, rng.choice(corpus)) or b"\x00", rng.choice([16, FRAME_MAX]))
            else:
                piece = maker.spoil_frames(frames(whole, rng.choice([16, FRAME_MAX])))
            self.last = piece
            try:
                cut = rng.randrange(len(piece) + 1)
                for payload in channel.feed(piece[:cut]) + channel.feed(piece[cut:]):
                    message = reader.feed(payload)
                    if message is not None:
                        self._decode(message)
                        self.counts["codec: read"] += 1
            except PeerError as problem:
                if problem.changed:
                    raise Fault("a fault of a peer that changed something") from problem
                self.counts["codec: refused"] += 1
                channel, reader = Channel(None, "", False, b"", FRAME_MAX), MessageReader(MESSAGE_MAX)
            if channel.held_bytes > FRAME_MAX + 4 or reader.held_bytes > MESSAGE_MAX:
                raise Fault(f"{channel.held_bytes} and {reader.held_bytes} bytes are held")

    def _decode(self, data: bytes) -> None:
        message = decode(data)
        if isinstance(message, Batch):
            decode_operations(message.operations, message.origin, message.first)
        elif isinstance(message, SnapshotPart):
            decode_entries(message.entries)

    # -- sealed

    def _sealed(self, rng: Random, maker: Maker, count: int) -> None:
        ring = Keyring([Key(rng.randbytes(32)), Key(rng.randbytes(16))])
        sealer = PacketSealer(ring, "marmoset", rng.randbytes)
        kept = sealer.seal(b"kept")
        ends = self._shaken(ring, rng)
        for number in range(count):
            if number % 3 == 0:
                self.last = maker.spoil_bytes(sealer.seal(maker.message()), kept)
                try:
                    sealer.open(self.last)
                    self.counts["sealed: packets opened"] += 1
                except SealError:
                    self.counts["sealed: packets refused"] += 1
                continue
            if number % 3 == 1:
                self._handshake(ring, rng, maker)
                continue
            near, far = ends
            self.last = maker.spoil_frames(near.seal(frames(maker.message(), FRAME_MAX)))
            try:
                far.feed(self.last)
                self.counts["sealed: records taken"] += 1
            except PeerError:
                self.counts["sealed: records refused"] += 1
                ends = self._shaken(ring, rng)
            if far.held_bytes > RECORD_BYTES + FRAME_MAX + 24:
                raise Fault(f"{far.held_bytes} bytes are held")

    def _shaken(self, ring: Keyring, rng: Random) -> tuple[Channel, Channel]:
        near, far = (Channel(ring, "marmoset", dialled, rng.randbytes(32), FRAME_MAX) for dialled in (True, False))
        far.feed(near.first)
        near.feed(far.take_reply())
        far.feed(near.seal(frames(b"hello", FRAME_MAX)))
        return near, far

    def _handshake(self, ring: Keyring, rng: Random, maker: Maker) -> None:
        """One step of a handshake is spoilt: neither side may open."""
        near, far = (Channel(ring, "marmoset", dialled, rng.randbytes(32), FRAME_MAX) for dialled in (True, False))
        step = rng.randrange(2)
        try:
            offer = near.first if step else maker.spoil_frames(near.first)
            self.last = offer
            far.feed(offer)
            choice = far.take_reply()
            self.last = choice = maker.spoil_frames(choice) if step else choice
            near.feed(choice)
            self.counts["sealed: handshakes cut short"] += 1
        except PeerError:
            self.counts["sealed: handshakes refused"] += 1
        if near.is_open:
            if far.key_id != near.key_id:
                raise Fault("the two sides of a handshake have different keys")
            if step and not far.feed(near.seal(frames(b"hello", FRAME_MAX))):
                raise Fault("the acceptor does not take what the dialler says first")

    # -- packets

    def _packets(self, rng: Random, maker: Maker, count: int) -> None:
        for begun in range(0, count, HEARD):
            listener = Listener(rng, maker, self.counts, self.states)
            try:
                for _ in range(min(HEARD, count - begun)):
                    listener.hear()
            finally:
                self.last = listener.last

    # -- nodes

    def _nodes(self, rng: Random, maker: Maker, count: int) -> None:
        for begun in range(0, count, GROUP):
            group = Intruded(rng, maker, self.counts, self.states)
            try:
                group.run(min(GROUP, count - begun))
            finally:
                self.last = group.last


def main(arguments: list[str]) -> int:
    """Fuzz, and print what became of it; 1 for a fault."""
    parser = argparse.ArgumentParser(prog="python -m marmoset.sim.fuzz", description="Spoilt bytes for live nodes.")
    parser.add_argument("--count", type=int, default=100_000, help="how many pieces to spoil")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    fuzzer = Fuzzer(given.seed)
    first = min(given.count, sum(ROUND.values()))
    try:
        pieces = fuzzer.run(first)
        before = _grown()
        pieces += fuzzer.run(given.count - first)
        growth = _grown() - before
        if growth > GROWTH_MAX:
            raise Fault(f"the process has grown by {growth >> 20} MiB")
    except Exception:
        traceback.print_exc()
        print(f"a fault in round {fuzzer._rounds}, behind the piece {fuzzer.last.hex()}", file=sys.stderr)
        print(f"replay: python -m marmoset.sim.fuzz --seed {given.seed} --count {given.count}", file=sys.stderr)
        return 1
    for name, count in sorted({**fuzzer.counts, **fuzzer.states}.items()):
        print(f"{count:>12,} {name}")
    print(f"{pieces:,} pieces spoilt, seed {given.seed}; the process grew by {growth >> 20} MiB; nothing fell over")
    return 0


def _grown() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
