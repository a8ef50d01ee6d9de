"""The log: batches that are not yet stable, in the order in which they were applied here (floor 5).

Every batch has an index in apply order. A stream to a peer is a cursor over these indexes, so a peer that is slow costs
nothing but the log itself, which is kept anyway until everyone has it. Beside that, the batches of one origin stand in
a queue of their own: stability covers them from the left, whatever came between.

Costs: append, look-up by index and release are O(1).
"""

from collections import deque
from collections.abc import Iterable
from operator import attrgetter
from typing import Final, final

from marmoset.clocks import VersionVector
from marmoset.codec.frames import is_one_frame
from marmoset.codec.messages import Batch
from marmoset.codec.operations import AnyOperation, Flush
from marmoset.codec.wire import decode_operations, encode_operations
from marmoset.ids import ReplicaId

_index_of: Final = attrgetter("index")
FLUSH: Final = bytes(encode_operations([Flush()], 1, 1))[1:]
"""How one on all keys stands in a batch."""


@final
class LogEntry:
    """One batch, framed for sending. Its operations are read from there when they are asked for, if nobody keeps them:
    most are applied, passed on and stable without that."""

    __slots__ = (
        "_operations",
        "_raw_bytes",
        "first",
        "framed",
        "index",
        "is_chained",
        "is_plain",
        "last",
        "origin",
        "stamp",
    )

    def __init__(
        self,
        origin: ReplicaId,
        first: int,
        last: int,
        stamp: int,
        operations: list[AnyOperation] | None,
        framed: bytes,
        raw_bytes: int = 0,
    ) -> None:
        """`raw_bytes` is the length of what `encode_operations` made, where that ends `framed`; without it,
        `operations` are kept."""
        self.origin = origin
        self.first = first
        self.last = last
        self.stamp = stamp
        self._operations = operations
        self.framed = framed
        self._raw_bytes = raw_bytes
        self.index = 0
        self.is_chained = False
        """Whether what needed no window has none; see `replication.chain`."""
        self.is_plain = False
        """Whether nothing of it has to be folded."""

    @property
    def operations(self) -> list[AnyOperation]:
        """What the batch does. O(1), O(length) for the first time."""
        operations = self._operations
        if operations is None:
            operations = self._operations = self.read()
        return operations

    def read(self) -> list[AnyOperation]:
        """The same for who does not come back to them: they are not kept. O(length)."""
        if self._operations is not None:
            return self._operations
        raw = self.framed[len(self.framed) - self._raw_bytes :]
        return decode_operations(raw, self.origin, self.first)

    def may_have(self, name: bytes) -> bool:
        """False if no operation has these bytes in it, but for those on all keys. O(length) in C, or O(1)."""
        return not self._raw_bytes or name in self.framed or FLUSH in self.framed

    @property
    def width(self) -> int:
        """How many dots the batch has. O(1)."""
        return self.last - self.first + 1

    def let_go(self) -> None:
        """Nobody is expected to ask for the operations. O(operations)."""
        if self._raw_bytes:
            self._operations = None


def log_entry(batch: Batch, operations: list[AnyOperation] | None, framed: bytes, *, is_exact: bool = True) -> LogEntry:
    """A batch for the log. Its operations, if they are given, are kept until it is said that nobody asks; for good if
    they cannot be read as they are (`encode_batch`). O(1), for a batch of several frames O(length)."""
    raw = batch.operations  # the last field
    ends_with_raw = is_exact and is_one_frame(framed)
    if operations is None and not ends_with_raw:
        operations = decode_operations(raw, batch.origin, batch.first)
    raw_bytes = len(raw) if ends_with_raw else 0
    return LogEntry(batch.origin, batch.first, batch.last, batch.stamp, operations, framed, raw_bytes)


def in_apply_order(entries: Iterable[LogEntry]) -> list[LogEntry]:
    """Batches in the order in which they were applied here. O(n log n)."""
    return sorted(entries, key=_index_of)


@final
class OpLog:
    """The batches that some member may not have."""

    __slots__ = ("entries", "logged", "next_index", "operations", "own_end", "queues", "size_bytes")

    def __init__(self) -> None:
        self.entries: dict[int, LogEntry] = {}
        self.queues: dict[ReplicaId, deque[LogEntry]] = {}
        self.next_index = 0
        self.own_end = 0
        """The index behind the last batch of our own."""
        self.size_bytes = 0
        self.operations = 0
        """How many dots the batches have."""
        self.logged = 0
        """How many those had that were ever added."""

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
        self.operations += entry.width
        self.logged += entry.width

    def first_stable(self, frontier: VersionVector) -> int:
        """The index of the oldest batch that a frontier covers, or the next one where it covers none. O(origins)."""
        first = self.next_index
        for origin, queue in self.queues.items():
            oldest = queue[0]
            if oldest.index < first and oldest.last <= frontier.get(origin, 0):
                first = oldest.index
        return first

    def take_stable(self, origin: ReplicaId, seq: int, end: int) -> LogEntry | None:
        """Take the oldest batch of `origin` out if `seq` covers it and its index is below `end`. O(1)."""
        queue = self.queues.get(origin)
        if not queue or queue[0].last > seq or queue[0].index >= end:
            return None
        entry = queue.popleft()
        if not queue:
            del self.queues[origin]
        del self.entries[entry.index]
        self.size_bytes -= len(entry.framed)
        self.operations -= entry.width
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
        assert self.operations == sum(entry.width for entry in self.entries.values())
        indexes = list(self.entries)
        assert indexes == sorted(indexes)
        for origin, queue in self.queues.items():
            assert queue, "an empty queue is kept"
            assert all(entry.origin == origin for entry in queue)
            assert all(left.last < right.first for left, right in zip(queue, list(queue)[1:], strict=False))
