"""One node as a pure state machine (floor 7): events in, effects out.

The shell calls one `handle_*` for each event, or `end_turn` after clients ran commands, and then carries out
`effects` in order. Nothing here blocks, reads a clock of its own or draws from global randomness, so the simulator
drives the very same object. The node routes and orders; what is decided is decided below: `links.judge` about a
Hello, `Stream` about what comes over a link, `Roster` and `Stability` about who counts, `Membership` about who can be
reached.

The life of a node is the table `states.NODE_STATES`.
"""

from collections.abc import Callable
from random import Random
from typing import Final, final

from marmoset.clocks import WallClock, stamp_ms
from marmoset.codec.frames import frames
from marmoset.codec.messages import (
    Gossip,
    Hello,
    Refuse,
    SnapshotBegin,
    SnapshotChanges,
    SnapshotEnd,
    SnapshotPart,
    SnapshotProgress,
    Waits,
    decode,
    encode,
)
from marmoset.config import Config
from marmoset.errors import InternalError, PeerError
from marmoset.ids import ReplicaId, id_text, new_replica_id
from marmoset.keyspace import Keyspace
from marmoset.membership.swim import Swim
from marmoset.node import reports
from marmoset.node.addresses import check_may_begin, own_address
from marmoset.node.bootstrapping import Bootstrapping
from marmoset.node.budget import LogBudget
from marmoset.node.burying import Burying
from marmoset.node.dialling import Dialling
from marmoset.node.effects import Close, Dial, DropTimer, Effect, Exit, Keys, Notify, Send, SetTimer, TimeSource
from marmoset.node.explaining import Explaining
from marmoset.node.greeting import Greeting
from marmoset.node.joining import Joining
from marmoset.node.leaving import Leaving
from marmoset.node.links import FILLING, LINKED, SPONSORING, Link
from marmoset.node.liveness import Liveness
from marmoset.node.meeting import Meeting
from marmoset.node.memory_limit import MemoryLimit
from marmoset.node.pacing import FOLD_MOST, ExpiryPace, GarbagePace, SlicePace
from marmoset.node.refusals import refusal
from marmoset.node.rehabilitating import Rehabilitating, proof
from marmoset.node.sponsoring import Sponsoring
from marmoset.node.states import JOINING, LEAVING, LEFT, NODE_STATES, REHABILITATING, SERVING, WAITING
from marmoset.node.streaming import FOLD_DELAY_MS, Streaming
from marmoset.node.unsound import end_unsound
from marmoset.node.waiting import Waiting
from marmoset.replication.exchange import DRAIN_BYTES, Stream
from marmoset.replication.expiry import remove_passed
from marmoset.replication.replica import OPEN_BYTES_MAX, Replica
from marmoset.replication.snapshot import STEP_ELEMENTS

PUMP_BYTES: Final = 1 << 18


@final
class Node:
    """A node: one replica of one group, its links, and what it wants the shell to do."""

    def __init__(self, config: Config, time: TimeSource, rng: Random) -> None:
        self.config = config
        self.time = time
        self.rng = rng
        self.effects: list[Effect] = []
        self.state = WAITING
        self.pump_bytes = PUMP_BYTES
        self.fold_pace = SlicePace(FOLD_MOST)
        self._expiry_pace = ExpiryPace()
        self._garbage_pace = GarbagePace()
        self.drain_bytes = DRAIN_BYTES
        self.snapshot_step_elements = STEP_ELEMENTS
        """How much is done in one slice; the simulator makes them small."""
        self.name = config.name
        """Under which it is a member: another one where the name was taken while it was presumed dead."""
        self.address = own_address(config)
        self.wall_clock = WallClock(config.clock_skew_max)
        self.replica = Replica(
            keyspace=Keyspace(config.split_above),
            wall_ms=self.wall_ms,
            name=config.name,
            address=self.address,
            frame_bytes_max=config.frame_bytes_max,
            batch_operations_max=config.batch_operations_max,
            clock_skew_max_ms=config.clock_skew_max,
            memory_bytes_max=config.rehabilitation_memory,
        )
        self.liveness = Liveness(self)
        self.membership: Swim = self.liveness.begin()
        self.links: dict[int, Link] = {}
        self.linked: dict[ReplicaId, Link] = {}
        self.keyring: Keys | None = None
        """For people; set by the shell, which seals and opens."""
        self.counters: dict[str, int] = dict.fromkeys(reports.COUNTERS, 0)
        self.greeting = Greeting(self)
        self.meeting = Meeting(self)
        self.leaving = Leaving(self)
        self.budget = LogBudget(self)
        self.memory_limit = MemoryLimit(self)
        self.dialling = Dialling(self)
        self.joining = Joining(self)
        self.bootstrapping = Bootstrapping(self)
        self.sponsoring = Sponsoring(self)
        self.burying = Burying(self)
        self.rehabilitating = Rehabilitating(self)
        self.waiting = Waiting(self)
        self.streaming = Streaming(self)
        self.explaining = Explaining(self)
        self._handlers: dict[str, Callable[[], None]] = {
            "gossip": self._interval,
            "liveness": self.liveness.handle_timer,
            "fold": self._fold,
            "expire": self._expire,
            "dial": self.dialling.handle_timer,
            "join": self.joining.handle_timer,
            "sponsor": self.sponsoring.handle_timer,
            "rehabilitate": self.rehabilitating.handle_timer,
            "wait": self.waiting.handle_timer,
            "memory": self.memory_limit.handle_timer,
        }
        """What is done when a timer of a kind is due. "pump" has what follows every event, and no more."""
        self._timers: dict[int, str] = {}
        """What is under way: at most one timer of each kind."""
        self._next_token = 1
        self._armed: dict[str, tuple[int, int]] = {}
        """When a kind of timer is due, and its token."""
        self._roster_seen = -1
        self._link_lost = False
        """A member that was linked is to be dialled again."""
        self._started_ms = time.monotonic_ms()

    # -- life

    def start(self) -> None:
        """Begin a group, or begin to look for a member that lets us in.

        Raises:
            UsageError: a new group would begin where others are to be joined or can reach it, and nobody said so.
        """
        config = self.config
        self.bootstrapping.check_settings()
        self.arm("gossip", self._jittered(config.gossip_interval))
        if self.joining.addresses:
            self.notify("info", "waiting to join", addresses=list(self.joining.addresses))
            self.joining.attempt()
            return
        if not config.new_group and not config.bootstrap_expect:
            check_may_begin(config)
        self.begin_group()
        self._settle()

    def begin_group(self) -> None:
        """Be the first member of a group."""
        self.become_replica()
        self.replica.begin_group(new_replica_id(self.rng))
        self.notify("info", "began a new group", group=id_text(self.replica.group))
        self.become(SERVING)

    def become_replica(self) -> None:
        """Take a fresh id and begin from nothing."""
        self.replica.begin(new_replica_id(self.rng))
        self.memory_limit.begin()
        self.membership = self.liveness.begin()
        self.meeting.clock_offsets.clear()
        self.wall_clock = WallClock(self.config.clock_skew_max)  # nothing was stamped under this id yet
        self._roster_seen = -1

    def become(self, state: str) -> None:
        """Go to another state of the table; `serving` is told to the shell, which then says `ready`."""
        assert state in NODE_STATES[self.state], f"a node cannot go from {self.state} to {state}"
        self.state = state
        self._roster_seen = -1
        if state == SERVING:
            self.bootstrapping.was_member = True
            self.notify("info", "serving", name=self.name, id=id_text(self.replica.me), address=self.address)

    def refusal(self, write: bool) -> str | None:
        """The error text with which a command must be refused now, or None. O(1)."""
        return refusal(self, write)

    def leave(self) -> None:
        """Begin to leave; see `Leaving`."""
        self.leaving.begin()
        self._settle()

    def keeps_links(self) -> bool:
        """Whether members are linked with: as a member, or as a newcomer that may be one and has to find out."""
        return self.is_member() or self.joining.is_unsure

    def is_member(self) -> bool:
        """Whether the node takes part in its group: links are kept, batches are folded."""
        return self.state in (SERVING, REHABILITATING, LEAVING)

    def give_up(self, why: str) -> None:
        """End without having become a member."""
        self.become(LEFT)
        self.effects.append(Exit(1, why))

    def bury(self, name: str, force: bool) -> None:
        """Presume a member dead; see `Burying.bury`."""
        self.burying.bury(name, force)
        self._settle()

    # -- events

    def handle_accepted(self, link: int) -> None:
        """Somebody has opened a link to us."""
        self._open(Link(link, "", False, self._message_bytes_max(), self.time.monotonic_ms()))

    def handle_dialled(self, link: int, address: str) -> None:
        """A link that we asked for is open."""
        self.dialling.handle_dialled(address)
        opened = Link(link, address, True, self._message_bytes_max(), self.time.monotonic_ms())
        if self.joining.handle_dialled(opened):
            opened.become(FILLING)
            opened.messages.limit = self._snapshot_message_bytes_max()
        self._open(opened)

    def handle_dial_failed(self, address: str, why: str, *, answered: bool = False) -> None:
        """A link that we asked for could not be opened: nobody is there, or who is there has `answered` wrongly."""
        self.dialling.handle_failed(address, why)
        self.joining.handle_failed(address, why, answered)

    def handle_closed(self, link: int) -> None:
        """A link is gone."""
        closed = self.links.get(link)
        if closed is not None:
            self._dropped(closed)
            self._settle()

    def handle_paused(self, link: int) -> None:
        """A link takes no more for now."""
        if (paused := self.links.get(link)) is not None:
            paused.pause(True)

    def handle_resumed(self, link: int) -> None:
        """A link takes more again."""
        if (resumed := self.links.get(link)) is not None:
            resumed.pause(False)
            if resumed.snapshot is not None:
                self.arm("sponsor", 1)
            self._settle()

    def handle_message(self, link: int, data: bytes) -> None:
        """A frame has come. What no correct node sends closes the link, and nothing of it is kept."""
        source = self.links.get(link)
        if source is None or self.replica.unsound:
            return
        self.replica.commit()
        if self.replica.unsound:
            self._settle()
            return
        source.heard_ms = self.time.monotonic_ms()
        try:
            message = source.messages.feed(data)
            self.joining.handle_heard(source)
            if message is not None:
                self._handle(source, message)
        except (PeerError, InternalError) as problem:
            self.break_off(source, problem)
        self._settle()

    def handle_packet(self, address: str, data: bytes) -> None:
        """A datagram has come, opened already. What no member sends is dropped and counted."""
        if not self.replica.unsound:
            self.liveness.handle_packet(address, data)
            self._settle()

    def handle_timer(self, token: int) -> None:
        """A timer that we set is due."""
        kind = self._timers.pop(token, None)
        if kind is None:
            return
        del self._armed[kind]
        self.replica.commit()
        handler = self._handlers.get(kind)
        if handler is not None and not self.replica.unsound:
            handler()
        self._settle()

    def end_turn(self) -> None:
        """Clients have run commands: close the open batch and send what was logged. Called once a turn of the loop."""
        if (
            self.replica.commit()
            or self.replica.unsound
            or self.replica.log.next_index != self.streaming.pumped_index
            or self.waiting.is_asking
        ):
            self._settle()

    # -- inside

    def notify(self, level: str, event: str, **fields: object) -> None:
        """Say something in the log."""
        self.effects.append(Notify(level, event, fields))

    def arm(self, kind: str, delay_ms: int) -> None:
        """Have the handler of a kind of timer called after a delay at the latest; one that is under way and due later
        is taken back. O(1)."""
        self.arm_at(kind, self.time.monotonic_ms() + delay_ms)

    def arm_at(self, kind: str, due_ms: int) -> None:
        """The same by the moment when it is due; if that has passed, it is due in the next millisecond. O(1)."""
        armed = self._armed.get(kind)
        if armed is not None:
            if armed[0] <= due_ms:
                return
            del self._timers[armed[1]]
            self.effects.append(DropTimer(armed[1]))
        token = self._next_token
        self._next_token += 1
        self._timers[token] = kind
        self._armed[kind] = due_ms, token
        self.effects.append(SetTimer(token, max(1, due_ms - self.time.monotonic_ms())))

    def _jittered(self, delay_ms: int) -> int:
        return max(1, round(delay_ms * self.rng.uniform(0.75, 1.25)))

    def _message_bytes_max(self) -> int:
        """A batch has what one command or transaction was charged, what was open before it, and its context. What was
        sent once may stand in it twice: a member that is moved, a key that is given a deadline too."""
        return 2 * self.config.batch_bytes_max + 3 * OPEN_BYTES_MAX

    def _snapshot_message_bytes_max(self) -> int:
        """The value of a register may be as large as a batch, and what is not stable beside it are its base and an
        assignment of each member."""
        return self._message_bytes_max() + (self.config.replicas_max + 1) * self.config.batch_bytes_max

    def dial(self, address: str) -> None:
        """Ask for a link."""
        self.effects.append(Dial(address))

    def send(self, link: Link, message: Hello | Refuse | Gossip | SnapshotProgress | Waits) -> None:
        """Send a message that is not part of a stream."""
        self.effects.append(Send(link.number, frames(encode(message), self.config.frame_bytes_max)))

    def send_framed(self, link: Link, data: bytes) -> None:
        """Send frames."""
        self.effects.append(Send(link.number, data))

    def refuse(self, link: Link, code: str, reason: str, final_seq: int = 0, buried: ReplicaId = 0) -> None:
        """Tell the other side why this link ends, and end it."""
        self.counters["links_refused"] += 1
        self.send(link, Refuse(code, reason, final_seq, buried))
        self.close(link)

    def close(self, link: Link) -> None:
        """End a link."""
        self.effects.append(Close(link.number))
        self._dropped(link)

    def break_off(self, link: Link, problem: PeerError | InternalError) -> None:
        """End the link that brought what no correct node sends, or what we could not take."""
        if isinstance(problem, PeerError):
            self.counters["messages_bad"] += 1
            self.notify("warning", "bad message", peer=link.peer_name or link.address, problem=str(problem))
        else:
            self._tell_of(problem, link.peer_name, link.address)
        self.close(link)

    def _tell_of(self, problem: InternalError, peer: str, address: str) -> None:
        self.counters["internal_errors"] += 1
        self.notify("error", "internal error", peer=peer or address, problem=str(problem))

    def _open(self, link: Link) -> None:
        self.links[link.number] = link
        self.greeting.hello(link)

    def _dropped(self, link: Link) -> None:
        if self.links.pop(link.number, None) is None:
            return
        if link.snapshot is not None:
            link.snapshot.close()
        if self.linked.get(link.peer) is link:
            del self.linked[link.peer]
            self.membership.handle_link_lost(link.peer)
            self.notify("info", "link lost", peer=link.peer_name)
            self.explaining.note(link.peer, "link lost")
            self._link_lost = True
        self.joining.handle_closed(link)
        self.sponsoring.handle_closed(link)

    def _handle(self, link: Link, data: bytes) -> None:
        message = decode(data)
        if isinstance(message, Hello):
            self.greeting.handle_hello(link, message)
        elif isinstance(message, Refuse):
            self.greeting.handle_refuse(link, message)
        elif link.refused:
            return
        elif isinstance(message, Waits):
            self.bootstrapping.handle_waits(link, message)
        elif link.state == FILLING:
            self.joining.handle_message(link, message, data)
        elif isinstance(message, SnapshotProgress):
            self.sponsoring.handle_progress(link, message)
        elif link.state != LINKED:
            if not isinstance(message, Gossip):
                raise PeerError(f"{type(message).__name__} on a link that is {link.state}")
        elif isinstance(message, Gossip):
            self.meeting.handle_gossip(link, message)
        elif isinstance(message, (SnapshotBegin, SnapshotChanges, SnapshotPart, SnapshotEnd)):
            raise PeerError("a snapshot that nobody asked for")
        else:
            self.streaming.handle(link, message, data)

    def start_stream(self, link: Link, vector: dict[ReplicaId, int], from_index: int | None = None) -> None:
        """Make a link one of exchange."""
        stream = Stream(
            self.replica,
            link.peer,
            vector,
            frozenset(),
            lambda data: self.send_framed(link, data),
            2 * self.config.log_budget,  # all that the others kept for us while we were away may come from strangers
            self.streaming.handle_caught_up,
        )
        stream.paused = link.paused
        stream.drain_bytes = self.drain_bytes
        link.stream = stream
        link.messages.limit = self._message_bytes_max()
        link.become(LINKED)
        self.linked[link.peer] = link
        self.explaining.note(link.peer, "linked")
        if link.peer in self.replica.roster.members:
            stream.start_sending(from_index)

    # -- periodic work

    def _interval(self) -> None:
        """A gossip interval has passed."""
        self.arm("gossip", self._jittered(self.config.gossip_interval))
        self.dialling.close_silent()
        self.meeting.handle_interval()
        self.budget.handle_interval()
        self.memory_limit.handle_interval()
        self.burying.handle_interval()
        self.rehabilitating.handle_interval()
        self.replica.forget_graves(self.wall_ms() - self.config.grave_memory)
        self.waiting.handle_interval()
        if self.replica.keyspace.garbage or self.replica.memory.garbage:
            self.arm("fold", FOLD_DELAY_MS)
        self.sponsoring.handle_interval()
        self._expire()
        self.leaving.check()

    def _expire(self) -> None:
        """Remove keys whose deadlines have passed; where there are many, go on soon while the log has room."""
        if self.state == SERVING:
            deadlines = self.replica.keyspace.deadlines
            if remove_passed(self.replica, self._expiry_pace.budget(deadlines.given)):
                self.replica.commit()
            pause_ms = self._expiry_pace.pause_ms(is_behind=deadlines.is_behind)
            if deadlines.is_behind and not self.budget.is_past_half:
                self.arm("expire", pause_ms)

    def _fold(self) -> None:
        more = False
        try:
            budget = self.fold_pace.budget(self.replica.log.logged)
            more = self.is_member() and self.replica.advance(budget) and self.replica.fold_slice(budget)
        except InternalError as problem:
            self._tell_of(problem, "", "")
            return
        more = self.replica.chain.step() or more
        more = self.replica.memory.collect_garbage() or more
        if self._collect() or more:
            self.arm("fold", 1)

    def _collect(self) -> bool:
        """Free some of the garbage; True while some is left."""
        garbage, pace = self.replica.keyspace.garbage, self._garbage_pace
        is_left = garbage.collect(pace.budget(garbage.entries, self.time.monotonic_ms()))
        pace.handle_ended(self.time.monotonic_ms())
        return is_left

    # -- after every event

    def _settle(self) -> None:
        """Carry out what follows from the new state: the roster's changes, what is to be sent, what is to be folded.
        Clients may be in the middle of a turn: a report, with its clock, is to stand behind what they wrote."""
        if not self.replica.unsound:
            self.replica.commit()
            self.streaming.drain()
        if self.replica.unsound:
            end_unsound(self)
            return
        if self.replica.roster_version != self._roster_seen:
            self._roster_seen = self.replica.roster_version
            self._roster_changed()
        elif self._link_lost:
            self._link_lost = False
            self._follow_links()
        self.memory_limit.settle()
        if self.streaming.changed:
            self.streaming.ask()
        self.streaming.pump_paced()
        self.waiting.settle()
        if self.replica.stability_changed:
            if self.replica.keyspace.tracking and self.is_member():
                self.arm("fold", self.streaming.fold_delay_ms)
        elif self.replica.folding or self.replica.chain.is_ending:
            self.arm("fold", 1)
        if self.state == JOINING:
            self.joining.check_complete()
        self.leaving.check()
        self.liveness.carry_out()

    def _roster_changed(self) -> None:
        """Follow, dial and feed exactly the members of the roster."""
        self._link_lost = False
        roster, me = self.replica.roster, self.replica.me
        self.liveness.follow([r for r in roster.present() if r != me])
        for link in list(self.linked.values()):
            if link.peer in roster.buried or link.peer in roster.graves:
                self._refuse_buried(link)
            elif link.stream is not None and link.peer in roster.members and not link.stream.sending:
                link.stream.start_sending()
        self.explaining.handle_roster_changed()
        self._follow_links()

    def _follow_links(self) -> None:
        """Dial whoever is to be linked and is not, and ask those that are for what others do not bring."""
        self.dialling.follow([r for r in self.replica.roster.present() if r != self.replica.me])
        self.streaming.handle_links_changed()

    def _refuse_buried(self, link: Link) -> None:
        if self.replica.presumed_dead(link.peer):
            self.refuse(link, "presumed dead", f"{link.peer_name} was presumed dead", *proof(self, link.peer, []))
        else:
            self.refuse(link, "not yet", "its burial has not yet taken effect")

    # -- for people

    def status(self) -> dict[str, str | int]:
        """What this node is doing, flat. O(members + shards)."""
        return reports.status(self)

    def members(self) -> list[dict[str, str | int]]:
        """Every member as this node sees it. O(members)."""
        return reports.members(self)

    def frontier(self) -> list[dict[str, str | int]]:
        """How far everything is stable, origin by origin. O(members squared)."""
        return reports.frontier(self)

    def why(self, name: bytes) -> list[str]:
        """Why a member stands where it stands, or what holds a key's metadata; see `Explaining.why`."""
        return self.explaining.why(name)

    def uptime_ms(self) -> int:
        """Time since the node was made."""
        return self.time.monotonic_ms() - self._started_ms

    def wall_ms(self) -> int:
        """The wall clock as our stamps use it: a large step is followed once members agree, or where there are none."""
        now, reading = self.time.monotonic_ms(), self.time.wall_ms()
        disciplined = self.wall_clock.read(now, reading)
        if self.wall_clock.held_since_ms is None or len(self.replica.roster.members) > 1:
            return disciplined
        return self.wall_clock.confirm(now, reading)

    def clock_ms(self) -> int:
        """The physical part of the hybrid clock."""
        return stamp_ms(self.replica.clock.stamp)

    def _check(self) -> None:
        """Every invariant of the node and of what it is made of; for tests and the simulator. O(n)."""
        if self.replica.roster.members:
            self.replica._check()
        self.membership._check()
        for number, link in self.links.items():
            assert link.number == number
            assert (link.state == LINKED) == (link.stream is not None) or link.state == SPONSORING
        for peer, link in self.linked.items():
            assert link.peer == peer and self.links.get(link.number) is link
