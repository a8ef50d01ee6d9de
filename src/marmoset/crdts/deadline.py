"""Deadlines of keys (floor 3).

A deadline is an assignment: it replaces those that it has observed, and a reset removes those that it has observed. Of
concurrent ones the latest wins, and never is the latest of all. The plain value is `(deadline_ms, setter)`, the setter
being the replica whose deadline it is; it logs the removal when the time has come. Never has no plain value. The window
has the deadlines that are not stable: dot to milliseconds, 0 for never.

What has passed is judged by who reads (`Keyspace.now_ms`), and removed by an ordinary reset (`replication.expiry`), by
one replica alone. So that it finds what is due, each shard has a queue. What is due and for somebody else to remove
leaves the queue; it is looked for again among all deadlines, in slices, when that one is gone.

A key that is given one deadline after another leaves old ones in the queue, where they would stand until their time: a
queue is made anew when it has become twice as long as there are deadlines.

Cost: O(unstable deadlines of the key).
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, final

from marmoset.clocks import Context
from marmoset.ids import Dot, ReplicaId

NEVER: Final = 0
QUEUE_SLACK: Final = 32
"""So many old deadlines a queue may have beside those that count twice over."""

Deadline = tuple[int, ReplicaId]
DeadlineWindow = dict[Dot, int]

_heappush: Final[Callable[[list[tuple[int, bytes]], tuple[int, bytes]], None]] = heappush
"""Compiled code looks names of other modules up at every use."""


def latest(window: DeadlineWindow) -> Deadline | None:
    """The deadline that wins: None where that is never, or where there is none."""
    if not window or NEVER in window.values():
        return None
    if len(window) == 1:  # as nearly always
        for only, ms in window.items():
            return ms, only[0]
    deadline_ms, dot = max((deadline_ms, dot) for dot, deadline_ms in window.items())
    return deadline_ms, dot[0]


def unobserved(window: DeadlineWindow | None, context: Context) -> DeadlineWindow:
    """What a later deadline or a reset leaves: everything stable was observed by whatever arrives."""
    return {} if not window else {dot: ms for dot, ms in window.items() if not context.covers(dot)}


@final
class Deadlines:
    """The deadlines of all keys, by shard of the keyspace, and which of them come next."""

    __slots__ = (
        "_again",
        "_due",
        "_looked_ms",
        "_more",
        "_next",
        "count",
        "entries",
        "given",
        "left_to",
        "shown",
        "windows",
    )

    def __init__(self, shards: int) -> None:
        self.shown: list[dict[bytes, Deadline]] = [{} for _ in range(shards)]
        self.windows: list[dict[bytes, DeadlineWindow]] = [{} for _ in range(shards)]
        self.count = 0
        """How many keys have a deadline."""
        self.entries = 0
        """How many deadlines are not yet stable."""
        self.given = 0
        """How many deadlines keys were ever given."""
        self.left_to: set[ReplicaId] = set()
        """For whom keys were left to remove that are not in a queue any more."""
        self._more = False  # `take_passed` had more to give, or to look through, than it was to give last
        self._due: list[list[tuple[int, bytes]]] = [[] for _ in range(shards)]
        self._looked_ms = 0  # what has no later deadline may be in no queue
        self._next = 0  # the shard whose queue comes next
        self._again = shards  # from which shard on all deadlines are to be looked through

    def get(self, shard: int, key: bytes) -> Deadline | None:
        """The deadline of a key, passed or not; None where there is none. O(1)."""
        return self.shown[shard].get(key)

    def _show(self, shard: int, key: bytes, deadline: Deadline | None) -> None:
        shown = self.shown[shard]
        old = shown.pop(key, None)
        self.count -= old is not None
        if deadline is not None:
            shown[key] = deadline
            self.count += 1
            if old != deadline:
                self.given += 1
                _heappush(self._due[shard], (deadline[0], key))
        if len(self._due[shard]) > 2 * len(shown) + QUEUE_SLACK:
            self._make_queue(shard)

    def _make_queue(self, shard: int) -> None:
        """Put all deadlines of a shard into its queue, and nothing else. O(deadlines of the shard)."""
        queue = [(deadline_ms, key) for key, (deadline_ms, _) in self.shown[shard].items()]
        heapify(queue)
        self._due[shard] = queue

    def _keep(self, shard: int, key: bytes, window: DeadlineWindow) -> None:
        windows = self.windows[shard]
        self.entries += len(window) - len(windows.pop(key, ()))
        if window:
            windows[key] = window
        elif not windows:
            windows.clear()  # which gives the table back, as in `Slots`

    def assign(self, shard: int, key: bytes, dot: Dot, deadline_ms: int, context: Context) -> None:
        """Effect of an assignment. O(unstable deadlines of the key + log of all)."""
        window = unobserved(self.windows[shard].get(key), context)
        window[dot] = deadline_ms
        self._show(shard, key, latest(window))
        self._keep(shard, key, window)

    def assign_plain(self, shard: int, key: bytes, origin: ReplicaId, deadline_ms: int) -> None:
        """Effect of an assignment that has observed everything unstable at the key, and needs no window, or not now:
        `note` makes it. One that is there is replaced by that, or forgotten with what it is of. O(log of all)."""
        self._show(shard, key, None if deadline_ms == NEVER else (deadline_ms, origin))

    def note(self, shard: int, key: bytes, dot: Dot, deadline_ms: int) -> None:
        """Make the window of such an assignment, the next one of a chain: what is shown stays. O(1)."""
        self._keep(shard, key, {dot: deadline_ms})

    def note_end(self, shard: int, key: bytes) -> None:
        """A reset, the next operation of a chain, has observed what was noted of the key. O(1)."""
        if key in self.windows[shard]:
            self._keep(shard, key, {})

    def note_flush(self) -> list[dict[bytes, DeadlineWindow]]:
        """A FLUSHALL, the next operation of a chain, has observed all that was noted: the tables of that, to be freed.
        O(shards), O(1) where there was nothing."""
        if not self.entries:
            return []
        self.entries = 0
        tables = [windows for windows in self.windows if windows]
        self.windows = [{} if windows else windows for windows in self.windows]
        return tables

    def flush(self, shard: int) -> list[dict[bytes, Any] | list[Any]]:
        """Effect of a FLUSHALL that has observed everything unstable: what held the deadlines of a shard, to be freed.
        O(unstable deadlines)."""
        shown, windows = self.shown[shard], self.windows[shard]
        self.count -= len(shown)
        self.entries -= sum(map(len, windows.values()))
        parts: list[dict[bytes, Any] | list[Any]] = [shown, windows, self._due[shard]]
        self.shown[shard], self.windows[shard], self._due[shard] = {}, {}, []
        return parts

    def reset(self, shard: int, key: bytes, context: Context) -> None:
        """Effect of a reset of the key: what it had not observed stays. O(unstable deadlines of the key)."""
        window = unobserved(self.windows[shard].get(key), context)
        self._show(shard, key, latest(window))
        self._keep(shard, key, window)

    def end(self, shard: int, key: bytes) -> None:
        """Effect of a reset that has observed everything unstable at the key. O(1)."""
        if key in self.shown[shard]:
            self._show(shard, key, None)
        self.note_end(shard, key)

    def fold(self, shard: int, key: bytes, dot: Dot) -> None:
        """Forget an assignment that is stable; what is shown stays. O(1)."""
        window = self.windows[shard].get(key)
        if window is not None and dot in window:
            rest = {} if len(window) == 1 else {other: ms for other, ms in window.items() if other != dot}
            self._keep(shard, key, rest)

    def restore(self, shard: int, key: bytes, deadline: Deadline | None, window: DeadlineWindow) -> None:
        """Put in what a key had elsewhere. O(window)."""
        self._show(shard, key, deadline)
        self._keep(shard, key, window)

    def keys(self, shard: int) -> list[bytes]:
        """The keys of a shard with a deadline, or with one that is not stable, sorted. O(n log n)."""
        return sorted({*self.shown[shard], *self.windows[shard]})

    def take_passed(self, before_ms: int, limit: int) -> list[tuple[int, bytes]]:
        """Some keys whose deadlines lie before a moment, each with its shard, taken out of the queues. One may be given
        twice. O(shards + limit x log n)."""
        self._looked_ms = max(self._looked_ms, before_ms)
        self._look_through(limit)
        taken: list[tuple[int, bytes]] = []
        shards = len(self._due)
        for shard in [*range(self._next, shards), *range(self._next)]:
            queue = self._due[shard]
            while queue and queue[0][0] < before_ms:
                if limit == 0:
                    self._next, self._more = shard, True
                    return taken
                limit -= 1
                deadline_ms, key = heappop(queue)
                shown = self.shown[shard].get(key)
                if shown is not None and shown[0] == deadline_ms:
                    taken.append((shard, key))
        self._more = self._again < shards
        return taken

    @property
    def is_behind(self) -> bool:
        """Whether there was more than the last `take_passed` gave. O(1)."""
        return self._more and self.count > 0

    def look_again(self) -> None:
        """Somebody is gone to whom something was left: look through all deadlines for it, some with each `take_passed`.
        O(1)."""
        self.left_to.clear()
        self._again = 0

    def _look_through(self, limit: int) -> None:
        while self._again < len(self.shown) and limit > 0:
            limit -= len(self.shown[self._again])
            self._make_queue(self._again)
            self._again += 1

    def _check(self) -> None:
        assert self.count == sum(map(len, self.shown))
        windows = [window for by_key in self.windows for window in by_key.values()]
        assert self.entries == sum(map(len, windows))
        assert all(windows), "an empty window is kept"
        for shown, queue in zip(self.shown, self._due, strict=True):
            assert len(queue) <= 2 * len(shown) + QUEUE_SLACK, "old deadlines are kept"
            if shown:
                due = set(queue)
                for key, (deadline_ms, _) in shown.items():
                    assert (deadline_ms, key) in due or deadline_ms < self._looked_ms, "a deadline is in no queue"
