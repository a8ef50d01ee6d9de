"""redis-benchmark against one node, and against a real Redis in the same run where there is one; `make bench`.

Method: all servers run on this machine at the same time, idle while another is measured. A round measures each
test on one and then at once on the next, the order changing with each round, and what is shown is the median of the
rounds; so a machine that gets slower in between does not favour either. redis-benchmark itself takes a core: on two
cores each server has one for itself. Redis runs without persistence, as a node does.

Caveats: loopback, one machine, values of three bytes, one key space of `KEYS` random keys. Ratios are worth more than
rates. Results go to `bench/results/` as JSON, with the versions and the machine.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import AnyStr

from rich.console import Console
from rich.table import Table

from marmoset import build
from marmoset.version import VERSION

TESTS = "set,get,incr,sadd,hset,lpush,lrange_100,mset"
KEYS = 100_000
START_S = 20.0
RESULTS = Path(__file__).parent / "results"


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
    tool = shutil.which("redis-benchmark")
    if tool is None:
        print("redis-benchmark is not here; on Debian and Ubuntu: apt-get install redis-tools", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as stack:
        ports = {each: stack.enter_context(node(each)) for each in options.builds}
        if real := shutil.which("redis-server"):
            ports["redis"] = stack.enter_context(redis_server(real))
        else:
            print("redis-server is not here, so there is nothing to compare with", file=sys.stderr)
        measured = [m for depth in options.pipeline for m in measure(tool, ports, depth, options)]
    show(measured, options)
    write(measured, options)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description="redis-benchmark, beside a real Redis")
    parser.add_argument("--tests", default=TESTS, help="as redis-benchmark's -t")
    parser.add_argument("--requests", type=int, default=100_000, help="of each test and round; pipelined ones times 4")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--builds", nargs="+", choices=[build.COMPILED, build.INTERPRETED], default=[build.kind()])
    parser.add_argument("--pipeline", type=int, nargs="+", default=[1, 16], help="depths of pipelining")
    return parser.parse_args()


def measure(tool: str, ports: dict[str, int], depth: int, options: argparse.Namespace) -> Iterator[Measured]:
    """Every test at one depth, on each server."""
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(options.rounds):
        servers = sorted(ports, reverse=bool(number % 2))
        for test in options.tests.split(","):
            for server in servers:
                print(f"-P {depth} round {number + 1} {test} {server}", file=sys.stderr)
                for name, rate, p50 in benchmark(tool, ports[server], test, depth, options):
                    seen.setdefault((name, server), []).append((rate, p50))
    for (name, server), runs in seen.items():
        rates, latencies = zip(*runs, strict=True)
        yield Measured(name, depth, server, statistics.median(rates), statistics.median(latencies))


def benchmark(
    tool: str, port: int, test: str, depth: int, options: argparse.Namespace
) -> Iterator[tuple[str, float, float]]:
    """Name, requests a second and median latency of one run; a test may be several (the pushes before LRANGE)."""
    requests = options.requests * (4 if depth > 1 else 1)
    words = [tool, "-p", str(port), "-t", test, "-n", str(requests), "-c", str(options.clients)]
    words += ["-P", str(depth), "-r", str(KEYS), "--csv"]
    # Lists and counters of the test before would make this one's work depend on the order.
    with socket.create_connection(("127.0.0.1", port), timeout=60) as control:
        control.sendall(b"*1\r\n$8\r\nFLUSHALL\r\n")
        assert control.recv(64).startswith(b"+OK")
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode != 0 or "rror" in ended.stderr:
        raise SystemExit(f"redis-benchmark failed: {' '.join(words)}\n{ended.stdout}{ended.stderr}")
    for row in csv.DictReader(io.StringIO(ended.stdout)):
        if "needed to benchmark" not in row["test"]:
            yield row["test"].split(" ")[0], float(row["rps"]), float(row["p50_latency_ms"])


@contextlib.contextmanager
def node(kind: str) -> Iterator[int]:
    """One node of a build of marmoset; its port."""
    words = [sys.executable, "-m", "marmoset", "serve", "--port", "0", "--gossip-port", "0", "--log-level", "warning"]
    environment = {**os.environ, build.VARIABLE: kind}
    with ended_at_exit(subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        yield int(fields["clients"].rpartition(":")[2])


@contextlib.contextmanager
def redis_server(path: str) -> Iterator[int]:
    """A real Redis without persistence; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        words = [path, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        with ended_at_exit(subprocess.Popen(words, stdout=subprocess.DEVNULL)):
            until = time.monotonic() + START_S
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.05)
            yield port


@contextlib.contextmanager
def ended_at_exit(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """A process that does not outlive the measurement."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def show(measured: list[Measured], options: argparse.Namespace) -> None:
    """The table."""
    table = Table(title=f"requests a second, {options.clients} clients, median of {options.rounds}")
    for column in ("test", "-P", "build", "marmoset", "p50 ms", "redis", "p50 ms", "ratio"):
        table.add_column(column, justify="left" if column in ("test", "build") else "right")
    reference = {(m.test, m.pipeline): m for m in measured if m.server == "redis"}
    for ours in (m for m in measured if m.server != "redis"):
        theirs = reference.get((ours.test, ours.pipeline))
        cells = [ours.test, str(ours.pipeline), ours.server, f"{ours.rate:,.0f}", f"{ours.p50_ms:.3f}"]
        if theirs:
            cells += [f"{theirs.rate:,.0f}", f"{theirs.p50_ms:.3f}", f"{ours.rate / theirs.rate:.2f}"]
        table.add_row(*cells)
    Console().print(table)


def write(measured: list[Measured], options: argparse.Namespace) -> None:
    """The same as JSON, with what it was measured on."""
    RESULTS.mkdir(exist_ok=True)
    about = {
        "marmoset": VERSION,
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "options": vars(options),
    }
    rows = [{name: getattr(m, name) for name in Measured.__slots__} for m in measured]
    path = RESULTS / "redis_benchmark.json"
    path.write_text(json.dumps({"about": about, "measured": rows}, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(main())
