"""Sequences in snapshots: a sequence and its window as plain lists, and back (floor 3).

The state is `[replicas, runs, values, insertions, removals, assignments]`: ids are indexes into the sorted `replicas`;
`runs` is (replica, first seq, count, state) again and again in one flat list, from left to right, each as long as it
can be; `values` are the visible ones; the rest is the window, each part sorted by dot. Equal content gives equal
state, however it came about: cuts of runs at buckets and chunks do not show.

Import trusts nothing: what it accepts passes every `_check`.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import Any, Final

from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_runs import DEAD, FRESH, FRESH_REMOVED, REMOVED, RESTING
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import Range, SequenceWindow
from marmoset.errors import PeerError
from marmoset.ids import Dot, is_replica_id

State = list[Any]

SEQ_END: Final = 1 << 60
REMOVED_MAX: Final = 1 << 26
"""Removed elements that an import takes: more than any node has, and few enough to build."""
_PARTS: Final = 6
_RUN_FIELDS: Final = 4


def export_state(sequence: Sequence, window: SequenceWindow | None) -> State:
    """Everything about a sequence, for a snapshot. O(n)."""
    runs: list[list[int]] = []
    for block in sequence.blocks:
        for chunk in block.chunks:
            for run in chunk.runs:
                last = runs[-1] if runs else None
                if (
                    last is not None
                    and last[1] + last[2] == run.seq
                    and last[0] == run.replica
                    and last[3] == run.state
                ):
                    last[2] += run.count
                else:
                    runs.append([run.replica, run.seq, run.count, run.state])
    insertions = sorted(window.insertions.items()) if window is not None else []
    removals = sorted(window.removals.items()) if window is not None else []
    assignments = sorted(window.assignments.items()) if window is not None else []
    seen = {run[0] for run in runs}
    for dot, (_, left, right) in insertions:
        seen.update(d[0] for d in (dot, left, right) if d is not None)
    for dot, ranges in removals:
        seen.add(dot[0])
        seen.update(r for r, _, _ in ranges)
    for dot, (_, replica, _) in assignments:
        seen.update((dot[0], replica))
    replicas = sorted(seen)
    number = {replica: i for i, replica in enumerate(replicas)}

    def named(dot: Dot | None) -> list[int]:
        return [] if dot is None else [number[dot[0]], dot[1]]

    return [
        replicas,
        [field for run in runs for field in (number[run[0]], run[1], run[2], run[3])],
        list(sequence),
        [[named(dot), count, named(left), named(right)] for dot, (count, left, right) in insertions],
        [[named(dot), [[number[r], seq, count] for r, seq, count in ranges]] for dot, ranges in removals],
        [[named(dot), stamp, [number[r], seq]] for dot, (stamp, r, seq) in assignments],
    ]


def import_state(state: State) -> tuple[Sequence, SequenceWindow]:
    """The sequence and window of a state that came from elsewhere. O(n).

    Raises:
        PeerError: it is no state that `export_state` makes.
    """
    try:
        replicas, runs, values, insertions, removals, assignments = _parts(state)
        _need(all(type(r) is int and is_replica_id(r) for r in replicas) and sorted(set(replicas)) == replicas)
        sequence = Sequence()
        _import_runs(sequence, replicas, runs, values)
        window = _import_window(replicas, insertions, removals, assignments)
        _import_names(sequence, window)
        _agree(sequence, window)
    except (ValueError, TypeError, IndexError, OverflowError) as problem:
        raise PeerError(f"the state of a sequence makes no sense: {problem}") from problem
    return sequence, window


def _need(condition: bool) -> None:
    if not condition:
        raise PeerError("the state of a sequence makes no sense")


def _parts(state: Any) -> list[list[Any]]:
    _need(type(state) is list and len(state) == _PARTS and all(type(part) is list for part in state))
    parts: list[list[Any]] = state
    return parts


def _import_runs(sequence: Sequence, replicas: list[int], runs: list[int], values: list[Scalar]) -> None:
    _need(set(map(type, values)) <= {bytes, int} and set(map(type, runs)) <= {int} and len(runs) % _RUN_FIELDS == 0)
    pieces: list[tuple[int, int, int, int]] = []
    visible = removed = 0
    for number, seq, count, kind in zip(*[iter(runs)] * _RUN_FIELDS, strict=True):
        _need(0 <= number < len(replicas) and 0 < seq and 0 < count and seq + count <= SEQ_END)
        _need(RESTING <= kind <= DEAD)
        if kind > FRESH:
            removed += count
        else:
            visible += count
        pieces.append((replicas[number], seq, count, kind))
    _need(visible == len(values) and removed <= REMOVED_MAX)
    spans = sorted(pieces)
    _need(all(a[0] != b[0] or a[1] + a[2] <= b[1] for a, b in pairwise(spans)))
    sequence.load(pieces, values)


def _import_window(
    replicas: list[int], insertions: list[Any], removals: list[Any], assignments: list[Any]
) -> SequenceWindow:
    window = SequenceWindow()
    last: Dot = (0, 0)
    for named, count, left, right in insertions:
        dot = _dot(replicas, named)
        _need(dot > last and _is_count(count) and dot[1] + count <= SEQ_END)
        window.insertions[dot] = (count, _dot_or_end(replicas, left), _dot_or_end(replicas, right))
        last = dot
    last = (0, 0)
    for named, ranges in removals:
        dot = _dot(replicas, named)
        _need(dot > last and type(ranges) is list)
        found: list[Range] = []
        for number, seq, count in ranges:
            replica, first = _dot(replicas, [number, seq])
            _need(_is_count(count) and first + count <= SEQ_END)
            found.append((replica, first, count))
        window.removals[dot] = found
        last = dot
    last = (0, 0)
    for named, stamp, by in assignments:
        dot = _dot(replicas, named)
        _need(dot > last and type(stamp) is int and stamp >= 0)
        window.assignments[dot] = (stamp, *_dot(replicas, by))
        last = dot
    return window


def _is_count(count: Any) -> bool:
    return type(count) is int and 0 < count < SEQ_END


def _dot(replicas: list[int], named: Any) -> Dot:
    _need(type(named) is list)
    number, seq = named
    _need(type(number) is int and 0 <= number < len(replicas) and _is_count(seq))
    return replicas[number], seq


def _dot_or_end(replicas: list[int], named: Any) -> Dot | None:
    return None if named == [] else _dot(replicas, named)


def _import_names(sequence: Sequence, window: SequenceWindow) -> None:
    """Check that insertions are there, between the neighbours that they name, and count those."""
    fresh = 0
    for dot, (count, left, right) in window.insertions.items():
        seq, stop = dot[1], dot[1] + count
        while seq < stop:
            run = sequence.find_run(dot[0], seq)
            if run is None or run.state not in (FRESH, FRESH_REMOVED):
                raise PeerError("an insertion in a window is not in its sequence")
            seq = run.seq + run.count
        fresh += count
        for name in (left, right):
            if name is not None:
                if sequence.find_run(name[0], name[1]) is None:
                    raise PeerError("an insertion in a window names an element that is not in its sequence")
                sequence.add_name(name)
        _need(left is None or sequence.precedes(left, dot))
        _need(right is None or sequence.precedes(dot, right))
    _need(fresh == sum(run.count for run in sequence.runs() if run.state in (FRESH, FRESH_REMOVED)))
    spans = sorted(window.insertions)
    _need(all(a[0] != b[0] or a[1] + window.insertions[a][0] <= b[1] for a, b in pairwise(spans)))


def _agree(sequence: Sequence, window: SequenceWindow) -> None:
    """Check that removed elements are there for a reason, and that no stretch is kept that may go."""
    removed: dict[int, list[tuple[int, int]]] = {}
    for replica, seq, count in sorted(r for ranges in window.removals.values() for r in ranges):
        spans = removed.setdefault(replica, [])
        if spans and spans[-1][1] >= seq:
            spans[-1] = (spans[-1][0], max(spans[-1][1], seq + count))
        else:
            spans.append((seq, seq + count))
    free, length = True, 0
    for run in sequence.runs():
        if run.state in (FRESH_REMOVED, REMOVED):
            spans = removed.get(run.replica, [])
            i = bisect_right(spans, (run.seq, SEQ_END + 1))
            _need(i > 0 and run.seq + run.count <= spans[i - 1][1])
        if run.state in (RESTING, REMOVED):
            _need(not (free and length))
            free, length = True, 0
        else:
            free = free and run.is_idle()
            length += run.count
    _need(not (free and length))
    _need(all(sequence.index_of(element) is not None for element in window.assignments))
