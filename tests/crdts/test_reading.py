"""Readings: whatever happens while something is read in parts, it comes as it stood when the reading began."""

from random import Random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marmoset.clocks import Context, LocalContext
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Flush,
    Inside,
    MapAssign,
    MapIncrement,
    Reset,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
)
from marmoset.crdts import sequence_elements, sequence_runs, sequence_state, sequence_tree
from marmoset.crdts.exports import (
    BYTES_PER_ELEMENT,
    ENTRY_KINDS,
    DeadlineEntry,
    Importer,
    ValueEntry,
    decode_entries,
    export_value,
)
from marmoset.crdts.reading import WEIGHT_MAX, SlotsReading, is_large
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.slots import Slots
from marmoset.crdts.split import SplitSet
from marmoset.hashing import shard_of
from marmoset.keyspace import Keyspace
from tests.crdts.test_sequence import SMALL
from tests.replication.laboratory import ALL_KINDS, KEYS, Laboratory, Subject

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
SEARCH = settings(max_examples=25, deadline=None, suppress_health_check=SLOW)


def content(slots: Slots) -> bytes:
    """Everything that some slots hold, in its one form."""
    return msgspec.msgpack.encode(
        [entry for name, _, value, window in slots.holdings() for entry in export_value(name, value, window)]
    )


def put_together(entries: list[ValueEntry]) -> Slots:
    """What a newcomer makes of entries that really crossed."""
    slots, importer = Slots(1000), Importer(1000)
    for entry in decode_entries(msgspec.msgpack.encode(entries)):
        assert not isinstance(entry, DeadlineEntry)
        held = slots.take(entry.key, ENTRY_KINDS[type(entry)])
        slots.put(entry.key, *importer.add(entry, held.value, held.window))
    importer.end()
    slots._check()
    return slots


def some_life(lab: Laboratory, subject: Subject) -> None:
    """Something happens to what a subject holds."""
    rng = lab.rng
    others = [other for other in lab.serving() if other is not subject]
    other = rng.choice(others)
    dice = rng.random()
    if dice < 0.6:
        lab.write(subject)
    elif dice < 0.75:
        lab.write(other)
    elif dice < 0.9:
        lab.exchange(other, subject)
        lab.exchange(subject, other)
    elif dice < 0.95:
        lab.fold(subject)
    else:
        subject.replica.keyspace.garbage.collect(3)


def reads_as_it_stood(rng: Random, kinds: tuple[str, ...]) -> int:
    """One history with readings in it; how many times something was given after it had changed."""
    lab = Laboratory(rng, kinds, deadlines=False)
    for _ in range(rng.randint(1, 2)):
        lab.join(lab.subjects[0])
        while lab.subjects[0].source is not None:
            lab.step_snapshot(lab.subjects[0])
    subject = lab.subjects[0]
    changed = 0
    for _ in range(4):
        for _ in range(rng.randint(5, 40)):
            some_life(lab, subject)
        subject.replica.chain.end()
        subject.replica.chain.length_max = 0  # as while somebody is let in
        slots = subject.replica.keyspace.shards[shard_of(rng.choice(KEYS))]
        slots.wind_all()
        before = content(slots)
        step = rng.choice([1, 1, 2, 5])
        readings = [SlotsReading(slots, step) for _ in range(rng.choice([1, 1, 2]))]
        given: list[list[ValueEntry]] = [[] for _ in readings]
        while not all(reading.is_done for reading in readings):
            at = rng.choice([at for at, reading in enumerate(readings) if not reading.is_done])
            given[at] += readings[at].take(step)
            for _ in range(rng.choice([0, 0, 1, 3])):
                some_life(lab, subject)
        changed += content(slots) != before
        for reading, entries in zip(readings, given, strict=True):
            reading.close()
            assert content(put_together(entries)) == before
            assert reading.names_taken == len({entry.key for entry in entries})
        assert not slots.readings
        subject.replica._check()
    lab.finish()
    for each in lab.serving():
        each.replica._check()
        assert each.replica.is_at_rest and each.shown() == subject.shown()
    return changed


@pytest.mark.parametrize("kinds", [("set",), ("map",), ("zset",), ("list",), ("nested",), ALL_KINDS])
@SEARCH
@given(seed=st.integers(0, 1 << 40))
def test_a_reading_gives_what_stood_when_it_began(kinds: tuple[str, ...], seed: int) -> None:
    reads_as_it_stood(Random(seed), kinds)


@pytest.mark.interpreted
@pytest.mark.parametrize("kinds", [("list",), ("list", "nested")])
@SEARCH
@given(seed=st.integers(0, 1 << 40))
def test_chunks_of_a_sequence_are_given_as_they_stood(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], seed: int
) -> None:
    for module in (sequence_runs, sequence_tree, sequence_elements, sequence_state):
        for name, value in SMALL.items():
            monkeypatch.setattr(module, name, value, raising=False)
    reads_as_it_stood(Random(seed), kinds)


def test_the_histories_change_what_is_being_read() -> None:
    assert sum(reads_as_it_stood(Random(seed), ALL_KINDS) for seed in range(20)) > 20


def test_a_reading_that_ends_early_keeps_nothing() -> None:
    lab = Laboratory(Random(5), ALL_KINDS, deadlines=False)
    lab.join(lab.subjects[0])
    while lab.subjects[0].source is not None:
        lab.step_snapshot(lab.subjects[0])
    subject = lab.subjects[0]
    seen = 0
    for _ in range(200):
        lab.write(subject)
        slots = subject.replica.keyspace.shards[shard_of(KEYS[0])]
        reading = SlotsReading(slots, 1)
        reading.take(1)
        values = [value for value in slots.values.values() if is_large(value, 1)]
        seen += any(getattr(value, "readings", 0) for value in values)
        reading.close()
        assert not slots.readings
        assert not any(getattr(value, "readings", 0) for value in values)
    assert seen


def in_a_group() -> Keyspace:
    keyspace = Keyspace(split_above=16)
    keyspace.tracking = True
    return keyspace


def context(seq: int) -> Context:
    return Context({1: seq}, {})


def test_parts_do_not_split_while_they_are_read() -> None:
    keyspace = in_a_group()
    slots = keyspace.shards[shard_of(b"k")]
    keyspace.effect(SetAdd(b"k", [b"old%d" % i for i in range(64)]), (1, 1), 1, context(0))
    before = content(slots)
    reading = SlotsReading(slots, 4)
    entries = reading.take(4)
    for seq in range(2, 400):
        keyspace.effect(SetAdd(b"k", [b"new%d" % seq]), (1, seq), seq, context(seq - 1))
    while not reading.is_done:
        entries += reading.take(4)
    assert content(put_together(entries)) == before
    reading.close()
    held = keyspace.get(b"k")
    assert isinstance(held, SplitSet)
    parts = len(held.parts)
    for seq in range(400, 600):
        keyspace.effect(SetAdd(b"k", [b"new%d" % seq]), (1, seq), seq, context(seq - 1))
    assert len(held.parts) > parts, "it stays in few parts for ever"
    keyspace._check()


def test_a_flushall_comes_while_a_shard_is_read() -> None:
    keyspace = in_a_group()
    slots = keyspace.shards[shard_of(KEYS[0])]
    for seq, key in enumerate(KEYS[:2], 1):
        keyspace.effect(Assign(key, b"v"), (1, seq), seq, context(seq - 1))
        keyspace.fold(Assign(key, b"v"), (1, seq))
    before = content(slots)
    reading = SlotsReading(slots, 1)
    entries = reading.take(1)
    assert not reading.is_done
    keyspace.effect(Flush(), (1, 3), 3, context(2))
    keyspace.garbage.collect(100)
    entries += reading.take(100)
    assert reading.is_done and content(put_together(entries)) == before


LONG = 60_000


@pytest.mark.parametrize("split_above", [4, 1000])
@pytest.mark.parametrize(
    "operations",
    [
        [SetAdd(b"k", [b"%d" % i + b"x" * LONG for i in range(40)])],
        [MapAssign(b"k", [part for i in range(40) for part in (b"%d" % i, b"x" * LONG)])],
        [ScoreAssign(b"k", [part for i in range(40) for part in (b"%d" % i + b"x" * LONG, i)])],
        [SequenceInsert(b"k", None, None, [b"x" * LONG] * 40)],
        [Inside(b"k", [b"%d" % i], SetAdd(b"", [b"x" * LONG, b"y" * LONG])) for i in range(20)],
        [Inside(b"k", [b"inner"], SequenceInsert(b"", None, None, [b"x" * LONG] * 40))],
    ],
    ids=["set", "map", "zset", "list", "nested", "nested list"],
)
def test_long_elements_are_given_a_few_at_a_time(operations: list[AnyOperation], split_above: int) -> None:
    """Whatever is in one collection: a message takes about what a batch may have."""
    keyspace = Keyspace(split_above)
    keyspace.tracking = True
    slots = keyspace.shards[shard_of(b"k")]
    seq = 0
    for operation in operations:
        keyspace.effect(operation, (1, seq + 1), 1, context(seq))
        seq += operation.width
    before = content(slots)
    reading = SlotsReading(slots, 512)
    entries: list[ValueEntry] = []
    while not reading.is_done:
        given = reading.take(512)
        assert len(msgspec.msgpack.encode(given)) < (WEIGHT_MAX + 512) * BYTES_PER_ELEMENT + 2 * LONG
        if not entries:  # what was taken and is not given yet stays as it stood
            keyspace.effect(Reset(b"k"), (1, seq + 1), 1, context(seq))
        entries += given
    assert content(put_together(entries)) == before


@pytest.mark.parametrize("members", [4, 400])
def test_members_of_sorted_sets_are_given_half_as_many_at_a_time(members: int) -> None:
    """Whoever takes them finds the place of each in the order."""

    def steps(shape: type[MapAssign] | type[ScoreAssign]) -> int:
        keyspace = Keyspace(50)
        keyspace.tracking = True
        for at in range(800 // members):
            pairs = [part for i in range(members) for part in (b"%d" % i, i)]
            keyspace.effect(shape(b"%d" % at, pairs), (1, at * members + 1), 1, context(at * members))
        taken = 0
        for slots in keyspace.shards:
            reading = SlotsReading(slots, 64)
            while not reading.is_done:
                reading.take(64)
            taken += reading.weight_taken
        (held, *_) = [slots for slots in keyspace.shards if slots.values]
        most = max(len(entry.items) for entry in SlotsReading(held, 64).take(1))  # type: ignore[union-attr]
        assert members < 50 or most <= (64 if shape is MapAssign else 32) * 1.5, "parts are about as long as asked for"
        return taken

    assert 1600 <= steps(ScoreAssign) < 1650 and 800 <= steps(MapAssign) < 825, "and a little for their bytes"


def test_a_run_of_falling_ids_is_given_in_parts() -> None:
    """What was pushed in front one by one: the first of them in the list has the highest id."""
    keyspace = in_a_group()
    slots = keyspace.shards[shard_of(b"k")]
    pushes = [
        SequenceInsert(b"k", None, (1, seq - 1) if seq > 1 else None, [b"%d" % seq + b"x" * LONG])
        for seq in range(1, 41)
    ]
    for seq, push in enumerate(pushes, 1):
        keyspace.effect(push, (1, seq), seq, context(seq - 1))
    for seq, push in enumerate(pushes, 1):
        keyspace.fold(push, (1, seq))
    value = keyspace.get(b"k")
    assert isinstance(value, Sequence)
    value._check()
    before, shown = content(slots), list(value)
    assert [each[:2] for each in shown[:2] if isinstance(each, bytes)] == [b"40", b"39"]
    reading = SlotsReading(slots, 512)
    entries: list[ValueEntry] = []
    while not reading.is_done:
        entries += reading.take(512)
    assert len(entries) > 4
    together = put_together(entries)
    assert content(together) == before
    restored = together.values[b"k"]
    assert isinstance(restored, Sequence) and list(restored) == shown


def test_a_map_that_comes_to_nest_is_given_as_it_stood() -> None:
    keyspace = in_a_group()
    slots = keyspace.shards[shard_of(b"k")]
    for seq in range(1, 41):
        keyspace.effect(MapIncrement(b"k", b"f%d" % seq, 1), (1, seq), seq, context(seq - 1))
    before = content(slots)
    reading = SlotsReading(slots, 4)
    entries = reading.take(1)
    keyspace.effect(Inside(b"k", [b"inner"], SetAdd(b"", [b"x"])), (1, 41), 41, context(40))
    keyspace.effect(Reset(b"k"), (1, 42), 42, context(41))
    while not reading.is_done:
        entries += reading.take(4)
    assert content(put_together(entries)) == before


def test_a_reading_is_told_of_what_needs_no_window_too() -> None:
    """One that was begun for a newcomer who is gone, say, the group having one member again."""
    keyspace = Keyspace(100)
    keyspace.effect(Assign(b"k", b"old"), (1, 1), 1, LocalContext())
    slots = keyspace.shards[shard_of(b"k")]
    before = content(slots)
    reading = SlotsReading(slots, 16)
    keyspace.effect(Assign(b"k", b"new"), (1, 2), 2, LocalContext())
    entries = reading.take(16)
    reading.close()
    assert content(put_together(entries)) == before != content(slots)
