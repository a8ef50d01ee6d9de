"""The Python face given what it cannot take, or what looks like a plain collection: nothing is done by halves."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

import marmoset
from marmoset.api import Database, OutOfMemoryError, WrongTypeError
from marmoset.api.takers import Taker
from marmoset.errors import UsageError
from marmoset.runtime import listen, port_of

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


def test_close_inside_of_a_batch_is_refused_and_does_not_hang() -> None:
    db = marmoset.open(name="alone", **QUICK)
    with db.batch():
        db.counter("n").increment()
        with pytest.raises(UsageError, match="inside of a batch"):
            db.close()
    assert db.counter("n").value == 1
    db.close()


def free_port() -> int:
    with listen("127.0.0.1", 0, "a test") as listener:
        return port_of(listener)


def nodes(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"marmoset {name}"]


def test_an_open_that_is_interrupted_leaves_nothing_behind() -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            marmoset.open(name="ghost", join=[f"127.0.0.1:{free_port()}"], **QUICK)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not nodes("ghost")


def test_what_is_opened_for_a_task_that_was_cancelled_is_closed() -> None:
    port = free_port()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), marmoset.aopen(name="late", join=[f"127.0.0.1:{port}"], **QUICK):
                pass
        first = await marmoset.aopen(name="first", gossip_port=port, **QUICK)
        while nodes("late"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(first.close)

    asyncio.run(asyncio.wait_for(main(), 30))


AT_EXIT = """
import sys, marmoset
view = marmoset.open(name="dropped", join=[sys.argv[1]], gossip_interval="20ms", leave_timeout="2s").set("s")
view.add("x")
"""


def test_a_node_whose_database_was_collected_leaves_when_the_program_ends() -> None:
    with marmoset.open(name="stays", **QUICK) as db:
        subprocess.run([sys.executable, "-c", AT_EXIT, db.address], check=True, timeout=60)
        wait_until(lambda: "s" in db)
        assert [row["name"] for row in db.members() if row["standing"] == "member"] == ["stays"]


@pytest.mark.parametrize("encoding", ["bogus", "hex", "", 5, "utf-16", "utf-32", "utf-7", "cp037", "utf-8-sig", "idna"])
def test_an_encoding_in_which_something_gets_lost_is_refused(encoding: Any) -> None:
    with pytest.raises(UsageError, match="encoding: .* is not accepted"):
        marmoset.open(name="n", encoding=encoding)


@pytest.mark.parametrize("encoding", ["UTF8", "latin-1", "ascii", "cp1252"])
def test_an_encoding_gives_back_all_bytes(encoding: str) -> None:
    with marmoset.open(name="n", encoding=encoding, **QUICK) as db:
        register, every = db.register("r"), bytes(range(256))
        register.set(every)
        register.set(register.value or "")
        with db._store.lock:
            assert db._store.register(b"r") == every
        db.set("s").add(5)
        assert db.set("s") == {"5"}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("wait_s", value) for value in (float("inf"), float("nan"), 1e10, -1, "5", None)),
        *(("join", value) for value in (5, [5], b"x", True)),
        *(("config_file", value) for value in (5, True, ["x"])),
    ],
)
def test_an_argument_of_open_that_is_not_accepted_is_named(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=option + ": .* is not accepted"):
        marmoset.open(name="refused", **cast("Any", {option: value}))
    assert not nodes("refused")


def test_an_id_of_the_report_is_a_text(db: Database[str]) -> None:
    for method in (db.replay, db.dismiss):
        with pytest.raises(UsageError, match="no id of the report"):
            cast("Any", method)(5)


def test_what_no_key_and_no_value_can_be_is_nowhere(db: Database[str]) -> None:
    elements, fields, values = db.set("s"), db.map("m"), db.sequence("l")
    elements.add("7")
    fields["7"] = "x"
    values.append("7")
    for nothing in (True, None, 1.5, "\ud800", ["7"]):
        for container in (db, elements, fields, values):
            assert nothing not in container
    for seven in (7, "7", b"7", Place(7), Name(b"7")):
        for container in (elements, fields, values):
            assert seven in container
    db.register("7").set("x")
    assert Place(7) in db


@pytest.mark.parametrize("depth", [0, 1])
def test_operators_of_a_set_take_numbers_and_bytes_for_the_elements_that_they_are(
    db: Database[str], depth: int
) -> None:
    view = cast("Any", db.map("m").set("s") if depth else db.set("s"))

    def now(*elements: object) -> Any:
        view.clear()
        view.update(elements)
        return view

    assert now(1, 2, "a") & {1, b"a", 7, None} == {"1", "a"} == {1, b"a"} & view
    assert view - {1, None} == {"2", "a"}
    assert view | {1, b"b"} == {"1", "2", "a", "b"} == [1, b"b"] | view
    assert view ^ {1, b"b"} == {"2", "a", "b"} == {1, b"b"} ^ view
    assert {1, b"b"} - view == {"b"}
    view &= {1, b"a", 7, None}
    assert view == {"1", "a"}
    view -= [1, None]
    assert view == {"a"}
    view ^= ["a", 5, "5", 6]
    assert view == {"5", "6"}
    view |= [b"7"]
    view &= view
    assert view == {"5", "6", "7"}
    with pytest.raises(TypeError):
        view ^= [1.5, "5"]
    with pytest.raises(TypeError):
        view &= 5
    assert view == {"5", "6", "7"}
    view -= view
    assert view == set() and now("x", "y") == {"x", "y"}
    view ^= view
    assert not view


def test_a_default_that_is_an_empty_collection_is_the_view_of_it(db: Database[str]) -> None:
    m = cast("Any", db.map("m"))
    m.setdefault("l", []).append("x")
    m.setdefault("s", set()).add("y")
    m.setdefault("d", {})["f"] = "z"
    m.setdefault("l", []).append("x2")
    assert plain(m.setdefault("full", ["1"])) == ["1"]
    assert m.setdefault("n") == "" and m.setdefault("n", "v") == ""
    assert plain(m) == {"l": ["x", "x2"], "s": {"y"}, "d": {"f": "z"}, "full": ["1"], "n": ""}


def test_popitem_gives_a_copy_of_a_collection(db: Database[str]) -> None:
    m = cast("Any", db.map("m"))
    m["t"] = {"a"}
    m["u"] = {"in": ["b"]}
    m["v"] = "text"
    assert dict(m.popitem() for _ in range(3)) == {"t": {"a"}, "u": {"in": ["b"]}, "v": "text"}
    with pytest.raises(KeyError):
        m.popitem()


def test_each_field_is_popped_by_one_thread(db: Database[str]) -> None:
    m, popped, failed = db.map("m"), list[str](), list[Exception]()
    m.update({str(number): number for number in range(2000)})

    def pop_all() -> None:
        try:
            while True:
                popped.append(db.map("m").popitem()[0])
        except KeyError as error:
            if len(m):
                failed.append(error)

    threads = [threading.Thread(target=pop_all) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(popped) == len(set(popped)) == 2000


def test_pop_does_not_walk_over_what_was_popped(db: Database[str]) -> None:
    """By the walks that it takes, and not by the clock."""

    class Counted(set[bytes]):
        walks = 0

        def __iter__(self) -> Iterator[bytes]:
            Counted.walks += 1
            return super().__iter__()

    taker, elements = Taker(), Counted(b"%d" % number for number in range(5000))
    Counted.walks, taken = 0, []
    while (element := taker.some(elements)) is not None:
        elements.remove(element)
        taken.append(element)
    assert len(set(taken)) == 5000 and Counted.walks <= 15
    view = db.set("s")
    view.update(range(100))
    first = view.pop()
    view.discard("5")
    view.add("late")
    assert sorted([first, *(view.pop() for _ in range(len(view)))]) == sorted({*map(str, range(100)), "late"} - {"5"})
