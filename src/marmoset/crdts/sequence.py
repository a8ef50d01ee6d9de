"""The sequence: a list in FugueMax order, whose removed elements are dropped when that is safe (floor 3).

Order: Weidner and Kleppmann, "The Art of the Fugue" (arXiv 2305.00583), in the form that looks at neighbours (YjsMod):
what is inserted concurrently at one place never interleaves, typed forwards or backwards. Presence: an element is there
until a removal that observed it. Value: the latest assignment, by stamp and then by dot; an assignment to a removed
element does nothing. We differ from the paper in that elements forget: of a stable element only its place is left, and
removed elements go a stretch at a time. DESIGN.md section 5 has the rules and `tests/crdts/test_sequence.py` their
specification; here is why they hold.

An insertion names the *visible* neighbours of its origin. Of what lies between them here, the origin knew exactly the
elements that its context covers, and had removed them; the leftmost of these, if any, is the true right neighbour. All
else between is concurrent, so it is unstable, so its window entry is here: the scan never needs a name that was
forgotten.

A *stretch* is a longest piece of elements none of which is a boundary: stably inserted and not stably removed. It is
dropped when all in it are stably inserted and removed and none is named by an unstable insertion; `_drop_around` looks
at one stretch and stops at the first thing that keeps it. Every fold looks at the stretches beside and inside what it
touched and at those of the elements that its insertion named, so nothing that may go stays.

Insertions, removals and folds of one group of one (`window is None`) leave nothing behind: all is stable at once.

Cost: O(log n) for each run that an operation touches. A scan passes the runs that were concurrently inserted between
the two neighbours, nearly always none. An insertion whose right neighbour stands in the subtree of its left one, as
pushing at the front does over and over, is placed from the right, so that two replicas that push n elements each at the
front do O(n) work and not O(n²).
"""

from marmoset.clocks import Context
from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_runs import DEAD, FRESH, FRESH_REMOVED, REMOVED, RESTING, STABLE_FLOOR, Block, Chunk, Run
from marmoset.crdts.sequence_state import export_state, import_state
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import Range, SequenceWindow
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

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
    "remove",
    "reset",
]

Place = tuple[Chunk, int]


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
    follower: Dot | None = None
    if left is not None:
        run = sequence.find_run(left[0], left[1])
        if run is None:
            raise InternalError("the left neighbour of an insertion is missing", changed=False)
        chunk = run.chunk
        k = chunk.runs.index(run)
        inner = left[1] - run.seq + 1
        if inner < run.count:
            follower = (left[0], left[1] + 1)
        else:
            k += 1
            inner = 0
    if not inner:
        if k < len(chunk.runs):
            run = chunk.runs[k]
            follower = (run.replica, run.seq)
        elif chunk.after is not None:
            run = chunk.after.runs[0]
            follower = (run.replica, run.seq)
    state = RESTING if window is None else FRESH
    if follower == right:
        if inner:
            sequence.split_run(chunk.runs[k], k, inner)
            k += 1
    elif window is None:
        raise InternalError("the neighbours of an insertion are not side by side", changed=False)
    else:
        chunk, k, right = _find_place(sequence, window, dot, context, left, right, chunk, k, inner)
    if window is not None:
        window.insertions[dot] = (len(values), left, right)
        if left is not None:
            sequence.add_name(left)
        if right is not None:
            sequence.add_name(right)
    sequence.insert_at(chunk, k, dot[0], dot[1], values, state)


def _find_place(
    sequence: Sequence,
    window: SequenceWindow,
    dot: Dot,
    context: Context,
    left: Dot | None,
    right: Dot | None,
    chunk: Chunk,
    k: int,
    inner: int,
) -> tuple[Chunk, int, Dot | None]:
    """Where an insertion goes among concurrent ones: in front of which run, and its true right neighbour.

    `inner` is the place in run `k` behind the left neighbour, 0 where that is the end of a run.
    """
    bound, right = _find_bound(sequence, context, right, chunk, k, inner)
    cut: Run | None = None
    if inner:
        cut = chunk.runs[k]
        same = bound[0] is chunk and bound[1] >= k
        sequence.split_run(cut, k, inner)
        k += 1
        if same:
            bound = (chunk, bound[1] + 1)
    if _is_below(sequence, window, left, right):
        place = _scan_backward(sequence, window, dot, left, right, (chunk, k), bound)
    else:
        place = _scan_forward(sequence, window, dot, left, right, (chunk, k), bound)
    if cut is not None and place != (chunk, k):
        sequence.join_runs(chunk, k - 1)
        if place[0] is chunk and place[1] > k:
            place = (chunk, place[1] - 1)
    return place[0], place[1], right


def _find_bound(
    sequence: Sequence, context: Context, right: Dot | None, chunk: Chunk, k: int, inner: int
) -> tuple[Place, Dot | None]:
    """The first element behind a place that `context` covers, and its place.

    Chunks and blocks that have none are passed: O(log n) unless many concurrent insertions are mixed with covered ones.
    """
    right_chunk: Chunk | None = None
    right_block: Block | None = None
    if right is not None:
        right_run = sequence.find_run(right[0], right[1])
        if right_run is None:
            raise InternalError("the right neighbour of an insertion is missing", changed=False)
        right_chunk = right_run.chunk
        right_block = right_chunk.block
    while True:
        if k == len(chunk.runs) or (chunk is not right_chunk and not _may_cover(context, chunk.known_floor())):
            last, after = chunk, chunk.after
            while after is not None and after is after.block.chunks[0] and after.block is not right_block:
                if _may_cover(context, after.block.known_floor()):
                    break
                last = after.block.chunks[-1]
                after = last.after
            if after is None:
                if right is not None:
                    raise InternalError("the neighbours of an insertion are in the wrong order", changed=False)
                return (last, len(last.runs)), None
            chunk, k, inner = after, 0, 0
            continue
        run = chunk.runs[k]
        first = (run.replica, run.seq + inner)
        if first == right:
            return (chunk, k), right
        if run.state >= REMOVED or (run.state == FRESH_REMOVED and context.covers(first)):
            return (chunk, k), first
        if run.state == RESTING:
            raise InternalError("the neighbours of an insertion are not side by side", changed=False)
        k += 1
        inner = 0


def _may_cover(context: Context, floor: dict[ReplicaId, int]) -> bool:
    """Whether a context may cover a removed element of a chunk or block with this floor. O(replicas in it)."""
    if not floor:
        return False
    return STABLE_FLOOR in floor or any([context.covers(lowest) for lowest in floor.items()])


def _left_name(window: SequenceWindow, dot: Dot) -> Dot | None:
    """The left neighbour that an unstable element named: a later value of one insertion names the one before."""
    entry = window.insertions.get(dot)
    return (dot[0], dot[1] - 1) if entry is None else entry[1]


def _is_below(sequence: Sequence, window: SequenceWindow, left: Dot | None, right: Dot | None) -> bool:
    """Whether all that stands between two elements surely is in the subtree of the left one."""
    if left is None:
        return True
    if right is None:
        return False
    run = sequence.find_run(right[0], right[1])
    if run is None or run.state not in (FRESH, FRESH_REMOVED):
        return False  # what it named is forgotten
    named = _left_name(window, right)
    return named == left or (named is not None and sequence.precedes(left, named))


def _scan_forward(
    sequence: Sequence,
    window: SequenceWindow,
    dot: Dot,
    left: Dot | None,
    right: Dot | None,
    start: Place,
    bound: Place,
) -> Place:
    """The scan of YjsMod, a run at a time: within a run each element named the one before it, which decides nothing."""
    chunk, k = place = start
    passing = False
    while True:
        if k == len(chunk.runs) and (chunk, k) != bound:
            assert chunk.after is not None
            chunk, k = chunk.after, 0
            continue
        if not passing:
            place = (chunk, k)
        if (chunk, k) == bound:
            return place
        run = chunk.runs[k]
        other = (run.replica, run.seq)
        entry = window.insertions.get(other)
        if entry is not None:
            _, other_left, other_right = entry
            if other_left == left:
                if other_right == right:
                    if dot < other:
                        return place
                    passing = False
                else:
                    passing = _ends_before(sequence, other_right, right)
            elif left is not None and (other_left is None or sequence.precedes(other_left, left)):
                return place
        k += 1


def _scan_backward(
    sequence: Sequence,
    window: SequenceWindow,
    dot: Dot,
    left: Dot | None,
    right: Dot | None,
    start: Place,
    bound: Place,
) -> Place:
    """The same from the right, where nothing between the neighbours is outside the subtree of the left one.

    Then the forward scan ends only in front of a larger dot between the same neighbours, and those stand in order of
    their dots. So the place is behind the last element that named `left` and either named a right neighbour beyond
    `right`, or the same one with a smaller dot. Any element at all that names a right neighbour beyond `right` is
    outside the subtree of `right` and ends the scan.
    """
    place = bound
    chunk, k = bound
    while (chunk, k) != start:
        if k == 0:
            assert chunk.before is not None
            chunk = chunk.before
            k = len(chunk.runs)
            continue
        k -= 1
        run = chunk.runs[k]
        other = (run.replica, run.seq)
        entry = window.insertions.get(other)
        if entry is not None:
            _, other_left, other_right = entry
            if other_right == right:
                if other_left == left:
                    if other < dot:
                        return place
                    place = (chunk, k)
            elif not _ends_before(sequence, other_right, right):
                return place
            elif other_left == left:
                place = (chunk, k)
    return place


def _ends_before(sequence: Sequence, other_right: Dot | None, right: Dot | None) -> bool:
    """Whether one right neighbour stands before another, different one; None is the end."""
    if other_right is None:
        return False
    return right is None or sequence.precedes(other_right, right)


def remove(sequence: Sequence, window: SequenceWindow | None, dot: Dot, ranges: list[Range]) -> None:
    """Effect of a removal of elements, given as ranges of ids. O(ranges + runs touched, each times log n).

    What was removed already, or dropped, is passed over: a concurrent removal has done it.
    """
    for replica, seq, count in ranges:
        stop = seq + count
        while seq < stop:
            run = sequence.next_run(replica, seq, stop)
            if run is None:
                break
            seq, end = max(seq, run.seq), min(stop, run.seq + run.count)
            if window is None:
                sequence.drop_elements(run, seq, end)
            elif run.state <= FRESH:
                if window.assignments:
                    _forget_assignments(window, replica, seq, end)
                sequence.convert(run, seq, end, REMOVED if run.state == RESTING else FRESH_REMOVED)
            seq = end
    if window is not None:
        window.removals[dot] = [(replica, seq, count) for replica, seq, count in ranges]


def _forget_assignments(window: SequenceWindow, replica: ReplicaId, seq: int, stop: int) -> None:
    for i in range(seq, stop):
        window.assignments.pop((replica, i), None)


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
    chunk.values[sum(chunk.shown[: chunk.runs.index(run)]) + element[1] - run.seq] = value


def reset(sequence: Sequence, window: SequenceWindow | None, dot: Dot, context: Context) -> None:
    """Remove every element whose insertion `context` covers. O(runs).

    A stable insertion is covered by whatever arrives. Elements that are removed already are noted as well, if no
    removal of them is stable yet: this one may become so earlier.
    """
    if window is None:
        sequence.clear()
        return
    ranges: list[Range] = []
    whole: list[Chunk] = []
    parts: list[tuple[Run, int]] = []
    for block in sequence.blocks:
        for chunk in block.chunks:
            spared = False
            for run in chunk.runs:
                if run.state == DEAD:
                    continue
                count = run.count
                if run.state in (FRESH, FRESH_REMOVED):
                    count = _covered(context, run)
                    spared = spared or (count < run.count and run.state == FRESH)
                    if not count:
                        continue
                if ranges and ranges[-1][0] == run.replica and ranges[-1][1] + ranges[-1][2] == run.seq:
                    ranges[-1] = (run.replica, ranges[-1][1], ranges[-1][2] + count)
                else:
                    ranges.append((run.replica, run.seq, count))
            if not spared:
                whole.append(chunk)
            else:
                parts += [(run, _covered(context, run)) for run in chunk.runs if run.state == FRESH]
                parts += [(run, run.count) for run in chunk.runs if run.state == RESTING]
    for chunk in whole:
        sequence.hide_chunk(chunk)
    XXX
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
        run = sequence.next_run(replica, seq, stop)
        if run is None or run.seq > seq or run.state not in (FRESH, FRESH_REMOVED):
            raise InternalError("an element was dropped before its insertion was stable")
        end = min(stop, run.seq + run.count)
        sequence.convert(run, seq, end, RESTING if run.state == FRESH else REMOVED)
        pieces.append((seq, end))
        seq = end
    named = [dot for dot in entry[1:] if dot is not None]
    for dot in named:
        sequence.release_name(dot)
    for seq, end in pieces:
        _drop_beside(sequence, replica, seq, end)
    for dot in named:
        run = sequence.find_run(dot[0], dot[1])
        if run is not None and run.state == DEAD:
            _drop_around(sequence, run)


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
        while seq < stop:
            run = sequence.next_run(replica, seq, stop)
            if run is None:
                break
            seq, end = max(seq, run.seq), min(stop, run.seq + run.count)
            if run.state == REMOVED:
                sequence.convert(run, seq, end, DEAD)
                pieces.append((replica, seq))
            elif run.state != DEAD:
                raise InternalError("a removal is stable before the insertion that it observed")
            seq = end
    for dot in pieces:
        run = sequence.find_run(dot[0], dot[1])
        if run is not None:
            _drop_around(sequence, run)


def _drop_beside(sequence: Sequence, replica: ReplicaId, seq: int, stop: int) -> None:
    """Look at the stretches in front of and behind some elements that are boundaries now."""
    run = sequence.find_run(replica, seq)
    assert run is not None
    if run.seq == seq:
        chunk = run.chunk
        k = chunk.runs.index(run)
        if k:
            other = chunk.runs[k - 1]
            if other.state == DEAD:
                _drop_around(sequence, other)
        elif chunk.before is not None and chunk.before.runs[-1].state == DEAD:
            _drop_around(sequence, chunk.before.runs[-1])
        run = sequence.find_run(replica, stop - 1)
        assert run is not None
    if run.seq + run.count == stop:
        chunk = run.chunk
        k = chunk.runs.index(run) + 1
        if k < len(chunk.runs):
            other = chunk.runs[k]
            if other.state == DEAD:
                _drop_around(sequence, other)
        elif chunk.after is not None and chunk.after.runs[0].state == DEAD:
            _drop_around(sequence, chunk.after.runs[0])


def _drop_around(sequence: Sequence, run: Run) -> None:
    """Drop the stretch of a dead run if nothing keeps it. O(chunks of it), and its runs if it goes."""
    if run.names is not None:
        return
    chunk, k = run.chunk, run.chunk.runs.index(run)
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
