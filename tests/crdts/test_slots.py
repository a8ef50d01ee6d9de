"""Slots and maps that nest, one history at a time: what random histories meet too rarely."""

from sys import getsizeof

from marmoset.clocks import Context, LocalContext
from marmoset.codec.operations import (
    KIND_SEQUENCE,
    AnyOperation,
    Assign,
    Inside,
    MapAssign,
    MapRemove,
    Reset,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.crdts.chains import NO_INSERTIONS, ChainNotes
from marmoset.crdts.deadline import Deadlines
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_chain import Insertions
from marmoset.crdts.slots import Slots


def there(slots: Slots, operation: AnyOperation, dot: tuple[int, int], observed: dict[int, int]) -> None:
    """An operation arrives."""
    if isinstance(operation, Reset):
        slots.reset(b"k", dot, Context(observed, {}), tracking=True)
    else:
        slots.effect(b"k", operation, dot, dot[1], Context(observed, {}), tracking=True)
    slots._check()


def field(slots: Slots, name: bytes) -> object:
    value = slots.values.get(b"k")
    assert value is None or isinstance(value, NestedMap)
    return None if value is None else value.get(name)


def test_a_reset_takes_the_kinds_of_a_field_that_do_not_show_too() -> None:
    slots = Slots(100)
    there(slots, Inside(b"k", [b"f"], SetAdd(b"", [b"x"])), (1, 1), {1: 0, 2: 0})
    there(slots, Inside(b"k", [b"f"], SequenceInsert(b"", None, None, [b"y"])), (2, 1), {1: 0, 2: 0})
    assert field(slots, b"f") == {b"x"}
    there(slots, Reset(b"k"), (1, 2), {1: 1, 2: 1})
    assert not slots.values
    for dot, operation in (
        ((1, 1), Inside(b"k", [b"f"], SetAdd(b"", [b"x"]))),
        ((2, 1), Inside(b"k", [b"f"], SequenceInsert(b"", None, None, [b"y"]))),
        ((1, 2), Reset(b"k")),
    ):
        slots.fold(b"k", operation, dot)
        slots._check()
    assert not slots.beside and not slots.entries


def test_a_reset_keeps_what_it_has_not_observed_inside() -> None:
    slots = Slots(100)
    there(slots, Inside(b"k", [b"f"], SetAdd(b"", [b"old"])), (1, 1), {1: 0, 2: 0})
    there(slots, Inside(b"k", [b"f"], SetAdd(b"", [b"new"])), (2, 1), {1: 1, 2: 0})
    there(slots, Reset(b"k"), (1, 2), {1: 1, 2: 0})
    assert field(slots, b"f") == {b"new"}


def test_assigning_text_to_a_field_resets_the_collection_in_it() -> None:
    slots = Slots(100)
    there(slots, Inside(b"k", [b"f"], SequenceInsert(b"", None, None, [b"a"])), (1, 1), {1: 0})
    there(slots, MapAssign(b"k", [b"f", b"text"]), (1, 2), {1: 1})
    assert field(slots, b"f") == b"text"
    slots.fold(b"k", Inside(b"k", [b"f"], SequenceInsert(b"", None, None, [b"a"])), (1, 1))
    slots.fold(b"k", MapAssign(b"k", [b"f", b"text"]), (1, 2))
    assert slots.is_at_rest


def test_removed_elements_deep_inside_are_dropped_when_that_is_stable() -> None:
    slots = Slots(100)
    path = [b"a", b"b", b"c"]
    there(slots, Inside(b"k", path, SequenceInsert(b"", None, None, [b"x"])), (1, 1), {1: 0})
    there(slots, Inside(b"k", path, SequenceRemove(b"", [(1, 1, 1)])), (1, 2), {1: 1})
    assert not slots.values, "a map of nothing is not there"
    slots.fold(b"k", Inside(b"k", path, SequenceInsert(b"", None, None, [b"x"])), (1, 1))
    slots.fold(b"k", Inside(b"k", path, SequenceRemove(b"", [(1, 1, 1)])), (1, 2))
    assert not slots.beside and slots.is_at_rest


def test_removing_a_field_of_a_group_of_one_leaves_nothing() -> None:
    slots = Slots(100)
    local = LocalContext()
    slots.effect(b"k", Inside(b"k", [b"f"], SequenceInsert(b"", None, None, [b"x"])), (1, 1), 1, local, tracking=False)
    slots.effect(b"k", MapRemove(b"k", [b"f"]), (1, 2), 1, local, tracking=False)
    assert not slots.values and not slots.beside and slots.is_at_rest
    assert slots.take(b"k", KIND_SEQUENCE).value is None


def test_at_rest_nothing_is_left_of_the_table_of_windows() -> None:
    """A dict keeps the table that it had when it was largest: 30 bytes for each key that was written in one go."""
    slots, deadlines = Slots(100), Deadlines(1)
    names = [b"%d" % number for number in range(1000)]
    for seq, name in enumerate(names, 1):
        slots.effect(name, Assign(name, b"v"), (1, seq), seq, Context({1: seq}, {}), tracking=True)
        deadlines.assign(0, name, (1, seq), 1_000_000, Context({1: seq}, {}))
    assert len(slots.windows) == len(deadlines.windows[0]) == 1000
    for seq, name in enumerate(names, 1):
        slots.fold(name, Assign(name, b"v"), (1, seq))
        deadlines.fold(0, name, (1, seq))
    slots._check()
    assert getsizeof(slots.windows) == getsizeof(deadlines.windows[0]) == getsizeof({})


def test_insertions_are_forgotten_only_where_they_still_are_what_is_noted() -> None:
    """A name may have had others noted since: those are not stable because the former ones are."""
    slots, sequence = Slots(100, notes=ChainNotes()), Sequence()
    slots.note_insertion(b"k", sequence, (1, 1), 1, None, None)
    noted = slots.insertions[b"k"]
    slots.forget_insertions(b"k", Insertions())
    slots.forget_insertions(b"other", noted)
    assert slots.insertions == {b"k": noted}
    slots.forget_insertions(b"k", noted)
    assert slots.insertions is NO_INSERTIONS
