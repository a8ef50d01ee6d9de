"""Nodes that stop, die, come back and are cut off: what was acknowledged is everywhere in the end."""

import threading
from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Cluster, NodeProcess, paused, wait_equal, wait_until
from tests.e2e.wire import Forwarder, start_behind


def test_a_stopped_node_catches_up_when_it_goes_on(cluster: Cluster) -> None:
    ada, bea, cy = cluster.grow("ada", "bea", "cy")
    with paused(cy):
        for number in range(2000):
            ada.call("SADD", "s", f"a{number}")
        bea.call("INCRBY", "n", 3)
        wait_until(lambda: ("cy", "unreachable") in ada.members(), "ada notices that cy does not answer")
        assert int(ada.status()["log_batches"]) > 0, "what cy lacks is kept for it"
    cluster.wait_same(lambda node: [node.call("SCARD", "s"), node.call("GET", "n")], [2000, "3"])
    cluster.wait_members()
    cluster.wait_rest()


def test_a_killed_node_restarted_under_its_name_has_everything_again(cluster: Cluster) -> None:
    ada, bea, cy = cluster.grow("ada", "bea", "cy")
    bea.call("SADD", "s", "from-bea")
    cluster.wait_same(lambda node: node.call("SCARD", "s"), 1)
    before = bea.id
    bea.kill()
    ada.call("SADD", "s", "while-away")
    cy.call("RPUSH", "l", "x")
    again = cluster.restart(bea)
    assert again.id != before, "memory is gone, so it is a new replica"
    again.call("INCR", "n")
    cluster.wait_same(
        lambda node: [sorted(node.redis.smembers("s")), node.redis.lrange("l", 0, -1), node.redis.get("n")],
        [["from-bea", "while-away"], ["x"], "1"],
    )
    cluster.wait_members()
    cluster.wait_rest()


def test_killing_and_restarting_each_node_in_turn(cluster: Cluster) -> None:
    """After the round nobody is left who was there at the beginning, but the data is."""
    cluster.grow("ada", "bea", "cy")
    cluster.nodes[0].call("SET", "k", "v")
    cluster.wait_same(lambda node: node.call("GET", "k"), "v")
    for name in ("ada", "bea", "cy"):
        victim = next(node for node in cluster.nodes if node.name == name)
        victim.kill()
        cluster.restart(victim).call("SADD", "round", name)
        cluster.wait_same(lambda node: node.call("GET", "k"), "v")
        cluster.wait_members()
    cluster.wait_same(lambda node: sorted(node.redis.smembers("round")), ["ada", "bea", "cy"])
    cluster.wait_rest()


def test_a_group_of_two_refuses_a_restart_since_one_is_no_majority(cluster: Cluster) -> None:
    ada, bea = cluster.grow("ada", "bea")
    bea.kill()
    cluster.nodes.remove(bea)
    again = cluster.spawn("bea", join=[ada.address])
    wait_until(lambda: "majority" in again.log_text(), "the node that is not let in says why")
    assert again.process.poll() is None or again.process.returncode != 0
    assert "ready" not in again.out.read_text()
    ada.call("SET", "k", "v")
    assert ada.call("GET", "k") == "v", "the one that is left serves on"


def test_a_group_of_two_restarts_where_one_may_decide(cluster: Cluster) -> None:
    cluster.options = (*cluster.options, "--presumed-dead-quorum=one")
    ada, bea = cluster.grow("ada", "bea")
    ada.call("SET", "k", "v")
    bea.kill()
    again = cluster.restart(bea)
    assert again.call("GET", "k") == "v"
    cluster.wait_members()
    cluster.wait_rest()


def test_a_name_in_use_is_refused(cluster: Cluster) -> None:
    ada, _bea, _cy = cluster.grow("ada", "bea", "cy")
    second = cluster.spawn("bea", "--join-timeout=1s", join=[ada.address])
    assert second.wait() != 0
    assert "in use" in second.log_text()
    cluster.wait_members()


def test_a_node_that_leaves_is_forgotten(cluster: Cluster) -> None:
    _ada, _bea, cy = cluster.grow("ada", "bea", "cy")
    cy.call("SADD", "s", "last words")
    cy.terminate()
    assert cy.wait() == 0
    cluster.nodes.remove(cy)
    cluster.wait_same(lambda node: list(node.redis.smembers("s")), ["last words"])
    cluster.wait_members()
    cluster.wait_rest()
    assert [int(node.status()["members"]) for node in cluster.nodes] == [2, 2]


@pytest.fixture
def forwarders() -> Iterator[list[Forwarder]]:
    made: list[Forwarder] = []
    yield made
    for each in made:
        each.close()


def test_a_healed_cut_heals_by_itself(cluster: Cluster, forwarders: list[Forwarder]) -> None:
    """All are cut from all and write on; once the network is back, nobody has to do anything."""
    for name in ("ada", "bea", "cy"):
        start_behind(cluster, forwarders, name)
    cluster.wait_members()
    cluster.nodes[0].call("SADD", "s", "before")
    cluster.wait_rest()
    for forwarder in forwarders:
        forwarder.cut()
    for node in cluster.nodes:
        wait_equal(
            lambda node=node: sorted(state for _, state in node.members()),  # type: ignore[misc]
            ["alive", "unreachable", "unreachable"],
            f"{node.name} finds the others unreachable",
        )
        node.call("SADD", "s", node.name)
        node.call("INCR", "n")
        node.call("RPUSH", "l", node.name, node.name)
    assert [node.call("SCARD", "s") for node in cluster.nodes] == [2, 2, 2]
    for forwarder in forwarders:
        forwarder.heal()
    cluster.wait_same(
        lambda node: [node.call("SCARD", "s"), node.call("GET", "n"), node.call("LLEN", "l")], [4, "3", 6]
    )
    orders = {tuple(node.redis.lrange("l", 0, -1)) for node in cluster.nodes}
    assert len(orders) == 1
    order = orders.pop()
    assert all(order[index] == order[index + 1] for index in (0, 2, 4)), "what was inserted together stays together"
    cluster.wait_members()
    cluster.wait_rest()


def test_a_newcomer_gets_everything_from_a_busy_group(cluster: Cluster) -> None:
    """Written before, while and after it joins: nothing is missing and nothing is there twice."""
    ada, bea = cluster.grow("ada", "bea")
    pipeline = ada.redis.pipeline(transaction=False)
    for number in range(20_000):
        pipeline.set(f"string:{number}", number)
        pipeline.sadd("set", number)
        if number % 10 == 0:
            pipeline.rpush("list", number)
            pipeline.hset("map", f"f{number}", number)
    pipeline.execute()
    stop = threading.Event()
    written: dict[str, int] = {}

    def write(node: NodeProcess) -> None:
        client, count = node.client(), 0
        while not stop.is_set():
            pipeline = client.pipeline(transaction=True)
            pipeline.incr("total").rpush("list", f"{node.name}:{count}").sadd("set", f"{node.name}:{count}")
            pipeline.hincrby("map", "count", 1).srem("set", count).delete(f"string:{count}").execute()
            count += 1
        written[node.name] = count

    threads = [threading.Thread(target=write, args=(node,)) for node in (ada, bea)]
    for thread in threads:
        thread.start()
    try:
        cluster.start("cy")
        before = int(ada.call("GET", "total"))
        wait_until(lambda: int(ada.call("GET", "total")) > before + 100, "the writers go on")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    total, most = sum(written.values()), min(20_000, max(written.values()))
    print(f"{total} transactions while the newcomer joined")
    cluster.wait_same(
        lambda node: [
            node.redis.get("total"),
            node.redis.hget("map", "count"),
            node.redis.llen("list"),
            node.redis.scard("set"),
            node.redis.dbsize(),
        ],
        [str(total), str(total), 2000 + total, 20_000 - most + total, 20_000 - most + 4],
    )
    assert len({tuple(node.redis.lrange("list", 0, -1)) for node in cluster.nodes}) == 1
    cluster.wait_rest()


def test_a_newcomer_that_dies_while_it_joins_does_not_hold_the_group_up(cluster: Cluster) -> None:
    ada, _bea = cluster.grow("ada", "bea")
    pipeline = ada.redis.pipeline(transaction=False)
    for number in range(20_000):
        pipeline.set(f"string:{number}", "x" * 100)
    pipeline.execute()
    newcomer = cluster.spawn("cy", join=[ada.address])
    wait_until(lambda: "let in" in newcomer.log_text(), "the newcomer is let in")
    newcomer.kill()
    cluster.start("cy")
    cluster.wait_same(lambda node: node.call("DBSIZE"), 20_000)
    cluster.wait_members()
    cluster.wait_rest()
