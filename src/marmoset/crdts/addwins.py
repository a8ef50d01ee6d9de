"""The set in which adding wins (floor 3).

An element is present if some add of it has been observed by no removal of it and no reset. The plain value is a Python
set (or a `SplitSet`). The window has, for each element with unstable adds, the dots of those adds: a removal that
arrives takes exactly the dots that its context covers, and the element goes when none is left; whatever has no entry is
stable and was observed by anything that arrives (DESIGN.md 3.7). Removals need no entry of their own: causal delivery
brings an add before any removal that observed it.

Cost: O(1) for each element named by an operation.
"""

from typing import final

from marmoset.clocks import Context
from marmoset.crdts.split import PlainSet
from marmoset.ids import Dot


@final
class SetWindow:
    """The unstable adds of one set: element to the dots of its adds."""

    __slots__ = ("adds",)

    def __init__(self) -> None:
        self.adds: dict[bytes, tuple[Dot, ...]] = {}

    @property
    def entries(self) -> int:
        """How many elements have unstable adds."""
        return len(self.adds)

    def add(self, value: PlainSet, elements: list[bytes], dot: Dot, context: Context) -> None:
        """Effect of an add. O(elements)."""
        adds = self.adds
        mine = (dot,)
        for element in elements:
            value.add(element)
            old = adds.get(element)
            if old is None:
                adds[element] = mine
            else:
                rest = tuple(other for other in old if other != dot and not context.covers(other))
                adds[element] = (*rest, dot)

    def remove(self, value: PlainSet, elements: list[bytes], context: Context) -> None:
        """Effect of a removal. O(elements)."""
        adds = self.adds
        for element in elements:
            old = adds.pop(element, None)
            if old is not None:
                rest = tuple(other for other in old if not context.covers(other))
                if rest:
                    adds[element] = rest
                    continue
            value.discard(element)

    def reset(self, context: Context) -> set[bytes]:
        """Effect of a reset of the whole set: what is left of it. O(entries of the window)."""
        kept: dict[bytes, tuple[Dot, ...]] = {}
        for element, old in self.adds.items():
            rest = tuple(other for other in old if not context.covers(other))
            if rest:
                kept[element] = rest
        self.adds = kept
        return set(kept)

    def clear(self) -> dict[bytes, tuple[Dot, ...]]:
        """Forget all adds, as a reset does that has observed them; what they were kept in, for who frees it. O(1)."""
        adds, self.adds = self.adds, {}
        return adds

    def fold(self, elements: list[bytes], dot: Dot) -> None:
        """Forget an add that is stable. O(elements)."""
        adds = self.adds
        for element in elements:
            old = adds.get(element)
            if old is not None:
                rest = tuple(other for other in old if other != dot)
                if rest:
                    adds[element] = rest
                else:
                    del adds[element]

    def _check(self, value: PlainSet) -> None:
        assert self.adds, "a window without entries is kept"
        for element, dots in self.adds.items():
            assert element in value, "an element with unstable adds is not visible"
            assert dots and len(set(dots)) == len(dots)
