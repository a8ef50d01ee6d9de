"""Three real nodes: what is written on any of them is read on all, and at rest nothing but the values is left."""

import shutil
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.e2e.cluster import Cluster, NodeProcess

SETTLED_S = 5.0
"""Within which issue 2 wants the writes everywhere, and the logs empty, after the last acknowledgement."""


def on_all_at_once(cluster: Cluster, work: Callable[[NodeProcess, int], None]) -> None:
    """Do the work against every node at the same time, from a thread each."""
    failures: list[BaseException] = []

    def one(node: NodeProcess, number: int) -> None:
        try:
            work(node, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(node, number)) for number, node in enumerate(cluster.nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_four_types_written_on_different_nodes_are_the_same_on_all(trio: Cluster) -> None:
    ada, bea, cy = trio.nodes
    ada.call("SADD", "fruit", "apple", "pear")
    bea.call("SADD", "fruit", "plum")
    cy.call("SET", "greeting", "hello")
    ada.call("HSET", "profile", "city", "Turin")
    cy.call("HINCRBY", "profile", "visits", 5)
    for node in trio.nodes:
        node.call("INCRBY", "hits", 10)
    bea.call("RPUSH", "todo", "read", "write")

    def read(node: NodeProcess) -> list[Any]:
        client = node.redis
        return [
            sorted(client.smembers("fruit")),
            client.get("greeting"),
            client.hgetall("profile"),
            client.get("hits"),
            client.lrange("todo", 0, -1),
            client.dbsize(),
        ]

    expected = [
        ["apple", "pear", "plum"],
        "hello",
        {"city": "Turin", "visits": "5"},
        "30",
        ["read", "write"],
        5,
    ]
    took = trio.wait_same(read, expected)
    assert took < 1.0
    assert trio.wait_rest() < SETTLED_S


def test_a_hundred_thousand_members_over_three_nodes(trio: Cluster) -> None:
    each, chunk = 34_000, 1000

    def add(node: NodeProcess, number: int) -> None:
        first, last = number * each, min(100_000, (number + 1) * each)
        for start in range(first, last, chunk):
            pipeline = node.redis.pipeline(transaction=False)
            for value in range(start, min(last, start + chunk)):
                pipeline.sadd("big", f"member:{value}")
            assert sum(pipeline.execute()) == min(last, start + chunk) - start

    on_all_at_once(trio, add)
    took = trio.wait_same(lambda node: node.call("SCARD", "big"), 100_000)
    rest = trio.wait_rest()
    print(f"100,000 SADD: equal {took:.2f} s and at rest {took + rest:.2f} s after the last acknowledgement")
    assert took < SETTLED_S
    assert took + rest < SETTLED_S


def test_thirty_thousand_increments_over_three_nodes(trio: Cluster) -> None:
    def increment(node: NodeProcess, _: int) -> None:
        for _chunk in range(10):
            pipeline = node.redis.pipeline(transaction=False)
            for _one in range(1000):
                pipeline.incr("count")
            pipeline.execute()

    on_all_at_once(trio, increment)
    took = trio.wait_same(lambda node: node.call("GET", "count"), "30000")
    rest = trio.wait_rest()
    print(f"30,000 INCR: equal {took:.2f} s and at rest {took + rest:.2f} s after the last acknowledgement")
    assert took < SETTLED_S
    assert took + rest < SETTLED_S


def test_at_rest_every_node_has_the_same_keys_and_no_metadata(trio: Cluster) -> None:
    for number, node in enumerate(trio.nodes):
        for kind in range(20):
            node.call("SET", f"string:{kind}", number)
            node.call("HSET", f"map:{kind}", "f", number)
            node.call("RPUSH", f"list:{kind}", number)
            node.call("SADD", f"set:{kind}", number, "x")
            node.call("SREM", f"set:{kind}", "x")
            node.call("DEL", f"string:{kind - 1}")
    trio.wait_rest()
    digests = [
        [
            sorted(node.redis.scan_iter(count=100)),
            [node.redis.lrange(f"list:{kind}", 0, -1) for kind in range(20)],
            [sorted(node.redis.smembers(f"set:{kind}")) for kind in range(20)],
            [node.redis.hgetall(f"map:{kind}") for kind in range(20)],
            [node.redis.get(f"string:{kind}") for kind in range(20)],
        ]
        for node in trio.nodes
    ]
    assert digests[0] == digests[1] == digests[2]
    assert trio.nodes[0].status()["keys"] == len(digests[0][0])
    for node in trio.nodes:
        assert int(node.status()["log_bytes"]) == 0


def test_a_transaction_is_seen_whole_or_not_at_all(trio: Cluster) -> None:
    writer, reader = trio.nodes[0].client(), trio.nodes[1].client()
    done = threading.Event()

    def write() -> None:
        for number in range(300):
            writer.pipeline(transaction=True).set("a", number).set("b", number).rpush("log", number).execute()
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while not done.is_set():
        a, b = reader.mget("a", "b")
        assert a == b
        assert int(a or -1) >= seen - 1
        seen = int(a or 0)
    thread.join()
    trio.wait_same(lambda node: node.call("LLEN", "log"), 300)


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py_speaks_both_protocols(solo: NodeProcess, protocol: int) -> None:
    client = solo.client(protocol=protocol)
    assert client.set("k", "v")
    assert client.get("k") == "v"
    assert client.hset("h", mapping={"a": "1", "b": "2"}) == 2
    assert client.hgetall("h") == {"a": "1", "b": "2"}
    assert client.sadd("s", "x", "y") == 2
    assert client.smembers("s") == {"x", "y"}
    assert client.rpush("l", "1", "2", "3") == 3
    assert client.lrange("l", 0, -1) == ["1", "2", "3"]
    assert client.client_setname("me")
    assert client.client_getname() == "me"
    assert "redis_version" in client.info()
    with client.pipeline(transaction=True) as pipeline:
        pipeline.watch("k")
        pipeline.multi()
        pipeline.set("k", "w")
        assert pipeline.execute() == [True]
    assert client.get("k") == "w"


def test_watch_fails_for_a_write_that_came_from_another_node(trio: Cluster) -> None:
    here, there = trio.nodes[0].client(), trio.nodes[1]
    with here.pipeline(transaction=True) as pipeline:
        pipeline.watch("watched")
        there.call("SET", "watched", "there")
        trio.wait_same(lambda node: node.call("GET", "watched"), "there")
        pipeline.multi()
        pipeline.set("watched", "here")
        with pytest.raises(redis.WatchError):
            pipeline.execute()
    assert there.call("GET", "watched") == "there"


@pytest.mark.redis_tools
def test_redis_cli_writes_on_one_node_and_reads_on_another(trio: Cluster) -> None:
    def cli(node: NodeProcess, *words: str, stdin: str | None = None) -> str:
        path = shutil.which("redis-cli")
        assert path
        done = subprocess.run(
            [path, "-p", str(node.port), *words], input=stdin, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout.rstrip("\n")

    ada, bea, cy = trio.nodes
    assert cli(ada, "SADD", "colours", "red", "green") == "2"
    trio.wait_same(lambda node: node.call("SCARD", "colours"), 2)
    assert sorted(cli(bea, "SMEMBERS", "colours").splitlines()) == ["green", "red"]
    assert cli(cy, "-3", "HSET", "h", "a", "1") == "1"
    trio.wait_same(lambda node: node.call("HLEN", "h"), 1)
    assert cli(ada, "HGETALL", "h").splitlines() == ["a", "1"]
    script = "MULTI\nSET t 1\nINCR t\nEXEC\n"
    assert cli(ada, stdin=script).splitlines() == ["OK", "QUEUED", "QUEUED", "OK", "2"]
    assert "WRONGTYPE" in cli(ada, "LPUSH", "t", "x")
    status = cli(ada, "MARMOSET", "STATUS").splitlines()
    assert status[status.index("name") + 1] == "ada"
    assert status[status.index("members") + 1] == "3"


@pytest.mark.redis_tools
def test_redis_cli_sends_inline_and_piped_requests(solo: NodeProcess) -> None:
    path = shutil.which("redis-cli")
    assert path
    requests = "".join(f"SADD piped member:{number}\r\n" for number in range(1000))
    done = subprocess.run(
        [path, "-p", str(solo.port), "--pipe"], input=requests, capture_output=True, text=True, timeout=30, check=True
    )
    assert "errors: 0, replies: 1000" in done.stdout
    assert solo.call("SCARD", "piped") == 1000
