"""The Python face given what it cannot take, or what looks like a plain collection: nothing is done by halves."""

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import marmoset
from marmoset.api import Database

QUICK: dict[str, Any] = {"gossip_interval": "20ms", "leave_timeout": "2s"}


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.005)


def plain(value: object) -> object:
    """What a value is to a reader, with plain collections for views."""
    kind = type(value).__name__
    if kind == "MapView":
        return {field: plain(inner) for field, inner in cast("Any", value).items()}
    return set(cast("Any", value)) if kind == "SetView" else list(cast("Any", value)) if kind != "str" else value


@pytest.fixture(scope="module")
def shared() -> Iterator[Database[str]]:
    with marmoset.open(name="shared", **QUICK) as opened:
        yield opened


@pytest.fixture
def db(shared: Database[str]) -> Database[str]:
    shared.delete(*shared.keys())
    return shared


class Place:
    """A number to everything that asks for an index."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


class Name(bytes):
    """Bytes to everybody but an encoder."""


def test_what_is_no_pair_changes_nothing_here_or_elsewhere() -> None:
    with marmoset.open(name="one", **QUICK) as one, marmoset.open(name="two", join=[one.address], **QUICK) as two:
        fields = one.map("m")
        for view in (fields, fields.map("inner")):
            view["x"] = "1"
            for pairs in ([("x", "2"), ("y",)], [("q", "w", "e")], [("a", "b", "c"), ("d",)]):
                with pytest.raises(ValueError, match="unpack"):
                    view.update(cast("Any", pairs))
            with pytest.raises(TypeError):
                view.update(cast("Any", [5]))
        fields["after"] = "1"
        wait_until(lambda: "after" in two.map("m"))
        assert plain(fields) == plain(two.map("m")) == {"x": "1", "after": "1", "inner": {"x": "1"}}


def test_what_is_derived_from_bytes_arrives_as_bytes() -> None:
    with marmoset.open(name="one", **QUICK) as one, marmoset.open(name="two", join=[one.address], **QUICK) as two:
        one.set(Name(b"s")).add(Name(b"x"))
        one.map("m")[cast("Any", Name(b"k"))] = Name(b"v")
        one.sequence("l").append(Name(b"z"))
        one.counter("c").increment()
        wait_until(lambda: two.counter("c").value == 1)
        assert (set(two.set("s")), dict(two.map("m")), list(two.sequence("l"))) == ({"x"}, {"k": "v"}, ["z"])
        del one.map("m")[cast("Any", Name(b"k"))]
        wait_until(lambda: "m" not in two)
