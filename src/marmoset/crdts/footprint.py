"""How much memory values take (floor 3): for MEMORY USAGE and the docs.

An estimate in the sense of Redis's: tables and the parts of a structure are looked at whole or in part, and of elements
some are measured and the others taken to be like them. Sizes are those of Python's allocator (`sys.getsizeof`), headers
of the garbage collector included; objects that are shared, small numbers say, are counted wherever they are.
"""

from collections.abc import Iterable
from itertools import islice
from sys import getsizeof
from typing import Any, Final

from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_runs import Chunk
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window

SEQ_BYTES: Final = 16
"""Of the first seq of a run: an object in interpreted code, nothing in compiled code; in between."""
ORDER_BYTES: Final = 20
"""What the order of a sorted set takes for each member."""
ENTRY_BYTES: Final = 256
"""About what a fact in a window takes: its dot, its place in a table, and its part of the window."""


def footprint(value: Value, samples: int) -> int:
    """About how many bytes a value takes. O(samples + parts of a collection that is split).

    `samples` elements of each collection are looked at, 0 stands for all.
    """
    if isinstance(value, (bytes, int)):
        return getsizeof(value)
    if isinstance(value, (set, SplitSet)):
        return _table(value) + _scaled(map(getsizeof, value), len(value), samples)
    if isinstance(value, (dict, SplitMap)):
        return _table(value) + _scaled(map(_pair, value.items()), len(value), samples)
    if isinstance(value, SortedSet):  # the order has its own table and a double for each member; members are shared
        return getsizeof(value) + footprint(value.scores, samples) + ORDER_BYTES * len(value)
    if isinstance(value, Sequence):
        return _sequence(value, samples)
    assert isinstance(value, NestedMap)
    slots = value.slots
    fields = (getsizeof(name) + footprint(held, samples) for name, held in slots.values.items())
    return getsizeof(value) + getsizeof(slots) + getsizeof(slots.values) + _scaled(fields, len(value), samples)


def window_footprint(window: Window) -> int:
    """About how many bytes a window takes, until what it is about is stable. O(1)."""
    return ENTRY_BYTES * window.entries


def _pair(item: tuple[bytes, Any]) -> int:
    return getsizeof(item[0]) + getsizeof(item[1])


def _table(value: set[bytes] | dict[bytes, Any] | SplitSet | SplitMap) -> int:
    """A collection without its elements."""
    if isinstance(value, (set, dict)):
        return getsizeof(value)
    return getsizeof(value) + getsizeof(value.parts) + sum(map(getsizeof, value.parts))


def _scaled(sizes: Iterable[int], count: int, samples: int) -> int:
    """The sum of `count` sizes, of which `samples` are looked at."""
    if not samples or samples >= count:
        return sum(sizes)
    return sum(islice(sizes, samples)) * count // samples


def _sequence(sequence: Sequence, samples: int) -> int:
    chunks = [chunk for block in sequence.blocks for chunk in block.chunks]
    buckets = getsizeof(sequence.buckets) + _scaled(
        (getsizeof(key) + sum(map(getsizeof, key)) + getsizeof(bucket) for key, bucket in sequence.buckets.items()),
        len(sequence.buckets),
        samples,
    )
    whole = getsizeof(sequence) + sum(getsizeof(block) + getsizeof(block.chunks) for block in sequence.blocks)
    for alike in ([c for c in chunks if c.packed is None], [c for c in chunks if c.packed is not None]):
        whole += _scaled((_chunk(chunk, samples) for chunk in alike), len(alike), samples)
    return whole + buckets


def _chunk(chunk: Chunk, samples: int) -> int:
    lists = getsizeof(chunk) + getsizeof(chunk.values) + getsizeof(chunk.runs) + getsizeof(chunk.shown)
    runs = _scaled((getsizeof(run) + SEQ_BYTES for run in chunk.runs), len(chunk.runs), samples)
    if chunk.packed is not None:
        return lists + runs + getsizeof(chunk.packed) + getsizeof(chunk.packed.text) + getsizeof(chunk.packed.ends)
    return lists + runs + _scaled(map(getsizeof, chunk.values), len(chunk.values), samples)
