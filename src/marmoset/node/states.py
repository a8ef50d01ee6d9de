"""The life of a node (floor 7), as a table."""

from typing import Final

WAITING: Final = "waiting"
JOINING: Final = "joining"
SERVING: Final = "serving"
LEAVING: Final = "leaving"
LEFT: Final = "left"
DEAD: Final = "presumed dead"
NODE_STATES: Final = {
    WAITING: (JOINING, SERVING, LEFT),  # for a member that lets it in; SERVING when it begins a group
    JOINING: (WAITING, SERVING, LEFT),  # it is filled by its sponsor
    SERVING: (LEAVING, DEAD, LEFT),  # LEFT where it is not to be relied on any more
    LEAVING: (LEFT, DEAD),
    DEAD: (LEFT,),
    LEFT: (),
}
"""The states of a node, and which may follow."""
