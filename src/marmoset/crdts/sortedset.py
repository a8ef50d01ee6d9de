"""The plain value of a sorted set: members with scores, in the order of scores and then of members (floor 3).

As a CRDT it is a map from member to score, the score a register + counter (`crdts.map`); this is only how it is kept. A
score is a plain value of a register: an `int`, the text of an exact decimal, or `inf` and `-inf`. The order is that of
the scores as doubles, as in Redis; exact scores that are the same double are ordered by member.

Costs: look-up O(1); change, rank and finding a score O(log n); a slice O(log n + its length).
"""

from collections.abc import Iterable, Iterator
from typing import Final, final

from sortedcontainers import SortedList

from marmoset.codec.operations import INT_MAX, INT_MIN, Scalar
from marmoset.crdts.register import parse_decimal, plain_number
from marmoset.crdts.split import SCAN_SPLIT_ABOVE, PlainMap, SplitMap, walk_parts

INFINITE: Final = {b"inf": b"inf", b"+inf": b"inf", b"infinity": b"inf", b"+infinity": b"inf",
                   b"-inf": b"-inf", b"-infinity": b"-inf"}  # fmt: skip


def parse_score(text: bytes) -> Scalar | None:
    """The score that a text is, in its one form; None when it is none. O(digits).

    >>> parse_score(b"1.50"), parse_score(b"+INF"), parse_score(b"nan")
    (b'1.5', b'inf', None)
    """
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
    try:
        return float(score)
    except OverflowError:
        return float("inf") if isinstance(score, int) and score > 0 else float("-inf")
    except ValueError:
        return 0.0  # a base that is no number: only a faulty peer assigns one


@final
class SortedSet:
    """Members with scores."""

    __slots__ = ("_order", "_scores")

    def __init__(self, items: Iterable[tuple[bytes, Scalar]] = ()) -> None:
        self._scores: PlainMap = {}
        self._order: SortedList[tuple[float, bytes]] = SortedList()
        for member, score in items:
            self[member] = score

    # -- as a map

    def __len__(self) -> int:
        return len(self._scores)

    def __contains__(self, member: object) -> bool:
        return member in self._scores

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._scores)

    def __getitem__(self, member: bytes) -> Scalar:
        return self._scores[member]

    def get(self, member: bytes, default: Scalar | None = None) -> Scalar | None:
        """The score of a member, or `default`. O(1)."""
        return self._scores.get(member, default)

    def __setitem__(self, member: bytes, score: Scalar) -> None:
        old = self._scores.get(member)
        if old is not None:
            self._order.remove((double(old), member))
        self._scores[member] = score
        self._order.add((double(score), member))

    def split(self, split_above: int) -> None:
        """Keep the members in parts from now on. O(1), O(n) once."""
        if isinstance(self._scores, dict):
            self._scores = SplitMap(self._scores.items(), split_above)

    @property
    def scores(self) -> PlainMap:
        """The members with their scores, in no order."""
        return self._scores

    @property
    def order(self) -> "SortedList[tuple[float, bytes]]":
        """Scores with their members, in order."""
        return self._order

    def pop(self, member: bytes, default: Scalar | None = None) -> Scalar | None:
        """Take a member out and return its score, or `default`. O(log n)."""
        old = self._scores.pop(member, None)
        if old is None:
            return default
        self._order.remove((double(old), member))
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
        return None if score is None else int(self._order.index((double(score), member)))

    def slice(self, start: int, stop: int) -> list[bytes]:
        """The members at ranks from `start` to before `stop`. O(log n + length)."""
        return [member for _, member in self._order.islice(start, stop)]

    def before(self, score: float, *, including: bool) -> int:
        """How many members have a lower score, or, `including`, one as high. O(log n)."""
        if not including:
            return int(self._order.bisect_left((score, b"")))
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            if self._order[middle][0] <= score:
                low = middle + 1
            else:
                high = middle
        return low

    def _check(self) -> None:
        assert len(self._order) == len(self._scores)
        assert all(self._scores.get(member) is not None for _, member in self._order)
        assert list(self._order) == sorted((double(score), member) for member, score in self._scores.items())
