"""The table of verbs: every operation has a kind, every kind a value and a window, and hostile amounts are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    NO_KIND,
    AnyOperation,
    Assign,
    Bury,
    Expire,
    Flush,
    Increment,
    Join,
    Leave,
    MapAssign,
    MapIncrement,
    MapRemove,
    Operation,
    Ready,
    Reset,
    Resubmit,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.crdts import types
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.errors import PeerError
from tests.codec.strategies import any_operation

KINDS = sorted(types.KIND_NAMES)


@given(any_operation)
def test_every_operation_is_on_one_kind_or_on_none(operation: Operation) -> None:
    of_no_kind = (Reset, Flush, Expire, Join, Ready, Leave, Bury, Resubmit)
    assert (operation.kind == NO_KIND) == isinstance(operation, of_no_kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_value_and_a_window_of_its_own(kind: int) -> None:
    value = types.empty_value(kind)
    assert not types.is_visible(value)
    if value is not None:
        assert types.kind_of(value) == kind
    window = types.new_window(kind, value)
    assert types.kind_of_window(window) == kind
    assert window.entries == 0


def test_the_fixed_order_in_which_kinds_answer() -> None:
    assert KINDS == [KIND_MAP, KIND_SET, 2, KIND_SEQUENCE, KIND_REGISTER]


@pytest.mark.parametrize("amount", ["", "ten", "nan", "inf", "1e999", "1" * 700, "\ud800", "1_0"])
def test_an_amount_that_is_no_number_is_a_fault_of_the_peer(amount: str) -> None:
    for operation in (Increment(b"k", amount), MapIncrement(b"k", b"f", amount)):
        with pytest.raises(PeerError):
            types.check_operation(operation)


@given(st.text(max_size=8) | st.integers())
def test_any_amount_is_a_number_or_refused_before_anything_is_changed(amount: int | str) -> None:
    try:
        types.check_operation(Increment(b"k", amount))
    except PeerError as problem:
        assert not problem.changed
        return
    types.effect(None, types.new_window(KIND_REGISTER, None), Increment(b"k", amount), (1, 1), 1, Context({}, {}))


def test_where_no_window_is_needed_the_plain_value_is_all() -> None:
    nobody = Context({}, {})

    def effect(value: types.Value | None, operation: AnyOperation) -> types.Value | None:
        return types.effect(value, None, operation, (1, 1), 1, nobody)

    assert effect(None, Assign(b"k", b"v")) == b"v"
    assert effect(b"4", Increment(b"k", 3)) == 7
    assert effect({b"x"}, SetAdd(b"k", [b"y"])) == {b"x", b"y"}
    assert effect({b"x", b"y"}, SetRemove(b"k", [b"y", b"z"])) == {b"x"}
    assert effect({b"f": b"1"}, MapAssign(b"k", [b"g", 2])) == {b"f": b"1", b"g": 2}
    assert effect({b"f": b"1"}, MapIncrement(b"k", b"f", 2)) == {b"f": 3}
    assert effect({b"f": b"1"}, MapRemove(b"k", [b"f"])) == {}
    sequence = effect(Sequence(), SequenceInsert(b"k", None, None, [b"a", b"b"]))
    assert isinstance(sequence, Sequence) and list(sequence) == [b"a", b"b"]
    values: list[types.Value] = [b"v", {b"x"}, {b"f": b"1"}]
    for value in values:
        assert types.reset(value, None, (1, 2), nobody) is None
    assert not types.is_visible(types.reset(sequence, None, (1, 3), nobody))


def test_large_collections_are_split_and_small_ones_left_alone() -> None:
    small, large = {b"a"}, {b"%d" % i for i in range(9)}
    assert types.split_large(small, 8) is small
    split = types.split_large(large, 8)
    assert isinstance(split, SplitSet) and set(split) == large
    mapping = types.split_large(dict.fromkeys(large, b"v"), 8)
    assert isinstance(mapping, SplitMap) and set(mapping) == large


def test_the_check_finds_a_value_that_disagrees_with_its_window() -> None:
    window = types.new_window(KIND_SET, None)
    types.effect(set(), window, SetAdd(b"k", [b"x"]), (1, 1), 1, Context({}, {}))
    with pytest.raises(AssertionError):
        types.check_value(set(), window)
