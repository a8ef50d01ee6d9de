"""The regression guard: instructions for each operation beside those that are pinned; `make guard`, half a minute.

    make guard                                the compiled build; fails where something costs more than is pinned
    make guard ARGS="--pin"                   write down what is counted now, in `bench/guard.json`
    make guard ARGS="--tolerance 5"           percent; 10 unless given

Method: `bench.guarded` does a fixed number of each operation in one process, under valgrind's callgrind, which counts
the instructions that are executed, whatever else the machine is doing. Two runs of one build differ by less than one
percent (what moves is where objects lie, and with that how tables of pointers are filled), so a change of some percent
is a change of the code. An instruction is not a nanosecond: misses of caches and waits for the system are not seen,
and what is measured by the clock stands in the other measurements.

What an operation takes depends on what it was compiled with too: the same sources take a quarter fewer instructions in
one Python 3.11 than in another that was built without profiles. So a pin holds for one environment (Python's version
and compiler, the machine, and the packages that are compiled), and there may be several. In an environment without a
pin nothing is compared, loudly, and the guard passes: scaling by what plain Python takes was tried, and is off by more
than what is looked for.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import results
from bench.guarded import MARK, Stretches
from marmoset import build

PINS: Final = Path(__file__).parent / "guard.json"
NUMBER: Final = 2000
TOLERANCE: Final = 10.0

AS_PINNED: Final = "as pinned"
MORE: Final = "MORE"
LESS: Final = "less"
NEW: Final = "not pinned"
GONE: Final = "not counted"


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: instructions that are pinned and those that are counted, None where there are none."""

    name: str
    pinned: float | None
    counted: float | None

    @property
    def percent(self) -> float | None:
        """How much more is counted than is pinned."""
        return None if not self.pinned or self.counted is None else (self.counted / self.pinned - 1) * 100

    def verdict(self, tolerance: float) -> str:
        """What to say of it, with a tolerance in percent."""
        percent = self.percent
        if percent is None:
            return NEW if self.pinned is None else GONE
        return MORE if percent > tolerance else LESS if percent < -tolerance else AS_PINNED


def main() -> int:
    """Count, compare and print; 1 where something costs more than is pinned, 2 where nothing can be counted."""
    options = arguments()
    if build.kind() != build.COMPILED:
        print("this is the interpreted build; make compiled, then .venv-compiled/bin/python -m bench.guard")
        return 2
    if shutil.which("valgrind") is None:
        print("the guard counts with valgrind, which is not here; on Debian and Ubuntu: apt-get install valgrind")
        return 2
    where, pins = environment(), read_pins(options.pins)
    counted = count()
    if options.pin:
        pins[where] = {name: round(each) for name, each in counted.items()}
        options.pins.write_text(json.dumps(pins, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"pinned for {where} in {options.pins}")
    rows = compare(pins.get(where, {}), counted)
    show(where, rows, options.tolerance)
    results.write("guard", options, {"environment": where, "instructions": counted, "pinned": pins.get(where)})
    said, code = conclusion(where, where in pins, rows, options.tolerance)
    print(said)
    return code


def arguments() -> argparse.Namespace:
    parser = results.parser("guard", "instructions for each operation beside those that are pinned")
    parser.add_argument("--pin", action="store_true", help="write down what is counted now")
    parser.add_argument("--pins", type=Path, default=PINS, help="where that is written")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="percent")
    return parser.parse_args()


def environment() -> str:
    """What the counts depend on beside the sources, in words."""
    compiler = " ".join(platform.python_compiler().split()[:2]).partition(".")[0]
    arguments_ = sysconfig.get_config_var("CONFIG_ARGS") or ""
    profiled = "with" if "--enable-optimizations" in arguments_ else "without"
    version = ".".join(platform.python_version_tuple()[:2])
    return f"{platform.python_implementation()} {version}, {compiler}, {profiled} profiles, {platform.machine()}"


def read_pins(path: Path) -> dict[str, dict[str, float]]:
    """What is pinned: environment to operation to instructions."""
    pins: dict[str, dict[str, float]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return pins


# Counting


def count() -> dict[str, float]:
    """Instructions for each operation, counted in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "counts"
        words = ["valgrind", "--quiet", "--tool=callgrind", f"--dump-before={MARK}", "--combine-dumps=yes"]
        words += [f"--callgrind-out-file={path}", sys.executable, "-m", "bench.guarded", str(NUMBER)]
        environ = {**os.environ, "PYTHONHASHSEED": "0"}
        ended = subprocess.run(words, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        with path.open(encoding="utf-8") as lines:
            totals = [int(line.split()[1]) for line in lines if line.startswith("totals:")]
    return per_operation(totals, json.loads(ended.stdout))


def per_operation(totals: Sequence[int], stretches: Stretches) -> dict[str, float]:
    """Instructions for each operation: from the instructions before, in and behind each stretch, in turns."""
    assert len(totals) == 2 * len(stretches) + 1, "a mark was set that is none"
    instructions: dict[str, int] = {}
    operations: dict[str, int] = {}
    for (name, number), total in zip(stretches, totals[1::2], strict=True):
        instructions[name] = instructions.get(name, 0) + total
        operations[name] = operations.get(name, 0) + number
    return {name: instructions[name] / operations[name] for name in instructions}


# Comparing


def compare(pinned: Mapping[str, float], counted: Mapping[str, float]) -> list[Row]:
    """A row for each operation that is pinned or counted."""
    names = [*counted, *(name for name in pinned if name not in counted)]
    return [Row(name, pinned.get(name), counted.get(name)) for name in names]


def conclusion(where: str, is_pinned: bool, rows: Sequence[Row], tolerance: float) -> tuple[str, int]:
    """What follows, in words, and the exit code."""
    if not is_pinned:
        return f"NOTHING IS COMPARED: nothing is pinned for {where}; {HOW_TO_PIN}", 0
    by: dict[str, list[str]] = {}
    for row in rows:
        by.setdefault(row.verdict(tolerance), []).append(row.name)
    if MORE in by:
        names = ", ".join(by[MORE])
        return f"{names}: more than {tolerance:g} % above the pin. If that is meant, {HOW_TO_PIN}", 1
    if NEW in by or GONE in by:
        return f"{', '.join(by.get(NEW, []) + by.get(GONE, []))}: pinned or counted, not both; {HOW_TO_PIN}", 1
    if LESS in by:
        return f"{', '.join(by[LESS])}: better than the pin, which no longer guards them; {HOW_TO_PIN}", 0
    return f"all within {tolerance:g} % of the pin", 0


HOW_TO_PIN: Final = 'make guard ARGS="--pin" writes down what is counted now'


def show(where: str, rows: Sequence[Row], tolerance: float) -> None:
    """The table."""
    table = results.table(f"instructions for each operation; {where}", ("", "result"), ("pinned", "counted", "%"))
    for row in rows:
        percent = "" if row.percent is None else f"{row.percent:+.1f}"
        table.add_row(row.name, row.verdict(tolerance), shown(row.pinned), shown(row.counted), percent)
    results.console().print(table)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
