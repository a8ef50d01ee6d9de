"""Members that die, that are cut off for too long, and that come back: five real nodes (issue list of DESIGN.md 4).

`Ledger` is the client that nobody lies to: it keeps every write that was acknowledged, on keys that only one host
writes and on keys that several change and delete, and afterwards asks every node for each of them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FAILED
from tests.e2e.cluster import Cluster, NodeProcess, as_dict, wait_until
from tests.e2e.hosts import Hosts, why_impossible

PRESUMED_DEAD_AFTER_S = 4
OPTIONS = (
    "--gossip-interval=100ms",
    "--unreachable-after=2s",
    f"--presumed-dead-after={PRESUMED_DEAD_AFTER_S}s",
    "--reconnect-max=1s",
)
NEAR, FAR = (0.0, 0.0), (15.0, 20.0)
"""How many milliseconds a packet takes from host to host: at least, and a random part of so many more."""
IMPOSSIBLE = why_impossible()
needs_hosts = pytest.mark.skipif(bool(IMPOSSIBLE), reason=IMPOSSIBLE)


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
        self.put(node.redis, node.name, number)

    def put(self, client: Any, name: str, number: int) -> None:
        """The same through a client or a pipeline."""
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

    def check(self, node: NodeProcess, reported: Sequence[Mapping[str, str]] = ()) -> None:
        """Every acknowledged write is here, or in a report: what adds is here in any case."""
        client, expected = node.redis, self.everything()
        assert client.smembers("members") == expected
        assert set(client.lrange("list", 0, -1)) == expected and client.llen("list") == len(expected)
        assert int(client.get("hits")) == len(expected)
        hash_ = client.hgetall("hash")
        assert hash_.pop("total") == str(len(expected))
        assert all(hash_[text] == text.split(":")[1] for text in hash_)
        told = {(row["key"], word) for row in reported for word in row["operation"].split() if ":" in word}
        assert hash_.keys() | {word for key, word in told if key == "hash"} == expected
        assert set(client.zrange("scores", 0, -1)) | {word for key, word in told if key == "scores"} == expected
        for name, numbers in self.rounds.items():
            assert int(client.get(f"hits:{name}")) == len(numbers)
            assert client.lrange(f"list:{name}", 0, -1) == [f"{name}:{number}" for number in numbers]
            for number in numbers:
                assert client.get(f"own:{name}:{number}") == str(number)
                assert client.ttl(f"own:{name}:{number}") > 3000


def report(node: NodeProcess) -> list[dict[str, str]]:
    """What a node could not submit when it came back."""
    return [as_dict(row) for row in node.call("MARMOSET", "REPORT")]


def come_back(cluster: Cluster, *nodes: NodeProcess) -> None:
    """Wait until nodes that were presumed dead serve again, under new ids."""
    wait_until(lambda: all(n.status()["state"] == "serving" and n.status()["id"] != n.id for n in nodes), "back", 60)
    whole(cluster)


def whole(cluster: Cluster) -> None:
    """Every node serves, sees exactly the others, alive, and keeps nothing but values."""
    cluster.wait_members(60)
    cluster.wait_rest(60)


@pytest.fixture
def hosts(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hosts]:
    with Hosts(tmp_path, 5, OPTIONS, *getattr(request, "param", NEAR)) as made:
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
        wait_until(lambda: all(states(n)["eve"] == "unreachable" for n in cluster.nodes), "the other four know")
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
def test_what_goes_from_host_to_host_takes_its_time_keeps_its_order_and_can_be_cut(tmp_path: Path) -> None:
    with (
        Hosts(tmp_path, 2, OPTIONS, *FAR) as hosts,
        hosts.open_socket(1, 9000) as one,
        hosts.open_socket(2, 9000) as two,
    ):
        sent = time.monotonic()
        for number in range(100):
            one.sendto(bytes([number]), two.getsockname())
        got = [two.recv(10) for _ in range(100)]
        assert time.monotonic() - sent >= FAR[0] / 1000 and got == [bytes([number]) for number in range(100)]
        assert hosts.forwarder is not None and hosts.forwarder.packets >= 100
        hosts.cut([1], [2])
        with pytest.raises(PermissionError):
            two.sendto(b"lost", one.getsockname())
        hosts.heal()
        two.sendto(b"whole again", one.getsockname())
        assert one.recv(20) == b"whole again"


@needs_hosts
@pytest.mark.parametrize("hosts", [NEAR, FAR], indirect=True, ids=["near", "far"])
def test_halves_of_five_that_both_write_are_one_again_with_everything(hosts: Hosts) -> None:
    nodes = hosts.grow("n1", "n2", "n3", "n4", "n5")
    ledger = Ledger()
    for number in range(5):
        for node in nodes:
            ledger.write(node, number)
    whole(hosts)
    hosts.cut([1, 2, 3], [4, 5])
    for number in range(5, 30):
        for node in nodes:
            ledger.write(node, number)
    wait_until(lambda: all(not {"n4", "n5"} & standings(n).keys() for n in nodes[:3]), "the three bury the two", 60)
    for number in range(30, 40):
        for node in nodes:
            ledger.write(node, number)
    for node in nodes[3:]:
        assert set(standings(node).values()) == {"member"}, "a minority buries nobody"
    hosts.heal()
    come_back(hosts, *nodes[3:])
    reported = [row for node in nodes[3:] for row in report(node)]
    for node in nodes:
        ledger.check(node, reported)


def prepare(node: NodeProcess) -> None:
    """Values that one side or both will remove or change."""
    client = node.redis
    for key in ("deleted", "flushed", "ours"):
        client.set(key, "old")
        client.sadd(f"set:{key}", "old", "kept")
    client.rpush("queue", *range(10))
    client.hset("profile", mapping={"city": "Turin", "age": "35"})


def their_side(theirs: Any) -> None:
    """What the others do to the keys of `prepare`, and the one that is away cannot hear of."""
    theirs.delete("deleted", "set:deleted")
    theirs.set("flushed", "theirs")
    theirs.lpop("queue", 3)
    theirs.hdel("profile", "age")


def our_side(ours: Any) -> None:
    """What the one that is away does to them."""
    ours.set("deleted", "ours")
    ours.sadd("set:deleted", "ours")
    ours.set("flushed", "ours")
    ours.delete("ours")
    ours.srem("set:ours", "old")
    ours.rpush("queue", "ours")
    ours.hset("profile", "city", "Rome")
    ours.zadd("exiles", {"ours": 1})


def check_conflicts(nodes: list[NodeProcess], reported: list[dict[str, str]]) -> None:
    """What the others removed stays away unless the returner added it itself; what it overwrote there is reported."""
    for node in nodes:
        client = node.redis
        assert client.get("deleted") is None and client.get("flushed") == "theirs"
        assert client.smembers("set:deleted") == {"ours"} and client.smembers("set:flushed") == {"old", "kept"}
        assert client.get("ours") is None and client.smembers("set:ours") == {"kept"}
        assert client.lrange("queue", 0, -1) == [*map(str, range(3, 10)), "ours"]
        assert client.hgetall("profile") == {"city": "Turin"}
        assert client.zrange("exiles", 0, -1) == ["ours"]
    assert sorted(row["key"] for row in reported if row["key"] in ("deleted", "flushed", "profile")) == [
        "deleted",
        "flushed",
        "profile",
    ]
    assert all(row["operation"] and row["reason"] and int(row["stamp_ms"]) > 0 for row in reported)


@needs_hosts
def test_one_that_was_cut_off_for_too_long_comes_back_with_everything(hosts: Hosts) -> None:
    nodes = hosts.grow("n1", "n2", "n3", "n4", "n5")
    exile = nodes[4]
    ledger = Ledger()
    for number in range(5):
        for node in nodes:
            ledger.write(node, number)
    prepare(nodes[0])
    whole(hosts)
    hosts.cut([5], [1, 2, 3, 4])
    for number in range(5, 30):
        for node in nodes:
            ledger.write(node, number)
    our_side(exile.redis)
    their_side(nodes[0].redis)
    wait_until(lambda: all("n5" not in standings(n) for n in nodes[:4]), "the four bury the one", 60)
    for number in range(30, 50):
        for node in nodes:
            ledger.write(node, number)
    hosts.heal()
    come_back(hosts, exile)
    reported = report(exile)
    for node in nodes:
        ledger.check(node, reported)
    check_conflicts(nodes, reported)


def test_one_that_was_stopped_for_too_long_comes_back_with_everything(tmp_path: Path) -> None:
    """What clients have sent to it while it stands still is done, and acknowledged, before it hears that it is dead."""
    with Cluster(tmp_path, OPTIONS) as cluster, ThreadPoolExecutor(1) as client:
        nodes = cluster.grow("n1", "n2", "n3", "n4", "n5")
        exile = nodes[4]
        ledger = Ledger()
        for number in range(5):
            for node in nodes:
                ledger.write(node, number)
        prepare(nodes[0])
        whole(cluster)
        requests = exile.client(socket_timeout=120).pipeline(transaction=False)
        requests.connection = requests.connection_pool.get_connection()  # connected before it stands still
        exile.pause()
        for number in range(5, 15):
            ledger.put(requests, exile.name, number)
        our_side(requests)
        answers = client.submit(requests.execute)
        for number in range(5, 25):
            for node in nodes[:4]:
                ledger.write(node, number)
        wait_until(lambda: all("n5" not in standings(n) for n in nodes[:4]), "the four bury the one", 60)
        their_side(nodes[0].redis)  # not before: what they sent it first is waiting to be read, and may be
        exile.resume()
        answers.result()  # raises where anything was not acknowledged
        come_back(cluster, exile)
        reported = report(exile)
        for node in nodes:
            ledger.check(node, reported)
        check_conflicts(nodes, reported)


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
