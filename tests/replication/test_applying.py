"""Operations that are applied in columns do what they do one by one: values, deadlines, watches."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import Assign, Expire, SequenceInsert
from marmoset.crdts.deadline import NEVER
from marmoset.crdts.sequence import Sequence
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import Dot
from marmoset.keyspace import Watch
from marmoset.replication.replica import Replica
from tests.replication.group import catch_up, first_of_all, join, rest
from tests.replication.test_plain_writes import KEYS, NAMES, WRITES, Step, operation_of, plain, steps_of

ALL = (*KEYS, b"push")
OWN = [steps_of(what, keys=(what.encode(),)) for what in (*WRITES, "push")]
NUMBERS = st.integers(-2, 9)


def few(*kinds: str, keys: tuple[bytes, ...] = ALL) -> st.SearchStrategy[Step]:
    return st.tuples(st.sampled_from(kinds), st.sampled_from(keys), st.sampled_from(NAMES), NUMBERS)


HISTORIES = st.lists(
    st.one_of(
        *(st.lists(own, min_size=2, max_size=6) for own in OWN),
        st.lists(few(*WRITES), min_size=1, max_size=3),
        st.lists(few("expire", "later", "watch", "commit"), min_size=1, max_size=4),
        few("expire", keys=(b"assign", b"increment")).map(lambda step: [step]),
    ),
    max_size=14,
).map(lambda stretches: [step for each in stretches for step in each])


class Receiver:
    """A member that receives, in a chain, what another one writes."""

    def __init__(self, *, in_runs: bool) -> None:
        self.in_runs = in_runs
        self.sender = first_of_all()
        for what in WRITES:
            self.sender.submit(operation_of(what, what.encode(), NAMES[0], 1))
        self.sender.commit()
        self.replica = join(self.sender, 2)
        rest(self.sender, self.replica)
        assert self.replica.keyspace.chained
        self.watches: list[Watch] = []

    def step(self, what: str, key: bytes, name: bytes, number: int) -> None:
        sender = self.sender
        if what in ("commit", "later", "watch") or not self.in_runs:
            self.receive()
        if what == "expire":
            sender.submit(Expire(key, number % 2 and max(number, 1)))
        elif what == "later":
            for replica in (sender, self.replica):
                replica.keyspace.now_ms = max(replica.keyspace.now_ms, number)
        elif what == "watch":
            self.watches.append(Watch())
            self.replica.keyspace.watch(key, self.watches[-1])
        elif what == "push":
            value = sender.keyspace.get(key)
            left = value.neighbours(len(value))[0] if isinstance(value, Sequence) else None
            sender.submit(SequenceInsert(key, left, None, [name]))
        elif what in WRITES:
            sender.submit(operation_of(what, key, name, number))

    def receive(self) -> None:
        catch_up(self.sender, self.replica)

    def shown(self) -> object:
        keyspace = self.replica.keyspace
        values = [list(each) if isinstance(each, Sequence) else plain(each) for each in map(keyspace.get, ALL)]
        deadlines = [(keyspace.deadlines.get(shard_of(key), key), keyspace.deadline_ms(key)) for key in ALL]
        unstable = [window for window in keyspace.deadlines.windows if window]
        return values, deadlines, unstable, [watch.touched for watch in self.watches]


@settings(max_examples=40, deadline=None)
@given(HISTORIES)
def test_a_run_is_its_operations(steps: list[Step]) -> None:
    runs, single = Receiver(in_runs=True), Receiver(in_runs=False)
    for step in steps:
        runs.step(*step)
        single.step(*step)
        if step[0] == "commit":
            single.receive()
            assert runs.shown() == single.shown()
    for each in (runs, single):
        each.receive()
        each.replica._check()
        each.replica.keyspace._check()
    assert runs.shown() == single.shown()
    rest(runs.sender, runs.replica)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("what", [*WRITES, "push"])
def test_a_watch_is_touched_within_a_run(what: str, at: int) -> None:
    receiver = Receiver(in_runs=True)
    keys = [b"%d" % number for number in range(3)]
    watch, other = Watch(), Watch()
    receiver.replica.keyspace.watch(what.encode() if what == "push" else keys[at], watch)
    receiver.replica.keyspace.watch(b"another", other)
    for key in keys:
        receiver.step(what, what.encode() if what == "push" else key, b"1", 1)
    receiver.receive()
    assert watch.touched and not other.touched


@pytest.mark.parametrize("is_stable", [False, True])
@pytest.mark.parametrize("deadline_ms", [1, NEVER])
def test_assignments_in_a_run_end_deadlines_and_increments_do_not(is_stable: bool, deadline_ms: int) -> None:
    receiver = Receiver(in_runs=True)
    keys = [b"%d" % number for number in range(4)]
    for key in keys:
        receiver.step("assign", key, b"0", 1)
    for key in keys:
        receiver.step("expire", key, b"", deadline_ms)
    receiver.receive()
    if is_stable:
        rest(receiver.sender, receiver.replica)
    deadlines = receiver.replica.keyspace.deadlines
    assert not deadlines.entries and deadlines.count == (4 if deadline_ms else 0)
    for what, some in (("assign", keys[:2]), ("increment", keys[2:])):
        for key in some:
            receiver.step(what, key, b"1", 1)
    receiver.receive()
    left = [None, None] + [1 if deadline_ms else None] * 2
    assert [receiver.replica.keyspace.deadline_ms(key) for key in keys] == left
    assert not deadlines.entries


@pytest.mark.parametrize("what", [*WRITES, "push"])
def test_what_a_snapshot_has_brought_is_skipped_in_a_run(what: str) -> None:
    receiver = Receiver(in_runs=True)
    key = what.encode()
    for number in range(3):
        receiver.step(what, key, b"%d" % number, 1)
    replica: Replica = receiver.replica
    before = receiver.shown()
    receiver.sender.commit()
    everything: dict[int, int] = dict(receiver.sender.seen)
    replica.keyspace.snapshot_vectors = {shard: everything for shard in range(SHARDS)}
    receiver.receive()
    assert receiver.shown() == before and replica.keyspace.chained
    last: Dot = (receiver.sender.me, receiver.sender.next_seq - 1)
    assert replica.covers(replica.seen, last)


def test_of_an_assignment_that_takes_the_long_way_the_deadline_ends_as_well() -> None:
    receiver = Receiver(in_runs=True)
    receiver.step("expire", b"add", b"", 1)
    for key in (b"assign", b"add", b"assign"):
        receiver.sender.submit(Assign(key, b"text"))
    receiver.receive()
    assert receiver.replica.keyspace.get(b"add") == b"text"
    assert receiver.replica.keyspace.deadline_ms(b"add") is None
