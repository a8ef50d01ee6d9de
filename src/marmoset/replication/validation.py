"""What a batch that arrives has to keep to, looked at before anything of it is done (floor 5).

A batch is applied whole or not at all, so whatever can be seen to be wrong is seen first. What is left are breaches
that only show in the middle, of the order of a sequence say; see `Replica.apply` for what becomes of a replica then.
"""

from collections.abc import Container, Iterable
from typing import Final

from marmoset.clocks import Context
from marmoset.codec.messages import Batch
from marmoset.codec.operations import (
    Assign,
    Inside,
    Join,
    MapAssign,
    Reset,
    Resubmit,
    RosterOperation,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    width_of,
)
from marmoset.codec.runs import SCORE_RUN, Part, Pushes, Run
from marmoset.crdts.types import check_operation
from marmoset.errors import PeerError
from marmoset.ids import Dot, ReplicaId, id_text

CONTEXT_MAX: Final = 4096
"""Replicas that a context may name: as many as a message can."""


def check_batch(batch: Batch, parts: list[Part], context: Context, known: Iterable[Container[ReplicaId]]) -> bool:
    """Refuse a batch that no correct replica makes; `context` is what its origin has behind it, and `known` are the
    tables of replicas that were members already. Whether the batch has operations on the roster. O(batch).

    Raises:
        PeerError: nothing was changed.
    """
    if len(context.vector) > CONTEXT_MAX:
        raise PeerError(f"a context of more than {CONTEXT_MAX} replicas")
    count = joins = roster = claims = 0
    for operation in parts:
        if isinstance(operation, Run):
            _check_run(operation)
            count += operation.count
            continue
        if isinstance(operation, Pushes):
            _check_named([operation.left, operation.right], context)
            count += len(operation.values)
            continue
        kind = type(operation)
        if kind is Assign or kind is SetAdd or kind is MapAssign or kind is Reset:  # nothing can be wrong with these
            count += 1
            continue
        check_operation(operation)
        count += width_of(operation)
        inner = operation.operation if isinstance(operation, Inside) else operation
        if isinstance(inner, (SequenceInsert, SequenceRemove, SequenceAssign)):
            _check_named(_named(inner), context)
        elif isinstance(operation, Resubmit):
            claims += 1
        elif isinstance(operation, RosterOperation):
            roster += 1
            if isinstance(operation, Join):
                joins += 1
                if any(operation.replica in table for table in known):
                    raise PeerError(f"a join of {id_text(operation.replica)}, which was a member before")
    if count != batch.count:
        raise PeerError("a batch that does not have the number of operations that it names")
    if roster not in (0, len(parts)):
        raise PeerError("operations on the roster and on keys in one batch")
    if joins > 1 and len({operation.replica for operation in parts if isinstance(operation, Join)}) < joins:
        raise PeerError("two joins of one replica")
    return roster + claims > 0


def _check_run(run: Run) -> None:
    """What its types leave open: how scores are written."""
    if run.tag == SCORE_RUN:
        for at in range(run.count):
            check_operation(run.operation(at))


def _check_named(named: list[Dot | None], context: Context) -> None:
    for dot in named:
        if dot is not None and not context.covers(dot):
            raise PeerError("an operation on an element that its origin did not have")


def _named(operation: SequenceInsert | SequenceRemove | SequenceAssign) -> list[Dot | None]:
    """The last elements that an operation on a sequence names."""
    if isinstance(operation, SequenceInsert):
        return [operation.left, operation.right]
    if isinstance(operation, SequenceAssign):
        return [operation.element]
    return [(replica, seq + count - 1) for replica, seq, count in operation.ranges]
