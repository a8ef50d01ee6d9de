"""What the simulator says of burials: who may be counted among those that answer."""

from dataclasses import replace

import pytest

from marmoset.ids import id_text
from marmoset.node import Notify
from marmoset.sim.burials import FRESH_MS, check_burial
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach
from marmoset.sim.profiles import draw
from marmoset.sim.trace import Trace
from marmoset.sim.world import US_PER_MS


def test_nobody_is_buried_on_the_word_of_one_that_is_long_dead() -> None:
    cluster = Cluster(1, replace(draw(1, "calm", 3, 10), bootstrap_expect=0), Trace())
    first, second, third = (cluster.add_host() for _ in range(3))
    cluster.world.run_until(5000 * US_PER_MS)
    assert second.node is not None and all(host.is_serving for host in cluster.hosts)
    fields = {"name": "n1", "id": id_text(second.node.replica.me), "force": False, "witnesses": ["n2"]}
    notice = Notify("warning", "buried a member", fields)
    third.crash(silent=True)
    check_burial(cluster, first, notice)
    cluster.world.run_until(cluster.world.now_us + FRESH_MS * US_PER_MS + 1)
    with pytest.raises(Breach, match="n0 buries n1 on the word of n2, long dead"):
        check_burial(cluster, first, notice)
    with pytest.raises(Breach, match="on the word of 1 of 3"):
        check_burial(cluster, first, replace(notice, fields={**fields, "witnesses": []}))
