"""The log: batches that are not yet stable, in the order in which they were applied here (floor 5).

Every batch has an index in apply order. A stream to a peer is a cursor over these indexes, so a peer that is slow costs
nothing but the log itself, which is kept anyway until everyone has it. Beside that, the batches of one origin stand in
a queue of their own: stability covers them from the left, whatever came between.

Costs: append, look-up by index and release are O(1).
"""

from collections import deque
from typing import final

from marmoset.codec.operations import AnyOperation
from marmoset.ids import ReplicaId


@final
class LogEntry:
    """One batch, decoded for folding and framed for sending."""

    __slots__ = ("first", "framed", "index", "last", "operations", "origin", "stamp")

    def __init__(
        self, origin: ReplicaId, first: int, last: int, stamp: int, operations: list[AnyOperation], framed: bytes
    ) -> None:
        self.origin = origin
        self.first = first
        self.last = last
        self.stamp = stamp
        self.operations = operations
        self.framed = framed
        self.index = 0


@final
class OpLog:
    """The batches that some member may not have."""

    __slots__ = ("entries", "next_index", "own_end", "queues", "size_bytes")

    def __init__(self) -> None:
        self.entries: dict[int, LogEntry] = {}
        self.queues: dict[ReplicaId, deque[LogEntry]] = {}
        self.next_index = 0
        self.own_end = 0
        """The index behind the last batch of our own."""
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, entry: LogEntry, is_own: bool = False) -> None:
        """Add a batch that was just applied. O(1)."""
        entry.index = self.next_index
        self.next_index += 1
        if is_own:
            self.own_end = self.next_index
        self.entries[entry.index] = entry
        queue = self.queues.get(entry.origin)
        if queue is None:
            queue = self.queues[entry.origin] = deque()
        queue.append(entry)
        self.size_bytes += len(entry.framed)

    def take_stable(self, origin: ReplicaId, seq: int) -> LogEntry | None:
        """Take the oldest batch of `origin` out if `seq` covers it. O(1)."""
        queue = self.queues.get(origin)
        if not queue or queue[0].last > seq:
            return None
        entry = queue.popleft()
        if not queue:
            del self.queues[origin]
        del self.entries[entry.index]
        self.size_bytes -= len(entry.framed)
        return entry

    @property
    def taken(self) -> int:
        """How many batches were ever taken out. O(1)."""
        return self.next_index - len(self.entries)

    @property
    def first_index(self) -> int:
        """The index of the oldest batch, or the next one where there is none. O(1) amortised."""
        return next(iter(self.entries), self.next_index)

    def _check(self) -> None:
        assert sum(map(len, self.queues.values())) == len(self.entries)
        assert self.size_bytes == sum(len(entry.framed) for entry in self.entries.values())
        indexes = list(self.entries)
        assert indexes == sorted(indexes)
        for origin, queue in self.queues.items():
            assert queue, "an empty queue is kept"
            assert all(entry.origin == origin for entry in queue)
            assert all(left.last < right.first for left, right in zip(queue, list(queue)[1:], strict=False))
