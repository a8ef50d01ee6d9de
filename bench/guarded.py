"""What `make guard` counts: one process that does each guarded operation many times, always in the same way.

It runs under valgrind's callgrind, which writes down its counts whenever `os.getppid` calls the function of that name
in the C library (`MARK`): once before and once behind each stretch that is counted. Nobody else here calls it, so
imports, set-up and warming up are in parts of their own, and left out. In the end the stretches are printed, in order,
with the operations that each has done; a name may come more than once.

What is done depends on nothing but this file: keys, ids and edits are drawn from seeds, clocks stand, the collector of
cycles does not run, and hashes are not salted, which `bench.guard` sees to. The loops are interpreted; they are some
ten instructions beside thousands of what they call, but for `in` and reads of the Python face.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

import uvloop

from bench.builds import COMMANDS, Time, chunks
from bench.editing_traces import MarmosetEditor, Patch
from marmoset.api.maps import MapView
from marmoset.api.registers import CounterView
from marmoset.api.sequences import SequenceView
from marmoset.api.sets import SetView
from marmoset.api.store import Store
from marmoset.codec.frames import FrameReader, MessageReader
from marmoset.codec.messages import AnyMessage, Batch, decode
from marmoset.codec.operations import Join, Ready
from marmoset.config import Config, load
from marmoset.keyspace import Keyspace
from marmoset.node import Node
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSink, SnapshotSource
from marmoset.runtime import Runtime
from marmoset.server import ClientConnection, redis_server
from marmoset.session import Clients, Session

MARK: Final = "getppid"
PLAIN: Final = "plain Python"
DEPTH: Final = 16
KEYS: Final = 1000
CLIENTS: Final = 50
CUT_BYTES: Final = 4099
"""A long pipeline comes in pieces of so many bytes, which hardly ever end where a request ends."""
REPLICATED: Final = ("SET", "INCR", "SADD", "HSET", "LPUSH", "ZADD")
GUARDED: Final = tuple(name for name in COMMANDS if name != "PING")
TURNS: Final = 8
"""Batches that are counted; each dump of callgrind takes a moment."""

Stretches = list[tuple[str, int]]


class Counted:
    """The stretches that were counted so far."""

    def __init__(self) -> None:
        self.stretches: Stretches = []

    @contextmanager
    def __call__(self, name: str, operations: int) -> Iterator[None]:
        """Count what is done inside, which is so many operations."""
        gc.collect()
        os.getppid()
        yield
        os.getppid()
        self.stretches.append((name, operations))


def a_node() -> Node:
    """A node alone, whose clock stands."""
    node = Node(Config(name="solo", port=6379, gossip_port=7946), Time(), Random(7))
    node.start()
    return node


def commands(count: Counted, number: int) -> None:
    """Requests at a depth of `DEPTH`, from received bytes to reply bytes, and the ends of their turns."""
    node = a_node()
    session = Session(node, Clients(), 1, "127.0.0.1:1")

    def send(chunks_: list[bytes]) -> None:
        for chunk in chunks_:
            session.receive(chunk)
            node.end_turn()
            node.effects.clear()

    for name in GUARDED:
        sent = chunks(COMMANDS[name], number, DEPTH, KEYS)
        send(sent)
        with count(name, number):
            send(sent)
    pipeline = b"".join(chunks(COMMANDS["SET"], number, DEPTH, KEYS))
    sent = [pipeline[at : at + CUT_BYTES] for at in range(0, len(pipeline), CUT_BYTES)]
    send(sent)
    with count("SET in a long pipeline", number):
        send(sent)


def replication(count: Counted) -> None:
    """Batches of several commands: closed and encoded by their origin, decoded and applied by a receiver, which folds
    them when it has heard that they are stable."""
    node = a_node()
    session = Session(node, Clients(), 1, "127.0.0.1:1")
    origin = node.replica
    receiver = joined(origin)
    parts = [chunks(COMMANDS[name], 2 * TURNS * DEPTH, DEPTH, KEYS) for name in REPLICATED]
    operations = DEPTH * len(REPLICATED)
    for at, turn in enumerate(zip(*parts, strict=True)):
        counting = at >= TURNS  # the first ones warm up
        for chunk in turn:
            session.receive(chunk)
        with maybe(count, counting, "batch: encode", operations):
            origin.commit()
        framed = [entry.framed for entry in origin.log.entries.values() if entry.origin == origin.me][-1]
        with maybe(count, counting, "batch: apply", operations):
            take(receiver, framed)
        told(receiver, origin)
        told(origin, receiver)
        with maybe(count, counting, "batch: fold", operations):
            fold(receiver)
        fold(origin)


@contextmanager
def maybe(count: Counted, counting: bool, name: str, operations: int) -> Iterator[None]:
    """Count, or only do."""
    if counting:
        with count(name, operations):
            yield
    else:
        yield


def joined(origin: Replica) -> Replica:
    """A second member, filled by the first."""
    me = 2
    receiver = Replica(
        keyspace=Keyspace(200_000),
        wall_ms=Time().wall_ms,
        name="second",
        address="127.0.0.1:2",
        frame_bytes_max=1 << 18,
        batch_operations_max=1000,
    )
    receiver.begin(me)
    origin.submit_roster([Join(me, "second", "127.0.0.1:2")])
    source, sink = SnapshotSource(origin, me), SnapshotSink(receiver)
    while not source.is_done:
        for framed in source.step():
            sink.take(*message_of(framed))
    receiver.keyspace.snapshot_vectors.clear()
    receiver.submit_roster([Ready()])
    take(origin, list(receiver.log.entries.values())[-1].framed)
    return receiver


def message_of(framed: bytes) -> tuple[AnyMessage, bytes]:
    """The one message in some frames, and its bytes."""
    assembled, found = MessageReader(1 << 24), b""
    for payload in FrameReader(1 << 24).feed(framed):
        found = assembled.feed(payload) or found
    return decode(found), found


def take(replica: Replica, framed: bytes) -> None:
    """Apply what has come."""
    message, _ = message_of(framed)
    assert isinstance(message, Batch)
    assert replica.apply(message, framed) == "applied"


def told(source: Replica, target: Replica) -> None:
    """`target` counts a report of `source`."""
    report, _ = source.report(target.me, 0)
    target.count_report(report)


def fold(replica: Replica) -> None:
    """Forget what is stable."""
    replica.advance()
    while replica.fold_slice(500):
        replica.advance()


async def started() -> Runtime:
    """A node alone, on the loop that runs."""
    runtime = Runtime(load({"name": "embedded", "gossip_port": 0}, None, None))
    runtime.open()
    await runtime.start()
    await runtime.serving.wait()
    return runtime


class Deaf(asyncio.Transport):
    """A connection of a client who hears nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nothing."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing."""


async def clients(count: Counted, number: int) -> None:
    """Requests that are not pipelined, of `CLIENTS` clients in each turn, from the bytes that the loop hands over to
    those that it is given. How long a turn takes does not count."""
    runtime = await started()
    server = redis_server(runtime)
    server.now_s = lambda: 0.0
    connections = [ClientConnection(server) for _ in range(CLIENTS)]
    for connection in connections:
        connection.connection_made(Deaf())

    def send(requests: list[bytes]) -> None:
        for at in range(0, len(requests), CLIENTS):
            for connection, request in zip(connections, requests[at : at + CLIENTS], strict=False):
                connection.data_received(request)
            runtime._end_turn()

    for name in ("SET", "GET"):
        requests = chunks(COMMANDS[name], number, 1, KEYS)
        send(requests)
        await asyncio.sleep(0)
        with count(f"{name} of {CLIENTS} clients", number):
            send(requests)
    for connection in connections:
        connection.connection_lost(None)
    await runtime.close()


async def embedded(count: Counted, number: int) -> None:
    """The Python face, as a program would write it. The loop of the node gets its turn between the stretches."""
    runtime = await started()
    store: Store[str] = Store(runtime, "utf-8")
    elements, fields, hits = SetView(store, b"set"), MapView(store, b"map"), CounterView(store, b"hits")
    text = SequenceView(store, b"text")
    words = [f"element:{each}" for each in range(KEYS)]
    rng = Random(2)
    asked = [rng.choice(words) for _ in range(number)]
    elements.update(words)
    fields.update(dict.fromkeys(words, "value"))
    hits.increment()

    def contain() -> None:
        for word in asked:
            word in elements  # noqa: B015

    def read() -> None:
        for word in asked:
            fields[word]

    def add() -> None:
        for word in asked:
            elements.add(word)

    def increment() -> None:
        for _ in asked:
            hits.increment()

    edits = iter(bursts(2 * number))

    def edit() -> None:
        for _ in asked:
            at, gone, letters = next(edits)
            text[at : at + gone] = letters

    loops: dict[str, Callable[[], None]] = {"in": contain, "map read": read, "add": add, "increment": increment}
    loops["edit"] = edit
    for name, run in loops.items():
        run()
        await asyncio.sleep(0.01)
        with count(f"Python: {name}", number):
            run()
    await runtime.close()


def editing(count: Counted, number: int) -> None:
    """A text typed and corrected in bursts at changing places, one edit at a time, through the sequence."""
    editor = MarmosetEditor(1, windowed=False)
    patches = bursts(2 * number)
    for patch in patches[:number]:
        editor.edit(patch)
    with count("text: edit", number):
        for patch in patches[number:]:
            editor.edit(patch)


def plain(count: Counted, number: int) -> None:
    """What plain Python does with as many requests: for comparing interpreters, not marmoset."""
    table: dict[bytes, bytes] = {}
    rng = Random(4)
    requests = [b"SET key%d %d" % (rng.randrange(KEYS), each) for each in range(2 * number)]

    def run(requests_: list[bytes]) -> list[bytes]:
        replies: list[bytes] = []
        for request in requests_:
            words = request.split()
            if words[0].lower() == b"set" and len(words) == 3:
                table[words[1]] = words[2]
            replies.append(b"$%d\r\n%b\r\n" % (len(table[words[1]]), table[words[1]]))
        return replies

    run(requests[:number])
    with count(PLAIN, number):
        run(requests[number:])


def bursts(number: int) -> list[Patch]:
    """Edits such as a person makes: some letters one behind the other, some taken back, and then elsewhere."""
    rng, length = Random(3), 0
    patches: list[Patch] = []
    while len(patches) < number:
        at = rng.randint(0, length)
        for _ in range(rng.randint(5, 50)):
            if at and rng.random() < 0.2:
                at -= 1
                length -= 1
                patches.append((at, 1, ""))
            else:
                patches.append((at, 0, rng.choice("etaoin shrdlu")))
                at += 1
                length += 1
    return patches[:number]


def run(number: int) -> Stretches:
    """Do everything, so many times each; the stretches that were counted."""
    number = number // DEPTH * DEPTH
    count = Counted()
    gc.disable()
    try:
        commands(count, number)
        replication(count)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(clients(count, number))
            runner.run(embedded(count, number))
        editing(count, number)
        plain(count, number)
    finally:
        gc.enable()
    return count.stretches


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
