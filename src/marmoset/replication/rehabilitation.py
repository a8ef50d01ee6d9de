"""Rehabilitation: what becomes of the writes of a replica that was buried while it could not be heard (floor 5).

DESIGN.md 4.6 is the rule. An `Exile` is what the refused replica keeps of its former life: its own operations, what it
held of others, what it had observed, and the sequences that its insertions were made in. Of its own those above the
final seq that it was told as proof are submitted, or, where those who let it in have less of it, as who told it was
presumed dead as well, those above the final seq that these know. `Rehabilitation` submits them once the node is a
member again, under its new id:

| what | submitted |
| --- | --- |
| adds, increments | always |
| insertions | always, behind their nearest surviving left neighbour (`places`) |
| removals of, and assignments to, elements that are submitted here themselves | always |
| other removals from, and assignments to, sequences | where no other has overwritten or removed at the key since |
| of elements that the group does not have, since who made them was buried as well | never |
| all other overwrites and removals | where no other has changed the key since |
| a reset of what is not there | is done already |
| FLUSHALL | never: it concerns every key |
| without a gravestone | adds to sets alone |

Sequences are told apart because their removals name elements, so that they take nothing which their origin had not
observed; any other removal would, being submitted by a replica that has everything.

*Since* is judged by dots: `ChangeMemory` has what is folded, the rest is looked through batch by batch as it comes,
whether it is in the log still or has left it and waits to be folded, and `Observed.covers` says whether the returner
had seen it. Everything else goes into the report.

*Former lives.* A node may be presumed dead together with those that had let it in again, by others who have less of
what it wrote. What it made in lives that were done with (`Exile.former`) and still has in its log is as much its own as
the rest, as far as the group does not have it. What it made in a life that was cut short before it had submitted
everything (`attempts`) is not: that is submitted anew from what it was made of.

*At most once.* Each batch of the old life becomes one batch of the new one, with a `Resubmit` in it that names the old
dots: all or nothing, everywhere. A replica that is buried again before it was done begins anew with what it kept, and
leaves out what is claimed; what was not claimed, nobody has. Whoever holds the same operation in a report sees the
claim, and drops it.

Nothing here waits or sends: `step` does a slice of about so many operations and is called until it says that it is
done. The replica must have no open batch.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, cast, final

from marmoset.clocks import upto
from marmoset.codec.operations import (
    AnyOperation,
    ChildOperation,
    Flush,
    Inside,
    Reset,
    Resubmit,
    RosterOperation,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.crdts import sequence as sequences
from marmoset.hashing import shard_of
from marmoset.ids import Dot, ReplicaId
from marmoset.replication import report as reasons
from marmoset.replication.claims import Ranges
from marmoset.replication.expiry import observe_time
from marmoset.replication.memory import ChangeMemory, Observed, adds
from marmoset.replication.oplog import LogEntry
from marmoset.replication.places import Renamed, find_sequence, place
from marmoset.replication.replica import Replica
from marmoset.replication.report import Report, Row

UNLIMITED: Final = 1 << 62
NO_DOT: Final = (0, 0)
DONE_ALREADY: Final = "done already"
NOBODY: Final[Mapping[ReplicaId, Observed]] = {}


@final
class Exile:
    """What a refused replica keeps. Gathered by `gather`, in slices, before anything is wiped."""

    __slots__ = (
        "_entries",
        "attempts",
        "awaited",
        "final_seq",
        "former",
        "held",
        "is_proven",
        "joins",
        "keeps_own",
        "lost",
        "me",
        "name",
        "names",
        "observed",
        "own",
        "sequences",
    )

    def __init__(
        self,
        replica: Replica,
        buried: ReplicaId,
        final_seq: int,
        *,
        keeps_own: bool = True,
        former: Mapping[ReplicaId, Observed] = NOBODY,
        attempts: frozenset[ReplicaId] = frozenset(),
    ) -> None:
        """`buried` is whose final seq was told: its own, or that of a sponsor in its line. O(log + replicas).

        Where it is a sponsor whose final seq is below the join that leads here, nobody ever had anything of us. In any
        other case without a gravestone of our own nothing is proven. `keeps_own` is False where all that it wrote was
        submitted for a former life, which is not done yet and will be submitted again. `former` are the ids of former
        lives, the oldest first, with what each had observed, `attempts` those that were cut short.
        """
        roster = replica.roster
        self.me = replica.me
        self.name = replica.name
        self.keeps_own = keeps_own
        self.former = former
        self.attempts = attempts
        self.awaited = buried or replica.me
        """Whose burial has to have taken effect before it is known what others changed."""
        self.joins = dict(roster.joins)
        if buried == self.me:
            self.final_seq = final_seq
            self.is_proven = final_seq > 0
        else:
            line = [self.me, *roster.line(self.me)]
            child = next((r for r in line if self.joins.get(r, NO_DOT)[0] == buried), 0)
            self.final_seq = 0
            self.is_proven = bool(buried and child) and self.joins[child][1] > final_seq
        self.names = {r: member.name for r, member in roster.members.items()}
        self.observed = Observed(
            dict(replica.seen),
            frozenset(r for r in (*replica.recently_forgotten, *replica.memory.origins) if r not in replica.seen),
        )
        self.own: list[LogEntry] = []
        self.held: deque[LogEntry] = deque()
        self.sequences: dict[tuple[bytes, tuple[bytes, ...]], sequences.Sequence] = {}
        self.lost = max(0, replica.next_seq - 1 - self.final_seq) if self.is_proven and keeps_own else 0
        """How many of its own operations above the final seq are no longer in its log."""
        self._entries = deque(replica.log.entries.values())

    def gather(self, replica: Replica, budget: int) -> bool:
        """Keep what is to be kept of some more batches; True while there are others. O(budget)."""
        while self._entries and budget > 0:
            entry = self._entries.popleft()
            budget -= entry.width
            if entry.origin in self.attempts:
                continue
            if entry.origin in self.former:
                self.own.append(entry)
            elif entry.origin != self.me:
                self.held.append(entry)
            elif self.keeps_own:  # up to the final seq as well: others may let it in than those who told it that
                self.own.append(entry)
                if entry.last > self.final_seq:
                    self.lost -= entry.width
            else:
                continue
            for operation in entry.operations:
                key, path, inner = _parts(operation)
                if isinstance(inner, SequenceInsert) and (key, path) not in self.sequences:
                    found = find_sequence(replica.keyspace, key, path, laid_aside=True)
                    if found is not None:
                        self.sequences[key, path] = found
        return bool(self._entries)


@final
class Life:
    """One id under which a node wrote what it has kept: how far the group has that, and what had been observed then."""

    __slots__ = ("awaited", "exile", "final_seq", "is_proven", "me", "observed")

    def __init__(self, exile: Exile, me: ReplicaId, replica: Replica) -> None:
        """`replica` is of the group, once it is known there who was buried. O(1)."""
        is_buried = replica.presumed_dead(me)
        self.exile = exile
        self.me = me
        self.awaited = (exile.awaited, me) if is_buried else (exile.awaited,)
        """Whose burials have to be remembered for it to be known what others changed."""
        if me == exile.me:
            self.observed = exile.observed
            self.is_proven = exile.is_proven
            self.final_seq = exile.final_seq
            if is_buried and self.is_proven:  # others may have let it in than those who told it how far they had it
                self.final_seq = min(exile.final_seq, replica.final_seq(me))
        else:
            self.observed = exile.former[me]
            self.is_proven = True
            self.final_seq = replica.final_seq(me) if is_buried else 0


def _parts(operation: AnyOperation) -> tuple[bytes, tuple[bytes, ...], AnyOperation]:
    """Key, path inside it, and what is done there."""
    if isinstance(operation, Inside):
        return operation.key, tuple(operation.path), operation.operation
    key = b"" if isinstance(operation, (Flush, RosterOperation)) else operation.key
    return key, (), operation


def _with(operation: AnyOperation, inner: AnyOperation) -> AnyOperation:
    """The same place, with something else done there."""
    if isinstance(operation, Inside):
        return Inside(operation.key, operation.path, cast("ChildOperation", inner))
    return inner


@final
class Rehabilitation:
    """The return of one node, from its new birth to the moment at which it serves again."""

    __slots__ = (
        "_awaited",
        "_cursor",
        "_held",
        "_lives",
        "_queue",
        "_recent",
        "_taken",
        "_unread",
        "counters",
        "exiles",
        "lineage",
        "renamed",
        "replica",
        "report",
    )

    def __init__(self, replica: Replica, exiles: Sequence[Exile], report: Report, renamed: Renamed) -> None:
        """`exiles` are the former lives, the oldest first: what one did is nothing that others did. O(log)."""
        self.replica = replica
        self.exiles = exiles
        lives = dict.fromkeys([*(r for exile in exiles for r in exile.former), *(exile.me for exile in exiles)])
        self.lineage = frozenset([replica.me, *lives])
        self.report = report
        self.renamed = renamed
        self.counters = {"submitted": 0, "withheld": 0, "done_already": 0, "held": 0}
        self._recent = ChangeMemory(UNLIMITED)
        """What was not folded yet, and so not in the replica's own memory, when it was looked at."""
        self._unread = deque(replica.unfolded())
        self._cursor = replica.log.next_index
        self._taken = replica.log.taken
        own = [(exile, entry) for exile in exiles for entry in exile.own]
        former = {entry.origin for exile, entry in own if entry.origin != exile.me}
        if former and len(exiles) > 1:
            order = {life: place for place, life in enumerate(lives)}
            own.sort(key=lambda each: (order[each[1].origin], each[1].first))
        self._awaited = former | {exile.awaited for exile in exiles}
        self._lives: dict[tuple[ReplicaId, ReplicaId], Life] = {}
        self._queue = deque(own)
        self._held = [(exile, len(exile.held)) for exile in exiles]

    # -- slices

    @property
    def is_waiting(self) -> bool:
        """Whether a burial is not known to have taken effect here yet: what others changed may not be remembered."""
        roster = self.replica.roster
        return any(r in roster.members and not roster.presumed_dead(r) for r in self._awaited)

    @property
    def operations_left(self) -> int:
        """How many operations are not yet looked at. O(batches)."""
        return sum(entry.width for _, entry in self._queue)

    def step(self, budget: int) -> bool:
        """Do about so many operations; True while there is more to do. O(budget), and one batch at least."""
        if self.is_waiting:
            return True
        observe_time(self.replica)  # a key whose deadline has passed is not there: what is added to it begins anew
        budget -= self._look(budget)
        if self._unread:
            return True
        while self._queue and budget > 0:
            exile, entry = self._queue.popleft()
            budget -= entry.width
            self._submit_batch(exile, entry)
        if self._queue:
            return True
        for exile in self.exiles:  # of all at once: from here on what was submitted is the node's own
            exile.own.clear()
        while self._held and budget > 0:
            exile, left = self._held.pop()
            self.counters["held"] += sort_held(exile, self.replica, self.report, min(left, budget))
            if left > budget:
                self._held.append((exile, left - budget))
            budget -= left
        return bool(self._held)

    def _look(self, budget: int) -> int:
        """Note what batches that are not folded have changed; how many operations those had. O(budget + batches that
        came, or left the log, since the last time)."""
        log, looked = self.replica.log, 0
        stable = islice(self.replica.folding.latest_first(), log.taken - self._taken)
        self._taken = log.taken
        self._unread += [entry for entry in stable if entry.index >= self._cursor]  # it came and left meanwhile
        while self._cursor < log.next_index:
            entry = log.entries.get(self._cursor)
            self._cursor += 1
            if entry is not None:
                self._unread.append(entry)
        while self._unread and looked < budget:
            entry = self._unread.popleft()
            seq = entry.first
            for operation in entry.operations:
                self._recent.record(operation, (entry.origin, seq))
                seq += operation.width
            looked += entry.width
        return looked

    # -- submitting

    def _submit_batch(self, exile: Exile, entry: LogEntry) -> None:
        """One batch of an old life, as one batch of the new."""
        replica, life = self.replica, self._life(exile, entry.origin)
        told = exile.final_seq if life.me == exile.me else 0
        if entry.last <= (replica.final_seq(life.me) if replica.presumed_dead(life.me) else told):
            return  # the group has it
        if life.me != exile.me and not fate_of(entry, replica, exile):
            return  # it is forgotten there
        claimed: Ranges = []
        seq = entry.first
        for operation in entry.operations:
            dot = (life.me, seq)
            seq += operation.width
            if isinstance(operation, Resubmit):
                replica.claim(operation)
            elif isinstance(operation, RosterOperation) or replica.roster.claims.covers(dot):
                continue
            elif (row := self.report.get(dot)) is not None:  # since an attempt that was buried too
                self._submit_rest(life, operation, row)
            elif self._submit(life, operation, dot, entry.stamp):
                if claimed and sum(claimed[-1]) == dot[1]:
                    claimed[-1] = (claimed[-1][0], claimed[-1][1] + operation.width)
                else:
                    claimed.append((dot[1], operation.width))
        if claimed:
            replica.claim(Resubmit(life.me, claimed))
        replica.commit()

    def _life(self, exile: Exile, me: ReplicaId) -> Life:
        life = self._lives.get((exile.me, me))
        if life is None:
            life = self._lives[exile.me, me] = Life(exile, me, self.replica)
        return life

    def _submit(self, life: Life, operation: AnyOperation, dot: Dot, stamp: int) -> bool:
        """Submit one operation, or put it, or what is left of it, into the report; whether it is wholly done."""
        _, _, inner = _parts(operation)
        if isinstance(inner, SetAdd) or (life.is_proven and adds(operation)):
            self._do(life, operation, dot)
            return True
        rest: AnyOperation | None = operation
        done = (self.replica.me, self.replica.next_seq)
        if isinstance(inner, (SequenceRemove, SequenceAssign)):
            rest = self._do_own(life, operation, inner)
        if rest is None:
            return True
        reason = self._objection(life, rest)
        if reason is None:
            here, missing = self._split(rest)
            if here is not None:
                self._do(life, here, dot)
            if missing is None:
                return True
            rest, reason = missing, reasons.NOT_HERE
        if reason == DONE_ALREADY:
            self.counters["done_already"] += 1
            return True
        self.counters["withheld"] += 1
        row = Row(dot, rest, stamp, reason, life.exile.name, life.exile)
        row.done = done if self.replica.next_seq > done[1] else None
        self.report.put(row)
        return False

    def _submit_rest(self, life: Life, operation: AnyOperation, row: Row) -> None:
        """Submit again what an operation does beside its row, unless the group has it of the attempt that did it."""
        replica, done = self.replica, row.done
        if done is None or replica.final_seq(done[0]) < done[1]:
            row.done = replica.me, replica.next_seq
            _, _, inner = _parts(operation)
            if isinstance(inner, (SequenceRemove, SequenceAssign)):
                left = self._do_own(life, operation, inner)
                here = None if left is None or row.reason != reasons.NOT_HERE else self._split(left)[0]
                if here is not None:
                    self._do(life, here, NO_DOT)

    def _objection(self, life: Life, operation: AnyOperation) -> str | None:
        """Why an overwrite or a removal is not submitted; None where it may be."""
        key, _, inner = _parts(operation)
        if not life.is_proven:
            return reasons.NO_GRAVESTONE
        if isinstance(inner, Flush):
            return reasons.FLUSHING
        if isinstance(operation, Reset) and self._is_absent(key):
            return DONE_ALREADY
        replica = self.replica
        if any(r in replica.memory.blind or not replica.presumed_dead(r) for r in life.awaited):
            return reasons.UNKNOWN
        sequence = isinstance(inner, (SequenceRemove, SequenceAssign))
        return reasons.CHANGED if self._is_changed(life, key, ends_only=sequence) else None

    def _do(self, life: Life, operation: AnyOperation, dot: Dot) -> None:
        do(self.replica, life.exile, self.renamed, operation, dot)
        self.counters["submitted"] += 1

    def _do_own(
        self, life: Life, operation: AnyOperation, inner: SequenceRemove | SequenceAssign
    ) -> AnyOperation | None:
        """Do what an operation does to elements that were submitted here themselves; what is left of it."""
        first = life.final_seq + 1 if life.is_proven else UNLIMITED
        if isinstance(inner, SequenceAssign):
            if inner.element[0] != life.me or inner.element[1] < first:
                return operation
            self._do(life, operation, NO_DOT)
            return None
        ours: list[tuple[int, int, int]] = []
        others: list[tuple[int, int, int]] = []
        for replica, seq, count in inner.ranges:
            known = min(count, max(0, first - seq)) if replica == life.me else count
            if known:
                others.append((replica, seq, known))
            if known < count:
                ours.append((replica, seq + known, count - known))
        if ours:
            self._do(life, _with(operation, SequenceRemove(inner.key, ours)), NO_DOT)
        return _with(operation, SequenceRemove(inner.key, others)) if others else None

    def _split(self, operation: AnyOperation) -> tuple[AnyOperation | None, AnyOperation | None]:
        """What an operation does to elements that the group has, and to others: what it names has to be here. Whoever
        made those was buried before they came, and brings them under other names."""
        replica = self.replica
        _, _, inner = _parts(operation)
        if isinstance(inner, SequenceAssign):
            element = self.renamed.find(inner.element) or inner.element
            return (operation, None) if element[1] <= _known_upto(replica, element[0]) else (None, operation)
        if not isinstance(inner, SequenceRemove):
            return operation, None
        here: list[tuple[int, int, int]] = []
        missing: list[tuple[int, int, int]] = []
        for origin, seq, count in [each for old in inner.ranges for each in self.renamed.ranges(*old)]:
            known = max(0, min(count, _known_upto(replica, origin) - seq + 1))
            if known:
                here.append((origin, seq, known))
            if known < count:
                missing.append((origin, seq + known, count - known))
        return (
            _with(operation, SequenceRemove(inner.key, here)) if here else None,
            _with(operation, SequenceRemove(inner.key, missing)) if missing else None,
        )

    def _is_absent(self, key: bytes) -> bool:
        keyspace = self.replica.keyspace
        slots = keyspace.shards[shard_of(key)]
        return key not in slots.values and key not in slots.beside and keyspace.deadline_ms(key) is None

    def _is_changed(self, life: Life, key: bytes, *, ends_only: bool) -> bool:
        """Whether somebody else has changed a key, and the replica had not seen it."""
        return any(
            dot[0] not in self.lineage and not life.observed.covers(dot)
            for memory in (self.replica.memory, self._recent)
            for dots in ((memory.ends(key),) if ends_only else (memory.ends(key), memory.growths(key)))
            for dot in dots
        )


def sort_held(exile: Exile, replica: Replica, report: Report, limit: int) -> int:
    """Look at the next batches that are held of others: put what nobody else can bring any more into the report, and
    keep what its origin, a member, may still bring; how many operations were put there. O(limit)."""
    found = 0
    for _ in range(min(limit, len(exile.held))):
        entry = exile.held.popleft()
        fate = fate_of(entry, replica, exile)
        if fate is None:
            continue
        if not fate:
            exile.held.append(entry)
            continue
        seq = entry.first
        for operation in entry.operations:
            dot = (entry.origin, seq)
            seq += operation.width
            if not isinstance(operation, RosterOperation) and not replica.roster.claims.covers(dot):
                found += 1
                report.put(Row(dot, operation, entry.stamp, fate, exile.names.get(entry.origin, "?"), exile))
    return found


def fate_of(entry: LogEntry, replica: Replica, exile: Exile) -> str | None:
    """What becomes of a batch of somebody else: a reason for the report, None where the group has it, and an empty text
    where its origin is a member and may still bring it. O(line of sponsors)."""
    origin = entry.origin
    if replica.presumed_dead(origin):
        return reasons.NOT_OURS if entry.last > replica.final_seq(origin) else None
    if origin in replica.seen:
        return "" if entry.last > replica.seen[origin] else None
    while (join := exile.joins.get(origin)) is not None:  # did the group ever meet it?
        sponsor, seq = join
        if replica.presumed_dead(sponsor):
            return reasons.NEVER_MET if seq > replica.final_seq(sponsor) else None
        if sponsor in replica.seen:
            return reasons.NEVER_MET if seq > replica.seen[sponsor] else None
        origin = sponsor
    return None  # it has left, and is forgotten


def do(replica: Replica, exile: Exile, renamed: Renamed, operation: AnyOperation, dot: Dot) -> None:
    """Submit an operation of the old life: neighbours and elements under the names that they have now."""
    key, path, inner = _parts(operation)
    if isinstance(inner, SequenceInsert):
        here = None if replica.keyspace.is_left_over(key) else find_sequence(replica.keyspace, key, path)
        left, right = place(exile.sequences.get((key, path)), here, inner.left, renamed)
        new = replica.submit(_with(operation, SequenceInsert(inner.key, left, right, inner.values)))
        renamed.add(dot, len(inner.values), new)
        return
    if isinstance(inner, SequenceAssign):
        element = renamed.find(inner.element) or inner.element
        if element[1] > _known_upto(replica, element[0]):
            return
        inner = SequenceAssign(inner.key, element, inner.value)
    elif isinstance(inner, SequenceRemove):
        named = [each for old in inner.ranges for each in renamed.ranges(*old)]
        known = [(r, seq, min(count, _known_upto(replica, r) - seq + 1)) for r, seq, count in named]
        known = [each for each in known if each[2] > 0]
        if not known:
            return
        inner = SequenceRemove(inner.key, known)
    replica.submit(_with(operation, inner))


def _known_upto(replica: Replica, origin: ReplicaId) -> int:
    """How far the replica has what an origin made, its own open batch included: what it names it has to have."""
    if origin == replica.me:
        return replica.next_seq - 1
    if replica.presumed_dead(origin):
        return replica.final_seq(origin)
    return upto(replica.seen, origin, replica.roster.joins)


def replay(replica: Replica, row: Row, renamed: Renamed) -> bool:
    """Submit an operation of a report after all, in the open batch, with its claim; False where somebody else has."""
    if replica.roster.claims.covers(row.dot):
        return False
    do(replica, row.exile, renamed, row.operation, row.dot)
    replica.claim(Resubmit(row.dot[0], [(row.dot[1], row.operation.width)]))
    return True
