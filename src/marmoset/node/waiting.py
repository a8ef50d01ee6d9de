"""Waiting until a write is known to others (floor 7): what WAIT does.

A waiter counts the members, born and not buried, other than ourselves, that are known to have an operation: by the
vectors that reports bring, which never say more than their owner had when it made them. So the number is never too
large; it may be too small, since what a member has is known only once it has said so. Therefore everybody that lacks
what is waited for is met as soon as it has been sent, and again in each gossip interval.

Nothing here holds anybody else up: `done` is called when enough have it, or when the time has passed.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from marmoset.ids import Dot, ReplicaId

if TYPE_CHECKING:
    from marmoset.node.node import Node

LOOK_MS: Final = 20
"""How often deadlines are looked at: one timer for all, since whoever comes later may be due earlier."""


@final
class Waiter:
    """Somebody who waits; `done` is called once, with how many have it."""

    __slots__ = ("count", "deadline_ms", "done", "dot")

    def __init__(self, dot: Dot, count: int, deadline_ms: int | None, done: Callable[[int], None]) -> None:
        self.dot = dot
        self.count = count
        self.deadline_ms = deadline_ms
        self.done = done


@final
class Waiting:
    """All that wait at one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._waiters: list[Waiter] = []
        self._changes_seen = -1
        self.is_asking = False
        """Somebody has begun to wait in this turn: what was written is sent, and behind it the others are asked."""

    def lacking(self, dot: Dot) -> list[ReplicaId]:
        """The members that count and are not known to have an operation, in the order of ids. O(members)."""
        replica = self._node.replica
        return [r for r in self._counted() if dot[0] != replica.me or not replica.is_known_to(r, dot)]

    def known_by(self, dot: Dot) -> int:
        """How many members other than ourselves are known to have an operation of ours. O(members)."""
        return len(self._counted()) - len(self.lacking(dot))

    def _counted(self) -> list[ReplicaId]:
        replica = self._node.replica
        members = replica.roster.members
        return [r for r in replica.roster.present() if r != replica.me and members[r].born]

    def wait(self, dot: Dot, count: int, timeout_ms: int, done: Callable[[int], None]) -> Waiter:
        """Wait until `count` members are known to have an operation, at most for `timeout_ms`, or for ever for 0."""
        node = self._node
        deadline_ms = node.time.monotonic_ms() + timeout_ms if timeout_ms else None
        waiter = Waiter(dot, count, deadline_ms, done)
        self._waiters.append(waiter)
        node.replica.cut()
        self.is_asking = True
        self._arm()
        return waiter

    def cancel(self, waiter: Waiter) -> None:
        """Forget a waiter that is gone. O(waiters)."""
        self._waiters = [each for each in self._waiters if each is not waiter]

    def ask(self) -> None:
        """Meet everybody who lacks what somebody waits for. What was logged is sent. O(waiters x members)."""
        self.is_asking = False
        for replica in sorted({r for waiter in self._waiters for r in self.lacking(waiter.dot)}):
            self._node.meeting.meet(replica)

    def settle(self) -> None:
        """Behind every event: ask for those who have just begun to wait, and tell those for whom there are enough by
        now. O(1) where nothing became known, else O(waiters x members)."""
        if self.is_asking:
            self.ask()
        changes = self._node.replica.stability.changes
        if self._waiters and changes != self._changes_seen:
            self._changes_seen = changes
            self._finish([w for w in self._waiters if self.known_by(w.dot) >= w.count])

    def handle_interval(self) -> None:
        """Once in a gossip interval. What was written under an id that this node has lost is known to nobody for good:
        whoever waits for that is told so."""
        me = self._node.replica.me
        self._finish([waiter for waiter in self._waiters if waiter.dot[0] != me])
        self._changes_seen = -1  # the roster may have changed
        self.ask()

    def handle_timer(self) -> None:
        """Tell those whose time has passed."""
        now = self._node.time.monotonic_ms()
        self._finish([w for w in self._waiters if w.deadline_ms is not None and w.deadline_ms <= now])
        self._arm()

    def _finish(self, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            self.cancel(waiter)
            waiter.done(self.known_by(waiter.dot))

    def _arm(self) -> None:
        now = self._node.time.monotonic_ms()
        deadlines = [waiter.deadline_ms for waiter in self._waiters if waiter.deadline_ms is not None]
        if deadlines:
            self._node.arm("wait", max(1, min(LOOK_MS, min(deadlines) - now)))
