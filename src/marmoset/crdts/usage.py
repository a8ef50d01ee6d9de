"""How much memory all keys take together (floor 3): an estimate that costs a write nothing.

Every shard is *measured* from time to time: its table, its keys and what they hold, of collections some elements
(`footprint`). Between two measurements of a shard the number of its keys is known at every moment, since a dict knows
its length; keys that came or went since are taken to be of the mean size of small ones. What grows or shrinks in place
meanwhile is seen by the next measurement: who asks for those decides how old they may get.

A key of `LARGE_BYTES` or more counts for itself and not for the mean: one list of a gigabyte says nothing of the next
key, and is taken out at once when it is reset. What stands beside a key in a conflict counts; windows and the log do
not, since they go with stability. Bytes are those of Python's allocator before it rounds up (`sys.getsizeof`).

Measuring goes in slices of any size, in the middle of a shard, too; what comes and goes there meanwhile may be missed
or counted twice, until the next round.

Costs: `measure` O(budget), in compiled code some 0.1 µs for a string and 1 to 4 µs for a collection; `total` O(shards),
some 20 µs.
"""

from collections.abc import Sequence
from itertools import islice
from sys import getsizeof
from typing import Final, final

from marmoset.crdts.footprint import EMPTY_BYTES, footprint
from marmoset.crdts.slots import Slots
from marmoset.crdts.types import is_visible

SAMPLES: Final = 4
"""How many elements of a collection are looked at."""
LARGE_BYTES: Final = 4096
LARGE_LENGTH: Final = 32
"""What has fewer elements, or bytes, is taken not to be large when it goes."""
KEY_BYTES: Final = 128
"""What a small key is taken for before any was measured."""
COLLECTION: Final = 20
"""What measuring a collection takes beside a string."""


@final
class Usage:
    """What was measured of each of some shards."""

    __slots__ = (
        "_large_bytes",
        "_large_keys",
        "_next",
        "_offset",
        "_shards",
        "_small_bytes",
        "_small_keys",
        "_sums",
        "written_bytes",
    )

    def __init__(self, shards: Sequence[Slots]) -> None:
        self._shards = shards
        self._small_bytes = [0] * len(shards)  # tables included
        self._small_keys = [0] * len(shards)
        self._large_bytes = [0] * len(shards)
        self._large_keys = [0] * len(shards)
        self._next = 0
        self._offset = 0  # how many keys of the next shard are measured already
        self._sums = (0, 0, 0, 0)  # and what they came to, in the order of the lists above
        self.written_bytes = 0
        """About how many bytes of operations were applied, our own and others'; counted batch by batch."""

    def total(self) -> int:
        """About how many bytes all keys take now. O(shards)."""
        measured = grown = small_bytes = small_keys = 0
        for at, slots in enumerate(self._shards):
            keys = len(slots.values)
            small_bytes += self._small_bytes[at]
            small_keys += self._small_keys[at]
            if keys:  # of an emptied shard nothing is left
                measured += self._small_bytes[at] + self._large_bytes[at]
                grown += keys - self._small_keys[at] - self._large_keys[at]
        return max(0, measured + grown * (small_bytes // small_keys if small_keys else KEY_BYTES))

    def measure(self, budget: int) -> bool:
        """Measure keys, going on where the last call ended: about `budget` of them, of collections fewer; whether the
        last of all was among them. O(budget)."""
        shards = self._shards
        while budget > 0:
            at = self._next
            slots = shards[at]
            budget -= 1
            if slots.values or slots.beside or self._offset:
                budget = self._measure(slots, budget)
                if self._offset < len(slots.values):
                    return False
                small_bytes, small_keys, large_bytes, large_keys = self._sums
                self._small_bytes[at] = small_bytes + (getsizeof(slots.values) if slots.values else 0)
                self._small_keys[at] = small_keys
                self._large_bytes[at] = large_bytes + _beside(slots)
                self._large_keys[at] = large_keys
            else:  # as most of a small keyspace
                self._small_bytes[at] = self._small_keys[at] = self._large_bytes[at] = self._large_keys[at] = 0
            self._sums = (0, 0, 0, 0)
            self._offset = 0
            self._next = (at + 1) % len(shards)
            if self._next == 0:
                return True
        return False

    def _measure(self, slots: Slots, budget: int) -> int:
        """Go on in a shard; what is left of the budget."""
        small_bytes, small_keys, large_bytes, large_keys = self._sums
        offset = self._offset
        for key, value in islice(slots.values.items(), offset, None):
            if isinstance(value, bytes):
                budget -= 1
                size = len(key) + len(value) + 2 * EMPTY_BYTES
            else:
                budget -= 1 if isinstance(value, int) else COLLECTION
                size = len(key) + EMPTY_BYTES + footprint(value, SAMPLES)
            if size < LARGE_BYTES:
                small_bytes += size
                small_keys += 1
            else:
                large_bytes += size
                large_keys += 1
            offset += 1
            if budget <= 0:
                break
        self._offset = offset
        self._sums = (small_bytes, small_keys, large_bytes, large_keys)
        return budget

    def _check(self) -> None:
        numbers = [*self._small_bytes, *self._small_keys, *self._large_bytes, *self._large_keys]
        assert min(numbers) >= 0, "less than nothing was measured"

    def handle_reset(self, at: int, key: bytes) -> None:
        """A key of a shard is about to be reset. What is large is taken out of what was measured: else it would count
        as if it were there until the next round. O(1), of what is large O(chunks or parts)."""
        value = self._shards[at].values.get(key)
        if value is None or isinstance(value, int) or len(value) < LARGE_LENGTH:
            return
        size = len(key) + EMPTY_BYTES + footprint(value, SAMPLES)
        if size >= LARGE_BYTES and self._large_keys[at]:
            self._large_bytes[at] = max(0, self._large_bytes[at] - size)
            self._large_keys[at] -= 1


def _beside(slots: Slots) -> int:
    """What conflicts hold; not what only remembers removals. O(what stands beside)."""
    values = [holding.value for held in slots.beside.values() for holding in held.values()]
    return sum([footprint(value, SAMPLES) for value in values if value is not None and is_visible(value)])
