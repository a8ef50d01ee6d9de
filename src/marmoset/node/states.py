"""The life of a node (floor 7), as a table."""

from typing import Final

WAITING: Final = "waiting"
JOINING: Final = "joining"
SERVING: Final = "serving"
LEAVING: Final = "leaving"
LEFT: Final = "left"
DEAD: Final = "presumed dead"
REHABILITATING: Final = "rehabilitating"
NODE_STATES: Final = {
    WAITING: (JOINING, SERVING, LEFT),  # for a member that lets it in; SERVING when it begins a group
    JOINING: (WAITING, SERVING, REHABILITATING, LEAVING, LEFT),  # it is filled by its sponsor; LEAVING once born
    REHABILITATING: (SERVING, DEAD, LEFT),  # a member that submits what only it had, and does not serve yet
    SERVING: (LEAVING, DEAD, LEFT),  # LEFT where it is not to be relied on any more
    LEAVING: (LEFT, DEAD),
    DEAD: (WAITING, LEFT),  # what is to be kept is gathered; then it is wiped and joins anew
    LEFT: (),
}
"""The states of a node, and which may follow."""
BURYING: Final = (SERVING, REHABILITATING)
"""The states in which a node may bury others: it is a member that stays. What it has to submit may wait for just that,
and all that are left may be at it."""
