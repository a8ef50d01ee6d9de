"""The Python face: views behave as the collections that they stand for, on one node and between two."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import marmoset
from marmoset import MarmosetError, UsageError
from marmoset.api import NotServingError, OutOfMemoryError, WrongTypeError
from marmoset.codec.operations import Expire
from marmoset.codec.runs import BatchWriter
from marmoset.codec.wire import encode_operations
from marmoset.replication.expiry import remove_passed
from marmoset.runtime import listen, port_of

QUICK: dict[str, Any] = {
    "gossip_interval": "20ms",
    "unreachable_after": "600ms",
    "reconnect_min": "20ms",
    "reconnect_max": "200ms",
    "leave_timeout": "2s",
}


def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def shared() -> Iterator[marmoset.Database[str]]:
    """One node for the tests that use keys of their own."""
    with marmoset.open(name="shared", **QUICK) as db:
        yield db


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return request.node.name  # type: ignore[no-any-return]


def test_what_is_written_after_a_deadline_is_not_removed_with_what_was_there_before() -> None:
    """Deadlines come from Redis clients; nobody but this program looks at the time here."""
    with marmoset.open(name="alone", gossip_interval="60s") as db:
        view, replica = db.set("s"), db._runtime.node.replica
        view.add("old")
        with db._runtime.lock:
            deadline_ms = replica.wall_ms() + 20
            replica.submit(Expire(b"s", deadline_ms))
            replica.commit()
        until(lambda: replica.wall_ms() > deadline_ms)
        view.add("new")
        with db.batch():
            assert view == {"new"} and len(db.keys()) == 1
        with db._runtime.lock:
            assert remove_passed(replica, 10) == 0
        assert view == {"new"}


def test_set(shared: marmoset.Database[str], key: str) -> None:
    view = shared.set(key)
    assert (len(view), list(view), "a" in view, key in shared) == (0, [], False, False)
    view.add("a")
    view.update(["b", b"c"], [4])
    assert view == {"a", "b", "c", "4"}
    assert 4 in view and b"a" in view and None not in view and ["a"] not in view and True not in view
    view.discard("a")
    view.discard("nobody")
    view.remove("b")
    with pytest.raises(KeyError):
        view.remove("b")
    assert sorted(view) == ["4", "c"]
    view |= {"d", "e"}
    view -= {"d"}
    view &= {"c", "e"}
    assert view == {"c", "e"}
    assert view | {"f"} == {"c", "e", "f"} and type(view | {"f"}) is set
    assert view & {"c"} == {"c"} and view - {"c"} == {"e"} and view ^ {"c", "x"} == {"e", "x"}
    assert {view.pop(), view.pop()} == {"c", "e"}
    with pytest.raises(KeyError):
        view.pop()
    assert key not in shared
    view.add("a")
    view -= view
    assert not view
    view.update()
    view.clear()


class Seven:
    """What is no number but can stand for one."""

    def __index__(self) -> int:
        return 7


def test_what_stands_for_a_number_is_stored_as_that_and_nothing_else_is_taken(
    shared: marmoset.Database[str], key: str
) -> None:
    seven, nothing = cast("int", Seven()), cast("int", None)
    numbers, elements, listed = shared.map(key + "m"), shared.set(key + "s"), shared.sequence(key + "l")
    numbers["f"] = numbers[seven] = seven
    elements.add(seven)
    listed.append(seven)
    listed.insert(0, seven)
    listed[0] = seven
    listed[1:1] = [seven]
    assert dict(numbers) == {"f": "7", "7": "7"} and set(elements) == {"7"} and list(listed) == ["7"] * 3
    all_refused: tuple[Callable[[], None], ...] = (
        lambda: numbers.__setitem__("f", nothing),
        lambda: numbers.__setitem__(nothing, "text"),
        lambda: elements.add(nothing),
        lambda: listed.append(nothing),
        lambda: listed.insert(0, nothing),
        lambda: listed.__setitem__(0, nothing),
    )
    for refused in all_refused:
        with pytest.raises(TypeError, match="values are str, bytes or int, not NoneType"):
            refused()
    assert dict(numbers) == {"f": "7", "7": "7"} and set(elements) == {"7"} and list(listed) == ["7"] * 3


def test_map(shared: marmoset.Database[str], key: str) -> None:
    view = shared.map(key)
    with pytest.raises(KeyError):
        view["city"]
    view["city"] = "Turin"
    more: dict[str, str | int] = {"river": "Po", "bridges": 10}
    view.update(more, country="Italy")
    assert view == {"city": "Turin", "river": "Po", "bridges": "10", "country": "Italy"}
    assert view.increment("bridges", 2) == 12 and view.increment("visits") == 1
    assert (
        sorted(view.items())[0] == ("bridges", "12") and "Turin" in view.values() and ("city", "Turin") in view.items()
    )
    assert view.get("nothing") is None and view.get("nothing", "x") == "x" and None not in view
    with pytest.raises(UsageError, match="not a whole number"):
        view.increment("city")
    assert view.pop("river") == "Po" and view.pop("river", None) is None
    with pytest.raises(KeyError):
        view.pop("river")
    del view["visits"]
    with pytest.raises(KeyError):
        del view["visits"]
    assert view.setdefault("city", "Milan") == "Turin" and view.setdefault("lake", "Como") == "Como"
    assert sorted(view) == sorted(view.keys()) == ["bridges", "city", "country", "lake"]
    assert len(dict([view.popitem()])) == 1
    view.clear()
    assert (len(view), view == {}, key in shared) == (0, True, False)


def test_counter_and_register(shared: marmoset.Database[str], key: str) -> None:
    counter, register = shared.counter(key), shared.register(key)
    assert (counter.value, register.value, register.get("x")) == (0, None, "x")
    assert (counter.increment(), counter.increment(5), counter.decrement(2), int(counter)) == (1, 6, 4, 4)
    assert register.value == "4"
    register.value = "text"
    with pytest.raises(UsageError, match="not a whole number"):
        counter.increment()
    register.set(7)
    assert (counter.value, range(10)[counter]) == (7, 7)
    with pytest.raises(TypeError):
        counter.increment(0.5)  # type: ignore[arg-type]
    assert (register.delete(), register.delete(), register.value) == (True, False, None)


def test_sequence(shared: marmoset.Database[str], key: str) -> None:
    view = shared.sequence(key)
    with pytest.raises(IndexError):
        view[0]
    with pytest.raises(IndexError):
        view[0] = "x"
    view.append("b")
    view.insert(0, "a")
    view.extend(["c", 4])
    view += ["e"]
    assert view == ["a", "b", "c", "4", "e"] and list(reversed(view)) == ["e", "4", "c", "b", "a"]
    assert (view[0], view[-1], view[1:3], view[::2], view[5:]) == ("a", "e", ["b", "c"], ["a", "c", "e"], [])
    assert "c" in view and 4 in view and None not in view and view.index(4) == 3 and view.count("a") == 1
    with pytest.raises(ValueError):
        view.index("nothing")
    view[1] = "B"
    view[2:4] = ["x", "y", "z"]
    assert view == ["a", "B", "x", "y", "z", "e"]
    view[::3] = ["0", "3"]
    with pytest.raises(ValueError):
        view[::3] = ["0"]
    assert view == ["0", "B", "x", "3", "z", "e"]
    del view[-1], view[1:3]
    assert view == ["0", "3", "z"]
    view.reverse()
    view.remove("3")
    assert (list(view), view.pop(), view.pop(0)) == (["z", "0"], "0", "z")
    with pytest.raises(IndexError):
        view.pop()
    view.extend("abc")
    view.clear()
    assert key not in shared
    view[:] = "ab"
    assert view == ("a", "b")


@pytest.mark.parametrize("nested", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("insert"), st.integers(-4, 12), st.text(max_size=2)),
            st.tuples(st.just("set"), st.slices(8), st.lists(st.text(max_size=1), max_size=4)),
            st.tuples(st.just("delete"), st.slices(8), st.none()),
        ),
        max_size=12,
    )
)
def test_a_sequence_does_what_a_list_does(
    shared: marmoset.Database[str], nested: bool, steps: list[tuple[str, Any, Any]]
) -> None:
    view = shared.map("of hypothesis").sequence("list") if nested else shared.sequence("hypothesis")
    model: list[str] = []
    view.clear()
    for verb, where, what in steps:
        outcomes: list[object] = []
        for target in (view, model):
            try:
                if verb == "insert":
                    target.insert(where, what)
                elif verb == "set":
                    target[where] = what
                else:
                    del target[where]
                outcomes.append(None)
            except (ValueError, IndexError) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
        assert view == model and len(view) == len(model)


def test_a_key_of_another_type(shared: marmoset.Database[str], key: str) -> None:
    shared.sequence(key).append("a")
    for attempt in (
        lambda: shared.set(key).add("a"),
        lambda: len(shared.map(key)),
        lambda: shared.counter(key).value,
        lambda: shared.register(key).get(),
        lambda: shared.set(key).clear(),
    ):
        with pytest.raises(WrongTypeError, match="holds a list"):
            attempt()
    assert shared.sequence(key) == ["a"]
    shared.register(key).set("now a string")
    assert shared.register(key).value == "now a string"


def test_what_is_no_value(shared: marmoset.Database[str], key: str) -> None:
    for value in (None, 1.5, True, ["a"]):
        with pytest.raises(TypeError, match="str, bytes or int"):
            shared.set(key).add(value)  # type: ignore[arg-type]
    assert key not in shared


def test_keys(shared: marmoset.Database[str], key: str) -> None:
    before = len(shared)
    shared.set(key + "1").add("a")
    shared.counter(key + "2").increment()
    assert len(shared) == before + 2 and {key + "1", key + "2"} <= set(shared.keys())
    assert (shared.delete(key + "1", key + "2", key + "3"), len(shared), None in shared) == (2, before, False)


def test_text_and_bytes() -> None:
    with marmoset.open(name="bytes", encoding=None, **QUICK) as db:
        db.set("k").add(b"\xff")
        db.set("k").add("ä")
        assert (set(db.set("k")), db.keys()) == ({b"\xff", "ä".encode()}, [b"k"])
    with marmoset.open(name="text", **QUICK) as text:
        text.register("k").set(b"\xff\x00")
        back = text.register("k").value
        assert back is not None
        text.register("k2").set(back)
        assert back == "\udcff\x00" == text.register("k2").value


def test_two_nodes_and_a_conflict() -> None:
    with marmoset.open(name="a", **QUICK) as a, marmoset.open(name="b", join=[a.address], **QUICK) as b:
        a.set("online").add("ada")
        b.map("profile")["city"] = "Turin"
        a.counter("hits").increment(3)
        b.counter("hits").increment(4)
        b.sequence("todo").extend(["read", "write"])
        until(lambda: b.set("online") == {"ada"} and a.map("profile") == {"city": "Turin"})
        until(lambda: a.counter("hits").value == b.counter("hits").value == 7)
        until(lambda: a.sequence("todo") == ["read", "write"])
        for place, values in ((slice(1, 2), "abc"), (slice(0, 3), "d"), (slice(1, 1), "e"), (slice(0, 9), "fg")):
            a.sequence("todo")[place] = values
            b.sequence("todo")[place] = values
        until(lambda: a.sequence("todo") == b.sequence("todo") and len(a.sequence("todo")) >= 2)
        until(lambda: all(db.status()["log_batches"] == 0 == db.status()["window_entries"] for db in (a, b)))
        assert [member["name"] for member in b.members()] == ["a", "b"]
    assert a.name == "a" and "closed" in repr(a)


def test_a_batch_is_seen_whole() -> None:
    with marmoset.open(name="a", **QUICK) as a, marmoset.open(name="b", join=[a.address], **QUICK) as b:
        done = threading.Event()
        torn: list[tuple[int, int]] = []

        def look() -> None:
            while not done.is_set():
                for db in (a, b):
                    with db.batch():
                        pair = db.counter("x").value, db.counter("y").value
                    if sum(pair) != 0:
                        torn.append(pair)

        watcher = threading.Thread(target=look)
        watcher.start()
        for _ in range(300):
            with a.batch():
                a.counter("x").increment()
                with a.batch():
                    a.counter("y").decrement()
        until(lambda: b.counter("x").value == 300)
        done.set()
        watcher.join()
        assert torn == []


def test_a_batch_that_raises_keeps_what_it_wrote_and_one_that_is_too_large_says_so() -> None:
    with marmoset.open(name="small", batch_bytes_max="64kb", frame_bytes_max="16kb", **QUICK) as db:
        with pytest.raises(ZeroDivisionError), db.batch():
            db.counter("n").increment()
            raise ZeroDivisionError
        with pytest.raises(UsageError, match="batch_bytes_max allows 65536; nothing"):
            db.register("big").set("x" * 70_000)
        with pytest.raises(UsageError, match="so far stays"), db.batch():
            for _ in range(3):
                db.sequence("s").append("x" * 30_000)
        for _ in range(50):
            db.sequence("t").append("x" * 30_000)
        assert (db.counter("n").value, "big" in db, len(db.sequence("s")), len(db.sequence("t"))) == (1, False, 2, 50)
        with pytest.raises(UsageError, match="nothing was written"):
            db.sequence("s")[:] = ["x" * 70_000]
        assert len(db.sequence("s")) == 2


def test_what_writes_are_said_to_take_is_no_less_than_what_they_take() -> None:
    """A batch that is larger than it was said to be can be received by nobody, nor what is behind it."""
    with marmoset.open(name="a", **QUICK) as db:
        access, replica = db._store._access, db._runtime.node.replica
        long, nested = "k" * 1000, db.map("m").map("n" * 300).map("n")
        writes: list[Callable[[], object]] = [
            lambda: db.register(long).set("x"),
            lambda: db.counter(long + "n").increment(1 << 60),
            lambda: db.set("s").update(["a"] * 10_000),
            lambda: db.set("s").discard("a"),
            lambda: db.map("m").update({str(i): i for i in range(10_000)}),
            lambda: db.map("m").increment("c"),
            lambda: db.map("m").pop("7"),
            lambda: db.sequence("l").extend("abc" * 1000),
            lambda: db.sequence("l").insert(50, "z"),
            lambda: db.sequence("l").__setitem__(7, "x"),
            lambda: db.sequence("l").__delitem__(slice(3, 90)),
            lambda: nested.update({str(i): i for i in range(100)}),
            lambda: nested.set("s").add("x"),
            lambda: nested.sequence("l").append("y"),
            lambda: db.delete(long),
        ]
        with db.batch():
            replica.keyspace.tracking = True
            for at, write in enumerate(writes):
                count, said = replica.open_batch.count, access._open_bytes
                write()
                takes = len(bytes(encode_operations(replica.open_batch.operations()[count:], 1, 1)))
                assert takes <= access._open_bytes - said, at
            replica.keyspace.tracking = False
            replica.open_batch = BatchWriter(replica.me, replica.next_seq)


def test_many_threads() -> None:
    with marmoset.open(name="a", **QUICK) as a, marmoset.open(name="b", join=[a.address], **QUICK) as b:

        def work(db: marmoset.Database[str], number: int) -> None:
            for i in range(200):
                db.counter("n").increment()
                db.set("s").add(f"{number}-{i}")
                list(db.set("s"))

        threads = [threading.Thread(target=work, args=(db, i)) for i, db in enumerate((a, a, b, b))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: a.counter("n").value == b.counter("n").value == 800)
        until(lambda: len(a.set("s")) == len(b.set("s")) == 800)


def test_asyncio() -> None:
    async def main() -> None:
        async with marmoset.aopen(name="a", **QUICK) as db:
            db.set("s").add("x")
            assert db.set("s") == {"x"}
        waited = await marmoset.aopen(name="b", **QUICK)
        await asyncio.to_thread(waited.close)
        with pytest.raises(UsageError, match="bytes"):
            marmoset.aopen(encoding=None)

    asyncio.run(main())


def test_after_close_everything_is_refused() -> None:
    db = marmoset.open(name="a", **QUICK)
    view = db.set("s")
    db.close()
    db.close()
    for attempt in (lambda: view.add("x"), lambda: len(view), db.keys, db.status, lambda: db.delete("s")):
        with pytest.raises(UsageError, match="is closed"):
            attempt()


def test_a_node_that_left_by_itself_says_so() -> None:
    with marmoset.open(name="a", **QUICK) as db:
        with db._store.lock:
            db._runtime.node.leave()
        until(lambda: db._runtime.node.state == "left")
        with pytest.raises(NotServingError):
            db.set("s").add("x")


def test_what_is_in_the_way_of_opening(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean gossip_interval"):
        marmoset.open(gosip_interval="1s")
    taken = listen("127.0.0.1", 0, "a test")
    try:
        with pytest.raises(MarmosetError, match="the port is in use"):
            marmoset.open(gossip_port=port_of(taken))
    finally:
        taken.close()
    with pytest.raises(
        UsageError, match=r"late is waiting after 0\.3 s: join address does not answer.*127\.0\.0\.1:1 "
    ):
        marmoset.open(name="late", join=["127.0.0.1:1"], wait_s=0.3, **QUICK)
    with pytest.raises(UsageError, match="--new-group"):
        marmoset.open(bind="0.0.0.0", advertise="127.0.0.1")
    file = tmp_path / "node.toml"
    file.write_text('name = "from-file"\ngossip_port = 0\n')
    with marmoset.open(config_file=str(file), **QUICK) as db:
        assert (db.name, db.port) == ("from-file", None)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )


def test_a_program_that_ends_without_closing_ends() -> None:
    done = run_python("import marmoset; db = marmoset.open(name='a'); db.set('s').add('x'); print('end')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_a_forked_process_is_told() -> None:
    code = """
import os, threading, marmoset
db = marmoset.open(name='a')
db.counter('n').increment()
inner = db.map('m').set('f')
held, done = threading.Event(), threading.Event()

def hold():
    with db._store.lock:
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()  # in the new process nobody gives the lock back
child = os.fork()
if child == 0:
    for attempt in (db.counter('n').increment, lambda: db.register('r').set('x'), lambda: 'a' in inner, db.keys):
        try:
            attempt()
        except marmoset.UsageError as error:
            print(error, flush=True)
    db.close()
    os._exit(0)
os.waitpid(child, 0)
done.set()
thread.join()
print(db.counter('n').increment())
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")
    said = "this database was opened before the process was forked; open one of its own after the fork\n"
    assert done.stdout == 4 * said + "2\n"


def test_importing_brings_nothing_with_it() -> None:
    done = run_python(
        "import sys, marmoset; print([m for m in ('asyncio', 'uvloop', 'msgspec', 'typer') if m in sys.modules])"
    )
    assert done.stdout == "[]\n"


def test_an_amount_that_peers_would_refuse_is_refused_here(shared: marmoset.Database[str], key: str) -> None:
    for add in (shared.counter(key).increment, lambda amount: shared.map(key + "m").increment("f", amount)):
        with pytest.raises(UsageError, match="64 bits"):
            add(10**400)
    assert shared.counter(key).value == 0


def test_a_database_that_was_presumed_dead_comes_back_by_itself_and_its_views_stay_valid() -> None:
    with (
        marmoset.open(name="a", **QUICK) as first,
        marmoset.open(name="b", join=[first.address], **QUICK) as second,
        marmoset.open(name="c", join=[first.address], **QUICK) as third,
    ):
        view, acknowledged = third.set("s"), []
        until(lambda: len(third.members()) == 3 == len(first.members()) == len(second.members()))
        before = third.status()["id"]
        node = first._runtime.node
        for number in range(200):
            if number == 50:
                with first._store.lock:
                    node.bury("c", force=True)
                first.set("other").add("x")  # a turn of the loop sends it
            try:
                view.add(str(number))
                acknowledged.append(str(number))
            except NotServingError as refusal:
                assert str(refusal).startswith("LOADING")
                time.sleep(0.01)
        until(lambda: third.status()["state"] == "serving" and third.status()["id"] != before)
        view.add("after")
        until(lambda: set(first.set("s")) == set(second.set("s")) == {*acknowledged, "after"} == set(view))
        assert len(acknowledged) >= 50 and third.report() == [] and third.replay() == third.dismiss() == 0
        with pytest.raises(UsageError, match="in the report"):
            third.replay("nothing")
        with third.batch(), pytest.raises(UsageError, match="batch"):
            third.replay()


def test_past_maxmemory_writes_are_refused_and_what_takes_away_is_not() -> None:
    with marmoset.open(name="full", maxmemory="64kb", gossip_interval="10ms") as db:
        elements, fields, letters = db.set("set"), db.map("map"), db.sequence("list")
        elements.add("a")
        fields["f"] = "1"
        fields.set("nested").add("a")
        letters.extend("abc")
        db.register("large").value = "x" * 70_000
        until(lambda: int(db.status()["used_memory"]) > 65536)
        for write in (
            lambda: elements.add("b"),
            lambda: fields.__setitem__("g", "1"),
            lambda: fields.set("nested").add("b"),
            lambda: letters.append("d"),
            lambda: db.counter("hits").increment(),
        ):
            with pytest.raises(OutOfMemoryError, match="maxmemory allows 65536; nothing was written") as refusal:
                write()
            assert not refusal.value.changed
        assert elements == {"a"} and list(letters) == ["a", "b", "c"] and "hits" not in db
        elements.discard("a")
        fields.set("nested").discard("a")
        del letters[0]
        del fields["f"]
        with pytest.raises(OutOfMemoryError, match="nothing was written"), db.batch():
            elements.add("b")
        db.register("large").delete()
        until(lambda: int(db.status()["used_memory"]) < 65536)
        elements.add("b")
        assert elements == {"b"}


def test_a_batch_says_what_of_it_was_written_before_the_memory_was_used_up() -> None:
    with marmoset.open(name="full", maxmemory="64kb") as db, db.batch():
        db.set("set").add("a")
        db._runtime.node.memory_limit.is_full = True
        with pytest.raises(OutOfMemoryError, match="so far stays") as refusal:
            db.set("set").add("b")
        assert refusal.value.changed
        assert db.set("set") == {"a"}
