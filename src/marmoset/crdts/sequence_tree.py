"""The structure under a sequence: runs in chunks in blocks, and the runs by their ids (floor 3).

This module keeps the tree in balance and finds things in it. `sequence_elements` builds on it what operations do to
elements, and `Sequence` what readers see; all three are one object, told apart so that each can be read alone.

Cost: with r runs, an index or an id is found in O(log r + r / (RUNS_MAX * CHUNKS_MAX)) steps, of which the last are
additions in C; elsewhere, O(log n) means that. Edits near the place of the last one find their chunk in O(1):
`_cursor` is the chunk last used, `_cursor_start` the index of its first value (-1: not known), and `_cursor_delta` the
change of its size that the sizes above it do not have yet.

Runs, chunks and blocks point at each other. What is dropped is taken apart, and so is all by `clear`: a sequence that
was emptied needs no cyclic garbage collection.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Protocol

from marmoset.crdts.sequence_runs import (
    BUCKET_BITS,
    CHUNKS_MAX,
    FRESH,
    FRESH_REMOVED,
    RUNS_MAX,
    VALUES_MAX,
    Block,
    Chunk,
    Run,
    part_at,
    runs_up_to,
)
from marmoset.ids import ReplicaId


class Reader(Protocol):
    """Who reads a sequence as it stood at one instant (`reading.SequenceReading`), and is told before chunks change."""

    def before_chunk(self, chunk: Chunk) -> None:
        """The runs or values of a chunk are about to change."""


class SequenceTree:
    """Blocks of chunks of runs, in order, and the buckets in which runs are found by id."""

    __slots__ = (
        "_cursor",
        "_cursor_delta",
        "_cursor_start",
        "_length",
        "blocks",
        "buckets",
        "readings",
        "removed_count",
        "sizes",
    )

    def __init__(self) -> None:
        self.readings: tuple[Reader, ...] = ()
        self._begin()

    def _begin(self) -> None:
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

    def let_go(self) -> None:
        """Nobody is going to look at it again. If it is empty, what an empty one has does not point at each other any
        more: it is freed at once, and not left to the cyclic collector, which would find thousands of them when as many
        lists become garbage together. O(1)."""
        if not self._length and not self.removed_count:
            for block in self.blocks:
                for chunk in block.chunks:
                    chunk.block = None

    def changing(self, chunk: Chunk) -> None:
        """Every change of a chunk's runs or values begins with this. O(1) where nobody reads."""
        if self.readings:
            for reading in self.readings:
                reading.before_chunk(chunk)

    # -- finding

    def runs(self) -> Iterator[Run]:
        """All runs, from left to right. O(runs)."""
        for block in self.blocks:
            for chunk in block.chunks:
                yield from chunk.runs

    def find_run(self, replica: ReplicaId, seq: int) -> Run | None:
        """The run of an element; None when it was dropped or never was. O(log BUCKET_SEQS).

        Nearly always it is the one last looked for.
        """
        chunk = self._cursor
        if chunk.near < len(chunk.runs):
            run = chunk.runs[chunk.near]
            if run.seq <= seq < run.seq + run.count and run.replica == replica:
                return run
        bucket = self.buckets.get((replica, seq >> BUCKET_BITS))
        if bucket is None:
            return None
        run = bucket[0]
        if len(bucket) > 1:
            i = runs_up_to(bucket, seq)
            if not i:
                return None
            run = bucket[i - 1]
        return run if run.seq <= seq < run.seq + run.count else None

    def _locate(self, index: int) -> tuple[Chunk, int]:
        """Chunk and offset of the visible element at an index that exists; the cursor goes there. O(log n)."""
        start = self._cursor_start
        if 0 <= start <= index < start + self._cursor.size():
            return self._cursor, index - start
        self._flush()
        rest = index
        block = self.blocks[0]
        if len(self.sizes) > 1:
            i, rest = part_at(self.sizes, rest)
            block = self.blocks[i]
        i, rest = part_at(block.sizes, rest)
        chunk = block.chunks[i]
        self._cursor = chunk
        self._cursor_start = index - rest
        return chunk, rest

    # -- sizes

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

    # -- runs of one chunk

    def _register(self, run: Run) -> None:
        key = (run.replica, run.seq >> BUCKET_BITS)
        bucket = self.buckets.get(key)
        if bucket is None:
            self.buckets[key] = [run]
        elif bucket[-1].seq < run.seq:
            bucket.append(run)
        else:
            bucket.insert(runs_up_to(bucket, run.seq), run)

    def _unregister(self, run: Run) -> None:
        key = (run.replica, run.seq >> BUCKET_BITS)
        bucket = self.buckets[key]
        if len(bucket) == 1:
            del self.buckets[key]
        else:
            del bucket[runs_up_to(bucket, run.seq) - 1]

    def split_run(self, run: Run, k: int, offset: int) -> Run:
        """Cut run `k` of its chunk in two: the second part. The caller settles the chunk. O(RUNS_MAX + names)."""
        chunk = run.chunk
        self.changing(chunk)
        idle = run.is_idle()
        rest = run.count - offset
        if run.falling:
            second = Run(chunk, run.replica, run.seq, rest, run.state, True)
            run.seq += rest
        else:
            second = Run(chunk, run.replica, run.seq + offset, rest, run.state)
        run.count = offset
        if run.names is not None:
            run.give_names(second, second.seq, second.seq + second.count)
        chunk.changes_from(k)
        chunk.runs.insert(k + 1, second)
        if run.state <= FRESH:
            chunk.shown[k] = offset
            chunk.shown.insert(k + 1, second.count)
        else:
            chunk.shown.insert(k + 1, 0)
            chunk.idle += run.is_idle() + second.is_idle() - idle
        self._register(second)
        return second

    def join_runs(self, chunk: Chunk, k: int) -> bool:
        """Make one run of run `k` of a chunk and the next one, if they are one. O(RUNS_MAX)."""
        if k < 0 or k + 1 >= len(chunk.runs):
            return False
        run, second = chunk.runs[k], chunk.runs[k + 1]
        falling = second.follows(run.replica, run.seq, run.state) and (run.falling or run.count == 1)
        if not falling:
            rising = run.joins(second.replica, second.seq, second.state)
            if not rising or (second.falling and second.count > 1):
                return False
        self.changing(chunk)
        idle = run.is_idle() + second.is_idle()
        self._unregister(second)
        chunk.changes_from(k)
        run.falling = falling
        if falling:
            run.seq = second.seq
        run.count += second.count
        run.take_names(second)
        del chunk.runs[k + 1]
        chunk.shown[k] += chunk.shown[k + 1]
        del chunk.shown[k + 1]
        chunk.idle += run.is_idle() - idle
        return True

    def _take_runs(self, chunk: Chunk, k: int, end: int) -> None:
        """Take runs whose values are gone out of a chunk."""
        self.changing(chunk)
        for run in chunk.runs[k:end]:
            self._unregister(run)
            chunk.idle -= run.is_idle()
        chunk.changes_from(k)
        del chunk.runs[k:end], chunk.shown[k:end]
        chunk.forget_floor()

    def _tidy(self, chunk: Chunk, k: int) -> None:
        """Join what has come to stand side by side in front of run `k`, and unite chunks that have become small."""
        self.join_runs(chunk, k - 1)
        self.merge_small(chunk)

    def merge_small(self, chunk: Chunk) -> None:
        """Unite a chunk with the next or previous one if it has become small. O(1), or O(RUNS_MAX + VALUES_MAX)."""
        if len(chunk.runs) < RUNS_MAX // 8 and chunk.size() < VALUES_MAX // 8:
            self._merge(chunk)

    # -- chunks and blocks

    def settle(self, chunk: Chunk) -> None:
        """Split a chunk that has too much. O(RUNS_MAX + VALUES_MAX + CHUNKS_MAX)."""
        while len(chunk.runs) > RUNS_MAX or chunk.size() > VALUES_MAX:
            k = len(chunk.runs) // 2
            if chunk.size() > VALUES_MAX:
                k = min(max(1, part_at(chunk.shown, VALUES_MAX // 2)[0]), len(chunk.runs) - 1)
            self.settle(self._cut(chunk, k))

    def _cut(self, chunk: Chunk, k: int) -> Chunk:
        """Move the runs from `k` on to a new chunk behind: that chunk. The one that is not being edited is packed."""
        self.changing(chunk)
        self._flush()
        new = Chunk()
        resting = chunk if chunk.near >= k else new
        at, values = chunk.size_before(k), chunk.open()
        new.runs, new.shown, new.values = chunk.runs[k:], chunk.shown[k:], values[at:]
        del chunk.runs[k:], chunk.shown[k:], values[at:]
        for run in new.runs:
            run.chunk = new
        if chunk.idle:
            new.idle = sum([run.is_idle() for run in new.runs])
            chunk.idle -= new.idle
        chunk.forget_floor()
        block = chunk.block
        assert block is not None
        block.sizes[block.chunks.index(chunk)] -= len(new.values)
        self.sizes[self.blocks.index(block)] -= len(new.values)
        resting.pack()
        self._link([new], chunk)
        return new

    def _link(self, fresh: list[Chunk], target: Chunk | None) -> None:
        """Put chunks behind another one (None: in front of all)."""
        block = self.blocks[0] if target is None else target.block
        assert block is not None
        block.floor = None
        i = 0 if target is None else block.chunks.index(target) + 1
        after = self.blocks[0].chunks[0] if target is None else target.after
        block.chunks[i:i] = fresh
        block.sizes[i:i] = [chunk.size() for chunk in fresh]
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
        self.sizes[b] += sum([chunk.size() for chunk in fresh])
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

    def _merge(self, chunk: Chunk) -> None:
        """Unite a chunk that has become small with the next or previous one, if that is not large."""
        for left, right in ((chunk, chunk.after), (chunk.before, chunk)):
            if left is None or right is None or left.block is not right.block:
                continue
            if len(left.runs) + len(right.runs) > RUNS_MAX // 2:
                continue
            if left.size() + right.size() > VALUES_MAX // 2:
                continue
            self.changing(left)
            self.changing(right)
            self._flush()
            for run in right.runs:
                run.chunk = left
            joint = len(left.runs) - 1
            left.runs += right.runs
            left.shown += right.shown
            left.open().extend(right.slice(0, right.size()))
            left.idle += right.idle
            left.forget_floor()
            block = left.block
            assert block is not None
            i = block.chunks.index(left)
            block.sizes[i] += block.sizes[i + 1]
            block.sizes[i + 1] = 0
            right.runs, right.shown, right.values, right.packed = [], [], [], None
            self._unlink(right)
            self.join_runs(left, joint)
            left.pack()
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
        block.floor = None
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
            block.floor = None
            other.chunks = []
            self.sizes[left] += self.sizes[left + 1]
            del self.blocks[left + 1], self.sizes[left + 1]
            return

    # -- invariants

    def _check(self) -> None:
        """Every invariant of the structure. O(n)."""
        self._flush()
        chunks = [chunk for block in self.blocks for chunk in block.chunks]
        assert self._cursor in chunks
        start = sum(chunk.size() for chunk in chunks[: chunks.index(self._cursor)])
        assert self._cursor_start in (-1, start), "the cursor is elsewhere"
        assert len(self.blocks) == len(self.sizes)
        for block, size in zip(self.blocks, self.sizes, strict=True):
            assert sum(block.sizes) == size and 0 < len(block.chunks) <= CHUNKS_MAX
            assert block.sizes == [chunk.size() for chunk in block.chunks], "a size is wrong"
            assert all(chunk.block is block for chunk in block.chunks)
            if block.floor is not None:
                for chunk in block.chunks:
                    for replica, seq in chunk.known_floor().items():
                        assert block.floor.get(replica, seq + 1) <= seq, "the floor of a block is too high"
        for i, chunk in enumerate(chunks):
            assert chunk.before is (chunks[i - 1] if i else None), "chunks are not linked"
            assert chunk.after is (chunks[i + 1] if i + 1 < len(chunks) else None), "chunks are not linked"
            assert chunk.runs or len(chunks) == 1, "an empty chunk is kept"
            self._check_chunk(chunk)
        runs = list(self.runs())
        assert sum(chunk.size() for chunk in chunks) == self._length
        assert sum(run.count - run.shown() for run in runs) == self.removed_count
        assert sum(map(len, self.buckets.values())) == len(runs), "a run that is gone is still listed"
        for bucket in self.buckets.values():
            assert all(a.seq + a.count <= b.seq for a, b in pairwise(bucket)), "an id occurs twice"

    def _check_chunk(self, chunk: Chunk) -> None:
        assert len(chunk.runs) <= RUNS_MAX and chunk.size() <= VALUES_MAX, "a chunk is too large"
        assert chunk.shown == [run.shown() for run in chunk.runs] and sum(chunk.shown) == chunk.size()
        assert chunk.packed is None or not (chunk.values or chunk.ahead), "values are kept twice"
        assert 0 <= chunk.near <= len(chunk.runs) and chunk.near_start == sum(chunk.shown[: chunk.near]), (
            "near is wrong"
        )
        assert chunk.idle == sum(run.is_idle() for run in chunk.runs), "idle runs are miscounted"
        if chunk.floor is not None:
            floor, chunk.floor = chunk.floor, None
            for replica, seq in chunk.known_floor().items():
                assert floor.get(replica, seq + 1) <= seq, "the floor of a chunk is too high"
        for run in chunk.runs:
            assert run.chunk is chunk and run.count > 0
            assert run.seq >> BUCKET_BITS == (run.seq + run.count - 1) >> BUCKET_BITS, "a run crosses buckets"
            assert self.find_run(run.replica, run.seq) is run, "a run cannot be found by its ids"
            fresh = run.state in (FRESH, FRESH_REMOVED)
            assert not (fresh and run.falling and run.count > 1), "an unstable run falls"
            if run.names is not None:
                assert run.names and all(run.seq <= seq < run.seq + run.count for seq in run.names)
                assert all(count > 0 for count in run.names.values())
