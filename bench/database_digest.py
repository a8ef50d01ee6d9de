"""A digest of everything that clients can read from a node, for comparing two of them."""

from hashlib import blake2b
from typing import Any

from bench.pipes import Pipe

COUNT = b"1000"
RANGE = 10_000


def digest(pipe: Pipe) -> tuple[int, int]:
    """How many keys there are, and the sum of the digests of keys with their values, in any order."""
    total = keys = 0
    cursor = b"0"
    while True:
        cursor, names = pipe.one(b"SCAN", cursor, b"COUNT", COUNT)
        kinds = pipe.all([[b"TYPE", name] for name in names])
        reads = [_read(name, _text(kind)) for name, kind in zip(names, kinds, strict=True)]
        for name, kind, value in zip(names, kinds, pipe.all(reads), strict=True):
            if isinstance(value, Exception):
                raise value
            total += _hashed(name, _text(kind), _long_list(pipe, name) if _text(kind) == "list" else value)
            keys += 1
        if cursor == b"0":
            return keys, total % (1 << 128)


def _text(kind: Any) -> str:
    return kind.decode() if isinstance(kind, bytes) else str(kind)


def _read(name: bytes, kind: str) -> list[bytes]:
    if kind == "string":
        return [b"GET", name]
    if kind == "set":
        return [b"SMEMBERS", name]
    if kind == "hash":
        return [b"HGETALL", name]
    if kind == "zset":
        return [b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"]
    return [b"LLEN", name]


def _long_list(pipe: Pipe, name: bytes) -> list[bytes]:
    found: list[bytes] = []
    while True:
        more = pipe.one(b"LRANGE", name, b"%d" % len(found), b"%d" % (len(found) + RANGE - 1))
        found += more
        if len(more) < RANGE:
            return found


def _hashed(name: bytes, kind: str, value: Any) -> int:
    if kind in ("set", "hash"):
        pairs = (
            list(value) if kind == "set" else [b"%b\0%b" % pair for pair in zip(value[::2], value[1::2], strict=True)]
        )
        value = sorted(pairs)
    parts = [value] if isinstance(value, bytes) else list(value)
    content = b"".join(b"%d:%b" % (len(part), part) for part in [name, kind.encode(), *parts])
    return int.from_bytes(blake2b(content, digest_size=16).digest(), "big")
