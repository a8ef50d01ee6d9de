"""Batches that are stable: taken out of the log, and forgotten in the windows that they touched, in slices (floor 5).

They are folded in the order in which they were applied here, whichever origin they have: what was observed comes before
what observed it. So a slice of the log is a range of indexes, from the oldest batch that is stable on. A slice of
folding ends between any two operations, and within a FLUSHALL between any two keys: a batch of which some are folded
stands here, whole, until all are. Folding an operation again does nothing, so whoever gets such a batch with a snapshot
may fold it from the beginning.
Costs: `take` O(budget x log budget + origins), `fold` O(budget).
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, final

from marmoset.clocks import VersionVector
from marmoset.codec.operations import AnyOperation, Flush, RosterOperation, width_of
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace
from marmoset.replication.oplog import LogEntry, OpLog, in_apply_order


@final
class Folding:
    """The batches that are stable and not yet folded."""

    __slots__ = ("_done", "_seq", "batches", "is_cut")

    def __init__(self) -> None:
        self.batches: Final[deque[LogEntry]] = deque()
        self.is_cut = False
        """Whether the last `take` has left some that are stable."""
        self._done = 0  # how many operations of the first batch are folded,
        self._seq = 0  # and the id of the next one, if any are

    def take(self, log: OpLog, frontier: VersionVector, plain_from: int, budget: int) -> None:
        """Take what the frontier covers out of the log, at most `budget` batches, and one at least. What stands there
        before `plain_from` has to be folded, though it had no windows when it was applied. What is left is for another
        call, once these are folded."""
        stable: list[LogEntry] = []
        end = log.first_stable(frontier) + max(1, budget)
        for origin in list(log.queues):
            seq = frontier.get(origin, 0)
            while (entry := log.take_stable(origin, seq, end)) is not None:
                if entry.index < plain_from:
                    entry.is_plain = False
                stable.append(entry)
        self.batches.extend(in_apply_order(stable))
        self.is_cut = log.first_stable(frontier) < log.next_index

    def fold(self, keyspace: Keyspace, budget: int, folded: Callable[[AnyOperation, Dot], None] | None) -> int:
        """Fold operations, touching about `budget` elements; of how many batches the last one was. `folded` is told of
        each operation on keys, whether or not there was anything to forget."""
        batches, before = self.batches, len(self.batches)
        while batches and budget > 0:
            entry = batches[0]
            if entry.is_plain and folded is None:
                self._end_batch()
                budget -= 1
                continue
            operations, at = entry.operations, self._done
            seq = self._seq if at else entry.first
            while at < len(operations) and budget > 0:
                operation = operations[at]
                if not isinstance(operation, RosterOperation):
                    dot = (entry.origin, seq)
                    if entry.is_plain:
                        pass
                    elif isinstance(operation, Flush):
                        budget -= keyspace.fold_flush(dot, budget)
                        if budget <= 0:
                            break  # some of its keys may be left: they are for the next slice
                    else:
                        keyspace.fold(operation, dot)
                    if folded is not None:
                        folded(operation, dot)
                    budget -= operation.weight
                seq += width_of(operation)
                at += 1
                self._done, self._seq = at, seq
            if at == len(operations):
                self._end_batch()
                budget -= 1
        return before - len(batches)

    def _end_batch(self) -> None:
        self.batches.popleft()
        self._done = 0

    def latest_first(self) -> Iterator[LogEntry]:
        """What is stable but not yet folded, what left the log last first. To be read at once. O(1) each."""
        return reversed(self.batches)

    def __iter__(self) -> Iterator[LogEntry]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
