"""Pushes in a group of one do what the same operations do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import AnyOperation, Assign, Expire, Scalar, SequenceInsert
from marmoset.crdts.sequence import Sequence
from marmoset.ids import Dot
from marmoset.keyspace import Watch
from marmoset.replication.alone import push_alone
from marmoset.replication.replica import Replica
from tests.replication.group import first_of_all, join, meet, rest


def listed(replica: Replica, key: bytes = b"l") -> Sequence:
    value = replica.keyspace.get(key)
    assert isinstance(value, Sequence)
    return value


def push(replica: Replica, values: list[Scalar], is_front: bool) -> bool:
    return push_alone(replica, b"l", listed(replica), values, is_front)


def begun() -> Replica:
    replica = first_of_all()
    replica.submit(SequenceInsert(b"l", None, None, [b"0"]))
    return replica


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=30))
def test_a_push_is_the_insertion_at_that_end(pushes: list[tuple[int, bool, bool]]) -> None:
    one, other = begun(), begun()
    for count, is_front, commits in pushes:
        values: list[Scalar] = [b"%d" % at for at in range(count)]
        assert push(one, values, is_front)
        left, right = listed(other).neighbours(0 if is_front else len(listed(other)))
        other.submit(SequenceInsert(b"l", left, right, values))
        if commits:
            one.commit()
            other.commit()
    one.commit()
    other.commit()
    assert list(listed(one)) == list(listed(other))
    length = len(listed(one))
    assert [listed(one).id_at(at) for at in range(length)] == [listed(other).id_at(at) for at in range(length)]
    assert one.next_seq == other.next_seq and one.seen == other.seen
    one._check()
    newcomer = join(one, 2)
    newcomer.submit(SequenceInsert(b"l", *listed(newcomer).neighbours(0), [b"new"]))
    newcomer.commit()
    meet(one, newcomer)
    assert list(listed(one)) == list(listed(newcomer)) == [b"new", *listed(other)]


def test_who_listens_is_told_of_the_operation() -> None:
    replica, told = begun(), list[tuple[AnyOperation, Dot]]()
    replica.listener = lambda operation, dot, stamp: told.append((operation, dot))
    assert push(replica, [b"a", b"b"], is_front=True) and push(replica, [b"c"], is_front=False)
    assert told == [
        (SequenceInsert(b"l", None, (1, 1), [b"a", b"b"]), (1, 2)),
        (SequenceInsert(b"l", (1, 1), None, [b"c"]), (1, 4)),
    ]


def test_where_others_have_to_be_told_nothing_is_done() -> None:
    replica = begun()
    replica.commit()
    other = join(replica, 2)
    assert not push(replica, [b"a"], is_front=True) and not push(other, [b"a"], is_front=True)
    assert list(listed(replica)) == [b"0"]
    rest(replica, other)


@pytest.mark.parametrize("what", ["deadline", "watch", "other kind", "absent", "grave"])
def test_where_more_has_to_be_looked_at_nothing_is_done(what: str) -> None:
    replica = begun()
    sequence, key = listed(replica), b"l"
    if what == "deadline":
        replica.submit(Expire(b"l", 1 << 45))
    elif what == "watch":
        replica.keyspace.watch(b"l", Watch())
    elif what == "other kind":
        replica.submit(Assign(b"l", b"v"))
    elif what == "absent":
        key = b"another"
    else:
        replica.roster.graves[9] = 1
    before = replica.next_seq
    assert not push_alone(replica, key, sequence, [b"a"], is_front=False)
    assert replica.next_seq == before and replica.keyspace.get(b"another") is None
