"""A sponsor, its newcomers and their predecessors; a thousand restarts leave no table larger (DESIGN.md 4.7)."""

import pytest

from marmoset.codec.messages import Refuse, SnapshotEnd
from marmoset.codec.operations import Assign
from marmoset.node import Node
from marmoset.node.explaining import REPLICAS_MAX
from marmoset.node.sponsoring import GONE_MAX_MIN
from marmoset.replication.replica import FORGOTTEN_MAX
from marmoset.sim.network import Conditions
from tests.node.group import Alone, Group

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
        assert len(node._timers) == len(set(node._timers.values())) <= 5, "one of each kind that runs"
    group.run(GRAVE_MEMORY_MS + 2000)
    for node in group.nodes():
        assert node.replica.roster.graves == node.replica.roster.graves_ms == {}, "and no longer"
        assert not node.replica.is_remembering
    group.check()


def test_a_restart_in_a_full_group_takes_the_place_of_its_predecessor() -> None:
    group = Group(3, replicas_max=3)
    group.hosts[2].crash()
    group.hosts[2].start((group.hosts[0].address,))
    assert group.until(group.is_whole) < 8000
    group.start_one("n4")
    group.run(5000)
    assert {fields["code"] for fields in group.events("n4", "not let in")} == {"full"}


@pytest.mark.parametrize("profile", ["loopback", "lan", "wan"])
@pytest.mark.parametrize("stopped_ms", [490, 1000])
@pytest.mark.parametrize("at_ms", range(0, 1200, 100))
def test_a_sponsor_that_did_not_run_for_a_moment_takes_no_answer_for_silence(
    profile: str, stopped_ms: int, at_ms: int
) -> None:
    """The member that has the name answers at once, whenever it is asked; a second member does so too."""
    alone = Alone(membership_profile=profile)
    second = alone.let_in(50)
    alone.let_in(60, "n3")
    link = alone.link()
    alone.hear(link, alone.newcomer(70, "n3"))

    def pass_by(duration_ms: int) -> None:
        alone.answering = {50: 0, 60: 0}
        for _ in range(duration_ms // 50):
            alone.run(50)
            alone.hear(second, alone.gossip(50, 1, answer=True))

    pass_by(at_ms)
    alone.answering = {}  # what comes is read behind the timers that are due when it wakes
    alone.time.now += stopped_ms
    alone.time.wall += stopped_ms
    alone.run(0)
    pass_by(4000)
    assert [m.code for m in alone.said[link] if isinstance(m, Refuse)] == ["name"]
    assert 60 in alone.node.replica.roster.present()


def test_a_newcomer_is_filled_in_peace_at_the_address_of_one_that_is_dead() -> None:
    """Under another name it buries nobody, so that the dead one is dialled there."""
    group = Group(3, conditions=Conditions(latency_us_max=400), reconnect_max=1000)
    for i in range(400):
        group.write(1, b"x" * 2000, b"key%d" % i)
    group.until(group.is_at_rest)
    group.hosts[2].crash()
    group.run(5000)
    group[1].snapshot_step_elements = 5
    group.network.conditions = Conditions(latency_us_min=20_000, latency_us_max=20_000, window_bytes=4096)
    group.seed = 2  # no id is taken twice
    group.hosts[2] = group.host("other", 3)
    group.hosts[2].start((group.hosts[0].address,))
    assert group.until(lambda: group.hosts[2].is_serving, 60_000) > 3000
    group.run(5000)
    assert group[1].counters["joins"] == 3 and not group[1].replica.roster.buried
    before = [len(group.events(name, "linked")) for name in ("n1", "n2", "other")]
    group.run(20_000)
    assert [len(group.events(name, "linked")) for name in ("n1", "n2", "other")] == before


def test_a_newcomer_that_comes_back_over_another_link_is_not_buried() -> None:
    alone = Alone()
    lost = alone.let_in(50, born=False)
    again = alone.link()
    vector = [*((r, q) for r, q in sorted(alone.node.replica.seen.items()) if r != 50), (50, 1)]
    alone.hear(again, alone.hello(50, vector=sorted(vector)))
    assert lost in alone.closed and again not in alone.closed
    assert 50 not in alone.node.replica.roster.buried
    alone.node.handle_closed(again)
    assert 50 in alone.node.replica.roster.buried, "it is its sponsor's to bury as before"


def test_a_newcomer_whose_predecessor_is_asked_holds_up_nobody_elses_snapshot() -> None:
    alone = Alone(gossip_interval=3000)
    alone.let_in(60, "n3")
    for i in range(5000):
        alone.node.replica.submit(Assign(b"%d" % i, b"v"))
    alone.node.end_turn()
    alone.hear(alone.link(), alone.newcomer(70, "n3"))
    link = alone.link()
    alone.hear(link, alone.newcomer(50))
    alone.run(100)
    assert any(isinstance(message, SnapshotEnd) for message in alone.said[link])


def test_newcomers_wait_while_too_many_that_are_gone_cannot_be_forgotten() -> None:
    """One member cannot be heard, and somebody who wants to join breaks off again and again."""
    alone = Alone(replicas_max=3)
    alone.node.handle_closed(alone.let_in(1000, "silent"))
    for replica in range(100, 100 + GONE_MAX_MIN):
        alone.node.handle_closed(alone.let_in(replica, "n3", born=False))
    members = alone.node.replica.roster.members
    assert len(members) == 2 + GONE_MAX_MIN
    refusal = alone.refusal(alone.newcomer(200, "n3"))
    assert refusal is not None and refusal.code == "not yet"
    assert "64 that are gone cannot be forgotten before silent are known to have everything" in refusal.reason
    alone.node.bury("silent", force=True)
    alone.run(1000)
    assert len(members) == 1
    assert alone.refusal(alone.newcomer(201, "n3")) is None
