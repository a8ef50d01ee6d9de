"""The log budget (floor 7, DESIGN.md 4): what is kept for members that lack it may not grow for ever.

From half of `log_budget` on people are warned; past it writes of clients are refused with a text that says who is
waited for. Reads go on, and so does everything that comes from other members, operations on the roster among it.
"""

from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from marmoset.node.node import Node

LEVELS: Final = ("within half of log_budget", "past half of log_budget", "past log_budget: writes are refused")


@final
class LogBudget:
    """How far the log of one node is within its budget."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._level = 0

    @property
    def is_used_up(self) -> bool:
        """Whether writes have to be refused. O(1)."""
        return self._node.replica.log.size_bytes > self._node.config.log_budget

    def waited_for(self) -> list[str]:
        """The names of the members that lack something that is here. O(members squared)."""
        replica = self._node.replica
        lacking = [
            replica.roster.members[r].name
            for r in replica.counted()
            if any(not replica.is_known_to(r, dot) for dot in replica.seen.items())
        ]
        return sorted(lacking)

    def refusal(self) -> str:
        """The error text for writers. O(members squared)."""
        names = ", ".join(self.waited_for()) or "some member"
        return (
            f"OOM the log of what {names} lack has used up log_budget ({self._node.config.log_budget} bytes); reads go "
            "on. Bring them back, or presume them dead with MARMOSET BURY"
        )

    def handle_interval(self) -> None:
        """Say so when another level is reached. O(1), but when one is."""
        node = self._node
        size, budget = node.replica.log.size_bytes, node.config.log_budget
        level = 2 if size > budget else int(2 * size > budget)
        if level != self._level:
            severity = "info" if level < self._level else "warning" if level == 1 else "error"
            self._level = level
            node.notify(severity, "log budget", reached=LEVELS[level], log_bytes=size, waited_for=self.waited_for())
