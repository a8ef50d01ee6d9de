"""How long `import marmoset`, `marmoset.open`, and `marmoset serve` until it is ready take; `make bench-start`.

Every start is a process of its own, one after the other; medians of `--count`, after one that is not counted and brings
the files into the cache of the system and the bytecode into `__pycache__`.

- *import*: from before to behind `import marmoset`, by the clock of the new process. The package loads the rest when it
  is used; *import of the face* is `from marmoset import api`, which brings all that a node needs;
- *open*: the same process, `marmoset.open()` until it serves, modules being loaded already;
- *serve*: from before the process is made until the line with `ready` has been read, so the interpreter's own start and
  all imports are part of it. *interpreter* is that start alone: `python -c pass`, made and ended.

    make bench-start                          about half a minute
    make bench-start ARGS="--count 100"

Caveats: a machine that is busy or has slow disks shows in all of it; *interpreter* says how much.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from bench import results
from bench.processes import ended_at_exit, exit_on_sigterm, fields_in, module, serve_words
from bench.results import Target

IMPORT_MAX_MS: Final = 150.0
SERVE_MAX_MS: Final = 400.0
IN_PROCESS: Final = """
import json, time
began = time.perf_counter()
import marmoset
imported = time.perf_counter()
from marmoset import api
loaded = time.perf_counter()
with marmoset.open(log_level="error"):
    opened = time.perf_counter()
print(json.dumps([imported - began, loaded - began, opened - loaded]))
"""


def main() -> int:
    """Measure and print; 0 unless a start failed."""
    options = arguments()
    exit_on_sigterm()
    kinds: dict[tuple[str, ...], Callable[[], list[float]]] = {
        ("interpreter",): interpreter,
        ("import", "import of the face", "open"): in_process,
        ("serve",): serve,
    }
    seen: dict[str, list[float]] = {}
    for number in range(options.count + 1):
        print(f"start {number}", file=sys.stderr)
        for names, start in kinds.items():
            for name, seconds in zip(names, start(), strict=True):
                if number:
                    seen.setdefault(name, []).append(seconds * 1000)
    found = {name: results.summary(values) for name, values in seen.items()}
    targets = [
        Target("import, ms", found["import"]["p50"], IMPORT_MAX_MS),
        Target("serve until ready, ms", found["serve"]["p50"], SERVE_MAX_MS),
    ]
    show(found)
    results.show_targets(targets)
    results.write("start", options, found, targets)
    return 0


def arguments() -> argparse.Namespace:
    parser = results.parser("bench-start", "how long an import and a start take")
    parser.add_argument("--count", type=int, default=15, help="starts of each kind")
    return parser.parse_args()


def interpreter() -> list[float]:
    """Seconds for a process that does nothing."""
    began = time.perf_counter()
    with ended_at_exit(subprocess.Popen([sys.executable, "-c", "pass"])) as process:
        process.wait()
    return [time.perf_counter() - began]


def in_process() -> list[float]:
    """Seconds for the imports and the opening, as the new process has them."""
    pipe = subprocess.PIPE
    with ended_at_exit(subprocess.Popen([sys.executable, "-c", IN_PROCESS], stdout=pipe, text=True)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        if process.wait() != 0:
            raise SystemExit("a program that opens a database failed; what it said is above")
    seconds: list[float] = json.loads(said)
    return seconds


def serve() -> list[float]:
    """Seconds until a node says that it is ready."""
    began = time.perf_counter()
    with module(*serve_words("solo", ())) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        took = time.perf_counter() - began
        if "clients" not in fields_in(line):
            raise SystemExit("a node did not start; what it said is above")
    return [took]


def show(found: dict[str, Any]) -> None:
    """The table."""
    table = results.table("milliseconds of a start", ("",), ("starts", "median", "p99", "max"))
    for name, row in found.items():
        table.add_row(name, str(row["samples"]), *(f"{row[each]:.1f}" for each in ("p50", "p99", "max")))
    results.console().print(table)


if __name__ == "__main__":
    sys.exit(main())
