"""What a snapshot costs its sponsor: stalls of the event loop while a newcomer joins; `make bench-snapshot`.

One node (a real process, `bench.probed_node`) is filled with `--keys` keys of mixed types, among them a set, a hash, a
list and a sorted set of `--elements` elements each. A writer, a process of its own, writes to all of them at
`--rate` writes a second, throughout. A timer of 1 ms on the node's own loop measures how late it is called:

- *control*: the same process, the same writes, nobody joins;
- *join*: a second node, a real process, joins and is filled, until it serves;
- *after*: both serve.

The sponsor has a core of its own where there are two or more, and everything else shares the others: in life a newcomer
and clients have machines of their own. `--shared-cores` leaves that to the kernel.

Beside it runs a control (`bench.probes`). `work` is the processor time of the loop's thread between two calls of the
timer, which no other process makes longer.

The newcomer is asked all the while: it must refuse reads until it is complete. At the end the writer stops, both
databases are read through the protocol, whole, and have to be equal.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field

from bench import database_digest, results
from bench.large_database import fill
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
from bench.processes import exit_on_sigterm, fields_in, free_port, module, port_of, resident_bytes

JOIN_LIMIT_S = 600.0
PHASES = ("control", "join", "after")


@dataclass
class Outcome:
    """Everything that was measured."""

    stalls: dict[str, Seen] = field(default_factory=dict)
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
        sponsor = stack.enter_context(probed_node("sponsor"))
        sponsor.wait_ready()
        if not options.shared_cores:
            part_cores(sponsor.pid)
        idle = stack.enter_context(control())
        client = Pipe(sponsor.clients)
        began = time.monotonic()
        fill(client, options.keys, options.elements, mixed=True)
        outcome.load_s = time.monotonic() - began
        print(f"filled in {outcome.load_s:.0f} s", file=sys.stderr)
        outcome.sponsor_mb["filled"] = resident_mb(sponsor.pid)
        measure(sponsor, idle, client, options, outcome)
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


def measure(sponsor: Probed, idle: Probed, client: Pipe, options: argparse.Namespace, outcome: Outcome) -> None:
    """The three phases, then the comparison."""
    probed = (sponsor, idle)
    port = sponsor.clients
    words = ["bench.steady_writer", str(port), str(options.rate), str(options.keys), str(options.elements)]
    with module(*words) as writer:
        time.sleep(2)
        begin_phase("control", probed)
        time.sleep(options.control_s)
        begin_phase("join", probed)
        other_port = free_port()
        join = ["marmoset", "serve", "--name", "newcomer", "--port", f"{other_port}", "--gossip-port", "0"]
        began = time.monotonic()
        with module(*join, "--join", sponsor.nodes) as newcomer:
            fields = await_served(newcomer, other_port, client, outcome, began)
            outcome.transfer_s = time.monotonic() - began
            outcome.sponsor_mb["joined"] = resident_mb(sponsor.pid)
            outcome.newcomer_mb = resident_mb(newcomer.pid)
            begin_phase("after", probed)
            time.sleep(options.control_s)
            begin_phase("end", probed)
            outcome.writes = ended_writer(writer)
            other = Pipe(port_of(fields["clients"]))
            outcome.equal = compare(client, other)
            outcome.keys = int(client.one(b"DBSIZE"))
        outcome.stalls = {each.name: each.seen() for each in probed}


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
    console.print(figures_table(title, outcome.stalls, PHASES))
    console.print(histogram_table("how late the loop was called, in calls due", outcome.stalls, PHASES))
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
