"""Members that die, that are cut off for too long, and that come back: five real nodes (issue list of DESIGN.md 4).

`Ledger` is the client that nobody lies to: it keeps every write that was acknowledged, on keys that only one host
writes and on keys that several change and delete, and afterwards asks every node for each of them.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import FAILED
from tests.e2e.cluster import Cluster, NodeProcess, as_dict, wait_until
from tests.e2e.hosts import Hosts, why_impossible

PRESUMED_DEAD_AFTER_S = 4
OPTIONS = (
    "--gossip-interval=100ms",
    "--suspect-after=700ms",
    "--unreachable-after=2s",
    f"--presumed-dead-after={PRESUMED_DEAD_AFTER_S}s",
    "--reconnect-max=1s",
)
IMPOSSIBLE = why_impossible()
needs_hosts = pytest.mark.skipif(bool(IMPOSSIBLE), reason=IMPOSSIBLE or "possible")


def standings(node: NodeProcess) -> dict[str, str]:
    """Name to standing of everybody whom a node has in its roster."""
    return {row["name"]: row["standing"] for row in map(as_dict, node.call("MARMOSET", "MEMBERS"))}


def states(node: NodeProcess) -> dict[str, str]:
    """Name to state of everybody whom a node has in its roster."""
    return {row["name"]: row["state"] for row in map(as_dict, node.call("MARMOSET", "MEMBERS"))}


class Ledger:
    """What was acknowledged."""

    def __init__(self) -> None:
        self.rounds: dict[str, list[int]] = {}

    def write(self, node: NodeProcess, number: int) -> None:
        """One write of every type, each on its own key and on a key that all share."""
        name, client = node.name, node.redis
        client.set(f"own:{name}:{number}", number)
        client.incr("hits")
        client.incr(f"hits:{name}")
        client.sadd("members", f"{name}:{number}")
        client.hset("hash", f"{name}:{number}", number)
        client.hincrby("hash", "total", 1)
        client.rpush(f"list:{name}", f"{name}:{number}")
        client.rpush("list", f"{name}:{number}")
        client.zadd("scores", {f"{name}:{number}": number})
        client.expire(f"own:{name}:{number}", 3600)
        self.rounds.setdefault(name, []).append(number)

    def everything(self) -> set[str]:
        """A text for each round of each node."""
        return {f"{name}:{number}" for name, numbers in self.rounds.items() for number in numbers}

    def check(self, node: NodeProcess) -> None:
        """Every acknowledged write is here."""
        client, expected = node.redis, self.everything()
        assert client.smembers("members") == expected
        assert set(client.lrange("list", 0, -1)) == expected and client.llen("list") == len(expected)
        assert set(client.zrange("scores", 0, -1)) == expected
        assert client.hgetall("hash") == {text: text.split(":")[1] for text in expected} | {"total": str(len(expected))}
        assert int(client.get("hits")) == len(expected)
        for name, numbers in self.rounds.items():
            assert int(client.get(f"hits:{name}")) == len(numbers)
            assert client.lrange(f"list:{name}", 0, -1) == [f"{name}:{number}" for number in numbers]
            for number in numbers:
                assert client.get(f"own:{name}:{number}") == str(number)
                assert client.ttl(f"own:{name}:{number}") > 3000


def whole(cluster: Cluster) -> None:
    """Every node serves, sees exactly the others, alive, and keeps nothing but values."""
    cluster.wait_members(60)
    cluster.wait_rest(60)


@pytest.fixture
def hosts(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with Hosts(tmp_path, 5, OPTIONS) as made:
        yield made
        if request.node.stash.get(FAILED, False):
            print(made.logs())


def test_a_member_that_is_killed_is_noticed_buried_and_replaced_under_its_name(tmp_path: Path) -> None:
    """The figures of a local network, as a user has them."""
    with Cluster(tmp_path, ("--presumed-dead-after=15s",)) as cluster:
        nodes = cluster.grow("ada", "bea", "cy", "dan", "eve")
        for number in range(200):
            nodes[number % 5].redis.set(f"key:{number}", "v" * 100)
        cluster.wait_rest()
        victim = cluster.nodes.pop()
        victim.kill()
        killed = time.monotonic()
        wait_until(lambda: all(states(n)["eve"] == "unreachable" for n in cluster.nodes), "the other four know", 6)
        known_s = time.monotonic() - killed
        for number in range(2000):
            cluster.nodes[number % 4].redis.set(f"key:{number}", "w" * 100)
        assert all(node.status()["log_bytes"] > 100_000 for node in cluster.nodes), "kept for the one that is gone"
        cluster.wait_rest(30)
        buried_s = time.monotonic() - killed
        assert 15 < buried_s, "not before its time"
        wait_until(lambda: all("eve" not in standings(node) for node in cluster.nodes), "it is forgotten", 5)
        again = cluster.start("eve")
        whole(cluster)
        assert again.redis.dbsize() == 2000
        assert all(again.redis.get(f"key:{number}") == "w" * 100 for number in range(2000))
        print(f"known everywhere after {known_s:.2f} s, logs empty after {buried_s:.2f} s")


@needs_hosts
def test_two_halves_of_four_bury_nobody_and_heal(tmp_path: Path) -> None:
    with Hosts(tmp_path, 4, OPTIONS) as hosts:
        nodes = hosts.grow("n1", "n2", "n3", "n4")
        ids = [node.status()["id"] for node in nodes]
        ledger = Ledger()
        hosts.cut([1, 2], [3, 4])
        until, number = time.monotonic() + 2.5 * PRESUMED_DEAD_AFTER_S, 0
        while time.monotonic() < until:
            for node in nodes:
                ledger.write(node, number)
            number += 1
            time.sleep(0.2)
        for node in nodes:
            assert standings(node) == dict.fromkeys(("n1", "n2", "n3", "n4"), "member")
            assert sorted(states(node).values()) == ["alive", "alive", "unreachable", "unreachable"]
        hosts.heal()
        whole(hosts)
        for node in nodes:
            ledger.check(node)
        assert [node.status()["id"] for node in nodes] == ids, "nobody had to begin anew"


@needs_hosts
def test_loss_on_every_host_makes_nobody_flap_and_loses_nothing(hosts: Hosts) -> None:
    nodes = hosts.grow("n1", "n2", "n3", "n4", "n5")
    for number in range(1, 6):
        hosts.lose(number, 0.05)
    ledger = Ledger()
    for number in range(40):
        for node in nodes:
            ledger.write(node, number)
        for node in nodes:
            assert set(standings(node).values()) == {"member"}
    hosts.heal()
    whole(hosts)
    for node in nodes:
        ledger.check(node)
        assert "member is unreachable" not in node.log_text()
