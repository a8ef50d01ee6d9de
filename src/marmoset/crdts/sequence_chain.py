"""Insertions that have no window entries, because each had observed everything unstable in its sequence (floor 3).

As long as nothing else is done to the sequence, such insertions leave plain elements, as in a group of one, and what
has to be known of them when something else comes is written down here: their ids, and the neighbours that they named.
`wind` makes the window that tracking would have left. What is stable by then needs nothing.
"""

from collections.abc import Callable
from typing import Final, final

from marmoset.clocks import LocalContext
from marmoset.codec.runs import Pushes, pushed_between
from marmoset.crdts.sequence import reset
from marmoset.crdts.sequence_runs import FRESH
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import SequenceWindow
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

LOOK_ABOVE: Final = 64
"""So many pieces may be written down before it is looked which are stable; then twice as many as were not."""
PIECE_MAX: Final = 1024
"""So many insertions may be written down as one piece."""
OBSERVING: Final = LocalContext()
WHOLE: Final = 0
FRONT: Final = 1
BACK: Final = 2


@final
class Piece:
    """One insertion, or several of one value each, each beside the one before: between `left` and that, or between that
    and `right`."""

    __slots__ = ("count", "dot", "form", "left", "right")

    def __init__(self, dot: Dot, count: int, left: Dot | None, right: Dot | None, form: int) -> None:
        self.dot: Final = dot
        self.count = count
        self.left: Final = left
        self.right: Final = right
        self.form = form

    def last(self) -> Dot:
        """The dot of the last value. O(1)."""
        return (self.dot[0], self.dot[1] + self.count - 1)

    def takes(self, dot: Dot, left: Dot | None, right: Dot | None) -> bool:
        """Take an insertion of one value, if it stands beside the last one as these do. O(1)."""
        replica, seq = self.dot
        count = self.count
        if count >= PIECE_MAX or dot[0] != replica or dot[1] != seq + count or (self.form == WHOLE and count > 1):
            return False
        last_seq = seq + count - 1
        if self.form != BACK and right is not None and right[0] == replica and right[1] == last_seq:
            if left != self.left:
                return False
            self.form = FRONT
        elif self.form != FRONT and left is not None and left[0] == replica and left[1] == last_seq:
            if right != self.right:
                return False
            self.form = BACK
        else:
            return False
        self.count += 1
        return True

    def takes_pushes(self, replica: ReplicaId, seq: int, count: int, is_front: bool) -> bool:
        """Take pushes onto an end of the whole sequence, if the last here was the same and has the id before. O(1)."""
        first_replica, first = self.dot
        form = FRONT if is_front else BACK
        if self.form != form or (self.left if is_front else self.right) is not None:
            return False
        if self.count + count > PIECE_MAX or first_replica != replica or first + self.count != seq:
            return False
        self.count += count
        return True

    def insertions(self) -> list[tuple[Dot, int, Dot | None, Dot | None]]:
        """Dot of the first value, number of values, left and right neighbour of each insertion. O(insertions)."""
        if self.form == WHOLE:
            return [(self.dot, self.count, self.left, self.right)]
        replica, seq = self.dot
        made: list[tuple[Dot, int, Dot | None, Dot | None]] = []
        for at in range(self.count):
            left, right = pushed_between(self.dot, self.left, self.right, self.form == FRONT, at)
            made.append(((replica, seq + at), 1, left, right))
        return made


@final
class Insertions:
    """The insertions of one sequence that may be unstable, in the order in which they were done."""

    __slots__ = ("_look_above", "made")

    def __init__(self) -> None:
        self.made: list[Piece] = []
        self._look_above = LOOK_ABOVE

    def add(
        self, dot: Dot, count: int, left: Dot | None, right: Dot | None, is_unstable: Callable[[Dot], bool]
    ) -> None:
        """Write down an insertion. O(1) amortised."""
        if count == 1 and self.made and self.made[-1].takes(dot, left, right):
            return
        self._put(Piece(dot, count, left, right, WHOLE), is_unstable)

    def goes_on(self, replica: ReplicaId, seq: int, count: int, is_front: bool) -> bool:
        """Write down pushes onto an end of the whole sequence, of one value each, if the push with the id before theirs
        was the last that was; whether that was done. O(1)."""
        return bool(self.made) and self.made[-1].takes_pushes(replica, seq, count, is_front)

    def add_pushes(self, pushes: Pushes, is_unstable: Callable[[Dot], bool]) -> None:
        """Write down pushes. O(1) amortised for `PIECE_MAX` of them."""
        replica, seq = pushes.dot
        count = len(pushes.values)
        form = FRONT if pushes.is_front else BACK
        for at in range(0, count, PIECE_MAX):
            left, right = pushes.neighbours(at)
            self._put(Piece((replica, seq + at), min(PIECE_MAX, count - at), left, right, form), is_unstable)

    def _put(self, piece: Piece, is_unstable: Callable[[Dot], bool]) -> None:
        self.made.append(piece)
        if len(self.made) > self._look_above:
            self.forget(is_unstable)

    def forget(self, is_unstable: Callable[[Dot], bool]) -> bool:
        """Forget what is stable; whether anything is left. O(pieces)."""
        self.made = [each for each in self.made if is_unstable(each.last())]
        self._look_above = max(LOOK_ABOVE, 2 * len(self.made))
        return bool(self.made)

    def wind(self, sequence: Sequence, is_unstable: Callable[[Dot], bool]) -> SequenceWindow:
        """The window of a sequence in which nothing else was done. O(insertions x log n)."""
        window = SequenceWindow()
        for piece in self.made:
            for dot, count, left, right in piece.insertions():
                if is_unstable(dot):
                    window.insertions[dot] = (count, left, right)
                    for name in (left, right):
                        if name is not None:
                            sequence.add_name(name)
                    _freshen(sequence, dot, count)
        return window


@final
class LaidAside:
    """A sequence of which everything was removed by an operation that had observed all of it: it stays as it was until
    that is stable, or until something comes to the name. `window` is its window, if it had one."""

    __slots__ = ("dot", "insertions", "sequence", "window")

    def __init__(
        self, sequence: Sequence, window: SequenceWindow | None, insertions: Insertions | None, dot: Dot
    ) -> None:
        """`dot` is that of the removal."""
        self.sequence: Final = sequence
        self.window = window
        self.insertions: Final = insertions
        self.dot: Final = dot

    def wind(self, is_unstable: Callable[[Dot], bool]) -> SequenceWindow:
        """Remove the elements one by one; the window of that. O(runs)."""
        window = self.window
        if window is None:
            window = SequenceWindow() if self.insertions is None else self.insertions.wind(self.sequence, is_unstable)
        reset(self.sequence, window, self.dot, OBSERVING)
        return window


def _freshen(sequence: Sequence, dot: Dot, count: int) -> None:
    replica, seq = dot
    stop = seq + count
    while seq < stop:
        run = sequence.find_run(replica, seq)
        if run is None:
            raise InternalError("an element of a chain was dropped before its insertion was stable")
        end = min(stop, run.seq + run.count)
        sequence.convert(run, seq, end, FRESH)
        seq = end
