"""Faults put in on purpose, DESIGN.md section 3.7: operations that have no windows because all that is unstable was
observed (`replication.chain`)."""

from typing import Any, Final

from marmoset import keyspace
from marmoset.codec.runs import Pushes
from marmoset.crdts import plain_slots, sequence_chain, slots
from marmoset.crdts.chains import OBSERVING
from marmoset.crdts.sequence import Sequence, insert
from marmoset.ids import Dot
from marmoset.replication import chain
from marmoset.sim.hunting import JOINS, Mutant, Patch

ALWAYS: Final[dict[str, Any]] = {"chain_max": 1 << 18, "chain_step": 1}


def _chain_without_end() -> list[Patch]:
    """What has not observed all of the log is applied as if it had."""
    return [(chain.Chain, "admits", lambda self, context: True)]


def _windows_put_off_for_ever() -> list[Patch]:
    """What was noted when a chain ended is not looked at again."""
    return [(slots.Slots, "wind", lambda self, name: len(self.unwound.pop(name, ())))]


def _snapshot_without_noted() -> list[Patch]:
    """A snapshot lacks the windows that were put off."""
    return [(slots.Slots, "wind_all", lambda self: None)]


def _pushes_as_one() -> list[Patch]:
    """Of what was pushed one by one, the window knows one insertion of all."""

    def insertions(piece: sequence_chain.Piece) -> list[tuple[Dot, int, Dot | None, Dot | None]]:
        return [(piece.dot, piece.count, piece.left, piece.right)]

    return [(sequence_chain.Piece, "insertions", insertions)]


def _pushes_turned_round() -> list[Patch]:
    """Whoever receives what was pushed to the front pushes it to the back."""

    def push(sequence: Sequence, pushes: Pushes) -> None:
        insert(sequence, None, pushes.dot, OBSERVING, pushes.left, pushes.right, pushes.values)

    return [(plain_slots, "push", push)]


def _laid_aside_for_good() -> list[Patch]:
    """What was laid aside is thrown away when something comes to its key."""

    def bring_back(self: keyspace.Keyspace, held: slots.Slots, key: bytes) -> None:
        held.laid.pop(key, None)
        held.take_flushed(key)

    return [(keyspace.Keyspace, "_bring_back", bring_back)]


def _laid_aside_unobserved() -> list[Patch]:
    """A reset lays aside what it has not observed, too."""
    lay_aside = plain_slots.PlainSlots.lay_aside

    def boldly(self: plain_slots.PlainSlots, name: bytes, dot: Dot) -> bool:
        is_observing, self.notes.is_observing = self.notes.is_observing, True
        try:
            return lay_aside(self, name, dot)
        finally:
            self.notes.is_observing = is_observing

    return [(plain_slots.PlainSlots, "lay_aside", boldly)]


MUTANTS_CHAIN: Final = (
    Mutant(
        "laid aside for good",
        "3.5",
        "what a removal has laid aside is not found by what comes to its key",
        _laid_aside_for_good,
        "partitions",
        focus="l",
    ),
    Mutant(
        "laid aside unobserved",
        "3.5",
        "a removal lays aside elements that it has not observed",
        _laid_aside_unobserved,
        "partitions",
        focus="l",
    ),
    Mutant(
        "pushes as one",
        "5.1",
        "what was pushed to the front one by one is wound as one insertion",
        _pushes_as_one,
        "partitions",
        focus="l",
        knobs=ALWAYS,
    ),
    Mutant(
        "pushes turned round",
        "5.1",
        "what is pushed to the front in a run goes to the back elsewhere",
        _pushes_turned_round,
        "partitions",
        knobs=ALWAYS,
    ),
    Mutant(
        "chain without end",
        "3.7",
        "what has not observed the log is applied without windows",
        _chain_without_end,
        "partitions",
        knobs=ALWAYS,
    ),
    Mutant(
        "windows put off",
        "3.7",
        "windows that were put off are never made",
        _windows_put_off_for_ever,
        "partitions",
        knobs=ALWAYS,
    ),
    Mutant(
        "snapshot of a chain",
        "4.1",
        "a snapshot lacks windows that were put off",
        _snapshot_without_noted,
        "churn",
        120,
        knobs={**ALWAYS, **JOINS},
    ),
)
