"""What operations do to the elements of a sequence: insert, change state, name, drop (floor 3).

Where something is inserted and what may be dropped is decided in `sequence`; here it is done, and everything that
depends on it (runs, sizes, buckets, counts) kept right. Costs as in `sequence_tree`.
"""

from collections.abc import Iterable
from typing import Any, Final

from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_runs import (
    BUCKET_BITS,
    BUCKET_SEQS,
    DEAD,
    FRESH,
    FRESH_REMOVED,
    REMOVED,
    RESTING,
    RUNS_MAX,
    STABLE_FLOOR,
    VALUES_MAX,
    Chunk,
    Run,
    runs_up_to,
)
from marmoset.crdts.sequence_tree import SequenceTree
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

MOVED_SINGLY_MAX: Final = 64
"""`list.insert` moves what is behind its place one by one; an assignment to a slice, all at once, wins from here on."""


class SequenceElements(SequenceTree):
    """The tree, with what may happen to elements."""

    __slots__ = ()

    # -- finding

    def next_run(self, replica: ReplicaId, seq: int, stop: int) -> Run | None:
        """The first run that has an id from `seq` up to but without `stop`. O(log BUCKET_SEQS + buckets passed)."""
        if seq >= stop:
            return None
        found = self.find_run(replica, seq)
        if found is not None:
            return found
        number, last = seq >> BUCKET_BITS, (stop - 1) >> BUCKET_BITS
        numbers: Iterable[int] = range(number, last + 1)
        if last - number > len(self.buckets):  # a range wider than all that is here: do not count through it
            numbers = sorted(n for r, n in self.buckets if r == replica and number <= n <= last)
        for number in numbers:
            bucket = self.buckets.get((replica, number))
            if bucket is None:
                continue
            i = runs_up_to(bucket, seq)
            if i < len(bucket):
                return bucket[i] if bucket[i].seq < stop else None
        return None

    def precedes(self, left: Dot, right: Dot) -> bool:
        """Whether an element stands before another one; both must be here. O(log n)."""
        a, b = self.find_run(left[0], left[1]), self.find_run(right[0], right[1])
        if a is None or b is None:
            raise InternalError("an element that is named was dropped")
        if a is b:
            return (left[1] < right[1]) != a.falling
        first, second = a.chunk, b.chunk
        if first is second:
            return first.find(a) < first.find(b)
        above, beside = first.block, second.block
        assert above is not None and beside is not None
        if above is beside:
            return above.chunks.index(first) < above.chunks.index(second)
        return self.blocks.index(above) < self.blocks.index(beside)

    # -- names

    def add_name(self, dot: Dot) -> None:
        """Note that an unstable insertion names an element. O(log BUCKET_SEQS)."""
        run = self.find_run(dot[0], dot[1])
        if run is None:
            raise InternalError("an insertion names an element that was dropped")
        names = run.names
        if names is None:
            run.names = {dot[1]: 1}
            if run.state == DEAD:
                run.chunk.idle -= 1
        else:
            names[dot[1]] = names.get(dot[1], 0) + 1

    def release_name(self, dot: Dot) -> Run:
        """Take such a note back: the run of the element. O(log BUCKET_SEQS)."""
        run = self.find_run(dot[0], dot[1])
        if run is None or run.names is None:
            raise InternalError("an element that was named was dropped")
        names = run.names
        if names[dot[1]] > 1:
            names[dot[1]] -= 1
        else:
            del names[dot[1]]
            if not names:
                run.names = None
                if run.state == DEAD:
                    run.chunk.idle += 1
        return run

    # -- inserting

    def insert_at(self, chunk: Chunk, k: int, replica: ReplicaId, seq: int, values: list[Scalar], state: int) -> None:
        """Put visible elements with consecutive ids in front of run `k` of a chunk. O(log n + values)."""
        count = len(values)
        runs = chunk.runs
        if count > VALUES_MAX // 2:
            self._insert_many(chunk, k, replica, seq, values, state)
            return
        self.changing(chunk)
        self._resize(chunk, count)
        at = chunk.size_before(k)
        if k:
            chunk.changes_from(k - 1)
        if count > 1:
            chunk.open()[at:at] = values
        elif not at and chunk.size() >= MOVED_SINGLY_MAX:
            chunk.put_first(values)
        else:
            kept = chunk.open()
            if at + MOVED_SINGLY_MAX > len(kept):
                kept.insert(at, values[0])
            else:
                kept[at:at] = values
        if count == 1 and k < len(runs) and runs[k].follows(replica, seq, state):
            runs[k].falling = True
            runs[k].count += 1
            chunk.shown[k] += 1
            count = 0
        elif k and runs[k - 1].joins(replica, seq, state):
            runs[k - 1].falling = False
            taken = min(count, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
            runs[k - 1].count += taken
            chunk.shown[k - 1] += taken
            seq += taken
            count -= taken
        while count:
            taken = min(count, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
            run = Run(chunk, replica, seq, taken, state)
            runs.insert(k, run)
            chunk.shown.insert(k, taken)
            self._register(run)
            k += 1
            seq += taken
            count -= taken
        if len(runs) > RUNS_MAX or chunk.size() > VALUES_MAX:
            self.settle(chunk)

    def insert_at_end(self, dot: Dot, values: list[Scalar], is_front: bool) -> None:
        """Put stable elements in front of all others or behind them, of which none is removed. O(log n + values)."""
        chunk = self.blocks[0].chunks[0] if is_front else self.blocks[-1].chunks[-1]
        self.insert_at(chunk, 0 if is_front else len(chunk.runs), dot[0], dot[1], values, RESTING)

    def push_each_at_end(self, dot: Dot, values: list[Scalar], is_front: bool) -> None:
        """The same for values that are an insertion each, so that those in front stand each in front of the one before;
        at most `VALUES_MAX // 2`. O(log n + values)."""
        if is_front:
            self.push_at(self.blocks[0].chunks[0], 0, dot[0], dot[1], values)
        else:
            self.insert_at_end(dot, values, is_front)

    def splice(self, dot: Dot, start: int, stop: int, values: list[Scalar]) -> None:
        """Put values in the place of the elements from `start` to before `stop`, which are there: what a removal and an
        insertion with this dot do where all elements are stable and none is removed. O(log n + runs that go + values).
        """
        while start < stop:
            chunk, offset = self._locate(start)
            k, inner = chunk.run_at(offset)
            run = chunk.runs[k]
            count = min(stop - start, run.count - inner)
            seq = run.seq_at(inner + count - 1) if run.falling else run.seq + inner
            self.drop_elements(run, seq, seq + count)
            stop -= count
        if not values:
            return
        if not start:
            self.insert_at_end(dot, values, True)
            return
        chunk, offset = self._locate(start - 1)
        k, inner = chunk.run_at(offset)
        run = chunk.runs[k]
        if inner + 1 < run.count:
            self.split_run(run, k, inner + 1)
        self.insert_at(chunk, k + 1, dot[0], dot[1], values, RESTING)

    def push_at(self, chunk: Chunk, k: int, replica: ReplicaId, seq: int, values: list[Scalar]) -> None:
        """Put visible, stable elements with consecutive ids in front of run `k` of a chunk, each in front of the one
        before; at most `VALUES_MAX // 2`. O(log n + values)."""
        count = len(values)
        runs = chunk.runs
        self.changing(chunk)
        self._resize(chunk, count)
        at = chunk.size_before(k)
        if k:
            chunk.changes_from(k - 1)
        if not at and chunk.size() >= MOVED_SINGLY_MAX:
            chunk.put_first(values)
        else:
            chunk.open()[at:at] = values[::-1]
        if k < len(runs) and runs[k].follows(replica, seq, RESTING):
            taken = min(count, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
            runs[k].falling = True
            runs[k].count += taken
            chunk.shown[k] += taken
            seq += taken
            count -= taken
        while count:
            taken = min(count, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
            run = Run(chunk, replica, seq, taken, RESTING, taken > 1)
            runs.insert(k, run)
            chunk.shown.insert(k, taken)
            self._register(run)
            seq += taken
            count -= taken
        if len(runs) > RUNS_MAX or chunk.size() > VALUES_MAX:
            self.settle(chunk)

    def _insert_many(
        self, chunk: Chunk, k: int, replica: ReplicaId, seq: int, values: list[Scalar], state: int
    ) -> None:
        """Put more values than a chunk should take in front of run `k`: they get chunks of their own."""
        self._flush()
        self._cursor_start = -1
        target: Chunk | None = chunk
        if 0 < k < len(chunk.runs):
            self._cut(chunk, k)
        elif k == 0 and chunk.runs:
            target = chunk.before
        self._link(self._make_chunks([(replica, seq, len(values), state)], values), target)
        self._length += len(values)
        if not chunk.runs:
            self._unlink(chunk)

    def load(self, pieces: list[tuple[ReplicaId, int, int, int]], values: list[Scalar]) -> None:
        """Put elements at the end: (replica, lowest seq, count, state) from left to right, and the visible values.

        A negative count is that of a falling run. O(values + pieces).
        """
        if pieces:
            self._flush()
            self._cursor_start = -1
            last = self.blocks[-1].chunks[-1]
            self._link(self._make_chunks(pieces, values), last)
            self._length += len(values)
            self.removed_count += sum([abs(count) for _, _, count, state in pieces if state > FRESH])
            if not last.runs:
                self._unlink(last)

    def _make_chunks(self, pieces: list[tuple[ReplicaId, int, int, int]], values: list[Scalar]) -> list[Chunk]:
        """Chunks, about half full, of some elements; they are registered, but not linked yet."""
        chunk = Chunk()
        fresh = [chunk]
        at = size = 0
        for replica, first, total, state in pieces:
            seq, stop = first, first + abs(total)
            while seq < stop:
                if size >= VALUES_MAX // 2 or len(chunk.runs) >= RUNS_MAX // 2:
                    chunk.values = values[at : at + size]
                    chunk.pack()
                    at += size
                    chunk, size = Chunk(), 0
                    fresh.append(chunk)
                if total > 0:
                    count = min(stop - seq, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
                    run = Run(chunk, replica, seq, count, state)
                    seq += count
                else:
                    count = min(stop - seq, ((stop - 1) & (BUCKET_SEQS - 1)) + 1)
                    stop -= count
                    run = Run(chunk, replica, stop, count, state, True)
                chunk.append(run)
                self._register(run)
                if state <= FRESH:
                    size += count
        chunk.values = values[at : at + size]
        chunk.pack()
        return fresh

    # -- changing state

    def convert(self, run: Run, seq: int, stop: int, state: int) -> None:
        """Give the elements `seq` up to but without `stop` of a run another state. O(log n + RUNS_MAX).

        Elements may become removed, or stable; never visible again.
        """
        chunk = run.chunk
        self.changing(chunk)
        runs, shown = chunk.runs, chunk.shown
        k = chunk.find(run)
        count = stop - seq
        if state > FRESH:
            if run.state <= FRESH:
                at = chunk.size_before(k) + run.offset_of(seq, stop)
                if count == 1:
                    del chunk.open()[at]
                else:
                    del chunk.open()[at : at + count]
                self._resize(chunk, -count)
                self.removed_count += count
            if state == FRESH_REMOVED:
                chunk.lower_floor(run.replica, seq)
            else:
                chunk.lower_floor(STABLE_FLOOR, 0)
        chunk.changes_from(max(k - 1, 0))
        if count < run.count:
            if self._shift(run, k, seq, stop, state):
                return
            offset = run.offset_of(seq, stop)
            if offset + count < run.count:
                self.split_run(run, k, offset + count)
            if offset:
                run = self.split_run(run, k, offset)
                k += 1
        run.state = state
        shown[k] = run.shown()
        chunk.idle += run.is_idle()
        self.join_runs(chunk, k)
        self.join_runs(chunk, k - 1)
        if len(runs) > RUNS_MAX:
            self.settle(chunk)
        elif state == RESTING:
            self.merge_small(chunk)  # elements that were pushed in front one by one have become one run

    def _shift(self, run: Run, k: int, seq: int, stop: int, state: int) -> bool:
        """Move the boundary to the run before or behind, if that can take the elements. O(min(names, elements))."""
        chunk, count = run.chunk, stop - seq
        if run.falling:
            return False
        if seq == run.seq and k and chunk.runs[k - 1].joins(run.replica, seq, state):
            there = k - 1
            other = chunk.runs[there]
            other.falling = False
            run.seq += count
        elif stop == run.seq + run.count and k + 1 < len(chunk.runs):
            there = k + 1
            other = chunk.runs[there]
            if other.replica != run.replica or other.seq != stop or other.state != state or other.falling:
                return False
            if stop & (BUCKET_SEQS - 1) == 0:
                return False
            other.seq -= count
        else:
            return False
        run.count -= count
        other.count += count
        if run.names is not None:
            idle = other.is_idle()
            run.give_names(other, seq, stop)
            chunk.idle += other.is_idle() - idle
        if run.state <= FRESH:
            chunk.shown[k] -= count
        if state <= FRESH:
            chunk.shown[there] += count
        return True

    def hide_chunk(self, chunk: Chunk) -> None:
        """Make every visible element of a chunk a removed one. O(RUNS_MAX + CHUNKS_MAX)."""
        self.changing(chunk)
        count = chunk.size()
        chunk.values = []
        chunk.ahead = chunk.packed = None
        chunk.shown = [0] * len(chunk.runs)
        chunk.near = chunk.near_start = 0
        for run in chunk.runs:
            if run.state <= FRESH:
                run.state = REMOVED if run.state == RESTING else FRESH_REMOVED
        chunk.forget_floor()
        self._resize(chunk, -count)
        self.removed_count += count

    # -- dropping

    def drop_elements(self, run: Run, seq: int, stop: int) -> None:
        """Forget some visible elements of a run altogether. O(log n + RUNS_MAX)."""
        chunk = run.chunk
        self.changing(chunk)
        k = chunk.find(run)
        count = stop - seq
        offset = run.offset_of(seq, stop)
        at = chunk.size_before(k) + offset
        chunk.changes_from(k)
        if count == 1:
            del chunk.open()[at]
        else:
            del chunk.open()[at : at + count]
        self._resize(chunk, -count)
        if count == run.count:
            self._take_runs(chunk, k, k + 1)
            if chunk.runs:
                self._tidy(chunk, k)
            else:
                self._unlink(chunk)
            return
        middle = offset > 0 and offset + count < run.count
        if middle:
            self.split_run(run, k, offset + count)
        if (offset == 0) != run.falling:  # it loses its lowest ids
            run.seq += count
        run.count -= count
        chunk.shown[k] = run.count
        if middle:
            self.settle(chunk)

    def drop_stretch(self, first: tuple[Chunk, int], last: tuple[Chunk, int]) -> None:
        """Forget all runs from one place to another, both included, all of removed elements. O(log n + runs)."""
        chunk, k = first
        if k == 0 and chunk.before is None and last[0].after is None and last[1] + 1 == len(last[0].runs):
            self.clear()
            return
        parts: list[tuple[Chunk, int, int]] = []
        while chunk is not last[0]:
            parts.append((chunk, k, len(chunk.runs)))
            assert chunk.after is not None
            chunk, k = chunk.after, 0
        parts.append((chunk, k, last[1] + 1))
        count = 0
        for chunk, k, end in parts:
            count += sum([run.count for run in chunk.runs[k:end]])
            self._take_runs(chunk, k, end)
        self.removed_count -= count
        for chunk, _, _ in parts:
            if not chunk.runs:
                self._unlink(chunk)
        for chunk, k, _ in parts:
            if chunk.runs:  # else it is gone, or has been united with the one before
                self._tidy(chunk, k)

    def clear(self) -> None:
        """Forget every element. O(elements)."""
        for block in self.blocks:
            for chunk in block.chunks:
                self.changing(chunk)
                chunk.loosen()
        self.detach()

    def detach(self) -> list[Any]:
        """Forget every element, which nobody reads, and give away all that held them: blocks, whose chunks are to be
        loosened, and buckets. O(1)."""
        parts: list[Any] = [self.blocks, self.buckets]
        self._begin()
        return parts
