"""What is drawn: all elements alike, without repetition where that is asked for, each part put in order once."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.crdts.sampling import Sampler
from marmoset.crdts.split import SplitSet

PARTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any)


def parts_of(lengths: list[int]) -> list[list[bytes]]:
    return [[b"%d-%d" % (number, at) for at in range(length)] for number, length in enumerate(lengths)]


@given(PARTS, st.integers(0, 120), st.integers(0, 5))
def test_distinct_elements_are_as_many_as_wanted_or_all(lengths: list[int], count: int, seed: int) -> None:
    parts = parts_of(lengths)
    drawn = Sampler(parts, Random(seed)).draw_distinct(count)
    assert len(drawn) == len(set(drawn)) == min(count, sum(lengths))
    assert set(drawn) <= {element for part in parts for element in part}


@pytest.mark.parametrize(("how", "count"), [("draw_many", 4), ("draw_distinct", 4), ("draw_distinct", 6)])
def test_every_element_is_equally_likely_however_long_its_part_is(how: str, count: int) -> None:
    parts, rng = parts_of([0, 1, 5, 0, 2, 0]), Random(3)
    met: Counter[bytes] = Counter()
    for _ in range(4000):
        met.update(getattr(Sampler(parts, rng), how)(count))
    assert len(met) == 8 and all(450 * count < times < 550 * count for times in met.values()), met


def test_the_same_seed_draws_the_same_from_an_equal_collection() -> None:
    one, other = SplitSet([b"%d" % i for i in range(3000)]), SplitSet([b"%d" % i for i in reversed(range(3000))])
    assert Sampler(one.parts, Random(1)).draw_many(50) == Sampler(other.parts, Random(1)).draw_many(50)
    assert Sampler(one.parts, Random(1)).draw_distinct(50) == Sampler(other.parts, Random(1)).draw_distinct(50)


def test_a_part_is_read_once_however_much_is_drawn() -> None:
    class Part(dict[bytes, None]):
        readings = 0

        def __iter__(self) -> Iterator[bytes]:
            self.readings += 1
            return super().__iter__()

    parts = [Part(dict.fromkeys(part)) for part in parts_of([50] * 10)]
    sampler = Sampler(parts, Random(1))
    sampler.draw_many(2000)
    sampler.draw_distinct(200)
    assert [part.readings for part in parts] == [1] * 10
