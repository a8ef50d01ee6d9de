"""Large values that were removed: freed some entries at a time, and never under the hands of who still reads them."""

from random import Random

import pytest

from marmoset.clocks import LocalContext
from marmoset.codec.operations import (
    KIND_SEQUENCE,
    Assign,
    Flush,
    MapAssign,
    Reset,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.exports import SetEntry
from marmoset.crdts.garbage import LARGE, Garbage
from marmoset.crdts.reading import SlotsReading
from marmoset.crdts.sequence import Sequence, insert
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value
from marmoset.hashing import shard_of
from marmoset.keyspace import Keyspace
from tests.crdts.test_reading import put_together

MANY = [b"%06d" % number for number in range(4 * LARGE)]


Container = set[bytes] | dict[bytes, int] | list[bytes] | SplitSet | SplitMap


def left(value: Container) -> int:
    """How many entries are not freed."""
    return sum(map(len, value.parts)) if isinstance(value, (SplitSet, SplitMap)) else len(value)


@pytest.mark.parametrize(
    "value",
    [set(MANY), dict.fromkeys(MANY, 0), list(MANY), SplitSet(MANY), SplitMap([(each, 0) for each in MANY])],
    ids=["set", "dict", "list", "SplitSet", "SplitMap"],
)
def test_a_large_container_goes_in_slices(value: Container) -> None:
    garbage = Garbage()
    garbage.put(value)
    before, slices = len(MANY), 0
    while garbage.collect(100):
        assert 0 < before - left(value) <= 100
        before, slices = left(value), slices + 1
        assert garbage.entries == before
        garbage._check()
    assert slices >= len(MANY) // 100 and left(value) == 0 and not garbage and not garbage.entries


def small_values() -> list[Value]:
    elements = MANY[: LARGE - 1]
    short = SortedSet((each, 1) for each in elements[: LARGE // 2 - 1])
    return [set(elements), dict.fromkeys(elements, 0), scattered(LARGE - 1), short]


@pytest.mark.parametrize("kind", range(4), ids=["set", "dict", "sequence", "sorted set"])
def test_what_goes_in_one_piece_counts_with_all_that_is_in_it(kind: int) -> None:
    """A FLUSHALL of many small collections is to be as smooth as one of large ones."""
    garbage = Garbage()
    garbage.put_table({b"%d" % at: small_values()[kind] for at in range(8)})
    for left in range(6, -1, -2):
        garbage.collect(LARGE + 1)
        assert garbage.entries == left
        garbage._check()
    assert not garbage.collect(1) and not garbage


def test_what_a_sorted_set_is_ordered_by_goes_in_slices_too() -> None:
    garbage = Garbage()
    value = SortedSet((each, 1) for each in MANY)
    order, scores = value.order, value.scores
    garbage.put(value)
    garbage.collect(len(MANY) // 2)
    left = len(order) + len(scores)
    assert 1.4 * len(MANY) < left < 1.6 * len(MANY)
    while garbage.collect(100):
        pass
    assert len(order) == len(scores) == 0


def scattered(count: int) -> Sequence:
    """A list in which nearly every element is a run of its own."""
    value, rng = Sequence(), Random(7)
    for seq in range(1, count + 1):
        insert(value, None, (1, seq), LocalContext(), *value.neighbours(rng.randrange(len(value) + 1)), [b"%d" % seq])
    return value


def test_a_sequence_goes_in_slices_and_leaves_no_cycles() -> None:
    value, garbage = scattered(20 * LARGE), Garbage()
    buckets, blocks = value.buckets, value.blocks
    chunks = [chunk for block in blocks for chunk in block.chunks]
    assert len(blocks) > 2 and len(chunks) > 100
    before = sum(len(chunk.runs) for chunk in chunks) + len(buckets)
    garbage.put(value)
    assert len(value) == 0 and list(value) == []
    assert value.blocks[0].chunks[0].block is None
    slices = 0
    while garbage.collect(200):
        after = sum(len(chunk.runs) for chunk in chunks) + len(buckets)
        assert before - after < 1000
        before, slices = after, slices + 1
        garbage._check()
    assert slices > 20 and not blocks and not buckets and not garbage.entries
    assert all(not c.runs and c.block is c.before is c.after is None for c in chunks), "a cycle is left"


def test_a_short_sequence_is_taken_apart_at_once() -> None:
    value, garbage = scattered(LARGE - 1), Garbage()
    chunk = value.blocks[0].chunks[0]
    garbage.put(value)
    assert not garbage and not chunk.runs and chunk.block is None and chunk.after is None


@pytest.mark.parametrize("removal", [Reset(b"k"), Flush()])
def test_a_removed_list_is_garbage_and_what_comes_after_it_is_not(removal: Reset | Flush) -> None:
    keyspace = Keyspace(LARGE)
    keyspace.restore(b"k", KIND_SEQUENCE, scattered(2 * LARGE), None)
    keyspace.effect(removal, (2, 1), 1, LocalContext())
    assert b"k" not in keyspace and keyspace.garbage
    keyspace.effect(SequenceInsert(b"k", None, None, [b"new"]), (2, 2), 2, LocalContext())
    while keyspace.garbage.collect(100):
        pass
    value = keyspace.get(b"k")
    assert isinstance(value, Sequence) and list(value) == [b"new"]


def test_a_list_that_a_snapshot_reads_is_read_to_its_end_though_it_is_removed() -> None:
    keyspace = Keyspace(LARGE)
    value = scattered(2 * LARGE)
    keyspace.restore(b"k", KIND_SEQUENCE, value, None)
    right = list(value)
    reading = SlotsReading(keyspace.shards[shard_of(b"k")], 16)
    entries = reading.take(1)
    keyspace.effect(Reset(b"k"), (2, 1), 1, LocalContext())
    while keyspace.garbage.collect(100):
        pass
    while not reading.is_done:
        entries += reading.take(16)
    read = put_together(entries).values[b"k"]
    assert isinstance(read, Sequence) and list(read) == right


def test_small_values_and_text_are_no_garbage() -> None:
    garbage = Garbage()
    for value in (set(MANY[: LARGE - 1]), {b"f": b"v"}, b"text" * LARGE, 7, None, SortedSet([(b"m", 1)])):
        garbage.put(value)
    assert not garbage and not garbage.collect(1)


def test_large_values_inside_of_a_table_are_sliced_in_their_turn() -> None:
    garbage, inner = Garbage(), set(MANY)
    garbage.put_table({b"k": inner})
    assert garbage.collect(100) and len(MANY) - 100 <= len(inner) < len(MANY)


@pytest.mark.parametrize("operation", [SetAdd(b"k", MANY), MapAssign(b"k", [w for each in MANY for w in (each, b"v")])])
def test_a_removed_collection_is_garbage_and_what_comes_after_it_is_not(operation: SetAdd | MapAssign) -> None:
    keyspace = Keyspace(2 * len(MANY))
    keyspace.effect(operation, (1, 1), 1, LocalContext())
    value = keyspace.get(b"k")
    keyspace.effect(Reset(b"k"), (1, 2), 2, LocalContext())
    assert b"k" not in keyspace and keyspace.garbage
    keyspace.effect(SetAdd(b"k", [b"new"]), (1, 3), 3, LocalContext())
    while keyspace.garbage.collect(100):
        pass
    assert keyspace.get(b"k") == {b"new"} and not value


def test_an_overwritten_collection_and_one_that_is_flushed_are_garbage() -> None:
    keyspace = Keyspace(2 * len(MANY))
    keyspace.effect(ScoreAssign(b"k", [w for each in MANY for w in (each, 1)]), (1, 1), 1, LocalContext())
    keyspace.effect(Flush(), (1, 2), 2, LocalContext())
    assert keyspace.garbage
    while keyspace.garbage.collect(1000):
        pass
    keyspace.effect(SetAdd(b"s", MANY), (1, 3), 3, LocalContext())
    keyspace.effect(Assign(b"s", b"text"), (1, 4), 4, LocalContext())
    assert keyspace.garbage
    while keyspace.garbage.collect(1000):
        pass
    assert keyspace.get(b"s") == b"text" and len(keyspace) == 1


def test_what_a_snapshot_still_reads_is_left_alone() -> None:
    keyspace = Keyspace(LARGE)
    keyspace.effect(SetAdd(b"k", MANY), (1, 1), 1, LocalContext())
    reading = SlotsReading(keyspace.shards[shard_of(b"k")], 16)
    entries = reading.take(1)
    keyspace.effect(SetRemove(b"k", MANY[:10]), (1, 2), 2, LocalContext())
    keyspace.effect(Reset(b"k"), (1, 3), 3, LocalContext())
    while keyspace.garbage.collect(1000):
        pass
    while not reading.is_done:
        entries += reading.take(16)
    assert sorted(each for entry in entries if isinstance(entry, SetEntry) for each in entry.elements) == MANY
