"""The plain value of a sorted set: members with scores, in the order of scores and then of members (floor 3).

As a CRDT it is a map from member to score, the score a register + counter (`crdts.map`); this is only how it is kept. A
score is a plain value of a register: an `int`, the text of an exact decimal, or `inf` and `-inf`. The order is that of
the scores as doubles, as in Redis; exact scores that are the same double are ordered by member.

Costs: look-up O(1); those of what keeps the order are in `crdts.score_order`, "O(log n)" here.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, final

from marmoset.codec.operations import INT_MAX, INT_MIN, Scalar
from marmoset.crdts.register import DIGITS_MAX, parse_decimal, plain_number
from marmoset.crdts.score_order import ScoreOrder
from marmoset.crdts.split import SCAN_SPLIT_ABOVE, PlainMap, SplitMap, walk_parts

if TYPE_CHECKING:  # machine integers in compiled code; interpreted code has no use for them
    from mypy_extensions import i64

INFINITE: Final = {b"inf": b"inf", b"+inf": b"inf", b"infinity": b"inf", b"+infinity": b"inf",
                   b"-inf": b"-inf", b"-infinity": b"-inf"}  # fmt: skip


WHOLE_DIGITS: Final = 18
"""Whole numbers of so many digits fit in 64 bits, whatever they are."""

_plain_fraction: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]")
_infinite: Final = float("inf")


def parse_score(text: bytes) -> Scalar | None:
    """The score that a text is, in its one form; None when it is none. O(digits).

    >>> parse_score(b"1.50"), parse_score(b"+INF"), parse_score(b"nan")
    (b'1.5', b'inf', None)
    """
    length: i64 = len(text)
    if 0 < length <= WHOLE_DIGITS:  # whole numbers, the form in which most scores come
        start: i64 = 1 if text[0] == 45 and length > 1 else 0  # a minus
        at: i64 = start
        number: i64 = 0
        while at < length:
            digit: i64 = text[at] - 48
            if digit < 0 or digit > 9:
                break
            number = 10 * number + digit
            at += 1
        if at == length:
            return int(-number if start else number)
    if length <= DIGITS_MAX and _plain_fraction.fullmatch(text) is not None:
        return text
    return parse_any_score(text)


def parse_any_score(text: bytes) -> Scalar | None:
    """As `parse_score`, for every form that there is. O(digits)."""
    infinite = INFINITE.get(text.lower())
    if infinite is not None:
        return infinite
    number = parse_decimal(text)
    if number is None:
        return None
    plain = plain_number(int(number) if number == number.to_integral_value() else number)
    return plain if isinstance(plain, bytes) or INT_MIN <= plain <= INT_MAX else b"%d" % plain


def double(score: Scalar) -> float:
    """A score as the double by which it is ordered; beyond the doubles it is infinite. O(digits)."""
    if isinstance(score, int):
        try:
            return float(score)
        except OverflowError:
            return _infinite if score > 0 else -_infinite
    try:
        number = float(score)
    except ValueError:
        return 0.0  # a base that is no number: only a faulty peer assigns one
    return number if number == number else 0.0  # noqa: PLR0124  # nor does NaN have a place in the order


@final
class SortedSet:
    """Members with scores."""

    __slots__ = ("_order", "_scores")

    def __init__(self, items: Iterable[tuple[bytes, Scalar]] = ()) -> None:
        self._scores: PlainMap = {}
        self._order = ScoreOrder()
        for member, score in items:
            self[member] = score

    # -- as a map

    def __len__(self) -> int:
        return len(self._order)  # which knows it

    def __contains__(self, member: object) -> bool:
        return member in self._scores

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._scores)

    def __getitem__(self, member: bytes) -> Scalar:
        return self._scores[member]

    def get(self, member: bytes, default: Scalar | None = None) -> Scalar | None:
        """The score of a member, or `default`. O(1)."""
        scores = self._scores
        part = scores if isinstance(scores, dict) else scores.part_with(member)
        found = part.get(member)
        return default if found is None else found

    def __setitem__(self, member: bytes, score: Scalar) -> None:
        scores = self._scores
        part = scores if isinstance(scores, dict) else scores.part_with(member)  # the member is hashed once
        old = part.get(member)
        if isinstance(old, int) and isinstance(score, int) and old == score:
            return
        new_double = double(score)
        if old is None:
            if isinstance(scores, dict):
                scores[member] = score
            else:
                scores.assign_in(part, member, score)
            self._order.add(new_double, member)
            return
        part[member] = score
        old_double = double(old)
        if old_double != new_double:
            kept = self._order.remove(old_double, member)
            self._order.add(new_double, kept)  # not one more object of the same text

    def split(self, split_above: int) -> None:
        """Keep the members in parts from now on. O(1), O(n) once."""
        if isinstance(self._scores, dict):
            self._scores = SplitMap(self._scores.items(), split_above)

    @property
    def scores(self) -> PlainMap:
        """The members with their scores, in no order."""
        return self._scores

    @property
    def order(self) -> ScoreOrder:
        """Scores with their members, in order."""
        return self._order

    def pop(self, member: bytes, default: Scalar | None = None) -> Scalar | None:
        """Take a member out and return its score, or `default`. O(log n)."""
        old = self._scores.pop(member, None)
        if old is None:
            return default
        self._order.remove(double(old), member)
        return old

    def items(self) -> Iterable[tuple[bytes, Scalar]]:
        """Members with their scores, in no order. O(n)."""
        return self._scores.items()

    def values(self) -> Iterable[Scalar]:
        """The scores, in no order. O(n)."""
        return self._scores.values()

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Some members from `cursor` on, and the cursor to go on with, 0 at the end: whoever is there throughout is
        returned. O(count + one part), O(n) once for a set that is large enough to be walked in steps."""
        if isinstance(self._scores, dict):
            if len(self._scores) <= SCAN_SPLIT_ABOVE:
                return 0, list(self._scores)
            self._scores = SplitMap(self._scores.items(), SCAN_SPLIT_ABOVE)
        return walk_parts(self._scores.parts, cursor, count)

    # -- in order

    def rank(self, member: bytes) -> int | None:
        """How many stand before a member, or None. O(log n)."""
        score = self._scores.get(member)
        return None if score is None else self._order.rank(double(score), member)

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The members at ranks from `start` to before `stop`. O(log n + length)."""
        return self._order.slice(max(0, start), min(stop, len(self._scores)))

    def before(self, score: float, *, including: bool) -> int:
        """How many members have a lower score, or, `including`, one as high. O(log n)."""
        return self._order.before(score, including=including)

    def _check(self) -> None:
        self._order._check()
        assert list(self._order) == sorted((double(score), member) for member, score in self._scores.items())
