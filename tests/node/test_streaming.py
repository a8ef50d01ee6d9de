"""Who is asked to bring what: small groups leave nothing to a few, large ones are not flooded when a cut heals."""

from collections import Counter

import pytest

from marmoset.codec.messages import Batch, Direct, Resume
from marmoset.codec.operations import Assign, SetAdd
from marmoset.node.links import Link
from marmoset.node.meeting import HOLD_MS_MAX, WHOLE_MS
from marmoset.node.node import Node
from marmoset.node.streaming import BRINGERS, FEW
from marmoset.replication.exchange import Stream
from marmoset.replication.replica import Replica
from marmoset.replication.verdicts import DUPLICATE
from marmoset.sim.network import Conditions
from tests.node.group import Group

LARGE = FEW + 4


def links_of(node: Node) -> list[Link]:
    return [link for link in node.linked.values() if link.stream is not None]


def bringers_of(node: Node) -> int:
    """How many streams are asked for more than what their sender makes."""
    streams = [link.stream for link in links_of(node)]
    others = node.replica.roster.members.keys() - {node.replica.me}
    return sum(1 for s in streams if s is not None and s.direct is not None and not s.direct >= others - {s.peer})


def test_a_log_that_grows_is_reported_without_a_meeting() -> None:
    """Else it would grow up to the next one, however long that takes."""
    group = Group(3, gossip_interval=60_000)
    group.run(1000)
    for node in group.nodes():
        node.streaming.report_operations = 40
    longest = 0
    for at in range(100):
        group.do(1, *(Assign(b"%d" % (10 * at + i), b"v") for i in range(10)))
        group.run(5)
        longest = max(longest, *(node.replica.log.operations for node in group.nodes()))
    assert longest < 4 * 40, "what all have is not known to all"
    group.check()


@pytest.fixture(scope="module")
def large() -> Group:
    group = Group(
        LARGE, conditions=Conditions(latency_us_min=1000, latency_us_max=80_000, break_us=500_000), gossip_interval=200
    )
    assert group.until(group.is_at_rest) < 60_000
    return group


@pytest.mark.interpreted
def test_a_cut_that_heals_in_a_large_group_does_not_flood_it(large: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is linked anew with everybody, and each batch comes once from its origin and from a few others."""
    became: Counter[str] = Counter()
    apply = Replica.apply

    def counted(self: Replica, batch: Batch, framed: bytes, effective: bool = True) -> str:
        verdict = apply(self, batch, framed, effective)
        became[verdict] += 1
        return verdict

    monkeypatch.setattr(Replica, "apply", counted)
    names = [host.name for host in large.hosts]
    large.network.cut([(a, b) for a in names for b in names if a != b])
    large.until(lambda: not any(node.linked for node in large.nodes()))
    for number in range(1, LARGE + 1):
        for batch in range(10):
            large.do(number, SetAdd(b"set", [b"%d of %d" % (batch, number)]))
            large.run(5)
    large.network.heal()
    assert large.until(large.is_at_rest) < 30_000
    assert all(len(node.replica.keyspace.get(b"set")) == 10 * LARGE for node in large.nodes())  # type: ignore[arg-type]
    delivered = 10 * LARGE * (LARGE - 1)
    assert became["applied"] >= delivered
    assert became[DUPLICATE] < BRINGERS * delivered, became
    large.check()


def test_a_large_group_is_told_by_meetings_alone(large: Group) -> None:
    node = large[1]
    node.streaming.report_operations = 1
    large.do(1, Assign(b"k", b"v"))
    assert node.replica.log.operations and not node.streaming._reported
    assert large.until(large.is_at_rest) < 60_000


def test_in_a_large_group_a_few_bring_what_is_not_heard_directly(large: Group) -> None:
    large.until(large.is_at_rest)
    for node in large.nodes():
        assert len(node.streaming._choose()) == BRINGERS
        assert set(node.streaming._choose()) <= node.linked.keys()


def test_what_no_bringer_hears_comes_through_theirs_or_is_asked_for(large: Group) -> None:
    """The origin is cut off from one node and from all of its bringers."""
    large.until(large.is_at_rest)
    one = large[1]
    bringers = one.streaming._choose()
    origin = next(n for n in range(2, LARGE + 1) if large[n].replica.me not in bringers)
    cut_off = [1, *(n for n in range(2, LARGE + 1) if large[n].replica.me in bringers)]
    name = large.hosts[origin - 1].name
    pairs = [(name, large.hosts[n - 1].name) for n in cut_off]
    large.network.cut([*pairs, *((b, a) for a, b in pairs)])
    far = large[origin].replica.me
    large.until(lambda: all(far not in large[n].linked for n in cut_off))
    large.do(origin, SetAdd(b"far", [b"x"]))
    assert large.until(lambda: one.replica.keyspace.get(b"far") == {b"x"}) < 20_000
    large.network.heal()
    assert large.until(large.is_at_rest) < 60_000


def test_a_link_that_is_lost_in_a_large_group_has_only_bringers_begin_again(
    large: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    large.until(large.is_at_rest)
    sent: Counter[str] = Counter()
    send = Stream._send_message

    def counted(self: Stream, message: object) -> None:
        sent[type(message).__name__] += isinstance(message, (Direct, Resume))
        send(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(Stream, "_send_message", counted)
    node = large[1]
    lost = next(link for peer, link in node.linked.items() if peer not in node.streaming._choose())
    node.close(lost)
    node._settle()
    assert sent["Resume"] <= BRINGERS and sent["Direct"] <= BRINGERS


def test_in_a_small_group_everybody_brings_what_is_not_heard_directly() -> None:
    group = Group(4)
    assert group.until(group.is_at_rest) < 10_000
    node = group[1]
    assert not node.streaming.is_large
    lost = links_of(node)[0]
    node.close(lost)
    node._settle()
    assert bringers_of(node) == len(links_of(node)) == 2


@pytest.mark.interpreted
def test_a_link_that_stalled_once_does_not_have_everything_brought_by_all_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    became: Counter[str] = Counter()
    apply = Replica.apply

    def counted(self: Replica, batch: Batch, framed: bytes, effective: bool = True) -> str:
        verdict = apply(self, batch, framed, effective)
        became[verdict] += 1
        return verdict

    monkeypatch.setattr(Replica, "apply", counted)
    group = Group(4)
    group.network.cut([("n3", "n2")])
    for number in range(2 * HOLD_MS_MAX // 10):
        group.do(3, SetAdd(b"set", [b"%d" % number]))
        group.run(10)
    assert any(link.whole_ms is not None for link in group[2].linked.values())
    group.network.heal()
    group.until(group.is_at_rest)
    group.run(WHOLE_MS + 1000)
    became.clear()
    for number in range(20):
        group.do(3, SetAdd(b"set", [b"%d" % number]))
        group.run(50)
    group.until(group.is_at_rest)
    assert became[DUPLICATE] == 0 < became["applied"]


def test_a_batch_that_waits_until_a_chain_has_ended_is_used_then() -> None:
    """Nothing else tells to look again: nobody writes, and our state stays the same."""
    group = Group(2)
    group.until(group.is_at_rest)
    chain = group[1].replica.chain
    chain.step_operations = 50
    group.run(3000)
    assert group[1].replica.keyspace.chained
    group.cut(1)
    group.run(300)
    for number in range(400):
        group.do(1, Assign(b"k%d" % number, b"v"))
    group.write(2, b"from 2", b"other")
    group.network.heal()
    group.until(lambda: group[2].replica.keyspace.get(b"k399") == b"v")
    waited = group.until(lambda: group[1].replica.keyspace.get(b"other") == b"from 2")
    assert waited <= 50 and not group[1].replica.keyspace.chained


def test_what_is_written_in_this_turn_counts_as_a_batch_that_others_lack() -> None:
    group = Group(2)
    group.until(group.is_at_rest)
    replica = group[1].replica
    replica.submit(Assign(b"k", b"v"))
    assert group[1].status()["log_batches"] == 1 and group[1].status()["window_entries"] == 0
    assert not replica.is_at_rest
    group[1].end_turn()
    assert group[1].status()["log_batches"] == 1
    group.settle(1)
    group.until(group.is_at_rest)
    assert group[1].status()["log_batches"] == 0
