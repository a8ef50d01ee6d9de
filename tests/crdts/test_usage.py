"""What all keys take: near to what the allocator says, and to what every key says for itself."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import LocalContext
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Flush,
    Increment,
    MapAssign,
    Reset,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.usage import LARGE_BYTES
from marmoset.hashing import SHARDS, shard_of
from marmoset.keyspace import Keyspace

FACTOR = 1.25
"""How far an estimate may be off, right behind a round of measuring; docs/memory.md says it."""


class Written:
    """A keyspace that is written to."""

    def __init__(self, tracking: bool = False) -> None:
        self.keyspace = Keyspace(1000)
        self.keyspace.tracking = tracking
        self.seq = 0

    def do(self, operation: AnyOperation) -> None:
        self.seq += 1
        self.keyspace.effect(operation, (7, self.seq), self.seq, LocalContext())
        self.seq += operation.width - 1

    def measured(self) -> int:
        """Behind the end of the round that had begun, and a whole one."""
        for _ in range(2):
            while not self.keyspace.usage.measure(100):
                pass
        return self.keyspace.usage.total()

    def exact(self) -> int:
        """What all keys take, each asked for itself, every element looked at."""
        return sum(self.keyspace.footprint(key, 0) or 0 for key in list(self.keyspace.keys()))


def strings(number: int) -> AnyOperation:
    return Assign(b"key:%d" % number, b"v" * (number % 50))


def counters(number: int) -> AnyOperation:
    return Increment(b"key:%d" % number, number << 40)


def sets(number: int) -> AnyOperation:
    return SetAdd(b"key:%d" % (number % 300), [b"element:%d" % number])


def maps(number: int) -> AnyOperation:
    return MapAssign(b"key:%d" % (number % 300), [b"field:%d" % number, b"value:%d" % number])


def sorted_sets(number: int) -> AnyOperation:
    return ScoreAssign(b"key:%d" % (number % 30), [b"member:%d" % number, number])


def lists(number: int) -> AnyOperation:
    """Each value behind the one before in the same list; operation n has seq n + 1."""
    left = (7, number - 29) if number >= 30 else None
    return SequenceInsert(b"key:%d" % (number % 30), left, None, [b"value:%d" % number])


@pytest.mark.parametrize("make", [strings, counters, sets, maps, sorted_sets, lists])
def test_growth_is_estimated_within_the_factor(make: Callable[[int], AnyOperation]) -> None:
    written = Written()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            written.do(make(number))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert 1 / FACTOR < written.measured() / grown < FACTOR


words = st.binary(min_size=1, max_size=40)
keys = st.sampled_from([b"k%d" % number for number in range(12)])
some_operations = st.lists(
    st.one_of(
        st.builds(Assign, keys, st.binary(max_size=200)),
        st.builds(Increment, keys, st.integers(-5, 1 << 62)),
        st.builds(SetAdd, keys, st.lists(words, min_size=1, max_size=6)),
        st.builds(SetRemove, keys, st.lists(words, min_size=1, max_size=3)),
        st.builds(MapAssign, keys, st.tuples(words, words).map(list)),
        st.builds(ScoreAssign, keys, st.tuples(words, st.integers(0, 9)).map(list)),
        st.builds(Reset, keys),
        st.builds(Flush),
        st.integers(1, 2000),
    ),
    max_size=60,
)


@given(some_operations, st.booleans())
def test_behind_a_round_it_is_what_the_keys_say(steps: list[AnyOperation | int], tracking: bool) -> None:
    """Whatever was done and measured in between, and whatever stands beside: windows do not count, the rest does."""
    written = Written(tracking)
    usage = written.keyspace.usage
    for step in steps:
        if isinstance(step, int):
            usage.measure(step)
        else:
            written.do(step)
        assert usage.total() >= 0
        usage._check()
    written.keyspace.tracking = False
    for shard in written.keyspace.shards:
        shard.windows.clear()
        shard.beside.clear()
    exact = written.exact()
    assert exact / FACTOR - 100 <= written.measured() <= exact * FACTOR + 100


def test_keys_that_came_since_count_as_much_as_those_before() -> None:
    written = Written()
    for number in range(5000):
        written.do(strings(number))
    begun = written.measured()
    for number in range(5000, 10_000):
        written.do(strings(number))
    assert 1.7 < written.keyspace.usage.total() / begun < 2.3, "twice the keys, none measured"
    for number in range(10_000):
        written.do(Reset(b"key:%d" % number))
    assert written.keyspace.usage.total() == 0, "and nothing where nothing is left"


def test_a_large_value_says_nothing_of_the_next_key() -> None:
    written = Written()
    for number in range(2000):
        written.do(strings(number))
    written.do(Assign(b"large", bytes(50_000_000)))
    begun = written.measured()
    assert begun > 50_000_000
    for number in range(2000, 2100):
        written.do(Assign(b"key:%d" % number, b"v"))
    assert written.keyspace.usage.total() - begun < 100 * 1000


def test_measuring_goes_in_slices() -> None:
    written = Written()
    for number in range(3000):
        written.do(strings(number))
    slices = 1
    while not written.keyspace.usage.measure(100):
        slices += 1
    assert (3000 + SHARDS) // 150 < slices <= (3000 + SHARDS) // 100 + 1


def test_a_shard_of_many_keys_is_measured_in_pieces() -> None:
    written = Written()
    keys = [key for key in (b"key:%d" % number for number in range(400_000)) if shard_of(key) == 3]
    for key in keys:
        written.do(Assign(key, b"v"))
    usage, slices = written.keyspace.usage, 1
    while not usage.measure(50):
        written.do(Reset(keys[slices]))  # what was measured already goes, and others move up
        written.do(Assign(b"key:%d" % slices, b"v"))
        slices += 1
    assert slices > len(keys) // 50
    assert 0.9 < usage.total() / written.measured() < 1.1


def test_what_only_remembers_removals_does_not_count() -> None:
    """It cannot be evicted: if it counted, evicting would not end."""
    written = Written(tracking=True)
    written.do(SequenceInsert(b"list", None, None, [b"value:%d" % number for number in range(1000)]))
    written.do(Reset(b"list"))
    assert b"list" in written.keyspace.shards[shard_of(b"list")].beside
    other = next(key for key in (b"%d" % number for number in range(100_000)) if shard_of(key) == shard_of(b"list"))
    written.do(Assign(other, b"v"))
    assert written.measured() < 500


@pytest.mark.parametrize(
    "large",
    [
        Assign(b"large", bytes(50_000)),
        SetAdd(b"large", [b"element:%d" % number for number in range(500)]),
        SequenceInsert(b"large", None, None, [b"value:%d" % number for number in range(3000)]),
    ],
)
def test_what_is_large_and_reset_does_not_count_any_more(large: AnyOperation) -> None:
    written = Written()
    for number in range(2000):
        written.do(strings(number))
    begun = written.measured()
    written.do(large)
    assert written.measured() > begun + LARGE_BYTES
    written.do(Reset(b"large"))
    assert 0.97 < written.keyspace.usage.total() / begun < 1.03
    written.do(Reset(b"large"))
    written.keyspace.usage._check()
