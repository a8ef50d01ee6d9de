"""What a snapshot costs its sponsor: stalls of the event loop while a newcomer joins; `make bench-snapshot`.

One node (a real process, `bench.probed_node`) is filled with `--keys` keys of mixed types, among them a set, a hash, a
list and a sorted set of `--elements` elements each. A writer, a process of its own, writes to all of them at
`--rate` writes a second, throughout. A timer of 1 ms on the node's own loop measures how late it is called:

- *control*: the same process, the same writes, nobody joins;
- *join*: a second node, a real process, joins and is filled, until it serves;
- *after*: both serve.

The sponsor has a core of its own where there are two or more, and everything else shares the others: in life a newcomer
and clients have machines of their own. `--shared-cores` leaves that to the kernel.

Beside it a process does nothing but run the same timer in an empty loop (*idle*): what the machine itself makes late.
`work` is the processor time of the loop's thread between two calls of the timer, which no other process makes longer.

The newcomer is asked all the while: it must refuse reads until it is complete. At the end the writer stops, both
databases are read through the protocol, whole, and have to be equal.
"""

import argparse
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

from bench import database_digest, results
from bench.pipes import Pipe
from bench.processes import exit_on_sigterm, fields_in, free_port, module, port_of, resident_bytes

BATCH = 500
JOIN_LIMIT_S = 600.0
BIG_SET, BIG_HASH, BIG_LIST, BIG_ZSET = b"big:set", b"big:hash", b"big:list", b"big:zset"


@dataclass
class Outcome:
    """Everything that was measured."""

    stalls: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    load_s: float = 0.0
    transfer_s: float = 0.0
    keys: int = 0
    transfer_bytes: int = 0
    sponsor_mb: dict[str, int] = field(default_factory=dict)
    newcomer_mb: int = 0
    writes: dict[str, float] = field(default_factory=dict)
    refused_while_joining: int = 0
    progress_seen: int = 0
    equal: bool = False


def main() -> int:
    """Measure and print; 0 if both databases were equal."""
    options = arguments()
    exit_on_sigterm()
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        sponsor = stack.enter_context(module("bench.probed_node", "--name", "sponsor", "--log-level", "warning"))
        ready = fields_of(sponsor)
        if not options.shared_cores:
            part_cores(sponsor.pid)
        idle = stack.enter_context(module("bench.probed_node", "idle"))
        client = Pipe(port_of(ready["clients"]))
        began = time.monotonic()
        fill(client, options.keys, options.elements)
        outcome.load_s = time.monotonic() - began
        print(f"filled in {outcome.load_s:.0f} s", file=sys.stderr)
        outcome.sponsor_mb["filled"] = resident_mb(sponsor.pid)
        measure(sponsor, idle, ready, client, options, outcome)
    show(outcome, options)
    results.write("snapshot_stalls", options, asdict(outcome))
    return 0 if outcome.equal else 1


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-snapshot", "stalls of a sponsor's event loop")
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--elements", type=int, default=1_000_000, help="of each of the large collections")
    parser.add_argument("--rate", type=int, default=3000, help="writes a second")
    parser.add_argument("--control-s", type=float, default=20.0, help="how long each phase without a join lasts")
    parser.add_argument("--shared-cores", action="store_true", help="let all processes run on all cores")
    return parser.parse_args()


def measure(
    sponsor: "subprocess.Popen[str]",
    idle: "subprocess.Popen[str]",
    ready: dict[str, str],
    client: Pipe,
    options: argparse.Namespace,
    outcome: Outcome,
) -> None:
    """The three phases, then the comparison."""
    port = port_of(ready["clients"])

    def phase(name: str) -> None:
        for process in (sponsor, idle):
            tell(process, f"phase {name}")

    words = ["bench.snapshot_writer", str(port), str(options.rate), str(options.keys), str(options.elements)]
    with module(*words) as writer:
        time.sleep(2)
        phase("control")
        time.sleep(options.control_s)
        phase("join")
        other_port = free_port()
        join = ["marmoset", "serve", "--name", "newcomer", "--port", f"{other_port}", "--gossip-port", "0"]
        began = time.monotonic()
        with module(*join, "--join", ready["nodes"]) as newcomer:
            fields = await_served(newcomer, other_port, client, outcome, began)
            outcome.transfer_s = time.monotonic() - began
            outcome.sponsor_mb["joined"] = resident_mb(sponsor.pid)
            outcome.newcomer_mb = resident_mb(newcomer.pid)
            phase("after")
            time.sleep(options.control_s)
            phase("end")
            tell(writer, "stop")
            assert writer.stdout is not None
            outcome.writes = json.loads(writer.stdout.readline())
            other = Pipe(port_of(fields["clients"]))
            outcome.equal = compare(client, other)
            outcome.keys = int(client.one(b"DBSIZE"))
        for name, process in (("sponsor", sponsor), ("idle", idle)):
            tell(process, "dump")
            assert process.stdout is not None
            outcome.stalls[name] = json.loads(process.stdout.readline())


def await_served(
    newcomer: "subprocess.Popen[str]", port: int, sponsor: Pipe, outcome: Outcome, began: float
) -> dict[str, str]:
    """Wait until the newcomer says that it is ready; meanwhile look at it and at the sponsor as people would."""
    assert newcomer.stdout is not None
    os.set_blocking(newcomer.stdout.fileno(), False)
    line, early = "", 0
    while not line.endswith("\n"):
        if newcomer.poll() is not None or time.monotonic() - began > JOIN_LIMIT_S:
            raise SystemExit("the newcomer does not come to serve")
        answer = ask(port)
        if answer is not None:
            refused = answer.startswith(b"-LOADING")
            outcome.refused_while_joining += refused
            early += not refused  # the line may come a moment later
            assert early < 3, f"a node that is not complete answered {answer!r}"
        time.sleep(0.2)
        line += newcomer.stdout.readline() or ""
        status = sponsor.mapping(b"MARMOSET", b"STATUS")
        outcome.progress_seen += bool(status.get("snapshot_out_keys"))
        sent = status.get("snapshot_out_bytes")
        outcome.transfer_bytes = max(outcome.transfer_bytes, sent if isinstance(sent, int) else 0)
    return fields_in(line)


def compare(first: Pipe, second: Pipe) -> bool:
    """Whether both have the same, once what was written last has come over."""
    until = time.monotonic() + 30
    while first.one(b"DBSIZE") != second.one(b"DBSIZE") and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(2)
    print("comparing", file=sys.stderr)
    digests = [database_digest.digest(pipe) for pipe in (first, second)]
    return digests[0] == digests[1]


def fill(client: Pipe, keys: int, elements: int) -> None:
    """Keys of every type, and the large collections."""
    rng = random.Random(1)
    commands: list[list[bytes]] = []
    for at in range(0, elements, BATCH):
        names = [b"e:%07d" % n for n in range(at, min(elements, at + BATCH))]
        commands += [
            [b"SADD", BIG_SET, *names],
            [b"HSET", BIG_HASH, *(part for name in names for part in (name, b"value"))],
            [b"RPUSH", BIG_LIST, *names],
            [b"ZADD", BIG_ZSET, *(part for n, name in enumerate(names) for part in (b"%d" % (at + n), name))],
        ]
    strings: list[bytes] = []
    for n in range(keys - 4):
        kind = n % 10
        if kind < 6:
            strings += (b"s:%d" % n, b"value %d" % n)
            if len(strings) >= 2 * BATCH:
                commands.append([b"MSET", *strings])
                strings = []
        elif kind == 6:
            commands.append([b"SADD", b"u:%d" % n, b"a", b"b", b"%d" % rng.randrange(1000)])
        elif kind == 7:
            commands.append([b"HSET", b"h:%d" % n, b"name", b"n%d" % n, b"at", b"%d" % n])
        elif kind == 8:
            commands.append([b"RPUSH", b"l:%d" % n, b"x", b"y", b"z"])
        else:
            commands.append([b"ZADD", b"z:%d" % n, b"1", b"one", b"2.5", b"two"])
        if len(commands) >= BATCH:
            client.all(commands)
            commands = []
    if strings:
        commands.append([b"MSET", *strings])
    client.all(commands)


# Processes


def part_cores(pid: int) -> None:
    """Give a process the first core, and this one, with those that it will start, the others."""
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        os.sched_setaffinity(pid, {first})
        os.sched_setaffinity(0, others)


def tell(process: "subprocess.Popen[str]", line: str) -> None:
    """One line on a child's standard input."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def fields_of(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    return fields_in(process.stdout.readline())


def ask(port: int) -> bytes | None:
    """What a node answers to a read; None where nobody listens yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET s:0\r\n")
            return connection.recv(256)
    except OSError:
        return None


def resident_mb(pid: int) -> int:
    """Memory of a process, in MiB."""
    return resident_bytes(pid) >> 20


# Results


def show(outcome: Outcome, options: argparse.Namespace) -> None:
    """The tables."""
    console = results.console()
    title = f"event loop, {options.keys:,} keys, {options.rate:,} writes a second; milliseconds"
    table = results.table(title, ("process", "phase", "what"), ("samples", "p50", "p99", "p99.9", "max"))
    for process, phases in outcome.stalls.items():
        for name, found in phases.items():
            what, _, phase = name.partition(" ")
            if phase in ("control", "join", "after"):
                cells = [f"{found[key]:.2f}" for key in ("p50", "p99", "p99.9", "max")]
                table.add_row(process, phase, what, f"{found['samples']:.0f}", *cells)
    console.print(table)
    megabytes = outcome.transfer_bytes / 1e6
    console.print(
        f"transfer {outcome.transfer_s:.1f} s, {outcome.keys / outcome.transfer_s:,.0f} keys/s, "
        f"{megabytes:,.0f} MB, {megabytes / outcome.transfer_s:.1f} MB/s; "
        f"memory in MiB: sponsor {outcome.sponsor_mb}, newcomer {outcome.newcomer_mb}"
    )
    console.print(
        f"writer: {outcome.writes}; progress seen {outcome.progress_seen} times; "
        f"refused while joining: {outcome.refused_while_joining}; equal: {outcome.equal}"
    )


if __name__ == "__main__":
    sys.exit(main())
