"""Writes to a node at a steady rate until it is told to stop, for `bench.stalls` and `bench.snapshot_stalls`.

    python -m bench.steady_writer PORT RATE KEYS ELEMENTS

Every type is written to, the large collections too: at both ends of the list and in its middle, anywhere in the others.
Keys are made and deleted. At the end one line of JSON: writes, how long answers took, and how many of them were errors,
which they are only where a collection is gone (LSET has nothing to set).
"""

import json
import random
import select
import sys
import time

from bench.pipes import Pipe

TICK_S = 0.005


def command(rng: random.Random, keys: int, elements: int) -> list[bytes]:
    """One write."""
    dice, at = rng.random(), rng.randrange(keys)
    element = b"e:%07d" % rng.randrange(elements)
    if dice < 0.3:
        return [b"SET", b"s:%d" % at, b"written %d" % rng.getrandbits(30)]
    if dice < 0.4:
        return [b"INCR", b"c:%d" % (at % 1000)]
    if dice < 0.5:
        return rng.choice([[b"SADD", b"big:set", b"new:%d" % at], [b"SREM", b"big:set", element]])
    if dice < 0.6:
        return rng.choice([[b"HSET", b"big:hash", element, b"%d" % at], [b"HDEL", b"big:hash", element]])
    if dice < 0.7:
        index = b"%d" % rng.randrange(elements // 2)
        return rng.choice(
            [
                [b"RPUSH", b"big:list", element],
                [b"LPUSH", b"big:list", element],
                [b"LSET", b"big:list", index, b"set"],
                [b"LPOP", b"big:list"],
                [b"RPOP", b"big:list"],
            ]
        )
    if dice < 0.8:
        return rng.choice([[b"ZADD", b"big:zset", b"%d" % at, element], [b"ZREM", b"big:zset", element]])
    if dice < 0.9:
        return rng.choice([[b"SADD", b"u:new%d" % (at % 5000), element], [b"RPUSH", b"l:new%d" % (at % 5000), element]])
    return [b"DEL", rng.choice([b"s:%d", b"u:new%d", b"l:new%d"]) % (at % 5000)]


def main(words: list[str]) -> int:
    """Write until a line comes on standard input."""
    port, rate, keys, elements = map(int, words)
    pipe, rng = Pipe(port), random.Random(7)
    took: list[float] = []
    began = time.perf_counter()
    done = errors = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        due = int((time.perf_counter() - began) * rate)
        if due > done:
            commands = [command(rng, keys, elements) for _ in range(min(due - done, 500))]
            sent = time.perf_counter()
            errors += sum(isinstance(reply, Exception) for reply in pipe.all(commands))
            took.append((time.perf_counter() - sent) * 1000)
            done += len(commands)
        time.sleep(TICK_S)
    took.sort()
    seconds = time.perf_counter() - began
    found = {
        "writes": done,
        "errors": errors,
        "rate": round(done / seconds),
        "p50_ms": took[len(took) // 2],
        "p99_ms": took[int(len(took) * 0.99)],
        "max_ms": took[-1],
    }
    print(json.dumps({name: round(value, 2) for name, value in found.items()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
