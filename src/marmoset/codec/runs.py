"""Runs: neighbours in a batch that are written, checked and applied together (floor 2).

What clients write most are operations of one kind in a row: registers assigned, counters increased, one element or
field put in, values pushed to one list. A run of them stands behind one tag, in columns, so that reading it is one call
whose types are checked in C, and so that whoever applies it needs no object for each of them. A run is a way of
writing: `operation` gives each of its operations as it was made.
"""

from collections.abc import Sequence
from typing import Any, Final, cast, final

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Increment,
    KeyOperation,
    MapAssign,
    Operation,
    PairsOperation,
    Scalar,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
    width_of,
)
from marmoset.errors import PeerError
from marmoset.ids import Dot, ReplicaId

ASSIGN_RUN: Final = 64
INCREMENT_RUN: Final = 65
SET_RUN: Final = 66
MAP_RUN: Final = 67
SCORE_RUN: Final = 68
PUSH_RUN: Final = 69


@final
class Run:
    """Operations on keys, in columns: assignments that end deadlines, increments by whole numbers, and of the others
    those with one element or field. The i-th is of `keys[i]`, or all are of the one key that there is, and so on."""

    __slots__ = ("count", "keys", "names", "tag", "values")

    def __init__(self, tag: int, keys: list[bytes], names: list[bytes], values: list[Scalar]) -> None:
        """`names` are elements or fields, none for keys with a register; `values` are none for sets. An increment's may
        be one for all keys.

        Raises:
            PeerError: a column is longer than another one, or there is one operation.
        """
        if tag == INCREMENT_RUN and len(values) == 1:
            values = values * len(keys)
        self.tag: Final = tag
        self.keys: Final = keys
        self.names: Final = names
        self.values: Final = values
        count = len(names) if tag == SET_RUN else len(values)
        self.count: Final = count
        """How many operations there are."""
        if count < 2 or len(keys) not in (1, count) or len(names) != (0 if tag <= INCREMENT_RUN else count):
            raise PeerError("a run of operations of which the last one is not whole")

    @property
    def is_of_one_key(self) -> bool:
        """Whether it is written as one of a single key. O(1)."""
        return len(self.keys) == 1

    def operation(self, at: int) -> AnyOperation:
        """One of the operations. O(1)."""
        tag = self.tag
        key = self.keys[0] if len(self.keys) == 1 else self.keys[at]
        if tag == ASSIGN_RUN:
            return Assign(key, self.values[at], False)
        if tag == INCREMENT_RUN:
            amount = self.values[at]
            assert isinstance(amount, int)
            return Increment(key, amount)
        if tag == SET_RUN:
            return SetAdd(key, [self.names[at]])
        pairs: list[Scalar] = [self.names[at], self.values[at]]
        return MapAssign(key, pairs) if tag == MAP_RUN else ScoreAssign(key, pairs)


def run_of(tag: int, columns: tuple[Any, ...]) -> Run:
    """A run from its columns, in the order in which they are written. O(1).

    Raises:
        PeerError: a column is longer than another one.
    """
    if tag <= INCREMENT_RUN:
        return Run(tag, columns[0], [], columns[1])
    return Run(tag, columns[0], columns[1], [] if tag == SET_RUN else columns[2])


def pushed_between(
    dot: Dot, left: Dot | None, right: Dot | None, is_front: bool, at: int
) -> tuple[Dot | None, Dot | None]:
    """What the insertion number `at` of some pushes stands between: the first, `dot`, between `left` and `right`, every
    other one between the one before and one of these. O(1)."""
    if not at:
        return left, right
    before = (dot[0], dot[1] + at - 1)
    return (left, before) if is_front else (before, right)


@final
class Pushes:
    """Insertions of one value each into one sequence, each beside the one before: towards the front, between `left` and
    that, or towards the back, between that and `right`. The first stands between `left` and `right`."""

    __slots__ = ("dot", "is_front", "key", "left", "right", "values")

    def __init__(
        self, dot: Dot, key: bytes, left: Dot | None, right: Dot | None, is_front: bool, values: list[Scalar]
    ) -> None:
        """`dot` is that of the first."""
        self.dot: Final = dot
        self.key: Final = key
        self.left: Final = left
        self.right: Final = right
        self.is_front: Final = is_front
        self.values: Final = values

    def neighbours(self, at: int) -> tuple[Dot | None, Dot | None]:
        """What one of the insertions stands between. O(1)."""
        return pushed_between(self.dot, self.left, self.right, self.is_front, at)

    def operation(self, at: int) -> AnyOperation:
        """One of the operations. O(1)."""
        left, right = self.neighbours(at)
        return SequenceInsert(self.key, left, right, [self.values[at]])


Part = Run | Pushes | AnyOperation
"""What a batch is read as: operations by themselves, and runs of them."""


def operations_of(parts: list[Part]) -> list[AnyOperation]:
    """All operations of a batch. O(operations)."""
    operations: list[AnyOperation] = []
    for part in parts:
        if isinstance(part, Run):
            operations += [part.operation(at) for at in range(part.count)]
        elif isinstance(part, Pushes):
            operations += [part.operation(at) for at in range(len(part.values))]
        else:
            operations.append(part)
    return operations


def write_batch(operations: Sequence[AnyOperation], origin: ReplicaId, first: int) -> "BatchWriter":
    """Operations as they are written, of which the first one has the dot (origin, first): neighbours that can form a
    run as one row. O(operations)."""
    writer = BatchWriter(origin, first)
    for operation in operations:
        writer.add(operation)
    return writer


def _run_tag(operation: Operation) -> int:
    """The tag of a run that an operation can be part of, or 0. O(1)."""
    if isinstance(operation, Assign):
        return 0 if operation.keep_deadline else ASSIGN_RUN
    if isinstance(operation, Increment):
        return INCREMENT_RUN if isinstance(operation.amount, int) else 0
    if isinstance(operation, SetAdd):
        return SET_RUN if len(operation.elements) == 1 else 0
    if isinstance(operation, MapAssign):
        return MAP_RUN if len(operation.pairs) == 2 else 0
    if isinstance(operation, ScoreAssign):
        return SCORE_RUN if len(operation.pairs) == 2 else 0
    if isinstance(operation, SequenceInsert):
        return PUSH_RUN if len(operation.values) == 1 else 0
    return 0


@final
class BatchWriter:
    """A batch as it is written, operation by operation: rows, of which the last one may be a run that goes on. What
    goes on with it (`extend`, `extend_pushes`) needs no object, and is an operation all the same."""

    __slots__ = (
        "_alone",
        "_first",
        "_is_front",
        "_key",
        "_keys",
        "_left",
        "_names",
        "_origin",
        "_right",
        "_tag",
        "_values",
        "count",
        "next_seq",
        "rows",
    )

    def __init__(self, origin: ReplicaId, first: int) -> None:
        """The first operation gets the dot (origin, first)."""
        self.rows: list[object] = []
        self.count = 0
        """How many operations there are."""
        self.next_seq = first
        """The seq that the next one gets."""
        self._origin = origin
        self._first = first
        self._tag = 0
        """Of the run that the last row is, or becomes with the next operation; 0 where it cannot."""
        self._alone: Operation | None = None
        """The last row, if it is an operation by itself."""
        self._keys: list[bytes] = []
        self._names: list[bytes] = []
        self._values: list[Scalar] = []
        self._key = b""
        self._left: Dot | None = None
        self._right: Dot | None = None
        self._is_front = False

    def add(self, operation: AnyOperation) -> None:
        """Write an operation behind the others. O(1)."""
        seq = self.next_seq
        self.count += 1
        self.next_seq = seq + width_of(operation)
        tag = _run_tag(operation)
        if tag and tag == self._tag:
            if tag != PUSH_RUN:
                self._go_on(tag, operation)
                return
            assert isinstance(operation, SequenceInsert)
            if self._push(operation, seq):
                return
        self._tag = tag
        self._alone = operation
        if isinstance(operation, SequenceInsert):
            self._key, self._left, self._right = operation.key, operation.left, operation.right
        self.rows.append(operation)

    def extend(self, tag: int, key: bytes, name: bytes, value: Scalar) -> bool:
        """Write an operation that goes on with the run of this tag, if there is one; whether it was written. `name` and
        `value` are not looked at where the run has none. O(1)."""
        if tag != self._tag or self._alone is not None:
            return False
        self._write_key(key)
        if tag >= SET_RUN:
            self._names.append(name)
        if tag == INCREMENT_RUN:
            self._write_amount(value)
        elif tag != SET_RUN:
            self._values.append(value)
        self.count += 1
        self.next_seq += 1
        return True

    def extend_pushes(self, key: bytes, values: list[Scalar], is_front: bool) -> bool:
        """Write insertions of one value each in front of the whole sequence, or behind it, where they go on with such:
        each stands beside the one before then. Whether they were written. O(values)."""
        if self._tag != PUSH_RUN or self._alone is not None or is_front != self._is_front or key != self._key:
            return False
        if (self._left if is_front else self._right) is not None:
            return False
        self._values.extend(values)
        self.count += len(values)
        self.next_seq += len(values)
        return True

    def operations(self) -> list[AnyOperation]:
        """All that was written, as operations. O(operations)."""
        made: list[AnyOperation] = []
        seq = self._first
        for row in self.rows:
            if not isinstance(row, tuple):
                operation = cast("AnyOperation", row)
                made.append(operation)
                seq += width_of(operation)
            elif row[0] == PUSH_RUN:
                pushes = Pushes((self._origin, seq), *row[1:])
                made += operations_of([pushes])
                seq += len(pushes.values)
            else:
                run = run_of(row[0], row[1:])
                made += operations_of([run])
                seq += run.count
        return made

    def _go_on(self, tag: int, operation: Operation) -> None:
        if self._alone is not None:
            self._keys, self._names, self._values = [], [], []
            self._write(self._alone)
            self._alone = None
            if tag <= INCREMENT_RUN:
                self.rows[-1] = (tag, self._keys, self._values)
            elif tag == SET_RUN:
                self.rows[-1] = (tag, self._keys, self._names)
            else:
                self.rows[-1] = (tag, self._keys, self._names, self._values)
        self._write(operation)

    def _write(self, operation: Operation) -> None:
        assert isinstance(operation, KeyOperation)
        self._write_key(operation.key)
        if isinstance(operation, Assign):
            self._values.append(operation.value)
        elif isinstance(operation, Increment):
            amount = operation.amount
            assert isinstance(amount, int)
            self._write_amount(amount)
        elif isinstance(operation, SetAdd):
            self._names.append(operation.elements[0])
        else:
            assert isinstance(operation, PairsOperation)
            field = operation.pairs[0]
            assert isinstance(field, bytes)
            self._names.append(field)
            self._values.append(operation.pairs[1])

    def _write_key(self, key: bytes) -> None:
        """Write the key of an operation before what else it has: one for all of a run as long as it is the same one.
        O(1), where a second one comes O(run)."""
        keys = self._keys
        if len(keys) == 1:
            if key == keys[0]:
                return
            before = len(self._values) or len(self._names)
            if before > 1:
                keys *= before
        keys.append(key)

    def _write_amount(self, amount: Scalar) -> None:
        """Write by how much a key is incremented that was written: one for all as long as it is the same one and the
        keys say how many there are, since most count by one. O(1), where a second one comes O(run)."""
        values, count = self._values, len(self._keys)
        if count > 1 and len(values) == 1:
            if amount == values[0]:
                return
            values *= count - 1
        values.append(amount)

    def _push(self, operation: SequenceInsert, seq: int) -> bool:
        """Whether an insertion stands beside the one before, and is written with it."""
        before = (self._origin, seq - 1)
        if operation.key != self._key:
            return False
        is_front = operation.right == before and operation.left == self._left
        if not is_front and not (operation.left == before and operation.right == self._right):
            return False
        alone = self._alone
        if alone is not None:
            assert isinstance(alone, SequenceInsert)
            self._alone = None
            self._is_front = is_front
            self._values = [alone.values[0]]
            self.rows[-1] = (PUSH_RUN, self._key, self._left, self._right, is_front, self._values)
        elif is_front != self._is_front:
            return False
        self._values.append(operation.values[0])
        return True
