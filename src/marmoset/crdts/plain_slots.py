"""The tables of slots, and what is done to them without windows (floor 3).

Three tables. `values` is what is visible, the plain Python value, and all that a read ever looks at. `windows` has the
window of the visible value for the names that have one. `beside` is for the few names that hold something that is not
visible.

An operation that has observed everything unstable at a name changes the value as in a group of one (`effect_plain`,
`push_plain`, `run_effects`). Its window is made if something comes that has not observed it (`wind`).
"""

from typing import Final, Protocol, final

from marmoset.codec.operations import (
    KIND_SEQUENCE,
    NO_KIND,
    AnyOperation,
    Assign,
    Inside,
    Scalar,
    SequenceInsert,
)
from marmoset.codec.runs import Pushes
from marmoset.crdts import types
from marmoset.crdts.chains import (
    CLASH,
    NO_INSERTIONS,
    NO_NOTES,
    NOTHING_LAID,
    NOTHING_UNWOUND,
    OBSERVING,
    PLAIN,
    REPLACED,
    WINDOWED,
    ChainNotes,
    Linked,
)
from marmoset.crdts.garbage import Garbage
from marmoset.crdts.register import incremented
from marmoset.crdts.sequence import Sequence, insert, push
from marmoset.crdts.sequence_chain import Insertions, LaidAside
from marmoset.crdts.sequence_window import SequenceWindow
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window, kind_of, kind_of_window, remembers
from marmoset.ids import Dot, ReplicaId

NOT_DONE: Final = -1
"""In place of a number: it takes more, and nothing was done."""


def new_table() -> dict[bytes, Value]:
    """An empty table of values that Python's cyclic garbage collector knows from the beginning. O(1).

    It comes to know a dict when the first container is put in, and visits what it knows newly: the whole dict, however
    large it is by then. Of a thousand shards of text, each of which gets its first set at about the same time, one
    collection would visit every key that there is.
    """
    table: dict[bytes, Value] = {b"": set()}
    del table[b""]
    return table


def assign_register(table: dict[bytes, Value], name: bytes, value: Scalar) -> bool:
    """Assign a register in a table of values, if its name has nothing but a plain value and shows nothing else; whether
    that was done. O(1)."""
    old = table.get(name)
    if old is None or isinstance(old, bytes) or isinstance(old, int):
        table[name] = value
        return True
    return False


def increment_register(table: dict[bytes, Value], name: bytes, amount: int) -> bool:
    """Increment one in the same way."""
    old = table.get(name)
    if old is None or isinstance(old, bytes) or isinstance(old, int):
        table[name] = incremented(old, amount)
        return True
    return False


class Reader(Protocol):
    """Who reads names as they stood at one instant (`reading.SlotsReading`), and is told before they change."""

    def before(self, name: bytes, operation: AnyOperation | None) -> None:
        """An operation on a name comes, or with None a reset."""

    def before_all(self) -> None:
        """All names change."""


@final
class Holding:
    """A value of one kind that is not what a name shows, with its window."""

    __slots__ = ("value", "window")

    def __init__(self, value: Value | None, window: Window | None) -> None:
        self.value = value
        self.window = window


NO_WINDOWS: Final[dict[bytes, Window]] = {}
NOTHING_BESIDE: Final[dict[bytes, dict[int, Holding]]] = {}
"""Of slots that have none, as most have: never changed, and always in the processor's cache."""


class PlainSlots:
    """Names with their values and windows, and changes that need no windows."""

    __slots__ = (
        "beside",
        "entries",
        "flushed",
        "garbage",
        "insertions",
        "laid",
        "notes",
        "readings",
        "remembering",
        "split_above",
        "unwound",
        "values",
        "windows",
    )

    def __init__(self, split_above: int, garbage: Garbage | None = None, notes: ChainNotes | None = None) -> None:
        """`garbage` takes what resets leave of large collections; without it they are freed at once. `notes` is for
        those of a keyspace."""
        # What every write looks at comes first, in one line of the processor's cache when it is compiled.
        self.values = new_table()
        self.windows = NO_WINDOWS
        self.beside = NOTHING_BESIDE
        self.laid = NOTHING_LAID
        """Name to a sequence that was removed as a whole, where nothing else is."""
        self.flushed: tuple[tuple[Dot, dict[bytes, Value]], ...] = ()
        """Values without windows that a FLUSHALL removed with the whole table, and its dot: some remember removals."""
        self.readings: tuple[Reader, ...] = ()
        self.split_above = split_above
        self.garbage = garbage
        self.unwound = NOTHING_UNWOUND
        """Name to operations in a chain whose window is not made before it is needed; see `wind`."""
        self.insertions = NO_INSERTIONS
        """Name to insertions into its sequence, which has no window; those that are stable go after a while."""
        self.notes: Final = notes or NO_NOTES
        self.entries = 0
        """Unstable facts in all windows."""
        self.remembering = 0
        """How many of the visible values remember removals."""

    # -- effects without windows

    def effect_plain(self, name: bytes, operation: AnyOperation, dot: Dot, *, chained: bool) -> int:
        """Apply an operation that has observed everything unstable at a name if it needs no window there; what it
        `needs`, and unless that is `PLAIN` nothing was done. `REPLACED`: no window, but more than a change of what is
        shown, which is for others to do. Without `chained` nothing is unstable anywhere."""
        if (self.windows and name in self.windows) or (self.beside and name in self.beside):
            return WINDOWED
        if self.readings and not chained:  # nobody reads what is chained
            return REPLACED
        old = self.values.get(name)
        if type(operation) is Assign and (old is None or isinstance(old, bytes) or isinstance(old, int)):
            self.values[name] = operation.value
            return PLAIN
        if type(operation) is SequenceInsert and (old is None or isinstance(old, Sequence)):
            sequence = Sequence() if old is None else old
            left, right = operation.left, operation.right
            insert(sequence, None, dot, OBSERVING, left, right, operation.values)
            if chained:
                self._note(name, old, sequence).add(dot, len(operation.values), left, right, self.notes.is_unstable)
            elif old is None:
                self._show(name, None, sequence)
            return PLAIN
        if chained:
            needed = self._needs(old, operation)
            if needed != PLAIN:
                return needed
        elif type(operation) is Inside or remembers(old):
            return REPLACED
        kind = operation.kind
        if old is not None and kind_of(old) != kind:  # which an assignment resets, or which stays beside
            return REPLACED
        value = types.empty_value(kind) if old is None else old
        self._keep(name, old, types.effect(value, None, operation, dot, 0, OBSERVING), None, 0)
        return PLAIN

    def needs(self, name: bytes, operation: AnyOperation) -> int:
        """What an operation that has observed everything unstable at a name needs there, so that its window can be made
        later (`wind`). O(1).

        `PLAIN`: no window. `WINDOWED`: one, since something has one already or remembers removals; of what the name
        holds without a window nothing is unstable then. `CLASH`: one, and before it those of the operations on what the
        name shows, which is of another kind and stays.
        """
        if (self.windows and name in self.windows) or (self.beside and name in self.beside):
            return WINDOWED
        return self._needs(self.values.get(name), operation)

    def _needs(self, old: Value | None, operation: AnyOperation) -> int:
        kind = operation.kind
        if type(operation) is SequenceInsert and isinstance(old, Sequence):
            return PLAIN
        if kind == KIND_SEQUENCE or type(operation) is Inside:
            return WINDOWED if old is None or remembers(old) else CLASH
        if old is None:
            return PLAIN
        if remembers(old):
            return WINDOWED
        return PLAIN if kind == NO_KIND or type(operation) is Assign or kind_of(old) == kind else CLASH

    def has_more(self, name: bytes) -> bool:
        """Whether more than a plain value has to be looked at when a name is written to. O(1)."""
        return (
            (bool(self.windows) and name in self.windows)
            or (bool(self.beside) and name in self.beside)
            or (bool(self.laid or self.flushed) and self.hides(name))
        )

    @property
    def has_any_more(self) -> bool:
        """The same for all names together, those that are read included. O(1)."""
        return bool(self.windows or self.beside or self.laid or self.flushed or self.readings)

    # -- single changes of what a name shows, which has no window and nothing beside it; not done to another kind. O(1).

    def assign_plain(self, name: bytes, value: Scalar) -> bool:
        """Assign a register; whether that was done."""
        return assign_register(self.values, name, value)

    def increment_plain(self, name: bytes, amount: int) -> bool:
        """Increment a register; whether that was done."""
        return increment_register(self.values, name, amount)

    def add_plain(self, name: bytes, element: bytes) -> int:
        """Add an element to a set; how many there are more now, or `NOT_DONE`."""
        old = self.values.get(name)
        if isinstance(old, set):
            before = len(old)
            old.add(element)
            after = len(old)
            if after > self.split_above:
                self._show(name, old, old)
            return after - before
        if isinstance(old, SplitSet):
            before = len(old)
            old.add(element)
            return len(old) - before
        if old is None:
            self.notes.registers_only = False
            self.values[name] = {element}
            return 1
        return NOT_DONE

    def assign_field_plain(self, name: bytes, field: bytes, value: Scalar) -> int:
        """Assign a field of a map that does not nest; how many there are more now, or `NOT_DONE`."""
        old = self.values.get(name)
        if isinstance(old, dict):
            before = len(old)
            old[field] = value
            after = len(old)
            if after > self.split_above:
                self._show(name, old, old)
            return after - before
        if isinstance(old, SplitMap):
            before = len(old)
            old[field] = value
            return len(old) - before
        if old is None:
            self.notes.registers_only = False
            self.values[name] = {field: value}
            return 1
        return NOT_DONE

    def add_each_plain(self, name: bytes, elements: list[bytes]) -> list[int]:
        """Add elements, one by one, to a set that is there and keeps its form even if all are new: how many there are
        more by each; empty where nothing was done. O(elements)."""
        old = self.values.get(name)
        if isinstance(old, SplitSet):
            return old.add_each(elements)
        more: list[int] = []
        if isinstance(old, set) and len(old) + len(elements) <= self.split_above:
            for element in elements:
                before = len(old)
                old.add(element)
                more.append(len(old) - before)
        return more

    def assign_each_plain(self, name: bytes, fields: list[bytes], values: list[bytes]) -> list[int]:
        """The same for fields of a map that does not nest."""
        old = self.values.get(name)
        if isinstance(old, SplitMap):
            return old.assign_each(fields, values)
        more: list[int] = []
        if isinstance(old, dict) and len(old) + len(fields) <= self.split_above:
            for at, field in enumerate(fields):
                before = len(old)
                old[field] = values[at]
                more.append(len(old) - before)
        return more

    def assign_score_plain(self, name: bytes, member: bytes, score: Scalar) -> int:
        """Give a member of a sorted set that is there a score; how many members there are more now, or `NOT_DONE`.
        O(log n)."""
        old = self.values.get(name)
        if not isinstance(old, SortedSet):
            return NOT_DONE
        before = len(old)
        old[member] = score
        after = len(old)
        if after != before and after > self.split_above:
            old.split(self.split_above)
        return after - before

    def push_plain(self, pushes: Pushes) -> bool:
        """The same for pushes, all of them. O(values + log n)."""
        name = pushes.key
        if self.has_more(name):
            return False
        old = self.values.get(name)
        if old is not None and not isinstance(old, Sequence):
            return False
        sequence = Sequence() if old is None else old
        push(sequence, pushes)
        self._note(name, old, sequence).add_pushes(pushes, self.notes.is_unstable)
        return True

    def sequence_at(self, name: bytes) -> Sequence | None:
        """The list that a name shows; None where it shows none. O(1)."""
        value = self.values.get(name)
        return value if isinstance(value, Sequence) else None

    def note_insertion(
        self, name: bytes, sequence: Sequence, dot: Dot, count: int, left: Dot | None, right: Dot | None
    ) -> None:
        """Write down an insertion that has observed everything unstable, into the sequence that a name shows. O(1)."""
        self._note(name, sequence, sequence).add(dot, count, left, right, self.notes.is_unstable)

    def note_pushes(self, name: bytes, replica: ReplicaId, seq: int, count: int, is_front: bool) -> bool:
        """The same for values that were pushed, one by one, onto an end of the whole sequence right behind the push of
        the one with the id before, if that is written down; whether it was. O(1)."""
        made = self.insertions.get(name)
        return made is not None and made.goes_on(replica, seq, count, is_front)

    def _note(self, name: bytes, old: Sequence | None, sequence: Sequence) -> Insertions:
        """Show a sequence into which something was inserted; where that is written down."""
        if old is None:
            self._show(name, None, sequence)
        made = self.insertions.get(name)
        if made is None:
            made = Insertions()
            if self.insertions:
                self.insertions[name] = made
            else:
                self.insertions = {name: made}
            self.notes.has_insertions = True
            self.notes.begun.append((self, name, made))
        return made

    def _wind_insertions(self, name: bytes) -> None:
        sequence = self.values.get(name)
        assert isinstance(sequence, Sequence)
        window = self.insertions.pop(name).wind(sequence, self.notes.is_unstable)
        if window.entries:
            self._set_window(name, window)
            self.entries += window.entries
            self.notes.has_wound = True

    def lay_aside(self, name: bytes, dot: Dot) -> bool:
        """Hide a sequence that a reset with this dot removes, without going through it, if the reset has observed all
        of it; whether that was done. The reset has to be folded. O(1)."""
        sequence = self.values.get(name)
        if not isinstance(sequence, Sequence) or self.readings or (self.beside and name in self.beside):
            return False
        window = self.windows.get(name)
        assert window is None or isinstance(window, SequenceWindow)
        is_noted = bool(self.insertions) and name in self.insertions
        if not self.notes.is_observing and (window is not None or is_noted):
            return False
        if window is not None:
            self._drop_window(name)
        self._hide(name)
        self.notes.has_more = True
        laid = LaidAside(sequence, window, self.insertions.pop(name) if is_noted else None, dot)
        if self.laid:
            self.laid[name] = laid
        else:
            self.laid = {name: laid}
        return True

    def lay_table_aside(self, table: dict[bytes, Value], dot: Dot) -> None:
        """The same for values that a FLUSHALL with this dot has removed, whatever it has observed: nothing of them is
        unstable. It has to be folded. O(1)."""
        self.flushed += ((dot, table),)
        self.notes.has_more = True

    def drop_table(self, dot: Dot) -> None:
        """A FLUSHALL is stable. O(1)."""
        for other, table in self.flushed:
            if other == dot and self.garbage is not None:
                self.garbage.put_table(table)
        self.flushed = tuple([each for each in self.flushed if each[0] != dot])

    def take_flushed(self, name: bytes) -> tuple[Dot, Value] | None:
        """What was laid aside of a name with a whole table, if it remembers removals, and the dot of its removal; it is
        not there any more. O(1)."""
        found: tuple[Dot, Value] | None = None
        for dot, table in self.flushed:
            value = table.pop(name, None)
            if value is not None and remembers(value):
                found = dot, value
        return found

    def hidden_value(self, name: bytes) -> Value | None:
        """What is laid aside of a name. O(1)."""
        if name in self.laid:
            return self.laid[name].sequence
        for _, table in self.flushed:
            if name in table:
                return table[name]
        return None

    def hides(self, name: bytes) -> bool:
        """Whether something of a name is laid aside. O(1)."""
        return self.hidden_value(name) is not None

    def hidden(self) -> list[tuple[bytes, Value]]:
        """All that is laid aside and remembers removals, with its name. O(what was flushed and is not stable)."""
        tables = [table.items() for _, table in self.flushed]
        flushed = [(name, value) for table in tables for name, value in table if remembers(value)]
        return [*((name, laid.sequence) for name, laid in self.laid.items()), *flushed]

    def bring_back(self, name: bytes) -> None:
        """Something comes to a name: what was laid aside there is removed element by element, and stands beside what is
        shown from here on. O(runs)."""
        laid = self.laid.pop(name)
        before = 0 if laid.window is None else laid.window.entries
        window = laid.wind(self.notes.is_unstable)
        self.entries += window.entries - before
        self.notes.has_wound = True
        self._set_beside(name, {KIND_SEQUENCE: Holding(laid.sequence, window)})

    def throw_away(self) -> None:
        """Everything goes. O(beside + laid aside)."""
        self.forget_unwound()
        for dot, _ in self.flushed:
            self.drop_table(dot)
        for laid in self.laid.values():
            self._throw_away(laid.sequence)
        for held in self.beside.values():
            for holding in held.values():
                self._throw_away(holding.value)
        if self.garbage is not None:
            self.garbage.put_table(self.values)
            self.garbage.put_table(self.windows)

    def _throw_away(self, value: Value | None) -> None:
        """A value goes as a whole. O(1), a collection in parts O(parts)."""
        if self.garbage is not None:
            self.garbage.put(value)
        elif isinstance(value, Sequence):
            value.clear()
            value.let_go()

    def wind_later(self, name: bytes, linked: Linked) -> None:
        """Put off the window of an operation, the next one of a chain. O(1)."""
        chain = self.unwound.get(name)
        if chain is not None:
            chain.append(linked)
            if len(chain) == self.notes.busy_operations:
                self.notes.busy.append((self, name))
        elif self.unwound:
            self.unwound[name] = [linked]
        else:
            self.unwound = {name: [linked]}

    def forget_unwound(self) -> None:
        """Nothing is unstable any more that has no window. O(1)."""
        self.forget_put_off()
        if self.insertions:
            if self.garbage is not None:
                self.garbage.put_table(self.insertions)
            self.insertions = NO_INSERTIONS

    def forget_insertions(self, name: bytes, made: Insertions) -> None:
        """Those of one name are stable, if what is written down there still is `made`. O(1)."""
        if self.insertions.get(name) is made:  # else it is wound, laid aside, or forgotten
            del self.insertions[name]
        if not self.insertions:
            self.insertions = NO_INSERTIONS

    def forget_put_off(self) -> None:
        """Nothing is unstable any more of which the window was put off. O(1)."""
        if self.unwound:
            if self.garbage is not None:
                self.garbage.put_table(self.unwound)
            self.unwound = NOTHING_UNWOUND

    def wind_all(self) -> None:
        """Make every window that was put off. O(what is unstable)."""
        for name in list(self.unwound):
            self.wind(name)
        for name in list(self.insertions):
            self._wind_insertions(name)

    def wind(self, name: bytes) -> int:
        """Make the window that was put off for a name (`unwound`), as if its operations had been tracked from the
        first: each has observed everything that was unstable at the name. What shows stays. How many operations were
        put off. O(elements named)."""
        chain = self.unwound.pop(name, None) if self.unwound else None
        if chain is None:
            return 0
        value = self.values.get(name)
        if value is None or remembers(value) or name in self.windows or name in self.beside:
            return len(chain)  # what of the chain has not been observed by others was tracked then
        kind = kind_of(value)
        touched = types.empty_value(kind)
        window = types.new_window(kind, touched)
        for operation, dot, stamp in chain:
            if not self.notes.is_unstable(dot):
                continue
            if operation.kind == kind:
                if type(operation) is not Inside:  # of a map that is gone: this one does not nest
                    touched = types.effect(touched, window, operation, dot, stamp, OBSERVING)
            elif operation.kind == NO_KIND or type(operation) is Assign:
                touched = types.reset(touched, window, dot, OBSERVING)
        types.found(window, value)
        if window.entries:
            self.entries += window.entries
            self._set_window(name, window)
        return len(chain)

    # -- keeping

    def _keep(self, name: bytes, old: Value | None, value: Value | None, window: Window | None, before: int) -> None:
        """Put back what a name shows, where it showed `old`, and its window, which had `before` entries."""
        entries = 0
        if window is not None:
            entries = window.entries
            self.entries += entries - before
            if entries:
                self._set_window(name, window)
            elif before:
                self._drop_window(name)
        if types.is_visible(value):
            assert value is not None
            self._show(name, old, value)
            return
        self._hide(name)
        if window is not None and entries:  # removed elements only
            self._drop_window(name)
            held = self.beside.get(name, {})
            held[kind_of_window(window)] = Holding(value, window)
            self._set_beside(name, held)
        elif isinstance(value, Sequence):
            value.let_go()

    def _set_window(self, name: bytes, window: Window) -> None:
        self.notes.has_more = True
        if self.windows:
            self.windows[name] = window
        else:
            self.windows = {name: window}

    def _set_beside(self, name: bytes, held: dict[int, Holding]) -> None:
        self.notes.has_more = True
        if self.beside:
            self.beside[name] = held
        else:
            self.beside = {name: held}

    def _drop_window(self, name: bytes) -> None:
        """Nothing of what a name shows is unstable any more."""
        del self.windows[name]
        if not self.windows:
            self.windows = NO_WINDOWS  # the table grew with what was unstable at one time

    def split(self, name: bytes) -> None:
        """Have what a name shows in parts if it is large enough. O(1), O(n) once."""
        value = self.values[name]
        self._show(name, value, value)

    def _show(self, name: bytes, old: Value | None, value: Value) -> None:
        if not isinstance(value, bytes) and not isinstance(value, int):
            self.notes.registers_only = False
            value = types.split_large(value, self.split_above)
        if old is not value:
            self.remembering += remembers(value) - remembers(old)
            self.values[name] = value

    def _hide(self, name: bytes) -> None:
        self.remembering -= remembers(self.values.pop(name, None))
