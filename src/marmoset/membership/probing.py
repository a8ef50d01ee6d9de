"""Whom to probe, and the probes under way (floor 6).

`Order` is SWIM's randomised round robin: every member is probed once in a round, in an order that is drawn anew for
each round, so that the time until a crash is found first has a bound, not only a mean. Who joins in the middle of a
round is put at a random place of what is left of it. Members can be put first: suspects, and those whose link was lost.

Cost: `next` O(1) amortised, `add` and `remove` O(members).
"""

from collections import deque
from collections.abc import Container
from random import Random
from typing import Final, final

from marmoset.ids import ReplicaId

FIRST_MAX: Final = 64
FEW: Final = 32


@final
class Order:
    """The round of one member."""

    __slots__ = ("_at", "_first", "_ring", "_rng")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._ring: list[ReplicaId] = []
        self._at = 0
        self._first: deque[ReplicaId] = deque()

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, replica: ReplicaId) -> None:
        """A member more, at a random place of the rest of this round."""
        self._ring.insert(self._rng.randint(self._at, len(self._ring)), replica)

    def remove(self, replica: ReplicaId) -> None:
        """A member less."""
        place = self._ring.index(replica)
        del self._ring[place]
        self._at -= place < self._at
        if replica in self._first:
            self._first.remove(replica)

    def put_first(self, replica: ReplicaId) -> None:
        """Take a member out of turn, soon."""
        if replica not in self._first and len(self._first) < FIRST_MAX:
            self._first.append(replica)

    def next(self) -> ReplicaId | None:
        """Whose turn it is."""
        if self._first:
            return self._first.popleft()
        if not self._ring:
            return None
        if self._at >= len(self._ring):
            self._rng.shuffle(self._ring)
            self._at = 0
        self._at += 1
        return self._ring[self._at - 1]

    def sample(self, count: int, excluded: Container[ReplicaId], without: ReplicaId) -> list[ReplicaId]:
        """At most `count` different random members; in a large group a few unlucky draws are not made good."""
        if len(self._ring) <= FEW:
            choice = [r for r in self._ring if r not in excluded and r != without]
            return self._rng.sample(choice, min(count, len(choice)))
        drawn: dict[ReplicaId, None] = {}
        for _ in range(4 * count):
            replica = self._rng.choice(self._ring)
            if replica not in excluded and replica != without:
                drawn[replica] = None
                if len(drawn) == count:
                    break
        return list(drawn)

    def members(self) -> set[ReplicaId]:
        """Everybody in the round."""
        return set(self._ring)


@final
class Probe:
    """The probe of this period."""

    __slots__ = ("ask_ms", "asked", "helpers", "incarnation", "is_extended", "nacks", "seq", "target")

    def __init__(self, target: ReplicaId, incarnation: int, seq: int, ask_ms: int) -> None:
        self.target = target
        self.incarnation = incarnation
        """That of the target when the probe began: only that one is accused if it fails."""
        self.seq = seq
        self.ask_ms = ask_ms
        """When helpers are asked."""
        self.asked = False
        self.helpers: list[ReplicaId] = []
        self.nacks: set[ReplicaId] = set()
        self.is_extended = False

    def blame(self) -> int:
        """How much a failure of this probe says about our own health: nacks are missing, or nobody could be asked."""
        return len(self.helpers) - len(self.nacks) if self.helpers else 1


@final
class Relay:
    """A ping that we sent as a helper."""

    __slots__ = ("address", "due_ms", "seq", "target")

    def __init__(self, address: str, seq: int, target: ReplicaId, due_ms: int) -> None:
        self.address = address
        self.seq = seq
        self.target = target
        self.due_ms = due_ms
