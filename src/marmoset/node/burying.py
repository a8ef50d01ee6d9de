"""Burying: presuming members dead (floor 7, DESIGN.md 4.3). All that decides about burials is here.

Unreachable is not dead. A member is buried when this node and, with it, a majority of the roster have each found it
unreachable for `presumed_dead_after`, without a break. What the others found comes as *evidence* in the answers of
meetings. An answer repeats the moment, on our own monotonic clock, at which we asked; so evidence is no older than
that moment, wherever it was held up since, and counts only while that is not long ago. It counts from members that are
linked and alive, and is taken as it was when it was given: nobody's silence is prolonged in thought.

A machine that slept has found nothing: `Membership.unreachable_ms` starts anew after lost ticks, and a held step of the
wall clock, which is how a suspended machine shows on others, voids what was found before it.

Everybody in a majority comes to the same conclusion at about the same time. So that not all of them log it, the lowest
id of those in touch goes first, and the others `STAGGER_INTERVALS` after one another; two that log the same burial do
no harm.

An unborn newcomer is its sponsor's to bury, alone; as soon as that one is gone too, it is buried like a member.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.operations import Bury, RosterOperation
from marmoset.errors import UsageError
from marmoset.ids import ReplicaId, id_text, parse_id
from marmoset.membership.gossip import ALIVE, UNREACHABLE
from marmoset.node.states import SERVING

if TYPE_CHECKING:
    from marmoset.node.node import Node

FRESH_MS_MIN: Final = 2000
FRESH_INTERVALS: Final = 5
"""Evidence older than this counts no more."""
STAGGER_INTERVALS: Final = 3


@final
class _Evidence:
    """What one member found, and the moment after which it found it."""

    __slots__ = ("found", "made_ms")

    def __init__(self, found: dict[ReplicaId, int], made_ms: int) -> None:
        self.found = found
        self.made_ms = made_ms


@final
class Burying:
    """Whom one node presumes dead, and on whose word."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._evidence: dict[ReplicaId, _Evidence] = {}
        self._ripe_ms: dict[ReplicaId, int] = {}
        """Since when everything that is needed to bury somebody is there."""
        self._void_ms: int | None = None
        """When the wall clock was last held: what was found before does not count."""

    # -- evidence

    def unreachable_ms(self, replica: ReplicaId) -> int:
        """For how long we ourselves have found a member unreachable. O(1)."""
        node, now = self._node, self._node.time.monotonic_ms()
        node.wall_ms()
        if node.wall_clock.held_since_ms is not None:
            self._void_ms = now
        found_ms = node.membership.unreachable_ms(replica, now)
        return found_ms if self._void_ms is None else min(found_ms, now - self._void_ms)

    def evidence(self) -> list[tuple[ReplicaId, int]]:
        """What a meeting tells of members that are unreachable, in the order of ids. O(members)."""
        found = ((replica, self.unreachable_ms(replica)) for replica in sorted(self._node.membership.contacts))
        return [(replica, found_ms) for replica, found_ms in found if found_ms]

    def handle_evidence(self, peer: ReplicaId, found: list[tuple[ReplicaId, int]], made_ms: int) -> None:
        """A member has answered with what it found, after the moment `made_ms` of our clock. O(found)."""
        if 0 <= made_ms <= self._node.time.monotonic_ms():
            self._evidence[peer] = _Evidence(dict(found), made_ms)

    def said_ms(self, peer: ReplicaId, replica: ReplicaId) -> int | None:
        """For how long a member says that another one is unreachable; None when it has not said anything lately."""
        evidence = self._evidence.get(peer)
        if evidence is None or self._node.time.monotonic_ms() - evidence.made_ms > self._fresh_ms:
            return None
        return evidence.found.get(replica, 0)

    @property
    def _fresh_ms(self) -> int:
        return max(FRESH_MS_MIN, FRESH_INTERVALS * self._node.config.gossip_interval)

    # -- the rule

    def limit_ms(self, replica: ReplicaId) -> int:
        """For how long a member has to be unreachable before it is buried."""
        return self._node.config.presumed_dead_after

    def in_touch(self) -> list[ReplicaId]:
        """The members that are linked and alive, in the order of ids. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        return sorted(replica for replica in node.linked if node.membership.state(replica, now) == ALIVE)

    def has_majority(self, without: list[ReplicaId]) -> bool:
        """Whether we are in touch with a majority of the roster, some not counted. O(members)."""
        node = self._node
        if node.config.presumed_dead_quorum == "one":
            return True
        voters = [replica for replica in self.in_touch() if replica not in without]
        return node.replica.roster.is_majority([node.replica.me, *voters])

    def is_ours_to_bury(self, replica: ReplicaId) -> bool:
        """Whether a majority decides about a member at all: an unborn one is its sponsor's, while there is one."""
        roster = self._node.replica.roster
        if roster.members[replica].born or replica not in roster.joins:
            return True
        sponsor = roster.joins[replica][0]
        return sponsor not in roster.members or sponsor in roster.left or sponsor in roster.buried

    def due(self) -> list[ReplicaId]:
        """The members that we ourselves have found unreachable for long enough, in the order of ids. O(members)."""
        return [
            replica
            for replica in self._node.replica.roster.present()
            if self.unreachable_ms(replica) >= self.limit_ms(replica) and self.is_ours_to_bury(replica)
        ]

    def witnesses(self, replica: ReplicaId) -> list[ReplicaId]:
        """The members in touch that have found somebody unreachable for long enough, and lately. O(members)."""
        limit_ms = self.limit_ms(replica)
        return [peer for peer in self.in_touch() if (self.said_ms(peer, replica) or 0) >= limit_ms]

    def is_provable(self, replica: ReplicaId) -> bool:
        """Whether the witnesses against a member are enough. O(members)."""
        node = self._node
        if node.config.presumed_dead_quorum == "one":
            return True
        return node.replica.roster.is_majority([node.replica.me, *self.witnesses(replica)])

    def handle_interval(self) -> None:
        """Bury whom it is time to bury. Called once in a gossip interval, behind the ticks of liveness. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        for peer in [peer for peer in self._evidence if peer not in node.replica.roster.members]:
            del self._evidence[peer]
        due = self.due() if node.state == SERVING else []
        provable = [replica for replica in due if self.is_provable(replica)]
        self._ripe_ms = {replica: self._ripe_ms.get(replica, now) for replica in provable}
        if any(now - self._ripe_ms[replica] >= self._turn_ms(replica) for replica in provable):
            self._bury_dead(provable)
        elif due:
            self._ask(now)

    def _turn_ms(self, replica: ReplicaId) -> int:
        """How long we leave it to others to bury a member."""
        node = self._node
        rank = sum(1 for peer in self.witnesses(replica) if peer < node.replica.me)
        return rank * STAGGER_INTERVALS * node.config.gossip_interval

    def _ask(self, now_ms: int) -> None:
        """Meet everybody whose evidence is not fresh, or will soon not be."""
        for peer in self.in_touch():
            evidence = self._evidence.get(peer)
            if evidence is None or 2 * (now_ms - evidence.made_ms) > self._fresh_ms:
                self._node.meeting.meet(peer)

    def _bury_dead(self, replicas: list[ReplicaId]) -> None:
        node, roster = self._node, self._node.replica.roster
        for replica in replicas:
            node.notify(
                "warning",
                "buried a member that is presumed dead",
                name=roster.members[replica].name,
                id=id_text(replica),
                unreachable_ms=self.unreachable_ms(replica),
                witnesses=self.names(self.witnesses(replica)),
            )
            node.counters["burials_automatic"] += 1
            self._ripe_ms.pop(replica, None)
        node.replica.submit_roster(self.burials(replicas))

    def names(self, replicas: list[ReplicaId]) -> list[str]:
        """What members are called, for people. O(replicas)."""
        members = self._node.replica.roster.members
        return [members[replica].name for replica in replicas]

    def burials(self, replicas: list[ReplicaId]) -> list[RosterOperation]:
        """The operations that bury members, and with each its unborn newcomers. O(members)."""
        roster = self._node.replica.roster
        buried: list[ReplicaId] = []
        for replica in replicas:
            buried += (each for each in (replica, *roster.unborn_of(replica)) if each not in buried)
        return [Bury(replica) for replica in buried]

    # -- by an operator

    def bury(self, name: str, force: bool) -> None:
        """Presume a member dead, by name or id.

        Raises:
            UsageError: there is no such member, it answers, or there is no majority; nothing was changed.
        """
        node, roster = self._node, self._node.replica.roster
        chosen = [member.replica for member in roster.by_name(name)]
        identified = parse_id(name)
        if not chosen and identified is not None and identified in roster.present():
            chosen = [identified]
        if not chosen:
            names = ", ".join(sorted({roster.members[r].name for r in roster.present()}))
            raise UsageError(f"no member is called {name!r}; members are {names}")
        if node.replica.me in chosen:
            raise UsageError("a node cannot bury itself; use MARMOSET LEAVE")
        if node.state != SERVING:
            raise UsageError(f"this node is {node.state} and cannot bury anybody")
        if not force:
            now = node.time.monotonic_ms()
            for replica in chosen:
                state = node.membership.state(replica, now)
                if state != UNREACHABLE:
                    raise UsageError(
                        f"{name} is {state}: only a member that is unreachable is buried. "
                        "Stop it, or add FORCE: what it has not sent to others will then have to be rehabilitated"
                    )
            if not self.has_majority(chosen):
                raise UsageError(
                    f"this node is not in touch with a majority of {len(roster.electorate())} members. FORCE buries "
                    "anyway: if the other side does the same, the group is split in two until an operator decides"
                )
        witnesses = self.names(self.in_touch())
        node.replica.submit_roster(self.burials(chosen))
        for replica in chosen:
            node.notify("warning", "buried a member", name=name, id=id_text(replica), force=force, witnesses=witnesses)
