"""What values take, beside what the allocator says that they do."""

import tracemalloc
from collections.abc import Callable
from random import Random

import pytest

from marmoset.clocks import LocalContext
from marmoset.codec.operations import Assign, MapAssign, Operation, ScoreAssign, SequenceInsert, SetAdd
from marmoset.crdts.footprint import footprint
from marmoset.crdts.sequence import Sequence
from marmoset.keyspace import Keyspace

COUNT = 20_000


def word(number: int) -> bytes:
    return b"%020d" % number


def a_set(split_above: int) -> Keyspace:
    return made(split_above, [SetAdd(b"k", [word(number)]) for number in range(COUNT)])


def a_map(split_above: int) -> Keyspace:
    return made(split_above, [MapAssign(b"k", [word(number), word(-number)]) for number in range(COUNT)])


def appended(split_above: int) -> Keyspace:
    keyspace = Keyspace(split_above)
    left = None
    for at in range(0, COUNT, 100):
        values = [word(number) for number in range(at, at + 100)]
        keyspace.effect(SequenceInsert(b"k", left, None, values), (7, at + 1), 1, LocalContext())  # type: ignore[arg-type]
        left = (7, at + 100)
    return keyspace


def pushed(split_above: int) -> Keyspace:
    keyspace = Keyspace(split_above)
    right = None
    for number in range(1, COUNT + 1):
        keyspace.effect(SequenceInsert(b"k", None, right, [word(number)]), (7, number), 1, LocalContext())
        right = (7, number)
    return keyspace


def scattered(split_above: int) -> Keyspace:
    keyspace, rng = Keyspace(split_above), Random(7)
    keyspace.effect(SequenceInsert(b"k", None, None, [word(0)]), (7, 1), 1, LocalContext())
    value = keyspace.get(b"k")
    assert isinstance(value, Sequence)
    for number in range(2, COUNT + 1):
        left, right = value.neighbours(rng.randrange(number))
        keyspace.effect(SequenceInsert(b"k", left, right, [word(number)]), (7, number), 1, LocalContext())
    return keyspace


def a_sorted_set(split_above: int) -> Keyspace:
    return made(split_above, [ScoreAssign(b"k", [word(number), number]) for number in range(COUNT)])


def made(split_above: int, operations: list[Operation]) -> Keyspace:
    keyspace = Keyspace(split_above)
    for number, operation in enumerate(operations):
        keyspace.effect(operation, (7, number + 1), number, LocalContext())  # type: ignore[arg-type]
    return keyspace


@pytest.mark.parametrize("split_above", [1000, 1_000_000])
@pytest.mark.parametrize("make", [a_set, a_map, a_sorted_set, appended, pushed, scattered])
def test_large_values_are_measured_to_a_tenth(make: Callable[[int], Keyspace], split_above: int) -> None:
    tracemalloc.start()
    try:
        begun = tracemalloc.get_traced_memory()[0]
        empty = Keyspace(split_above)
        between = tracemalloc.get_traced_memory()[0]
        keyspace = make(split_above)
        total = tracemalloc.get_traced_memory()[0] - between - (between - begun)
    finally:
        tracemalloc.stop()
    assert len(empty) == 0
    value = keyspace.get(b"k")
    assert value is not None
    assert 0.9 < footprint(value, 0) / total < 1.1
    assert 0.85 < footprint(value, 5) / total < 1.15


def test_what_is_not_stable_counts_too() -> None:
    keyspace = Keyspace(1000)
    keyspace.effect(Assign(b"k", b"v"), (7, 1), 1, LocalContext())
    alone = keyspace.footprint(b"k", 0)
    keyspace.tracking = True
    keyspace.effect(Assign(b"k", b"v"), (7, 2), 2, LocalContext())
    unstable = keyspace.footprint(b"k", 0)
    assert alone is not None and unstable is not None and unstable > alone
    assert keyspace.footprint(b"nothing", 5) is None
