"""Doubles in order, side by side in memory (floor 3).

They are in a `vec` of librt, the library of mypyc's team for what it compiles: a list of doubles that are no objects.
Compiled, an element is read by one instruction, and a loop over them is several times as fast as a call of `bisect`,
which has an object made for each. Interpreted, it is the other way round. Both ways give the same.

A `vec` that is added to, or from which something is taken, is given up for the one that comes back.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from librt.vecs import append, extend, vec

from marmoset import build

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64

Search = Callable[[memoryview, float], int]

_IS_COMPILED: Final = build.kind() == build.COMPILED
_left: Final = cast("Search", bisect_left)
_right: Final = cast("Search", bisect_right)


def first_not_below(doubles: vec[float], bound: float) -> int:
    """The place of the first that is not below a bound, or their number. O(log n)."""
    return not_below_in_steps(doubles, bound) if _IS_COMPILED else _left(memoryview(doubles), bound)


def first_above(doubles: vec[float], bound: float) -> int:
    """The place of the first that is above a bound, or their number. O(log n)."""
    return above_in_steps(doubles, bound) if _IS_COMPILED else _right(memoryview(doubles), bound)


def inserted(doubles: vec[float], place: int, new: float) -> vec[float]:
    """The same with one more at a place, for few of them. O(n)."""
    return inserted_in_steps(doubles, place, new) if _IS_COMPILED else inserted_at_once(doubles, place, new)


def inserted_at_once(doubles: vec[float], place: int, new: float) -> vec[float]:
    """The same for many. O(n), what is copied is."""
    return extend(append(doubles[:place], new), doubles[place:])


def not_below_in_steps(doubles: vec[float], bound: float) -> int:
    """As `first_not_below`; what is interpreted is slow here."""
    at: i64 = 0
    stop: i64 = len(doubles)
    while at < stop:
        middle: i64 = (at + stop) >> 1
        if doubles[middle] < bound:
            at = middle + 1
        else:
            stop = middle
    return at


def above_in_steps(doubles: vec[float], bound: float) -> int:
    """As `first_above`; what is interpreted is slow here."""
    at: i64 = 0
    stop: i64 = len(doubles)
    while at < stop:
        middle: i64 = (at + stop) >> 1
        if bound < doubles[middle]:
            stop = middle
        else:
            at = middle + 1
    return at


def inserted_in_steps(doubles: vec[float], place: int, new: float) -> vec[float]:
    """As `inserted`; what is interpreted is slow here."""
    first: i64 = place
    at: i64 = len(doubles)
    doubles = append(doubles, new)
    while at > first:
        doubles[at] = doubles[at - 1]
        at -= 1
    doubles[at] = new
    return doubles
