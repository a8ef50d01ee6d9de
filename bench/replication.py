"""What replication costs, and how long a write is on its way to the other nodes; `make bench-replication`.

**Cost.** Processor seconds for each write: of one node alone, and of three of which one takes all writes from clients.
The load is redis-benchmark's (`CLIENTS` of them, 100,000 random keys), at each depth of pipelining. Processor time
of a process is the clock that the system keeps of it, user and system, all threads (`bench.processes.cpu_s`); it is
read when all are empty, at rest and idle, and again when they are so after the writes, so sending, acknowledging,
stability and folding count, and the gossip of the meantime. The node alone is measured in the same round, before the
three or behind them in turn. Medians of the rounds. Targets stand for each depth by itself.

- *sender*: the node that takes the writes, with two peers, beside the node alone. Target: at most `SENDER_MAX`.
- *receiver*: the mean of the two that get them, beside what executing the same write costs the node alone; it parses
  no requests and answers nobody. Target: at most `RECEIVER_MAX`.
- *plain*: what a plain dict or set of Python costs that takes the same writes (`bench.plain_container`), two of them at
  the rate at which the three took them, while the node alone takes its own: what no receiver in Python can go below,
  with as much in the way of its caches. No target, and not a replica. Pipelined, a write costs the node an eighth of
  what it costs otherwise, and a large part of that is what the plain container waits for as well, memory.

**Way.** From when a write to one node was due, open loop, to when it was readable on both others. Writes go round
`SPREAD` keys with growing numbers; on each of the others a client asks for all these keys (MGET), again
`--poll-us` after it was answered, and what it finds it dates with the arrival of the answer. Beside it the same bytes
go through as many processes that only send on (`bench.relay`: driver, head, two others, driver) in the same run, in
turns; they push and are not asked, so this is less work than what a node has. *answered* is when the node that is
written to replied.

    make bench-replication                                                              about two minutes
    make bench-replication ARGS="--parts way --rates 1000 --seconds 60"                 one part alone
    make bench-replication ARGS="--requests 100000 --rounds 5 --seconds 30 --rates 1000 20000"   full size

Caveats: loopback. Writer, both readers and all nodes share this machine's cores: three nodes and the load are at least
four processes, so with less than four cores the way is also a measure of the scheduler (single stalls of some hundred
milliseconds have been seen at 20,000 a second on two busy cores); the relay is one too, with less to do. The time
between two questions is part of the way, half of it in the mean.
"""

import argparse
import contextlib
import shutil
import socket
import statistics
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bench import plain_container, results
from bench.openloop import Requests, Watcher, connected, play
from bench.pipes import Pipe, packed
from bench.probes import ended_writer
from bench.processes import Server, cpu_s, exit_on_sigterm, flush, group, module, node, wait_idle, wait_rest
from bench.redis_benchmark import NO_TOOL, benchmark
from bench.results import Target

TESTS: Final = "set,sadd,hset,incr,lpush"
CLIENTS: Final = 50
BATCH_MAX: Final = 320
"""About how many writes a batch has where `CLIENTS` pipeline 16 each; elsewhere it is one round of all."""
SENDER_MAX: Final = 1.3
RECEIVER_MAX: Final = 0.4
P50_MAX_MS: Final = 3.0
P99_MAX_MS: Final = 15.0
RELAYS_MAX: Final = 3.0
QUIET_RATE: Final = 1000
SPREAD: Final = 8
VALUE_BYTES: Final = 12


def main() -> int:
    """Measure and print; 0 unless a run failed."""
    options = arguments()
    exit_on_sigterm()
    idle: list[float] = []
    costs: list[dict[str, Any]] = []
    ways: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        trio = stack.enter_context(group(3, options.build))
        tool = shutil.which("redis-benchmark")
        if tool is None:
            print(f"THE COST OF A WRITE IS LEFT OUT: {NO_TOOL}", file=sys.stderr)
        elif "cost" in options.parts:
            with node(options.build) as solo:
                idle = idle_ms_a_second([solo, *trio], options.seconds)
                costs = list(cost_rows(tool, [solo], trio, options))
        if "way" in options.parts:
            ways = list(way_rows(trio, options))
    targets = [*cost_targets(costs), *way_targets(ways)]
    show(idle, costs, ways)
    results.show_targets(targets)
    results.write("replication", options, {"idle_ms_a_second": idle, "cost": costs, "way": ways}, targets)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-replication", "what replication costs, and how long a write is on its way")
    parser.add_argument("--parts", nargs="+", choices=["cost", "way"], default=["cost", "way"], help="what to measure")
    parser.add_argument("--tests", default=TESTS, help="writes, as redis-benchmark's -t")
    parser.add_argument("--requests", type=int, default=20_000, help="of each test and round; pipelined ones times 4")
    parser.add_argument("--pipeline", type=int, nargs="+", default=[16, 1], help="depths of pipelining")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each case")
    parser.add_argument("--rates", type=int, nargs="+", default=[QUIET_RATE, 20_000], help="writes a second")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run at a rate")
    parser.add_argument("--poll-us", type=int, default=200, help="between an answer and the next question of a reader")
    parser.add_argument("--build", default="", choices=["", "compiled", "interpreted"], help="unless that which runs")
    return parser.parse_args()


# What a write costs


def cost_rows(
    tool: str, solo: list[Server], trio: list[Server], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Microseconds for each write, of each test at each depth."""
    for depth in options.pipeline:
        requests = options.requests * (4 if depth > 1 else 1)
        for test in options.tests.split(","):
            seen: dict[str, list[float]] = {"single": [], "sender": [], "receiver": []}
            rates: list[float] = []
            for number in range(options.rounds):
                for nodes in (solo, trio) if number % 2 else (trio, solo):
                    print(f"-P {depth} round {number + 1} {test}, {len(nodes)} nodes", file=sys.stderr)
                    rate, (first, *others) = spent(tool, nodes, test, requests, depth)
                    if others:
                        rates.append(rate)
                        seen["sender"].append(first)
                        seen["receiver"].append(statistics.mean(others))
                    else:
                        seen["single"].append(first)
            us = {f"{name}_us": statistics.median(found) / requests * 1e6 for name, found in seen.items()}
            if test in plain_container.COMPARED:
                rate = statistics.median(rates)
                print(f"-P {depth} {test}, plain containers at {rate:,.0f} a second", file=sys.stderr)
                us["plain_us"] = plain_us(tool, solo, test, requests, depth, rate)
            ratios = {name.removesuffix("us") + "ratio": each / us["single_us"] for name, each in us.items()}
            yield {"test": test.upper(), "pipeline": depth, "requests": requests, **us, **ratios}


def plain_us(tool: str, solo: list[Server], test: str, requests: int, depth: int, rate: float) -> float:
    """Microseconds for each write of plain containers beside a node that takes its own."""
    batch = min(CLIENTS * depth, BATCH_MAX)
    with contextlib.ExitStack() as stack:
        words = ["bench.plain_container", test, str(int(rate)), str(batch)]
        beside = [stack.enter_context(module(*words, str(seed))) for seed in (1, 2)]
        flush(solo)
        wait_rest(solo)
        for each in beside:
            assert each.stdin is not None and each.stdout is not None
            each.stdout.readline()
            each.stdin.write("go\n")
            each.stdin.flush()
        for _ in benchmark(tool, solo[0].port, test, requests, CLIENTS, depth):
            pass
        return statistics.mean(ended_writer(each)["us"] for each in beside)


def spent(tool: str, nodes: Sequence[Server], test: str, requests: int, depth: int) -> tuple[float, list[float]]:
    """Requests a second, and processor seconds of each node for so many writes to the first, up to rest."""
    pids = [each.pid for each in nodes]
    flush(nodes)
    wait_rest(nodes)
    wait_idle(pids)
    before = [cpu_s(pid) for pid in pids]
    (_, rate, _), *_ = benchmark(tool, nodes[0].port, test, requests, CLIENTS, depth)
    wait_rest(nodes)
    wait_idle(pids)
    return rate, [cpu_s(pid) - began for pid, began in zip(pids, before, strict=True)]


def idle_ms_a_second(nodes: Sequence[Server], seconds: float) -> list[float]:
    """What each node uses when nothing is asked of it: timers, and gossip where there are peers."""
    for each in nodes:
        wait_rest([each])
    before = [cpu_s(each.pid) for each in nodes]
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return [(cpu_s(each.pid) - started) / took * 1000 for each, started in zip(nodes, before, strict=True)]


def cost_targets(rows: list[dict[str, Any]]) -> Iterator[Target]:
    """The worst of each ratio at each depth."""
    for depth in sorted({row["pipeline"] for row in rows}):
        of_depth = [row for row in rows if row["pipeline"] == depth]
        for name, limit in (("sender", SENDER_MAX), ("receiver", RECEIVER_MAX)):
            worst = max(of_depth, key=lambda row: row[f"{name}_ratio"])
            yield Target(f"{name} beside one node, -P {depth}, worst: {worst['test']}", worst[f"{name}_ratio"], limit)


# How long it is on its way


def way_rows(trio: list[Server], options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Milliseconds until readable on both others, through nodes and through relays, in turns."""
    with relays(2) as ends, relays(1, ends) as heads:
        for rate in options.rates:
            seen: dict[str, list[float]] = {"marmoset": [], "relay": [], "answered": []}
            late: dict[str, list[float]] = {"marmoset": [], "relay": []}
            lost = {"marmoset": 0, "relay": 0}
            for number in range(options.rounds):
                for through in ("marmoset", "relay")[:: -1 if number % 2 else 1]:
                    print(f"{rate:,} writes a second through {through}, round {number + 1}", file=sys.stderr)
                    if through == "marmoset":
                        flush(trio)
                        with contextlib.closing(Pipe(trio[0].port)) as pipe:
                            pipe.all([[b"SET", key(n), value(-1)] for n in range(SPREAD)])
                        wait_rest(trio)
                        watchers: list[Seen] = [Asked(each.port, options.poll_us / 1e6) for each in trio[1:]]
                        requests = Requests(trio[0].port, write, b"+OK\r\n", rate, options.seconds)
                    else:
                        watchers = [Pushed(port) for port in ends]
                        requests = Requests(heads[0], write, b"", rate, options.seconds)
                    way, missing = on_the_way(requests, watchers)
                    seen[through] += way
                    lost[through] += missing
                    late[through] += requests.sent_late_ms
                    if through == "marmoset":
                        seen["answered"] += requests.latency_ms
            for name, found in seen.items():
                of = "marmoset" if name == "answered" else name
                row = {"rate": rate, "what": name, **results.summary(found), "unseen": lost[of]}
                yield {**row, "sent_late_p99": results.summary(late[of])["p99"]}


def on_the_way(requests: Requests, watchers: "list[Seen]") -> tuple[list[float], int]:
    """Milliseconds of each write until the last watcher has seen it; and how many were never seen, which count up to
    the end of the run."""
    for each in watchers:
        each.expect(requests.count)
    try:
        play(requests, watchers)
    finally:
        requests.close()
        for each in watchers:
            each.socket.close()
    whens = list(zip(*(each.times for each in watchers), strict=True))
    end = time.perf_counter()
    found = [(max(times) if all(times) else end) - requests.due(number) for number, times in enumerate(whens)]
    return [seconds * 1000 for seconds in found], sum(not all(times) for times in whens)


class Seen(Watcher):
    """What one end has seen of the writes, and when."""

    socket: socket.socket
    times: "array[float]"
    """For each write when it was first seen; 0 where it was not yet."""
    count = 0

    def expect(self, count: int) -> None:
        """Begin with none of so many."""
        self.times = array("d", [0.0]) * count

    def has_come(self, upto: int, now: float) -> None:
        """All writes before `upto` are there."""
        for number in range(self.count, upto):
            self.times[number] = now
        self.count = max(self.count, upto)

    @property
    def is_done(self) -> bool:
        """Whether all were seen."""
        return self.count == len(self.times)


class Asked(Seen):
    """A node that is asked what it has."""

    def __init__(self, port: int, interval_s: float) -> None:
        self.socket = connected(port)
        self._question = packed([b"MGET", *map(key, range(SPREAD))])
        self._interval_s = interval_s
        self._next = 0.0
        self._answer = b""
        self._whole = len(b"*%d\r\n" % SPREAD) + SPREAD * len(b"$%d\r\n%b\r\n" % (VALUE_BYTES, value(0)))

    def tick(self, now: float) -> float:
        """Ask again, if it is time and the last answer is there."""
        if self._next <= now:
            self._next = float("inf")
            self.socket.sendall(self._question)
        return self._next - now

    def received(self, data: bytes, now: float) -> None:
        """An answer, or a part of it."""
        self._answer += data
        if len(self._answer) == self._whole:
            newest = max(self._answer.split(b"\r\n")[2::2])
            assert newest.startswith(b"w"), self._answer
            self.has_come(int(newest[1:]), now)
            self._answer = b""
            self._next = now + self._interval_s


class Pushed(Seen):
    """A relay that sends on what it gets: all writes are of one length."""

    def __init__(self, port: int) -> None:
        self.socket = connected(port)
        self._bytes = 0

    def tick(self, now: float) -> float:
        """Nothing is to be done."""
        return 3600.0

    def received(self, data: bytes, now: float) -> None:
        """Some more writes."""
        self._bytes += len(data)
        self.has_come(self._bytes // len(write(0)), now)


def key(number: int) -> bytes:
    """The name of a key."""
    return b"way:%02d" % (number % SPREAD)


def value(number: int) -> bytes:
    """What the n-th write writes: how many were written with it. Text that is in order where the numbers are."""
    return b"w%0*d" % (VALUE_BYTES - 1, number + 1)


def write(number: int) -> bytes:
    """The n-th write as it is sent."""
    return packed([b"SET", key(number), value(number)])


@contextlib.contextmanager
def relays(count: int, to: Sequence[int] = ()) -> Iterator[list[int]]:
    """So many relays to the ports; theirs."""
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(module("bench.relay", *map(str, to))) for _ in range(count)]
        ports = []
        for process in processes:
            assert process.stdout is not None
            ports.append(int(process.stdout.readline()))
        yield ports


def way_targets(rows: list[dict[str, Any]]) -> Iterator[Target]:
    """Those of the rate that the targets are for."""
    quiet = {row["what"]: row for row in rows if row["rate"] == QUIET_RATE}
    if quiet:
        ours, relay = quiet["marmoset"], quiet["relay"]
        yield Target(f"readable on both others, ms, p50 at {QUIET_RATE:,} a second", ours["p50"], P50_MAX_MS)
        limit = max(P99_MAX_MS, RELAYS_MAX * relay["p99"])
        yield Target(f"the same, p99; or {RELAYS_MAX:g} times the relay's", ours["p99"], limit)


def show(idle: list[float], costs: list[dict[str, Any]], ways: list[dict[str, Any]]) -> None:
    """The tables."""
    console = results.console()
    if costs:
        title = "processor time for a write, µs"
        columns = ("-P", "one node", "sender", "ratio", "receiver", "ratio", "plain", "ratio")
        table = results.table(title, ("test",), columns)
        for row in costs:
            names = (
                "single_us",
                *(f"{who}_{what}" for who in ("sender", "receiver", "plain") for what in ("us", "ratio")),
            )
            cells = [f"{row[name]:.2f}" if name in row else "" for name in names]
            table.add_row(row["test"], str(row["pipeline"]), *cells)
        console.print(table)
        console.print(f"idle, not subtracted: one node {idle[0]:.1f} ms a second, one of three {idle[1]:.1f}")
    if ways:
        columns = ("a second", "samples", "p50", "p99", "p99.9", "max", "sent late", "unseen")
        table = results.table("milliseconds until a write is readable on both others", ("",), columns)
        for row in ways:
            cells = [f"{row[name]:.2f}" for name in ("p50", "p99", "p99.9", "max", "sent_late_p99")]
            table.add_row(row["what"], f"{row['rate']:,}", f"{row['samples']:,}", *cells, f"{row['unseen']:,}")
        console.print(table)


if __name__ == "__main__":
    sys.exit(main())
