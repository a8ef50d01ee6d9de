"""Failure detection inside a node: who is followed, what is told, and that packets and links work together."""

from dataclasses import replace

import pytest

from marmoset.codec.packets import Ping, PingRequest, decode_packet, encode_head, join_updates
from marmoset.config import Config
from marmoset.membership.profiles import LAN, LOOPBACK, WAN
from marmoset.membership.states import ALIVE, UNREACHABLE
from marmoset.node.liveness import profile_of
from marmoset.node.states import LEFT
from marmoset.version import VERSION
from tests.node.group import Alone, Group


def test_the_profile_follows_bind_unless_one_is_named_and_its_pace_can_be_set() -> None:
    config = Config()
    assert profile_of(config) == LOOPBACK
    assert profile_of(replace(config, bind="10.0.0.1")) == LAN
    assert profile_of(replace(config, membership_profile="wan")) == WAN
    paced = profile_of(replace(config, unreachable_after=2000))
    assert paced.probe_interval_ms == 250 and paced.probe_timeout_ms == 100


def test_members_hear_each_other_by_packets_and_nobody_is_suspected() -> None:
    group = Group(4)
    group.run(10_000)
    assert not [notice for _, notice in group.notices if notice.event.startswith("member is")]
    for node in group.nodes():
        assert node.membership.counters["packets_in"] > 50
        assert {peer.details.name for peer in node.membership.peers.values() if peer.details} == {
            "n1", "n2", "n3", "n4"
        } - {node.config.name}  # fmt: skip
    group.check()


def test_members_say_where_their_clients_are_served_and_which_version_they_run() -> None:
    group = Group(2, port=6400)
    group.until(lambda: all(row["version"] for node in group.nodes() for row in node.members()))
    for node in group.nodes():
        assert [(row["client_address"], row["version"]) for row in node.members()] == [("127.0.0.1:6400", VERSION)] * 2
    [other] = group[1].membership.peers
    assert f"says of itself: version {VERSION}, clients are served at 127.0.0.1:6400" in group[1].why(b"n2")
    group[1].membership.peers[other].details = None
    assert {row["version"] for row in group[1].members()} == {VERSION, ""}, "nothing is made up"


def test_a_crash_is_told_by_all_others_and_the_way_back_too() -> None:
    group = Group(4, unreachable_after=1000)
    group.network.cut(
        [(a.name, b.name) for a in group.hosts for b in group.hosts if (a.name == "n4") != (b.name == "n4")]
    )
    group.run(15_000)
    for name in ("n1", "n2", "n3"):
        assert [f["name"] for f in group.events(name, "member is unreachable")] == ["n4"]
    assert sorted(str(f["name"]) for f in group.events("n4", "member is unreachable")) == ["n1", "n2", "n3"]
    group.network.heal()
    group.until(lambda: all(node.membership.state(r) == ALIVE for node in group.nodes() for r in node.membership.peers))
    assert [f["name"] for f in group.events("n1", "member is alive")][-1] == "n4"


def test_where_packets_get_lost_links_show_that_members_are_there() -> None:
    group = Group(3, unreachable_after=1000)
    group.network.send_datagram = lambda source, address, data: None  # type: ignore[method-assign]
    group.run(20_000)
    assert not [notice for _, notice in group.notices if notice.event == "member is unreachable"]
    assert sum(node.membership.counters["probes_by_link"] for node in group.nodes()) > 10
    group.hosts[2].crash()
    group.run(20_000)
    assert group.events("n1", "member is unreachable") and group.events("n2", "member is unreachable")


def test_whoever_leaves_is_not_suspected() -> None:
    group = Group(4)
    group[4].leave()
    group.settle(4)
    group.run(20_000)
    assert not [notice for _, notice in group.notices if notice.event == "member is suspect"]
    assert all(len(node.membership.peers) == 2 for node in group.nodes())


def test_a_node_without_an_id_says_nothing() -> None:
    alone = Alone(join=("127.0.0.1:7777",))
    alone.run(5000)
    alone.node.handle_packet("127.0.0.1:9", join_updates(encode_head("marmoset", 5, 0, Ping(1, 2)), []))
    alone.take()
    assert alone.packets == [] and "liveness" not in alone.node._timers.values()


def test_one_timer_is_under_way_however_many_packets_come() -> None:
    alone = Alone()
    alone.let_in(50)
    alone.let_in(60, "n3")
    for seq in range(50):  # what a helper owes an answer for is due before everything else
        alone.node.handle_packet("127.0.0.1:50", join_updates(encode_head("marmoset", 50, 0, PingRequest(seq, 60)), []))
        alone.take()
        alone.run(170)
    alone.run(10_000)
    assert list(alone.node._timers.values()).count("liveness") == 1, "those that were overtaken set no new ones"
    assert {token for _, token in alone.timers} == alone.node._timers.keys(), "and are taken back"


def test_a_predecessor_that_only_others_can_reach_keeps_its_name() -> None:
    group = Group(4, membership_profile="wan")  # nobody is probed in the short time in which that is decided
    group.network.cut([("n1", "n4"), ("n4", "n1")])
    group.run(3000)
    twin = group.start_one("n4", (group.hosts[0].address,))
    group.run(10_000)
    assert not twin.is_serving
    assert group[1].membership.state(group[4].replica.me) != UNREACHABLE
    assert not group.events("n1", "buried the predecessor of a newcomer")


@pytest.mark.parametrize("data", [b"", b"\x00", b"x" * 2000])
def test_packets_that_are_none_are_counted(data: bytes) -> None:
    alone = Alone()
    alone.node.handle_packet("127.0.0.1:9", data)
    assert alone.node.status()["packets_bad"] == 1


def test_a_node_that_has_left_ignores_packets_and_counts_them() -> None:
    alone = Alone()
    alone.node.handle_packet("127.0.0.1:9", b"")
    alone.node.state = LEFT
    alone.node.handle_packet("127.0.0.1:9", b"")
    status = alone.node.status()
    assert (status["packets_in"], status["packets_bad"], status["packets_ignored"]) == (1, 1, 1)


def test_a_node_counts_on_under_its_next_id() -> None:
    alone = Alone()
    alone.node.handle_packet("127.0.0.1:9", b"")
    alone.node.membership = alone.node.liveness.begin()
    assert alone.node.status()["packets_bad"] == 1


def test_packets_carry_the_cluster_of_the_node() -> None:
    alone = Alone(cluster="mine")
    alone.let_in(50)
    alone.run(2000)
    assert {decode_packet(data).cluster for _, data in alone.packets} == {"mine"}
