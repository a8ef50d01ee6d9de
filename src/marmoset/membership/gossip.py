"""Liveness by gossiped counters (floor 6): the first form, whose interface SWIM will fill.

Every member counts its own gossip intervals. A meeting carries the counters of everybody that its sender knows, so a
counter that grows reaches all members over any path, and a member is heard of as long as anybody hears it (van Renesse,
Minsky, Hayden, "A Gossip-Style Failure Detection Service", 1998). Silence alone decides, measured on the local
monotonic clock: see `STATES`. Being unreachable has no consequence for stability; that is the roster's.

Time is an argument. Costs: `tick` and `merge` O(members), the rest O(1).
"""

from random import Random
from typing import Final, final

from marmoset.ids import ReplicaId

ALIVE: Final = "alive"
SUSPECT: Final = "suspect"
UNREACHABLE: Final = "unreachable"
STATES: Final = (ALIVE, SUSPECT, UNREACHABLE)
"""Heard of lately; not for `suspect_after_ms`; not for `unreachable_after_ms`."""


@final
class Contact:
    """What is known of one other member's liveness."""

    __slots__ = ("counter", "heard_ms", "state", "unreachable_since_ms")

    def __init__(self, now_ms: int) -> None:
        self.counter = 0
        self.heard_ms = now_ms
        self.state = ALIVE
        self.unreachable_since_ms: int | None = None


@final
class Membership:
    """The liveness of all other members, as one member sees it."""

    __slots__ = ("_ticked_ms", "contacts", "counter", "interval_ms", "me", "suspect_after_ms", "unreachable_after_ms")

    def __init__(self, me: ReplicaId, suspect_after_ms: int, unreachable_after_ms: int, interval_ms: int = 0) -> None:
        self.me = me
        self.interval_ms = interval_ms
        self.suspect_after_ms = suspect_after_ms
        self.unreachable_after_ms = unreachable_after_ms
        self.counter = 0
        self._ticked_ms: int | None = None
        self.contacts: dict[ReplicaId, Contact] = {}

    def add(self, replica: ReplicaId, now_ms: int) -> None:
        """Begin to follow a member; it counts as heard of now."""
        if replica != self.me and replica not in self.contacts:
            self.contacts[replica] = Contact(now_ms)

    def remove(self, replica: ReplicaId) -> None:
        """Stop following a member."""
        self.contacts.pop(replica, None)

    def tick(self, now_ms: int) -> list[tuple[ReplicaId, str, str]]:
        """One gossip interval has passed; the changes of state: (member, before, now), in the order of ids.

        Where far more has passed, this process was stopped or starved itself: nobody else is blamed for that time.
        """
        self.counter += 1
        if self._ticked_ms is not None:
            lost_ms = now_ms - self._ticked_ms
            if lost_ms > self._lost_ms_min:
                for contact in self.contacts.values():
                    contact.heard_ms = min(now_ms, contact.heard_ms + lost_ms)
                    contact.unreachable_since_ms = None  # it may have been back meanwhile: what was measured is void
        self._ticked_ms = now_ms
        changes: list[tuple[ReplicaId, str, str]] = []
        for replica in sorted(self.contacts):
            contact = self.contacts[replica]
            state = self._judge(contact, now_ms)
            if state != contact.state:
                changes.append((replica, contact.state, state))
                contact.state = state
            if state != UNREACHABLE:
                contact.unreachable_since_ms = None
            elif contact.unreachable_since_ms is None:
                contact.unreachable_since_ms = now_ms
        return changes

    @property
    def _lost_ms_min(self) -> int:
        """From which pause between two ticks on this process was stopped or starved itself."""
        return max(self.suspect_after_ms // 2, 3 * self.interval_ms)

    def _judge(self, contact: Contact, now_ms: int) -> str:
        silent_ms = now_ms - contact.heard_ms
        if silent_ms >= self.unreachable_after_ms:
            return UNREACHABLE
        return SUSPECT if silent_ms >= self.suspect_after_ms else ALIVE

    def choose(self, candidates: list[ReplicaId], rng: Random) -> ReplicaId | None:
        """A random member to meet among those that can be spoken to now."""
        return rng.choice(sorted(candidates)) if candidates else None

    def digest(self) -> list[tuple[ReplicaId, int]]:
        """The counters of everybody, our own first of all known, sorted by id."""
        return sorted([(self.me, self.counter), *((r, contact.counter) for r, contact in self.contacts.items())])

    def merge(self, digest: list[tuple[ReplicaId, int]], now_ms: int) -> None:
        """Take note of somebody's digest: a counter that has grown means that its owner was heard of."""
        for replica, counter in digest:
            contact = self.contacts.get(replica)
            if contact is not None and counter > contact.counter:
                contact.counter = counter
                contact.heard_ms = now_ms

    def state(self, replica: ReplicaId, now_ms: int) -> str:
        """One of `STATES`; we ourselves are alive, a stranger is unreachable."""
        if replica == self.me:
            return ALIVE
        contact = self.contacts.get(replica)
        return UNREACHABLE if contact is None else self._judge(contact, now_ms)

    def silent_ms(self, replica: ReplicaId, now_ms: int) -> int:
        """For how long a member was not heard of; 0 for ourselves and for strangers."""
        contact = self.contacts.get(replica)
        return 0 if contact is None else max(0, now_ms - contact.heard_ms)

    def unreachable_ms(self, replica: ReplicaId, now_ms: int) -> int:
        """For how long a member has been unreachable without a break, as far as this process was awake to see it: 0
        for who is not, and for everybody while ticks are missing and what was seen before may no longer be true."""
        contact = self.contacts.get(replica)
        if contact is None or contact.unreachable_since_ms is None or self._ticked_ms is None:
            return 0
        if now_ms - self._ticked_ms > self._lost_ms_min or self._judge(contact, now_ms) != UNREACHABLE:
            return 0
        return self._ticked_ms - contact.unreachable_since_ms

    def explain(self, replica: ReplicaId, now_ms: int) -> list[str]:
        """What speaks for the state of a member, for people."""
        contact = self.contacts.get(replica)
        if contact is None:
            return ["it is not followed"]
        told = [self.state(replica, now_ms), f"heard of {self.silent_ms(replica, now_ms) / 1000:.1f} s ago"]
        return [*told, f"its counter was {contact.counter}"]

    def is_heard_since(self, replica: ReplicaId, moment_ms: int) -> bool:
        """Whether a member was heard of after a moment."""
        contact = self.contacts.get(replica)
        return contact is not None and contact.heard_ms > moment_ms

    def _check(self) -> None:
        assert self.me not in self.contacts
        assert all(contact.state in STATES for contact in self.contacts.values())
