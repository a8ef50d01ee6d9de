"""What is stable leaves the log in slices, in the order in which it was applied."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.operations import AnyOperation, Flush, Reset, SequenceInsert, SetAdd
from marmoset.ids import Dot
from marmoset.replication.folding import Folding
from marmoset.replication.oplog import LogEntry, OpLog
from marmoset.replication.replica import Replica
from tests.replication.group import first_of_all, join, meet, rest, write

origins = st.integers(1, 4)


def a_log(batches: list[tuple[int, int]]) -> tuple[OpLog, list[LogEntry]]:
    """A log of batches, given as origin and width, and what is in it."""
    log, last = OpLog(), dict.fromkeys(range(1, 5), 0)
    for origin, width in batches:
        first = last[origin] + 1
        last[origin] += width
        log.append(LogEntry(origin, first, last[origin], 0, [Reset(b"k")] * width, b"x"))
    return log, list(log.entries.values())


@given(
    st.lists(st.tuples(origins, st.integers(1, 3)), max_size=40),
    st.dictionaries(origins, st.integers(0, 60)),
    st.integers(0, 50),
    st.integers(0, 8),
)
def test_slices_are_what_is_stable_in_apply_order_and_no_longer_than_was_asked_for(
    batches: list[tuple[int, int]], frontier: dict[int, int], plain_from: int, budget: int
) -> None:
    log, entries = a_log(batches)
    stable = [each for each in entries if each.last <= frontier.get(each.origin, 0)]
    for each in entries:
        each.is_plain = True
    taken: list[LogEntry] = []
    while len(taken) < len(stable):
        folding = Folding()
        folding.take(log, frontier, plain_from, budget)
        assert 1 <= len(folding) <= max(1, budget)
        taken += folding
        assert folding.is_cut == (len(taken) < len(stable))
        log._check()
    assert taken == stable, "in another order, or not all"
    assert [each.is_plain for each in taken] == [each.index >= plain_from for each in taken]
    folding = Folding()
    folding.take(log, frontier, plain_from, budget)
    assert not folding and not folding.is_cut
    assert list(log.entries.values()) == [each for each in entries if each not in stable]


@given(
    st.lists(st.tuples(origins, st.integers(1, 9), st.booleans()), max_size=12),
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=12),
)
def test_a_slice_ends_anywhere_and_the_next_one_goes_on_there(
    batches: list[tuple[int, int, bool]], slices: list[tuple[int, bool]]
) -> None:
    log, entries = a_log([(origin, width) for origin, width, _ in batches])
    folding, keyspace = Folding(), first_of_all().keyspace
    folding.take(log, dict.fromkeys(range(1, 5), 1000), 0, 1000)
    for entry, (_, _, is_plain) in zip(entries, batches, strict=True):
        entry.is_plain = is_plain
    told: list[Dot] = []
    folded = 0

    def hear(_: AnyOperation, dot: Dot) -> None:
        told.append(dot)

    for budget, is_told in itertools.cycle(slices):
        if not folding:
            break
        before, left = len(told), list(folding)
        folded += folding.fold(keyspace, budget, hear if is_told else None)
        assert list(folding) == left[len(left) - len(folding) :]
        assert len(told) - before <= budget
    assert folded == len(batches)
    dots = [(each.origin, seq) for each in entries for seq in range(each.first, each.last + 1)]
    assert [dot for dot in dots if dot in told] == told, "in another order, or twice"
    if all(is_told for _, is_told in slices):
        assert told == dots


def unstable(replica: Replica) -> int:
    return sum(slots.entries for slots in replica.keyspace.shards)


def test_a_batch_of_which_some_is_folded_stands_there_until_all_is() -> None:
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    b.submit(SetAdd(b"k", [b"beside"]))  # so that they need windows
    for i in range(6):
        a.submit(SetAdd(b"k", [b"%d" % i]))
    meet(a, b)
    meet(a, b)
    assert a.advance() and len(a.folding) == 2
    left = [list(a.unfolded())]
    entries = [unstable(a)]
    while a.fold_slice(1):
        left.append(list(a.unfolded()))
        entries.append(unstable(a))
        a._check()
    assert len(entries) == 7 and entries == sorted(set(entries), reverse=True), "not one operation in each slice"
    assert all(each in (left[0], left[0][1:]) for each in left)
    assert a.keyspace.is_at_rest


def test_a_slice_ends_within_a_flushall() -> None:
    a = first_of_all()
    b = join(a, 2)
    keys = [b"%d" % i for i in range(6)]
    for key in keys[:3]:
        a.submit(SequenceInsert(key, None, None, [b"stable"]))
    a.commit()
    rest(a, b)
    for key in keys:
        b.submit(SetAdd(key, [b"beside"]))  # which the FLUSHALL has not observed
    for key in keys[3:]:
        a.submit(SequenceInsert(key, None, None, [b"unstable"]))
    flush = a.submit(Flush())
    meet(a, b)
    meet(a, b)
    assert a.advance(1000)
    left: list[int] = []
    more = True
    while more:
        shown = [a.keyspace.get(key) for key in keys]
        assert shown == [{b"beside"}] * 6
        left.append(len(a.keyspace._flushed.get(flush, ())))
        assert not left[-1] or len(a.folding), "the batch is gone before all of it is folded"
        more = a.fold_slice(1)
        a._check()
    assert set(left) == set(range(7)) and left == sorted(left, reverse=True), (
        "more than a key in a slice, or fewer keys"
    )
    assert a.keyspace.is_at_rest


def test_what_is_left_of_what_is_stable_is_asked_for_until_nothing_is() -> None:
    a = first_of_all()
    b = join(a, 2)
    rest(a, b)
    for i in range(10):
        write(a, b"%d" % i)
    meet(a, b)
    assert a.stability_changed and len(a.log) == 10
    steps = 0
    assert a.advance(3)
    while a.fold_slice(3):
        steps += 1
        assert len(a.log) == 10 - 3 * steps
        assert a.stability_changed and a.advance(3), "more is stable, and nobody would come back to it"
    assert steps == 3 and not a.log.entries and not a.folding
