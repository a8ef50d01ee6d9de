"""`marmoset sim` (beside the floors): one run, or the runs of a range of seeds, and what is printed of them."""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Final, TextIO

from marmoset.errors import UsageError
from marmoset.sim.profiles import PROFILES
from marmoset.sim.simulation import HOLDS, Outcome, per_operation, simulate

NODES_MIN: Final = 2
NODES_MAX: Final = 50
SEEDS_MIN: Final = 100
"""From so many seeds on, a profile must have provoked what it is there for; the rarest comes once in ten or so."""


def check(profile: str, nodes: int, steps: int) -> None:
    """Raise `UsageError` where there is no such run."""
    if profile not in PROFILES:
        raise UsageError(f"--profile {profile}: there are {', '.join(PROFILES)}")
    if not NODES_MIN <= nodes <= NODES_MAX:
        raise UsageError(f"--nodes {nodes}: {NODES_MIN} to {NODES_MAX} nodes can be simulated")
    if steps < 1:
        raise UsageError(f"--steps {steps}: at least one operation is to be made")


def seeds_of(text: str) -> range:
    """The seeds that `A..B` names, both included.

    Raises:
        UsageError: it names none.
    """
    first, dots, last = text.partition("..")
    if not dots or not first.isdigit() or not last.isdigit() or int(first) > int(last):
        raise UsageError(f"--seeds {text}: write A..B, with A not above B")
    return range(int(first), int(last) + 1)


def seeds_for(first: int, seconds: float) -> Iterator[int]:
    """Seeds from a first one on, until the time is used up; at least one."""
    until = time.monotonic() + seconds
    for seed in itertools.count(first):
        yield seed
        if time.monotonic() >= until:
            return


def replay(outcome: Outcome) -> str:
    """The command that plays a run again."""
    knobs = outcome.knobs
    return (
        f"marmoset sim --seed {outcome.seed} --nodes {knobs.nodes} --steps {knobs.steps} "
        f"--profile {knobs.profile} --trace trace.txt"
    )


def _told(outcome: Outcome, details: bool = True) -> None:
    """Why a run does not hold, and how to play it again, on standard error."""
    verdict = "breach" if outcome.code == 1 else "no progress"
    print(f"seed {outcome.seed}: {verdict}: {outcome.problem}", file=sys.stderr)
    if outcome.details and details:
        print(outcome.details, file=sys.stderr)
    print(f"replay: {replay(outcome)}", file=sys.stderr)


def _per_operation(counts: Mapping[str, int]) -> str:
    return "for each operation: " + ", ".join(f"{share:,} {name}" for name, share in per_operation(counts).items())


def run(seed: int, profile: str, nodes: int, steps: int, as_json: bool, trace_path: str | None) -> int:
    """One run; the exit code."""
    check(profile, nodes, steps)
    file: TextIO | None = None
    try:
        file = open(trace_path, "w", encoding="utf-8") if trace_path else None  # noqa: SIM115  # closed below
        outcome = simulate(seed, profile, nodes, steps, file)
    finally:
        if file is not None:
            file.close()
    if as_json:
        print(json.dumps(outcome.as_dict(), indent=2, sort_keys=True))
    else:
        print(f"seed {seed}, profile {profile}, {nodes} nodes, {steps} operations")
        for name, knob in asdict(outcome.knobs).items():
            print(f"  {name} = {knob}")
        for name, count in sorted(outcome.counts.items()):
            print(f"{count:>12,} {name}")
        print(_per_operation(outcome.counts))
        print(f"trace {outcome.trace}, {outcome.at_ms / 1000:.1f} simulated seconds")
        print("holds" if outcome.code == HOLDS else "does not hold")
    if outcome.code != HOLDS:
        _told(outcome)
    return outcome.code


def run_many(seeds: Iterable[int], profile: str, nodes: int, steps: int, as_json: bool) -> int:
    """Runs of several seeds; the worst exit code. What the profile is there to provoke must have been provoked."""
    check(profile, nodes, steps)
    total: Counter[str] = Counter()
    failed: list[Outcome] = []
    played: list[int] = []
    for seed in seeds:
        played.append(seed)
        outcome = simulate(seed, profile, nodes, steps)
        total.update(outcome.counts)
        if outcome.code != HOLDS:
            failed.append(outcome)
            _told(outcome)
    missing = [name for name in PROFILES[profile].required if not total[name]] if len(played) >= SEEDS_MIN else []
    if as_json:
        report = {
            "profile": profile,
            "seeds": [played[0], played[-1]],
            "failed": [outcome.as_dict() for outcome in failed],
            "missing": missing,
            "counts": dict(sorted(total.items())),
            "per_operation": per_operation(total),
        }
        print(json.dumps(report, indent=2, sort_keys=True))
    else:
        print(f"{profile}: {len(played)} seeds, {played[0]}..{played[-1]}, {nodes} nodes: {len(failed)} failed")
        for name, count in sorted(total.items()):
            print(f"{count:>14,} {name}")
        print(_per_operation(total))
    sys.stdout.flush()
    for outcome in failed:  # again, where a reader of a long log looks first: at its end
        _told(outcome, details=False)
    if missing:
        print(f"{profile}: nothing in {len(played)} seeds provoked {', '.join(missing)}", file=sys.stderr)
    codes = [outcome.code for outcome in failed] + [1] * bool(missing)
    return min(codes, default=HOLDS)
