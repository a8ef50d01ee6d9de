"""A set as a `MutableSet` (floor 10)."""

from builtins import set as plain_set
from collections.abc import Iterable, Iterator, MutableSet
from typing import TYPE_CHECKING, Final, Self, cast

from marmoset.api.base import SetBase
from marmoset.api.store import Given, T
from marmoset.api.takers import Taker
from marmoset.codec.operations import KIND_SET, AnyOperation, SetAdd, SetRemove
from marmoset.commands.database import request_bytes
from marmoset.crdts.split import PlainSet

_NO_ELEMENTS: Final[frozenset[bytes]] = frozenset()


class SetView(SetBase[T], MutableSet[T]):
    """A set. An element that is added here and removed elsewhere at the same time stays: add wins."""

    if TYPE_CHECKING:

        def add(self, value: Given) -> None:
            """See `SetBase`."""

        def discard(self, value: Given) -> None:
            """See `SetBase`."""

        def remove(self, value: Given) -> None:
            """See `SetBase`."""

    _taker: Taker | None = None

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

    def update(self, *others: Iterable[Given]) -> None:
        """Add all elements of the others, at once. O(n)."""
        self._store.check()
        elements = [self._store.encode(element) for other in others for element in other]
        if elements:
            with self._store.lock:
                self._value()
                self._store.write(SetAdd(self._key, elements), request_bytes(elements))

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

    def pop(self) -> T:
        """Remove and return some element; raises `KeyError` if there is none. Two members may pop the same one. O(1)
        on average for all of them from one view."""
        self._store.check()
        with self._store.lock:
            if self._taker is None:
                self._taker = Taker()
            element = self._taker.some(self._value())
            if element is None:
                raise KeyError("pop from an empty set")
            self._remove([element])
            return self._store.decode(element)

    def clear(self) -> None:
        """Remove all elements that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)

    # Operators: what an int or bytes stands for is an element in the other operand, too

    def _alike(self, other: Iterable[object]) -> plain_set[object]:
        """Elements as this view gives them; what no element can be stays what it is."""
        store = self._store
        pairs = [(element, store.known(element)) for element in other]
        return {element if known is None else store.decode(known) for element, known in pairs}

    def _all(self) -> plain_set[object]:
        return plain_set(self)

    def __and__(self, other: Iterable[object]) -> plain_set[object]:  # type: ignore[override]
        return self._all() & self._alike(other) if isinstance(other, Iterable) else NotImplemented

    def __or__(self, other: Iterable[object]) -> plain_set[object]:  # type: ignore[override]
        return self._all() | self._alike(other) if isinstance(other, Iterable) else NotImplemented

    def __sub__(self, other: Iterable[object]) -> plain_set[object]:  # type: ignore[override]
        return self._all() - self._alike(other) if isinstance(other, Iterable) else NotImplemented

    def __rsub__(self, other: Iterable[object]) -> plain_set[object]:
        return self._alike(other) - self._all() if isinstance(other, Iterable) else NotImplemented

    def __xor__(self, other: Iterable[object]) -> plain_set[object]:  # type: ignore[override]
        return self._all() ^ self._alike(other) if isinstance(other, Iterable) else NotImplemented

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __ior__(self, it: Iterable[Given]) -> Self:  # type: ignore[override, misc]
        self.update(it)
        return self

    def __isub__(self, it: Iterable[object]) -> Self:
        self._remove(self._all_known(it))
        return self

    def __iand__(self, it: Iterable[object]) -> Self:
        """Remove what is not in the other, at once. O(n)."""
        stay = plain_set(self._all_known(it))
        with self._store.lock:
            self._remove([element for element in self._value() if element not in stay])
        return self

    def __ixor__(self, it: Iterable[Given]) -> Self:  # type: ignore[override, misc]
        """Remove what is in both and add what is in the other only, at once. O(n)."""
        self._store.check()
        elements = list(dict.fromkeys(self._store.encode(element) for element in it))
        with self._store.lock:
            present = self._value()
            gone = [element for element in elements if element in present]
            new = [element for element in elements if element not in present]
            operations: list[AnyOperation] = [SetRemove(self._key, gone)] if gone else []
            if new:
                operations.append(SetAdd(self._key, new))
            if operations:
                self._store.write_all(operations, request_bytes(elements))
        return self

    def _all_known(self, given: Iterable[object]) -> list[bytes]:
        """Bytes of what can be an element."""
        self._store.check()
        return [known for element in given if (known := self._store.known(element)) is not None]
