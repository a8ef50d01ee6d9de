"""The regression guard: instructions for each operation beside those that are pinned; `make guard`, half a minute.

    make guard                                the compiled build; fails where something costs more than is pinned
    make guard ARGS="--pin"                   write down what is counted now, in `bench/guard.json`
    make guard ARGS="--tolerance 5"           percent; 10 unless given

Method: `bench.guarded` does a fixed number of each operation in one process, under valgrind's callgrind, which counts
the instructions that are executed, whatever else the machine is doing. Two runs of one build differ by less than one
percent (what moves is where objects lie, and with that how tables of pointers are filled), so a change of some percent
is a change of the code. An instruction is not a nanosecond: misses of caches and waits for the system are not seen,
and what is measured by the clock stands in the other measurements.

What an operation takes depends on the interpreter, too: how it was compiled makes a tenth, a minor version a fifth. So
there are pins for each environment (minor version of Python, its compiler and level of optimisation, machine) in which
the guard stands watch; `--pin` writes those of the one that it runs in. The same run counts a piece of plain Python
(`bench.guarded.PLAIN`), and the pins are scaled by what that takes beside what it took when they were written, which
makes up for what else differs. In an environment without pins the first ones are scaled. That is a guess, since not all
operations are of the same mixture (folding was 9 % above its scaled pin where all else was within 5 %), and the
tolerance is `ELSEWHERE` times as wide: a 3.12 was off by 7 % and a 3.13 by 14 %.
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench import results
from bench.guarded import MARK, PLAIN, Stretches
from marmoset import build

PINS: Final = Path(__file__).parent / "guard.json"
NUMBER: Final = 2000
TOLERANCE: Final = 10.0
ELSEWHERE: Final = 2

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


@dataclass(frozen=True, slots=True)
class Pins:
    """What is pinned: instructions for each operation, and where they were counted."""

    environment: str
    instructions: dict[str, float]

    def scaled(self, counted: Mapping[str, float]) -> dict[str, float]:
        """What is to be expected where plain Python takes what was counted; without plain Python itself."""
        plain = self.instructions.get(PLAIN)
        scale = counted[PLAIN] / plain if plain else 1.0
        return {name: each * scale for name, each in self.instructions.items() if name != PLAIN}

    def tolerance(self, environment_: str, percent: float) -> float:
        """The tolerance in an environment, from that in the pinned one."""
        return percent if environment_ == self.environment else percent * ELSEWHERE


def main() -> int:
    """Count, compare and print; 1 where something costs more than is pinned, 2 where nothing can be counted."""
    options = arguments()
    if build.kind() != build.COMPILED:
        print("this is the interpreted build; make compiled, then .venv-compiled/bin/python -m bench.guard")
        return 2
    if shutil.which("valgrind") is None:
        print("the guard counts with valgrind, which is not here; on Debian and Ubuntu: apt-get install valgrind")
        return 2
    here, counted = environment(), count()
    if options.pin:
        write_pins(options.pins, Pins(here, {name: round(each) for name, each in counted.items()}))
    pins = pins_for(here, read_pins(options.pins))
    rows = compare(pins.scaled(counted), counted)
    tolerance = pins.tolerance(here, options.tolerance)
    show(here, pins.environment, rows, tolerance)
    results.write("guard", options, {"environment": here, "instructions": counted, "pinned": asdict(pins)})
    said, code = conclusion(rows, tolerance)
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
    version = ".".join(platform.python_version_tuple()[:2])
    levels = [f" {flag}" for flag in str(sysconfig.get_config_var("OPT")).split() if flag.startswith("-O")]
    level = "".join(levels[-1:])
    return f"{platform.python_implementation()} {version}, {compiler}{level}, {platform.machine()}"


def read_pins(path: Path) -> list[Pins]:
    """What is pinned, for each environment; nothing where there is no such file."""
    return [Pins(**each) for each in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def pins_for(environment_: str, pinned: Sequence[Pins]) -> Pins:
    """The pins of an environment, else the first ones."""
    of_it = [pins for pins in pinned if pins.environment == environment_]
    return [*of_it, *pinned, Pins("", {})][0]


def write_pins(path: Path, pins: Pins) -> None:
    """Pin an environment anew; the pins of others stay, and the first ones stay first."""
    by_environment = {each.environment: each for each in [*read_pins(path), pins]}
    path.write_text(json.dumps([asdict(each) for each in by_environment.values()], indent=2) + "\n", encoding="utf-8")
    print(f"pinned for {pins.environment} in {path}")


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


def compare(expected: Mapping[str, float], counted: Mapping[str, float]) -> list[Row]:
    """A row for each operation that is pinned or counted."""
    names = dict.fromkeys([*counted, *expected])
    return [Row(name, expected.get(name), counted.get(name)) for name in names if name != PLAIN]


def conclusion(rows: Sequence[Row], tolerance: float) -> tuple[str, int]:
    """What follows, in words, and the exit code."""
    by: dict[str, list[str]] = {}
    for row in rows:
        by.setdefault(row.verdict(tolerance), []).append(row.name)
    if MORE in by:
        return f"{', '.join(by[MORE])}: more than {tolerance:g} % above the pin. If that is meant, {HOW_TO_PIN}", 1
    if NEW in by or GONE in by:
        names = ", ".join([*by.get(NEW, []), *by.get(GONE, [])])
        return f"{names}: pinned or counted, not both; {HOW_TO_PIN}", 1
    if LESS in by:
        return f"{', '.join(by[LESS])}: better than the pin, which no longer guards them; {HOW_TO_PIN}", 0
    return f"all within {tolerance:g} % of the pin", 0


HOW_TO_PIN: Final = 'make guard ARGS="--pin" writes down what is counted now'


def show(here: str, pinned: str, rows: Sequence[Row], tolerance: float) -> None:
    """The table."""
    print(f"here: {here}\npinned: {pinned}{'' if here == pinned else '; scaled by what plain Python takes'}")
    table = results.table("instructions for each operation", ("", "result"), ("pinned", "counted", "%"))
    for row in rows:
        percent = "" if row.percent is None else f"{row.percent:+.1f}"
        table.add_row(row.name, row.verdict(tolerance), shown(row.pinned), shown(row.counted), percent)
    results.console().print(table)


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
