"""What clients are told while a node does not do what they ask (floor 7)."""

from typing import TYPE_CHECKING, Final

from marmoset.node.states import DEAD, JOINING, LEFT, REHABILITATING, SERVING, WAITING

if TYPE_CHECKING:
    from marmoset.node.node import Node

LOADING: Final = {
    WAITING: "LOADING marmoset is waiting to join its group",
    JOINING: "LOADING marmoset is loading the dataset in memory",
    REHABILITATING: "LOADING marmoset was presumed dead, and is submitting what only this node has",
}
"""The states in which nothing is served."""


def refusal(node: "Node", write: bool) -> str | None:
    """The error text with which a command must be refused now, or None. O(1)."""
    if node.state == SERVING:
        if write and node.meeting.is_clock_wrong:
            return "CLOCK the clock of this node disagrees with a majority of the members; writes are refused"
        if write and node.budget.is_used_up:
            return node.budget.refusal()
        return None
    loading = LOADING.get(node.state)
    if loading is not None:
        return loading
    if not write and node.state != LEFT and node.joining.sink is None:  # it has served before
        return None
    if node.state == DEAD:
        return "LOADING marmoset was presumed dead by the others and is about to join anew"
    return "LOADING marmoset is leaving its group"
