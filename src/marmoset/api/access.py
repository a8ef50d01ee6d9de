"""The way from the Python face into the node (floor 10): looked at, decided and done in compiled code.

`Access` is what every read and write goes through, under the lock of the runtime; `store` says in what order.
"""

from collections.abc import Iterable
from operator import index
from typing import Final, SupportsIndex, cast, final

from marmoset.codec.operations import (
    INT_MAX,
    INT_MIN,
    AnyOperation,
    Assign,
    Expire,
    Flush,
    Increment,
    Inside,
    KeyOperation,
    MapAssign,
    MapRemove,
    Reset,
    Scalar,
    ScoreRemove,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.commands.database import PER_RANGE_BYTES, request_bytes
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.register import number_of
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.types import KIND_NAMES, Value, kind_of
from marmoset.errors import BROKEN_OFF, NotServingError, OutOfMemoryError, UsageError, WrongTypeError
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace
from marmoset.node import Node
from marmoset.replication.expiry import observe_time
from marmoset.replication.plain_writes import (
    add_plainly,
    assign_field_plainly,
    assign_plainly,
    increment_plainly,
    push_plainly,
    splice_plainly,
)
from marmoset.replication.replica import Replica
from marmoset.runtime import Runtime

OVERHEAD_BYTES: Final = 64
"""What an operation takes in a batch beside its key and what it carries, at most."""
CLOSE_ABOVE_BYTES: Final = 1 << 20
SPLICED_MAX: Final = 64
"""How many elements go at once at most where the ranges of their ids are not counted."""
UTF_8: Final = "utf-8"
NUMBER_BYTES: Final = 8
"""What a number of 64 bits carries."""
_REMOVING: Final = (Reset, SetRemove, MapRemove, ScoreRemove, SequenceRemove, Expire, Flush)
"""Operations that take no more memory, and are done past `maxmemory`, too."""


@final
class Access:
    """Reads and writes of one program on one node."""

    __slots__ = ("_limit", "_memory_limit", "_node", "_open_bytes", "_replica", "_runtime", "in_batch")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._node: Node = runtime.node
        self._memory_limit = runtime.node.memory_limit
        self._replica: Replica = runtime.node.replica
        self._limit: int = runtime.node.config.batch_bytes_max
        self._open_bytes = 0  # written since a batch was closed from here; the loop may have closed one since
        self.in_batch = False
        """Whether the open batch stays open until its writer says so."""

    @property
    def keyspace(self) -> Keyspace:
        """The keyspace, for reading. Raises `NotServingError`."""
        self.admit(False)
        self.observe_time()
        return self._replica.keyspace

    def admit(self, write: bool) -> None:
        """Raise `NotServingError` where the node takes no reads, or no writes, now. O(1)."""
        if self._replica.is_changing:
            raise NotServingError(f"{BROKEN_OFF}: this node ends, since what it has is not to be relied on")
        refusal = self._node.refusal(write)
        if refusal is not None:
            raise NotServingError(refusal)

    def observe_time(self) -> None:
        """Let what is read be as our clock says, and what is written be judged by the same: a key whose deadline has
        passed is not there. In a batch all is of one moment. O(1)."""
        if self._replica.keyspace.deadlines.count and not self.in_batch:
            observe_time(self._replica)

    def value(self, key: bytes, wanted: int) -> Value | None:
        """The plain value of a key, None if absent. O(1).

        Raises:
            NotServingError: the node takes no reads now.
            WrongTypeError: the value is of another kind than `wanted`.
        """
        self.admit(False)
        self.observe_time()
        found = self._replica.keyspace.get(key)
        if found is not None and kind_of(found) != wanted:
            raise WrongTypeError(f"{key!r} holds a {KIND_NAMES[kind_of(found)]}, not a {KIND_NAMES[wanted]}")
        return found

    def write(self, operation: AnyOperation, size: int) -> None:
        """Apply an operation that carries at most `size` bytes in a batch beside its key (`request_bytes`), and
        have it sent at the next turn of the loop.

        Raises:
            NotServingError: the node takes no writes now.
            OutOfMemoryError: keys take more than `maxmemory`, and this may take more. It was not done.
            UsageError: the batch would be larger than `batch_bytes_max`. Outside of a batch nothing was changed.
        """
        self.admit(True)
        if self._memory_limit.is_full and may_grow(operation):
            self.refuse_growth()
        taken = self._make_room(size + _head_bytes(operation))
        self._replica.is_changing = True
        self._replica.submit(operation)
        self._end_write(taken)

    # What `write` does for the most frequent operations, which need not be made where nobody has to be told of them.
    # They raise what it raises. O(1).

    def assign(self, key: bytes, value: bytes) -> None:
        """Assign a register, whatever the key holds."""
        taken = self._begin_growth(key, len(value))
        self._replica.is_changing = True
        if not assign_plainly(self._replica, key, value):
            self._replica.submit(Assign(key, value))
        self._end_write(taken)

    def increment(self, key: bytes, amount: int, total: int) -> None:
        """Increment a register that is absent or a number, by which it becomes `total` here."""
        taken = self._begin_growth(key, NUMBER_BYTES)
        self._replica.is_changing = True
        if not increment_plainly(self._replica, key, amount, total):
            self._replica.submit(Increment(key, amount))
        self._end_write(taken)

    def add(self, key: bytes, element: bytes) -> None:
        """Add an element to a set, which is what the key holds if it holds anything."""
        taken = self._begin_growth(key, len(element))
        self._replica.is_changing = True
        if add_plainly(self._replica, key, element) == NOT_DONE:
            self._replica.submit(SetAdd(key, [element]))
        self._end_write(taken)

    def assign_field(self, key: bytes, field: bytes, value: bytes) -> None:
        """Assign a field of a map, which is what the key holds if it holds anything."""
        taken = self._begin_growth(key, len(field) + len(value))
        self._replica.is_changing = True
        if assign_field_plainly(self._replica, key, field, value) == NOT_DONE:
            self._replica.submit(MapAssign(key, [field, value]))
        self._end_write(taken)

    def push(self, key: bytes, value: bytes) -> None:
        """Insert a value at the end of a sequence, which is what the key holds if it holds anything. O(log n)."""
        taken = self._begin_growth(key, len(value))
        self._replica.is_changing = True
        if push_plainly(self._replica, key, [value], False) == NOT_DONE:
            sequence = self._replica.keyspace.get(key)
            left, right = sequence.neighbours(len(sequence)) if isinstance(sequence, Sequence) else (None, None)
            self._replica.submit(SequenceInsert(key, left, right, [value]))
        self._end_write(taken)

    def splice(self, key: bytes, start: int, stop: int, values: list[bytes]) -> bool:
        """Put values in the place of elements of a sequence, if there are few of those and nobody has to be told of it;
        whether that was done. Else the operations of `splicing` do it. O(log n + values)."""
        if stop - start > SPLICED_MAX or self._replica.keyspace.tracking:
            return False
        self.admit(True)
        if values and self._memory_limit.is_full:
            self.refuse_growth()
        size = request_bytes(values) + PER_RANGE_BYTES * (stop - start)
        taken = self._make_room(size + OVERHEAD_BYTES + len(key))
        self._replica.is_changing = True
        if not splice_plainly(self._replica, key, start, stop, cast("list[Scalar]", values)):
            self._replica.is_changing = False
            self._open_bytes -= taken
            return False
        self._end_write(taken)
        return True

    def _begin_growth(self, key: bytes, size: int) -> int:
        """Begin a write that may take memory and carries `size` bytes beside its key; what it takes in the batch."""
        self.admit(True)
        if self._memory_limit.is_full:
            self.refuse_growth()
        return self._make_room(size + OVERHEAD_BYTES + len(key))

    def write_all(self, operations: list[AnyOperation], size: int) -> None:
        """The same for operations that carry `size` bytes in all: they are in one batch, whoever asks for it."""
        self.admit(True)
        if self._memory_limit.is_full and any(may_grow(operation) for operation in operations):
            self.refuse_growth()
        taken = self._make_room(size + sum(map(_head_bytes, operations)))
        self._replica.is_changing = True
        for operation in operations:
            self._replica.submit(operation)
        self._end_write(taken)

    def _make_room(self, size: int) -> int:
        """Make room for a write that takes `size` bytes in the open batch; the same."""
        if self.in_batch:
            if self._open_bytes + size > self._limit:
                done = "what the batch has written so far stays" if self._open_bytes else "nothing was written"
                raise UsageError(
                    f"a batch of {self._open_bytes + size} bytes, where batch_bytes_max allows {self._limit}; {done}",
                    changed=self._open_bytes > 0,
                )
        elif size > self._limit:
            raise UsageError(
                f"a write of {size} bytes, where batch_bytes_max allows {self._limit}; nothing was written"
            )
        elif self._open_bytes + size > CLOSE_ABOVE_BYTES:
            self.close_batch()
        self._open_bytes += size
        return size

    def _end_write(self, size: int) -> None:
        """A write is whole. A batch may end here, and is sent at the next turn."""
        self._replica.is_changing = False
        if self.in_batch:
            self._replica.keyspace.usage.written_bytes += size
        else:
            self._replica.end_of_command(size)
        self._runtime.want_turn_from_thread()

    def refuse_growth(self) -> None:
        """Raise `OutOfMemoryError` past `maxmemory`. O(1)."""
        limit = self._memory_limit
        if limit.is_full:
            in_part = self.in_batch and self._open_bytes > 0
            done = "what the batch has written so far stays" if in_part else "nothing was written"
            raise OutOfMemoryError(
                f"keys take {limit.used_bytes} bytes, where maxmemory allows {self._node.config.maxmemory}; {done}",
                changed=in_part,
            )

    def close_batch(self) -> None:
        """Close the open batch between two writes. The next write asks for the turn that sends both."""
        self._replica.commit()
        self._open_bytes = 0

    def want_turn(self) -> None:
        """Have what the node wrote by itself sent at the next turn of the loop."""
        self._runtime.want_turn_from_thread()


def splicing(
    key: bytes, found: Sequence | None, start: int, stop: int, values: list[bytes]
) -> tuple[list[AnyOperation], int]:
    """Put values in the place of the elements from `start` to before `stop`, of a sequence that has these: the
    operations that do it, and how many bytes they carry.

    What is inserted stands behind the removal, which has not been done yet, so it names the elements beside that.
    O(log n + runs that go + values).
    """
    operations: list[AnyOperation] = []
    size = 0
    left: Dot | None = None
    right: Dot | None = None
    if found is not None:
        if start < stop:
            ranges = found.ranges(start, stop)
            operations.append(SequenceRemove(key, ranges))
            size = PER_RANGE_BYTES * len(ranges)
            if values:
                left = found.id_at(start - 1) if start else None
                right = found.id_at(stop) if stop < len(found) else None
        elif values:
            left, right = found.neighbours(start)
    if values:
        size += request_bytes(values)
        operations.append(SequenceInsert(key, left, right, cast("list[Scalar]", values)))
    return operations, size


def all_encoded(given: object, encoding: str | None) -> list[bytes]:
    """Bytes of each of the values that a caller gives, as `encoded`; a text is as many as it has letters. O(length)."""
    if isinstance(given, str) and len(given) == 1:  # a key of somebody who types
        return [_encoded_text(given, encoding or UTF_8)]
    return [encoded(value, encoding) for value in cast("Iterable[object]", given)]


def _head_bytes(operation: AnyOperation) -> int:
    """What an operation takes in a batch beside what it carries, at most. O(1)."""
    return OVERHEAD_BYTES + len(operation.key) if isinstance(operation, KeyOperation) else OVERHEAD_BYTES


def may_grow(operation: AnyOperation) -> bool:
    """Whether what is kept may take more memory for an operation. O(1)."""
    return not isinstance(operation.operation if isinstance(operation, Inside) else operation, _REMOVING)


def _encoded_text(value: str, encoding: str) -> bytes:
    """Bytes of a text. Strict UTF-8 is what compiled code does by itself, and the same where it succeeds. O(length)."""
    if encoding == UTF_8:
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            pass
    return value.encode(encoding, "surrogateescape")


def encoded(value: object, encoding: str | None) -> bytes:
    """Bytes of what a caller gives; raises `TypeError` for what is neither text, bytes nor int. O(length)."""
    if isinstance(value, str):
        return _encoded_text(value, encoding or UTF_8)
    if isinstance(value, bytes):
        return value if type(value) is bytes else b"".join((value,))  # the codec writes bytes, and nothing made of them
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"values are str, bytes or int, not {type(value).__name__}")
    return b"%d" % index(cast("SupportsIndex", value))


def known(value: object, encoding: str | None) -> bytes | None:
    """The bytes of something that may be asked for; None for what no value can be. O(length)."""
    if isinstance(value, str):
        try:
            return _encoded_text(value, encoding or UTF_8)
        except UnicodeEncodeError:
            return None
    if isinstance(value, bytes) or (not isinstance(value, bool) and hasattr(value, "__index__")):
        return encoded(value, encoding)
    return None


def checked_amount(amount: int) -> int:
    """An amount that may be added to a counter: 64 bits, as a Redis client may add.

    Raises:
        TypeError: it is no whole number.
        UsageError: it is too large; nothing was changed.
    """
    if not isinstance(amount, int):
        raise TypeError(f"a counter takes whole numbers, not {type(amount).__name__}")
    if not INT_MIN <= amount <= INT_MAX:
        raise UsageError("a counter takes amounts of 64 bits at a time")
    return int(amount)


def whole_number(value: Scalar | None, view: object) -> int:
    """The whole number that a plain value is, 0 without one; raises `UsageError`, which names what holds it. O(1)."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    number = number_of(value)
    if number is None or number != int(number):
        raise UsageError(f"{view!r} holds {value!r}, which is not a whole number")
    return int(number)


def decoded(value: bytes | int, encoding: str | None) -> str | bytes:
    """What a caller gets: text, or bytes where the database was opened with `encoding=None`. O(length)."""
    raw = b"%d" % value if isinstance(value, int) else value
    if encoding is None:
        return raw
    if encoding == UTF_8:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return raw.decode(encoding, "surrogateescape")
