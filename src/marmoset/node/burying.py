"""Burying: presuming members dead (floor 7, DESIGN.md 4.3). All that decides about burials is here.

Unreachable is not dead. A member is buried when this node and, with it, a majority of the roster have each found it
unreachable for `presumed_dead_after`, without a break. What the others found comes as *evidence* in the answers of
meetings. An answer repeats the moment, on our own monotonic clock, at which we asked; so evidence is no older than
that moment, wherever it was held up since, and counts only while that is not long ago. It counts from members that are
linked and alive, and is taken as it was when it was given: nobody's silence is prolonged in thought.

A machine that slept has found nothing: `Swim.unreachable_ms` starts anew after lost ticks, of which there is one in
each probe interval, and `stalled_ms` after lost gossip intervals. Of a moment's stop only the time itself is left out,
since nobody is found unreachable so fast (`View.forgive`). A held step of the wall clock, which is how a
suspended machine shows on others, voids what was found before it.

Everybody in a majority comes to the same conclusion at about the same time. So that not all of them log it, the lowest
id of those in touch goes first, and the others `STAGGER_INTERVALS` after one another; two that log the same burial do
no harm.

Who is linked and alive is *in touch*, which says little: whoever is cut off doubts itself, takes its time to find
others unreachable, and until then its links look as they did. It would count those that have buried it meanwhile, and
bury others on their word (`churn` 210107 of the simulator). So a majority, whoever wants one, is made of those that
*answer*: in touch, and lately met. All are asked for that while anybody is unreachable, and when somebody wants to be
let in under the name of a member.

Which of those in touch have a vote is decided in `replication.electorate`: newcomers of whom only a few have heard do
not, and whoever speaks of members that are not here yet is not counted before they are.

When the log has outgrown its budget for `budget_grace`, that is how long it takes; and a member that can be reached but
is *stalled* is buried as well: it lacks something, and for as long it has not been known to take anything.

An unborn newcomer is its sponsor's to bury, alone; as soon as that one is gone too, it is buried like a member.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Gossip
from marmoset.codec.operations import Bury, RosterOperation
from marmoset.errors import UsageError
from marmoset.ids import ReplicaId, id_text, parse_id
from marmoset.membership.states import ALIVE, UNREACHABLE
from marmoset.node.states import BURYING
from marmoset.replication.electorate import established, is_majority

if TYPE_CHECKING:
    from marmoset.node.node import Node

FRESH_MS_MIN: Final = 2000
FRESH_INTERVALS: Final = 5
"""Evidence older than this counts no more."""
STAGGER_INTERVALS: Final = 3
MISSED_MS_MIN: Final = 1000
"""Whoever looks less often than this has slept, and knows nothing of anybody's progress."""


@final
class _Evidence:
    """What one member found, and the moment after which it found it."""

    __slots__ = ("had", "made_ms", "stalled", "unreachable")

    def __init__(self, message: Gossip) -> None:
        self.unreachable = dict(message.unreachable)
        self.stalled = dict(message.stalled)
        self.made_ms = message.echo_ms
        self.had = message.vector
        """Everything that it had. Who else has a vote stands there, and is to be here before it counts."""


@final
class Burying:
    """Whom one node presumes dead, and on whose word."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._evidence: dict[ReplicaId, _Evidence] = {}
        self._ripe_ms: dict[ReplicaId, int] = {}
        """Since when everything that is needed to bury somebody is there."""
        self._progress: dict[ReplicaId, tuple[int, int]] = {}
        """How much of others' operations those are known to have that lack something, and since when no more."""
        self._looked_ms: int | None = None
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

    def stalled_ms(self, replica: ReplicaId) -> int:
        """For how long a member has lacked something and taken nothing; only looked at past half of the budget. 0 for
        everybody while a pause of ours is not yet noticed: whoever wakes is asked before it looks. O(1)."""
        progress = self._progress.get(replica)
        if progress is None or self._looked_ms is None or self._has_slept(self._node.time.monotonic_ms()):
            return 0
        return self._looked_ms - progress[1]

    def _has_slept(self, now_ms: int) -> bool:
        """Whether intervals were lost since we last looked at progress."""
        if self._looked_ms is None:
            return False
        return now_ms - self._looked_ms > max(MISSED_MS_MIN, 3 * self._node.config.gossip_interval)

    def _look_at_progress(self, now_ms: int) -> None:
        """Note who takes something of what it lacks. O(1) within half of the budget, else O(members squared)."""
        node, slept = self._node, self._has_slept(now_ms)
        self._looked_ms = now_ms
        if slept or not node.budget.is_past_half:
            self._progress = {}
        if not node.budget.is_past_half:
            return
        known, before = node.replica.stability.known, self._progress
        self._progress = {}
        for replica in node.budget.lacking():
            taken = sum(seq for origin, seq in known.get(replica, {}).items() if origin != replica)
            since = before.get(replica)
            self._progress[replica] = since if since is not None and since[0] == taken else (taken, now_ms)

    def evidence(self) -> tuple[list[tuple[ReplicaId, int]], list[tuple[ReplicaId, int]]]:
        """What a meeting tells of members that are unreachable and of those that are stalled. O(members)."""
        followed = sorted(self._node.membership.peers)
        unreachable = ((replica, self.unreachable_ms(replica)) for replica in followed)
        stalled = ((replica, self.stalled_ms(replica)) for replica in followed)
        return [each for each in unreachable if each[1]], [each for each in stalled if each[1]]

    def handle_evidence(self, peer: ReplicaId, answer: Gossip) -> None:
        """A member has answered with what it found, after the moment of our clock that it repeats. O(found)."""
        if 0 <= answer.echo_ms <= self._node.time.monotonic_ms():
            self._evidence[peer] = _Evidence(answer)

    def said(self, peer: ReplicaId, replica: ReplicaId) -> tuple[int, int] | None:
        """For how long a member says that another one is unreachable, and stalled; None when it has not said anything
        lately, or had something then that is not here. O(members)."""
        evidence = self._fresh(peer)
        return None if evidence is None else (evidence.unreachable.get(replica, 0), evidence.stalled.get(replica, 0))

    def _fresh(self, peer: ReplicaId) -> _Evidence | None:
        """What a member has answered lately, if everything that it had then is here. O(members)."""
        evidence = self._evidence.get(peer)
        if evidence is None or self._node.time.monotonic_ms() - evidence.made_ms > self._fresh_ms:
            return None
        return evidence if self._node.replica.has_all(evidence.had) else None

    @property
    def _fresh_ms(self) -> int:
        return max(FRESH_MS_MIN, FRESH_INTERVALS * self._node.config.gossip_interval)

    # -- the rule

    @property
    def limit_ms(self) -> int:
        """For how long a member has to be unreachable before it is buried."""
        config = self._node.config
        limit = config.presumed_dead_after
        return min(limit, config.budget_grace) if self._node.budget.is_outgrown else limit

    def _is_enough(self, unreachable_ms: int, stalled_ms: int) -> bool:
        node = self._node
        return unreachable_ms >= self.limit_ms or (node.budget.is_outgrown and stalled_ms >= node.config.budget_grace)

    def in_touch(self) -> list[ReplicaId]:
        """The members that are linked and alive, in the order of ids. O(members)."""
        node = self._node
        return sorted(replica for replica in node.linked if node.membership.state(replica) == ALIVE)

    def answering(self, since_ms: int = 0) -> list[ReplicaId]:
        """The members in touch that have answered lately what we asked since a moment of our monotonic clock, in the
        order of ids. O(members squared)."""
        answers = ((peer, self._fresh(peer)) for peer in self.in_touch())
        return [peer for peer, answer in answers if answer is not None and answer.made_ms >= since_ms]

    def has_majority(self, without: list[ReplicaId], since_ms: int = 0) -> bool:
        """Whether those that answer what we asked since then are with us a majority of the roster, some not counted.
        O(members squared)."""
        node = self._node
        if node.config.presumed_dead_quorum == "one":
            return True
        voters = [replica for replica in self.answering(since_ms) if replica not in without]
        return is_majority(node.replica.roster, node.replica.stability.known, [node.replica.me, *voters])

    def is_majority_without_us(self) -> bool:
        """Whether those in touch could bury us, and let somebody else in under our name. O(members squared)."""
        node = self._node
        if node.config.presumed_dead_quorum == "one":
            return True
        return is_majority(node.replica.roster, node.replica.stability.known, self.in_touch())

    def without_vote(self) -> list[ReplicaId]:
        """The members in touch that have no vote yet. O(members cubed) at worst."""
        replica = self._node.replica
        voters = established(replica.roster, replica.stability.known)
        return [peer for peer in self.in_touch() if peer not in voters]

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
            if self._is_enough(self.unreachable_ms(replica), self.stalled_ms(replica))
            and replica != self._node.replica.me
            and self.is_ours_to_bury(replica)
        ]

    def witnesses(self, replica: ReplicaId) -> list[ReplicaId]:
        """The members in touch that have found somebody gone for long enough, and lately. O(members)."""
        said = ((peer, self.said(peer, replica)) for peer in self.in_touch() if peer != replica)
        return [peer for peer, found in said if found is not None and self._is_enough(*found)]

    def is_provable(self, replica: ReplicaId) -> bool:
        """Whether the witnesses against a member are enough. O(members)."""
        node = self._node
        if node.config.presumed_dead_quorum == "one":
            return True
        return is_majority(
            node.replica.roster, node.replica.stability.known, [node.replica.me, *self.witnesses(replica)]
        )

    def handle_interval(self) -> None:
        """Bury whom it is time to bury. Called once in a gossip interval, behind the ticks of liveness. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        self._look_at_progress(now)
        for peer in [peer for peer in self._evidence if peer not in node.replica.roster.members]:
            del self._evidence[peer]
        may_bury = node.state in BURYING
        due = self.due() if may_bury else []
        provable = [replica for replica in due if self.is_provable(replica)]
        self._ripe_ms = {replica: self._ripe_ms.get(replica, now) for replica in provable}
        if any(now - self._ripe_ms[replica] >= self._turn_ms(replica) for replica in provable):
            self._bury_dead(provable)
        elif due or (may_bury and self._misses_somebody()):
            self.ask()

    def _misses_somebody(self) -> bool:
        """Whether any member is unreachable, so that an operator may want to bury it. O(members)."""
        node = self._node
        return any(node.membership.state(replica) == UNREACHABLE for replica in node.replica.roster.present())

    def _turn_ms(self, replica: ReplicaId) -> int:
        """How long we leave it to others to bury a member."""
        node = self._node
        rank = sum(1 for peer in self.witnesses(replica) if peer < node.replica.me)
        return rank * STAGGER_INTERVALS * node.config.gossip_interval

    def ask(self, since_ms: int = 0) -> None:
        """Meet everybody in touch whose answer is not fresh, or will soon not be, or whom we asked before a moment.
        O(members)."""
        now_ms = self._node.time.monotonic_ms()
        for peer in self.in_touch():
            evidence = self._evidence.get(peer)
            if evidence is None or evidence.made_ms < since_ms or 2 * (now_ms - evidence.made_ms) > self._fresh_ms:
                self._node.meeting.meet(peer)

    def _bury_dead(self, replicas: list[ReplicaId]) -> None:
        node, roster = self._node, self._node.replica.roster
        for replica in replicas:
            node.notify(
                "warning",
                "buried a member that is presumed dead",
                name=roster.members[replica].name,
                id=id_text(replica),
                early=node.budget.is_outgrown,
                unreachable_ms=self.unreachable_ms(replica),
                **self.told(self.witnesses(replica)),
            )
            node.explaining.note(replica, f"buried on the word of {', '.join(self.names(self.witnesses(replica)))}")
            node.counters["burials_automatic"] += 1
            self._ripe_ms.pop(replica, None)
        node.replica.submit_roster(self.burials(replicas))

    def names(self, replicas: list[ReplicaId]) -> list[str]:
        """What members are called, for people. O(replicas)."""
        members = self._node.replica.roster.members
        return [members[replica].name for replica in replicas]

    def told(self, witnesses: list[ReplicaId]) -> dict[str, list[str]]:
        """How a notice of a burial tells on whose word it is: names for people, and ids, since several members may have
        one name: somebody who comes back to who never heard of its predecessor is let in beside it. O(replicas)."""
        return {"witnesses": self.names(witnesses), "witness_ids": [id_text(replica) for replica in witnesses]}

    def burials(self, replicas: list[ReplicaId]) -> list[RosterOperation]:
        """The operations that bury members, and with each its unborn newcomers. O(members)."""
        roster = self._node.replica.roster
        buried: list[ReplicaId] = []
        for replica in replicas:
            buried += (each for each in (replica, *roster.unborn_of(replica)) if each not in buried)
        return [Bury(replica) for replica in buried]

    # -- by an operator

    def _one_of(self, name: str, chosen: list[ReplicaId], *, force: bool) -> ReplicaId:
        """Of several members of one name, as a restart may leave for a while, the one that is unreachable."""
        states = {replica: self._node.membership.state(replica) for replica in chosen}
        gone = [replica for replica, state in states.items() if state == UNREACHABLE]
        if len(gone) == 1 and not force:
            return gone[0]
        each = ", ".join(f"{id_text(replica)} ({state})" for replica, state in states.items())
        raise UsageError(f"{len(chosen)} members are called {name!r}; say which one by its id: {each}")

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
        if node.state not in BURYING:
            raise UsageError(f"this node is {node.state} and cannot bury anybody")
        if len(chosen) > 1:
            chosen = [self._one_of(name, chosen, force=force)]
        if not force:
            for replica in chosen:
                state = node.membership.state(replica)
                if state != UNREACHABLE:
                    raise UsageError(
                        f"{name} is {state}: only a member that is unreachable is buried. "
                        "Stop it, or add FORCE: what it has not sent to others will then have to be rehabilitated"
                    )
            if not self.has_majority(chosen):
                raise UsageError(
                    f"this node is no majority of {len(roster.electorate())} members with those that answer it "
                    f"({', '.join(self.names(self.answering())) or 'nobody'}). FORCE buries anyway: if the other side "
                    "does the same, the group is split in two until an operator decides"
                )
        told = self.told(self.answering())
        node.replica.submit_roster(self.burials(chosen))
        for replica in chosen:
            node.notify("warning", "buried a member", name=name, id=id_text(replica), force=force, **told)
