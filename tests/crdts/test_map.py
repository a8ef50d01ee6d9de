"""The map of registers, against its specification."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context
from marmoset.codec.operations import (
    KIND_MAP,
    AnyOperation,
    Assign,
    Increment,
    MapAssign,
    MapIncrement,
    MapRemove,
    Reset,
    Scalar,
)
from marmoset.crdts.map import MapWindow, assign_plain, increment_plain
from marmoset.crdts.types import Value
from tests.crdts.history import Done, run
from tests.crdts.test_register import AMOUNTS, VALUES, register

FIELDS = [b"f", b"g"]


def make(rng: Random, value: Value | None) -> AnyOperation:
    dice, field = rng.random(), rng.choice(FIELDS)
    if dice < 0.4:
        return MapAssign(b"k", [x for _ in range(rng.randint(1, 2)) for x in (rng.choice(FIELDS), rng.choice(VALUES))])
    if dice < 0.75:
        return MapIncrement(b"k", field, rng.choice(AMOUNTS))
    return MapRemove(b"k", [rng.choice(FIELDS) for _ in range(rng.randint(1, 2))])


def inside(done: Done, field: bytes) -> Done | None:
    """What an operation on a map is to one of its fields: the same operation on a register."""
    operation = done.operation
    inner: AnyOperation | None = None
    if isinstance(operation, MapAssign):
        given = [
            value for name, value in zip(operation.pairs[::2], operation.pairs[1::2], strict=True) if name == field
        ]
        inner = Assign(field, given[-1]) if given else None
    elif isinstance(operation, MapIncrement) and operation.field == field:
        inner = Increment(field, operation.amount)
    elif isinstance(operation, Reset) or (isinstance(operation, MapRemove) and field in operation.fields):
        inner = Reset(field)
    return None if inner is None else Done(done.dot, done.stamp, inner, done.context)


def fields(done: list[Done]) -> object:
    """DESIGN.md section 5: every field by itself, present while there is something in it."""
    shown = {field: register([d for d in (inside(x, field) for x in done) if d is not None]) for field in FIELDS}
    return {field: value for field, value in shown.items() if value is not None}


@given(st.randoms(use_true_random=False))
def test_a_map_shows_what_is_specified(rng: Random) -> None:
    run(rng, KIND_MAP, make, fields)


def test_an_update_inside_survives_a_concurrent_removal_of_its_field() -> None:
    value: dict[bytes, Scalar] = {b"f": b"10"}
    window = MapWindow()
    window.increment(value, b"f", 5, (1, 1))
    assert value == {b"f": 15}
    window.remove(value, [b"f"], Context({1: 0, 2: 1}, {}))
    assert value == {b"f": 5}
    window.remove(value, [b"f", b"g"], Context({1: 1, 2: 2}, {}))
    assert value == {}
    assert window.entries == 0 and not window.fields


def test_the_count_of_entries_follows_every_verb() -> None:
    value: dict[bytes, Scalar] = {}
    window = MapWindow()
    nobody = Context({1: 0, 2: 0}, {})
    window.assign(value, [b"f", b"1", b"g", b"2", b"f", b"3"], (1, 1), 1, Context({1: 1, 2: 0}, {}))
    window.increment(value, b"f", 1, (2, 1))
    window.assign(value, [b"f", b"9"], (2, 2), 2, nobody)
    window._check(value)
    assert window.entries == 4
    window.fold_assign([b"f", b"1", b"g", b"2"], (1, 1))
    window._check(value)
    assert window.entries == 2
    assert window.reset(Context({1: 1, 2: 1}, {})) == {b"f": b"9"}
    assert window.entries == 1


def test_fields_where_no_window_is_needed() -> None:
    value: dict[bytes, Scalar] = {}
    assign_plain(value, [b"f", b"1", b"g", 2])
    increment_plain(value, b"f", 4)
    increment_plain(value, b"h", 1)
    assert value == {b"f": 5, b"g": 2, b"h": 1}
