"""Writes to plain values in a group of one do what the same operations do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Expire,
    Increment,
    MapAssign,
    MapRemove,
    Reset,
    Scalar,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.reading import SlotsReading
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.hashing import shard_of
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace, Watch
from marmoset.replication.plain_writes import (
    add_plainly,
    assign_field_plainly,
    assign_plainly,
    assign_score_plainly,
    increment_plainly,
    push_plainly,
)
from marmoset.replication.replica import Replica
from tests.replication.group import Clock, first_of_all, join, meet, rest

SPLIT_ABOVE = 3
NAMES = [b"%d" % number for number in range(8)]
WRITES = ("assign", "increment", "add", "field", "score")
CALM = ("reset", "remove", "commit")
DISTURBING = ("expire", "expire", "later", "watch", "unwatch", "read", "read to the end")
KEYS = (b"mixed", *(what.encode() for what in WRITES))
Step = tuple[str, bytes, bytes, int]


def steps_of(*kinds: str, keys: tuple[bytes, ...]) -> st.SearchStrategy[Step]:
    return st.tuples(st.sampled_from(kinds), st.sampled_from(keys), st.sampled_from(NAMES), st.integers(-2, 1 << 70))


# Mostly writes to a key of one kind: else each key is of many kinds before long. A watch or a reading makes what comes
# after it take operations, so half of the histories have none.
OWN = [steps_of(what, keys=(what.encode(),)) for what in WRITES]
CALM_STEPS = st.one_of(*OWN, *OWN, steps_of(*WRITES, keys=KEYS[:1]), steps_of(*CALM, keys=KEYS))
STEPS = st.one_of(CALM_STEPS, CALM_STEPS, CALM_STEPS, steps_of(*DISTURBING, keys=KEYS))
HISTORIES = st.one_of(st.lists(CALM_STEPS, min_size=30, max_size=90), st.lists(STEPS, max_size=60))


def listed(replica: Replica, key: bytes = b"l") -> Sequence:
    value = replica.keyspace.get(key)
    assert isinstance(value, Sequence)
    return value


def push(replica: Replica, values: list[Scalar], is_front: bool) -> bool:
    return push_plainly(replica, b"l", values, is_front) != NOT_DONE


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


def test_where_windows_are_made_nothing_is_done() -> None:
    replica = begun()
    replica.commit()
    other = join(replica, 2)
    assert not replica.keyspace.chained and not other.keyspace.chained
    assert not push(replica, [b"a"], is_front=True) and not push(other, [b"a"], is_front=True)
    assert list(listed(replica)) == [b"0"]
    rest(replica, other)


def put_in_the_way(replica: Replica, what: str) -> bytes:
    """Have a list need more than its plain value; the key to write to."""
    if what == "deadline has passed":
        replica.submit(Expire(b"l", 1))
        replica.keyspace.now_ms = 1
    elif what == "watch":
        replica.keyspace.watch(b"l", Watch())
    elif what == "other kind":
        replica.submit(Assign(b"l", b"v"))
    elif what == "grave":
        replica.roster.graves[9] = 1
    return b"another" if what == "absent" else b"l"


IN_THE_WAY = ("deadline has passed", "watch", "other kind", "absent", "grave")


@pytest.mark.parametrize("what", IN_THE_WAY)
def test_where_more_has_to_be_looked_at_nothing_is_done(what: str) -> None:
    replica = begun()
    key = put_in_the_way(replica, what)
    before = replica.next_seq
    assert push_plainly(replica, key, [b"a"], is_front=False) == NOT_DONE
    assert replica.next_seq == before and replica.keyspace.get(b"another") is None


class Alone:
    """A group of one, its watches and a reading."""

    def __init__(self) -> None:
        self.replica = Replica(
            keyspace=Keyspace(SPLIT_ABOVE),
            wall_ms=Clock(),
            name="r1",
            address="127.0.0.1:1",
            frame_bytes_max=4096,
            batch_operations_max=100,
        )
        self.replica.begin(1)
        self.replica.begin_group(77)
        self.told: list[tuple[AnyOperation, Dot, int]] = []
        self.replica.listener = lambda *heard: self.told.append(heard)
        self.watches: list[tuple[bytes, Watch]] = []
        self.readings: list[SlotsReading] = []
        self.read: list[object] = []

    def go_on(self, what: str, key: bytes, name: bytes, number: int) -> None:
        """A step that is no write."""
        replica = self.replica
        if what == "reset":
            replica.submit(Reset(key))
        elif what == "expire":
            replica.submit(Expire(key, number % 2 and number))
        elif what == "later":
            replica.keyspace.now_ms = max(replica.keyspace.now_ms, number)
        elif what == "remove":
            value = replica.keyspace.get(key)
            if isinstance(value, (set, SplitSet)):
                replica.submit(SetRemove(key, [name]))
            elif isinstance(value, (dict, SplitMap)):
                replica.submit(MapRemove(key, [name]))
        elif what == "commit":
            replica.commit()
        elif what == "watch":
            self.watches.append((key, Watch()))
            replica.keyspace.watch(*self.watches[-1])
        elif what == "unwatch":
            for watched in self.watches:
                replica.keyspace.unwatch(*watched)
        elif what == "read":
            self.readings.append(SlotsReading(replica.keyspace.shards[shard_of(key)], 1000))
        else:
            while self.readings:
                reading = self.readings.pop()
                while not reading.is_done:
                    self.read.append(sorted(map(repr, reading.take(1000))))
                reading.close()

    def shown(self) -> object:
        """All that can be seen of it."""
        replica, keyspace = self.replica, self.replica.keyspace
        values = [(key, plain(keyspace.get(key)), type(keyspace.get(key)), keyspace.deadline_ms(key)) for key in KEYS]
        touched = [watch.touched for _, watch in self.watches]
        return values, touched, self.told, self.read, replica.next_seq, replica.seen, replica.clock.stamp, replica.state


def plain(value: object) -> object:
    if isinstance(value, SortedSet):
        return value.slice(0, len(value)), dict(value.items()), type(value.scores)
    if isinstance(value, (dict, SplitMap)):
        return dict(value.items())
    return set(value) if isinstance(value, (set, SplitSet)) else value


def operation_of(what: str, key: bytes, name: bytes, number: int) -> AnyOperation:
    """What a step of `WRITES` is in the group at large."""
    if what == "assign":
        return Assign(key, name)
    if what == "increment":
        return Increment(key, number)
    if what == "add":
        return SetAdd(key, [name])
    return MapAssign(key, [name, number]) if what == "field" else ScoreAssign(key, [name, number % 3])


def write_plainly(replica: Replica, what: str, key: bytes, name: bytes, number: int) -> bool:
    """Do a step of `WRITES` without an operation; whether that was done. How many there are more is what is said."""
    before = replica.keyspace.get(key)
    size = 0 if before is None or isinstance(before, (bytes, int)) else len(before)
    if what == "assign":
        return assign_plainly(replica, key, name)
    if what == "increment":
        if before is not None and not isinstance(before, (bytes, int)):
            return False
        return increment_plainly(replica, key, number, number + int(before or 0))
    if what == "add":
        more = add_plainly(replica, key, name)
    elif what == "field":
        more = assign_field_plainly(replica, key, name, number)
    else:
        more = assign_score_plainly(replica, key, name, number % 3)
    value = replica.keyspace.get(key)
    assert more == NOT_DONE or (not isinstance(value, (bytes, int, type(None))) and more == len(value) - size)
    return more != NOT_DONE


@settings(max_examples=80, deadline=None)
@given(HISTORIES)
def test_a_write_is_its_operation(steps: list[Step]) -> None:
    one, other = Alone(), Alone()
    for what, key, name, number in steps:
        if what in WRITES:
            operation = operation_of(what, key, name, number)
            if not write_plainly(one.replica, what, key, name, number):
                one.replica.submit(operation)
            other.replica.submit(operation)
        else:
            one.go_on(what, key, name, number)
            other.go_on(what, key, name, number)
        assert one.shown() == other.shown()
    for alone in (one, other):
        alone.go_on("read to the end", KEYS[0], b"", 0)
        alone.go_on("commit", KEYS[0], b"", 0)
        alone.replica._check()
        alone.replica.keyspace._check()
    assert one.shown() == other.shown()


@pytest.mark.parametrize("what", WRITES)
def test_most_writes_take_no_operation(what: str) -> None:
    alone = Alone()
    alone.replica.submit(operation_of(what, b"a", b"1", 1))
    assert write_plainly(alone.replica, what, b"a", b"2", 2)
    assert write_plainly(alone.replica, what, b"a", b"2", 2)
    assert write_plainly(alone.replica, what, b"b", b"2", 2) == (what != "score")
    for kind in WRITES:  # of another kind, it takes more
        if {what, kind} != {"assign", "increment"}:
            assert write_plainly(alone.replica, kind, b"a", b"3", 3) == (kind == what)


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("why", ["deadline has passed", "watch", "reading", "grave", "dead", "others"])
def test_where_it_takes_more_nothing_is_written(what: str, why: str) -> None:
    alone = Alone()
    replica = alone.replica
    replica.submit(operation_of(what, b"a", b"1", 1))
    replica.commit()
    if why == "deadline has passed":
        alone.go_on("expire", b"a", b"", 1)
        alone.go_on("later", b"", b"", 1)
    elif why == "watch":
        alone.go_on("watch", b"a", b"", 0)
    elif why == "reading":
        alone.go_on("read", b"a", b"", 0)
    elif why == "grave":
        replica.roster.graves[9] = 1
    elif why == "dead":
        replica.roster.dead.add(9)
    else:
        replica.keyspace.tracking = True
    held = replica.keyspace.shards[shard_of(b"a")].values
    seq, value, told = replica.next_seq, plain(held[b"a"]), alone.told.copy()
    assert not write_plainly(replica, what, b"a", b"2", 2)
    assert (seq, value, told) == (replica.next_seq, plain(held[b"a"]), alone.told)


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("goes", ["element by element", "as a whole"])
def test_what_is_made_anew_does_not_inherit_a_deadline(what: str, goes: str) -> None:
    """Elements that are removed, and a deadline that has not observed a removal, leave a deadline of nothing."""
    one, other = Alone(), Alone()
    for alone in (one, other):
        alone.replica.submit(SetAdd(b"a", [b"1"]))
        alone.go_on("expire", b"a", b"", 3)
        if goes == "element by element":
            alone.go_on("remove", b"a", b"1", 0)
        else:
            alone.go_on("reset", b"a", b"", 0)
            alone.go_on("expire", b"a", b"", 5)
        assert alone.replica.keyspace.is_left_over(b"a")
        operation = operation_of(what, b"a", b"2", 2)
        if alone is other or not write_plainly(one.replica, what, b"a", b"2", 2):
            alone.replica.submit(operation)
        assert alone.replica.keyspace.get(b"a") is not None and alone.replica.keyspace.deadline_ms(b"a") is None
    assert one.shown() == other.shown()


@pytest.mark.parametrize("what", WRITES)
def test_deadlines_and_watches_of_other_keys_and_deadlines_to_come_are_in_nobodys_way(what: str) -> None:
    alone = Alone()
    replica = alone.replica
    replica.submit(operation_of(what, b"a", b"1", 1))
    for key, deadline_ms in ((b"a", 3), (b"b", 1)):
        alone.go_on("expire", key, b"", deadline_ms)
    alone.go_on("later", b"", b"", 2)
    alone.go_on("watch", b"b", b"", 0)
    assert write_plainly(replica, what, b"a", b"2", 2)
    assert replica.keyspace.deadline_ms(b"a") == (None if what == "assign" else 3), "only an assignment ends it"
    assert replica.keyspace.deadline_ms(b"b") == 1 and not alone.watches[0][1].touched
