"""`marmoset demo`: a cluster of real processes, and a scripted tour of what it promises (floor 10).

Every step writes on some nodes, waits until *all* nodes give one expected answer, and prints what each of them said
and how long it took. A step that does not hold in its time ends the tour: the end of the nodes' logs is shown and the
exit code is 1. Whatever happens, all processes that were started are ended.

The nodes are `marmoset serve` under this interpreter, on free loopback ports, with short intervals. This file is a
client: it sees what any Redis client sees.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from marmoset.client import Client
from marmoset.errors import MarmosetError
from marmoset.units import parse_address

START_S: Final = 20.0
SECOND_S: Final = 1.0
HEAL_S: Final = 15.0
REST_S: Final = 15.0
STOPPED_S: Final = 3.0
LEAVE_S: Final = 15.0
LOG_LINES: Final = 25
NAMES: Final = ("ada", "bea", "cy", "dee", "eli", "fay", "gus", "hal", "ivy")
INTERVALS: Final = (
    "--gossip-interval=50ms",
    "--unreachable-after=1s",
    "--reconnect-min=50ms",
    "--reconnect-max=500ms",
    "--leave-timeout=5s",
)

Reading = dict[str, object]


class StepFailed(MarmosetError):
    """A step of the tour did not hold."""


@dataclass(slots=True)
class Member:
    """One node of the demo: its process, its addresses, and a connection to it."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]
    clients: str = ""
    nodes: str = ""
    id: str = ""
    client: Client | None = None

    def call(self, *words: str | int) -> object:
        """Run one command on this node."""
        assert self.client is not None
        return self.client.call(*words)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self.process.send_signal(number)


@dataclass(slots=True)
class Step:
    """What is shown of one step at the end."""

    title: str
    seconds: float
    held: bool
    seen: str


@dataclass(slots=True)
class Tour:
    """The cluster and what was seen so far."""

    folder: Path
    console: Console
    members: list[Member] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


def run(nodes: int, keep_logs: str | None = None) -> int:
    """Run the tour with so many nodes; 0 if every step held, else 1."""
    console = Console(highlight=False)
    with contextlib.ExitStack() as stack:
        if keep_logs:
            folder = Path(keep_logs)
            folder.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marmoset-demo-")))
        tour = Tour(folder, console)
        stack.callback(_end_all, tour)
        stack.enter_context(_signals_raise())
        try:
            _tour(tour, nodes)
            held = True
        except MarmosetError as error:
            held = False
            console.print(f"\n[bold red]This did not hold:[/] {error}", soft_wrap=True)
            _show_logs(tour)
    _show_table(tour)
    return 0 if held else 1


def _tour(tour: Tour, nodes: int) -> None:
    _step_start(tour, nodes)
    _step_write(tour)
    _step_stop_and_continue(tour)
    _step_conflict(tour)
    _step_kill_and_restart(tour)
    _step_rest(tour)
    _step_leave(tour)


# Steps


def _step_start(tour: Tour, nodes: int) -> None:
    with _step(tour, f"{nodes} processes find each other") as step:
        for name in NAMES[:nodes]:
            join = tour.members[0].nodes if tour.members else ""
            tour.members.append(_start(tour, name, join))
        _await(tour, step, "members", _members_alive, dict.fromkeys(NAMES[:nodes], "alive"), HEAL_S)
        for member in tour.members:
            _say(tour, f"  {member.name}: id {member.id}, clients {member.clients}, nodes {member.nodes}")


def _step_write(tour: Tour) -> None:
    first, second, third = tour.members[:3]
    with _step(tour, "four types, written on three nodes, read on all within a second") as step:
        _write(tour, first, "SADD", "fruit", "apple", "pear")
        _write(tour, second, "SADD", "fruit", "plum")
        _write(tour, third, "SET", "greeting", "hello")
        _write(tour, first, "HSET", "profile", "city", "Turin")
        _write(tour, third, "HINCRBY", "profile", "visits", 5)
        for member in tour.members:
            _write(tour, member, "INCRBY", "hits", 10)
        _write(tour, second, "RPUSH", "todo", "read", "write")
        expected: Reading = {
            "fruit": ["apple", "pear", "plum"],
            "greeting": "hello",
            "profile": {"city": "Turin", "visits": "5"},
            "hits": str(10 * len(tour.members)),
            "todo": ["read", "write"],
        }
        _await(tour, step, "values", _values, expected, SECOND_S)


def _step_stop_and_continue(tour: Tour) -> None:
    first, second, third = tour.members[:3]
    with _step(tour, f"{third.name} is stopped for {STOPPED_S:g} s while the others write, then continues") as step:
        third.signal(signal.SIGSTOP)
        until = time.monotonic() + STOPPED_S
        try:
            _write(tour, first, "SADD", "fruit", "quince")
            _write(tour, second, "RPUSH", "todo", "rest")
            _write(tour, first, "HSET", "profile", "city", "Milan")
            rounds = 0
            while time.monotonic() < until:
                first.call("INCR", "hits")
                second.call("INCR", "hits")
                rounds += 1
                time.sleep(0.02)
            _say(tour, f"  {first.name}, {second.name}: INCR hits, {rounds} times each, while {third.name} was stopped")
            _say(tour, f"  {first.name} says of {third.name}: {_members_alive(first).get(third.name)}")
        finally:
            third.signal(signal.SIGCONT)
        expected: Reading = {
            "fruit": ["apple", "pear", "plum", "quince"],
            "greeting": "hello",
            "profile": {"city": "Milan", "visits": "5"},
            "hits": str(10 * len(tour.members) + 2 * rounds),
            "todo": ["read", "write", "rest"],
        }
        _await(tour, step, "values", _values, expected, HEAL_S)


def _step_conflict(tour: Tour) -> None:
    first, _, third = tour.members[:3]
    with _step(tour, f"a conflict: {first.name} removes what {third.name}, not having heard of it, adds again") as step:
        before = _number(first.call("GET", "hits"))
        third.signal(signal.SIGSTOP)
        try:
            assert third.client is not None
            third.client.send("SADD", "fruit", "apple")  # waits in its socket, ahead of what the others will send
            third.client.send("INCRBY", "hits", 5)
            _write(tour, first, "SREM", "fruit", "apple", "pear")
            _write(tour, first, "INCRBY", "hits", 7)
            seen = first.call("SMEMBERS", "fruit")
            _say(tour, f"  {first.name}: SMEMBERS fruit -> {_text(_sorted(seen))}, while {third.name} is stopped")
        finally:
            third.signal(signal.SIGCONT)
        _say(tour, f"  {third.name}: SADD fruit apple -> {third.client.receive()}")
        _say(tour, f"  {third.name}: INCRBY hits 5 -> {third.client.receive()}")
        expected: Reading = {"fruit": ["apple", "plum", "quince"], "hits": str(before + 12)}
        _await(
            tour, step, "an add wins over a removal that did not know of it; increments add up", _pick, expected, HEAL_S
        )


def _step_kill_and_restart(tour: Tour) -> None:
    first, victim, third = tour.members[:3]
    with _step(tour, f"{victim.name} is killed and started again under its name") as step:
        victim.signal(signal.SIGKILL)
        victim.process.wait()
        _say(tour, f"  {victim.name} is gone, and its memory with it")
        _write(tour, first, "SADD", "fruit", "fig")
        _write(tour, third, "LPUSH", "todo", "start")
        expected = _values(first)
        expected["fruit"] = ["apple", "fig", "plum", "quince"]
        expected["todo"] = ["start", "read", "write", "rest"]
        assert victim.client is not None
        victim.client.close()
        tour.members[1] = _start(tour, victim.name, f"{first.nodes},{third.nodes}")
        _say(tour, f"  {victim.name} is a new replica: id {tour.members[1].id}, before {victim.id}")
        _await(tour, step, "values", _values, expected, HEAL_S)
        _write(tour, tour.members[1], "INCRBY", "hits", 1)
        expected["hits"] = str(_number(expected["hits"]) + 1)
        _await(tour, step, "values", _values, expected, HEAL_S)


def _step_rest(tour: Tour) -> None:
    with _step(tour, "at rest nothing but the values is left: logs and windows are empty") as step:
        names = sorted(member.name for member in tour.members)
        expected: Reading = {"log_batches": 0, "window_entries": 0, "keys": 5, "members": len(names)}
        _await(tour, step, "status", _status, expected, REST_S)


def _step_leave(tour: Tour) -> None:
    *others, last = tour.members
    with _step(tour, f"{last.name} leaves in good order; the others go on, and forget it") as step:
        last.signal(signal.SIGTERM)
        try:
            code = last.process.wait(LEAVE_S)
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"{last.name} has not ended within {LEAVE_S:g} s of SIGTERM") from error
        _say(tour, f"  {last.name} ended with exit code {code}")
        if code != 0:
            raise StepFailed(f"{last.name} ended with exit code {code} instead of 0")
        tour.members = others
        expected: Reading = {"log_batches": 0, "window_entries": 0, "keys": 5, "members": len(others)}
        _await(tour, step, "status", _status, expected, REST_S)


# Readings: what all nodes have to agree on


def _values(member: Member) -> Reading:
    hash_pairs = member.call("HGETALL", "profile")
    assert isinstance(hash_pairs, list)
    return {
        "fruit": _sorted(member.call("SMEMBERS", "fruit")),
        "greeting": member.call("GET", "greeting"),
        "profile": dict(sorted(zip(hash_pairs[::2], hash_pairs[1::2], strict=True))),
        "hits": member.call("GET", "hits"),
        "todo": member.call("LRANGE", "todo", 0, -1),
    }


def _pick(member: Member) -> Reading:
    return {"fruit": _sorted(member.call("SMEMBERS", "fruit")), "hits": member.call("GET", "hits")}


def _status(member: Member) -> Reading:
    assert member.client is not None
    status = member.client.mapping("MARMOSET", "STATUS")
    return {name: _number(status.get(name)) for name in ("log_batches", "window_entries", "keys", "members")}


def _members_alive(member: Member) -> Reading:
    rows = member.call("MARMOSET", "MEMBERS")
    assert isinstance(rows, list)
    described = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
    return {str(row["name"]): row["state"] for row in sorted(described, key=lambda row: str(row["name"]))}


def _await(
    tour: Tour, step: Step, what: str, read: Callable[[Member], Reading], expected: Reading, limit_s: float
) -> None:
    """Wait until every node reads as expected, print what each of them said, and fail if the time runs out."""
    began = time.monotonic()
    while True:
        seen = {member.name: read(member) for member in tour.members}
        took = time.monotonic() - began
        equal = all(reading == expected for reading in seen.values())
        if equal or took > limit_s:
            break
        time.sleep(0.01)
    for name, reading in seen.items():
        _say(tour, f"  {name}: " + "  ".join(f"{key}={_text(value)}" for key, value in reading.items()))
    if not equal:
        raise StepFailed(f"{what} after {took:.1f} s are not {_text(expected)} on every node")
    _say(tour, f"  the same on all {len(seen)} nodes after {took * 1000:.0f} ms")
    step.seen = f"{what}: same on {len(seen)} nodes in {took * 1000:.0f} ms"


# Processes


def _start(tour: Tour, name: str, join: str) -> Member:
    """Start a node and wait for the line that says it is ready."""
    words = [sys.executable, "-m", "marmoset", "serve", "--name", name, "--bind", "127.0.0.1"]
    words += ["--port", "0", "--gossip-port", "0", *INTERVALS]
    if join:
        words += ["--join", join]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MARMOSET_")}
    log = tour.folder / f"{name}.log"
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, env=environment)
    member = Member(name, log, process)
    try:
        line = _first_line(process, START_S)
        if "ready" not in line.split():
            raise StepFailed(f"{name} did not get ready within {START_S:g} s, exit code {process.poll()}")
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        member.id, member.clients, member.nodes = fields["id"], fields["clients"], fields["nodes"]
        member.client = Client(*parse_address(member.clients))
    except BaseException:
        _show_log(tour, log)
        _end(member)
        raise
    return member


def _first_line(process: subprocess.Popen[bytes], limit_s: float) -> str:
    """The first line of a process's output; what there is of it when the time runs out or the process ends."""
    assert process.stdout is not None
    line, until = b"", time.monotonic() + limit_s
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
        byte = os.read(process.stdout.fileno(), 1) if readable else b""
        if not byte:
            break
        line += byte
    return line.decode("utf-8", "replace")


def _end_all(tour: Tour) -> None:
    """End every process that was started, at once and for certain."""
    for member in tour.members:
        _end(member)


def _end(member: Member) -> None:
    if member.client is not None:
        member.client.close()
    if member.process.poll() is None:
        member.process.kill()  # also ends one that is stopped
    member.process.wait()
    if member.process.stdout is not None:
        member.process.stdout.close()


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """While inside, SIGTERM and SIGHUP end the tour the way Ctrl-C does, so that the processes are ended too."""

    def stop(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# What is shown


@contextlib.contextmanager
def _step(tour: Tour, title: str) -> Iterator[Step]:
    """One step: its title, and its line in the table at the end, whether it held or not."""
    tour.console.print(f"\n[bold]{len(tour.steps) + 1}. {title}[/]", soft_wrap=True)
    step = Step(title, 0.0, False, "")
    tour.steps.append(step)
    began = time.monotonic()
    try:
        yield step
        step.held = True
    except (AssertionError, KeyError, ValueError) as error:  # an answer of another shape than the tour expects
        raise StepFailed(f"a node answered something unexpected: {error!r}") from error
    finally:
        step.seconds = time.monotonic() - began


def _write(tour: Tour, member: Member, *words: str | int) -> None:
    answer = member.call(*words)
    _say(tour, f"  {member.name}: {' '.join(map(str, words))} -> {_text(answer)}")


def _say(tour: Tour, line: str) -> None:
    tour.console.print(line, markup=False, soft_wrap=True)


def _show_table(tour: Tour) -> None:
    table = Table(title="\nWhat was seen", title_justify="left")
    table.add_column("step", justify="right")
    table.add_column("what", ratio=3)
    table.add_column("held")
    table.add_column("seconds", justify="right")
    table.add_column("seen", ratio=2)
    for number, step in enumerate(tour.steps, 1):
        held = "[green]yes[/]" if step.held else "[red]no[/]"
        table.add_row(str(number), step.title, held, f"{step.seconds:.1f}", step.seen)
    tour.console.print(table)


def _show_logs(tour: Tour) -> None:
    for member in tour.members:
        _show_log(tour, member.log)


def _show_log(tour: Tour, log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
    _say(tour, "\n".join([f"\nend of the log of {log.stem}:", *(f"  {line}" for line in lines)]))


def _sorted(value: object) -> list[str]:
    return sorted(map(str, value)) if isinstance(value, list) else []


def _number(value: object) -> int:
    return int(str(value))


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return str(value)
