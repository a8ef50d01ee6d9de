"""What a returner could not submit by itself, for an operator to look through and replay (floor 5, DESIGN.md 4.6).

A row is one operation that some client was told is done and that is not, or not wholly, in the group. A row goes when
it is replayed, when somebody else has submitted the same operation, which its claim tells (`Claims`), or when it is
dismissed. The report lives as long as the process.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from marmoset.clocks import COUNTER_BITS, stamp_ms
from marmoset.codec.operations import AnyOperation, Flush, Inside, RosterOperation
from marmoset.codec.wire import names
from marmoset.ids import Dot, id_text
from marmoset.replication.claims import Claims

if TYPE_CHECKING:
    from marmoset.replication.rehabilitation import Exile

CHANGED: Final = "others changed the key meanwhile"
UNKNOWN: Final = "it is not remembered what others changed meanwhile"
FLUSHING: Final = "it concerns every key"
NO_GRAVESTONE: Final = "the group does not remember how far it had the writes of this node"
NOT_HERE: Final = "the group does not have the elements that it names"
NOT_OURS: Final = "written by another node, which was presumed dead and has not brought it itself"
NEVER_MET: Final = "written by another node, which the group never met"
REASONS: Final = (CHANGED, UNKNOWN, FLUSHING, NO_GRAVESTONE, NOT_HERE, NOT_OURS, NEVER_MET)
"""Why an operation is in a report."""
VALUES_SHOWN: Final = 16


@final
class Row:
    """One operation that was not submitted. `name` is of the node that wrote it, `exile` what it was kept with."""

    __slots__ = ("done", "dot", "exile", "name", "operation", "reason", "stamp")

    def __init__(self, dot: Dot, operation: AnyOperation, stamp: int, reason: str, name: str, exile: "Exile") -> None:
        self.dot = dot
        self.operation = operation
        self.stamp = stamp
        self.reason = reason
        self.name = name
        self.exile = exile
        self.done: Dot | None = None
        """Under which dot the rest of the operation was submitted, what a removal did to elements of the node's own."""

    @property
    def id(self) -> str:
        """The dot, as people write it."""
        return f"{id_text(self.dot[0])}:{self.dot[1]}"

    def fields(self) -> dict[str, str | int]:
        """The row for people. O(values shown)."""
        operation = self.operation
        key = b"" if isinstance(operation, (Flush, RosterOperation)) else operation.key
        return {
            "id": self.id,
            "key": key.decode("utf-8", "backslashreplace"),
            "operation": operation_text(operation),
            "stamp_ms": stamp_ms(self.stamp),
            "stamp_counter": self.stamp & ((1 << COUNTER_BITS) - 1),
            "written_by": self.name,
            "reason": self.reason,
        }


def operation_text(operation: AnyOperation) -> str:
    """An operation as one line: its name and what it does, without the key. O(values shown)."""
    if isinstance(operation, Inside):
        path = ".".join(field.decode("utf-8", "backslashreplace") for field in operation.path)
        return f"{path}: {operation_text(operation.operation)}"
    content = zip(names(operation), operation.content(), strict=True)
    words = [_value_text(value) for name, value in content if name not in ("key", "left", "right")]
    return " ".join([type(operation).__name__, *words])


def _value_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list):
        shown = " ".join(map(_value_text, value[:VALUES_SHOWN]))
        return shown if len(value) <= VALUES_SHOWN else f"{shown} … ({len(value)} in all)"
    if isinstance(value, tuple):
        return ":".join([id_text(value[0]), *map(str, value[1:])])
    return str(value)


@final
class Report:
    """The rows, in the order in which they were put in."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[Dot, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, dot: Dot) -> bool:
        return dot in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def put(self, row: Row) -> None:
        """Add a row. O(1)."""
        self._rows[row.dot] = row

    def get(self, dot: Dot) -> Row | None:
        """The row of an operation. O(1)."""
        return self._rows.get(dot)

    def drop(self, dot: Dot) -> None:
        """Take a row out. O(1)."""
        self._rows.pop(dot, None)

    def drop_claimed(self, claims: Claims) -> None:
        """Take out what was submitted by somebody. O(rows)."""
        for dot in [dot for dot in self._rows if claims.covers(dot)]:
            del self._rows[dot]
