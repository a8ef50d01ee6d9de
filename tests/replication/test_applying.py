"""Operations that are applied in columns do what they do one by one: values, deadlines, watches."""

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marmoset.codec.operations import Assign, Expire, Flush, Scalar, SequenceInsert, SetAdd
from marmoset.codec.runs import ASSIGN_RUN, INCREMENT_RUN, MAP_RUN, SCORE_RUN, SET_RUN, Run
from marmoset.crdts.deadline import NEVER
from marmoset.crdts.register import RegisterWindow
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.types import Value
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace, Watch
from marmoset.replication.replica import Replica
from tests.replication.group import catch_up, first_of_all, join, rest
from tests.replication.test_plain_writes import KEYS, NAMES, SPLIT_ABOVE, WRITES, Step, operation_of, plain, steps_of

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


def digits(value: object) -> object:
    """A plain value, a number of a map or register as its digits: so it comes in a batch with one beyond 64 bits."""
    if isinstance(value, dict):
        return {field: digits(each) for field, each in value.items()}
    return b"%d" % value if isinstance(value, int) else value


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
        values = [list(each) if isinstance(each, Sequence) else digits(plain(each)) for each in map(keyspace.get, ALL)]
        deadlines = [(keyspace.deadlines.get(shard_of(key), key), keyspace.deadline_ms(key)) for key in ALL]
        unstable = [window for window in keyspace.deadlines.windows if window]
        return values, deadlines, unstable, [watch.touched for watch in self.watches]


@settings(max_examples=40, deadline=None)
@given(HISTORIES)
@example([("field", b"field", b"0", 1 << 63), ("field", b"field", b"1", 1 << 64)])
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


TAGS = {"assign": ASSIGN_RUN, "increment": INCREMENT_RUN, "add": SET_RUN, "field": MAP_RUN, "score": SCORE_RUN}
FIELDS: list[Value | None] = [{b"1": 1}, {b"1": 1, b"2": 2, b"3": 3}]
VALUES = [*FIELDS, None, b"text", b"0.5", 7, {b"1"}, {b"1", b"2", b"3"}]
SORTED = [[(b"1", 1)], [(b"1", 1), (b"2", 5), (b"3", 2)]]
TAKEN = {
    type(None): ("assign", "increment", "add", "field"),
    bytes: ("assign", "increment"),
    int: ("assign", "increment"),
    set: ("add",),
    dict: ("field",),
    SortedSet: ("score",),
}


@settings(max_examples=300)
@given(
    st.sampled_from(WRITES),
    st.lists(st.tuples(st.sampled_from(NAMES), NUMBERS), min_size=2, max_size=9),
    st.integers(0, 8),
    st.sampled_from(VALUES) | st.sampled_from(SORTED).map(SortedSet),
)
def test_a_run_of_one_key_is_its_operations(
    what: str, pairs: list[tuple[bytes, int]], at: int, value: Value | None
) -> None:
    tag = TAGS[what]
    names = [] if tag <= INCREMENT_RUN else [name for name, _ in pairs]
    values: list[Scalar] = [] if tag == SET_RUN else [number for _, number in pairs]
    at = min(at, len(pairs) - 1)
    found = []
    for keys in ([b"k"], [b"k"] * len(pairs)):
        keyspace = Keyspace(SPLIT_ABOVE)
        keyspace.tracking = keyspace.chained = True
        if value is not None:
            held = SortedSet(value.items()) if isinstance(value, SortedSet) else copy.copy(value)
            keyspace.shards[shard_of(b"k")].values[b"k"] = held
            keyspace.notes.registers_only = isinstance(value, (bytes, int))
        done = keyspace.effect_run(Run(tag, keys, names, values), at)
        keyspace._check()
        shown = keyspace.get(b"k")
        found.append((done, type(shown), plain(shown)))
    assert found[0] == found[1]
    assert found[0][0] == (len(pairs) if what in TAKEN[type(value)] else at)


@pytest.mark.parametrize("keys", [[b"k"], [b"k", b"k"]])
@pytest.mark.parametrize("what", WRITES)
def test_a_run_stops_where_a_window_is(what: str, keys: list[bytes]) -> None:
    keyspace, tag = Keyspace(SPLIT_ABOVE), TAGS[what]
    keyspace.tracking = keyspace.chained = True
    keyspace.shards[shard_of(b"k")]._set_window(b"k", RegisterWindow(None))
    names = [] if tag <= INCREMENT_RUN else [b"1", b"2"]
    run = Run(tag, keys, names, [] if tag == SET_RUN else [1, 2])
    assert keyspace.effect_run(run, 0) == 0 and keyspace.effect_run(run, 1) == 1
    assert keyspace.get(b"k") is None


ASSIGNMENTS = Run(ASSIGN_RUN, [b"other", b"k", b"third"], [], [b"1", b"2", b"3"])


@pytest.mark.parametrize("ways", [1, 2, 3])
@pytest.mark.parametrize("what", ["add", "field", "score", "push"])
def test_assignments_in_a_run_stop_where_something_else_than_a_register_is(what: str, ways: int) -> None:
    """However it has come there: by itself, in a run of its key, or in one of several."""
    receiver = Receiver(in_runs=True)
    receiver.sender.submit(Flush())
    for key in [b"k", *([b"a"] if ways == 3 else [])]:
        for name in (b"1", b"2")[: min(ways, 2)]:
            receiver.step(what, key, name, 1)
    receiver.receive()
    rest(receiver.sender, receiver.replica)
    for keyspace in (receiver.sender.keyspace, receiver.replica.keyspace):
        keyspace._check()
        assert not keyspace.notes.registers_only and keyspace.chained
        assert keyspace.effect_run(ASSIGNMENTS, 0) == 1
        assert keyspace.get(b"other") == b"1" and not isinstance(keyspace.get(b"k"), bytes)


@pytest.mark.parametrize("what", ["add", "field", "score", "push"])
def test_what_a_snapshot_brings_is_noted_if_it_is_no_register(what: str) -> None:
    receiver = Receiver(in_runs=True)
    receiver.sender.submit(Flush())
    receiver.step(what, b"k", b"1", 1)
    newcomer = join(receiver.sender, 3)
    rest(receiver.sender, receiver.replica, newcomer)
    newcomer.keyspace._check()
    assert newcomer.keyspace.effect_run(ASSIGNMENTS, 0) == 1


def test_assignments_in_a_run_do_not_look_once_everything_else_is_gone() -> None:
    receiver = Receiver(in_runs=True)
    keyspace = receiver.replica.keyspace
    assert not keyspace.notes.registers_only
    receiver.sender.submit(Flush())
    rest(receiver.sender, receiver.replica)
    assert keyspace.notes.registers_only and keyspace.effect_run(ASSIGNMENTS, 1) == 3
    assert keyspace.get(b"other") is None and keyspace.get(b"third") == b"3"
    receiver.step("add", b"k", b"1", 1)
    receiver.receive()
    assert not keyspace.notes.registers_only
    keyspace.clear()
    assert keyspace.notes.registers_only


def test_what_outlives_a_flush_is_still_looked_at() -> None:
    receiver = Receiver(in_runs=True)
    replica = receiver.replica
    receiver.sender.submit(Flush())
    replica.submit(SetAdd(b"k", [b"1"]))  # which the flush has not observed
    receiver.receive()
    assert replica.keyspace.get(b"k") == {b"1"}
    rest(receiver.sender, replica)
    replica.keyspace._check()
    assert replica.keyspace.chained and replica.keyspace.effect_run(ASSIGNMENTS, 0) == 1


@pytest.mark.parametrize("at", [0, 1, 2, None])
@pytest.mark.parametrize("what", [*WRITES, "push"])
def test_a_watch_is_touched_within_a_run(what: str, at: int | None) -> None:
    receiver = Receiver(in_runs=True)
    is_of_one = at is None or what == "push"
    keys = [what.encode() if is_of_one else b"%d" % number for number in range(3)]
    watch, other = Watch(), Watch()
    receiver.replica.keyspace.watch(keys[at or 0], watch)
    receiver.replica.keyspace.watch(b"another", other)
    for key in keys:
        receiver.step(what, key, b"1", 1)
    receiver.receive()
    assert watch.touched and not other.touched


@pytest.mark.parametrize("is_stable", [False, True])
@pytest.mark.parametrize("deadline_ms", [1, NEVER])
def test_assignments_of_one_key_in_a_run_end_its_deadline(is_stable: bool, deadline_ms: int) -> None:
    receiver = Receiver(in_runs=True)
    receiver.step("assign", b"k", b"0", 1)
    receiver.step("expire", b"k", b"", deadline_ms)
    receiver.receive()
    if is_stable:
        rest(receiver.sender, receiver.replica)
    for name in (b"1", b"2", b"3"):
        receiver.step("assign", b"k", name, 1)
    receiver.receive()
    assert receiver.replica.keyspace.get(b"k") == b"3"
    assert receiver.replica.keyspace.deadline_ms(b"k") is None
    assert not receiver.replica.keyspace.deadlines.entries


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
