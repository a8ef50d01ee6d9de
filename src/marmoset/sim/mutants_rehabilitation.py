"""Faults put in on purpose, DESIGN.md 4.6 (beside the floors): the writes of one that was buried alive."""

from typing import Any, Final

from marmoset.codec.operations import AnyOperation
from marmoset.ids import Dot
from marmoset.node import rehabilitating
from marmoset.replication import claims, memory, oplog, rehabilitation, replica, report, snapshot
from marmoset.sim.hunting import Mutant, Patch
from marmoset.sim.network import Conditions


def _everything_submitted() -> list[Patch]:
    """What others have changed meanwhile does not matter."""
    return [(rehabilitation.Rehabilitation, "_objection", lambda self, life, operation: None)]


def _final_seq_ignored() -> list[Patch]:
    """What the group has already is submitted again."""
    begin, submit = rehabilitation.Exile.__init__, rehabilitation.Rehabilitation._submit_batch
    final_seq = replica.Replica.final_seq
    submitting = [False]

    def forgetful(self: Any, *args: Any, **named: Any) -> None:
        begin(self, *args, **named)
        self.final_seq = 0

    def submit_all(self: Any, exile: Any, entry: Any) -> None:
        submitting[0] = True
        submit(self, exile, entry)
        submitting[0] = False

    def unasked(self: Any, gone: int) -> int:
        return 0 if submitting[0] else final_seq(self, gone)

    return [
        (rehabilitation.Exile, "__init__", forgetful),
        (rehabilitation.Rehabilitation, "_submit_batch", submit_all),
        (replica.Replica, "final_seq", unasked),
    ]


def _stamps_compared() -> list[Patch]:
    """Whether others changed a key since is judged by who was stamped later."""
    stamps: dict[Dot, int] = {}
    mine = [0]
    begin, submit = oplog.LogEntry.__init__, rehabilitation.Rehabilitation._submit

    def note(self: Any, origin: int, first: int, last: int, stamp: int, *rest: Any) -> None:
        begin(self, origin, first, last, stamp, *rest)
        stamps.update(((origin, seq), stamp) for seq in range(first, last + 1))

    def remember(self: Any, life: Any, operation: AnyOperation, dot: Dot, stamp: int) -> bool:
        mine[0] = stamp
        return submit(self, life, operation, dot, stamp)

    def is_changed(self: Any, life: Any, key: bytes, *, ends_only: bool) -> bool:
        dots = [dot for each in (self.replica.memory, self._recent) for dot in (*each.ends(key), *each.growths(key))]
        return any(dot[0] not in self.lineage and stamps.get(dot, 0) > mine[0] for dot in dots)

    return [
        (oplog.LogEntry, "__init__", note),
        (rehabilitation.Rehabilitation, "_submit", remember),
        (rehabilitation.Rehabilitation, "_is_changed", is_changed),
    ]


def _memory_stays_behind() -> list[Patch]:
    """Newcomers do not get what their sponsor remembers of changes."""
    return [(snapshot.SnapshotSink, "changes", lambda self, message: None)]


def _memory_begun_late() -> list[Patch]:
    """Changes are remembered from the gravestone on, not from the moment at which the burial takes effect."""
    forget = replica.Replica._forget

    def begin(self: Any, gone: int) -> None:
        forget(self, gone)
        if gone in self.roster.graves:
            self.memory.clear()

    return [(replica.Replica, "_forget", begin)]


def _adds_forgotten() -> list[Patch]:
    """What others have added is not remembered: an overwrite takes it along."""
    return [(memory.ChangeMemory, "growths", lambda self, key: iter(()))]


def _claims_not_asked() -> list[Patch]:
    """Nobody asks whether an operation was submitted before."""
    return [(claims.Claims, "covers", lambda self, dot: False)]


def _held_thrown_away() -> list[Patch]:
    """What was held of others who are buried and gone is dropped."""

    def drop(exile: Any, *rest: Any) -> int:
        exile.held.clear()
        return 0

    modules = (rehabilitation, rehabilitating)
    return [(module, "sort_held", drop) for module in modules]


def _report_thrown_away() -> list[Patch]:
    """What is not submitted is in no report."""
    return [(report.Report, "put", lambda self, row: None)]


def _wiped() -> list[Patch]:
    """Nothing of one's own is kept."""
    gather = rehabilitation.Exile.gather

    def nothing(self: Any, *args: Any) -> bool:
        more = gather(self, *args)
        self.own.clear()
        return more

    return [(rehabilitation.Exile, "gather", nothing)]


def _withheld_without_reason() -> list[Patch]:
    """Whatever overwrites or removes is left to the operator."""
    return [
        (rehabilitation.Rehabilitation, "_is_changed", lambda self, life, key, *, ends_only: True),
    ]


def _batches_torn() -> list[Patch]:
    """The operations of a batch are submitted in batches of their own."""
    do = rehabilitation.do

    def torn(replica: Any, *rest: Any) -> None:
        do(replica, *rest)
        replica.commit()

    return [(rehabilitation, "do", torn)]


OFTEN: Final[dict[str, object]] = {"weights": {"exile": 1}}
"""Somebody is always away, and comes back."""
AGAIN: Final[dict[str, object]] = {
    **OFTEN,
    "submit_operations": 1,
    "turn_gap_us": 25_000,
    "commands_max": 3,
    "log_budget": 1 << 28,
    "removal_share": 0.1,
    "focus": "u",
    "conditions": Conditions(20, 1000),
}
"""Whoever is away has much to submit, so that it is buried again in the middle of that."""
ADDED_TO: Final[dict[str, object]] = {
    **AGAIN,
    "focus": "z",
    "keys": 8,
    "removal_share": 0.15,
    "submit_operations": 500,
}
"""What was overwritten by one who was away, others have mostly added to."""


def _mutant(name: str, says: str, patches: Any, knobs: dict[str, object] = OFTEN, steps: int = 500) -> Mutant:
    return Mutant(name, "4.6", says, patches, "churn", 60, 5, steps, knobs=knobs)


MUTANTS_REHABILITATION: Final[tuple[Mutant, ...]] = (
    _mutant("everything submitted", "what others changed does not matter", _everything_submitted),
    _mutant("final seq ignored", "what the group has is submitted again", _final_seq_ignored),
    _mutant("stamps compared", "changes since are judged by stamps", _stamps_compared),
    _mutant("memory stays behind", "newcomers do not get it", _memory_stays_behind),
    _mutant("memory begun late", "begun at the gravestone", _memory_begun_late),
    _mutant("adds forgotten", "an overwrite takes what others added", _adds_forgotten, ADDED_TO, 1200),
    _mutant("claims not asked", "what was submitted is submitted again", _claims_not_asked, AGAIN, 1500),
    _mutant("held thrown away", "what was held of others is dropped", _held_thrown_away),
    _mutant("report thrown away", "what is withheld is in no report", _report_thrown_away),
    _mutant("wiped", "nothing of one's own is kept", _wiped),
    _mutant("withheld without reason", "every overwrite is withheld", _withheld_without_reason),
    _mutant("batches torn", "a batch comes back in several", _batches_torn),
)
