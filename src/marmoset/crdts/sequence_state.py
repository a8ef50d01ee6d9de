"""Sequences in snapshots: a sequence and its window as plain lists, and back (floor 3).

The state is `[replicas, runs, values, insertions, removals, assignments]`: ids are indexes into the sorted `replicas`;
`runs` is (replica, lowest seq, count, state) again and again in one flat list, from left to right, each as long as it
can be, the count negative where ids fall; `values` are the visible ones; the rest is the window, each part sorted by
dot. Equal content gives equal state, however it came about: cuts of runs at buckets and chunks do not show.

A large sequence comes in several states (`crdts.reading`): the window first, then the elements from left to right, so
that each run can be checked as it comes. A removal of many ranges may come in several pieces.

Import trusts nothing: what it accepts passes every `_check`.
"""

from bisect import bisect_left, bisect_right
from itertools import pairwise
from operator import itemgetter
from typing import Any, Final, final

from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_runs import BUCKET_BITS, DEAD, FRESH, FRESH_REMOVED, REMOVED, RESTING, Chunk
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sequence_window import Range, SequenceWindow
from marmoset.errors import PeerError
from marmoset.ids import Dot, ReplicaId, is_replica_id

State = list[Any]
RunRow = tuple[ReplicaId, int, int, int]
"""Replica, lowest seq, count, state; the count is negative where ids fall from left to right."""
Insertion = tuple[Dot, tuple[int, Dot | None, Dot | None]]
Removal = tuple[Dot, list[Range]]
Assignment = tuple[Dot, tuple[int, ReplicaId, int]]
"""The entries of a window, as its tables have them."""

SEQ_END: Final = 1 << 60
REMOVED_MAX: Final = 1 << 26
"""Removed elements that an import takes: more than any node has, and few enough to build."""
_PARTS: Final = 6
_RUN_FIELDS: Final = 4


def chunk_rows(chunk: Chunk) -> list[RunRow]:
    """The runs of a chunk. O(runs)."""
    return [
        (run.replica, run.seq, -run.count if run.falling and run.count > 1 else run.count, run.state)
        for run in chunk.runs
    ]


def export_state(sequence: Sequence, window: SequenceWindow | None) -> State:
    """Everything about a sequence, for a snapshot. O(n)."""
    rows = [row for block in sequence.blocks for chunk in block.chunks for row in chunk_rows(chunk)]
    kept = SequenceWindow() if window is None else window
    window_rows = list(kept.insertions.items()), list(kept.removals.items()), list(kept.assignments.items())
    return state_of(rows, list(sequence), *window_rows)


def state_of(
    rows: list[RunRow],
    values: list[Scalar],
    insertions: list[Insertion],
    removals: list[Removal],
    assignments: list[Assignment],
) -> State:
    """The state, or part of one, with some runs, their visible values and some of the window. O(n log n)."""
    runs: list[list[int]] = []
    last: list[int] | None = None
    for replica, seq, count, kind in rows:
        together = last is not None and last[0] == replica and last[3] == kind
        if together and last is not None and last[2] > 0 and count > 0 and last[1] + last[2] == seq:
            last[2] += count
        elif together and last is not None and _falls(kind, last[2], count) and seq + abs(count) == last[1]:
            last[1], last[2] = seq, -abs(last[2]) - abs(count)
        else:
            last = [replica, seq, count, kind]
            runs.append(last)
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
        values,
        [[named(dot), count, named(left), named(right)] for dot, (count, left, right) in sorted(insertions)],
        [
            [named(dot), [[number[r], seq, count] for r, seq, count in ranges]]
            for dot, ranges in sorted(removals, key=itemgetter(0))
        ],
        [[named(dot), stamp, [number[r], seq]] for dot, (stamp, r, seq) in sorted(assignments)],
    ]


def _falls(kind: int, *counts: int) -> bool:
    """Whether some runs of a state may be one whose ids fall."""
    return kind not in (FRESH, FRESH_REMOVED) and all(count == 1 or count < 0 for count in counts)


def import_state(state: Any) -> tuple[Sequence, SequenceWindow]:
    """The sequence and window of a state that came from elsewhere. O(n).

    Raises:
        PeerError: it is no state that `export_state` makes.
    """
    loading = SequenceLoading()
    loading.add(state)
    loading.end()
    return loading.sequence, loading.window


def _need(condition: bool) -> None:
    if not condition:
        raise PeerError("the state of a sequence makes no sense")


def _parts(state: Any) -> list[list[Any]]:
    _need(type(state) is list and len(state) == _PARTS and all(type(part) is list for part in state))
    parts: list[list[Any]] = state
    return parts


@final
class _Spans:
    """Ids, as spans that neither overlap nor touch, by replica."""

    __slots__ = ("_sorted", "spans")

    def __init__(self) -> None:
        self.spans: dict[ReplicaId, list[tuple[int, int]]] = {}
        self._sorted = True

    def add(self, replica: ReplicaId, seq: int, count: int) -> None:
        self.spans.setdefault(replica, []).append((seq, seq + count))
        self._sorted = False

    def covers(self, replica: ReplicaId, seq: int, stop: int) -> bool:
        """Whether a span has all of some ids. O(log n), O(n log n) after something was added."""
        if not self._sorted:
            self._sorted = True
            for each, spans in self.spans.items():
                self.spans[each] = _united(spans)
        spans = self.spans.get(replica, [])
        i = bisect_right(spans, (seq, SEQ_END + 1))
        return i > 0 and stop <= spans[i - 1][1]


def _united(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for seq, stop in sorted(spans):
        if found and found[-1][1] >= seq:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((seq, stop))
    return found


@final
class SequenceLoading:
    """A sequence that comes from elsewhere, state by state: first what is not stable, then the elements in order.

    Each run is checked against the window as it comes: what is fresh was inserted by it, what is removed was removed by
    it or is dead, its neighbours are where they should be, and no stretch is there that may go.
    """

    __slots__ = (
        "_free",
        "_fresh",
        "_inserted",
        "_length",
        "_named",
        "_removed",
        "_starts",
        "sequence",
        "window",
    )

    def __init__(self) -> None:
        self.sequence = Sequence()
        self.window = SequenceWindow()
        self._named: dict[tuple[ReplicaId, int], dict[int, int]] = {}  # by bucket: elements named, and how often
        self._starts: dict[ReplicaId, list[int]] | None = None  # the first seqs of insertions, sorted
        self._inserted, self._removed = _Spans(), _Spans()
        self._fresh = 0  # elements of insertions that have not come yet
        self._free, self._length = True, 0  # whether the stretch that we are in could be dropped, and how long it is

    def add(self, state: Any) -> None:
        """Take another state. O(n).

        Raises:
            PeerError: it makes no sense, by itself or behind those before.
        """
        try:
            replicas, runs, values, insertions, removals, assignments = _parts(state)
            _need(all(type(r) is int and is_replica_id(r) for r in replicas) and sorted(set(replicas)) == replicas)
            _need(not (insertions or removals or assignments) or not self.sequence.buckets)
            self._add_insertions(replicas, insertions)
            self._add_removals(replicas, removals)
            self._add_assignments(replicas, assignments)
            if runs or values:
                self._add_runs(replicas, runs, values)
        except (ValueError, TypeError, IndexError, OverflowError) as problem:
            raise PeerError(f"the state of a sequence makes no sense: {problem}") from problem

    def end(self) -> None:
        """Everything was added. O(replicas + assignments).

        Raises:
            PeerError: something is missing.
        """
        _need(not (self._free and self._length))
        _need(not self._fresh and not self._named)
        for replica, seq in self.window.assignments:
            run = self.sequence.find_run(replica, seq)
            _need(run is not None and run.state <= FRESH)

    # -- the window

    def _add_insertions(self, replicas: list[int], insertions: list[Any]) -> None:
        last: Dot = (0, 0)
        for named, count, left, right in insertions:
            dot = _dot(replicas, named)
            _need(dot > last and dot not in self.window.insertions and _is_count(count) and dot[1] + count <= SEQ_END)
            neighbours = _dot_or_end(replicas, left), _dot_or_end(replicas, right)
            self.window.insertions[dot] = (count, *neighbours)
            for name in neighbours:
                if name is not None:
                    names = self._named.setdefault((name[0], name[1] >> BUCKET_BITS), {})
                    names[name[1]] = names.get(name[1], 0) + 1
            self._inserted.add(dot[0], dot[1], count)
            self._fresh += count
            last = dot

    def _add_removals(self, replicas: list[int], removals: list[Any]) -> None:
        last: Dot = (0, 0)
        for named, ranges in removals:
            dot = _dot(replicas, named)
            _need(type(ranges) is list and dot >= last)
            found = self.window.removals.setdefault(dot, [])
            for number, seq, count in ranges:
                replica, first = _dot(replicas, [number, seq])
                _need(_is_count(count) and first + count <= SEQ_END)
                found.append((replica, first, count))
                self._removed.add(replica, first, count)
            last = dot

    def _add_assignments(self, replicas: list[int], assignments: list[Any]) -> None:
        last: Dot = (0, 0)
        for named, stamp, by in assignments:
            dot = _dot(replicas, named)
            _need(dot > last and dot not in self.window.assignments and type(stamp) is int and stamp >= 0)
            self.window.assignments[dot] = (stamp, *_dot(replicas, by))
            last = dot

    # -- the elements

    def _add_runs(self, replicas: list[int], runs: list[int], values: list[Scalar]) -> None:
        _need(set(map(type, values)) <= {bytes, int} and set(map(type, runs)) <= {int} and len(runs) % _RUN_FIELDS == 0)
        sequence = self.sequence
        rows: list[RunRow] = []
        visible = removed = 0
        for number, seq, count, kind in zip(*[iter(runs)] * _RUN_FIELDS, strict=True):
            size = abs(count)
            _need(0 <= number < len(replicas) and 0 < seq and 0 < size and seq + size <= SEQ_END)
            _need(RESTING <= kind <= DEAD and (count > 0 or (size > 1 and _falls(kind))))
            if kind > FRESH:
                removed += size
            else:
                visible += size
            rows.append((replicas[number], seq, count, kind))
        _need(visible == len(values) and sequence.removed_count + removed <= REMOVED_MAX)
        _need(all(a[0] != b[0] or a[1] + abs(a[2]) <= b[1] for a, b in pairwise(sorted(rows))))
        if sequence.buckets:
            _need(all(sequence.next_run(replica, seq, seq + abs(count)) is None for replica, seq, count, _ in rows))
        sequence.load(rows, values)
        for replica, seq, count, kind in rows:
            self._check_row(replica, seq, abs(count), kind)
        if self.window.insertions:
            for row in rows:
                if row[3] in (FRESH, FRESH_REMOVED):
                    self._check_neighbours(row[0], row[1], row[1] + row[2])

    def _check_row(self, replica: ReplicaId, seq: int, count: int, kind: int) -> None:
        """Whether a run that has come is what the window says, and no stretch before it may go."""
        stop = seq + count
        named = bool(self._named) and self._take_names(replica, seq, stop)
        if kind in (FRESH, FRESH_REMOVED):
            _need(self._inserted.covers(replica, seq, stop))
            self._fresh -= count
        if kind in (FRESH_REMOVED, REMOVED):
            _need(self._removed.covers(replica, seq, stop))
        if kind in (RESTING, REMOVED):
            _need(not (self._free and self._length))
            self._free, self._length = True, 0
        else:
            self._free = self._free and kind == DEAD and not named
            self._length += count

    def _take_names(self, replica: ReplicaId, seq: int, stop: int) -> bool:
        """Note which elements of a run unstable insertions name; whether any."""
        found = False
        buckets: list[int] | range = range(seq >> BUCKET_BITS, ((stop - 1) >> BUCKET_BITS) + 1)
        if len(buckets) > len(self._named):
            buckets = sorted(n for r, n in self._named if r == replica and n in buckets)
        for number in buckets:
            names = self._named.get((replica, number))
            if names is None:
                continue
            for at in [at for at in names if seq <= at < stop]:
                for _ in range(names.pop(at)):
                    self.sequence.add_name((replica, at))
                found = True
            if not names:
                del self._named[replica, number]
        return found

    def _check_neighbours(self, replica: ReplicaId, seq: int, stop: int) -> None:
        """Whether the insertions that begin in a run stand between the neighbours that they name, as far as these have
        come: a right one that comes later is right, and a left one that has not come never will be."""
        if self._starts is None:
            self._starts = {}
            for each, first in sorted(self.window.insertions):
                self._starts.setdefault(each, []).append(first)
            for each, starts in self._starts.items():
                ends = [first + self.window.insertions[each, first][0] for first in starts]
                _need(all(end <= first for end, first in zip(ends, starts[1:], strict=False)))
        sequence = self.sequence
        starts = self._starts.get(replica, [])
        for first in starts[bisect_left(starts, seq) : bisect_left(starts, stop)]:
            dot = (replica, first)
            _, left, right = self.window.insertions[dot]
            if left is not None:
                _need(sequence.find_run(*left) is not None and sequence.precedes(left, dot))
            if right is not None and sequence.find_run(*right) is not None:
                _need(sequence.precedes(dot, right))


def _is_count(count: Any) -> bool:
    return type(count) is int and 0 < count < SEQ_END


def _dot(replicas: list[int], named: Any) -> Dot:
    _need(type(named) is list)
    number, seq = named
    _need(type(number) is int and 0 <= number < len(replicas) and _is_count(seq))
    return replicas[number], seq


def _dot_or_end(replicas: list[int], named: Any) -> Dot | None:
    return None if named == [] else _dot(replicas, named)
