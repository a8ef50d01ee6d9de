"""Arguments of commands (floor 8): numbers and options, refused in Redis's words."""

import re
from decimal import Decimal
from typing import Final

from marmoset.crdts.register import parse_decimal
from marmoset.resp.errors import COUNT_RANGE, INFINITE, NOT_A_FLOAT, NOT_AN_INTEGER, NOT_POSITIVE, CommandError

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
_integer: Final = re.compile(rb"0|-?[1-9][0-9]{0,18}")


_SMALL: Final = 1 << 61


def is_int64(number: int) -> bool:
    """Whether a number fits in 64 bits. O(1)."""
    if -_SMALL < number < _SMALL:  # compiled code keeps these as machine integers
        return True
    return INT_MIN <= number <= INT_MAX


def integer_or_none(text: bytes) -> int | None:
    """The 64-bit integer that `text` is, written in the one way Redis takes. O(1)."""
    if _integer.fullmatch(text) is None:
        return None
    number = int(text)
    return number if is_int64(number) else None


def integer(text: bytes, fault: str = NOT_AN_INTEGER) -> int:
    """As `integer_or_none`; raises `CommandError` with `fault`."""
    number = integer_or_none(text)
    if number is None:
        raise CommandError(fault)
    return number


def count_within(text: bytes) -> int:
    """A number of elements that may be negative, for "the same one more than once"; not the least 64-bit integer."""
    number = integer(text)
    if number == INT_MIN:
        raise CommandError(COUNT_RANGE)
    return number


def count(text: bytes) -> int:
    """A number that may not be negative."""
    number = integer_or_none(text)
    if number is None or number < 0:
        raise CommandError(NOT_POSITIVE)
    return number


def decimal(text: bytes, fault: str = NOT_A_FLOAT, infinite: str = INFINITE) -> Decimal:
    """An exact decimal; raises `CommandError` with `fault`, or `infinite` for what is spelled so."""
    number = parse_decimal(text)
    if number is None:
        raise CommandError(infinite if text.lstrip(b"+-").lower() in (b"inf", b"infinity") else fault)
    return number


def bounds(start: int, stop: int, length: int) -> tuple[int, int]:
    """Redis's inclusive range with negative indexes as a Python slice of something of a length. O(1)."""
    if start < 0:
        start = max(0, start + length)
    if stop < 0:
        stop += length
    return start, max(start, min(stop, length - 1) + 1)
