"""The children of a map, as a store for the views of them (floor 10).

A view reads and writes through its store by a key. The store of a child finds the value in a field of the map that it
stands in, and puts each operation inside that map, so the same views serve at every depth.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from marmoset.api.access import splicing
from marmoset.api.store import Store, T
from marmoset.codec.operations import (
    KIND_MAP,
    NESTING_MAX,
    AnyOperation,
    ChildOperation,
    Inside,
    MapAssign,
    MapRemove,
    SetAdd,
)
from marmoset.commands.database import request_bytes
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import SplitMap
from marmoset.crdts.types import KIND_NAMES, Value, kind_of
from marmoset.errors import UsageError, WrongTypeError


@final
class ChildStore(Store[T]):
    """One field of a map. The key that a view gives says nothing here."""

    def __init__(self, outer: Store[T], key: bytes, field: bytes) -> None:
        self.encoding = outer.encoding
        self._begin(outer.lock)
        self.depth: int = outer.depth + 1 if isinstance(outer, ChildStore) else 1
        if self.depth > NESTING_MAX:
            raise UsageError(f"maps nest at most {NESTING_MAX} deep")
        self._outer = outer
        self._key = key
        self._field = field

    def check(self) -> None:
        """Raise `UsageError` if nothing can be done any more."""
        self._outer.check()

    def place(self, key: bytes) -> tuple[object, ...]:
        """Where the field is; see `Store.place`."""
        return (*self._outer.place(self._key), self._field)

    def _parent(self) -> Value | None:
        return self._outer.value(self._key, KIND_MAP)

    def value(self, key: bytes, wanted: int) -> Value | None:
        """The plain value of the field, None if absent; raises `WrongTypeError` if it is of another kind. O(depth)."""
        parent = self._parent()
        if parent is None:
            return None
        assert isinstance(parent, (dict, SplitMap, NestedMap))
        found = parent.get(self._field)
        if found is not None and kind_of(found) != wanted:
            raise WrongTypeError(
                f"field {self._field!r} holds a {KIND_NAMES[kind_of(found)]}, not a {KIND_NAMES[wanted]}"
            )
        return found

    def write(self, operation: AnyOperation, size: int) -> None:
        """Apply an operation inside the map; see `Store.write`."""
        self._outer.write(self._inside(operation), size + request_bytes([self._field]))

    def write_all(self, operations: list[AnyOperation], size: int) -> None:
        """Apply operations inside the map; see `Store.write_all`."""
        inside: list[AnyOperation] = [self._inside(operation) for operation in operations]
        self._outer.write_all(inside, size + request_bytes([self._field] * len(inside)))

    def _put_element(self, key: bytes, element: bytes) -> None:
        self.write(SetAdd(b"", [element]), len(element))

    def _put_field(self, key: bytes, field: bytes, value: bytes) -> None:
        self.write(MapAssign(b"", [field, value]), len(field) + len(value))

    def _put_last(self, key: bytes, value: bytes) -> None:
        found = self.sequence(key)
        length = 0 if found is None else len(found)
        self._splice(b"", found, length, length, [value])

    def _splice(self, key: bytes, found: Sequence | None, start: int, stop: int, values: list[bytes]) -> None:
        if values or start < stop:
            self.write_all(*splicing(b"", found, start, stop, values))

    def _inside(self, operation: AnyOperation) -> Inside:
        if isinstance(operation, Inside):
            return Inside(self._key, [self._field, *operation.path], operation.operation)
        assert isinstance(operation, ChildOperation)
        return Inside(self._key, [self._field], operation)

    def reset(self, key: bytes) -> bool:
        """Remove the field; whether it was there."""
        parent = self._parent()
        if parent is None:
            return False
        assert isinstance(parent, (dict, SplitMap, NestedMap))
        if self._field not in parent:
            return False
        self._outer.write(MapRemove(self._key, [self._field]), len(self._field))
        return True

    def replace(self, operations: list[AnyOperation], size: int) -> None:
        """Have the field hold what operations on an empty child make, `size` bytes in all, and nothing else of what is
        observed; all of it or, where that is refused, nothing. Raises as `Store.write_all`."""
        parent = self._parent()
        inside: list[AnyOperation] = [self._inside(operation) for operation in operations]
        size += request_bytes([self._field] * len(inside))
        if parent is not None:
            assert isinstance(parent, (dict, SplitMap, NestedMap))
            if self._field in parent:
                inside.insert(0, MapRemove(self._key, [self._field]))
                size += request_bytes([self._field])
        if inside:
            self._outer.write_all(inside, size)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """As `Store.batch`."""
        with self._outer.batch():
            yield
