"""`maxmemory` (floor 7): how much memory the keys of this node may take, and what happens past it.

**What is counted** is `crdts.usage`: tables, keys and values, as MEMORY USAGE counts them. Log, windows and buffers are
not: they have limits of their own and go by themselves, and if they counted, evicting would lead to more evicting.

**When it is looked at.** A write asks one flag, `is_full`. What has been written is added up for each batch; whenever
`LOOK_BYTES` have come together, in each gossip interval where something was written, and behind each slice of
measuring, the estimate is made anew. Measuring goes round the keyspace, one slice in an interval; where what may have
grown unseen, `GROWTH` bytes for each that was written since the last round but one began, would lead past the limit, a
slice every `HURRY_MS`. So far from the limit measuring costs nothing to speak of, and near it the estimate is as old as
a round takes: some seconds for millions of keys. What is written in that time to values that were there already may
come on top of the limit.

**Past the limit** clients' commands that may take more memory are refused. What comes from other members is applied
whatever it takes: a replica that left out what others keep would not be one. With the policy `evict-replicated` the
node also removes keys, from `1 / EVICT_SHARE` below the limit on, by ordinary resets, which the whole group sees: what
others write to such a key at the same time survives. It does so between turns, in steps so small that whoever writes
pays for what goes. Which keys: any, drawn at random, since nobody writes down when a key was read, and a guess would be
worse. Members hold the same data and meet their limits together, so they take turns: the reachable member with the
lowest id evicts at once, each next one only if it has been past the mark for `EVICT_TURN_MS` longer; by then it has the
resets of the first and is below its own mark, unless its limit is lower.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.operations import Reset
from marmoset.hashing import SHARDS
from marmoset.membership.states import UNREACHABLE
from marmoset.node.states import SERVING

if TYPE_CHECKING:
    from marmoset.node.node import Node

EVICT_REPLICATED: Final = "evict-replicated"

MEASURE_KEYS: Final = 2000
"""Keys of one slice."""
HURRY_MS: Final = 2
LOOK_BYTES: Final = 1 << 20
LOOKS: Final = 64
"""A small limit is looked at whenever this part of it was written."""
GROWTH: Final = 8
"""A byte of a request becomes this many in memory at most, or nearly so: elements of a few bytes take a hundred."""
EVICT_SHARE: Final = 20
EVICT_KEYS: Final = 1000
EVICT_BYTES: Final = 32 << 10
"""While keys are evicted, it is looked whenever so much was written: what one look evicts makes up for it."""
EVICT_TURN_MS: Final = 1000
EVICT_SAMPLES: Final = 5
NEVER: Final = 1 << 62


@final
class MemoryLimit:
    """How much memory the keys of one node take, and whether that is too much."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._limit: int = node.config.maxmemory
        self._is_evicting: bool = bool(self._limit) and node.config.maxmemory_policy == EVICT_REPLICATED
        self.is_removing = False
        """Whether it is evicting at this moment; for the simulator."""
        self.begin()

    def begin(self) -> None:
        """Start from no keys."""
        self.used_bytes = 0
        self.is_full = False
        """Whether commands that may take more memory are to be refused; asked at every write."""
        self.look_at: int = 0 if self._limit else NEVER
        """The estimate is to be made anew when so many bytes were written."""
        self._is_told = False
        self._settled = -1
        """The changes after which everything was measured, and those when the round that goes on began."""
        self._begun = -1
        self._begun_bytes = 0
        self._before_bytes = 0
        """What had been written when the round that goes on, and the one before it, began."""
        self._past_since_ms: int | None = None

    # -- events

    def handle_interval(self) -> None:
        """A gossip interval has passed: a slice of measuring where something was written. O(slice + shards)."""
        if self._is_settled and not self._is_past_mark:
            self._tell()
            return
        self._work()
        self._tell()

    def handle_timer(self) -> None:
        """The next slice is due. O(slice + shards)."""
        self._work()

    def settle(self) -> None:
        """Behind every event: look where enough was written. O(1) but for that."""
        if self._node.replica.keyspace.usage.written_bytes >= self.look_at:
            self.look()

    def look(self) -> None:
        """Make the estimate anew, without measuring, and evict where that is due. O(shards + `EVICT_KEYS`)."""
        self._estimate()
        if not self._is_past_mark:
            self._past_since_ms = None
        elif self._is_my_turn() and self._evict():
            self._estimate()
        if self._limit and (self._is_hurrying or (self._is_past_mark and self._is_my_turn())):
            self._node.arm("memory", HURRY_MS)

    # -- inside

    @property
    def _is_settled(self) -> bool:
        """Whether everything was measured since the last change. O(1)."""
        return self._settled == self._changes

    @property
    def _changes(self) -> int:
        """A number that grows with every batch that is applied, and every one that is folded. O(1)."""
        replica = self._node.replica
        return replica.state + replica.counters["batches_folded"]

    @property
    def _is_hurrying(self) -> bool:
        """Whether what was not yet measured may lead past the limit. O(1)."""
        unseen = self._node.replica.keyspace.usage.written_bytes - self._before_bytes
        return not self._is_settled and self.used_bytes + GROWTH * unseen > self._limit

    @property
    def _is_past_mark(self) -> bool:
        """Whether keys are to be evicted. O(1)."""
        return self._is_evicting and self.used_bytes > self._mark

    @property
    def _mark(self) -> int:
        return self._limit - self._limit // EVICT_SHARE

    def _work(self) -> None:
        replica = self._node.replica
        if not self._is_settled and replica.keyspace.usage.measure(MEASURE_KEYS):
            self._settled = self._begun
            self._begun = self._changes
            self._before_bytes, self._begun_bytes = self._begun_bytes, replica.keyspace.usage.written_bytes
        self.look()

    def _estimate(self) -> None:
        usage, limit = self._node.replica.keyspace.usage, self._limit
        self.used_bytes = usage.total()
        if limit:
            self.is_full = self.used_bytes > limit
            step = EVICT_BYTES if self._is_past_mark else LOOK_BYTES
            self.look_at = usage.written_bytes + min(step, limit // LOOKS)

    def _is_my_turn(self) -> bool:
        """Whether this member is the one to evict now. O(members log members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        if self._past_since_ms is None:
            self._past_since_ms = now
        me, state = node.replica.me, node.membership.state
        before = sum(1 for r in node.replica.roster.present() if r < me and state(r) != UNREACHABLE)
        return now - self._past_since_ms >= before * EVICT_TURN_MS

    def _evict(self) -> int:
        """Remove some keys for the whole group; how many. O(`EVICT_KEYS` + a shard for each sixteenth of its keys)."""
        node = self._node
        if node.state != SERVING or node.refusal(True) is not None:
            return 0
        keyspace = node.replica.keyspace
        excess, evicted = self.used_bytes - self._mark, 0
        self.is_removing = True
        while excess > 0 and evicted < EVICT_KEYS:
            _, found = keyspace.scan(node.rng.randrange(SHARDS), 1)
            found = found or keyspace.scan(0, 1)[1]
            if not found:
                break
            for key in node.rng.sample(found, min(len(found), EVICT_KEYS - evicted, 1 + len(found) // 16)):
                excess -= keyspace.footprint(key, EVICT_SAMPLES) or 0
                self._remove(Reset(key))
                evicted += 1
                if excess <= 0:
                    break
        self.is_removing = False
        node.counters["evicted_keys"] += evicted
        node.replica.commit()
        return evicted

    def _remove(self, operation: Reset) -> None:
        self._node.replica.submit(operation)
        self._node.replica.end_of_command()

    def _tell(self) -> None:
        """Say so when the limit is passed, and when there is room again. O(1)."""
        below = self.used_bytes <= self._mark
        if self._limit and (self.is_full if not self._is_told else below):
            self._is_told = not self._is_told
            reached = "past maxmemory: writes that take more are refused" if self._is_told else "below maxmemory again"
            level = "error" if self._is_told else "info"
            self._node.notify(level, "memory", reached=reached, used_bytes=self.used_bytes, maxmemory=self._limit)

    def status(self) -> dict[str, str | int]:
        """For people. O(1)."""
        config = self._node.config
        return {
            "used_memory": self.used_bytes,
            "maxmemory": config.maxmemory,
            "maxmemory_policy": config.maxmemory_policy,
        }
