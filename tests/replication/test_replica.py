"""One replica: batches, what is checked before anything is applied, knowledge, folding and forgetting."""

import pytest

from marmoset.clocks import COUNTER_BITS
from marmoset.codec.messages import Batch, KnownRow, Report, encode
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Bury,
    Flush,
    Increment,
    Join,
    Leave,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
)
from marmoset.codec.wire import encode_operations
from marmoset.crdts.sortedset import SortedSet, parse_score
from marmoset.errors import InternalError, PeerError
from marmoset.replication.replica import Replica
from marmoset.replication.verdicts import APPLIED, DUPLICATE, OWN_BURIAL, TOO_EARLY, UNKNOWN_ORIGIN
from tests.replication.group import (
    WALL_MS,
    Clock,
    catch_up,
    first_of_all,
    join,
    meet,
    messages,
    new_replica,
    rest,
    trio,
    write,
)


def last_batch(replica: Replica) -> Batch:
    ((message, _),) = messages(list(replica.log.entries.values())[-1].framed)
    assert isinstance(message, Batch)
    return message


def forged(by: Replica, what: list[AnyOperation], **changes: object) -> Batch:
    """A batch as `by` would make it next, but for what is changed."""
    first = by.seen[by.me] + 1
    fields: dict[str, object] = {
        "origin": by.me, "first": first, "count": len(what), "stamp": by.clock.stamp + 1,
        "state": by.state + 1, "raised": [], "dropped": [], "operations": encode_operations(what, by.me, first),
        **changes,
    }  # fmt: skip
    return Batch(**fields)  # type: ignore[arg-type]


def fingerprint(replica: Replica) -> object:
    keyspace = replica.keyspace
    tables = (dict(replica.seen), replica.state, len(replica.log), replica.clock.stamp, sorted(replica.roster.members))
    return (*tables, keyspace.get(b"k"), keyspace.window_entries)


# -- local batches


def test_what_is_submitted_is_visible_at_once_and_logged_when_the_batch_is_closed() -> None:
    a, b, _ = trio()
    assert a.submit(Increment(b"k", 1)) == (1, a.seen[1] + 1)
    dot = a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    assert a.keyspace.get(b"k") == 1
    before = len(a.log)
    assert a.commit() and not a.commit()
    assert len(a.log) == before + 1
    batch = last_batch(a)
    assert (batch.origin, batch.count, batch.last) == (1, 3, dot[1] + 1)
    assert a.submit(Increment(b"k", 1)) == (1, batch.last + 1)
    catch_up(a, b)
    assert b.keyspace.get(b"k") == 2
    a._check()
    b._check()


def test_a_batch_tells_the_difference_from_the_context_before() -> None:
    a, b, _ = trio()
    write(b, b"one")
    write(b, b"two")
    seqs = b.seen[2]
    assert last_batch(b).raised == [], "that it has observed its own batch before goes without saying"
    write(a, b"three")
    catch_up(a, b)
    write(b, b"four")
    assert last_batch(b).raised == [(1, a.seen[1])] and last_batch(b).first == seqs + 1
    assert last_batch(b).dropped == []
    catch_up(b, a)
    assert a.contexts[2] == b.contexts[2], "receivers rebuild the whole context"


def test_a_group_of_one_logs_nothing() -> None:
    alone = first_of_all()
    write(alone, b"v")
    assert alone.is_at_rest and len(alone.log) == 0 and alone.seen[1] == 1
    alone._check()


def test_a_turn_is_cut_at_the_end_of_a_command_that_makes_it_large() -> None:
    a, _, _ = trio()
    before = len(a.log)
    for _ in range(a.batch_operations_max - 1):
        a.submit(Increment(b"k", 1))
    a.end_of_command()
    assert len(a.log) == before
    a.submit(Increment(b"k", 1))
    a.end_of_command()
    assert len(a.log) == before + 1


# -- batches that arrive


def test_a_batch_is_applied_once_and_in_order() -> None:
    a, b, c = trio()
    write(a, b"one")
    first = last_batch(a)
    write(a, b"two")
    second = last_batch(a)
    assert b.apply(second, b"framed") == TOO_EARLY
    assert b.apply(first, b"framed") == APPLIED
    assert b.apply(first, b"framed") == DUPLICATE
    write(b, b"three")
    third = last_batch(b)
    assert c.apply(third, b"framed") == TOO_EARLY, "what it has observed is not here"
    assert c.apply(first, b"framed") == APPLIED
    assert c.apply(third, b"framed") == APPLIED
    assert c.keyspace.get(b"k") == b"three"
    assert c.apply(forged(a, [Flush()], origin=99, first=1), b"") == UNKNOWN_ORIGIN


@pytest.mark.parametrize(
    ("operations", "changes"),
    [
        ([Assign(b"k", b"v")], {"count": 2}),
        ([SequenceInsert(b"l", None, None, [b"a", b"b"])], {"count": 1}),
        ([Assign(b"k", b"v"), Increment(b"k", "ten")], {}),
        ([Assign(b"k", b"v"), Join(1, "again", "h:1")], {}),
        ([Join(2, "itself", "h:1")], {}),
        ([Join(3, "a member", "h:1")], {}),
    ],
)
def test_a_batch_that_is_not_well_formed_changes_nothing(
    operations: list[AnyOperation], changes: dict[str, object]
) -> None:
    a, b, _ = trio()
    before = fingerprint(b)
    with pytest.raises(PeerError) as problem:
        b.apply(forged(a, operations, **changes), b"")
    assert not problem.value.changed
    assert fingerprint(b) == before
    b._check()


def test_bytes_that_are_no_operations_change_nothing() -> None:

    a, b, _ = trio()
    before = fingerprint(b)
    for raw in (b"", b"\xc1", b"\x90", b"\x91\x92\x63\x01", b"\x91" * 5000):
        with pytest.raises(PeerError):
            b.apply(forged(a, [Flush()], operations=raw), b"")
    assert fingerprint(b) == before


def test_nobody_comes_back_from_the_grave_by_a_join() -> None:
    a, b, c = trio()
    a.submit_roster([Bury(3)])
    rest(a, b)
    assert b.roster.graves == {3: c.seen[3]}
    with pytest.raises(PeerError):
        b.apply(forged(a, [Join(3, "back", "h:1")]), b"")


def test_nobody_applies_their_own_burial() -> None:
    a, b, c = trio()
    a.submit_roster([Bury(3)])
    before = fingerprint(c)
    assert c.apply(last_batch(a), b"") == OWN_BURIAL
    assert fingerprint(c) == before
    assert b.apply(last_batch(a), b"") == APPLIED


def test_a_batch_never_arrives_while_a_local_one_is_open() -> None:
    a, b, _ = trio()
    write(a, b"v")
    b.submit(Increment(b"n", 1))
    with pytest.raises(InternalError):
        b.apply(last_batch(a), b"")
    b.commit()
    assert b.apply(last_batch(a), b"") == APPLIED


def test_operations_on_the_roster_close_the_open_batch_and_have_one_of_their_own() -> None:
    a, _, _ = trio()
    a.submit(Assign(b"k", b"v"))
    before = len(a.log)
    a.submit_roster([Join(9, "r9", "h:9")])
    assert len(a.log) == before + 2
    assert [type(o) for o in list(a.log.entries.values())[-1].operations] == [Join]
    assert a.contexts[9] == {**a.contexts[1], 9: 0}


# -- clocks


def test_what_is_applied_is_stamped_before_what_is_written_after_it() -> None:
    slow, fast = Clock(), Clock()
    fast.ms += 9000
    a = first_of_all(1, slow)
    b = join(a, 2, fast)
    write(b, b"v")
    catch_up(b, a)
    write(a, b"after")
    assert last_batch(a).stamp > last_batch(b).stamp >> 0
    assert last_batch(a).stamp >> COUNTER_BITS >= fast.ms


def test_a_clock_in_a_report_is_taken_up_to_the_skew_that_is_allowed() -> None:
    a, b, _ = trio()
    for ahead, believed in ((9_000, True), (3_600_000, False), (1 << 44, False)):
        clock = (WALL_MS + ahead) << COUNTER_BITS
        own = KnownRow(2, b.state, clock, sorted(b.seen.items()))
        a.count_report(Report(own, []))
        assert (a.clock.stamp >= clock) == believed
        rows = [KnownRow(3, 0, clock, [])]
        a.count_report(Report(KnownRow(2, b.state, 0, sorted(b.seen.items())), rows))
        assert (a.clock.stamp >= clock) == believed


def test_stamps_that_no_right_clock_makes() -> None:
    a, _, _ = trio()
    second = 1000 << COUNTER_BITS
    limit = (WALL_MS + 20_001 << COUNTER_BITS) - 1
    assert not a.is_stamped_ahead(limit) and a.is_stamped_ahead(limit + 1)
    a.clock.merge(limit + 5 * second)  # what it observed is here, so others of the same time are believed
    assert not a.is_stamped_ahead(limit + 5 * second) and a.is_stamped_ahead(limit + 5 * second + 1)


# -- knowledge, folding, forgetting


def test_a_report_is_counted_only_when_everything_that_its_sender_had_is_here() -> None:
    a, b, _ = trio()
    write(b, b"v")
    report, _ = b.report(1, 0)
    assert not a.has_all(report.own.vector)
    with pytest.raises(InternalError):
        a.count_report(report)
    catch_up(b, a)
    a.count_report(report)
    assert a.stability.known[2] == dict(report.own.vector)


def test_nothing_is_folded_before_everybody_is_known_to_have_it() -> None:
    a, b, c = trio()
    rest(a, b, c)
    a.chain.end()
    a.submit(SetAdd(b"s", [b"x"]))
    a.commit()
    meet(a, b)
    assert not a.advance() and a.keyspace.window_entries == 1
    catch_up(a, c)
    assert not a.advance(), "c has it, and a does not know it"
    meet(a, c)
    assert a.advance()
    a.fold_slice(1)
    assert a.is_at_rest and a.keyspace.get(b"s") == {b"x"}
    assert not b.advance(), "b does not know it yet"


def test_folding_goes_in_slices_and_what_is_not_folded_is_still_handed_to_newcomers() -> None:
    a, b = first_of_all(), None
    b = join(a, 2)
    for i in range(5):
        a.submit(SetAdd(b"s", [b"%d" % i, b"more%d" % i]))
        a.commit()
    meet(a, b)
    assert a.advance()
    assert a.fold_slice(2) and a.fold_slice(2)
    left = len(a.folding)
    assert 0 < left < 6
    c = join(a, 3)
    assert len(c.log) >= left
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.is_at_rest
        assert len(replica.keyspace.get(b"s")) == 10  # type: ignore[arg-type]


def test_three_members_at_rest_keep_plain_values_and_nothing_else() -> None:
    a, b, c = trio()
    write(a, b"text")
    b.submit(Increment(b"n", 5))
    c.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    c.submit(SetAdd(b"s", [b"e"]))
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.is_at_rest and len(replica.log) == 0 and replica.log.size_bytes == 0
        assert replica.keyspace.get(b"k") == b"text" and replica.keyspace.get(b"n") == 5
        assert replica.keyspace.window_entries == 0 and not replica.log.queues


def test_who_has_left_is_forgotten_everywhere_and_its_operations_stay() -> None:
    a, b, c = trio()
    write(c, b"mine")
    c.submit_roster([Leave()])
    catch_up(c, a)
    rest(a, b)
    for replica in (a, b):
        assert sorted(replica.roster.members) == [1, 2] == sorted(replica.seen) == sorted(replica.contexts)
        assert replica.roster.graves == {} and replica.keyspace.get(b"k") == b"mine"
        assert replica.is_at_rest
    write(a, b"after")
    assert last_batch(a).dropped == [3]
    catch_up(a, b)
    assert 3 not in b.contexts[1]


def test_a_late_duplicate_of_somebody_forgotten_is_no_news() -> None:
    a, b, c = trio()
    write(c, b"mine")
    late = last_batch(c)
    c.submit_roster([Leave()])
    catch_up(c, a)
    rest(a, b)
    assert a.apply(late, b"") == DUPLICATE


def test_one_that_is_left_alone_needs_no_metadata_any_more() -> None:
    a = first_of_all()
    b = join(a, 2)
    b.submit_roster([Leave()])
    catch_up(b, a)
    rest(a)
    assert list(a.roster.members) == [1] and not a.keyspace.tracking
    write(a, b"v")
    assert a.is_at_rest
    c = join(a, 3)
    assert c.keyspace.get(b"k") == b"v"
    rest(a, c)
    assert a.is_at_rest and c.is_at_rest


def test_a_leaver_is_not_waited_for_and_somebody_silent_is() -> None:
    a, b, c = trio()
    write(a, b"v")
    for _ in range(3):
        meet(a, b)
    a.advance()
    assert len(a.log), "c is a member and silent"
    c.submit_roster([Leave()])
    catch_up(c, a)
    rest(a, b)
    assert a.is_at_rest


def test_an_unborn_newcomer_holds_the_frontier_and_has_no_vote() -> None:
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    unborn = join(a, 3, born=False)
    write(a, b"v")
    meet(a, b)
    a.advance()
    assert len(a.log) and a.roster.electorate() == [1, 2]
    assert 3 in a.roster.counted() and a.roster.unborn_of(1) == [3]
    a.submit_roster([Bury(3)])  # its sponsor may, alone
    rest(a, b)
    assert a.is_at_rest and 3 not in a.roster.members
    assert unborn.roster.state(3) == "unborn"


def test_burials_take_effect_together() -> None:
    a, b, c = trio()
    d = join(a, 4)
    rest(a, b, c, d)
    a.submit_roster([Bury(4)])
    b.submit_roster([Bury(3)])  # the two do not know of each other's burial
    write(a, b"v")
    catch_up(b, a)
    assert a.roster.counted() == [1, 2, 3, 4], "b is not known to have the burial of 4"
    rest(a, b)
    assert sorted(a.roster.members) == sorted(b.roster.members) == [1, 2]
    assert sorted(a.roster.graves) == [3, 4] and a.is_at_rest and b.is_at_rest


def test_no_burial_takes_effect_at_a_leaver_by_rows_of_those_who_have_forgotten_somebody_without_it() -> None:
    """Churn 210366: a and b bury each other; d hears only that b is buried, and the leaver only that a is."""
    a, b, leaver = trio()
    d, e = join(a, 4), join(a, 5)
    rest(a, b, leaver, d, e)
    a.submit_roster([Bury(5)])
    for source, target in ((a, b), (a, leaver), (a, d), (b, leaver), (d, leaver)):
        meet(source, target)
    assert leaver.presumed_dead(5)
    leaver.submit_roster([Leave()])
    catch_up(leaver, a)
    b.submit_roster([Bury(1)])
    a.submit_roster([Bury(2)])
    rest(a, d)
    assert sorted(d.seen) == [1, 4], "they go on without the leaver, and without b"
    report, _ = d.report(3, 0)
    leaver.count_report(report)
    catch_up(b, leaver)
    assert leaver.roster.buried.keys() == {1, 5} and leaver.is_known_to(4, leaver.roster.buried[1]), "or so it seems"
    assert not leaver.presumed_dead(1) and 1 in leaver.roster.counted(), "d has never heard that a is buried"
    assert leaver.presumed_dead(5), "what had taken effect before stays so"
    leaver._check()


def test_beginning_again_leaves_nothing_of_before() -> None:
    a, b, _ = trio()
    write(a, b"v")
    a.submit(Increment(b"open", 1))
    stamp = a.clock.stamp
    a.begin(12)
    assert (a.me, a.seen, a.group, len(a.log), len(a.keyspace)) == (12, {12: 0}, 0, 0, 0)
    assert a.roster.members == {} and a.next_seq == 1 and not a.commit()
    assert a.clock.stamp == 0 < stamp, "a clock that was wrong is left behind with everything else"
    assert b.me == 2


def test_equal_batches_have_equal_bytes_at_every_hop() -> None:
    a, b, c = trio()
    write(a, b"v")
    catch_up(a, b)
    catch_up(b, c)
    framed = [list(replica.log.entries.values())[-1].framed for replica in (a, b, c)]
    assert framed[0] == framed[1] == framed[2]
    assert encode(last_batch(a)) == encode(last_batch(c))
    assert new_replica(5).commit() is False


def test_numbers_of_any_size_reach_the_others() -> None:
    a, b, c = trio()
    a.submit(Increment(b"n", 10**30))
    a.submit(ScoreAssign(b"z", [b"m", parse_score(b"1e30") or 0]))
    a.commit()
    a.submit(Increment(b"n", -1))
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.keyspace.get(b"n") == 10**30 - 1
        scores = replica.keyspace.get(b"z")
        assert isinstance(scores, SortedSet) and scores.get(b"m") == b"1" + b"0" * 30
        assert replica.is_at_rest
