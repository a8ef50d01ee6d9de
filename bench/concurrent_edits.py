"""Two replicas edit one long sequence at random places, without hearing of each other, and merge; `make bench-merge`.

The sequence has `--length` elements that both know. Each replica makes `--edits` edits, half of them insertions of one
element and half removals, at places drawn from `--seed`; then each applies what the other did. Measured is, for each
replica, what the edits, the merge and, once everything is stable, the folding take. Exit code 1 unless both hold the
same elements with the same ids at the end, and no removed element is kept.
"""

import argparse
import gc
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from bench import results
from bench.editing_traces import MarmosetEditor
from bench.processes import resident_bytes


def main() -> int:
    """Measure and print."""
    parser = results.parser("bench-merge", "merge concurrent edits of a sequence")
    parser.add_argument("--length", type=int, default=1_000_000, help="elements at the beginning")
    parser.add_argument("--edits", type=int, default=100_000, help="of each replica")
    parser.add_argument("--seed", type=int, default=1, help="of the places")
    options = parser.parse_args()
    editors = [MarmosetEditor(1, windowed=True), MarmosetEditor(2, windowed=True)]
    beginning = editors[0].edit((0, 0, "x" * options.length))
    editors[1].merge(beginning)
    for editor in editors:
        editor.fold()
    gc.collect()
    gc.disable()
    before = resident_bytes(os.getpid())
    rows: list[tuple[str, list[float]]] = []
    changes: list[list[Any]] = []
    rows.append(("edits", [timed(lambda e=e: changes.append(edited(e, options))) for e in editors]))  # type: ignore[misc]
    rows.append(("merge", [timed(lambda e=e: merge(e, changes[2 - e.me])) for e in editors]))  # type: ignore[misc]
    grown = resident_bytes(os.getpid()) - before
    rows.append(("fold", [timed(editor.fold) for editor in editors]))
    title = f"{options.edits:,} concurrent edits each, {options.length:,} elements; seconds"
    table = results.table(title, ("",), ("replica 1", "replica 2"))
    for name, seconds in rows:
        table.add_row(name, *(f"{each:.2f}" for each in seconds))
    console = results.console()
    console.print(table)
    first, second = (editor.sequence for editor in editors)
    whole = len(first)
    equal = whole == len(second) and first.ranges(0, whole) == second.ranges(0, whole) and list(first) == list(second)
    removed = [editor.sequence.removed_count for editor in editors]
    console.print(f"{whole:,} elements, equal: {equal}, removed ones kept: {removed}, grown by {grown >> 20} MiB")
    results.write("concurrent_edits", options, {"seconds": dict(rows), "grown_bytes": grown, "equal": equal})
    return 0 if equal and not any(removed) else 1


def edited(editor: MarmosetEditor, options: argparse.Namespace) -> list[Any]:
    """What one replica did."""
    rng = random.Random(f"{options.seed} {editor.me}")
    change: list[Any] = []
    for number in range(options.edits):
        if number % 2:
            change += editor.edit((rng.randrange(len(editor.sequence)), 1, ""))
        else:
            change += editor.edit((rng.randrange(len(editor.sequence) + 1), 0, str(editor.me)))
    return change


def merge(editor: MarmosetEditor, change: list[Any]) -> None:
    """Apply all that the other did."""
    editor.merge(change)


def timed(do: Callable[[], object]) -> float:
    """How many seconds something takes."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
