"""What compiling brings: both builds of one installation beside each other, in turns; `make bench-builds`.

    .venv-compiled/bin/python -m bench.builds        # about two minutes

Commands: microseconds of processor time for a command, from received bytes to reply bytes in one session, without
sockets. A chunk has `--pipeline` requests; behind each one the turn ends, as it does in a server. Random keys and
elements of `KEYS`, values of three bytes, one node. Simulator: processor seconds of a run of the profile `everything`,
all of it, so nodes, checks and the specification too.

Each figure is from a process of its own, the median of the rounds; the order of the builds changes with each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from random import Random
from typing import Final

from bench import results
from marmoset import build
from marmoset.config import Config
from marmoset.node import Node
from marmoset.session import Clients, Session
from marmoset.sim.simulation import simulate

KEYS: Final = 10_000
COMMANDS: Final = {
    "PING": b"PING",
    "SET": b"SET k%d abc",
    "GET": b"GET k%d",
    "INCR": b"INCR n%d",
    "SADD": b"SADD s e%d",
    "SISMEMBER": b"SISMEMBER s e%d",
    "HSET": b"HSET h f%d abc",
    "LPUSH": b"LPUSH l abc",
    "ZADD": b"ZADD z %d m%d",
}
"""Each request is made of words, with as many random numbers as it has places for one."""
SIM_SEEDS: Final = range(5, 9)


class Time:
    """The clock of the node that is measured: it stands."""

    def monotonic_ms(self) -> int:
        """Always the same."""
        return 1_700_000_000_000

    def wall_ms(self) -> int:
        """Always the same."""
        return 1_700_000_000_000


def chunks(pattern: bytes, count: int, depth: int, keys: int = KEYS) -> list[bytes]:
    """`count` requests as a client sends them, `depth` in a chunk, their numbers below `keys`."""
    rng, places = Random(1), pattern.count(b"%d")
    requests: list[bytes] = []
    for _ in range(count):
        words = (pattern % tuple(rng.randrange(keys) for _ in range(places))).split(b" ")
        requests.append(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))
    return [b"".join(requests[at : at + depth]) for at in range(0, count, depth)]


def measure(count: int, depth: int) -> dict[str, float]:
    """Microseconds for each command, and seconds for the simulator."""
    node = Node(Config(name="solo", port=6379, gossip_port=7946), Time(), Random(7))
    node.start()
    session = Session(node, Clients(), 1, "127.0.0.1:1")
    found: dict[str, float] = {}
    for name, pattern in COMMANDS.items():
        sent = chunks(pattern, count, depth)
        for chunk in sent[: len(sent) // 10]:  # to warm up
            session.receive(chunk)
        node.end_turn()
        began = time.process_time()
        for chunk in sent:
            session.receive(chunk)
            node.end_turn()
            node.effects.clear()
        found[name] = (time.process_time() - began) / count * 1e6
    return found


def simulated() -> float:
    """Processor seconds of some runs of the simulator."""
    began = time.process_time()
    for seed in SIM_SEEDS:
        assert simulate(seed, "everything", 5, 2000).code == 0
    return time.process_time() - began


def in_process(kind: str, what: str, options: argparse.Namespace) -> dict[str, float]:
    """One measurement of one build."""
    words = [sys.executable, "-m", "bench.builds", "--measure", what]
    words += ["--count", str(options.count), "--pipeline", str(options.pipeline)]
    environment = {**os.environ, build.VARIABLE: kind}
    ended = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def main() -> int:
    """Measure both builds in turns and print; 2 where the compiled one is not there."""
    parser = results.parser("bench-builds", "compiled beside interpreted")
    parser.add_argument("--count", type=int, default=50_000, help="requests of each command")
    parser.add_argument("--pipeline", type=int, default=16, help="requests in a chunk")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=["commands", "simulator"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure == "commands":
        print(json.dumps(measure(options.count, options.pipeline)))
        return 0
    if options.measure == "simulator":
        print(json.dumps({"simulator": simulated()}))
        return 0
    if build.kind() != build.COMPILED:
        print("this is the interpreted build; make compiled, then .venv-compiled/bin/python -m bench.builds")
        return 2
    seen: dict[str, dict[str, list[float]]] = {}
    for number in range(options.rounds):
        for kind in sorted((build.COMPILED, build.INTERPRETED), reverse=bool(number % 2)):
            for what in ("commands", "simulator"):
                print(f"round {number + 1} {kind} {what}", file=sys.stderr)
                for name, value in in_process(kind, what, options).items():
                    seen.setdefault(name, {}).setdefault(kind, []).append(value)
    medians = {name: {kind: statistics.median(runs) for kind, runs in kinds.items()} for name, kinds in seen.items()}
    title = f"µs a command at -P {options.pipeline}, s for the simulator; median of {options.rounds}"
    table = results.table(title, ("",), (build.INTERPRETED, build.COMPILED, "times as fast"))
    for name, kinds in medians.items():
        slow, fast = kinds[build.INTERPRETED], kinds[build.COMPILED]
        table.add_row(name, f"{slow:.2f}", f"{fast:.2f}", f"{slow / fast:.2f}")
    results.console().print(table)
    results.write(f"builds_{options.pipeline}", options, medians)
    return 0


if __name__ == "__main__":
    sys.exit(main())
