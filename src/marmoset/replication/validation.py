"""What a batch that arrives has to keep to, looked at before anything of it is done (floor 5).

A batch is applied whole or not at all, so whatever can be seen to be wrong is seen first. What is left are breaches
that only show in the middle, of the order of a sequence say; see `Replica.apply` for what becomes of a replica then.
"""

from collections.abc import Container, Iterable
from typing import Final

from marmoset.clocks import Context
from marmoset.codec.messages import Batch
from marmoset.codec.operations import (
    AnyOperation,
    Inside,
    Join,
    Resubmit,
    RosterOperation,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
)
from marmoset.crdts.types import check_operation
from marmoset.errors import PeerError
from marmoset.ids import Dot, ReplicaId, id_text

CONTEXT_MAX: Final = 4096
"""Replicas that a context may name: as many as a message can."""


def check_batch(
    batch: Batch, operations: list[AnyOperation], context: Context, known: Iterable[Container[ReplicaId]]
) -> None:
    """Refuse a batch that no correct replica makes; `context` is what its origin has behind it, and `known` are the
    tables of replicas that were members already. O(batch).

    Raises:
        PeerError: nothing was changed.
    """
    if len(context.vector) > CONTEXT_MAX:
        raise PeerError(f"a context of more than {CONTEXT_MAX} replicas")
    count = joins = roster = 0
    for operation in operations:
        check_operation(operation)
        count += operation.width
        inner = operation.operation if isinstance(operation, Inside) else operation
        if isinstance(inner, (SequenceInsert, SequenceRemove, SequenceAssign)):
            for dot in _named(inner):
                if not context.covers(dot):
                    raise PeerError("an operation on an element that its origin did not have")
        elif isinstance(operation, RosterOperation) and not isinstance(operation, Resubmit):
            roster += 1
            if isinstance(operation, Join):
                joins += 1
                if any(operation.replica in table for table in known):
                    raise PeerError(f"a join of {id_text(operation.replica)}, which was a member before")
    if count != batch.count:
        raise PeerError("a batch that does not have the number of operations that it names")
    if roster not in (0, len(operations)):
        raise PeerError("operations on the roster and on keys in one batch")
    if joins > 1 and len({operation.replica for operation in operations if isinstance(operation, Join)}) < joins:
        raise PeerError("two joins of one replica")


def _named(operation: SequenceInsert | SequenceRemove | SequenceAssign) -> list[Dot]:
    """The last elements that an operation on a sequence names."""
    if isinstance(operation, SequenceInsert):
        return [dot for dot in (operation.left, operation.right) if dot is not None]
    if isinstance(operation, SequenceAssign):
        return [operation.element]
    return [(replica, seq + count - 1) for replica, seq, count in operation.ranges]
