"""What a node says of itself to people (floor 7): flat tables of names to text and numbers."""

from typing import TYPE_CHECKING, Final

from marmoset import build
from marmoset.clocks import COUNTER_BITS, stamp_ms
from marmoset.ids import ReplicaId, id_text
from marmoset.version import VERSION

if TYPE_CHECKING:
    from marmoset.node.node import Node

COUNTERS: Final = (
    "burials_automatic",
    "datagrams_refused",
    "evicted_keys",
    "frames_bad",
    "handshakes_failed",
    "internal_errors",
    "joins",
    "links_refused",
    "messages_bad",
    "packets_ignored",
    "rehabilitations",
)
"""What a node counts, beside its replica."""


def status(node: "Node") -> dict[str, str | int]:
    """What the node is doing. O(members + shards)."""
    replica = node.replica
    keyspace, log, roster = replica.keyspace, replica.log, replica.roster
    counters = {**replica.counters, **node.counters, **node.membership.counters}
    held = sum(link.stream.held_bytes for link in node.linked.values() if link.stream is not None)
    return {
        "name": node.name,
        "id": id_text(replica.me),
        "version": VERSION,
        "build": build.kind(),
        "state": node.state,
        "cluster": node.config.cluster,
        "encrypted": int(node.keyring is not None),
        "group": id_text(replica.group),
        "address": node.address,
        "uptime_ms": node.uptime_ms(),
        "members": len(roster.present()),
        "links": len(node.linked),
        "keys": len(keyspace),
        "operations": replica.seen.get(replica.me, 0),
        "log_batches": len(log) + (1 if replica.open_batch.count else 0),  # the others lack that one too
        "log_bytes": log.size_bytes,
        **node.budget.status(),
        **node.memory_limit.status(),
        "folding_batches": len(replica.folding),
        "window_entries": keyspace.window_entries + keyspace.deadlines.entries,
        "keys_with_deadline": keyspace.deadlines.count,
        "held_bytes": held,
        **{f"snapshot_in_{name}": number for name, number in node.joining.progress().items()},
        **{f"snapshot_out_{name}": number for name, number in node.sponsoring.progress().items()},
        "rehabilitating": node.rehabilitating.operations_left,
        "report": len(node.rehabilitating.report),
        **{name: count for name, count in sorted(counters.items())},
    }


def members(node: "Node") -> list[dict[str, str | int]]:
    """Every replica of the roster as this node sees it, by name. O(members log members)."""
    now, roster = node.time.monotonic_ms(), node.replica.roster
    rows: list[dict[str, str | int]] = []
    for replica, member in sorted(roster.members.items(), key=lambda item: (item[1].name, item[0])):
        standing, details = roster.state(replica), node.membership.details_of(replica)
        rows.append(
            {
                "name": member.name,
                "id": id_text(replica),
                "address": member.address,
                "client_address": "" if details is None else details.clients,
                "version": "" if details is None else details.version,
                "state": standing if standing == "presumed dead" else node.membership.state(replica),
                "standing": standing,
                "linked": int(replica in node.linked),
                "last_contact_ms": node.membership.silent_ms(replica, now),
                "self": int(replica == node.replica.me),
            }
        )
    return rows


def frontier(node: "Node") -> list[dict[str, str | int]]:
    """How far each origin is stable, and what each member is known to lack: how many operations, and how long ago the
    oldest of them was made. O(members squared + log)."""
    replica = node.replica
    stable, counted = replica.frontier(), set(replica.roster.counted())
    lags = {
        r: sum(max(0, seq - replica.stability.known.get(r, {}).get(o, seq)) for o, seq in replica.seen.items())
        for r in replica.seen
    }
    oldest = _oldest_missing_ms(node, {r for r, lag in lags.items() if lag})
    rows: list[dict[str, str | int]] = []
    for origin, seen in sorted(replica.seen.items()):
        clock = replica.stability.clocks.get(origin, 0)
        heard_ms = max(0, (replica.clock.stamp - clock) >> COUNTER_BITS) if origin != replica.me and clock else 0
        rows.append(
            {
                "name": replica.roster.members[origin].name,
                "id": id_text(origin),
                "seen": seen,
                "stable": stable.get(origin, 0),
                "counts": int(origin in counted),
                "lag_operations": lags[origin],
                "lag_ms": oldest.get(origin, 0),
                "reported_ms_ago": heard_ms,
            }
        )
    return rows


def _oldest_missing_ms(node: "Node", lacking: set[ReplicaId]) -> dict[ReplicaId, int]:
    """How long ago the oldest batch was made that a member lacks, for those that lack any. O(log x members)."""
    replica, wall_ms = node.replica, node.wall_ms()
    found: dict[ReplicaId, int] = {}
    for entry in replica.log.entries.values():
        if len(found) == len(lacking):
            break
        for r in lacking - found.keys():
            if not replica.is_known_to(r, (entry.origin, entry.last)):
                found[r] = max(0, wall_ms - stamp_ms(entry.stamp))
    return found
