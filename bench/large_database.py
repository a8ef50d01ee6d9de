"""Fills a node with many keys and with collections of many elements, through pipelines of its protocol."""

import random
from collections.abc import Iterator

from bench.pipes import Pipe

BATCH = 500
BIG_SET, BIG_HASH, BIG_LIST, BIG_ZSET = b"big:set", b"big:hash", b"big:list", b"big:zset"


def fill(client: Pipe, keys: int, elements: int, mixed: bool) -> None:
    """So many keys: four large collections, and strings, or if `mixed` six strings to each set, hash, list and sorted
    set of a few elements."""
    send(client, collections(elements))
    send(client, mixed_keys(keys - 4) if mixed else strings(range(keys - 4)))


def send(client: Pipe, commands: Iterator[list[bytes]]) -> None:
    """Send commands in pipelines.

    Raises:
        Exception: the first answer that is an error.
    """
    waiting: list[list[bytes]] = []
    for words in commands:
        waiting.append(words)
        if len(waiting) == BATCH:
            _send(client, waiting)
            waiting = []
    _send(client, waiting)


def _send(client: Pipe, commands: list[list[bytes]]) -> None:
    for reply in client.all(commands):
        if isinstance(reply, Exception):
            raise reply


def strings(numbers: range) -> Iterator[list[bytes]]:
    """A string for each number."""
    for at in range(0, len(numbers), BATCH):
        yield [b"MSET", *(part for n in numbers[at : at + BATCH] for part in (b"s:%d" % n, b"value %d" % n))]


def mixed_keys(count: int) -> Iterator[list[bytes]]:
    """Keys of every type."""
    rng = random.Random(1)
    words: list[bytes] = []
    for n in range(count):
        kind = n % 10
        if kind < 6:
            words += (b"s:%d" % n, b"value %d" % n)
            if len(words) >= 2 * BATCH:
                yield [b"MSET", *words]
                words = []
        elif kind == 6:
            yield [b"SADD", b"u:%d" % n, b"a", b"b", b"%d" % rng.randrange(1000)]
        elif kind == 7:
            yield [b"HSET", b"h:%d" % n, b"name", b"n%d" % n, b"at", b"%d" % n]
        elif kind == 8:
            yield [b"RPUSH", b"l:%d" % n, b"x", b"y", b"z"]
        else:
            yield [b"ZADD", b"z:%d" % n, b"1", b"one", b"2.5", b"two"]
    if words:
        yield [b"MSET", *words]


def collections(elements: int) -> Iterator[list[bytes]]:
    """The large collections."""
    yield from large_set(BIG_SET, elements)
    yield from large_hash(BIG_HASH, elements)
    yield from large_list(BIG_LIST, elements)
    yield from large_sorted_set(BIG_ZSET, elements)


def large_set(key: bytes, elements: int) -> Iterator[list[bytes]]:
    """A set of so many elements."""
    for names in _names(elements):
        yield [b"SADD", key, *names]


def large_hash(key: bytes, elements: int) -> Iterator[list[bytes]]:
    """A hash of so many fields."""
    for names in _names(elements):
        yield [b"HSET", key, *(part for name in names for part in (name, b"value"))]


def large_list(key: bytes, elements: int) -> Iterator[list[bytes]]:
    """A list of so many elements, many pushed at once."""
    for names in _names(elements):
        yield [b"RPUSH", key, *names]


def scattered_list(key: bytes, elements: int) -> Iterator[list[bytes]]:
    """A list of so many elements, pushed one at a time among other writes: no two have consecutive ids, so none share a
    run, as in a list that was edited at random."""
    for names in _names(elements):
        for name in names:
            yield [b"RPUSH", key, name]
            yield [b"INCR", b"pushed"]


def large_sorted_set(key: bytes, elements: int) -> Iterator[list[bytes]]:
    """A sorted set of so many members."""
    for at, names in enumerate(_names(elements)):
        yield [b"ZADD", key, *(part for n, name in enumerate(names) for part in (b"%d" % (at * BATCH + n), name))]


def _names(elements: int) -> Iterator[list[bytes]]:
    for at in range(0, elements, BATCH):
        yield [b"e:%07d" % n for n in range(at, min(elements, at + BATCH))]
