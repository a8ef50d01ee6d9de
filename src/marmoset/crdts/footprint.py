"""How much memory values take (floor 3): for MEMORY USAGE and the docs.

An estimate in the sense of Redis's: tables and the parts of a structure are looked at whole or in part, and of elements
some are measured and the others taken to be like them. Sizes are those of Python's allocator (`sys.getsizeof`), headers
of the garbage collector included; objects that are shared, small numbers say, are counted wherever they are.
"""

from collections.abc import Iterable
from itertools import islice, repeat
from sys import getsizeof
from typing import Any, Final

from marmoset.codec.operations import Scalar
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.sequence import Sequence
from marmoset.crdts.sequence_runs import Chunk, Run
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet
from marmoset.crdts.types import Value, Window

EMPTY_BYTES: Final = getsizeof(b"")
SEQ_BYTES: Final = 16
"""Of the first seq of a run: an object in interpreted code, nothing in compiled code; in between."""
ORDER_BYTES: Final = 24
"""What the order of a sorted set takes for each member."""
ENTRY_BYTES: Final = 256
"""About what a fact in a window takes: its dot, its place in a table, and its part of the window."""
PARTS: Final = 64
"""How many parts of a collection that is split are looked at, if not all."""
BLOCKS: Final = 8
"""From how many blocks of a sequence, each of up to `CHUNKS_MAX` chunks, some are taken."""
CHUNKS: Final = 4
"""How many of those for each element that is looked at elsewhere: chunks differ more."""
_sizeof: Final = getsizeof  # compiled code looks names of other modules up at every use

# What is measured goes through `map`, not through generator expressions: compiled code makes lists of those, and would
# look at everything before some of it is taken.


def footprint(value: Value, samples: int) -> int:
    """About how many bytes a value takes. O(samples + parts, at most).

    `samples` elements of each collection are looked at, 0 stands for all.
    """
    if isinstance(value, bytes) or isinstance(value, int):
        return scalar_footprint(value)
    if isinstance(value, set):
        return _sizeof(value) + _scaled(map(_sizeof, value), len(value), samples)
    if isinstance(value, dict):
        return _sizeof(value) + _scaled(map(_pair, value.items()), len(value), samples)
    if isinstance(value, SplitSet):
        return _split(value, samples) + _scaled(map(_sizeof, value), len(value), samples)
    if isinstance(value, SplitMap):
        return _split(value, samples) + _scaled(map(_pair, value.items()), len(value), samples)
    if isinstance(value, SortedSet):  # the order has its own table and a double for each member; members are shared
        return _sizeof(value) + footprint(value.scores, samples) + ORDER_BYTES * len(value)
    if isinstance(value, Sequence):
        return _sequence(value, samples)
    assert isinstance(value, NestedMap)
    slots = value.slots
    fields = map(_field, slots.values.items(), repeat(samples))
    return _sizeof(value) + _sizeof(slots) + _sizeof(slots.values) + _scaled(fields, len(value), samples)


def scalar_footprint(value: Scalar) -> int:
    """How many bytes a plain text or number takes. O(1)."""
    return EMPTY_BYTES + len(value) if isinstance(value, bytes) else _sizeof(value)


def window_footprint(window: Window) -> int:
    """About how many bytes a window takes, until what it is about is stable. O(1)."""
    return ENTRY_BYTES * window.entries


def _pair(item: tuple[bytes, Any]) -> int:
    return EMPTY_BYTES + len(item[0]) + scalar_footprint(item[1])


def _field(item: tuple[bytes, Value], samples: int) -> int:
    return EMPTY_BYTES + len(item[0]) + footprint(item[1], samples)


def _split(value: SplitSet | SplitMap, samples: int) -> int:
    """A collection in parts without its elements; parts at even distances, since those that are split differ."""
    parts = value.parts
    step = len(parts) // PARTS + 1 if samples else 1
    looked = parts[::step]
    return _sizeof(value) + _sizeof(parts) + sum(map(_sizeof, looked)) * len(parts) // len(looked)


def _scaled(sizes: Iterable[int], count: int, samples: int) -> int:
    """The sum of `count` sizes, of which `samples` are looked at."""
    if not samples or samples >= count:
        return sum(sizes)
    return sum(islice(sizes, samples)) * count // samples


def _sequence(sequence: Sequence, samples: int) -> int:
    blocks = sequence.blocks
    count = sum([len(block.chunks) for block in blocks])
    whole = _sizeof(sequence) + sum([_sizeof(block) + _sizeof(block.chunks) for block in blocks])
    whole += _sizeof(sequence.buckets) + _scaled(map(_bucket, sequence.buckets.items()), len(sequence.buckets), samples)
    chunks = [chunk for block in blocks[:: len(blocks) // BLOCKS + 1 if samples else 1] for chunk in block.chunks]
    looked = chunks[:: len(chunks) // (CHUNKS * samples) + 1 if samples else 1]
    return whole + sum(map(_chunk, looked, repeat(samples))) * count // len(looked)


def _bucket(item: tuple[tuple[int, int], list[Run]]) -> int:
    key, bucket = item
    return _sizeof(key) + _sizeof(key[0]) + _sizeof(key[1]) + _sizeof(bucket)


def _chunk(chunk: Chunk, samples: int) -> int:
    values = chunk.open() if chunk.packed is None else []
    lists = _sizeof(chunk) + _sizeof(values) + _sizeof(chunk.runs) + _sizeof(chunk.shown)
    runs = _scaled(map(_run, chunk.runs), len(chunk.runs), samples)
    packed = chunk.packed
    if packed is not None:
        return lists + runs + _sizeof(packed) + _sizeof(packed.text) + _sizeof(packed.ends)
    return lists + runs + _scaled(map(_sizeof, values), len(values), samples)


def _run(run: Run) -> int:
    return _sizeof(run) + SEQ_BYTES
