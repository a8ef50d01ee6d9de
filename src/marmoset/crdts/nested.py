"""The plain value of a map that nests: fields that hold sets, maps, sorted sets and sequences beside registers (floor
3).

A map is a plain dict as long as its fields are registers. The first operation inside a field makes it a `NestedMap`,
whose fields are `Slots`, as the keys of the keyspace are: the child of a field is identified by field and kind, so
two members that create it at the same time create the same child, and children of several kinds in one field are all
kept, the first of the fixed order showing. The plain values are in `slots.values`, the windows beside them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from marmoset.crdts.slots import Slots
    from marmoset.crdts.types import Value


@final
class NestedMap:
    """Fields with values of any kind. Reads cost what a dict's do."""

    __slots__ = ("slots",)

    def __init__(self, slots: "Slots") -> None:
        self.slots = slots

    def __len__(self) -> int:
        return len(self.slots.values)

    def __contains__(self, field: object) -> bool:
        return field in self.slots.values

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.slots.values)

    def __getitem__(self, field: bytes) -> "Value":
        return self.slots.values[field]

    def get(self, field: bytes) -> "Value | None":
        """The value of a field, or None. O(1)."""
        return self.slots.values.get(field)

    def values(self) -> "Iterator[Value]":
        """The values. O(n)."""
        return iter(self.slots.values.values())

    def items(self) -> "Iterator[tuple[bytes, Value]]":
        """Fields with their values. O(n)."""
        return iter(self.slots.values.items())


@final
class NestedWindow:
    """What is not stable inside a `NestedMap`: its slots keep it themselves."""

    __slots__ = ("slots",)

    def __init__(self, slots: "Slots") -> None:
        self.slots = slots

    @property
    def entries(self) -> int:
        """How many facts inside are not yet stable. O(1)."""
        return self.slots.entries
