"""The Python face given what it cannot take, or what looks like a plain collection: nothing is done by halves."""

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import marmoset
from marmoset.api import Database, OutOfMemoryError, WrongTypeError
from marmoset.errors import UsageError

QUICK: dict[str, Any] = {"gossip_interval": "20ms", "leave_timeout": "2s"}
SMALL: dict[str, Any] = {"batch_bytes_max": "64kb", "frame_bytes_max": "16kb"}


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


def test_operators_in_place_on_a_field_do_what_they_do_in_a_dict(db: Database[str]) -> None:
    m = cast("Any", db.map("m"))
    m["tags"], m["log"], m["in"] = {"a", "b"}, ["x"], {"f": "v"}
    m["tags"] |= {"c"}
    m["tags"] -= {"a"}
    m["log"] += ["y"]
    m["log"] += m["log"]
    for name in ("tags", "log", "in"):
        m[name] = m[name]
    m["tags"] = db.map("m").set("tags")
    expected = {"tags": {"b", "c"}, "log": ["x", "y", "x", "y"], "in": {"f": "v"}}
    assert plain(m) == expected
    m["in"]["deep"] = {"s"}
    m["in"]["deep"] |= {"t"}
    assert plain(m["in"]["deep"]) == {"s", "t"}


def test_a_view_of_something_else_is_copied(db: Database[str]) -> None:
    m = cast("Any", db.map("m"))
    db.sequence("top").extend("pq")
    m["log"], m["in"] = ["x"], {"f": "v", "s": {"1"}}
    m["log2"], m["top"] = m["log"], db.sequence("top")
    m["log"].append("later")
    m["in"] = m["in"]["s"]  # what it is taken from is replaced
    m["whole"] = m
    whole = {"log": ["x", "later"], "in": {"1"}, "log2": ["x"], "top": ["p", "q"]}
    assert plain(m) == {**whole, "whole": whole}


def test_a_field_keeps_its_value_when_an_assignment_is_refused(db: Database[str]) -> None:
    m = cast("Any", db.map("m"))
    m["tags"], m["deep"], m["text"] = {"a"}, {"k": "v"}, "t"
    before = plain(m)
    endless: dict[str, object] = {}
    endless["x"] = endless
    refused: tuple[tuple[str, object, type[Exception]], ...] = (
        ("tags", {1.5}, TypeError),
        ("tags", ["a", None], TypeError),
        ("deep", {"a": "1", "b": None}, TypeError),
        ("deep", {"a": {"b": ["c", [1]]}}, TypeError),
        ("deep", endless, UsageError),
        ("text", 1.5, TypeError),
        ("deep", m.map("tags"), WrongTypeError),
    )
    for name, value, error in refused:
        with pytest.raises(error):
            m[name] = value
        assert plain(m) == before
    m["tags"], m["deep"] = [], {}
    assert plain(m) == {"text": "t"}
    m["deep"] = {"1": "first", 1: {"second"}}
    assert plain(m["deep"]) == {"1": {"second"}}


def test_a_field_keeps_its_value_when_memory_or_a_batch_is_full() -> None:
    with marmoset.open(name="small", **SMALL) as db:
        m = cast("Any", db.map("m"))
        m["tags"], m["log"] = {"a", "b"}, ["x"]
        before = plain(m)
        for value in (["x" * 70_000], {"x" * 40_000, "y" * 40_000}, {"f": ["x"] * 10_000}):
            with pytest.raises(UsageError, match="nothing was written"):
                m["log"] = value
            assert plain(m) == before
        db._runtime.node.memory_limit.is_full = True
        with pytest.raises(OutOfMemoryError):
            m["tags"] = {"c"}
        assert plain(m) == before
        m["tags"] = set()
        assert plain(m) == {"log": ["x"]}


def test_a_place_in_a_sequence_is_a_whole_number_or_what_stands_for_one(db: Database[str]) -> None:
    view = cast("Any", db.sequence("l"))
    view.extend("abc")
    for bad in (None, 1.0, "0"):
        with pytest.raises(TypeError):
            view.insert(bad, "x")
        with pytest.raises(TypeError):
            view[bad] = "x"
        for use in (
            view.__getitem__,
            view.__delitem__,
            view.pop,
            cast("Any", db.sequence("absent")).pop,
        ):
            with pytest.raises(TypeError):
                use(bad)
    with pytest.raises(TypeError):
        view.pop(slice(0, 1))
    assert view == ["a", "b", "c"]
    view.insert(Place(1), "x")
    view[Place(0)] = "A"
    assert (view[Place(0)], view[Place(-1)], view.pop(Place(1)), list(view)) == ("A", "c", "x", ["A", "b", "c"])
    del view[Place(-1)]
    view.insert(10**30, "end")
    assert view == ["A", "b", "end"]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_slice_with_a_step_and_reverse_are_done_whole_or_not_at_all(depth: int) -> None:
    with marmoset.open(name="small", **SMALL) as db:
        view = db.map("m").sequence("l") if depth else db.sequence("l")
        for number in range(2000):
            view.append(number)
        before = list(view)
        for refused in (
            view.reverse,
            lambda: view.__setitem__(slice(None, None, 2), ["z"] * 1000),
            lambda: view.__setitem__(slice(None, None, -1), ["z"] * 2000),
        ):
            with pytest.raises(UsageError, match="nothing was written"):
                refused()
            assert view == before
        with db.batch(), pytest.raises(UsageError, match="written so far stays"):
            view.extend(["z" * 1000] * 50)
            view.reverse()
        del view[::2]
        assert view == before[1::2] + ["z" * 1000] * 25
        view[:] = before[:200]
        view.reverse()
        view[::3] = ["z"] * 67
        expected = before[199::-1]
        expected[::3] = ["z"] * 67
        del view[::-2], expected[::-2]
        del view[5:1:2], expected[5:1:2]
        assert view == expected
