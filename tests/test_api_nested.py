"""Maps that nest, through the Python face: children at any depth, on several nodes, and as Redis clients see them."""

import time
from collections.abc import Callable, Iterator

import pytest

import marmoset
from marmoset.api import Database, WrongTypeError
from marmoset.client import Client
from marmoset.errors import UsageError

WAIT_S = 20.0


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.005)


@pytest.fixture
def db() -> Iterator[Database[str]]:
    with marmoset.open(name="solo") as opened:
        yield opened


def test_children_of_every_kind(db: Database[str]) -> None:
    profile = db.map("profile")
    profile["city"] = "Turin"
    profile.set("tags").add("admin")
    profile.sequence("log").extend(["in", "out"])
    profile.map("address")["street"] = "Via Po"
    profile.map("address").map("geo").increment("visits", 2)
    assert sorted(profile) == ["address", "city", "log", "tags"]
    assert set(profile.set("tags")) == {"admin"}
    assert list(profile["log"]) == ["in", "out"]
    assert profile.map("address").map("geo")["visits"] == "2"
    assert profile["city"] == "Turin"
    profile.set("tags").discard("admin")
    assert "tags" not in profile, "a collection that gets empty is a field that is gone"
    with pytest.raises(WrongTypeError):
        profile.set("log").add("x")
    with pytest.raises(UsageError):
        profile.increment("log")


def test_assigning_a_collection_replaces_what_a_field_holds(db: Database[str]) -> None:
    profile = db.map("profile")
    profile["tags"] = {"a", "b"}
    profile["tags"] = {"c"}
    profile["log"] = ["x", "y"]
    profile["deep"] = {"inner": {"list": ["1"]}, "plain": "v"}
    assert set(profile.set("tags")) == {"c"}
    assert list(profile.sequence("log")) == ["x", "y"]
    assert list(profile.map("deep").map("inner").sequence("list")) == ["1"]
    assert profile.pop("deep") == {"inner": {"list": ["1"]}, "plain": "v"}
    assert "deep" not in profile
    profile["log"] = "text now"
    assert profile["log"] == "text now"
    profile.map("none").sequence("x").clear()
    profile.clear()
    assert "profile" not in db


def test_depth_has_a_limit(db: Database[str]) -> None:
    level = db.map("deep")
    for _ in range(31):
        level = level.map("x")
    level.set("s").add("bottom")
    with pytest.raises(UsageError, match="32"):
        level.map("x").map("y")


def test_two_nodes_make_the_same_child_and_redis_clients_see_it() -> None:
    with (
        marmoset.open(name="one", port=0) as one,
        marmoset.open(name="two", join=[one.address]) as two,
    ):
        one.map("m").set("tags").add("from one")
        two.map("m").set("tags").add("from two")
        for db in (one, two):
            wait_until(lambda db=db: set(db.map("m").set("tags")) == {"from one", "from two"})  # type: ignore[misc]
        two.map("m").map("inner")["field"] = "v"
        wait_until(lambda: "inner" in one.map("m"))
        assert one.port is not None
        with Client("127.0.0.1", one.port, 5.0) as client:
            assert client.call("HGET", "m", "tags") == '["from one","from two"]'
            assert client.call("HGET", "m", "inner") == '{"field":"v"}'
            assert client.call("HLEN", "m") == 2
            assert client.call("HDEL", "m", "tags") == 1
        wait_until(lambda: "tags" not in two.map("m"))
