"""The operations, as they stand in batches, in the log and on the wire (floor 2).

Each is a msgspec structure that is written as an array behind a small integer tag. Tags are part of the wire format:
they are never used again for anything else. Decoding checks types and bounds in C; what only a type can check (an
amount that is a number, say) is checked by `check`, before anything is applied.

An operation has one dot, but for `SequenceInsert`: that one stands for as many operations as it has values, with
consecutive dots, the first value being inserted between the two named neighbours and each next one behind the one
before. `codec.width` says how many dots an operation takes.

Amounts of increments are integers, or the text of an exact decimal (`"0.1"`): see `crdts.register`.
"""

from typing import Annotated, Final

import msgspec

from marmoset.errors import PeerError
from marmoset.ids import ID_BITS

Id = Annotated[int, msgspec.Meta(gt=0, lt=1 << ID_BITS)]
Seq = Annotated[int, msgspec.Meta(gt=0, lt=1 << 60)]
WireDot = tuple[Id, Seq]
Text = Annotated[str, msgspec.Meta(max_length=512)]
INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
"""Whole numbers that are written as numbers; others travel as their digits."""
Scalar = bytes | int
Amount = int | str

NESTING_MAX: Final = 32
"""How deep maps nest at the most."""
KIND_MAP: Final = 0
KIND_SET: Final = 1
KIND_SORTED_SET: Final = 2
KIND_SEQUENCE: Final = 3
KIND_REGISTER: Final = 4
"""The kinds, in the order in which one that is present answers for a key that has several (DESIGN.md section 5)."""


class Operation(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What all operations have in common: nothing but the way they are written."""


class Reset(Operation, tag=1, frozen=True):
    """Remove what is observed of every kind at a key."""

    key: bytes


class Assign(Operation, tag=2, frozen=True):
    """Give a register its value; what is observed of every other kind at the key, and its deadline, is reset."""

    key: bytes
    value: Scalar
    keep_deadline: bool = False
    """The deadline stays: KEEPTTL, APPEND."""


class Increment(Operation, tag=3, frozen=True):
    """Add to the counter of a register."""

    key: bytes
    amount: Amount


class SetAdd(Operation, tag=4, frozen=True):
    """Add elements to a set."""

    key: bytes
    elements: Annotated[list[bytes], msgspec.Meta(min_length=1)]


class SetRemove(Operation, tag=5, frozen=True):
    """Remove what is observed of elements of a set."""

    key: bytes
    elements: Annotated[list[bytes], msgspec.Meta(min_length=1)]


class MapAssign(Operation, tag=6, frozen=True):
    """Assign registers in fields of a map: field, value, field, value."""

    key: bytes
    pairs: Annotated[list[Scalar], msgspec.Meta(min_length=2)]


class MapIncrement(Operation, tag=7, frozen=True):
    """Add to the counter in a field of a map."""

    key: bytes
    field: bytes
    amount: Amount


class MapRemove(Operation, tag=8, frozen=True):
    """Reset what is observed inside fields of a map."""

    key: bytes
    fields: Annotated[list[bytes], msgspec.Meta(min_length=1)]


class SequenceInsert(Operation, tag=9, frozen=True):
    """Insert values between two neighbours that were visible side by side at the origin; None is an end."""

    key: bytes
    left: WireDot | None
    right: WireDot | None
    values: Annotated[list[Scalar], msgspec.Meta(min_length=1)]


class SequenceRemove(Operation, tag=10, frozen=True):
    """Remove elements of a sequence, given as ranges of ids: (replica, first seq, count)."""

    key: bytes
    ranges: Annotated[list[tuple[Id, Seq, Seq]], msgspec.Meta(min_length=1)]


class SequenceAssign(Operation, tag=11, frozen=True):
    """Give an element of a sequence another value."""

    key: bytes
    element: WireDot
    value: Scalar


class Flush(Operation, tag=12, frozen=True):
    """Reset everything that is observed at every key."""


class ScoreAssign(Operation, tag=13, frozen=True):
    """Give members of a sorted set their scores: member, score, member, score."""

    key: bytes
    pairs: Annotated[list[Scalar], msgspec.Meta(min_length=2)]


class ScoreIncrement(Operation, tag=14, frozen=True):
    """Add to the score of a member of a sorted set."""

    key: bytes
    field: bytes
    amount: Amount


class ScoreRemove(Operation, tag=15, frozen=True):
    """Reset what is observed of the scores of members of a sorted set."""

    key: bytes
    fields: Annotated[list[bytes], msgspec.Meta(min_length=1)]


class Expire(Operation, tag=16, frozen=True):
    """Give a key a deadline, in milliseconds since 1970 by the hybrid clock; 0 is never."""

    key: bytes
    deadline_ms: Annotated[int, msgspec.Meta(ge=0, lt=1 << 46)]


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


class Inside(Operation, tag=17, frozen=True):
    """An operation on a child of a map: the fields on the way to it, the last one being that which holds it."""

    key: bytes
    path: Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=NESTING_MAX)]
    operation: ChildOperation


class Join(Operation, tag=32, frozen=True):
    """Let a replica in; logged by its sponsor."""

    replica: Id
    name: Text
    address: Text


class Ready(Operation, tag=33, frozen=True):
    """The origin is complete: it is born."""


class Leave(Operation, tag=34, frozen=True):
    """The origin's last operation: it no longer counts."""


class Bury(Operation, tag=35, frozen=True):
    """A replica is presumed dead."""

    replica: Id


class Resubmit(Operation, tag=36, frozen=True):
    """Operations of a replica that was presumed dead are in this batch again: (first seq, count), never twice."""

    replica: Id
    seqs: Annotated[list[tuple[Seq, Seq]], msgspec.Meta(min_length=1)]


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

RosterOperation = Join | Ready | Leave | Bury | Resubmit
"""Operations on the roster; all others touch the keyspace."""


def check(operation: AnyOperation) -> None:
    """Refuse what has the right types and still is no operation. O(length of a map's pairs).

    Raises:
        PeerError: it is none; nothing was changed.
    """
    if isinstance(operation, Inside):
        check(operation.operation)
    elif isinstance(operation, (MapAssign, ScoreAssign)):
        pairs = operation.pairs
        if len(pairs) % 2 or any(type(field) is not bytes for field in pairs[::2]):
            raise PeerError("an assignment to a map or sorted set needs pairs of a name and a value")


def with_digits(operation: AnyOperation) -> AnyOperation:
    """The same operation with whole numbers beyond 64 bits as their digits: a number all the same. O(length)."""
    changes: dict[str, object] = {}
    for name in operation.__struct_fields__:
        value = getattr(operation, name)
        if isinstance(value, Operation):
            changes[name] = with_digits(value)  # type: ignore[arg-type]
        elif isinstance(value, list):
            changes[name] = [b"%d" % x if isinstance(x, int) and not INT_MIN <= x <= INT_MAX else x for x in value]
        elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            changes[name] = str(value) if name == "amount" else b"%d" % value
    return msgspec.structs.replace(operation, **changes)
