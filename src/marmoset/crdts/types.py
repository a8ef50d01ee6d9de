"""The verbs of every type, by kind (floor 3): the one place that knows all types.

*effect* applies an operation with its dot, stamp and context; *reset* removes what a context covers; *fold* forgets an
operation that is stable. A window of None means that the group has one member: every operation is stable at once and
nothing is remembered. Values that are immutable are returned, the others changed in place; so every verb returns the
value to keep, None for an absent register.
"""

from typing import Final, cast

from marmoset.clocks import Context
from marmoset.codec.operations import (
    KIND_MAP,
    KIND_REGISTER,
    KIND_SEQUENCE,
    KIND_SET,
    KIND_SORTED_SET,
    AnyOperation,
    Assign,
    Increment,
    Inside,
    MapAssign,
    MapIncrement,
    MapRemove,
    ScoreAssign,
    ScoreIncrement,
    ScoreRemove,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts import sequence as sequences
from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.map import Fields, MapWindow, SortedSetWindow, assign_plain, increment_plain
from marmoset.crdts.nested import NestedMap, NestedWindow
from marmoset.crdts.register import RegisterWindow, incremented, parse_amount
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.crdts.sortedset import SortedSet, parse_score
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.errors import InternalError, PeerError
from marmoset.ids import Dot

Value = bytes | int | set[bytes] | SplitSet | dict[bytes, bytes | int] | SplitMap | NestedMap | SortedSet | Sequence
Window = RegisterWindow | SetWindow | MapWindow | NestedWindow | SequenceWindow
FieldOperation = MapAssign | MapIncrement | MapRemove | ScoreAssign | ScoreIncrement | ScoreRemove

KIND_NAMES: Final[dict[int, str]] = {
    KIND_MAP: "hash",
    KIND_SET: "set",
    KIND_SORTED_SET: "zset",
    KIND_SEQUENCE: "list",
    KIND_REGISTER: "string",
}
"""As Redis's TYPE names them."""


# Here and in other hot places `isinstance(x, A) or isinstance(x, B)` stands for `isinstance(x, (A, B))`: mypyc compiles
# the former to comparisons of pointers, and calls the interpreter for the latter.


def kind_of(value: Value) -> int:
    """The kind of a plain value: one of `KIND_*`. O(1)."""
    if isinstance(value, bytes) or isinstance(value, int):
        return KIND_REGISTER
    if isinstance(value, Sequence):  # our own classes first: they are told by one comparison
        return KIND_SEQUENCE
    if isinstance(value, SortedSet):
        return KIND_SORTED_SET
    return KIND_SET if isinstance(value, SplitSet) or isinstance(value, set) else KIND_MAP


def kind_of_window(window: Window) -> int:
    """The kind of the value that a window stands beside. O(1)."""
    if isinstance(window, RegisterWindow):
        return KIND_REGISTER
    if isinstance(window, SetWindow):
        return KIND_SET
    if isinstance(window, SortedSetWindow):
        return KIND_SORTED_SET
    return KIND_SEQUENCE if isinstance(window, SequenceWindow) else KIND_MAP


def remembers(value: Value | None) -> bool:
    """Whether a value remembers a removal until it is stable: a sequence, or a map with one inside. O(1)."""
    return isinstance(value, (Sequence, NestedMap))


def check_operation(operation: AnyOperation) -> None:
    """Refuse an operation from elsewhere that names no number where one is needed. O(1).

    Raises:
        PeerError: nothing was changed.
    """
    kind = type(operation)
    if isinstance(operation, Inside):
        check_operation(operation.operation)
    elif kind is Increment or kind is MapIncrement or kind is ScoreIncrement:
        assert isinstance(operation, (Increment, MapIncrement, ScoreIncrement))
        if parse_amount(operation.amount) is None:
            raise PeerError(f"an increment by {operation.amount!r}, which is no number")
    elif isinstance(operation, ScoreAssign):
        for score in operation.pairs[1::2]:
            if isinstance(score, bytes) and parse_score(score) != score:
                raise PeerError(f"a score of {score[:40]!r}, which is no number in its one form")


def empty_value(kind: int) -> Value | None:
    """The value of a kind before anything was done to it."""
    if kind == KIND_SET:
        return set()
    if kind == KIND_MAP:
        return {}
    if kind == KIND_SORTED_SET:
        return SortedSet()
    if kind == KIND_SEQUENCE:
        return Sequence()
    return None


def new_window(kind: int, value: Value | None) -> Window:
    """A window beside a value of which everything is stable."""
    if kind == KIND_SET:
        return SetWindow()
    if isinstance(value, NestedMap):
        return NestedWindow(value.slots)
    if kind == KIND_MAP:
        return MapWindow()
    if kind == KIND_SORTED_SET:
        return SortedSetWindow()
    if kind == KIND_SEQUENCE:
        return SequenceWindow()
    assert value is None or isinstance(value, (bytes, int))
    return RegisterWindow(value)


def is_visible(value: Value | None) -> bool:
    """Whether a key with this value exists: a register that is there, a collection that is not empty. O(1)."""
    if isinstance(value, bytes) or isinstance(value, int):
        return True
    if isinstance(value, Sequence):
        return len(value) > 0
    return value is not None and len(value) > 0


def effect(
    value: Value | None, window: Window | None, operation: AnyOperation, dot: Dot, stamp: int, context: Context
) -> Value | None:
    """Apply an operation to a value of its kind. Cost: see the type."""
    if type(value) is NestedMap:
        value.slots.effect_map(operation, dot, stamp, context, tracking=window is not None)
    elif type(operation) is SetAdd or type(operation) is SetRemove:
        assert isinstance(value, set) or isinstance(value, SplitSet)
        _effect_set(value, window, operation, dot, context)
    elif type(operation) is Assign:
        if window is None:
            return operation.value
        assert isinstance(window, RegisterWindow)
        window.assign(dot, stamp, context, operation.value)
        return window.value()
    elif type(operation) is Increment:
        assert value is None or isinstance(value, bytes) or isinstance(value, int)
        amount = parse_amount(operation.amount)
        assert amount is not None
        if window is None:
            return incremented(value, amount)
        assert isinstance(window, RegisterWindow)
        window.increment(dot, amount)
        return window.value()
    elif isinstance(value, Sequence):
        assert isinstance(operation, (SequenceInsert, SequenceRemove, SequenceAssign))
        _effect_sequence(value, window, operation, dot, stamp, context)
    else:
        assert operation.kind == KIND_MAP or operation.kind == KIND_SORTED_SET
        assert isinstance(value, dict) or isinstance(value, SplitMap) or isinstance(value, SortedSet)
        _effect_map(value, window, cast("FieldOperation", operation), dot, stamp, context)
    return value


def _effect_set(
    value: set[bytes] | SplitSet, window: Window | None, operation: SetAdd | SetRemove, dot: Dot, context: Context
) -> None:
    if type(operation) is SetAdd:
        if window is None:
            if isinstance(value, set):  # told apart for the compiler, which calls what it knows directly
                for element in operation.elements:
                    value.add(element)
            else:
                for element in operation.elements:
                    value.add(element)
        else:
            assert isinstance(window, SetWindow)
            window.add(value, operation.elements, dot, context)
    elif window is None:
        for element in operation.elements:
            value.discard(element)
    else:
        assert isinstance(window, SetWindow)
        window.remove(value, operation.elements, context)


def _effect_map(
    value: Fields,
    window: Window | None,
    operation: FieldOperation,
    dot: Dot,
    stamp: int,
    context: Context,
) -> None:
    assert window is None or isinstance(window, MapWindow)
    if type(operation) is MapAssign or type(operation) is ScoreAssign:
        if window is None:
            assign_plain(value, operation.pairs)
        else:
            window.assign(value, operation.pairs, dot, stamp, context)
    elif type(operation) is MapIncrement or type(operation) is ScoreIncrement:
        amount = parse_amount(operation.amount)
        assert amount is not None
        if window is None:
            increment_plain(value, operation.field, amount)
        else:
            window.increment(value, operation.field, amount, dot)
    elif window is None:
        for field in operation.fields:
            value.pop(field, None)
    else:
        window.remove(value, operation.fields, context)


def _effect_sequence(
    value: Sequence,
    window: Window | None,
    operation: SequenceInsert | SequenceRemove | SequenceAssign,
    dot: Dot,
    stamp: int,
    context: Context,
) -> None:
    assert window is None or isinstance(window, SequenceWindow)
    if isinstance(operation, SequenceInsert):
        sequences.insert(value, window, dot, context, operation.left, operation.right, operation.values)
    elif isinstance(operation, SequenceRemove):
        sequences.remove(value, window, dot, operation.ranges)
    else:
        sequences.assign(value, window, dot, stamp, context, operation.element, operation.value)


def reset(value: Value | None, window: Window | None, dot: Dot, context: Context) -> Value | None:
    """Remove what `context` covers: what is left. A sequence keeps removed elements until `dot` is stable."""
    if isinstance(value, Sequence) and window is not None:
        assert isinstance(window, SequenceWindow)
        sequences.reset(value, window, dot, context)
        return value
    if isinstance(value, NestedMap):
        value.slots.reset_map(dot, context, tracking=window is not None)
        return value
    if window is None:
        return None
    if isinstance(window, RegisterWindow):
        window.reset(context)
        return window.value()
    if isinstance(window, SortedSetWindow):
        return SortedSet(window.reset(context).items())
    if isinstance(window, (SetWindow, MapWindow)):
        return window.reset(context)
    raise InternalError("a window of a sequence beside another value")


def found(window: Window, value: Value) -> None:
    """Give the registers of a window, made from unstable operations alone, what was stable before those, so that it
    shows `value`. O(registers of the window)."""
    if isinstance(window, RegisterWindow):
        assert isinstance(value, (bytes, int))
        window.found(value)
    elif isinstance(window, MapWindow):
        assert isinstance(value, (dict, SplitMap, SortedSet))
        for field, inner in window.fields.items():
            shown = value.get(field)
            assert shown is not None
            inner.found(shown)


def fold(value: Value | None, window: Window, operation: AnyOperation, dot: Dot) -> None:
    """Forget an operation of the window's kind that is stable; what is visible stays. O(what it touched)."""
    if isinstance(window, NestedWindow):
        window.slots.fold_map(operation, dot)
    elif isinstance(window, SetWindow):
        if isinstance(operation, SetAdd):
            window.fold(operation.elements, dot)
    elif isinstance(window, RegisterWindow):
        if isinstance(operation, Assign):
            window.fold_assign(dot)
        elif isinstance(operation, Increment):
            window.fold_increment(dot)
    elif isinstance(window, MapWindow):
        if isinstance(operation, (MapAssign, ScoreAssign)):
            window.fold_assign(operation.pairs, dot)
        elif isinstance(operation, (MapIncrement, ScoreIncrement)):
            window.fold_increment(operation.field, dot)
    else:
        assert isinstance(value, Sequence)
        if isinstance(operation, SequenceInsert):
            sequences.fold_insert(value, window, dot, len(operation.values))
        elif isinstance(operation, SequenceRemove):
            sequences.fold_remove(value, window, dot, operation.ranges)
        elif isinstance(operation, SequenceAssign):
            sequences.fold_assign(value, window, dot, operation.element)


def fold_reset(value: Value | None, window: Window, dot: Dot) -> None:
    """Forget a reset that is stable: only a sequence remembers it, or a map with one inside. O(what it removed)."""
    if isinstance(window, NestedWindow):
        window.slots.fold_reset_map(dot)
    if isinstance(window, SequenceWindow):
        assert isinstance(value, Sequence)
        sequences.fold_reset(value, window, dot)


def split_large(value: Value, split_above: int) -> Value:
    """The same collection in parts if it has outgrown a single Python container. O(1), O(n) once."""
    if isinstance(value, set) and len(value) > split_above:
        return SplitSet(value, split_above)
    if isinstance(value, dict) and len(value) > split_above:
        return SplitMap(value.items(), split_above)
    if isinstance(value, SortedSet) and len(value) > split_above:
        value.split(split_above)
    return value


def check_value(value: Value | None, window: Window | None) -> None:
    """The invariants of a value and its window; for tests and the simulator. O(n)."""
    if isinstance(value, (SplitSet, SplitMap, SortedSet)):
        value._check()
    if isinstance(value, NestedMap):
        value.slots._check()
        assert window is None or (isinstance(window, NestedWindow) and window.slots is value.slots)
        assert window is not None or value.slots.is_at_rest, "something unstable without a window"
    elif isinstance(value, Sequence):
        value._check()
        if window is not None:
            assert isinstance(window, SequenceWindow)
            window._check(value)
    elif isinstance(window, SetWindow):
        assert isinstance(value, (set, SplitSet))
        window._check(value)
    elif isinstance(window, MapWindow):
        assert isinstance(value, (dict, SplitMap, SortedSet))
        window._check(value)
    elif isinstance(window, RegisterWindow):
        window._check()
        assert value == window.value(), "a register does not show its window's value"
