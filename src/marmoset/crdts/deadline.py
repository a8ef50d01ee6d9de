"""Deadlines of keys (floor 3).

A deadline is an assignment: it replaces those that it has observed, and a reset removes those that it has observed. Of
concurrent ones the latest wins, and never is the latest of all. The plain value is `(deadline_ms, setter)`, the setter
being the replica whose deadline it is; it logs the removal when the time has come. Never has no plain value. The window
has the deadlines that are not stable: dot to milliseconds, 0 for never.

What has passed is judged by who reads (`Keyspace.now_ms`), and removed by an ordinary reset (`replication.expiry`).

Cost: O(unstable deadlines of the key).
"""

from collections import deque
from heapq import heappop, heappush
from typing import Final, final

from marmoset.clocks import Context
from marmoset.ids import Dot, ReplicaId

NEVER: Final = 0

Deadline = tuple[int, ReplicaId]
DeadlineWindow = dict[Dot, int]


def latest(window: DeadlineWindow) -> Deadline | None:
    """The deadline that wins: None where that is never, or where there is none."""
    if not window or NEVER in window.values():
        return None
    deadline_ms, dot = max((deadline_ms, dot) for dot, deadline_ms in window.items())
    return deadline_ms, dot[0]


def unobserved(window: DeadlineWindow | None, context: Context) -> DeadlineWindow:
    """What a later deadline or a reset leaves: everything stable was observed by whatever arrives."""
    return {} if not window else {dot: ms for dot, ms in window.items() if not context.covers(dot)}


@final
class Deadlines:
    """The deadlines of all keys, by shard of the keyspace, and which of them come next."""

    __slots__ = ("_due", "_overdue", "count", "entries", "shown", "windows")

    def __init__(self, shards: int) -> None:
        self.shown: list[dict[bytes, Deadline]] = [{} for _ in range(shards)]
        self.windows: list[dict[bytes, DeadlineWindow]] = [{} for _ in range(shards)]
        self.count = 0
        """How many keys have a deadline."""
        self.entries = 0
        """How many deadlines are not yet stable."""
        self._due: list[tuple[int, int, bytes]] = []
        self._overdue: deque[tuple[int, int, bytes]] = deque()

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
                heappush(self._due, (deadline[0], shard, key))

    def _keep(self, shard: int, key: bytes, window: DeadlineWindow) -> None:
        windows = self.windows[shard]
        self.entries += len(window) - len(windows.pop(key, ()))
        if window:
            windows[key] = window
        elif not windows:
            windows.clear()  # which gives the table back, as in `Slots`

    def assign(self, shard: int, key: bytes, dot: Dot, deadline_ms: int, context: Context, *, tracking: bool) -> None:
        """Effect of an assignment. O(unstable deadlines of the key + log of all)."""
        window = unobserved(self.windows[shard].get(key), context)
        window[dot] = deadline_ms
        self._show(shard, key, latest(window))
        self._keep(shard, key, window if tracking else {})

    def reset(self, shard: int, key: bytes, context: Context) -> None:
        """Effect of a reset of the key: what it had not observed stays. O(unstable deadlines of the key)."""
        window = unobserved(self.windows[shard].get(key), context)
        self._show(shard, key, latest(window))
        self._keep(shard, key, window)

    def fold(self, shard: int, key: bytes, dot: Dot) -> None:
        """Forget an assignment that is stable; what is shown stays. O(1)."""
        window = self.windows[shard].get(key)
        if window is not None and dot in window:
            rest = {other: ms for other, ms in window.items() if other != dot}
            self._keep(shard, key, rest)

    def restore(self, shard: int, key: bytes, deadline: Deadline | None, window: DeadlineWindow) -> None:
        """Put in what a key had elsewhere. O(window)."""
        self._show(shard, key, deadline)
        self._keep(shard, key, window)

    def keys(self, shard: int) -> list[bytes]:
        """The keys of a shard with a deadline, or with one that is not stable, sorted. O(n log n)."""
        return sorted({*self.shown[shard], *self.windows[shard]})

    def take_passed(self, now_ms: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Some deadlines that have passed: (milliseconds, shard, key). Each is given once; `put_back` what is not to
        be removed yet. O(limit x log n)."""
        while self._due and self._due[0][0] <= now_ms:
            self._overdue.append(heappop(self._due))
        taken: list[tuple[int, int, bytes]] = []
        while self._overdue and len(taken) < limit:
            deadline_ms, shard, key = self._overdue.popleft()
            shown = self.shown[shard].get(key)
            if shown is not None and shown[0] == deadline_ms:
                taken.append((deadline_ms, shard, key))
        return taken

    def put_back(self, passed: tuple[int, int, bytes]) -> None:
        """Give one of `take_passed` again later. O(1)."""
        self._overdue.append(passed)

    def _check(self) -> None:
        assert self.count == sum(map(len, self.shown))
        windows = [window for by_key in self.windows for window in by_key.values()]
        assert self.entries == sum(map(len, windows))
        assert all(windows), "an empty window is kept"
