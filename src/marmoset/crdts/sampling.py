"""Random elements of sets and fields of maps (floor 3).

A sampler is made for one command and looks at the collection as it is then; nothing may change it meanwhile. Elements
are numbered part by part, within a part in their order, so that one seed draws the same from equal collections. A part
is put in order when the first of its elements is drawn, and remembered so.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate, chain
from random import Random
from typing import final


@final
class Sampler:
    """Draws from a collection in parts that is not empty, all elements equally likely. O(parts) to make; a draw costs
    O(log parts), and O(part log part) for the first one from a part."""

    __slots__ = ("_ends", "_parts", "_rng", "_sorted")

    def __init__(self, parts: Sequence[Collection[bytes]], rng: Random) -> None:
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        self._sorted: dict[int, list[bytes]] = {}
        self._rng = rng

    def draw(self) -> bytes:
        """A random element."""
        return self._at(self._rng.randrange(self._ends[-1]))

    def draw_many(self, count: int) -> list[bytes]:
        """So many random elements, the same one perhaps more than once. O(count) draws."""
        return [self.draw() for _ in range(count)]

    def draw_distinct(self, count: int) -> list[bytes]:
        """So many different random elements, in no random order, at most as many as there are. O(count) draws."""
        size = self._ends[-1]
        if 2 * count <= size:
            return [self._at(at) for at in self._rng.sample(range(size), count)]
        left_out = set(self._rng.sample(range(size), max(0, size - count)))
        elements = chain.from_iterable(map(sorted, self._parts))
        return [element for at, element in enumerate(elements) if at not in left_out]

    def _at(self, at: int) -> bytes:
        number = bisect_right(self._ends, at)
        part = self._sorted.get(number)
        if part is None:
            part = self._sorted[number] = sorted(self._parts[number])
        return part[at - self._ends[number]]  # counted from the end of the part
