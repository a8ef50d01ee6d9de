"""The set in which adding wins, against its specification."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context
from marmoset.codec.operations import KIND_SET, AnyOperation, Reset, SetAdd, SetRemove
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.types import Value
from tests.crdts.history import Done, run

ELEMENTS = [b"x", b"y", b"z"]


def make(rng: Random, value: Value | None) -> AnyOperation:
    elements = [rng.choice(ELEMENTS) for _ in range(rng.randint(1, 3))]
    return SetAdd(b"k", elements) if rng.random() < 0.6 else SetRemove(b"k", elements)


def add_wins(done: list[Done]) -> object:
    """DESIGN.md section 5: an element is there if some add of it was observed by no removal of it and no reset."""
    return {
        element
        for add in done
        if isinstance(add.operation, SetAdd)
        for element in add.operation.elements
        if not any(
            by.observed(add)
            and (
                isinstance(by.operation, Reset)
                or (isinstance(by.operation, SetRemove) and element in by.operation.elements)
            )
            for by in done
        )
    }


@given(st.randoms(use_true_random=False))
def test_a_set_shows_what_is_specified(rng: Random) -> None:
    run(rng, KIND_SET, make, add_wins)


def test_an_add_survives_a_removal_that_has_not_observed_it() -> None:
    value, window = {b"x"}, SetWindow()
    window.add(value, [b"x"], (1, 1), Context({1: 0, 2: 0}, {}))
    window.remove(value, [b"x"], Context({1: 0, 2: 1}, {}))
    assert value == {b"x"}
    window.remove(value, [b"x"], Context({1: 1, 2: 2}, {}))
    assert value == set()
    assert window.entries == 0


def test_a_removal_takes_whatever_is_stable() -> None:
    value, window = {b"x", b"y"}, SetWindow()
    window.remove(value, [b"x", b"never there"], Context({1: 0}, {}))
    assert value == {b"y"}


def test_an_add_replaces_the_adds_that_it_has_observed() -> None:
    value: set[bytes] = set()
    window = SetWindow()
    window.add(value, [b"x"], (1, 1), Context({1: 0, 2: 0}, {}))
    window.add(value, [b"x"], (2, 1), Context({1: 0, 2: 0}, {}))
    assert window.adds == {b"x": ((1, 1), (2, 1))}
    window.add(value, [b"x"], (1, 2), Context({1: 1, 2: 1}, {}))
    assert window.adds == {b"x": ((1, 2),)}
    window.fold([b"x"], (1, 1))  # replaced before it was stable
    assert window.entries == 1


def test_a_reset_keeps_what_it_has_not_observed() -> None:
    value, window = {b"stable"}, SetWindow()
    window.add(value, [b"x"], (1, 1), Context({1: 0, 2: 0}, {}))
    window.add(value, [b"y"], (2, 1), Context({1: 0, 2: 0}, {}))
    assert window.reset(Context({1: 1, 2: 0}, {})) == {b"y"}


def test_an_element_that_is_named_twice_is_added_once() -> None:
    value: set[bytes] = set()
    window = SetWindow()
    window.add(value, [b"x", b"x"], (1, 1), Context({1: 0}, {}))
    assert window.adds == {b"x": ((1, 1),)}
    window._check(value)
