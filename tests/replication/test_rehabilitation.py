"""Submitting again, at the level of replicas: what is waited for, and what is proven."""

from marmoset.codec.operations import Assign, Bury, Expire, Increment, Resubmit, SequenceInsert, SetAdd
from marmoset.replication.expiry import observe_time, remove_passed
from marmoset.replication.places import Renamed
from marmoset.replication.rehabilitation import Exile, Rehabilitation, replay
from marmoset.replication.replica import Replica
from marmoset.replication.report import UNKNOWN, Report, Row
from marmoset.sim.specification import plain
from tests.replication.group import Clock, first_of_all, join, meet, new_replica, rest, trio, write


def exiled(replica: Replica, buried: int, final_seq: int) -> Exile:
    exile = Exile(replica, buried, final_seq)
    while exile.gather(replica, 1):
        pass
    return exile


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
    again = Rehabilitation(later, [exiled(c, 3, final_seq)], Report(), Renamed())
    while again.step(1):
        pass
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
