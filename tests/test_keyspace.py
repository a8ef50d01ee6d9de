"""The keyspace: what is plain, what stands beside it, what is counted, and what FLUSHALL and watchers see."""

import gc
from collections.abc import Iterator
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context, LocalContext, VersionVector
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    AnyOperation,
    Assign,
    Flush,
    Increment,
    MapAssign,
    Reset,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.exports import DeadlineEntry, Importer, SetEntry, decode_entries, export_value
from marmoset.crdts.reading import SlotsReading
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitSet
from marmoset.crdts.types import Value, kind_of
from marmoset.hashing import SHARDS, shard_of
from marmoset.keyspace import Keyspace, Watch

LOCAL = LocalContext()


def fold(keyspace: Keyspace, operation: AnyOperation, dot: tuple[int, int]) -> None:
    """Fold an operation, a FLUSHALL key by key."""
    if isinstance(operation, Flush):
        while keyspace.fold_flush(dot, 1):
            keyspace._check()
    else:
        keyspace.fold(operation, dot)
    keyspace._check()


class Bench:
    """A keyspace, and operations of three replicas on it. 1 is local; what 2 and 3 have observed is said each time."""

    def __init__(self, tracking: bool = True, split_above: int = 1000) -> None:
        self.keyspace = Keyspace(split_above)
        self.keyspace.tracking = tracking
        self.seqs = {1: 0, 2: 0, 3: 0}
        self.done: list[tuple[AnyOperation, tuple[int, int]]] = []

    def do(self, operation: AnyOperation, by: int = 1, observed: VersionVector | None = None) -> tuple[int, int]:
        self.seqs[by] += len(operation.values) if isinstance(operation, SequenceInsert) else 1
        first = self.seqs[by] - (len(operation.values) - 1 if isinstance(operation, SequenceInsert) else 0)
        dot = (by, first)
        context = LOCAL if by == 1 else Context({1: 0, 2: 0, 3: 0, **(observed or {}), by: self.seqs[by]}, {})
        self.keyspace.effect(operation, dot, 1000 + sum(self.seqs.values()), context)
        self.done.append((operation, dot))
        self.keyspace._check()
        return dot

    def fold_all(self) -> None:
        for operation, dot in self.done:
            fold(self.keyspace, operation, dot)
        self.done.clear()

    def shown(self) -> dict[bytes, object]:
        found: dict[bytes, object] = {}
        for key in list(self.keyspace.keys()):
            value = self.keyspace.get(key)
            found[key] = list(value) if isinstance(value, Sequence) else value
        return found


def one_of_each(bench: Bench) -> None:
    bench.do(Assign(b"register", b"v"))
    bench.do(Increment(b"counter", 5))
    bench.do(SetAdd(b"set", [b"x"]))
    bench.do(MapAssign(b"map", [b"f", b"v"]))
    bench.do(SequenceInsert(b"list", None, None, [b"a", b"b"]))


def test_what_is_stored_is_the_plain_value_at_all_times() -> None:
    bench = Bench()
    for _ in range(2):  # with windows, and without
        one_of_each(bench)
        keyspace = bench.keyspace
        assert keyspace.get(b"register") == b"v" and type(keyspace.get(b"register")) is bytes
        assert keyspace.get(b"counter") in (5, 10) and type(keyspace.get(b"counter")) is int
        assert type(keyspace.get(b"set")) is set and type(keyspace.get(b"map")) is dict
        assert type(keyspace.get(b"list")) is Sequence
        bench.do(Reset(b"list"))
        bench.fold_all()
        assert keyspace.is_at_rest and keyspace.window_entries == 0


def test_a_group_of_one_needs_no_window() -> None:
    bench = Bench(tracking=False)
    one_of_each(bench)
    bench.do(SequenceRemove(b"list", bench.keyspace.get(b"list").ranges(0, 1)))  # type: ignore[union-attr]
    assert bench.keyspace.is_at_rest
    assert bench.shown()[b"list"] == [b"b"]
    bench.do(Flush())
    assert len(bench.keyspace) == 0 and bench.keyspace.is_at_rest


@pytest.mark.parametrize("tracking", [True, False])
def test_a_key_without_a_value_is_absent(tracking: bool) -> None:
    bench = Bench(tracking)
    one_of_each(bench)
    for key in list(bench.keyspace.keys()):
        bench.do(Reset(key))
        assert key not in bench.keyspace and bench.keyspace.get(key) is None
    bench.do(SetAdd(b"set", [b"x"]))
    bench.do(SetRemove(b"set", [b"x"]))
    assert b"set" not in bench.keyspace
    bench.do(Reset(b"never there"))
    assert len(bench.keyspace) == 0 and list(bench.keyspace.keys()) == []
    bench.fold_all()
    assert bench.keyspace.is_at_rest


# -- one key, several kinds


def test_concurrent_kinds_are_all_kept_and_the_first_of_the_fixed_order_answers() -> None:
    bench = Bench()
    bench.do(Assign(b"k", b"text"))
    bench.do(SetAdd(b"k", [b"x"]), by=2)
    bench.do(MapAssign(b"k", [b"f", b"v"]), by=3)
    assert bench.keyspace.get(b"k") == {b"f": b"v"}
    assert bench.keyspace.conflicts(b"k") == [(KIND_SET, {b"x"}), (KIND_REGISTER, b"text")]
    assert len(bench.keyspace) == 1
    bench.fold_all()
    assert bench.keyspace.is_at_rest
    assert len(bench.keyspace.conflicts(b"k")) == 2, "a conflict is data, and stays when all is stable"
    bench.do(Reset(b"k"))
    assert bench.shown() == {} and bench.keyspace.conflicts(b"k") == []


def test_a_reset_leaves_the_kinds_that_it_has_not_observed() -> None:
    bench = Bench()
    bench.do(MapAssign(b"k", [b"f", b"v"]), by=3)
    bench.do(Assign(b"k", b"text"), by=2)
    bench.do(Reset(b"k"), by=3)
    assert bench.keyspace.get(b"k") == b"text"
    assert bench.keyspace.conflicts(b"k") == []


def test_an_assignment_resets_what_it_has_observed_of_other_kinds() -> None:
    bench = Bench()
    bench.do(SetAdd(b"k", [b"seen"]), by=2)
    bench.do(SetAdd(b"k", [b"not seen"]), by=3)
    bench.do(Assign(b"k", b"text"), by=2)
    assert bench.keyspace.get(b"k") == {b"not seen"}
    assert bench.keyspace.conflicts(b"k") == [(KIND_REGISTER, b"text")]
    bench.do(Assign(b"k", b"mine"))
    assert bench.shown() == {b"k": b"mine"}


def test_removed_elements_of_a_list_stand_beside_until_their_removal_is_stable() -> None:
    bench = Bench()
    bench.do(SequenceInsert(b"k", None, None, [b"a"]))
    bench.do(Reset(b"k"))
    assert b"k" not in bench.keyspace and not bench.keyspace.is_at_rest
    assert bench.keyspace.conflicts(b"k") == []
    bench.do(SequenceInsert(b"k", (1, 1), None, [b"late"]), by=2, observed={1: 1})  # beside what is removed here
    assert bench.shown() == {b"k": [b"late"]}
    bench.fold_all()
    assert bench.keyspace.is_at_rest


OPERATIONS = st.one_of(
    st.builds(Assign, st.sampled_from([b"a", b"b"]), st.sampled_from([b"v", b"7", 3])),
    st.builds(Increment, st.sampled_from([b"a", b"b"]), st.sampled_from([1, "0.5"])),
    st.builds(SetAdd, st.sampled_from([b"a", b"b"]), st.just([b"x", b"y"])),
    st.builds(SetRemove, st.sampled_from([b"a", b"b"]), st.just([b"x"])),
    st.builds(MapAssign, st.sampled_from([b"a", b"b"]), st.just([b"f", b"v"])),
    st.builds(SequenceInsert, st.sampled_from([b"a", b"b"]), st.none(), st.none(), st.just([b"e", b"f"])),
    st.builds(Reset, st.sampled_from([b"a", b"b"])),
    st.builds(Flush),
)


@given(st.lists(st.tuples(OPERATIONS, st.integers(2, 3), st.integers(0, 99), st.integers(0, 99)), max_size=20))
def test_windows_are_counted_rightly_whatever_comes_and_nothing_is_left_in_the_end(
    steps: list[tuple[AnyOperation, int, int, int]],
) -> None:
    bench = Bench(split_above=1)
    context = {2: 0, 3: 0}  # what 2 and 3 have observed of each other only grows
    for operation, by, a, _ in steps:
        other = 5 - by
        context[other] = max(context[other], min(a, bench.seqs[other])) if by != other else 0
        bench.do(operation, by, {other: context[other]})  # `_check` counts again after each
    bench.fold_all()
    assert bench.keyspace.is_at_rest


def held(keyspace: Keyspace) -> bytes:
    """Everything that is kept, with its windows, in its one form."""
    holdings = [each for slots in keyspace.shards for each in slots.holdings()]
    return msgspec.msgpack.encode(
        [entry for name, _, value, window in holdings for entry in export_value(name, value, window)]
    )


STEPS = st.lists(st.tuples(OPERATIONS, st.integers(1, 3), st.integers(0, 99)), max_size=12)


@given(STEPS, st.sampled_from([Flush(), Reset(b"a"), Assign(b"a", b"w")]), STEPS)
def test_what_has_observed_all_windows_and_need_not_look_leaves_what_looking_would(
    before: list[tuple[AnyOperation, int, int]], removal: AnyOperation, after: list[tuple[AnyOperation, int, int]]
) -> None:
    benches = [Bench(split_above=1), Bench(split_above=1)]
    context = {1: 0, 2: 0, 3: 0}

    def do(steps: list[tuple[AnyOperation, int, int]]) -> None:
        for operation, by, a in steps:
            for other in {1, 2, 3} - {by}:
                context[other] = max(context[other], min(a, benches[0].seqs[other]))
            for bench in benches:
                bench.do(operation, by, dict(context))
            assert held(benches[0].keyspace) == held(benches[1].keyspace)

    do(before)
    for bench in benches:
        bench.seqs[1] += 1
        dot, stamp = (1, bench.seqs[1]), 1000 + sum(bench.seqs.values())
        observed = LOCAL if bench is benches[0] else Context(dict(bench.seqs), {})
        bench.keyspace.effect(removal, dot, stamp, observed)
        bench.keyspace._check()
        bench.done.append((removal, dot))
    do(after)
    for bench in benches:
        bench.fold_all()
    assert held(benches[0].keyspace) == held(benches[1].keyspace)


@pytest.mark.parametrize(
    ("removal", "by"), [(Flush(), 1), (Flush(), 2), (Reset(b"set"), 1), (Reset(b"set"), 2), (Assign(b"set", b"v"), 1)]
)
def test_windows_that_were_observed_as_a_whole_are_freed_in_slices(removal: AnyOperation, by: int) -> None:
    bench = Bench()
    elements = [b"%d" % number for number in range(5000)]
    bench.do(SetAdd(b"set", elements))
    assert bench.keyspace.window_entries == 5000
    bench.keyspace.notes.is_observing = True  # as `replication.chain` says of it
    bench.do(removal, by)
    assert bench.keyspace.window_entries == (1 if isinstance(removal, Assign) else 0)
    slices = 0
    while bench.keyspace.garbage.collect(500):
        slices += 1
    assert slices >= 2 * len(elements) // 500 - 2, "elements and their windows"
    bench.fold_all()
    assert bench.keyspace.is_at_rest


def test_a_window_of_what_is_read_is_not_taken_apart() -> None:
    bench = Bench()
    elements = [b"%d" % number for number in range(5000)]
    bench.do(SetAdd(b"set", elements))
    slots = bench.keyspace.shards[shard_of(b"set")]
    for removal in (Reset(b"set"), Flush()):
        reading = SlotsReading(slots, 100)
        bench.do(removal)
        assert len(bench.keyspace) == 0
        while bench.keyspace.garbage.collect(500):
            pass
        entries = []
        while not reading.is_done:
            entries += reading.take(100)
        reading.close()
        windows = dict(pair for entry in entries if isinstance(entry, SetEntry) for pair in entry.adds)
        assert windows.keys() == set(elements)
        bench.do(SetAdd(b"set", elements))


# -- FLUSHALL


def test_flushall_resets_everything_that_it_has_observed() -> None:
    bench = Bench()
    one_of_each(bench)
    bench.fold_all()
    bench.do(SetAdd(b"set", [b"concurrent"]), by=2)
    bench.do(SequenceInsert(b"list", None, (1, 5), [b"concurrent"]), by=2, observed={1: 6})
    bench.do(SetAdd(b"observed", [b"x"]), by=3)
    bench.do(Flush(), by=3, observed={1: 6})
    assert bench.shown() == {b"set": {b"concurrent"}, b"list": [b"concurrent"]}
    bench.fold_all()
    assert bench.keyspace.is_at_rest


def test_flushall_takes_what_stands_beside_too() -> None:
    bench = Bench()
    bench.do(SetAdd(b"k", [b"x"]), by=2)
    bench.do(Assign(b"k", b"text"), by=3)
    bench.do(SequenceInsert(b"gone", None, None, [b"a"]))
    bench.do(Reset(b"gone"))
    bench.do(Flush())
    assert bench.shown() == {} and bench.keyspace.conflicts(b"k") == []
    bench.fold_all()
    assert bench.keyspace.is_at_rest


def test_shards_that_were_replaced_are_freed_in_slices() -> None:
    bench = Bench(tracking=False)
    for i in range(100):
        bench.do(Assign(b"%d" % i, b"v"))
    bench.do(Flush())
    rounds = 0
    while bench.keyspace.garbage.collect(30):
        rounds += 1
    assert 3 <= rounds <= 6 and not bench.keyspace.garbage


def test_a_flushall_is_folded_in_shards_that_a_snapshot_brought_and_in_those_that_it_did_not() -> None:
    """Some shards were read behind the FLUSHALL, others before it: its removals stand in both."""
    source = Bench()
    keys = [b"a", b"b"]
    for key in keys:
        source.do(SequenceInsert(key, None, None, [b"v"]))
    newcomer = Keyspace(1000)
    newcomer.tracking = True

    def copy(key: bytes) -> None:
        for found, _, value, window in source.keyspace.shards[shard_of(key)].holdings():
            for entry in decode_entries(msgspec.msgpack.encode(export_value(found, value, window))):
                assert not isinstance(entry, DeadlineEntry)
                newcomer.restore(found, *Importer().add(entry, None, None))
        newcomer.snapshot_vectors[shard_of(key)] = dict(source.seqs)

    copy(b"a")
    flush = source.do(Flush())
    copy(b"b")
    newcomer.effect(Flush(), flush, 9, Context({1: 3, 2: 0, 3: 0}, {}))
    newcomer.snapshot_vectors.clear()
    for operation, dot in source.done:
        fold(newcomer, operation, dot)
    assert newcomer.is_at_rest and len(newcomer) == 0


# -- snapshots


def test_what_a_snapshot_held_is_skipped_when_it_comes_again() -> None:
    keyspace = Keyspace(1000)
    keyspace.tracking = True
    keyspace.restore(b"k", KIND_REGISTER, 5, None)
    keyspace.snapshot_vectors = {shard: {1: 3} for shard in range(SHARDS)}
    for seq in (2, 3, 4):
        keyspace.effect(Increment(b"k", 1), (1, seq), seq, Context({1: seq}, {}))
    assert keyspace.get(b"k") == 6


def test_a_replica_that_was_forgotten_where_the_shard_was_read_is_covered_there() -> None:
    keyspace = Keyspace(1000)
    joins = {2: (1, 5)}
    keyspace.snapshot_vectors = {shard: {1: 7} for shard in range(SHARDS)}
    keyspace.effect(Assign(b"k", b"old"), (2, 9), 1, Context({1: 5, 2: 9}, joins))
    assert b"k" not in keyspace
    keyspace.effect(Assign(b"k", b"new"), (3, 1), 1, Context({1: 8, 3: 1}, {3: (1, 8)}))  # it joined later
    assert keyspace.get(b"k") == b"new"


def test_a_window_is_put_back_as_it_was_and_taken_out_again() -> None:
    bench = Bench()
    bench.do(SetAdd(b"k", [b"x"]))
    bench.do(Assign(b"k", b"text"), by=2)
    entries = bench.keyspace.window_entries
    slots = bench.keyspace.shards[shard_of(b"k")]
    held = slots.take(b"k", KIND_SET)
    value, window = held.value, held.window
    assert value == {b"x"} and bench.keyspace.get(b"k") == b"text"
    bench.keyspace._check()
    assert value is not None
    bench.keyspace.restore(b"k", KIND_SET, value, window)
    bench.keyspace._check()
    assert bench.keyspace.get(b"k") == {b"x"} and bench.keyspace.window_entries == entries
    assert slots.take(b"none", KIND_MAP).value is None


# -- watching


@pytest.mark.parametrize(
    "operation", [Assign(b"k", b"v"), Reset(b"k"), SetAdd(b"k", [b"x"]), Increment(b"k", 1), Flush()]
)
@pytest.mark.parametrize("by", [1, 2])
def test_a_watch_is_touched_by_any_change_of_its_key_and_by_no_other(operation: AnyOperation, by: int) -> None:
    bench = Bench()
    bench.do(SetAdd(b"k", [b"there"]))
    mine, other = Watch(), Watch()
    bench.keyspace.watch(b"k", mine)
    bench.keyspace.watch(b"else", other)
    bench.do(Assign(b"third", b"v"), by)
    assert not mine.touched
    bench.do(operation, by)
    assert mine.touched
    assert other.touched == isinstance(operation, Flush)


def test_a_watch_that_is_taken_back_is_not_touched_and_leaves_nothing() -> None:
    bench = Bench()
    one, two = Watch(), Watch()
    bench.keyspace.watch(b"k", one)
    bench.keyspace.watch(b"k", two)
    bench.keyspace.unwatch(b"k", one)
    bench.do(Assign(b"k", b"v"))
    assert (one.touched, two.touched) == (False, True)
    bench.keyspace.unwatch(b"k", two)
    bench.keyspace.unwatch(b"k", two)
    assert bench.keyspace.watchers == {}


def test_folding_touches_no_watch() -> None:
    bench = Bench()
    bench.do(SetAdd(b"k", [b"x"]))
    watch = Watch()
    bench.keyspace.watch(b"k", watch)
    bench.fold_all()
    assert not watch.touched


# -- walking


def test_a_walk_over_the_keys_meets_each_once_and_those_that_stay_while_others_come_and_go() -> None:
    bench = Bench(tracking=False)
    stay = {b"stay%d" % i for i in range(300)}
    for key in sorted(stay):
        bench.do(Assign(key, b"v"))
    met: list[bytes] = []
    cursor, steps = 0, 0
    while True:
        cursor, keys = bench.keyspace.scan(cursor, 20)
        met += keys
        steps += 1
        bench.do(Assign(b"new%d" % steps, b"v"))
        if steps > 3:
            bench.do(Reset(b"new%d" % (steps - 3)))
        if cursor == 0:
            break
    assert stay <= set(met) and len(met) == len(set(met)) and steps > 5


@pytest.mark.parametrize("cursor", [-1, SHARDS, 1 << 63])
def test_a_cursor_that_was_never_given_ends_the_walk(cursor: int) -> None:
    bench = Bench(tracking=False)
    bench.do(Assign(b"k", b"v"))
    bench.do(SetAdd(b"s", [b"%d" % i for i in range(2000)]))
    assert bench.keyspace.scan(cursor, 10) == (0, [])
    assert bench.keyspace.scan_elements(b"s", cursor, 10) == (0, [])


def test_elements_are_walked_in_steps_and_sampled_alike() -> None:
    bench = Bench(split_above=100_000)
    elements = {b"%d" % i for i in range(3000)}
    bench.do(SetAdd(b"s", sorted(elements)))
    bench.do(SetAdd(b"small", [b"x", b"y"]))
    met: list[bytes] = []
    cursor = 0
    while True:
        cursor, part = bench.keyspace.scan_elements(b"s", cursor, 100)
        met += part
        if cursor == 0:
            break
    assert sorted(met) == sorted(elements)
    bench.keyspace._check()
    assert isinstance(bench.keyspace.get(b"s"), SplitSet)
    assert bench.keyspace.scan_elements(b"small", 0, 1)[0] == 0
    assert bench.keyspace.scan_elements(b"absent", 0, 1) == (0, [])
    rng = Random(1)
    drawn = bench.keyspace.sampler(b"s", rng).draw_many(300)
    assert set(drawn) <= elements and len(set(drawn)) > 250
    assert {bench.keyspace.sampler(b"small", rng).draw() for _ in range(50)} == {b"x", b"y"}
    assert [bench.keyspace.sampler(b"s", Random(7)).draw() for _ in range(3)] == [
        bench.keyspace.sampler(b"s", Random(7)).draw()
    ] * 3


def test_a_collection_past_the_limit_is_split_as_it_grows() -> None:
    bench = Bench(split_above=3)
    for i in range(6):
        bench.do(SetAdd(b"s", [b"%d" % i]))
    assert isinstance(bench.keyspace.get(b"s"), SplitSet)
    bench.do(SetRemove(b"s", [b"0"]))
    assert len(bench.keyspace.get(b"s") or ()) == 5  # type: ignore[arg-type]
    bench.fold_all()


def test_the_kind_of_every_plain_value() -> None:
    bench = Bench()
    one_of_each(bench)
    found = list(bench.keyspace.keys())
    kinds = {key: kind_of(value) for key in found if (value := bench.keyspace.get(key)) is not None}
    assert kinds == {
        b"register": KIND_REGISTER, b"counter": KIND_REGISTER, b"set": KIND_SET, b"map": KIND_MAP,
        b"list": KIND_SEQUENCE,
    }  # fmt: skip
    assert len(get_args(Value)) >= 7


@pytest.fixture
def no_collections() -> Iterator[None]:
    """No collections but explicit ones: a full one, which `marmoset serve` never has, forgets dicts of plain values."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collections")
def test_tables_are_known_to_the_garbage_collector_while_they_are_small() -> None:
    """Else it visits all of a table, however large, when the first container is put in."""
    keyspace = Keyspace(100)
    assert all(gc.is_tracked(slots.values) for slots in keyspace.shards)
    for number in range(2000):
        keyspace.effect(Assign(b"%d" % number, b"v"), (1, number + 1), 0, LocalContext())
    keyspace.effect(Flush(), (1, 2001), 0, LocalContext())
    assert len(keyspace) == 0 and all(gc.is_tracked(slots.values) for slots in keyspace.shards)


@pytest.mark.usefixtures("no_collections")
def test_the_collector_has_visited_the_tables_before_anything_is_in_them() -> None:
    keyspace = Keyspace(1000)
    for seq in (1, 2):
        young = {id(each) for each in gc.get_objects(generation=0)}
        assert not any(id(slots.values) in young for slots in keyspace.shards)
        keyspace.effect(Assign(b"k", b"v"), (1, seq), seq, LocalContext())
        keyspace.effect(Flush(), (1, 10 + seq), seq, LocalContext())
