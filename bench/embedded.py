"""Operations a second of a node inside a Python program, beside what else it could use; `make bench-embedded`.

Method: one statement in a loop, as a program would write it (`key in s`), over keys that were made before, shuffled;
from one thread, and from `--threads` threads that begin together, each with its share. Writes count until the node has
forgotten all but the plain values, so what its background thread does for them is in. What is read is there; what is
added is new. Every subject does every operation that it has in each round, in changing order; medians of the rounds.

- *marmoset*: `marmoset.open()`, values as `str`, in this process, a group of one (see `bench.replication` for peers);
- *redis-py*: the same over loopback to `marmoset serve`, a process of its own, request by request;
- *plain*: Python's `set`, `dict`, `list`; a counter is a value of a dict;
- *pycrdt*, *loro*: their maps and lists, in a document of its own, every operation by itself (pycrdt: a transaction
  each; loro commits by itself when something is exported). Documents belong to one thread. They come with the extra
  `bench`; where one is not installed it is left out, loudly.

    make bench-embedded                               about a minute
    make bench-embedded ARGS="--count 500000 --rounds 5"

Targets: `in` and reading a map above `READS_MIN` a second, add and increment above `WRITES_MIN`, from one thread and
from all of them together; each at least `REDIS_PY_TIMES` redis-py's, from one thread. Caveats: loops are 20 ns of it;
threads of one process share one interpreter lock, so four are not quicker than one, and the question is how much
slower.
"""

import argparse
import contextlib
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import marmoset
from bench import results
from bench.processes import exit_on_sigterm, node
from bench.results import Target
from marmoset.api import Database

READS_MIN: Final = 1_000_000
WRITES_MIN: Final = 300_000
REDIS_PY_TIMES: Final = 50
TARGETS: Final = {"in": READS_MIN, "map read": READS_MIN, "add": WRITES_MIN, "increment": WRITES_MIN}
OPERATIONS: Final = ("in", "map read", "add", "map assign", "increment", "append", "list read")
STAYING: Final = 10_000
"""How many elements there are of what is read; of a list `LISTED`, since pycrdt takes seconds to make a long one."""
LISTED: Final = 1000
SLOWER: Final = 20
"""How many times fewer operations are asked of who needs a round trip for each."""

Loop = Callable[[list[str]], None]


@dataclass
class Subject:
    """Something that has sets, maps or lists."""

    name: str
    statements: dict[str, str]
    """Operation to statement: `key` is the key at hand, other names are those of `names`."""
    names: dict[str, Any]
    begin: Callable[[], None] = lambda: None
    """Empties what is added to."""
    settle: Callable[[], None] = lambda: None
    """Waits for what goes on behind a write."""
    threads: bool = True
    share: int = 1
    loops: dict[str, Loop] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loops = {name: loop(statement, self.names) for name, statement in self.statements.items()}


@dataclass(frozen=True, slots=True)
class Measured:
    """Operations a second, median of the rounds."""

    subject: str
    operation: str
    threads: int
    rate: float


def main() -> int:
    """Measure and print; 0 unless a run failed."""
    options = arguments()
    exit_on_sigterm()
    rng = random.Random(1)
    staying = [f"element:{n}" for n in range(STAYING)]
    reads = [rng.choice(staying) for _ in range(options.count)]
    writes = [f"new:{n}" for n in range(options.count)]
    rng.shuffle(writes)
    with contextlib.ExitStack() as stack:
        makers = (in_process, over_loopback, plain, pycrdt, loro)
        subjects = [made for make in makers if (made := stack.enter_context(make(staying))) is not None]
        measured = list(measure(subjects, reads, writes, options))
    show(measured, subjects, options)
    targets = list(targets_of(measured))
    results.show_targets(targets)
    results.write("embedded", options, [asdict(each) for each in measured], targets)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-embedded", "a node inside a Python program, beside what else it could use")
    parser.add_argument("--count", type=int, default=100_000, help=f"of each operation; redis-py's divided by {SLOWER}")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--threads", type=int, default=4, help="beside one")
    return parser.parse_args()


def measure(
    subjects: list[Subject], reads: list[str], writes: list[str], options: argparse.Namespace
) -> Iterator[Measured]:
    """Every operation of every subject."""
    seen: dict[tuple[str, str, int], list[float]] = {}
    for number in range(options.rounds):
        for operation in OPERATIONS:
            print(f"round {number + 1} {operation}", file=sys.stderr)
            for threads in (1, options.threads):
                for subject in subjects if number % 2 else subjects[::-1]:
                    if operation in subject.loops and (threads == 1 or subject.threads):
                        keys = reads if operation in ("in", "map read", "list read") else writes
                        keys = keys[: max(threads, len(keys) // subject.share)]
                        took = seconds(subject, operation, keys, threads)
                        seen.setdefault((subject.name, operation, threads), []).append(len(keys) / took)
    for (name, operation, threads), rates in seen.items():
        yield Measured(name, operation, threads, statistics.median(rates))


def seconds(subject: Subject, operation: str, keys: list[str], threads: int) -> float:
    """One run."""
    subject.begin()
    run = subject.loops[operation]
    if threads == 1:
        began = time.perf_counter()
        run(keys)
        subject.settle()
        return time.perf_counter() - began
    problems: list[BaseException] = []
    barrier = threading.Barrier(threads + 1)

    def work(part: list[str]) -> None:
        barrier.wait()
        try:
            run(part)
        except Exception as problem:
            problems.append(problem)

    workers = [threading.Thread(target=work, args=(keys[at::threads],)) for at in range(threads)]
    for each in workers:
        each.start()
    barrier.wait()
    began = time.perf_counter()
    for each in workers:
        each.join()
    subject.settle()
    took = time.perf_counter() - began
    if problems:
        raise problems[0]
    return took


def loop(statement: str, names: dict[str, Any]) -> Loop:
    """A function that does a statement for each key: no call stands between the loop and what is measured."""
    arguments = ", ".join(names)
    source = f"def make({arguments}):\n def run(keys):\n  for key in keys:\n   {statement}\n return run\n"
    made: dict[str, Any] = {}
    exec(source, made)  # of statements in this file alone
    run: Loop = made["make"](**names)
    return run


# Who is measured


@contextlib.contextmanager
def in_process(staying: list[str]) -> Iterator[Subject]:
    """A node of this process."""
    with marmoset.open(name="embedded", log_level="error") as db:
        db.set("set").update(staying)
        db.map("map").update({each: "value" for each in staying})
        db.sequence("list").extend(staying[:LISTED])
        statements = {
            "in": "key in s",
            "map read": "m[key]",
            "add": "t.add(key)",
            "map assign": "n[key] = 'value'",
            "increment": "c.increment()",
            "append": "q.append(key)",
            "list read": "l[777]",
        }
        names: dict[str, Any] = {"s": db.set("set"), "t": db.set("new set"), "m": db.map("map"), "n": db.map("new map")}
        names |= {"c": db.counter("hits"), "q": db.sequence("new list"), "l": db.sequence("list")}

        def begin() -> None:
            db.delete("new set", "new map", "new list", "hits")
            rest(db)

        yield Subject("marmoset", statements, names, begin, lambda: rest(db))


def rest(db: "Database[str]") -> None:
    """Wait until the node holds nothing but plain values."""
    while any((status := db.status())[name] for name in ("log_batches", "folding_batches", "window_entries")):
        assert status["state"] == "serving", status
        time.sleep(0.0005)


@contextlib.contextmanager
def over_loopback(staying: list[str]) -> Iterator[Subject | None]:
    """A node of another process, through redis-py."""
    if find_spec("redis") is None:
        left_out("redis-py", "redis")
        yield None
        return
    redis: Any = import_module("redis")
    with node() as server, contextlib.closing(redis.Redis(port=server.port, decode_responses=True)) as client:
        client.sadd("set", *staying)
        client.hset("map", mapping=dict.fromkeys(staying, "value"))
        client.rpush("list", *staying[:LISTED])
        statements = {
            "in": "r.sismember('set', key)",
            "map read": "r.hget('map', key)",
            "add": "r.sadd('new set', key)",
            "map assign": "r.hset('new map', key, 'value')",
            "increment": "r.incr('hits')",
            "append": "r.rpush('new list', key)",
            "list read": "r.lindex('list', 777)",
        }

        def begin() -> None:
            client.delete("new set", "new map", "new list", "hits")

        yield Subject("redis-py", statements, {"r": client}, begin, share=SLOWER)


@contextlib.contextmanager
def plain(staying: list[str]) -> Iterator[Subject]:
    """What Python has."""
    names: dict[str, Any] = {"s": set(staying), "t": set(), "m": dict.fromkeys(staying, "value")}
    names |= {"n": {}, "c": {"hits": 0}, "q": [], "l": staying[:LISTED]}
    statements = {
        "in": "key in s",
        "map read": "m[key]",
        "add": "t.add(key)",
        "map assign": "n[key] = 'value'",
        "increment": "c['hits'] += 1",
        "append": "q.append(key)",
        "list read": "l[777]",
    }

    def begin() -> None:
        for each in "tnq":
            names[each].clear()

    yield Subject("plain", statements, names, begin)


@contextlib.contextmanager
def pycrdt(staying: list[str]) -> Iterator[Subject | None]:
    """A document of pycrdt."""
    if find_spec("pycrdt") is None:
        left_out("pycrdt", "pycrdt")
        yield None
        return
    package: Any = import_module("pycrdt")
    document = package.Doc()
    names = {"m": package.Map(dict.fromkeys(staying, "value")), "n": package.Map()}
    names |= {"q": package.Array(), "l": package.Array(staying[:LISTED])}
    for name, each in names.items():
        document[name] = each
    statements = {
        "map read": "m[key]",
        "map assign": "n[key] = 'value'",
        "append": "q.append(key)",
        "list read": "l[777]",
    }

    def begin() -> None:
        names["n"].clear()
        names["q"].clear()

    yield Subject("pycrdt", statements, names, begin, threads=False, share=SLOWER)


@contextlib.contextmanager
def loro(staying: list[str]) -> Iterator[Subject | None]:
    """A document of loro."""
    if find_spec("loro") is None:
        left_out("loro", "loro")
        yield None
        return
    package: Any = import_module("loro")
    document = package.LoroDoc()
    names = {"m": document.get_map("m"), "n": document.get_map("n")}
    names |= {"q": document.get_list("q"), "l": document.get_list("l")}
    for each in staying:
        names["m"].insert(each, "value")
    for each in staying[:LISTED]:
        names["l"].push(each)
    document.commit()
    statements = {
        "map read": "m.get(key)",
        "map assign": "n.insert(key, 'value')",
        "append": "q.push(key)",
        "list read": "l.get(777)",
    }

    def begin() -> None:
        names["n"].clear()
        names["q"].clear()

    yield Subject("loro", statements, names, begin, document.commit, threads=False, share=SLOWER)


def left_out(name: str, package: str) -> None:
    """Say that somebody is not measured."""
    print(f"{name.upper()} IS LEFT OUT: {package} is not installed; pip install -e '.[dev,bench]'", file=sys.stderr)


# Results


def targets_of(measured: list[Measured]) -> Iterator[Target]:
    """Those of each number of threads."""
    rates = {(each.subject, each.operation, each.threads): each.rate for each in measured}
    for (subject, operation, threads), rate in rates.items():
        if subject == "marmoset" and operation in TARGETS:
            who = "one thread" if threads == 1 else f"{threads} threads"
            yield Target(f"{operation}, a second, {who}", rate, TARGETS[operation], at_least=True)
            if threads == 1 and ("redis-py", operation, 1) in rates:
                times = rate / rates["redis-py", operation, 1]
                yield Target(f"{operation}, times redis-py", times, REDIS_PY_TIMES, at_least=True)


def show(measured: list[Measured], subjects: list[Subject], options: argparse.Namespace) -> None:
    """The table."""
    rates = {(each.subject, each.operation, each.threads): each.rate for each in measured}
    names = [each.name for each in subjects]
    table = results.table(f"operations a second, median of {options.rounds}", ("",), ("threads", *names))
    for threads in dict.fromkeys((1, options.threads)):
        for operation in OPERATIONS:
            found = [rates.get((name, operation, threads)) for name in names]
            table.add_row(operation, str(threads), *("" if rate is None else f"{rate:,.0f}" for rate in found))
    results.console().print(table)


if __name__ == "__main__":
    sys.exit(main())
