"""One node with a timer of 1 ms on its own event loop, which writes down how late it is called.

    python -m bench.probed_node --name sponsor     as `marmoset serve`, on free ports
    python -m bench.probed_node idle               an empty loop with the same timer

Lines on standard input: `phase NAME` begins another phase, `hello` is answered with the same, once all before it was
read, and `dump` writes what was measured as JSON, for which the loop stands still. For each phase: `late`, milliseconds
that a call came late, and `work`, milliseconds of processor time of the thread between two calls.

A call that comes 30 ms late stands for thirty that were due: each of them is counted, with how late it was, and so is
work. So a percentile is over time, as whoever comes at any moment meets it, and not over calls, of which a stall leaves
few. Work is, from above, how late calls would come on a machine that does nothing else.
"""

import asyncio
import json
import os
import sys
import time
from array import array

import uvloop

from bench import results
from marmoset import config, logs
from marmoset.serve import run

INTERVAL_S = 0.001
INTERVAL_MS = INTERVAL_S * 1000


class Probe:
    """The timer and what it has seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.seen: dict[str, dict[str, array[float]]] = {}
        self._rest = b""
        self._due = time.perf_counter()
        self._worked = time.thread_time()
        self._late = self._work = array("d")
        self.begin("start")
        os.set_blocking(sys.stdin.fileno(), False)
        loop.add_reader(sys.stdin.fileno(), self._told)
        self._again()

    def begin(self, phase: str) -> None:
        """From now on, what is seen belongs to another phase; what is overdue belongs to the one before."""
        _count(self._late, (time.perf_counter() - self._due) * 1000)
        _count(self._work, (time.thread_time() - self._worked) * 1000)
        self._due = time.perf_counter() + INTERVAL_S
        self._worked = time.thread_time()
        seen = self.seen.setdefault(phase, {"late": array("d"), "work": array("d")})
        self._late, self._work = seen["late"], seen["work"]

    def _again(self) -> None:
        self._due = time.perf_counter() + INTERVAL_S
        self._worked = time.thread_time()
        self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        _count(self._late, (time.perf_counter() - self._due) * 1000)
        _count(self._work, (time.thread_time() - self._worked) * 1000)
        self._again()

    def _told(self) -> None:
        *lines, self._rest = (self._rest + os.read(sys.stdin.fileno(), 4096)).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "phase":
                self.begin(rest)
            elif word == "hello":
                print(word, flush=True)
            elif word == "dump":
                print(json.dumps(self._found()), flush=True)

    def _found(self) -> dict[str, dict[str, dict[str, float | list[int]]]]:
        """Phase to what was measured to its figures and its histogram (see `results.histogram`)."""
        return {
            phase: {
                what: {**results.summary(values), "histogram": results.histogram(values)}
                for what, values in seen.items()
            }
            for phase, seen in self.seen.items()
            if all(seen.values())
        }


def _count(seen: "array[float]", ms: float) -> None:
    """Count a call, and those that were due while it did not come."""
    while ms > 0:
        seen.append(ms)
        ms -= INTERVAL_MS


async def _idle() -> int:
    Probe(asyncio.get_running_loop())
    print("control ready", flush=True)
    await asyncio.Event().wait()
    return 0


async def _node(words: list[str]) -> int:
    given = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    chosen = config.load({"port": "0", "gossip_port": "0", **given}, os.environ)
    logs.configure(chosen.log_format, chosen.log_level)
    probe = Probe(asyncio.get_running_loop())
    assert probe
    return await run(chosen)


def main(words: list[str]) -> int:
    """Run until told to stop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_idle() if words == ["idle"] else _node(words))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
