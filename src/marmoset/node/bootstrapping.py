"""Bootstrapping by vote: the first of all among nodes that are started alike (floor 7, DESIGN.md 4.1).

Nodes that are given the same join list and find no member wait for one another. With `bootstrap_expect` N, more than
half of the list, one of them begins a group once N-1 others that wait too have voted for it. A node votes once in its
life, its own vote for itself included: so at most one of them can ever come to N.

A vote cannot be taken back, so none is given lightly. First everybody tells whom it *prefers*: the one that stands
first in the list among those that it has heard waiting lately, itself included, once those are N. Only who is preferred
by N-1 others asks for votes, and only who still prefers it then gives one. Votes that are split all the same leave
everybody waiting; the log says so, and a node that is started again has a new life.

Waiting nodes meet on the links on which they try to join: see `Joining`. Whoever finds a member joins it, and all of
this is over. Who waits is forgotten after `FRESH_ROUNDS` rounds through the list.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Waits
from marmoset.errors import UsageError
from marmoset.node.states import WAITING

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

PAUSE_MS_MAX: Final = 500
"""Nobody waits for long between two tries while a group is still to begin."""
FRESH_ROUNDS: Final = 4
TRY_MS: Final = 1500
"""About how long one try may take, where the one that is tried does not answer."""


@final
class Bootstrapping:
    """What one waiting node knows of the others that wait."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.voted = ""
        """The address that has our vote."""
        self._heard: dict[str, tuple[int, str]] = {}
        """Who waits: address to when we heard that, and whom it prefers."""
        self._votes: set[str] = set()
        self._told_split = False
        self.was_member = False

    @property
    def is_on(self) -> bool:
        """Whether this node waits for a group that is to begin by vote. Who ever was a member does not: its group is
        somewhere."""
        node = self._node
        return node.config.bootstrap_expect > 0 and node.state == WAITING and not self.was_member

    def check_settings(self) -> None:
        """Before anything is sent.

        Raises:
            UsageError: we are not in the join list that everybody is given, so nobody could vote for us.
        """
        node = self._node
        if node.config.bootstrap_expect and node.address not in node.config.join:
            raise UsageError(
                f"bootstrap_expect needs the same --join list on all nodes, and {node.address} is not in this one: "
                f"{', '.join(node.config.join) or 'nobody'}"
            )

    def pause_ms(self, pause_ms: int) -> int:
        """How long to wait before the next try."""
        return min(pause_ms, PAUSE_MS_MAX) if self.is_on else pause_ms

    def _waiting(self) -> list[str]:
        """Those that wait, ourselves included, in the order of the list. O(list)."""
        node = self._node
        since_ms = node.time.monotonic_ms() - FRESH_ROUNDS * len(node.config.join) * TRY_MS
        heard = {address for address, (at_ms, _) in self._heard.items() if at_ms >= since_ms}
        return [address for address in node.config.join if address == node.address or address in heard]

    def preferred(self) -> str:
        """Whom we would have begin, or nobody yet. O(list)."""
        waiting = self._waiting()
        return waiting[0] if len(waiting) >= self._node.config.bootstrap_expect else ""

    def _is_wanted(self) -> bool:
        """Whether enough of those that wait prefer us."""
        node = self._node
        others = [address for address in self._waiting() if address != node.address]
        supporters = 1 + sum(1 for address in others if self._heard[address][1] == node.address)
        return self.preferred() == node.address and supporters >= node.config.bootstrap_expect

    def greet(self, link: "Link", address: str) -> bool:
        """A newcomer has come while we wait ourselves: tell it what we know, and whether that was done."""
        if not self.is_on or address not in self._node.config.join:
            return False
        self._tell(link, asks=False)
        return True

    def _tell(self, link: "Link", *, asks: bool) -> None:
        node = self._node
        node.send(link, Waits(node.address, sorted(node.config.join), self.preferred(), self.voted, asks))

    def handle_waits(self, link: "Link", message: Waits) -> None:
        """Another one waits too: what it prefers, whom it voted for, and whether it asks for our vote."""
        node = self._node
        if not self.is_on:
            node.close(link)
            return
        if message.joins != sorted(node.config.join):
            node.notify("error", "another join list", peer=message.address, theirs=", ".join(message.joins))
            node.close(link)
            return
        self._heard[message.address] = (node.time.monotonic_ms(), message.prefers)
        if message.voted == node.address:
            self._votes.add(message.address)
        if self._begin_if_elected():
            return
        if message.asks:
            if not self.voted and self.preferred() == message.address:
                self.voted = message.address
                node.notify("info", "voted for the one that is to begin a group", address=message.address)
            self._tell(link, asks=False)
        elif (
            link.outbound and not link.asked and not message.voted and (self.voted == node.address or self._votes_now())
        ):
            link.asked = True
            self._tell(link, asks=True)
        elif link.outbound and not link.asked:
            link.asked = True  # it hears what we prefer, and the link has done what it was for
            self._tell(link, asks=False)
            node.close(link)
        elif link.outbound:
            node.close(link)
        self._tell_split()

    def _votes_now(self) -> bool:
        """Vote for ourselves, if we are wanted and have not voted."""
        node = self._node
        if self.voted or not self._is_wanted():
            return False
        self.voted = node.address
        node.notify("info", "asking the others for their votes", prefer_us=len(self._waiting()))
        return True

    def _begin_if_elected(self) -> bool:
        node = self._node
        if self.voted != node.address or 1 + len(self._votes) < node.config.bootstrap_expect:
            return False
        node.notify("info", "elected by those that wait", votes=[node.address, *sorted(self._votes)])
        node.joining.stop()
        node.begin_group()
        return True

    def _tell_split(self) -> None:
        """Say it once when our vote is given and the one that has it is not preferred any more."""
        preferred = self.preferred()
        if self.voted and preferred not in ("", self.voted) and not self._told_split:
            self._told_split = True
            self._node.notify(
                "warning",
                "our vote is given to one that does not wait any more; start this node again if it is gone for good",
                voted=self.voted,
                waiting=", ".join(self._waiting()),
            )
