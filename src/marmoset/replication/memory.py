"""What was changed while somebody who was buried did not see it (floor 5, DESIGN.md 4.6).

While there are gravestones, each member remembers for every key the last dot of each origin that overwrote or removed
there (`ended`), and the last that added (`grown`). Whoever comes back after its burial submits an overwrite or a
removal only where everything that is remembered of the key had been observed by it. It is compared as dots, never as
stamps: only a dot tells whether somebody had observed something.

One dot would not do: of two concurrent overwrites the one applied last may be the one that the returner had observed.
The adds are remembered because what overwrites is submitted by a replica that has everything by then, so it would take
with it what others have added meanwhile, which its origin had never observed.

*When it is written down.* At folding, not at arrival. A burial that has not taken effect holds the frontier back to
what the buried replica is known to have, so whatever it may lack is still in the log when the burial takes effect, and
passes through `Replica.fold_slice` from then on; what is in the log still is looked up there. So nothing is scanned
when a burial takes effect, and a newcomer that has a sponsor's log, and after that its memory, has all that the sponsor
has.

*Bounds.* About `limit_bytes`; past it everything is dropped and counts as changed for those who are buried by then
(`blind`). A later burial begins anew. Dropped tables are freed in slices.

Cost: O(dots of a key), which is nearly always one.
"""

from collections.abc import Callable, Iterator
from typing import Final, final

from marmoset.clocks import VersionVector
from marmoset.codec.operations import (
    AnyOperation,
    Flush,
    Increment,
    Inside,
    MapIncrement,
    RosterOperation,
    ScoreIncrement,
    SequenceInsert,
    SetAdd,
)
from marmoset.hashing import stable_hash
from marmoset.ids import Dot, ReplicaId

PARTS: Final = 256
ENTRY_BYTES: Final = 200
"""About what one key costs beside its bytes, with one dot."""
DOT_BYTES: Final = 100
ADDING: Final = (SetAdd, Increment, MapIncrement, ScoreIncrement, SequenceInsert)
"""Operations that only add."""

Table = dict[bytes, tuple[Dot, ...]]


def adds(operation: AnyOperation) -> bool:
    """Whether an operation only adds: it takes nothing away, whoever submits it. O(1)."""
    return isinstance(operation.operation if isinstance(operation, Inside) else operation, ADDING)


@final
class Observed:
    """What a replica had observed when it stopped: its vector, and the replicas that it had forgotten by then."""

    __slots__ = ("forgotten", "vector")

    def __init__(self, vector: VersionVector, forgotten: frozenset[ReplicaId]) -> None:
        self.vector = vector
        self.forgotten = forgotten

    def covers(self, dot: Dot) -> bool:
        """Whether an operation had been observed; what was forgotten, was. O(1)."""
        seq = self.vector.get(dot[0])
        return dot[0] in self.forgotten if seq is None else dot[1] <= seq


@final
class ChangeMemory:
    """Key to the last dots that changed it, since there is a gravestone."""

    __slots__ = ("blind", "ended", "flushes", "garbage", "gone", "grown", "limit_bytes", "origins", "size_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.blind: set[ReplicaId] = set()
        """Those of the buried for whom everything counts as changed."""
        self.gone: Callable[[], set[ReplicaId]] = set
        """Who is buried."""
        self.garbage: list[Table] = []
        self._begin()

    def _begin(self) -> None:
        self.ended: list[Table] = [{} for _ in range(PARTS)]
        self.grown: list[Table] = [{} for _ in range(PARTS)]
        self.flushes: VersionVector = {}
        self.origins: set[ReplicaId] = set()
        """Everybody whose dots were ever written down here."""
        self.size_bytes = 0

    def clear(self) -> None:
        """Forget everything. What was there is freed by `collect_garbage`. O(parts)."""
        if self.size_bytes:
            self.garbage += [table for table in (*self.ended, *self.grown) if table]
        self._begin()

    def overflow(self, buried: set[ReplicaId]) -> None:
        """Drop everything: it counts as changed for those who are buried by now. O(parts)."""
        self.clear()
        self.blind = set(buried)

    def forget_all_but(self, buried: set[ReplicaId]) -> None:
        """Only these are buried by now; without anybody for whom it is of use, forget everything. O(parts + buried)."""
        self.blind &= buried
        if buried <= self.blind:
            self.clear()

    def collect_garbage(self) -> bool:
        """Free one table that was dropped, of at most a 256th of the limit; True while some are left."""
        if self.garbage:
            self.garbage.pop()
        return bool(self.garbage)

    @property
    def is_full(self) -> bool:
        """Whether there is more than it may hold. O(1)."""
        return self.size_bytes > self.limit_bytes

    def record(self, operation: AnyOperation, dot: Dot) -> None:
        """Write down an operation on keys. O(dots of the key)."""
        if isinstance(operation, Flush):
            self.origins.add(dot[0])
            self.flushes[dot[0]] = max(dot[1], self.flushes.get(dot[0], 0))
        elif not isinstance(operation, RosterOperation):
            self._put(self.grown if adds(operation) else self.ended, operation.key, dot)

    def record_within(self, operation: AnyOperation, dot: Dot) -> None:
        """The same, and give up for those who are `gone` where that is more than there may be. O(dots of the key)."""
        self.record(operation, dot)
        if self.is_full:
            self.overflow(self.gone())

    def _put(self, tables: list[Table], key: bytes, dot: Dot) -> None:
        table = tables[stable_hash(key) % PARTS]
        old = table.get(key)
        if old is None:
            table[key] = (dot,)
            self.size_bytes += ENTRY_BYTES + len(key)
        elif old[0][0] == dot[0] and len(old) == 1:
            if dot[1] > old[0][1]:
                table[key] = (dot,)
            return
        else:
            last = dict(old)
            last[dot[0]] = max(dot[1], last.get(dot[0], 0))
            table[key] = tuple(last.items())
            self.size_bytes += DOT_BYTES * (len(last) - len(old))
        self.origins.add(dot[0])

    def ends(self, key: bytes) -> Iterator[Dot]:
        """The last dots that overwrote or removed at a key. O(dots)."""
        yield from self.flushes.items()
        yield from self.ended[stable_hash(key) % PARTS].get(key, ())

    def growths(self, key: bytes) -> Iterator[Dot]:
        """The last dots that added at a key. O(dots)."""
        yield from self.grown[stable_hash(key) % PARTS].get(key, ())

    def take_over(self, ended: list[tuple[bytes, list[Dot]]], grown: list[tuple[bytes, list[Dot]]]) -> None:
        """Add what another member remembers. O(dots)."""
        for tables, entries in ((self.ended, ended), (self.grown, grown)):
            for key, dots in entries:
                for dot in dots:
                    self._put(tables, key, dot)

    def part(self, number: int) -> tuple[list[tuple[bytes, list[Dot]]], list[tuple[bytes, list[Dot]]]]:
        """One of the `PARTS` parts, for `take_over`. O(n log n) of it."""
        ended, grown = self.ended[number], self.grown[number]
        return (
            [(key, sorted(ended[key])) for key in sorted(ended)],
            [(key, sorted(grown[key])) for key in sorted(grown)],
        )

    def _check(self) -> None:
        entries = [(key, dots) for table in (*self.ended, *self.grown) for key, dots in table.items()]
        assert self.size_bytes == sum(ENTRY_BYTES + len(key) + DOT_BYTES * (len(dots) - 1) for key, dots in entries)
        assert all(len({origin for origin, _ in dots}) == len(dots) for _, dots in entries)
        assert {origin for _, dots in entries for origin, _ in dots} | set(self.flushes) <= self.origins
