"""Joining: the newcomer's side (floor 7, DESIGN.md 4.1).

One address after another is tried; one that takes the link and does not say who it is, as a port for clients, is left
after `GREETING_MS_MAX`. Every attempt is made under a fresh id, which is offered once: if anything goes wrong before
the birth is logged, all that came is dropped and the next attempt begins from nothing.

A newcomer that loses its sponsor behind its `ready` cannot tell whether that arrived: a new id would leave the old one
behind as a member that never was, and enough of those take the majority away. So it keeps its id, links with the
members that it knows, and waits until the sponsor is known to have the birth. Whoever knows that the sponsor has it
knows of every burial that the sponsor logged before, and would not speak to somebody buried; so it is no less than the
sponsor's own word. Nor can the sponsor have buried it where a burial of the sponsor has taken effect: nothing that it
logged is still to come. It begins from nothing when a member says that it was presumed dead, or when nobody can tell
for long; but not while those that are linked, and hold it born, are no majority without it: they could let nobody in
who has its name, and might lack the one vote with which to bury the sponsor. Nobody is served before, so nothing is
lost by that.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import AnyMessage, SnapshotBegin, SnapshotProgress
from marmoset.codec.operations import Ready
from marmoset.errors import PeerError
from marmoset.ids import Dot, ReplicaId
from marmoset.node.dialling import GREETING_MS_MAX
from marmoset.node.states import JOINING, WAITING
from marmoset.replication.electorate import BIRTH_SEQ
from marmoset.replication.snapshot import SnapshotSink

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

CHECK_MS: Final = 500
ADMISSION_INTERVALS: Final = 10
"""A sponsor may ask everybody twice, for some intervals each, before it lets in who comes under a member's name; it has
nothing to say to the newcomer meanwhile."""
PROGRESS_MS: Final = 5000
"""How often the log says how far a snapshot has come."""
UNSURE_TIMEOUTS: Final = 3
"""For how many `join_timeout`s a newcomer that lost its sponsor behind its birth tries to learn of it, where those that
are linked do not need it."""


@final
class Joining:
    """The attempts of one node to become a member."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.addresses = [address for address in node.config.join if address != node.address]
        self._next = 0
        self._failures = 0
        self._due_ms = 0
        """When to try the next address, while none is tried."""
        self._dialling = ""
        self._link: Link | None = None
        self._heard_ms = 0
        self._name_refused_ms: int | None = None
        self._ready: Dot | None = None
        self._sponsor: ReplicaId = 0
        self._unsure_ms: int | None = None
        self._told_needed = False
        self._said_ms = 0
        self.sink: SnapshotSink | None = None

    def stop(self) -> None:
        """Try no more: this node begins a group itself."""
        link, self._link, self._dialling = self._link, None, ""
        if link is not None:
            self._node.close(link)

    def attempt(self) -> None:
        """Try the next address."""
        node = self._node
        if node.state != WAITING or self._dialling or self._link is not None:
            return
        self._dialling = self.addresses[self._next % len(self.addresses)]
        self._next += 1
        node.dial(self._dialling)

    def begin_anew(self, addresses: list[str]) -> None:
        """Join again, by other addresses, after the replica was wiped."""
        self.addresses = [address for address in addresses if address != self._node.address] or self.addresses
        self._next = self._failures = 0
        self._dialling, self._link, self.sink, self._ready, self._unsure_ms = "", None, None, None, None
        self._name_refused_ms = None
        self.attempt()

    def _again(self) -> None:
        """Begin from nothing after a pause."""
        node = self._node
        self._dialling, self._link, self.sink, self._ready, self._unsure_ms = "", None, None, None, None
        if node.state == JOINING:
            node.become(WAITING)
        if node.state == WAITING:
            node.become_replica()
            pause = node.bootstrapping.pause_ms(node.config.reconnect_max)
            pause = min(pause, node.config.reconnect_min << min(self._failures, 16))
            self._failures += 1
            delay = max(1, round(pause * node.rng.uniform(0.5, 1.0)))
            self._due_ms = node.time.monotonic_ms() + delay
            node.arm("join", delay)

    def handle_dialled(self, link: "Link") -> bool:
        """Whether an opened link is ours; then this attempt has an id of its own."""
        if link.address != self._dialling:
            return False
        node = self._node
        self._dialling, self._link = "", link
        self._heard_ms = node.time.monotonic_ms()
        node.become_replica()
        node.arm("join", self._check_ms)
        return True

    def handle_failed(self, address: str, why: str, answered: bool) -> None:
        """Nobody answers at an address, or nobody that we can link with: say so, and go on to the next."""
        if address == self._dialling:
            what = "cannot be used" if answered else "does not answer"
            self._node.notify("warning", f"join address {what}, still trying", address=address, problem=why)
            self._again()

    def handle_self(self, link: "Link") -> None:
        """An address turned out to be our own."""
        if link is self._link:
            others = [address for address in self.addresses if address != link.address]
            self.addresses = others or self.addresses

    @property
    def is_unsure(self) -> bool:
        """Whether our birth is logged, the sponsor lost, and it has to be found out whether we are a member."""
        return self._unsure_ms is not None

    @property
    def _is_needed(self) -> bool:
        """Whether members are linked that are no majority without us. One whose own birth the sponsor is not known to
        have does not count: it may wait for us as we wait for it."""
        node, replica = self._node, self._node.replica
        sure = (replica.is_known_to(self._sponsor, (peer, BIRTH_SEQ)) for peer in node.burying.in_touch())
        return any(sure) and not node.burying.is_majority_without_us()

    @property
    def is_birth_logged(self) -> bool:
        """Whether others may hold us a member: our birth is logged."""
        return self._ready is not None

    def handle_buried(self) -> None:
        """A member says that we were presumed dead: the sponsor lost us before it had our birth."""
        self._node.notify("warning", "buried before the birth was known, beginning again")
        self.begin_again()

    def begin_again(self) -> None:
        """Close every link and begin from nothing, whatever was reached."""
        self._unsure_ms = None
        for link in list(self._node.links.values()):
            self._node.close(link)
        self._again()

    def handle_closed(self, link: "Link") -> None:
        """A link is gone: if it was the one to our sponsor, this attempt is over, unless we may be born already."""
        if link is not self._link:
            return
        if self._node.state == JOINING and self._ready is not None:
            self._link = None
            self._unsure_ms = self._node.time.monotonic_ms()
            self._told_needed = False
            self._node.notify("warning", "lost the sponsor behind the birth, asking others", sponsor=link.peer_name)
            self._node.arm("join", CHECK_MS)
            return
        if self._node.state in (WAITING, JOINING):
            if self._node.state == JOINING:
                self._node.notify("warning", "lost the sponsor while joining, beginning again", sponsor=link.peer_name)
            self._again()
        self._link = None

    def handle_refused(self, link: "Link", code: str, reason: str) -> None:
        """The sponsor will not let us in."""
        node = self._node
        node.notify("warning", "not let in", by=link.peer_name or link.address, code=code, reason=reason)
        if code != "name":
            self._name_refused_ms = None
            return
        if node.rehabilitating.handle_name_taken():
            return
        now = node.time.monotonic_ms()
        if self._name_refused_ms is None:
            self._name_refused_ms = now
        elif now - self._name_refused_ms > node.config.join_timeout:
            node.give_up(reason)

    def handle_timer(self) -> None:
        """Look whether the attempt makes progress."""
        node = self._node
        if node.state not in (WAITING, JOINING):
            return
        if self._unsure_ms is not None:
            if self._is_needed:
                self._unsure_ms = node.time.monotonic_ms()
                if not self._told_needed:
                    self._told_needed = True
                    node.notify("warning", "waiting until the sponsor is back or presumed dead: without us no majority")
            if node.time.monotonic_ms() - self._unsure_ms > UNSURE_TIMEOUTS * node.config.join_timeout:
                node.notify("warning", "nobody knows of the birth, beginning again")
                self.begin_again()
            else:
                node.arm("join", CHECK_MS)
            return
        if self._link is None:
            rest_ms = self._due_ms - node.time.monotonic_ms()
            if rest_ms > 0:  # what this timer was for is over
                node.arm("join", rest_ms)
            else:
                self.attempt()
            return
        if not self._link.peer and node.time.monotonic_ms() - self._link.opened_ms > GREETING_MS_MAX:
            problem = "connected, but it does not greet: is that its gossip_port?"
            node.notify(
                "warning", "join address cannot be used, still trying", address=self._link.address, problem=problem
            )
            node.close(self._link)
            return
        patience_ms = max(node.config.join_timeout, ADMISSION_INTERVALS * node.config.gossip_interval)
        if node.time.monotonic_ms() - self._heard_ms > patience_ms:
            node.notify("warning", "no progress while joining, beginning again", sponsor=self._link.peer_name)
            node.close(self._link)
            return
        self._tell_progress(self._link)
        node.arm("join", self._check_ms)

    @property
    def _check_ms(self) -> int:
        return min(CHECK_MS, self._node.config.join_timeout // 4)

    def _tell_progress(self, link: "Link") -> None:
        """Tell the sponsor, and now and then the log, how far the snapshot has come."""
        node, sink = self._node, self.sink
        if sink is None:
            return
        if not link.paused:
            node.send(link, SnapshotProgress(sink.keys_received, sink.bytes_received))
        now = node.time.monotonic_ms()
        if now - self._said_ms >= PROGRESS_MS and not sink.ended:
            self._said_ms = now
            node.notify("info", "receiving a snapshot", **sink.progress())

    def handle_heard(self, link: "Link") -> None:
        """Something has come over a link; only what the sponsor says is progress."""
        if link is self._link:
            self._heard_ms = self._node.time.monotonic_ms()

    def handle_message(self, link: "Link", message: AnyMessage, data: bytes) -> None:
        """A message from the sponsor before the snapshot has ended.

        Raises:
            PeerError: no correct sponsor sends this.
        """
        node = self._node
        sink = self.sink
        if isinstance(message, SnapshotBegin):
            if sink is not None:
                raise PeerError("a second snapshot on a link")
            if node.replica.is_stamped_ahead(message.stamp):  # it would lead our clock (DESIGN.md 3.8)
                reason = "the snapshot is stamped later than clock_skew_max allows"
                node.notify("error", "cannot join", address=link.address, code="clock", reason=reason)
                node.refuse(link, "clock", reason)
                return
            self.sink = SnapshotSink(node.replica)
            self._sponsor = link.peer
            self._said_ms = node.time.monotonic_ms()
            node.become(JOINING)
            self.sink.take(message, data)
            node.notify("info", "let in, receiving a snapshot", sponsor=link.peer_name, keys=message.keys)
            return
        if sink is None:
            raise PeerError(f"{type(message).__name__} before a snapshot has begun")
        sink.take(message, data)
        if sink.ended:
            node.notify("info", "snapshot received", **sink.progress())
            node.start_stream(link, dict(node.replica.seen))

    def check_complete(self) -> None:
        """Log our birth once we have caught up with the snapshot; serve once the sponsor has it."""
        node, sink = self._node, self.sink
        if sink is None or not sink.ended or (self._link is None and not self.is_unsure):
            return
        if self._ready is None:
            if not sink.is_complete:
                return
            node.replica.keyspace.snapshot_vectors.clear()
            self._ready = node.replica.submit_roster([Ready()])[0]
            node.streaming.pump_all()
        if node.replica.is_known_to(self._sponsor, self._ready) or node.replica.presumed_dead(self._sponsor):
            self.sink, self._failures, self._name_refused_ms, self._unsure_ms = None, 0, None, None
            node.rehabilitating.handle_born()

    def progress(self) -> dict[str, int]:
        """How far a snapshot for us has come: keys received, of how many, and bytes; zeros where there is none."""
        return {"keys": 0, "of": 0, "bytes": 0} if self.sink is None else self.sink.progress()
