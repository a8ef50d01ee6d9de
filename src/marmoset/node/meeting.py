"""Meetings: the symmetrical gossip with a random member (floor 7, DESIGN.md 3.3 and 3.8).

Every gossip interval a node meets a random linked member. Both sides tell their id and clock, version vector, and what
they know of everyone, and put a report into the stream. A meeting also compares wall clocks, corrected for the round
trip: a peer out of bound is refused, and a node that is out of bound against a majority refuses writes.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Gossip, vector_pairs
from marmoset.ids import ReplicaId, id_text
from marmoset.membership.gossip import ALIVE

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

HOLD_MS_MAX: Final = 1000
"""For how long a stream may hold messages before it is asked for everything."""


@final
class Meeting:
    """The meetings of one node, and what they told about clocks."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.clock_offsets: dict[ReplicaId, int] = {}
        """How far the wall clock of a member is ahead of ours, in milliseconds, as last compared."""

    @property
    def is_clock_wrong(self) -> bool:
        """Whether our clock is out of bound against a majority. O(members)."""
        if not self.clock_offsets:
            return False
        limit = self._node.config.clock_skew_max
        wrong = sum(1 for offset in self.clock_offsets.values() if abs(offset) > limit)
        return 2 * wrong > len(self._node.replica.roster.present())

    def handle_interval(self) -> None:
        """A gossip interval has passed. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        for replica, before, state in node.membership.tick(now):
            member = node.replica.roster.members.get(replica)
            name = member.name if member is not None else id_text(replica)
            node.notify("info" if state == ALIVE else "warning", f"member is {state}", name=name, was=before)
        if not node.is_member():
            return
        self._unblock(now)
        linked = [replica for replica in node.linked if replica in node.replica.roster.members]
        peer = node.membership.choose(linked, node.rng)
        if peer is not None:
            self.meet(peer)

    def _unblock(self, now_ms: int) -> None:
        """Ask for everything where leaving out has made a stream wait for too long, or hold too much."""
        node = self._node
        for link in list(node.linked.values()):
            stream = link.stream
            if stream is None or stream.introducing or stream.awaiting_resumed:
                continue
            waited = stream.held_since_ms is not None and now_ms - stream.held_since_ms > HOLD_MS_MAX
            if waited or stream.held_bytes > node.config.link_buffer_max:
                link.whole = True
                stream.resume(frozenset())

    def meet(self, replica: ReplicaId) -> None:
        """Meet a member now, if it is linked. O(members)."""
        link = self._node.linked.get(replica)
        if link is not None:
            self._tell(link, answer=False, echo_ms=self._node.time.monotonic_ms())

    def _tell(self, link: "Link", *, answer: bool, echo_ms: int) -> None:
        """Our side of a meeting: what we know of everyone, and a report in the stream."""
        node, replica = self._node, self._node.replica
        message = Gossip(
            replica.me,
            node.membership.counter,
            node.time.wall_ms(),
            vector_pairs(replica.seen),
            node.membership.digest(),
            echo_ms,
            answer,
        )
        if not link.paused:
            node.send(link, message)
        if link.stream is not None:
            link.stream.report_due = True

    def handle_gossip(self, link: "Link", message: Gossip) -> None:
        """The other side of a meeting has come. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        node.membership.merge(message.peers, now)
        if not message.answer:
            self._tell(link, answer=True, echo_ms=message.echo_ms)
            return
        round_trip_ms = now - message.echo_ms
        if 0 <= round_trip_ms < node.config.clock_skew_max // 2:
            offset_ms = message.wall_ms - (node.time.wall_ms() - round_trip_ms // 2)
            if link.peer in node.membership.contacts:  # else it has left, or was buried, and its link is about to end
                self.clock_offsets[link.peer] = offset_ms
            if abs(offset_ms) > node.config.clock_skew_max:
                node.refuse(link, "clock", f"wall clocks are {offset_ms / 1000:+.1f} s apart")
