"""What goes wrong in the simulator: what is never taken away."""

from dataclasses import replace
from random import Random

from marmoset.sim.cluster import Cluster
from marmoset.sim.faults import Faults
from marmoset.sim.profiles import draw
from marmoset.sim.trace import Trace
from marmoset.sim.world import US_PER_MS


def test_whom_an_exile_lets_in_is_no_part_of_a_majority() -> None:
    """`churn` 340044: two that only an exile knew of were counted, so three of six were taken away, and nobody could
    bury them."""
    knobs = replace(draw(1, "churn", 5, 10), bootstrap_expect=0, presumed_dead_after_ms=120_000)
    cluster = Cluster(1, knobs, Trace())
    faults = Faults(cluster, knobs, Random(1))
    hosts = [cluster.add_host() for _ in range(5)]
    cluster.world.run_until(10_000 * US_PER_MS)
    assert [host.name for host in faults._spare()] == [host.name for host in hosts]
    exile, *others = reversed(hosts)
    pairs = [(exile.name, other.name) for other in others]
    cluster.network.cut([*pairs, *((b, a) for a, b in pairs)])
    faults._away.append(exile)
    newcomers = [cluster.add_host() for _ in range(2)]
    for newcomer in newcomers:
        newcomer.crash()
        newcomer.start((exile.address,))
    cluster.network.cut([(a.name, b.name) for n in newcomers for o in others for a, b in ((n, o), (o, n))])
    cluster.world.run_until(15_000 * US_PER_MS)
    assert all(newcomer.is_serving for newcomer in newcomers)
    assert faults._spare() == [], "four are left of seven, and one fewer would be no majority"
    cluster.network.heal()
    cluster.world.run_until(25_000 * US_PER_MS)
    assert {host.name for host in faults._spare()} >= {newcomer.name for newcomer in newcomers}, "all know them now"
