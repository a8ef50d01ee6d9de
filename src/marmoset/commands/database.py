"""What commands do to keys (floor 8): typed look-ups, and the verbs that turn a wish into operations.

A look-up gives the plain value or raises WRONGTYPE; nothing here looks at windows. A verb computes operations from what
is visible and applies them at once through the replica. Several operations of one command are in one batch, so they are
seen together or not at all, everywhere.
"""

import json
from random import Random
from typing import Final, cast, final

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Increment,
    MapAssign,
    Reset,
    Scalar,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.config import Config
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.plain_slots import NOT_DONE
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import PlainMap, PlainSet, SplitMap, SplitSet
from marmoset.crdts.types import Value, kind_of
from marmoset.ids import Dot
from marmoset.keyspace import Keyspace
from marmoset.node import Node
from marmoset.replication.plain_writes import (
    add_plainly,
    assign_field_plainly,
    assign_plainly,
    increment_plainly,
    push_plainly,
)
from marmoset.replication.replica import Replica
from marmoset.resp.errors import WRONG_TYPE, CommandError, too_large

INT_MIN, INT_MAX = -(1 << 63), (1 << 63) - 1


PER_VALUE_BYTES: Final = 8
"""What a value takes in a batch beside its bytes, at most."""

END: Final = -1
"""In place of an index: behind all elements."""

PER_RANGE_BYTES: Final = 24
"""What a range of ids takes in a batch, at most."""


def request_bytes(words: list[bytes]) -> int:
    """What some values take in a batch, at most. O(words)."""
    return sum(map(len, words)) + PER_VALUE_BYTES * len(words)


def text(value: Value) -> bytes:
    """A plain value as Redis shows it. A collection, which only a field of a map that nests can hold, is shown as JSON;
    programs that speak Python have it as what it is. O(length)."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return b"%d" % value
    return json.dumps(_for_people(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogateescape")


def _for_people(value: Value) -> object:
    """A value in terms of JSON: names sorted, bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, int):
        return value
    if isinstance(value, (dict, SplitMap, NestedMap, SortedSet)):
        return {name.decode("utf-8", "surrogateescape"): _for_people(value[name]) for name in sorted(value)}
    return [_for_people(each) for each in (value if isinstance(value, Sequence) else sorted(value))]


@final
class Database:
    """One node's keys, as the commands of all its clients see them."""

    __slots__ = (
        "config",
        "keyspace",
        "node",
        "replica",
        "rng",
        "written_bytes",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.config: Config = node.config
        self.replica: Replica = node.replica
        self.keyspace: Keyspace = node.replica.keyspace
        self.rng: Random = node.rng
        self.written_bytes = 0
        """What the command or transaction that runs may put into the batch: its request, and what it was charged."""

    # -- look-ups

    def string_at(self, key: bytes) -> Scalar | None:
        """The value of a string, or None. O(1). Raises WRONGTYPE."""
        value = self.keyspace.get(key)
        if value is None or isinstance(value, bytes) or isinstance(value, int):
            return value
        raise CommandError(WRONG_TYPE)

    def set_at(self, key: bytes) -> PlainSet | None:
        """The value of a set, or None. O(1). Raises WRONGTYPE."""
        value = self.keyspace.get(key)
        if value is None or isinstance(value, set) or isinstance(value, SplitSet):
            return value
        raise CommandError(WRONG_TYPE)

    def map_at(self, key: bytes) -> PlainMap | NestedMap | None:
        """The value of a hash, or None. O(1). Raises WRONGTYPE."""
        value = self.keyspace.get(key)
        if value is None or isinstance(value, dict) or isinstance(value, SplitMap) or isinstance(value, NestedMap):
            return value
        raise CommandError(WRONG_TYPE)

    def list_at(self, key: bytes) -> Sequence | None:
        """The value of a list, or None. O(1). Raises WRONGTYPE."""
        value = self.keyspace.get(key)
        if value is None or isinstance(value, Sequence):
            return value
        raise CommandError(WRONG_TYPE)

    def sorted_set_at(self, key: bytes) -> SortedSet | None:
        """The value of a sorted set, or None. O(1). Raises WRONGTYPE."""
        value = self.keyspace.get(key)
        if value is None or isinstance(value, SortedSet):
            return value
        raise CommandError(WRONG_TYPE)

    def kind_at(self, key: bytes) -> int | None:
        """The kind of a key's value, or None. O(1)."""
        value = self.keyspace.get(key)
        return None if value is None else kind_of(value)

    # -- verbs

    def submit(self, operation: AnyOperation) -> Dot:
        """Apply an operation at once and put it into the open batch; its (first) dot. Cost: the type's."""
        return self.replica.submit(operation)

    def charge(self, name: str, size: int) -> None:
        """A command is about to write `size` bytes that were not in its request. O(1).

        Raises:
            CommandError: with what its transaction has written that is more than a batch may have; nothing of the
                command was done.
        """
        limit = self.config.batch_bytes_max
        if self.written_bytes + size > limit:
            raise CommandError(too_large(name, limit))
        self.written_bytes += size

    def charge_digits(self, name: str, number: Scalar | str) -> None:
        """A command is about to write a number that was sent in a shorter form, as `1e300`; see `charge`. O(1)."""
        if not isinstance(number, int) and len(number) > PER_VALUE_BYTES:
            self.charge(name, len(number))

    def assign(self, key: bytes, value: bytes) -> None:
        """Assign a string, whatever the key holds. O(1)."""
        if not assign_plainly(self.replica, key, value):
            self.submit(Assign(key, value))

    def increment(self, key: bytes, amount: int, total: int) -> None:
        """Increment a string that is absent or a whole number, by which it becomes `total` here. O(1)."""
        if not increment_plainly(self.replica, key, amount, total):
            self.submit(Increment(key, amount))

    def assign_field(self, key: bytes, field: bytes, value: bytes) -> bool:
        """Assign a field of a map; whether it is new. O(1)."""
        new = assign_field_plainly(self.replica, key, field, value)
        if new != NOT_DONE:
            return new > 0
        fields = self.map_at(key)
        is_new = fields is None or field not in fields
        self.submit(MapAssign(key, [field, value]))
        return is_new

    def delete(self, key: bytes) -> bool:
        """Remove a key; whether it was there. O(1)."""
        if key not in self.keyspace:
            return False
        self.submit(Reset(key))
        return True

    def add(self, key: bytes, elements: list[bytes]) -> int:
        """Add elements to a set; how many are new. Adding what is there already adds it again: it then survives a
        removal that is under way. O(elements)."""
        value = self.set_at(key)
        new = sum(1 for element in dict.fromkeys(elements) if value is None or element not in value)
        self.submit(SetAdd(key, elements))
        return new

    def add_one(self, key: bytes, element: bytes) -> int:
        """The same for one element. O(1)."""
        new = add_plainly(self.replica, key, element)
        if new != NOT_DONE:
            return new
        value = self.set_at(key)
        new = int(value is None or element not in value)
        self.submit(SetAdd(key, [element]))
        return new

    def remove(self, key: bytes, elements: list[bytes]) -> int:
        """Remove elements of a set; how many were there. O(elements)."""
        value = self.set_at(key)
        if value is None:
            return 0
        present = [element for element in dict.fromkeys(elements) if element in value]
        if present:
            self.submit(SetRemove(key, present))
        return len(present)

    def store_set(self, name: str, key: bytes, elements: list[bytes]) -> int:
        """Replace whatever a key holds by a set; an empty one removes the key. O(elements)."""
        self.charge(name, request_bytes(elements))
        self.delete(key)
        if elements:
            self.submit(SetAdd(key, sorted(elements)))  # the order of a Python set is not to reach the log
        return len(elements)

    def insert(self, key: bytes, index: int, values: list[bytes]) -> int:
        """Insert values before a visible index of a list, or at its `END`; its new length. O(log n + values)."""
        given = cast("list[Scalar]", values)
        if not index or index == END:
            length = push_plainly(self.replica, key, given, not index)
            if length != NOT_DONE:
                return length
        sequence = self.list_at(key)
        if sequence is None:
            self.submit(SequenceInsert(key, None, None, given))
            return len(values)
        length = len(sequence)
        left, right = sequence.neighbours(length if index == END else index)
        self.submit(SequenceInsert(key, left, right, given))
        return length + len(values)

    def cut(self, name: str, key: bytes, sequence: Sequence, start: int, stop: int) -> None:
        """Remove the visible elements from `start` to before `stop`. O(log n + elements)."""
        self._cut(name, key, sequence.ranges(start, stop))

    def cut_at(self, name: str, key: bytes, sequence: Sequence, indexes: list[int]) -> None:
        """Remove the visible elements at ascending indexes, in one operation. O(indexes x log n)."""
        ranges: list[tuple[int, int, int]] = []
        for index in indexes:
            ranges += sequence.ranges(index, index + 1)
        self._cut(name, key, ranges)

    def cut_around(self, name: str, key: bytes, sequence: Sequence, start: int, stop: int) -> None:
        """Remove every visible element outside of a slice, in one operation. O(log n + elements removed)."""
        self._cut(name, key, [*sequence.ranges(0, start), *sequence.ranges(stop, len(sequence))])

    def _cut(self, name: str, key: bytes, ranges: list[tuple[int, int, int]]) -> None:
        if ranges:
            self.charge(name, PER_RANGE_BYTES * len(ranges))
            self.submit(SequenceRemove(key, ranges))
