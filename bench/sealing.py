"""What encryption costs: channels alone, and two nodes with clients that write, plain and sealed in turns.

    python -m bench.sealing            # about half a minute

Channels: bytes and records a second through one direction, sealed and opened, on one core. Nodes: two runtimes in one
process and one loop over loopback, one of which writes single SADDs, a batch a turn, until the other has all; so
a second has both nodes' work in it.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from random import Random

import uvloop

from marmoset.codec.channel import Channel
from marmoset.codec.frames import frames
from marmoset.codec.keyring import Key, Keyring, key_line
from marmoset.codec.operations import SetAdd
from marmoset.config import load
from marmoset.runtime import Runtime

ROUNDS = 3
WRITES = 60_000
TURN = 20


def channels(size: int, seconds: float) -> tuple[float, float]:
    """Messages a second sealed and opened, and megabytes a second."""
    rng, ring = Random(1), Keyring([Key(bytes(32))])
    near = Channel(ring, "bench", True, rng.randbytes(32), 1 << 26)
    far = Channel(ring, "bench", False, rng.randbytes(32), 1 << 26)
    far.feed(near.first)
    near.feed(far.take_reply())
    data = frames(rng.randbytes(size), 1 << 20)
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        for _ in range(16):
            far.feed(near.seal(data))
        count += 16
    return count / took, count * size / took / 1e6


async def _nodes(keyring: str) -> float:
    """Writes a second that reach the other node."""
    common = {"port": 0, "gossip_port": 0, "keyring": keyring}
    one = Runtime(load({**common, "name": "one"}))
    one.open()
    await one.start()
    two = Runtime(load({**common, "name": "two", "join": [one.config.address]}))
    two.open()
    await two.start()
    await two.serving.wait()
    began = time.perf_counter()
    for number in range(0, WRITES, TURN):
        with one.lock:
            for element in range(number, number + TURN):
                one.node.replica.submit(SetAdd(b"s", [b"%012d" % element]))
            one.node.end_turn()
            one.settle()
        await asyncio.sleep(0)
    while len(two.node.replica.keyspace.get(b"s") or ()) < WRITES:  # type: ignore[arg-type]
        await asyncio.sleep(0.001)
    took = time.perf_counter() - began
    await two.close()
    await one.close()
    return WRITES / took


def main() -> None:
    for size in (100, 1000, 16_384, 1 << 20):
        rate, megabytes = channels(size, 1.0)
        print(f"channel, messages of {size:>7} bytes: {rate:>9,.0f} a second, {megabytes:>7,.1f} MB/s")
    handle, path = tempfile.mkstemp()
    os.close(handle)
    try:
        Path(path).write_text(key_line(os.urandom(32)), encoding="ascii")
        for _ in range(ROUNDS):
            for name, keyring in (("plain", ""), ("sealed", path)):
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    print(f"two nodes, {name:>6}: {runner.run(_nodes(keyring)):>9,.0f} writes a second")
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


if __name__ == "__main__":
    main()
