"""Burials as they should be (beside the floors): each is judged by what the simulator knows (DESIGN.md 4.3).

Whoever buries, and those that answer it, are more than half of those who count, and none of them ended long ago.
Whoever buries by itself, and everybody on whose word it does, was awake for as long as the buried has to be unreachable
before. All of this is read from hosts and rosters, nothing from what the nodes measured. Witnesses are known by their
ids: while the old ones are not buried, several members may have the name of one host.
"""

from typing import Final

from marmoset.ids import ReplicaId, parse_id
from marmoset.node import Notify
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach
from marmoset.sim.host import Host
from marmoset.sim.world import US_PER_MS

AUTOMATIC: Final = "buried a member that is presumed dead"
FRESH_MS: Final = 4000
"""How old the word of a witness may be, at the longest gossip interval."""


def check_burial(cluster: Cluster, host: Host, notice: Notify) -> None:
    """Raise where a burial was not justified. O(members)."""
    assert host.node is not None
    roster = host.node.replica.roster
    witnesses = {host.node.replica.me, *_witnesses(notice)}
    electorate = [r for r, member in roster.members.items() if member.born and r not in roster.left]
    votes = [r for r in electorate if r in witnesses and r not in roster.buried]
    buried = notice.fields["name"]
    ended_us = {r: us for each in cluster.hosts for r, us in each.ended_us.items()}
    member = roster.members.get(parse_id(str(notice.fields["id"])) or 0)
    if notice.fields.get("force") or member is None or not member.born:
        return
    if cluster.knobs.quorum != "one" and 2 * len(votes) <= len(electorate):
        raise Breach(f"{host.name} buries {buried} on the word of {len(votes)} of {len(electorate)} (4.3)")
    for replica in votes:
        if ended_us.get(replica, cluster.world.now_us) < cluster.world.now_us - FRESH_MS * US_PER_MS:
            raise Breach(f"{host.name} buries {buried} on the word of {roster.members[replica].name}, long dead (4.3)")
    if notice.event != AUTOMATIC:
        return
    for other in [each for each in cluster.hosts if _ran_last(each) in witnesses]:
        fresh_ms = 0 if other is host else FRESH_MS
        limit_ms = cluster.knobs.presumed_dead_after_ms
        if notice.fields["early"]:
            limit_ms = min(limit_ms, cluster.knobs.budget_grace_ms)
        if _slept(other, cluster.world.now_us, limit_ms, fresh_ms):
            raise Breach(f"{host.name} buries {buried} on the word of {other.name}, which was asleep (4.3)")


def _witnesses(notice: Notify) -> list[ReplicaId | None]:
    ids = notice.fields["witness_ids"]
    assert isinstance(ids, list)
    return [parse_id(each) for each in ids]


def _ran_last(host: Host) -> ReplicaId:
    """The replica that runs on a host, or that ended there last; 0 if there is none."""
    return host.node.replica.me if host.node is not None else next(reversed(host.ended_us), 0)


def _slept(host: Host, now_us: int, limit_ms: int, fresh_ms: int) -> bool:
    """Whether a host slept while it watched, which it did up to a moment not longer ago than `fresh_ms`. A node's clock
    has whole milliseconds: what it says took `limit_ms` may have taken almost one less."""
    if host.nap is None:
        return False
    slept_us, woke_us = host.nap
    return woke_us > now_us - (limit_ms - 1) * US_PER_MS and slept_us < now_us - fresh_ms * US_PER_MS
