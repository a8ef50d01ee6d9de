"""What a database is specified to show (beside the floors): a function of all operations and what each had observed.

This is DESIGN.md section 5 as it is written: no windows, no folding, no stability, no dropping. A `Record` is one operation
with its true context, a version vector that never forgets. `visible` computes the whole keyspace from records, in any
order that has no operation before one that it observed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from marmoset.clocks import VersionVector
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    AnyOperation,
    Assign,
    Flush,
    Increment,
    MapAssign,
    MapIncrement,
    MapRemove,
    Reset,
    Scalar,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.register import number_of, parse_amount, plain_number
from marmoset.ids import Dot

Plain = Scalar | frozenset[bytes] | dict[bytes, Scalar] | list[Scalar]


@dataclass(frozen=True, slots=True)
class Record:
    """One operation, its first dot, its stamp, and everything that its origin had observed."""

    operation: AnyOperation
    dot: Dot
    stamp: int
    observed: VersionVector

    def saw(self, dot: Dot) -> bool:
        """Whether an operation happened before this one."""
        return self.observed.get(dot[0], 0) >= dot[1]


def _unobserved(record: Record, by: Iterable[Record]) -> bool:
    return not any(other.saw(record.dot) for other in by)


def _register(
    assignments: list[tuple[Record, Scalar]], increments: list[tuple[Record, int | Decimal]], resets: list[Record]
) -> Scalar | None:
    enders = [record for record, _ in assignments] + resets
    bases = [(r.stamp, r.dot, value) for r, value in assignments if _unobserved(r, enders)]
    amounts = [amount for r, amount in increments if _unobserved(r, enders)]
    base = max(bases)[2] if bases else None
    number = number_of(base)
    if not amounts or number is None:
        return base
    total = sum(map(Decimal, amounts), Decimal(number))
    return plain_number(int(total) if total == total.to_integral_value() else total)


def _string(records: list[Record], resets: list[Record]) -> Scalar | None:
    return _register(
        [(r, r.operation.value) for r in records if isinstance(r.operation, Assign)],
        [(r, _amount(r.operation.amount)) for r in records if isinstance(r.operation, Increment)],
        [r for r in resets if not isinstance(r.operation, Assign)],
    )


def _amount(amount: int | str) -> int | Decimal:
    number = parse_amount(amount)
    assert number is not None
    return number


def _set(records: list[Record], resets: list[Record]) -> frozenset[bytes]:
    adds = [(e, r) for r in records if isinstance(r.operation, SetAdd) for e in r.operation.elements]
    removals = [(e, r) for r in records if isinstance(r.operation, SetRemove) for e in r.operation.elements]
    return frozenset(
        element
        for element, add in adds
        if _unobserved(add, resets) and _unobserved(add, [r for other, r in removals if other == element])
    )


def _map(records: list[Record], resets: list[Record]) -> dict[bytes, Scalar]:
    assigned: dict[bytes, list[tuple[Record, Scalar]]] = {}
    incremented: dict[bytes, list[tuple[Record, int | Decimal]]] = {}
    removed: dict[bytes, list[Record]] = {}
    for record in records:
        operation = record.operation
        if isinstance(operation, MapAssign):
            pairs = dict(zip(operation.pairs[::2], operation.pairs[1::2], strict=True))
            for field, value in pairs.items():
                assert isinstance(field, bytes)
                assigned.setdefault(field, []).append((record, value))
        elif isinstance(operation, MapIncrement):
            incremented.setdefault(operation.field, []).append((record, _amount(operation.amount)))
        elif isinstance(operation, MapRemove):
            for field in operation.fields:
                removed.setdefault(field, []).append(record)
    shown: dict[bytes, Scalar] = {}
    for field in sorted({*assigned, *incremented}):
        shown_value = _register(assigned.get(field, []), incremented.get(field, []), resets + removed.get(field, []))
        if shown_value is not None:
            shown[field] = shown_value
    return shown


@dataclass(slots=True)
class _Element:
    dot: Dot
    left: Dot | None
    right: Dot | None


def sequence_order(records: list[Record]) -> list[Dot]:
    """All elements ever inserted, in FugueMax order (Weidner, Kleppmann 2023), by its plain scan. O(n squared)."""
    order: list[_Element] = []
    index: dict[Dot, int] = {}

    def place(dot: Dot | None, end: int) -> int:
        return end if dot is None else index[dot]

    def put(record: Record, dot: Dot, left: Dot | None, right: Dot | None) -> None:
        low, high = place(left, -1), place(right, len(order))
        for at in range(low + 1, high):  # what the origin knew between the two was removed there
            if record.saw(order[at].dot):
                high = at
                break
        bound = order[high].dot if high < len(order) else None
        at = here = low + 1
        scanning = False
        while True:
            if not scanning:
                at = here
            if here == high:
                break
            other = order[here]
            other_low, other_high = place(other.left, -1), place(other.right, len(order))
            if other_low < low:
                break
            if other_low == low:
                if other_high < high:
                    scanning = True
                elif other_high == high and dot < other.dot:
                    break
                else:
                    scanning = False
            here += 1
        order.insert(at, _Element(dot, left, bound))
        for moved in range(at, len(order)):
            index[order[moved].dot] = moved

    for record in records:
        operation = record.operation
        if isinstance(operation, SequenceInsert):
            left, right = operation.left, operation.right
            for i in range(len(operation.values)):
                dot = (record.dot[0], record.dot[1] + i)
                put(record, dot, left, right)
                left = dot
                if i == 0:  # the others of the run stand before what the first one found on its right
                    right = order[index[dot]].right
    return [element.dot for element in order]


def _sequence(records: list[Record], resets: list[Record]) -> list[Scalar]:
    values: dict[Dot, Scalar] = {}
    removed: set[Dot] = set()
    assigned: dict[Dot, list[Record]] = {}
    for record in records:
        operation = record.operation
        if isinstance(operation, SequenceInsert):
            for i, value in enumerate(operation.values):
                values[record.dot[0], record.dot[1] + i] = value
        elif isinstance(operation, SequenceRemove):
            removed.update((r, s + i) for r, s, n in operation.ranges for i in range(n))
        elif isinstance(operation, SequenceAssign):
            assigned.setdefault(operation.element, []).append(record)
    shown: list[Scalar] = []
    for dot in sequence_order(records):
        if dot in removed or any(reset.saw(dot) for reset in resets):
            continue
        latest = max(assigned.get(dot, []), key=lambda r: (r.stamp, r.dot), default=None)
        if latest is None:
            shown.append(values[dot])
        else:
            assert isinstance(latest.operation, SequenceAssign)
            shown.append(latest.operation.value)
    return shown


def visible(records: list[Record]) -> dict[bytes, tuple[int, Plain]]:
    """What every key shows, with its kind. Records must be in an order that respects what they observed."""
    flushes = [record for record in records if isinstance(record.operation, Flush)]
    by_key: dict[bytes, list[Record]] = {}
    for record in records:
        key = getattr(record.operation, "key", None)
        if isinstance(key, bytes):
            by_key.setdefault(key, []).append(record)
    shown: dict[bytes, tuple[int, Plain]] = {}
    for key, mine in by_key.items():
        resets = [*flushes, *(r for r in mine if isinstance(r.operation, Reset | Assign))]
        string = _string(mine, resets)
        candidates: list[tuple[int, Plain]] = [
            (KIND_MAP, _map(mine, resets)),
            (KIND_SET, _set(mine, resets)),
            (KIND_SEQUENCE, _sequence(mine, resets)),
        ]
        present = [(kind, value) for kind, value in candidates if value]
        if string is not None:
            present.append((KIND_REGISTER, string))
        if present:
            shown[key] = present[0]
    return shown


def plain(value: object) -> Plain:
    """A value of the keyspace as `visible` gives it, for comparison."""
    if isinstance(value, bytes | int):
        return value
    if hasattr(value, "items"):
        return dict(value.items())
    if hasattr(value, "neighbours"):
        return list(value)  # type: ignore[call-overload, no-any-return]
    return frozenset(value)  # type: ignore[call-overload, no-any-return]
