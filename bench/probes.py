"""Nodes that write down how late their event loop is called (`bench.probed_node`), told what is measured, and asked.

Beside them a process does nothing but run the same timer in an empty loop, the *control*: what the machine itself
makes late.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from bench import results
from bench.processes import fields_in, module, port_of

FIGURES = ("p50", "p99", "p99.9", "max")

Seen = dict[str, dict[str, dict[str, Any]]]
"""Phase to `late` or `work` to figures."""


class Probed:
    """One process with a probe: a node, or the control."""

    def __init__(self, name: str, process: "subprocess.Popen[str]") -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self.clients = 0
        """The port for clients, once the node serves."""
        self.nodes = ""
        """Where other nodes reach it."""

    def wait_ready(self) -> None:
        """Wait until the node serves."""
        fields = fields_in(self._line())
        if "clients" not in fields:
            raise SystemExit(f"node {self.name} did not start; what it said is above")
        self.clients, self.nodes = port_of(fields["clients"]), fields["nodes"]

    def seen(self) -> Seen:
        """Everything that was measured, by phase. The loop stands still meanwhile."""
        self.tell("dump")
        found: Seen = json.loads(self._line())
        return found

    def tell(self, line: str) -> None:
        """A line on the standard input of the process."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Have the process stand still meanwhile. What is overdue then is of the phase that it was told last."""
        self.tell("hello")
        self._line()  # so it has read what it was told
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def probed_node(name: str, *words: str) -> Iterator[Probed]:
    """A node with a probe, on free ports; it need not serve yet."""
    with module("bench.probed_node", "--name", name, "--log-level", "warning", *words) as process:
        yield Probed(name, process)


@contextlib.contextmanager
def control() -> Iterator[Probed]:
    """The control, which runs already."""
    with module("bench.probed_node", "idle") as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Probed("control", process)


def begin_phase(name: str, processes: Sequence[Probed]) -> None:
    """From now on, what is measured belongs to another phase."""
    for each in processes:
        each.tell(f"phase {name}")


def ended_writer(writer: "subprocess.Popen[str]") -> dict[str, float]:
    """End a `bench.steady_writer`; what it says of its writes."""
    assert writer.stdin is not None and writer.stdout is not None
    writer.stdin.write("stop\n")
    writer.stdin.flush()
    said: dict[str, float] = json.loads(writer.stdout.readline())
    return said


def part_cores(pid: int) -> None:
    """Give a process the first core, and this one, with those that it will start, the others."""
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        os.sched_setaffinity(pid, {first})
        os.sched_setaffinity(0, others)


def figures_table(title: str, seen: dict[str, Seen], phases: Sequence[str]) -> Table:
    """Percentiles of every process in some phases, in milliseconds."""
    made = results.table(title, ("phase", "process", ""), ("samples", *FIGURES))
    for phase, process, what, found in _rows(seen, phases):
        made.add_row(phase, process, what, f"{found['samples']}", *(f"{found[name]:.2f}" for name in FIGURES))
    return made


def histogram_table(title: str, seen: dict[str, Seen], phases: Sequence[str]) -> Table:
    """How often a loop was called how late, in some phases."""
    edges = results.EDGES
    made = results.table(title, ("phase", "process"), (*(f"< {edge} ms" for edge in edges), "more"))
    for phase, process, what, found in _rows(seen, phases):
        if what == "late":
            made.add_row(phase, process, *(f"{count:,}" if count else "" for count in found["histogram"]))
    return made


def _rows(seen: dict[str, Seen], phases: Sequence[str]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for phase in phases:
        for process, found in seen.items():
            for what, figures in found.get(phase, {}).items():
                yield phase, process, what, figures
