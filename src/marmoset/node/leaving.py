"""Leaving: the last thing that a member does (floor 7, DESIGN.md 4.2).

A leaver takes no more writes, logs `leave` as its last operation, and stays linked until every reachable member, and at
least a majority, is known to have it. Newcomers that it has not brought to birth are buried in the same batch, since
nobody else may bury them without a majority. If `leave_timeout` passes before, it ends all the same, says what is
unconfirmed, and the process exits non-zero. A newcomer that has logged its birth leaves in the same way, sure of it or
not: others may count it.
"""

from typing import TYPE_CHECKING, final

from marmoset.codec.operations import Leave
from marmoset.ids import ReplicaId
from marmoset.membership.states import UNREACHABLE
from marmoset.node.effects import Exit
from marmoset.node.states import DEAD, JOINING, LEAVING, LEFT, REHABILITATING, SERVING, WAITING

if TYPE_CHECKING:
    from marmoset.node.node import Node


@final
class Leaving:
    """How one node leaves."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._deadline_ms: int | None = None
        self.told: set[ReplicaId] = set()
        """Members that have refused a link since they have our leave."""

    def begin(self) -> None:
        """Begin to leave; an `Exit` follows. Asking again changes nothing."""
        node = self._node
        if node.state == REHABILITATING:
            node.rehabilitating.leaves = True
        elif node.state in (WAITING, DEAD) or (node.state == JOINING and not node.joining.is_birth_logged):
            self._exit_well("left before it was a member")
        elif node.state in (SERVING, JOINING):
            node.become(LEAVING)
            node.replica.submit_roster([*node.sponsoring.let_go(), Leave()])
            self._deadline_ms = node.time.monotonic_ms() + node.config.leave_timeout
            node.notify("info", "leaving")
            node.streaming.report_to_all()

    def check(self) -> None:
        """Exit when the leave is known well enough, or when the time is up. O(members)."""
        node = self._node
        if node.state == DEAD and self._deadline_ms is not None:
            self._exit(1, "presumed dead by the others while it was leaving")
        if node.state != LEAVING:
            return
        assert self._deadline_ms is not None
        replica, now = node.replica, node.time.monotonic_ms()
        dot = replica.roster.left[replica.me]
        others = replica.roster.present()
        missing = [r for r in others if r not in self.told and not replica.is_known_to(r, dot)]
        reachable = [r for r in missing if node.membership.state(r) != UNREACHABLE]
        if not reachable and (not others or 2 * (len(others) - len(missing)) > len(others)):
            self._exit_well("left")
        elif now >= self._deadline_ms:
            names = ", ".join(replica.roster.members[r].name for r in missing)
            verb = "knows" if len(missing) == 1 else "know"
            self._exit(1, f"left without knowing whether {names} {verb} it, within leave_timeout")

    def _exit_well(self, why: str) -> None:
        """Exit with 0, unless something ends with this node that only it has."""
        rehabilitating = self._node.rehabilitating
        if rehabilitating.is_under_way:
            self._exit(1, f"stopped before it could submit {rehabilitating.unsubmitted}")
        else:
            self._exit(0, why)

    def _exit(self, code: int, why: str) -> None:
        self._node.liveness.leave()
        self._node.rehabilitating.tell_the_rest()
        self._node.become(LEFT)
        self._node.effects.append(Exit(code, why))
