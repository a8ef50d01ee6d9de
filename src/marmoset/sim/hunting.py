"""Hunting mutants (beside the floors): a mutant is a rule that is broken on purpose, and has to be found.

A mutant puts something else in the place of a function while runs are played. `hunt` plays runs of the profile that
suits it until one fails, within a budget. Only interpreted code can be changed so; a compiled build has no mutants.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from marmoset import build
from marmoset.errors import UsageError
from marmoset.sim import swim_history
from marmoset.sim.profiles import draw
from marmoset.sim.simulation import BREACH, HOLDS, STUCK, Simulation

Patch = tuple[object, str, object]

MEMBERSHIP: Final = "membership"
"""In the place of a profile: histories of membership alone."""
JOINS: Final[dict[str, object]] = {"weights": {"crash": 1, "leave": 2, "join": 3, "restart": 3}, "fault_gap_ms": 200}
"""Somebody is always being let in."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one run."""

    seed: int
    code: int
    problem: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule, broken."""

    name: str
    rule: str
    says: str
    patches: Callable[[], list[Patch]]
    profile: str = "everything"
    budget: int = 60
    nodes: int = 4
    steps: int = 500
    focus: str = ""
    """The type that most of the commands are on; all of its kind on few keys. See `profiles`."""
    large: bool = False
    """Collections soon count as large: they are kept, and read by snapshots, in parts."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Knobs that are not drawn but fixed, so that what matters for this rule happens often."""

    def play(self, seed: int) -> Played:
        """One run that may find it."""
        if self.profile == MEMBERSHIP:
            problem, is_breach, counts = swim_history.play(seed)
            return Played(seed, BREACH if is_breach else STUCK if problem else HOLDS, problem, counts)
        knobs = draw(seed, self.profile, self.nodes, self.steps)
        if self.focus:
            knobs = replace(knobs, focus=self.focus, keys=2, words=2, nested_share=0.0)
        if self.large:
            knobs = replace(
                knobs, words=6, split_above=1, snapshot_step_elements=1, removal_share=0.2, keys=2, turn_gap_us=1000
            )
        outcome = Simulation(seed, replace(knobs, **self.knobs)).run()
        return Played(seed, outcome.code, outcome.problem, outcome.counts)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """While this lasts, the rule is broken everywhere.

    Raises:
        UsageError: the build that runs is compiled, and would not see what is put in; nothing was changed.
    """
    if build.kind() != build.INTERPRETED:
        raise UsageError(f"mutants need the interpreted build: set {build.VARIABLE}={build.INTERPRETED}")
    kept: list[Patch] = []
    try:
        for owner, name, value in mutant.patches():
            kept.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in reversed(kept):
            setattr(owner, name, value)


@dataclass(slots=True)
class Hunt:
    """What became of the search for one mutant."""

    mutant: Mutant
    runs: int
    found: int
    first: Played | None


def hunt(mutant: Mutant, budget: int | None = None, stop_at: int = 1) -> Hunt:
    """Play runs until `stop_at` have failed that hold without the mutant, or the budget is used up."""
    found, runs = 0, 0
    first: Played | None = None
    for seed in range(budget or mutant.budget):
        runs += 1
        with applied(mutant):
            outcome = mutant.play(seed)
        if outcome.code != HOLDS and mutant.play(seed).code == HOLDS:
            found += 1
            first = first or outcome
            if found >= stop_at:
                break
    return Hunt(mutant, runs, found, first)
