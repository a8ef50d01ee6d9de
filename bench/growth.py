"""What work costs as there is more of it: elements, unstable writes, members; `make bench-growth`.

    make bench-growth ARGS="--elements 10000 1000000"        # all sizes take half an hour and 3 GB

Three tables, each with a row for a command and a column for a size; what should not grow stays the same along a row.

- *Elements*: microseconds of processor time for a command on one key with so many elements, or on one of so many keys.
  One node alone, in process, from a request's words to its reply: no sockets and no parsing. Elements are random, so
  the larger sizes also pay for memory that is in no cache. What adds takes away again, so the size stays.
- *Window*: the same in a group of two where the other member has so many operations not yet, all on one key, each on an
  element of its own: these are what a window remembers. Then the other one reports that it has everything, and `fold`
  is what forgetting costs for each operation.
- *Members*: the simulator's profile `calm`: messages, bytes and datagrams an operation, and processor time of all
  nodes and links together (with checks and specification), for each operation on each node.

Each figure is the median of `--rounds` rounds of `--count` commands.
"""

import statistics
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

from bench import results
from bench.builds import Time
from marmoset.codec.messages import KnownRow, Report, vector_pairs
from marmoset.codec.operations import Join
from marmoset.config import Config
from marmoset.node import Node
from marmoset.resp.replies import ErrorReply
from marmoset.session import Clients, Session
from marmoset.sim.simulation import per_operation, simulate

KEY: Final = b"c"
CHUNK: Final = 100
"""Elements in one command that fills."""
OTHER: Final = 2
"""The id of the other member."""
Request = list[bytes]
Figures = dict[str, dict[str, float]]


def name(number: int) -> bytes:
    """An element, field or key: 10 bytes."""
    return b"e%09d" % number


def score(number: int) -> bytes:
    """The score of a member: no order that the members are added in."""
    return b"%d" % (number * 7919 % 1_000_003)


FILLS: Final[dict[str, Callable[[int], Request]]] = {
    "keys": lambda number: [name(number), b"value"],
    "set": lambda number: [name(number)],
    "hash": lambda number: [name(number), b"value"],
    "list": lambda number: [name(number)],
    "sorted set": lambda number: [score(number), name(number)],
}
VERBS: Final = {"keys": b"MSET", "set": b"SADD", "hash": b"HSET", "list": b"RPUSH", "sorted set": b"ZADD"}

COMMANDS: Final[dict[str, dict[str, Callable[[int, int], list[Request]]]]] = {
    "keys": {
        "GET": lambda at, size: [[b"GET", name(at)]],
        "SET": lambda at, size: [[b"SET", name(at), b"other"]],
        "DEL, SET": lambda at, size: [[b"DEL", name(at)], [b"SET", name(at), b"value"]],
    },
    "set": {
        "SISMEMBER": lambda at, size: [[b"SISMEMBER", KEY, name(at)]],
        "SREM, SADD": lambda at, size: [[b"SREM", KEY, name(at)], [b"SADD", KEY, name(at)]],
    },
    "hash": {
        "HGET": lambda at, size: [[b"HGET", KEY, name(at)]],
        "HSET": lambda at, size: [[b"HSET", KEY, name(at), b"other"]],
        "HDEL, HSET": lambda at, size: [[b"HDEL", KEY, name(at)], [b"HSET", KEY, name(at), b"value"]],
    },
    "list": {
        "LINDEX": lambda at, size: [[b"LINDEX", KEY, b"%d" % at]],
        "LSET": lambda at, size: [[b"LSET", KEY, b"%d" % at, b"other"]],
        "RPUSH, LPOP": lambda at, size: [[b"RPUSH", KEY, name(at)], [b"LPOP", KEY]],
        "LPUSH, RPOP": lambda at, size: [[b"LPUSH", KEY, name(at)], [b"RPOP", KEY]],
        "LRANGE of 10": lambda at, size: [[b"LRANGE", KEY, b"%d" % at, b"%d" % (at + 9)]],
    },
    "sorted set": {
        "ZSCORE": lambda at, size: [[b"ZSCORE", KEY, name(at)]],
        "ZRANK": lambda at, size: [[b"ZRANK", KEY, name(at)]],
        "ZADD": lambda at, size: [[b"ZADD", KEY, score(at + size), name(at)]],
        "ZRANGE of 10": lambda at, size: [[b"ZRANGE", KEY, b"%d" % at, b"%d" % (at + 9)]],
    },
}
"""Commands by what they work on: from a random place and the size to the requests that are one measurement."""

WRITES: Final[dict[str, Callable[[int], Request]]] = {
    "SADD": lambda number: [b"SADD", KEY, name(number)],
    "HSET": lambda number: [b"HSET", KEY, name(number), b"value"],
    "ZADD": lambda number: [b"ZADD", KEY, score(number), name(number)],
    "RPUSH": lambda number: [b"RPUSH", KEY, name(number)],
    "INCR": lambda number: [b"INCR", KEY],
    "SET, a key each": lambda number: [b"SET", name(number), b"value"],
}
"""What fills a window, and is measured in it."""


class Alone:
    """A node in this process, with one session."""

    def __init__(self) -> None:
        self.node = Node(Config(name="solo", port=6379, gossip_port=7946, log_budget=1 << 40), Time(), Random(7))
        self.node.start()
        self.session = Session(self.node, Clients(), 1, "127.0.0.1:1")

    def run(self, requests: list[Request]) -> None:
        """Run requests; none may be refused."""
        run = self.session.run
        for request in requests:
            reply = run(request)
            assert not isinstance(reply, ErrorReply), reply.text
        self.node.end_turn()
        self.node.effects.clear()

    def cost_us(self, requests: list[Request]) -> float:
        """Microseconds of processor time for each, the turn behind them included."""
        began = time.process_time()
        self.run(requests)
        return (time.process_time() - began) / len(requests) * 1e6


def by_elements(kind: str, size: int, count: int, rounds: int) -> dict[str, float]:
    """Costs with one collection of a size, or with so many keys."""
    alone, fill = Alone(), FILLS[kind]
    head = [VERBS[kind]] if kind == "keys" else [VERBS[kind], KEY]
    for first in range(0, size, CHUNK):
        alone.run([head + [word for number in range(first, min(first + CHUNK, size)) for word in fill(number)]])
    rng, found = Random(5), {}
    for command, requests_of in COMMANDS[kind].items():
        runs = []
        for _ in range(rounds):
            asked = [requests_of(rng.randrange(size), size) for _ in range(count)]
            runs.append(alone.cost_us([request for requests in asked for request in requests]) * len(asked[0]))
        found[command] = statistics.median(runs)
    return found


def by_window(command: str, size: int, count: int, rounds: int) -> dict[str, float]:
    """Costs where so many operations are not stable: of one more, and of forgetting one."""
    alone, write = Alone(), WRITES[command]
    replica = alone.node.replica
    replica.submit_roster([Join(OTHER, "other", "127.0.0.1:1")])
    for number in range(size):
        alone.run([write(number)])
    runs, numbers = [], range(size, size + count)
    for _ in range(rounds):
        runs.append(alone.cost_us([write(number) for number in numbers]))
        numbers = range(numbers.stop, numbers.stop + count)
    operations = replica.seen[replica.me]
    row = KnownRow(OTHER, 1, replica.clock.stamp, vector_pairs(replica.seen))
    began = time.process_time()
    replica.count_report(Report(row, []))
    while replica.advance() and replica.fold_slice(1000):
        pass
    folded_us = (time.process_time() - began) / operations * 1e6
    assert not replica.keyspace.window_entries, "not everything was folded"
    return {command: statistics.median(runs), f"{command}: fold": folded_us}


def by_members(members: int, operations: int) -> dict[str, float]:
    """What an operation costs in a simulated group."""
    began = time.process_time()
    outcome = simulate(3, "calm", members, operations)
    spent_s = time.process_time() - began
    assert outcome.code == 0, outcome.problem
    each_us = spent_s / max(1, outcome.counts["operations"]) / members * 1e6
    return {**per_operation(outcome.counts), "µs an operation and node": each_us}


def show(title: str, figures: Figures, sizes: list[int]) -> None:
    """One table: a row for what was measured, a column for each size."""
    table = results.table(title, ("",), [f"{size:,}" for size in sizes])
    for what, row in figures.items():
        table.add_row(what, *(results.number(row[str(size)]) if str(size) in row else "" for size in sizes))
    results.console().print(table)


def main() -> int:
    """Measure and print."""
    parser = results.parser("bench-growth", "cost as there is more of everything")
    parser.add_argument("--elements", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    parser.add_argument("--window", type=int, nargs="+", default=[100, 10_000, 100_000, 1_000_000])
    parser.add_argument("--members", type=int, nargs="+", default=[2, 5, 10, 20, 50])
    parser.add_argument("--operations", type=int, default=2000, help="of a simulated group")
    parser.add_argument("--count", type=int, default=2000, help="commands in a round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    elements: Figures = {}
    window: Figures = {}
    members: Figures = {}
    for size in options.elements:
        for kind in COMMANDS:
            print(f"{kind}: {size:,}", file=sys.stderr)
            for what, cost in by_elements(kind, size, options.count, options.rounds).items():
                elements.setdefault(f"{kind}: {what}", {})[str(size)] = cost
    for size in options.window:
        for command in WRITES:
            print(f"window of {command}: {size:,}", file=sys.stderr)
            for what, cost in by_window(command, size, options.count, options.rounds).items():
                window.setdefault(what, {})[str(size)] = cost
    for size in options.members:
        print(f"members: {size}", file=sys.stderr)
        for what, cost in by_members(size, options.operations).items():
            members.setdefault(what, {})[str(size)] = cost
    show("µs a command, by elements", elements, options.elements)
    show("µs a command, by operations that are not stable", window, options.window)
    show("an operation, by members", members, options.members)
    results.write("growth", options, {"elements": elements, "window": window, "members": members})
    return 0


if __name__ == "__main__":
    sys.exit(main())
