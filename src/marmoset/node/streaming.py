"""Streams of one node: who is sent what, and who is asked to bring what (floor 7, DESIGN.md 3.2 and 3.3).

In a group where everybody is linked to everybody the streams leave out what their receiver hears over links of its own
(`replication.exchange`). What is not heard so, because its origin is gone or cut off, has to be brought by others. In a
small group each of them brings it, which is the fastest way and costs little. In a group of more than `FEW` members
that would be a storm: when a cut heals, everybody is linked anew with everybody else, and each batch of the time of
the cut would cross nearly every link. There a node has a few *bringers*, whose streams leave out only what is heard
directly; all others are asked for their own batches alone. A stream that begins in such a group waits until its
receiver has said something, so that what is not wanted is not sent before that is known.

That nobody waits for ever: what comes over the link to its origin stands behind nothing but what happened before it,
and so does, in the stream of a bringer, whatever a batch of that stream waits for. Bringers that lack something
themselves show in the reports of others, which then wait for it here: `Meeting` asks such a stream for everything, for
a while.

Costs: `pump_all` O(links) and what is sent, `ask` O(members + links whose wishes change x members).
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.errors import InternalError, PeerError
from marmoset.ids import ReplicaId
from marmoset.node.links import Link
from marmoset.node.pacing import Pace
from marmoset.node.rehabilitating import proof
from marmoset.node.states import SERVING
from marmoset.replication.chain import LENGTH_MAX
from marmoset.replication.exchange import CLOCK, GO_ON, NOT_YET, PAUSE, REFUSE, StreamMessage

if TYPE_CHECKING:
    from marmoset.node.node import Node

FEW: Final = 16
"""Up to so many members everybody brings everything that is not heard directly."""
BRINGERS: Final = 3
"""In a larger group so many do."""
FOLD_DELAY_MS: Final = 5
REPORT_OPERATIONS: Final = LENGTH_MAX // 4
"""Once the log has grown by so many, everybody is told without a meeting: between two meetings fast writers can log
more than a chain may have, and without it each write costs several times as much."""


@final
class Streaming:
    """The streams of one node."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._bringers: list[ReplicaId] = []
        self.changed = False
        """Streams or the roster have changed, so others may have to be asked for other things."""
        self.pumped_index = 0
        """Where the log ended when the streams were last sent what is in it."""
        self.pace = Pace()
        """When what we write is sent."""
        self.report_operations = REPORT_OPERATIONS
        self._reported = 0
        """How many operations in the log everybody was told of; what is stable leaves it."""
        self._drained_state = 0
        """The state of the replica when it was last looked whether what streams hold can be used."""

    @property
    def is_large(self) -> bool:
        """Whether the group is so large that a few have to bring what is not heard directly. O(1)."""
        return len(self._node.replica.roster.members) > FEW

    @property
    def fold_delay_ms(self) -> int:
        """How soon after something became known it is looked what is stable, which costs O(members squared)."""
        return len(self._node.replica.roster.members) if self.is_large else FOLD_DELAY_MS

    def handle_began(self, link: Link, is_known: bool) -> None:
        """A link has become one of exchange; `is_known` if the other side has us in its roster. O(1)."""
        if self.is_large and is_known and link.stream is not None and link.stream.sending:
            link.stream.is_waiting = True
            link.stream.report_due = False
            self.changed = True

    def handle_links_changed(self) -> None:
        """A link was lost, or the roster has changed. In a small group everybody hears soon what is known now; in a
        large one that would be a storm, and meetings tell it. O(links)."""
        self.changed = True
        if not self.is_large:
            self.report_to_all()

    def handle_caught_up(self) -> None:
        """A stream has brought everything that its sender had when it began, or has begun again."""
        self.changed = True

    def report_to_all(self) -> None:
        """Have every stream end with a report, however little has changed."""
        for link in self._node.linked.values():
            if link.stream is not None:
                link.stream.report_due = True

    def pump_paced(self) -> None:
        """Send every linked peer what it lacks, unless that is a few writes that may wait for others (`node.pacing`):
        not where somebody waits until they are known, nor at the end. O(links) and what is sent."""
        node = self._node
        if node.linked:
            next_seq, now_ms = node.replica.next_seq, node.time.monotonic_ms()
            if node.waiting.is_asking or node.state != SERVING:
                self.pace.handle_sent(next_seq, now_ms)
            else:
                delay_ms = self.pace.delay_ms(next_seq, now_ms)
                if delay_ms:
                    node.arm("pump", delay_ms)
                    return
        self.pump_all()

    def pump_all(self) -> None:
        """Send every linked peer what it lacks, as far as it takes it."""
        node, more = self._node, False
        self._report_growth()
        self.pumped_index = end = node.replica.log.next_index
        own_end = node.replica.log.own_end if self.is_large else end  # in a small group nothing is put off
        for link in node.linked.values():
            if link.stream is not None and link.stream.has_due(end, own_end):
                more = link.stream.pump(node.pump_bytes) or more
        if more:
            node.arm("pump", 1)

    def _report_growth(self) -> None:
        """Tell everybody what is here when the log has grown by much; in a large group that would be a storm. O(1), at
        times O(links)."""
        operations = self._node.replica.log.operations
        self._reported = min(self._reported, operations)
        if operations - self._reported >= self.report_operations and not self.is_large:
            self._reported = operations
            self.report_to_all()

    def ask(self) -> None:
        """Ask every stream to leave out what its receiver hears directly, or what others bring."""
        self.changed = False
        linked = self._node.linked
        heard = {r for r, link in linked.items() if link.stream is not None and link.stream.is_caught_up}
        everybody = frozenset(self._node.replica.roster.members)
        bringers = self._choose() if self.is_large else linked.keys()
        for peer in sorted(linked):
            stream = linked[peer].stream
            if stream is not None and stream.sending and not stream.introducing and linked[peer].whole_ms is None:
                stream.ask(frozenset(heard - {peer}) if peer in bringers else everybody - {peer})

    def _choose(self) -> list[ReplicaId]:
        """Those who bring what is not heard directly: the same as before, as long as they are linked."""
        node = self._node
        able = [r for r, link in sorted(node.linked.items()) if link.stream is not None and link.stream.sending]
        kept = [r for r in self._bringers if r in able][:BRINGERS]
        others = [r for r in able if r not in kept]
        self._bringers = kept + node.rng.sample(others, min(BRINGERS - len(kept), len(others)))
        return self._bringers

    # -- what comes

    def handle(self, link: Link, message: StreamMessage, data: bytes) -> None:
        """A message of a stream has come over its link."""
        assert link.stream is not None
        self._act(link, link.stream.receive(message, data, self._node.time.monotonic_ms()))
        if link.stream is not None and link.stream.is_cut:
            self._drained_state = -1

    def drain(self) -> None:
        """Use what streams hold, as far as it can be used by now: whatever has changed our state, be it a batch, a
        stranger that is believed or our own leave. O(links) where it has changed, and what is used: of much, a slice
        in each turn."""
        node, now = self._node, self._node.time.monotonic_ms()
        if node.replica.chain.has_ended:  # a batch that waited for that can be used, though our state is the same
            node.replica.chain.has_ended = False
            self._drained_state = -1
        is_cut = False
        while node.replica.state != self._drained_state and not is_cut:
            self._drained_state = node.replica.state
            for link in list(node.linked.values()):
                stream = link.stream
                if stream is not None and stream.held_bytes:
                    try:
                        self._act(link, stream.drain(now))
                    except (PeerError, InternalError) as problem:  # it is the fault of who brought what was held
                        node.break_off(link, problem)
                    is_cut = is_cut or stream.is_cut
        if is_cut:
            self._drained_state = -1
            node.arm("pump", 1)

    def _act(self, link: Link, verdict: str) -> None:
        node = self._node
        if verdict == GO_ON:
            return
        if verdict == REFUSE:
            why = "what it brought comes from somebody who was presumed dead"
            line = [] if link.stream is None else link.stream.line
            node.refuse(link, "presumed dead", why, *proof(node, link.peer, line))
        elif verdict == NOT_YET:
            node.refuse(link, "not yet", "a stranger that did not bring its own join")
        elif verdict == PAUSE:
            node.notify("warning", "a burial of this node is under way", by=link.peer_name)
            node.refuse(link, "not yet", "I do not apply my own burial")
        elif verdict == CLOCK:
            node.notify("warning", "refused a link", peer=link.peer_name, code="clock", reason="stamps from the future")
            node.refuse(link, "clock", "its operations are stamped later than clock_skew_max allows")
