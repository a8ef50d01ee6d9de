"""The log budget (floor 7, DESIGN.md 4): what is kept for members that lack it may not grow for ever.

From half of `log_budget` on people are warned. From three quarters on clients' writes are slowed down, by up to
`write_delay_max`, as long as somebody who is reachable lacks something: that one is only slow, and gets the time to
catch up. Past the budget writes of clients are refused with a text that says who is waited for. Reads go on, and so
does everything that comes from other members, operations on the roster among it. When the log has outgrown the budget
for `budget_grace`, members that are unreachable, or that are given something and make no progress, are buried sooner:
see `Burying`.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.ids import ReplicaId
from marmoset.membership.states import UNREACHABLE

if TYPE_CHECKING:
    from marmoset.node.node import Node

LEVELS: Final = ("within half of log_budget", "past half of log_budget", "past log_budget: writes are refused")


@final
class LogBudget:
    """How far the log of one node is within its budget."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._log_budget: int = node.config.log_budget  # at hand, since it is asked at every write
        self._level = 0
        self._over_since_ms: int | None = None
        self.delay_ms = 0
        """How long the answer to a client's write is held back; looked at once in a gossip interval."""

    @property
    def is_used_up(self) -> bool:
        """Whether writes have to be refused. O(1)."""
        return self._node.replica.log.size_bytes > self._log_budget

    @property
    def is_past_half(self) -> bool:
        """Whether it is time to look who holds the log up. O(1)."""
        return 2 * self._node.replica.log.size_bytes > self._node.config.log_budget

    @property
    def is_outgrown(self) -> bool:
        """Whether the log has been past its budget for `budget_grace`. O(1)."""
        node, since_ms = self._node, self._over_since_ms
        return since_ms is not None and node.time.monotonic_ms() - since_ms >= node.config.budget_grace

    def lacking(self) -> list[ReplicaId]:
        """The members that lack something that is here, in the order of ids. O(members squared)."""
        replica = self._node.replica
        dots = list(replica.seen.items())
        return [r for r in replica.roster.counted() if any(not replica.is_known_to(r, dot) for dot in dots)]

    def waited_for(self) -> list[str]:
        """The names of the members that lack something that is here. O(members squared)."""
        members = self._node.replica.roster.members
        return sorted(members[r].name for r in self.lacking())

    def refusal(self) -> str:
        """The error text for writers. O(members squared)."""
        names = ", ".join(self.waited_for()) or "some member"
        return (
            f"OOM the log of what {names} lack has used up log_budget ({self._node.config.log_budget} bytes); reads go "
            "on. Bring them back, or presume them dead with MARMOSET BURY"
        )

    def handle_interval(self) -> None:
        """Say so when another level is reached, and slow writers down. O(1) within half, else O(members squared)."""
        node = self._node
        size, budget = node.replica.log.size_bytes, node.config.log_budget
        self._log_budget = budget
        if size <= budget:
            self._over_since_ms = None
        elif self._over_since_ms is None:
            self._over_since_ms = node.time.monotonic_ms()
        self.delay_ms = self._delay_ms(size, budget)
        level = 2 if size > budget else int(2 * size > budget)
        if level != self._level:
            severity = "info" if level < self._level else "warning" if level == 1 else "error"
            self._level = level
            node.notify(severity, "log budget", reached=LEVELS[level], log_bytes=size, waited_for=self.waited_for())

    def _delay_ms(self, size: int, budget: int) -> int:
        """Nothing up to three quarters of the budget, then more and more, up to the ceiling."""
        node, last_quarter = self._node, max(1, budget // 4)
        past = min(size - (budget - last_quarter), last_quarter)
        if past <= 0:
            return 0
        if all(r == node.replica.me or node.membership.state(r) == UNREACHABLE for r in self.lacking()):
            return 0  # nobody would catch up meanwhile
        return node.config.write_delay_max * past // last_quarter

    def status(self) -> dict[str, str | int]:
        """For people. O(1) within half of the budget, else O(members squared)."""
        return {
            "log_budget": self._node.config.log_budget,
            "log_level": LEVELS[self._level],
            "log_waits_for": ",".join(self.waited_for()) if self.is_past_half else "",
            "write_delay_ms": self.delay_ms,
        }
