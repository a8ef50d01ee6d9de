"""The sequence: a list in FugueMax order, whose removed elements are dropped when that is safe (floor 3).

Order: Weidner and Kleppmann, "The Art of the Fugue" (arXiv 2305.00583), in the form that looks at neighbours (YjsMod):
what is inserted concurrently at one place never interleaves, typed forwards or backwards. Presence: an element is there
until a removal that observed it. Value: the latest assignment, by stamp and then by dot; an assignment to a removed
element does nothing. We differ from the paper in that elements forget: of a stable element only its place is left, and
removed elements go a stretch at a time. DESIGN.md section 5 has the rules and `tests/crdts/sequence_reference.py`
their specification; here is why they hold.

An insertion names the *visible* neighbours of its origin. Of what lies between them here, the origin knew exactly the
elements that its context covers, and had removed them; the leftmost of these, if any, is the true right neighbour. All
else between is concurrent, so it is unstable, so its window entry is here: the scan never needs a name that was
forgotten.

A *stretch* is a longest piece of elements none of which is a boundary: stably inserted and not stably removed. It is
dropped when all in it are stably inserted and removed and none is named by an unstable insertion; `_drop_around` looks
at one stretch and stops at the first thing that keeps it. Every fold looks at the stretches beside and inside what it
touched and at those of the elements that its insertion named, so nothing that may go stays.

In a group of one (`window is None`) everything is stable at once, and nothing is left behind by anything.

Cost: O(log n) for each run that an operation touches. A scan passes the runs that were concurrently inserted between
the two neighbours, nearly always none. An insertion whose right neighbour stands in the subtree of its left one, as
pushing at the front does over and over, is placed from the right, so that two replicas that push n elements each at the
front do O(n) steps and not O(n²). The search for the true right neighbour passes whole chunks and blocks of
concurrent elements by their floors, so neither do two replicas that push and pop.
"""

from typing import Final

from marmoset.clocks import Context, LocalContext
from marmoset.codec.operations import Scalar
from marmoset.codec.runs import Pushes
from marmoset.crdts.sequence_order import find_place
from marmoset.crdts.sequence_runs import DEAD, FRESH, FRESH_REMOVED, REMOVED, RESTING, VALUES_MAX, Chunk, Run
from marmoset.crdts.sequence_state import export_state, import_state
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import Range, SequenceWindow
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

OBSERVING: Final = LocalContext()

__all__ = [
    "Sequence",
    "SequenceWindow",
    "assign",
    "export_state",
    "fold_assign",
    "fold_insert",
    "fold_remove",
    "fold_reset",
    "import_state",
    "insert",
    "push",
    "remove",
    "reset",
]


def insert(
    sequence: Sequence,
    window: SequenceWindow | None,
    dot: Dot,
    context: Context,
    left: Dot | None,
    right: Dot | None,
    values: list[Scalar],
) -> None:
    """Effect of an insertion between two elements that were visible side by side at its origin.

    The values get consecutive dots from `dot` on and stay together: nothing can be concurrent between them yet. The
    window remembers `right` as it was found: the element that stood behind `left` at the origin, removed ones included.
    O(log n + values + concurrent runs between the neighbours).

    Raises:
        InternalError: a neighbour is missing, or they never stood side by side; nothing was changed.
    """
    chunk = sequence.blocks[0].chunks[0]
    k = inner = 0
    if left is not None:
        run = sequence.find_run(left[0], left[1])
        if run is None:
            raise InternalError("the left neighbour of an insertion is missing", changed=False)
        chunk = run.chunk
        k = chunk.find(run)
        inner = run.offset_of(left[1], left[1] + 1) + 1
        if inner == run.count:
            k += 1
            inner = 0
    state = RESTING if window is None else FRESH
    if _stands_at(right, chunk, k, inner):
        if inner:
            sequence.split_run(chunk.runs[k], k, inner)
            k += 1
    elif window is None:
        raise InternalError("the neighbours of an insertion are not side by side", changed=False)
    else:
        chunk, k, right = find_place(sequence, window, dot, context, left, right, chunk, k, inner)
    if window is not None:
        window.insertions[dot] = (len(values), left, right)
        if left is not None:
            sequence.add_name(left)
        if right is not None:
            sequence.add_name(right)
    sequence.insert_at(chunk, k, dot[0], dot[1], values, state)


def push(sequence: Sequence, pushes: Pushes) -> None:
    """Effect of pushes that leave nothing but plain elements. O(values + log n).

    Raises:
        InternalError: a neighbour is missing, or they never stood side by side; nothing was changed.
    """
    values = pushes.values
    replica, seq = pushes.dot
    if not pushes.is_front:  # between consecutive elements nothing else can stand
        insert(sequence, None, pushes.dot, OBSERVING, pushes.left, pushes.right, values)
        return
    insert(sequence, None, pushes.dot, OBSERVING, pushes.left, pushes.right, [values[0]])
    for at in range(1, len(values), VALUES_MAX // 2):
        run = sequence.find_run(replica, seq + at - 1)
        assert run is not None
        chunk = run.chunk
        k = chunk.find(run)
        inner = run.offset_of(seq + at - 1, seq + at)
        if inner:
            sequence.split_run(run, k, inner)
            k += 1
        sequence.push_at(chunk, k, replica, seq + at, values[at : at + VALUES_MAX // 2])


def _stands_at(element: Dot | None, chunk: Chunk, k: int, inner: int) -> bool:
    """Whether an element is the one that is found at a place, visible or not; None is the end. O(1)."""
    if k < len(chunk.runs):
        run = chunk.runs[k]
    elif chunk.after is not None:
        run = chunk.after.runs[0]
    else:
        return element is None
    return element is not None and element[0] == run.replica and element[1] == run.seq_at(inner)


def remove(sequence: Sequence, window: SequenceWindow | None, dot: Dot, ranges: list[Range]) -> None:
    """Effect of a removal of elements, given as ranges of ids. O(ranges + runs touched, each times log n).

    What was removed already, or dropped, is passed over: a concurrent removal has done it.
    """
    if window is None:
        for replica, seq, count in ranges:
            stop = seq + count
            while (run := sequence.next_run(replica, seq, stop)) is not None:
                end = min(stop, run.seq + run.count)
                sequence.drop_elements(run, max(seq, run.seq), end)
                seq = end
        return
    for replica, seq, count in ranges:
        _hide(sequence, replica, seq, seq + count)
        if window.assignments:
            _forget_assignments(window, replica, seq, count)
    window.removals[dot] = ranges


def _hide(sequence: Sequence, replica: ReplicaId, seq: int, stop: int) -> None:
    """Make removed elements of those of some ids that are visible."""
    while (run := sequence.next_run(replica, seq, stop)) is not None:
        seq, end = max(seq, run.seq), min(stop, run.seq + run.count)
        if run.state <= FRESH:
            sequence.convert(run, seq, end, REMOVED if run.state == RESTING else FRESH_REMOVED)
        seq = end


def _forget_assignments(window: SequenceWindow, replica: ReplicaId, seq: int, count: int) -> None:
    """Forget what was assigned to elements that are removed now. O(min(count, assignments))."""
    if count < len(window.assignments):
        for i in range(seq, seq + count):
            window.assignments.pop((replica, i), None)
    else:
        for element in [e for e in window.assignments if e[0] == replica and seq <= e[1] < seq + count]:
            del window.assignments[element]


def assign(
    sequence: Sequence,
    window: SequenceWindow | None,
    dot: Dot,
    stamp: int,
    context: Context,
    element: Dot,
    value: Scalar,
) -> None:
    """Effect of an assignment to an element: the latest wins, by stamp and then by dot. O(log n).

    Whatever an assignment has observed was stamped earlier, so the context decides nothing beyond the stamps, and an
    assignment that is stable was observed by any that arrives. To a removed element it does nothing.
    """
    run = sequence.find_run(element[0], element[1])
    if run is None or run.state > FRESH:
        return
    if window is not None:
        mine = (stamp, dot[0], dot[1])
        shown = window.assignments.get(element)
        if shown is not None and shown > mine and not context.covers((shown[1], shown[2])):
            return
        window.assignments[element] = mine
    chunk = run.chunk
    sequence.changing(chunk)
    chunk.open()[chunk.size_before(chunk.find(run)) + run.offset_of(element[1], element[1] + 1)] = value


def reset(sequence: Sequence, window: SequenceWindow, dot: Dot, context: Context) -> None:
    """Remove every element whose insertion `context` covers. O(runs).

    A stable insertion is covered by whatever arrives. Elements that are removed already are noted as well, if no
    removal of them is stable yet: this one may become so earlier. (In a group of one, the whole sequence goes.)
    """
    ranges: list[Range] = []
    whole: list[Chunk] = []
    rest: list[Range] = []
    for block in sequence.blocks:
        for chunk in block.chunks:
            covered: list[Range] = []
            spared = False
            for run in chunk.runs:
                count = run.count
                if run.state in (FRESH, FRESH_REMOVED):
                    count = _covered(context, run)
                    spared = spared or (run.state == FRESH and count < run.count)
                if count and run.state != DEAD:
                    covered.append((run.replica, run.seq, count))
            if spared:
                rest += covered
            else:
                whole.append(chunk)
            for replica, seq, count in covered:
                if ranges and ranges[-1][0] == replica and ranges[-1][1] + ranges[-1][2] == seq:
                    ranges[-1] = (replica, ranges[-1][1], ranges[-1][2] + count)
                else:
                    ranges.append((replica, seq, count))
    for chunk in whole:
        sequence.hide_chunk(chunk)
    for replica, seq, count in rest:
        _hide(sequence, replica, seq, seq + count)
    if ranges:
        window.removals[dot] = ranges
        for element in [element for element in window.assignments if sequence.index_of(element) is None]:
            del window.assignments[element]


def _covered(context: Context, run: Run) -> int:
    """How many elements of a run a context covers: the first ones. O(log count)."""
    low, high = 0, run.count
    while low < high:
        middle = (low + high) // 2
        if context.covers((run.replica, run.seq + middle)):
            low = middle + 1
        else:
            high = middle
    return low


def fold_insert(sequence: Sequence, window: SequenceWindow, dot: Dot, count: int) -> None:
    """Forget an insertion that is stable, and drop what it kept. O(runs that it has become, each times log n)."""
    entry = window.insertions.pop(dot, None)
    if entry is None:
        return  # it was made while the group had one member
    replica, seq = dot
    stop = seq + count
    pieces: list[tuple[int, int]] = []
    while seq < stop:
        run = sequence.find_run(replica, seq)
        if run is None or run.state not in (FRESH, FRESH_REMOVED):
            raise InternalError("an element was dropped before its insertion was stable")
        end = min(stop, run.seq + run.count)
        sequence.convert(run, seq, end, RESTING if run.state == FRESH else REMOVED)
        pieces.append((seq, end))
        seq = end
    dead: list[Dot] = []
    for name in entry[1:]:
        if name is not None and sequence.release_name(name).state == DEAD:
            dead.append(name)
    if sequence.removed_count:
        for seq, end in pieces:
            _drop_beside(sequence, replica, seq, end)
        for name in dead:
            _drop_at(sequence, name)


def fold_remove(sequence: Sequence, window: SequenceWindow, dot: Dot, ranges: list[Range]) -> None:
    """Forget a removal that is stable, and drop what it removed if nothing else keeps that.

    `ranges` as in the operation; the window has them too. O(runs touched, each times log n).
    """
    fold_reset(sequence, window, dot)


def fold_assign(sequence: Sequence, window: SequenceWindow, dot: Dot, element: Dot) -> None:
    """Forget an assignment that is stable; the value stays. O(1)."""
    shown = window.assignments.get(element)
    if shown is not None and (shown[1], shown[2]) == dot:
        del window.assignments[element]


def fold_reset(sequence: Sequence, window: SequenceWindow, dot: Dot) -> None:
    """Forget a removal or a reset that is stable, and drop what it removed. O(runs touched, each times log n)."""
    ranges = window.removals.pop(dot, None)
    if ranges is None:
        return  # it removed nothing, or was made while the group had one member
    pieces: list[Dot] = []
    for replica, seq, count in ranges:
        stop = seq + count
        while (run := sequence.next_run(replica, seq, stop)) is not None:
            seq, end = max(seq, run.seq), min(stop, run.seq + run.count)
            if run.state == REMOVED:
                sequence.convert(run, seq, end, DEAD)
                pieces.append((replica, seq))
            elif run.state != DEAD:
                raise InternalError("a removal is stable before the insertion that it observed")
            seq = end
    for piece in pieces:
        _drop_at(sequence, piece)


def _drop_beside(sequence: Sequence, replica: ReplicaId, seq: int, stop: int) -> None:
    """Look at the stretches in front of and behind some elements of one run, which are boundaries now."""
    run = sequence.find_run(replica, seq)
    assert run is not None
    chunk = run.chunk
    k = chunk.find(run)
    offset = run.offset_of(seq, stop)
    before: Run | None = None
    if offset == 0:
        if k:
            before = chunk.runs[k - 1]
        elif chunk.before is not None:
            before = chunk.before.runs[-1]
    behind: Run | None = None
    if offset + stop - seq == run.count:
        if k + 1 < len(chunk.runs):
            behind = chunk.runs[k + 1]
        elif chunk.after is not None:
            behind = chunk.after.runs[0]
    if before is not None and before.state == DEAD:
        _drop_around(sequence, before)  # the boundary stays, so what is behind it is not touched
    if behind is not None and behind.state == DEAD:
        _drop_around(sequence, behind)


def _drop_at(sequence: Sequence, dot: Dot) -> None:
    """Look at the stretch of an element, if that is still here."""
    run = sequence.find_run(dot[0], dot[1])
    if run is not None and run.state == DEAD:
        _drop_around(sequence, run)


def _drop_around(sequence: Sequence, run: Run) -> None:
    """Drop the stretch of a dead run if nothing keeps it. O(chunks of it), and its runs if it goes."""
    if run.names is not None:
        return
    chunk = run.chunk
    k = chunk.find(run)
    first = last = (chunk, k)
    while True:
        if k == 0:
            if chunk.before is None:
                break
            chunk = chunk.before
            k = len(chunk.runs)
            if chunk.idle == k:
                k = 0
                first = (chunk, 0)
                continue
        other = chunk.runs[k - 1]
        if other.state in (RESTING, REMOVED):
            break
        if not other.is_idle():
            return
        k -= 1
        first = (chunk, k)
    chunk, k = last
    while True:
        if k + 1 == len(chunk.runs):
            if chunk.after is None:
                break
            chunk = chunk.after
            k = -1
            if chunk.idle == len(chunk.runs):
                k = chunk.idle - 1
                last = (chunk, k)
                continue
        other = chunk.runs[k + 1]
        if other.state in (RESTING, REMOVED):
            break
        if not other.is_idle():
            return
        k += 1
        last = (chunk, k)
    sequence.drop_stretch(first, last)
