"""Snapshots: read while the sponsor goes on, complete when caught up, and nothing hostile gets in."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.messages import (
    AnyMessage,
    Batch,
    CaughtUp,
    Direct,
    Resumed,
    SnapshotBegin,
    SnapshotPart,
    SnapshotProgress,
    decode,
    encode,
)
from marmoset.codec.operations import (
    Assign,
    Bury,
    Flush,
    Increment,
    Join,
    MapIncrement,
    Ready,
    Reset,
    SequenceInsert,
    SetAdd,
)
from marmoset.codec.wire import encode_operations
from marmoset.crdts.exports import RegisterEntry
from marmoset.crdts.sequence import Sequence
from marmoset.errors import PeerError
from marmoset.hashing import SHARDS, shard_of
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource
from tests.replication.group import (
    catch_up,
    fill,
    first_of_all,
    give_step,
    join,
    meet,
    messages,
    new_replica,
    rest,
    write,
)


def some_change(replica: Replica, rng: Random) -> None:
    key = b"%d" % rng.randrange(6)
    value = replica.keyspace.get(key)
    operations: list[Any] = [Assign(key, b"v"), Reset(key)]
    if value is None or isinstance(value, bytes | int):
        operations.append(Increment(key, 1))
    if rng.random() < 0.1:
        operations.append(Flush())
    operations += [SetAdd(b"set", [b"%d" % rng.randrange(9)]), MapIncrement(b"map", b"f", 2)]
    held = replica.keyspace.get(b"list")
    left, right = (None, None) if held is None else held.neighbours(0)  # type: ignore[union-attr]
    operations.append(SequenceInsert(b"list", left, right, [b"x", b"y"]))
    replica.submit(rng.choice(operations))
    replica.commit()


def shown(replica: Replica) -> dict[bytes, object]:
    found: dict[bytes, object] = {}
    for key in list(replica.keyspace.keys()):
        value = replica.keyspace.get(key)
        found[key] = list(value) if isinstance(value, Sequence) else value
    return found


@settings(max_examples=100)
@given(st.randoms(use_true_random=False))
def test_a_newcomer_gets_everything_whatever_happens_while_it_is_filled(rng: Random) -> None:
    a = first_of_all()
    b = join(a, 2)
    for _ in range(rng.randint(0, 25)):
        some_change(rng.choice([a, b]), rng)
    catch_up(b, a)
    a.submit_roster([Join(3, "r3", "h:3")])
    source, newcomer = SnapshotSource(a, 3, step_elements=1), new_replica(3)
    sink = SnapshotSink(newcomer)
    while not source.is_done:
        give_step(source, sink)
        if not sink.is_complete:
            newcomer.keyspace._check()
        if rng.random() < 0.5:
            some_change(a, rng)
        if rng.random() < 0.2:
            some_change(b, rng)
            catch_up(b, a)
        if rng.random() < 0.2 and a.advance():
            a.fold_slice(rng.choice([1, 100]))
    assert sink.ended
    for entry in list(a.log.entries.values()):
        if entry.index >= source.join_index:
            ((message, _),) = messages(entry.framed)
            newcomer.apply(message, entry.framed)  # type: ignore[arg-type]
    assert sink.is_complete
    newcomer.keyspace.snapshot_vectors.clear()
    assert shown(newcomer) == shown(a)
    newcomer._check()
    newcomer.submit_roster([Ready()])
    rest(a, b, newcomer)
    assert shown(a) == shown(b) == shown(newcomer)
    assert a.is_at_rest and b.is_at_rest and newcomer.is_at_rest


def begin(sponsor: Replica, me: int) -> tuple[SnapshotSource, Replica, SnapshotSink, SnapshotBegin]:
    sponsor.submit_roster([Join(me, f"r{me}", "h:1")])
    source, newcomer = SnapshotSource(sponsor, me), new_replica(me)
    ((message, _),) = messages(source.step()[0])
    assert isinstance(message, SnapshotBegin)
    return source, newcomer, SnapshotSink(newcomer), message


def test_the_newcomer_starts_with_the_tables_of_its_join() -> None:
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    write(a, b"v")
    _, newcomer, sink, message = begin(a, 9)
    stamp = a.clock.stamp
    write(a, b"after the join")
    sink.begin(message)
    assert newcomer.group == a.group and newcomer.clock.stamp == stamp
    assert newcomer.seen == {**a.seen, 1: a.seen[1] - 1} and newcomer.contexts[9] == newcomer.seen
    assert sorted(newcomer.roster.members) == [1, 2, 9] and newcomer.roster.members[2].born
    assert not newcomer.roster.members[9].born and newcomer.roster.joins == a.roster.joins
    assert newcomer.stability.known[2] == a.stability.known[2]
    assert newcomer.keyspace.tracking and not sink.is_complete


def test_gravestones_and_burials_under_way_come_with_a_snapshot() -> None:
    a = first_of_all()
    b, c, d = join(a, 2), join(a, 3), join(a, 4)
    rest(a, b, c, d)
    a.submit_roster([Bury(4)])
    rest(a, b, c)
    assert a.roster.graves == {4: d.seen[4]}
    a.submit_roster([Bury(3)])
    _, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    assert newcomer.roster.graves == a.roster.graves and newcomer.roster.buried == a.roster.buried
    assert newcomer.presumed_dead(4) and not newcomer.presumed_dead(3)


def test_as_many_may_count_as_unknown_as_there_are_gravestones() -> None:
    """Each crash leaves one for thirty days, and whoever could not be read of them could not join."""
    a = first_of_all()
    many = {r: 1 for r in range(100, 6100)}
    a.roster.graves.update(many)
    a.roster.graves_ms.update(many)
    for r in many:
        a.memory.record(Flush(), (r, 1))
    a.memory.blind = a.roster.gone()
    source, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    fill(source, sink)
    assert newcomer.memory.blind == a.memory.blind and newcomer.memory.flushes == many


def test_a_burial_that_has_taken_effect_has_for_the_newcomer_too() -> None:
    a = first_of_all()
    b, c, d = join(a, 2), join(a, 3), join(a, 4)
    rest(a, b, c, d)
    write(a, b"kept by what d lacks")
    a.submit_roster([Bury(4)])
    for other in (b, c):
        meet(a, other)
    assert a.roster.dead == {4} and 4 in a.roster.members
    a.submit_roster([Bury(3)])  # which b does not know yet
    _, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    assert (
        newcomer.roster.counted() == a.roster.counted()
        and 4 not in newcomer.roster.counted()
        and 3 in newcomer.roster.counted()
    )


def test_a_snapshot_is_not_complete_before_the_log_has_caught_up_with_its_latest_value() -> None:
    a = first_of_all()
    join(a, 2)
    source, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    write(a, b"while it is read")
    while not source.is_done:
        for framed in source.step():
            for part, data in messages(framed):
                assert not sink.is_complete
                if not isinstance(part, SnapshotBegin):
                    sink.take(part, data)
    assert newcomer.keyspace.get(b"k") == b"while it is read" and not sink.is_complete
    catch_up(a, newcomer)
    assert sink.is_complete


def changed(message: SnapshotBegin, **changes: object) -> SnapshotBegin:
    return msgspec.structs.replace(message, **changes)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: changed(m, replica=m.replica + 1),
        lambda m: changed(m, shards=SHARDS * 2),
        lambda m: changed(m, roster=m.roster[:-1]),
        lambda m: changed(m, roster=[*m.roster, m.roster[0]]),
        lambda m: changed(m, vector=[pair for pair in m.vector if pair[0] != 1]),
        lambda m: changed(m, vector=[(r, 5) for r, _ in m.vector]),
        lambda m: changed(m, contexts=m.contexts[1:]),
        lambda m: changed(m, known=m.known[1:]),
        lambda m: changed(m, known=[*m.known, msgspec.structs.replace(m.known[0], replica=77)]),
        # lines of sponsors that run in circles: reading a missing entry by them would never end
        lambda m: changed(m, roster=[msgspec.structs.replace(row, join=(row.replica, 1)) for row in m.roster]),
        lambda m: changed(
            m, roster=[msgspec.structs.replace(r, join=(3 - r.replica, 1)) if r.replica < 3 else r for r in m.roster]
        ),
    ],
)
def test_tables_that_contradict_one_another_are_a_fault_of_the_peer(
    change: Callable[[SnapshotBegin], SnapshotBegin],
) -> None:
    a = first_of_all()
    join(a, 2)
    _, newcomer, sink, message = begin(a, 9)
    with pytest.raises(PeerError):
        sink.begin(change(message))
    assert newcomer.roster.members == {}


def a_part(first: int, shards: int, entries: list[object]) -> SnapshotPart:
    return SnapshotPart(first, shards, [], msgspec.msgpack.encode(entries))


@pytest.mark.parametrize(
    "part",
    [
        a_part(0, 0, []),
        a_part(0, SHARDS + 1, []),
        a_part(SHARDS, 1, []),
        a_part(0, SHARDS, [[4, b"k", b"5", [b"4", 0, False, [[[1, 1], 1, b"4"]], []]]]),
        a_part(0, SHARDS, [7]),
        a_part((shard_of(b"k") + 1) % SHARDS, 1, [RegisterEntry(b"k", b"v", None)]),
    ],
)
def test_parts_that_are_not_well_formed_are_a_fault_of_the_peer(part: SnapshotPart) -> None:
    a = first_of_all()
    _, _, sink, message = begin(a, 9)
    sink.begin(message)
    decoded = decode(encode(part))
    assert isinstance(decoded, SnapshotPart)
    with pytest.raises(PeerError):
        sink.part(decoded)


def test_a_snapshot_that_ends_early_is_a_fault_of_the_peer() -> None:
    a = first_of_all()
    _, _, sink, message = begin(a, 9)
    sink.begin(message)
    sink.part(a_part(0, SHARDS - 1, []))
    with pytest.raises(PeerError):
        sink.end()


@pytest.mark.parametrize("batch", [(77, 1, 1), (1, 1 << 40, 1), (1, 1, 2)])
def test_a_batch_in_the_log_that_the_tables_do_not_cover_is_a_fault_of_the_peer(batch: tuple[int, int, int]) -> None:
    a = first_of_all()
    _, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    hostile = Batch(*batch, 1, 1, [], [], encode_operations([Flush()], 1, 1))
    with pytest.raises(PeerError):
        sink.log(hostile, encode(hostile))
    assert len(newcomer.log) == 0


@pytest.mark.parametrize("message", [CaughtUp(), Direct([1]), SnapshotProgress(1, 2), Resumed()])
def test_what_is_no_part_of_a_snapshot_is_refused_by_name(message: AnyMessage) -> None:
    _, newcomer, sink, first = begin(first_of_all(), 9)
    sink.take(first, encode(first))
    before = sink.bytes_received
    assert before == len(encode(first))
    with pytest.raises(PeerError, match=f"{type(message).__name__} in the middle of a snapshot"):
        sink.take(message, encode(message))
    assert not sink.ended and not newcomer.log and not len(newcomer.keyspace)


def test_a_large_collection_comes_in_several_parts_and_is_one_again() -> None:
    a = first_of_all()
    a.submit(SetAdd(b"set", [b"%d" % i for i in range(10_000)]))
    a.commit()
    source, newcomer, sink, message = begin(a, 9)
    sink.begin(message)
    parts = 0
    while not source.is_done:
        for framed in source.step():
            for part, _ in messages(framed):
                if isinstance(part, SnapshotPart):
                    parts += len(bytes(part.entries)) > 100
                    sink.part(part)
    sink.end()
    assert parts >= 3
    assert len(newcomer.keyspace.get(b"set")) == 10_000  # type: ignore[arg-type]
    newcomer.keyspace._check()
