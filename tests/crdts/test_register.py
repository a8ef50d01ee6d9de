"""Register + counter against its specification, and numbers that are exact."""

from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import Context
from marmoset.codec.operations import KIND_REGISTER, Amount, AnyOperation, Assign, Increment, Reset, Scalar
from marmoset.crdts.register import (
    DIGITS_MAX,
    RegisterWindow,
    add,
    incremented,
    number_of,
    number_text,
    parse_amount,
    parse_decimal,
    plain_number,
)
from marmoset.crdts.types import Value
from tests.crdts.history import Done, run, survivors

VALUES: list[Scalar] = [b"7", b"007", b"word", b"1.50", 12, b"", b"-3"]
AMOUNTS: list[Amount] = [1, -1, 5, 0, "0.1", "-2.50", "0"]


def make(rng: Random, value: Value | None) -> AnyOperation:
    if rng.random() < 0.4:
        return Assign(b"k", rng.choice(VALUES))
    return Increment(b"k", rng.choice(AMOUNTS))


def register(done: list[Done]) -> object:
    """DESIGN.md section 5: base and sum."""
    alive = survivors(done, lambda by, what: isinstance(by.operation, Assign | Reset))
    bases = [d for d in alive if isinstance(d.operation, Assign)]
    increments = [d.operation.amount for d in alive if isinstance(d.operation, Increment)]
    base = max(bases, key=lambda d: (d.stamp, d.dot)).operation.value if bases else None  # type: ignore[union-attr]
    number = number_of(base)
    if not increments or number is None:
        return base
    exact = sum((Decimal(amount) for amount in increments), Decimal(number))
    return int(exact) if exact == int(exact) else str(exact.normalize()).encode()


@given(st.randoms(use_true_random=False))
def test_a_register_shows_what_is_specified(rng: Random) -> None:
    run(rng, KIND_REGISTER, make, register)


# -- the window, by hand


def test_a_reset_takes_only_what_it_has_observed() -> None:
    window = RegisterWindow(b"10")
    window.increment((1, 1), 5)
    window.increment((2, 1), 7)
    assert window.value() == 22
    window.reset(Context({1: 1, 2: 0}, {}))
    assert window.value() == 7


def test_a_base_that_is_no_number_stands_alone() -> None:
    window = RegisterWindow(b"word")
    window.increment((1, 1), 5)
    assert window.value() == b"word"


def test_the_text_of_a_number_stays_until_something_is_added() -> None:
    window = RegisterWindow(None)
    window.assign((1, 1), 1, Context({}, {}), b"007")
    assert window.value() == b"007"
    window.increment((1, 2), 0)
    assert window.value() == 7


def test_of_concurrent_assignments_the_latest_stamp_wins_and_then_the_dot() -> None:
    nobody = Context({1: 0, 2: 0, 3: 0}, {})
    window = RegisterWindow(None)
    window.assign((2, 1), 5, nobody, b"two")
    window.assign((1, 1), 9, nobody, b"late")
    window.assign((3, 1), 9, nobody, b"late, and by a higher id")
    assert window.value() == b"late, and by a higher id"


def test_folding_keeps_what_is_visible() -> None:
    window = RegisterWindow(b"1")
    window.increment((1, 1), 2)
    window.increment((2, 1), 4)
    window.fold_increment((1, 1))
    window.fold_increment((9, 9))  # of somebody else: nothing
    assert (window.value(), window.entries) == (7, 1)


# -- numbers


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20)))
def test_sums_do_not_depend_on_the_order_of_arrival(amounts: list[Decimal]) -> None:
    def total(order: list[Decimal]) -> int | Decimal:
        result: int | Decimal = 0
        for amount in order:
            result = add(result, amount)
        return result

    assert total(amounts) == total(list(reversed(amounts))) == total(sorted(amounts))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_can_be_an_amount_and_is_kept_exactly(number: float) -> None:
    exact = Decimal(repr(number))
    assert parse_amount(repr(number)) == exact
    shown = incremented(None, parse_amount(repr(number)) or 0)
    assert number_of(shown) == exact


@given(st.integers())
def test_whole_numbers_show_their_digits(number: int) -> None:
    assert number_text(number) == number_text(Decimal(number)) == str(number).encode()
    assert plain_number(Decimal(number)) == number


@pytest.mark.parametrize(
    "text",
    [b"", b"+", b".", b"ten", b"1 ", b" 1", b"1_0", b"nan", b"inf", b"-Infinity", b"0x10", b"1e400", b"1e-400", b"1\n",
     b"1e99999", "٣".encode(), b"9" * 681, b"1.2.3"],
)  # fmt: skip
def test_what_is_no_number_or_too_large_is_none(text: bytes) -> None:
    assert parse_decimal(text) is None
    assert number_of(text) is None


@given(st.binary(max_size=12))
def test_any_bytes_are_a_number_or_none(text: bytes) -> None:
    number = parse_decimal(text)
    assert number is None or number.is_finite()


def test_the_largest_amounts_add_up_exactly() -> None:
    large = "9" * DIGITS_MAX
    small = "0." + "0" * (DIGITS_MAX - 1) + "1"
    total: int | Decimal = 0
    for amount in (large, small, large, small):
        parsed = parse_amount(amount)
        assert parsed is not None
        total = add(total, parsed)
    assert Fraction(total) == 2 * Fraction(large) + 2 * Fraction(small)


def test_adding_where_no_window_is_needed() -> None:
    assert incremented(None, 5) == 5
    assert incremented(b"2.50", Decimal("0.5")) == 3
    assert incremented(b"2.50", Decimal("0.25")) == b"2.75"
    assert incremented(b"word", 5) == b"word"
