"""Submitting again, at the level of replicas: what is waited for, and what is proven."""

import pytest

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Bury,
    Expire,
    Flush,
    Increment,
    Inside,
    Reset,
    Resubmit,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.replication.expiry import observe_time, remove_passed
from marmoset.replication.places import Renamed
from marmoset.replication.rehabilitation import Exile, Rehabilitation, replay
from marmoset.replication.replica import Replica
from marmoset.replication.report import UNKNOWN, Report, Row
from marmoset.sim.specification import plain
from tests.replication.group import Clock, first_of_all, join, meet, new_replica, rest, trio, write


def exiled(replica: Replica, buried: int, final_seq: int, **kept: object) -> Exile:
    exile = Exile(replica, buried, final_seq, **kept)  # type: ignore[arg-type]
    while exile.gather(replica, 1):
        pass
    return exile


def submitted(replica: Replica, *exiles: Exile) -> Rehabilitation:
    """All that can be is submitted."""
    task = Rehabilitation(replica, exiles, Report(), Renamed())
    while task.step(1):
        pass
    return task


def test_nothing_is_submitted_before_the_burial_is_known_to_have_taken_effect() -> None:
    a, b, c = trio()
    rest(a, b, c)
    final_seq = a.seen[3]
    c.submit(Assign(b"s", b"ours"))
    c.commit()
    exile = exiled(c, 3, final_seq)
    assert [entry.first for entry in exile.own] == [final_seq + 1] and not exile.lost
    a.submit_roster([Bury(3)])
    newcomer = join(a, 9)
    task = Rehabilitation(newcomer, [exile], Report(), Renamed())
    assert task.is_waiting and task.step(100) and newcomer.keyspace.get(b"s") is None
    write(b, b"theirs", b"s")
    rest(a, b, newcomer)
    assert newcomer.presumed_dead(3) and not task.is_waiting
    while task.step(1):
        pass
    assert newcomer.keyspace.get(b"s") == b"theirs" and [row.dot for row in task.report] == [(3, final_seq + 1)]


def test_what_left_the_log_between_two_slices_and_is_not_folded_yet_is_a_change_too() -> None:
    a, b, c = trio()
    rest(a, b, c)
    final_seq = a.seen[3]
    for key in (b"s", b"t", b"u"):
        write(c, b"ours", key)
    exile = exiled(c, 3, final_seq)
    a.submit_roster([Bury(3)])
    newcomer = join(a, 9)
    task = Rehabilitation(newcomer, [exile], Report(), Renamed())
    for key in (b"s", b"t"):  # the first while the burial is waited for, the second between two slices
        before = newcomer.log.next_index
        write(b, b"theirs", key)
        for _ in range(4):
            for one, other in ((a, b), (a, newcomer), (b, newcomer)):
                meet(one, other)
        assert newcomer.advance() and newcomer.log.first_index > before
        assert not list(newcomer.memory.ends(key)), "it is neither in the log nor in the memory"
        assert task.step(1)
    while task.step(1):
        pass
    assert [row.operation for row in task.report] == [Assign(b"s", b"ours"), Assign(b"t", b"ours")]
    assert [newcomer.keyspace.get(key) for key in (b"s", b"t", b"u")] == [b"theirs", b"theirs", b"ours"]


def test_a_burial_that_is_not_there_proves_nothing_about_the_others() -> None:
    a, b, c = trio()
    rest(a, b, c)
    c.submit(Assign(b"s", b"ours"))
    c.submit(Increment(b"n", 2))
    c.commit()
    exile = exiled(c, 3, a.seen[3])
    a.submit_roster([Bury(3)])
    rest(a, b)
    a.forget_graves(1 << 60)
    newcomer = join(a, 9)
    task = Rehabilitation(newcomer, [exile], Report(), Renamed())
    while task.step(1):
        pass
    assert newcomer.keyspace.get(b"n") == 2 and [row.reason for row in task.report] == [UNKNOWN]


def test_what_is_added_to_a_key_whose_deadline_has_passed_is_not_removed_with_it() -> None:
    """Nobody has read the clock of a node that was just born, and to all others the key is not there."""
    clock = Clock()
    a = first_of_all(clock=clock)
    b, c = join(a, 2), join(a, 3)
    old = a.submit(SequenceInsert(b"l", None, None, [b"old"]))
    for operation in (SetAdd(b"s", [b"old"]), Expire(b"s", clock.ms + 100), Expire(b"l", clock.ms + 100)):
        a.submit(operation)
    rest(a, b, c)
    final_seq = a.seen[3]
    c.submit(SetAdd(b"s", [b"ours"]))
    c.submit(SequenceInsert(b"l", old, None, [b"ours"]))
    c.commit()
    exile = exiled(c, 3, final_seq)
    a.submit_roster([Bury(3)])
    rest(a, b)
    clock.ms += 1000  # the join takes long, and a newcomer says no clock before it is born
    newcomer = join(a, 9)
    task = Rehabilitation(newcomer, [exile], Report(), Renamed())
    while task.step(1):
        pass
    rest(a, b, newcomer)
    remove_passed(a, 10)
    rest(a, b, newcomer)
    for replica in (a, b, newcomer):
        assert [plain(replica.keyspace.get(key)) for key in (b"s", b"l")] == [{b"ours"}, [b"ours"]]
        assert replica.is_at_rest


def test_an_insertion_is_replayed_into_a_list_whose_deadline_has_passed_as_into_none() -> None:
    clock = Clock()
    alone, (_, _, c) = first_of_all(clock=clock), trio()
    old = alone.submit(SequenceInsert(b"l", None, None, [b"old"]))
    alone.submit(Expire(b"l", clock.ms + 100))
    alone.commit()
    clock.ms += 1000
    observe_time(alone)
    row = Row((3, 1), SequenceInsert(b"l", old, None, [b"ours"]), 1, UNKNOWN, "r3", Exile(c, 3, 0))
    assert replay(alone, row, Renamed())
    alone.commit()
    assert plain(alone.keyspace.get(b"l")) == [b"ours"]


@pytest.mark.parametrize(
    ("removal", "inside"), [(Reset(b"l"), False), (Flush(), False), (Reset(b"m"), True), (Flush(), True)]
)
def test_an_insertion_is_not_put_between_elements_that_were_removed_as_a_whole(
    removal: AnyOperation, inside: bool
) -> None:
    """What was laid aside looks as it did before, and whoever has folded the removal does not have it any more."""

    def inserted(left: tuple[int, int] | None, value: bytes) -> AnyOperation:
        insert = SequenceInsert(b"l", left, None, [value])
        return Inside(b"m", [b"l"], insert) if inside else insert

    a, b, c = trio()
    old = a.submit(inserted(None, b"old"))
    rest(a, b, c)
    final_seq = a.seen[3]
    c.submit(inserted(old, b"ours"))
    c.commit()
    exile = exiled(c, 3, final_seq)
    a.submit_roster([Bury(3)])
    newcomer = join(a, 9)
    rest(a, b, newcomer)
    a.submit(removal)
    for one, other in ((a, b), (a, newcomer), (a, b)):
        meet(one, other)
    while a.advance():
        a.fold_slice(1)
    assert a.is_at_rest and not newcomer.is_at_rest, "a knows that all have the removal, the newcomer does not"
    submitted(newcomer, exile)
    rest(a, b, newcomer)
    for replica in (a, b, newcomer):
        assert plain(replica.keyspace.get(b"m" if inside else b"l")) == ({b"l": [b"ours"]} if inside else [b"ours"])
        assert replica.is_at_rest


@pytest.mark.parametrize("removal", [Reset(b"l"), Flush()])
def test_the_order_of_what_the_returner_has_removed_itself_is_still_known(removal: AnyOperation) -> None:
    a, b, c = trio()
    old = a.submit(SequenceInsert(b"l", None, None, [b"p", b"q"]))
    rest(a, b, c)
    final_seq, second = a.seen[3], (old[0], old[1] + 1)
    c.submit(SequenceInsert(b"l", second, None, [b"ours"]))
    c.commit()
    c.submit(removal)
    c.commit()
    exile = exiled(c, 3, final_seq)
    a.submit(SequenceRemove(b"l", [(*second, 1)]))
    a.submit_roster([Bury(3)])
    newcomer = join(a, 9)
    rest(a, b, newcomer)
    task = submitted(newcomer, exile)
    assert [row.operation for row in task.report] == [removal]
    assert plain(newcomer.keyspace.get(b"l")) == [b"p", b"ours"]


def test_claims_travel_with_what_they_are_about_and_with_snapshots() -> None:
    a, b, c = trio()
    rest(a, b, c)
    final_seq = a.seen[3]
    c.submit(Increment(b"n", 2))
    c.submit(Increment(b"n", 3))
    c.commit()
    exile = exiled(c, 3, final_seq)
    a.submit_roster([Bury(3)])
    rest(a, b)
    newcomer = join(a, 9)
    task = Rehabilitation(newcomer, [exile], Report(), Renamed())
    while task.step(1):
        pass
    (batch,) = [e for e in newcomer.log.entries.values() if any(isinstance(o, Resubmit) for o in e.operations)]
    assert batch.operations == [Increment(b"n", 2), Increment(b"n", 3), Resubmit(3, [(final_seq + 1, 2)])]
    meet(a, newcomer)
    later = join(a, 10)
    for replica in (a, newcomer, later):
        assert replica.roster.claims.covers((3, final_seq + 2)) and not replica.roster.claims.covers((3, final_seq))
    again = submitted(later, exiled(c, 3, final_seq))
    assert later.keyspace.get(b"n") == 5 and again.counters["submitted"] == 0


def test_whose_word_proves_what() -> None:
    a, _, c = trio()
    newcomer = join(c, 9)
    join_seq = newcomer.roster.joins[9][1]
    assert Exile(c, 3, 5).is_proven and Exile(c, 3, 5).final_seq == 5
    assert not Exile(c, 3, 0).is_proven and not Exile(c, 0, 0).is_proven and not Exile(c, 77, 5).is_proven
    below, above = Exile(newcomer, 3, join_seq - 1), Exile(newcomer, 3, join_seq)
    assert below.is_proven and below.final_seq == 0 and below.awaited == 3, "nobody ever met it"
    assert not above.is_proven, "it was met, and there is no gravestone"
    assert not Exile(new_replica(5), 1, 3).is_proven
    assert a.me == 1


@pytest.mark.parametrize("served", [False, True])
def test_what_only_a_sponsor_had_which_was_presumed_dead_too_is_submitted_in_order(served: bool) -> None:
    """The second has more of the third than the group, tells the third so and lets it in again, but was buried too."""
    a, b, c = trio()
    write(a, b"stable", b"s")
    rest(a, b, c)
    c.submit(Increment(b"n", 1))
    c.submit(Assign(b"s", b"1"))
    c.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    c.commit()
    meet(b, c)
    element = (3, c.seen[3] - 1)
    c.submit(Increment(b"n", 10))
    c.submit(Assign(b"s", b"2"))
    c.submit(SequenceRemove(b"l", [(*element, 1)]))
    c.commit()
    first = exiled(c, 3, b.seen[3])
    second_life = join(b, 9)
    exiles, kept = [first], {"former": {3: first.observed}}
    if served:  # it has submitted what it kept, and went on
        first.own.clear()
        second_life.submit(Increment(b"n", 10))
        second_life.claim(Resubmit(3, [(b.seen[3] + 1, 1)]))
        second_life.submit(Assign(b"s", b"2"))
        second_life.submit(SequenceRemove(b"l", [(*element, 1)]))
        second_life.commit()
        exiles = []
    exiles.append(exiled(second_life, 2, a.seen[2], keeps_own=served, **kept))
    assert not exiles[-1].held or all(entry.origin == 2 for entry in exiles[-1].held)
    a.submit_roster([Bury(2), Bury(3)])
    if not served:  # and others have removed from the list: that does not concern what is removed of one's own
        theirs = a.submit(SequenceInsert(b"l", None, None, [b"theirs"]))
        a.submit(SequenceRemove(b"l", [(*theirs, 1)]))
        a.commit()
    third_life = join(a, 10)
    rest(a, third_life)
    task = submitted(third_life, *exiles)
    rest(a, third_life)
    assert a.keyspace.get(b"n") == 11 and a.keyspace.get(b"s") == b"2" and plain(a.keyspace.get(b"l")) == [b"y"]
    assert not list(task.report) and a.roster.claims.covers((3, element[1]))


def test_what_was_submitted_in_a_life_that_was_cut_short_is_submitted_anew_from_what_it_was_made_of() -> None:
    a, b, c = trio()
    rest(a, b, c)
    final_seq = a.seen[3]
    c.submit(Increment(b"n", 1))
    c.commit()
    first = exiled(c, 3, final_seq)
    second_life = join(b, 9)
    b.submit_roster([Bury(3)])
    second_life.submit(Increment(b"n", 1))
    second_life.claim(Resubmit(3, [(final_seq + 1, 1)]))
    second_life.commit()
    meet(b, second_life)
    second = exiled(second_life, 2, a.seen[2], keeps_own=False, former={3: first.observed})
    third_life = join(b, 11)  # by one that was presumed dead as well: the group never meets it either
    third = exiled(third_life, 2, a.seen[2], keeps_own=False, former={3: first.observed}, attempts=frozenset([9]))
    assert [entry.origin for entry in third.held if entry.origin != 2] == [], "no row for what is submitted anew"
    a.submit_roster([Bury(2), Bury(3)])
    last_life = join(a, 12)
    rest(a, last_life)
    task = submitted(last_life, first, second, third)
    assert last_life.keyspace.get(b"n") == 1 and not [row for row in task.report if row.dot[0] != 2]


def test_what_the_group_has_is_not_submitted_though_less_of_it_was_told() -> None:
    a, b, c = trio()
    rest(a, b, c)
    told = b.seen[3]
    c.submit(Increment(b"n", 1))
    c.commit()
    meet(a, c)
    exile = exiled(c, 3, told)
    a.submit_roster([Bury(2), Bury(3)])
    newcomer = join(a, 9)
    rest(a, newcomer)
    submitted(newcomer, exile)
    assert newcomer.keyspace.get(b"n") == 1


def test_what_the_group_lacks_is_submitted_though_more_of_it_was_told() -> None:
    """Who told it had more, and was presumed dead as well, by those who let it in."""
    a, b, c = trio()
    rest(a, b, c)
    for amount in (1, 2, 4):
        c.submit(Increment(b"n", amount))
        c.commit()
    exile = exiled(c, 3, c.seen[3] - 1)
    assert not exile.lost
    a.submit_roster([Bury(3)])
    newcomer = join(a, 9)
    rest(a, b, newcomer)
    assert newcomer.presumed_dead(3) and newcomer.final_seq(3) < exile.final_seq
    submitted(newcomer, exile)
    rest(a, b, newcomer)
    assert a.keyspace.get(b"n") == b.keyspace.get(b"n") == 7
