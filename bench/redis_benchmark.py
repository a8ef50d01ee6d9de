"""redis-benchmark against a node, and against a real Redis in the same run where there is one; `make bench`.

Method: all servers run on this machine at the same time, idle while another is measured. A round measures each
test on one and then at once on the next, the order changing with each round, and what is shown is the median of the
rounds; so a machine that gets slower in between does not favour either. redis-benchmark itself takes a core: on two
cores each server has one for itself. Redis runs without persistence, as a node does.

Before each run the server is emptied, and filled with what the test needs: GET and SISMEMBER find what they ask for,
LPOP and LRANGE have a list. With `--nodes 3` the node that is measured is one of three that replicate; a run begins
when the three are at rest after the one before. What the others do while a test runs takes processor time, on a
machine with few cores from the node that is measured and from redis-benchmark: on less than four cores it says little.

    make bench                                               two or three minutes
    make bench ARGS="--rounds 5 --requests 100000"           full size, about half an hour
    make bench ARGS="--nodes 3 --tests set,sadd --pipeline 16"

Caveats: loopback, one machine, values of three bytes, one key space of `KEYS` random keys. Ratios are worth more than
rates, and move by a tenth from run to run on a busy machine; targets are meant for full size. Results go to
`bench/results/` as JSON, with the versions and the machine.
"""

import argparse
import contextlib
import csv
import io
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from bench import results
from bench.pipes import Pipe
from bench.processes import Server, exit_on_sigterm, flush, found_redis, group, node, redis_server, wait_rest
from marmoset import build

TESTS = "set,get,incr,sadd,sismember,hset,lpush,lpop,lrange_100,zadd,mset"
COMMANDS = {"sismember": ["SISMEMBER", "myset", "element:__rand_int__"]}
"""What redis-benchmark has no test of its own for."""
FLOORED = ("set", "get", "incr", "sadd", "sismember", "hset", "lpush", "zadd")
FLOORS = {1: 0.95, 16: 0.75, 64: 0.6}
"""What part of Redis's rate one node is to reach at each depth, in these tests. Redis reads 0.97 to 1.08 of itself."""
KEYS = 100_000
FILL = 1000
NO_TOOL = "redis-benchmark is not here; on Debian and Ubuntu: apt-get install redis-tools"


@dataclass(frozen=True, slots=True)
class Measured:
    """One test at one depth of pipelining: requests a second and the median latency, medians over the rounds."""

    test: str
    pipeline: int
    server: str
    rate: float
    p50_ms: float


def main() -> int:
    """Measure and print; 0 unless a run failed."""
    options = arguments()
    exit_on_sigterm()
    tool = shutil.which("redis-benchmark")
    if tool is None:
        print(NO_TOOL, file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        servers: dict[str, list[Server]] = {}
        for kind in options.builds:
            alone = options.nodes == 1
            servers[kind] = (
                [stack.enter_context(node(kind))] if alone else stack.enter_context(group(options.nodes, kind))
            )
        if real := found_redis():
            servers["redis"] = [stack.enter_context(redis_server(real))]
        measured = [m for depth in options.pipeline for m in measure(tool, servers, depth, options)]
    show(measured, options)
    targets = floors(measured) if options.nodes == 1 else []
    results.show_targets(targets)
    name = "redis_benchmark" if options.nodes == 1 else f"redis_benchmark_{options.nodes}_nodes"
    results.write(name, options, [asdict(m) for m in measured], targets)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench", "redis-benchmark, beside a real Redis")
    parser.add_argument("--tests", default=TESTS, help="as redis-benchmark's -t, and sismember")
    parser.add_argument("--requests", type=int, default=20_000, help="of each test and round; pipelined ones times 4")
    parser.add_argument("--clients", type=int, default=50, help="connections")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median counts; quoted figures have 5")
    parser.add_argument("--builds", nargs="+", choices=[build.COMPILED, build.INTERPRETED], default=[build.kind()])
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16, 64], help="depths of pipelining")
    parser.add_argument("--nodes", type=int, choices=range(1, 10), default=1, metavar="N", help="in the node's group")
    return parser.parse_args()


def measure(tool: str, servers: dict[str, list[Server]], depth: int, options: argparse.Namespace) -> Iterator[Measured]:
    """Every test at one depth, on each server."""
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    requests = options.requests * (4 if depth > 1 else 1)
    for number in range(options.rounds):
        order = sorted(servers, reverse=bool(number % 2))
        for test in options.tests.split(","):
            for server in order:
                print(f"-P {depth} round {number + 1} {test} {server}", file=sys.stderr)
                prepare(servers[server], test, requests, is_node=server != "redis")
                for name, rate, p50 in benchmark(tool, servers[server][0].port, test, requests, options.clients, depth):
                    seen.setdefault((name, server), []).append((rate, p50))
    for (name, server), runs in seen.items():
        rates, latencies = zip(*runs, strict=True)
        yield Measured(name, depth, server, statistics.median(rates), statistics.median(latencies))


def prepare(nodes: Sequence[Server], test: str, requests: int, *, is_node: bool) -> None:
    """Empty the server, since what the test before left would make this one's work depend on the order, and fill it
    with what the test reads."""
    flush(nodes)
    if test in ("get", "sismember", "lpop"):
        with contextlib.closing(Pipe(nodes[0].port)) as pipe:
            pipe.all(filling(test, requests))
    if is_node:
        wait_rest(nodes)


def filling(test: str, requests: int) -> list[list[bytes]]:
    """The commands that make what a test reads, under the names that redis-benchmark asks for."""
    if test == "lpop":
        return [[b"RPUSH", b"mylist", *[b"xxx"] * min(FILL, requests - at)] for at in range(0, requests, FILL)]
    commands = []
    for at in range(0, KEYS, FILL):
        if test == "get":
            commands.append([b"MSET", *(word for n in range(at, at + FILL) for word in (b"key:%012d" % n, b"xxx"))])
        else:
            commands.append([b"SADD", b"myset", *(b"element:%012d" % n for n in range(at, at + FILL))])
    return commands


def benchmark(
    tool: str, port: int, test: str, requests: int, clients: int, depth: int
) -> Iterator[tuple[str, float, float]]:
    """Name, requests a second and median latency of one run; a test may be several (the pushes before LRANGE)."""
    words = [tool, "-p", str(port), "-n", str(requests), "-c", str(clients), "-P", str(depth), "-r", str(KEYS), "--csv"]
    words += COMMANDS.get(test, ["-t", test])
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode != 0 or "rror" in ended.stderr:
        raise SystemExit(f"redis-benchmark failed: {' '.join(words)}\n{ended.stdout}{ended.stderr}")
    for row in csv.DictReader(io.StringIO(ended.stdout)):
        if "needed to benchmark" not in row["test"]:
            yield row["test"].split(" ")[0], float(row["rps"]), float(row["p50_latency_ms"])


def show(measured: list[Measured], options: argparse.Namespace) -> None:
    """The table."""
    nodes = "one node" if options.nodes == 1 else f"one of {options.nodes} nodes"
    title = f"requests a second, {nodes}, {options.clients} clients, median of {options.rounds}"
    table = results.table(title, ("test", "build"), ("-P", "marmoset", "p50 ms", "redis", "p50 ms", "ratio"))
    reference = of_redis(measured)
    for ours in (m for m in measured if m.server != "redis"):
        theirs = reference.get((ours.test, ours.pipeline))
        cells = [ours.test, ours.server, str(ours.pipeline), f"{ours.rate:,.0f}", f"{ours.p50_ms:.3f}"]
        if theirs:
            cells += [f"{theirs.rate:,.0f}", f"{theirs.p50_ms:.3f}", f"{ours.rate / theirs.rate:.2f}"]
        table.add_row(*cells)
    results.console().print(table)


def of_redis(measured: Sequence[Measured]) -> dict[tuple[str, int], Measured]:
    """What Redis did, by test and depth."""
    return {(m.test, m.pipeline): m for m in measured if m.server == "redis"}


def floors(measured: Sequence[Measured]) -> list[results.Target]:
    """What part of Redis's rate the compiled build of one node is to reach at least."""
    reference = of_redis(measured)
    return [
        results.Target(f"{m.test} -P {m.pipeline}", m.rate / theirs.rate, FLOORS[m.pipeline], at_least=True)
        for m in measured
        if m.server == build.COMPILED
        and m.pipeline in FLOORS
        and m.test.lower() in FLOORED
        and (theirs := reference.get((m.test, m.pipeline))) is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
