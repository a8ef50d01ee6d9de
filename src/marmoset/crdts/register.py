"""Register + counter: a Redis string, the field of a map, the score of a sorted set (floor 3).

What is visible: *base*, among the assignments that no other assignment or reset has observed the one with the highest
stamp; *sum*, the increments that no assignment or reset has observed; the value is base + sum where the base is a
number or absent, else the base alone. Sums of fractions are exact decimals, so they do not depend on the order of
arrival.

The plain value is `bytes` as assigned, or `int` where a whole sum came out; None is absence. The window has the
assignments and increments that are not stable, beside `base` and `total`, which include what is. An operation that
arrives has observed everything stable, so an assignment or a reset keeps only window entries (DESIGN.md 3.7).

Whether a key was ever incremented (`counted`) decides about the form: "007" assigned stays "007", but 7 once something
was added, be it zero. Without it a replica that has folded would show another text than one that has not.

Cost: O(entries of the window) for an assignment or reset, O(digits) for an increment.
"""

import decimal
import re
from decimal import Decimal
from typing import Final, final

from marmoset.clocks import Context
from marmoset.codec.operations import Amount, Scalar
from marmoset.ids import Dot

DIGITS_MAX: Final = 340
"""Decimals are exact within 340 digits before and behind the point, enough for every double."""

_exact: Final = decimal.Context(
    prec=4 * DIGITS_MAX, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact, decimal.InvalidOperation]
)
_number: Final = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?")


def parse_decimal(text: bytes) -> Decimal | None:
    """The exact number that `text` is; None when it is none or lies outside `DIGITS_MAX`. O(digits).

    >>> parse_decimal(b"0.10"), parse_decimal(b"1e400"), parse_decimal(b"ten")
    (Decimal('0.10'), None, None)
    """
    if len(text) > 2 * DIGITS_MAX or _number.fullmatch(text) is None:
        return None
    number = Decimal(text.decode("ascii"))
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -DIGITS_MAX or (number and number.adjusted() > DIGITS_MAX):
        return None
    return number if number else Decimal(0)


def parse_amount(amount: Amount) -> int | Decimal | None:
    """The number that an increment adds, or None when it is none."""
    return amount if isinstance(amount, int) else parse_decimal(amount.encode("utf-8", "replace"))


def number_of(value: Scalar | None) -> int | Decimal | None:
    """The number that a plain value is; absence is 0; None when it is not a number."""
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    return parse_decimal(value)


def add(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """The exact sum."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _exact.add(Decimal(left), Decimal(right))


def _negative(number: int | Decimal) -> int | Decimal:
    return -number if isinstance(number, int) else number.copy_negate()  # `-` would round it


def number_text(number: int | Decimal) -> bytes:
    """A number as Redis shows it: digits and a point, without exponent or trailing zeros.

    >>> number_text(Decimal("3.10")), number_text(Decimal("4.0"))
    (b'3.1', b'4')
    """
    if isinstance(number, int):
        return b"%d" % number
    if number == number.to_integral_value():
        return b"%d" % int(number)
    return format(number.normalize(_exact), "f").encode("ascii")


def plain_number(number: int | Decimal) -> Scalar:
    """A number as a plain value: an `int` where it is whole, else its text."""
    if isinstance(number, int):
        return number
    if number == number.to_integral_value():
        return int(number)
    return number_text(number)


_NO_ASSIGNMENTS: Final[dict[Dot, tuple[int, Scalar]]] = {}
_NO_INCREMENTS: Final[dict[Dot, int | Decimal]] = {}
"""Of windows that have none; never changed."""


@final
class RegisterWindow:
    """The unstable operations of one register, and the two halves of its value.

    One assignment, by far the most frequent, is held in three numbers, its value being the base, as long as `_replica`
    is not 0. Several, or one that is not shown, are in a dict.
    """

    __slots__ = ("_replica", "_seq", "_several", "_stamp", "base", "counted", "increments", "total")

    def __init__(self, base: Scalar | None) -> None:
        self.base = base
        self.total: int | Decimal = 0
        self.counted = False
        self.increments = _NO_INCREMENTS
        """Dot to amount, those that are not stable."""
        self._replica = 0
        self._seq = 0
        self._stamp = 0
        self._several = _NO_ASSIGNMENTS

    def copy(self) -> "RegisterWindow":
        """One that goes on by itself. O(entries)."""
        other = RegisterWindow(self.base)
        other.total, other.counted = self.total, self.counted
        other._replica, other._seq, other._stamp = self._replica, self._seq, self._stamp
        other._several, other.increments = self._several.copy(), self.increments.copy()
        return other

    @property
    def assignments(self) -> dict[Dot, tuple[int, Scalar]]:
        """Dot to stamp and value, those that are not stable. O(1)."""
        if not self._replica:
            return self._several
        assert self.base is not None
        return {(self._replica, self._seq): (self._stamp, self.base)}

    @assignments.setter
    def assignments(self, assignments: dict[Dot, tuple[int, Scalar]]) -> None:
        self._replica = 0
        self._several = assignments

    @property
    def entries(self) -> int:
        """How many operations are not yet stable. O(1)."""
        return (1 if self._replica else len(self._several)) + len(self.increments)

    def value(self) -> Scalar | None:
        """What is visible. O(digits)."""
        if not self.counted:
            return self.base
        number = number_of(self.base)
        return self.base if number is None else plain_number(add(number, self.total))

    def reset(self, context: Context) -> None:
        """Keep only what `context` has not observed; everything stable was observed. O(entries)."""
        if self._replica:
            if context.covers((self._replica, self._seq)):
                self._replica = 0
        elif self._several:
            self._several = {dot: entry for dot, entry in self._several.items() if not context.covers(dot)}
        if self.increments:
            self.increments = {dot: amount for dot, amount in self.increments.items() if not context.covers(dot)}
        self._settle()

    def clear(self) -> dict[Dot, int | Decimal]:
        """Forget everything, as a reset does that has observed it; the increments, for whoever frees them. O(1)."""
        increments = self.increments
        self._replica = 0
        self._several, self.increments = _NO_ASSIGNMENTS, _NO_INCREMENTS
        self._settle()
        return increments

    def assign(self, dot: Dot, stamp: int, context: Context, value: Scalar) -> None:
        """Effect of an assignment. O(entries)."""
        self.reset(context)
        if self._replica or self._several:
            self.assignments = {**self.assignments, dot: (stamp, value)}
            self._settle()
        else:
            self._replica, self._seq = dot
            self._stamp = stamp
            self.base = value

    def increment(self, dot: Dot, amount: int | Decimal) -> None:
        """Effect of an increment. O(digits)."""
        if self.increments:
            self.increments[dot] = amount
        else:
            self.increments = {dot: amount}
        self.total = add(self.total, amount)
        self.counted = True

    def found(self, value: Scalar) -> None:
        """Where there are increments alone, stand them on a base with which `value` comes out. O(digits).

        Of the base only the number is known again, not the text that it was: the text never shows again, since an
        assignment or a reset that has not observed the increments has observed what they stand on.
        """
        if not self._replica and not self._several:
            number = number_of(value)
            self.base = value if number is None else plain_number(add(number, _negative(self.total)))

    def fold_assign(self, dot: Dot) -> None:
        """Forget an assignment that is stable; the value stays. O(1)."""
        if self._replica:
            if self._replica == dot[0] and self._seq == dot[1]:
                self._replica = 0
        elif self._several:
            self._several.pop(dot, None)

    def fold_increment(self, dot: Dot) -> None:
        """Forget an increment that is stable; the value stays. O(1)."""
        if self.increments:
            self.increments.pop(dot, None)

    def _settle(self) -> None:
        """Take both halves from the entries alone."""
        if not self._replica:
            self.base = None
            if len(self._several) == 1:
                for dot, (stamp, value) in self._several.items():
                    self._replica, self._seq = dot
                    self._stamp, self.base = stamp, value
                self._several = _NO_ASSIGNMENTS
            elif self._several:
                self.base = max((stamp, dot, value) for dot, (stamp, value) in self._several.items())[2]
        total: int | Decimal = 0
        for amount in self.increments.values():
            total = add(total, amount)
        self.total = total
        self.counted = len(self.increments) > 0

    def _check(self) -> None:
        assert self.counted or not self.increments
        assert self.entries, "a window without entries is kept"
        assert not self._replica or (self.base is not None and not self._several)
        assert not _NO_ASSIGNMENTS and not _NO_INCREMENTS, "what all windows share was changed"


def incremented(value: Scalar | None, amount: int | Decimal) -> Scalar:
    """The plain value after an increment where no window is needed; a value that is no number stays."""
    if isinstance(value, int) and isinstance(amount, int):
        return value + amount  # by far the most
    number = number_of(value)
    if number is None:
        assert value is not None
        return value
    return plain_number(add(number, amount))
