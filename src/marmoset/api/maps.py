"""A map as a `MutableMapping` (floor 10)."""

from collections.abc import Collection, ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Final, TypeVar, cast

from marmoset.api.access import checked_amount, whole_number
from marmoset.api.base import MapBase
from marmoset.api.children import ChildStore
from marmoset.api.filling import COLLECTIONS, Filling
from marmoset.api.sequences import SequenceView
from marmoset.api.sets import SetView
from marmoset.api.store import Given, T
from marmoset.api.takers import Taker
from marmoset.codec.operations import KIND_MAP, MapAssign, MapIncrement, Scalar
from marmoset.commands.database import request_bytes
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.split import PlainMap, SplitMap, SplitSet
from marmoset.crdts.types import Value
from marmoset.errors import UsageError

_D = TypeVar("_D")
set_type = set
"""Python's own, where a method of a view has its name."""

Elements = AbstractSet[Given] | Mapping[Given, "Given | Elements"] | list[Given] | tuple[Given, ...]
"""What may be assigned to a field beside text and numbers."""
_NO_FIELDS: Final[dict[bytes, Scalar]] = {}


class _Items(ItemsView[T, T]):
    """Pairs of a map as they were when iteration began."""

    def __init__(self, view: "MapView[T]") -> None:
        super().__init__(view)
        self._view = view

    def __iter__(self) -> Iterator[tuple[T, T]]:
        return iter(self._view._pairs())


class _Values(ValuesView[T]):
    """Values of a map as they were when iteration began."""

    def __init__(self, view: "MapView[T]") -> None:
        super().__init__(view)
        self._view = view

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._view._pairs())


class MapView(MapBase[T, T], MutableMapping[T, T]):
    """A map of fields to values. Of two values assigned to one field at the same time the later one, by the clock,
    stays; increments add up; an update stays when the field is removed elsewhere at the same time.

    A field may also hold a collection: `set`, `map` and `sequence` give a view of it, as the database does for a key,
    and so does reading the field. Two nodes that begin the same child at the same time have the same child. Assigning
    a Python set, mapping or list replaces what the field holds by its elements.
    """

    _taker: Taker | None = None

    def _value(self) -> "PlainMap | NestedMap":
        found = self._store.value(self._key, KIND_MAP)
        return _NO_FIELDS if found is None else cast("PlainMap | NestedMap", found)

    # Children

    def set(self, field: Given) -> SetView[T]:
        """The set in a field. O(1)."""
        return SetView(self._child(field), b"")

    def map(self, field: Given) -> "MapView[T]":
        """The map in a field. O(1)."""
        return MapView(self._child(field), b"")

    def sequence(self, field: Given) -> SequenceView[T]:
        """The sequence in a field. O(1)."""
        return SequenceView(self._child(field), b"")

    def _child(self, field: Given) -> ChildStore[T]:
        self._store.check()
        return ChildStore(self._store, self._key, self._store.encode(field))

    def _shown(self, field: bytes, value: Value) -> T:
        """A value as a caller gets it: text, or a view of a collection, which is a T as far as types can tell."""
        if isinstance(value, (bytes, int)):
            return self._store.decode(value)
        store = ChildStore(self._store, self._key, field)
        if isinstance(value, (dict, SplitMap, NestedMap)):
            return cast("T", MapView(store, b""))
        if isinstance(value, Sequence):
            return cast("T", SequenceView(store, b""))
        if isinstance(value, (set_type, SplitSet)):
            return cast("T", SetView(store, b""))
        raise UsageError(f"field {field!r} holds a sorted set, which the Python face does not show yet")

    def _pairs(self) -> list[tuple[T, T]]:
        self._store.check()
        with self._store.lock:
            pairs = list(self._value().items())
        decode = self._store.decode
        return [(decode(field), self._shown(field, value)) for field, value in pairs]

    if TYPE_CHECKING:

        def __getitem__(self, key: Given) -> T: ...
        def __setitem__(self, key: Given, value: "Given | Elements") -> None: ...
        def __delitem__(self, key: Given) -> None: ...

    def _collection_in(self, key: object) -> object:
        self._store.check()
        field = self._store.known(key)
        with self._store.lock:
            value = None if field is None else self._value().get(field)
        if value is None:
            raise KeyError(key)
        assert field is not None
        return self._shown(field, value)

    def __iter__(self) -> Iterator[T]:
        self._store.check()
        with self._store.lock:
            fields = list(self._value())
        return map(self._store.decode, fields)

    def items(self) -> ItemsView[T, T]:
        """The pairs; each iteration goes over those of one moment."""
        return _Items(self)

    def values(self) -> ValuesView[T]:
        """The values; each iteration goes over those of one moment."""
        return _Values(self)

    def _assign_other(self, key: object, value: object) -> None:
        if isinstance(value, COLLECTIONS):
            self._assign_collection(key, value)
        else:
            self._store.assign_field(self._key, key, value)

    def _assign_collection(self, key: object, value: object) -> None:
        """Replace what a field holds, at once. A view of this very field is what comes back from `m["tags"] |= {"a"}`:
        it has done it already."""
        child = self._child(cast("Given", key))
        if isinstance(value, (SetView, MapView, SequenceView)):
            if value._store.place(value._key) == child.place(b""):
                len(value)  # it has to be of that kind
                return
            value = _copy(value)
        filling = Filling(self._store.encode)
        filling.add(value, child.depth)
        self._store.check()
        with self._store.lock:
            child.replace(filling.operations, filling.size)

    def update(self, *others: Mapping[str, Given] | Iterable[tuple[Given, Given]], **fields: Given) -> None:  # type: ignore[override]
        """Assign all fields of the others, at once, or none where `dict.update` raises, too. O(n)."""
        pairs: list[tuple[Given, Given]] = []
        for other in others:
            pairs += [(name, value) for name, value in (other.items() if isinstance(other, Mapping) else other)]
        self._assign([*pairs, *fields.items()])

    def _assign(self, pairs: list[tuple[Given, Given]]) -> None:
        self._store.check()
        flat: list[Scalar] = [self._store.encode(part) for name, value in pairs for part in (name, value)]
        if flat:
            with self._store.lock:
                self._value()
                self._store.write(MapAssign(self._key, flat), request_bytes(cast("list[bytes]", flat)))

    def increment(self, key: Given, amount: int = 1) -> int:
        """Add to the number in a field, 0 if it is absent; the sum as this node sees it. O(1).

        Raises:
            UsageError: the field holds something that is not a whole number; nothing was changed.
        """
        whole = checked_amount(amount)
        self._store.check()
        field = self._store.encode(key)
        with self._store.lock:
            held = self._value().get(field)
            if held is not None and not isinstance(held, (bytes, int)):
                raise UsageError(f"{self!r}: field {key!r} holds a collection, which is not a whole number")
            before = whole_number(held, self)
            self._store.write(MapIncrement(self._key, field, whole), len(field))
            return before + whole

    def clear(self) -> None:
        """Remove all fields that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)

    def pop(self, key: Given, *default: _D) -> T | _D:
        """Remove a field and return its value, of a collection a plain copy; without a default, raises `KeyError` if it
        is not there."""
        self._store.check()
        with self._store.lock:
            try:
                value = self[key]
            except KeyError:
                if default:
                    return default[0]
                raise
            value = cast("T", _copy(value))
            del self[key]
            return value

    def popitem(self) -> tuple[T, T]:
        """Remove some field and return it with its value, as `pop` does; raises `KeyError` if there is none. Two
        members may pop the same one."""
        self._store.check()
        with self._store.lock:
            if self._taker is None:
                self._taker = Taker()
            field = self._taker.some(cast("Collection[bytes]", self._value()))
            if field is None:
                raise KeyError("popitem from an empty map")
            name: T = self._store.decode(field)
            return name, self.pop(name)

    def setdefault(self, key: Given, default: "Given | Elements | None" = None) -> T:
        """The value of a field, assigned now if it is not there. Two members may both find it absent. For an empty
        collection nothing is written, and the view of it is returned."""
        self._store.check()
        with self._store.lock:
            if key not in self:
                self[key] = "" if default is None else default
            if isinstance(default, COLLECTIONS) and key not in self:
                kind = self.map if isinstance(default, Mapping) else self.set
                return cast("T", kind(key) if isinstance(default, (Mapping, AbstractSet)) else self.sequence(key))
            return self[key]


def _copy(value: object) -> object:
    """A value as it is in one moment: of a view, a plain collection. O(n)."""
    if not isinstance(value, (SetView, SequenceView, MapView)):
        return value
    value._store.check()
    with value._store.lock:
        if isinstance(value, SetView):
            return set_type(value)
        if isinstance(value, SequenceView):
            return [*value]
        return {field: _copy(inner) for field, inner in value.items()}
