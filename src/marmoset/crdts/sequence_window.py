"""The window of a sequence: what is remembered of operations on it that are not stable (floor 3)."""

from typing import final

from marmoset.crdts.sequence_runs import FRESH, FRESH_REMOVED, REMOVED, RESTING
from marmoset.crdts.sequence_store import Sequence
from marmoset.ids import Dot, ReplicaId

Range = tuple[int, int, int]
"""Ids: (replica, first seq, count)."""


@final
class SequenceWindow:
    """The operations on one sequence that are not stable.

    `insertions`: dot of the first value → (count, left and right neighbour; the right one as found, see `insert`).
    `removals`: dot of a removal or reset → the ranges of ids that it removed.
    `assignments`: element → (stamp, replica, seq) of the one that it shows, if that is not stable.
    """

    __slots__ = ("assignments", "insertions", "removals")

    def __init__(self) -> None:
        self.insertions: dict[Dot, tuple[int, Dot | None, Dot | None]] = {}
        self.removals: dict[Dot, list[Range]] = {}
        self.assignments: dict[Dot, tuple[int, ReplicaId, int]] = {}

    @property
    def entries(self) -> int:
        """How many facts are not yet stable. O(1)."""
        return len(self.insertions) + len(self.removals) + len(self.assignments)

    @property
    def empty(self) -> bool:
        """Whether everything is stable. O(1)."""
        return not self.entries

    def __bool__(self) -> bool:
        return self.entries > 0

    def _check(self, sequence: Sequence) -> None:
        """That window and sequence agree, and that nothing is kept which may go. O(n)."""
        fresh = {(r, s + i) for (r, s), (count, _, _) in self.insertions.items() for i in range(count)}
        going = {(r, s + i) for ranges in self.removals.values() for r, s, count in ranges for i in range(count)}
        names: dict[Dot, int] = {}
        for _, left, right in self.insertions.values():
            for dot in (left, right):
                if dot is not None:
                    names[dot] = names.get(dot, 0) + 1
        free = True  # whether the stretch that we are in could be dropped
        length = 0
        for block in sequence.blocks:
            for chunk in block.chunks:
                for run in chunk.runs:
                    dots = [(run.replica, run.seq + i) for i in range(run.count)]
                    is_fresh = run.state in (FRESH, FRESH_REMOVED)
                    assert all((dot in fresh) == is_fresh for dot in dots), "an insertion and its elements disagree"
                    if run.state in (FRESH_REMOVED, REMOVED):
                        assert going.issuperset(dots), "an element was removed by nothing"
                    found = {seq: names.pop((run.replica, seq)) for _, seq in dots if (run.replica, seq) in names}
                    assert found == (run.names or {}), "neighbours that are named are miscounted"
                    if run.state in (RESTING, REMOVED):
                        assert not (free and length), "a stretch is kept that may go"
                        free, length = True, 0
                    else:
                        free = free and run.is_idle()
                        length += run.count
        assert not (free and length), "a stretch is kept that may go"
        assert not names, "a named neighbour was dropped"
        assert all(sequence.index_of(dot) is not None for dot in self.assignments)
        assert self.entries or not sequence.removed_count, "removed elements are kept for nothing"
