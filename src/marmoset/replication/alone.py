"""Writes in a group of one, without operations: nobody else is told, and everything is stable at once (floor 5).

Each function does what `Replica.submit` does for one operation, in a fraction of the time, where nothing but the plain
value of the key has to be looked at: no window, deadline, watch or reading of a snapshot, nothing of other kinds beside
it. Where that is not so, or there are others, or somebody may come back who has to be told, nothing is done, and who
called submits the operation. Only if somebody listens (`Replica.listener`) it is made, to be told.
"""

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Increment,
    MapAssign,
    Scalar,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
)
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.slots import Slots
from marmoset.replication.replica import Replica


def assign_alone(replica: Replica, key: bytes, value: Scalar) -> bool:
    """Assign a string; whether that was done. O(1)."""
    slots = _slots(replica, key)
    if slots is None or not slots.assign_plain(key, value):
        return False
    if _is_to_be_told(replica):
        _tell(replica, Assign(key, value))
    return True


def increment_alone(replica: Replica, key: bytes, amount: int, total: int) -> bool:
    """Increment a string that is absent or a number, by which it becomes `total`; whether that was done. O(1)."""
    slots = _slots(replica, key)
    if slots is None or not slots.assign_plain(key, total):
        return False
    if _is_to_be_told(replica):
        _tell(replica, Increment(key, amount))
    return True


def add_alone(replica: Replica, key: bytes, element: bytes) -> int:
    """Add an element to a set; how many there are more now, or `NOT_DONE`. O(1)."""
    slots = _slots(replica, key)
    more = NOT_DONE if slots is None else slots.add_plain(key, element)
    if more != NOT_DONE and _is_to_be_told(replica):
        _tell(replica, SetAdd(key, [element]))
    return more


def assign_field_alone(replica: Replica, key: bytes, field: bytes, value: Scalar) -> int:
    """Assign a field of a map; how many there are more now, or `NOT_DONE`. O(1)."""
    slots = _slots(replica, key)
    more = NOT_DONE if slots is None else slots.assign_field_plain(key, field, value)
    if more != NOT_DONE and _is_to_be_told(replica):
        _tell(replica, MapAssign(key, [field, value]))
    return more


def assign_score_alone(replica: Replica, key: bytes, member: bytes, score: Scalar) -> int:
    """Give a member of a sorted set that is there a score; how many members there are more now, or `NOT_DONE`.
    O(log n)."""
    slots = _slots(replica, key)
    more = NOT_DONE if slots is None else slots.assign_score_plain(key, member, score)
    if more != NOT_DONE and _is_to_be_told(replica):
        _tell(replica, ScoreAssign(key, [member, score]))
    return more


def push_alone(replica: Replica, key: bytes, sequence: Sequence, values: list[Scalar], is_front: bool) -> bool:
    """Insert values at an end of the list that a key holds; whether that was done. O(log n + values)."""
    slots = _slots(replica, key)
    if slots is None:
        return False
    is_told = replica.listener is not None
    left, right = sequence.neighbours(0 if is_front else len(sequence)) if is_told else (None, None)
    dot = (replica.me, replica.next_seq)
    if not slots.push_alone(key, dot, values, is_front):
        return False
    if _is_to_be_told(replica, len(values)):
        _tell(replica, SequenceInsert(key, left, right, values))
    return True


def _slots(replica: Replica, key: bytes) -> Slots | None:
    roster = replica.roster
    return None if roster.graves or roster.dead else replica.keyspace.slots_alone(key)


def _is_to_be_told(replica: Replica, width: int = 1) -> bool:
    """An operation was done: it has its dots, in the open batch; whether somebody has to be told of it."""
    replica.begin_write()
    replica.next_seq += width
    return replica.listener is not None


def _tell(replica: Replica, operation: AnyOperation) -> None:
    assert replica.listener is not None
    replica.listener(operation, (replica.me, replica.next_seq - operation.width), replica.begin_write())
