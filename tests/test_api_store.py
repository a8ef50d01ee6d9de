"""What programs do most goes one way through the store: under its lock, as the views' own way would, alone or not."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import marmoset
from marmoset.api import Database, OutOfMemoryError, WrongTypeError
from marmoset.api.store import Guard, Store
from marmoset.errors import UsageError

Way = Callable[[Database[str], str], object]


def take_last(db: Database[str], key: str) -> None:
    del db.sequence(key)[-1]


def assign_slice(db: Database[str], key: str) -> None:
    db.sequence(key)[0:1] = "xy"


def remove_field(db: Database[str], key: str) -> None:
    del db.map(key)["a"]


WAYS: dict[str, tuple[str, Way]] = {
    "in": ("set", lambda db, key: "a" in db.set(key)),
    "add": ("set", lambda db, key: db.set(key).add("b")),
    "discard": ("set", lambda db, key: db.set(key).discard("a")),
    "remove": ("set", lambda db, key: db.set(key).remove("a")),
    "elements": ("set", lambda db, key: len(db.set(key))),
    "field": ("map", lambda db, key: db.map(key)["a"]),
    "assign a field": ("map", lambda db, key: db.map(key).__setitem__("b", 1)),
    "has a field": ("map", lambda db, key: "a" in db.map(key)),
    "remove a field": ("map", remove_field),
    "fields": ("map", lambda db, key: len(db.map(key))),
    "get": ("register", lambda db, key: db.register(key).get()),
    "value": ("register", lambda db, key: db.counter(key).value),
    "increment": ("register", lambda db, key: db.counter(key).increment(5)),
    "item": ("list", lambda db, key: db.sequence(key)[0]),
    "length": ("list", lambda db, key: len(db.sequence(key))),
    "append": ("list", lambda db, key: db.sequence(key).append("c")),
    "insert": ("list", lambda db, key: db.sequence(key).insert(1, "d")),
    "slice": ("list", assign_slice),
    "delete": ("list", take_last),
}
GROWING = ("add", "assign a field", "increment", "append", "insert", "slice", "assign")
"""Ways that may take memory."""
ASSIGN: Way = lambda db, key: db.register(key).set("7")  # noqa: E731  # of any kind


def begin(db: Database[str], key: str, kind: str) -> None:
    """Make a key of a kind."""
    if kind == "set":
        db.set(key).update("a")
    elif kind == "map":
        db.map(key).update({"a": "1"})
    elif kind == "register":
        db.register(key).set("12")
    else:
        db.sequence(key).extend("ab")


class Counted:
    """How often the lock of a store is taken and given back by the whole ways, and what is done when it was taken."""

    def __init__(self, store: Store[Any], taken: Callable[[], object] = lambda: None) -> None:
        self.store, self.taken, self.given = store, 0, 0
        self._guard, self._on_taken = store._guard, taken

    def acquire(self) -> None:
        self.taken += 1
        self.store.lock.acquire()
        self._on_taken()

    def release(self) -> None:
        self.given += 1
        self.store.lock.release()

    def __enter__(self) -> "Counted":
        self.store._guard = Guard(self)  # type: ignore[arg-type]  # what it asks of a lock
        return self

    def __exit__(self, *problem: object) -> None:
        self.store._guard = self._guard


@pytest.fixture(scope="module")
def db() -> Iterator[Database[str]]:
    with marmoset.open(name="alone") as opened:
        yield opened


@pytest.mark.parametrize("name", WAYS)
def test_each_way_takes_the_lock_and_gives_it_back(db: Database[str], name: str) -> None:
    kind, way = WAYS[name]
    begin(db, name, kind)
    with Counted(db._store) as counted:
        way(db, name)
        assert counted.taken == counted.given == 1
        ASSIGN(db, name)
        assert counted.taken == counted.given == 2
    other = "set" if kind != "set" else "map"
    db.delete(name)
    begin(db, name, other)
    with Counted(db._store) as counted:
        with pytest.raises(WrongTypeError, match=f"holds a {'set' if other == 'set' else 'hash'}"):
            way(db, name)
        assert counted.taken == counted.given == 1


@pytest.mark.parametrize("name", [*WAYS, "assign"])
def test_no_way_takes_the_lock_of_what_is_closed(name: str) -> None:
    with marmoset.open(name="closing") as opened:
        pass
    with Counted(opened._store) as counted:
        with pytest.raises(UsageError, match="this database is closed"):
            (ASSIGN if name == "assign" else WAYS[name][1])(opened, name)
        assert counted.taken == 0


@pytest.mark.parametrize("name", [*WAYS, "assign"])
def test_what_is_closed_while_a_way_waits_for_the_lock_is_closed(name: str) -> None:
    with marmoset.open(name="closing") as opened:
        store = opened._store
        with Counted(store, lambda: store.close("closed meanwhile")):
            with pytest.raises(UsageError, match="closed meanwhile"):
                (ASSIGN if name == "assign" else WAYS[name][1])(opened, name)
            store.close("")


def test_a_database_that_nobody_has_any_more_is_freed_once_its_node_has_ended() -> None:
    opened = marmoset.open(name="ended")
    with opened._store.lock:
        opened._runtime.node.leave()
        opened._runtime.settle()
    opened._background._thread.join(20)
    assert not opened._background._thread.is_alive()
    lock = weakref.ref(opened._store.lock)  # what else there is cannot be referred to weakly in every build
    del opened
    gc.collect()
    assert lock() is None


@pytest.mark.parametrize("name", [*WAYS, "assign"])
def test_past_maxmemory_what_grows_is_refused_and_nothing_else(name: str) -> None:
    with marmoset.open(name="full") as opened:
        kind, way = ("register", ASSIGN) if name == "assign" else WAYS[name]
        begin(opened, "k", kind)
        limit = opened._runtime.node.memory_limit
        limit.is_full = True
        if name not in GROWING:
            way(opened, "k")
            return
        before = opened.keys()
        with pytest.raises(OutOfMemoryError, match="nothing was written"):
            way(opened, "k")
        assert opened.keys() == before
        limit.is_full = False
        way(opened, "k")


def test_a_write_larger_than_a_batch_is_refused_before_anything_is_done() -> None:
    with marmoset.open(name="small", batch_bytes_max="64kb") as opened:
        opened.sequence("l").extend("ab")
        large = "x" * 70_000
        attempts: list[Callable[[], object]] = [
            lambda: opened.register("r").set(large),
            lambda: opened.set("s").add(large),
            lambda: opened.map("m").__setitem__("f", large),
            lambda: opened.map("m").__setitem__(large, "v"),
            lambda: opened.sequence("l").append(large),
            lambda: opened.sequence("l").insert(1, large),
            lambda: opened.sequence("l").__setitem__(slice(0, 1), [large]),
        ]
        for attempt in attempts:
            with pytest.raises(UsageError, match="batch_bytes_max allows 65536; nothing was written"):
                attempt()
        assert (opened.keys(), list(opened.sequence("l"))) == (["l"], ["a", "b"])


def test_what_is_spliced_is_counted_once_and_as_what_it_takes() -> None:
    with marmoset.open(name="small", batch_bytes_max="64kb") as opened, opened.batch():
        access = opened._store._access
        opened.sequence("absent").insert(0, "x" * 40_000)
        opened.sequence("l").extend("a" * 2000)
        del opened.sequence("l")[1:1990]  # one range of ids
        said = access._open_bytes
        assert 40_000 < said < 65_536
        opened.sequence("l")[1:1] = []
        assert access._open_bytes == said


def test_what_can_be_no_name_is_nowhere() -> None:
    with marmoset.open(name="names", split_above=16) as opened:
        for count in (0, 5, 50):  # absent, in one piece, in parts
            names = [str(number) for number in range(count)]
            opened.set("s").update(names)
            opened.map("m").update(dict.fromkeys(names, "v"))
            opened.map("nested").update(dict.fromkeys(names, "v"))
            opened.map("nested").set("child").add("element")
            for view in (opened.set("s"), opened.map("m"), opened.map("nested")):
                for name in (1.5, None, (), "\ud800"):
                    assert name not in view
            for fields in (opened.map("m"), opened.map("nested")):
                with pytest.raises(KeyError, match=r"1\.5"):
                    del fields[1.5]  # type: ignore[arg-type]
            assert (len(opened.set("s")), len(opened.map("m")), len(opened.map("nested"))) == (count, count, count + 1)


def test_counters_that_hold_text(db: Database[str]) -> None:
    number, register = db.counter("number"), db.register("number")
    for text, total in (("5", 6), ("5.0", 6), ("-0", 1), (str(1 << 70), (1 << 70) + 1)):
        register.set(text)
        assert number.increment() == total == number.value
    for text in ("five", "", "1.5"):
        register.set(text)
        with pytest.raises(UsageError, match="holds .*, which is not a whole number"):
            number.increment()
        assert register.value == text


def test_texts_of_every_kind_come_back() -> None:
    for encoding in ("utf-8", "latin-1"):
        with marmoset.open(name="texts", encoding=encoding) as opened:
            texts = ["", "a", "ä", "\udcff", "a\udc80"] if encoding == "utf-8" else ["", "a", "ä", "Ã¤"]
            for text in texts:
                opened.set("s").add(text)
                opened.map("m")[text] = text
                opened.sequence("l").append(text)
                assert text in opened.set("s") and opened.map("m")[text] == text
                assert opened.sequence("l")[-1] == text
            assert set(opened.set("s")) == set(texts) and list(opened.sequence("l")) == texts
            with pytest.raises(UnicodeEncodeError):
                opened.set("s").add("\ud800" if encoding == "utf-8" else "\u20ac")


def test_places_that_are_no_int_but_say_which_one_they_are(db: Database[str]) -> None:
    class Place:
        def __index__(self) -> int:
            return 1

    view = db.sequence("places")
    view.extend("ac")
    view.insert(Place(), "b")
    assert list(view) == ["a", "b", "c"]
    with pytest.raises(TypeError):
        view.insert("1", "b")  # type: ignore[arg-type]


# Alone, and as one of two: the same, and what plain collections do

STEPS = st.tuples(
    st.sampled_from(["add", "discard", "field", "count", "append", "insert", "slice", "delete", "set"]),
    st.integers(-3, 9),
    st.integers(0, 3),
)


def play(db: Database[str], steps: list[tuple[str, int, int]]) -> list[object]:
    """What a program gets that does these things, and what is there in the end."""
    got: list[object] = []
    members, fields, number, letters = db.set("s"), db.map("m"), db.counter("n"), db.sequence("l")
    nested = db.map("outer")
    for what, at, count in steps:
        try:
            if what == "add":
                members.add(at)
                nested.set("s").add(at)
                got.append(str(at) in members and str(at) in nested.set("s"))
            elif what == "discard":
                members.discard(at)
            elif what == "field":
                fields[at] = count
                nested.map("m")[at] = count
                got.append((fields[at], nested.map("m")[at], str(at + 1) in fields))
            elif what == "count":
                got.append(number.increment(at))
            elif what == "set":
                db.register("n").set(at)
                got.append(number.value)
            elif what == "append":
                letters.append(at)
                nested.sequence("l").append(at)
            elif what == "insert":
                letters.insert(at, count)
                nested.sequence("l").insert(at, count)
            elif what == "slice":
                letters[at : at + count] = "xyz"[:count]
                nested.sequence("l")[at : at + count] = "xyz"[:count]
            else:
                got.append(letters[at])
                del letters[at]
        except IndexError as error:
            got.append(str(error))
    got += [set(members), dict(fields), number.value, list(letters)]
    got += [set(nested.set("s")), dict(nested.map("m")), list(nested.sequence("l"))]
    db.delete("s", "m", "n", "l", "outer")
    return got


@pytest.fixture(scope="module")
def of_two() -> Iterator[Database[str]]:
    settings: dict[str, Any] = {"gossip_interval": "20ms", "leave_timeout": "2s"}
    with marmoset.open(name="a", **settings) as a, marmoset.open(name="b", join=[a.address], **settings):
        yield a


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_alone_and_in_a_group_the_same_is_done(
    db: Database[str], of_two: Database[str], steps: list[tuple[str, int, int]]
) -> None:
    assert play(db, steps) == play(of_two, steps)
