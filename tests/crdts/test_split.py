"""Large sets and maps in parts: they are what a set and a dict are, and can be walked while they change."""

import gc
from collections.abc import Callable
from random import Random
from sys import getsizeof

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.crdts.split import PART_ENTRIES, SetPart, SplitMap, SplitSet, _tight_set

Split = SplitSet | SplitMap
Plain = set[bytes] | dict[bytes, int]

KEYS = st.integers(0, 30).map(lambda i: b"%d" % i)


@given(st.lists(st.tuples(st.booleans(), KEYS)))
def test_a_split_set_is_a_set(changes: list[tuple[bool, bytes]]) -> None:
    split, plain = SplitSet(), set[bytes]()
    for adding, element in changes:
        (split.add if adding else split.discard)(element)
        (plain.add if adding else plain.discard)(element)
        assert len(split) == len(plain) and (element in split) == (element in plain)
    assert set(split) == plain
    assert len(list(split)) == len(plain)
    split._check()


@given(st.lists(st.tuples(st.booleans(), KEYS, st.integers())))
def test_a_split_map_is_a_dict(changes: list[tuple[bool, bytes, int]]) -> None:
    split, plain = SplitMap(), dict[bytes, bytes | int]()
    for setting, field, value in changes:
        if setting:
            split[field] = plain[field] = value
        else:
            assert split.pop(field) == plain.pop(field, None)
        assert (split.get(field), len(split), field in split) == (plain.get(field), len(plain), field in plain)
    assert dict(split.items()) == plain
    assert sorted(split.keys()) == sorted(plain) and len(list(split.values())) == len(plain)
    split._check()


@pytest.mark.parametrize("kind", [SplitSet, SplitMap])
@pytest.mark.parametrize("split_above", [16, 300, 10_000])
def test_what_comes_and_goes_in_many_parts_is_what_is_in_one(kind: type[Split], split_above: int) -> None:
    split, rng = kind((), split_above), Random(split_above)
    there: set[bytes] = set()
    for up_to in (3000, 500, 6000, 0, 2000):
        while len(there) != up_to:
            number = rng.randrange(8000)
            if len(there) < up_to or b"%d" % number not in there:
                put(split, number)
                there.add(b"%d" % number)
            if len(there) > up_to:
                take(split, number)
                there.discard(b"%d" % number)
        assert set(split) == there and len(split) == len(there)
        split._check()


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_parts_stay_small_and_a_walk_meets_everything_that_is_there_throughout(rng: Random) -> None:
    split = SplitSet([b"old%d" % i for i in range(3000)])
    met: set[bytes] = set()
    at = added = 0
    while at < len(split.parts):
        met.update(split.parts[at])
        at += 1
        for _ in range(rng.choice([0, 100, 500]) if added < 10_000 else 0):
            split.add(b"new%d" % added)
            added += 1
    split._check()
    assert {b"old%d" % i for i in range(3000)} <= met
    assert max(map(len, split.parts)) < 8 * PART_ENTRIES


def test_what_is_no_bytes_is_not_in_it() -> None:
    assert "text" not in SplitSet([b"text"])
    assert 5 not in SplitMap([(b"5", 5)])


def test_the_parts_are_the_same_in_every_process() -> None:
    split = SplitMap([(b"%d" % i, i) for i in range(2000)])
    again = SplitMap([(b"%d" % i, i) for i in reversed(range(2000))])
    assert [sorted(part) for part in split.parts] == [sorted(part) for part in again.parts]


def smallest(entries: int) -> int:
    """Bytes of the smallest table for so many elements: a set occupies less than three fifths of all places but one."""
    places = 8
    while 5 * entries >= 3 * (places - 1):
        places *= 2
    return min(getsizeof(set()) + 16 * places, getsizeof(dict.fromkeys(range(entries))))


def test_a_part_of_a_set_that_grows_has_the_smallest_table_with_room_for_one_more() -> None:
    split = SplitSet((), 10_000)
    split.readings = 1  # so it stays one part
    for count in range(1, 700):
        split.add(b"%d" % count)
        if count >= PART_ENTRIES // 4:
            assert getsizeof(split.parts[0]) <= smallest(count + 1), count
    assert len(split.parts) == 1 and set(split) == {b"%d" % count for count in range(1, 700)}


@pytest.mark.parametrize("form", [list, set, dict.fromkeys])
def test_a_part_that_is_made_anew_has_a_small_table_whatever_it_is_made_from(
    form: Callable[[list[bytes]], list[bytes] | SetPart],
) -> None:
    for count in range(1, 700):
        names = [b"%d" % number for number in range(count)]
        part = _tight_set(form(names))
        assert set(part) == set(names)
        assert count < 30 or getsizeof(part) <= 1.12 * smallest(count + 1), count


@pytest.mark.parametrize("count", [36_000, 44_000, 52_000, 60_000, 68_000])
def test_parts_that_are_split_and_those_of_a_set_that_is_there_have_small_tables(count: int) -> None:
    numbers = [b"%d" % number for number in range(count)]
    grown, made = SplitSet((), 10_000), SplitSet(numbers, 10_000)
    grown.add_each(numbers)
    for part in grown.parts + made.parts:
        assert getsizeof(part) <= 1.11 * smallest(len(part) + 1), len(part)


@pytest.mark.parametrize("kind", [SplitSet, SplitMap])
def test_the_garbage_collector_does_not_visit_parts(kind: type[Split]) -> None:
    split = kind((), 10_000)
    for up_to in (2000, 10_000, 12_345):
        for number in range(up_to):
            put(split, number)
        assert not any(map(gc.is_tracked, split.parts))
        for number in range(0, up_to, 3):
            take(split, number)
        assert not any(map(gc.is_tracked, split.parts))
    made = SplitSet([b"%d" % number for number in range(12_345)])
    assert not any(map(gc.is_tracked, made.parts))


def tables(split: Split) -> int:
    """How many bytes the tables of the parts take."""
    return sum(map(getsizeof, split.parts))


def put(collection: Split | Plain, number: int) -> None:
    if isinstance(collection, (set, SplitSet)):
        collection.add(b"%d" % number)
    else:
        collection[b"%d" % number] = number


def take(collection: Split | Plain, number: int) -> None:
    if isinstance(collection, (set, SplitSet)):
        collection.discard(b"%d" % number)
    else:
        collection.pop(b"%d" % number)


@pytest.mark.parametrize(("kind", "plain"), [(SplitSet, set), (SplitMap, dict)], ids=["set", "map"])
def test_tables_are_no_larger_than_those_of_one_container(kind: type[Split], plain: type[Plain]) -> None:
    split, one = kind((), 10_000), plain()
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(1, 110_001):
        put(split, number)
        put(one, number)
        if number > 55_000 and number % 5000 == 0:  # over a doubling: tables grow in steps
            ours.append(tables(split) / number)
            theirs.append(getsizeof(one) / number)
    assert sum(ours) < 1.03 * sum(theirs)


@pytest.mark.parametrize(("kind", "plain", "share"), [(SplitSet, set, 1.1), (SplitMap, dict, 0.7)], ids=["set", "map"])
@pytest.mark.parametrize("count", [60_000, 78_000, 100_000])
def test_tables_are_no_larger_when_entries_come_and_go(
    kind: type[Split], plain: type[Plain], share: float, count: int
) -> None:
    split, one = kind((), 10_000), plain()
    for number in range(3 * count):
        put(split, number)
        put(one, number)
        if number >= count:
            take(split, number - count)
            take(one, number - count)
    assert len(split) == len(one) == count
    assert tables(split) < share * getsizeof(one)
    split._check()


@pytest.mark.parametrize("kind", [SplitSet, SplitMap])
def test_tables_become_smaller_when_entries_go(kind: type[Split]) -> None:
    split = kind((), 10_000)
    for number in range(60_000):
        put(split, number)
    before = tables(split)
    for number in range(45_000):
        take(split, number)
    assert tables(split) < 0.6 * before
    split._check()
