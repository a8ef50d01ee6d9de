"""Operations that have observed all that is unstable have no windows; those that are made later are the same ones."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.messages import Batch
from marmoset.codec.operations import (
    KIND_REGISTER,
    AnyOperation,
    Assign,
    Expire,
    Flush,
    Increment,
    Inside,
    Join,
    MapAssign,
    MapIncrement,
    Reset,
    ScoreAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.chains import NO_INSERTIONS
from marmoset.crdts.map import MapWindow
from marmoset.crdts.nested import NestedMap, NestedWindow
from marmoset.crdts.register import RegisterWindow
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_runs import DEAD
from marmoset.crdts.slots import Slots
from marmoset.crdts.types import Value, Window
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import Dot
from marmoset.replication.chain import FORGET_MAX
from marmoset.replication.exchange import GO_ON
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource
from marmoset.replication.verdicts import APPLIED, NOT_NOTED
from marmoset.sim.specification import plain
from tests.replication.group import (
    Line,
    catch_up,
    fill,
    first_of_all,
    join,
    meet,
    messages,
    new_replica,
    rest,
    trio,
    write,
)
from tests.replication.laboratory import Laboratory, history
from tests.replication.test_histories import SEARCH

PLAIN: list[AnyOperation] = [
    Assign(b"k", b"1"),
    Expire(b"k", 1 << 43),
    Increment(b"k", 2),
    Expire(b"k", 1 << 44),
    SetAdd(b"s", [b"x", b"y"]),
    SetRemove(b"s", [b"x"]),
    MapAssign(b"m", [b"f", b"1"]),
    MapIncrement(b"m", b"g", "0.5"),
    ScoreAssign(b"z", [b"member", 2]),
    Reset(b"m"),
    Assign(b"z", b"another kind"),
    SequenceInsert(b"l", None, None, [b"x", b"y"]),
]


def unstable(slots: Slots) -> list[object]:
    """Everything that some slots hold, but for the text of numbers that something was added to, which never shows."""
    return [
        (name, kind, plain(value), [] if window is None else entries_of(window, value))
        for name, kind, value, window in slots.holdings()
        if value is not None
    ]


def entries_of(window: Window, value: Value | None = None) -> object:
    if isinstance(window, RegisterWindow):
        return dict(window.assignments), dict(window.increments), window.value()  # whatever the halves stand on
    if isinstance(window, SetWindow):
        return {element: set(dots) for element, dots in window.adds.items()}
    if isinstance(window, MapWindow):
        return {field: entries_of(inner) for field, inner in window.fields.items()}
    if isinstance(window, NestedWindow):
        return unstable(window.slots)
    assert isinstance(value, Sequence)
    removals = {dot: removed(value, ranges) for dot, ranges in window.removals.items()}
    return dict(window.insertions), removals, dict(window.assignments)


def removed(sequence: Sequence, ranges: list[tuple[int, int, int]]) -> set[Dot]:
    """The ids of some ranges, but for those of elements of which another removal is stable already."""
    dots = [(replica, seq + i) for replica, seq, count in ranges for i in range(count)]
    runs = [sequence.find_run(*dot) for dot in dots]
    return {dot for dot, run in zip(dots, runs, strict=True) if run is not None and run.state != DEAD}


def tracked(replica: Replica) -> list[object]:
    """What a replica holds, all windows made."""
    replica.commit()
    replica.chain.end()
    for shard in range(SHARDS):
        replica.keyspace.wind_all(shard)
    deadlines = replica.keyspace.deadlines
    ends = [dict(by_key) for tables in (deadlines.shown, deadlines.windows) for by_key in tables if by_key]
    return [*(held for slots in replica.keyspace.shards if (held := unstable(slots))), *ends]


def unwound(replica: Replica) -> list[bytes]:
    """The keys whose windows were put off."""
    return sorted(key for slots in replica.keyspace.shards for key in slots.unwound)


def played(seed: int, kinds: tuple[str, ...], churn: float, *, deadlines: bool, chain_max: int) -> list[object]:
    """What everybody holds at some moments of one history."""
    moments = Random(seed)
    held: list[object] = []

    def look(lab: Laboratory) -> None:
        for subject in lab.serving():
            if moments.random() < 0.05:
                held.append((subject.me, tracked(subject.replica)))

    def prepare(lab: Laboratory) -> None:
        lab.chain_max, lab.fold_budgets, lab.snapshot_turns = chain_max, (100_000,), 4
        lab.subjects[0].replica.chain.length_max = chain_max

    history(Random(seed), 60, churn, kinds, deadlines, prepare, look)
    return held


@pytest.mark.parametrize("kinds", [("set", "map"), ("map", "nested"), ("list",), ("register", "zset", "list")])
@settings(SEARCH, max_examples=10)
@given(seed=st.integers(0, 1 << 32), deadlines=st.booleans(), churn=st.sampled_from([0, 0.06]))
def test_windows_that_are_made_later_are_those_of_tracking(
    kinds: tuple[str, ...], seed: int, deadlines: bool, churn: float
) -> None:
    chained = played(seed, kinds, churn, deadlines=deadlines, chain_max=1000)
    assert chained == played(seed, kinds, churn, deadlines=deadlines, chain_max=0)


def chained_trio() -> tuple[Replica, Replica, Replica]:
    members = trio()
    rest(*members)
    assert all(replica.keyspace.chained for replica in members)
    return members


def test_what_has_observed_everything_leaves_nothing_to_fold_here_and_elsewhere() -> None:
    a, b, _c = chained_trio()
    for operation in PLAIN:
        a.submit(operation)
        a.commit()
    catch_up(a, b)
    write(b, b"2")
    catch_up(b, a)
    for replica in (a, b):
        assert replica.keyspace.chained and not replica.keyspace.window_entries
        assert all(entry.is_plain for entry in replica.log.entries.values())


def test_the_first_that_has_not_observed_all_of_the_log_ends_it_and_meets_the_windows() -> None:
    a, b, c = chained_trio()
    a.submit(Assign(b"n", b"10"))
    a.submit(SetAdd(b"s", [b"x"]))
    a.submit(Increment(b"other", 1))
    a.commit()
    a.submit(Increment(b"n", 5))
    a.commit()
    b.submit(Assign(b"n", b"100"))
    b.submit(SetRemove(b"s", [b"x"]))
    b.commit()
    catch_up(b, a)
    assert not a.keyspace.chained
    assert a.keyspace.window(b"n") is not None and a.keyspace.window(b"other") is None, "made where it is needed"
    catch_up(a, b)
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.keyspace.get(b"s") == {b"x"} and replica.keyspace.get(b"n") == 105
        assert replica.is_at_rest and not unwound(replica)
        assert replica.keyspace.chained, "it goes on once that is stable"


def test_a_chain_that_ends_in_the_middle_of_a_batch_leaves_windows_of_what_the_batch_has_done() -> None:
    a, b, c = chained_trio()
    write(a, b"text")
    rest(a, b, c)
    for key in (b"first", b"k", b"last"):  # a set where a text stands, between others: written as one run
        a.submit(SetAdd(key, [b"x"]))
    a.commit()
    c.submit(SetAdd(b"first", [b"y"]))
    c.submit(Reset(b"first"))
    c.submit(Reset(b"last"))
    c.commit()
    catch_up(a, b)
    assert not a.keyspace.chained and not b.keyspace.chained
    for replica in (a, b):
        catch_up(c, replica)
        assert replica.keyspace.get(b"first") == replica.keyspace.get(b"last") == {b"x"}
        assert replica.keyspace.conflicts(b"k") == [(KIND_REGISTER, b"text")]
    rest(a, b, c)
    assert c.keyspace.get(b"first") == c.keyspace.get(b"last") == {b"x"}
    assert c.keyspace.conflicts(b"k") == a.keyspace.conflicts(b"k") == [(KIND_REGISTER, b"text")]


def test_an_increment_keeps_what_it_was_added_to_until_somebody_assigns_without_having_seen_it() -> None:
    a, b, c = chained_trio()
    write(a, b"010", b"n")
    rest(a, b, c)
    a.submit(Increment(b"n", "0.5"))
    a.commit()
    b.submit(Increment(b"n", 2))
    b.commit()
    meet(a, b)
    assert a.keyspace.get(b"n") == b.keyspace.get(b"n") == b"12.5"
    rest(a, b, c)
    a.submit(Increment(b"n", 1))
    a.commit()
    b.submit(Assign(b"n", b"7"))
    b.commit()
    meet(a, b)
    assert a.keyspace.get(b"n") == b.keyspace.get(b"n") == 8


def test_a_fold_passes_by_what_was_to_get_a_window_and_has_none_yet() -> None:
    a, b, c = chained_trio()
    write(a, b"1")
    write(a, b"2")
    write(b, b"z", b"elsewhere")
    catch_up(b, a)
    assert not a.keyspace.chained and unwound(a) == [b"k"]
    rest(a, b, c)
    assert not unwound(a) and a.keyspace.get(b"k") == b"2"


def test_a_flush_has_observed_what_was_to_get_windows() -> None:
    a, b, _c = chained_trio()
    write(a, b"1")
    a.submit(Flush())
    a.commit()
    write(b, b"2", b"elsewhere")
    catch_up(b, a)
    assert a.keyspace.get(b"k") is None and not unwound(a)
    write(a, b"1")
    b.submit(Flush())
    b.commit()
    catch_up(b, a)
    assert a.keyspace.get(b"k") == b"1", "a flush that has not observed it leaves it"


def test_an_insertion_behind_a_flush_is_not_taken_for_stable() -> None:
    a, b, c = chained_trio()
    a.submit(Flush())
    a.commit()
    a.submit(SequenceInsert(b"l", None, None, [b"x"]))
    a.commit()
    b.submit(Reset(b"l"))
    b.commit()
    catch_up(b, a)
    assert not a.keyspace.chained and plain(a.keyspace.get(b"l")) == [b"x"], "the reset has not observed it"
    catch_up(a, b)
    rest(a, b, c)
    assert plain(b.keyspace.get(b"l")) == plain(c.keyspace.get(b"l")) == [b"x"]


def test_what_remembers_removals_has_windows_all_the_same() -> None:
    a, b, c = chained_trio()
    for turn in range(3):
        a.submit(SequenceInsert(b"l", None, None, [b"x"]))
        a.commit()
        assert (a.keyspace.window(b"l") is None) == (not turn), "until something comes behind the first reset"
        a.submit(Expire(b"l", 1 << 44))
        a.submit(Reset(b"l"))
        a.commit()
        assert a.keyspace.window_entries or not turn
        assert not turn or all(
            not entry.is_plain or entry.index < a.chain.plain_from for entry in a.log.entries.values()
        )
    assert a.keyspace.chained, "and all of that has to be folded"
    assert not a.keyspace.is_at_rest
    rest(a, b, c)
    assert a.is_at_rest


@pytest.mark.parametrize(
    "clash", [SetAdd(b"k", [b"x"]), SequenceInsert(b"k", None, None, [b"x"]), Inside(b"m", [b"f"], SetAdd(b"", [b"x"]))]
)
def test_another_kind_that_leaves_what_is_shown_ends_it_before_it_is_done(clash: AnyOperation) -> None:
    """No client of ours does that."""
    a, b, c = chained_trio()
    write(a, b"1")
    a.submit(MapAssign(b"m", [b"f", b"1"]))
    a.submit(clash)
    assert not a.keyspace.chained
    a.commit()
    assert not any(entry.is_plain or entry.is_chained for entry in a.log.entries.values())
    b.submit(Reset(b"k"))
    b.submit(Reset(b"m"))
    b.commit()
    catch_up(b, a)
    a._check()
    assert a.keyspace.get(b"k") is not None and a.keyspace.get(b"m") is not None, "the reset has observed none of it"
    catch_up(a, b)
    rest(a, b, c)
    for key in (b"k", b"m"):
        assert unstable(a.keyspace.shards[shard_of(key)]) == unstable(b.keyspace.shards[shard_of(key)])
    assert isinstance(a.keyspace.get(b"m"), NestedMap) == isinstance(clash, Inside)


def test_it_is_not_longer_than_it_may_be() -> None:
    a, b, c = chained_trio()
    a.chain.length_max = 4
    for number in range(5):
        assert a.keyspace.chained
        write(a, b"%d" % number, b"k%d" % number)
    a.chain.step_operations = 2
    assert a.chain.is_ending and a.chain.step() and a.keyspace.chained, "in steps"
    write(a, b"still", b"chained")
    while a.chain.step():
        pass
    assert not a.keyspace.chained and b"chained" in unwound(a)
    write(a, b"x")
    assert a.keyspace.window(b"k") is not None
    rest(a, b, c)
    assert a.keyspace.chained


def test_a_batch_waits_until_all_of_the_log_is_noted() -> None:
    a, b, c = chained_trio()
    a.chain.step_operations = 1
    for number in range(5):
        write(a, b"%d" % number, b"k%d" % number)
    write(b, b"2", b"k1")
    line = Line(a, b)
    line.pump(b)
    line.deliver(b)
    assert a.chain.is_ending and a.keyspace.get(b"k1") == b"1" and line.end_of(a).statistics()["held_messages"]
    write(a, b"meanwhile", b"k2")
    for _ in range(20):
        a.chain.step()
        a.commit()
        assert line.end_of(a).drain(0) == GO_ON
    assert a.keyspace.get(b"k1") == b"2" and not line.end_of(a).statistics()["held_messages"]
    line.settle()
    rest(a, b, c)
    assert a.keyspace.get(b"k2") == c.keyspace.get(b"k2") == b"meanwhile"


def test_a_snapshot_has_every_window_and_nobody_chains_while_somebody_joins() -> None:
    a, b, c = chained_trio()
    for operation in PLAIN:
        a.submit(operation)
    a.commit()
    newcomer = new_replica(9, a.wall_ms)
    a.submit_roster([Join(9, "r9", "127.0.0.1:9")])
    source = SnapshotSource(a, 9)
    meet(a, b)
    fill(source, sink := SnapshotSink(newcomer))
    assert sink.is_complete and newcomer.keyspace.window(b"k") is not None
    for replica in (a, newcomer):
        replica.advance()
        assert not replica.keyspace.chained
    b.submit(Reset(b"s"))
    b.commit()
    write(c, b"9")
    for other in (a, newcomer):
        catch_up(c, other)
    assert newcomer.keyspace.get(b"k") == a.keyspace.get(b"k")


def advance(*replicas: Replica) -> None:
    for replica in replicas:
        while replica.advance():
            replica.fold_slice(1000)


def noted(replica: Replica) -> tuple[int, int]:
    """Sequences of which insertions are noted, and operations that are."""
    shards = replica.keyspace.shards
    return sum(len(slots.insertions) for slots in shards), sum(len(slots.unwound) for slots in shards)


@pytest.mark.parametrize("lists", [3, FORGET_MAX + 1])
def test_insertions_are_forgotten_once_all_is_stable_however_many_lists_have_some(lists: int) -> None:
    a, b, c = chained_trio()
    for round_ in range(2):
        for number in range(lists):
            value = a.keyspace.get(b"l%d" % number)
            right = value.id_at(0) if isinstance(value, Sequence) else None
            a.submit(SequenceInsert(b"l%d" % number, None, right, [b"%d" % round_]))
        a.submit(Reset(b"l0"))
        a.submit(SequenceInsert(b"l0", None, None, [b"again"]))
        a.commit()
        for replica in (a, b):
            catch_up(a, replica)
            assert noted(replica)[0] == lists - 1 and replica.keyspace.notes.has_insertions
        rest(a, b, c)
        for replica in (a, b, c):
            assert not replica.keyspace.notes.has_insertions
            assert all(slots.insertions is NO_INSERTIONS for slots in replica.keyspace.shards)
            assert replica.is_at_rest and replica.keyspace.chained and replica.keyspace.get(b"l0") is not None
            replica._check()


def test_insertions_that_are_stable_are_forgotten_though_the_log_is_never_empty() -> None:
    a, b, c = chained_trio()
    for turn in range(6):
        for number in range(50):
            key = b"l%d" % (number if turn < 3 else 0)
            value = a.keyspace.get(key)
            left = value.neighbours(len(value))[0] if isinstance(value, Sequence) else None
            a.submit(SequenceInsert(key, left, None, [b"x"]))
        a.commit()
        meet(a, b)
        meet(a, c)
        meet(a, b)
        write(a, b"%d" % turn, b"busy")  # before anybody looks
        advance(a, b, c)
        assert a.log.operations and all(replica.keyspace.chained for replica in (a, b, c))
    assert noted(a)[0] <= 1, "of those that are not written to any more nothing is kept"
    rest(a, b, c)
    assert noted(a) == noted(b) == (0, 0)


def test_what_was_noted_when_a_chain_ended_is_forgotten_though_others_go_on_at_the_same_time() -> None:
    a, b, c = chained_trio()
    for number in range(200):
        write(a, b"v", b"k%d" % number)
    write(b, b"1", b"z")
    catch_up(b, a)
    catch_up(a, b)
    assert not a.keyspace.chained and noted(a)[1] == 200
    for turn in range(4):
        write(b, b"%d" % turn, b"z")
        write(a, b"%d" % turn, b"y")
        meet(a, b)
        meet(a, c)
        meet(a, b)
        write(b, b"%d" % turn, b"z2")
        write(a, b"%d" % turn, b"y2")
        catch_up(a, b)
        catch_up(b, a)
        advance(a, b, c)
        assert not a.keyspace.chained and a.log.operations, "there always is something concurrent"
    assert noted(a)[1] < 5


def test_a_chain_that_has_to_end_does_though_more_and_more_comes() -> None:
    a, b, _c = chained_trio()
    for number in range(200):
        write(a, b"v", b"k%d" % number)
    write(b, b"1", b"z")
    a.chain.step_operations = 1
    ((batch, data),) = messages(next(iter(b.log.entries.values())).framed)
    assert isinstance(batch, Batch)
    assert a.apply(batch, data) == NOT_NOTED
    for number in range(210):
        write(a, b"v", b"k%d" % number)
    assert not a.keyspace.chained and not a.chain.is_ending and a.chain.has_ended
    assert a.apply(batch, data) == APPLIED
    assert noted(a)[1] > 150


@pytest.mark.parametrize("others_first", [False, True])
def test_what_is_looked_through_while_a_batch_is_open_is_folded_rightly(others_first: bool) -> None:
    a, b, c = chained_trio()
    a.submit(SequenceInsert(b"l", None, None, [b"x", b"y"]))
    a.commit()
    catch_up(a, b)
    catch_up(a, c)
    if others_first:
        a.submit(SetAdd(b"s", [b"x"]))
        a.chain.end()  # with a batch that is open
    value = a.keyspace.get(b"l")
    assert isinstance(value, Sequence)
    a.submit(SequenceRemove(b"l", value.ranges(0, 1)))
    for member in (b, c):
        report, _ = member.report(a.me, 0)
        a.count_report(report)
    advance(a)
    a.commit()
    b.submit(Reset(b"s"))
    b.commit()
    rest(a, b, c)
    assert all(replica.is_at_rest and list(replica.keyspace.get(b"l")) == [b"y"] for replica in (a, b, c))  # type: ignore[arg-type]
    assert all(replica.keyspace.get(b"s") == ({b"x"} if others_first else None) for replica in (a, b, c))


def test_numbers_beyond_64_bits_are_shown_as_they_were_once_a_chain_ends() -> None:
    a, b, c = chained_trio()
    a.submit(Assign(b"n", 1 << 70))
    a.commit()
    write(b, b"1", b"z")
    catch_up(b, a)
    a.keyspace.shards[shard_of(b"n")].wind(b"n")
    a._check()
    b.submit(Increment(b"n", 1))
    b.commit()
    catch_up(b, a)
    a._check()
    rest(a, b, c)
    assert {replica.keyspace.get(b"n") for replica in (a, b, c)} == {(1 << 70) + 1}


def test_who_lets_somebody_in_makes_no_windows_of_what_is_stable_meanwhile() -> None:
    """Batches on the roster are logged by themselves: that another replica's seqs are higher does not matter."""
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    for number in range(30):
        write(b, b"%d" % number)
    rest(a, b)
    write(b, b"new", b"register")
    b.submit(SequenceInsert(b"list", None, None, [b"x"]))
    b.commit()
    catch_up(b, a)
    c = new_replica(3, a.wall_ms)
    a.submit_roster([Join(3, "r3", "127.0.0.1:3")])
    source, sink = SnapshotSource(a, 3), SnapshotSink(c)
    a.chain.step()
    report, _ = b.report(a.me, 0)
    a.count_report(report)
    advance(a)
    fill(source, sink)
    assert not a.keyspace.window_entries and not c.keyspace.window_entries


@pytest.mark.parametrize("has_observed", [True, False])
def test_a_flush_makes_no_windows_of_what_it_has_observed_and_leaves_the_rest(has_observed: bool) -> None:
    a, b, c = chained_trio()
    for number in range(20):
        write(a, b"1", b"k%d" % number)
    a.submit(SequenceInsert(b"l", None, None, [b"x"]))
    a.commit()
    write(b, b"2", b"k0")
    catch_up(b, a)
    if has_observed:
        catch_up(a, b)
    assert unwound(a)
    b.submit(Flush())
    b.commit()
    c.submit(Increment(b"k1", 5))
    c.submit(SetAdd(b"k2", [b"x"]))
    c.commit()
    catch_up(b, a)
    assert not unwound(a)
    if has_observed:
        assert len(a.keyspace) == 0 and a.keyspace.window_entries == 1, "that of the list, which is laid aside"
    else:
        assert len(a.keyspace) == 21 and a.keyspace.get(b"k0") == b"1"
    catch_up(c, a)
    rest(a, b, c)
    for replica in (a, b, c):
        assert replica.keyspace.get(b"k1") == (5 if has_observed else 6)
        assert len(replica.keyspace) == (2 if has_observed else 21) and replica.is_at_rest


def test_a_sum_of_many_digits_is_the_same_whether_its_window_was_made_later_or_not() -> None:
    a, b, c = chained_trio()
    write(a, b"1")
    rest(a, b, c)
    a.submit(Increment(b"k", "0." + "123456789" * 4))
    a.commit()
    b.submit(Increment(b"k", 1))
    b.commit()
    meet(a, b)
    assert a.keyspace.get(b"k") == b.keyspace.get(b"k") == b"2." + b"123456789" * 4
    rest(a, b, c)


@pytest.mark.parametrize("of_several", [False, True])
def test_it_is_noted_when_no_key_has_more_than_a_plain_value_any_more(of_several: bool) -> None:
    a, b, c = trio()
    rest(a, b, c)
    write(a, b"1")
    if of_several:
        write(b, b"2")
    else:
        b.submit(SetAdd(b"k", [b"x"]))  # stands beside, for good
        b.commit()
    for each in (a, b, c):
        assert not each.keyspace.notes.has_more
    meet(a, b)
    assert a.keyspace.notes.has_more and b.keyspace.notes.has_more
    rest(a, b, c)
    for each in (a, b, c):
        assert each.keyspace.notes.has_more != of_several
    write(a, b"3", b"another")
    rest(a, b, c)
    assert a.keyspace.notes.has_more != of_several
