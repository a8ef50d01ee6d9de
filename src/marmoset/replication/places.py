"""Where an insertion goes that is submitted again, and what its elements are called then (floor 5, DESIGN.md 4.6).

Elements have ids, and what is submitted again has new ones. `Renamed` leads from the old id to the new, over as many
returns as there were. An insertion goes behind its *nearest surviving left neighbour*: the one it named, or else the
first to the left of that, in the order of the old sequence (removed elements are still in it, since nothing became
stable while its holder was cut off), that the group still shows.

Cost: O(runs between the two, each times log n).
"""

from bisect import bisect_right
from typing import final

from marmoset.codec.operations import KIND_MAP, KIND_SEQUENCE
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_runs import FRESH
from marmoset.crdts.slots import Slots
from marmoset.crdts.types import Value, kind_of
from marmoset.hashing import shard_of
from marmoset.ids import Dot, ReplicaId
from marmoset.keyspace import Keyspace


@final
class Renamed:
    """Old ids of elements to the new ones, in runs."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[ReplicaId, list[tuple[int, int, Dot]]] = {}

    def add(self, dot: Dot, count: int, new: Dot) -> None:
        """Elements from `dot` on are called `new` and following from now on, whatever they were called before."""
        runs = self._runs.setdefault(dot[0], [])
        at = bisect_right(runs, dot[1], key=lambda run: run[0])
        if at and runs[at - 1][0] == dot[1]:
            runs[at - 1] = (dot[1], count, new)
        else:
            runs.insert(at, (dot[1], count, new))

    def find(self, dot: Dot) -> Dot | None:
        """What an element is called now; None where it was never given another name. O(log runs)."""
        found: Dot | None = None
        while (runs := self._runs.get(dot[0])) is not None:
            at = bisect_right(runs, dot[1], key=lambda run: run[0])
            if not at:
                break
            first, count, new = runs[at - 1]
            if dot[1] >= first + count:
                break
            found = dot = (new[0], new[1] + dot[1] - first)
        return found

    def ranges(self, replica: ReplicaId, seq: int, count: int) -> list[tuple[ReplicaId, int, int]]:
        """The present ids of the elements of a range, in its order. O(1) where none was renamed, else O(elements)."""
        found: list[tuple[ReplicaId, int, int]] = []
        if replica not in self._runs:
            return [(replica, seq, count)]
        for each in range(seq, seq + count):
            dot = self.find((replica, each)) or (replica, each)
            if found and found[-1][0] == dot[0] and found[-1][1] + found[-1][2] == dot[1]:
                found[-1] = (dot[0], found[-1][1], found[-1][2] + 1)
            else:
                found.append((dot[0], dot[1], 1))
        return found


def find_sequence(
    keyspace: Keyspace, key: bytes, path: tuple[bytes, ...], *, laid_aside: bool = False
) -> Sequence | None:
    """The sequence that a key holds, or a field inside it, shown or not; with `laid_aside` also one that was removed as
    a whole and still looks as it did before. O(path)."""
    slots: Slots = keyspace.shards[shard_of(key)]
    for name, inner in zip((key, *path), path, strict=False):
        nested = _held(slots, name, KIND_MAP, laid_aside)
        if not isinstance(nested, NestedMap):
            return None
        slots, key = nested.slots, inner
    found = _held(slots, key, KIND_SEQUENCE, laid_aside)
    return found if isinstance(found, Sequence) else None


def _held(slots: Slots, name: bytes, kind: int, laid_aside: bool) -> Value | None:
    value = slots.values.get(name)
    if value is not None and kind_of(value) == kind:
        return value
    holding = slots.beside.get(name, {}).get(kind)
    if holding is not None:
        return holding.value
    hidden = slots.hidden_value(name) if laid_aside else None
    return hidden if hidden is not None and kind_of(hidden) == kind else None


def place(old: Sequence | None, new: Sequence | None, left: Dot | None, renamed: Renamed) -> tuple[Dot | None, ...]:
    """The two visible neighbours between which an insertion behind `left` goes now. `old` gives nothing but the order
    of elements; `new` shows those between which it may go, so it must not be one that is laid aside."""
    if new is None:
        return None, None
    anchor = None if left is None else _anchor(old, new, left, renamed)
    index = None if anchor is None else new.index_of(anchor)
    return new.neighbours(0 if index is None else index + 1)


def _anchor(old: Sequence | None, new: Sequence, left: Dot, renamed: Renamed) -> Dot | None:
    now = renamed.find(left) or left
    if new.index_of(now) is not None:
        return now
    run = None if old is None else old.find_run(left[0], left[1])
    if run is None:
        return None
    chunk, k = run.chunk, run.chunk.find(run)
    first, last = (left[1], run.seq + run.count - 1) if run.falling else (run.seq, left[1])
    while True:
        found = _shown(new, run.replica, first, last, renamed, falling=run.falling)
        if found is not None:
            return found
        while k == 0:
            if chunk.before is None:
                return None
            chunk = chunk.before
            k = len(chunk.runs)
        k -= 1
        run = chunk.runs[k]
        first, last = run.seq, run.seq + run.count - 1


def _shown(new: Sequence, replica: ReplicaId, first: int, last: int, renamed: Renamed, *, falling: bool) -> Dot | None:
    """Of a range of old ids the rightmost element that the new sequence shows: the last one, or where ids fall from
    left to right the first."""
    ranges = renamed.ranges(replica, first, last - first + 1)
    for origin, seq, count in ranges if falling else reversed(ranges):
        found = (_first_of if falling else _last_of)(new, origin, seq, seq + count)
        if found is not None:
            return found
    return None


def _first_of(new: Sequence, replica: ReplicaId, seq: int, stop: int) -> Dot | None:
    while (run := new.next_run(replica, seq, stop)) is not None:
        if run.state <= FRESH:
            return replica, max(seq, run.seq)
        seq = min(stop, run.seq + run.count)
    return None


def _last_of(new: Sequence, replica: ReplicaId, seq: int, stop: int) -> Dot | None:
    found: Dot | None = None
    while (run := new.next_run(replica, seq, stop)) is not None:
        seq = min(stop, run.seq + run.count)
        if run.state <= FRESH:
            found = (replica, seq - 1)
    return found
