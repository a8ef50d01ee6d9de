"""The checkers (beside the floors): what must hold at every moment, and at rest.

At every moment, for one node: every structure's own `_check`; what is known of a member is not ahead of what it
truly has, and so the frontier is not ahead of the slowest (3.4, 3.5); the rebuilt contexts are the true ones (3.1);
what keys show is what is specified for the operations that this node truly has (section 5); memory held for links
is bounded.

At rest, for all nodes: equal vectors; everything shows what is specified; nothing is kept but plain values.
"""

from typing import Final

from marmoset.clocks import stamp_ms
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.slots import Slots
from marmoset.crdts.types import kind_of
from marmoset.hashing import shard_of
from marmoset.keyspace import Keyspace
from marmoset.membership.states import UNREACHABLE
from marmoset.node import Node
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach, History
from marmoset.sim.host import Host
from marmoset.sim.specification import Plain, Record, deadlines_of, plain, visible

GREETING_MS_MAX: Final = 4000
"""A handshake may be under way, but not for longer."""

COMPLETE: Final = ("serving", "rehabilitating", "leaving")
"""The states of nodes that have everything which a snapshot brings."""

Shown = dict[bytes, tuple[int, Plain]]


def shown(keyspace: Keyspace, keys: list[bytes] | None = None) -> Shown:
    """What keys show, some or all, those included whose deadline has passed and that are to be removed."""
    if keys is None:
        rows = ((key, value) for slots in keyspace.shards for key, value in slots.values.items())
    else:
        rows = ((key, value) for key in keys if (value := keyspace.shards[shard_of(key)].values.get(key)) is not None)
    return {key: (kind_of(value), plain(value)) for key, value in rows}


def difference(name: str, found: Shown, expected: Shown) -> None:
    """Raise where what is shown is not what is specified."""
    for key in sorted({*found, *expected}):
        if found.get(key) != expected.get(key):
            raise Breach(f"{name} shows {key!r} as {found.get(key)}, specified is {expected.get(key)}")


def removed_elements(keyspace: Keyspace) -> int:
    """How many removed elements of sequences are kept, at any depth. O(keys)."""
    return sum(_removed_in(slots) for slots in keyspace.shards if not slots.is_untouched)


def _removed_in(slots: Slots) -> int:
    removed = 0
    held = [holding.value for kinds in slots.beside.values() for holding in kinds.values()]
    laid = [value for _, value in slots.hidden()]
    removed += sum(len(value) for value in laid if isinstance(value, Sequence))
    for value in [*slots.values.values(), *held, *laid]:
        if isinstance(value, Sequence):
            removed += value.removed_count
        elif isinstance(value, NestedMap):
            removed += _removed_in(value.slots)
    return removed


def check_deadlines(name: str, keyspace: Keyspace, keys: list[bytes], records: list[Record]) -> None:
    """The deadlines of keys are what is specified, and what has passed is not read."""
    expected = deadlines_of(records)
    for key in keys:
        if keyspace.deadline_ms(key) != expected.get(key):
            raise Breach(
                f"{name} has {keyspace.deadline_ms(key)} for the deadline of {key!r}, specified is {expected.get(key)}"
            )
        if key in expected and expected[key] <= keyspace.now_ms and keyspace.get(key) is not None:
            raise Breach(f"{name} reads {key!r} after its deadline")


def check_node(cluster: Cluster, host: Host, keys: list[bytes]) -> None:
    """Everything that holds for one node at any moment, what is shown being looked at for some keys."""
    node, witness = host.node, host.witness
    if node is None or witness is None:
        return
    node._check()
    check_bounds(cluster, host, node)
    if node.state not in COMPLETE:
        return
    check_knowledge(cluster.history, host, node)
    if node.state == "serving":
        witness.note_stable()
    records = cluster.history.known_to(witness.vector, keys)
    check_deadlines(host.name, node.replica.keyspace, keys, records)
    expected = visible(records)
    difference(host.name, shown(node.replica.keyspace, keys), {k: v for k, v in expected.items() if k in set(keys)})


def check_all_knowledge(cluster: Cluster) -> None:
    """What every node knows of the others is true. O(members cubed)."""
    for host in cluster.hosts:
        if host.node is not None and host.node.state in COMPLETE:
            check_knowledge(cluster.history, host, host.node)


def check_bounds(cluster: Cluster, host: Host, node: Node) -> None:
    """Memory that does not depend on how much is stored."""
    knobs, conditions = cluster.knobs, cluster.knobs.conditions
    slack = 1 << 18
    for link in node.linked.values():
        if (
            link.stream is not None
            and not link.stream.introducing  # all that others kept while this node was away
            and link.stream.held_bytes > knobs.link_buffer_max + 16 * conditions.window_bytes + slack
        ):
            raise Breach(f"{host.name} holds {link.stream.held_bytes} bytes for {link.peer_name}")
    if host.held_bytes() > slack:
        raise Breach(f"{host.name} holds {host.held_bytes()} bytes of unfinished messages")
    if host.timers != node._timers.keys():
        raise Breach(f"{host.name} has timers {host.timers} under way, and waits for {node._timers}")
    if len(set(node._timers.values())) < len(node._timers):
        raise Breach(f"{host.name} has more than one timer of a kind under way: {node._timers}")
    if cluster.network.way_bytes_max > conditions.window_bytes + knobs.pump_bytes + slack:
        raise Breach(f"{cluster.network.way_bytes_max} bytes were under way on a link that should have been paused")


def check_knowledge(history: History, host: Host, node: Node) -> None:
    """What is known of the members is true, and so is the frontier. O(members squared)."""
    replica = node.replica
    stability = replica.stability
    for member, row in stability.known.items():
        true = history.vectors.get(member)
        if true is None:
            raise Breach(f"{host.name} knows {member}, who never was")
        base = history.joins.get(member, ({}, 0))[0]
        if member != replica.me and not replica.is_leaving:  # a leaver cuts rows down to what it has
            history.check_row(host.name, member, row, stability.states[member])
        for origin, seq in row.items():
            if seq > true.get(origin, 0) and seq > base.get(origin, 0):
                raise Breach(
                    f"{host.name} believes that {history.name(member)} has {history.name(origin)}:{seq}, "
                    f"which has it up to {true.get(origin, 0)} (3.4)"
                )
    frontier, counted = replica.frontier(), replica.roster.counted()
    if replica.roster.dead:
        for member in replica.roster.present():
            true, base = history.vectors.get(member, {}), history.joins.get(member, ({}, 0))[0]
            for buried in sorted(replica.roster.dead):
                by, seq = replica.roster.buried[buried]
                if max(true.get(by, 0), base.get(by, 0)) < seq:
                    raise Breach(
                        f"{host.name} no longer counts who is buried, but {history.name(member)} lacks the burial "
                        f"of {history.name(buried)} (4.4)"
                    )
    for member in () if replica.is_leaving else counted:  # a leaver folds no more, and may lack what others forget
        true, base = history.vectors[member], history.joins.get(member, ({}, 0))[0]
        for origin, seq in frontier.items():
            if seq > true.get(origin, 0) and seq > base.get(origin, 0):
                raise Breach(
                    f"the frontier of {host.name} has {history.name(origin)}:{seq}, which {history.name(member)} "
                    "does not have (3.5)"
                )
    for origin, context in replica.contexts.items():
        if origin == replica.me or history.latest(origin, replica.seen[origin]) is None:
            continue
        history.check_context(host.name, replica, origin)
        true = history.vectors[origin]
        for other, seq in context.items():
            if seq > true.get(other, 0) and seq > history.joins.get(origin, ({}, 0))[0].get(other, 0):
                raise Breach(f"{host.name} rebuilds a context of {history.name(origin)} that it never had (3.1)")


def check_values(cluster: Cluster) -> None:
    """Every node shows exactly what is specified for what it has; nodes that have the same show the same."""
    computed: dict[tuple[tuple[int, int], ...], Shown] = {}
    for host in cluster.hosts:
        if host.node is None or host.witness is None or host.node.state not in COMPLETE:
            continue
        vector = tuple(sorted((r, seq) for r, seq in host.witness.vector.items() if seq))
        if vector not in computed:
            cluster.history.check_expiries(host.witness.vector)
            computed[vector] = visible(cluster.history.known_to(host.witness.vector))
        difference(host.name, shown(host.node.replica.keyspace), computed[vector])


def unrest(cluster: Cluster) -> str:
    """Why the cluster is not at rest yet; an empty text when it is."""
    up = [host for host in cluster.hosts if host.node is not None]
    for host in up:
        if not host.is_serving:
            return f"{host.name} is {host.node.state if host.node else 'gone'}"
    ids = sorted(host.node.replica.me for host in up if host.node is not None)
    vectors = [
        tuple(sorted((r, seq) for r, seq in host.witness.vector.items() if seq))
        for host in up
        if host.witness is not None
    ]
    for host, vector in zip(up, vectors, strict=True):
        node = host.node
        assert node is not None
        replica = node.replica
        if sorted(replica.roster.members) != ids:
            others = [cluster.history.name(r) for r in replica.roster.members if r not in ids]
            return f"{host.name} has {len(replica.roster.members)} of {len(ids)} members in its roster, and {others}"
        if len(node.linked) != len(up) - 1:
            return f"{host.name} has links to {len(node.linked)} of {len(up) - 1}"
        lost = [r for r in ids if node.membership.state(r) == UNREACHABLE]
        if lost:
            return f"{host.name} holds {[cluster.history.name(r) for r in lost]} unreachable, who serves"
        if vector != vectors[0]:
            return f"{host.name} and {up[0].name} do not have the same operations"
        if replica.log.entries or replica.folding:
            return f"{host.name} has {len(replica.log.entries)} batches in its log, {len(replica.folding)} to fold"
    return ""


def check_rest(cluster: Cluster) -> None:
    """At rest nothing is kept but what is visible. Raises where something is."""
    for host in cluster.hosts:
        node = host.node
        if node is None:
            continue
        replica, keyspace = node.replica, node.replica.keyspace
        members = set(replica.roster.members)
        if not replica.is_at_rest:
            raise Breach(f"{host.name} keeps {keyspace.window_entries} window entries at rest")
        removed = removed_elements(keyspace)
        if removed:
            raise Breach(f"{host.name} keeps {removed} removed elements at rest")
        shown_ms = max(
            host.time.latest_ms, *(other.time.wall_ms() for other in cluster.hosts)
        )  # its own led it by right
        lead_ms = stamp_ms(replica.clock.stamp) - shown_ms
        if lead_ms > 2 * node.config.clock_skew_max:  # as far ahead as `Replica.is_stamped_ahead` believes a member
            raise Breach(f"the clock of {host.name} was led {lead_ms} ms ahead of every wall clock (3.8)")
        stability = replica.stability
        for name, table in (("vector", replica.seen), ("contexts", replica.contexts), ("known", stability.known)):
            if set(table) != members:
                raise Breach(f"{host.name}: {name} names {len(table)} replicas, there are {len(members)} members")
        for name, names in (("states", stability.states), ("clocks", stability.clocks)):
            if not set(names) <= members:
                raise Breach(f"{host.name}: {name} names somebody who is forgotten")
        if replica.roster.left or replica.roster.buried:
            raise Breach(f"{host.name} has somebody in its roster who is gone")
        others = members - {replica.me}
        if set(node.membership.peers) != others or not set(node.meeting.clock_offsets) <= others:
            raise Breach(f"{host.name} follows somebody who is no member")
        held = sum(link.stream.held_bytes for link in node.linked.values() if link.stream is not None)
        if held:
            raise Breach(f"{host.name} holds {held} bytes for links at rest")
        old = [link for link in node.links.values() if node.time.monotonic_ms() - link.opened_ms > GREETING_MS_MAX]
        if len(old) > len(others):
            raise Breach(f"{host.name} has {len(old)} links to {len(others)} members")
