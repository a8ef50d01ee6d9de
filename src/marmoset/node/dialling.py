"""Links are kept: every member that is not linked is dialled again, for as long as it is in the roster (floor 7).

Pauses double from `reconnect_min` to `reconnect_max`, with jitter, so that a healed cut heals by itself and a dead
member costs a dial now and then. They begin anew once a link has lasted for `reconnect_max`: a member that answers, and
then refuses the link or breaks it, costs no more than one that does not answer. Of two members the one with the lower
id dials first; where both do, `Greeting` keeps the link that the lower one opened. An address from which somebody else
is linked is not dialled: the process that was there has ended, and this one would be linked again instead.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.ids import ReplicaId
from marmoset.node.links import GREETING

if TYPE_CHECKING:
    from marmoset.node.node import Node

GREETING_MS_MAX: Final = 3000
"""For how long an open link may be silent before its other side has said who it is."""
SECOND_SIDE_DELAY_MS: Final = 150


@final
class _Target:
    __slots__ = ("address", "attempts", "due_ms", "linked_ms")

    def __init__(self, address: str) -> None:
        self.address = address
        self.attempts = 0
        self.due_ms = 0
        """When to dial next, while it is not linked."""
        self.linked_ms: int | None = None
        """Since when it is linked; None while it is not."""


@final
class Dialling:
    """Whom to dial, and when."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._targets: dict[ReplicaId, _Target] = {}

    def follow(self, present: list[ReplicaId]) -> None:
        """Have exactly these members linked or dialled. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        members = node.replica.roster.members
        wanted = {r for r in present if members[r].born} if node.keeps_links() else set()
        for replica in [r for r in self._targets if r not in wanted]:
            del self._targets[replica]
        for replica in sorted(wanted - node.linked.keys()):
            target = self._targets.get(replica)
            if target is not None and target.linked_ms is None:
                continue
            if target is None or now - (target.linked_ms or 0) >= node.config.reconnect_max:
                target = self._targets[replica] = _Target(members[replica].address)
            target.linked_ms = None
            delay = SECOND_SIDE_DELAY_MS if node.replica.me > replica else 0
            target.due_ms = max(target.due_ms, now + delay)
        if self._targets:
            node.arm("dial", 1)

    def handle_linked(self, replica: ReplicaId) -> None:
        """A member is linked. O(1)."""
        target = self._targets.get(replica)
        if target is not None:
            target.linked_ms = self._node.time.monotonic_ms()

    def handle_dialled(self, address: str) -> None:
        """A link is open; the member still has to accept it."""

    def handle_failed(self, address: str, why: str) -> None:
        """A dial has failed; the next one is scheduled already."""

    def close_silent(self) -> None:
        """End the links whose other side has not said who it is. Called once in a gossip interval. O(links)."""
        node, now = self._node, self._node.time.monotonic_ms()
        for link in list(node.links.values()):
            if link.state == GREETING and now - link.opened_ms > GREETING_MS_MAX:
                node.close(link)

    def handle_timer(self) -> None:
        """Dial whom it is time to dial. O(members + links)."""
        node, now = self._node, self._node.time.monotonic_ms()
        greeting = {link.address for link in node.links.values() if link.state == GREETING and link.outbound}
        taken = {link.peer_address for link in node.links.values() if link.state != GREETING}
        dialled = [target for replica, target in sorted(self._targets.items()) if replica not in node.linked]
        for target in dialled:
            if target.due_ms > now:
                continue
            pause = min(node.config.reconnect_max, node.config.reconnect_min << min(target.attempts, 16))
            target.attempts += 1
            target.due_ms = now + max(1, round(pause * node.rng.uniform(0.5, 1.0)))
            if target.address not in greeting and target.address not in taken:
                node.dial(target.address)
        if dialled:
            node.arm("dial", max(1, min(target.due_ms for target in dialled) - now))
