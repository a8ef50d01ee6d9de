"""`maxmemory`: what is counted and when, who is refused, who evicts, and that nobody else's writes are."""

from random import Random

import pytest

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Flush,
    Increment,
    Reset,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.crdts.sequence import Sequence
from marmoset.ids import Dot
from marmoset.node.memory_limit import EVICT_REPLICATED, EVICT_TURN_MS
from tests.node.group import Group

LIMIT = 200_000


def evicting(size: int, **changes: object) -> Group:
    return Group(size, maxmemory=LIMIT, maxmemory_policy=EVICT_REPLICATED, **changes)  # type: ignore[arg-type]


def do(group: Group, number: int, size: int, *operations: AnyOperation) -> list[Dot]:
    """A client's turn that sends so many bytes; the dots of its operations."""
    node = group[number]
    dots = [node.replica.submit(operation) for operation in operations]
    node.replica.end_of_command(size)
    node.end_turn()
    group.settle(number)
    return dots


def fill(group: Group, number: int, count: int, size: int = 100, begun: int = 0) -> None:
    """Keys of about `size` bytes, a turn for each ten."""
    rng = Random(begun)
    for at in range(begun, begun + count, 10):
        some = [Assign(b"key:%d" % (at + each), rng.randbytes(size)) for each in range(10)]
        do(group, number, 10 * (size + 40), *some)
        group.run(1)


def used(group: Group, number: int) -> int:
    """What the node says."""
    said = group[number].status()["used_memory"]
    assert isinstance(said, int)
    return said


def exact(group: Group, number: int) -> int:
    """What its keys say, each for itself."""
    keyspace = group[number].replica.keyspace
    return sum(keyspace.footprint(key, 0) or 0 for key in list(keyspace.keys()))


def test_without_a_limit_nothing_is_refused_and_the_use_is_known() -> None:
    group = Group(1)
    fill(group, 1, 2000)
    group.run(2000)
    assert not group[1].memory_limit.is_full
    assert 0.95 < used(group, 1) / exact(group, 1) < 1.05
    assert group[1].status()["maxmemory"] == 0


def test_past_the_limit_the_node_is_full_and_has_room_again_when_keys_are_gone() -> None:
    group = Group(1, maxmemory=LIMIT)
    fill(group, 1, 300)
    assert not group[1].memory_limit.is_full
    fill(group, 1, 600, begun=300)
    assert group[1].memory_limit.is_full
    group.run(500)
    assert len(group.events("n1", "memory")) == 1
    for at in range(300):
        assert group[1].replica.keyspace.get(b"key:%d" % at) is not None, "nothing is lost"
    do(group, 1, 20, Flush())
    group.run(500)
    assert not group[1].memory_limit.is_full and used(group, 1) == 0
    assert [str(each["reached"]).split(":")[0] for each in group.events("n1", "memory")] == [
        "past maxmemory",
        "below maxmemory again",
    ]


def test_what_grows_in_place_is_seen() -> None:
    """One set, one list and one number of keys: the number of keys says nothing."""
    group = Group(1, maxmemory=4 * LIMIT)
    left: tuple[int, int] | None = None
    for at in range(0, 10_000, 100):
        words = [b"element:%d" % number for number in range(at, at + 100)]
        do(group, 1, 4000, SetAdd(b"set", words), SequenceInsert(b"list", left, None, list(words)))
        left = (group[1].replica.me, group[1].replica.next_seq - 1)
        group.run(5)
        if group[1].memory_limit.is_full:
            break
    assert group[1].memory_limit.is_full
    assert 4 * LIMIT < exact(group, 1) < 6 * LIMIT, "soon, not at some time"


def test_what_others_wrote_is_applied_whatever_it_takes() -> None:
    group = Group(2)
    group[2].memory_limit._limit = LIMIT
    group[2].memory_limit.begin()
    fill(group, 1, 1000)
    group.until(group.is_at_rest)
    assert group[2].memory_limit.is_full and not group[1].memory_limit.is_full
    assert len(group[2].replica.keyspace) == len(group[1].replica.keyspace) == 1000
    assert exact(group, 2) > LIMIT
    group.check()


def test_a_newcomer_takes_a_snapshot_that_is_larger_than_its_limit() -> None:
    group = Group(1)
    fill(group, 1, 1000)
    group.start_one(maxmemory=LIMIT)
    group.until(lambda: group.hosts[1].is_serving)
    group.until(lambda: group[2].memory_limit.is_full)
    assert len(group[2].replica.keyspace) == 1000


def test_evicting_keeps_every_member_below_the_limit_and_all_the_same() -> None:
    group = evicting(3)
    for turn in range(10):
        fill(group, 1 + turn % 3, 200, begun=200 * turn)
        group.run(100)
    group.until(group.is_at_rest)
    for number in (1, 2, 3):
        assert 0.85 * LIMIT < exact(group, number) < 1.02 * LIMIT
        assert not group[number].memory_limit.is_full
    kept = [set(node.replica.keyspace.keys()) for node in group.nodes()]
    assert kept[0] == kept[1] == kept[2] and 400 < len(kept[0]) < 1900
    group.check()


def test_members_take_turns() -> None:
    """The one with the lowest id evicts for all; the others do not add to it."""
    group = evicting(3)
    for turn in range(10):
        fill(group, 1 + turn % 3, 200, begun=200 * turn)
        group.run(100)
    group.until(group.is_at_rest)
    first, *others = sorted(group.nodes(), key=lambda node: node.replica.me)
    assert first.counters["evicted_keys"] > 500
    assert sum(node.counters["evicted_keys"] for node in others) < first.counters["evicted_keys"] / 20


def test_who_has_less_room_evicts_when_its_turn_comes() -> None:
    group = Group(3)
    first, second, third = sorted(group.nodes(), key=lambda node: node.replica.me)
    third.memory_limit._limit = LIMIT
    third.memory_limit._is_evicting = True
    third.memory_limit.begin()
    fill(group, 1, 1000)
    group.run(EVICT_TURN_MS)
    assert third.memory_limit.is_full and len(third.replica.keyspace) == 1000, "not yet"
    group.run(3 * EVICT_TURN_MS)
    assert not third.memory_limit.is_full and third.counters["evicted_keys"] > 100
    group.until(group.is_at_rest)
    assert len(first.replica.keyspace) == len(second.replica.keyspace) == len(third.replica.keyspace) < 1000


def test_who_cannot_be_reached_is_not_waited_for() -> None:
    group = evicting(3, unreachable_after=500)
    first = min(group.nodes(), key=lambda node: node.replica.me)
    gone = group.nodes().index(first) + 1
    group.cut(gone)
    other = next(number for number in (1, 2, 3) if number != gone)
    group.until(lambda: first.replica.me not in group[other].linked)
    group.run(3000)
    fill(group, other, 600)
    group.run(EVICT_TURN_MS // 2)
    assert not group[other].memory_limit.is_full


def test_a_write_that_an_eviction_has_not_seen_survives_it() -> None:
    group = evicting(2)
    evictor, other = (1, 2) if group[1].replica.me < group[2].replica.me else (2, 1)
    group.do(other, SetAdd(b"shared", [b"before"]))
    group.until(group.is_at_rest)
    group.cut(other)
    group.do(other, SetAdd(b"shared", [b"meanwhile"]))
    for begun in range(0, 20_000, 200):  # until the lot has fallen on the key
        fill(group, evictor, 200, begun=begun)
        group.run(20)
        if group[evictor].replica.keyspace.get(b"shared") is None:
            break
    assert group[evictor].replica.keyspace.get(b"shared") is None
    group.network.heal()
    group.until(lambda: group.values(b"shared") == [{b"meanwhile"}] * 2)


def test_the_room_that_a_large_key_leaves_is_there_at_once() -> None:
    """Nothing is evicted for what is deleted already, though no round has seen that it is."""
    group = evicting(1)
    fill(group, 1, 300)
    do(group, 1, LIMIT // 3, Assign(b"large", bytes(LIMIT // 3)))
    group.run(1000)
    assert group[1].counters["evicted_keys"] == 0 and used(group, 1) > LIMIT // 2
    group.hosts[0].witness.in_command = True  # type: ignore[union-attr]
    do(group, 1, 20, Reset(b"large"))
    do(group, 1, LIMIT // 3, *(Assign(b"new:%d" % number, bytes(500)) for number in range(LIMIT // 3 // 700)))
    group.run(1000)
    assert group[1].counters["evicted_keys"] == 0


def test_evicting_keeps_up_with_whoever_writes() -> None:
    """Nothing is refused to a client that writes as fast as it can."""
    group = evicting(1)
    fill(group, 1, 500)
    for at in range(500, 20_000, 100):
        do(group, 1, 4000, *(Assign(b"key:%d" % (at + each), b"v" * 20) for each in range(100)))
        assert not group[1].memory_limit.is_full, at
    assert group[1].counters["evicted_keys"] > 15_000


def test_nobody_evicts_while_writes_are_refused() -> None:
    group = evicting(1)
    fill(group, 1, 300)
    group[1].budget._log_budget = -1
    do(group, 1, LIMIT, Assign(b"large", bytes(LIMIT)))
    group.run(150)
    assert group[1].memory_limit.is_full and group[1].counters["evicted_keys"] == 0
    group.run(2000)  # the budget is read again in each interval
    assert not group[1].memory_limit.is_full and group[1].counters["evicted_keys"] > 0


@pytest.mark.parametrize("policy", ["noeviction", EVICT_REPLICATED])
def test_a_node_at_rest_measures_nothing(policy: str) -> None:
    group = Group(1, maxmemory=LIMIT, maxmemory_policy=policy)
    fill(group, 1, 200)
    group.do(1, Increment(b"n", 1))
    group.run(3000)
    before = group.world.events
    group.run(10_000)
    per_interval = (group.world.events - before) / (10_000 / 200)
    assert per_interval < 4, "its own interval, and what else it does by itself"


def test_what_changes_during_a_round_is_seen_by_the_next() -> None:
    group = Group(1)
    fill(group, 1, 6000)
    group.run(3000)
    sets = [b"key:%d" % number for number in range(6000, 6200)]
    do(group, 1, 9000, *(SetAdd(key, [b"first"]) for key in sets))
    for at in range(10):  # slower than slices come
        group.run(group[1].config.gossip_interval)
        words = [b"element:%d" % number for number in range(100 * at, 100 * at + 100)]
        do(group, 1, 9000, *(SetAdd(key, words) for key in sets[20 * at : 20 * at + 20]))
    group.run(5000)
    assert 0.95 < used(group, 1) / exact(group, 1) < 1.05


def test_what_others_send_is_looked_at_as_what_is_written_here() -> None:
    group = Group(2)
    before = group[2].replica.keyspace.usage.written_bytes
    fill(group, 1, 100)
    group.until(group.is_at_rest)
    assert group[2].replica.keyspace.usage.written_bytes - before > 100 * 100


def test_what_folding_frees_is_seen() -> None:
    """Values of removed elements go at once, what remembers the removals later: without another write."""
    group = Group(2)
    first: Dot | None = None
    for at in range(0, 4000, 2):
        [first] = do(group, 1, 40, SequenceInsert(b"list", None, first, [b"value:%d" % at, b"value:%d" % (at + 1)]))
    group.until(group.is_at_rest)
    group.cut(2)
    sequence = group[1].replica.keyspace.get(b"list")
    assert isinstance(sequence, Sequence)
    do(group, 1, 40, SequenceRemove(b"list", sequence.ranges(10, 3990)))
    group.run(2000)
    before = used(group, 1)
    group.network.heal()
    group.until(group.is_at_rest)
    group.run(2000)
    assert used(group, 1) < before / 2
    assert 0.8 < used(group, 1) / exact(group, 1) < 1.2
