"""How late the event loop of a node is called, whatever it is made to do; `make bench-stalls`.

A node (a real process, `bench.probed_node`) is filled with `--keys` string keys, four collections of `--elements`
elements (a set, a hash, a list, a sorted set), and five of `--deleted` that are to be deleted: the same, and a list
whose elements were pushed one at a time among other writes, which is as scattered as a list edited at random. A timer
of 1 ms on its loop measures how late it is called, phase by phase:

- *load*: it is filled, through pipelines, as fast as it goes;
- *quiet*: nothing happens;
- *writes*: `--rate` writes a second to keys and collections of every type, which go on throughout from here;
- *snapshot*: a second node joins and is filled, until it serves;
- *exchange*: as many writes to each of the two: they exchange, and fold what is stable;
- *catching up*: the second node was stopped while `--behind` writes came; now it takes them, and they are folded;
- *deadlines*: `--expiring` keys get one deadline, one moment for all of them;
- *expiry*: it comes, until all are removed;
- *del KIND*: a collection of `--deleted` elements is deleted, and what it leaves is freed;
- *flushall*: so is everything else.

The second node is measured as well, and beside both a control (`bench.probes`): what the machine itself makes late.
The first node has a core of its own where there are two or more; all else shares the others (`--shared-cores` leaves
that to the kernel), so the figures of the second are also those of a crowded core. `work` is the processor time of the
loop's thread between two calls of the timer, which no other process makes longer: both have targets.

Both databases are asked for their keys and lengths before FLUSHALL and behind it, and have to agree.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bench import large_database as large
from bench import results
from bench.pipes import Pipe
from bench.probes import (
    Probed,
    Seen,
    begin_phase,
    control,
    ended_writer,
    figures_table,
    histogram_table,
    part_cores,
    probed_node,
)
from bench.processes import Server, exit_on_sigterm, module, resident_bytes, wait_idle, wait_status
from bench.results import Target

P999_MS, MAX_MS = 10.0, 50.0
"""What the loop may be late."""
DEADLINE_AHEAD_S = 2.0
PER_COMMAND = 500
FEW_BATCHES = 200
BIG = (large.BIG_SET, large.BIG_HASH, large.BIG_LIST, large.BIG_ZSET)
LENGTHS = {b"set": b"SCARD", b"hash": b"HLEN", b"list": b"LLEN", b"zset": b"ZCARD"}
DELETED: dict[str, Callable[[bytes, int], Iterator[list[bytes]]]] = {
    "set": large.large_set,
    "hash": large.large_hash,
    "list": large.large_list,
    "scattered list": large.scattered_list,
    "sorted set": large.large_sorted_set,
}
"""The collections that are deleted, and how they come about."""


@dataclass
class Outcome:
    """Everything that was measured."""

    stalls: dict[str, Seen] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    """How many seconds each took, in order."""
    memory_mb: dict[str, dict[str, int]] = field(default_factory=dict)
    writes: list[dict[str, float]] = field(default_factory=list)
    agree: bool = True


class Run:
    """The processes of one run, and what they have measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.outcome = Outcome()
        self.probed: list[Probed] = []

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure what happens meanwhile under this name."""
        print(name, file=sys.stderr)
        begin_phase(name, self.probed)
        began = time.monotonic()
        yield
        self.outcome.phases[name] = time.monotonic() - began
        begin_phase("between", self.probed)
        nodes = [each for each in self.probed if each.clients]
        self.outcome.memory_mb[name] = {each.name: resident_bytes(each.pid) >> 20 for each in nodes}

    def writer(self, node: Probed) -> Any:
        """A process that writes to a node."""
        options = self.options
        numbers = (node.clients, options.rate, options.keys, options.elements)
        return module("bench.steady_writer", *map(str, numbers))

    def measure(self) -> None:
        """All phases."""
        options = self.options
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(probed_node("first"))
            first.wait_ready()
            if not options.shared_cores:
                part_cores(first.pid)
            idle = stack.enter_context(control())
            self.probed = [first, idle]
            client = Pipe(first.clients)
            with self.phase("load"):
                large.fill(client, options.keys, options.elements, options.mixed)
                for kind, commands in DELETED.items():
                    large.send(client, commands(deleted_key(kind), options.deleted))
            with self.phase("quiet"):
                time.sleep(options.seconds)
            writers = [stack.enter_context(self.writer(first))]
            with self.phase("writes"):
                time.sleep(options.seconds)
            second = stack.enter_context(probed_node("second", "--join", first.nodes))
            self.probed = [first, second, idle]
            with self.phase("snapshot"):
                second.wait_ready()
            writers.append(stack.enter_context(self.writer(second)))
            with self.phase("exchange"):
                time.sleep(options.seconds)
            with second.stopped():
                large.send(client, ([b"SET", b"s:%d" % n, b"missed"] for n in range(options.behind)))
            with self.phase("catching up"):
                wait_folded([first, second])
            self.expire(client)
            for kind in DELETED:
                with self.phase(f"del {kind}"):
                    assert client.one(b"DEL", deleted_key(kind)) == 1
                    time.sleep(options.seconds)
            self.outcome.writes = [ended_writer(each) for each in writers]
            self.compare([first, second])
            with self.phase("flushall"):
                client.one(b"FLUSHALL")
                wait_idle([first.pid, second.pid])
            self.compare([first, second])
            self.outcome.stalls = {each.name: each.seen() for each in self.probed}

    def expire(self, client: Pipe) -> None:
        """One moment for many keys, and what happens then."""
        count, options = self.options.expiring, self.options
        names = [b"x:%d" % number for number in range(count)]
        for at in range(0, count, PER_COMMAND):
            client.one(b"MSET", *(part for name in names[at : at + PER_COMMAND] for part in (name, b"value")))
        deadline = time.time() + DEADLINE_AHEAD_S + 2 * count / options.deadline_rate
        with self.phase("deadlines"):
            began = time.monotonic()
            for at in range(0, count, PER_COMMAND):
                client.all([[b"PEXPIREAT", name, b"%d" % (deadline * 1000)] for name in names[at : at + PER_COMMAND]])
                time.sleep(max(0.0, began + at / options.deadline_rate - time.monotonic()))
        with self.phase("expiry"):
            time.sleep(max(0.0, deadline - time.time()))
            sample = [names[at] for at in range(0, count, max(1, count // 100))]
            assert client.one(b"EXISTS", *sample) == 0, "a key whose deadline has passed is there"
            wait_status(nodes_of(self.probed), lambda status: not status["keys_with_deadline"], "all removed")

    def compare(self, nodes: list[Probed]) -> None:
        """Whether all have as many keys, and collections of the same lengths, once what was written last is there."""
        pipes = [Pipe(each.clients) for each in nodes]
        until = time.monotonic() + 60
        while True:
            found = {(pipe.one(b"DBSIZE"), *map(str, pipe.all(lengths()))) for pipe in pipes}
            if len(found) == 1 or time.monotonic() > until:
                break
            time.sleep(0.5)
        self.outcome.agree = self.outcome.agree and len(found) == 1

    def targets(self) -> list[Target]:
        """The worst of all phases, of each process: how late it is, and what it works itself, which says whose fault
        that is where the control is late as well."""
        return [
            Target(f"{process}: {what}, {figure} of the worst phase, {phase}", value, limit)
            for process, seen in self.outcome.stalls.items()
            for what in ("late", "work")
            for figure, limit in (("p99.9", P999_MS), ("max", MAX_MS))
            for value, phase in [max((seen[name][what][figure], name) for name in self.outcome.phases if name in seen)]
        ]


def main() -> int:
    """Measure and print; 0 if both databases agreed."""
    options = arguments()
    exit_on_sigterm()
    run = Run(options)
    run.measure()
    outcome, targets = run.outcome, run.targets()
    console = results.console()
    phases = [*outcome.phases]
    title = f"event loop, {options.keys:,} keys, {options.rate:,} writes a second to each node; milliseconds"
    console.print(figures_table(title, outcome.stalls, phases))
    console.print(histogram_table("how late the loop was called, in calls due", outcome.stalls, phases))
    console.print(f"seconds: { {name: round(seconds, 1) for name, seconds in outcome.phases.items()} }")
    console.print(f"memory in MiB at the end of a phase: {outcome.memory_mb}")
    console.print(f"writers: {outcome.writes}; the nodes agree: {outcome.agree}")
    results.show_targets(targets)
    results.write("stalls", options, asdict(outcome), targets)
    return 0 if outcome.agree else 1


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-stalls", "how late the event loop of a node is called")
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--elements", type=int, default=2_000_000, help="of each of the large collections")
    parser.add_argument("--deleted", type=int, default=1_000_000, help="elements of each collection that is deleted")
    parser.add_argument("--expiring", type=int, default=1_000_000, help="keys with one deadline")
    parser.add_argument("--behind", type=int, default=500_000, help="writes that a node catches up with")
    parser.add_argument("--rate", type=int, default=3000, help="writes a second, to each node")
    parser.add_argument("--deadline-rate", type=int, default=100_000, help="deadlines a second")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a phase lasts that has no end of its own")
    parser.add_argument("--mixed", action="store_true", help="four in ten keys are small collections")
    parser.add_argument("--shared-cores", action="store_true", help="let all processes run on all cores")
    return parser.parse_args()


def deleted_key(kind: str) -> bytes:
    """The key of a collection that is to be deleted."""
    return b"del:" + kind.replace(" ", "-").encode()


def lengths() -> list[list[bytes]]:
    """What asks for the lengths of the large collections."""
    return [[LENGTHS[kind], key] for kind, key in zip(LENGTHS, BIG, strict=True)]


def nodes_of(probed: list[Probed]) -> list[Server]:
    """Those that are nodes."""
    return [Server(each.pid, each.clients, each.nodes) for each in probed if each.clients]


def wait_folded(probed: list[Probed]) -> None:
    """Wait until no more is kept for anybody than what writers made just now."""
    names = ("log_batches", "folding_batches")
    wait_status(nodes_of(probed), lambda status: all(status[name] < FEW_BATCHES for name in names), "caught up")


if __name__ == "__main__":
    sys.exit(main())
