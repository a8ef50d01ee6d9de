"""Simulated time (beside the floors): a queue of events, in order of their moments and then of their making.

Time is whole microseconds since the world began. No two runs of the same events differ.
"""

import heapq
from collections.abc import Callable
from typing import final

US_PER_MS = 1000


@final
class World:
    """The clock and the queue of everything that is to happen."""

    __slots__ = ("_queue", "_sequence", "events", "now_us")

    def __init__(self) -> None:
        self.now_us = 0
        self.events = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0

    def after(self, delay_us: int, action: Callable[[], None]) -> None:
        """Have something happen after a delay. O(log n)."""
        self.at(self.now_us + delay_us, action)

    def at(self, moment_us: int, action: Callable[[], None]) -> None:
        """Have something happen at a moment, now if that has passed. O(log n)."""
        self._sequence += 1
        heapq.heappush(self._queue, (max(moment_us, self.now_us), self._sequence, action))

    def run_until(self, moment_us: int) -> None:
        """Let everything happen up to a moment."""
        queue = self._queue
        while queue and queue[0][0] <= moment_us:
            self.now_us, _, action = heapq.heappop(queue)
            self.events += 1
            action()
        self.now_us = max(self.now_us, moment_us)
