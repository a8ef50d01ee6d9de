"""Values and windows as a snapshot carries them (floor 3).

One structure for each kind. Elements and fields are sorted, so equal content gives equal bytes; whole numbers beyond 64
bits and decimals travel as text. A large collection may come in several entries of one key, each with its own elements
and its own part of the window (`crdts.reading` makes those). So may one of few elements that are long: a message takes
about what a batch takes, and a collection is filled by many. Importing checks what msgspec's types cannot and raises
`PeerError`.
"""

from collections.abc import Collection
from decimal import Decimal
from itertools import chain
from typing import Annotated, Any, Final, final

import msgspec

from marmoset.codec.operations import (
    INT_MAX,
    INT_MIN,
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    KIND_SORTED_SET,
    NESTING_MAX,
    Scalar,
)
from marmoset.codec.wire import Id, Milliseconds, WireDot
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.deadline import Deadline, DeadlineWindow
from marmoset.crdts.map import Fields, MapWindow, SortedSetWindow
from marmoset.crdts.nested import NestedMap, NestedWindow
from marmoset.crdts.register import RegisterWindow, number_text, parse_decimal, plain_number
from marmoset.crdts.sequence import SequenceWindow, export_state
from marmoset.crdts.sequence_state import SequenceLoading
from marmoset.crdts.slots import Slots
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window, split_large
from marmoset.errors import PeerError

KIND_DEADLINE: Final = 5
KIND_NESTED_MAP: Final = 6
PIECE_ELEMENTS: Final = 4096
BYTES_PER_ELEMENT: Final = 256
"""So many bytes of elements weigh as much as another element."""
MEMBER_WEIGHT: Final = 2
"""A member of a sorted set weighs as much as so many other elements: who takes it finds its place in the order."""


Stamp = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
WireScalar = bytes | int | tuple[str]
"""A plain value; a whole number beyond 64 bits is its text, in a tuple that tells it from bytes."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What all entries have in common: nothing but the way they are written."""


class RegisterState(Entry, frozen=True):
    """The window of a register."""

    base: WireScalar | None
    total: int | str
    counted: bool
    assignments: list[tuple[WireDot, Stamp, Scalar]]
    increments: list[tuple[WireDot, int | str]]


class RegisterEntry(Entry, tag=KIND_REGISTER, frozen=True):
    """A register."""

    key: bytes
    value: WireScalar
    window: RegisterState | None


class SetEntry(Entry, tag=KIND_SET, frozen=True):
    """A set, or some of its elements."""

    key: bytes
    elements: list[bytes]
    adds: list[tuple[bytes, Annotated[list[WireDot], msgspec.Meta(min_length=1)]]]


class MapEntry(Entry, tag=KIND_MAP, frozen=True):
    """A map, or some of its fields."""

    key: bytes
    items: list[tuple[bytes, WireScalar]]
    fields: list[tuple[bytes, RegisterState]]


class SortedSetEntry(Entry, tag=KIND_SORTED_SET, frozen=True):
    """A sorted set, or some of its members."""

    key: bytes
    items: list[tuple[bytes, WireScalar]]
    fields: list[tuple[bytes, RegisterState]]


class DeadlineEntry(Entry, tag=KIND_DEADLINE, frozen=True):
    """The deadline of a key, and those that are not stable."""

    key: bytes
    deadline: tuple[Milliseconds, Id] | None
    window: list[tuple[WireDot, Milliseconds]]


class NestedMapEntry(Entry, tag=KIND_NESTED_MAP, frozen=True):
    """A map that nests, or a part: an entry for everything that its fields hold, the key of each being the field."""

    key: bytes
    children: Annotated[list["ValueEntry"], msgspec.Meta(min_length=1)]


class SequenceEntry(Entry, tag=KIND_SEQUENCE, frozen=True):
    """A sequence with everything that it remembers, or a part; its state is checked by the type. `ends` with this."""

    key: bytes
    state: Any
    ends: bool


ValueEntry = RegisterEntry | SetEntry | MapEntry | SortedSetEntry | SequenceEntry | NestedMapEntry
AnyEntry = ValueEntry | DeadlineEntry

_decoder: Final = msgspec.msgpack.Decoder(list[AnyEntry])


def wire_scalar(value: Scalar) -> WireScalar:
    """A plain value as it is written. O(1)."""
    return (str(value),) if isinstance(value, int) and not INT_MIN <= value <= INT_MAX else value


def _wire_number(number: int | Decimal) -> int | str:
    plain = plain_number(number)  # a whole sum of decimals is written as one of integers
    if isinstance(plain, int) and INT_MIN <= plain <= INT_MAX:
        return plain
    return number_text(number).decode("ascii")


def _number(number: int | str) -> int | Decimal:
    if isinstance(number, int):
        return number
    parsed = parse_decimal(number.encode("utf-8", "replace"))
    if parsed is None:
        raise PeerError(f"a number that is none: {number[:40]!r}")
    return int(parsed) if parsed == parsed.to_integral_value() else parsed


def _scalar(value: WireScalar) -> Scalar:
    return plain_number(_number(value[0])) if isinstance(value, tuple) else value


def export_register(window: RegisterWindow) -> RegisterState:
    """The window of a register. O(entries)."""
    return RegisterState(
        None if window.base is None else wire_scalar(window.base),
        _wire_number(window.total),
        window.counted,
        [(dot, stamp, value) for dot, (stamp, value) in sorted(window.assignments.items())],
        [(dot, _wire_number(amount)) for dot, amount in sorted(window.increments.items())],
    )


def _import_register(state: RegisterState) -> RegisterWindow:
    window = RegisterWindow(None if state.base is None else _scalar(state.base))
    window.total = _number(state.total)
    window.counted = state.counted
    window.assignments = {dot: (stamp, value) for dot, stamp, value in state.assignments}
    window.increments = {dot: _number(amount) for dot, amount in state.increments}
    if not window.entries or (window.increments and not window.counted):
        raise PeerError("the window of a register that nothing stands in")
    return window


def export_value(key: bytes, value: Value, window: Window | None) -> list[ValueEntry]:
    """The entries for one value of a key. O(n log n)."""
    if isinstance(value, (bytes, int)):
        assert window is None or isinstance(window, RegisterWindow)
        return [RegisterEntry(key, wire_scalar(value), None if window is None else export_register(window))]
    if isinstance(value, (set, SplitSet)):
        adds = window.adds if isinstance(window, SetWindow) else {}
        elements = sorted(value)
        return [
            SetEntry(key, piece, [(element, list(adds[element])) for element in piece if element in adds])
            for piece in (elements[at : at + PIECE_ELEMENTS] for at in range(0, len(elements), PIECE_ELEMENTS))
        ]
    if isinstance(value, NestedMap):
        children = [entry for held in value.slots.holdings() for entry in export_value(held[0], held[2], held[3])]
        return [NestedMapEntry(key, children)]
    if isinstance(value, (dict, SplitMap, SortedSet)):
        windows = window.fields if isinstance(window, MapWindow) else {}
        fields = sorted(value)
        shape = SortedSetEntry if isinstance(value, SortedSet) else MapEntry
        return [
            shape(
                key,
                [(field, wire_scalar(value[field])) for field in piece],
                [(field, export_register(windows[field])) for field in piece if field in windows],
            )
            for piece in (fields[at : at + PIECE_ELEMENTS] for at in range(0, len(fields), PIECE_ELEMENTS))
        ]
    assert window is None or isinstance(window, SequenceWindow)
    return [SequenceEntry(key, export_state(value, window), True)]


def scalars_bytes(values: Collection[WireScalar | None]) -> int:
    """What some plain values take, numbers aside. O(values), in C where none is a number."""
    try:
        return sum(map(len, values))  # type: ignore[arg-type]
    except TypeError:
        return sum([len(value) for value in values if isinstance(value, bytes)])


def _state_bytes(state: RegisterState) -> int:
    return scalars_bytes([state.base, *(value for _, _, value in state.assignments)])


def weight(entry: ValueEntry) -> int:
    """About how many elements an entry brings, those that take longer counted as several. O(elements)."""
    if isinstance(entry, RegisterEntry):
        size = len(entry.value) if isinstance(entry.value, bytes) else 0
        return 1 + (size if entry.window is None else size + _state_bytes(entry.window)) // BYTES_PER_ELEMENT
    if isinstance(entry, SetEntry):
        size = sum(map(len, entry.elements)) + sum([len(element) for element, _ in entry.adds])
        return len(entry.elements) + size // BYTES_PER_ELEMENT
    if isinstance(entry, (MapEntry, SortedSetEntry)):
        size = scalars_bytes(list(chain.from_iterable(entry.items)))
        size += sum([len(field) + _state_bytes(state) for field, state in entry.fields])
        each = MEMBER_WEIGHT if isinstance(entry, SortedSetEntry) else 1
        return each * len(entry.items) + size // BYTES_PER_ELEMENT
    if isinstance(entry, SequenceEntry):
        _, runs, values, insertions, removals, assignments = entry.state
        unstable = len(insertions) + sum([len(ranges) for _, ranges in removals]) + len(assignments)
        return 1 + unstable + len(runs) // 4 + len(values) + scalars_bytes(values) // BYTES_PER_ELEMENT
    return 1 + sum(map(weight, entry.children))


def halves(entry: ValueEntry) -> tuple[ValueEntry, ValueEntry] | None:
    """Two entries that say the same, where an entry has several elements or fields. O(elements)."""
    if isinstance(entry, SetEntry) and len(entry.elements) > 1:
        middle = len(entry.elements) // 2
        first, second = entry.elements[:middle], entry.elements[middle:]
        adds = sum(element < second[0] for element, _ in entry.adds)  # they are in the order of the elements
        return SetEntry(entry.key, first, entry.adds[:adds]), SetEntry(entry.key, second, entry.adds[adds:])
    if isinstance(entry, (MapEntry, SortedSetEntry)) and len(entry.items) > 1:
        middle = len(entry.items) // 2
        fields = sum(field < entry.items[middle][0] for field, _ in entry.fields)
        shape = type(entry)
        return (
            shape(entry.key, entry.items[:middle], entry.fields[:fields]),
            shape(entry.key, entry.items[middle:], entry.fields[fields:]),
        )
    return None


ENTRY_KINDS: Final[dict[type, int]] = {
    RegisterEntry: KIND_REGISTER,
    SetEntry: KIND_SET,
    MapEntry: KIND_MAP,
    SortedSetEntry: KIND_SORTED_SET,
    SequenceEntry: KIND_SEQUENCE,
    NestedMapEntry: KIND_MAP,
}
"""What kind of value an entry brings."""


def export_deadline(key: bytes, deadline: Deadline | None, window: DeadlineWindow) -> DeadlineEntry:
    """The entry for the deadline of a key. O(window)."""
    return DeadlineEntry(key, deadline, sorted(window.items()))


def decode_entries(raw: bytes) -> list[AnyEntry]:
    """The entries of a part of a snapshot. O(n).

    Raises:
        PeerError: they are none.
    """
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise PeerError(f"values that cannot be read: {problem}") from problem


def _import_fields(entry: MapEntry | SortedSetEntry, items: Fields, window: MapWindow) -> MapWindow | None:
    """Put fields and their windows in; the window, or None where there is nothing in it."""
    for field, written in entry.items:
        items[field] = _scalar(written)
    for field, state in entry.fields:
        inner = _import_register(state)
        if items.get(field) != inner.value():
            raise PeerError("a field that does not show its window's value")
        window.fields[field] = inner
        window.entries += inner.entries
    if not items:
        raise PeerError("a map without fields")
    return window if window.entries else None


@final
class Importer:
    """Puts entries together to values: those of one key and kind follow one another."""

    __slots__ = ("_loading", "split_above")

    def __init__(self, split_above: int = 1 << 30) -> None:
        self.split_above = split_above
        self._loading: SequenceLoading | None = None

    def end(self) -> None:
        """No more entries come.

        Raises:
            PeerError: a sequence has not ended.
        """
        if self._loading is not None:
            raise PeerError("a sequence that does not end")

    def add(
        self, entry: ValueEntry, value: Value | None, window: Window | None, depth: int = 0
    ) -> tuple[int, Value, Window | None]:
        """Kind, value and window that an entry adds up to with what earlier entries of the key gave. O(n).

        Raises:
            PeerError: the entry contradicts itself or what came before.
        """
        if isinstance(entry, NestedMapEntry):
            return self._add_nested(entry, value, depth)
        if isinstance(entry, SequenceEntry):
            return self._add_sequence(entry, value)
        self.end()
        if isinstance(entry, RegisterEntry):
            register = None if entry.window is None else _import_register(entry.window)
            plain = _scalar(entry.value)
            if register is not None and register.value() != plain:
                raise PeerError("a register that does not show its window's value")
            return KIND_REGISTER, plain, register
        if isinstance(entry, SetEntry):
            return self._add_elements(entry, value, window)
        if isinstance(entry, MapEntry):
            items = value if isinstance(value, (dict, SplitMap)) else {}
            kept = _import_fields(entry, items, window if isinstance(window, MapWindow) else MapWindow())
            return KIND_MAP, split_large(items, self.split_above), kept
        scored = value if isinstance(value, SortedSet) else SortedSet()
        scores = _import_fields(entry, scored, window if isinstance(window, SortedSetWindow) else SortedSetWindow())
        return KIND_SORTED_SET, split_large(scored, self.split_above), scores

    def _add_elements(
        self, entry: SetEntry, value: Value | None, window: Window | None
    ) -> tuple[int, Value, Window | None]:
        elements = value if isinstance(value, (set, SplitSet)) else set()
        for element in entry.elements:
            elements.add(element)
        if entry.adds:
            window = window if isinstance(window, SetWindow) else SetWindow()
            for element, dots in entry.adds:
                window.adds[element] = tuple(dots)
        if not elements or any(element not in elements for element, _ in entry.adds):
            raise PeerError("a set with a window of elements that are not in it")
        return KIND_SET, split_large(elements, self.split_above), window

    def _add_sequence(self, entry: SequenceEntry, value: Value | None) -> tuple[int, Value, Window | None]:
        loading = self._loading
        if loading is None:
            if value is not None:
                raise PeerError("a sequence that goes on behind its end")
            loading = self._loading = SequenceLoading()
        elif loading.sequence is not value:
            raise PeerError("a sequence that does not end")
        loading.add(entry.state)
        window = loading.window
        if entry.ends:
            loading.end()
            self._loading = None
        elif not window.entries and not len(loading.sequence) and not loading.sequence.removed_count:
            raise PeerError("an entry of a sequence that brings nothing")
        return KIND_SEQUENCE, loading.sequence, window if window.entries else None

    def _add_nested(self, entry: NestedMapEntry, value: Value | None, depth: int) -> tuple[int, Value, Window | None]:
        if depth >= NESTING_MAX:
            raise PeerError(f"maps that nest deeper than {NESTING_MAX}")
        nested = value if isinstance(value, NestedMap) else NestedMap(Slots(self.split_above))
        slots = nested.slots
        for child in entry.children:
            kind = ENTRY_KINDS[type(child)]
            holding = slots.take(child.key, kind)
            kind, inner, window = self.add(child, holding.value, holding.window, depth + 1)
            slots.put(child.key, kind, inner, window)
        return KIND_MAP, nested, NestedWindow(slots) if slots.entries else None
