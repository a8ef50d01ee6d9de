"""The test of the tester: faults put in on purpose are found. The rest of them is for `make sim-mutants`."""

import pytest

from marmoset.sim.hunting import applied, hunt
from marmoset.sim.mutants import MUTANTS
from marmoset.sim.simulation import HOLDS, simulate

QUICK = [
    "batches torn",
    "causality not checked",
    "clock not merged",
    "EXEC in parts",
    "folded by origin",
    "full log buries nobody",
    "known by maximum",
    "majority frontier",
    "missing is everything",
    "newcomer serves early",
    "snapshot vector late",
    "window skipped",
]


def test_mutants_have_names_and_rules_of_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
    assert set(QUICK) <= {mutant.name for mutant in MUTANTS}


@pytest.mark.interpreted
@pytest.mark.parametrize("name", QUICK)
def test_a_mutant_is_found(name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    assert hunt(mutant, budget=8).found, f"{name} was not found in 8 seeds"


@pytest.mark.interpreted
def test_a_mutant_is_gone_when_it_is_not_applied() -> None:
    before = simulate(0, "calm", 3, 60)
    for mutant in MUTANTS:
        with applied(mutant):
            pass
    after = simulate(0, "calm", 3, 60)
    assert before.code == after.code == HOLDS and before.trace == after.trace
