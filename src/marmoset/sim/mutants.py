"""Faults put in on purpose (beside the floors): the test of the tester.

Each mutant breaks one rule of DESIGN.md sections 3 to 5; see `hunting`. Those about who is let in and who is buried are
in `mutants_membership`.

A mutant that is not found is a hole in the simulator: in what it provokes or in what it checks.
"""

import importlib
from typing import Any, Final

import msgspec

from marmoset import clocks
from marmoset.clocks import LocalContext, VersionVector
from marmoset.codec.messages import vector_pairs
from marmoset.codec.operations import Join, SequenceInsert
from marmoset.crdts import addwins, reading, register, sequence, types
from marmoset.crdts.sequence_runs import DEAD
from marmoset.ids import Dot, ReplicaId
from marmoset.node import leaving, meeting, memory_limit, node
from marmoset.replication import expiry, folding, oplog, replica, roster, snapshot, stability, verdicts
from marmoset.session import Session
from marmoset.sim.hunting import JOINS, Mutant, Patch, hunt
from marmoset.sim.mutants_chain import MUTANTS_CHAIN
from marmoset.sim.mutants_membership import MUTANTS_MEMBERSHIP
from marmoset.sim.mutants_rehabilitation import MUTANTS_REHABILITATION
from marmoset.sim.mutants_swim import MUTANTS_SWIM

# Section 3: replication


def _knowledge_before_arrival() -> list[Patch]:
    """The vector in a meeting, which may overtake the stream, is counted."""
    handle = meeting.Meeting.handle_gossip

    def handle_gossip(self: Any, link: Any, message: Any) -> None:
        here = self._node.replica
        if link.peer in here.seen:
            state = here.stability.states.get(link.peer, 0)
            seen = {r: q for r, q in message.vector if r in here.seen}
            here.stability.known[link.peer] = seen
            here.stability.learn(link.peer, seen, state, here.stability.clocks.get(link.peer, 0) + 1)
            here.stability_changed = True
        handle(self, link, message)

    return [(meeting.Meeting, "handle_gossip", handle_gossip)]


def _report_before_what_it_speaks_of() -> list[Patch]:
    """A report is counted where it arrives, whether or not what its sender had is here."""
    return [(replica.Replica, "has_all", lambda self, vector: True)]


def _causality_not_checked() -> list[Patch]:
    """A batch is applied though what it had observed is not here."""

    def judge(self: Any, batch: Any) -> str | None:
        seen = self.seen.get(batch.origin)
        if seen is None:
            return verdicts.DUPLICATE if batch.origin in self.recently_forgotten else verdicts.UNKNOWN_ORIGIN
        if batch.last <= seen:
            return verdicts.DUPLICATE
        return None if batch.first == seen + 1 else verdicts.TOO_EARLY

    return [(replica.Replica, "judge", judge)]


def _merged_by_maximum() -> list[Patch]:
    """What is known of a member is merged entry by entry."""
    learn = stability.Stability.learn

    def merge(self: Any, member: ReplicaId, vector: VersionVector, state: int, clock: int) -> bool:
        old = self.known.get(member, {})
        merged = {r: max(old.get(r, 0), vector.get(r, 0)) for r in {**old, **vector}}
        return learn(self, member, merged, state, clock)

    return [(stability.Stability, "learn", merge)]


def _dropped_entries_not_sent() -> list[Patch]:
    """Differences of contexts come without the entries that were dropped."""
    apply = replica.Replica.apply

    def without(self: Any, batch: Any, framed: bytes, *rest: Any) -> str:
        return apply(self, msgspec.structs.replace(batch, dropped=[]), framed, *rest)

    return [(replica.Replica, "apply", without)]


def _raised_entries_lost() -> list[Patch]:
    """Differences of contexts come without one of the entries that were raised."""
    apply = replica.Replica.apply

    def without(self: Any, batch: Any, framed: bytes, *rest: Any) -> str:
        return apply(self, msgspec.structs.replace(batch, raised=batch.raised[1:]), framed, *rest)

    return [(replica.Replica, "apply", without)]


def _clock_not_merged() -> list[Patch]:
    """Stamps of others leave the clock as it is."""
    return [(clocks.HybridClock, "merge", lambda self, stamp: None)]


def _missing_entry_is_nothing() -> list[Patch]:
    """A vector without an entry is read as if nothing had been seen."""

    def upto(vector: VersionVector, origin: ReplicaId, joins: dict[ReplicaId, Dot]) -> int:
        return vector.get(origin, 0)

    modules = ("clocks", "keyspace", "replication.exchange", "replication.replica", "replication.roster")
    return [(importlib.import_module(f"marmoset.{m}"), "upto", upto) for m in (*modules, "replication.stability")]


def _missing_entry_is_everything() -> list[Patch]:
    """A vector without an entry is read as if everything had been seen."""

    def upto(vector: VersionVector, origin: ReplicaId, joins: dict[ReplicaId, Dot]) -> int:
        return vector.get(origin, clocks.EVERYTHING_SEQ)

    modules = ("clocks", "keyspace", "replication.exchange", "replication.replica", "replication.roster")
    return [(importlib.import_module(f"marmoset.{m}"), "upto", upto) for m in (*modules, "replication.stability")]


def _frontier_without_the_slow() -> list[Patch]:
    """The frontier waits for a majority only."""

    def frontier(self: Any, counted: list[ReplicaId], joins: dict[ReplicaId, Dot]) -> VersionVector:
        found: VersionVector = {}
        for origin in self.seen:
            column = sorted(clocks.upto(self.known.get(m, {}), origin, joins) for m in counted)
            found[origin] = min(self.seen[origin], column[(len(column) - 1) // 2])
        return found

    return [(stability.Stability, "frontier", frontier)]


def _folded_by_origin() -> list[Patch]:
    """What is stable is folded origin by origin, not in the order in which it was applied."""

    def take_by_origin(self: Any, log: oplog.OpLog, frontier: VersionVector, plain_from: int, budget: int) -> None:
        for origin in sorted(log.queues):
            while (entry := log.take_stable(origin, frontier.get(origin, 0), log.next_index)) is not None:
                self.batches.append(entry)

    return [(folding.Folding, "take", take_by_origin)]


def _window_skipped() -> list[Patch]:
    """The windows of sets are left out when a batch is folded."""
    return [(addwins.SetWindow, "fold", lambda self, elements, dot: None)]


def _window_forgets_too_much() -> list[Patch]:
    """Folding one add of an element forgets all its adds."""

    def fold(self: Any, elements: list[bytes], dot: Dot) -> None:
        for element in elements:
            if dot in self.adds.get(element, ()):
                del self.adds[element]

    return [(addwins.SetWindow, "fold", fold)]


def _transaction_in_parts() -> list[Patch]:
    """The commands of EXEC go into batches of their own."""
    call = Session._call

    def call_and_commit(self: Any, *args: Any, **named: Any) -> Any:
        reply = call(self, *args, **named)
        self.database.replica.commit()
        return reply

    return [(Session, "_call", call_and_commit)]


# Section 4: membership


def _burials_at_once() -> list[Patch]:
    """Who is buried stops counting at once."""

    def take_effect(self: Any, known: Any) -> None:
        self.dead.update(self.buried.keys() - self.left.keys())

    return [(roster.Roster, "take_effect", take_effect)]


def _newcomer_serves_early() -> list[Patch]:
    """A newcomer is complete when the snapshot has ended, whatever its values had observed."""
    return [(snapshot.SnapshotSink, "is_complete", property(lambda self: self.ended))]


def _snapshot_vector_too_late() -> list[Patch]:
    """The values of a snapshot are sent with a vector later than that at which they were read."""
    read = snapshot.SnapshotSource._read

    def late(self: Any) -> None:
        seen, me = self.replica.seen, self.replica.me
        seen[me] += 1
        try:
            read(self)
        finally:
            seen[me] -= 1

    return [(snapshot.SnapshotSource, "_read", late)]


def _snapshot_goes_on_with_a_later_vector() -> list[Patch]:
    """The rest of a shard that takes several steps is sent with the vector of the step, not with that of the shard."""
    read = snapshot.SnapshotSource._read

    def late(self: Any) -> None:
        self._vector = vector_pairs(self.replica.seen)
        read(self)

    return [(snapshot.SnapshotSource, "_read", late)]


def _parts_change_while_they_are_read() -> list[Patch]:
    """A set or map that is read in parts is not kept as it stood."""
    return [(reading.SplitReading, "before", lambda self, operation: None)]


def _chunks_change_while_they_are_read() -> list[Patch]:
    """A sequence that is read in parts is not kept as it stood."""
    return [(reading.SequenceReading, "before_chunk", lambda self, chunk: None)]


def _fields_change_while_they_are_read() -> list[Patch]:
    """The names of a shard or fields of a map that were not read yet are not kept as they stood."""
    return [(reading.SlotsReading, "before", lambda self, name, operation: None)]


def _snapshot_without_vectors() -> list[Patch]:
    """A newcomer applies again what its values hold already."""
    return [(importlib.import_module("marmoset.keyspace").Keyspace, "_in_snapshot", lambda *args: False)]


def _snapshot_log_of_the_log_alone() -> list[Patch]:
    """The log of a snapshot lacks what is stable and not yet folded."""

    def unfolded(self: Any) -> list[oplog.LogEntry]:
        return list(self.log.entries.values())

    return [(replica.Replica, "unfolded", unfolded)]


def _join_without_vector() -> list[Patch]:
    """A newcomer does not hold the frontier before it has said something."""
    effect = replica.Replica._effect_roster

    def forgetful(self: Any, operations: list[Any], *rest: Any) -> None:
        effect(self, operations, *rest)
        for operation in operations:
            if isinstance(operation, Join):
                self.stability.known[operation.replica] = dict.fromkeys(self.seen, 1 << 60)

    return [(replica.Replica, "_effect_roster", forgetful)]


def _dots_used_again() -> list[Patch]:
    """A restarted node takes the id that it had."""
    from zlib import crc32  # noqa: PLC0415  # here alone

    def become_replica(self: Any) -> None:
        self.replica.begin(crc32(self.config.name.encode()) + 1)
        self.membership = self.liveness.begin()
        self._roster_seen = -1

    return [(node.Node, "become_replica", become_replica)]


def _leaver_does_not_wait() -> list[Patch]:
    """A leaver ends as soon as it has logged its leave."""

    def check(self: Any) -> None:
        if self._node.state == "leaving":
            self._exit(0, "left")

    return [(leaving.Leaving, "check", check)]


def _gone_never_forgotten() -> list[Patch]:
    """Who is gone stays in the tables."""
    return [(replica.Replica, "_forget", lambda self, gone: None)]


# Section 5: types


def _reset_takes_everything() -> list[Patch]:
    """A reset removes what it has not observed."""
    reset = types.reset
    return [(types, "reset", lambda value, window, dot, context: reset(value, window, dot, LocalContext()))]


def _evicted_here_alone() -> list[Patch]:
    """What is too much goes here, and stays with the others."""

    def submit(self: Any, operation: Any) -> None:
        keyspace = self._node.replica.keyspace
        keyspace.effect(operation, (self._node.replica.me, 1 << 60), 1 << 60, LocalContext())

    return [(memory_limit.MemoryLimit, "_remove", submit)]


def _reset_subtracts() -> list[Patch]:
    """A reset of a counter subtracts what it had observed and keeps the rest of the total."""

    def subtract(self: Any, context: Any) -> None:
        for dot in [d for d in self.increments if context.covers(d)]:
            self.total = register.add(self.total, -self.increments.pop(dot))
        self.assignments = {d: entry for d, entry in self.assignments.items() if not context.covers(d)}
        if not self.assignments:
            self.base = None
        self.counted = bool(self.increments) or self.total != 0

    return [(register.RegisterWindow, "reset", subtract)]


def _removal_takes_everything() -> list[Patch]:
    """A removal from a set removes adds that it has not observed."""
    remove = addwins.SetWindow.remove
    return [
        (
            addwins.SetWindow,
            "remove",
            lambda self, value, elements, context: remove(self, value, elements, LocalContext()),
        )
    ]


def _last_arrival_wins() -> list[Patch]:
    """Among concurrent assignments the one that came last is shown."""
    settle = register.RegisterWindow._settle

    def latest(self: Any) -> None:
        settle(self)
        if self.assignments:
            self.base = list(self.assignments.values())[-1][1]

    return [(register.RegisterWindow, "_settle", latest)]


def _dropped_though_named() -> list[Patch]:
    """Removed elements of a list are dropped though an unstable insertion names them."""

    def around(elements: Any, run: Any) -> None:
        if run.names is None:
            original(elements, run)
        else:
            chunk = run.chunk
            k = chunk.runs.index(run)
            elements.drop_stretch((chunk, k), (chunk, k))

    original = sequence._drop_around
    return [(sequence, "_drop_around", around)]


def _dropped_one_by_one() -> list[Patch]:
    """Removed elements of a list are dropped without regard to those beside them."""

    def around(elements: Any, run: Any) -> None:
        if run.names is None and run.state == DEAD:
            chunk = run.chunk
            k = chunk.runs.index(run)
            elements.drop_stretch((chunk, k), (chunk, k))

    return [(sequence, "_drop_around", around)]


def _residue_left() -> list[Patch]:
    """The runs beside what has become stable are not looked at again."""
    return [(sequence, "_drop_beside", lambda elements, origin, seq, stop: None)]


def _expired_by_own_clock() -> list[Patch]:
    """A key is removed as soon as the clock of the one that set the deadline has passed it."""

    class Hasty:
        """A replica whose members' clocks are all far ahead."""

        def __init__(self, hidden: Any) -> None:
            self.hidden = hidden

        def __getattr__(self, name: str) -> Any:
            if name == "roster":
                return Hasty(self.hidden.roster)
            return (lambda: []) if name == "counted" else getattr(self.hidden, name)

    remove: Any = expiry.remove_passed
    return [(node, "remove_passed", lambda here, limit: remove(Hasty(here), limit))]


def _sizes_counted_as_one() -> list[Patch]:
    """An insertion of several values takes one dot."""
    return [(SequenceInsert, "width", property(lambda insertion: 1))]


COMINGS_AND_GOINGS: Final[dict[str, object]] = {**JOINS, "gossip_interval_ms": 200, "turn_gap_us": 25_000}
"""Members are forgotten while others, who seldom write, have not heard of their last writes."""

MUTANTS: Final = (
    Mutant(
        "evicted here alone",
        "5",
        "what is too much for one is removed there, and kept by the others",
        _evicted_here_alone,
        "calm",
        knobs={"maxmemory": 3000, "evicts": True},
    ),
    Mutant(
        "knowledge before arrival", "3.4", "a vector that may overtake the stream is counted", _knowledge_before_arrival
    ),
    Mutant(
        "report too early",
        "3.4",
        "a report is counted before what it speaks of is here",
        _report_before_what_it_speaks_of,
    ),
    Mutant(
        "causality not checked", "3.2", "an operation is applied before what it had observed", _causality_not_checked
    ),
    Mutant("known by maximum", "3.4", "states of vectors are merged", _merged_by_maximum, "churn"),
    Mutant(
        "dropped not sent",
        "3.1",
        "context differences without the dropped entries",
        _dropped_entries_not_sent,
        "churn",
        knobs=COMINGS_AND_GOINGS,
    ),
    Mutant("raised lost", "3.1", "context differences without a raised entry", _raised_entries_lost, "calm"),
    Mutant("clock not merged", "3.8", "stamps of others leave the clock as it is", _clock_not_merged, "clocks"),
    Mutant("missing is nothing", "4.7", "a missing entry is read as nothing", _missing_entry_is_nothing, "churn"),
    Mutant(
        "missing is everything", "4.7", "a missing entry is read as everything", _missing_entry_is_everything, "churn"
    ),
    Mutant("majority frontier", "3.5", "the frontier leaves the slowest out", _frontier_without_the_slow, "partitions"),
    Mutant(
        "folded by origin",
        "3.6",
        "folded in another order than applied",
        _folded_by_origin,
        "partitions",
        120,
        focus="l",
    ),
    Mutant("window skipped", "3.6", "a window is left out when folding", _window_skipped, "calm"),
    Mutant(
        "window emptied",
        "3.6",
        "folding forgets more than what is stable",
        _window_forgets_too_much,
        "lossy",
        150,
        focus="u",
    ),
    Mutant("EXEC in parts", "3", "a transaction in several batches", _transaction_in_parts, "calm"),
    Mutant("burials at once", "4.4", "the buried stop counting at once", _burials_at_once, "everything", 60),
    Mutant(
        "newcomer serves early", "4.1", "a newcomer serves before it has caught up", _newcomer_serves_early, "churn"
    ),
    Mutant(
        "snapshot vector late",
        "4.1",
        "a value with a vector later than it was read at",
        _snapshot_vector_too_late,
        "churn",
    ),
    Mutant(
        "snapshot goes on late",
        "4.1",
        "a part of a value with a later vector than it was read at",
        _snapshot_goes_on_with_a_later_vector,
        "churn",
        large=True,
        knobs=JOINS,
    ),
    Mutant(
        "parts change",
        "4.1",
        "parts of a collection are read at different instants",
        _parts_change_while_they_are_read,
        "churn",
        focus="h",
        large=True,
        knobs=JOINS,
    ),
    Mutant(
        "chunks change",
        "4.1",
        "parts of a list are read at different instants",
        _chunks_change_while_they_are_read,
        "churn",
        focus="l",
        knobs=JOINS,
    ),
    Mutant(
        "names change",
        "4.1",
        "the values of a shard are read at different instants",
        _fields_change_while_they_are_read,
        "churn",
        large=True,
        knobs=JOINS,
    ),
    Mutant(
        "snapshot applied twice",
        "4.1",
        "operations that a value holds are applied again",
        _snapshot_without_vectors,
        "churn",
    ),
    Mutant(
        "snapshot log short",
        "4.1",
        "its log lacks what is not yet folded",
        _snapshot_log_of_the_log_alone,
        "churn",
        knobs={**JOINS, "fold_budget": 1, "snapshot_step_elements": 4096, "turn_gap_us": 4000},
    ),
    Mutant("join without vector", "4.1", "a newcomer does not hold the frontier", _join_without_vector, "churn"),
    Mutant("dots used again", "2", "a restarted node takes its old id", _dots_used_again, "churn"),
    Mutant("leaver does not wait", "4.2", "a leaver ends before anybody has its leave", _leaver_does_not_wait, "churn"),
    Mutant("never forgotten", "4.7", "who is gone stays in the tables", _gone_never_forgotten, "churn"),
    Mutant("reset takes all", "5", "a reset takes what it has not observed", _reset_takes_everything, "partitions"),
    Mutant("reset subtracts", "5", "a reset subtracts", _reset_subtracts, "partitions", focus="s"),
    Mutant(
        "removal takes all",
        "5",
        "a removal takes adds that it has not observed",
        _removal_takes_everything,
        "partitions",
        focus="u",
    ),
    Mutant(
        "last arrival wins",
        "5",
        "the latest to arrive wins, not the highest stamp",
        _last_arrival_wins,
        "partitions",
        focus="s",
    ),
    Mutant(
        "dropped though named",
        "5",
        "an element that is named is dropped",
        _dropped_though_named,
        "partitions",
        focus="l",
    ),
    Mutant(
        "dropped singly",
        "5",
        "elements are dropped without their neighbours",
        _dropped_one_by_one,
        "lossy",
        200,
        4,
        600,
        focus="l",
    ),
    Mutant("residue left", "5", "the runs beside are not looked at again", _residue_left, "partitions", focus="l"),
    Mutant("expired early", "5", "a key is removed by one clock alone", _expired_by_own_clock, "everything", 120),
    Mutant("one dot for many", "2", "an insertion of several values takes one dot", _sizes_counted_as_one, "calm"),
    *MUTANTS_CHAIN,
    *MUTANTS_MEMBERSHIP,
    *MUTANTS_REHABILITATION,
    *MUTANTS_SWIM,
)


def report(stop_at: int = 1, only: str = "") -> int:
    """Hunt every mutant and print a table; 1 if one was not found within its budget."""
    missed = 0
    print(f"{'rule':<5} {'mutant':<24} {'profile':<11} {'found':>5} {'of':>4}  what it was found by")
    chosen = [mutant for mutant in MUTANTS if only in mutant.name]
    for mutant in chosen:
        result = hunt(mutant, stop_at=stop_at)
        missed += not result.found
        seen = "NOT FOUND" if result.first is None else f"seed {result.first.seed}: {result.first.problem}"
        print(
            f"{mutant.rule:<5} {mutant.name:<24} {mutant.profile:<11} {result.found:>5} {result.runs:>4}  {seen[:110]}",
            flush=True,
        )
    print(f"{len(chosen)} mutants, {missed} not found")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(report(stop_at=3))
