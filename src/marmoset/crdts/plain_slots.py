"""The tables of slots, and what is done to them without windows (floor 3).

Three tables. `values` is what is visible, the plain Python value, and all that a read ever looks at. `windows` has the
window of the visible value for the names that have one. `beside` is for the few names that hold something that is not
visible.

An operation that has observed everything unstable at a name changes the value as in a group of one (`effect_plain`,
`run_plain`, `push_plain`). Its window is made if something comes that has not observed it (`wind`).
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
from marmoset.codec.runs import ASSIGN_RUN, INCREMENT_RUN, MAP_RUN, SET_RUN, Pushes, Run
from marmoset.crdts import types
from marmoset.crdts.chains import (
    CLASH,
    NO_INSERTIONS,
    NO_NOTES,
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
from marmoset.crdts.sequence_chain import Insertions
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window, kind_of, kind_of_window, remembers
from marmoset.ids import Dot


def new_table() -> dict[bytes, Value]:
    """An empty table of values that Python's cyclic garbage collector knows from the beginning. O(1).

    It comes to know a dict when the first container is put in, and visits what it knows newly: the whole dict, however
    large it is by then. Of a thousand shards of text, each of which gets its first set at about the same time, one
    collection would visit every key that there is.
    """
    table: dict[bytes, Value] = {b"": set()}
    del table[b""]
    return table


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


class PlainSlots:
    """Names with their values and windows, and changes that need no windows."""

    __slots__ = (
        "beside",
        "entries",
        "garbage",
        "insertions",
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
        self.split_above = split_above
        self.garbage = garbage
        self.values = new_table()
        self.windows: dict[bytes, Window] = {}
        self.beside: dict[bytes, dict[int, Holding]] = {}
        self.unwound = NOTHING_UNWOUND
        """Name to operations in a chain whose window is not made before it is needed; see `wind`."""
        self.insertions = NO_INSERTIONS
        """Name to insertions into its sequence, which has no window; those that are stable go after a while."""
        self.notes: Final = notes or NO_NOTES
        self.entries = 0
        """Unstable facts in all windows."""
        self.remembering = 0
        """How many of the visible values remember removals."""
        self.readings: tuple[Reader, ...] = ()

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

    def run_plain(self, run: Run, at: int) -> bool:
        """Apply one operation of a run that has observed everything unstable; False where it needs more than the plain
        value that it expects, and nothing was done. O(1)."""
        name = run.keys[at]
        if (self.windows and name in self.windows) or (self.beside and name in self.beside):
            return False
        old = self.values.get(name)
        tag = run.tag
        if tag == ASSIGN_RUN:
            if old is None or isinstance(old, bytes) or isinstance(old, int):
                self.values[name] = run.values[at]
                return True
        elif tag == INCREMENT_RUN:
            if old is None or isinstance(old, bytes) or isinstance(old, int):
                amount = run.values[at]
                assert isinstance(amount, int)
                self.values[name] = incremented(old, amount)
                return True
        elif tag == SET_RUN:
            if isinstance(old, set):
                old.add(run.names[at])
                if len(old) > self.split_above:
                    self._show(name, old, old)
                return True
            if isinstance(old, SplitSet):
                old.add(run.names[at])
                return True
            if old is None:
                self.values[name] = {run.names[at]}
                return True
        elif tag == MAP_RUN:
            if isinstance(old, dict):
                old[run.names[at]] = run.values[at]
                if len(old) > self.split_above:
                    self._show(name, old, old)
                return True
            if isinstance(old, SplitMap):
                old[run.names[at]] = run.values[at]
                return True
            if old is None:
                self.values[name] = {run.names[at]: run.values[at]}
                return True
        return False

    def push_plain(self, pushes: Pushes) -> bool:
        """The same for pushes, all of them. O(values + log n)."""
        name = pushes.key
        if (self.windows and name in self.windows) or (self.beside and name in self.beside):
            return False
        old = self.values.get(name)
        if old is not None and not isinstance(old, Sequence):
            return False
        sequence = Sequence() if old is None else old
        push(sequence, pushes)
        self._note(name, old, sequence).add_pushes(pushes, self.notes.is_unstable)
        return True

    def push_alone(self, name: bytes, dot: Dot, values: list[Scalar], is_front: bool) -> bool:
        """Insert values at an end of a sequence that is there, nothing being unstable anywhere; whether that was done.
        O(values + log n)."""
        sequence = self.values.get(name)
        if not isinstance(sequence, Sequence) or self.windows or self.beside or self.readings:
            return False
        sequence.insert_at_end(dot, values, is_front)
        return True

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
            self.windows[name] = window
            self.entries += window.entries
            self.notes.has_wound = True

    def wind_later(self, name: bytes, linked: Linked) -> None:
        """Put off the window of an operation, the next one of a chain. O(1)."""
        chain = self.unwound.get(name)
        if chain is not None:
            chain.append(linked)
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

    def wind(self, name: bytes) -> None:
        """Make the window that was put off for a name (`unwound`), as if its operations had been tracked from the
        first: each has observed everything that was unstable at the name. What shows stays. O(elements named)."""
        chain = self.unwound.pop(name, None) if self.unwound else None
        value = self.values.get(name)
        if chain is None or value is None or remembers(value) or name in self.windows or name in self.beside:
            return  # what of the chain has not been observed by others was tracked then
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
            self.windows[name] = window

    # -- keeping

    def _keep(self, name: bytes, old: Value | None, value: Value | None, window: Window | None, before: int) -> None:
        """Put back what a name shows, where it showed `old`, and its window, which had `before` entries."""
        entries = 0
        if window is not None:
            entries = window.entries
            self.entries += entries - before
            if entries:
                self.windows[name] = window
            elif before:
                self._drop_window(name)
        if types.is_visible(value):
            assert value is not None
            self._show(name, old, value)
            return
        self._hide(name)
        if window is not None and entries:  # removed elements only
            self._drop_window(name)
            self.beside.setdefault(name, {})[kind_of_window(window)] = Holding(value, window)

    def _drop_window(self, name: bytes) -> None:
        """Nothing of what a name shows is unstable any more."""
        del self.windows[name]
        if not self.windows:
            self.windows.clear()  # which gives the table back: it grew with what was unstable at one time

    def _show(self, name: bytes, old: Value | None, value: Value) -> None:
        if not isinstance(value, bytes):
            value = types.split_large(value, self.split_above)
        if old is not value:
            self.remembering += remembers(value) - remembers(old)
            self.values[name] = value

    def _hide(self, name: bytes) -> None:
        self.remembering -= remembers(self.values.pop(name, None))
