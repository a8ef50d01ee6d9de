"""Both directions of one link: order, leaving out, holding and resuming, strangers, and verdicts."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.clocks import COUNTER_BITS
from marmoset.codec.messages import Batch, CaughtUp, Direct, KnownRow, Report, Resume, Resumed, encode, vector_pairs
from marmoset.codec.operations import Bury, Increment, Join, Leave
from marmoset.errors import InternalError, PeerError
from marmoset.replication.exchange import CLOCK, GO_ON, NOT_YET, PAUSE, REFUSE
from marmoset.replication.replica import Replica
from tests.replication.group import (
    WALL_MS,
    Clock,
    Line,
    catch_up,
    first_of_all,
    join,
    meet,
    messages,
    rest,
    trio,
    write,
)


def last(replica: Replica) -> tuple[Batch, bytes]:
    ((message, data),) = messages(list(replica.log.entries.values())[-1].framed)
    assert isinstance(message, Batch)
    return message, data


# -- what is sent


def test_what_the_peer_lacks_goes_first_then_the_end_of_the_beginning_then_a_report() -> None:
    a, b, _ = trio()
    rest(a, b, _)
    write(a, b"one")
    line = Line(a, b)
    write(a, b"two")
    line.pump(a)
    assert line.names(a) == ["Batch", "Batch", "CaughtUp", "Report"]
    line.settle()
    assert b.keyspace.get(b"k") == b"two"
    assert b.stability.known[1] == a.seen
    write(a, b"three")
    line.pump(a)
    assert line.names(a) == ["Batch"], "a report is sent when it is due, not behind every batch"


def test_what_the_peer_lacks_is_sent_in_one_piece_up_to_the_budget() -> None:
    a, b, _ = trio()
    rest(a, b, _)
    line = Line(a, b)
    line.settle()
    begin = a.log.next_index
    for number in range(10):
        write(a, b"%d" % number)
    framed = [a.log.entries[index].framed for index in range(begin, begin + 10)]
    stream, sent = line.end_of(a), line.sent[a.me]
    assert stream.pump(sum(map(len, framed[:3]))), "there is more"
    assert stream.pump(sum(map(len, framed[3:6])) - 1), "a batch is not cut"
    assert not stream.pump(1 << 20)
    assert list(sent) == [b"".join(framed[:3]), b"".join(framed[3:6]), b"".join(framed[6:])]
    line.settle()
    assert b.keyspace.get(b"k") == b"9"


def test_what_the_peer_has_is_not_sent_again_nor_back_to_it() -> None:
    a, b, c = trio()
    rest(a, b, c)
    write(c, b"from a third")
    catch_up(c, a)
    catch_up(c, b)
    line = Line(a, b)
    write(b, b"v")
    line.settle()
    line.pump(a)
    assert line.names(a) == []
    assert a.keyspace.get(b"k") == b"v"


def test_a_peer_that_takes_no_more_is_sent_nothing_and_nothing_is_copied_for_it() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    line.settle()
    stream = line.end_of(a)
    stream.paused = True
    for i in range(10):
        write(a, b"%d" % i)
    stream.report_due = True
    assert not line.pump(a) and line.names(a) == []
    assert stream.statistics()["behind_batches"] == 10
    stream.paused = False
    assert line.pump(a, 200), "about a budget's worth at a time"
    assert 0 < len(line.names(a)) < 10 and "Report" not in line.names(a)
    while line.pump(a, 200):
        pass
    line.settle()
    assert b.keyspace.get(b"k") == b"9"


def test_the_peer_is_left_out_of_what_it_hears_directly() -> None:
    a, b, c = trio()
    rest(a, b, c)
    line = Line(a, b)
    line.settle()
    line.end_of(b).ask(frozenset({3}))
    line.settle()
    write(c, b"v")
    catch_up(c, a)
    line.pump(a)
    assert line.names(a) == []
    write(a, b"mine")
    line.pump(a)
    assert line.names(a) == ["Batch"]


def test_a_log_that_was_folded_in_part_is_gone_on_with() -> None:
    a, b, c = trio()
    line = Line(a, b)
    line.settle()
    write(a, b"one")
    line.settle()
    rest(a, b, c)
    assert len(a.log) == 0
    write(a, b"two")
    line.settle()
    assert b.keyspace.get(b"k") == b"two"


def test_a_leaver_passes_on_nothing_that_it_took_in_behind_its_leave() -> None:
    """The others do not wait for it: they may have folded what a member that they have buried wrote without knowing."""
    a, leaver, c = trio()
    w = join(a, 4)
    rest(a, leaver, c, w)
    write(w, b"before")
    catch_up(w, leaver)
    leaver.submit_roster([Leave()])
    line = Line(leaver, c)
    line.settle()
    assert c.keyspace.get(b"k") == b"before" and 2 in c.roster.left, "what is before its leave, and that"
    write(w, b"after")
    catch_up(w, leaver)
    line.end_of(leaver).report_due = True
    line.settle()
    assert leaver.keyspace.get(b"k") == b"after" and c.keyspace.get(b"k") == b"before"
    line = Line(leaver, a)
    line.pump(leaver)
    assert line.names(leaver) == ["Batch", "Batch", "CaughtUp"], "and it does not say that it has it"


# -- what arrives


def test_a_stream_may_break_anywhere_and_goes_on_from_what_arrived() -> None:
    a, b, _ = trio()
    for _i in range(6):
        a.submit(Increment(b"n", 1))
        a.commit()
    for limit in (1, 2, 1, 99):
        line = Line(a, b)
        line.pump(a)
        line.deliver(a, limit)
    assert b.keyspace.get(b"n") == 6
    b._check()


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_three_that_leave_out_for_each_other_end_equal_whatever_comes_first(rng: Random) -> None:
    replicas = trio()
    lines = [Line(one, other) for i, one in enumerate(replicas) for other in replicas[i + 1 :]]
    for line in lines:
        line.settle()
    for line in lines:
        for me, stream in line.ends.items():
            (peer,) = [other for other in line.ends if other != me]
            stream.ask(frozenset({1, 2, 3} - {me, peer}))
        line.settle()
    moment = 0
    for _ in range(60):
        moment += 1
        one = rng.choice(replicas)
        line = rng.choice(lines)
        dice = rng.random()
        if dice < 0.3:
            one.submit(Increment(b"n", 1))
            one.commit()
        elif dice < 0.35:
            rng.choice(list(line.ends.values())).resume(frozenset())
        elif dice < 0.5:
            for stream in line.ends.values():
                stream.report_due = stream.report_due or rng.random() < 0.5
                stream.pump(1 << 20)
        else:
            source = rng.choice([r for r in replicas if r.me in line.ends])
            for _message, verdict in line.deliver(source, rng.randint(1, 3), moment):
                assert verdict == GO_ON
            for other in lines:
                for stream in other.ends.values():
                    stream.drain_bytes = rng.choice([1, 100, 1 << 14])
                    assert stream.drain(moment) == GO_ON
    for _ in range(6):
        for line in lines:
            for stream in line.ends.values():
                stream.report_due = True
                stream.drain_bytes = 1 << 14
                stream.drain(moment)
            line.settle()
    totals = [replica.keyspace.get(b"n") for replica in replicas]
    assert totals[0] == totals[1] == totals[2]
    for replica in replicas:
        assert all(stream.held_bytes == 0 for line in lines for stream in line.ends.values())
        while replica.advance():
            replica.fold_slice(100)
        assert replica.is_at_rest
        replica._check()


def held_up() -> tuple[Replica, Replica, Replica, Line]:
    """b hears a and c; a's batch has observed one of c that a leaves out and that c has not sent to b yet."""
    a, b, c = trio()
    rest(a, b, c)
    line = Line(a, b)
    line.settle()
    line.end_of(b).ask(frozenset({3}))
    line.settle()
    write(c, b"first")
    catch_up(c, a)
    write(a, b"second")
    line.end_of(a).report_due = True
    line.pump(a)
    return a, b, c, line


def test_what_comes_too_early_is_held_until_what_it_depends_on_has_come() -> None:
    _, b, c, line = held_up()
    (source,) = [me for me in line.ends if me != b.me]
    assert source == 1
    assert [verdict for _, verdict in line.deliver(line.ends[1].replica, now_ms=5)] == [GO_ON, GO_ON]
    stream = line.end_of(b)
    assert b.keyspace.get(b"k") is None
    assert stream.statistics()["held_messages"] == 2 and stream.held_bytes > 0 and stream.held_since_ms == 5
    catch_up(c, b)
    assert stream.drain(9) == GO_ON
    assert b.keyspace.get(b"k") == b"second"
    assert stream.held_bytes == 0 and stream.held_since_ms is None
    assert b.stability.known[1] == line.ends[1].replica.seen, "the report behind it was counted then"


def test_much_of_what_was_held_is_used_in_slices() -> None:
    a, b, c, line = held_up()
    for number in range(20):
        write(a, b"%d" % number, b"behind")
    line.pump(a)
    assert all(verdict == GO_ON for _, verdict in line.deliver(a, now_ms=5))
    stream = line.end_of(b)
    held = stream.statistics()["held_messages"]
    assert held == 22
    catch_up(c, b)
    slices = 0
    while stream.held_bytes:
        held, held_bytes = stream.statistics()["held_messages"], stream.held_bytes
        stream.drain_bytes = 1 if slices == 2 else 150
        assert stream.drain(9 + slices) == GO_ON
        slices += 1
        assert stream.is_cut == (stream.held_bytes > 0) and held_bytes - stream.held_bytes <= 150
        assert held - stream.statistics()["held_messages"] == 1 or slices != 3, "one that is longer goes alone"
        held = stream.statistics()["held_messages"]
        assert stream.held_since_ms == (8 + slices if held else None), "it goes on"
    assert slices > 3 and b.keyspace.get(b"behind") == b"19"


def test_a_report_that_is_behind_something_held_waits_too() -> None:
    a, b, _, line = held_up()
    before = dict(b.stability.known[1])
    line.deliver(a)
    assert b.stability.known[1] == before


def test_to_resume_drops_what_is_held_and_has_everything_sent_again() -> None:
    a, b, _, line = held_up()
    line.deliver(a)
    stream = line.end_of(b)
    stream.resume(frozenset())
    assert stream.held_bytes == 0 and stream.awaiting_resumed
    write(a, b"third")
    line.pump(a)
    line.deliver(a)  # sent before a heard of it: dropped
    assert stream.held_bytes == 0
    line.settle()
    assert not stream.awaiting_resumed
    assert b.keyspace.get(b"k") == b"third"
    assert b.seen == a.seen


def test_rows_of_a_report_that_was_dropped_on_resuming_are_reported_again() -> None:
    """c is known to a alone, and does not change any more: if its row is lost, b never learns it."""
    a, b, c = trio()
    rest(a, b, c)
    line = Line(a, b)
    line.settle()
    write(a, b"v")
    line.settle()
    meet(a, c)
    stream = line.end_of(b)
    line.end_of(a).report_due = True
    line.pump(a)
    assert line.names(a) == ["Report"]
    stream.resume(frozenset())
    line.deliver(a)
    assert b.stability.known[3] != c.seen
    line.settle()
    assert b.stability.known[3] == c.seen
    b.advance()
    b.fold_slice(100)
    assert b.is_at_rest


def test_the_end_of_the_beginning_that_was_dropped_on_resuming_is_said_again() -> None:
    """Until it is heard, others are asked to bring what the peer makes itself: for ever, if it is lost."""
    a, b, _ = trio()
    rest(a, b)
    line = Line(a, b)
    line.pump(a)
    assert "CaughtUp" in line.names(a)
    stream = line.end_of(b)
    stream.resume(frozenset())
    line.deliver(a)
    assert not stream.is_caught_up
    line.settle()
    assert stream.is_caught_up and line.changes.count(2) == 2, "once for Resumed, once for this"


def test_a_vector_that_was_held_up_is_not_read_as_having_what_came_since() -> None:
    """c asks a to begin again; meanwhile d joins, lets in e, leaves, and is forgotten by all, over other links: that c
    has no entry for e does not mean now that it has forgotten it (`churn` 330122)."""
    a, b, c = trio()
    rest(a, b, c)
    line = Line(a, c)
    line.settle()
    line.end_of(c).resume(frozenset())  # on its way for long
    d = join(b, 4)
    rest(a, b, c, d)
    e = join(d, 5)
    rest(a, b, c, d, e)
    d.submit_roster([Leave()])
    rest(a, b, c, d)
    rest(a, b, c, e)
    assert all(4 not in each.seen and 5 in each.seen for each in (a, b, c, e))
    write(e, b"from e")
    catch_up(e, a)
    write(a, b"which builds on it")
    line.settle()
    assert c.keyspace.get(b"k") == b"which builds on it" and c.seen == a.seen


def test_to_leave_out_less_begins_again_and_to_leave_out_more_does_not() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    line.settle()
    stream = line.end_of(b)
    stream.ask(frozenset({3}))
    assert line.names(b) == ["Direct"]
    stream.ask(frozenset({3}))
    assert line.names(b) == ["Direct"], "nothing new is not said again"
    stream.ask(frozenset({3, 4}))
    stream.ask(frozenset({4}))
    assert line.names(b) == ["Direct", "Direct", "Resume"]
    stream.ask(frozenset())
    assert line.names(b)[-1] == "Resume", "one thing at a time"
    line.changes.clear()
    line.settle()
    assert 2 in line.changes, "what could not be asked meanwhile is to be asked now"


# -- strangers


def strangers() -> tuple[Replica, Replica, Replica]:
    """a and b are members; c was let in by b, which a has not heard of."""
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    return a, b, join(b, 3)


def test_a_stranger_is_believed_when_it_brings_its_join_from_somebody_who_is_vouched_for() -> None:
    a, _, c = strangers()
    write(c, b"v")
    line = Line(a, c)
    line.settle()
    assert a.keyspace.get(b"k") == b"v" and 3 in a.roster.members
    assert not line.end_of(a).introducing
    assert line.end_of(a).is_caught_up and 1 in line.changes, "others need not bring what it makes any more"


def test_nothing_of_a_stranger_is_used_before_it_has_brought_everything() -> None:
    a, _, c = strangers()
    write(c, b"v")
    line = Line(a, c)
    line.pump(c)
    line.deliver(c, len(line.sent[3]) - 2)
    assert 3 not in a.roster.members and a.keyspace.get(b"k") is None
    assert line.names(a) == [], "and nothing is sent to it"
    line.settle()
    assert 3 in a.roster.members


def test_a_stranger_whose_sponsor_is_a_stranger_too_comes_again_later() -> None:
    a, b, c = strangers()
    d = join(c, 4)
    write(d, b"v")
    d.log.take_stable(2, 99, 99)  # what vouches for its sponsor is folded at d: somebody else has to bring it
    line = Line(a, d)
    line.pump(d)
    assert line.deliver(d)[-2][1] == NOT_YET
    assert 4 not in a.roster.members and a.keyspace.get(b"k") is None
    catch_up(b, a)
    assert b.seen[2] == a.seen[2]
    line = Line(a, d)
    line.settle()
    assert a.keyspace.get(b"k") == b"v"
    assert c.me == 3


def test_a_stranger_let_in_by_somebody_buried_waits_and_is_refused_once_that_has_taken_effect() -> None:
    a, b, third = trio()
    rest(a, b, third)
    c = join(b, 9)
    a.submit_roster([Bury(2)])
    line = Line(a, c)
    line.pump(c)
    assert line.deliver(c)[-2][1] == NOT_YET
    rest(a, third)
    assert a.presumed_dead(2)
    line = Line(a, c)
    line.end_of(a).line = c.roster.line(9)
    line.pump(c)
    assert "Batch" in line.names(c), "its own operations; those of its sponsor are not sent to whoever has forgotten it"
    assert line.deliver(c)[-2][1] == REFUSE
    assert 9 not in a.roster.members


def test_a_stranger_that_brings_too_much_is_told_to_come_again() -> None:
    a, _, c = strangers()
    for i in range(20):
        write(c, b"x" * 100 + b"%d" % i)
    line = Line(a, c, held_bytes_max=1000)
    line.pump(c)
    assert NOT_YET in [verdict for _, verdict in line.deliver(c)]


def test_a_stranger_becomes_known_through_somebody_else() -> None:
    a, b, c = strangers()
    write(c, b"v")
    line = Line(a, c)
    line.pump(c)
    line.deliver(c, 1)
    catch_up(b, a)
    assert 3 in a.roster.members
    assert line.end_of(a).drain(0) == GO_ON
    line.settle()
    assert a.keyspace.get(b"k") == b"v"


# -- verdicts and faults


def test_my_own_burial_pauses_the_link() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    line.settle()
    a.submit_roster([Bury(2)])
    line.pump(a)
    assert [verdict for _, verdict in line.deliver(a)] == [PAUSE]
    assert 2 not in b.roster.buried


def test_operations_that_their_origin_stamps_far_ahead_are_not_taken_from_it() -> None:
    wrong = Clock()
    a = first_of_all()
    b, c = join(a, 2, wrong), join(a, 3)
    rest(a, b, c)
    line = Line(a, b)
    line.settle()
    wrong.ms = WALL_MS + 19_000
    write(b, b"a little ahead")
    line.settle()
    assert a.keyspace.get(b"k") == b"a little ahead"
    wrong.ms = WALL_MS + (50 * 365 * 86_400_000)
    write(b, b"for ever")
    line.pump(b)
    assert [verdict for _, verdict in line.deliver(b)] == [CLOCK]
    assert a.keyspace.get(b"k") == b"a little ahead"
    assert a.clock.stamp >> COUNTER_BITS <= WALL_MS + 19_000


def test_a_report_in_the_name_of_somebody_else_is_a_fault_of_the_peer() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    report = Report(KnownRow(3, 1, 1, vector_pairs(a.seen)), [])
    with pytest.raises(PeerError):
        line.end_of(b).receive(report, encode(report), 0)


def test_a_gap_in_a_stream_that_leaves_nothing_out_is_an_internal_error() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    line.settle()
    write(a, b"one")
    write(a, b"two")
    message, data = last(a)
    with pytest.raises(InternalError):
        line.end_of(b).receive(message, data, 0)
    assert b.keyspace.get(b"k") is None


def test_a_batch_that_cannot_be_read_is_a_fault_of_the_peer_and_changes_nothing() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    line.settle()
    state = b.state
    batch = Batch(1, a.seen[1] + 1, 1, 1, 99, [], [], b"\x91\x93\x63\x01\x02")
    with pytest.raises(PeerError):
        line.end_of(b).receive(batch, encode(batch), 0)
    assert b.state == state


def test_control_messages_can_come_at_any_time() -> None:
    a, b, _ = trio()
    line = Line(a, b)
    stream = line.end_of(b)
    for message in (Resumed(), Direct([5]), CaughtUp(), CaughtUp(), Resume([], []), Resume([(99, 5)], [99])):
        assert stream.receive(message, encode(message), 0) == GO_ON
    assert stream.is_caught_up and stream.peer_direct == {99}
    line.settle()
    assert Join(1, "n", "a").replica == 1
