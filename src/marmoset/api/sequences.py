"""A sequence as a `MutableSequence` (floor 10)."""

import sys
from collections.abc import Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Final, SupportsIndex, cast, overload

from marmoset.api.access import all_encoded
from marmoset.api.base import SequenceBase
from marmoset.api.store import Given, T
from marmoset.codec.operations import SequenceAssign
from marmoset.crdts.sequence import Sequence

END: Final = slice(sys.maxsize, None)
"""The empty slice behind all elements, however many there are."""


class SequenceView(SequenceBase[T], MutableSequence[T]):
    """A list. What members insert at one place at the same time stays together, member by member; an element that is
    replaced elsewhere keeps its place; one that is removed elsewhere at the same time is gone.
    """

    def _value(self) -> Sequence | None:
        return self._store.sequence(self._key)

    def _all(self) -> list[T]:
        self._store.check()
        with self._store.lock:
            found = self._value()
            values = [] if found is None else found.slice(0, len(found))
        return list(map(self._store.decode, values))

    def __len__(self) -> int:
        self._store.check()
        with self._store.lock:
            found = self._value()
            return 0 if found is None else len(found)

    def __iter__(self) -> Iterator[T]:
        return iter(self._all())

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._all())

    def __contains__(self, value: object) -> bool:
        known = self._store.known(value)
        return known is not None and self._store.decode(known) in self._all()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, tuple, SequenceView)):
            return self._all() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like every list

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Where a value first is; raises `ValueError` if it is nowhere. O(n)."""
        known = self._store.known(value)
        values = self._all()
        if known is None:
            raise ValueError(f"{value!r} is not in the sequence")
        return values.index(self._store.decode(known), start, len(values) if stop is None else stop)

    def count(self, value: object) -> int:
        """How often a value is there. O(n)."""
        known = self._store.known(value)
        return 0 if known is None else self._all().count(self._store.decode(known))

    if TYPE_CHECKING:

        @overload
        def __setitem__(self, index: int, value: Given) -> None: ...
        @overload
        def __setitem__(self, index: slice, value: Iterable[Given]) -> None: ...
        def __setitem__(self, index: int | slice, value: Given | Iterable[Given]) -> None: ...
        def __delitem__(self, index: int | slice) -> None: ...
        def insert(self, index: SupportsIndex, value: Given) -> None:
            """See `SequenceBase`."""

        def append(self, value: Given) -> None:
            """See `SequenceBase`."""

    def _slice(self, index: slice) -> list[T]:
        self._store.check()
        with self._store.lock:
            found = self._value()
            start, stop, step = index.indices(0 if found is None else len(found))
            if found is None or step != 1:
                return self._all()[index]
            return list(map(self._store.decode, found.slice(start, max(start, stop))))

    def _assign(self, index: int | slice, value: object) -> None:
        if isinstance(index, slice):
            self._assign_each(index, value)
            return
        store = self._store
        store.check()
        with store.lock:
            found = self._value()
            if found is None:
                raise IndexError("sequence assignment index out of range")
            element, encoded = found.id_at(index), store.encode(value)
            store.write(SequenceAssign(self._key, element, encoded), len(encoded))

    def _assign_each(self, index: slice, given: object) -> None:
        """Assign to a slice with a step: as many values as it has places."""
        values = all_encoded(given, self._store.encoding)
        with self._store.batch():
            places = range(*index.indices(len(self)))
            if len(values) != len(places):
                raise ValueError(f"{len(values)} values for an extended slice of {len(places)}")
            for place, value in zip(places, values, strict=True):
                self[place] = cast("Given", value)

    def _remove_slice(self, index: slice) -> None:
        with self._store.batch():
            places = range(*index.indices(len(self)))
            if places.step == 1:
                self._store.splice(self._key, slice(places.start, places.stop), [])
            else:
                for place in sorted(places, reverse=True):
                    self._store.splice(self._key, slice(place, place + 1), [])

    def extend(self, values: Iterable[Given]) -> None:
        """Insert all at the end, side by side whatever others do. O(n)."""
        self[END] = values

    def pop(self, index: int = -1) -> T:
        """Remove and return an element; raises `IndexError` if it is not there. Two members may pop the same one."""
        self._store.check()
        with self._store.lock:
            value = self[index]
            del self[index]
            return value

    def remove(self, value: Given) -> None:
        """Remove the first element with this value; raises `ValueError` if there is none. O(n)."""
        self._store.check()
        with self._store.lock:
            del self[self.index(value)]

    def reverse(self) -> None:
        """Give each element the value of its mirror image. O(n log n); others see it as n replaced elements."""
        with self._store.batch():
            for at, value in enumerate(reversed(self._all())):
                self[at] = value

    def clear(self) -> None:
        """Remove all elements that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)
