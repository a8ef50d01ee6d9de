"""The sequence as a structure: visible values by index, elements by id (floor 3).

This module knows elements, their order and their states (`sequence_runs`), and nothing of operations: what is inserted
where, and what may be dropped, is decided in `sequence`. Readers use the first half of `Sequence`; the second half is
for `sequence` and `sequence_state` alone.

Cost: with n elements in r runs, an index or an id is found in O(log n + r / (RUNS_MAX * CHUNKS_MAX)) steps of which the
last are additions in C. Edits near the place of the last one find their chunk in O(1): `_cursor` is the chunk
last used, `_cursor_start` the index of its first value (-1: not known), and `_cursor_delta` the change of its size that
the sizes above it do not have yet.

Runs, chunks and blocks point at each other. `clear` takes them apart, as dropping does, so a sequence that was emptied
needs no cyclic garbage collection.
"""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from operator import attrgetter
from typing import Final, final

from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_runs import (
    BUCKET_BITS,
    BUCKET_SEQS,
    CHUNKS_MAX,
    DEAD,
    FRESH,
    RUNS_MAX,
    VALUES_MAX,
    Block,
    Chunk,
    Run,
)
from marmoset.errors import InternalError
from marmoset.ids import Dot, ReplicaId

_seq_of: Final = attrgetter("seq")


@final
class Sequence:
    """A list of `bytes` or `int` whose elements have ids. Reads show what is visible; they never look at a window."""

    __slots__ = (
        "_cursor",
        "_cursor_delta",
        "_cursor_start",
        "_length",
        "blocks",
        "buckets",
        "removed_count",
        "sizes",
    )

    def __init__(self) -> None:
        chunk, block = Chunk(), Block()
        chunk.block = block
        block.chunks.append(chunk)
        block.sizes.append(0)
        self.blocks: list[Block] = [block]
        self.sizes: list[int] = [0]
        self.buckets: dict[tuple[ReplicaId, int], list[Run]] = {}
        self.removed_count = 0
        self._length = 0
        self._cursor = chunk
        self._cursor_start = 0
        self._cursor_delta = 0

    # -- reading

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Scalar]:
        for block in self.blocks:
            for chunk in block.chunks:
                yield from chunk.values

    def __getitem__(self, index: int) -> Scalar:
        """The value at an index; a negative one counts from the end. O(log n).

        Raises:
            IndexError: there is no such element.
        """
        chunk, offset = self._locate(self._index(index))
        return chunk.values[offset]

    def slice(self, start: int, stop: int) -> list[Scalar]:
        """The values from `start` up to but without `stop`; both are cut to what is there. O(log n + result)."""
        start, stop = max(start, 0), min(stop, self._length)
        if start >= stop:
            return []
        found: Chunk | None
        found, offset = self._locate(start)
        values = found.values[offset : offset + stop - start]
        while len(values) < stop - start:
            found = found.after
            assert found is not None
            missing = stop - start - len(values)
            values += found.values if len(found.values) <= missing else found.values[:missing]
        return values

    def id_at(self, index: int) -> Dot:
        """The id of the element at an index; a negative one counts from the end. O(log n).

        Raises:
            IndexError: there is no such element.
        """
        chunk, offset = self._locate(self._index(index))
        k, inner = _run_at(chunk, offset)
        run = chunk.runs[k]
        return run.replica, run.seq + inner

    def neighbours(self, index: int) -> tuple[Dot | None, Dot | None]:
        """The ids between which an insertion before `index` goes (`len` is the end); None is an end. O(log n).

        Raises:
            IndexError: there is no such place.
        """
        length = self._length
        if not 0 <= index <= length:
            raise IndexError("sequence index out of range")
        if index == 0:
            return None, (self.id_at(0) if length else None)
        chunk, offset = self._locate(index - 1)
        k, inner = _run_at(chunk, offset)
        run = chunk.runs[k]
        replica, seq = run.replica, run.seq + inner
        if inner + 1 < run.count:
            return (replica, seq), (replica, seq + 1)
        if index == length:
            return (replica, seq), None
        if offset + 1 == len(chunk.values):
            after = chunk.after
            while after is not None and not after.values:
                after = after.after
            assert after is not None
            chunk, k = after, -1
        k += 1
        while not chunk.shown[k]:
            k += 1
        run = chunk.runs[k]
        return (replica, seq), (run.replica, run.seq)

    def ranges(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """The ids of the elements from `start` up to but without `stop`, as (replica, first seq, count).

        Both ends are cut to what is there. O(log n + runs between them).
        """
        start, stop = max(start, 0), min(stop, self._length)
        found: list[tuple[int, int, int]] = []
        if start >= stop:
            return found
        missing = stop - start
        chunk, offset = self._locate(start)
        k, inner = _run_at(chunk, offset)
        last: tuple[int, int, int] | None = None
        while True:
            shown = chunk.shown[k] - inner
            if shown > 0:
                run = chunk.runs[k]
                count = min(shown, missing)
                seq = run.seq + inner
                if last is not None and last[0] == run.replica and last[1] + last[2] == seq:
                    last = (last[0], last[1], last[2] + count)
                    found[-1] = last
                else:
                    last = (run.replica, seq, count)
                    found.append(last)
                missing -= count
                if not missing:
                    return found
            inner = 0
            k += 1
            while k == len(chunk.runs):
                after = chunk.after
                assert after is not None
                chunk, k = after, 0

    def index_of(self, dot: Dot) -> int | None:
        """The index of an element; None when it is removed or unknown. O(log n)."""
        run = self.find_run(dot[0], dot[1])
        if run is None or run.state > FRESH:
            return None
        chunk = run.chunk
        offset = sum(chunk.shown[: chunk.runs.index(run)]) + dot[1] - run.seq
        if chunk is self._cursor and self._cursor_start >= 0:
            return self._cursor_start + offset
        self._flush()
        block = chunk.block
        assert block is not None
        offset += sum(block.sizes[: block.chunks.index(chunk)])
        return offset + sum(self.sizes[: self.blocks.index(block)])

    def _index(self, index: int) -> int:
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError("sequence index out of range")
        return index

    def _locate(self, index: int) -> tuple[Chunk, int]:
        """Chunk and offset of the visible element at an index that exists; the cursor goes there."""
        start = self._cursor_start
        if 0 <= start <= index < start + len(self._cursor.values):
            return self._cursor, index - start
        self._flush()
        rest = index
        block = self.blocks[0]
        if len(self.sizes) > 1:
            sums = list(accumulate(self.sizes))
            i = bisect_right(sums, rest)
            block = self.blocks[i]
            if i:
                rest -= sums[i - 1]
        sums = list(accumulate(block.sizes))
        i = bisect_right(sums, rest)
        if i:
            rest -= sums[i - 1]
        chunk = block.chunks[i]
        self._cursor = chunk
        self._cursor_start = index - rest
        return chunk, rest

    # -- elements, for `sequence` and `sequence_state`

    def find_run(self, replica: ReplicaId, seq: int) -> Run | None:
        """The run of an element; None when it was dropped or never was. O(log BUCKET_SEQS)."""
        bucket = self.buckets.get((replica, seq >> BUCKET_BITS))
        if bucket is None:
            return None
        run = bucket[0]
        if len(bucket) > 1:
            i = bisect_right(bucket, seq, key=_seq_of)
            if not i:
                return None
            run = bucket[i - 1]
        return run if run.seq <= seq < run.seq + run.count else None

    def next_run(self, replica: ReplicaId, seq: int, stop: int) -> Run | None:
        """The first run that has an id from `seq` up to but without `stop`. O(log n), in gaps O(buckets passed)."""
        number, last = seq >> BUCKET_BITS, (stop - 1) >> BUCKET_BITS
        if last - number > len(self.buckets):  # a range wider than all that is here: do not count through it
            wanted = sorted(n for r, n in self.buckets if r == replica and number <= n <= last)
            bounds = iter(wanted)
        else:
            bounds = iter(range(number, last + 1))
        for number in bounds:
            bucket = self.buckets.get((replica, number))
            if bucket is None:
                continue
            i = bisect_right(bucket, seq, key=_seq_of)
            if i and seq < bucket[i - 1].seq + bucket[i - 1].count:
                return bucket[i - 1]
            if i < len(bucket):
                return bucket[i] if bucket[i].seq < stop else None
        return None

    def precedes(self, left: Dot, right: Dot) -> bool:
        """Whether an element stands before another one; both must be here. O(log n)."""
        a, b = self.find_run(left[0], left[1]), self.find_run(right[0], right[1])
        if a is None or b is None:
            raise InternalError("an element that is named was dropped")
        if a is b:
            return left[1] < right[1]
        first, second = a.chunk, b.chunk
        if first is second:
            return first.runs.index(a) < first.runs.index(b)
        above, beside = first.block, second.block
        assert above is not None and beside is not None
        if above is beside:
            return above.chunks.index(first) < above.chunks.index(second)
        return self.blocks.index(above) < self.blocks.index(beside)

    def add_name(self, dot: Dot) -> None:
        """Note that an unstable insertion names an element. O(log BUCKET_SEQS)."""
        run = self.find_run(dot[0], dot[1])
        if run is None:
            raise InternalError("an insertion names an element that was dropped")
        if run.names is None:
            run.names = {dot[1]: 1}
            if run.state == DEAD:
                run.chunk.idle -= 1
        else:
            run.names[dot[1]] = run.names.get(dot[1], 0) + 1

    def release_name(self, dot: Dot) -> Run:
        """Take such a note back: the run of the element. O(log BUCKET_SEQS)."""
        run = self.find_run(dot[0], dot[1])
        if run is None or run.names is None:
            raise InternalError("an element that was named was dropped")
        if run.names[dot[1]] > 1:
            run.names[dot[1]] -= 1
        else:
            del run.names[dot[1]]
            if not run.names:
                run.names = None
                if run.state == DEAD:
                    run.chunk.idle += 1
        return run

    def insert_at(
        self, chunk: Chunk, k: int, replica: ReplicaId, seq: int, values: list[Scalar], state: int
    ) -> None:
        """Put visible elements with consecutive ids in front of run `k` of a chunk. O(log n + values)."""
        count = len(values)
        runs = chunk.runs
        if count > VALUES_MAX // 2:
            self._insert_many(chunk, k, replica, seq, values, state)
            return
        self._resize(chunk, count)
        at = sum(chunk.shown[:k])
        if count == 1:
            chunk.values.insert(at, values[0])
        else:
            chunk.values[at:at] = values
        if k and runs[k - 1].joins(replica, seq, state):
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
        if len(runs) > RUNS_MAX or len(chunk.values) > VALUES_MAX:
            self.settle(chunk)

    def append_visible(self, replica: ReplicaId, seq: int, values: list[Scalar], state: int) -> None:
        """Put visible elements with consecutive ids at the end. O(log n + values)."""
        chunk = self.blocks[-1].chunks[-1]
        self.insert_at(chunk, len(chunk.runs), replica, seq, values, state)

    def append_removed(self, replica: ReplicaId, seq: int, count: int, state: int) -> None:
        """Put removed elements with consecutive ids at the end. O(log n + count / BUCKET_SEQS)."""
        self.removed_count += count
        while count:
            taken = min(count, BUCKET_SEQS - (seq & (BUCKET_SEQS - 1)))
            chunk = self.blocks[-1].chunks[-1]
            run = Run(chunk, replica, seq, taken, state)
            chunk.append(run)
            self._register(run)
            self.settle(chunk)
            seq += taken
            count -= taken

    def runs(self) -> Iterator[Run]:
        """All runs, from left to right. O(runs)."""
        for block in self.blocks:
            for chunk in block.chunks:
                yield from chunk.runs

    def split_run(self, run: Run, k: int, offset: int) -> Run:
        """Cut run `k` of its chunk in two: the second part. The caller settles the chunk. O(RUNS_MAX + names)."""
        chunk = run.chunk
        idle = run.is_idle()
        second = Run(chunk, run.replica, run.seq + offset, run.count - offset, run.state)
        run.count = offset
        run.give_names(second)
        chunk.runs.insert(k + 1, second)
        if run.state <= FRESH:
            chunk.shown[k] = offset
            chunk.shown.insert(k + 1, second.count)
        else:
            chunk.shown.insert(k + 1, 0)
            chunk.hidden += 1
            chunk.idle += run.is_idle() + second.is_idle() - idle
        self._register(second)
        return second

    def join_runs(self, chunk: Chunk, k: int) -> bool:
        """Make one run of run `k` of a chunk and the next one, if they are one. O(RUNS_MAX)."""
        if k < 0 or k + 1 >= len(chunk.runs):
            return False
        run, second = chunk.runs[k], chunk.runs[k + 1]
        if not run.joins(second.replica, second.seq, second.state):
            return False
        idle = run.is_idle() + second.is_idle()
        self._unregister(second)
        run.count += second.count
        run.take_names(second)
        del chunk.runs[k + 1]
        chunk.shown[k] += chunk.shown[k + 1]
        del chunk.shown[k + 1]
        if run.state > FRESH:
            chunk.hidden -= 1
            chunk.idle += run.is_idle() - idle
        return True

    def convert(self, run: Run, seq: int, stop: int, state: int) -> None:
        """Give the elements `seq` up to but without `stop` of a run another state. O(log n + RUNS_MAX).

        Elements may become removed, or stable; never visible again.
        """
        chunk = run.chunk
        runs, shown = chunk.runs, chunk.shown
        k = runs.index(run)
        count = stop - seq
        was_shown, is_shown = run.state <= FRESH, state <= FRESH
        if was_shown and not is_shown:
            at = sum(shown[:k]) + seq - run.seq
            del chunk.values[at : at + count]
            self._resize(chunk, -count)
            self.removed_count += count
        if count < run.count and self._shift(run, k, seq, stop, state):
            if state == DEAD:
                chunk.recount()
            return
        if stop < run.seq + run.count:
            self.split_run(run, k, stop - run.seq)
        if seq > run.seq:
            run = self.split_run(run, k, seq - run.seq)
            k += 1
        run.state = state
        if was_shown and not is_shown:
            shown[k] = 0
            chunk.hidden += 1
        if state == DEAD:
            chunk.recount()
        self.join_runs(chunk, k)
        self.join_runs(chunk, k - 1)
        self.settle(chunk)

    def _shift(self, run: Run, k: int, seq: int, stop: int, state: int) -> bool:
        """Move the boundary to the run before or behind, if that can take the elements. O(names)."""
        chunk, count = run.chunk, stop - seq
        if seq == run.seq and k and chunk.runs[k - 1].joins(run.replica, seq, state):
            other, there = chunk.runs[k - 1], k - 1
            run.seq += count
        elif stop == run.seq + run.count and k + 1 < len(chunk.runs):
            other, there = chunk.runs[k + 1], k + 1
            if other.replica != run.replica or other.seq != stop or other.state != state:
                return False
            if stop & (BUCKET_SEQS - 1) == 0:
                return False
            other.seq -= count
        else:
            return False
        run.count -= count
        other.count += count
        run.give_names(other)
        chunk.shown[k] = run.shown()
        chunk.shown[there] = other.shown()
        return True

    def drop_elements(self, run: Run, seq: int, stop: int) -> None:
        """Forget some elements of a run altogether, visible or not. O(log n + RUNS_MAX)."""
        chunk = run.chunk
        k = chunk.runs.index(run)
        count = stop - seq
        if run.state <= FRESH:
            at = sum(chunk.shown[:k]) + seq - run.seq
            del chunk.values[at : at + count]
            self._resize(chunk, -count)
        else:
            self.removed_count -= count
        if count == run.count:
            self._take_runs(chunk, k, k + 1)
            if chunk.runs:
                self._tidy(chunk, k)
            else:
                self._unlink(chunk)
            return
        if seq > run.seq and stop < run.seq + run.count:
            self.split_run(run, k, stop - run.seq)
        elif seq == run.seq:
            run.seq = stop
        run.count -= count
        chunk.shown[k] = run.shown()
        self.settle(chunk)

    def drop_stretch(self, first: tuple[Chunk, int], last: tuple[Chunk, int]) -> int:
        """Forget all runs from one place to another, both included, all of removed elements: how many elements went.

        O(log n + runs that go).
        """
        parts: list[tuple[Chunk, int, int]] = []
        chunk, k = first
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
        return count

    def clear(self) -> None:
        """Forget every element. O(chunks)."""
        chunk, block = Chunk(), Block()
        chunk.block = block
        block.chunks.append(chunk)
        block.sizes.append(0)
        for old in self.blocks:
            for gone in old.chunks:
                gone.runs = []
                gone.before = gone.after = gone.block = None
            old.chunks = []
        self.blocks = [block]
        self.sizes = [0]
        self.buckets = {}
        self.removed_count = 0
        self._length = 0
        self._cursor = chunk
        self._cursor_start = 0
        self._cursor_delta = 0

    # -- the structure itself

    def _register(self, run: Run) -> None:
        key = (run.replica, run.seq >> BUCKET_BITS)
        bucket = self.buckets.get(key)
        if bucket is None:
            self.buckets[key] = [run]
        elif bucket[-1].seq < run.seq:
            bucket.append(run)
        else:
            bucket.insert(bisect_right(bucket, run.seq, key=_seq_of), run)

    def _unregister(self, run: Run) -> None:
        key = (run.replica, run.seq >> BUCKET_BITS)
        bucket = self.buckets[key]
        if len(bucket) == 1:
            del self.buckets[key]
        else:
            del bucket[bisect_right(bucket, run.seq, key=_seq_of) - 1]

    def _resize(self, chunk: Chunk, change: int) -> None:
        """Note that a chunk has more or fewer values than it had. O(1) where the last edit was, else O(CHUNKS_MAX)."""
        self._length += change
        if chunk is not self._cursor:
            self._flush()
            self._cursor = chunk
            self._cursor_start = -1
        self._cursor_delta += change

    def _flush(self) -> None:
        """Bring the sizes above the cursor up to date."""
        if self._cursor_delta:
            block = self._cursor.block
            assert block is not None
            block.sizes[block.chunks.index(self._cursor)] += self._cursor_delta
            self.sizes[self.blocks.index(block)] += self._cursor_delta
            self._cursor_delta = 0

    def _insert_many(
        self, chunk: Chunk, k: int, replica: ReplicaId, seq: int, values: list[Scalar], state: int
    ) -> None:
        """Put more values than a chunk should take in front of run `k`: they get chunks of their own."""
        self._flush()
        self._cursor_start = -1
        if 0 < k < len(chunk.runs):
            self._cut(chunk, k)
        target: Chunk | None = chunk
        if k == 0:
            target = chunk.before
        fresh: list[Chunk] = []
        at = 0
        while at < len(values):
            new = Chunk()
            fresh.append(new)
            size = 0
            while at < len(values) and size < VALUES_MAX // 2:
                taken = min(len(values) - at, BUCKET_SEQS - ((seq + at) & (BUCKET_SEQS - 1)))
                run = Run(new, replica, seq + at, taken, state)
                new.append(run)
                self._register(run)
                at += taken
                size += taken
            new.values = values[at - size : at]
        if target is None and not chunk.runs:
            target = chunk
        self._length += len(values)
        self._link(fresh, target)
        if not chunk.runs:
            self._unlink(chunk)

    def settle(self, chunk: Chunk) -> None:
        """Split a chunk that has too much. O(RUNS_MAX + VALUES_MAX + CHUNKS_MAX)."""
        while len(chunk.runs) > RUNS_MAX or len(chunk.values) > VALUES_MAX:
            k = len(chunk.runs) // 2
            if len(chunk.values) > VALUES_MAX:
                k = min(max(1, bisect_right(list(accumulate(chunk.shown)), VALUES_MAX // 2)), len(chunk.runs) - 1)
            self.settle(self._cut(chunk, k))

    def _cut(self, chunk: Chunk, k: int) -> Chunk:
        """Move the runs from `k` on to a new chunk behind: that chunk."""
        self._flush()
        new = Chunk()
        at = sum(chunk.shown[:k])
        new.runs, new.shown, new.values = chunk.runs[k:], chunk.shown[k:], chunk.values[at:]
        del chunk.runs[k:], chunk.shown[k:], chunk.values[at:]
        for run in new.runs:
            run.chunk = new
        if chunk.hidden:
            new.recount()
            chunk.hidden -= new.hidden
            chunk.idle -= new.idle
        block = chunk.block
        assert block is not None
        block.sizes[block.chunks.index(chunk)] -= len(new.values)
        self.sizes[self.blocks.index(block)] -= len(new.values)
        self._link([new], chunk)
        return new

    def _link(self, fresh: list[Chunk], target: Chunk | None) -> None:
        """Put chunks behind another one (None: in front of all)."""
        block = self.blocks[0] if target is None else target.block
        assert block is not None
        i = 0 if target is None else block.chunks.index(target) + 1
        after = self.blocks[0].chunks[0] if target is None else target.after
        block.chunks[i:i] = fresh
        block.sizes[i:i] = [len(chunk.values) for chunk in fresh]
        before = target
        for chunk in fresh:
            chunk.block = block
            chunk.before = before
            if before is not None:
                before.after = chunk
            before = chunk
        fresh[-1].after = after
        if after is not None:
            after.before = fresh[-1]
        b = self.blocks.index(block)
        self.sizes[b] += sum([len(chunk.values) for chunk in fresh])
        if len(block.chunks) > CHUNKS_MAX:
            self._split_block(b)

    def _split_block(self, b: int) -> None:
        """Make several blocks of one that has too many chunks."""
        old = self.blocks[b]
        step = CHUNKS_MAX // 2
        blocks: list[Block] = []
        for i in range(0, len(old.chunks), step):
            new = Block()
            new.chunks, new.sizes = old.chunks[i : i + step], old.sizes[i : i + step]
            for chunk in new.chunks:
                chunk.block = new
            blocks.append(new)
        old.chunks = []
        self.blocks[b : b + 1] = blocks
        self.sizes[b : b + 1] = [sum(block.sizes) for block in blocks]

    def _take_runs(self, chunk: Chunk, k: int, end: int) -> None:
        """Take runs whose values are gone out of a chunk."""
        for run in chunk.runs[k:end]:
            self._unregister(run)
            if run.state > FRESH:
                chunk.hidden -= 1
                chunk.idle -= run.is_idle()
        del chunk.runs[k:end], chunk.shown[k:end]

    def _tidy(self, chunk: Chunk, k: int) -> None:
        """Join what has come to stand side by side in front of run `k`, and unite chunks that have become small."""
        self.join_runs(chunk, k - 1)
        if len(chunk.runs) < RUNS_MAX // 8 and len(chunk.values) < VALUES_MAX // 8:
            self._merge(chunk)

    def _merge(self, chunk: Chunk) -> None:
        """Unite a chunk that has become small with the next or previous one, if that is not large."""
        for left, right in ((chunk, chunk.after), (chunk.before, chunk)):
            if left is None or right is None or left.block is not right.block:
                continue
            if len(left.runs) + len(right.runs) > RUNS_MAX // 2:
                continue
            if len(left.values) + len(right.values) > VALUES_MAX // 2:
                continue
            self._flush()
            for run in right.runs:
                run.chunk = left
            joint = len(left.runs) - 1
            left.runs += right.runs
            left.shown += right.shown
            left.values += right.values
            left.hidden += right.hidden
            left.idle += right.idle
            block = left.block
            assert block is not None
            i = block.chunks.index(left)
            block.sizes[i] += block.sizes[i + 1]
            block.sizes[i + 1] = 0
            right.runs, right.shown, right.values = [], [], []
            self._unlink(right)
            self.join_runs(left, joint)
            return

    def _unlink(self, chunk: Chunk) -> None:
        """Take an empty chunk out, unless it is the only one."""
        self._flush()
        if chunk is self._cursor:
            self._cursor_start = -1
        before, after, block = chunk.before, chunk.after, chunk.block
        assert block is not None
        if before is None and after is None:
            return
        if before is not None:
            before.after = after
        if after is not None:
            after.before = before
        chunk.before = chunk.after = chunk.block = None
        i = block.chunks.index(chunk)
        del block.chunks[i], block.sizes[i]
        if chunk is self._cursor:
            other = before or after
            assert other is not None
            self._cursor = other
        if not block.chunks:
            b = self.blocks.index(block)
            del self.blocks[b], self.sizes[b]
        elif len(block.chunks) < CHUNKS_MAX // 8:
            self._merge_block(self.blocks.index(block))

    def _merge_block(self, b: int) -> None:
        """Unite a block that has become small with the next or previous one, if that is not large."""
        for left in (b, b - 1):
            if left < 0 or left + 1 >= len(self.blocks):
                continue
            block, other = self.blocks[left], self.blocks[left + 1]
            if len(block.chunks) + len(other.chunks) > CHUNKS_MAX // 2:
                continue
            for chunk in other.chunks:
                chunk.block = block
            block.chunks += other.chunks
            block.sizes += other.sizes
            other.chunks = []
            self.sizes[left] += self.sizes[left + 1]
            del self.blocks[left + 1], self.sizes[left + 1]
            return

    def _check(self) -> None:
        """Every invariant of the structure. O(n)."""
        self._flush()
        chunks = [chunk for block in self.blocks for chunk in block.chunks]
        assert self._cursor in chunks
        start = sum(len(chunk.values) for chunk in chunks[: chunks.index(self._cursor)])
        assert self._cursor_start in (-1, start), "the cursor is elsewhere"
        assert len(self.blocks) == len(self.sizes)
        length = removed = runs = 0
        for block, size in zip(self.blocks, self.sizes, strict=True):
            assert sum(block.sizes) == size and 0 < len(block.chunks) <= CHUNKS_MAX
            assert len(block.chunks) == len(block.sizes)
            assert all(chunk.block is block for chunk in block.chunks)
        for i, chunk in enumerate(chunks):
            assert chunk.before is (chunks[i - 1] if i else None), "chunks are not linked"
            assert chunk.after is (chunks[i + 1] if i + 1 < len(chunks) else None), "chunks are not linked"
            assert chunk.block is not None
            assert chunk.block.sizes[chunk.block.chunks.index(chunk)] == len(chunk.values), "a size is wrong"
            assert chunk.runs or len(chunks) == 1, "an empty chunk is kept"
            assert len(chunk.runs) <= RUNS_MAX and len(chunk.values) <= VALUES_MAX, "a chunk is too large"
            assert chunk.shown == [run.shown() for run in chunk.runs] and sum(chunk.shown) == len(chunk.values)
            hidden, idle = chunk.hidden, chunk.idle
            chunk.recount()
            assert (hidden, idle) == (chunk.hidden, chunk.idle), "hidden or idle runs are miscounted"
            for run in chunk.runs:
                assert run.chunk is chunk and run.count > 0
                assert run.seq >> BUCKET_BITS == (run.seq + run.count - 1) >> BUCKET_BITS, "a run crosses buckets"
                assert self.find_run(run.replica, run.seq) is run, "a run cannot be found by its ids"
                if run.names is not None:
                    assert run.names and all(run.seq <= s < run.seq + run.count for s in run.names)
                    assert all(n > 0 for n in run.names.values())
                removed += run.count - run.shown()
                runs += 1
            length += len(chunk.values)
        assert length == self._length and removed == self.removed_count
        assert sum(map(len, self.buckets.values())) == runs, "a run that is gone is still listed"
        for bucket in self.buckets.values():
            ends = [(run.seq, run.seq + run.count) for run in bucket]
            assert all(a[1] <= b[0] for a, b in zip(ends, ends[1:], strict=False)), "an id occurs twice"


def _run_at(chunk: Chunk, offset: int) -> tuple[int, int]:
    """The run that has the visible element at an offset of a chunk, and the place of the element in it."""
    sums = list(accumulate(chunk.shown))
    k = bisect_right(sums, offset)
    return k, offset - (sums[k - 1] if k else 0)
