"""What a member believes of all others (floor 6): claims in, states and rumours out.

Every claim, whether it comes in a packet, in a digest or from our own probes, is judged here by the table of
`states.VERDICTS`. What goes beyond the table:

- *Nobody is accused by somebody whom we hold unreachable*, and nobody is held unreachable on one single word: a claim
  of unreachability begins a suspicion or confirms one. If at least two different members, we among them, have accused
  the suspect, it has no more than the shortest time of a suspicion to refute, counted from when we heard of it, but
  that it has always. So a member that hears nothing any more cannot take others down, nor can news that was under way
  while a cut healed.
- *A claim against ourselves is refuted*: our incarnation goes above it, and that we are alive is told to everybody.
- What a digest says against a member begins a suspicion at the most, and is not passed on: whoever sent it may have
  it from hearsay.

Costs: a claim O(1), a digest O(members).
"""

from random import Random
from typing import Final, final

from marmoset.codec.packets import (
    INCARNATION_LIMIT,
    SAYS_ALIVE,
    SAYS_LEFT,
    SAYS_SUSPECT,
    SAYS_UNREACHABLE,
    Claim,
    encode_update,
)
from marmoset.ids import ReplicaId
from marmoset.membership.broadcasts import Broadcasts
from marmoset.membership.effects import Changed, Exchange, SwimEffect
from marmoset.membership.health import LocalHealth
from marmoset.membership.peers import CONFIRMED, HEARD_AGAIN, LEFT, REFUTED, SUSPECTED, UNREACHABLE_SINCE, Peer
from marmoset.membership.probing import Order
from marmoset.membership.profiles import Profile
from marmoset.membership.states import ALIVE, SAID_OF, STATES, SUSPECT, UNREACHABLE, verdict
from marmoset.membership.suspicion import Suspicion, shortest_ms

ACCUSERS_WANTED: Final = 2
CONFIRMERS: Final = 8
"""About so many members probe a suspect out of turn, so that a crash is confirmed soon in a group of any size."""
EXCHANGERS: Final = 4
"""About so many exchange digests with a member that comes back, since much may have passed on both sides."""
DIGEST_KINDS: Final = 4


@final
class View:
    """The other members as one member sees them, its own incarnation, and the rumours that it passes on."""

    def __init__(
        self, me: ReplicaId, profile: Profile, rng: Random, health: LocalHealth, effects: list[SwimEffect]
    ) -> None:
        self.me = me
        self.profile = profile
        self.rng = rng
        self.health = health
        self.effects = effects
        self.incarnation = 0
        self.is_leaving = False
        self.peers: dict[ReplicaId, Peer] = {}
        self.at_address: dict[str, ReplicaId] = {}
        """Who was added last at an address."""
        self.order = Order(rng)
        self.broadcasts = Broadcasts(profile.retransmit_factor)
        self.suspects: dict[ReplicaId, Peer] = {}
        self.unreachable: dict[ReplicaId, Peer] = {}
        self.refutations = 0
        self.expiry_ms: int | None = None
        """No suspicion ends before this; None while there is none."""

    @property
    def reachable(self) -> int:
        """All members that are not unreachable, we among them."""
        return len(self.peers) + 1 - len(self.unreachable)

    # -- who is followed

    def add(self, replica: ReplicaId, address: str, now_ms: int) -> Peer | None:
        """Begin to follow a member, alive until found otherwise; None if it is followed or is us."""
        if replica == self.me or replica in self.peers:
            return None
        peer = self.peers[replica] = Peer(replica, address, now_ms)
        self.order.add(replica)
        former = self.at_address.get(address)
        if former in self.peers:
            self.order.put_first(former)  # its process has probably ended
        self.at_address[address] = replica
        return peer

    def remove(self, replica: ReplicaId) -> None:
        """Stop following a member."""
        peer = self.peers.pop(replica, None)
        if peer is not None:
            if self.at_address.get(peer.address) == replica:
                del self.at_address[peer.address]
            self.suspects.pop(replica, None)
            self.unreachable.pop(replica, None)
            self.broadcasts.drop(replica)
            self.order.remove(replica)

    # -- claims

    def hear(self, claim: Claim, now_ms: int) -> None:
        """A claim has come in a packet."""
        kind, subject, incarnation, by = claim.kind, claim.subject, claim.incarnation, claim.by
        if subject == self.me:
            self.defend(kind, incarnation)
            return
        peer = self.peers.get(subject)
        if peer is None:
            return
        if kind == SAYS_ALIVE:
            self.found_alive(peer, incarnation, now_ms)
        elif kind == SAYS_LEFT:
            if by == subject:
                self._left(peer, incarnation, now_ms)
        elif self._is_believed(by):
            if kind == SAYS_SUSPECT:
                self.suspect(peer, incarnation, by, now_ms)
            else:
                self._hear_unreachable(peer, incarnation, by, now_ms)

    def _is_believed(self, by: ReplicaId) -> bool:
        if not self.profile.corroborate:
            return True
        accuser = self.peers.get(by)
        return accuser is not None and accuser.state != UNREACHABLE

    def _is_one_of(self, wanted: int) -> bool:
        """A draw that about `wanted` members win where all of them draw."""
        return self.rng.random() * self.reachable < wanted

    def defend(self, kind: int, incarnation: int) -> None:
        """Something is said about ourselves."""
        if self.is_leaving or incarnation + 1 >= INCARNATION_LIMIT:
            return
        if kind != SAYS_ALIVE and incarnation >= self.incarnation:
            self.incarnation = incarnation + 1
            self.refutations += 1
            self.health.note(1)
        elif kind == SAYS_ALIVE and incarnation > self.incarnation:
            self.incarnation = incarnation
        else:
            return
        self._pass_on(SAYS_ALIVE, self.me, self.incarnation, self.me)

    def found_alive(self, peer: Peer, incarnation: int, now_ms: int) -> None:
        """A member is alive under an incarnation; a newer one ends what was held against it."""
        if not verdict(peer.state, SAYS_ALIVE, incarnation, peer.incarnation):
            return
        before, peer.incarnation = peer.state, incarnation
        self._become(peer, ALIVE, now_ms)
        if before != ALIVE:
            peer.note(now_ms, REFUTED if before == SUSPECT else HEARD_AGAIN, peer.replica)
        if before == UNREACHABLE and self._is_one_of(EXCHANGERS):
            exchange = Exchange(peer.replica)
            if exchange not in self.effects:  # a packet may say twenty times that it is there again
                self.effects.append(exchange)
        self._pass_on(SAYS_ALIVE, peer.replica, incarnation, peer.replica)

    def suspect(self, peer: Peer, incarnation: int, by: ReplicaId, now_ms: int, hearsay: bool = False) -> None:
        """Somebody, perhaps we, suspects a member; with `hearsay` it may not be who found out."""
        if not verdict(peer.state, SAYS_SUSPECT, incarnation, peer.incarnation):
            return
        begins = peer.state != SUSPECT or incarnation > peer.incarnation
        if not begins:
            assert peer.suspicion is not None
            if hearsay or not peer.suspicion.confirm(by):
                return
            peer.note(now_ms, CONFIRMED, by)
            self._expires(peer.suspicion)
        else:
            peer.incarnation = incarnation
            self.broadcasts.drop(peer.replica)  # an older claim, that it is alive
            peer.suspicion = Suspicion(self.profile, self.reachable + (peer.state == UNREACHABLE), by, now_ms)
            self._expires(peer.suspicion)
            self._become(peer, SUSPECT, now_ms)
            peer.note(now_ms, SUSPECTED, by)
            if self.profile.dynamic_suspicion and self._is_one_of(CONFIRMERS):
                self.order.put_first(peer.replica)
        if not hearsay:
            claim = encode_update(accusation(SAYS_SUSPECT, peer.replica, incarnation, by))
            self.broadcasts.put(peer.replica, claim, topic=by)

    def _hear_unreachable(self, peer: Peer, incarnation: int, by: ReplicaId, now_ms: int) -> None:
        if not verdict(peer.state, SAYS_UNREACHABLE, incarnation, peer.incarnation):
            return
        if self.profile.corroborate and peer.state != UNREACHABLE:
            self.suspect(peer, incarnation, by, now_ms)
            assert peer.suspicion is not None
            if len(peer.suspicion.accusers | {by}) >= ACCUSERS_WANTED:
                peer.suspicion.hurry()
                self._expires(peer.suspicion)
            if peer.suspicion.due_ms > now_ms:
                return
        self.found_unreachable(peer, incarnation, by, now_ms)

    def found_unreachable(self, peer: Peer, incarnation: int, by: ReplicaId, now_ms: int, why: str = "") -> None:
        """A member is unreachable: found by ourselves, or by others and believed."""
        if not verdict(peer.state, SAYS_UNREACHABLE, incarnation, peer.incarnation):
            return
        peer.incarnation = incarnation
        self._become(peer, UNREACHABLE, now_ms)
        peer.note(now_ms, why or UNREACHABLE_SINCE, by)
        self._pass_on(SAYS_UNREACHABLE, peer.replica, incarnation, by)

    def _left(self, peer: Peer, incarnation: int, now_ms: int) -> None:
        if verdict(peer.state, SAYS_LEFT, incarnation, peer.incarnation):
            peer.incarnation = incarnation
            self._become(peer, UNREACHABLE, now_ms)
            peer.note(now_ms, LEFT, peer.replica)
            self._pass_on(SAYS_LEFT, peer.replica, incarnation, peer.replica)

    def expire(self, now_ms: int) -> None:
        """Hold unreachable who had time to refute and has not. O(suspects)."""
        due = [peer for peer in self.suspects.values() if peer.suspicion and peer.suspicion.due_ms <= now_ms]
        for peer in due:
            self.found_unreachable(peer, peer.incarnation, self.me, now_ms)
        self.expiry_ms = None
        for peer in self.suspects.values():
            assert peer.suspicion is not None
            self._expires(peer.suspicion)

    def _expires(self, suspicion: Suspicion) -> None:
        if self.expiry_ms is None or suspicion.due_ms < self.expiry_ms:
            self.expiry_ms = suspicion.due_ms

    def _become(self, peer: Peer, state: str, now_ms: int) -> None:
        if state != SUSPECT:
            peer.suspicion = None
            self.suspects.pop(peer.replica, None)
        if state == peer.state:
            return
        self.effects.append(Changed(peer.replica, peer.state, state))
        if peer.state == UNREACHABLE:
            del self.unreachable[peer.replica]
        if state == UNREACHABLE:
            self.unreachable[peer.replica] = peer
        elif state == SUSPECT:
            self.suspects[peer.replica] = peer
        peer.state = state
        peer.since_ms = now_ms

    def _pass_on(self, kind: int, subject: ReplicaId, incarnation: int, by: ReplicaId) -> None:
        self.broadcasts.put(subject, encode_update(accusation(kind, subject, incarnation, by)))

    # -- lost time

    def forgive(self, lost_ms: int, now_ms: int) -> None:
        """We were stopped: time that we have lost counts against nobody, and suspicions begin anew. So does the time
        for which members were unreachable, since they may have been back meanwhile; not where we were stopped for less
        than the shortest suspicion: of whoever was back, those that were awake would know still. Else a machine that
        is stopped for a moment now and then would find nobody unreachable for long. O(members)."""
        is_short = lost_ms < shortest_ms(self.profile, self.reachable)
        for peer in self.peers.values():
            peer.heard_ms = min(now_ms, peer.heard_ms + lost_ms)
            if peer.state == UNREACHABLE:
                peer.since_ms = min(now_ms, peer.since_ms + lost_ms) if is_short else now_ms
            if peer.suspicion is not None:
                peer.suspicion.begin_anew(now_ms)
        self.expire(now_ms)

    # -- digests

    def digest(self) -> list[tuple[ReplicaId, int]]:
        """Incarnation and state of everybody, in the order of ids. O(n log n)."""
        said = SAID_OF
        rows = [(r, peer.incarnation * DIGEST_KINDS + said[peer.state]) for r, peer in self.peers.items()]
        kind = SAYS_LEFT if self.is_leaving else SAYS_ALIVE
        return sorted([*rows, (self.me, self.incarnation * DIGEST_KINDS + kind)])

    def merge(self, digest: list[tuple[ReplicaId, int]], by: ReplicaId, now_ms: int) -> None:
        """A digest of `by` has come. O(its length)."""
        for replica, packed in digest:
            incarnation, kind = divmod(packed, DIGEST_KINDS)
            if replica == self.me:
                self.defend(kind, incarnation)
                continue
            peer = self.peers.get(replica)
            if peer is None:
                continue
            if kind == SAYS_ALIVE:
                if incarnation > peer.incarnation:
                    self.found_alive(peer, incarnation, now_ms)
            elif kind == SAYS_LEFT:
                if by == replica:
                    self._left(peer, incarnation, now_ms)
            elif by != replica and self._is_believed(by):
                self.suspect(peer, incarnation, by, now_ms, hearsay=True)

    def _check(self) -> None:
        assert self.me not in self.peers
        assert all(peer.state in STATES for peer in self.peers.values())
        assert set(self.unreachable) == {r for r, peer in self.peers.items() if peer.state == UNREACHABLE}
        assert set(self.suspects) == {r for r, peer in self.peers.items() if peer.state == SUSPECT}
        assert all((peer.suspicion is not None) == (peer.state == SUSPECT) for peer in self.peers.values())
        dues = [peer.suspicion.due_ms for peer in self.suspects.values() if peer.suspicion is not None]
        assert not dues or (self.expiry_ms is not None and self.expiry_ms <= min(dues))
        assert self.order.members() == set(self.peers)
        self.broadcasts._check()
        assert self.broadcasts.subjects() <= {self.me, *self.peers}
        assert len(self.broadcasts) <= (len(self.peers) + 1) * (self.profile.confirmations + 3)
        held = [peer.suspicion for peer in self.suspects.values() if peer.suspicion is not None]
        assert all(len(suspicion.accusers) <= suspicion.needed + 1 for suspicion in held)
        assert len(self.at_address) <= len(self.peers)


def accusation(kind: int, subject: ReplicaId, incarnation: int, by: ReplicaId) -> Claim:
    """A claim of one of the four kinds."""
    assert kind in (SAYS_ALIVE, SAYS_SUSPECT, SAYS_UNREACHABLE, SAYS_LEFT)
    return Claim(kind, subject, incarnation, by)
