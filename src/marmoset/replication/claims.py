"""Which operations of the buried were submitted again (floor 5, DESIGN.md 4.6): never twice.

The one that comes back says so in the batch that does it (`Resubmit`), so whoever has the batch has the claim, all or
nothing. It is asked before anything is submitted: by a second attempt of the returner itself, and by whoever else holds
the same operation in a report. A claim is kept as long as a gravestone is, and comes with snapshots.

Cost: O(log ranges).
"""

from bisect import bisect_right
from itertools import pairwise
from typing import final

from marmoset.ids import Dot, ReplicaId

Ranges = list[tuple[int, int]]
"""(first seq, count), apart from each other, in order."""


def _start(seqs: tuple[int, int]) -> int:
    return seqs[0]


@final
class Claims:
    """Replica to the seqs of it that were submitted again, and when the last of them was."""

    __slots__ = ("_ranges", "_since_ms", "version")

    def __init__(self) -> None:
        self._ranges: dict[ReplicaId, Ranges] = {}
        self._since_ms: dict[ReplicaId, int] = {}
        self.version = 0
        """Grows with each claim."""

    def add(self, replica: ReplicaId, ranges: Ranges, now_ms: int) -> None:
        """Effect of `Resubmit`. O(log of the ranges of the replica) for each, and what it swallows."""
        mine = self._ranges.setdefault(replica, [])
        for first, count in ranges:
            end = first + count
            at = bisect_right(mine, first, key=_start)
            if at and mine[at - 1][0] + mine[at - 1][1] >= first:
                at -= 1
                first = mine[at][0]
            stop = at
            while stop < len(mine) and mine[stop][0] <= end:
                end = max(end, mine[stop][0] + mine[stop][1])
                stop += 1
            mine[at:stop] = [(first, end - first)]
        self.version += 1
        self._since_ms[replica] = max(now_ms, self._since_ms.get(replica, 0))

    def covers(self, dot: Dot) -> bool:
        """Whether an operation was submitted again. O(log ranges)."""
        ranges = self._ranges.get(dot[0])
        if not ranges:
            return False
        at = bisect_right(ranges, dot[1], key=_start)
        return at > 0 and dot[1] < ranges[at - 1][0] + ranges[at - 1][1]

    def forget_before(self, moment_ms: int) -> None:
        """Drop what is older than a moment. O(replicas)."""
        for replica in [r for r, since in self._since_ms.items() if since < moment_ms]:
            del self._ranges[replica], self._since_ms[replica]

    def rows(self) -> list[tuple[ReplicaId, int, Ranges]]:
        """Everything, for a snapshot: replica, when, ranges. O(ranges)."""
        return [(replica, self._since_ms[replica], self._ranges[replica]) for replica in sorted(self._ranges)]

    def _check(self) -> None:
        assert self._ranges.keys() == self._since_ms.keys()
        for ranges in self._ranges.values():
            assert ranges and all(count > 0 for _, count in ranges)
            assert all(a + n < b for (a, n), (b, _) in pairwise(ranges))
