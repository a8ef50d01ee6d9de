"""The sequence as its readers see it: a list of visible values whose elements have ids (floor 3).

Reads never look at a window. What changes a sequence is in `sequence`; how it is held is in `sequence_tree` and
`sequence_elements`.
"""

from collections.abc import Iterator
from typing import final

from marmoset.codec.operations import Scalar
from marmoset.crdts.sequence_elements import SequenceElements
from marmoset.crdts.sequence_runs import FRESH, Chunk, size_before
from marmoset.ids import Dot


@final
class Sequence(SequenceElements):
    """A list of `bytes` or `int` whose elements have ids.

    `removed_count` is how many elements are kept though they are removed. To iterate while others write is safe in the
    sense of Python's own lists: nothing breaks, but what moves may be seen twice or not at all.

    >>> from marmoset.clocks import LocalContext
    >>> from marmoset.crdts.sequence import insert
    >>> word = Sequence()
    >>> insert(word, None, (7, 1), LocalContext(), *word.neighbours(0), [b"a", b"c"])
    >>> insert(word, None, (7, 3), LocalContext(), *word.neighbours(1), [b"b"])
    >>> list(word), word[-1], word.slice(0, 2), word.id_at(1), word.index_of((7, 2))
    ([b'a', b'b', b'c'], b'c', [b'a', b'b'], (7, 3), 2)
    >>> word.neighbours(1), word.ranges(0, 3)
    (((7, 1), (7, 3)), [(7, 1, 3)])
    """

    __slots__ = ()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Scalar]:
        for block in self.blocks:
            for chunk in block.chunks:
                yield from chunk.open() if chunk.packed is None else chunk.slice(0, chunk.size())

    def __getitem__(self, index: int) -> Scalar:
        """The value at an index; a negative one counts from the end. O(log n).

        Raises:
            IndexError: there is no such element.
        """
        chunk, offset = self._locate(self._index(index))
        return chunk.open()[offset] if chunk.packed is None else chunk.slice(offset, offset + 1)[0]

    def slice(self, start: int, stop: int) -> list[Scalar]:
        """The values from `start` up to but without `stop`; both are cut to what is there. O(log n + result)."""
        start, stop = max(start, 0), min(stop, self._length)
        if start >= stop:
            return []
        found: Chunk | None
        found, offset = self._locate(start)
        values = found.slice(offset, offset + stop - start)
        while len(values) < stop - start:
            found = found.after
            assert found is not None
            missing = stop - start - len(values)
            values += found.slice(0, missing)
        return values

    def id_at(self, index: int) -> Dot:
        """The id of the element at an index; a negative one counts from the end. O(log n).

        Raises:
            IndexError: there is no such element.
        """
        chunk, offset = self._locate(self._index(index))
        k, inner = chunk.run_at(offset)
        run = chunk.runs[k]
        return run.replica, run.seq_at(inner)

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
        k, inner = chunk.run_at(offset)
        run = chunk.runs[k]
        replica, seq = run.replica, run.seq_at(inner)
        if inner + 1 < run.count:
            return (replica, seq), (replica, run.seq_at(inner + 1))
        if index == length:
            return (replica, seq), None
        if offset + 1 == chunk.size():
            after = chunk.after
            while after is not None and not after.size():
                after = after.after
            assert after is not None
            chunk, k = after, -1
        k += 1
        while not chunk.shown[k]:
            k += 1
        run = chunk.runs[k]
        return (replica, seq), (run.replica, run.seq_at(0))

    def ranges(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """The ids of the elements from `start` up to but without `stop`, as (replica, first seq, count).

        The order is that of the elements, but for those of one range. Both ends are cut to what is there. O(log n +
        runs between them).
        """
        start, stop = max(start, 0), min(stop, self._length)
        found: list[tuple[int, int, int]] = []
        if start >= stop:
            return found
        missing = stop - start
        chunk, offset = self._locate(start)
        k, inner = chunk.run_at(offset)
        last: tuple[int, int, int] | None = None
        while True:
            shown = chunk.shown[k] - inner
            if shown > 0:
                run = chunk.runs[k]
                count = min(shown, missing)
                seq = run.seq_at(inner + count - 1) if run.falling else run.seq + inner
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
        offset = chunk.size_before(chunk.find(run)) + run.offset_of(dot[1], dot[1] + 1)
        if chunk is self._cursor and self._cursor_start >= 0:
            return self._cursor_start + offset
        self._flush()
        block = chunk.block
        assert block is not None
        offset += size_before(block.sizes, block.chunks.index(chunk))
        return offset + size_before(self.sizes, self.blocks.index(block))

    def _index(self, index: int) -> int:
        if index < 0:
            index += self._length
        if not 0 <= index < self._length:
            raise IndexError("sequence index out of range")
        return index
