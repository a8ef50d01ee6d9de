"""What all measurements share: how they are asked, how they count, and what is written down of them.

A measurement writes `NAME.json` with three parts: `about` (versions, machine, options, when), `measured` (its rows),
and `targets` where it has some. `--results` says where to; `bench/results/` unless given. A target that is missed is
shown as missed and changes no exit code: on a busy machine it says little.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sysconfig
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from marmoset import build
from marmoset.version import VERSION

RESULTS: Final = Path(__file__).parent / "results"
PACKAGES: Final = ("hiredis", "loro", "msgspec", "pycrdt", "redis", "uvloop")
SHARES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
EDGES: Final = (1, 2, 5, 10, 20, 50, 100, 200)
"""Where one bar of a histogram ends and the next begins, in milliseconds; the last has all that is longer."""
WIDTH: Final = 120
"""Columns of a table that goes to a file; on a terminal it is the terminal's."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to be: at most `limit`, or at least."""

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it is."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def parser(target: str, description: str) -> argparse.ArgumentParser:
    """The arguments of a measurement that `make target` runs, with those that all have."""
    made = argparse.ArgumentParser(
        prog=f"make {target} ARGS=", description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--results", type=Path, default=RESULTS, help="the folder for the JSON file")
    return made


def summary(values: Sequence[float]) -> dict[str, float]:
    """Samples, percentiles (the smallest value that so many samples do not exceed) and maximum."""
    ordered = sorted(values)
    assert ordered, "nothing was measured"
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in SHARES.items()}
    return {"samples": len(ordered), **found, "max": ordered[-1]}


def histogram(values: Sequence[float]) -> list[int]:
    """How many values lie below each edge and not below the one before it, then those beyond the last."""
    counts = [0] * (len(EDGES) + 1)
    for value in values:
        counts[bisect_right(EDGES, value)] += 1
    return counts


def console() -> Console:
    """Where tables go; wide enough not to fold them where there is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """An empty table: columns of text, then columns of numbers."""
    made = Table(title=title)
    for column in texts:
        made.add_column(column)
    for column in numbers:
        made.add_column(column, justify="right")
    return made


def show_targets(targets: Sequence[Target]) -> None:
    """Figures beside what they are to be."""
    if not targets:
        return
    made = table("targets", ("", "result"), ("measured", "target"))
    for each in targets:
        sign = ">=" if each.at_least else "<="
        result = "[green]met[/]" if each.is_met else "[red]MISSED[/]"
        made.add_row(each.what, result, number(each.value), f"{sign} {number(each.limit)}")
    console().print(made)


def number(value: float) -> str:
    """A figure with as many digits as it is worth."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write(name: str, options: argparse.Namespace, measured: Any, targets: Sequence[Target] = ()) -> None:
    """The same as JSON, with what it was measured on."""
    folder: Path = options.results
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "about": about(options),
        "measured": measured,
        "targets": [{**asdict(each), "is_met": each.is_met} for each in targets],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    print(f"written to {path}")


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Versions, machine, options, and when."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "marmoset": VERSION,
        "build": build.kind(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "python_configured": sysconfig.get_config_var("CONFIG_ARGS"),
        "packages": {name: version for name in PACKAGES if (version := package_version(name))},
        "redis_server": redis_version(),
        "machine": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "options": vars(options),
    }


def package_version(name: str) -> str | None:
    """The version of an installed package; None where it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def redis_version() -> str | None:
    """What the real Redis says of itself; None where it is not there."""
    path = shutil.which("redis-server")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return said.stdout.strip()


def processor() -> str:
    """The name of the processor, as Linux knows it; elsewhere what Python knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
