"""Deadlines in a chain: no window while it goes on, and the one that tracking would have left when it ends."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import AnyOperation, Assign, Expire, Flush, Increment, Reset
from marmoset.replication.replica import Replica
from tests.replication.group import catch_up, meet, rest, trio
from tests.replication.test_chain import chained_trio, tracked
from tests.replication.test_histories import SEARCH

LATER_MS = 1 << 44

OPERATIONS: dict[str, AnyOperation] = {
    "expire": Expire(b"k", LATER_MS),
    "expire later": Expire(b"k", LATER_MS + 5),
    "persist": Expire(b"k", 0),
    "assign": Assign(b"k", b"v"),
    "keep": Assign(b"k", b"w", True),
    "increment": Increment(b"k", 1),
    "reset": Reset(b"k"),
    "other": Expire(b"other", LATER_MS),
    "flush": Flush(),
}
STEPS = st.sampled_from([*OPERATIONS, "commit", "send", "step"])


def ran(mine: list[str], theirs: list[str], length_max: int) -> list[object]:
    """What two members hold, all windows made, behind what one has done and what another one did beside it."""
    a, b, c = trio()
    for replica in (a, b, c):
        replica.chain.length_max, replica.chain.step_operations = length_max, 1
    a.submit(Assign(b"k", b"0"))
    a.submit(Expire(b"k", LATER_MS - 1))
    a.commit()
    rest(a, b, c)
    assert a.keyspace.chained == (length_max > 0)
    for step in mine:
        if step == "commit":
            a.commit()
        elif step == "send":
            a.commit()
            catch_up(a, b)
        elif step == "step":
            a.chain.begin_end()
            a.chain.step()
        else:
            a.submit(OPERATIONS[step])
    for step in theirs:
        if step in OPERATIONS:
            c.submit(OPERATIONS[step])
    held: list[object] = [tracked(replica) for replica in (a, b)]
    meet(c, a)
    meet(a, b)
    held += [tracked(replica) for replica in (a, b, c)]
    rest(a, b, c)
    shown = {replica.keyspace.deadline_ms(b"k") for replica in (a, b, c)}
    assert len(shown) == 1 and all(replica.is_at_rest for replica in (a, b, c))
    return [*held, shown]


@settings(SEARCH, max_examples=60)
@given(st.lists(STEPS, max_size=8), st.lists(STEPS, max_size=2))
@example(["expire", "persist"], ["expire later"])
@example(["persist", "assign"], ["expire"])
@example(["expire", "commit", "expire later"], ["reset"])
@example(["expire", "flush"], ["other"])
@example(["persist", "flush"], ["expire"])
@example(["expire", "keep"], ["assign"])
def test_deadlines_end_up_as_with_windows(mine: list[str], theirs: list[str]) -> None:
    assert ran(mine, theirs, 1000) == ran(mine, theirs, 0)


@pytest.mark.parametrize("names", [["expire"], ["persist"], ["assign", "expire", "keep"], ["expire", "expire later"]])
def test_while_the_chain_goes_on_there_is_nothing_to_fold(names: list[str]) -> None:
    members = chained_trio()
    a, b, _ = members
    for name in names:
        a.submit(OPERATIONS[name])
    a.commit()
    catch_up(a, b)
    for replica in (a, b):
        assert not replica.keyspace.deadlines.entries and replica.keyspace.chained
        assert all(entry.is_plain for entry in replica.log.entries.values())
    rest(*members)
    assert [entries(replica) for replica in members] == [0, 0, 0]


def entries(replica: Replica) -> int:
    assert replica.is_at_rest
    replica.keyspace.deadlines._check()
    return replica.keyspace.deadlines.entries


def give(replica: Replica, count: int) -> None:
    for number in range(count):
        replica.submit(Assign(b"%d" % number, b"v"))
        replica.submit(Expire(b"%d" % number, LATER_MS + number))


def left_to_garbage(replica: Replica) -> int:
    return sum(map(len, replica.keyspace.garbage._containers))


@pytest.mark.parametrize("is_noted", [False, True])
def test_a_flushall_leaves_no_deadline_and_its_tables_to_the_garbage(is_noted: bool) -> None:
    a, b, c = chained_trio()
    give(a, 2000)
    a.commit()
    if is_noted:
        a.chain.end()
        assert a.keyspace.deadlines.entries == 2000
    a.submit(Flush())
    a.commit()
    catch_up(a, b)
    expected = 6000 + (4000 if is_noted else 0)  # values, deadlines, queues; and what was noted, of both operations
    assert left_to_garbage(a) == expected
    for replica in (a, b):
        deadlines = replica.keyspace.deadlines
        assert not deadlines.count and not deadlines.entries and not any(map(len, deadlines._due))
        assert deadlines.take_passed(2 * LATER_MS, 10) == []
        deadlines._check()
    give(a, 3)
    rest(a, b, c)
    assert [replica.keyspace.deadlines.count for replica in (a, b, c)] == [3, 3, 3]


def test_what_was_noted_before_a_flushall_goes_to_the_garbage_when_that_is_noted() -> None:
    members = chained_trio()
    a = members[0]
    give(a, 2000)
    a.submit(Flush())
    give(a, 2)
    a.commit()
    kept = left_to_garbage(a)
    a.chain.end()
    assert left_to_garbage(a) == kept + 4000, "what was noted of both operations"
    deadlines = a.keyspace.deadlines
    assert deadlines.entries == deadlines.count == 2
    deadlines._check()
    rest(*members)
    assert [entries(replica) for replica in members] == [0, 0, 0]
