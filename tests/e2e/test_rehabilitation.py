"""A node that was stopped, buried, and wakes up: real processes, SIGSTOP and SIGCONT."""

from typing import Any

import pytest

from marmoset.server import SLICE_BYTES_FIRST
from tests.e2e.cluster import Cluster, NodeProcess, as_dict, wait_until


def report(node: NodeProcess) -> list[dict[str, Any]]:
    return [as_dict(row) for row in node.call("MARMOSET", "REPORT")]


def test_a_stopped_node_is_buried_and_comes_back_with_its_writes(cluster: Cluster) -> None:
    ada, bea, cy = cluster.grow("ada", "bea", "cy")
    ada.redis.sadd("s", "a", "b")
    ada.redis.set("t", "old")
    ada.redis.rpush("l", "1", "2", "3")
    cluster.wait_same(lambda node: [node.redis.scard("s"), node.redis.get("t"), node.redis.llen("l")], [2, "old", 3])
    cluster.wait_rest()
    socket = cy.client()
    socket.ping()
    connection = socket.connection_pool.get_connection()
    cy.pause()
    words = [
        ("SADD", "s", "c"),
        ("SREM", "s", "a"),
        ("SET", "t", "ours"),
        ("SET", "new", "ours"),
        ("INCRBY", "n", 5),
        ("RPUSH", "l", "4"),
        ("LPOP", "l"),
        ("HSET", "h", "f", "v"),
    ]
    # With something long behind it that is not waited for: so it runs when it is read, in the order in which it came.
    # Short requests run at the end of a turn, and the refusal of the others, which came later, may be of the same turn.
    sent = [*words, ("ECHO", "." * SLICE_BYTES_FIRST)]
    connection.send_packed_command([b"".join(b"".join(connection.pack_command(*each)) for each in sent)])
    wait_until(lambda: ("cy", "unreachable") in ada.members(), "ada notices that cy does not answer")
    bea.redis.incrby("n", 10)
    ada.call("MARMOSET", "BURY", "cy")
    wait_until(lambda: "cy" not in [name for name, _ in ada.members()], "the burial has taken effect")
    # Not before: it would wait in a socket of cy, who may read that first, and then overwrites what it has seen.
    ada.redis.set("t", "theirs")
    ada.redis.rpush("l", "5")
    cluster.nodes.remove(cy)
    cluster.wait_rest()
    cluster.nodes.append(cy)
    cy.resume()
    answers = [connection.read_response() for _ in words]
    assert not any(isinstance(answer, Exception) for answer in answers), "all of it was acknowledged"
    wait_until(lambda: cy.status()["state"] == "serving" and cy.status()["id"] != cy.id, "cy is back")
    cluster.wait_members()
    cluster.wait_rest()
    cluster.wait_same(lambda node: sorted(node.redis.smembers("s")), ["b", "c"])
    cluster.wait_same(lambda node: [node.redis.get(key) for key in ("t", "new", "n")], ["theirs", "ours", "15"])
    cluster.wait_same(lambda node: node.redis.lrange("l", 0, -1), ["2", "3", "4", "5"])
    cluster.wait_same(lambda node: node.redis.hgetall("h"), {"f": "v"})
    rows = report(cy)
    assert [(row["key"], row["operation"]) for row in rows] == [("t", "Assign ours False")]
    assert "others" in rows[0]["reason"] and int(rows[0]["stamp_ms"]) > 0 and rows[0]["written_by"] == "cy"
    assert socket.ping(), "the client is still connected"
    assert cy.call("MARMOSET", "REPLAY", rows[0]["id"]) == 1
    cluster.wait_same(lambda node: node.redis.get("t"), "ours")
    assert report(cy) == [] and cy.call("MARMOSET", "REPLAY", "ALL") == 0
    with pytest.raises(Exception, match="in the report"):
        cy.call("MARMOSET", "REPLAY", rows[0]["id"])
    assert cy.out.read_text().count("ready") == 1, "the process was ready all the while"
