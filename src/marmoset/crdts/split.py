"""Large sets and maps in many small parts (floor 3).

A Python set or dict stalls for tens of milliseconds when it grows past a million entries, and neither can be walked
from a place in the middle or asked for a random element. So a collection past `split_above`, or one past
`SCAN_SPLIT_ABOVE` that is scanned or sampled, is kept in parts of a few hundred entries by linear hashing (Litwin,
1980): the number of parts grows by one at a time, each growth moving the entries of one part, so no operation costs
more than a part. Parts only ever move entries upwards: a walk in the order of parts meets everything that is there
throughout at least once. While somebody reads it part by part (`crdts.reading`), no part is split.

The hash is that of `hashing`: unlike Python's own it is the same in every process.

A collection in parts is to take no more memory than one Python container. Where a large set takes a table of twice its
entries, a small one takes one of four times: so a part of a set is made anew before it grows, with the smallest table
there is, which for some sizes is a dict's. And what is taken out leaves its place occupied until a table is made anew:
so are the parts, one after another, while entries go.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, final

from marmoset.codec.operations import Scalar
from marmoset.hashing import stable_hash
from marmoset.untracked import untracked

PART_ENTRIES: Final = 256
SCAN_SPLIT_ABOVE: Final = 1024
RENEWALS: Final = 4
"""So many times each part is made anew while as many entries are taken out as there are in all."""

SetPart = set[bytes] | dict[bytes, None]


def _part_of(key: bytes, level_mask: int, split: int) -> int:
    """The part of a key: by the smaller mask, but by the larger one for the parts that are already split."""
    hashed = stable_hash(key)
    part = hashed & level_mask
    return part if part >= split else hashed & (2 * level_mask + 1)


def _is_full(part: SetPart) -> bool:
    """Whether a table may become larger with the next element: of a power of two of places a set occupies less than
    three fifths, a dict no more than two thirds. For all sizes that a part has. O(1)."""
    entries = len(part)
    return entries in (76, 152, 306, 613) if isinstance(part, set) else entries in (85, 170, 341, 682)


def _tight_set(elements: list[bytes] | SetPart) -> SetPart:
    """The same elements, a list having none twice, in a small table. O(elements)."""
    entries = len(elements)
    if 170 < entries < 256 or 42 < entries < 64:
        return untracked(set(elements))  # of 512 or 128 places, whatever it is made from
    made = dict.fromkeys(elements)
    places = 8
    while 2 * places < 3 * entries:
        places *= 2
    # A set made from a dict has more than twice as many places as entries: for some sizes no more than the dict.
    return untracked(set(made)) if 2 * entries < places else made


def _tight_map(part: dict[bytes, Scalar]) -> dict[bytes, Scalar]:
    """The same entries in the smallest table for them. O(entries)."""
    made: dict[bytes, Scalar] = {}
    made.update(part)
    return made


@final
class SplitSet:
    """A set of bytes in parts. Membership, add and discard cost O(1); `len` is O(1)."""

    __slots__ = ("_level_mask", "_part_entries", "_removals", "_renewed", "_size", "_split", "parts", "readings")

    def __init__(self, elements: Collection[bytes] = (), split_above: int = SCAN_SPLIT_ABOVE) -> None:
        self._part_entries = min(PART_ENTRIES, max(1, split_above // 4))
        count = 1
        while count * self._part_entries < len(elements):
            count *= 2
        self._level_mask = mask = count - 1
        self._split = self._removals = self._renewed = self.readings = 0
        parts: list[dict[bytes, None]] = [{} for _ in range(count)]
        for element in elements:
            parts[stable_hash(element) & mask][element] = None
        self.parts: list[SetPart] = [_tight_set(part) for part in parts]
        self._size = sum(map(len, parts))

    @property
    def level(self) -> int:
        """A power of two: entries of the same part agree in the hash modulo it. O(1)."""
        return self._level_mask + 1

    def part_of(self, element: bytes) -> int:
        """The part that an entry is in, if it is there. O(1)."""
        return _part_of(element, self._level_mask, self._split)

    def add(self, element: bytes) -> None:
        """Put an element in. O(1), at times O(part)."""
        at = self.part_of(element)
        part = self.parts[at]
        before = len(part)
        if isinstance(part, set):
            part.add(element)
        else:
            part[element] = None
        if len(part) != before:
            if _is_full(part):
                self.parts[at] = dict.fromkeys(part) if isinstance(part, set) else untracked(set(part))
            self._size += 1
            if self._size > self._part_entries * len(self.parts) and not self.readings:
                self._grow()

    def add_each(self, elements: list[bytes]) -> list[int]:
        """Put elements in, one by one: how many there are more by each. O(elements)."""
        more: list[int] = []
        for element in elements:
            before = self._size
            self.add(element)
            more.append(self._size - before)
        return more

    def discard(self, element: bytes) -> None:
        """Take an element out if it is there. O(1), at times O(part)."""
        part = self.parts[self.part_of(element)]
        before = len(part)
        if isinstance(part, set):
            part.discard(element)
        else:
            part.pop(element, None)
        if len(part) != before:
            self._size -= 1
            self._removals += 1
            if self._removals * RENEWALS >= self._part_entries:
                self._renew()

    def _renew(self) -> None:
        self._renewed = at = (self._renewed + 1) % len(self.parts)
        self.parts[at] = _tight_set(self.parts[at])
        self._removals = 0

    def _grow(self) -> None:
        bit = self._level_mask + 1
        stay: list[bytes] = []
        go: list[bytes] = []
        for element in self.parts[self._split]:
            (go if stable_hash(element) & bit else stay).append(element)
        self.parts[self._split] = _tight_set(stay)
        self.parts.append(_tight_set(go))
        self._split += 1
        if self._split == bit:
            self._level_mask = 2 * self._level_mask + 1
            self._split = 0

    def __contains__(self, element: object) -> bool:
        return isinstance(element, bytes) and element in self.parts[self.part_of(element)]

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            yield from part

    def _check(self) -> None:
        assert self._size == sum(map(len, self.parts))
        assert all(element in self for element in self)
        assert len(self.parts) == self._level_mask + 1 + self._split


@final
class SplitMap:
    """A map from bytes in parts. Look-up and change cost O(1); `len` is O(1)."""

    __slots__ = ("_level_mask", "_part_entries", "_removals", "_renewed", "_size", "_split", "parts", "readings")

    def __init__(self, items: Collection[tuple[bytes, Scalar]] = (), split_above: int = SCAN_SPLIT_ABOVE) -> None:
        self._part_entries = min(PART_ENTRIES, max(1, split_above // 4))
        count = 1
        while count * self._part_entries < len(items):
            count *= 2
        self.parts: list[dict[bytes, Scalar]] = [{} for _ in range(count)]
        self._level_mask = mask = count - 1
        self._split = self._removals = self._renewed = self.readings = 0
        parts = self.parts
        for field, value in items:
            parts[stable_hash(field) & mask][field] = value
        self._size = sum(map(len, parts))

    def _part(self, field: bytes) -> dict[bytes, Scalar]:
        return self.parts[_part_of(field, self._level_mask, self._split)]

    @property
    def level(self) -> int:
        """A power of two: entries of the same part agree in the hash modulo it. O(1)."""
        return self._level_mask + 1

    def part_of(self, field: bytes) -> int:
        """The part that an entry is in, if it is there. O(1)."""
        return _part_of(field, self._level_mask, self._split)

    def part_with(self, field: bytes) -> dict[bytes, Scalar]:
        """The part that a field is in, if it is there: fields may be read and overwritten in it, not added. O(1)."""
        return self._part(field)

    def __setitem__(self, field: bytes, value: Scalar) -> None:
        self.assign_in(self._part(field), field, value)

    def assign_each(self, fields: list[bytes], values: list[bytes]) -> list[int]:
        """Assign fields, there or not, one by one: how many there are more by each. O(fields)."""
        more: list[int] = []
        for at, field in enumerate(fields):
            before = self._size
            self.assign_in(self._part(field), field, values[at])
            more.append(self._size - before)
        return more

    def assign_in(self, part: dict[bytes, Scalar], field: bytes, value: Scalar) -> None:
        """Assign a field, there or not, in the part that is `part_with` it; that may not be its part any more then.
        O(1), at times O(part)."""
        before = len(part)
        part[field] = value
        if len(part) != before:
            self._size += 1
            if self._size > self._part_entries * len(self.parts) and not self.readings:
                self._grow()

    def __getitem__(self, field: bytes) -> Scalar:
        return self._part(field)[field]

    def get(self, field: bytes, default: Scalar | None = None) -> Scalar | None:
        """The value of a field, or `default`. O(1)."""
        return self._part(field).get(field, default)

    def pop(self, field: bytes, default: Scalar | None = None) -> Scalar | None:
        """Take a field out and return its value, or `default`. O(1), at times O(part)."""
        part = self._part(field)
        before = len(part)
        value = part.pop(field, default)
        if len(part) != before:
            self._size -= 1
            self._removals += 1
            if self._removals * RENEWALS >= self._part_entries:
                self._renew()
        return value

    def _renew(self) -> None:
        self._renewed = at = (self._renewed + 1) % len(self.parts)
        self.parts[at] = _tight_map(self.parts[at])
        self._removals = 0

    def _grow(self) -> None:
        bit = self._level_mask + 1
        stay: dict[bytes, Scalar] = {}
        go: dict[bytes, Scalar] = {}
        for field, value in self.parts[self._split].items():
            (go if stable_hash(field) & bit else stay)[field] = value
        self.parts[self._split] = stay
        self.parts.append(go)
        self._split += 1
        if self._split == bit:
            self._level_mask = 2 * self._level_mask + 1
            self._split = 0

    def __contains__(self, field: object) -> bool:
        return isinstance(field, bytes) and field in self._part(field)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            yield from part

    def keys(self) -> Iterator[bytes]:
        """The fields. O(n)."""
        return iter(self)

    def values(self) -> Iterator[Scalar]:
        """The values. O(n)."""
        for part in self.parts:
            yield from part.values()

    def items(self) -> Iterator[tuple[bytes, Scalar]]:
        """Fields with their values. O(n)."""
        for part in self.parts:
            yield from part.items()

    def _check(self) -> None:
        assert self._size == sum(map(len, self.parts))
        assert all(field in self for field in self)
        assert len(self.parts) == self._level_mask + 1 + self._split


def walk_parts(parts: Sequence[Iterable[bytes]], cursor: int, count: int) -> tuple[int, list[bytes]]:
    """Some entries from part `cursor` on, and the part to go on with, 0 at the end. O(count + one part)."""
    found: list[bytes] = []
    while 0 <= cursor < len(parts):
        found.extend(parts[cursor])
        cursor += 1
        if len(found) >= count:
            break
    return (cursor if 0 <= cursor < len(parts) else 0), found


PlainSet = set[bytes] | SplitSet
PlainMap = dict[bytes, Scalar] | SplitMap
