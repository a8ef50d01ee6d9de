"""Doubles side by side are a sorted list of floats, in steps and at once."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from librt.vecs import vec

from marmoset.crdts import doubles as d

FEW = st.sampled_from([float("-inf"), -1.5, -0.0, 0.0, 5e-324, 1.0, 1.0000000000000002, 1e308, float("inf")])
SORTED = st.lists(FEW | st.floats(allow_nan=False), max_size=40).map(sorted)
Insert = Callable[["vec[float]", int, float], "vec[float]"]


@given(SORTED, FEW)
def test_searches(doubles: list[float], bound: float) -> None:
    looked = vec[float](doubles)
    assert d.first_not_below(looked, bound) == d.not_below_in_steps(looked, bound) == bisect_left(doubles, bound)
    assert d.first_above(looked, bound) == d.above_in_steps(looked, bound) == bisect_right(doubles, bound)


@pytest.mark.parametrize("insert", [d.inserted, d.inserted_at_once, d.inserted_in_steps])
@given(places=st.lists(st.tuples(st.integers(0, 40), FEW), max_size=40))
def test_insertions(insert: Insert, places: list[tuple[int, float]]) -> None:
    doubles, expected = vec[float](), list[float]()
    for place, new in places:
        at = min(place, len(expected))
        doubles = insert(doubles, at, new)
        expected.insert(at, new)
        assert list(doubles) == expected
