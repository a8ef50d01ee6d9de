"""The specification itself, on histories small enough to be judged by hand."""

from marmoset.codec.operations import (
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    Assign,
    Flush,
    Increment,
    Reset,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.sim.specification import Record, visible


def test_a_removal_takes_only_the_adds_that_it_observed() -> None:
    add, other = SetAdd(b"k", [b"e"]), SetAdd(b"k", [b"e"])
    removal = SetRemove(b"k", [b"e"])
    observing_one = [Record(add, (1, 1), 1, {}), Record(other, (2, 1), 1, {}), Record(removal, (3, 1), 2, {1: 1})]
    assert visible(observing_one) == {b"k": (KIND_SET, frozenset({b"e"}))}
    observing_both = [*observing_one[:2], Record(removal, (3, 1), 2, {1: 1, 2: 1})]
    assert visible(observing_both) == {}


def test_the_highest_stamp_wins_among_concurrent_assignments_and_what_is_observed_never_does() -> None:
    first, second = Record(Assign(b"k", b"a"), (1, 1), 9, {}), Record(Assign(b"k", b"b"), (2, 1), 5, {})
    assert visible([first, second]) == {b"k": (KIND_REGISTER, b"a")}
    after = Record(Assign(b"k", b"c"), (3, 1), 10, {1: 1})
    assert visible([first, after]) == {b"k": (KIND_REGISTER, b"c")}


def test_a_flush_takes_increments_that_it_observed_and_leaves_the_others() -> None:
    records = [
        Record(Increment(b"k", 5), (1, 1), 1, {}),
        Record(Increment(b"k", 2), (2, 1), 1, {}),
        Record(Flush(), (3, 1), 2, {1: 1}),
    ]
    assert visible(records) == {b"k": (KIND_REGISTER, 2)}


def test_runs_that_are_inserted_at_one_place_do_not_interleave() -> None:
    one, two = SequenceInsert(b"k", None, None, [b"a", b"b"]), SequenceInsert(b"k", None, None, [b"x", b"y"])
    shown = visible([Record(one, (1, 1), 1, {}), Record(two, (2, 1), 1, {})])
    assert shown == {b"k": (KIND_SEQUENCE, [b"a", b"b", b"x", b"y"])}
    reset = Record(Reset(b"k"), (3, 1), 2, {1: 2})
    assert visible([Record(one, (1, 1), 1, {}), Record(two, (2, 1), 1, {}), reset]) == {
        b"k": (KIND_SEQUENCE, [b"x", b"y"])
    }
