"""Slots: names with values of any kind (floor 3). A shard of the keyspace is one, and so are the fields of a nested
map.

What stands beside what a name shows is of other kinds, where members created one name with different types (the first
kind of the fixed order answers), or remembers removals, a sequence or a map with one inside, and cannot be dropped
before those are stable.

`tracking` says whether operations need window entries: not in a group of one. Costs are those of the types.
"""

from collections.abc import Iterator
from typing import final

from marmoset.clocks import Context, LocalContext
from marmoset.codec.operations import (
    KIND_REGISTER,
    NO_KIND,
    AnyOperation,
    Assign,
    Increment,
    Inside,
    MapAssign,
    MapIncrement,
    MapRemove,
    Reset,
    Scalar,
)
from marmoset.crdts import types
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.chains import OBSERVING
from marmoset.crdts.map import MapWindow
from marmoset.crdts.nested import NestedMap, NestedWindow
from marmoset.crdts.plain_slots import NO_WINDOWS, NOTHING_BESIDE, Holding, PlainSlots
from marmoset.crdts.register import RegisterWindow
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.crdts.sequence_chain import LaidAside
from marmoset.crdts.split import SplitMap
from marmoset.crdts.types import Value, Window, kind_of, kind_of_window, remembers
from marmoset.ids import Dot


@final
class Slots(PlainSlots):
    """Names with their values, windows, and what stands beside them."""

    __slots__ = ()

    # -- effect

    def effect(
        self, name: bytes, operation: AnyOperation, dot: Dot, stamp: int, context: Context, *, tracking: bool
    ) -> None:
        """Apply an operation to what a name holds of the operation's kind."""
        for reading in self.readings:
            reading.before(name, operation)
        if self.insertions and name in self.insertions:
            self._wind_insertions(name)
        kind = operation.kind
        old = value = self.values.get(name)
        if (self.beside and name in self.beside) or (old is not None and kind_of(old) != kind):
            self._effect_beside(name, kind, operation, dot, stamp, context, tracking=tracking)
            return
        window = self.windows.get(name) if self.windows else None
        if value is None and kind != KIND_REGISTER:
            value = types.empty_value(kind)
        if type(operation) is Inside and type(value) is not NestedMap:
            value, window = self._nest(value, window)
        if window is None:
            if tracking:
                window = types.new_window(kind, value)
            before = 0
        else:
            before = window.entries
        self._keep(name, old, types.effect(value, window, operation, dot, stamp, context), window, before)

    # -- resets

    def reset(self, name: bytes, dot: Dot, context: Context, *, tracking: bool) -> None:
        """Reset what a name holds of every kind."""
        for reading in self.readings:
            reading.before(name, None)
        if self.insertions and name in self.insertions:
            self._wind_insertions(name)
        if self.beside and name in self.beside:
            self._reset_all(name, dot, context, None, tracking=tracking)
            return
        value = self.values.get(name)
        if value is not None:
            window = self.windows.get(name)
            before = 0 if window is None else window.entries
            if window is None and tracking and remembers(value):
                window = types.new_window(kind_of(value), value)
            self._keep(name, value, self._reset(value, window, dot, context), window, before)

    def bring_back_flushed(self, name: bytes, dot: Dot, value: Value) -> None:
        """Something comes to a name of which this was laid aside with a whole table: it is reset now. O(runs)."""
        self._show(name, None, value)
        self.reset(name, dot, OBSERVING, tracking=True)

    def _reset(self, value: Value | None, window: Window | None, dot: Dot, context: Context) -> Value | None:
        """What a reset leaves of a value: of a collection that does not remember, another one. Of one whose window it
        has observed as a whole, nothing: O(1)."""
        left: Value | None = None
        if isinstance(window, (RegisterWindow, SetWindow, MapWindow)) and isinstance(context, LocalContext):
            if self.garbage is None:
                window.clear()
            else:
                self.garbage.put_window(window, value)
        else:
            left = types.reset(value, window, dot, context)
        if left is not value:
            self._throw_away(value)
        return left

    def _nest(self, value: Value | None, window: Window | None) -> tuple[Value, Window | None]:
        """The same map, ready for children. O(fields), once for a map."""
        assert isinstance(value, (dict, SplitMap)) and (window is None or isinstance(window, MapWindow))
        slots = Slots(self.split_above, self.garbage)
        slots.values.update(value.items())
        if window is None:
            return NestedMap(slots), None
        slots.windows = {field: inner.copy() for field, inner in window.fields.items()}
        slots.entries = window.entries
        return NestedMap(slots), NestedWindow(slots)

    # -- names that hold more than they show

    def _load(self, name: bytes) -> dict[int, Holding]:
        """Take everything that a name holds out of the tables, by kind."""
        held = self.beside.pop(name, {})
        value = self.values.get(name)
        if value is not None:
            held[kind_of(value)] = Holding(value, self.windows.pop(name, None))
            self._hide(name)
        for holding in held.values():
            if holding.window is not None:
                self.entries -= holding.window.entries
        return held

    def _store(self, name: bytes, held: dict[int, Holding]) -> None:
        """Put back what a name holds: the first visible kind shows, others that still matter stand beside."""
        beside: dict[int, Holding] = {}
        shown = False
        for kind in sorted(held):
            holding = held[kind]
            window = holding.window
            entries = 0 if window is None else window.entries
            self.entries += entries
            if not entries:
                window = holding.window = None
            visible = holding.value is not None and types.is_visible(holding.value)
            if visible and not shown:
                assert holding.value is not None
                shown = True
                self._show(name, None, holding.value)
                if window is not None:
                    self._set_window(name, window)
            elif visible or entries:
                beside[kind] = holding
            elif isinstance(holding.value, Sequence):
                holding.value.let_go()
        if beside:
            self._set_beside(name, beside)

    def _effect_beside(
        self,
        name: bytes,
        kind: int,
        operation: AnyOperation,
        dot: Dot,
        stamp: int,
        context: Context,
        *,
        tracking: bool,
    ) -> None:
        """Effect where the name shows another kind, or holds several."""
        if isinstance(operation, Assign):
            self._reset_all(name, dot, context, kind, tracking=tracking)
        held = self._load(name)
        holding = held.get(kind)
        if holding is None:
            holding = held[kind] = Holding(types.empty_value(kind), None)
        if type(operation) is Inside and type(holding.value) is not NestedMap:
            holding.value, holding.window = self._nest(holding.value, holding.window)
        if holding.window is None and tracking:
            holding.window = types.new_window(kind, holding.value)
        try:
            holding.value = types.effect(holding.value, holding.window, operation, dot, stamp, context)
        finally:  # an operation that breaks a rule takes nothing else along
            self._store(name, held)

    def _reset_all(self, name: bytes, dot: Dot, context: Context, but: int | None, *, tracking: bool) -> None:
        """Reset what a name holds of every kind but one."""
        held = self._load(name)
        for kind in sorted(held):
            if kind != but:
                holding = held[kind]
                if holding.window is None and tracking and remembers(holding.value):
                    holding.window = types.new_window(kind, holding.value)
                holding.value = self._reset(holding.value, holding.window, dot, context)
        self._store(name, held)

    # -- the operations of a map, on the fields of a nested one

    def effect_map(self, operation: AnyOperation, dot: Dot, stamp: int, context: Context, *, tracking: bool) -> None:
        """Apply an operation of the map whose fields these are."""
        if isinstance(operation, Inside):
            field, *rest = operation.path
            inner = Inside(b"", rest, operation.operation) if rest else operation.operation
            self.effect(field, inner, dot, stamp, context, tracking=tracking)
        elif isinstance(operation, MapAssign):
            for field, value in _pairs(operation):
                self.effect(field, Assign(field, value), dot, stamp, context, tracking=tracking)
        elif isinstance(operation, MapIncrement):
            increment = Increment(operation.field, operation.amount)
            self.effect(operation.field, increment, dot, stamp, context, tracking=tracking)
        else:
            assert isinstance(operation, MapRemove)
            for field in operation.fields:
                self.reset(field, dot, context, tracking=tracking)

    def reset_map(self, dot: Dot, context: Context, *, tracking: bool) -> None:
        """Reset every field: what the context has not observed inside stays. O(fields)."""
        for field in sorted({*self.values, *self.beside}):
            self.reset(field, dot, context, tracking=tracking)

    def fold_map(self, operation: AnyOperation, dot: Dot) -> None:
        """Forget an operation of the map whose fields these are."""
        if isinstance(operation, Inside):
            field, *rest = operation.path
            self.fold(field, Inside(b"", rest, operation.operation) if rest else operation.operation, dot)
        elif isinstance(operation, MapAssign):
            for field, value in _pairs(operation):
                self.fold(field, Assign(field, value), dot)
        elif isinstance(operation, MapIncrement):
            self.fold(operation.field, Increment(operation.field, operation.amount), dot)
        elif isinstance(operation, MapRemove):
            for field in operation.fields:
                self.fold(field, Reset(field), dot)

    def fold_reset_map(self, dot: Dot) -> None:
        """Forget a reset of the map whose fields these are. O(fields that are not stable)."""
        for field in sorted({*self.windows, *self.beside}):
            self.fold(field, Reset(field), dot)

    # -- fold

    def fold(self, name: bytes, operation: AnyOperation, dot: Dot) -> None:
        """Forget an operation on what a name holds; nothing visible changes. O(what it touched)."""
        for reading in self.readings:
            reading.before(name, operation)
        window = self.windows.get(name)
        if window is not None:
            before = window.entries
            value = self.values.get(name) if isinstance(window, SequenceWindow) else None  # no other one looks at it
            _fold_window(value, window, operation, dot)
            entries = window.entries
            self.entries += entries - before
            if not entries:
                self._drop_window(name)
        held = self.beside.get(name)
        if held is not None:
            self._fold_beside(name, held, operation, dot)
        if self.laid and name in self.laid:
            self._fold_laid(name, self.laid[name], operation, dot)

    def _fold_laid(self, name: bytes, laid: LaidAside, operation: AnyOperation, dot: Dot) -> None:
        window = laid.window
        if dot == laid.dot:  # all that it has observed is folded
            self._throw_away(self.laid.pop(name).sequence)
        elif window is not None:
            before = window.entries
            _fold_window(laid.sequence, window, operation, dot)
            self.entries += window.entries - before

    def _fold_beside(self, name: bytes, held: dict[int, Holding], operation: AnyOperation, dot: Dot) -> None:
        for kind in sorted(held):
            holding = held[kind]
            window = holding.window
            if window is None:
                continue
            before = window.entries
            _fold_window(holding.value, window, operation, dot)
            self.entries += window.entries - before
            if not window.entries:
                holding.window = None
                if holding.value is None or not types.is_visible(holding.value):
                    del held[kind]
                    if isinstance(holding.value, Sequence):
                        holding.value.let_go()
        if not held:
            del self.beside[name]

    # -- everything

    def flushed_singly(self, is_observed: bool) -> list[bytes]:
        """The names that a FLUSHALL has to reset one by one, in order: all that have something unstable. If it has
        observed that, only those where a removal of it is remembered or which hold more than they show. O(windows)."""
        if not (self.windows or self.beside or self.insertions):
            return []
        names = {*self.beside, *self.insertions}
        if not is_observed:
            names.update(self.windows)
        elif self.remembering:
            windows = self.windows.items()
            names.update([name for name, window in windows if isinstance(window, (SequenceWindow, NestedWindow))])
        return sorted(names)

    def drop_windows(self, names: list[bytes]) -> None:
        """Forget what is not stable of what was shown, but for some names: a FLUSHALL that has observed it has removed
        that. O(names + beside + laid aside)."""
        dropped = self.windows
        if not dropped:
            return
        left = {name: dropped.pop(name) for name in names if name in dropped}
        self.windows = left or NO_WINDOWS
        if self.garbage is not None:
            self.garbage.put_table(dropped)
        windows = [*left.values(), *(laid.window for laid in self.laid.values())]
        windows += [holding.window for held in self.beside.values() for holding in held.values()]
        self.entries = sum([window.entries for window in windows if window is not None])

    def holdings(self) -> Iterator[tuple[bytes, int, Value, Window | None]]:
        """All that the names hold, shown or not, in the order of names and kinds. O(n log n)."""
        for name in sorted({*self.values, *self.beside}):
            for kind, value, window in self.holdings_of(name):
                yield name, kind, value, window

    def holdings_of(self, name: bytes) -> Iterator[tuple[int, Value, Window | None]]:
        """All that a name holds, shown or not, in the order of kinds. O(kinds)."""
        value = self.values.get(name)
        if value is not None:
            yield kind_of(value), value, self.windows.get(name)
        if self.beside and name in self.beside:
            for kind, holding in sorted(self.beside[name].items()):
                if holding.value is not None:
                    yield kind, holding.value, holding.window

    def take(self, name: bytes, kind: int) -> Holding:
        """Take out what a name holds of one kind, to be put back by `put`. O(1)."""
        held = self._load(name)
        holding = held.pop(kind, Holding(None, None))
        self._store(name, held)
        return holding

    def put(self, name: bytes, kind: int, value: Value, window: Window | None) -> None:
        """Put in something that a name held elsewhere. O(1)."""
        held = self._load(name)
        held[kind] = Holding(value, window)
        self._store(name, held)

    def replace(self, values: dict[bytes, Value]) -> dict[bytes, Value]:
        """Show other values instead, and give back the table of the old ones. O(values)."""
        for reading in self.readings:
            reading.before_all()
        old, self.values = self.values, values
        self.remembering = sum(remembers(value) for value in values.values())
        return old

    @property
    def is_untouched(self) -> bool:
        """Whether nothing is here at all, as in most shards of a small keyspace, and nobody reads. O(1)."""
        kept = self.values or self.beside or self.windows or self.entries or self.remembering
        return not (kept or self.laid or self.flushed or self.unwound or self.insertions or self.readings)

    def _check(self) -> None:
        """Every invariant of the slots and of all that they hold. O(n)."""
        entries = 0
        assert not NO_WINDOWS and not NOTHING_BESIDE, "what all slots share was changed"
        assert self.remembering == sum(remembers(value) for value in self.values.values())
        for name, value in self.values.items():
            assert types.is_visible(value), "an empty value is visible"
            types.check_value(value, self.windows.get(name))
        for name, window in self.windows.items():
            assert name in self.values, "a window beside nothing"
            assert window.entries, "a window without entries is kept"
            assert kind_of_window(window) == kind_of(self.values[name])
            entries += window.entries
        for name, made in self.insertions.items():
            sequence = self.values.get(name)
            assert isinstance(sequence, Sequence) and name not in self.windows and name not in self.beside
            there = [sequence.index_of(dot) for piece in made.made for dot in (piece.dot, piece.last())]
            assert None not in there, "what was inserted is gone"
        for name, laid in self.laid.items():
            assert name not in self.values and name not in self.beside and name not in self.windows
            assert len(laid.sequence), "nothing is laid aside"
            types.check_value(laid.sequence, laid.window)
            entries += 0 if laid.window is None else laid.window.entries
        for name, held in self.beside.items():
            assert held, "nothing is kept beside a name"
            shown = self.values.get(name)
            for kind, holding in held.items():
                visible = holding.value is not None and types.is_visible(holding.value)
                assert visible or holding.window is not None, "residue beside a name"
                right = shown is not None and kind_of(shown) < kind
                assert not visible or right, "the wrong kind answers"
                types.check_value(holding.value, holding.window)
                entries += 0 if holding.window is None else holding.window.entries
        assert entries == self.entries, f"{self.entries} window entries are counted, {entries} are there"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing but plain values is kept, apart from conflicts that members made. O(beside)."""
        return (
            not self.entries
            and not self.windows
            and not (self.laid or self.flushed)
            and all(holding.window is None for held in self.beside.values() for holding in held.values())
        )


def _pairs(operation: MapAssign) -> Iterator[tuple[bytes, Scalar]]:
    pairs = operation.pairs
    for at in range(0, len(pairs), 2):
        field = pairs[at]
        assert isinstance(field, bytes)
        yield field, pairs[at + 1]


def _fold_window(value: Value | None, window: Window, operation: AnyOperation, dot: Dot) -> None:
    kind, done = kind_of_window(window), operation.kind
    if done == kind:
        types.fold(value, window, operation, dot)
    elif done == NO_KIND or isinstance(operation, Assign):  # which resets every other kind
        types.fold_reset(value, window, dot)


def removals(window: Window | None) -> Iterator[Dot]:
    """The dots of the removals that a window remembers, at any depth. O(what is not stable)."""
    if isinstance(window, SequenceWindow):
        yield from sorted(window.removals)
    elif isinstance(window, NestedWindow):
        for inner in [*window.slots.windows.values()]:
            yield from removals(inner)
        for held in window.slots.beside.values():
            for holding in held.values():
                yield from removals(holding.window)
