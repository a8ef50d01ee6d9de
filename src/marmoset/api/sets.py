"""A set as a `MutableSet` (floor 10)."""

from builtins import set as plain_set
from collections.abc import Iterable, Iterator, MutableSet, Set
from typing import TYPE_CHECKING, Final, Self, cast

from marmoset.api.base import SetBase
from marmoset.api.store import Given, T
from marmoset.codec.operations import KIND_SET, SetAdd, SetRemove
from marmoset.commands.database import request_bytes
from marmoset.crdts.split import PlainSet

_NO_ELEMENTS: Final[frozenset[bytes]] = frozenset()


class SetView(SetBase[T], MutableSet[T]):
    """A set. An element that is added here and removed elsewhere at the same time stays: add wins."""

    if TYPE_CHECKING:

        def add(self, value: Given) -> None:
            """See `SetBase`."""

    @classmethod
    def _from_iterable(cls, it: Iterable[object]) -> plain_set[object]:  # type: ignore[override]
        return plain_set(it)  # what `&`, `|`, `-` and `^` give is a plain set

    def _value(self) -> PlainSet | frozenset[bytes]:
        found = self._store.value(self._key, KIND_SET)
        return _NO_ELEMENTS if found is None else cast("PlainSet", found)

    def __iter__(self) -> Iterator[T]:
        self._store.check()
        with self._store.lock:
            elements = list(self._value())
        return map(self._store.decode, elements)

    def __len__(self) -> int:
        self._store.check()
        with self._store.lock:
            return len(self._value())

    def update(self, *others: Iterable[Given]) -> None:
        """Add all elements of the others, at once. O(n)."""
        self._store.check()
        elements = [self._store.encode(element) for other in others for element in other]
        if elements:
            with self._store.lock:
                self._value()
                self._store.write(SetAdd(self._key, elements), request_bytes(elements))

    def discard(self, value: Given) -> None:
        """Remove an element if it is there. O(1)."""
        self._remove([self._store.encode(value)])

    def difference_update(self, *others: Iterable[Given]) -> None:
        """Remove all elements of the others, at once. O(n)."""
        self._remove([self._store.encode(element) for other in others for element in other])

    def _remove(self, elements: list[bytes]) -> None:
        self._store.check()
        with self._store.lock:
            present = self._value()
            there = [element for element in elements if element in present]
            if there:
                self._store.write(SetRemove(self._key, there), request_bytes(there))

    def remove(self, value: Given) -> None:
        """Remove an element; raises `KeyError` if it is not there. O(1)."""
        self._store.check()
        with self._store.lock:
            if self._store.encode(value) not in self._value():
                raise KeyError(value)
            self.discard(value)

    def pop(self) -> T:
        """Remove and return some element; raises `KeyError` if there is none. Two members may pop the same one."""
        self._store.check()
        with self._store.lock:
            for element in self._value():
                self._remove([element])
                return self._store.decode(element)
        raise KeyError("pop from an empty set")

    def clear(self) -> None:
        """Remove all elements that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)

    def __ior__(self, it: Set[T]) -> Self:  # type: ignore[override, misc]  # `|` takes sets of anything
        self.update(it)
        return self

    def __isub__(self, it: Set[object]) -> Self:  # type: ignore[misc]
        self.difference_update(self if it is self else cast("Set[T]", it))
        return self
