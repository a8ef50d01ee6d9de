"""Reading values as they stood at one instant, in parts, while operations go on (floor 3).

A snapshot sends a value with the vector at which it was read, and a large one cannot be read in one turn of the event
loop. So what is read is kept as it stood when the reading began: whoever is about to change something that was not read
yet saves that first (copy on write). Nothing of this reaches the newcomer: to it every value was read at one instant.

Who saves what:

- `SlotsReading`, the names of a shard or of a map that nests: the slots tell it of each operation beforehand, by name.
  A small value is exported then and there, of a large one a reading of its own begins.
- `SplitReading`, a set, map or sorted set in parts: its slots tell it of the operation, and it copies the parts of the
  elements that are named, with their entries of the window. Parts do not split meanwhile. A reset changes neither the
  value nor the window that stood before, it makes new ones, so nothing is saved for it.
- `SequenceReading`: the sequence itself tells it of each chunk that is about to change; it copies that. The window,
  which is only ever added to and taken from, is copied when the reading begins.

Costs: beginning is O(names), O(parts) or O(chunks + window); an operation costs at most the parts or chunks that it
touches again, once each; `take` costs about its budget in elements.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final, final

from marmoset.codec.operations import (
    KIND_MAP,
    KIND_SET,
    KIND_SORTED_SET,
    AnyOperation,
    MapAssign,
    MapIncrement,
    MapRemove,
    ScoreAssign,
    ScoreIncrement,
    ScoreRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.exports import (
    BYTES_PER_ELEMENT,
    MEMBER_WEIGHT,
    PIECE_ELEMENTS,
    MapEntry,
    NestedMapEntry,
    RegisterState,
    SequenceEntry,
    SetEntry,
    SortedSetEntry,
    ValueEntry,
    export_register,
    export_value,
    halves,
    scalars_bytes,
    weight,
    wire_scalar,
)
from marmoset.crdts.map import MapWindow
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import SequenceWindow
from marmoset.crdts.sequence_runs import FRESH, Chunk
from marmoset.crdts.sequence_state import Removal, RunRow, State, chunk_rows, state_of
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import Range
from marmoset.crdts.slots import Slots
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SetPart, SplitMap, SplitSet
from marmoset.crdts.types import Value, Window
from marmoset.ids import Dot

WEIGHT_MAX: Final = 2 * PIECE_ELEMENTS
"""An entry that weighs more, as only one with long elements does, is cut, unless one element alone is as long."""

Part = SetPart | dict[bytes, bytes | int]
Saved = tuple[Part, dict[bytes, tuple[Dot, ...]] | dict[bytes, RegisterState]]
"""A part of a set or map, and its entries of the window, as they stood."""


def is_large(value: Value, step_elements: int) -> bool:
    """Whether a value may be more than one step should read. O(1), for a short list O(length)."""
    if isinstance(value, SortedSet):
        return isinstance(value.scores, SplitMap)
    if isinstance(value, Sequence):
        return (
            len(value) + value.removed_count > step_elements
            or scalars_bytes(list(value)) > BYTES_PER_ELEMENT * step_elements
        )
    return isinstance(value, (SplitSet, SplitMap, NestedMap))


@final
class SplitReading:
    """One set, map or sorted set in parts, read some parts at a time."""

    __slots__ = ("_adds", "_fields", "_kind", "_next", "_saved", "_stride", "collection", "key")

    def __init__(
        self, key: bytes, collection: SplitSet | SplitMap, kind: int, window: Window | None, step_elements: int
    ) -> None:
        self.key = key
        self.collection = collection
        collection.readings += 1
        self._kind = kind
        self._adds = window.adds if isinstance(window, SetWindow) else {}
        self._fields = window.fields if isinstance(window, MapWindow) else {}
        self._next = 0
        self._stride = 1
        elements = step_elements // MEMBER_WEIGHT if kind == KIND_SORTED_SET else step_elements
        while len(collection) > self._stride * elements and 2 * self._stride <= collection.level:
            self._stride *= 2
        self._saved: dict[int, Saved] = {}

    @property
    def is_done(self) -> bool:
        """Whether all parts were taken."""
        return self._next == self._stride

    def before(self, operation: AnyOperation) -> None:
        """Save what an operation is about to change and was not taken yet. O(parts that it names)."""
        if operation.kind != self._kind:
            return
        for name in _named(operation):
            at = self.collection.part_of(name)
            if at % self._stride >= self._next and at not in self._saved:
                part = self.collection.parts[at]
                self._saved[at] = part.copy(), self._windows(part)

    def _windows(self, part: Part) -> dict[bytes, tuple[Dot, ...]] | dict[bytes, RegisterState]:
        if self._kind == KIND_SET:
            adds = self._adds
            return {element: adds[element] for element in part if element in adds} if adds else {}
        fields = self._fields
        return {field: export_register(fields[field]) for field in part if field in fields} if fields else {}

    def take(self, budget: int) -> list[ValueEntry]:
        """Some elements, all those whose hashes end alike: which they are depends on the content alone. O(step)."""
        content: dict[bytes, bytes | int] | set[bytes] = set() if self._kind == KIND_SET else {}
        windows: dict[bytes, tuple[Dot, ...]] | dict[bytes, RegisterState] = {}
        for at in range(self._next, len(self.collection.parts), self._stride):
            saved = self._saved.pop(at, None)
            part, inner = saved if saved is not None else (self.collection.parts[at], None)
            content.update(part)  # type: ignore[arg-type]
            windows.update(self._windows(part) if inner is None else inner)  # type: ignore[arg-type]
        self._next += 1
        return [_entry(self.key, self._kind, content, windows)] if content else []

    def close(self) -> None:
        """Nothing is saved for this reading any more."""
        self.collection.readings -= 1


def _named(operation: AnyOperation) -> list[bytes]:
    if isinstance(operation, (SetAdd, SetRemove)):
        return operation.elements
    if isinstance(operation, (MapAssign, ScoreAssign)):
        return operation.pairs[::2]  # type: ignore[return-value]  # each is checked to be bytes
    if isinstance(operation, (MapIncrement, ScoreIncrement)):
        return [operation.field]
    if isinstance(operation, (MapRemove, ScoreRemove)):
        return operation.fields
    return []


def _entry(key: bytes, kind: int, content: object, windows: object) -> ValueEntry:
    if kind == KIND_SET:
        assert isinstance(content, set) and isinstance(windows, dict)
        return SetEntry(key, sorted(content), [(element, list(dots)) for element, dots in sorted(windows.items())])
    assert isinstance(content, dict) and isinstance(windows, dict)
    shape = SortedSetEntry if kind == KIND_SORTED_SET else MapEntry
    return shape(key, [(f, wire_scalar(v)) for f, v in sorted(content.items())], sorted(windows.items()))


@final
class SequenceReading:
    """One sequence, read some chunks at a time: first its window, then its elements from left to right."""

    __slots__ = (
        "_assignments",
        "_at",
        "_chunks",
        "_images",
        "_insertions",
        "_pending",
        "_removals",
        "_rows",
        "_shown",
        "_values",
        "key",
        "sequence",
    )

    def __init__(self, key: bytes, sequence: Sequence, window: SequenceWindow | None) -> None:
        self.key = key
        self.sequence = sequence
        chunks = [chunk for block in sequence.blocks for chunk in block.chunks if chunk.runs]
        self._pending = set(chunks)
        self._chunks = iter(chunks)
        self._images: dict[Chunk, tuple[list[RunRow], list[bytes | int]]] = {}
        self._rows: list[RunRow] = []  # the chunk that is being given, and how far
        self._values: list[bytes | int] = []
        self._at = self._shown = 0
        kept = SequenceWindow() if window is None else window
        self._insertions = iter(dict(kept.insertions).items())
        self._removals = _in_pieces(dict(kept.removals))
        self._assignments = iter(dict(kept.assignments).items())
        sequence.readings += (self,)

    @property
    def is_done(self) -> bool:
        """Whether all chunks were taken."""
        return not self._pending and self._at == len(self._rows)

    def before(self, operation: AnyOperation) -> None:
        """The sequence itself says which chunks an operation changes."""

    def before_chunk(self, chunk: Chunk) -> None:
        """Save a chunk that is about to change, unless it was taken. O(chunk)."""
        if chunk in self._pending and chunk not in self._images:
            self._images[chunk] = chunk_rows(chunk), chunk.slice(0, chunk.size())

    def take(self, budget: int) -> list[ValueEntry]:
        """Some of the window or, behind that, some elements, by whole runs where those are short. O(budget + one
        chunk)."""
        insertions = list(islice(self._insertions, budget))
        budget -= len(insertions)
        removals: list[Removal] = []
        while budget > 0 and (removal := next(self._removals, None)) is not None:
            removals.append(removal)
            budget -= len(removal[1])
        assignments = list(islice(self._assignments, max(0, budget)))
        budget -= len(assignments)
        rows: list[RunRow] = []
        values: list[bytes | int] = []
        while budget > 0 and not self.is_done:
            if self._at == len(self._rows):
                self._begin_chunk()
            row = self._rows[self._at]
            count = abs(row[2])
            if row[3] <= FRESH:
                given, weighs = self._fitting(count, budget)
                values += self._values[self._shown : self._shown + given]
                self._shown += given
                budget -= weighs
                if given < count:
                    row, self._rows[self._at] = _parted(row, given)
                    rows.append(row)
                    continue
            self._at += 1
            rows.append(row)
            budget -= 1
        state: State = state_of(rows, values, insertions, removals, assignments)
        return [SequenceEntry(self.key, state, self.is_done)]

    def _fitting(self, count: int, budget: int) -> tuple[int, int]:
        """How many of the next `count` values to give, all of them unless they are long, and what those weigh.
        O(count)."""
        weighs = 0
        for at in range(count):
            value = self._values[self._shown + at]
            if isinstance(value, bytes) and len(value) >= BYTES_PER_ELEMENT:
                if at and at + weighs + len(value) // BYTES_PER_ELEMENT > budget:
                    return at, at + weighs
                weighs += len(value) // BYTES_PER_ELEMENT
        return count, count + weighs

    def _begin_chunk(self) -> None:
        """Copy the next chunk, unless that was done when it changed: from here on it may change."""
        chunk = next(self._chunks)
        self._pending.discard(chunk)
        image = self._images.pop(chunk, None)
        self._rows, self._values = image if image is not None else (chunk_rows(chunk), chunk.slice(0, chunk.size()))
        self._at = self._shown = 0

    def close(self) -> None:
        """Nothing is saved for this reading any more."""
        self.sequence.readings = tuple(other for other in self.sequence.readings if other is not self)


def _parted(row: RunRow, given: int) -> tuple[RunRow, RunRow]:
    """The first ids of a run and the others: those of a run that falls are the highest."""
    replica, seq, count, kind = row
    if count > 0:
        return (replica, seq, given, kind), (replica, seq + given, count - given, kind)
    rest = -count - given
    return (replica, seq + rest, -given if given > 1 else 1, kind), (replica, seq, -rest if rest > 1 else 1, kind)


PIECE_RANGES: Final = 256


def _in_pieces(removals: dict[Dot, list[Range]]) -> Iterator[Removal]:
    """Removals with few ranges each; one with many comes in several."""
    for dot, ranges in removals.items():
        for at in range(0, len(ranges), PIECE_RANGES):
            yield dot, ranges[at : at + PIECE_RANGES]


Reading = SplitReading | SequenceReading


@final
class NestedReading:
    """A map that nests: a reading of its fields, in entries of the map."""

    __slots__ = ("_fields", "key")

    def __init__(self, key: bytes, value: NestedMap, step_elements: int) -> None:
        self.key = key
        self._fields = SlotsReading(value.slots, step_elements)

    @property
    def is_done(self) -> bool:
        """Whether all fields were taken."""
        return self._fields.is_done

    def before(self, operation: AnyOperation) -> None:
        """The slots of the fields say themselves what changes."""

    def take(self, budget: int) -> list[ValueEntry]:
        """Some fields. O(budget)."""
        children = self._fields.take(budget)
        return [NestedMapEntry(self.key, children)] if children else []

    def close(self) -> None:
        """Nothing is saved for this reading any more."""
        self._fields.close()


@final
class SlotsReading:
    """Everything that some names hold, as it stood when this was made."""

    __slots__ = (
        "_names",
        "_open",
        "_ready",
        "_saved",
        "_step_elements",
        "_taken",
        "names",
        "names_taken",
        "slots",
        "weight_taken",
    )

    def __init__(self, slots: Slots, step_elements: int) -> None:
        self.slots = slots
        self._step_elements = step_elements
        names = list(slots.values)  # in the order in which they were put in: sorting them would take as long as reading
        names += [name for name in slots.beside if name not in slots.values]
        self.names = len(names)
        """How many names there are."""
        self._names = names
        self._taken: set[bytes] = set()
        self._saved: dict[bytes, list[ValueEntry | Reading | NestedReading]] = {}
        self._open: dict[bytes, list[Reading | NestedReading]] = {}
        self._ready: list[ValueEntry | Reading | NestedReading] = []
        """What is to be given next, last first, all of one name."""
        self.names_taken = 0
        self.weight_taken = 0
        slots.readings += (self,)
        slots.notes.has_more = True

    @property
    def is_done(self) -> bool:
        """Whether everything was taken."""
        return self.names_taken == self.names and not self._ready

    def before(self, name: bytes, operation: AnyOperation | None) -> None:
        """Save what is about to be done to a name if it was not taken yet; None is a reset. O(what is small of it)."""
        if name not in self._taken and name not in self._saved and self.names_taken < self.names:
            self._saved[name] = self._freeze(name)  # nothing, where the name is new, and then nobody asks for it
        if operation is not None:
            for reading in self._open.get(name, ()):
                reading.before(operation)

    def before_all(self) -> None:
        """Save every name that was not taken yet. O(what is small of them)."""
        for name in self._names[self.names_taken :]:
            self.before(name, None)

    def _freeze(self, name: bytes) -> list[ValueEntry | Reading | NestedReading]:
        """Everything that a name holds, as entries or as readings that have begun."""
        frozen: list[ValueEntry | Reading | NestedReading] = []
        for kind, value, window in self.slots.holdings_of(name):
            if not is_large(value, self._step_elements):
                frozen += export_value(name, value, window)
                continue
            reading: Reading | NestedReading
            if isinstance(value, NestedMap):
                reading = NestedReading(name, value, self._step_elements)
            elif isinstance(value, Sequence):
                assert window is None or isinstance(window, SequenceWindow)
                reading = SequenceReading(name, value, window)
            else:
                collection = value.scores if isinstance(value, SortedSet) else value
                assert isinstance(collection, (SplitSet, SplitMap))
                reading = SplitReading(name, collection, kind, window, self._step_elements)
            self._open.setdefault(name, []).append(reading)
            frozen.append(reading)
        return frozen

    def take(self, budget: int) -> list[ValueEntry]:
        """The next entries, of about as many elements. O(budget)."""
        entries: list[ValueEntry] = []
        while budget > 0 and not self.is_done:
            if not self._ready:
                name = self._names[self.names_taken]
                self._ready = self._saved.pop(name) if name in self._saved else self._freeze(name)
                self._ready.reverse()
                self._taken.add(name)
                self.names_taken += 1
                continue
            first = self._ready[-1]
            if isinstance(first, (SplitReading, SequenceReading, NestedReading)):
                given = first.take(budget)
                if first.is_done:
                    first.close()
                    self._open[first.key].remove(first)
                    self._ready.pop()
            else:
                given = [first]
                self._ready.pop()
            for entry in given:
                weighs = weight(entry)
                if weighs > WEIGHT_MAX:
                    entry = self._cut(entry)
                    weighs = weight(entry)
                entries.append(entry)
                budget -= weighs
                self.weight_taken += weighs
        return entries

    def _cut(self, entry: ValueEntry) -> ValueEntry:
        """The first part of an entry that brings too much; the rest is given next. O(elements)."""
        while weight(entry) > WEIGHT_MAX:
            parts = halves(entry)
            if parts is None:
                break
            entry, rest = parts
            self._ready.append(rest)
        return entry

    def close(self) -> None:
        """Nothing is saved for this reading any more."""
        self.slots.readings = tuple(other for other in self.slots.readings if other is not self)
        for readings in self._open.values():
            for reading in readings:
                reading.close()
        self._open.clear()


__all__ = ["KIND_MAP", "SequenceReading", "SlotsReading", "SplitReading", "is_large"]
