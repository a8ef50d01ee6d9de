"""The map, and the sorted set: fields that are registers + counters (floor 3).

A field is present while its content is not empty. Removing a field resets what the remover had observed inside;
concurrent updates inside survive. The plain value is a dict (or a `SplitMap`, or for members with scores a
`SortedSet`) from field to plain value; the window has a `RegisterWindow` for each field with unstable operations.

Cost: O(1) for each field named, besides what the register costs.
"""

from decimal import Decimal
from typing import final

from marmoset.clocks import Context
from marmoset.codec.operations import Scalar
from marmoset.crdts.register import RegisterWindow, incremented
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import PlainMap
from marmoset.ids import Dot

Fields = PlainMap | SortedSet
"""What has fields with registers in them: a map, or a sorted set with members and scores."""


class MapWindow:
    """The unstable operations inside one map, by field."""

    __slots__ = ("entries", "fields")

    def __init__(self) -> None:
        self.fields: dict[bytes, RegisterWindow] = {}
        self.entries = 0
        """How many operations inside are not yet stable."""

    def _window(self, value: Fields, field: bytes) -> RegisterWindow:
        window = self.fields.get(field)
        if window is None:
            window = self.fields[field] = RegisterWindow(value.get(field))
        return window

    def assign(self, value: Fields, pairs: list[Scalar], dot: Dot, stamp: int, context: Context) -> None:
        """Effect of an assignment to fields. O(pairs)."""
        for at in range(0, len(pairs), 2):
            field = pairs[at]
            assert isinstance(field, bytes)
            window = self._window(value, field)
            before = window.entries
            window.assign(dot, stamp, context, pairs[at + 1])
            self.entries += window.entries - before
            visible = window.value()
            assert visible is not None
            value[field] = visible

    def increment(self, value: Fields, field: bytes, amount: int | Decimal, dot: Dot) -> None:
        """Effect of an increment in a field. O(1)."""
        window = self._window(value, field)
        window.increment(dot, amount)
        self.entries += 1
        visible = window.value()
        assert visible is not None
        value[field] = visible

    def remove(self, value: Fields, fields: list[bytes], context: Context) -> None:
        """Effect of a removal of fields: what it has not observed inside stays. O(fields)."""
        for field in fields:
            window = self.fields.get(field)
            visible: Scalar | None = None
            if window is not None:
                before = window.entries
                window.reset(context)
                self.entries += window.entries - before
                visible = window.value()
                if not window.entries:
                    del self.fields[field]
            if visible is None:
                value.pop(field, None)
            else:
                value[field] = visible

    def reset(self, context: Context) -> dict[bytes, Scalar]:
        """Effect of a reset of the whole map: what is left of it. What stood before is not changed, since somebody may
        be reading it (`crdts.reading`). O(entries of the window)."""
        kept: dict[bytes, Scalar] = {}
        fields: dict[bytes, RegisterWindow] = {}
        self.entries = 0
        for field, before in self.fields.items():
            window = before.copy()
            window.reset(context)
            visible = window.value()
            if visible is not None:
                kept[field] = visible
                fields[field] = window
                self.entries += window.entries
        self.fields = fields
        return kept

    def clear(self) -> dict[bytes, RegisterWindow]:
        """Forget everything, as a reset does that has observed it; what it was kept in, for whoever frees it. O(1)."""
        fields, self.fields, self.entries = self.fields, {}, 0
        return fields

    def fold_assign(self, pairs: list[Scalar], dot: Dot) -> None:
        """Forget an assignment that is stable. O(pairs)."""
        for field in pairs[::2]:
            assert isinstance(field, bytes)
            window = self.fields.get(field)
            if window is not None:
                before = window.entries
                window.fold_assign(dot)
                self._folded(field, window, before)

    def fold_increment(self, field: bytes, dot: Dot) -> None:
        """Forget an increment that is stable. O(1)."""
        window = self.fields.get(field)
        if window is not None:
            before = window.entries
            window.fold_increment(dot)
            self._folded(field, window, before)

    def _folded(self, field: bytes, window: RegisterWindow, before: int) -> None:
        self.entries += window.entries - before
        if not window.entries:
            del self.fields[field]

    def _check(self, value: Fields) -> None:
        assert self.fields, "a window without entries is kept"
        assert self.entries == sum(window.entries for window in self.fields.values())
        for field, window in self.fields.items():
            window._check()
            assert value.get(field) == window.value(), "a field does not show its window's value"


@final
class SortedSetWindow(MapWindow):
    """The unstable operations on the scores of one sorted set, by member."""

    __slots__ = ()


def assign_plain(value: Fields, pairs: list[Scalar]) -> None:
    """Assign fields where no window is needed. O(pairs)."""
    for at in range(0, len(pairs), 2):
        field = pairs[at]
        assert isinstance(field, bytes)
        if isinstance(value, dict):  # told apart for the compiler, which calls what it knows directly
            value[field] = pairs[at + 1]
        else:
            value[field] = pairs[at + 1]


def increment_plain(value: Fields, field: bytes, amount: int | Decimal) -> None:
    """Increment a field where no window is needed. O(1)."""
    value[field] = incremented(value.get(field), amount)
