"""What a node does whose state was changed by half (floor 7): our own bug, and the end of what can be relied on."""

from typing import TYPE_CHECKING

from marmoset.node.effects import Exit
from marmoset.node.states import JOINING, LEFT, WAITING

if TYPE_CHECKING:
    from marmoset.node.node import Node


def end_unsound(node: "Node") -> None:
    """Something was changed by half: serve nobody from it. A newcomer begins from nothing; a member sends what its
    clients wrote up to its last batch, which is sound, and ends. What the others have is whole: it may come back under
    its name."""
    if node.state in (WAITING, JOINING):
        node.notify("warning", "unsound, beginning again", why=node.replica.unsound)
        node.joining.begin_again()
    elif node.state != LEFT:
        node.streaming.pump_all()
        node.notify("error", "unsound", why=node.replica.unsound)
        node.rehabilitating.tell_the_rest()
        node.become(LEFT)
        node.effects.append(Exit(1, f"not to be relied on any more, restart it: {node.replica.unsound}"))
