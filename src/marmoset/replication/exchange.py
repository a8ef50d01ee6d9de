"""Exchange: what goes over one link, in both directions (floor 5, DESIGN.md 3.2 to 3.4).

**Outgoing.** A stream is a cursor over the log. It sends, in apply order, what the peer lacks, then a report once
nothing is left to send, so that the report is behind everything its sender had. A peer that cannot take more pauses the
cursor; nothing is copied for it.

**Leaving out.** In a group where everybody is linked to everybody each batch would cross every link. So a peer names
the origins that it hears *directly*, over a link to the origin itself, and the stream leaves their batches out. What
then arrives before something it depends on is held until that has come over its own link. This cannot deadlock: what
a held batch waits for is, in its origin's own stream, behind nothing but batches that happened before it. The peer
that loses a direct link asks every stream to begin again from its vector (`Resume`), and drops what came before
`Resumed`; so it does when holding lasts too long or takes too much memory. Correctness never depends on who leaves
out what: a batch or a report is used only when everything before it is here.

**Strangers.** A peer that is not in my roster is sent nothing. What it brings is held until `CaughtUp` and then
believed whole or not at all: every operation must come from a member that is not buried, or from one whose join it
brought, and its own join must be among them (DESIGN.md 4.5).

The verdicts of `receive` are a table: what the node has to do with the link.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, final

from marmoset.clocks import VersionVector, first_missing, upto
from marmoset.codec.frames import frames
from marmoset.codec.messages import Batch, CaughtUp, Direct, Report, Resume, Resumed, encode, vector_pairs
from marmoset.codec.operations import Join
from marmoset.codec.wire import decode_operations
from marmoset.errors import InternalError, PeerError
from marmoset.ids import Dot, ReplicaId
from marmoset.replication.replica import Replica
from marmoset.replication.verdicts import APPLIED, DUPLICATE, NOT_NOTED, OWN_BURIAL, TOO_EARLY

DRAIN_BYTES: Final = 1 << 12
"""Of what was held, so much is used at once."""

GO_ON: Final = "go on"
NOT_YET: Final = "not yet"
REFUSE: Final = "refuse"
PAUSE: Final = "pause"
CLOCK: Final = "clock"
"""What to do with a link: nothing; close it and try later; refuse the peer for good; close it, my burial was on it;
close it, the peer stamps its operations with a time that nobody else has."""

StreamMessage = Batch | Report | CaughtUp | Resume | Resumed | Direct


@final
class Stream:
    """Both directions of the exchange with one peer, over one link."""

    __slots__ = (
        "_began",
        "_cursor",
        "_held",
        "_is_own_only",
        "_moved",
        "_on_caught_up",
        "_report_since",
        "_send",
        "_waits_for",
        "awaiting_resumed",
        "caught_up_due",
        "direct",
        "drain_bytes",
        "held_bytes",
        "held_bytes_max",
        "held_since_ms",
        "introducing",
        "is_caught_up",
        "is_cut",
        "is_waiting",
        "line",
        "paused",
        "peer",
        "peer_direct",
        "replica",
        "report_due",
        "sending",
    )

    def __init__(
        self,
        replica: Replica,
        peer: ReplicaId,
        vector: VersionVector,
        peer_direct: frozenset[ReplicaId],
        send: Callable[[bytes], None],
        held_bytes_max: int,
        on_caught_up: Callable[[], None],
    ) -> None:
        self.replica = replica
        self.peer = peer
        self._send = send
        self.held_bytes_max = held_bytes_max
        self._on_caught_up = on_caught_up
        self.is_caught_up = False
        """Everything that the peer had when the stream began has come, so its own batches come on it from now on."""
        self._began = self._read(vector)
        """The peer's vector when the stream began."""
        self._moved: VersionVector = {}
        """What was sent or received since, by origin."""
        self.peer_direct = peer_direct
        """Origins that the peer hears over links of its own."""
        self.direct: frozenset[ReplicaId] | None = None
        """Origins that I asked the peer to leave out; None before anything was asked."""
        self._is_own_only = False
        """The peer has asked for nothing but what we make."""
        self._cursor = replica.log.first_index
        self._report_since = 0
        self.sending = False
        self.paused = False
        self.is_waiting = False
        """Nothing is sent before something has come: the peer is about to say what is to be left out."""
        self.report_due = False
        self.caught_up_due = True
        self.introducing = peer not in replica.roster.members
        """The peer is a stranger: what it brings is held until it has brought its join."""
        self.line: list[ReplicaId] = []
        """The sponsors of a stranger, as it says itself: what they logged is not sent to whoever has forgotten them."""
        self.awaiting_resumed = False
        self._held: deque[tuple[Batch | Report | CaughtUp, bytes]] = deque()
        self._waits_for: Dot | None = None
        """Something that has to be here before the first of what is held can be used, where that is known."""
        self.held_bytes = 0
        self.held_since_ms: int | None = None
        self.drain_bytes = DRAIN_BYTES
        self.is_cut = False
        """Whether the last `drain` has left some that may be used as well."""

    def _read(self, vector: VersionVector) -> VersionVector:
        """A vector of the peer with its missing entries filled in now: once the sponsor of somebody who joins later is
        forgotten here, a vector as old as this could no longer be read. Nobody has forgotten me. It may be that old by
        now, where a link was held up and others told meanwhile what the peer has: it has no less than the lower of the
        two readings. O(replicas)."""
        replica, me = self.replica, self.replica.me
        joins, known = replica.roster.joins, replica.stability.known.get(self.peer)
        filled = {r: upto(vector, r, joins) for r in replica.roster.members if r != me}
        if known is not None:
            filled = {r: min(seq, upto(known, r, joins)) for r, seq in filled.items()}
        return {**filled, **vector}

    # -- outgoing

    def start_sending(self, from_index: int | None = None) -> None:
        """Begin to send; from an index of the log on where a snapshot brings everything before. O(1)."""
        self.sending = True
        self._cursor = self.replica.log.first_index if from_index is None else from_index
        self.report_due = True

    def has_due(self, next_index: int, own_end: int) -> bool:
        """Whether `pump` may have something to do, given where the log ends and what is behind the last batch of our
        own in it. What only others have made can wait if it is left out anyway. O(1); asked after every event."""
        return self.report_due or self.caught_up_due or self._cursor < (own_end if self._is_own_only else next_index)

    def pump(self, budget_bytes: int) -> bool:
        """Send about as many bytes of what the peer lacks, all at once, then what is due behind it; True while there is
        more to send and the peer takes it. O(log entries passed)."""
        if not self.sending or self.paused or self.is_waiting:
            return False
        log = self.replica.log
        entries = log.entries
        me, peer = self.replica.me, self.peer
        if self._cursor not in entries:
            self._cursor = max(self._cursor, log.first_index)
        parting = self.replica.parting_index
        end = log.next_index if parting is None else parting + 1
        lacking: list[bytes] = []
        while self._cursor < end and budget_bytes > 0:
            entry = entries.get(self._cursor)
            self._cursor += 1
            if entry is None or entry.origin == peer:
                continue
            origin = entry.origin
            if origin != me and (origin in self.peer_direct or self._peer_has(origin, entry.last)):
                continue
            if origin == me and (self._moved.get(me, 0) >= entry.last or self._began.get(me, 0) >= entry.last):
                continue
            self._moved[origin] = entry.last
            lacking.append(entry.framed)
            budget_bytes -= len(entry.framed)
        if lacking:
            self._send(lacking[0] if len(lacking) == 1 else b"".join(lacking))
        if budget_bytes <= 0:
            return True
        if self.caught_up_due:
            self.caught_up_due = False
            self._send_message(CaughtUp())
        if self.report_due and parting is None:  # nobody waits for what a leaver has
            self.report_due = False
            report, self._report_since = self.replica.report(peer, self._report_since)
            self._send_message(report)
        return False

    def _peer_has(self, origin: ReplicaId, seq: int) -> bool:
        joins = self.replica.roster.joins
        if self._moved.get(origin, 0) >= seq or self._began.get(origin, 0) >= seq:
            return True
        known = self.replica.stability.known.get(self.peer)
        return known is not None and upto(known, origin, joins) >= seq

    def _send_message(self, message: StreamMessage) -> None:
        self._send(frames(encode(message), self.replica.frame_bytes_max))

    def ask(self, direct: frozenset[ReplicaId]) -> None:
        """Ask the peer to leave out other origins from now on. To leave out fewer, the stream begins again. O(1)."""
        if direct == self.direct or self.awaiting_resumed:
            return
        if self.direct is not None and not direct >= self.direct:
            self.resume(direct)
            return
        self.direct = direct
        self._send_message(Direct(sorted(direct)))

    def resume(self, direct: frozenset[ReplicaId]) -> None:
        """Have the peer begin again behind what is here; what is held is dropped, since it comes again. O(replicas)."""
        self._held.clear()
        self._waits_for = None
        self.held_bytes = 0
        self.held_since_ms = None
        self.is_cut = False
        self.direct = direct
        self.awaiting_resumed = True
        self._send_message(Resume(vector_pairs(self.replica.seen), sorted(direct)))

    # -- incoming

    def _leave_out(self, origins: list[ReplicaId]) -> None:
        self.peer_direct = frozenset(origins)
        members, mine = self.replica.roster.members, (self.replica.me, self.peer)
        self._is_own_only = all(r in self.peer_direct for r in members if r not in mine)

    def receive(self, message: StreamMessage, data: bytes, now_ms: int) -> str:
        """Take one message of the stream; what to do with the link. `data` is the message as it came.

        Raises:
            PeerError: no correct node sends this; nothing was changed.
        """
        self.is_waiting = False
        if isinstance(message, Resume):
            self._began = self._read(dict(message.vector))
            self._moved = {}
            self._leave_out(message.direct)
            self._cursor = self.replica.log.first_index
            self._report_since = 0  # the peer drops what comes before `Resumed`, reports too
            self.report_due = self.caught_up_due = True
            self._send_message(Resumed())
        elif isinstance(message, Direct):
            self._leave_out(message.origins)
        elif isinstance(message, Resumed):
            self.awaiting_resumed = False
            self._on_caught_up()  # what was not asked meanwhile is asked now
        elif not self.awaiting_resumed:
            return self._take(message, data, now_ms)
        return GO_ON

    def _take(self, message: Batch | Report | CaughtUp, data: bytes, now_ms: int) -> str:
        if self.introducing and self.peer in self.replica.roster.members:
            self.introducing = False
            verdict = self.drain(now_ms)
            if verdict != GO_ON:
                return verdict
        if self.introducing:
            if not isinstance(message, CaughtUp):
                self._hold(message, data, now_ms)
                return NOT_YET if self.held_bytes > self.held_bytes_max else GO_ON
            verdict = self._introduction()
            if verdict != GO_ON:
                return verdict
            self.introducing = False
            self._hold(message, data, now_ms)
            return self.drain(now_ms)
        if self._held:
            self._hold(message, data, now_ms)
            return GO_ON
        verdict = self._use(message, data)
        if verdict == TOO_EARLY:
            self._hold(message, data, now_ms)
            return GO_ON
        return verdict

    def _hold(self, message: Batch | Report | CaughtUp, data: bytes, now_ms: int) -> None:
        self._held.append((message, data))
        self.held_bytes += len(data)
        if self.held_since_ms is None:
            self.held_since_ms = now_ms

    def drain(self, now_ms: int) -> str:
        """Use what was held, as far as it can be used now; what to do with the link. Of more than `drain_bytes` some is
        left for another call (`is_cut`). O(messages used)."""
        left = self.drain_bytes
        self.is_cut = False
        if self.introducing:
            if self.peer not in self.replica.roster.members:
                return GO_ON
            self.introducing = False
        replica = self.replica
        while self._held:
            dot = self._waits_for
            if dot is not None and replica.seen.get(dot[0], dot[1]) < dot[1] and not replica.is_leaving:
                return GO_ON
            message, data = self._held[0]
            if left < self.drain_bytes and left < len(data):  # not before the first
                self.is_cut = True
                return GO_ON
            verdict = self._use(message, data)
            if verdict == TOO_EARLY:
                self._waits_for = self._missing(message)
                return GO_ON
            if verdict != GO_ON:
                return verdict
            self._held.popleft()
            self._waits_for = None
            self.held_bytes -= len(data)
            left -= len(data)
            self.held_since_ms = now_ms
        self.held_since_ms = None
        return GO_ON

    def _missing(self, message: Batch | Report | CaughtUp) -> Dot | None:
        if isinstance(message, CaughtUp):
            return None
        return first_missing(self.replica.seen, message.raised if isinstance(message, Batch) else message.own.vector)

    def _use(self, message: Batch | Report | CaughtUp, data: bytes) -> str:
        """Use a message now, or say that it is `TOO_EARLY`."""
        replica = self.replica
        if isinstance(message, Batch):
            if message.origin == self.peer and replica.is_stamped_ahead(message.stamp):
                return CLOCK
            verdict = replica.apply(message, frames(data, replica.frame_bytes_max))
            if verdict == OWN_BURIAL:
                return PAUSE
            if verdict in (APPLIED, DUPLICATE):
                if self._moved.get(message.origin, 0) < message.last:
                    self._moved[message.origin] = message.last
                return GO_ON
            if verdict == NOT_NOTED:
                return TOO_EARLY
            if replica.is_leaving:  # the others no longer keep what a leaver lacks
                return GO_ON
            if self.direct:  # what it depends on, or its origin's join, comes over another link
                return TOO_EARLY
            raise InternalError(f"a batch that comes {verdict} on a stream that leaves nothing out", changed=False)
        if isinstance(message, Report):
            if message.own.replica != self.peer:
                raise PeerError("a report in the name of somebody else")
            if not replica.is_leaving and not replica.has_all(message.own.vector):
                return TOO_EARLY
            replica.count_report(message)
        elif not self.is_caught_up:
            self.is_caught_up = True
            self._on_caught_up()
        return GO_ON

    def _introduction(self) -> str:
        """Whether a stranger is believed, by what it brought (DESIGN.md 4.5)."""
        replica = self.replica
        vouched = {r for r in replica.roster.members if r not in replica.roster.buried}
        missing = [message for message, _ in self._held if isinstance(message, Batch) and not self._is_here(message)]
        for batch in missing:
            if batch.origin not in vouched:
                return self._not_believed(missing)
            for operation in decode_operations(batch.operations, batch.origin, batch.first):
                if isinstance(operation, Join):
                    vouched.add(operation.replica)
        return GO_ON if self.peer in vouched else self._not_believed(missing)

    def _is_here(self, batch: Batch) -> bool:
        return self.replica.covers(self.replica.seen, (batch.origin, batch.first))

    def _not_believed(self, missing: list[Batch]) -> str:
        if self.replica.is_leaving:  # it does not have everything any more, and judges nobody
            return NOT_YET
        dead = any(self.replica.presumed_dead(batch.origin) for batch in missing)
        return REFUSE if dead or self.replica.roster.first_dead(self.line) else NOT_YET

    def statistics(self) -> dict[str, int]:
        """What the stream holds and how far it is behind, for people. O(1)."""
        return {
            "held_messages": len(self._held),
            "held_bytes": self.held_bytes,
            "behind_batches": self.replica.log.next_index - self._cursor,
        }
