"""Garbage (floor 3): large containers that nobody needs any more, freed in slices.

Python frees an object at once, with everything in it: a set of a million elements stalls the event loop for a tenth of
a second. So what was large is put here instead of being dropped, and emptied some entries at a time. What a snapshot
still reads as it stood is left alone; it goes in one piece when the last reading ends.

A sequence gives its blocks, which are taken apart chunk by chunk: runs, chunks and blocks point at each other. One that
is short is taken apart at once, and one that is read as well: the reading copies what it has not taken yet.
"""

from typing import Any, Final, final

from marmoset.crdts.addwins import SetWindow
from marmoset.crdts.map import MapWindow
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.register import RegisterWindow
from marmoset.crdts.score_order import ScoreOrder
from marmoset.crdts.sequence_runs import Block, Chunk
from marmoset.crdts.sequence_store import Sequence
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SplitMap, SplitSet

PlainWindow = RegisterWindow | SetWindow | MapWindow
"""Of values that remember no removal."""

LARGE: Final = 1024
"""Containers of fewer entries are freed at once."""


@final
class Garbage:
    """What is to be freed."""

    __slots__ = ("_containers", "entries")

    def __init__(self) -> None:
        self._containers: list[Any] = []
        self.entries = 0
        """How many entries those have that wait; of a sequence, blocks and chunks."""

    def __len__(self) -> int:
        """How many containers wait. O(1)."""
        return len(self._containers)

    def put(self, value: object) -> None:
        """Free a value that nothing refers to any more but, perhaps, readings that have begun. O(1), a collection in
        parts O(parts), a sequence that is read O(chunks)."""
        if isinstance(value, Sequence):
            if value.readings or len(value) + value.removed_count < LARGE:
                value.clear()
            else:
                for part in value.detach():
                    self.put_table(part)
            value.let_go()
        elif isinstance(value, SortedSet):
            self.put(value.scores)
            self.put(value.order)
        elif isinstance(value, (SplitSet, SplitMap)):
            if not value.readings:
                self._containers += value.parts
                self.entries += len(value)
        elif isinstance(value, (set, dict, list, ScoreOrder)) and len(value) >= LARGE:
            self._put(value)
        elif isinstance(value, (RegisterWindow, SetWindow, MapWindow)) and value.entries >= LARGE:
            self.put(value.clear())

    def put_window(self, window: PlainWindow, value: object) -> None:
        """Free the content of a window, which has none then, unless somebody still reads it with its value. O(1)."""
        content = window.clear()
        if isinstance(value, SortedSet):
            value = value.scores
        if not isinstance(value, (SplitSet, SplitMap)) or not value.readings:
            self.put(content)

    def put_table(self, table: dict[bytes, Any] | list[Any]) -> None:
        """Free a table of names to values, or a queue, however small. O(1)."""
        if table:
            self._put(table)

    def _put(self, container: "set[bytes] | dict[bytes, Any] | list[Any] | ScoreOrder") -> None:
        self._containers.append(container)
        self.entries += len(container)

    def collect(self, entries: int) -> bool:
        """Free about as many entries, those of small containers included that go in one piece; True while some are
        left. O(entries)."""
        containers = self._containers
        while containers and entries > 0:
            last = containers[-1]
            entries -= 1
            if not last:
                containers.pop()
                continue
            self.entries -= 1
            if isinstance(last, dict):
                value = last.popitem()[1]
                entries -= _freed_at_once(value)
                self.put(value)
            else:
                entries -= self._loosen(last.pop())
        return bool(containers)

    def _loosen(self, entry: object) -> int:
        """Take apart what was in a list or set; how much more than one entry that was worth."""
        if type(entry) is Chunk:
            worth = (len(entry.runs) + (entry.size() if entry.packed is None else 0)) // 2
            entry.loosen()
            return worth
        if type(entry) is Block:
            self.put_table(entry.chunks)
        return 0

    def _check(self) -> None:
        assert self.entries == sum(map(len, self._containers)), "what waits is not what was counted"


def _freed_at_once(value: object) -> int:
    """How many entries go with a value that is put here, since it is small. O(1)."""
    if isinstance(value, (set, dict, list, NestedMap)):
        entries = len(value)
    elif isinstance(value, SortedSet):
        entries = 2 * len(value)
    elif isinstance(value, Sequence):
        entries = len(value) + value.removed_count
    elif isinstance(value, (RegisterWindow, SetWindow, MapWindow)):
        entries = value.entries
    else:
        return 0
    return entries if entries < LARGE else 0
