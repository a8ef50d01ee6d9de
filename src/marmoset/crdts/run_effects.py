"""Runs of operations on what names show, which has no window and nothing beside it (floor 3).

What `PlainSlots` does for single operations is done for those of a run here, at one name after the other, or at a
single one: that is looked up once then, and its set or map goes through the elements or fields by itself.
"""

from typing import TYPE_CHECKING, cast

from marmoset.codec.operations import Scalar
from marmoset.codec.runs import ASSIGN_RUN, INCREMENT_RUN, MAP_RUN, SET_RUN, Run
from marmoset.crdts.plain_slots import NOT_DONE, PlainSlots, assign_register, increment_register
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value
from marmoset.hashing import shard_of

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64


def effect_registers(tables: list[dict[bytes, Value]], run: Run, at: int, *, registers_only: bool) -> int:
    """Apply the assignments or increments of a run that has a key for each, from one on, to keys that have nothing but
    a plain value: the index of the first that is not done, since what is there is no register, or their number.
    `tables` are those of the shards, which with `registers_only` show nothing else. O(operations)."""
    keys, values = run.keys, run.values
    first: i64 = at
    stop: i64 = run.count
    is_assigning = run.tag == ASSIGN_RUN
    if is_assigning and registers_only:
        for index in range(first, stop):
            key = keys[index]
            tables[shard_of(key)][key] = values[index]
        return run.count
    for index in range(first, stop):
        key, value = keys[index], values[index]
        table = tables[shard_of(key)]
        if is_assigning:
            if not assign_register(table, key, value):
                return index
        else:
            assert isinstance(value, int)
            old = table.get(key)
            if isinstance(old, int):
                table[key] = old + value
            elif not increment_register(table, key, value):
                return index
    return run.count


def effect_at(slots: PlainSlots, run: Run, at: int) -> bool:
    """Apply one operation of a run that has a key for each and has observed everything unstable; False where it needs
    more than the plain value that it expects, and nothing was done. O(1), of a sorted set O(log n)."""
    name = run.keys[at]
    if slots.has_more(name):
        return False
    tag = run.tag
    if tag == ASSIGN_RUN:
        return slots.assign_plain(name, run.values[at])
    if tag == INCREMENT_RUN:
        amount = run.values[at]
        assert isinstance(amount, int)
        return slots.increment_plain(name, amount)
    if tag == SET_RUN:
        return slots.add_plain(name, run.names[at]) != NOT_DONE
    if tag == MAP_RUN:
        return slots.assign_field_plain(name, run.names[at], run.values[at]) != NOT_DONE
    return slots.assign_score_plain(name, run.names[at], run.values[at]) != NOT_DONE


def effect_of_one(slots: PlainSlots, run: Run, at: int) -> bool:
    """The same for the operations of a run of one key from one on, all or none. O(operations), of a sorted set
    O(operations log n)."""
    name = run.keys[0]
    if slots.has_more(name):
        return False
    tag = run.tag
    if tag == ASSIGN_RUN:
        return slots.assign_plain(name, run.values[-1])
    if tag == INCREMENT_RUN:
        return slots.increment_plain(name, sum(cast("list[int]", run.values[at:])))
    names = run.names[at:] if at else run.names
    if tag == SET_RUN:
        return _add(slots, name, names)
    values = run.values[at:] if at else run.values
    return _assign_fields(slots, name, names, values) if tag == MAP_RUN else _assign_scores(slots, name, names, values)


def _add(slots: PlainSlots, name: bytes, elements: list[bytes]) -> bool:
    old = slots.values.get(name)
    if isinstance(old, SplitSet):
        for element in elements:
            old.add(element)
        return True
    if isinstance(old, set):
        old.update(elements)
    elif old is None:
        slots.notes.registers_only = False
        slots.values[name] = old = set(elements)
    else:
        return False
    if len(old) > slots.split_above:
        slots.split(name)
    return True


def _assign_fields(slots: PlainSlots, name: bytes, fields: list[bytes], values: list[Scalar]) -> bool:
    old = slots.values.get(name)
    if isinstance(old, SplitMap):
        for at, field in enumerate(fields):
            old[field] = values[at]
        return True
    if old is None:
        slots.notes.registers_only = False
        slots.values[name] = old = {}
    elif not isinstance(old, dict):
        return False
    for at, field in enumerate(fields):
        old[field] = values[at]
    if len(old) > slots.split_above:
        slots.split(name)
    return True


def _assign_scores(slots: PlainSlots, name: bytes, members: list[bytes], scores: list[Scalar]) -> bool:
    if slots.assign_score_plain(name, members[0], scores[0]) == NOT_DONE:
        return False
    for at in range(1, len(members)):
        slots.assign_score_plain(name, members[at], scores[at])
    return True
