"""Writes that change a plain value and nothing else (floor 5).

Each function does what `Replica.submit` does for one operation, in a fraction of the time, where nothing but the plain
value of the key has to be looked at: no window, watch, reading of a snapshot or deadline left over, nothing of
other kinds beside it. That is so in a chain (`replication.chain`), where the operation joins the open batch, and in a
group of one, where nobody has to be told and everything is stable at once, so that no operation is made, unless
somebody listens (`Replica.listener`). Where it is not so, or somebody may come back to a group of one who has to be
told, nothing is done, and who called submits the operation.

From the first change to the last `Replica.is_changing` is set where others are to have the same, and stays so where an
exception breaks the write off: then the value and what the others are told of it do not go together any more.
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
    width_of,
)
from marmoset.codec.runs import ASSIGN_RUN, INCREMENT_RUN, MAP_RUN, SCORE_RUN, SET_RUN
from marmoset.crdts.plain_slots import NOT_DONE, assign_register
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.slots import Slots
from marmoset.crdts.types import Value
from marmoset.ids import Dot
from marmoset.replication.replica import Replica


def assign_plainly(replica: Replica, key: bytes, value: Scalar) -> bool:
    """Assign a string; whether that was done. O(1)."""
    table = _table(replica, key)
    if table is None:
        return False
    was_changing = replica.begin_change()
    is_done = assign_register(table, key, value)
    if is_done:
        replica.keyspace.end_deadline(key)
        if _is_to_be_told(replica) and not _goes_on(replica, ASSIGN_RUN, key, b"", value):
            _tell(replica, Assign(key, value))
    replica.is_changing = was_changing
    return is_done


def increment_plainly(replica: Replica, key: bytes, amount: int, total: int) -> bool:
    """Increment what who calls has seen to be absent or a number, by which it becomes `total`; whether that was done.
    O(1)."""
    table = _table(replica, key)
    if table is None:
        return False
    was_changing = replica.begin_change()
    table[key] = total
    if _is_to_be_told(replica) and not _goes_on(replica, INCREMENT_RUN, key, b"", amount):
        _tell(replica, Increment(key, amount))
    replica.is_changing = was_changing
    return True


def add_plainly(replica: Replica, key: bytes, element: bytes) -> int:
    """Add an element to a set; how many there are more now, or `NOT_DONE`. O(1)."""
    slots = _slots(replica, key)
    if slots is None:
        return NOT_DONE
    was_changing = replica.begin_change()
    more = slots.add_plain(key, element)
    if more != NOT_DONE and _is_to_be_told(replica) and not _goes_on(replica, SET_RUN, key, element, b""):
        _tell(replica, SetAdd(key, [element]))
    replica.is_changing = was_changing
    return more


def assign_field_plainly(replica: Replica, key: bytes, field: bytes, value: Scalar) -> int:
    """Assign a field of a map; how many there are more now, or `NOT_DONE`. O(1)."""
    slots = _slots(replica, key)
    if slots is None:
        return NOT_DONE
    was_changing = replica.begin_change()
    more = slots.assign_field_plain(key, field, value)
    if more != NOT_DONE and _is_to_be_told(replica) and not _goes_on(replica, MAP_RUN, key, field, value):
        _tell(replica, MapAssign(key, [field, value]))
    replica.is_changing = was_changing
    return more


def assign_score_plainly(replica: Replica, key: bytes, member: bytes, score: Scalar) -> int:
    """Give a member of a sorted set that is there a score; how many members there are more now, or `NOT_DONE`.
    O(log n)."""
    slots = _slots(replica, key)
    if slots is None:
        return NOT_DONE
    was_changing = replica.begin_change()
    more = slots.assign_score_plain(key, member, score)
    if more != NOT_DONE and _is_to_be_told(replica) and not _goes_on(replica, SCORE_RUN, key, member, score):
        _tell(replica, ScoreAssign(key, [member, score]))
    replica.is_changing = was_changing
    return more


def push_plainly(replica: Replica, key: bytes, values: list[Scalar], is_front: bool) -> int:
    """Insert values at an end of the list that a key holds; its new length, or `NOT_DONE`. O(log n + values)."""
    slots = _slots(replica, key)
    sequence = None if slots is None else slots.sequence_at(key)
    if slots is None or sequence is None:
        return NOT_DONE
    was_changing = replica.begin_change()
    length = _push(replica, slots, sequence, key, values, is_front)
    replica.is_changing = was_changing
    return length


def _push(replica: Replica, slots: Slots, sequence: Sequence, key: bytes, values: list[Scalar], is_front: bool) -> int:
    me, seq = replica.me, replica.next_seq
    if not _is_to_be_told(replica, len(values)):
        sequence.insert_at_end((me, seq), values, is_front)
        return len(sequence)
    left: Dot | None = None
    right: Dot | None = None
    goes_on = len(values) == 1 and replica.open_batch.extend_pushes(key, values, is_front)
    if not goes_on:
        left, right = sequence.neighbours(0 if is_front else len(sequence))
    sequence.insert_at_end((me, seq), values, is_front)
    if goes_on and replica.listener is None and slots.note_pushes(key, me, seq, 1, is_front):
        return len(sequence)  # as nearly all do: no more is made than that takes
    if goes_on:
        left, right = (None, (me, seq - 1)) if is_front else ((me, seq - 1), None)
    if replica.keyspace.tracking:
        slots.note_insertion(key, sequence, (me, seq), len(values), left, right)
    if not goes_on or replica.listener is not None:
        _tell(replica, SequenceInsert(key, left, right, values))
    return len(sequence)


def add_each_plainly(replica: Replica, key: bytes, elements: list[bytes]) -> list[int]:
    """Add elements to a set, each in an operation of its own: how many there are more by each; empty where nothing was
    done, as where somebody listens. O(elements)."""
    slots = None if replica.listener is not None else _slots(replica, key)
    if slots is None:
        return []
    was_changing = replica.begin_change()
    more = slots.add_each_plain(key, elements)
    if more:
        is_to_be_told = _is_to_be_told(replica, 0)
        for element in elements:
            replica.next_seq += 1
            if is_to_be_told and not replica.open_batch.extend(SET_RUN, key, element, b""):
                _tell(replica, SetAdd(key, [element]))
    replica.is_changing = was_changing
    return more


def assign_each_field_plainly(replica: Replica, key: bytes, fields: list[bytes], values: list[bytes]) -> list[int]:
    """Assign fields of a map, each in an operation of its own: how many there are more by each; empty where nothing was
    done, as where somebody listens. O(fields)."""
    slots = None if replica.listener is not None else _slots(replica, key)
    if slots is None:
        return []
    was_changing = replica.begin_change()
    more = slots.assign_each_plain(key, fields, values)
    if more:
        is_to_be_told = _is_to_be_told(replica, 0)
        for at, field in enumerate(fields):
            replica.next_seq += 1
            if is_to_be_told and not replica.open_batch.extend(MAP_RUN, key, field, values[at]):
                _tell(replica, MapAssign(key, [field, values[at]]))
    replica.is_changing = was_changing
    return more


def push_each_plainly(replica: Replica, key: bytes, values: list[Scalar], is_front: bool) -> list[int]:
    """Insert values at an end of the list that a key holds, each in an operation of its own, a few hundred at most: its
    length after each; empty where nothing was done, as where somebody listens. O(log n + values), O(log n) for each
    where they do not go on with what the batch has."""
    slots = None if replica.listener is not None else _slots(replica, key)
    sequence = None if slots is None else slots.sequence_at(key)
    if slots is None or sequence is None:
        return []
    was_changing = replica.begin_change()
    length, me = len(sequence), replica.me
    if _is_to_be_told(replica, 0):
        while values and not replica.open_batch.extend_pushes(key, values, is_front):
            pushed = push_plainly(replica, key, values[:1], is_front)  # mostly two, with which the others go on
            assert pushed != NOT_DONE
            values = values[1:]
    seq = replica.next_seq
    replica.next_seq += len(values)
    if values:
        sequence.push_each_at_end((me, seq), values, is_front)
    if replica.keyspace.tracking and not slots.note_pushes(key, me, seq, len(values), is_front):
        for at in range(seq, seq + len(values)):
            left, right = (None, (me, at - 1)) if is_front else ((me, at - 1), None)
            slots.note_insertion(key, sequence, (me, at), 1, left, right)
    replica.is_changing = was_changing
    return list(range(length + 1, len(sequence) + 1))


def splice_plainly(replica: Replica, key: bytes, start: int, stop: int, values: list[Scalar]) -> bool:
    """Put values in the place of the elements from `start` to before `stop` of the list that a key holds, some of which
    stay, if nobody has to be told of it, nor then of its being broken off; whether that was done. As removing these and
    then inserting those. O(log n + runs that go + values)."""
    if replica.keyspace.tracking or replica.listener is not None:
        return False
    slots = _slots(replica, key)
    sequence = None if slots is None else slots.sequence_at(key)
    if sequence is None or stop - start >= len(sequence):
        return False
    removals = 1 if start < stop else 0
    _is_to_be_told(replica, removals + len(values))
    sequence.splice((replica.me, replica.next_seq - len(values)), start, stop, values)
    return True


def _slots(replica: Replica, key: bytes) -> Slots | None:
    return None if _is_remembering(replica) else replica.keyspace.slots_plain(key)


def _table(replica: Replica, key: bytes) -> dict[bytes, Value] | None:
    return None if _is_remembering(replica) else replica.keyspace.table_plain(key)


def _is_remembering(replica: Replica) -> bool:
    """Whether what becomes stable at once is written down for those who were buried."""
    roster = replica.roster
    return bool(roster.graves or roster.dead) and not replica.keyspace.tracking


def _is_to_be_told(replica: Replica, width: int = 1) -> bool:
    """An operation was done: it has its dots, in the open batch; whether somebody has to be told of it."""
    replica.begin_write()
    replica.next_seq += width
    return replica.keyspace.tracking or replica.listener is not None


def _goes_on(replica: Replica, tag: int, key: bytes, name: bytes, value: Scalar) -> bool:
    """Write the operation with the run before it; whether that was done and it need not be made for anybody else."""
    return replica.open_batch.extend(tag, key, name, value) and replica.listener is None


def _tell(replica: Replica, operation: AnyOperation) -> None:
    batch = replica.open_batch
    if replica.keyspace.tracking and batch.next_seq != replica.next_seq:  # else it went on with a run
        batch.add(operation)
    if replica.listener is not None:
        replica.listener(operation, (replica.me, replica.next_seq - width_of(operation)), replica.begin_write())
