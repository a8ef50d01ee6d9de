"""Writes to plain values in a chain do what the same operations do, here, elsewhere and once the chain ends."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Expire,
    Reset,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.sequence import Sequence
from marmoset.hashing import shard_of
from marmoset.ids import Dot
from marmoset.keyspace import Watch
from marmoset.replication.plain_writes import add_plainly, push_plainly
from marmoset.replication.replica import Replica
from tests.replication.group import first_of_all, join, meet, rest
from tests.replication.test_chain import tracked
from tests.replication.test_plain_writes import KEYS, NAMES, WRITES, Step, operation_of, plain, write_plainly

PUSHES = ("push front", "push back")
OTHERS = ("other", "other too", "pop", "meet", "rest", "commit", "reset", "look", "look", "expire", "expire", "later")


def stretch(*kinds: str) -> st.SearchStrategy[list[Step]]:
    step = st.tuples(
        st.sampled_from(kinds), st.sampled_from((*KEYS, b"l")), st.sampled_from(NAMES), st.integers(-2, 1 << 40)
    )
    return st.lists(step, min_size=1, max_size=8)


# Few kinds for a while, else hardly anything goes on with what stands before it.
STRETCHES = st.one_of(
    stretch(*WRITES, *PUSHES),
    *(stretch(what) for what in (*WRITES, *PUSHES, *PUSHES)),
    stretch(*PUSHES, "pop"),
    stretch(*OTHERS),
    stretch(*OTHERS),
)
STEPS = st.lists(STRETCHES, min_size=2, max_size=10).map(
    lambda stretches: [step for each in stretches for step in each]
)


def insert_first(replica: Replica, value: bytes) -> None:
    sequence = replica.keyspace.get(b"l")
    neighbours = sequence.neighbours(0) if isinstance(sequence, Sequence) else (None, None)
    replica.submit(SequenceInsert(b"l", *neighbours, [value]))


def seen(replica: Replica) -> object:
    keyspace, keys = replica.keyspace, (*KEYS, b"l")
    values = [list(each) if isinstance(each, Sequence) else plain(each) for each in map(keyspace.get, keys)]
    return values, [keyspace.deadlines.get(shard_of(key), key) for key in keys]


class Pair:
    """Two members in a chain, of which the first is written to; `plainly` is whether that is tried."""

    def __init__(self, plainly: bool, *, is_heard: bool = False) -> None:
        """`is_heard` is whether somebody listens, so that every operation has to be made."""
        self.plainly = plainly
        self.done = 0
        self.told: list[tuple[AnyOperation, Dot, int]] = []
        self.first = first_of_all()
        for key, what in zip(KEYS[1:], WRITES, strict=True):
            self.first.submit(operation_of(what, key, NAMES[0], 1))
        self.first.submit(SequenceInsert(b"l", None, None, [b"0"]))
        self.first.commit()
        self.second = join(self.first, 2)
        rest(self.first, self.second)
        assert self.first.keyspace.chained and self.second.keyspace.chained
        if is_heard:
            self.first.listener = lambda *heard: self.told.append(heard)

    def step(self, what: str, key: bytes, name: bytes, number: int) -> object:
        if what in WRITES:
            own = key if key == KEYS[0] else what.encode()
            if self.plainly and write_plainly(self.first, what, own, name, number):
                self.done += 1
            else:
                self.first.submit(operation_of(what, own, name, number))
        elif what in PUSHES:
            self.push(b"l", [name, b"then"][: 1 + (number % 8 == 0)], what == "push front")
        elif what == "pop":
            sequence = self.first.keyspace.get(b"l")
            if isinstance(sequence, Sequence):
                self.first.submit(SequenceRemove(b"l", sequence.ranges(0, 1)))
        elif what in ("other", "other too"):
            self.second.submit(operation_of(WRITES[number % len(WRITES)], key, name, number))
            insert_first(self.second, name)
            if what == "other too":
                self.second.commit()
        elif what in ("meet", "rest"):
            (meet if what == "meet" else rest)(self.first, self.second)
        elif what == "commit":
            self.first.commit()
        elif what == "reset":
            self.first.submit(Reset(key))
        elif what == "expire":
            self.first.submit(Expire(key, number % 2 and max(1, number)))
        elif what == "later":
            for each in (self.first, self.second):
                each.keyspace.now_ms = max(each.keyspace.now_ms, number)
        else:
            return tracked(self.first)
        return None

    def push(self, key: bytes, values: list[bytes], is_front: bool) -> None:
        sequence = self.first.keyspace.get(key)
        left = right = None
        if isinstance(sequence, Sequence):
            if self.plainly and (length := push_plainly(self.first, key, list(values), is_front)) != NOT_DONE:
                assert length == len(sequence)
                self.done += 1
                return
            left, right = sequence.neighbours(0 if is_front else len(sequence))
        self.first.submit(SequenceInsert(key, left, right, list(values)))

    def shown(self) -> object:
        first = self.first
        chained = first.keyspace.chained, self.second.keyspace.chained
        return seen(first), seen(self.second), chained, self.told, first.next_seq, first.seen, first.clock.stamp


@settings(max_examples=40, deadline=None)
@given(STEPS, st.booleans())
def test_a_write_is_its_operation(steps: list[Step], is_heard: bool) -> None:
    one, other = Pair(plainly=True, is_heard=is_heard), Pair(plainly=False, is_heard=is_heard)
    for step in steps:
        assert one.step(*step) == other.step(*step)
        assert one.shown() == other.shown()
        assert one.first.open_batch.operations() == other.first.open_batch.operations()
        assert one.first.open_batch.rows == other.first.open_batch.rows
    for pair in (one, other):
        pair.first.commit()
        pair.second.commit()
        meet(pair.first, pair.second)
        assert seen(pair.first) == seen(pair.second)
    assert one.shown() == other.shown()
    for mine, theirs in ((one.first, other.first), (one.second, other.second)):
        mine._check()
        assert tracked(mine) == tracked(theirs)
    rest(one.first, one.second)


def test_who_listens_hears_of_every_push_though_they_go_on_with_one_another() -> None:
    pair = Pair(plainly=True, is_heard=True)
    for number in range(5):
        pair.push(b"l", [b"%d" % number], is_front=True)
    assert pair.done == 5
    assert [dot[1] for _, dot, _ in pair.told] == list(range(pair.first.next_seq - 5, pair.first.next_seq))


def test_most_writes_are_done_plainly_and_leave_nothing_to_fold() -> None:
    pair = Pair(plainly=True)
    for number in range(3):
        for what, key in zip(WRITES, KEYS[1:], strict=True):
            pair.step(what, key, NAMES[number], number)
        pair.step("push front", b"l", NAMES[number], number)
    assert pair.done == 3 * (len(WRITES) + 1)
    pair.first.commit()
    assert all(entry.is_plain for entry in pair.first.log.entries.values())
    meet(pair.first, pair.second)
    assert all(entry.is_plain for entry in pair.second.log.entries.values())
    assert pair.first.keyspace.chained and pair.second.keyspace.chained


@pytest.mark.parametrize("why", ["passed", "watch", "window", "clash", "laid aside", "absent", "no chain"])
def test_where_it_takes_more_nothing_is_done(why: str) -> None:
    pair = Pair(plainly=True)
    replica = pair.first
    key = b"l"
    if why == "passed":
        replica.submit(Expire(b"l", 1))
        replica.keyspace.now_ms = 1
    elif why == "watch":
        replica.keyspace.watch(b"l", Watch())
    elif why == "window":
        pair.step("push back", b"l", b"1", 1)
        pair.step("pop", b"l", b"", 0)
        assert replica.keyspace.chained and replica.keyspace.window(b"l") is not None
    elif why == "clash":
        replica.submit(SetAdd(b"l", [b"another kind"]))
    elif why == "laid aside":
        replica.submit(Reset(b"l"))
    elif why == "absent":
        key = b"add"
    else:
        replica.chain.end()
    before = replica.next_seq
    assert push_plainly(replica, key, [b"a"], is_front=False) == NOT_DONE
    assert why == "absent" or add_plainly(replica, b"l", b"a") < 0
    assert replica.next_seq == before
    insert_first(pair.second, b"0")
    pair.second.commit()
    replica.commit()
    meet(replica, pair.second)
    rest(replica, pair.second)


def test_what_holds_values_of_two_kinds_is_not_written_to_plainly() -> None:
    pair = Pair(plainly=True)
    pair.first.submit(SetAdd(b"both", [b"x"]))
    pair.second.submit(Assign(b"both", b"text"))
    pair.first.commit()
    pair.second.commit()
    rest(pair.first, pair.second)
    assert pair.first.keyspace.chained and pair.first.keyspace.conflicts(b"both")
    assert add_plainly(pair.first, b"both", b"y") == NOT_DONE
    pair.first.submit(SetAdd(b"both", [b"y"]))
    pair.first.commit()
    pair.second.submit(SetRemove(b"both", [b"y"]))  # has not seen it
    pair.second.commit()
    rest(pair.first, pair.second)
    assert pair.first.keyspace.get(b"both") == pair.second.keyspace.get(b"both") == {b"x", b"y"}
