"""What a database is specified to show (beside the floors): a function of all operations and what each had observed.

This is DESIGN.md section 5 as it is written: no windows, no folding, no stability, no dropping. A `Record` is one
operation with its true context, a version vector that never forgets. `visible` computes the whole keyspace from
records, in any order that has no operation before one that it observed.
"""

import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from marmoset.clocks import VersionVector
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    KIND_SORTED_SET,
    AnyOperation,
    Assign,
    Expire,
    Flush,
    Increment,
    Inside,
    MapAssign,
    MapIncrement,
    MapRemove,
    Reset,
    Scalar,
    ScoreAssign,
    ScoreIncrement,
    ScoreRemove,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.register import number_of, parse_amount, plain_number
from marmoset.ids import Dot

Plain = Scalar | frozenset[bytes] | Mapping[bytes, "Plain"] | list[Scalar]


@dataclass(frozen=True, slots=True)
class Record:
    """One operation, its first dot, its stamp, and everything that its origin had observed."""

    operation: AnyOperation
    dot: Dot
    stamp: int
    observed: VersionVector

    def saw(self, dot: Dot) -> bool:
        """Whether an operation happened before this one; what its own origin made before, it has always observed."""
        if dot[0] == self.dot[0]:
            return dot[1] < self.dot[1]
        return self.observed.get(dot[0], 0) >= dot[1]


Placed = tuple[int, Record]
"""A record behind its place: nothing is observed by what has a lower place."""


def _is_observed(placed: Placed, enders: list[Placed]) -> bool:
    """Whether any of some records, in the order of places, has observed another. O(enders behind it)."""
    place, dot = placed[0], placed[1].dot
    for at in range(len(enders) - 1, -1, -1):
        other_place, other = enders[at]
        if other_place < place:
            return False
        if other.saw(dot):
            return True
    return False


def _merged(*lists: list[Placed]) -> list[Placed]:
    """Records of several lists in the order of places, each once."""
    filled = [each for each in lists if each]
    if len(filled) < 2:
        return filled[0] if filled else []
    merged = {place: record for each in filled for place, record in each}
    return sorted(merged.items())


_exact: Final = decimal.Context(prec=10_000, traps=[decimal.Inexact])


def _register(
    assignments: list[tuple[Placed, Scalar]], increments: list[tuple[Placed, int | Decimal]], resets: list[Placed]
) -> Scalar | None:
    enders = _merged([placed for placed, _ in assignments], resets)
    bases = [(p[1].stamp, p[1].dot, value) for p, value in assignments if not _is_observed(p, enders)]
    amounts = [amount for p, amount in increments if not _is_observed(p, enders)]
    base = max(bases)[2] if bases else None
    number = number_of(base)
    if not amounts or number is None:
        return base
    total = _exact.plus(Decimal(number))
    for amount in amounts:
        total = _exact.add(total, Decimal(amount))
    return plain_number(int(total) if total == total.to_integral_value() else total)


def _string(records: list[Placed], resets: list[Placed]) -> Scalar | None:
    return _register(
        [(p, p[1].operation.value) for p in records if isinstance(p[1].operation, Assign)],
        [(p, _amount(p[1].operation.amount)) for p in records if isinstance(p[1].operation, Increment)],
        resets,
    )


def _amount(amount: int | str) -> int | Decimal:
    number = parse_amount(amount)
    assert number is not None
    return number


def _set(records: list[Placed], resets: list[Placed]) -> frozenset[bytes]:
    adds: dict[bytes, list[Placed]] = {}
    removals: dict[bytes, list[Placed]] = {}
    for placed in records:
        operation = placed[1].operation
        if isinstance(operation, SetAdd):
            for element in operation.elements:
                adds.setdefault(element, []).append(placed)
        elif isinstance(operation, SetRemove):
            for element in operation.elements:
                removals.setdefault(element, []).append(placed)
    return frozenset(
        element
        for element, added in adds.items()
        if any(not _is_observed(p, resets) and not _is_observed(p, removals.get(element, [])) for p in reversed(added))
    )


def _fields(records: list[Placed], resets: list[Placed], *, scores: bool) -> dict[bytes, Scalar]:
    """The fields of a map, or the members of a sorted set with their scores."""
    assign, increment, remove = (
        (ScoreAssign, ScoreIncrement, ScoreRemove) if scores else (MapAssign, MapIncrement, MapRemove)
    )
    assigned: dict[bytes, list[tuple[Placed, Scalar]]] = {}
    incremented: dict[bytes, list[tuple[Placed, int | Decimal]]] = {}
    removed: dict[bytes, list[Placed]] = {}
    for placed in records:
        operation = placed[1].operation
        if isinstance(operation, assign):
            pairs = dict(zip(operation.pairs[::2], operation.pairs[1::2], strict=True))
            for field, value in pairs.items():
                assert isinstance(field, bytes)
                assigned.setdefault(field, []).append((placed, value))
        elif isinstance(operation, increment):
            incremented.setdefault(operation.field, []).append((placed, _amount(operation.amount)))
        elif isinstance(operation, remove):
            for field in operation.fields:
                removed.setdefault(field, []).append(placed)
    shown: dict[bytes, Scalar] = {}
    for field in sorted({*assigned, *incremented}):
        enders = _merged(resets, removed.get(field, []))
        shown_value = _register(assigned.get(field, []), incremented.get(field, []), enders)
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


def _sequence(records: list[Placed], resets: list[Placed]) -> list[Scalar]:
    values: dict[Dot, tuple[Scalar, Placed]] = {}
    removed: set[Dot] = set()
    assigned: dict[Dot, list[Record]] = {}
    for placed in records:
        record = placed[1]
        operation = record.operation
        if isinstance(operation, SequenceInsert):
            for i, value in enumerate(operation.values):
                values[record.dot[0], record.dot[1] + i] = value, placed
        elif isinstance(operation, SequenceRemove):
            removed.update((r, s + i) for r, s, n in operation.ranges for i in range(n))
        elif isinstance(operation, SequenceAssign):
            assigned.setdefault(operation.element, []).append(record)
    shown: list[Scalar] = []
    for dot in sequence_order([record for _, record in records]):
        value, placed = values[dot]
        if dot in removed or _is_observed(placed, resets):
            continue
        latest = max(assigned.get(dot, []), key=lambda r: (r.stamp, r.dot), default=None)
        if latest is None:
            shown.append(value)
        else:
            assert isinstance(latest.operation, SequenceAssign)
            shown.append(latest.operation.value)
    return shown


def visible(records: list[Record]) -> dict[bytes, tuple[int, Plain]]:
    """What every key shows, with its kind. Records must be in an order that respects what they observed.

    O(records), times the ends (assignments, removals, resets) of one element that did not observe each other; for lists
    the square of their length.
    """
    flushes: list[Placed] = []
    by_key: dict[bytes, list[Placed]] = {}
    for placed in enumerate(records):
        operation = placed[1].operation
        if isinstance(operation, Flush):
            flushes.append(placed)
            continue
        key = getattr(operation, "key", None)
        if isinstance(key, bytes):
            by_key.setdefault(key, []).append(placed)
    shown: dict[bytes, tuple[int, Plain]] = {}
    for key, mine in by_key.items():
        found = _slot(mine, flushes)
        if found is not None:
            shown[key] = found
    return shown


def _slot(mine: list[Placed], outer: list[Placed]) -> tuple[int, Plain] | None:
    """What a key or a field shows, by the operations on it and the resets of what it stands in; None for nothing."""
    resets = _merged(outer, [p for p in mine if isinstance(p[1].operation, Reset)])
    string = _string(mine, resets)
    ends = _merged(resets, [p for p in mine if isinstance(p[1].operation, Assign)])
    nests = any(isinstance(p[1].operation, Inside) for p in mine)
    candidates: list[tuple[int, Plain]] = [
        (KIND_MAP, _children(mine, ends) if nests else _fields(mine, ends, scores=False)),
        (KIND_SET, _set(mine, ends)),
        (KIND_SORTED_SET, _fields(mine, ends, scores=True)),
        (KIND_SEQUENCE, _sequence(mine, ends)),
    ]
    present = [(kind, value) for kind, value in candidates if value]
    if string is not None:
        present.append((KIND_REGISTER, string))
    return present[0] if present else None


def _children(records: list[Placed], resets: list[Placed]) -> dict[bytes, Plain]:
    """The fields of a map that nests: each is a slot of its own, and reset with the map."""
    inside: dict[bytes, list[Placed]] = {}

    def put(field: bytes, placed: Placed, operation: AnyOperation) -> None:
        record = placed[1]
        inside.setdefault(field, []).append((placed[0], Record(operation, record.dot, record.stamp, record.observed)))

    for placed in records:
        operation = placed[1].operation
        if isinstance(operation, Inside):
            field, *rest = operation.path
            put(field, placed, Inside(b"", rest, operation.operation) if rest else operation.operation)
        elif isinstance(operation, MapAssign):
            for name, value in dict(zip(operation.pairs[::2], operation.pairs[1::2], strict=True)).items():
                assert isinstance(name, bytes)
                put(name, placed, Assign(name, value))
        elif isinstance(operation, MapIncrement):
            put(operation.field, placed, Increment(operation.field, operation.amount))
        elif isinstance(operation, MapRemove):
            for name in operation.fields:
                put(name, placed, Reset(name))
    found = {field: _slot(mine, resets) for field, mine in sorted(inside.items())}
    return {field: value[1] for field, value in found.items() if value is not None}


def deadlines_of(records: list[Record]) -> dict[bytes, int]:
    """The deadline of every key that has one: of those that no other deadline and no reset has observed the latest,
    never being the latest of all. O(records of a key squared)."""
    flushes = [record for record in records if isinstance(record.operation, Flush)]
    given: dict[bytes, list[Record]] = {}
    ended: dict[bytes, list[Record]] = {}
    for record in records:
        operation = record.operation
        if isinstance(operation, Expire):
            given.setdefault(operation.key, []).append(record)
        elif isinstance(operation, Reset) or (isinstance(operation, Assign) and not operation.keep_deadline):
            ended.setdefault(operation.key, []).append(record)
    shown: dict[bytes, int] = {}
    for key, mine in given.items():
        enders = [*mine, *ended.get(key, []), *flushes]
        left = [record for record in mine if not any(other.saw(record.dot) for other in enders)]
        times = [record.operation.deadline_ms for record in left if isinstance(record.operation, Expire)]
        if times and 0 not in times:
            shown[key] = max(times)
    return shown


def plain(value: object) -> Plain:
    """A value of the keyspace as `visible` gives it, for comparison."""
    if isinstance(value, bytes | int):
        return value
    if hasattr(value, "items"):
        return {name: plain(inner) for name, inner in value.items()}
    if hasattr(value, "neighbours"):
        return list(value)  # type: ignore[call-overload, no-any-return]
    return frozenset(value)  # type: ignore[call-overload, no-any-return]
