"""Where an insertion goes in FugueMax order when something stands between its neighbours (floor 3).

The scan of YjsMod, which Weidner and Kleppmann show to be FugueMax (arXiv 2305.00583), over runs instead of elements
and from either side. Nothing is changed here but that a run may be cut. The header of `sequence` says why this is right
though names are forgotten.
"""

from marmoset.clocks import Context
from marmoset.crdts.sequence_runs import FRESH, FRESH_REMOVED, REMOVED, RESTING, STABLE_FLOOR, Block, Chunk, Run
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import SequenceWindow
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

Place = tuple[Chunk, int]
"""In front of which run of a chunk; behind the last one where that is as many as there are runs."""


def find_place(
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
            while after is not None:
                block = after.block
                assert block is not None
                if block.chunks[0] is not after or block is right_block or _may_cover(context, block.known_floor()):
                    break
                last = block.chunks[-1]
                after = last.after
            if after is None:
                if right is not None:
                    raise InternalError("the neighbours of an insertion are in the wrong order", changed=False)
                return (last, len(last.runs)), None
            chunk, k, inner = after, 0, 0
            continue
        run = chunk.runs[k]
        first = (run.replica, run.seq_at(inner))
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
