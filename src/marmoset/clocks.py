"""Clocks: version vectors, contexts and the hybrid logical clock (floor 1).

A *version vector* is a plain dict `{replica: highest seq seen}`. Because replicas are forgotten (DESIGN.md 4.7), a
missing entry has two meanings, told apart by the replica's join: a vector that covers the join once had an entry and
has lost it, so it covers everything of that replica; a vector that does not cover the join has seen nothing of it yet.
`Context` is a vector read that way. Nothing else in marmoset may read a foreign vector by `dict.get` alone.

The hybrid clock follows Kulkarni et al., "Logical Physical Clocks" (2014). A stamp is one integer, milliseconds in the
upper bits and a counter in the lower 16, so stamps compare as integers and stay within 62 bits until the year 4199.
"""

from collections.abc import Sequence
from typing import Final, final

from marmoset.ids import Dot, ReplicaId

VersionVector = dict[ReplicaId, int]

COUNTER_BITS: Final = 16
EVERYTHING_SEQ: Final = (1 << 61) - 1
"""Above every seq: what a vector covers of a replica that it has forgotten."""


def upto(vector: VersionVector, replica: ReplicaId, joins: dict[ReplicaId, Dot]) -> int:
    """How far `vector` covers `replica`: a seq, `EVERYTHING_SEQ` if forgotten there, 0 if nothing was seen yet.

    `joins` has the dot of the join of each replica that is known here and was sponsored; a replica without one is the
    first of its group, or one that is forgotten here. O(length of the line of forgotten sponsors), nearly always O(1).
    """
    while True:
        seq = vector.get(replica)
        if seq is not None:
            return seq
        join = joins.get(replica)
        if join is None:
            return EVERYTHING_SEQ
        sponsor_seq = vector.get(join[0])
        if sponsor_seq is not None:
            return EVERYTHING_SEQ if join[1] <= sponsor_seq else 0
        replica = join[0]  # the sponsor has no entry either: its line decides, everything or nothing


def first_missing(seen: VersionVector, vector: Sequence[tuple[ReplicaId, int]]) -> Dot | None:
    """The first dot of a vector that `seen` lacks, if there is any; what was forgotten there was there. O(length)."""
    for dot in vector:
        if seen.get(dot[0], dot[1]) < dot[1]:
            return dot
    return None


class Context:
    """What the origin of an operation had observed: a version vector that knows how to read a missing entry."""

    __slots__ = ("joins", "vector")

    def __init__(self, vector: VersionVector, joins: dict[ReplicaId, Dot]) -> None:
        self.vector = vector
        self.joins = joins

    def covers(self, dot: Dot) -> bool:
        """Whether the operation `dot` happened before. O(1)."""
        seq = self.vector.get(dot[0])
        if seq is not None:
            return dot[1] <= seq
        return dot[1] <= upto(self.vector, dot[0], self.joins)


class LocalContext(Context):
    """The context of an operation of our own: it has observed whatever is here."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__({}, {})

    def covers(self, dot: Dot) -> bool:
        """True: whatever is here was observed."""
        return True


class HybridClock:
    """A hybrid logical clock. It never goes back and is ahead of every stamp that it was shown.

    The wall time, in milliseconds, is an argument of each call. How far it may be trusted is decided by who calls.
    """

    __slots__ = ("stamp",)

    def __init__(self, stamp: int = 0) -> None:
        self.stamp = stamp

    def tick(self, wall_ms: int) -> int:
        """A stamp for a new operation, later than every stamp given or merged before. O(1)."""
        physical = wall_ms << COUNTER_BITS
        self.stamp = physical if physical > self.stamp else self.stamp + 1
        return self.stamp

    def merge(self, stamp: int) -> None:
        """Take note of a stamp made elsewhere: everything from here on is stamped later. O(1)."""
        if stamp > self.stamp:
            self.stamp = stamp


def stamp_ms(stamp: int) -> int:
    """The physical part of a stamp: milliseconds since 1970."""
    return stamp >> COUNTER_BITS


def latest_stamp(moment_ms: int) -> int:
    """The last stamp whose physical part is not after a moment."""
    return (moment_ms + 1 << COUNTER_BITS) - 1


@final
class WallClock:
    """A machine's wall clock as stamps may use it: disciplined by its monotonic clock (DESIGN.md 3.8).

    It follows the readings forwards at once, except for a step of more than `step_ms_max` beyond what the monotonic
    clock accounts for: that is held, and the clock runs on monotonically, until `confirm` says that others agree (the
    machine may have slept, or somebody may have set the date). When the readings go back it runs on at half speed
    until they have caught up. It never goes back itself. The first reading is believed: whoever starts with a wrong
    clock is told at the first handshake.

    Both clocks are arguments, in milliseconds. Every method is O(1).

    Nothing of them is multiplied. Python multiplies numbers of more than 30 bits in a way that can be interrupted, so
    that a signal handler may run and raise; compiled code takes that for want of memory, and ends the process.
    """

    __slots__ = ("_read_ms", "_twice_ms", "held_since_ms", "step_ms_max")

    def __init__(self, step_ms_max: int) -> None:
        self.step_ms_max = step_ms_max
        self._read_ms: int | None = None
        self._twice_ms = 0  # in half milliseconds, so that half speed is exact however often it is read
        self.held_since_ms: int | None = None
        """The monotonic time at which the step that is held was noticed; None when none is."""

    def read(self, monotonic_ms: int, reading_ms: int) -> int:
        """The time to stamp with, now that the wall clock reads `reading_ms`."""
        if self._read_ms is None:
            self._read_ms = monotonic_ms
            self._twice_ms = reading_ms + reading_ms
            return reading_ms
        passed = max(0, monotonic_ms - self._read_ms)
        self._read_ms = max(self._read_ms, monotonic_ms)
        expected_ms = reading_ms - passed
        ahead = expected_ms + expected_ms - self._twice_ms
        if ahead > self.step_ms_max + self.step_ms_max:
            self._twice_ms += passed + passed
            if self.held_since_ms is None:
                self.held_since_ms = monotonic_ms
        else:
            self._twice_ms += passed + passed + (ahead if ahead >= 0 else max(ahead, -passed))
            self.held_since_ms = None
        return self._twice_ms >> 1

    def confirm(self, monotonic_ms: int, reading_ms: int) -> int:
        """Follow a step that was held: others, or nobody else, have the same time. The time to stamp with."""
        self.read(monotonic_ms, reading_ms)
        if self.held_since_ms is not None:
            self.held_since_ms = None
            self._twice_ms = reading_ms + reading_ms
        return self._twice_ms >> 1
