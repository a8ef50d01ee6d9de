"""A thousand restarts under one name leave no table larger (DESIGN.md 4.7)."""

from marmoset.node import Node
from marmoset.node.explaining import REPLICAS_MAX
from marmoset.replication.replica import FORGOTTEN_MAX
from tests.node.group import Group

GRAVE_MEMORY_MS = 20_000


def sizes(node: Node) -> dict[str, int]:
    """How much is remembered of replicas, table by table."""
    replica, roster = node.replica, node.replica.roster
    stability = replica.stability
    tables: dict[str, object] = {
        **{name: getattr(roster, name) for name in ("members", "joins", "left", "buried", "dead")},
        **{name: getattr(stability, name) for name in ("known", "states", "clocks", "_changes")},
        **{name: getattr(replica, name) for name in ("seen", "contexts")},
        **{f"known {r}": row for r, row in enumerate(stability.known.values())},
        "queues": replica.log.queues,
        "contacts": node.membership.peers,
        "suspects": node.membership.view.suspects,
        "unreachable": node.membership.view.unreachable,
        "addresses": node.membership.view.at_address,
        "clock offsets": node.meeting.clock_offsets,
        "evidence": node.burying._evidence,
        "ripe": node.burying._ripe_ms,
        "progress": node.burying._progress,
        "standings": node.explaining._standings,
        "links": node.links,
        "linked": node.linked,
        "dialled": node.dialling._targets,
        "admissions": node.sponsoring._admissions,
    }
    return {name: len(table) for name, table in tables.items()}  # type: ignore[arg-type]


def test_a_thousand_restarts_leave_no_table_larger() -> None:
    group = Group(3, unreachable_after=800, grave_memory=GRAVE_MEMORY_MS)
    host, join = group.hosts[2], (group.hosts[0].address, group.hosts[1].address)
    settled: list[list[dict[str, int]]] = []
    graves_max = 0
    for restart in range(1000):
        host.crash()
        host.start(join)
        group.until(lambda: host.is_serving and group.is_whole())
        graves_max = max(graves_max, *(len(node.replica.roster.graves) for node in group.nodes()))
        if restart in (50, 999):
            group.until(lambda: group.is_whole() and group.is_at_rest())
            group.run(1000)
            settled.append([sizes(node) for node in group.nodes()])
    assert settled[0] == settled[1]
    assert 1 <= graves_max <= GRAVE_MEMORY_MS // 500, "a gravestone is kept for a while"
    for node in group.nodes():
        assert len(node.replica.recently_forgotten) <= FORGOTTEN_MAX
        assert len(node.explaining.trail._events) <= REPLICAS_MAX
        assert len(node._timers) <= 5, "one of each kind that runs, and some that were overtaken"
    group.run(GRAVE_MEMORY_MS + 2000)
    for node in group.nodes():
        assert node.replica.roster.graves == node.replica.roster.graves_ms == {}, "and no longer"
        assert not node.replica.is_remembering
    group.check()
