"""A few replicas in one process, exchanged by hand: every history that the rules of replication have to stand.

Batches are really encoded and decoded. An exchange may stop after any batch; a report is counted only behind everything
that its sender had. Newcomers are filled by the real snapshot, whose shards are read at moments of the test's choosing.
"""

from collections.abc import Callable
from random import Random

from marmoset.clocks import VersionVector
from marmoset.codec.frames import FrameReader, MessageReader
from marmoset.codec.messages import Batch, Report, decode
from marmoset.codec.operations import (
    KIND_MAP,
    AnyOperation,
    Assign,
    Bury,
    ChildOperation,
    Expire,
    Flush,
    Increment,
    Inside,
    Join,
    Leave,
    MapAssign,
    MapIncrement,
    MapRemove,
    Ready,
    Reset,
    ScoreAssign,
    ScoreIncrement,
    ScoreRemove,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitMap
from marmoset.crdts.types import KIND_NAMES, kind_of
from marmoset.hashing import shard_of
from marmoset.keyspace import Keyspace
from marmoset.replication.electorate import is_majority
from marmoset.replication.expiry import observe_time, remove_passed
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource
from marmoset.replication.verdicts import APPLIED, DUPLICATE
from marmoset.sim.specification import Plain, Record, deadlines_of, plain, visible
from tests.replication.group import give_step

KEYS = (b"a", b"aqd", b"c")
"""The first two in one shard of the keyspace, which is then read in several steps."""
assert shard_of(KEYS[0]) == shard_of(KEYS[1])
ELEMENTS = (b"x", b"y", b"z")
NAMES = {"nested": "hash", "set": "set", "map": "hash", "list": "list", "register": "string", "zset": "zset"}
AMOUNTS: tuple[int | str, ...] = (1, -1, 5, "0.1", "-2.50", "0.5", "0." + "123456789" * 4, "1" + "0" * 30)
SCORES: tuple[int | bytes, ...] = (1, 2, b"1.5", b"inf")
LATER_MS = 1_500_000
ALL_KINDS = ("set", "map", "list", "list", "register", "zset", "nested")


class Subject:
    """One replica and what it truly observed."""

    def __init__(self, laboratory: "Laboratory", me: int) -> None:
        self.laboratory = laboratory
        self.me = me
        self.observed: VersionVector = {}
        self.replica = Replica(
            keyspace=Keyspace(split_above=laboratory.rng.choice([1, 1, 2, 100])),
            wall_ms=lambda: laboratory.wall_ms,
            name=f"r{me}",
            address=f"127.0.0.1:{me}",
            frame_bytes_max=laboratory.rng.choice([64, 1 << 16]),
            batch_operations_max=100,
        )
        self.replica.chain.length_max = min(laboratory.rng.choice([0, 8, 1000]), laboratory.chain_max)
        self.replica.keyspace.notes.busy_operations = laboratory.rng.choice([2, 1000])
        self.replica.begin(me)
        self.replica.listener = self._record
        self.source: SnapshotSource | None = None
        self.snapshot_turns = 0
        self.newcomer: Subject | None = None
        self.sink: SnapshotSink | None = None
        self.serving = False

    def _record(self, operation: AnyOperation, dot: tuple[int, int], stamp: int) -> None:
        observed = {**self.observed, self.me: dot[1] - 1}
        self.laboratory.records.append(Record(operation, dot, stamp, observed))

    def note(self) -> None:
        for replica, seq in self.replica.seen.items():
            self.observed[replica] = max(self.observed.get(replica, 0), seq)

    def shown(self) -> dict[bytes, tuple[int, Plain]]:
        keyspace = self.replica.keyspace
        keyspace.now_ms = 0  # what has passed is there until its removal is logged, which is what is specified
        found: dict[bytes, tuple[int, Plain]] = {}
        for key in list(keyspace.keys()):
            value = keyspace.get(key)
            assert value is not None
            found[key] = (kind_of(value), plain(value))
        return found


class Laboratory:
    """All replicas, and every operation that any of them made."""

    def __init__(self, rng: Random, kinds: tuple[str, ...], deadlines: bool) -> None:
        self.chain_max = 1000
        self.fold_budgets: tuple[int, ...] = (1, 5, 100_000)
        self.snapshot_turns = 0
        """In how many turns a snapshot is given; 0 for as many as it has steps. These depend on how values are kept:
        where two ways of that are compared, their histories would not be the same."""
        self.deadlines = deadlines
        self.rng = rng
        self.kinds = kinds
        self.wall_ms = 1_000_000
        self.records: list[Record] = []
        self.subjects: list[Subject] = []
        first = self.new_subject()
        first.replica.begin_group(77)
        first.serving = True

    def new_subject(self) -> Subject:
        subject = Subject(self, len(self.subjects) + 1)
        self.subjects.append(subject)
        return subject

    def serving(self) -> list[Subject]:
        return [s for s in self.subjects if s.serving and s.me not in s.replica.roster.left]

    # -- writing

    def write(self, subject: Subject) -> None:
        """A batch of a few operations of any type."""
        rng, replica = self.rng, subject.replica
        observe_time(replica)
        if rng.random() > 0.85:
            self.stretch(subject)
        else:
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                operation = self.operation(subject)
                if operation is not None:
                    replica.submit(operation)
        replica.commit()
        subject.note()

    def stretch(self, subject: Subject) -> None:
        """Operations of one kind in a row, as they stand in runs."""
        rng, replica = self.rng, subject.replica
        key, kind, is_front = rng.choice(KEYS), rng.choice(self.kinds), rng.random() < 0.5
        for _ in range(rng.randint(2, 5)):
            value = replica.keyspace.get(key)
            if kind == "nested" or (value is not None and KIND_NAMES[kind_of(value)] != NAMES[kind]):
                return
            element, number = rng.choice(ELEMENTS), rng.randint(0, 99)
            if kind == "register":
                replica.submit(Assign(key, b"%d" % number) if is_front else Increment(key, number))
            elif kind == "set":
                replica.submit(SetAdd(key, [element]))
            elif kind == "map":
                replica.submit(MapAssign(key, [element, number]))
            elif kind == "zset":
                replica.submit(ScoreAssign(key, [element, number]))
            else:
                at = len(value) if isinstance(value, Sequence) and not is_front else 0
                left, right = value.neighbours(at) if isinstance(value, Sequence) else (None, None)
                replica.submit(SequenceInsert(key, left, right, [b"%d" % number]))
            if rng.random() < 0.2:
                key = rng.choice(KEYS)

    def operation(self, subject: Subject) -> AnyOperation | None:
        rng = self.rng
        key = rng.choice(KEYS)
        value = subject.replica.keyspace.get(key)
        dice = rng.random()
        if dice < 0.02:
            return Flush()
        if dice < 0.08:
            return Reset(key)
        if dice < 0.18 and self.deadlines and value is not None:
            return Expire(key, rng.choice([0, self.wall_ms + 30, self.wall_ms + 300, LATER_MS, LATER_MS + 1]))
        if dice < 0.22:
            return Assign(key, rng.choice([b"7", b"007", b"word", b"1.50"]))
        kind = rng.choice(self.kinds)
        if kind == "nested":
            if value is not None and kind_of(value) != KIND_MAP:
                return None
            if value is None or rng.random() < 0.7:
                return self.child_operation(key, value)
            kind = "map"
        if value is not None and KIND_NAMES[kind_of(value)] != NAMES[kind] and (kind == "list" or rng.random() < 0.9):
            return None  # as a client would be told; keys get several types by concurrent creation all the same
        if kind == "register":
            return Increment(key, rng.choice(AMOUNTS))
        return self.collection_operation(kind, key, value)

    def collection_operation(self, kind: str, key: bytes, value: object) -> ChildOperation:
        """An operation on a collection of a kind."""
        rng = self.rng
        if kind == "set":
            elements = rng.sample(ELEMENTS, rng.randint(1, 2))
            return SetAdd(key, elements) if rng.random() < 0.6 else SetRemove(key, elements)
        if kind == "zset":
            member, dice = rng.choice(ELEMENTS), rng.random()
            if dice < 0.4:
                return ScoreAssign(key, [member, rng.choice(SCORES), rng.choice(ELEMENTS), rng.choice(SCORES)])
            return ScoreIncrement(key, member, rng.choice(AMOUNTS)) if dice < 0.75 else ScoreRemove(key, [member])
        if kind == "map":
            field = rng.choice(ELEMENTS)
            roll = rng.random()
            if roll < 0.4:
                return MapAssign(key, [field, rng.choice([b"1", b"v", b"2.5"]), rng.choice(ELEMENTS), b"2"])
            return MapIncrement(key, field, rng.choice(AMOUNTS)) if roll < 0.75 else MapRemove(key, [field])
        return self.list_operation(key, value)

    def child_operation(self, key: bytes, value: object) -> AnyOperation:
        """An operation inside a map, at a place that is there or is made by it."""
        rng = self.rng
        path: list[bytes] = []
        while True:
            path.append(rng.choice(ELEMENTS[:2]))
            inner = value.get(path[-1]) if isinstance(value, (dict, SplitMap, NestedMap)) else None
            if isinstance(inner, (dict, SplitMap, NestedMap)) and len(path) < 4 and rng.random() < 0.7:
                value = inner
                continue
            break
        kind = rng.choice(["set", "map", "list", "list", "zset"])
        if inner is not None and not isinstance(inner, (bytes, int)):
            kind = {"hash": "map", "zset": "zset", "set": "set", "list": "list"}[KIND_NAMES[kind_of(inner)]]
        operation = self.collection_operation(kind, b"", inner)
        return Inside(key, path, operation)

    def list_operation(self, key: bytes, value: object) -> ChildOperation:
        rng = self.rng
        if not isinstance(value, Sequence):
            held = None
        else:
            held = value
        size = len(held) if held is not None else 0
        roll = rng.random()
        if held is None or size == 0 or roll < 0.55:
            left, right = held.neighbours(rng.randint(0, size)) if held is not None else (None, None)
            return SequenceInsert(key, left, right, [b"%d" % rng.randint(0, 99) for _ in range(rng.choice([1, 1, 3]))])
        start = rng.randrange(size)
        if roll < 0.85:
            return SequenceRemove(key, held.ranges(start, min(size, start + rng.choice([1, 1, 2, 4]))))
        return SequenceAssign(key, held.id_at(start), b"set%d" % rng.randint(0, 99))

    # -- exchange

    def exchange(self, source: Subject, target: Subject, whole: bool = False) -> None:
        """Some or all of what the target lacks, in the source's apply order; then, perhaps, a report."""
        here, there = source.replica, target.replica
        if there.me not in here.roster.members:
            return
        if there.me in here.roster.buried or here.me in there.roster.buried:
            return
        there.commit()
        entries = [e for e in here.log.entries.values() if not here.covers(there.seen, (e.origin, e.last))]
        if here.me not in there.roster.members:
            if not self.introduces(here, there, [entry.operations for entry in entries], [e.origin for e in entries]):
                return
            whole = True
        stop = len(entries) if whole or self.rng.random() < 0.5 else self.rng.randint(0, len(entries))
        report, _ = here.report(there.me, 0)
        for entry in entries[:stop]:
            self.deliver(entry.framed, target)
        if stop == len(entries):
            decoded = decode(msgspec_bytes(report))
            assert isinstance(decoded, Report)
            there.count_report(decoded)

    @staticmethod
    def introduces(here: Replica, there: Replica, brought: list[list[AnyOperation]], origins: list[int]) -> bool:
        """Whether a stranger brings its own join, from people who are vouched for at every step (DESIGN.md 4.5)."""
        vouched = {r for r in there.roster.members if r not in there.roster.buried}
        for operations, origin in zip(brought, origins, strict=True):
            if origin not in vouched:
                return False
            vouched.update(operation.replica for operation in operations if isinstance(operation, Join))
        return here.me in vouched

    def deliver(self, framed: bytes, target: Subject) -> None:
        message, data = read(framed)
        assert isinstance(message, Batch)
        verdict = target.replica.apply(message, framed)
        assert verdict in (APPLIED, DUPLICATE), verdict
        assert data
        target.note()

    def expire(self, subject: Subject) -> None:
        """Log the removal of what everybody's clock is known to have passed."""
        remove_passed(subject.replica, self.rng.choice([1, 100]))
        subject.replica.commit()
        subject.note()

    def fold(self, subject: Subject) -> None:
        budget = self.rng.choice(self.fold_budgets)
        if subject.replica.advance():
            subject.replica.fold_slice(budget)

    # -- joining

    def join(self, sponsor: Subject) -> None:
        if sponsor.source is not None:
            return
        newcomer = self.new_subject()
        sponsor.replica.submit_roster([Join(newcomer.me, f"r{newcomer.me}", f"127.0.0.1:{newcomer.me}")])
        sponsor.note()
        sponsor.source = SnapshotSource(sponsor.replica, newcomer.me, self.rng.choice([1, 1, 2, 4, 100]))
        sponsor.snapshot_turns = 0
        sponsor.newcomer = newcomer
        newcomer.observed = dict(sponsor.observed)
        newcomer.sink = SnapshotSink(newcomer.replica)

    def step_snapshot(self, sponsor: Subject) -> None:
        """One step of a snapshot, or all that are left in its last turn, whatever happened to the sponsor meanwhile."""
        source, newcomer = sponsor.source, sponsor.newcomer
        assert source is not None and newcomer is not None and newcomer.sink is not None
        sponsor.replica.commit()
        sponsor.snapshot_turns += 1
        is_last = sponsor.snapshot_turns >= self.snapshot_turns
        give_step(source, newcomer.sink)
        while is_last and self.snapshot_turns and not source.is_done:
            give_step(source, newcomer.sink)
        if source.is_done and is_last:
            for entry in list(sponsor.replica.log.entries.values()):
                if entry.index >= source.join_index:
                    self.deliver(entry.framed, newcomer)
            assert newcomer.sink.is_complete
            newcomer.replica.keyspace.snapshot_vectors.clear()
            newcomer.replica.submit_roster([Ready()])
            newcomer.note()
            newcomer.serving = True
            sponsor.source, sponsor.newcomer = None, None

    def cut_off(self, sponsor: Subject) -> None:
        """A snapshot ends before it is complete: the newcomer is buried by its sponsor alone, and begins again."""
        source, newcomer = sponsor.source, sponsor.newcomer
        assert source is not None and newcomer is not None
        source.close()
        sponsor.source, sponsor.newcomer = None, None
        sponsor.replica.submit_roster([Bury(newcomer.me)])
        sponsor.note()
        assert not any(slots.readings for slots in sponsor.replica.keyspace.shards), "what nobody reads is saved"
        self.join(sponsor)

    def leave(self, subject: Subject) -> None:
        others = [s for s in self.serving() if s is not subject]
        if others and subject.source is None:
            subject.replica.submit_roster([Leave()])
            subject.note()
            has_it: list[Subject] = []
            for _ in range(4):  # a leaver stays until somebody has everything, which may take an introduction
                for other in self.rng.sample(others, len(others)):
                    for third in others:
                        if third is not other and not has_it:
                            self.exchange(third, other, whole=True)
                    self.exchange(subject, other, whole=True)
                    if other.replica.seen.get(subject.me, 0) == subject.replica.seen[subject.me]:
                        has_it.append(other)
                        break
                if has_it:
                    break
            subject.serving = False

    def bury_silent(self, force: bool) -> None:
        """Whoever left without anybody knowing it is buried by a member that is there, with `force` by an operator:
        those that are left may have joined while hardly anybody heard of anybody, and have no vote (`electorate`)."""
        serving = self.serving()
        for subject in self.subjects:
            for judge in serving:
                roster = judge.replica.roster
                gone = not subject.serving and subject.me in roster.present()
                voters = [s.me for s in serving if judge.me in s.replica.roster.members]
                if gone and (force or is_majority(roster, judge.replica.stability.known, voters)):
                    judge.replica.submit_roster([Bury(subject.me)])
                    judge.note()
                    break

    def finish(self) -> None:
        """Everything is exchanged and folded; then everybody shows the same, and nothing else is left."""
        for subject in self.serving():
            while subject.source is not None:
                self.step_snapshot(subject)
        for turn in range(14):
            for a in self.serving():
                for b in self.serving():
                    if a is not b:
                        self.exchange(a, b, whole=True)
            for a in self.serving():
                while a.replica.advance():
                    a.replica.fold_slice(1000)
            if turn in (3, 4, 6):
                self.bury_silent(force=turn == 6)

    def all_pass(self) -> int:
        """Time goes on until every deadline has passed: each key that had one goes, everywhere, and nothing is left."""
        serving = self.serving()
        kept = [subject.replica.keyspace for subject in serving]
        ending = {key for key in KEYS if any(keyspace.deadline_ms(key) is not None for keyspace in kept)}
        for _ in range(3):
            self.finish()
            for subject in serving:
                while remove_passed(subject.replica, 1000):
                    subject.replica.commit()
                    subject.note()
            self.wall_ms += 1000
        self.finish()
        for subject in serving:
            subject.replica._check()
            assert subject.replica.keyspace.deadlines.count == 0, "a deadline outlives its time"
            assert not any(key in subject.replica.keyspace for key in ending), "a key outlives its deadline"
            assert subject.replica.is_at_rest
        return len(ending)

    def check(self) -> None:
        for subject in self.subjects:
            if subject.serving:
                subject.replica._check()


def msgspec_bytes(report: Report) -> bytes:
    from marmoset.codec.messages import encode

    return encode(report)


def read(framed: bytes) -> tuple[object, bytes]:
    """The message that frames carry, and its bytes."""
    messages = MessageReader(1 << 24)
    data: bytes | None = None
    for payload in FrameReader(1 << 20).feed(framed):
        data = messages.feed(payload)
    assert data is not None
    return decode(data), data


def history(
    rng: Random,
    steps: int,
    churn: float = 0.02,
    kinds: tuple[str, ...] = ALL_KINDS,
    deadlines: bool = False,
    prepare: Callable[[Laboratory], None] | None = None,
    look: Callable[[Laboratory], None] | None = None,
) -> dict[str, int]:
    """One random history and all checks; how much of what it is there to provoke has happened. `prepare` is called
    before anybody joins, `look` at every step."""
    lab = Laboratory(rng, kinds, deadlines)
    if prepare is not None:
        prepare(lab)
    tally = {"joins": 0, "leaves": 0, "folds": 0, "cut off": 0, "steps": 0}
    for _ in range(rng.randint(1, 3)):
        lab.join(lab.subjects[0])
        while lab.subjects[0].source is not None:
            lab.step_snapshot(lab.subjects[0])
            if rng.random() < 0.5:
                lab.write(lab.subjects[0])
    writes, folds = rng.choice([0.3, 0.6]), rng.choice([0.05, 0.3])
    for _ in range(steps):
        serving = lab.serving()
        a, b = rng.choice(serving), rng.choice(serving)
        lab.wall_ms += rng.choice([0, 0, 1, 50])
        dice = rng.random()
        if dice < churn and len(lab.subjects) < 9:
            lab.join(a)
            tally["joins"] += 1
        elif dice < 1.5 * churn and len(serving) > 2:
            lab.leave(a)
            tally["leaves"] += 1
        elif a.source is not None and rng.random() < 0.05 and len(lab.subjects) < 9:
            lab.cut_off(a)
            tally["cut off"] += 1
        elif a.source is not None and rng.random() < 0.5:
            lab.step_snapshot(a)
            tally["steps"] += 1
        elif rng.random() < writes:
            lab.write(a)
        elif a is not b:
            lab.exchange(a, b)
        if rng.random() < folds:
            lab.fold(rng.choice(lab.serving()))
            tally["folds"] += 1
        if deadlines and rng.random() < 0.2:
            lab.expire(rng.choice(lab.serving()))
        if rng.random() < 0.1:
            lab.check()
        if look is not None:
            look(lab)
    lab.finish()
    lab.check()
    groups: dict[tuple[tuple[int, int], ...], list[Subject]] = {}
    for subject in lab.serving():
        groups.setdefault(tuple(sorted(subject.observed.items())), []).append(subject)
    # people who left in the middle of letting others in can leave groups that do not know each other: safe, but stuck
    tally["stalemates"] = int(len(groups) > 1)
    for observed, group in groups.items():
        seen = dict(observed)
        records = [record for record in lab.records if seen.get(record.dot[0], 0) >= record.dot[1]]
        expected, ends = visible(records), deadlines_of(records)
        for subject in group:
            shown = subject.shown()
            assert shown == expected, f"r{subject.me} shows {shown}, specified is {expected}"
            kept = {key: subject.replica.keyspace.deadline_ms(key) for key in KEYS}
            assert {key: ms for key, ms in kept.items() if ms is not None} == ends, f"r{subject.me}: {kept}, not {ends}"
    if len(groups) > 1:
        return tally
    for subject in lab.serving():
        assert subject.replica.is_at_rest, f"r{subject.me} keeps metadata at rest"
        assert not subject.replica.roster.left and not subject.replica.roster.buried
    if deadlines:
        lab.wall_ms = 2 * LATER_MS
        tally["removed"] = lab.all_pass()
    return tally
