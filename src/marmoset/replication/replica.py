"""One replica of one group: keyspace, log, knowledge and roster, and the rules that tie them together (floor 5).

The life of a batch here. A local operation is applied at once and joins the open batch; `commit` closes it: it gets its
context as a difference from the one before (DESIGN.md 3.1), is logged and handed to the streams. A batch that arrives
is checked (nothing missing before it, context covered), applied whole, and logged in its turn. When the frontier has
passed a batch it leaves the log and its entries are forgotten, in slices (3.6). When somebody is gone for good and
everything of them is stable, they are forgotten too (4.7).

Two orders matter. A remote batch is never applied while a local one is open, since the open one's context was read
before. And operations on the roster always form a batch of their own, so that the vector of a join is the vector behind
its batch, the same everywhere.

Wall time is a function given at the start; whoever gives it decides how far it can be trusted.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast, final

from marmoset.clocks import Context, HybridClock, LocalContext, VersionVector, latest_stamp, stamp_ms, upto
from marmoset.codec.frames import frames
from marmoset.codec.messages import Batch, Report, encode
from marmoset.codec.operations import (
    AnyOperation,
    Bury,
    Expire,
    Join,
    KeyOperation,
    Leave,
    Ready,
    Reset,
    Resubmit,
    RosterOperation,
)
from marmoset.codec.runs import BatchWriter, operations_of, write_batch
from marmoset.codec.wire import decode_parts, encode_batch
from marmoset.errors import BROKEN_OFF, InternalError, PeerError
from marmoset.ids import Dot, ReplicaId
from marmoset.keyspace import Keyspace
from marmoset.replication.applying import Applying
from marmoset.replication.chain import NOT_MAKING, Chain
from marmoset.replication.folding import Folding
from marmoset.replication.memory import ChangeMemory
from marmoset.replication.oplog import LogEntry, OpLog, in_apply_order, log_entry
from marmoset.replication.roster import Member, Roster
from marmoset.replication.stability import Stability
from marmoset.replication.validation import check_batch
from marmoset.replication.verdicts import APPLIED, DUPLICATE, NOT_NOTED, OWN_BURIAL, TOO_EARLY, UNKNOWN_ORIGIN

LOCAL: Final = LocalContext()
FORGOTTEN_MAX: Final = 1024
STABLE_BATCHES: Final = 500
OPEN_BYTES_MAX: Final = 1 << 20
"""An open batch of this size is closed at the end of the command that brought it there."""


@final
class Replica:
    """The state of one group on one node."""

    __slots__ = (
        "_applied_local",
        "_claims_local",
        "_cut",
        "_open_bytes",
        "_open_stamp",
        "address",
        "batch_operations_max",
        "chain",
        "clock",
        "clock_skew_max_ms",
        "contexts",
        "counters",
        "folding",
        "frame_bytes_max",
        "group",
        "is_changing",
        "keyspace",
        "listener",
        "log",
        "me",
        "memory",
        "name",
        "next_seq",
        "open_batch",
        "parting_index",
        "recently_forgotten",
        "roster",
        "roster_version",
        "seen",
        "stability",
        "stability_changed",
        "state",
        "unsound",
        "wall_ms",
    )

    def __init__(
        self,
        *,
        keyspace: Keyspace,
        wall_ms: Callable[[], int],
        name: str,
        address: str,
        frame_bytes_max: int,
        batch_operations_max: int,
        clock_skew_max_ms: int = 10_000,
        memory_bytes_max: int = 64 << 20,
    ) -> None:
        self.keyspace = keyspace
        self.wall_ms = wall_ms
        self.name = name
        self.address = address
        self.frame_bytes_max = frame_bytes_max
        self.batch_operations_max = batch_operations_max
        self.clock_skew_max_ms = clock_skew_max_ms
        self.listener: Callable[[AnyOperation, Dot, int], None] | None = None
        """Told of every operation of our own as it is made, with its dot and stamp; for the simulator and tests."""
        self.clock = HybridClock()
        self.chain = Chain(keyspace)
        self.memory = ChangeMemory(memory_bytes_max)
        self.counters: dict[str, int] = {"batches_local": 0, "batches_remote": 0, "batches_folded": 0, "forgotten": 0}
        self.begin(0)

    def begin(self, me: ReplicaId) -> None:
        """Start from nothing under a new id: no keys, no log, no roster. An id is never begun with twice."""
        self.me = me
        self.clock.stamp = 0
        self.unsound = ""
        """Why nobody may be served from here any more; empty as long as all is well."""
        self.is_changing = False
        """Whether a write is in the middle, or a batch; where it stays so, an exception has broken that off."""
        self.group = self.state = 0
        self.next_seq = 1
        self.seen: VersionVector = {me: 0}
        self.contexts: dict[ReplicaId, VersionVector] = {me: {me: 0}}
        self.log = OpLog()
        self.roster = Roster()
        self.memory.gone = self.roster.gone
        self.roster_version = 0
        """Grows with each change of the roster."""
        self.stability = Stability(self.seen)
        self.stability_changed = False
        self.parting_index: int | None = None
        """Where my own leave stands in the log. What comes behind it is passed on to nobody: the others do not wait for
        me any more, and may have presumed dead, and forgotten, whom I still hear."""
        self.recently_forgotten: dict[ReplicaId, bool] = {}
        """The last `FORGOTTEN_MAX` replicas that were forgotten, and whether they had left: what is still under way of
        them is not news."""
        self.memory.clear()
        self.memory.blind.clear()
        self.open_batch = NOT_MAKING
        """What is written of the batch that is open; `plain_writes` adds to it, too."""
        self._open_bytes = self._open_stamp = 0
        self._applied_local = self._claims_local = self._cut = False
        self.folding = Folding()
        self.chain.begin(self.log)
        self.keyspace.clear()

    def begin_group(self, group: int) -> None:
        """Be the first member of a new group."""
        self.group = group
        self.roster.add(Member(self.me, self.name, self.address, None, born=True))
        self.roster_version += 1
        self._learn_self()

    def take_over(
        self,
        vector: VersionVector,
        contexts: dict[ReplicaId, VersionVector],
        known: list[tuple[ReplicaId, VersionVector, int, int]],
    ) -> None:
        """Take the tables of a snapshot: my vector is that of my join. O(replicas squared)."""
        self.seen.clear()
        self.seen.update(vector)
        self.contexts = contexts
        for replica, row, state, clock in known:
            self.stability.learn(replica, row, state, clock)
        self.state = 1
        self.keyspace.tracking = True
        self.roster_version += 1
        self._learn_self()

    # -- local operations

    def submit(self, operation: AnyOperation) -> Dot:
        """Apply an operation of our own at once and put it into the open batch; its (first) dot. Cost: the type's."""
        was_changing = self.begin_change()
        self.begin_write()
        if self.keyspace.deadlines.count:
            self._reset_left_over(operation)
        dot = (self.me, self.next_seq)
        try:
            if not self.keyspace.effect(operation, dot, self._open_stamp, LOCAL):
                self.chain.plain = False
        except InternalError as problem:
            if not problem.changed:
                self.is_changing = was_changing
            raise
        self.next_seq += operation.width
        if self.keyspace.tracking:
            self.open_batch.add(operation)
        elif self.roster.graves or self.roster.dead:  # it is stable at once
            self.memory.record_within(operation, dot)
        if self.listener is not None:
            self.listener(operation, dot, self._open_stamp)
        self.is_changing = was_changing
        return dot

    def begin_change(self) -> bool:
        """A write begins to change something that others are to have, too; what `is_changing` is to be when it is done.
        One that is alone has the data alone, and goes on with what it has. O(1)."""
        was_changing = self.is_changing
        self.is_changing = was_changing or self.keyspace.tracking
        return was_changing

    def begin_write(self) -> int:
        """Have a batch open: its stamp. O(1)."""
        if not self._applied_local:
            self._open_stamp = self.clock.tick(self.wall_ms())
            self._applied_local = True
            self.open_batch = BatchWriter(self.me, self.next_seq)
            self.chain.handle_batch(self.me, self.next_seq, self._open_stamp, self.open_batch)
        return self._open_stamp

    def _reset_left_over(self, operation: AnyOperation) -> None:
        """Before a write to a key whose deadline has passed: reset what is observed of the old, in the same batch."""
        if not isinstance(operation, KeyOperation) or isinstance(operation, (Reset, Expire)):
            return
        if self.keyspace.is_left_over(operation.key):
            self.submit(Reset(operation.key))

    def claim(self, operation: Resubmit) -> None:
        """Put into the open batch that it has operations of somebody who was buried. O(ranges of that one)."""
        was_changing = self.begin_change()
        self.begin_write()
        self.next_seq += 1
        if self.keyspace.tracking:
            self._claims_local = True
            self.open_batch.add(operation)
        else:
            self.roster.claims.add(operation.replica, operation.seqs, stamp_ms(self._open_stamp))
        self.is_changing = was_changing

    @property
    def is_remembering(self) -> bool:
        """Whether changes are written down: somebody was buried for whom that is of use. O(graves) at most."""
        return not self.roster.gone() <= self.memory.blind

    def forget_graves(self, before_ms: int) -> None:
        """Drop gravestones older than a moment, and with the last what was remembered for them. O(graves)."""
        if self.roster.forget_graves(before_ms):
            self.memory.forget_all_but(self.roster.gone())

    def end_of_command(self, size_bytes: int = 0) -> None:
        """Close the open batch if it is large: a turn of the loop is cut at the ends of commands only. O(1).
        `size_bytes` is what the command may have added to the batch, or 0 where nobody measured it."""
        self._open_bytes += size_bytes
        if self.open_batch.count >= self.batch_operations_max or self._open_bytes >= OPEN_BYTES_MAX:
            self.cut()

    def cut(self) -> None:
        """Close the open batch in the middle of a turn; `commit` at its end still says that there was something."""
        self._cut = self.commit() or self._cut

    def commit(self) -> bool:
        """Close the open batch: log it, for the streams to take; False when nothing was done since the last time,
        neither in this batch nor in one that was cut before it. O(batch + replicas)."""
        was_cut, self._cut = self._cut, False
        if self.is_changing:
            self.become_unsound(BROKEN_OFF)
        if self.unsound:
            return False
        self.keyspace.usage.written_bytes += self._open_bytes
        self._open_bytes = 0
        if not self._applied_local:
            return was_cut
        self.is_changing, self._applied_local = True, False
        last = self.next_seq - 1
        if self.open_batch.count:
            written, self.open_batch = self.open_batch, NOT_MAKING
            on_roster, self._claims_local = self._claims_local, False
            self._log_own(written, self._open_stamp, last, on_roster=on_roster)
        else:  # alone: everyone who will ever need this gets it in a snapshot
            self.seen[self.me] = last
            self.contexts[self.me] = dict(self.seen)
            self.state += 1
            self._learn_self()
        self.is_changing = False
        return True

    def submit_roster(self, operations: Sequence[RosterOperation]) -> list[Dot]:
        """Log operations on the roster, in a batch of their own. O(replicas)."""
        self.commit()
        self.is_changing = self.keyspace.tracking = True
        stamp = self.clock.tick(self.wall_ms())
        first = self.next_seq
        self.next_seq += len(operations)
        written = write_batch(cast("Sequence[AnyOperation]", operations), self.me, first)
        self._log_own(written, stamp, self.next_seq - 1, on_roster=True)
        self.is_changing = False
        return [(self.me, seq) for seq in range(first, self.next_seq)]

    def _log_own(self, written: BatchWriter, stamp: int, last: int, *, on_roster: bool) -> None:
        before = self.contexts[self.me]
        first = self.seen[self.me] + 1
        self.state += 1
        raw, is_exact = encode_batch(written)
        is_plain = is_exact and not on_roster and self.keyspace.chained and self.chain.plain
        operations = None if is_plain else written.operations()  # else somebody is going to ask for them
        raised = sorted((r, q) for r, q in self.seen.items() if before.get(r) != q)
        gone = sorted(r for r in before if r not in self.seen)
        batch = Batch(self.me, first, last - first + 1, stamp, self.state, raised, gone, raw)
        self.seen[self.me] = last
        after = dict(self.seen)
        self._log(log_entry(batch, operations, frames(encode(batch), self.frame_bytes_max), is_exact=is_exact))
        if on_roster:
            self._effect_roster(operations or [], self.me, first, after)
        self.contexts[self.me] = after
        self._learn_self()
        self.counters["batches_local"] += 1

    # -- batches that arrive

    def judge(self, batch: Batch) -> str | None:
        """Whether a batch can be applied now: None, or why not. O(raised)."""
        seen = self.seen.get(batch.origin)
        if seen is None:
            return DUPLICATE if batch.origin in self.recently_forgotten else UNKNOWN_ORIGIN
        if batch.last <= seen:
            return DUPLICATE
        if batch.first != seen + 1:
            return TOO_EARLY
        # a replica that is not in my vector was forgotten here: its join came before anything that names it
        return None if self.has_all(batch.raised) else TOO_EARLY

    def apply(self, batch: Batch, framed: bytes, effective: bool = True) -> str:
        """Apply a batch of somebody else, whole or not at all; what became of it. O(batch + replicas).

        With `effective` False its operations on keys are taken as done already: a snapshot brings their effects.

        Raises:
            PeerError: the batch is not well formed; nothing was changed.
            InternalError: it breaks a rule that only shows while it is applied. Unless it says that nothing was
                changed, half of it is: `unsound` says so from now on, and nobody may be served any more.
        """
        verdict = self.judge(batch)
        if verdict is not None:
            return verdict
        if self._applied_local:
            raise InternalError("a batch arrives while a local one is open", changed=False)
        after = {**self.contexts[batch.origin], **dict(batch.raised)}
        for replica in batch.dropped:
            after.pop(replica, None)
        after[batch.origin] = batch.last
        context = Context(after, self.roster.joins)
        if self.chain.is_ending and not self.chain.admits(context):
            return NOT_NOTED
        parts = decode_parts(batch.operations, batch.origin, batch.first)
        on_roster = check_batch(batch, parts, context, (self.seen, self.roster.graves))
        if not self.chain.admits(context):
            return NOT_NOTED
        if on_roster and any(isinstance(part, Bury) and part.replica == self.me for part in parts):
            return OWN_BURIAL
        self.chain.handle_remote(batch, context)
        self.chain.plain = effective
        applying = Applying(batch, context, self.keyspace, self.chain)
        try:
            if effective:
                applying.effect(parts)
            self._take_in(batch, operations_of(parts) if on_roster else None, framed, after)
        except Exception as problem:
            if applying.done or not isinstance(problem, InternalError) or problem.changed:
                self.become_unsound(f"half of a batch was applied: {problem!r}")
                raise InternalError(self.unsound) from problem
            raise
        return APPLIED

    def become_unsound(self, why: str) -> None:
        """Remember that a rule was broken in the middle of a change: nothing here is to be relied on any more."""
        self.unsound = self.unsound or why

    def _take_in(self, batch: Batch, on_roster: list[AnyOperation] | None, framed: bytes, after: VersionVector) -> None:
        """What else follows from a batch whose operations on keys are done. `on_roster` are all its operations, if some
        are not on keys."""
        origin, last = batch.origin, batch.last
        self.clock.merge(batch.stamp)
        self.seen[origin] = last
        self._log(log_entry(batch, on_roster, framed))
        self.keyspace.usage.written_bytes += len(framed)
        if on_roster is not None:
            self._effect_roster(on_roster, origin, batch.first, after)
        self.contexts[origin] = after
        self.state += 1
        self.stability.learn(origin, after, batch.state, batch.stamp)
        self._learn_self()
        self.counters["batches_remote"] += 1

    def _log(self, entry: LogEntry) -> None:
        self.log.append(entry, is_own=entry.origin == self.me)
        self.chain.handle_logged(entry)

    def _effect_roster(
        self, operations: list[AnyOperation], origin: ReplicaId, first: int, after: VersionVector
    ) -> None:
        """Effects on the roster; `after` is the origin's vector behind the batch, which a join adds to."""
        seq = first
        for operation in operations:
            dot = (origin, seq)
            seq += operation.width
            if isinstance(operation, Join):
                newcomer = operation.replica
                self.roster.add(Member(newcomer, operation.name, operation.address, dot, born=False))
                self.seen.setdefault(newcomer, 0)
                after[newcomer] = 0  # from here on, no entry means forgotten
                self.contexts[newcomer] = dict(after)
                self.stability.learn(newcomer, after, 0, 0)
                self.keyspace.tracking = True
                if origin == self.me:  # a snapshot has windows
                    self.chain.begin_end()
            elif isinstance(operation, Ready):
                self.roster.members[origin].born = True
            elif isinstance(operation, Bury):
                self.roster.bury(operation.replica, dot)
            elif isinstance(operation, Leave):
                self.roster.left[origin] = dot
                if origin == self.me:
                    self.parting_index = self.log.next_index - 1
            elif isinstance(operation, Resubmit):
                self.roster.claims.add(operation.replica, operation.seqs, stamp_ms(self.clock.stamp))
                continue
            else:
                continue
            self.roster_version += 1

    # -- knowledge

    def _learn_self(self) -> None:
        """My own row is my vector itself; only the number of its state changes."""
        self.stability.known[self.me] = self.seen
        self.stability.states[self.me] = self.state
        self._knowledge_grew()

    def _knowledge_grew(self) -> None:
        """Somebody is known to have more: burials may take effect, batches may be stable."""
        # Not those that a leaver has in its table: it counts reports of more than it has, so a row may lack an entry
        # because of a burial that is not here, and would be read as having everything that the buried one logged.
        if not self.is_leaving:
            self.roster.take_effect(self.stability.known)
        self.stability_changed = True

    def report(self, to: ReplicaId, since: int) -> tuple[Report, int]:
        """What I have and what I know that changed since change number `since`; see `Stability.report`."""
        return self.stability.report(self.me, self.state, self.clock.tick(self.wall_ms()), to, since, self.roster.dead)

    def has_all(self, vector: Sequence[tuple[ReplicaId, int]]) -> bool:
        """Whether everything in a vector is here; what was forgotten here was here. O(replicas)."""
        seen = self.seen
        return all(seen.get(replica, seq) >= seq for replica, seq in vector)

    def count_report(self, report: Report) -> None:
        """Count a report, everything that its sender had being here. O(rows x replicas)."""
        leaving, seen, changed = self.is_leaving, self.seen, False
        if not leaving and not self.has_all(report.own.vector):
            raise InternalError("a report is counted before what its sender had has come", changed=False)
        believable = latest_stamp(self.wall_ms() + self.clock_skew_max_ms)
        rows = [row for row in report.rows if self.stability.is_news(row.replica, row.state, row.clock)]
        if not leaving and not all(self.has_all(row.vector) for row in rows):
            raise PeerError("a report of more than its sender has")
        for row in (report.own, *rows):
            if row.clock <= believable:
                self.clock.merge(row.clock)
            if row.replica in seen and row.replica != self.me:
                vector = dict(row.vector)
                if leaving:  # it folds no more; all that it still wants to know is who has its leave
                    vector = {r: min(q, seen.get(r, q)) for r, q in vector.items()}
                changed = self.stability.learn(row.replica, vector, row.state, row.clock) or changed
        if changed:
            self._knowledge_grew()

    def is_stamped_ahead(self, stamp: int) -> bool:
        """Whether no member whose clock is right can have stamped an operation, or a snapshot, so late. O(1).

        A member may be ahead of us by `clock_skew_max`, and have counted a report of one that is ahead of it by as
        much; what else it has observed is here before.
        """
        return stamp > self.clock.stamp and stamp > latest_stamp(self.wall_ms() + 2 * self.clock_skew_max_ms)

    def covers(self, vector: VersionVector, dot: Dot) -> bool:
        """Whether a vector covers a dot, missing entries read as DESIGN.md 4.7 says. O(1)."""
        return upto(vector, dot[0], self.roster.joins) >= dot[1]

    def is_known_to(self, member: ReplicaId, dot: Dot) -> bool:
        """Whether a member is known to have an operation. O(1)."""
        vector = self.stability.known.get(member)
        return vector is not None and self.covers(vector, dot)

    def presumed_dead(self, replica: ReplicaId) -> bool:
        """Whether the burial of a replica has taken effect here."""
        return self.roster.presumed_dead(replica)

    def final_seq(self, replica: ReplicaId) -> int:
        """How far the group has the operations of somebody whose burial has taken effect: no more will come. O(1)."""
        final = self.roster.graves.get(replica)
        return self.seen.get(replica, 0) if final is None else final

    def frontier(self) -> VersionVector:
        """The vector up to which everything is causally stable, as known here. O(replicas squared)."""
        return self.stability.frontier(self.roster.counted(), self.roster.joins)

    # -- folding and forgetting

    def advance(self, budget: int = STABLE_BATCHES) -> bool:
        """Take what has become stable out of the log, to be folded, about `budget` batches at most; True while there is
        something to fold. What is left is taken once that is done. O(replicas squared + budget)."""
        if not self.stability_changed or self.is_leaving:  # a leaver may lack what is stable for the others
            return bool(self.folding)
        self.stability_changed = False
        frontier = self.frontier()
        self.chain.mind_wound()
        self.folding.take(self.log, frontier, self.chain.plain_from, budget)
        if not self.folding:
            self._settle(frontier)
            self.chain.look_for_more()
        self.chain.tidy(lets_in=self.roster.lets_in(self.me))
        return bool(self.folding)

    def fold_slice(self, budget: int) -> bool:
        """Fold stable batches, touching about `budget` elements; True while some are left, here or for `advance`.
        O(budget)."""
        remember = self.memory.record_within if self.is_remembering else None
        try:
            self.counters["batches_folded"] += self.folding.fold(self.keyspace, budget, remember)
        except Exception as problem:
            self.become_unsound(f"half of a batch was folded: {problem!r}")
            raise InternalError(self.unsound) from problem
        if not self.folding:
            self.stability_changed = True  # more can be taken, or somebody may be ready to be forgotten
        return bool(self.folding) or self.folding.is_cut

    def unfolded(self) -> Iterator[LogEntry]:
        """Every batch that may now have window entries, in apply order: the log, and what is stable but not yet
        folded. The tables are copied at once, so what happens later changes nothing. O(n) in C, then O(1) each."""
        return iter(in_apply_order([*self.folding, *self.log.entries.values()]))

    def _settle(self, frontier: VersionVector) -> None:
        """With nothing left to fold: forget who is gone, and stop tracking in a group of one."""
        roster = self.roster
        if roster.left or roster.buried:
            counted = self.roster.counted()
            for replica, dot in sorted({**roster.left, **roster.buried}.items()):
                stable = dot[0] not in frontier or dot[1] <= frontier[dot[0]]
                whole = frontier.get(replica, -1) == self.seen.get(replica, -2) and replica not in self.log.queues
                if stable and whole and replica not in counted and replica != self.me:
                    self._forget(replica)
        alone = len(roster.members) == 1 and self.me in roster.members
        if alone and not self.log.entries and not self.open_batch.count:
            self.chain.end()
            self.chain.forget()
            self.keyspace.tracking = False

    def _forget(self, replica: ReplicaId) -> None:
        self.recently_forgotten[replica] = replica in self.roster.left
        self.roster.forget(replica, self.seen[replica], stamp_ms(self.clock.stamp))
        self.roster_version += 1
        if len(self.recently_forgotten) > FORGOTTEN_MAX:
            del self.recently_forgotten[next(iter(self.recently_forgotten))]
        self.seen.pop(replica, None)
        self.contexts.pop(replica, None)
        self.stability.forget(replica)
        self.state += 1
        self._learn_self()
        self.counters["forgotten"] += 1

    @property
    def is_leaving(self) -> bool:
        """Whether my leave is logged: the others do not wait for me any more, so I may miss what they write. O(1)."""
        return self.me in self.roster.left

    @property
    def is_at_rest(self) -> bool:
        """Whether no metadata is kept: no log, no windows. O(shards)."""
        return not (self.open_batch.count or self.log.entries or self.folding) and self.keyspace.is_at_rest

    def _check(self) -> None:
        """Every invariant of the replica; for tests and the simulator. O(n)."""
        self.log._check()
        self.roster._check()
        self.stability._check()
        self.keyspace._check()
        self.memory._check()
        self.chain._check()
        assert set(self.seen) == set(self.roster.members), "the vector and the roster name different replicas"
        assert set(self.contexts) == set(self.stability.known) == set(self.roster.members)
        assert self.stability.known[self.me] is self.seen
        if not self._applied_local:
            assert self.next_seq == self.seen[self.me] + 1
        for replica, vector in self.stability.known.items():
            assert all(seq <= self.seen.get(r, seq) for r, seq in vector.items()), f"{replica} is known to have more"
        if not self.keyspace.tracking:
            assert not self.log.entries and not self.keyspace.window_entries
