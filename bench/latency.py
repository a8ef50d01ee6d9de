"""How long a request takes at a given rate: GET and SET against a node, beside a real Redis; `make bench-latency`.

Method: open loop (`bench.openloop`): requests are due at even intervals, whatever happened to those before, and latency
counts from the moment at which a request was due to that at which its reply was read. Requests go in turn over
`--connections` connections, without waiting for replies, over `--keys` keys that are all there; values of eight bytes.
Servers are idle while another is measured; each round measures every server, in changing order, and percentiles are of
the samples of all rounds together. `sent late` is the generator's own share: how late it sent, p99; it is part of
every latency.

    make bench-latency                                                         about a minute
    make bench-latency ARGS="--rates 1000 10000 30000 --seconds 30 --rounds 5"  full size

Caveats: loopback; the generator is one Python thread. Where it sends late it makes up for it at once, several requests
in a chunk, which costs a server less; at high rates it takes a core. Requests that a server does not answer within ten
seconds after the last was due count as answered then, and the table says how many they were: that rate is more than it
can do. A p99.9 needs some ten thousand samples to mean much.
"""

import argparse
import contextlib
import sys
from typing import Any, Final

from bench import results
from bench.openloop import Requests, play
from bench.pipes import Pipe, packed
from bench.processes import exit_on_sigterm, found_redis, node, redis_server
from marmoset import build

VALUE: Final = b"value 01"
FILL: Final = 1000
REPLIES: Final = {"GET": b"$8\r\n" + VALUE + b"\r\n", "SET": b"+OK\r\n"}


def main() -> int:
    """Measure and print; 0 unless a run failed."""
    options = arguments()
    exit_on_sigterm()
    latencies: dict[tuple[str, int, str], list[float]] = {}
    late: dict[tuple[str, int, str], list[float]] = {}
    unanswered: dict[tuple[str, int, str], int] = {}
    with contextlib.ExitStack() as stack:
        ports = {kind: stack.enter_context(node(kind)).port for kind in options.builds}
        if real := found_redis():
            ports["redis"] = stack.enter_context(redis_server(real)).port
        for port in ports.values():
            fill(port, options.keys)
        for number in range(options.rounds):
            for command in REPLIES:
                for rate in options.rates:
                    for server in sorted(ports, reverse=bool(number % 2)):
                        print(f"round {number + 1} {command} {rate:,} a second, {server}", file=sys.stderr)
                        requests = measured_once(ports[server], command, rate, options)
                        case = command, rate, server
                        latencies.setdefault(case, []).extend(requests.latency_ms)
                        late.setdefault(case, []).extend(requests.sent_late_ms)
                        unanswered[case] = unanswered.get(case, 0) + requests.unanswered
    rows: list[dict[str, Any]] = []
    for case, found in latencies.items():
        command, rate, server = case
        row = {"command": command, "rate": rate, "server": server, **results.summary(found)}
        rows.append({**row, "sent_late_p99": results.summary(late[case])["p99"], "unanswered": unanswered[case]})
    show(rows)
    results.write("latency", options, rows)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-latency", "latency of GET and SET at given rates, beside a real Redis")
    parser.add_argument("--rates", type=int, nargs="+", default=[1000, 5000, 10_000], help="requests a second")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each case; all their samples count")
    parser.add_argument("--connections", type=int, default=16, help="between which requests go round")
    parser.add_argument("--keys", type=int, default=10_000, help="that are there and asked for in turn")
    parser.add_argument("--builds", nargs="+", choices=[build.COMPILED, build.INTERPRETED], default=[build.kind()])
    return parser.parse_args()


def fill(port: int, keys: int) -> None:
    """All keys."""
    with contextlib.closing(Pipe(port)) as pipe:
        for at in range(0, keys, FILL):
            words = [word for n in range(at, min(keys, at + FILL)) for word in (key(n), VALUE)]
            assert pipe.one(b"MSET", *words) == b"OK"


def key(number: int) -> bytes:
    """The name of a key."""
    return b"key:%d" % number


def measured_once(port: int, command: str, rate: int, options: argparse.Namespace) -> Requests:
    """One run."""
    values = [VALUE] if command == "SET" else []
    prepared = [packed([command.encode(), key(number), *values]) for number in range(options.keys)]
    count = len(prepared)
    requests = Requests(
        port, lambda n: prepared[n * 7919 % count], REPLIES[command], rate, options.seconds, options.connections
    )
    try:
        play(requests)
    finally:
        requests.close()
    return requests


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    numbers = ("a second", "samples", "p50", "p99", "p99.9", "max", "sent late", "unanswered")
    table = results.table("milliseconds from when a request was due to its reply", ("command", "server"), numbers)
    for row in rows:
        cells = [f"{row[name]:.2f}" for name in ("p50", "p99", "p99.9", "max", "sent_late_p99")]
        counts = [f"{row['rate']:,}", f"{row['samples']:,}"]
        table.add_row(row["command"], row["server"], *counts, *cells, f"{row['unanswered']:,}")
    results.console().print(table)


if __name__ == "__main__":
    sys.exit(main())
