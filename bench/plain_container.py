"""A plain container that takes writes at a steady rate, for `bench.replication`: what any receiver in Python pays.

    python -m bench.plain_container TEST RATE BATCH SEED

The writes are those of redis-benchmark's test of this name (of `COMPARED`), to random keys, in batches as nodes encode
them. Each batch is decoded by msgspec and goes into one dict or set as fast as Python does that: no replication,
no shards, no sockets. It says `ready`, begins when a line comes on standard input, and when another one comes it writes
JSON: writes, and microseconds of processor time for each.
"""

import gc
import json
import random
import select
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from bench.redis_benchmark import KEYS
from marmoset.codec.operations import AnyOperation, Assign, Increment, MapAssign, SetAdd
from marmoset.codec.runs import write_batch
from marmoset.codec.wire import encode_batch

BATCHES: Final = 1000
TICK_S: Final = 0.001
Column = list[bytes]


class Plain:
    """The container of one test."""

    def __init__(self, make: Callable[[bytes], AnyOperation], row: Any, apply: Callable[[Any], object]) -> None:
        self.make = make
        """A write, from the digits of its key."""
        self.decode: Callable[[bytes], list[Any]] = msgspec.msgpack.Decoder(list[row]).decode
        self.apply = apply
        """Do all writes of a row as it was decoded."""


def containers() -> dict[str, Plain]:
    """By the name of the test."""
    strings: dict[bytes, bytes] = {}
    numbers: dict[bytes, int] = {}
    elements: set[bytes] = set()
    fields: dict[bytes, bytes] = {}

    def add(row: tuple[int, list[bytes], list[int]]) -> None:
        amounts = row[2] * len(row[1]) if len(row[2]) == 1 else row[2]  # one for all
        for key, amount in zip(row[1], amounts, strict=True):
            numbers[key] = numbers.get(key, 0) + amount

    def assign(into: dict[bytes, bytes], keys: list[bytes], values: list[bytes]) -> None:
        into.update(zip(keys, values, strict=True))

    two, three, amounts = tuple[int, Column, Column], tuple[int, Column, Column, Column], tuple[int, Column, list[int]]
    return {
        "set": Plain(lambda n: Assign(b"key:" + n, b"xxx"), two, lambda row: assign(strings, row[1], row[2])),
        "sadd": Plain(lambda n: SetAdd(b"myset", [b"element:" + n]), two, lambda row: elements.update(row[2])),
        "hset": Plain(
            lambda n: MapAssign(b"myhash", [b"element:" + n, b"xxx"]), three, lambda row: assign(fields, row[2], row[3])
        ),
        "incr": Plain(lambda n: Increment(b"counter:" + n, 1), amounts, add),
    }


COMPARED: Final = tuple(containers())


def main(words: list[str]) -> int:
    """Take writes until a line comes on standard input."""
    plain = containers()[words[0]]
    rate, batch, seed = map(int, words[1:])
    rng = random.Random(seed)
    made = [[plain.make(b"%012d" % rng.randrange(KEYS)) for _ in range(batch)] for _ in range(BATCHES)]
    encoded = [encode_batch(write_batch(operations, 1, 1))[0] for operations in made]
    del made
    gc.disable()  # as a node does, but for the youngest

    def take(raw: bytes) -> None:
        for row in plain.decode(raw):
            plain.apply(row)

    print("ready", flush=True)
    sys.stdin.readline()
    began, worked, done = time.perf_counter(), time.process_time(), 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        due = (time.perf_counter() - began) * rate
        if due <= done:
            time.sleep(TICK_S)
        while done < due:
            take(encoded[done // batch % BATCHES])
            done += batch
    us = (time.process_time() - worked) / max(done, 1) * 1e6
    print(json.dumps({"writes": done, "us": us}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
