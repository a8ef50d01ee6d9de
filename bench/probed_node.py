"""One node with a timer of 1 ms on its own event loop, which writes down how late it is called.

    python -m bench.probed_node --name sponsor     as `marmoset serve`, on free ports
    python -m bench.probed_node idle               an empty loop with the same timer

Lines on standard input: `phase NAME` begins another phase, `dump` writes what was measured as JSON. For each phase:
`late`, milliseconds that a call came late, and `work`, milliseconds of processor time of the thread between two calls.
"""

import asyncio
import json
import os
import sys
import time
from array import array

import uvloop

from marmoset import config, logs
from marmoset.serve import run

INTERVAL_S = 0.001


class Probe:
    """The timer and what it has seen."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.seen: dict[str, array[float]] = {}
        self.begin("start")
        self._rest = b""
        self._due = 0.0
        self._worked = 0.0
        os.set_blocking(sys.stdin.fileno(), False)
        loop.add_reader(sys.stdin.fileno(), self._told)
        self._again()

    def begin(self, phase: str) -> None:
        """From now on, what is seen belongs to another phase."""
        self._late = self.seen.setdefault(f"late {phase}", array("d"))
        self._work = self.seen.setdefault(f"work {phase}", array("d"))

    def _again(self) -> None:
        self._due = time.perf_counter() + INTERVAL_S
        self._worked = time.thread_time()
        self._loop.call_later(INTERVAL_S, self._tick)

    def _tick(self) -> None:
        self._late.append((time.perf_counter() - self._due) * 1000)
        self._work.append((time.thread_time() - self._worked) * 1000)
        self._again()

    def _told(self) -> None:
        *lines, self._rest = (self._rest + os.read(sys.stdin.fileno(), 4096)).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "phase":
                self.begin(rest)
            elif word == "dump":
                found = {name: summary(values) for name, values in self.seen.items() if values}
                print(json.dumps(found), flush=True)


def summary(values: "array[float]") -> dict[str, float]:
    """Samples, percentiles and maximum."""
    ordered = sorted(values)
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in shares.items()}
    return {"samples": len(ordered), **found, "max": ordered[-1]}


async def _idle() -> int:
    Probe(asyncio.get_running_loop())
    await asyncio.Event().wait()
    return 0


async def _node(words: list[str]) -> int:
    given = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    chosen = config.load({"port": "0", "gossip_port": "0", **given})
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
