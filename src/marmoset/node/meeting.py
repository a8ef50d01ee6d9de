"""Meetings: the symmetrical gossip with a random member (floor 7, DESIGN.md 3.3 and 3.8).

Every gossip interval a node meets a random linked member. Both sides tell their id and clock, version vector, and what
they know of everyone, and put a report into the stream. A meeting also compares wall clocks, corrected for the round
trip: a peer out of bound is refused, and a node that is out of bound against a majority refuses writes.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Gossip, vector_pairs
from marmoset.ids import ReplicaId

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

HOLD_MS_MAX: Final = 1000
"""For how long a stream may hold messages before it is asked for everything."""
WHOLE_MS: Final = 30_000
"""For how long nothing is left out then. A link that has stalled is lost by that time, or goes on; and as long as all
bring what comes from its origin, too, each batch crosses many links."""


@final
class Meeting:
    """The meetings of one node, and what they told about clocks."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.clock_offsets: dict[ReplicaId, int] = {}
        """How far the wall clock of a member is ahead of ours, in milliseconds, as last compared."""
        self._some_wrong = False
        """Whether any was out of bound when it was last compared; asked for each write."""
        self._step_ms: int | None = None
        self._agreeing: dict[ReplicaId, bool] = {}
        """Who was compared since a step of our clock is held, noticed at `_step_ms`, and whether they agree with it."""

    @property
    def is_clock_wrong(self) -> bool:
        """Whether our clock is out of bound against a majority. O(1) as long as nobody's is, else O(members)."""
        if not self._some_wrong:
            return False
        limit = self._node.config.clock_skew_max
        wrong = sum(1 for offset in self.clock_offsets.values() if abs(offset) > limit)
        return 2 * wrong > len(self._node.replica.roster.present())

    def compare_clocks(self, replica: ReplicaId, offset_ms: int, *, is_fresh: bool) -> None:
        """A member's wall clock is `offset_ms` ahead of what ours reads. A step of ours is followed as soon as most of
        those that were compared with it agree (DESIGN.md 3.8); a Hello, which may have waited for us for long, says
        nothing about that. O(members)."""
        node = self._node
        if replica not in node.membership.peers:  # it has left, or was buried, and its link is about to end
            return
        limit = node.config.clock_skew_max
        self.clock_offsets[replica] = offset_ms
        self._some_wrong = any(abs(offset) > limit for offset in self.clock_offsets.values())
        node.wall_ms()
        step_ms = node.wall_clock.held_since_ms
        if step_ms is None or not is_fresh:
            return
        if step_ms != self._step_ms:
            self._step_ms = step_ms
            self._agreeing.clear()
        self._agreeing[replica] = abs(offset_ms) <= limit
        if 2 * sum(self._agreeing.values()) > len(self._agreeing):
            node.wall_clock.confirm(node.time.monotonic_ms(), node.time.wall_ms())
            node.notify("warning", "followed a step of the wall clock that others confirm")

    def handle_interval(self) -> None:
        """A gossip interval has passed. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        node.wall_ms()  # notice steps, written to or not
        if not node.is_member():
            return
        self._unblock(now)
        linked = sorted(replica for replica in node.linked if replica in node.replica.roster.members)
        if linked:
            self.meet(node.rng.choice(linked))

    def _unblock(self, now_ms: int) -> None:
        """Ask for everything where leaving out has made a stream wait for too long, or hold too much; and leave out
        again what is heard directly, a while after that."""
        node = self._node
        for link in list(node.linked.values()):
            stream = link.stream
            if stream is None or stream.introducing or stream.awaiting_resumed:
                continue
            waited = stream.held_since_ms is not None and now_ms - stream.held_since_ms > HOLD_MS_MAX
            if waited or stream.held_bytes > node.config.link_buffer_max:
                link.whole_ms = now_ms
                stream.resume(frozenset())
            elif link.whole_ms is not None and now_ms - link.whole_ms > WHOLE_MS:
                link.whole_ms = None
                node.streaming.changed = True

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
            node.membership.incarnation,
            node.time.wall_ms(),
            vector_pairs(replica.seen),
            node.membership.digest(),
            *node.burying.evidence(),
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
        node.membership.handle_link_heard(link.peer, now)
        node.membership.merge(message.peers, link.peer, now)
        if not message.answer:
            self._tell(link, answer=True, echo_ms=message.echo_ms)
            return
        node.burying.handle_evidence(link.peer, message)
        round_trip_ms = now - message.echo_ms
        if 0 <= round_trip_ms < node.config.clock_skew_max // 2:
            offset_ms = message.wall_ms - (node.time.wall_ms() - round_trip_ms // 2)
            self.compare_clocks(link.peer, offset_ms, is_fresh=True)
            if abs(offset_ms) > node.config.clock_skew_max:
                node.refuse(link, "clock", f"wall clocks are {offset_ms / 1000:+.1f} s apart")
