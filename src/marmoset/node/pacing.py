"""How often peers are sent what this node writes, and how much is done at a time (floor 7).

What was written is sent at the end of the turn in which it was. Under load that is many times more often than anybody
needs it: each time every peer is woken, takes a batch with all that goes with one, and tells what it has, which costs
both sides about as much as a hundred writes. So while writes come fast, few of them wait for others, for a few
milliseconds, and are sent with them.

What is stable is folded in slices, one in each turn, so that clients do not wait long; so are keys removed whose
deadlines have passed. A slice grows with what has come since the one before: a node to which more comes than small
slices can do would have more and more to do. What large containers leave is freed in the same turns, faster where much
waits: it is made in one go, a set of a million elements by one DEL, and by long turns.
"""

from typing import Final, final

PACE_MS: Final = 3
"""For so long something written waits at most."""
FAST_PER_MS: Final = 24
"""From so many writes a millisecond on, writes come fast."""
MANY: Final = 128
"""So many are sent at once in any case."""
SLICE: Final = 125
"""How much a slice does in any case: elements that are folded, keys that are removed,"""
FOLD_MOST: Final = 2000
EXPIRE_MOST: Final = 1000
"""and how much at most: some milliseconds."""
EXPIRE_PAUSE_MS: Final = 6
"""Between two slices of removing keys; less while there are always more to remove."""
FREE_PER_MS: Final = 1000
"""So many entries of garbage are freed for each millisecond that went to other things since the slice before,"""
FREE_MS_MOST: Final = 4
"""of at most so many."""
GARBAGE_ROOM: Final = 1 << 21
"""Of what waits beyond so many entries,"""
GARBAGE_SHARE: Final = 8
"""such a part is freed as well, but"""
FREE_MORE_PER_MS: Final = 1000
"""at most so many for each of all those milliseconds: who makes much in a turn has taken long."""


@final
class Pace:
    """When what a node has written is to be sent."""

    __slots__ = ("_counted_ms", "_counted_seq", "_is_fast", "_sent_ms", "_sent_seq", "fast_per_ms", "pace_ms")

    def __init__(self) -> None:
        self.pace_ms = PACE_MS
        self.fast_per_ms = FAST_PER_MS
        self._sent_seq = 1
        """The seq that was next when everything before it was sent."""
        self._sent_ms = 0
        self._counted_seq = 1
        """The seq that was next when it was last looked how fast writes come."""
        self._counted_ms = 0
        self._is_fast = False

    def delay_ms(self, next_seq: int, now_ms: int) -> int:
        """For how long everything up to before a seq is still to wait, 0 if it is sent now. O(1).

        >>> pace = Pace()
        >>> pace.delay_ms(101, 4), pace.delay_ms(130, 5), pace.delay_ms(190, 7), pace.delay_ms(200, 8)
        (0, 2, 0, 2)
        """
        passed_ms = now_ms - self._counted_ms
        if passed_ms >= self.pace_ms:
            self._is_fast = next_seq - self._counted_seq >= self.fast_per_ms * passed_ms
            self._counted_seq, self._counted_ms = next_seq, now_ms
        passed_ms = now_ms - self._sent_ms
        if self._is_fast and 0 < next_seq - self._sent_seq < MANY and passed_ms < self.pace_ms:
            return self.pace_ms - passed_ms
        self.handle_sent(next_seq, now_ms)
        return 0

    def handle_sent(self, next_seq: int, now_ms: int) -> None:
        """Everything up to before a seq is sent now. O(1)."""
        if next_seq != self._sent_seq:
            self._sent_seq, self._sent_ms = next_seq, now_ms


@final
class SlicePace:
    """How much is done at a time."""

    __slots__ = ("_come", "least", "most")

    def __init__(self, most: int) -> None:
        self.least = SLICE
        self.most = most
        self._come = 0

    def budget(self, come: int) -> int:
        """How much the next slice may do, so much having come ever since. O(1).

        >>> pace = SlicePace(2000)
        >>> pace.budget(50), pace.budget(1050), pace.budget(1050), pace.budget(9000)
        (125, 1500, 125, 2000)
        """
        since, self._come = come - self._come, come
        return max(self.least, min(self.most, since + since // 2))


@final
class ExpiryPace:
    """How many keys are removed at a time whose deadlines have passed, and how often."""

    __slots__ = ("_pause_ms", "_slices")

    def __init__(self) -> None:
        self._slices = SlicePace(EXPIRE_MOST)
        self._pause_ms = EXPIRE_PAUSE_MS

    def budget(self, given: int) -> int:
        """How many keys are looked at next, so many deadlines having been given ever since. O(1)."""
        return self._slices.budget(given)

    def pause_ms(self, *, is_behind: bool) -> int:
        """How long the next slice waits, if there `is_behind` more to remove. O(1).

        >>> pace = ExpiryPace()
        >>> [pace.pause_ms(is_behind=more) for more in (True, True, True, True, True, True, True, False, True)]
        [6, 5, 4, 3, 2, 1, 1, 6, 6]
        """
        if not is_behind:
            self._pause_ms = EXPIRE_PAUSE_MS
            return EXPIRE_PAUSE_MS
        pause_ms, self._pause_ms = self._pause_ms, max(1, self._pause_ms - 1)
        return pause_ms


@final
class GarbagePace:
    """How many entries of garbage are freed at a time. An entry may cost ten times as much as another one, where memory
    is slow: the time of a slice does not count for the next one, or both would grow."""

    __slots__ = ("_ended_ms",)

    def __init__(self) -> None:
        self._ended_ms = 0

    def handle_ended(self, now_ms: int) -> None:
        """A slice was done. O(1)."""
        self._ended_ms = now_ms

    def budget(self, waiting: int, now_ms: int) -> int:
        """How many entries are freed now, of so many that wait. O(1).

        >>> pace = GarbagePace()
        >>> pace.budget(9, 0), pace.budget(9, 1), pace.budget(9, 3), pace.budget(9, 99)
        (1000, 1000, 3000, 4000)
        >>> pace.budget(GARBAGE_ROOM + 800, 1), pace.budget(2 * GARBAGE_ROOM, 2), pace.budget(2 * GARBAGE_ROOM, 900)
        (1100, 4000, 266144)
        """
        passed_ms = max(1, now_ms - self._ended_ms)
        more = max(0, waiting - GARBAGE_ROOM) // GARBAGE_SHARE
        return FREE_PER_MS * min(FREE_MS_MOST, passed_ms) + min(FREE_MORE_PER_MS * passed_ms, more)
