"""A sequence as a `MutableSequence` (floor 10)."""

import sys
from collections.abc import Iterable, Iterator, MutableSequence
from operator import index as whole
from typing import TYPE_CHECKING, Final, SupportsIndex, overload

from marmoset.api.access import all_encoded
from marmoset.api.base import SequenceBase
from marmoset.api.store import Given, T
from marmoset.codec.operations import AnyOperation, SequenceAssign, SequenceRemove
from marmoset.commands.database import PER_RANGE_BYTES
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

    def _assign(self, index: SupportsIndex | slice, value: object) -> None:
        store = self._store
        if isinstance(index, slice):
            values = all_encoded(value, store.encoding)
            store.check()
            with store.lock:
                places = range(*index.indices(len(self)))
                if len(values) != len(places):
                    raise ValueError(f"{len(values)} values for an extended slice of {len(places)}")
                self._assign_each(places, values)
            return
        at = whole(index)
        store.check()
        with store.lock:
            found = self._value()
            if found is None:
                raise IndexError("sequence assignment index out of range")
            element, encoded = found.id_at(at), store.encode(value)
            store.write(SequenceAssign(self._key, element, encoded), len(encoded))

    def _assign_each(self, places: range, values: list[bytes]) -> None:
        """Give the elements at some places their values, all of them or none; under the lock. O(values * log n)."""
        found = self._value()
        if found is not None:
            element, key = found.id_at, self._key
            pairs = zip(places, values, strict=True)
            operations: list[AnyOperation] = [SequenceAssign(key, element(place), value) for place, value in pairs]
            self._store.write_all(operations, sum(map(len, values)))

    def _remove_slice(self, index: slice) -> None:
        store = self._store
        store.check()
        with store.lock:
            found = self._value()
            places = range(*index.indices(0 if found is None else len(found)))
            if places.step == 1:
                store.splice(self._key, slice(places.start, places.stop), [])
            elif found is not None and places:
                ranges = [found.ranges(place, place + 1)[0] for place in sorted(places)]
                store.write_all([SequenceRemove(self._key, ranges)], PER_RANGE_BYTES * len(ranges))

    def extend(self, values: Iterable[Given]) -> None:
        """Insert all at the end, side by side whatever others do. O(n)."""
        self[END] = values

    def pop(self, index: SupportsIndex = -1) -> T:
        """Remove and return an element; raises `IndexError` if it is not there. Two members may pop the same one."""
        at = whole(index)
        self._store.check()
        with self._store.lock:
            value = self[at]
            del self[at]
            return value

    def remove(self, value: Given) -> None:
        """Remove the first element with this value; raises `ValueError` if there is none. O(n)."""
        self._store.check()
        with self._store.lock:
            del self[self.index(value)]

    def reverse(self) -> None:
        """Give each element the value of its mirror image, all at once or, where that is more than a batch takes, none.
        O(n log n); others see it as n replaced elements."""
        self._store.check()
        with self._store.lock:
            found = self._value()
            values = [] if found is None else list(map(self._store.encode, found.slice(0, len(found))))
            values.reverse()
            if values:
                self._assign_each(range(len(values)), values)

    def clear(self) -> None:
        """Remove all elements that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)
