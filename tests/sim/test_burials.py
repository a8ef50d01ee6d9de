"""What the simulator says of burials: who may be counted among those that answer."""

from dataclasses import replace

import pytest

from marmoset.ids import id_text
from marmoset.node import Notify
from marmoset.sim.burials import AUTOMATIC, FRESH_MS, check_burial
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach
from marmoset.sim.host import Host
from marmoset.sim.profiles import draw
from marmoset.sim.trace import Trace
from marmoset.sim.world import US_PER_MS


def a_cluster() -> Cluster:
    return Cluster(1, replace(draw(1, "calm", 3, 10), bootstrap_expect=0), Trace())


def run(cluster: Cluster, duration_ms: int) -> None:
    cluster.world.run_until(cluster.world.now_us + duration_ms * US_PER_MS)


def replica_of(host: Host) -> int:
    assert host.node is not None
    return host.node.replica.me


def cut(cluster: Cluster, *pairs: tuple[str, str]) -> None:
    cluster.network.cut([*pairs, *((b, a) for a, b in pairs)])


def with_witnesses(notice: Notify, *replicas: int) -> Notify:
    return replace(notice, fields={**notice.fields, "witness_ids": [id_text(replica) for replica in replicas]})


def test_nobody_is_buried_on_the_word_of_one_that_is_long_dead() -> None:
    cluster = a_cluster()
    first, second, third = (cluster.add_host() for _ in range(3))
    run(cluster, 5000)
    assert all(host.is_serving for host in cluster.hosts)
    fields: dict[str, object] = {"name": "n1", "id": id_text(replica_of(second)), "force": False}
    notice = with_witnesses(Notify("warning", "buried a member", fields), replica_of(third))
    third.crash(silent=True)
    check_burial(cluster, first, notice)
    run(cluster, FRESH_MS + 1)
    with pytest.raises(Breach, match="n0 buries n1 on the word of n2, long dead"):
        check_burial(cluster, first, notice)
    with pytest.raises(Breach, match="on the word of 1 of 3"):
        check_burial(cluster, first, with_witnesses(notice))


def test_a_witness_is_one_member_even_where_a_dead_one_has_its_name() -> None:
    """Who comes back to somebody that never heard of its predecessor is let in beside it: `everything` 150101, where
    the word of the living was taken for that of the dead."""
    cluster = a_cluster()
    first, second = cluster.add_host(), cluster.add_host()
    run(cluster, 2000)
    cut(cluster, ("n1", "n0"), ("n1", "n2"))
    third = cluster.add_host()
    run(cluster, 2000)
    dead = replica_of(third)
    third.crash(silent=True)
    cluster.network.heal()
    cut(cluster, ("n0", "n1"), ("n0", "n2"))
    third.start((second.address,))
    run(cluster, 2000)
    cluster.network.heal()
    fourth = cluster.add_host()
    run(cluster, 5000)
    node = first.node
    assert node is not None and all(host.is_serving for host in cluster.hosts)
    assert [m.replica for m in node.replica.roster.by_name("n2")] == sorted((dead, replica_of(third)))
    fourth.crash(silent=True)
    run(cluster, 15_000)
    notices: list[Notify] = []
    cluster.on_notify = lambda cluster, host, notice: notices.append(notice)
    node.bury("n3", force=False)
    first.settle()
    (notice,) = notices
    assert notice.fields["witness_ids"] == sorted(id_text(replica_of(host)) for host in (second, third))
    check_burial(cluster, first, notice)
    with pytest.raises(Breach, match="n0 buries n3 on the word of n2, long dead"):
        check_burial(cluster, first, with_witnesses(notice, replica_of(second), dead))
    with pytest.raises(Breach, match="on the word of 2 of 5"):
        check_burial(cluster, first, with_witnesses(notice, replica_of(third)))


def test_nobody_is_buried_on_the_word_of_one_that_was_asleep() -> None:
    """Nodes count whole milliseconds: 1,000 of them took 999,857 us in `everything` 1795660229."""
    cluster = a_cluster()
    first, second, _ = (cluster.add_host() for _ in range(3))
    run(cluster, 60_000)
    witnesses = [replica_of(host) for host in cluster.hosts if host is not second]
    fields: dict[str, object] = {"name": "n1", "id": id_text(replica_of(second)), "early": True}
    notice = with_witnesses(Notify("warning", AUTOMATIC, fields), *witnesses)
    now_us, limit_us = cluster.world.now_us, cluster.knobs.budget_grace_ms * US_PER_MS
    first.nap = (now_us - limit_us - 20 * 1000 * US_PER_MS, now_us - limit_us + 143)
    check_burial(cluster, first, notice)
    first.nap = (first.nap[0], now_us - limit_us + US_PER_MS + 1)
    with pytest.raises(Breach, match="n0 buries n1 on the word of n0, which was asleep"):
        check_burial(cluster, first, notice)
