"""What is noted of operations that have no window entries, because each has observed all that was unstable (floor 3).

See `replication.chain`, which decides when that may be, and `plain_slots`.
"""

from collections.abc import Callable
from typing import Any, Final, final

from marmoset.clocks import LocalContext
from marmoset.codec.operations import AnyOperation
from marmoset.crdts.sequence_chain import Insertions, LaidAside
from marmoset.ids import Dot

PLAIN: Final = 0
WINDOWED: Final = 1
CLASH: Final = 2
REPLACED: Final = 3
"""What an operation that has observed everything unstable needs; see `PlainSlots.needs` and `effect_plain`."""
OBSERVING: Final = LocalContext()

BUSY_OPERATIONS: Final = 16

Linked = tuple[AnyOperation, Dot, int]
"""An operation of a chain, with its dot and stamp."""


def _is_never(_dot: Dot) -> bool:
    return False


@final
class ChainNotes:
    """What all slots of a keyspace have in common about operations that have no windows; see `replication.chain`."""

    __slots__ = (
        "begun",
        "busy",
        "busy_operations",
        "has_insertions",
        "has_more",
        "has_wound",
        "is_observing",
        "is_unstable",
        "registers_only",
    )

    def __init__(self) -> None:
        self.busy_operations = BUSY_OPERATIONS
        """A name with so many windows put off is busy: it does not wait until something comes for it."""
        self.is_unstable: Callable[[Dot], bool] = _is_never
        """Whether an operation of a chain is not yet stable."""
        self.has_more = False
        """Whether any name has more than a plain value, perhaps: a window, something beside it or laid aside, or one
        that reads it. Then its slots have to be asked, and those are one more place in memory."""
        self.registers_only = True
        """Whether nothing but registers is shown by any name, for sure: then an assignment need not look at what is
        there. One set, map or list ends it, until a FLUSHALL leaves nothing or all is cleared."""
        self.begin()

    def begin(self) -> None:
        """Start from nothing."""
        self.is_observing = False
        """Whether what is being applied has observed everything unstable."""
        self.begun: list[tuple[Any, bytes, Insertions]] = []
        """Slots and names where insertions began to be written down since somebody looked."""
        self.busy: list[tuple[Any, bytes]] = []
        """Slots and names that became busy."""
        self.has_insertions = False
        """Whether anything stands in `Slots.insertions`, perhaps."""
        self.has_wound = False
        """Whether a window was made of such insertions since this was last set to False: they have to be folded."""


NO_NOTES: Final = ChainNotes()
NOTHING_UNWOUND: Final[dict[bytes, list[Linked]]] = {}
NO_INSERTIONS: Final[dict[bytes, Insertions]] = {}
NOTHING_LAID: Final[dict[bytes, LaidAside]] = {}
"""Of slots that have none, as those of most shards and of all maps that nest; never changed."""
