"""Rumours on their way (floor 6): what is put into packets that are sent anyway, each a bounded number of times.

The infection style of SWIM: an update goes along with `retransmit_factor * ceil(log10(members + 1))` packets and is
then forgotten; those that were sent least go first, the newest of them before older ones. A later update about the
same subject takes the place of the earlier ones, but the accusations of different members stand side by side (`topic`),
since each of them counts. So a few updates per member are held at the most.

Cost: `put` O(1); `take` O(updates in the packet), O(all held) when none fits.
"""

from math import ceil, log10
from typing import Final, final

from marmoset.codec.packets import UPDATES_MAX
from marmoset.ids import ReplicaId

SMALLEST_UPDATE: Final = 8

CLAIM: Final = 0
ANNOUNCEMENT: Final = -1
"""Topics; an accusation has its accuser as topic."""

Key = tuple[ReplicaId, int]


def retransmits(factor: int, members: int) -> int:
    """How often an update is sent by one member in a group of this size.

    >>> retransmits(4, 5), retransmits(4, 99), retransmits(4, 1000)
    (4, 8, 16)
    """
    return factor * max(1, ceil(log10(members + 1)))


@final
class Broadcasts:
    """The updates that one member passes on."""

    __slots__ = ("_levels", "_topics", "factor")

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self._levels: list[dict[Key, bytes]] = [{}]  # by how often they were sent, in the order of their arrival there
        self._topics: dict[ReplicaId, dict[int, int]] = {}  # subject -> topic -> level

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    def put(self, subject: ReplicaId, data: bytes, topic: int = CLAIM) -> None:
        """Pass an update on from now. A claim takes the place of accusations too."""
        topics = self._topics.setdefault(subject, {})
        for old in [topic] if topic != CLAIM else [old for old in topics if old != ANNOUNCEMENT]:
            level = topics.pop(old, None)
            if level is not None:
                del self._levels[level][subject, old]
        self._levels[0][subject, topic] = data
        topics[topic] = 0

    def drop(self, subject: ReplicaId) -> None:
        """Pass nothing on about a member."""
        for topic, level in self._topics.pop(subject, {}).items():
            del self._levels[level][subject, topic]

    def take(self, room: int, members: int, without: ReplicaId = 0) -> list[bytes]:
        """The updates for one packet, within `room` bytes; nothing about `without`."""
        if not self._topics:
            return []
        limit = retransmits(self.factor, members)
        taken: list[bytes] = []
        moved: list[tuple[Key, int]] = []
        for level, entries in enumerate(self._levels):
            for key in reversed(entries):
                data = entries[key]
                if len(data) <= room and key[0] != without:
                    room -= len(data)
                    taken.append(data)
                    moved.append((key, level))
                    if room < SMALLEST_UPDATE or len(taken) == UPDATES_MAX - 2:
                        break
            if room < SMALLEST_UPDATE or len(taken) == UPDATES_MAX - 2:
                break
        for key, level in reversed(moved):
            data = self._levels[level].pop(key)
            subject, topic = key
            if level + 1 >= limit:
                del self._topics[subject][topic]
                if not self._topics[subject]:
                    del self._topics[subject]
                continue
            if level + 1 == len(self._levels):
                self._levels.append({})
            self._levels[level + 1][key] = data
            self._topics[subject][topic] = level + 1
        return taken

    def subjects(self) -> set[ReplicaId]:
        """Everybody about whom something is passed on."""
        return set(self._topics)

    def _check(self) -> None:
        held = {key: level for level, entries in enumerate(self._levels) for key in entries}
        assert held == {(s, topic): level for s, topics in self._topics.items() for topic, level in topics.items()}
        assert all(self._topics.values())
