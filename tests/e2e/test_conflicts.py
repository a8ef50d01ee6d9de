"""The README's table of conflicts, row by row, on real nodes that are cut off from each other while both write."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, NodeProcess, wait_until
from tests.e2e.wire import Forwarder, start_behind

Command = tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What is there before, what one side does, what the other does, and what both read in the end."""

    key: str
    before: tuple[Command, ...]
    one: Command
    other: Command
    read: Command
    expected: Any


ROWS = (
    Row("adds", (), ("SADD", "x"), ("SADD", "y"), ("SMEMBERS",), {"x", "y"}),
    Row("add-wins", (("SADD", "x"),), ("SREM", "x"), ("SADD", "x"), ("SMEMBERS",), {"x"}),
    Row("add-wins-new", (("SADD", "w"),), ("SREM", "w"), ("SADD", "x"), ("SMEMBERS",), {"x"}),
    Row("sums", (("SET", "10"),), ("INCRBY", "5"), ("INCRBY", "7"), ("GET",), "22"),
    Row("later-wins", (), ("SET", "a"), ("SET", "b"), ("GET",), "b"),
    Row("base-and-sum", (("SET", "1"),), ("SET", "100"), ("INCRBY", "5"), ("GET",), "105"),
    Row("reset-and-sum", (("SET", "50"),), ("DEL",), ("INCRBY", "5"), ("GET",), "5"),
    Row("fields", (), ("HSET", "a", "1"), ("HSET", "b", "2"), ("HGETALL",), {"a": "1", "b": "2"}),
    Row("later-field-wins", (), ("HSET", "a", "1"), ("HSET", "a", "2"), ("HGETALL",), {"a": "2"}),
    Row("field-survives", (("HSET", "z", "0"),), ("DEL",), ("HSET", "a", "1"), ("HGETALL",), {"a": "1"}),
    Row(
        "removed-once",
        (("RPUSH", "a", "b", "c"),),
        ("LREM", "0", "a"),
        ("LREM", "0", "a"),
        ("LRANGE", "0", "-1"),
        ["b", "c"],
    ),
    Row("gone-is-gone", (("RPUSH", "a", "b"),), ("LSET", "0", "z"), ("LREM", "0", "a"), ("LRANGE", "0", "-1"), ["b"]),
    Row("two-types", (), ("RPUSH", "a"), ("SADD", "a"), ("TYPE",), "set"),
)


def on(node: NodeProcess, row: Row, command: Command) -> Any:
    """Run a command on the row's key."""
    return node.call(command[0], row.key, *command[1:])


def is_alone(node: NodeProcess) -> bool:
    """Whether a node of two finds the other unreachable."""
    return "unreachable" in [state for _, state in node.members()]


@pytest.fixture
def cut_pair(cluster: Cluster) -> Iterator[tuple[Cluster, list[Forwarder]]]:
    """Two nodes, each behind a forwarder."""
    forwarders: list[Forwarder] = []
    for name in ("ada", "bea"):
        start_behind(cluster, forwarders, name)
    cluster.wait_members()
    yield cluster, forwarders
    for each in forwarders:
        each.close()


def test_every_row_of_the_table(cut_pair: tuple[Cluster, list[Forwarder]]) -> None:
    cluster, forwarders = cut_pair
    one, other = cluster.nodes
    for row in ROWS:
        for command in row.before:
            on(one, row, command)
    one.call("SADD", "observed", "x")
    cluster.wait_rest()
    for forwarder in forwarders:
        forwarder.cut()
    for node in cluster.nodes:
        wait_until(partial(is_alone, node), "the cut is noticed")

    for row in ROWS:
        on(one, row, row.one)
    one.call("RPUSH", "runs", "a", "b", "c")
    one.call("SREM", "observed", "x")
    one.redis.pipeline(transaction=True).set("whole", "1").sadd("whole-set", "1").execute()
    for row in ROWS:
        on(other, row, row.other)
    other.call("RPUSH", "runs", "x", "y", "z")
    other.call("SREM", "observed", "x")
    other.call("SADD", "observed", "x")  # this add nobody has seen, so nobody removes it
    assert one.call("EXISTS", "observed") == 0
    assert other.call("EXISTS", "whole", "whole-set") == 0

    for forwarder in forwarders:
        forwarder.heal()
    for row in ROWS:
        cluster.wait_same(partial(on, row=row, command=row.read), row.expected)
    cluster.wait_same(lambda node: node.redis.smembers("observed"), {"x"})
    cluster.wait_same(lambda node: [node.call("GET", "whole"), node.redis.scard("whole-set")], ["1", 1])
    orders = {"".join(node.redis.lrange("runs", 0, -1)) for node in cluster.nodes}
    assert orders <= {"abcxyz", "xyzabc"}
    assert len(orders) == 1
    one.call("DEL", "two-types")
    cluster.wait_same(lambda node: node.call("EXISTS", "two-types"), 0)
    cluster.wait_rest()
