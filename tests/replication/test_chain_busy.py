"""Keys that were changed often in a chain: their windows are made in steps when it ends, before anything comes."""

import pytest

from marmoset.codec.messages import Batch
from marmoset.codec.operations import SetAdd
from marmoset.replication.replica import Replica
from marmoset.replication.verdicts import APPLIED, NOT_NOTED
from tests.replication.group import messages, rest
from tests.replication.test_chain import chained_trio, unwound


def add_often(replica: Replica) -> None:
    """Change two keys three times each, and three keys once, which takes three batches of three operations."""
    replica.keyspace.notes.busy_operations = replica.chain.step_operations = 3
    for number in range(3):
        for key in (b"s", b"t", b"u%d" % number):
            replica.submit(SetAdd(key, [b"%d" % number]))
        replica.commit()


def test_windows_of_busy_keys_are_made_in_steps_and_waited_for() -> None:
    a, b, c = chained_trio()
    add_often(a)
    b.submit(SetAdd(b"t", [b"theirs"]))
    b.commit()
    framed = next(iter(b.log.entries.values())).framed
    ((batch, _),) = messages(framed)
    assert isinstance(batch, Batch)
    while a.keyspace.chained:
        assert a.apply(batch, framed) == NOT_NOTED
        a._check()
    assert unwound(a) == [b"s", b"t", b"u0", b"u1", b"u2"] and a.chain.is_ending and not a.chain.has_ended
    assert a.apply(batch, framed) == NOT_NOTED and len(unwound(a)) == 4, "one in each step"
    a._check()
    assert a.apply(batch, framed) == APPLIED
    assert a.chain.has_ended and unwound(a) == [b"u0", b"u1", b"u2"], "the others are left to whatever touches them"
    a._check()
    rest(a, b, c)
    assert a.is_at_rest and a.keyspace.chained
    assert a.keyspace.get(b"t") == {b"0", b"1", b"2", b"theirs"} == c.keyspace.get(b"t")


@pytest.mark.parametrize("end", ["at once", "stable"])
def test_nobody_waits_for_windows_of_busy_keys_that_are_not_to_be_made(end: str) -> None:
    a, b, c = chained_trio()
    a.chain.length_max = 8
    add_often(a)
    while a.keyspace.chained:
        assert a.chain.step()
    assert a.keyspace.notes.busy
    if end == "at once":
        a.chain.end()
        assert len(unwound(a)) == 5, "they are put off like all others"
    else:
        rest(a, b, c)
        assert not unwound(a) and a.is_at_rest
    a._check()
    assert not a.chain.is_ending and not a.keyspace.notes.busy
    rest(a, b, c)
    assert a.is_at_rest and a.keyspace.chained


def test_a_chain_does_not_go_on_before_it_has_ended() -> None:
    a, b, c = chained_trio()
    add_often(a)
    a.chain.begin_end()
    while a.keyspace.chained:
        assert a.chain.step()
    a.submit(SetAdd(b"s", [b"later"]))
    a.commit()
    assert a.keyspace.window(b"s") is not None, "it has a window, as that of the others would have been"
    while a.chain.step():
        a.chain.tidy(lets_in=False)
        assert not a.keyspace.chained
        a._check()
    rest(a, b, c)
    assert a.is_at_rest and c.keyspace.get(b"s") == {b"0", b"1", b"2", b"later"}
