"""The keyspace: key to plain value, and beside it what is not yet stable (floor 4).

Three tables. `_values` is what is visible, the plain Python value, and all that a read ever looks at. `_windows` has
the window of the visible value for the keys that have one. `_beside` is for the few keys that hold something that is
not visible: other kinds, where members created one key with different types (the first kind of the fixed order
answers), and a sequence whose elements are all removed but cannot be dropped before that is stable.

Values and windows are split in `SHARDS` dicts by CRC-32 of the key, so that no dict grows large enough to stall the
event loop, and so that a snapshot can be read shard by shard, each with the vector at which it was read. What the
snapshot of a shard already held is skipped here when it comes again from the log (`snapshot_vectors`, DESIGN.md 4.1).

Nothing here knows members or time. Costs are those of the types; `keys`, `scan` and `Flush` say theirs.
"""

from collections.abc import Iterator
from random import Random
from typing import Final, final
from zlib import crc32

from marmoset.clocks import Context, VersionVector, upto
from marmoset.codec.operations import (
    KIND_REGISTER,
    KIND_SEQUENCE,
    AnyOperation,
    Assign,
    Bury,
    Expire,
    Flush,
    Join,
    Leave,
    Ready,
    Reset,
)
from marmoset.crdts import types
from marmoset.crdts.deadline import Deadlines
from marmoset.crdts.exports import DeadlineEntry, export_deadline
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SCAN_SPLIT_ABOVE, SplitMap, SplitSet, walk_parts
from marmoset.crdts.types import KIND_BY_CLASS, KIND_BY_OPERATION, KIND_BY_WINDOW, Value, Window
from marmoset.ids import Dot

SHARDS: Final = 1024
MASK: Final = SHARDS - 1


@final
class Watch:
    """Tells whether any of the keys that it was put on has been changed by anybody since."""

    __slots__ = ("touched",)

    def __init__(self) -> None:
        self.touched = False


@final
class Holding:
    """A value of one kind that is not what a key shows, with its window."""

    __slots__ = ("value", "window")

    def __init__(self, value: Value | None, window: Window | None) -> None:
        self.value = value
        self.window = window


def shard_of(key: bytes) -> int:
    """The shard that a key lives in, the same in every process. O(1)."""
    return crc32(key) & MASK


def kind(value: Value) -> int:
    """The kind of a plain value: one of `KIND_*`. O(1)."""
    return KIND_BY_CLASS[type(value)]


@final
class Keyspace:
    """All keys of one group on one replica."""

    __slots__ = (
        "_beside",
        "_flushed",
        "_sequences",
        "_values",
        "_windows",
        "deadlines",
        "garbage",
        "now_ms",
        "snapshot_vectors",
        "split_above",
        "tracking",
        "watchers",
        "window_entries",
    )

    def __init__(self, split_above: int) -> None:
        self.split_above = split_above
        self.watchers: dict[bytes, list[Watch]] = {}
        self.garbage: list[dict[bytes, Value]] = []
        """Shards that FLUSHALL replaced; freed in slices by `collect_garbage`."""
        self.clear()

    def clear(self) -> None:
        """Start from nothing. O(n)."""
        self._values: list[dict[bytes, Value]] = [{} for _ in range(SHARDS)]
        self._windows: list[dict[bytes, Window]] = [{} for _ in range(SHARDS)]
        self._beside: dict[bytes, dict[int, Holding]] = {}
        self._sequences = [0] * SHARDS
        self._flushed: dict[Dot, list[bytes]] = {}  # FLUSHALL to the keys whose sequences remember it
        self.deadlines = Deadlines(SHARDS)
        self.now_ms = 0
        """What the clock of this replica says (DESIGN.md 3.8): keys whose deadline has passed are not there."""
        self.tracking = False
        """Whether operations need window entries: not in a group of one."""
        self.window_entries = 0
        """Unstable facts in all windows."""
        self.snapshot_vectors: dict[int, VersionVector] = {}
        """While catching up behind a snapshot: shard to the vector at which its values were read."""

    # -- reads

    def get(self, key: bytes) -> Value | None:
        """The plain value of a key, or None. O(1). Never change it: that is what operations are for."""
        shard = crc32(key) & MASK
        value = self._values[shard].get(key)
        if value is not None and self.deadlines.count and self._has_passed(shard, key):
            return None
        return value

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def _has_passed(self, shard: int, key: bytes) -> bool:
        deadline = self.deadlines.get(shard, key)
        return deadline is not None and deadline[0] <= self.now_ms

    def deadline_ms(self, key: bytes) -> int | None:
        """When a key ends, in milliseconds since 1970; None where it does not. O(1)."""
        deadline = self.deadlines.get(crc32(key) & MASK, key)
        return None if deadline is None else deadline[0]

    def is_left_over(self, key: bytes) -> bool:
        """Whether a key is not there but has a deadline: whoever writes to it has to reset what is left first. O(1)."""
        return bool(self.deadlines.count) and self.deadline_ms(key) is not None and self.get(key) is None

    def __len__(self) -> int:
        """How many keys are kept, those whose deadline has passed but that are not removed yet included. O(shards)."""
        return sum(map(len, self._values))

    def keys(self) -> Iterator[bytes]:
        """All keys, shard by shard. O(n); the keyspace must not change meanwhile."""
        for shard, values in enumerate(self._values):
            if self.deadlines.shown[shard]:
                yield from (key for key in values if not self._has_passed(shard, key))
            else:
                yield from values

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Some keys from `cursor` on, and the cursor to go on with, 0 at the end. O(count + one shard).

        A key that is there from the first call to the last is returned at least once; here, exactly once.
        """
        keys: list[bytes] = []
        while 0 <= cursor < SHARDS:
            found = self._values[cursor]
            if self.deadlines.shown[cursor]:
                keys.extend(key for key in found if not self._has_passed(cursor, key))
            else:
                keys.extend(found)
            cursor += 1
            if len(keys) >= count:
                break
        return (cursor if 0 <= cursor < SHARDS else 0), keys

    def scan_elements(self, key: bytes, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Some elements of a set, fields of a map or members of a sorted set, as `scan`. One large enough to be walked
        in steps is split for it. O(count + one part), O(n) once for a collection that is split."""
        value = self._splitting(key)
        if isinstance(value, SortedSet):
            return value.scan(cursor, count)
        if isinstance(value, (set, dict)):
            return 0, list(value)
        return walk_parts(value.parts, cursor, count) if isinstance(value, (SplitSet, SplitMap)) else (0, [])

    def sample(self, key: bytes, rng: Random) -> bytes:
        """A random element of a set or field of a map that is there, all equally likely. O(1) expected, for a
        collection of more than `SCAN_SPLIT_ABOVE` after an O(n) split at the first call."""
        value = self._splitting(key)
        if isinstance(value, (set, dict)):
            return sorted(value)[rng.randrange(len(value))]
        assert isinstance(value, (SplitSet, SplitMap))
        longest = max(map(len, value.parts))
        while True:  # a part is taken in proportion to its length
            part = value.parts[rng.randrange(len(value.parts))]
            at = rng.randrange(longest)
            if at < len(part):
                return sorted(part)[at]

    def _splitting(self, key: bytes) -> Value | None:
        value = self.get(key)
        if isinstance(value, (set, dict)) and len(value) > SCAN_SPLIT_ABOVE:
            value = types.split_large(value, SCAN_SPLIT_ABOVE)
            self._values[crc32(key) & MASK][key] = value
        return value

    def conflicts(self, key: bytes) -> list[tuple[int, Value]]:
        """What else a key holds, by kind, beside what it shows: values of other types created concurrently. O(1)."""
        held = self._beside.get(key, {})
        return [
            (kind, holding.value)
            for kind, holding in sorted(held.items())
            if holding.value is not None and types.is_visible(holding.value)
        ]

    def window(self, key: bytes) -> Window | None:
        """The window of what a key shows; for explanations and tests. O(1)."""
        return self._windows[crc32(key) & MASK].get(key)

    # -- watching

    def watch(self, key: bytes, watch: Watch) -> None:
        """Have `watch` touched by the next change of `key`. O(1)."""
        self.watchers.setdefault(key, []).append(watch)

    def unwatch(self, key: bytes, watch: Watch) -> None:
        """Take a watch back. O(watches of the key)."""
        watches = self.watchers.get(key)
        if watches is not None:
            watches[:] = [other for other in watches if other is not watch]
            if not watches:
                del self.watchers[key]

    def _touch(self, key: bytes) -> None:
        for watch in self.watchers.get(key, ()):
            watch.touched = True

    # -- effect

    def effect(self, operation: AnyOperation, dot: Dot, stamp: int, context: Context) -> None:
        """Apply an operation on keys. Cost: that of its type; `Flush` is O(shards + windows + sequences)."""
        if isinstance(operation, Flush):
            self._flush(dot, context)
            return
        assert not isinstance(operation, (Join, Ready, Leave, Bury))
        key = operation.key
        shard = crc32(key) & MASK
        if self.snapshot_vectors and self._in_snapshot(shard, dot, context):
            return
        if self.watchers:
            self._touch(key)
        values = self._values[shard]
        value = values.get(key)
        if isinstance(operation, Expire):
            self.deadlines.assign(shard, key, dot, operation.deadline_ms, context, tracking=self.tracking)
            return
        resets = isinstance(operation, Reset) or (isinstance(operation, Assign) and not operation.keep_deadline)
        if resets and (self.deadlines.count or self.deadlines.entries):
            self.deadlines.reset(shard, key, context)
        if isinstance(operation, Reset):
            if key in self._beside:
                self._reset_all(shard, key, dot, context, None)
            elif value is not None:
                self._reset_visible(shard, key, value, dot, context)
            return
        kind = KIND_BY_OPERATION[type(operation)]
        if (self._beside and key in self._beside) or (value is not None and KIND_BY_CLASS[type(value)] != kind):
            self._effect_beside(shard, key, kind, operation, dot, stamp, context)
            return
        windows = self._windows[shard]
        window = windows.get(key)
        if window is None:
            if self.tracking:
                window = types.new_window(kind, value)
            before = 0
        else:
            before = window.entries
        if value is None and kind != KIND_REGISTER:
            value = types.empty_value(kind)
        self._keep(shard, key, types.effect(value, window, operation, dot, stamp, context), window, before)

    def _keep(self, shard: int, key: bytes, value: Value | None, window: Window | None, before: int) -> None:
        """Put back what a key shows, and its window, which had `before` entries."""
        if window is not None:
            entries = window.entries
            self.window_entries += entries - before
            if entries:
                self._windows[shard][key] = window
            else:
                self._windows[shard].pop(key, None)
        if value is not None and types.is_visible(value):
            self._show(shard, key, value)
            return
        self._hide(shard, key)
        if window is not None and window.entries:  # a sequence of removed elements only
            del self._windows[shard][key]
            self._beside.setdefault(key, {})[KIND_SEQUENCE] = Holding(value, window)

    def _show(self, shard: int, key: bytes, value: Value) -> None:
        values = self._values[shard]
        old = values.get(key)
        if isinstance(value, (set, dict)) and len(value) > self.split_above:
            value = types.split_large(value, self.split_above)
        if old is not value:
            self._sequences[shard] += isinstance(value, Sequence) - isinstance(old, Sequence)
            values[key] = value

    def _hide(self, shard: int, key: bytes) -> None:
        old = self._values[shard].pop(key, None)
        if isinstance(old, Sequence):
            self._sequences[shard] -= 1

    def _reset_visible(self, shard: int, key: bytes, value: Value, dot: Dot, context: Context) -> None:
        window = self._windows[shard].get(key)
        before = 0 if window is None else window.entries
        if window is None and self.tracking and isinstance(value, Sequence):
            window = types.new_window(KIND_SEQUENCE, value)
        self._keep(shard, key, types.reset(value, window, dot, context), window, before)

    # -- keys that hold more than they show

    def _load(self, shard: int, key: bytes) -> dict[int, Holding]:
        """Take everything that a key holds out of the tables, by kind."""
        held = self._beside.pop(key, {})
        value = self._values[shard].get(key)
        if value is not None:
            held[KIND_BY_CLASS[type(value)]] = Holding(value, self._windows[shard].pop(key, None))
            self._hide(shard, key)
        for holding in held.values():
            if holding.window is not None:
                self.window_entries -= holding.window.entries
        return held

    def _store(self, shard: int, key: bytes, held: dict[int, Holding]) -> None:
        """Put back what a key holds: the first visible kind shows, others that still matter stand beside."""
        beside: dict[int, Holding] = {}
        shown = False
        for kind in sorted(held):
            holding = held[kind]
            window = holding.window
            entries = 0 if window is None else window.entries
            self.window_entries += entries
            if not entries:
                window = holding.window = None
            visible = holding.value is not None and types.is_visible(holding.value)
            if visible and not shown:
                assert holding.value is not None
                shown = True
                self._show(shard, key, holding.value)
                if window is not None:
                    self._windows[shard][key] = window
            elif visible or entries:
                beside[kind] = holding
        if beside:
            self._beside[key] = beside

    def _effect_beside(
        self, shard: int, key: bytes, kind: int, operation: AnyOperation, dot: Dot, stamp: int, context: Context
    ) -> None:
        """Effect where the key shows another kind, or holds several."""
        if isinstance(operation, Assign):
            self._reset_all(shard, key, dot, context, kind)
        held = self._load(shard, key)
        holding = held.setdefault(kind, Holding(types.empty_value(kind), None))
        if holding.window is None and self.tracking:
            holding.window = types.new_window(kind, holding.value)
        holding.value = types.effect(holding.value, holding.window, operation, dot, stamp, context)
        self._store(shard, key, held)

    def _reset_all(self, shard: int, key: bytes, dot: Dot, context: Context, but: int | None) -> None:
        """Reset what a key holds of every kind but one."""
        held = self._load(shard, key)
        for kind in sorted(held):
            if kind != but:
                holding = held[kind]
                if holding.window is None and self.tracking and isinstance(holding.value, Sequence):
                    holding.window = types.new_window(kind, holding.value)
                holding.value = types.reset(holding.value, holding.window, dot, context)
        self._store(shard, key, held)

    # -- FLUSHALL

    def _flush(self, dot: Dot, context: Context) -> None:
        """Reset every key. Shards without windows and sequences are replaced, the others looked through."""
        for watches in self.watchers.values():
            for watch in watches:
                watch.touched = True
        emptied: list[bytes] = []
        for shard in range(SHARDS):
            if self.snapshot_vectors and self._in_snapshot(shard, dot, context):
                continue
            self._flush_deadlines(shard, context)
            values, windows = self._values[shard], self._windows[shard]
            if not values:
                continue
            look = sorted(windows)
            if self._sequences[shard]:
                look += sorted(
                    key for key, value in values.items() if isinstance(value, Sequence) and key not in windows
                )
            kept = {key: values[key] for key in look}
            self.garbage.append(values)
            self._values[shard] = kept
            for key in look:
                value = kept[key]
                if isinstance(value, Sequence):
                    emptied.append(key)
                self._reset_visible(shard, key, value, dot, context)
        for key in sorted(self._beside):
            shard = crc32(key) & MASK
            if not (self.snapshot_vectors and self._in_snapshot(shard, dot, context)):
                emptied.append(key)
                self._reset_all(shard, key, dot, context, None)
        if emptied and self.tracking:
            self._flushed.setdefault(dot, []).extend(emptied)  # a snapshot may have brought others

    def _flush_deadlines(self, shard: int, context: Context) -> None:
        for key in self.deadlines.keys(shard):
            self.deadlines.reset(shard, key, context)

    def collect_garbage(self, entries: int) -> bool:
        """Free about as many entries of replaced shards; True while some are left. O(entries)."""
        while self.garbage and entries > 0:
            values = self.garbage[-1]
            while values and entries > 0:
                values.popitem()
                entries -= 1
            if not values:
                self.garbage.pop()
        return bool(self.garbage)

    # -- fold

    def fold(self, operation: AnyOperation, dot: Dot) -> None:
        """Forget an operation on keys that is causally stable; nothing visible changes. O(what it touched)."""
        if self._flushed:
            flushed = self._flushed.pop(dot, ())
            if isinstance(operation, Flush):
                for key in flushed:
                    self._fold_key(key, operation, dot)
        if isinstance(operation, Flush):
            return
        assert not isinstance(operation, (Join, Ready, Leave, Bury))
        if isinstance(operation, Expire):
            self.deadlines.fold(crc32(operation.key) & MASK, operation.key, dot)
            return
        self._fold_key(operation.key, operation, dot)

    def _fold_key(self, key: bytes, operation: AnyOperation, dot: Dot) -> None:
        shard = crc32(key) & MASK
        windows = self._windows[shard]
        window = windows.get(key)
        if window is not None:
            before = window.entries
            self._fold_window(self._values[shard].get(key), window, operation, dot)
            self.window_entries += window.entries - before
            if not window.entries:
                del windows[key]
        held = self._beside.get(key)
        if held is not None:
            self._fold_beside(key, held, operation, dot)

    def _fold_beside(self, key: bytes, held: dict[int, Holding], operation: AnyOperation, dot: Dot) -> None:
        for kind in sorted(held):
            holding = held[kind]
            window = holding.window
            if window is None:
                continue
            before = window.entries
            self._fold_window(holding.value, window, operation, dot)
            self.window_entries += window.entries - before
            if not window.entries:
                holding.window = None
                if holding.value is None or not types.is_visible(holding.value):
                    del held[kind]
        if not held:
            del self._beside[key]

    @staticmethod
    def _fold_window(value: Value | None, window: Window, operation: AnyOperation, dot: Dot) -> None:
        kind = KIND_BY_WINDOW[type(window)]
        if isinstance(operation, (Reset, Flush)) or (isinstance(operation, Assign) and kind != KIND_REGISTER):
            types.fold_reset(value, window, dot)
        elif KIND_BY_OPERATION[type(operation)] == kind:
            types.fold(value, window, operation, dot)

    # -- snapshots

    def _in_snapshot(self, shard: int, dot: Dot, context: Context) -> bool:
        vector = self.snapshot_vectors.get(shard)
        return vector is not None and dot[1] <= upto(vector, dot[0], context.joins)

    def holdings(self, shard: int) -> Iterator[tuple[bytes, int, Value, Window | None]]:
        """Everything that the keys of a shard hold, shown or not, in the order of keys and kinds. O(n log n)."""
        values, windows = self._values[shard], self._windows[shard]
        beside = [key for key in self._beside if crc32(key) & MASK == shard]
        for key in sorted({*values, *beside}):
            value = values.get(key)
            if value is not None:
                yield key, kind(value), value, windows.get(key)
            for other, holding in sorted(self._beside.get(key, {}).items()):
                if holding.value is not None:
                    yield key, other, holding.value, holding.window

    def export_deadlines(self, shard: int) -> list[DeadlineEntry]:
        """The deadlines of the keys of a shard. O(n log n)."""
        shown, windows = self.deadlines.shown[shard], self.deadlines.windows[shard]
        return [export_deadline(key, shown.get(key), windows.get(key, {})) for key in self.deadlines.keys(shard)]

    def take(self, key: bytes, kind: int) -> tuple[Value | None, Window | None]:
        """Take out what a key holds of one kind, to be put back by `restore`. O(1)."""
        shard = crc32(key) & MASK
        held = self._load(shard, key)
        holding = held.pop(kind, Holding(None, None))
        self._store(shard, key, held)
        return holding.value, holding.window

    def restore(self, key: bytes, kind: int, value: Value, window: Window | None) -> None:
        """Put in something that a key held elsewhere, as `holdings` gave it. O(1)."""
        shard = crc32(key) & MASK
        held = self._load(shard, key)
        held[kind] = Holding(value, window)
        self._store(shard, key, held)
        if isinstance(window, SequenceWindow):  # a removal may have been a FLUSHALL, which does not say its keys
            for dot in sorted(window.removals):
                self._flushed.setdefault(dot, []).append(key)

    # -- invariants

    def _check(self) -> None:
        """Every invariant of the keyspace and of all that it holds; for tests and the simulator. O(n)."""
        entries = 0
        self.deadlines._check()
        for shard in range(SHARDS):
            values, windows = self._values[shard], self._windows[shard]
            assert self._sequences[shard] == sum(isinstance(value, Sequence) for value in values.values())
            for key, value in values.items():
                assert crc32(key) & MASK == shard, "a key in another's shard"
                assert types.is_visible(value), "an empty value is visible"
                types.check_value(value, windows.get(key))
            for key, window in windows.items():
                assert key in values, "a window beside nothing"
                assert window.entries, "a window without entries is kept"
                assert KIND_BY_WINDOW[type(window)] == kind(values[key])
                entries += window.entries
        for key, held in self._beside.items():
            assert held, "nothing is kept beside a key"
            shown = self._values[crc32(key) & MASK].get(key)
            for other, holding in held.items():
                visible = holding.value is not None and types.is_visible(holding.value)
                assert visible or holding.window is not None, "residue beside a key"
                assert not visible or (shown is not None and kind(shown) < other), "the wrong kind answers"
                types.check_value(holding.value, holding.window)
                entries += 0 if holding.window is None else holding.window.entries
        assert entries == self.window_entries, f"{self.window_entries} window entries are counted, {entries} are there"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing but plain visible values is kept, apart from conflicts that members made. O(shards)."""
        return (
            self.window_entries == 0
            and self.deadlines.entries == 0
            and not any(self._windows)
            and not self._flushed
            and all(holding.window is None for held in self._beside.values() for holding in held.values())
        )
