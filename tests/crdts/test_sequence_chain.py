"""Insertions that leave plain elements, and the windows that are made of what was written down of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marmoset.clocks import LocalContext
from marmoset.codec.operations import Scalar
from marmoset.codec.runs import Pushes
from marmoset.crdts.sequence import Sequence, insert, push
from marmoset.crdts.sequence_chain import PIECE_MAX, Insertions
from marmoset.ids import Dot
from tests.crdts.test_sequence import sizes

__all__ = ["sizes"]

ME = 7
Stretch = tuple[int, int, bool, bool]
"""Where it begins, how many values, whether towards the front, whether each value by itself."""


class Pair:
    """One sequence twice: every value inserted by itself, and stretches at once."""

    def __init__(self) -> None:
        self.single, self.whole = Sequence(), Sequence()
        self.noted_singly, self.noted = Insertions(), Insertions()
        self.next_seq = 1
        self.stable = 0

    def is_unstable(self, dot: Dot) -> bool:
        return dot[1] > self.stable

    def push(self, place: int, count: int, is_front: bool) -> None:
        """Pushes from a visible place on, towards the front or the back."""
        left, right = self.single.neighbours(min(place, len(self.single)))
        values: list[Scalar] = [b"%d" % (self.next_seq + at) for at in range(count)]
        pushes = Pushes((ME, self.next_seq), b"k", left, right, is_front, values)
        for at in range(count):
            one, other = pushes.neighbours(at)
            dot = (ME, self.next_seq + at)
            insert(self.single, None, dot, LocalContext(), one, other, [values[at]])
            onto_end = at and (left if is_front else right) is None
            if not onto_end or not self.noted_singly.goes_on(*dot, 1, is_front):
                self.noted_singly.add(dot, 1, one, other, self.is_unstable)
        if count == 1:
            insert(self.whole, None, pushes.dot, LocalContext(), left, right, values)
            self.noted.add(pushes.dot, 1, left, right, self.is_unstable)
        else:
            push(self.whole, pushes)
            self.noted.add_pushes(pushes, self.is_unstable)
        self.next_seq += count

    def insert(self, place: int, count: int) -> None:
        """One insertion of several values."""
        left, right = self.single.neighbours(min(place, len(self.single)))
        values: list[Scalar] = [b"%d" % (self.next_seq + at) for at in range(count)]
        for sequence, noted in ((self.single, self.noted_singly), (self.whole, self.noted)):
            insert(sequence, None, (ME, self.next_seq), LocalContext(), left, right, values)
            noted.add((ME, self.next_seq), count, left, right, self.is_unstable)
        self.next_seq += count

    def check(self) -> None:
        self.single._check()
        self.whole._check()
        assert list(self.single) == list(self.whole)
        length = len(self.single)
        assert [self.single.id_at(at) for at in range(length)] == [self.whole.id_at(at) for at in range(length)]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20), st.booleans(), st.booleans()), max_size=12),
    st.integers(0, 100),
)
def test_pushes_leave_what_insertions_one_by_one_leave(stretches: list[Stretch], stable: int) -> None:
    pair = Pair()
    for place, count, is_front, by_itself in stretches:
        if by_itself:
            pair.push(place, count, is_front)
        else:
            pair.insert(place, count)
    pair.check()
    pair.stable = stable
    one = pair.noted_singly.wind(pair.single, pair.is_unstable)
    other = pair.noted.wind(pair.whole, pair.is_unstable)
    assert one.insertions == other.insertions
    assert all(pair.is_unstable(dot) for dot in one.insertions)
    one._check(pair.single)
    other._check(pair.whole)
    pair.check()


@pytest.mark.parametrize("is_front", [True, False])
def test_pushes_beyond_every_limit(sizes: None, is_front: bool) -> None:
    pair = Pair()
    pair.insert(0, 3)
    for count in (2, 3000, 1, 5, 700):
        pair.push(1, count, is_front)
    pair.check()
    assert len(pair.single) == 3 + 3708
    assert pair.noted_singly.wind(pair.single, pair.is_unstable).insertions == (
        pair.noted.wind(pair.whole, pair.is_unstable).insertions
    )


def test_pushes_one_by_one_are_noted_as_one_piece_of_limited_length() -> None:
    for is_front in (True, False):
        pair = Pair()
        pair.insert(0, 2)
        for _ in range(PIECE_MAX + 10):
            pair.push(0 if is_front else len(pair.single), 1, is_front)
        assert [piece.count for piece in pair.noted.made] == [2, PIECE_MAX, 10]
    pair.push(0, 1, True)
    pair.push(len(pair.single), 1, True)
    assert [piece.count for piece in pair.noted.made][2:] == [10, 1, 1]


def test_what_is_stable_is_forgotten_once_there_is_much() -> None:
    pair = Pair()
    for _ in range(60):
        pair.insert(0, 2)
    pair.stable = pair.next_seq - 3
    for _ in range(10):
        pair.insert(0, 2)
    assert len(pair.noted.made) < 20
    assert len(pair.noted.wind(pair.whole, pair.is_unstable).insertions) == 11


def test_pushes_onto_an_end_are_one_piece_from_the_third_on() -> None:
    for is_front in (False, True):
        noted = Insertions()
        assert not noted.goes_on(ME, 1, 1, is_front)
        noted.add((ME, 1), 1, None, None, bool)
        assert not noted.goes_on(ME, 2, 1, is_front)  # it is not known which end that is
        noted.add((ME, 2), 1, None if is_front else (ME, 1), (ME, 1) if is_front else None, bool)
        assert not noted.goes_on(ME, 3, 1, not is_front) and not noted.goes_on(ME, 4, 1, is_front)
        assert not noted.goes_on(ME + 1, 3, 1, is_front)
        for seq in range(3, PIECE_MAX + 1):
            assert noted.goes_on(ME, seq, 1, is_front)
        assert not noted.goes_on(ME, PIECE_MAX + 1, 1, is_front)
        assert len(noted.made) == 1 and noted.made[0].last() == (ME, PIECE_MAX)


def test_pushes_are_written_down_several_at_once() -> None:
    noted = Insertions()
    noted.add((ME, 1), 1, None, None, bool)
    noted.add((ME, 2), 1, None, (ME, 1), bool)
    assert noted.goes_on(ME, 3, 5, True) and not noted.goes_on(ME, 8, PIECE_MAX - 6, True)
    assert noted.goes_on(ME, 8, PIECE_MAX - 7, True) and not noted.goes_on(ME, PIECE_MAX + 1, 1, True)
    assert len(noted.made) == 1 and noted.made[0].last() == (ME, PIECE_MAX)


def test_a_push_beside_what_is_not_the_end_is_not_taken_for_one_onto_it() -> None:
    noted = Insertions()
    beside = (ME + 1, 5)
    noted.add((ME, 1), 1, beside, None, bool)
    noted.add((ME, 2), 1, beside, (ME, 1), bool)
    assert not noted.goes_on(ME, 3, 1, True)
