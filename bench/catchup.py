"""How fast a node gets what it lacks: a snapshot when it joins, the log when it was away; `make bench-catchup`.

Two nodes, real processes on loopback. The first one is filled with `--keys` keys: three in five are strings, the others
elements of sets and fields of hashes of 100, in equal parts.

- *snapshot*: from the start of the second process until it serves, less what the start of one that has nothing to get
  takes in the same round.
- *log*: the second node is stopped (SIGSTOP). Clients write `--behind` times to the first, at random keys of those. The
  second goes on (SIGCONT), and is caught up when it has the last write. MB are those of the log that the first one has
  kept until then; from there it takes a while until that is empty and both are at rest.

Medians of `--rounds` rounds, each with fresh nodes. `cpu` is the processor time of a process for each key or write.

Caveats: loopback; both processes share this machine's cores, and so does the client that asks the second node every
`POLL_S` whether it is there.
"""

import contextlib
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from bench import results
from bench.pipes import Pipe
from bench.processes import Server, cpu_s, exit_on_sigterm, node, wait_linked, wait_rest

BATCH: Final = 200
"""Writes in one round trip."""
INNER: Final = 100
"""Elements of a set, and fields of a hash."""
POLL_S: Final = 0.002
LIMIT_S: Final = 300.0
LAST: Final = b"the last write"


def write(number: int, value: bytes) -> list[bytes]:
    """The write that makes, or changes, the key or element of a number."""
    if number % 5 < 3:
        return [b"SET", b"s:%d" % number, value]
    if number % 5 == 3:
        return [b"SADD", b"u:%d" % (number // (5 * INNER)), b"%d %b" % (number, value)]
    return [b"HSET", b"h:%d" % (number // (5 * INNER)), b"%d" % number, value]


def send(client: Pipe, commands: list[list[bytes]]) -> None:
    """Writes in batches; none may be refused."""
    for first in range(0, len(commands), BATCH):
        for reply in client.all(commands[first : first + BATCH]):
            if isinstance(reply, Exception):
                raise SystemExit(f"a write was refused: {reply}")


def timed(pids: list[int], work: Callable[[], None]) -> tuple[float, list[float]]:
    """Seconds that something took, and the processor seconds of processes meanwhile."""
    before, began = [cpu_s(pid) for pid in pids], time.monotonic()
    work()
    seconds = time.monotonic() - began
    return seconds, [cpu_s(pid) - spent for pid, spent in zip(pids, before, strict=True)]


def snapshot(first: Server, keys: int) -> dict[str, float]:
    """A node joins, is filled, and ends again."""
    cpu, began = cpu_s(first.pid), time.monotonic()
    with node(name="newcomer", join=[first.address]) as newcomer:
        seconds = time.monotonic() - began
        spent = {"sponsor_us": cpu_s(first.pid) - cpu, "newcomer_us": cpu_s(newcomer.pid)}
    return {"s": seconds, **{name: each * 1e6 / keys for name, each in spent.items()}}


def behind(nodes: list[Server], client: Pipe, keys: int, count: int) -> dict[str, float]:
    """A member is stopped while others write, and catches up."""
    rng = random.Random(3)
    first, second = nodes
    os.kill(second.pid, signal.SIGSTOP)
    try:
        send(client, [write(rng.randrange(keys), b"%d" % number) for number in range(count - 1)])
        send(client, [[b"SET", LAST, b"%d" % count]])
        log_mb = client.mapping(b"MARMOSET", b"STATUS")["log_bytes"] / 1e6
    finally:
        os.kill(second.pid, signal.SIGCONT)

    def until_there() -> None:
        until = time.monotonic() + LIMIT_S
        with contextlib.closing(Pipe(second.port)) as reader:
            while reader.one(b"GET", LAST) != b"%d" % count:
                if time.monotonic() > until:
                    raise SystemExit(f"not caught up within {LIMIT_S:g} s")
                time.sleep(POLL_S)

    seconds, (sender_s, receiver_s) = timed([first.pid, second.pid], until_there)
    rest_s, _ = timed([], lambda: wait_rest(nodes))
    costs = {"sender_us": sender_s * 1e6 / count, "receiver_us": receiver_s * 1e6 / count}
    return {"s": seconds, "mb": log_mb, "rest_s": rest_s, **costs}


def one_round(keys: int, count: int) -> dict[str, dict[str, float]]:
    """Everything once, with fresh nodes."""
    with node(name="first") as first, contextlib.closing(Pipe(first.port)) as client:
        empty = snapshot(first, 1)
        send(client, [write(number, b"value") for number in range(keys)])
        wait_rest([first])
        filled = snapshot(first, keys)
        filled["s"] = max(1e-3, filled["s"] - empty["s"])
        with node(name="second", join=[first.address]) as second:
            wait_linked([first, second])
            wait_rest([first, second])
            return {"snapshot": filled, "log": behind([first, second], client, keys, count)}


def rows(runs: list[dict[str, dict[str, float]]], counts: dict[str, int]) -> list[dict[str, Any]]:
    """Medians, and what follows from them."""
    made: list[dict[str, Any]] = []
    for what, count in counts.items():
        names = runs[0][what]
        row = {name: statistics.median(run[what][name] for run in runs) for name in names}
        made.append({"what": what, "count": count, **row, "a_second": count / row["s"]})
    return made


def main() -> int:
    """Measure and print."""
    parser = results.parser("bench-catchup", "how fast a node gets what it lacks")
    parser.add_argument("--keys", type=int, default=200_000)
    parser.add_argument("--behind", type=int, default=100_000, help="writes that the second node misses")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    exit_on_sigterm()
    runs: list[dict[str, dict[str, float]]] = []
    for number in range(options.rounds):
        print(f"round {number + 1}", file=sys.stderr)
        runs.append(one_round(options.keys, options.behind))
    measured = rows(runs, {"snapshot": options.keys, "log": options.behind})
    columns = ("count", "s", "a second", "MB", "cpu µs, gives", "cpu µs, gets", "then at rest, s")
    table = results.table("what a node lacked", ("",), columns)
    for row in measured:
        gives, gets = row.get("sponsor_us", row.get("sender_us")), row.get("newcomer_us", row.get("receiver_us"))
        figures = [row["count"], row["s"], row["a_second"], row.get("mb"), gives, gets, row.get("rest_s")]
        table.add_row(row["what"], *("" if each is None else results.number(each) for each in figures))
    results.console().print(table)
    results.write("catchup", options, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
