"""A splice of a list in a group of one is the removal and the insertion that it stands for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import Scalar, SequenceInsert, SequenceRemove
from marmoset.crdts.sequence import Sequence, export_state
from marmoset.replication.plain_writes import push_plainly, splice_plainly
from marmoset.replication.replica import Replica
from tests.replication.group import first_of_all, join, meet, rest
from tests.replication.test_plain_writes import IN_THE_WAY, put_in_the_way

SPLICES = st.tuples(
    st.integers(0, 3000), st.sampled_from([0, 0, 1, 1, 2, 30]), st.sampled_from([0, 1, 1, 2, 30, 300]), st.booleans()
)
PUSHES = st.sampled_from([1, 5, 80])


def listed(replica: Replica) -> Sequence:
    value = replica.keyspace.get(b"l")
    assert isinstance(value, Sequence)
    return value


def begun(count: int = 3) -> Replica:
    replica = first_of_all()
    replica.submit(SequenceInsert(b"l", None, None, [b"%d" % at for at in range(count)]))
    return replica


def splice_by_operations(replica: Replica, start: int, stop: int, values: list[Scalar]) -> None:
    if start < stop:
        replica.submit(SequenceRemove(b"l", listed(replica).ranges(start, stop)))
    if values:
        left, right = listed(replica).neighbours(start) if b"l" in replica.keyspace else (None, None)
        replica.submit(SequenceInsert(b"l", left, right, values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(SPLICES, SPLICES, PUSHES), max_size=40))
def test_a_splice_is_a_removal_and_an_insertion(steps: list[int | tuple[int, int, int, bool]]) -> None:
    one, other = begun(), begun()
    for at, step in enumerate(steps):
        if isinstance(step, int):  # pushed in front one by one, ids fall
            for value in range(step):
                for replica in (one, other):
                    push_plainly(replica, b"l", [b"p%d" % value], is_front=True)
            continue
        number, gone, count, commits = step
        start = number % (len(listed(one)) + 1)
        stop = min(start + gone, len(listed(one)))
        values: list[Scalar] = [b"%d %d" % (at, each) for each in range(count)]
        splice_by_operations(other, start, stop, values)
        if stop - start < len(listed(one)):
            assert splice_plainly(one, b"l", start, stop, values)
        else:
            splice_by_operations(one, start, stop, values)
        if commits:
            one.commit()
            other.commit()
        if b"l" not in one.keyspace:
            assert b"l" not in other.keyspace
            return
    one.commit()
    other.commit()
    assert export_state(listed(one), None) == export_state(listed(other), None)
    assert one.next_seq == other.next_seq and one.seen == other.seen
    one._check()
    newcomer = join(one, 2)
    newcomer.submit(SequenceInsert(b"l", *listed(newcomer).neighbours(1), [b"new"]))
    newcomer.commit()
    meet(one, newcomer)
    assert list(listed(one)) == list(listed(newcomer)) == [listed(other)[0], b"new", *list(listed(other))[1:]]


@pytest.mark.parametrize("what", [*IN_THE_WAY, "a member", "somebody listens", "all goes"])
def test_where_more_has_to_be_looked_at_nothing_is_done(what: str) -> None:
    replica = begun()
    key = put_in_the_way(replica, what)
    if what == "a member":
        replica.commit()
        other = join(replica, 2)
        rest(replica, other)
        replica.advance()
        assert replica.keyspace.chained  # a write is done plainly here, but it has to be told
    elif what == "somebody listens":
        replica.listener = lambda operation, dot, stamp: None
    before = replica.next_seq
    stop = 3 if what == "all goes" else 2  # a list without elements is a key that is gone
    assert not splice_plainly(replica, key, 0, stop, [])
    assert replica.next_seq == before and b"another" not in replica.keyspace
