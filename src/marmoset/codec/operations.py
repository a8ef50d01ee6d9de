"""The operations, as they stand in batches and in the log (floor 2).

Plain classes, since one is made at every write and its fields are read on the way to the value: mypyc makes C structs
of them. Nothing of one changes after it was made. How they are written is the business of
`codec.wire`, and `Operation.content` gives it, and tests, everything that an operation says.

An operation has one dot, but for `SequenceInsert`: that one stands for as many operations as it has values, with
consecutive dots, the first value being inserted between the two named neighbours and each next one behind the one
before. `width` says how many dots an operation takes.

Amounts of increments are integers, or the text of an exact decimal (`"0.1"`): see `crdts.register`.
"""

from typing import Final, final

from marmoset.ids import Dot, ReplicaId

Scalar = bytes | int
Amount = int | str

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
"""Whole numbers that are written as numbers; others travel as their digits."""
NESTING_MAX: Final = 32
"""How deep maps nest at the most."""
KIND_MAP: Final = 0
KIND_SET: Final = 1
KIND_SORTED_SET: Final = 2
KIND_SEQUENCE: Final = 3
KIND_REGISTER: Final = 4
"""The kinds, in the order in which one that is present answers for a key that has several (DESIGN.md section 5)."""
NO_KIND: Final = -1


class Operation:
    """What all operations have in common."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        """The kind of value that it is done to: one of `KIND_*`, or `NO_KIND`. O(1)."""
        return NO_KIND

    @property
    def width(self) -> int:
        """How many dots it takes. O(1)."""
        return 1

    @property
    def weight(self) -> int:
        """About how many elements folding it touches. O(1)."""
        return 1

    def content(self) -> tuple[object, ...]:
        """Everything that it says, in the order in which it is made and written."""
        return ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Operation) and self.content() == other.content()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.content()))})"


def width_of(operation: Operation) -> int:
    """How many dots an operation takes: told by its class, where the type checker knows but one of many. O(1)."""
    return operation.width


class KeyOperation(Operation):
    """An operation on what a key holds. Inside a map its own key says nothing."""

    __slots__ = ("key",)

    def __init__(self, key: bytes) -> None:
        self.key: Final = key


class ElementsOperation(KeyOperation):
    """An operation on elements of a set."""

    __slots__ = ("elements",)

    def __init__(self, key: bytes, elements: list[bytes]) -> None:
        super().__init__(key)
        self.elements: Final = elements

    @property
    def kind(self) -> int:
        return KIND_SET

    @property
    def weight(self) -> int:
        return len(self.elements)

    def content(self) -> tuple[object, ...]:
        return (self.key, self.elements)


class PairsOperation(KeyOperation):
    """An operation on named registers, of a map or sorted set, with their new values: name, value, name, value."""

    __slots__ = ("pairs",)

    def __init__(self, key: bytes, pairs: list[Scalar]) -> None:
        super().__init__(key)
        self.pairs: Final = pairs

    @property
    def weight(self) -> int:
        return len(self.pairs)

    def content(self) -> tuple[object, ...]:
        return (self.key, self.pairs)


class AmountOperation(KeyOperation):
    """An operation on the counter of one named register, of a map or sorted set."""

    __slots__ = ("amount", "field")

    def __init__(self, key: bytes, field: bytes, amount: Amount) -> None:
        super().__init__(key)
        self.field: Final = field
        self.amount: Final = amount

    def content(self) -> tuple[object, ...]:
        return (self.key, self.field, self.amount)


class FieldsOperation(KeyOperation):
    """An operation on named registers, of a map or sorted set."""

    __slots__ = ("fields",)

    def __init__(self, key: bytes, fields: list[bytes]) -> None:
        super().__init__(key)
        self.fields: Final = fields

    @property
    def weight(self) -> int:
        return len(self.fields)

    def content(self) -> tuple[object, ...]:
        return (self.key, self.fields)


@final
class Reset(KeyOperation):
    """Remove what is observed of every kind at a key."""

    __slots__ = ()

    def content(self) -> tuple[object, ...]:
        return (self.key,)


@final
class Assign(KeyOperation):
    """Give a register its value; what is observed of every other kind at the key, and its deadline, is reset."""

    __slots__ = ("keep_deadline", "value")

    def __init__(self, key: bytes, value: Scalar, keep_deadline: bool = False) -> None:
        super().__init__(key)
        self.value: Final = value
        self.keep_deadline: Final = keep_deadline
        """The deadline stays: KEEPTTL, APPEND."""

    @property
    def kind(self) -> int:
        return KIND_REGISTER

    def content(self) -> tuple[object, ...]:
        return (self.key, self.value, self.keep_deadline)


@final
class Increment(KeyOperation):
    """Add to the counter of a register."""

    __slots__ = ("amount",)

    def __init__(self, key: bytes, amount: Amount) -> None:
        super().__init__(key)
        self.amount: Final = amount

    @property
    def kind(self) -> int:
        return KIND_REGISTER

    def content(self) -> tuple[object, ...]:
        return (self.key, self.amount)


@final
class SetAdd(ElementsOperation):
    """Add elements to a set."""

    __slots__ = ()


@final
class SetRemove(ElementsOperation):
    """Remove what is observed of elements of a set."""

    __slots__ = ()


@final
class MapAssign(PairsOperation):
    """Assign registers in fields of a map: field, value, field, value."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_MAP


@final
class MapIncrement(AmountOperation):
    """Add to the counter in a field of a map."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_MAP


@final
class MapRemove(FieldsOperation):
    """Reset what is observed inside fields of a map."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_MAP


@final
class SequenceInsert(KeyOperation):
    """Insert values between two neighbours that were visible side by side at the origin; None is an end."""

    __slots__ = ("left", "right", "values")

    def __init__(self, key: bytes, left: Dot | None, right: Dot | None, values: list[Scalar]) -> None:
        super().__init__(key)
        self.left: Final = left
        self.right: Final = right
        self.values: Final = values

    @property
    def kind(self) -> int:
        return KIND_SEQUENCE

    @property
    def width(self) -> int:
        return len(self.values)

    @property
    def weight(self) -> int:
        return len(self.values)

    def content(self) -> tuple[object, ...]:
        return (self.key, self.left, self.right, self.values)


@final
class SequenceRemove(KeyOperation):
    """Remove elements of a sequence, given as ranges of ids: (replica, first seq, count)."""

    __slots__ = ("ranges",)

    def __init__(self, key: bytes, ranges: list[tuple[ReplicaId, int, int]]) -> None:
        super().__init__(key)
        self.ranges: Final = ranges

    @property
    def kind(self) -> int:
        return KIND_SEQUENCE

    @property
    def weight(self) -> int:
        return sum([count for _, _, count in self.ranges])

    def content(self) -> tuple[object, ...]:
        return (self.key, self.ranges)


@final
class SequenceAssign(KeyOperation):
    """Give an element of a sequence another value."""

    __slots__ = ("element", "value")

    def __init__(self, key: bytes, element: Dot, value: Scalar) -> None:
        super().__init__(key)
        self.element: Final = element
        self.value: Final = value

    @property
    def kind(self) -> int:
        return KIND_SEQUENCE

    def content(self) -> tuple[object, ...]:
        return (self.key, self.element, self.value)


@final
class Flush(Operation):
    """Reset everything that is observed at every key."""

    __slots__ = ()

    @property
    def weight(self) -> int:
        return 1000


@final
class ScoreAssign(PairsOperation):
    """Give members of a sorted set their scores: member, score, member, score."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_SORTED_SET


@final
class ScoreIncrement(AmountOperation):
    """Add to the score of a member of a sorted set."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_SORTED_SET


@final
class ScoreRemove(FieldsOperation):
    """Reset what is observed of the scores of members of a sorted set."""

    __slots__ = ()

    @property
    def kind(self) -> int:
        return KIND_SORTED_SET


@final
class Expire(KeyOperation):
    """Give a key a deadline, in milliseconds since 1970 by the hybrid clock; 0 is never."""

    __slots__ = ("deadline_ms",)

    def __init__(self, key: bytes, deadline_ms: int) -> None:
        super().__init__(key)
        self.deadline_ms: Final = deadline_ms

    def content(self) -> tuple[object, ...]:
        return (self.key, self.deadline_ms)


ChildOperation = (
    SetAdd
    | SetRemove
    | MapAssign
    | MapIncrement
    | MapRemove
    | SequenceInsert
    | SequenceRemove
    | SequenceAssign
    | ScoreAssign
    | ScoreIncrement
    | ScoreRemove
)
"""Operations on a collection, which may be the child of a field. Their own key says nothing there."""


@final
class Inside(KeyOperation):
    """An operation on a child of a map: the fields on the way to it, the last one being that which holds it."""

    __slots__ = ("operation", "path")

    def __init__(self, key: bytes, path: list[bytes], operation: ChildOperation) -> None:
        super().__init__(key)
        self.path: Final = path
        self.operation: Final = operation

    @property
    def kind(self) -> int:
        return KIND_MAP

    @property
    def width(self) -> int:
        return self.operation.width

    def content(self) -> tuple[object, ...]:
        return (self.key, self.path, self.operation)


class RosterOperation(Operation):
    """An operation on the roster; all others touch the keyspace."""

    __slots__ = ()


@final
class Join(RosterOperation):
    """Let a replica in; logged by its sponsor."""

    __slots__ = ("address", "name", "replica")

    def __init__(self, replica: ReplicaId, name: str, address: str) -> None:
        self.replica: Final = replica
        self.name: Final = name
        self.address: Final = address

    def content(self) -> tuple[object, ...]:
        return (self.replica, self.name, self.address)


@final
class Ready(RosterOperation):
    """The origin is complete: it is born."""

    __slots__ = ()


@final
class Leave(RosterOperation):
    """The origin's last operation: it no longer counts."""

    __slots__ = ()


@final
class Bury(RosterOperation):
    """A replica is presumed dead."""

    __slots__ = ("replica",)

    def __init__(self, replica: ReplicaId) -> None:
        self.replica: Final = replica

    def content(self) -> tuple[object, ...]:
        return (self.replica,)


@final
class Resubmit(RosterOperation):
    """Operations of a replica that was presumed dead are in this batch again: (first seq, count), never twice."""

    __slots__ = ("replica", "seqs")

    def __init__(self, replica: ReplicaId, seqs: list[tuple[int, int]]) -> None:
        self.replica: Final = replica
        self.seqs: Final = seqs

    def content(self) -> tuple[object, ...]:
        return (self.replica, self.seqs)


AnyOperation = (
    Reset
    | Assign
    | Increment
    | SetAdd
    | SetRemove
    | MapAssign
    | MapIncrement
    | MapRemove
    | SequenceInsert
    | SequenceRemove
    | SequenceAssign
    | Flush
    | ScoreAssign
    | ScoreIncrement
    | ScoreRemove
    | Expire
    | Inside
    | Join
    | Ready
    | Leave
    | Bury
    | Resubmit
)
