"""Snapshots: how a newcomer gets everything (floor 5, DESIGN.md 4.1).

Nothing after the join can leave the log, since the newcomer holds the frontier with the vector of its join. So a
snapshot need not be of one instant: roster, contexts, knowledge and log are those of the join, and shards of the
keyspace are read one after another, each sent with the vector at which it was read, while the sponsor goes on
serving. Then the log after the join follows as an ordinary stream; the newcomer leaves out, shard by shard, what that
shard's vector covers. It is complete when it has caught up with the latest of those vectors.

The log of the join is taken at the join, not when it is sent: batches that are folded meanwhile would leave window
entries in shards read before with nobody to forget them. For the same reason it has what is stable and not yet folded.

A source holds references to the batches of the log and the encoded parts of one step, nothing else.
"""

from collections import deque
from collections.abc import Iterator
from typing import Final, final

import msgspec

from marmoset.clocks import VersionVector
from marmoset.codec.frames import frames
from marmoset.codec.messages import (
    Batch,
    KnownRow,
    RosterRow,
    SnapshotBegin,
    SnapshotChanges,
    SnapshotEnd,
    SnapshotPart,
    decode_operations,
    encode,
    vector_pairs,
)
from marmoset.codec.operations import KIND_MAP, KIND_SET, KIND_SORTED_SET, Flush, width
from marmoset.crdts.exports import (
    AnyEntry,
    DeadlineEntry,
    MapEntry,
    SetEntry,
    SortedSetEntry,
    decode_entries,
    export_value,
    import_entry,
)
from marmoset.crdts.types import Value, Window
from marmoset.errors import PeerError
from marmoset.ids import ReplicaId
from marmoset.keyspace import SHARDS, shard_of
from marmoset.replication.memory import PARTS
from marmoset.replication.oplog import LogEntry
from marmoset.replication.replica import Replica
from marmoset.replication.roster import Member

STEP_ELEMENTS: Final = 4096
"""About how many elements are read and encoded in one step; a shard is read whole."""

_encoder: Final = msgspec.msgpack.Encoder()
_KINDS: Final = {SetEntry: KIND_SET, MapEntry: KIND_MAP, SortedSetEntry: KIND_SORTED_SET}
"""The entries that may come in pieces."""


@final
class SnapshotSource:
    """The sponsor's side: a snapshot for one newcomer, made step by step."""

    __slots__ = ("_changes", "_log", "_queue", "_shard", "_step_elements", "join_index", "replica")

    def __init__(self, replica: Replica, newcomer: ReplicaId, step_elements: int = STEP_ELEMENTS) -> None:
        """Right behind the join, with no batch open. O(replicas squared + log)."""
        self.replica = replica
        self.join_index = replica.log.next_index
        self._log = deque(replica.unfolded())
        self._queue: deque[bytes] = deque()
        self._shard = 0
        self._step_elements = step_elements
        self._changes: Iterator[SnapshotChanges] | None = _changes(replica) if replica.roster.gone() else None
        self._put(_begin(replica, newcomer))

    def _put(self, message: SnapshotBegin | SnapshotChanges | SnapshotPart | SnapshotEnd) -> None:
        self._queue.append(frames(encode(message), self.replica.frame_bytes_max))

    def step(self) -> list[bytes]:
        """The next frames to send, about one step's worth; empty when everything was given. The replica must have no
        open batch. O(one shard) at least."""
        if not self._queue and self._log:
            for _ in range(min(len(self._log), 256)):
                self._queue.append(self._log.popleft().framed)
        if not self._queue and self._changes is not None:
            self._give_changes(self._changes)
        if not self._queue and self._shard < SHARDS:
            self._read()
        frames_now = list(self._queue)
        self._queue.clear()
        return frames_now

    def _give_changes(self, changes: Iterator[SnapshotChanges]) -> None:
        message = next(changes, None)
        if message is None:
            self._changes = None
        else:
            self._put(message)

    def _read(self) -> None:
        """Read shards at this instant until a step is full."""
        first, weight = self._shard, 0
        entries: list[AnyEntry] = []
        packets: list[list[AnyEntry]] = []
        while self._shard < SHARDS and weight < self._step_elements:
            for key, _, value, window in self.replica.keyspace.holdings(self._shard):
                for entry in export_value(key, value, window):
                    entries.append(entry)
                    weight += _entry_weight(entry)
                    if weight >= self._step_elements * (len(packets) + 1):
                        packets.append(entries)
                        entries = []
            entries += self.replica.keyspace.export_deadlines(self._shard)
            self._shard += 1
        vector = vector_pairs(self.replica.seen)
        for packet in [*packets, entries]:
            self._put(SnapshotPart(first, self._shard - first, vector, msgspec.Raw(_encoder.encode(packet))))
        if self._shard == SHARDS:
            self._put(SnapshotEnd())

    @property
    def is_done(self) -> bool:
        """Whether everything was given."""
        return self._shard == SHARDS and not self._queue and not self._log and self._changes is None

    @property
    def progress(self) -> float:
        """The share of the keyspace that was read."""
        return self._shard / SHARDS


def _entry_weight(entry: AnyEntry) -> int:
    if isinstance(entry, SetEntry):
        return len(entry.elements)
    return len(entry.items) if isinstance(entry, (MapEntry, SortedSetEntry)) else 1


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

    __slots__ = ("_last", "ended", "keys_expected", "replica", "shards_done")

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.ended = False
        self.keys_expected = 0
        self.shards_done = 0
        self._last: tuple[bytes, int] | None = None

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
        operations = decode_operations(batch.operations)
        if batch.last > self.replica.seen.get(batch.origin, 0) or sum(map(width, operations)) != batch.count:
            raise PeerError("a batch in a snapshot's log that its vector does not cover")
        framed = frames(data, self.replica.frame_bytes_max)
        self.replica.log.append(LogEntry(batch.origin, batch.first, batch.last, batch.stamp, operations, framed))

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
        self.shards_done = end
        for entry in decode_entries(message.entries):
            if not message.first <= shard_of(entry.key) < end:
                raise PeerError("a value outside the shards of its part of a snapshot")
            if isinstance(entry, DeadlineEntry):
                keyspace.deadlines.restore(shard_of(entry.key), entry.key, entry.deadline, dict(entry.window))
                continue
            value: Value | None = None
            window: Window | None = None
            kind = _KINDS.get(type(entry), -1)
            if self._last == (entry.key, kind):
                value, window = keyspace.take(entry.key, kind)
            kind, value, window = import_entry(entry, value, window, keyspace.split_above)
            keyspace.restore(entry.key, kind, value, window)
            self._last = (entry.key, kind)

    def end(self) -> None:
        """All values are here.

        Raises:
            PeerError: some shards never came.
        """
        if len(self.replica.keyspace.snapshot_vectors) != SHARDS:
            raise PeerError("a snapshot that ends before all shards were sent")
        self.ended = True
        self._last = None

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
