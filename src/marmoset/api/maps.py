"""A map as a `MutableMapping` (floor 10)."""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Final, TypeVar, cast

from marmoset.api.base import View, whole_number
from marmoset.api.store import Given, T
from marmoset.codec.operations import KIND_MAP, MapAssign, MapIncrement, MapRemove, Scalar
from marmoset.crdts.split import PlainMap

_D = TypeVar("_D")
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


class MapView(View[T], MutableMapping[T, T]):
    """A map of fields to values. Of two values assigned to one field at the same time the later one, by the clock,
    stays; increments add up; an update stays when the field is removed elsewhere at the same time.
    """

    def _value(self) -> PlainMap:
        found = self._store.value(self._key, KIND_MAP)
        return _NO_FIELDS if found is None else cast("PlainMap", found)

    def _pairs(self) -> list[tuple[T, T]]:
        self._store.check()
        with self._store.lock:
            pairs = list(self._value().items())
        decode = self._store.decode
        return [(decode(field), decode(value)) for field, value in pairs]

    def __getitem__(self, key: Given) -> T:
        self._store.check()
        field = self._known(key)
        with self._store.lock:
            value = None if field is None else self._value().get(field)
        if value is None:
            raise KeyError(key)
        return self._store.decode(value)

    def __contains__(self, key: object) -> bool:
        self._store.check()
        field = self._known(key)
        with self._store.lock:
            return field is not None and field in self._value()

    def __iter__(self) -> Iterator[T]:
        self._store.check()
        with self._store.lock:
            fields = list(self._value())
        return map(self._store.decode, fields)

    def __len__(self) -> int:
        self._store.check()
        with self._store.lock:
            return len(self._value())

    def items(self) -> ItemsView[T, T]:
        """The pairs; each iteration goes over those of one moment."""
        return _Items(self)

    def values(self) -> ValuesView[T]:
        """The values; each iteration goes over those of one moment."""
        return _Values(self)

    def __setitem__(self, key: Given, value: Given) -> None:
        self._assign([(key, value)])

    def update(self, *others: Mapping[str, Given] | Iterable[tuple[Given, Given]], **fields: Given) -> None:  # type: ignore[override]
        """Assign all fields of the others, at once. O(n)."""
        pairs: list[tuple[Given, Given]] = []
        for other in others:
            pairs += other.items() if isinstance(other, Mapping) else other
        self._assign([*pairs, *fields.items()])

    def _assign(self, pairs: list[tuple[Given, Given]]) -> None:
        self._store.check()
        flat: list[Scalar] = [self._store.encode(part) for pair in pairs for part in pair]
        if flat:
            with self._store.lock:
                self._value()
                self._store.write(MapAssign(self._key, flat), sum(len(cast("bytes", part)) for part in flat))

    def __delitem__(self, key: Given) -> None:
        self._store.check()
        field = self._known(key)
        with self._store.lock:
            if field is None or field not in self._value():
                raise KeyError(key)
            self._store.write(MapRemove(self._key, [field]), len(field))

    def increment(self, key: Given, amount: int = 1) -> int:
        """Add to the number in a field, 0 if it is absent; the sum as this node sees it. O(1).

        Raises:
            UsageError: the field holds something that is not a whole number; nothing was changed.
        """
        self._store.check()
        field = self._store.encode(key)
        with self._store.lock:
            before = whole_number(self._value().get(field), self)
            self._store.write(MapIncrement(self._key, field, amount), len(field))
            return before + amount

    def clear(self) -> None:
        """Remove all fields that are there. O(1) for the caller."""
        self._store.check()
        with self._store.lock:
            self._value()
            self._store.reset(self._key)

    def pop(self, key: Given, *default: _D) -> T | _D:
        """Remove a field and return its value; without a default, raises `KeyError` if it is not there."""
        self._store.check()
        with self._store.lock:
            try:
                value = self[key]
            except KeyError:
                if default:
                    return default[0]
                raise
            del self[key]
            return value

    def setdefault(self, key: Given, default: Given | None = None) -> T:
        """The value of a field, assigned now if it is not there. Two members may both find it absent."""
        self._store.check()
        with self._store.lock:
            if key not in self:
                self[key] = "" if default is None else default
            return self[key]
