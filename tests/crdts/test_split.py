"""Large sets and maps in parts: they are what a set and a dict are, and can be walked while they change."""

from random import Random
from sys import getsizeof

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.crdts.split import PART_ENTRIES, SplitMap, SplitSet

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


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_parts_stay_small_and_a_walk_meets_everything_that_is_there_throughout(rng: Random) -> None:
    split = SplitSet([b"old%d" % i for i in range(3000)])
    met: set[bytes] = set()
    at = added = 0
    while at < len(split.parts):
        met |= split.parts[at].keys()
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


@pytest.mark.parametrize("kind", [SplitSet, SplitMap])
def test_tables_are_no_larger_than_those_of_one_container(kind: type[SplitSet] | type[SplitMap]) -> None:
    split = kind((), 10_000)
    ours: list[float] = []
    theirs: list[float] = []
    plain: dict[bytes, int] = {}
    for number in range(1, 60_001):
        element = b"%d" % number
        if isinstance(split, SplitSet):
            split.add(element)
        else:
            split[element] = 0
        plain[element] = 0
        if number > 30_000 and number % 2000 == 0:  # over a doubling: tables grow in steps
            ours.append(sum(map(getsizeof, split.parts)) / number)
            theirs.append(getsizeof(plain) / number)
    assert sum(ours) < 1.05 * sum(theirs)
