"""Bytes for each element, at rest, after replication; beside Python's containers and a real Redis; `make bench-memory`.

Method: two nodes with all that belongs to them, in this process, linked over loopback. One is written to, in batches of
`BATCH` edits; once both are at rest, everything that hangs on each node's replica is counted, less the same when both
were empty: keys, values, and all metadata that was left behind, log and memory of changes too. The count walks from
object to object (`gc.get_referents`), each once, with `sys.getsizeof` rounded up to the 16 bytes in whose steps
Python's allocator gives out. That is exact and repeats to the byte, where the resident size is a matter of pages and of
what was freed before; what it leaves out is the allocator's own tables and half-empty pages, some percent.

*written to* and *received*: the two nodes. *plain*: the Python container of `bytes` that has the same after the same
edits, counted in the same way. *Redis*: how much `used_memory` of INFO grows, which is what its allocator gave out,
its roundings included; a list that was edited at random is pushed there as it came out.

Shapes: string keys; one set; one hash; a list built by appending; one whose elements were put in front one by one; a
list edited at random (two insertions at random places of three edits, a removal the third). Keys, elements and values
are 11 to 15 bytes long and no two are equal.

    make bench-memory                                                     a minute or two
    make bench-memory ARGS="--elements 700000 1000000 1400000"            full size, an hour or more and 2 GB
    make bench-memory ARGS="--elements 1000000 --shapes set hash"         some of it

Targets: received at most `PLAIN_MAX` of the plain container (lists built at an end `APPENDED_MAX`), and at most
`REDIS_MAX` of Redis, in the mean of the sizes; a list edited at random is shown, and has none. Caveats: the values' own
bytes are part of everything, so with longer ones all ratios come nearer to one. A Python set or dict keeps room to
grow, up to half and more of its table, in steps; so do the parts in which a node keeps a large set, and Redis's table,
in other steps: hence some sizes, within a doubling.
"""

import argparse
import contextlib
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import marmoset
from bench import results
from bench.pipes import Pipe
from bench.processes import exit_on_sigterm, found_redis, redis_server
from bench.results import Target
from marmoset.api import Database

PLAIN_MAX: Final = 1.05
APPENDED_MAX: Final = 1.10
APPENDED: Final = "list, appended"
IN_FRONT: Final = "list, in front"
EDITED: Final = "list, edited"
REDIS_MAX: Final = {"string keys": 1.7, "set": 1.3, APPENDED: 2.5, IN_FRONT: 2.5}
BATCH: Final = 500
ROUNDING: Final = 16
REST_S: Final = 300.0
STEADY_S: Final = 10.0
STEADY_TIMES: Final = 3
KEY: Final = b"k"
PROGRAM: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)
"""What belongs to the program: it leads everywhere, and is there once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of data: an empty container, the edit that a number stands for, there and in a node, and how Redis gets
    the outcome."""

    empty: Callable[[], Any]
    edit: Callable[[Any, int], None]
    write: Callable[["Database[bytes]", int], None]
    command: bytes
    keyed: bool = True


def element(number: int) -> bytes:
    """An element."""
    return b"element:%07d" % number


def value(number: int) -> bytes:
    """A value of a key or a field."""
    return b"value:%07d" % number


def edit_at_random(values: Any, number: int) -> None:
    """An insertion at a random place, or every third time a removal. On a list, and on what looks like one."""
    place = random.Random(number).randrange(number + 1) * len(values) // (number + 1)
    if number % 3 == 2:
        del values[place]
    else:
        values.insert(place, element(number))


def assign(values: Any, number: int) -> None:
    """A field."""
    values[element(number)] = value(number)


SHAPES: Final = {
    "string keys": Shape(dict, assign, lambda db, n: db.register(element(n)).set(value(n)), b"SET", False),
    "set": Shape(set, lambda made, n: made.add(element(n)), lambda db, n: db.set(KEY).add(element(n)), b"SADD"),
    "hash": Shape(dict, assign, lambda db, n: assign(db.map(KEY), n), b"HSET"),
    APPENDED: Shape(
        list, lambda made, n: made.append(element(n)), lambda db, n: db.sequence(KEY).append(element(n)), b"RPUSH"
    ),
    IN_FRONT: Shape(
        list,
        lambda made, n: made.insert(0, element(n)),
        lambda db, n: db.sequence(KEY).insert(0, element(n)),
        b"RPUSH",
    ),
    EDITED: Shape(list, edit_at_random, lambda db, n: edit_at_random(db.sequence(KEY), n), b"RPUSH"),
}


def main() -> int:
    """Measure and print; 0 unless a run failed."""
    options = arguments()
    exit_on_sigterm()
    with contextlib.ExitStack() as stack:
        path = found_redis()
        redis = stack.enter_context(redis_server(path)).port if path else None
        rows = [row_of(name, elements, redis) for name in options.shapes for elements in options.elements]
    targets = list(targets_of(rows))
    show(rows)
    results.show_targets(targets)
    results.write("memory", options, rows, targets)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-memory", "bytes for each element, beside Python's containers and a real Redis")
    parser.add_argument("--elements", type=int, nargs="+", default=[30_000, 42_000, 60_000], help="sizes of each shape")
    parser.add_argument(
        "--shapes",
        choices=SHAPES,
        nargs="+",
        default=list(SHAPES),
        metavar="SHAPE",
        help=f"of {', '.join(map(repr, SHAPES))}",
    )
    return parser.parse_args()


def row_of(name: str, elements: int, redis: int | None) -> dict[str, Any]:
    """Bytes for each element of one shape."""
    print(f"{name}, {elements:,} elements", end="", file=sys.stderr, flush=True)
    shape = SHAPES[name]
    made = shape.empty()
    edits = elements * 3 if name == EDITED else elements
    for number in range(edits):
        shape.edit(made, number)
    count = len(made)
    row: dict[str, Any] = {"shape": name, "elements": count, "plain": footprint(made) / count}
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(marmoset.open(name="one", encoding=None, log_level="error"))
        second = stack.enter_context(marmoset.open(name="two", join=first.address, encoding=None, log_level="error"))
        nodes = {"written_to": first, "received": second}
        wait_rest(nodes.values())
        empty = {which: footprint(replica_of(db)) for which, db in nodes.items()}
        for at in range(0, edits, BATCH):
            with first.batch():
                for number in range(at, min(edits, at + BATCH)):
                    shape.write(first, number)
        wait_rest(nodes.values())
        for which, db in nodes.items():
            assert content(db, name) == made, f"{which} has not what it should have"
            row[which] = (footprint(replica_of(db)) - empty[which]) / count
    row["redis"] = used_by_redis(redis, shape, made) / count if redis else None
    print(f": {row['received']:.1f} received, {row['plain']:.1f} plain", file=sys.stderr)
    return row


def replica_of(db: "Database[bytes]") -> object:
    """All the data of a node, and what it knows of it."""
    return db._runtime.node.replica


def wait_rest(nodes: Iterable["Database[bytes]"]) -> None:
    """Wait until no node holds anything but plain values."""
    until = time.monotonic() + REST_S
    for db in nodes:
        while any((status := db.status())[name] for name in ("log_batches", "folding_batches", "window_entries")):
            if time.monotonic() > until:
                raise SystemExit(f"not at rest within {REST_S:g} s: {status}")
            time.sleep(0.02)


def content(db: "Database[bytes]", name: str) -> object:
    """What a node has, as the plain container that it is to equal."""
    if name == "string keys":
        keys = db.keys()
        return {key: db.register(key).value for key in keys}
    if name == "set":
        return set(db.set(KEY))
    return dict(db.map(KEY).items()) if name == "hash" else list(db.sequence(KEY))


def footprint(root: object) -> int:
    """Bytes of an object and of everything that hangs on it but the program itself. O(objects)."""
    gc.collect()
    total, seen, left = 0, {id(root)}, [root]
    while left:
        item = left.pop()
        total += -(-sys.getsizeof(item) // ROUNDING) * ROUNDING
        for each in gc.get_referents(item):
            if id(each) not in seen and not isinstance(each, PROGRAM):
                seen.add(id(each))
                left.append(each)
    return total


def used_by_redis(port: int, shape: Shape, made: Any) -> int:
    """By how much the memory of a real Redis grows when it gets the same."""
    with contextlib.closing(Pipe(port)) as asking:
        asking.one(b"FLUSHALL")
        before = used_memory(asking)
        items: Sequence[tuple[bytes, ...]] = (
            list(made.items()) if isinstance(made, dict) else [(each,) for each in made]
        )
        head = [shape.command, KEY] if shape.keyed else [shape.command]
        with contextlib.closing(Pipe(port)) as filling:  # its buffers go with it
            for at in range(0, len(items), BATCH):
                replies = filling.all([[*head, *item] for item in items[at : at + BATCH]])
                assert not any(isinstance(reply, Exception) for reply in replies), replies
        return used_memory(asking) - before


def used_memory(pipe: Pipe) -> int:
    """What INFO says, once it says the same some times running: tables that have grown are moved in the background."""
    last, same, until = -1, 0, time.monotonic() + STEADY_S
    while same < STEADY_TIMES and time.monotonic() < until:
        said: bytes = pipe.one(b"INFO", b"memory")
        fields = dict(line.split(b":", 1) for line in said.split(b"\r\n") if b":" in line)
        used = int(fields[b"used_memory"])
        same = same + 1 if used == last else 0
        last = used
        time.sleep(0.1)
    return last


def targets_of(rows: list[dict[str, Any]]) -> Iterator[Target]:
    """Those of each shape that has some, in the mean of the sizes."""
    for name in dict.fromkeys(row["shape"] for row in rows):
        if name == EDITED:
            continue
        of_shape = [row for row in rows if row["shape"] == name]
        beside_plain = statistics.mean(row["received"] / row["plain"] for row in of_shape)
        yield Target(
            f"{name}, received, beside plain", beside_plain, APPENDED_MAX if name in (APPENDED, IN_FRONT) else PLAIN_MAX
        )
        beside_redis = [row["received"] / row["redis"] for row in of_shape if row["redis"]]
        if beside_redis and name in REDIS_MAX:
            yield Target(f"{name}, received, beside Redis", statistics.mean(beside_redis), REDIS_MAX[name])


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    numbers = ("elements", "plain", "written to", "received", "beside plain", "redis", "beside redis")
    table = results.table("bytes for each element, at rest", ("shape",), numbers)
    for row in rows:
        cells = [f"{row[name]:.1f}" for name in ("plain", "written_to", "received")]
        cells.append(f"{row['received'] / row['plain']:.3f}")
        if row["redis"]:
            cells += [f"{row['redis']:.1f}", f"{row['received'] / row['redis']:.2f}"]
        table.add_row(row["shape"], f"{row['elements']:,}", *cells)
    results.console().print(table)


if __name__ == "__main__":
    sys.exit(main())
