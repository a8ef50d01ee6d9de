"""Lists that are removed as a whole are laid aside as they are, and mean what removing their elements means."""

import gc
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marmoset.clocks import LocalContext
from marmoset.codec.operations import (
    KIND_REGISTER,
    KIND_SEQUENCE,
    AnyOperation,
    Flush,
    Inside,
    Join,
    Reset,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.crdts.exports import ValueEntry
from marmoset.crdts.plain_slots import PlainSlots
from marmoset.crdts.reading import SlotsReading
from marmoset.crdts.sequence import Sequence, insert
from marmoset.crdts.sequence_runs import Block, Chunk, Run
from marmoset.crdts.types import Value
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace
from marmoset.replication.places import find_sequence
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource
from marmoset.sim.specification import plain
from tests.crdts.test_reading import put_together
from tests.replication.group import catch_up, fill, first_of_all, join, meet, new_replica, rest, write
from tests.replication.test_chain import chained_trio, played, tracked
from tests.replication.test_histories import SEARCH

MARKS: list[AnyOperation] = [Reset(b"l"), Flush()]


def laid(replica: Replica) -> list[bytes]:
    """The keys of which something is laid aside."""
    return sorted(key for slots in replica.keyspace.shards for key, _ in slots.hidden())


@pytest.mark.parametrize("removal", MARKS)
def test_a_list_that_is_removed_as_a_whole_is_laid_aside_until_that_is_stable(removal: AnyOperation) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    rest(a, b, c)
    a.submit(removal)
    a.commit()
    catch_up(a, b)
    for replica in (a, b):
        assert laid(replica) == [b"l"] and replica.keyspace.get(b"l") is None and not replica.is_at_rest
        assert replica.keyspace.chained and not replica.keyspace.window_entries
    write(a, b"1", b"busy")
    rest(a, b, c)
    assert not laid(a) and not laid(b) and all(replica.is_at_rest for replica in (a, b, c))


@pytest.mark.parametrize("removal", MARKS)
@pytest.mark.parametrize("is_stable", [False, True])
def test_what_comes_to_a_list_that_was_laid_aside_finds_its_elements(removal: AnyOperation, is_stable: bool) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    if is_stable:
        rest(a, b, c)
    else:
        catch_up(a, c)
    a.submit(removal)
    a.commit()
    value = c.keyspace.get(b"l")
    assert isinstance(value, Sequence)
    c.submit(SequenceInsert(b"l", value.id_at(0), value.id_at(1), [b"between"]))
    c.submit(SetAdd(b"s", [b"x"]))
    c.commit()
    assert laid(a) == [b"l"]
    catch_up(c, a)
    assert not laid(a) and plain(a.keyspace.get(b"l")) == [b"between"]
    a.submit(SequenceInsert(b"l", None, (c.me, c.next_seq - 2), [b"front"]))
    a.commit()
    rest(a, b, c)
    for replica in (a, b, c):
        assert plain(replica.keyspace.get(b"l")) == [b"front", b"between"] and replica.is_at_rest


def test_who_comes_finds_what_was_laid_aside_in_the_snapshot() -> None:
    a = first_of_all()
    b = join(a, 2)
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    rest(a, b)
    value = b.keyspace.get(b"l")
    assert isinstance(value, Sequence)
    left, right = value.id_at(0), value.id_at(1)
    a.submit(Reset(b"l"))
    a.commit()
    assert laid(a) == [b"l"]
    c = join(a, 3)
    assert not laid(a)
    b.submit(SequenceInsert(b"l", left, right, [b"between"]))
    b.commit()
    catch_up(b, c)
    catch_up(b, a)
    assert plain(a.keyspace.get(b"l")) == plain(c.keyspace.get(b"l")) == [b"between"]
    rest(a, b, c)
    assert all(replica.is_at_rest for replica in (a, b, c))


def elements(replica: Replica) -> object:
    value = replica.keyspace.get(b"l")
    return None if value is None else plain(value)


@pytest.mark.parametrize("removal", MARKS)
@pytest.mark.parametrize("chained", [True, False])
def test_what_is_not_stable_of_a_list_is_laid_aside_with_it(removal: AnyOperation, chained: bool) -> None:
    a, b, c = chained_trio()
    if not chained:
        write(b, b"1")
        write(a, b"2")
        catch_up(b, a)
        assert not a.keyspace.chained
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y", b"z"]))
    a.submit(SequenceRemove(b"l", [(a.me, a.next_seq - 2, 1)]))
    a.commit()
    catch_up(a, c)
    a.submit(removal)
    a.commit()
    window = a.keyspace.shards[shard_of(b"l")].laid[b"l"].window
    assert window is not None and window.entries == 2
    a._check()
    c.submit(SequenceInsert(b"l", (a.me, a.next_seq - 5), (a.me, a.next_seq - 3), [b"between"]))
    c.commit()
    catch_up(c, a)
    assert not laid(a) and elements(a) == [b"between"]
    rest(a, b, c)
    assert all(elements(replica) == [b"between"] and replica.is_at_rest for replica in (a, b, c))


@pytest.mark.parametrize("removal", MARKS)
def test_a_removal_that_has_not_observed_all_of_a_list_lays_nothing_aside(removal: AnyOperation) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    catch_up(a, b)
    first = a.next_seq - 2
    a.submit(SequenceInsert(b"l", (a.me, first), (a.me, first + 1), [b"unobserved"]))
    a.commit()
    b.submit(removal)
    b.commit()
    assert laid(b) == [b"l"], "it has observed what is here"
    catch_up(b, a)
    assert not laid(a) and elements(a) == [b"unobserved"]
    rest(a, b, c)
    while a.keyspace.garbage.collect(1000):
        pass
    write(a, b"1")
    rest(a, b, c)
    assert all(elements(replica) == [b"unobserved"] and replica.is_at_rest for replica in (a, b, c))


def test_what_is_laid_aside_outlives_chains_and_others_that_fold() -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    first = a.next_seq - 2
    rest(a, b, c)
    write(a, b"1", b"before")
    a.submit(Reset(b"l"))
    a.commit()
    write(b, b"2", b"beside")
    meet(a, b)
    assert laid(a) == laid(b) == [b"l"], "the chain has ended"
    write(a, b"3", b"after")
    for replica in (a, b):
        while replica.advance():
            replica.fold_slice(1)
    assert laid(a) == laid(b) == [b"l"]
    c.submit(SequenceInsert(b"l", (a.me, first), (a.me, first + 1), [b"between"]))
    c.commit()
    meet(c, a)
    meet(c, b)
    assert elements(a) == elements(b) == [b"between"]
    rest(a, b, c)
    assert all(elements(replica) == [b"between"] and replica.is_at_rest for replica in (a, b, c))


@pytest.mark.parametrize("removal", MARKS)
def test_what_comes_finds_insertions_that_were_not_stable_when_all_was_removed(removal: AnyOperation) -> None:
    def windows(chain_max: int) -> list[object]:
        a, b, c = chained_trio()
        a.chain.length_max = chain_max
        if not chain_max:
            a.chain.end()
        a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
        a.submit(removal)
        assert laid(a) == [b"l"]
        a.submit(SequenceInsert(b"l", None, None, [b"later"]))
        a.commit()
        held = tracked(a)
        rest(a, b, c)
        assert a.is_at_rest and elements(a) == elements(c) == [b"later"]
        return held

    assert windows(1000) == windows(0)


def test_two_removals_of_everything_lay_a_list_aside_once() -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    rest(a, b, c)
    for _ in range(2):
        a.submit(Flush())
        a.commit()
    c.submit(Flush())
    c.commit()
    assert laid(a) == laid(c) == [b"l"]
    catch_up(c, a)
    catch_up(a, c)
    write(a, b"1")
    rest(a, b, c)
    assert all(len(replica.keyspace) == 1 and replica.is_at_rest for replica in (a, b, c))


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda word, before: SequenceInsert(b"l", None, before, [word]), [b"2", b"1"]),
        (lambda word, _: SetAdd(b"l", [word]), {b"1", b"2"}),
    ],
    ids=["pushes", "a run"],
)
def test_what_comes_in_columns_to_a_list_that_was_laid_aside_stands_beside_it(
    make: Callable[[bytes, Dot | None], AnyOperation], left: object
) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    rest(a, b, c)
    a.submit(Reset(b"l"))
    a.commit()
    a.submit(make(b"2", a.submit(make(b"1", None))))
    a.commit()
    assert not laid(a)
    catch_up(a, b)
    b._check()
    assert not laid(b) and elements(b) == elements(a) == left
    rest(a, b, c)
    assert all(elements(replica) == left and replica.is_at_rest for replica in (a, b, c))


@pytest.mark.interpreted
@pytest.mark.parametrize("kinds", [("list", "register"), ("map", "nested", "list")])
@settings(SEARCH, max_examples=12)
@given(seed=st.integers(0, 1 << 32), churn=st.sampled_from([0, 0.06]), chain_max=st.sampled_from([0, 3, 1000]))
@example(seed=3875291, churn=0, chain_max=0)
def test_what_was_laid_aside_is_what_removing_its_elements_would_have_left(
    kinds: tuple[str, ...], seed: int, churn: float, chain_max: int
) -> None:
    held = united(played(seed, kinds, churn, deadlines=True, chain_max=chain_max))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlainSlots, "lay_aside", lambda *_: False)
        patch.setattr(Keyspace, "_flush_table", flush_one_by_one)
        assert held == united(played(seed, kinds, churn, deadlines=True, chain_max=chain_max))


flush_table = Keyspace._flush_table


def flush_one_by_one(keyspace: Keyspace, shard: int, unstable: list[bytes], dot: Dot) -> None:
    flush_table(keyspace, shard, unstable, dot)
    slots = keyspace.shards[shard]
    for key, _ in slots.hidden():
        keyspace._bring_back(slots, key)


def united(held: object) -> object:
    """What `played` gives, but of all removals in a list only what they remove, and only while that is not stable
    itself. A FLUSHALL that finds something laid aside adds no removal of its own to it: if it has observed the one that
    is there, it is stable later anyway; if both were made at the same time and it is stable first, stable elements are
    dead by then where they were removed one by one, and not yet where they lie aside. Nor is then what an insertion has
    found to its right, which may be such an element, the same: of insertions only what came to their left is given.
    A map of which nothing shows and nothing else is left is nothing, either."""
    if isinstance(held, tuple) and len(held) == 4 and held[1] == KIND_SEQUENCE and held[3]:
        name, kind, value, (insertions, removals, assignments) = held
        unstable = {(dot[0], dot[1] + i) for dot, (count, *_) in insertions.items() for i in range(count)}
        removed = {dot for dots in removals.values() for dot in dots if dot in unstable}
        made = {dot: (count, left) for dot, (count, left, _) in insertions.items()}
        return (name, kind, value, made, removed, assignments) if value or made or assignments else None
    if isinstance(held, list):
        return [left for each in held if (left := united(each)) is not None]
    if isinstance(held, tuple) and len(held) == 4 and held[2] == {} and not united(held[3]):
        return None
    return tuple(map(united, held)) if isinstance(held, tuple) else held


def test_a_flush_lays_whole_tables_aside_and_what_comes_takes_out_its_own() -> None:
    a, b, c = chained_trio()
    for number in range(20):
        write(a, b"text", b"k%d" % number)
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.submit(Inside(b"m", [b"f"], SequenceInsert(b"f", None, None, [b"x"])))
    a.commit()
    rest(a, b, c)
    shards = {shard_of(b"l"), shard_of(b"m")}
    a.submit(Flush())
    a.commit()
    assert {shard for shard in range(SHARDS) if a.keyspace.shards[shard].flushed} == shards, "others remember nothing"
    assert len(a.keyspace) == 0 and laid(a) == [b"l", b"m"] and not a.is_at_rest
    c.submit(Inside(b"m", [b"f"], SequenceInsert(b"f", None, None, [b"beside"])))
    c.commit()
    catch_up(c, a)
    assert laid(a) == [b"l"]
    write(a, b"text", b"l")
    assert not laid(a)
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.is_at_rest and elements(replica) == b"text"
        value = replica.keyspace.get(b"m")
        assert value is not None and plain(value) == {b"f": [b"beside"]}


def test_a_table_that_is_laid_aside_is_freed_in_slices_when_that_is_stable() -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x"]))
    a.commit()
    rest(a, b, c)
    a.submit(Flush())
    a.commit()
    (table,) = [table for slots in a.keyspace.shards for _, table in slots.flushed]
    while a.keyspace.garbage.collect(1000):
        pass
    assert table, "it is not stable"
    write(a, b"1")
    rest(a, b, c)
    assert not any(slots.flushed for slots in a.keyspace.shards) and a.keyspace.garbage
    while a.keyspace.garbage.collect(1):
        pass
    assert not table


@pytest.mark.parametrize("removal", MARKS)
def test_insertions_that_had_no_window_are_folded_once_they_have_been_brought_back(removal: AnyOperation) -> None:
    a, b, c = chained_trio()
    for operation in (SequenceInsert(b"l", None, None, [b"x", b"y"]), removal, SetAdd(b"l", [b"1"])):
        a.submit(operation)
        a.commit()
    assert not laid(a) and a.keyspace.chained
    rest(a, b, c)
    assert all(elements(replica) == {b"1"} and replica.is_at_rest for replica in (a, b, c))


@pytest.mark.parametrize("removal", MARKS)
def test_who_was_filled_lays_nothing_aside_of_what_is_newer_than_its_log(removal: AnyOperation) -> None:
    a = first_of_all()
    c = join(a, 3)
    a.submit(SequenceInsert(b"l", None, None, [b"x"]))
    a.commit()
    rest(a, c)
    a.submit_roster([Join(2, "r2", "127.0.0.1:2")])
    catch_up(a, c)
    newcomer = new_replica(2)
    source, sink = SnapshotSource(a, 2), SnapshotSink(newcomer)
    a.submit(SequenceInsert(b"l", (a.me, a.next_seq - 2), None, [b"later"]))
    a.commit()
    fill(source, sink)
    c.submit(removal)
    c.commit()
    catch_up(c, newcomer)
    assert elements(newcomer) == [b"later"] and not laid(newcomer)
    catch_up(a, newcomer)
    assert sink.is_complete and elements(newcomer) == [b"later"]


@pytest.mark.parametrize("removal", MARKS)
@pytest.mark.parametrize("is_stable", [False, True])
def test_who_returns_finds_the_old_order_in_what_was_laid_aside(removal: AnyOperation, is_stable: bool) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    if is_stable:
        rest(a, b, c)
    a.submit(removal)
    a.commit()
    found = find_sequence(a.keyspace, b"l", (), laid_aside=True)
    assert found is not None and list(found) == [b"x", b"y"] and laid(a)
    assert find_sequence(a.keyspace, b"l", ()) is None, "it looks as if it were there"
    assert find_sequence(a.keyspace, b"other", (), laid_aside=True) is None


def test_each_flush_keeps_its_own_tables_until_it_is_stable() -> None:
    slots = Keyspace(1000).shards[0]
    tables: list[dict[bytes, Value]] = [{b"k": Sequence()}, {b"k": Sequence()}]
    for seq, table in enumerate(tables):
        slots.lay_table_aside(table, (1, seq))
    slots.drop_table((1, 0))
    assert slots.garbage is not None
    while slots.garbage.collect(10):
        pass
    assert not tables[0] and slots.flushed == (((1, 1), tables[1]),) and tables[1]


def test_nothing_of_what_is_cleared_is_left_in_cycles() -> None:
    keyspace = Keyspace(1000)
    shown, beside, aside, flushed = (Sequence() for _ in range(4))
    for sequence in (shown, beside, aside, flushed):
        insert(sequence, None, (1, 1), LocalContext(), None, None, [b"x"])
    chunks = [sequence.blocks[0].chunks[0] for sequence in (shown, beside, aside, flushed)]
    slots = keyspace.shards[0]
    slots.put(b"shown", KIND_SEQUENCE, shown, None)
    slots.put(b"beside", KIND_SEQUENCE, beside, None)
    slots.put(b"beside", KIND_REGISTER, b"text", None)
    slots.put(b"aside", KIND_SEQUENCE, aside, None)
    assert slots.lay_aside(b"aside", (1, 2)) and slots.beside
    slots.lay_table_aside({b"flushed": flushed}, (1, 3))
    keyspace.clear()
    while keyspace.garbage.collect(10):
        pass
    assert not any(chunk.runs or chunk.block for chunk in chunks)


@pytest.mark.parametrize("removal", MARKS)
def test_a_snapshot_that_has_begun_has_what_is_removed_meanwhile(removal: AnyOperation) -> None:
    a, _, _ = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    a.chain.end()
    slots = a.keyspace.shards[shard_of(b"l")]
    slots.wind_all()
    reading = SlotsReading(slots, 16)
    a.submit(removal)
    entries: list[ValueEntry] = []
    while not reading.is_done:
        entries += reading.take(1)
    read = put_together(entries).values[b"l"]
    assert isinstance(read, Sequence) and list(read) == [b"x", b"y"]


def lists_come_and_go(*replicas: Replica) -> None:
    first = replicas[0]
    for number in range(4):
        key = b"%d" % number
        first.submit(SequenceInsert(key, None, None, [b"a", b"b"]))
        first.commit()
        if number % 2:
            rest(*replicas)
        if number < 2:
            first.submit(Reset(key))
        else:
            value = first.keyspace.get(key)
            assert isinstance(value, Sequence)
            first.submit(SequenceRemove(key, value.ranges(0, 2)))
        first.commit()
        for replica in replicas[1:]:  # of another kind, at the same time: the list stands beside it
            replica.submit(SetAdd(key, [b"set"]))
            replica.submit(Reset(key))
            replica.commit()
        rest(*replicas)
    first.submit(SequenceInsert(b"k", None, None, [b"a", b"b"]))
    first.submit(SetAdd(b"k", [b"beside"]))
    first.submit(SequenceRemove(b"k", [(first.me, first.next_seq - 3, 2)]))
    rest(*replicas)
    first.submit(SequenceInsert(b"l", None, None, [b"a", b"b"]))
    first.submit(Flush())
    rest(*replicas)
    for replica in replicas:
        while replica.keyspace.garbage.collect(100):
            pass
        assert not len(replica.keyspace)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("is_chained", [True, False])
def test_lists_that_come_and_go_leave_no_cycles(members: int, is_chained: bool) -> None:
    """The cyclic collector would find thousands of them at once when as many lists go together."""
    first = first_of_all()
    replicas = [first, *([join(first, 2)] if members > 1 else [])]
    for replica in replicas:
        replica.chain.length_max = replica.chain.length_max if is_chained else 0
    rest(*replicas)
    lists_come_and_go(*replicas)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        lists_come_and_go(*replicas)
        gc.collect()
        assert not [each for each in gc.garbage if isinstance(each, (Sequence, Chunk, Block, Run))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("operation", MARKS)
@pytest.mark.parametrize("is_stable", [False, True])
def test_keys_of_which_something_is_laid_aside_are_asked_about(operation: AnyOperation, is_stable: bool) -> None:
    a, b, c = chained_trio()
    rest(a, b, c)
    a.submit(SequenceInsert(b"l", None, None, [b"1", b"2"]))
    a.commit()
    if is_stable:
        rest(a, b, c)
    assert not a.keyspace.notes.has_more
    a.submit(operation)
    a.commit()
    assert a.keyspace.shards[shard_of(b"l")].has_any_more and a.keyspace.notes.has_more
    rest(a, b, c)
    assert not a.keyspace.notes.has_more
