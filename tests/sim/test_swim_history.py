"""Histories of membership alone: they hold, the same seed gives the same history, and broken rules are found."""

from dataclasses import replace
from random import Random

import pytest

from marmoset.membership.states import SUSPECT, UNREACHABLE
from marmoset.sim import swim_history
from marmoset.sim.history import Breach
from marmoset.sim.hunting import MEMBERSHIP, hunt
from marmoset.sim.mutants_swim import MUTANTS_SWIM
from marmoset.sim.swim_cluster import replica_of
from marmoset.sim.swim_history import EPISODES, SwimHistory


def test_histories_hold_and_provoke_everything() -> None:
    total: dict[str, int] = {}
    for seed in range(30):
        problem, _, counts = swim_history.play(seed)
        assert not problem, f"seed {seed}: {problem}"
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    assert set(EPISODES) <= set(total) and total["suspicions"] > total["verdicts"] > 0


def test_one_seed_gives_one_history() -> None:
    assert swim_history.play(4) == swim_history.play(4)
    histories = [SwimHistory(4), SwimHistory(4)]
    for history in histories:
        history.play()
    assert histories[0].cluster.world.events == histories[1].cluster.world.events
    assert histories[0].cluster.now_ms == histories[1].cluster.now_ms


@pytest.mark.interpreted
@pytest.mark.parametrize("mutant", MUTANTS_SWIM, ids=lambda mutant: mutant.name)
def test_a_broken_rule_of_membership_is_found(mutant: object) -> None:
    found = next(each for each in MUTANTS_SWIM if each is mutant)
    assert found.profile == MEMBERSHIP
    result = hunt(replace(found, budget=20))
    assert result.found, f"{found.name} was not found in {result.runs} seeds"


def still(seed: int = 3) -> SwimHistory:
    """A history in which nothing has happened yet."""
    history = SwimHistory(seed)
    history.rng = Random("still")
    history._run(2000)
    return history


def test_a_verdict_about_somebody_well_is_a_breach() -> None:
    history = still()
    who, subject = history.cluster.members[0], replica_of(history.cluster.members[1])
    with pytest.raises(Breach, match="without having suspected"):
        history._changed(who, subject, SUSPECT, UNREACHABLE)
    history._suspected[0, 1] = (history.cluster.now_ms - 60_000, len(history.cluster.members))
    with pytest.raises(Breach, match="both are well"):
        history._changed(who, subject, SUSPECT, UNREACHABLE)
    history._suspected[0, 1] = (history.cluster.now_ms - 60_000, len(history.cluster.members))
    history.unwell.add(1)
    history._changed(who, subject, SUSPECT, UNREACHABLE)


def test_too_little_time_to_refute_is_a_breach() -> None:
    history = still()
    who, subject = history.cluster.members[0], replica_of(history.cluster.members[1])
    history.unwell.add(1)
    history._suspected[0, 1] = (history.cluster.now_ms - 100, len(history.cluster.members))
    with pytest.raises(Breach, match="on the word of 1"):
        history._changed(who, subject, SUSPECT, UNREACHABLE)
