"""What really happened (beside the floors): every operation with its true context, and what every replica truly has.

The product forgets; this never does. A `Witness` stands beside one node. After each event it compares the replica's
vector with the one that it kept, checks what can be checked of an arrival by itself, and so holds the replica's
*true vector*. The checks at an arrival:

- it is causally closed: whatever the operation had observed is here (DESIGN.md 3.2);
- a transaction is here whole or not at all;
- it had observed everything that is stable here (3.7);
- the context that was rebuilt for it is the true one (3.1);
- an operation of our own is stamped later than everything that it observed (3.8).

Cost: O(replicas) for each arrival.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import final

from marmoset.clocks import VersionVector, stamp_ms, upto
from marmoset.codec.operations import AnyOperation, Expire, Flush, Reset, SequenceInsert
from marmoset.ids import Dot, ReplicaId, id_text
from marmoset.replication.replica import Replica
from marmoset.sim.specification import Record, deadlines_of


class Breach(BaseException):
    """Something that must never happen has happened. No `except Exception` of the product may keep it from us."""


@final
class History:
    """All operations of all replicas that ever were."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.by_key: dict[bytes, list[int]] = {}
        """Key to the places of its records."""
        self.flushes: list[int] = []
        self.vectors: dict[ReplicaId, VersionVector] = {}
        """The true vector of every replica that ever was, as it was last."""
        self.joins: dict[ReplicaId, tuple[VersionVector, int]] = {}
        """Newcomer to the true vector of its sponsor just behind the join, and the latest stamp in it."""
        self.expiries: list[tuple[Record, int]] = []
        """Resets that a passed deadline made, with that deadline."""
        self.states: dict[ReplicaId, dict[int, VersionVector]] = {}
        """The vectors that every replica had, by the number of the state; gone replicas are left out of them."""
        self.names: dict[ReplicaId, str] = {}
        self.exiles = 0
        """How often somebody was told that it was presumed dead."""
        self._seqs: dict[ReplicaId, list[int]] = {}
        self._of: dict[ReplicaId, list[int]] = {}
        self._whole: dict[ReplicaId, list[tuple[int, int]]] = {}

    def add(self, record: Record) -> None:
        """An operation was made. O(1)."""
        place = len(self.records)
        self.records.append(record)
        self._seqs.setdefault(record.dot[0], []).append(record.dot[1])
        self._of.setdefault(record.dot[0], []).append(place)
        operation = record.operation
        if isinstance(operation, Flush):
            self.flushes.append(place)
        else:
            self.by_key.setdefault(operation.key, []).append(place)  # type: ignore[union-attr]

    def add_whole(self, origin: ReplicaId, first: int, last: int) -> None:
        """Operations that are to be seen together."""
        if first < last:
            self._whole.setdefault(origin, []).append((first, last))

    def whole(self, origin: ReplicaId) -> list[tuple[int, int]]:
        """First and last seq of all that a replica made to be seen together. O(1)."""
        return self._whole.get(origin, [])

    def latest(self, origin: ReplicaId, seq: int) -> Record | None:
        """The last operation on keys of a replica up to a seq. O(log n)."""
        at = bisect_right(self._seqs.get(origin, []), seq)
        return self.records[self._of[origin][at - 1]] if at else None

    def earliest(self, origin: ReplicaId, seq: int) -> Record | None:
        """The first operation on keys of a replica after a seq. O(log n)."""
        at = bisect_right(self._seqs.get(origin, []), seq)
        places = self._of.get(origin, [])
        return self.records[places[at]] if at < len(places) else None

    def cuts_whole(self, origin: ReplicaId, seq: int) -> bool:
        """Whether a vector that ends at a seq has a transaction in part. O(log n)."""
        whole = self._whole.get(origin, [])
        at = bisect_right(whole, (seq, 1 << 62))
        return at > 0 and whole[at - 1][0] <= seq < whole[at - 1][1]

    def known_to(self, vector: VersionVector, keys: list[bytes] | None = None) -> list[Record]:
        """The records that a true vector covers, of some keys or of all, in the order in which they were made."""
        records = self.records
        if keys is None:
            return [r for r in records if vector.get(r.dot[0], 0) >= r.dot[1]]
        places = sorted([*self.flushes, *(place for key in keys for place in self.by_key.get(key, ()))])
        return [records[p] for p in places if vector.get(records[p].dot[0], 0) >= records[p].dot[1]]

    def check_expiries(self, vector: VersionVector) -> None:
        """No deadline has removed a key while an EXPIRE or PERSIST in time was not yet observed. O(records)."""
        for reset, deadline_ms in self.expiries:
            assert isinstance(reset.operation, Reset)
            if vector.get(reset.dot[0], 0) < reset.dot[1]:
                continue
            for place in self.by_key[reset.operation.key]:
                other = self.records[place]
                if not isinstance(other.operation, Expire) or stamp_ms(other.stamp) >= deadline_ms:
                    continue
                if vector.get(other.dot[0], 0) < other.dot[1]:
                    continue  # it was on machines alone whose memory is gone
                if not reset.saw(other.dot) and not other.saw(reset.dot):
                    raise Breach(
                        f"{self.name(reset.dot[0])} removes {reset.operation.key!r} by its deadline, not having seen "
                        f"{self.name(other.dot[0])}:{other.dot[1]}, which changed it in time (section 5)"
                    )

    def check_context(self, name: str, replica: Replica, origin: ReplicaId) -> None:
        """The context that a replica has rebuilt of another one covers what that one had observed. O(replicas)."""
        last = self.latest(origin, replica.seen[origin])
        if last is None:
            return
        context, joins = replica.contexts[origin], replica.roster.joins
        for other in replica.seen:
            if other != origin and upto(context, other, joins) < last.observed.get(other, 0):
                raise Breach(
                    f"{name} rebuilds the context of {self.name(origin)}:{last.dot[1]} without "
                    f"{self.name(other)}:{last.observed[other]} (3.1)"
                )

    def check_row(self, name: str, member: ReplicaId, row: VersionVector, state: int) -> None:
        """What is known of a member is one state of its vector, as a whole. O(replicas)."""
        true = self.states.get(member, {}).get(state)
        if true is None:
            return  # a state that was over within one event
        for origin, seq in row.items():
            if true.get(origin, -1) != seq:
                had = f"it up to {true[origin]}" if origin in true else "forgotten it"
                raise Breach(
                    f"{name} believes that {self.name(member)} has {self.name(origin)}:{seq} in its state {state}, "
                    f"in which it had {had} (3.4)"
                )

    def name(self, replica: ReplicaId) -> str:
        """Name and id of a replica, for messages."""
        return f"{self.names.get(replica, '?')}({id_text(replica)})"


@final
class Witness:
    """Beside one node, from its start to its end."""

    def __init__(
        self, history: History, replica: Replica, name: str, may_reset: Callable[[], bool] = lambda: False
    ) -> None:
        self.may_reset = may_reset
        """Whether the node may reset keys without a command or a deadline: it is submitting what it wrote in a former
        life, or evicting."""
        self.history = history
        self.replica = replica
        self.name = name
        self.me: ReplicaId = 0
        self.vector: VersionVector = {}
        self.stable: VersionVector = {}
        """What was found to be stable here at the last tick."""
        self.in_command = False
        """Whether a client's command is being run."""
        self._begun = False
        self._state = -1
        self._roster = -1
        self._stamp_max = 0
        self._shared: VersionVector | None = None
        replica.listener = self._made

    def _made(self, operation: AnyOperation, dot: Dot, stamp: int) -> None:
        """The replica has made an operation; it shows it at once."""
        self.note()
        if stamp <= self._stamp_max:
            raise Breach(f"{self.name} stamps an operation earlier than what it has observed (3.8)")
        if self._shared is None:
            self._shared = dict(self.vector)
        record = Record(operation, dot, stamp, self._shared)
        if isinstance(operation, Reset) and not self.in_command and not self.may_reset():
            ends = deadlines_of(self.history.known_to(self.vector, [operation.key]))
            if operation.key not in ends:
                raise Breach(f"{self.name} removes {operation.key!r}, which has no deadline")
            self.history.expiries.append((record, ends[operation.key]))
        self.history.add(record)
        self.vector[dot[0]] = dot[1] + (operation.width - 1 if isinstance(operation, SequenceInsert) else 0)

    def note(self) -> None:
        """Take note of what has changed since the last event. O(replicas) where something has."""
        replica = self.replica
        if replica.me != self.me:
            self._begin(replica.me)
        if replica.state == self._state and replica.roster_version == self._roster:
            return
        if not replica.roster.members:
            return
        self._state = replica.state
        self.history.states[self.me][replica.state] = dict(replica.seen)
        if not self._begun:
            self._begun = True
            base, self._stamp_max = self.history.joins.get(self.me, ({}, 0))
            self.vector.update(base)
        raised: list[tuple[ReplicaId, int, int]] = []
        for origin, seq in replica.seen.items():
            before = self.vector.get(origin, 0)
            if seq > before:
                raised.append((origin, before, seq))
                self.vector[origin] = seq
        if raised:
            self._shared = None
            for origin, before, seq in raised:
                self._arrived(origin, before, seq)
        if replica.roster_version != self._roster:
            self._roster = replica.roster_version
            self._note_joins()

    def _begin(self, me: ReplicaId) -> None:
        """The node has taken another id, and begins from nothing."""
        self.me = me
        if me in self.history.vectors:
            raise Breach(f"{self.name} takes the id {id_text(me)}, which was there before")
        self.vector = {}
        self.stable = {}
        self._shared = None
        self._begun = False
        self._state = self._roster = -1
        self._stamp_max = 0
        if me:
            self.history.vectors[me] = self.vector
            self.history.states[me] = {}
            self.history.names[me] = self.name

    def _arrived(self, origin: ReplicaId, before: int, seq: int) -> None:
        history, vector = self.history, self.vector
        if history.cuts_whole(origin, seq):
            raise Breach(f"{self.name} has a transaction of {history.name(origin)} in part, up to seq {seq}")
        if origin == self.me:
            return
        last = history.latest(origin, seq)
        if last is None or last.dot[1] <= before:
            return
        self._stamp_max = max(self._stamp_max, last.stamp)
        history.check_context(self.name, self.replica, origin)
        for replica, needed in last.observed.items():
            if replica != origin and vector.get(replica, 0) < needed:
                raise Breach(
                    f"{self.name} has {history.name(origin)}:{last.dot[1]}, which had observed "
                    f"{history.name(replica)}:{needed}, but that only up to {vector.get(replica, 0)} (3.2)"
                )
        first = history.earliest(origin, before)
        assert first is not None
        for replica, stable in self.stable.items():
            if replica != origin and first.observed.get(replica, 0) < stable:
                raise Breach(
                    f"{history.name(origin)}:{first.dot[1]} arrives at {self.name} and has not observed "
                    f"{history.name(replica)}:{stable}, which is stable there (3.7)"
                )

    def _note_joins(self) -> None:
        joins = self.history.joins
        for newcomer, (sponsor, seq) in self.replica.roster.joins.items():
            if sponsor == self.me and newcomer not in joins:
                joins[newcomer] = ({**self.vector, sponsor: seq, newcomer: 0}, self._stamp_max)

    def note_stable(self) -> None:
        """Remember what is stable here now."""
        if self._begun:
            self.stable = self.replica.frontier()
