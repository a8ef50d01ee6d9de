"""Which element a `pop` takes next (floor 10).

Whoever takes the first of a Python set or dict again and again walks over all that were taken before. A view keeps
elements that it has seen on one walk, and walks again when they are used up, for twice as many: n elements cost
O(log n) walks, and the first costs what looking at one does.
"""

from collections.abc import Collection
from itertools import islice
from typing import Final, final

SEEN_MAX: Final = 1 << 16


@final
class Taker:
    """Elements seen in a collection, to be taken next."""

    __slots__ = ("_seen", "_wanted")

    def __init__(self) -> None:
        self._seen: list[bytes] = []
        self._wanted = 1

    def some(self, present: Collection[bytes]) -> bytes | None:
        """Some element of those present, None if there is none. O(1) on average where each is removed then."""
        while self._seen:
            element = self._seen.pop()
            if element in present:
                return element
        self._seen = list(islice(present, self._wanted))
        self._wanted = min(2 * self._wanted, SEEN_MAX)
        return self._seen.pop() if self._seen else None
