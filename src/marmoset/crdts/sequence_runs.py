"""The parts of a sequence's structure: runs, chunks and blocks (floor 3).

A *run* is a longest piece of elements with consecutive ids of one replica that stand side by side in one state; it has
no values. The ids rise from left to right, or, where every insertion is stable, fall: so stand elements that were
pushed in front one by one. No element can belong to a run of either kind, so there is one way to divide a sequence.

A *chunk* has some runs and, in one Python list, the values of those of its elements that are visible. When a chunk is
cut, the part that is not being edited has its values packed into one object (`packed`) until it is: each such step is
paid for by the insertions that led to the cut. A *block* has some chunks, and a sequence some blocks: a tree of fixed
height whose every step is a C operation on a short list, which beats deeper trees in Python up to many millions of
elements (measured; see `bench/editing_traces.py`).

A run never crosses a multiple of `BUCKET_SEQS` in its ids. So the runs of one *bucket* of ids, a short sorted list in a
dict, lead from an id to its run, and a run leads to its chunk.

Element states: what DESIGN.md section 5 asks of an element before it may be dropped.
"""

from typing import Final, final

from marmoset.codec.operations import Scalar
from marmoset.crdts.packed import Packed, packed
from marmoset.errors import InternalError
from marmoset.ids import ReplicaId

RESTING: Final = 0
"""Visible, its insertion is stable."""
FRESH: Final = 1
"""Visible, its insertion is not stable."""
FRESH_REMOVED: Final = 2
"""Removed, its insertion is not stable, nor then any removal of it."""
REMOVED: Final = 3
"""Removed, its insertion is stable, no removal of it is."""
DEAD: Final = 4
"""Removed, its insertion and a removal of it are stable."""

BUCKET_BITS: Final = 8
BUCKET_SEQS: Final = 1 << BUCKET_BITS
STABLE_FLOOR: Final = 0
"""In place of a replica, which 0 never is: removed elements that were stably inserted. Every context covers them."""
RUNS_MAX: Final = 64
VALUES_MAX: Final = 1024
CHUNKS_MAX: Final = 64
PACK_MIN: Final = VALUES_MAX // 8
"""Fewer values are not packed: such chunks are soon united with others."""


@final
class Run:
    """Elements `(replica, seq) … (replica, seq + count - 1)`, side by side, in one state.

    They stand in that order, or in the opposite one where it is `falling`; of one element alone that says nothing.
    `names` counts, for those of its elements that unstable insertions name as a neighbour, how many do.
    """

    __slots__ = ("chunk", "count", "falling", "names", "replica", "seq", "state")

    def __init__(
        self, chunk: "Chunk", replica: ReplicaId, seq: int, count: int, state: int, falling: bool = False
    ) -> None:
        self.chunk = chunk
        self.replica = replica
        self.seq = seq
        self.count = count
        self.state = state
        self.falling = falling
        self.names: dict[int, int] | None = None

    def shown(self) -> int:
        """How many of its elements are visible. O(1)."""
        return self.count if self.state <= FRESH else 0

    def is_idle(self) -> bool:
        """Whether nothing but its neighbourhood keeps it from being dropped. O(1)."""
        return self.state == DEAD and self.names is None

    def seq_at(self, offset: int) -> int:
        """The seq of one of its elements, counted from the left. O(1)."""
        return self.seq + self.count - 1 - offset if self.falling else self.seq + offset

    def offset_of(self, seq: int, stop: int) -> int:
        """How many of its elements stand in front of `seq` up to but without `stop`, which are its own. O(1)."""
        return self.seq + self.count - stop if self.falling else seq - self.seq

    def joins(self, replica: ReplicaId, seq: int, state: int) -> bool:
        """Whether an element that follows it could belong to it, as a rising run. O(1)."""
        return (
            self.replica == replica
            and self.seq + self.count == seq
            and self.state == state
            and seq & (BUCKET_SEQS - 1) != 0
            and (not self.falling or self.count == 1)
        )

    def follows(self, replica: ReplicaId, seq: int, state: int) -> bool:
        """Whether an element in front of it could belong to it, as a falling run. O(1)."""
        return (
            self.replica == replica
            and self.seq + self.count == seq
            and self.state == state
            and seq & (BUCKET_SEQS - 1) != 0
            and (self.falling or self.count == 1)
            and state != FRESH
            and state != FRESH_REMOVED
        )

    def take_names(self, other: "Run") -> None:
        """Count the names of another run as its own, too. O(names)."""
        if other.names is not None:
            if self.names is None:
                self.names = other.names
            else:
                self.names.update(other.names)
            other.names = None

    def give_names(self, other: "Run", seq: int, stop: int) -> None:
        """Hand over the names of elements `seq` up to but without `stop`, which now belong to `other`.

        O(min(names, elements)).
        """
        names = self.names
        if names is None:
            return
        if stop - seq < len(names):
            moved = {at: names.pop(at) for at in range(seq, stop) if at in names}
        else:
            moved = {at: count for at, count in names.items() if seq <= at < stop}
            for at in moved:
                del names[at]
        if not names:
            self.names = None
        if moved:
            if other.names is None:
                other.names = moved
            else:
                other.names.update(moved)


@final
class Chunk:
    """Runs side by side, and the values of their visible elements.

    `shown[k]` is how many elements of `runs[k]` are visible. `near` is the run last looked for, behind `near_start`
    values: edits come near each other, so a search begins there. Values stand in `values`, or are `packed`, or, where
    they were pushed in front one by one, in `ahead`, the foremost last, until somebody looks: to move all others for
    each would cost the most of it. So they are reached through the methods alone. `idle` counts the runs that only
    await their neighbourhood: a walk along dead elements passes a chunk that has no others. `floor` is for walks in
    search of removed elements that a context covers: replica → lowest seq of the removed elements whose insertion is
    unstable, or lower; `STABLE_FLOOR` stands in it when some are stable. None: not known.
    """

    __slots__ = (
        "after",
        "ahead",
        "before",
        "block",
        "floor",
        "idle",
        "near",
        "near_start",
        "packed",
        "runs",
        "shown",
        "values",
    )

    def __init__(self) -> None:
        self.block: Block | None = None
        self.before: Chunk | None = None
        self.after: Chunk | None = None
        self.runs: list[Run] = []
        self.shown: list[int] = []
        self.values: list[Scalar] = []
        self.ahead: list[Scalar] | None = None
        self.packed: Packed | None = None
        self.idle = 0
        self.near = 0
        self.near_start = 0
        self.floor: dict[ReplicaId, int] | None = None

    def loosen(self) -> None:
        """Let go of runs and neighbours: it is dropped, and nothing that pointed at it does so any more. O(runs)."""
        self.runs = []
        self.before = self.after = self.block = None

    def size(self) -> int:
        """How many values there are. O(1)."""
        if self.packed is not None:
            return self.packed.size()
        size = len(self.values)
        return size if self.ahead is None else size + len(self.ahead)

    def slice(self, start: int, stop: int) -> list[Scalar]:
        """The values from `start` up to but without `stop`, or to the end, as a list of its own. O(result)."""
        if self.packed is None:
            return self.open()[start:stop]
        return self.packed.slice(start, min(stop, self.packed.size()))

    def open(self) -> list[Scalar]:
        """The list of values, to be changed. O(1), or O(values) where they were packed or pushed in front."""
        if self.packed is not None:
            self.values = self.packed.slice(0, self.packed.size())
            self.packed = None
        elif self.ahead is not None:
            self.ahead.reverse()
            self.values[0:0] = self.ahead
            self.ahead = None
        return self.values

    def put_first(self, values: list[Scalar]) -> None:
        """Put values in front of all others, each in front of the one before. O(result), or O(values) where they were
        packed."""
        if self.packed is not None:
            self.open()
        if self.ahead is None:
            self.ahead = values[:]
        else:
            self.ahead.extend(values)

    def pack(self) -> None:
        """Keep the values packed, if that pays and they can be. O(values)."""
        values = self.open()
        if len(values) >= PACK_MIN:
            self.packed = packed(values)
            if self.packed is not None:
                self.values = []

    def run_at(self, offset: int) -> tuple[int, int]:
        """The run that has the visible element at an offset that exists, and how far in. O(runs passed)."""
        shown = self.shown
        k, start = self.near, self.near_start
        if offset < start:
            if offset < start - offset:
                k = start = 0
            while offset < start:
                k -= 1
                start -= shown[k]
        size = shown[k]
        while offset - start >= size:
            start += size
            k += 1
            size = shown[k]
        self.near, self.near_start = k, start
        return k, offset - start

    def find(self, run: Run) -> int:
        """Which of the runs one of them is. O(runs), O(1) for the one last looked for."""
        runs = self.runs
        k = self.near
        if k < len(runs) and runs[k] is run:
            return k
        for i, each in enumerate(runs):
            if each is run:
                return i
        raise InternalError("a run is not in its chunk")

    def size_before(self, k: int) -> int:
        """How many values are in front of run `k`. O(runs passed)."""
        shown = self.shown
        near, start = self.near, self.near_start
        if k < near:
            near = start = 0
        while near < k:
            start += shown[near]
            near += 1
        self.near, self.near_start = near, start
        return start

    def changes_from(self, k: int) -> None:
        """Runs from `k` on are about to change, or how many of their elements are visible. O(1)."""
        if self.near == k + 1:
            self.near = k
            self.near_start -= self.shown[k]
        elif self.near > k:
            self.near = self.near_start = 0

    def append(self, run: Run) -> None:
        """Put a run at the end; its values are the caller's to put. O(1)."""
        run.chunk = self
        self.runs.append(run)
        self.shown.append(run.shown())
        if run.is_idle():
            self.idle += 1

    def known_floor(self) -> dict[ReplicaId, int]:
        """The floor. O(1), or O(runs) when it was not known."""
        floor = self.floor
        if floor is None:
            floor = self.floor = {}
            for run in self.runs:
                if run.state >= REMOVED:
                    floor[STABLE_FLOOR] = 0
                elif run.state == FRESH_REMOVED and run.seq < floor.get(run.replica, run.seq + 1):
                    floor[run.replica] = run.seq
        return floor

    def lower_floor(self, replica: ReplicaId, seq: int) -> None:
        """Note that an element is removed whose insertion is unstable. O(1)."""
        if self.floor is not None and seq < self.floor.get(replica, seq + 1):
            self.floor[replica] = seq
        block = self.block
        if block is not None and block.floor is not None and seq < block.floor.get(replica, seq + 1):
            block.floor[replica] = seq

    def forget_floor(self) -> None:
        """Note that the floor has changed in some other way. O(1)."""
        self.floor = None
        if self.block is not None:
            self.block.floor = None


@final
class Block:
    """Chunks side by side. `sizes[i]` is how many elements of `chunks[i]` are visible; `floor` as in a chunk."""

    __slots__ = ("chunks", "floor", "sizes")

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []
        self.sizes: list[int] = []
        self.floor: dict[ReplicaId, int] | None = None

    def known_floor(self) -> dict[ReplicaId, int]:
        """The floor of all its chunks. O(1), or O(chunks) when it was not known."""
        floor = self.floor
        if floor is None:
            floor = self.floor = {}
            for chunk in self.chunks:
                for replica, seq in chunk.known_floor().items():
                    if seq < floor.get(replica, seq + 1):
                        floor[replica] = seq
        return floor


# Loops, not `itertools.accumulate`, `bisect` and `sum`: they end early, and compiled they call nobody.


def part_at(sizes: list[int], offset: int) -> tuple[int, int]:
    """Of parts side by side, the one that has the element at an offset, and how far in. O(parts up to there).

    >>> part_at([2, 0, 3], 2)
    (2, 0)
    """
    k = 0
    for size in sizes:
        if offset < size:
            break
        offset -= size
        k += 1
    return k, offset


def size_before(sizes: list[int], k: int) -> int:
    """How many elements are in front of part `k`. O(k)."""
    return sum(sizes[:k]) if k else 0


def runs_up_to(bucket: list[Run], seq: int) -> int:
    """How many of the runs of a bucket begin at `seq` or before. O(log runs)."""
    low, high = 0, len(bucket)
    while low < high:
        middle = (low + high) // 2
        if bucket[middle].seq <= seq:
            low = middle + 1
        else:
            high = middle
    return low
