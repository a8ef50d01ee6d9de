"""SWIM with the extensions of Lifeguard (floor 6): who can be reached, as a pure state machine.

Events in: `handle_packet`, `tick` when `due_ms` has come, `handle_link_heard` and `handle_link_lost` from the TCP
links, `merge` for a digest. What is to be done stands in `effects` afterwards: see `membership.effects`.

In each protocol period one member is probed (`Order`). Unless its ack comes within the probe timeout, helpers are asked
to ping it and a TCP link is tried; unless anything comes by the end of the period, it is suspected. Packets carry
claims along (`Broadcasts`); what is believed is decided in `View`. Members that are unreachable are pinged now and
then, in turn and for ever, so a healed cut heals by itself. Who *is* a member is the roster's affair: exactly those
that were added and not removed are followed.

References: Das, Gupta, Motivala, "SWIM" (2002); Dadgar, Phillips, Currey, "Lifeguard" (arXiv 1707.00788). Where we
differ: unreachable is no end (`states`), one word does not make anybody unreachable (`view`), a replica that answers
at the address of another proves that the other is gone (`Gone`), and time in which this process did not run is counted
against nobody: when `tick` comes far too late, everything that was under way begins anew.

Costs: a packet O(its updates), a tick O(suspects), both without regard to the number of members.
"""

from random import Random
from typing import Final, final

from marmoset.codec.packets import (
    PACKET_PROTOCOL,
    SAYS_LEFT,
    Ack,
    Announcement,
    AnyBody,
    Claim,
    Details,
    Gone,
    Nack,
    Packet,
    Ping,
    PingRequest,
    Rumours,
    decode_packet,
    encode_head,
    encode_update,
    join_updates,
    room_after,
)
from marmoset.errors import PeerError
from marmoset.ids import ReplicaId
from marmoset.membership.broadcasts import ANNOUNCEMENT
from marmoset.membership.effects import Announced, Exchange, ProbeLink, SendPacket, SwimEffect
from marmoset.membership.health import LocalHealth
from marmoset.membership.peers import BY_HELPER, BY_LINK, PROBE_FAILED, REPLACED, Evidence, Peer
from marmoset.membership.probing import Probe, Relay
from marmoset.membership.profiles import Profile
from marmoset.membership.states import ALIVE, SAID_OF, UNREACHABLE
from marmoset.membership.view import View, accusation

RELAYS_MAX: Final = 1024
NACK_SHARE: Final = (4, 5)
"""A helper waits for this share of the probe timeout before it says that it has heard nothing."""
SEQ_LIMIT: Final = 1 << 32
EXCHANGE_FREE: Final = 32
"""Up to so many members the exchange interval is kept; each doubling beyond adds one interval."""
LEAVE_PACKETS: Final = 8
ASKED_MAX: Final = 64

COUNTERS: Final = (
    "packets_in",
    "packets_out",
    "bytes_out",
    "packets_bad",
    "packets_foreign",
    "packets_misaddressed",
    "probes",
    "probes_failed",
    "probes_by_link",
    "pauses",
)


@final
class Swim:
    """The liveness of all other members, as one member sees it."""

    def __init__(
        self,
        me: ReplicaId,
        cluster: str,
        profile: Profile,
        rng: Random,
        now_ms: int,
        details: Details | None = None,
    ) -> None:
        """`details` is what we say of ourselves to each member once."""
        self.me = me
        self.cluster = cluster
        self.profile = profile
        self.rng = rng
        self.details = details
        self.effects: list[SwimEffect] = []
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.health = LocalHealth(profile.health_max, profile.local_health)
        self.view = View(me, profile, rng, self.health, self.effects)
        self.peers = self.view.peers
        self._seq = rng.randrange(SEQ_LIMIT)
        self._probe: Probe | None = None
        self._relays: dict[int, Relay] = {}  # by our seq, oldest first
        self._period_ms = now_ms + rng.randrange(profile.probe_interval_ms)
        self._retry_ms = now_ms + self._jittered(profile.retry_interval_ms)
        self._exchange_ms = now_ms + self._jittered(profile.exchange_interval_ms)
        self._seen_ms = now_ms
        self._watch_ms = now_ms + profile.probe_interval_ms
        """When a tick is due only to see that we are awake; while periods are stretched, nothing else may be."""
        self._asked: dict[int, tuple[ReplicaId, list[ReplicaId]]] = {}
        self._retried: list[ReplicaId] = []

    def _jittered(self, ms: int) -> int:
        return max(1, round(ms * self.rng.uniform(0.5, 1.5)))

    # -- who is followed

    def add(self, replica: ReplicaId, now_ms: int, address: str, details: Details | None = None) -> None:
        """Follow a member; it counts as heard of now. With `details`, others are told of it too."""
        peer = self.view.add(replica, address, now_ms)
        if peer is not None and details is not None:
            peer.details = details
            announcement = encode_update(Announcement(replica, peer.incarnation, details))
            self.view.broadcasts.put(replica, announcement, ANNOUNCEMENT)

    def remove(self, replica: ReplicaId) -> None:
        """Follow a member no more."""
        self.view.remove(replica)
        if self._probe is not None and self._probe.target == replica:
            self._probe = None

    def leave(self) -> None:
        """Tell some members that we go; they tell the others. Nothing said against us is refuted from now on."""
        view = self.view
        view.is_leaving = True
        update = encode_update(accusation(SAYS_LEFT, self.me, view.incarnation, self.me))
        for replica in view.order.sample(LEAVE_PACKETS, view.unreachable, 0):
            view.broadcasts.put(self.me, update)  # each of these packets has it, and those that may follow too
            self._send(self.peers[replica].address, Rumours(), self.peers[replica])

    # -- time

    @property
    def due_ms(self) -> int:
        """When `tick` is to be called next, whatever happens until then."""
        due = min(self._period_ms, self._retry_ms, self._exchange_ms, self._watch_ms)
        probe = self._probe
        if probe is not None and not probe.asked and probe.ask_ms < due:
            due = probe.ask_ms
        if self._relays:
            due = min(due, next(iter(self._relays.values())).due_ms)
        expiry_ms = self.view.expiry_ms
        if expiry_ms is not None and expiry_ms < due:
            due = expiry_ms
        return due

    def tick(self, now_ms: int) -> None:
        """Do what is due."""
        self._notice_pause(now_ms)
        self._watch_ms = now_ms + self.profile.probe_interval_ms
        while self._relays:
            seq, relay = next(iter(self._relays.items()))
            if relay.due_ms > now_ms:
                break
            del self._relays[seq]
            self._send(relay.address, Nack(relay.seq), None)
        probe = self._probe
        if probe is not None and not probe.asked and probe.ask_ms <= now_ms:
            self._ask_others(probe)
        if self.view.expiry_ms is not None and self.view.expiry_ms <= now_ms:
            self.view.expire(now_ms)
        if self._period_ms <= now_ms:
            self._end_probe(now_ms)
            self._begin_probe(now_ms)
        if self._retry_ms <= now_ms:
            self._retry_ms = now_ms + self._jittered(self.profile.retry_interval_ms)
            self._retry()
        if self._exchange_ms <= now_ms:
            self._begin_exchange(now_ms)

    def _late_ms(self, now_ms: int) -> int:
        """By how much the next event comes later than it should have, if it comes now."""
        return now_ms - max(self.due_ms, self._seen_ms)

    def _notice_pause(self, now_ms: int) -> None:
        """Where this process did not run when it should have, nobody is to blame.

        A delay longer than a period: what was under way begins anew. A shorter one: the probe gets a little longer,
        once, since its answer may lie in a buffer that is not read yet.
        """
        late_ms = self._late_ms(now_ms)
        self._seen_ms = now_ms
        profile, probe = self.profile, self._probe
        if late_ms > profile.probe_interval_ms:
            self.counters["pauses"] += 1
            self.health.note(1)
            self.view.forgive(late_ms, now_ms)
            self._relays.clear()
            if probe is not None:
                self.view.order.put_first(probe.target)
                self._probe = None
            self._period_ms = max(now_ms, self._period_ms)
        elif late_ms > profile.probe_timeout_ms // 4 and probe is not None and not probe.is_extended:
            probe.is_extended = True
            self._period_ms = max(self._period_ms, now_ms + profile.probe_timeout_ms // 2)

    # -- probing

    def _next_seq(self) -> int:
        self._seq = (self._seq + 1) % SEQ_LIMIT
        return self._seq

    def _begin_probe(self, now_ms: int) -> None:
        self._period_ms = now_ms + self.health.scaled(self.profile.probe_interval_ms)
        for _ in range(len(self.view.order)):
            replica = self.view.order.next()
            peer = None if replica is None else self.peers.get(replica)
            if peer is None or peer.state == UNREACHABLE:
                continue
            ask_ms = now_ms + self.health.scaled(self.profile.probe_timeout_ms)
            self._probe = Probe(peer.replica, peer.incarnation, self._next_seq(), ask_ms)
            self.counters["probes"] += 1
            self._send(peer.address, Ping(self._probe.seq, peer.replica), peer)
            return

    def _ask_others(self, probe: Probe) -> None:
        probe.asked = True
        probe.helpers = self.view.order.sample(self.profile.helpers, self.view.unreachable, probe.target)
        for replica in probe.helpers:
            helper = self.peers[replica]
            self._send(helper.address, PingRequest(probe.seq, probe.target), helper)
        self.effects.append(ProbeLink(probe.target))

    def _end_probe(self, now_ms: int) -> None:
        """The period is over: a probe that is still there has failed."""
        probe, self._probe = self._probe, None
        if probe is None:
            return
        self.counters["probes_failed"] += 1
        self.health.note(probe.blame())
        peer = self.peers[probe.target]
        peer.note(now_ms, PROBE_FAILED, self.me)
        self.view.suspect(peer, probe.incarnation, self.me, now_ms)

    def _retry(self) -> None:
        """Ping one unreachable member, each in its turn."""
        unreachable = self.view.unreachable
        if not unreachable:
            return
        self._retried = [r for r in self._retried if r in unreachable]
        if not self._retried:
            self._retried = sorted(unreachable)
            self.rng.shuffle(self._retried)
        peer = unreachable[self._retried.pop()]
        self._send(peer.address, Ping(self._next_seq(), peer.replica), peer)

    def _begin_exchange(self, now_ms: int) -> None:
        stretch = 1 + max(0, (self.view.reachable - 1) // EXCHANGE_FREE).bit_length()
        self._exchange_ms = now_ms + self._jittered(stretch * self.profile.exchange_interval_ms)
        for replica in self.view.order.sample(1, self.view.unreachable, 0):
            self.effects.append(Exchange(replica))

    # -- packets

    def _send(self, address: str, body: AnyBody, peer: Peer | None) -> None:
        """Send a packet; to a member with what it has to know first, and as many rumours as fit."""
        head = encode_head(self.cluster, self.me, self.view.incarnation, body)
        updates: list[bytes] = []
        if peer is not None:
            room, without = room_after(head), 0
            if peer.state != ALIVE and self.profile.buddy:
                kind = SAID_OF[peer.state]
                updates.append(encode_update(accusation(kind, peer.replica, peer.incarnation, self.me)))
                without = peer.replica
            if self.details is not None and not peer.is_told:
                announcement = encode_update(Announcement(self.me, self.view.incarnation, self.details))
                if len(announcement) + sum(map(len, updates)) <= room:
                    updates.append(announcement)
            room -= sum(map(len, updates))
            updates += self.view.broadcasts.take(room, len(self.peers) + 1, without)
        data = join_updates(head, updates)
        self.counters["packets_out"] += 1
        self.counters["bytes_out"] += len(data)
        self.effects.append(SendPacket(address, data))

    def handle_packet(self, address: str, data: bytes, now_ms: int) -> None:
        """A datagram has come. What no member of this cluster sends is dropped and counted, and never raises."""
        self._notice_pause(now_ms)
        self.counters["packets_in"] += 1
        try:
            packet = decode_packet(data)
        except PeerError:
            self.counters["packets_bad"] += 1
            return
        if packet.cluster != self.cluster or packet.protocol != PACKET_PROTOCOL or packet.sender == self.me:
            self.counters["packets_foreign"] += 1
            return
        peer = self.peers.get(packet.sender)
        if peer is not None:
            peer.heard(now_ms)
            if packet.incarnation > peer.incarnation:
                self.view.found_alive(peer, packet.incarnation, now_ms)
        for update in packet.updates:
            if isinstance(update, Claim):
                self.view.hear(update, now_ms)
            else:
                self._hear_announcement(update, now_ms)
        self._handle_body(address, packet, peer, now_ms)

    def _handle_body(self, address: str, packet: Packet, peer: Peer | None, now_ms: int) -> None:
        body = packet.body
        if isinstance(body, Ping):
            if body.target == self.me:
                self._send(address, Ack(body.seq, self.me, self.view.incarnation), peer)
            else:
                self.counters["packets_misaddressed"] += 1
                if peer is not None:
                    self._send(address, Gone(body.seq, body.target), peer)
        elif isinstance(body, Ack):
            self._handle_ack(body, packet.sender, peer, now_ms)
        elif isinstance(body, PingRequest):
            if peer is None:
                self.counters["packets_foreign"] += 1  # a stranger makes us ping nobody
            else:
                self._help(address, body, now_ms)
        elif isinstance(body, Nack):
            if self._probe is not None and body.seq == self._probe.seq and packet.sender in self._probe.helpers:
                self._probe.nacks.add(packet.sender)
        elif isinstance(body, Gone):
            self._handle_gone(address, body, packet.sender, now_ms)

    def _handle_ack(self, ack: Ack, sender: ReplicaId, peer: Peer | None, now_ms: int) -> None:
        relay = self._relays.get(ack.seq)
        if relay is not None and relay.target == ack.target == sender:
            del self._relays[ack.seq]
            self._send(relay.address, Ack(relay.seq, ack.target, ack.incarnation), None)
            return
        if peer is not None and sender == ack.target:
            peer.is_told = True
        asked = self._asked.get(ack.seq)
        if asked is not None and asked[0] == ack.target and sender in asked[1] and ack.target in self.peers:
            self.peers[ack.target].heard(now_ms)
        probe = self._probe
        if probe is None or probe.seq != ack.seq or probe.target != ack.target:
            return
        if sender != ack.target:
            if sender not in probe.helpers:
                return
            target = self.peers[ack.target]
            target.heard(now_ms)
            target.note(now_ms, BY_HELPER, sender)
            self.view.found_alive(target, ack.incarnation, now_ms)
        self._probe = None
        self.health.note(-1)

    def _help(self, address: str, request: PingRequest, now_ms: int) -> None:
        if request.target == self.me:
            self._send(address, Ack(request.seq, self.me, self.view.incarnation), None)
            return
        target = self.peers.get(request.target)
        if target is None or len(self._relays) >= RELAYS_MAX:
            self._send(address, Nack(request.seq), None)
            return
        seq = self._next_seq()
        wait_ms = self.profile.probe_timeout_ms * NACK_SHARE[0] // NACK_SHARE[1]
        self._relays[seq] = Relay(address, request.seq, request.target, now_ms + wait_ms)
        self._send(target.address, Ping(seq, request.target), target)

    def _handle_gone(self, address: str, gone: Gone, sender: ReplicaId, now_ms: int) -> None:
        """Another replica has answered in the place of the one that we probe."""
        probe, target = self._probe, self.peers.get(gone.target)
        if probe is None or probe.seq != gone.seq or probe.target != gone.target or target is None:
            return
        if target.address == address:
            self._probe = None
            self.health.note(-1)
            self.view.found_unreachable(target, target.incarnation, self.me, now_ms, REPLACED)

    def _hear_announcement(self, update: Announcement, now_ms: int) -> None:
        peer = self.peers.get(update.subject)
        if peer is None:
            if update.subject != self.me:
                self.effects.append(Announced(update))
            return
        peer.details = update.details
        self.view.found_alive(peer, update.incarnation, now_ms)

    def ask(self, replica: ReplicaId) -> None:
        """Look for a member out of turn and by all ways at once: itself, helpers and its link. Whether it was heard is
        told by `is_heard_since`; nothing follows from silence."""
        peer = self.peers.get(replica)
        if peer is None:
            return
        seq = self._next_seq()
        helpers = self.view.order.sample(self.profile.helpers, self.view.unreachable, replica)
        self._asked[seq] = (replica, helpers)
        if len(self._asked) > ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        self._send(peer.address, Ping(seq, replica), peer)
        for helper in helpers:
            self._send(self.peers[helper].address, PingRequest(seq, replica), self.peers[helper])
        self.effects.append(ProbeLink(replica))

    # -- links

    def handle_link_heard(self, replica: ReplicaId, now_ms: int) -> None:
        """A member has said something over a TCP link: a sign of life, and an answer to its probe."""
        peer = self.peers.get(replica)
        if peer is None:
            return
        peer.heard(now_ms)
        probe = self._probe
        if probe is not None and probe.asked and probe.target == replica:
            self._probe = None
            self.counters["probes_by_link"] += 1
            peer.note(now_ms, BY_LINK, self.me)

    def handle_link_lost(self, replica: ReplicaId) -> None:
        """The link to a member has broken: see soon whether it is there."""
        if replica in self.peers:
            self.view.order.put_first(replica)

    # -- digests

    def digest(self) -> list[tuple[ReplicaId, int]]:
        """What we hold of everybody, to be merged by another member. O(n log n)."""
        return self.view.digest()

    def merge(self, digest: list[tuple[ReplicaId, int]], by: ReplicaId, now_ms: int) -> None:
        """A member has told what it holds of everybody. O(its length)."""
        self._notice_pause(now_ms)
        self.view.merge(digest, by, now_ms)

    # -- what is known

    @property
    def incarnation(self) -> int:
        """Our own."""
        return self.view.incarnation

    def state(self, replica: ReplicaId) -> str:
        """One of `STATES`; we ourselves are alive, a stranger is unreachable."""
        if replica == self.me:
            return ALIVE
        peer = self.peers.get(replica)
        return UNREACHABLE if peer is None else peer.state

    def details_of(self, replica: ReplicaId) -> Details | None:
        """What a member says of itself; None until it has said so, and for strangers."""
        if replica == self.me:
            return self.details
        peer = self.peers.get(replica)
        return None if peer is None else peer.details

    def silent_ms(self, replica: ReplicaId, now_ms: int) -> int:
        """For how long a member was not heard; 0 for ourselves and for strangers."""
        peer = self.peers.get(replica)
        return 0 if peer is None else max(0, now_ms - peer.heard_ms)

    def is_heard_since(self, replica: ReplicaId, moment_ms: int) -> bool:
        """Whether a member was heard after a moment."""
        peer = self.peers.get(replica)
        return peer is not None and peer.heard_ms > moment_ms

    def unreachable_ms(self, replica: ReplicaId, now_ms: int) -> int:
        """For how long a member has been unreachable without a break, as far as this process was awake to see it; 0
        while it is not, for strangers, and for everybody while a pause of ours is not yet noticed by `tick`."""
        peer = self.peers.get(replica)
        if peer is None or peer.state != UNREACHABLE or self._late_ms(now_ms) > self.profile.probe_interval_ms:
            return 0
        return max(1, now_ms - peer.since_ms)

    def phi(self, replica: ReplicaId, now_ms: int) -> float:
        """How surprising the silence of a member is; see `membership.phi`."""
        peer = self.peers.get(replica)
        return 0.0 if peer is None or peer.arrivals is None else peer.arrivals.phi(now_ms - peer.heard_ms)

    def explain(self, replica: ReplicaId, now_ms: int) -> list[str]:
        """What speaks for the state of a member, for people; `evidence` has what led to it."""
        peer = self.peers.get(replica)
        if peer is None:
            return ["it is not followed"]
        told = [peer.state, f"heard {self.silent_ms(replica, now_ms) / 1000:.1f} s ago"]
        told += [f"incarnation {peer.incarnation}", f"phi {self.phi(replica, now_ms):.1f}"]
        if peer.suspicion is not None:
            left_ms = max(0, peer.suspicion.due_ms - now_ms)
            told.append(f"suspected by {len(peer.suspicion.accusers)}, {left_ms / 1000:.1f} s left to refute")
        return told

    def evidence(self, replica: ReplicaId) -> list[Evidence]:
        """Why a member is held what it is held, oldest first; at most `TRAIL_LENGTH` events."""
        peer = self.peers.get(replica)
        return [] if peer is None or peer.trail is None else list(peer.trail)

    def _check(self) -> None:
        self.view._check()
        assert self._probe is None or self._probe.target in self.peers
        assert len(self._relays) <= RELAYS_MAX
        assert len(self._asked) <= ASKED_MAX
