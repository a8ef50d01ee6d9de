"""What I know that you know, and the frontier (floor 5, DESIGN.md 3.4 and 3.5).

`known[j]` is the version vector that member `j` is known to have. It is learned from the context and dot of each
operation of `j` as it is applied, and from reports that arrive behind everything their sender had. Every replica
numbers the states of its vector; a later state replaces an earlier one as a whole, nothing is merged.

The frontier gives, for each origin, the seq up to which every counted member is known to have everything.

Costs: `learn` O(replicas), `frontier` O(replicas squared).
"""

from collections.abc import Collection
from typing import final

from marmoset.clocks import VersionVector, upto
from marmoset.codec.messages import KnownRow, Report, vector_pairs
from marmoset.ids import Dot, ReplicaId


@final
class Stability:
    """The rows of `known`, each with the number of its state and the clock that came with it."""

    __slots__ = ("_change", "_changes", "clocks", "known", "seen", "states")

    def __init__(self, seen: VersionVector) -> None:
        self.seen = seen
        """My own vector, shared with the replica."""
        self.known: dict[ReplicaId, VersionVector] = {}
        """The rows, each with its entries in the order of those of `seen`."""
        self.states: dict[ReplicaId, int] = {}
        self.clocks: dict[ReplicaId, int] = {}
        self._changes: dict[ReplicaId, int] = {}
        self._change = 0

    @property
    def changes(self) -> int:
        """Grows with whatever becomes known of anybody."""
        return self._change

    def is_news(self, member: ReplicaId, state: int, clock: int) -> bool:
        """Whether a state of a member's vector is later than what is known of it. O(1)."""
        old = self.states.get(member, -1)
        return state > old or (state == old and clock > self.clocks.get(member, 0))

    def learn(self, member: ReplicaId, vector: VersionVector, state: int, clock: int) -> bool:
        """Take note of a state of a member's vector; False if it is not later than what was known. O(replicas)."""
        if not self.is_news(member, state, clock):
            return False
        if state != self.states.get(member):
            self.known[member] = {r: vector[r] for r in self.seen if r in vector}
        self.states[member] = state
        self.clocks[member] = clock
        self._change += 1
        self._changes[member] = self._change
        return True

    def forget(self, replica: ReplicaId) -> None:
        """Take a replica out of every table. O(replicas)."""
        for table in (self.known, self.states, self.clocks, self._changes):
            table.pop(replica, None)
        for vector in self.known.values():
            vector.pop(replica, None)

    def report(
        self, me: ReplicaId, state: int, clock: int, peer: ReplicaId, since: int, dead: Collection[ReplicaId] = ()
    ) -> tuple[Report, int]:
        """A report for `peer` with the rows that changed after change number `since`, and the number to go on from.

        Nothing is said of `dead`, whose burials have taken effect here. Whoever was forgotten here was so without
        regard to what they have, and is not in their rows any more; where their burials have not taken effect yet, they
        would be believed to have everything of it.

        Whoever sends it must have sent everything in `seen` on the same stream before. O(changed rows x replicas).
        """
        rows = [
            KnownRow(r, self.states[r], self.clocks[r], vector_pairs(self.known[r]))
            for r, change in sorted(self._changes.items())
            if change > since and r not in (me, peer) and r not in dead
        ]
        return Report(KnownRow(me, state, clock, vector_pairs(self.seen)), rows), self._change

    def frontier(self, counted: list[ReplicaId], joins: dict[ReplicaId, Dot]) -> VersionVector:
        """For each origin, the lowest of what the counted members are known to have. O(replicas squared)."""
        seen = self.seen
        vectors = [self.known.get(member) for member in counted]
        if None in vectors:  # an empty vector would read as everything
            return dict.fromkeys(seen, 0)
        whole = [vector for vector in vectors if vector is not None and len(vector) == len(seen)]
        frontier = dict(seen)
        if whole:  # what has all the entries has them in the same order, so that most of the work is done in C
            frontier = dict(zip(seen, map(min, seen.values(), *(vector.values() for vector in whole)), strict=True))
        for vector in vectors:
            if vector is None or len(vector) == len(seen):
                continue
            for origin, seq in frontier.items():
                theirs = vector.get(origin)
                if theirs is None:
                    theirs = upto(vector, origin, joins)
                if theirs < seq:
                    frontier[origin] = theirs
        return frontier

    def _check(self) -> None:
        order = list(self.seen)
        for vector in self.known.values():
            assert list(vector) == [r for r in order if r in vector], "a row has its entries in another order"
