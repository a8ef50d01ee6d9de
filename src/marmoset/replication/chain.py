"""Chains: operations that need no windows, because each has observed all that is unstable (floor 5).

A window tells apart operations that have not observed one another (DESIGN.md 3.7). Most of the time there are none:
what is written here has observed whatever is here, and so has what comes from elsewhere while nobody writes on two
sides at once. As long as that goes on, what is in the log is a chain: values are changed as in a group of one, and
nothing is left to be folded when it becomes stable.

The first batch that has not observed all of the log ends the chain. It has to wait until what is in the log is noted
key by key (`Keyspace.wind_later`), in steps; more may be chained meanwhile. Then a window is made where a key is
touched again: it is the one that tracking would have left, since at each key every operation has observed those before
it. What is stable needs none, folded or not: whatever comes has observed it. The chain goes on once all that was logged
by its end is stable. A chain that has grown long ends by itself, so that a batch does not have to wait for long.

Keys that were changed often are *busy*. One batch may touch several of them, and would make all their windows at once.
So theirs are made once all is noted, in steps as well, and what waits for the end waits for these, too.

A snapshot has windows, so who lets somebody in chains nothing meanwhile.
"""

from collections import deque
from typing import Final, final

from marmoset.clocks import Context
from marmoset.codec.messages import Batch
from marmoset.codec.operations import AnyOperation, RosterOperation, width_of
from marmoset.codec.runs import BatchWriter
from marmoset.codec.wire import decode_operations
from marmoset.crdts.plain_slots import PlainSlots
from marmoset.crdts.sequence_chain import Insertions
from marmoset.hashing import SHARDS
from marmoset.ids import Dot, ReplicaId
from marmoset.keyspace import Keyspace
from marmoset.replication.oplog import LogEntry, OpLog

LENGTH_MAX: Final = 1 << 18
STEP_OPERATIONS: Final = 256
SWEEP: Final = 256
FORGET_MAX: Final = SHARDS
"""So many notes are forgotten one by one; with more of them all shards forget theirs."""
NOT_MAKING: Final = BatchWriter(0, 0)


@final
class Chain:
    """Whether the log of one replica is a chain, and what has to be done when it ends."""

    __slots__ = (
        "_cursor",
        "_first",
        "_inserted",
        "_keyspace",
        "_log",
        "_looked_index",
        "_making",
        "_noted_index",
        "_origin",
        "_raw",
        "_resume_index",
        "_stamp",
        "has_ended",
        "is_ending",
        "length_max",
        "plain",
        "plain_from",
        "step_operations",
    )

    def __init__(self, keyspace: Keyspace, length_max: int = LENGTH_MAX) -> None:
        self._keyspace = keyspace
        keyspace.unchain = self._end_before
        keyspace.notes.is_unstable = self._is_unstable
        self.length_max = length_max
        """With more operations in the log the chain ends by itself, though more may come until it has; 0 for always
        having windows."""
        self.step_operations = STEP_OPERATIONS
        """About how many are noted in one step."""
        self._raw: bytes | None = None
        self.begin(OpLog())

    def begin(self, log: OpLog) -> None:
        """Start with another log, with windows."""
        self._log = log
        self._keyspace.chained = False
        self._keyspace.notes.begin()
        self.is_ending = False
        """Whether `step` has something to do, and what has not observed all of the log has to wait."""
        self.has_ended = False
        """Whether the chain has ended since this was last set to False: what came too early for that can be applied."""
        self._cursor = 0
        self._noted_index = 0
        """What the log has from here on was not noted when the chain ended: it had windows."""
        self._resume_index = 0
        """What the log has before this index has to be stable before windows can be done without again."""
        self._looked_index = 0
        """Once more of the log is stable, it is looked again whether any key has more than a plain value."""
        self._inserted: deque[tuple[int, PlainSlots, bytes, Insertions]] = deque()
        """Where insertions are written down, and an index of the log before which some of them stood."""
        self.plain = True
        """Whether nothing of the batch that is being made or applied has to be folded."""
        self.plain_from = 0
        """What the log has before this index has to be folded, though it had no windows when it was applied."""
        self.handle_batch(0, 0, 0, NOT_MAKING)

    def handle_batch(self, origin: ReplicaId, first: int, stamp: int, making: BatchWriter) -> None:
        """A batch of our own begins: from here on `making` is written to. O(1)."""
        self._origin = origin
        self._first = first
        self._stamp = stamp
        self._making = making
        self._raw = None
        self._keyspace.notes.is_observing = True

    def handle_remote(self, batch: Batch, context: Context) -> None:
        """From here on a batch of somebody else is applied. O(origins)."""
        self.handle_batch(batch.origin, batch.first, batch.stamp, NOT_MAKING)
        self._raw = batch.operations
        self._keyspace.notes.is_observing = self._is_observed_by(context)

    def admits(self, context: Context) -> bool:
        """Whether a batch of somebody else can be applied now. If not, it can once the steps are done that are begun
        with this. O(origins + one step)."""
        if self._is_observed_by(context):
            return True
        self._resume_index = self._log.next_index + 1  # behind this batch
        if not self._keyspace.chained and not self.is_ending:
            return True
        self.begin_end()
        return not self.step()

    def _is_observed_by(self, context: Context) -> bool:
        """Whether a context covers all of the log."""
        for origin, queue in self._log.queues.items():  # noqa: SIM110  # compiled without a generator
            if not context.covers((origin, queue[-1].last)):
                return False
        return True

    def handle_logged(self, entry: LogEntry) -> None:
        """The batch is in the log. O(1); while the chain ends, O(batch): more is noted then than has come."""
        notes = self._keyspace.notes
        chained = self._keyspace.chained
        entry.is_chained = chained
        entry.is_plain = chained and self.plain
        self.plain = True
        self._making = NOT_MAKING
        self._raw = None
        if entry.is_plain:
            entry.let_go()
        self.mind_wound()
        if notes.begun:
            self._inserted += [(self._log.next_index, *each) for each in notes.begun]
            notes.begun = []
        self._origin = entry.origin  # batches of operations on the roster are logged without more ado
        self._first = entry.last + 1
        if self.is_ending:
            self.step(2 * entry.width)
        elif chained and self._log.operations > self.length_max:
            self.begin_end()

    def mind_wound(self) -> None:
        """Windows may have been made of insertions, which have to be folded then: all that is in the log, and the batch
        that is open. O(1)."""
        notes = self._keyspace.notes
        if notes.has_wound:
            notes.has_wound = False
            self.plain_from = self._log.next_index
            if self._making.count or self._raw is not None:
                self.plain = False

    def begin_end(self) -> None:
        """The chain has to end: `step` does it. O(1)."""
        if self._keyspace.chained and not self.is_ending:
            self.is_ending = True
            self._cursor = self._log.first_index

    def step(self, budget: int = 0) -> bool:
        """Note more of what is in the log, if the chain has to end, and then make the windows of what is busy; True
        while there is more. `budget` is how many operations, if not `step_operations`. O(budget + one batch or key)."""
        if not self.is_ending:
            return False
        budget = self._note(budget or self.step_operations)
        if self._keyspace.chained:
            return True
        busy = self._keyspace.notes.busy
        while busy:
            if budget <= 0:
                return True
            slots, name = busy.pop()
            budget -= slots.wind(name)
        self._finish()
        return False

    def _note(self, budget: int) -> int:
        """Note more of what is in the log, and end the chain behind the last of it; what is left of the budget."""
        log = self._log
        if not self._keyspace.chained:
            return budget
        self._cursor = max(self._cursor, log.first_index)
        while self._cursor < log.next_index:
            if budget <= 0:
                return 0
            entry = log.entries.get(self._cursor)
            self._cursor += 1
            if entry is not None and entry.is_chained:
                entry.is_chained = entry.is_plain = False
                self._wind_later(entry.origin, entry.first, entry.stamp, entry.operations, entry.last + 1)
                budget -= entry.width
        self._keyspace.chained = False
        self._noted_index = log.next_index
        if self._making.count:  # what the open batch has done so far
            self._note_open(self._making.operations(), self._making.next_seq)
        self._resume_index = max(self._resume_index, self._noted_index)
        return budget

    def _finish(self) -> None:
        """What waits for the end may go on: windows that were put off are made where something comes."""
        self.is_ending = False
        self.has_ended = True
        self._keyspace.notes.busy = []

    def end(self) -> None:
        """End at once, all windows put off. O(log)."""
        self.begin_end()
        if self.is_ending:
            while self._keyspace.chained:
                self._note(self.step_operations)
            self._finish()

    def _end_before(self, seq: int) -> None:
        """End in the middle of a batch, before one of its operations."""
        self.end()
        if self._raw is not None:
            self._note_open(decode_operations(self._raw, self._origin, self._first), seq)

    def _note_open(self, operations: list[AnyOperation], stop: int) -> None:
        self._noted_index = self._resume_index = self._log.next_index + 1
        self.plain = False
        self._wind_later(self._origin, self._first, self._stamp, operations, stop)

    def _wind_later(self, origin: ReplicaId, seq: int, stamp: int, operations: list[AnyOperation], stop: int) -> None:
        for operation in operations:
            if seq >= stop:
                return
            if not isinstance(operation, RosterOperation):
                self._keyspace.wind_later(operation, (origin, seq), stamp)
            seq += width_of(operation)

    def _is_unstable(self, dot: Dot) -> bool:
        """Whether an operation that was noted is in the log, or in the batch that is being made."""
        queue = self._log.queues.get(dot[0])
        if queue is not None:
            return dot[1] >= queue[0].first
        return dot[0] == self._origin and dot[1] >= self._first

    def look_for_more(self) -> None:
        """All that left the log is folded: note it if no key has more than a plain value any more. O(1), O(shards) once
        for what the log had at one time."""
        keyspace, log = self._keyspace, self._log
        if keyspace.notes.has_more and log.first_index > self._looked_index:
            self._looked_index = max(log.first_index, log.next_index - 1)
            keyspace.look_for_more()

    def tidy(self, *, lets_in: bool) -> None:
        """Forget what was noted of operations that are stable by now, and go on without windows where what had to have
        them is stable, and nobody is let in here. O(notes looked at), O(shards) once in a while."""
        keyspace, log = self._keyspace, self._log
        if not log.entries and not self._making.count:
            if keyspace.notes.has_insertions:
                self._forget_insertions()
        elif keyspace.chained:
            self._sweep()
        if keyspace.chained:
            return
        first = log.first_index
        if self._noted_index and first >= self._noted_index:
            self._noted_index = 0
            self.forget()
        if (
            keyspace.tracking
            and not lets_in
            and first >= self._resume_index
            and log.operations < self.length_max // 2
            and not keyspace.snapshot_vectors
            and not any(slots.readings for slots in keyspace.shards)
        ):
            self.forget()
            keyspace.chained = True

    def forget(self) -> None:
        """Nothing that is noted is unstable any more. O(shards)."""
        self._keyspace.forget_unwound()
        self._inserted = deque()
        if self.is_ending and not self._keyspace.chained:
            self._finish()

    def _forget_insertions(self) -> None:
        """All are stable. As small groups are at rest between any two writes, mostly a few: not all shards are looked
        at for them. O(notes), at most O(shards)."""
        keyspace, notes = self._keyspace, self._keyspace.notes
        if not keyspace.chained or self.is_ending or len(self._inserted) + len(notes.begun) > FORGET_MAX:
            self.forget()
            return
        for _, slots, name, made in self._inserted:
            slots.forget_insertions(name, made)
        for slots, name, made in notes.begun:
            slots.forget_insertions(name, made)
        self._inserted, notes.begun, notes.has_insertions = deque(), [], False

    def _sweep(self) -> None:
        """Forget insertions that are stable, where some may be. O(`SWEEP` sequences)."""
        first = self._log.first_index
        for _ in range(min(SWEEP, len(self._inserted))):
            if self._inserted[0][0] > first:
                return
            _, slots, name, made = self._inserted.popleft()
            if slots.insertions.get(name) is made and made.forget(self._is_unstable):
                self._inserted.append((self._log.next_index, slots, name, made))
            else:
                slots.forget_insertions(name, made)

    def _check(self) -> None:
        keyspace = self._keyspace
        assert not NOT_MAKING.count, "something was written to no batch"
        assert keyspace.tracking or not keyspace.chained, "a chain in a group of one"
        assert keyspace.chained or keyspace.notes.busy or not self.is_ending
        unwound = any(slots.unwound for slots in keyspace.shards)
        insertions = any(slots.insertions for slots in keyspace.shards)
        assert not insertions or keyspace.notes.has_insertions
        assert not keyspace.chained or self.is_ending or not unwound, "a chain beside what another one has left"
        assert not keyspace.chained or not any(slots.readings for slots in keyspace.shards), "a chain is being read"
        for entry in self._log.entries.values():
            assert keyspace.chained or not (entry.is_chained or entry.is_plain), "a batch of a chain that has ended"
