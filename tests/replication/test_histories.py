"""Random histories of several replicas against the specification: every type by itself, all together, with churn."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.replication.laboratory import ALL_KINDS, history

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]
SEARCH = settings(max_examples=30, deadline=None, suppress_health_check=SLOW)


@pytest.mark.parametrize("kind", ["set", "map", "list", "register", "zset"])
@SEARCH
@given(rng=st.randoms(use_true_random=False))
def test_a_type_alone_shows_what_is_specified(kind: str, rng: Random) -> None:
    history(rng, steps=40, churn=0, kinds=(kind,))


@SEARCH
@given(rng=st.randoms(use_true_random=False))
def test_all_types_show_what_is_specified_while_members_come_and_go(rng: Random) -> None:
    history(rng, steps=60, churn=0.06)


@pytest.mark.parametrize("start", range(0, 120, 40))
def test_long_histories_of_fixed_seeds_provoke_what_they_are_there_for(start: int) -> None:
    total: dict[str, int] = {}
    for seed in range(start, start + 40):
        for name, count in history(Random(seed), steps=150, churn=(0, 0.02, 0.06)[seed % 3], kinds=ALL_KINDS).items():
            total[name] = total.get(name, 0) + count
    assert all(total[name] for name in ("joins", "leaves", "folds", "cut off", "steps")), total


@SEARCH
@given(rng=st.randoms(use_true_random=False))
def test_deadlines_are_what_is_specified_and_end_their_keys_once_all_clocks_have_passed_them(rng: Random) -> None:
    history(rng, steps=50, churn=0.04, deadlines=True)
