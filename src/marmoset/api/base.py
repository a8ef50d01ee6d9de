"""What all views of the Python face have in common, and what programs call most of each (floor 10).

A view holds nothing but a store and a key: it may be made for a key that is not there yet, and many views of one key
are the same value. Every method looks, decides and writes under the lock. Iteration goes over what was there when it
began. A collection that gets empty is a key that is gone. Every removal removes only what this node had seen.

Where this module is compiled, Python calls the methods here without a frame of the interpreter, by the slots of the
type where there are some (`in`, `len`, reading and assigning an item). The views inherit from them, say to type
checkers what may be given, and have all the others.
"""

from operator import index as whole
from typing import Any, Generic, SupportsIndex, TypeVar, cast, overload

from marmoset.api.access import checked_amount
from marmoset.api.store import Store, T
from marmoset.build import mypyc_attr
from marmoset.codec.operations import KIND_MAP, KIND_SEQUENCE, KIND_SET

V = TypeVar("V")
"""What a field shows, text or a view of a collection; T as far as the types of a view can tell."""


@mypyc_attr(allow_interpreted_subclasses=True)
class View(Generic[T]):
    """A key of a store."""

    def __init__(self, store: Store[T], key: bytes) -> None:
        self._store: Store[T] = store
        self._key = key

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._key!r}>"

    def delete(self) -> bool:
        """Remove the key; whether it was there. What others write at the same time stays."""
        self._store.check()
        with self._store.lock:
            return self._store.reset(self._key)


@mypyc_attr(allow_interpreted_subclasses=True)
class SetBase(View[T]):
    """What is called most of a set."""

    def __contains__(self, value: object) -> bool:
        return self._store.contains(self._key, KIND_SET, value)

    def __len__(self) -> int:
        return self._store.length(self._key, KIND_SET)

    def add(self, value: Any) -> None:
        """Add an element. One that is there already is added again, so that a removal elsewhere does not win. O(1)."""
        self._store.add(self._key, value)

    def discard(self, value: Any) -> None:
        """Remove an element if it is there. O(1)."""
        self._store.discard(self._key, value)

    def remove(self, value: Any) -> None:
        """Remove an element; raises `KeyError` if it is not there. O(1)."""
        if not self._store.discard(self._key, value):
            raise KeyError(value)


@mypyc_attr(allow_interpreted_subclasses=True)
class MapBase(View[T], Generic[T, V]):
    """What is called most of a map."""

    def __getitem__(self, key: Any) -> V:
        text = self._store.text_in(self._key, key)
        return cast("V", self._collection_in(key) if text is None else text)

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (str, bytes, int)):
            self._store.assign_field(self._key, key, value)
        else:
            self._assign_other(key, value)

    def __delitem__(self, key: Any) -> None:
        if not self._store.remove_field(self._key, key):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return self._store.contains(self._key, KIND_MAP, key)

    def __len__(self) -> int:
        return self._store.length(self._key, KIND_MAP)

    def _collection_in(self, key: object) -> object:
        """What is in a field that holds no text; raises `KeyError`."""
        raise NotImplementedError

    def _assign_other(self, key: object, value: object) -> None:
        """Assign what is no text."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class CounterBase(View[T]):
    """What is called most of a counter."""

    def increment(self, amount: int = 1) -> int:
        """Add; the sum as this node sees it. O(1).

        Raises:
            UsageError: the key holds something that is not a whole number; nothing was changed.
        """
        return self._store.increment(self._key, checked_amount(amount), self)


@mypyc_attr(allow_interpreted_subclasses=True)
class SequenceBase(View[T]):
    """What is called most of a sequence."""

    def __len__(self) -> int:
        return self._store.length(self._key, KIND_SEQUENCE)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: Any) -> T | list[T]:
        if isinstance(index, slice):
            return self._slice(index)
        return self._store.item(self._key, index if isinstance(index, int) else whole(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Replace an element in its place, or a stretch of elements by others."""
        if isinstance(index, slice) and (index.step is None or index.step == 1):
            self._store.assign_slice(self._key, index, value)
        else:
            self._assign(index, value)

    def __delitem__(self, index: Any) -> None:
        if isinstance(index, slice):
            self._remove_slice(index)
        else:
            self._store.remove_at(self._key, index if isinstance(index, int) else whole(index))

    def insert(self, index: SupportsIndex, value: Any) -> None:
        """Insert before an index, as `list.insert` does. O(log n)."""
        place = whole(index)
        self._store.assign_slice(self._key, slice(place, place), (value,))

    def append(self, value: Any) -> None:
        """Insert at the end. O(log n)."""
        self._store.append(self._key, value)

    def _slice(self, index: slice) -> list[T]:
        """The elements of a slice."""
        raise NotImplementedError

    def _assign(self, index: Any, value: Any) -> None:
        """Replace one element, or those of a slice with a step."""
        raise NotImplementedError

    def _remove_slice(self, index: slice) -> None:
        """Remove the elements of a slice."""
        raise NotImplementedError
