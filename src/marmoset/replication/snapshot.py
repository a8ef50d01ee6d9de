"""Snapshots: how a newcomer gets everything (floor 5, DESIGN.md 4.1).

Nothing after the join can leave the log, since the newcomer holds the frontier with the vector of its join. So a
snapshot need not be of one instant: roster, contexts, knowledge and log are those of the join, and shards of the
keyspace are read one after another, each sent with the vector at which it was read, while the sponsor goes on
serving. Reading a shard may take several steps: `crdts.reading` gives it as it stood at the first of them, large values
too. Then the log after the join follows as an ordinary stream; the newcomer leaves out, shard by shard, what that
shard's vector covers. It is complete when it has caught up with the latest of those vectors.

The log of the join is taken at the join, not when it is sent: batches that are folded meanwhile would leave window
entries in shards read before with nobody to forget them. For the same reason it has what is stable and not yet folded.

A source holds references to the batches of the log, the encoded parts of one step, and what was about to change in the
shard that it is reading; `close` lets go of that.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, final

import msgspec

from marmoset.clocks import VersionVector
from marmoset.codec.frames import frames
from marmoset.codec.messages import (
    AnyMessage,
    Batch,
    KnownRow,
    RosterRow,
    SnapshotBegin,
    SnapshotChanges,
    SnapshotEnd,
    SnapshotPart,
    encode,
    vector_pairs,
)
from marmoset.codec.operations import Flush
from marmoset.codec.wire import decode_operations
from marmoset.crdts.exports import ENTRY_KINDS, AnyEntry, DeadlineEntry, Importer, decode_entries
from marmoset.crdts.reading import SlotsReading
from marmoset.crdts.types import Value, Window
from marmoset.errors import PeerError
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import ReplicaId
from marmoset.replication.memory import PARTS
from marmoset.replication.oplog import log_entry
from marmoset.replication.replica import Replica
from marmoset.replication.roster import Member

STEP_ELEMENTS: Final = 512
"""About how many elements are read and encoded in one step."""
NAMES_PER_ELEMENT: Final = 16
"""So many names are listed, when the reading of a shard begins, in the time that an element takes to be read."""
LOG_STEP_BYTES: Final = 1 << 18
"""About how many bytes of the log of the join are given in one step."""

_encoder: Final = msgspec.msgpack.Encoder()


@final
class SnapshotSource:
    """The sponsor's side: a snapshot for one newcomer, made step by step."""

    __slots__ = (
        "_changes",
        "_has_log",
        "_log",
        "_queue",
        "_reading",
        "_shard",
        "_step_elements",
        "_vector",
        "bytes_sent",
        "join_index",
        "keys",
        "keys_sent",
        "replica",
    )

    def __init__(self, replica: Replica, newcomer: ReplicaId, step_elements: int = STEP_ELEMENTS) -> None:
        """Right behind the join, with no batch open. O(replicas squared + log)."""
        self.replica = replica
        self.join_index = replica.log.next_index
        self.keys = len(replica.keyspace)
        """How many there were at the join."""
        self.keys_sent = 0
        self.bytes_sent = 0
        self._log = iter(replica.unfolded())
        self._has_log = True
        self._queue: deque[bytes] = deque()
        self._shard = 0
        self._step_elements = step_elements
        self._changes: Iterator[SnapshotChanges] | None = _changes(replica) if replica.roster.gone() else None
        self._reading: SlotsReading | None = None
        self._vector: list[tuple[int, int]] = []
        self._put(_begin(replica, newcomer))

    def _put(self, message: SnapshotBegin | SnapshotChanges | SnapshotPart | SnapshotEnd) -> None:
        self._queue.append(frames(encode(message), self.replica.frame_bytes_max))

    def step(self) -> list[bytes]:
        """The next frames to send, about one step's worth; empty when everything was given. The replica must have no
        open batch. O(step)."""
        if not self._queue:
            if self._has_log:
                self._give_log()
            if not self._queue and self._changes is not None:
                self._give_changes(self._changes)
            if not self._queue and not self.is_done:
                self._read()
        frames_now = list(self._queue)
        self._queue.clear()
        self.bytes_sent += sum(map(len, frames_now))
        return frames_now

    def _give_changes(self, changes: Iterator[SnapshotChanges]) -> None:
        message = next(changes, None)
        if message is None:
            self._changes = None
        else:
            self._put(message)

    def _give_log(self) -> None:
        budget = LOG_STEP_BYTES
        while budget > 0:
            entry = next(self._log, None)
            if entry is None:
                self._has_log = False
                return
            budget -= len(entry.framed)
            self._queue.append(entry.framed)

    def _read(self) -> None:
        """Read on until a step is full: the rest of the shard that was begun, then others as they stand now."""
        self.replica.chain.begin_end()  # until it has ended, windows cannot be told
        if self.replica.chain.step():
            return
        budget = self._step_elements
        if self._reading is not None:
            first, entries = self._shard, list[AnyEntry]()
            budget -= self._take(entries, budget)
            self._put(SnapshotPart(first, 1, self._vector, _encoder.encode(entries)))
        if budget > 0 and self._shard < SHARDS:
            first, entries = self._shard, []
            self._vector = vector_pairs(self.replica.seen)
            while budget > 0 and self._shard < SHARDS:
                if self.replica.keyspace.is_untouched(self._shard):
                    self._shard += 1
                    continue
                self.replica.keyspace.wind_all(self._shard)
                self._reading = SlotsReading(self.replica.keyspace.shards[self._shard], self._step_elements)
                budget -= self._reading.names // NAMES_PER_ELEMENT
                entries += self.replica.keyspace.export_deadlines(self._shard)
                budget -= self._take(entries, budget)
            shards = self._shard - first + (self._reading is not None)
            self._put(SnapshotPart(first, shards, self._vector, _encoder.encode(entries)))
        if self._shard == SHARDS:
            self._put(SnapshotEnd())

    def _take(self, entries: list[AnyEntry], budget: int) -> int:
        """Read on in the shard that was begun; how much that was."""
        reading = self._reading
        assert reading is not None
        names, weighed = reading.names_taken, reading.weight_taken
        entries += reading.take(budget)
        self.keys_sent += reading.names_taken - names
        if reading.is_done:
            self.close()
            self._shard += 1
        return reading.weight_taken - weighed

    def close(self) -> None:
        """Nothing is kept for this snapshot any more."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None

    @property
    def is_done(self) -> bool:
        """Whether everything was given."""
        return self._shard == SHARDS and not self._queue and not self._has_log and self._changes is None

    def progress(self) -> dict[str, int]:
        """Keys given, of how many at the join (others may have come since), and bytes."""
        return {"keys": self.keys_sent, "of": self.keys, "bytes": self.bytes_sent}


def _begin(replica: Replica, newcomer: ReplicaId) -> SnapshotBegin:
    stability, roster = replica.stability, replica.roster
    return SnapshotBegin(
        replica.group,
        newcomer,
        vector_pairs(replica.seen),
        replica.clock.stamp,
        [
            RosterRow(
                r,
                member.name,
                member.address,
                member.join,
                member.born,
                roster.left.get(r),
                roster.buried.get(r),
                r in roster.dead,
            )
            for r, member in sorted(roster.members.items())
        ],
        [(r, final_seq, roster.graves_ms[r]) for r, final_seq in sorted(roster.graves.items())],
        roster.claims.rows(),
        [(r, vector_pairs(vector)) for r, vector in sorted(replica.contexts.items())],
        [
            KnownRow(r, stability.states[r], stability.clocks.get(r, 0), vector_pairs(vector))
            for r, vector in sorted(stability.known.items())
        ],
        SHARDS,
        len(replica.keyspace),
    )


def _changes(replica: Replica) -> Iterator[SnapshotChanges]:
    """What is remembered of changes, part by part: each as it stands when it is asked for, which is after the join, so
    nothing that was folded before that is missing (4.6)."""
    memory = replica.memory
    for number in range(PARTS):
        ended, grown = memory.part(number)
        if ended or grown:
            yield SnapshotChanges(ended, grown, [], [])
    yield SnapshotChanges([], [], vector_pairs(memory.flushes), sorted(memory.blind))


def _check_lines(sponsors: dict[ReplicaId, ReplicaId]) -> None:
    """Refuse lines of sponsors that run in circles: following one would never end. O(replicas)."""
    ending: set[ReplicaId] = set()
    for replica in sponsors:
        line: set[ReplicaId] = set()
        while replica in sponsors and replica not in ending:
            if replica in line:
                raise PeerError("a snapshot with a replica that let itself in")
            line.add(replica)
            replica = sponsors.get(replica, 0)
        ending |= line


@final
class SnapshotSink:
    """The newcomer's side: fills an empty replica. Nobody is served before `is_complete`."""

    __slots__ = (
        "_importer",
        "_key",
        "_kind",
        "_value",
        "_window",
        "bytes_received",
        "ended",
        "keys_expected",
        "keys_received",
        "replica",
    )

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.ended = False
        self.keys_expected = 0
        self.keys_received = 0
        self.bytes_received = 0
        self._importer = Importer(replica.keyspace.split_above)
        self._key: bytes | None = None  # what is being put together, to be kept once something else comes
        self._kind = -1
        self._value: Value | None = None
        self._window: Window | None = None

    def take(self, message: AnyMessage, data: bytes) -> None:
        """Take one message of the snapshot, `data` as it came. Costs: those of what it brings.

        Raises:
            PeerError: it is none, or not one that a sponsor makes; the attempt is over.
        """
        self.bytes_received += len(data)
        if isinstance(message, SnapshotBegin):
            self.begin(message)
        elif isinstance(message, Batch):
            self.log(message, data)
        elif isinstance(message, SnapshotChanges):
            self.changes(message)
        elif isinstance(message, SnapshotPart):
            self.part(message)
        elif isinstance(message, SnapshotEnd):
            self.end()
        else:
            raise PeerError(f"{type(message).__name__} in the middle of a snapshot")

    def begin(self, message: SnapshotBegin) -> None:
        """Take over the tables of the join. O(replicas squared).

        Raises:
            PeerError: the tables contradict one another; the attempt is over.
        """
        replica = self.replica
        me = replica.me
        vector = dict(message.vector)
        ids = {row.replica for row in message.roster}
        if message.replica != me or me not in ids or vector.get(me) != 0 or message.shards != SHARDS:
            raise PeerError("a snapshot that is not for this newcomer")
        tables = (set(vector), {r for r, _ in message.contexts}, {row.replica for row in message.known})
        if any(table != ids for table in tables) or len(message.roster) != len(ids):
            raise PeerError("a snapshot whose tables name different replicas")
        if any(row.dead and (row.buried is None or row.left is not None) for row in message.roster):
            raise PeerError("a snapshot with a burial in effect of somebody who is not buried")
        _check_lines({row.replica: row.join[0] for row in message.roster if row.join is not None})
        replica.group = message.group
        replica.clock.merge(message.stamp)
        for row in message.roster:
            replica.roster.add(Member(row.replica, row.name, row.address, row.join, row.born))
            if row.left is not None:
                replica.roster.left[row.replica] = row.left
            if row.buried is not None:
                replica.roster.buried[row.replica] = row.buried
            if row.dead:
                replica.roster.dead.add(row.replica)
        for r, final_seq, since_ms in message.graves:
            replica.roster.graves[r], replica.roster.graves_ms[r] = final_seq, since_ms
        for r, since_ms, seqs in message.resubmitted:
            replica.roster.claims.add(r, seqs, since_ms)
        contexts = {r: dict(pairs) for r, pairs in message.contexts}
        known = [(row.replica, dict(row.vector), row.state, row.clock) for row in message.known if row.replica != me]
        replica.take_over(vector, contexts, known)
        self.keys_expected = message.keys

    def log(self, batch: Batch, data: bytes) -> None:
        """Put a batch of the log of the join into mine; the values already hold what it did. O(batch).

        Raises:
            PeerError: it is none of that log; the attempt is over.
        """
        operations = decode_operations(batch.operations, batch.origin, batch.first)
        count = sum([operation.width for operation in operations])
        if batch.last > self.replica.seen.get(batch.origin, 0) or count != batch.count:
            raise PeerError("a batch in a snapshot's log that its vector does not cover")
        framed = frames(data, self.replica.frame_bytes_max)
        self.replica.log.append(log_entry(batch, operations, framed))

    def changes(self, message: SnapshotChanges) -> None:
        """Remember what the sponsor does. O(dots)."""
        memory = self.replica.memory
        memory.take_over(message.ended, message.grown)
        for replica, seq in message.flushes:
            memory.record(Flush(), (replica, seq))
        memory.blind |= set(message.blind)
        if memory.is_full:
            memory.overflow(self.replica.roster.gone())

    def part(self, message: SnapshotPart) -> None:
        """Put values in. O(entries).

        Raises:
            PeerError: they are not well formed; the attempt is over.
        """
        end = message.first + message.shards
        if message.shards < 1 or end > SHARDS:
            raise PeerError(f"a part of a snapshot with shards {message.first} to {end}")
        keyspace = self.replica.keyspace
        vector = dict(message.vector)
        for shard in range(message.first, end):
            keyspace.snapshot_vectors[shard] = vector
        for entry in decode_entries(message.entries):
            if not message.first <= shard_of(entry.key) < end:
                raise PeerError("a value outside the shards of its part of a snapshot")
            if isinstance(entry, DeadlineEntry):
                keyspace.deadlines.restore(shard_of(entry.key), entry.key, entry.deadline, dict(entry.window))
                continue
            kind = ENTRY_KINDS[type(entry)]
            if entry.key != self._key or kind != self._kind:
                self.keys_received += entry.key != self._key
                self._keep()
            self._key = entry.key
            self._kind, self._value, self._window = self._importer.add(entry, self._value, self._window)

    def _keep(self) -> None:
        """Put the value that has come last into the keyspace."""
        self._importer.end()
        if self._key is not None and self._value is not None:
            self.replica.keyspace.restore(self._key, self._kind, self._value, self._window)
        self._value = self._window = None

    def end(self) -> None:
        """All values are here.

        Raises:
            PeerError: some shards never came, or a value is not whole.
        """
        if len(self.replica.keyspace.snapshot_vectors) != SHARDS:
            raise PeerError("a snapshot that ends before all shards were sent")
        self._keep()
        self._key = None
        self.ended = True

    def progress(self) -> dict[str, int]:
        """Keys that have come, of how many at the join (others may have come since), and bytes."""
        return {"keys": self.keys_received, "of": self.keys_expected, "bytes": self.bytes_received}

    @property
    def is_complete(self) -> bool:
        """Whether everything has come and the log has caught up with the latest value. O(shards) at most."""
        if not self.ended:
            return False
        seen = self.replica.seen
        checked: VersionVector | None = None
        for vector in self.replica.keyspace.snapshot_vectors.values():
            if vector is not checked and any(seen.get(r, -1) < seq for r, seq in vector.items()):
                return False
            checked = vector
        return True
