"""The keyspace: key to plain value, and beside it what is not yet stable (floor 4).

Keys are split in `SHARDS` slots (`crdts.slots`: visible plain values, windows, and what stands beside) by `hashing`, so
that no dict grows large enough to stall the event loop, and so that a snapshot can be read shard by shard, each with
the vector at which it was read. What the snapshot of a shard already held is skipped here when it comes again from
the log (`snapshot_vectors`, DESIGN.md 4.1).

A window tells operations apart that have not observed one another. As long as each one that comes has observed
everything unstable here (`chained`), there is nothing to tell apart, and values are changed as if everything were
stable. Once something comes that has not, `wind_later` is told what that was, and a window is made of it where a key is
touched again (`Slots.wind`): what becomes stable before has cost nothing.

Nothing here knows members or time. Costs are those of the types; `keys`, `scan` and `Flush` say theirs.
"""

from collections.abc import Callable, Iterator
from gc import collect
from random import Random
from sys import getsizeof
from typing import Final, final

from marmoset.clocks import Context, LocalContext, VersionVector, upto
from marmoset.codec.operations import (
    KIND_SEQUENCE,
    AnyOperation,
    Assign,
    Expire,
    Flush,
    KeyOperation,
    Reset,
)
from marmoset.codec.runs import ASSIGN_RUN, INCREMENT_RUN, Pushes, Run
from marmoset.crdts import types
from marmoset.crdts.chains import CLASH, OBSERVING, PLAIN, REPLACED, ChainNotes
from marmoset.crdts.deadline import Deadlines
from marmoset.crdts.exports import DeadlineEntry, export_deadline
from marmoset.crdts.footprint import footprint, window_footprint
from marmoset.crdts.garbage import Garbage
from marmoset.crdts.nested import NestedMap
from marmoset.crdts.plain_slots import new_table
from marmoset.crdts.run_effects import effect_at, effect_of_one, effect_registers
from marmoset.crdts.sampling import Sampler
from marmoset.crdts.slots import Slots, removals
from marmoset.crdts.sortedset import SortedSet
from marmoset.crdts.split import SCAN_SPLIT_ABOVE, SplitMap, SplitSet, walk_parts
from marmoset.crdts.types import Value, Window
from marmoset.crdts.usage import Usage
from marmoset.hashing import SHARDS, shard_of
from marmoset.ids import Dot

YOUNGEST: Final = 0
FLUSH: Final = Flush()


@final
class Watch:
    """Tells whether any of the keys that it was put on has been changed by anybody since."""

    __slots__ = ("touched",)

    def __init__(self) -> None:
        self.touched = False


def ends_deadline(operation: KeyOperation) -> bool:
    """Whether a deadline that an operation has observed does not outlive it. O(1)."""
    return type(operation) is Reset or (type(operation) is Assign and not operation.keep_deadline)


@final
class Keyspace:
    """All keys of one group on one replica."""

    __slots__ = (
        "_flushed",
        "_last_key",
        "_last_shard",
        "chained",
        "deadlines",
        "garbage",
        "notes",
        "now_ms",
        "shards",
        "snapshot_vectors",
        "split_above",
        "tables",
        "tracking",
        "unchain",
        "usage",
        "watchers",
    )

    def __init__(self, split_above: int) -> None:
        self.split_above = split_above
        self._last_key = b""
        self._last_shard = shard_of(b"")
        self.watchers: dict[bytes, list[Watch]] = {}
        self.garbage = Garbage()
        """Shards that FLUSHALL or `clear` replaced and large values that were reset."""
        self.notes = ChainNotes()
        self.shards: list[Slots] = []
        self.unchain: Callable[[int], None] | None = None
        """Called with its seq where `chained` has to end before an operation that is being applied: whoever has the log
        is to call `wind_later` with all that comes before it."""
        self.clear()

    def clear(self) -> None:
        """Start from nothing. What was there becomes garbage. O(shards + what is not stable or stands beside)."""
        for watches in self.watchers.values():
            for watch in watches:
                watch.touched = True
        if not self.shards or not all([slots.is_untouched for slots in self.shards]):
            for slots in self.shards:
                slots.throw_away()
            self.shards = [Slots(self.split_above, self.garbage, self.notes) for _ in range(SHARDS)]
        self.notes.has_more = False
        self.notes.registers_only = True
        self.tables = [slots.values for slots in self.shards]
        """The tables of plain values by themselves: most reads and writes need nothing else of a shard."""
        self.usage = Usage(self.shards)
        """About how much memory all keys take."""
        self._flushed: dict[Dot, list[bytes]] = {}  # FLUSHALL to the keys whose sequences remember it
        self.deadlines = Deadlines(SHARDS)
        self.now_ms = 0
        """What the clock of this replica says (DESIGN.md 3.8): keys whose deadline has passed are not there."""
        self.tracking = False
        """Whether operations need window entries: not in a group of one."""
        self.chained = False
        """Whether every operation that comes has observed everything unstable here, and needs no window."""
        self.snapshot_vectors: dict[int, VersionVector] = {}
        """While catching up behind a snapshot: shard to the vector at which its values were read."""
        collect(YOUNGEST)  # visits the tables: now, and not when they are full (see `new_table`)

    # -- reads

    def get(self, key: bytes) -> Value | None:
        """The plain value of a key, or None. O(1). Never change it: that is what operations are for."""
        shard = self._shard(key)
        value = self.tables[shard].get(key)
        if value is not None and self.deadlines.count and self._has_passed(shard, key):
            return None
        return value

    def _shard(self, key: bytes) -> int:
        """As `shard_of`. A command looks and then writes, with one key, and the next one is often about the same."""
        if key is not self._last_key and key != self._last_key:
            self._last_key = key
            self._last_shard = shard_of(key)
        return self._last_shard

    def __contains__(self, key: bytes) -> bool:
        return self.get(key) is not None

    def _has_passed(self, shard: int, key: bytes) -> bool:
        deadline = self.deadlines.get(shard, key)
        return deadline is not None and deadline[0] <= self.now_ms

    def deadline_ms(self, key: bytes) -> int | None:
        """When a key ends, in milliseconds since 1970; None where it does not. O(1)."""
        deadline = self.deadlines.get(shard_of(key), key)
        return None if deadline is None else deadline[0]

    def is_left_over(self, key: bytes) -> bool:
        """Whether a key is not there but has a deadline: whoever writes to it has to reset what is left first. O(1)."""
        return bool(self.deadlines.count) and self.deadline_ms(key) is not None and self.get(key) is None

    def __len__(self) -> int:
        """How many keys are kept, those whose deadline has passed but that are not removed yet included. O(shards)."""
        return sum(len(slots.values) for slots in self.shards)

    @property
    def window_entries(self) -> int:
        """Unstable facts in all windows of values. O(shards)."""
        return sum(slots.entries for slots in self.shards)

    def keys(self) -> Iterator[bytes]:
        """All keys, shard by shard. O(n); the keyspace must not change meanwhile."""
        for shard, slots in enumerate(self.shards):
            if self.deadlines.shown[shard]:
                yield from (key for key in slots.values if not self._has_passed(shard, key))
            else:
                yield from slots.values

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Some keys from `cursor` on, and the cursor to go on with, 0 at the end. O(count + one shard).

        A key that is there from the first call to the last is returned at least once; here, exactly once.
        """
        keys: list[bytes] = []
        while 0 <= cursor < SHARDS:
            found = self.shards[cursor].values
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
        in steps is split for it. O(count + one part), O(n) once for a collection that is split and for a map that
        nests, which comes at once."""
        value = self._splitting(key)
        if isinstance(value, SortedSet):
            return value.scan(cursor, count)
        if isinstance(value, (set, dict, NestedMap)):
            return 0, list(value)
        return walk_parts(value.parts, cursor, count) if isinstance(value, (SplitSet, SplitMap)) else (0, [])

    def sampler(self, key: bytes, rng: Random) -> Sampler:
        """What draws elements of a set or fields of a map that is there, until that changes. O(parts), after an O(n)
        split at the first call for a collection of more than `SCAN_SPLIT_ABOVE`; a map that nests is one part."""
        value = self._splitting(key)
        if isinstance(value, (SplitSet, SplitMap)):
            return Sampler(value.parts, rng)
        assert isinstance(value, (set, dict, NestedMap))
        return Sampler([list(value)], rng)

    def _splitting(self, key: bytes) -> Value | None:
        value = self.get(key)
        if isinstance(value, (set, dict)) and len(value) > SCAN_SPLIT_ABOVE:
            value = types.split_large(value, SCAN_SPLIT_ABOVE)
            self.shards[shard_of(key)].values[key] = value
        return value

    def conflicts(self, key: bytes) -> list[tuple[int, Value]]:
        """What else a key holds, by kind, beside what it shows: values of other types created concurrently. O(1)."""
        held = self.shards[shard_of(key)].beside.get(key, {})
        return [
            (kind, holding.value)
            for kind, holding in sorted(held.items())
            if holding.value is not None and types.is_visible(holding.value)
        ]

    def window(self, key: bytes) -> Window | None:
        """The window of what a key shows; for explanations and tests. O(1)."""
        return self.shards[shard_of(key)].windows.get(key)

    def footprint(self, key: bytes, samples: int) -> int | None:
        """About how many bytes a key takes, its share of the tables and what is not stable included; None where it is
        not there. O(samples + parts of its value)."""
        value = self.get(key)
        if value is None:
            return None
        slots = self.shards[shard_of(key)]
        share = getsizeof(slots.values) // len(slots.values)
        window = slots.windows.get(key)
        unstable = 0 if window is None else window_footprint(window)
        return share + getsizeof(key) + footprint(value, samples) + unstable

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

    def effect(self, operation: AnyOperation, dot: Dot, stamp: int, context: Context) -> bool:
        """Apply an operation on keys; whether it left nothing that has to be folded. Cost: that of its type; `Flush` is
        O(shards + windows), of which each costs little where it has observed all that is unstable."""
        if type(operation) is Flush:
            self._flush(dot, context)
            return False
        assert isinstance(operation, KeyOperation)  # those on the roster do not come here
        key = operation.key
        shard = self._shard(key)
        if self.snapshot_vectors and self._in_snapshot(shard, dot, context):
            return False
        if self.watchers:
            self._touch(key)
        if type(operation) is Expire:
            if self.chained or not self.tracking:
                self.deadlines.assign_plain(shard, key, dot[0], operation.deadline_ms)
                return True
            self.deadlines.assign(shard, key, dot, operation.deadline_ms, context)
            return False
        slots = self.shards[shard]
        tracking = self.tracking
        is_reset = type(operation) is Reset
        if ends_deadline(operation) and (self.deadlines.count or self.deadlines.entries):
            self.deadlines.reset(shard, key, context)
        chained = self.chained
        if slots.laid or slots.flushed:
            self._bring_back(slots, key)
        if is_reset:
            self.usage.handle_reset(shard, key)
            if self._may_lay_aside and slots.lay_aside(key, dot):
                return False
            context = self._observed(context)
        if chained or not tracking:
            if is_reset:
                needed = slots.needs(key, operation)
            else:
                needed = slots.effect_plain(key, operation, dot, chained=chained)
                if needed == PLAIN:
                    return True
            tracking = chained and needed != PLAIN and needed != REPLACED
            if chained and needed == CLASH and self.unchain is not None:
                self.unchain(dot[1])
        if slots.unwound and not self.chained:
            slots.wind(key)
        if is_reset:
            slots.reset(key, dot, context, tracking=tracking)
        else:
            slots.effect(key, operation, dot, stamp, context, tracking=tracking)
        return not tracking

    def slots_plain(self, key: bytes) -> Slots | None:
        """The slots of a key, in a chain or a group of one, if nothing but its plain value has to be looked at when
        that is changed, and nothing folded later; else None. An assignment is to `end_deadline`. O(1)."""
        return self.shards[self._shard(key)] if self._is_plain(key) else None

    def table_plain(self, key: bytes) -> dict[bytes, Value] | None:
        """The table of plain values that a key stands in, on the same conditions. O(1)."""
        return self.tables[self._shard(key)] if self._is_plain(key) else None

    def _is_plain(self, key: bytes) -> bool:
        if (self.tracking and not self.chained) or (self.watchers and key in self.watchers):
            return False
        if self.notes.has_more:
            slots = self.shards[self._shard(key)]
            if slots.readings or slots.has_more(key):
                return False
        if self.deadlines.count:
            shard = self._shard(key)
            deadline = self.deadlines.get(shard, key)
            if deadline is not None and (deadline[0] <= self.now_ms or key not in self.tables[shard]):
                return False  # it is left over: see `is_left_over`
        return True

    def look_for_more(self) -> None:
        """Note it if no key has more than a plain value any more. O(shards), O(1) where that is noted."""
        if self.notes.has_more:
            for slots in self.shards:
                if slots.has_any_more:
                    return
            self.notes.has_more = False

    def end_deadline(self, key: bytes) -> None:
        """A key was assigned by what has observed everything unstable: whatever deadline it had is gone. O(1)."""
        if self.deadlines.count or self.deadlines.entries:
            self.deadlines.end(self._shard(key), key)

    # -- chains

    def effect_run(self, run: Run, at: int) -> int:
        """Apply the operations of a run from one on, as long as they leave nothing that has to be folded and need no
        more than the plain value: the index of the first that is not done. O(operations)."""
        if not self.chained or self.snapshot_vectors:
            return at
        keys, watchers, deadlines = run.keys, self.watchers, self.deadlines
        count = run.count
        ends = run.tag == ASSIGN_RUN and (deadlines.count or deadlines.entries)
        if run.is_of_one_key:
            key = keys[0]
            shard = shard_of(key)
            if (watchers and key in watchers) or not effect_of_one(self.shards[shard], run, at):
                return at
            if ends:
                deadlines.end(shard, key)
            return count
        if run.tag <= INCREMENT_RUN and not (watchers or ends or self.notes.has_more):
            return effect_registers(self.tables, run, at, registers_only=self.notes.registers_only)
        while at < count:
            key = keys[at]
            shard = shard_of(key)
            if (watchers and key in watchers) or not effect_at(self.shards[shard], run, at):
                break
            if ends:
                deadlines.end(shard, key)
            at += 1
        return at

    def effect_pushes(self, pushes: Pushes) -> bool:
        """The same for pushes; whether they were done, all or none. O(values + log n)."""
        if not self.chained or self.snapshot_vectors or pushes.key in self.watchers:
            return False
        return self.shards[shard_of(pushes.key)].push_plain(pushes)

    def wind_later(self, operation: AnyOperation, dot: Dot, stamp: int) -> None:
        """An operation, the next one of a chain, is unstable and has no window entries where it needed none: they are
        made once something comes for its key, those of deadlines at once. O(1)."""
        if isinstance(operation, Flush):
            for slots in self.shards:
                slots.forget_put_off()  # it has observed all of them; insertions are noted as they are made
            for table in self.deadlines.note_flush():
                self.garbage.put_table(table)
        elif isinstance(operation, KeyOperation):
            key = operation.key
            shard = shard_of(key)
            if type(operation) is Expire:
                self.deadlines.note(shard, key, dot, operation.deadline_ms)
                return
            if ends_deadline(operation):
                self.deadlines.note_end(shard, key)
            if operation.kind != KIND_SEQUENCE:
                self.shards[shard].wind_later(key, (operation, dot, stamp))

    def forget_unwound(self) -> None:
        """Nothing is unstable any more that has no window. O(shards)."""
        self.notes.has_insertions = False
        self.notes.begun = []
        for slots in self.shards:
            slots.forget_unwound()

    def wind_all(self, shard: int) -> None:
        """Make every window of a shard that was put off, and remove element by element what was laid aside. O(what is
        unstable + runs of what was removed)."""
        slots = self.shards[shard]
        for key, _ in slots.hidden():
            self._bring_back(slots, key)
        slots.wind_all()

    def _bring_back(self, slots: Slots, key: bytes) -> None:
        """Something comes to a key: what was laid aside of it is to be as if its removal had gone through it."""
        if slots.laid and key in slots.laid:
            slots.bring_back(key)
        flushed = slots.take_flushed(key) if slots.flushed else None
        if flushed is not None:
            slots.bring_back_flushed(key, *flushed)
            self._note_flushed(flushed[0], key)

    # -- FLUSHALL

    def _flush(self, dot: Dot, context: Context) -> None:
        """Reset every key: what is unstable one by one, all else with the table of its shard; so goes what is unstable,
        too, where it was observed and remembers no removals."""
        context = self._observed(context)
        for watches in self.watchers.values():
            for watch in watches:
                watch.touched = True
        for shard in range(SHARDS):
            if self.is_untouched(shard) or (self.snapshot_vectors and self._in_snapshot(shard, dot, context)):
                continue
            self._flush_deadlines(shard, context)
            slots = self.shards[shard]
            if not self.chained:
                if self.notes.is_observing:  # which it resets whatever they are
                    slots.forget_put_off()
                slots.wind_all()
            is_observed = self._may_lay_aside and isinstance(context, LocalContext) and not slots.readings
            unstable = slots.flushed_singly(is_observed)
            self._flush_table(shard, unstable, dot)
            if is_observed:
                slots.drop_windows(unstable)
            for key in unstable:
                if not self._may_lay_aside or not slots.lay_aside(key, dot):
                    slots.reset(key, dot, context, tracking=self.tracking)
                if key in slots.windows or key in slots.beside or slots.hides(key):
                    self._note_flushed(dot, key)
        self.notes.registers_only = self.notes.registers_only or not len(self)
        collect(YOUNGEST)  # as in `clear`

    def _flush_table(self, shard: int, unstable: list[bytes], dot: Dot) -> None:
        """Remove everything of a shard but what is unstable."""
        slots = self.shards[shard]
        if not slots.values:
            return
        remembering = slots.remembering
        left = new_table()
        if unstable:
            left.update({key: slots.values[key] for key in unstable if key in slots.values})
        gone = slots.replace(left)
        self.tables[shard] = left
        for key in left:
            del gone[key]
        if not self.tracking or remembering == slots.remembering:
            self.garbage.put_table(gone)
        else:
            slots.lay_table_aside(gone, dot)

    @property
    def _may_lay_aside(self) -> bool:
        """Whether what is removed may be kept as it was for a while: what a snapshot has brought may have been made
        later than all that is in the log."""
        return self.tracking and not self.snapshot_vectors

    def _observed(self, context: Context) -> Context:
        """The context of what is being applied; of what has observed everything unstable one that need not be asked for
        each of that."""
        return OBSERVING if self._may_lay_aside and (self.chained or self.notes.is_observing) else context

    def _note_flushed(self, dot: Dot, key: bytes) -> None:
        """A FLUSHALL has to be folded at a key."""
        if self.tracking:
            self._flushed.setdefault(dot, []).append(key)

    def _flush_deadlines(self, shard: int, context: Context) -> None:
        if not self.deadlines.shown[shard] and not self.deadlines.windows[shard]:
            return
        if self.chained or self.notes.is_observing:
            for part in self.deadlines.flush(shard):
                self.garbage.put_table(part)
        else:
            for key in self.deadlines.keys(shard):
                self.deadlines.reset(shard, key, context)

    # -- fold

    def fold(self, operation: AnyOperation, dot: Dot) -> None:
        """Forget an operation on a key that is causally stable; nothing visible changes. O(what it touched)."""
        assert isinstance(operation, KeyOperation), "a FLUSHALL has `fold_flush`"
        if self._flushed:
            self._flushed.pop(dot, None)  # that of `restore`: it was none
        key = operation.key
        if isinstance(operation, Expire):
            self.deadlines.fold(shard_of(key), key, dot)
            return
        self.shards[shard_of(key)].fold(key, operation, dot)

    def fold_flush(self, dot: Dot, budget: int) -> int:
        """Forget a FLUSHALL that is causally stable, at so many keys at most; at how many it was. If fewer, it is done:
        what was laid aside with whole tables is gone, too. O(keys), and O(shards) the last time."""
        folded, keys = 0, self._flushed.get(dot)
        if keys is not None:
            while keys and folded < budget:
                key = keys.pop()
                self.shards[shard_of(key)].fold(key, FLUSH, dot)
                folded += 1
            if keys:
                return folded
            del self._flushed[dot]
        for slots in self.shards:
            if slots.flushed:
                slots.drop_table(dot)
        return folded

    # -- snapshots

    def is_untouched(self, shard: int) -> bool:
        """Whether there is nothing at all in a shard. O(1)."""
        return self.shards[shard].is_untouched and not (self.deadlines.shown[shard] or self.deadlines.windows[shard])

    def _in_snapshot(self, shard: int, dot: Dot, context: Context) -> bool:
        vector = self.snapshot_vectors.get(shard)
        return vector is not None and dot[1] <= upto(vector, dot[0], context.joins)

    def export_deadlines(self, shard: int) -> list[DeadlineEntry]:
        """The deadlines of the keys of a shard. O(n log n)."""
        shown, windows = self.deadlines.shown[shard], self.deadlines.windows[shard]
        return [export_deadline(key, shown.get(key), windows.get(key, {})) for key in self.deadlines.keys(shard)]

    def restore(self, key: bytes, kind: int, value: Value, window: Window | None) -> None:
        """Put in something that a key held elsewhere. O(1)."""
        self.shards[shard_of(key)].put(key, kind, value, window)
        for dot in removals(window):  # one may have been a FLUSHALL, which does not say its keys
            self._flushed.setdefault(dot, []).append(key)

    # -- invariants

    def _check(self) -> None:
        """Every invariant of the keyspace and of all that it holds; for tests and the simulator. O(n)."""
        self.deadlines._check()
        self.usage._check()
        self.garbage._check()
        for shard, slots in enumerate(self.shards):
            assert self.tables[shard] is slots.values, "a table that is not that of its shard"
            assert self.notes.has_more or not slots.has_any_more, "a key has more than is noted"
            if self.notes.registers_only:
                assert all(isinstance(value, (bytes, int)) for value in slots.values.values()), "not only registers"
            if slots.is_untouched:
                continue
            slots._check()
            for key in {*slots.values, *slots.beside}:
                assert shard_of(key) == shard, "a key in another's shard"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing but plain visible values is kept, apart from conflicts that members made. O(shards)."""
        return self.deadlines.entries == 0 and not self._flushed and all(slots.is_at_rest for slots in self.shards)
