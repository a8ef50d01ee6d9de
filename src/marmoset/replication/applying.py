"""What a batch of somebody else does to the keys, once it is checked (floor 5).

Runs go by themselves as long as they need no more than plain values (`Keyspace.effect_run`); whatever needs more is
done one by one, and so is what stands alone.
"""

from typing import Final, final

from marmoset.clocks import Context
from marmoset.codec.messages import Batch
from marmoset.codec.operations import AnyOperation, RosterOperation, width_of
from marmoset.codec.runs import Part, Pushes, Run
from marmoset.keyspace import Keyspace
from marmoset.replication.chain import Chain


@final
class Applying:
    """One batch on its way into the keyspace."""

    __slots__ = ("_batch", "_chain", "_context", "_keyspace", "done")

    def __init__(self, batch: Batch, context: Context, keyspace: Keyspace, chain: Chain) -> None:
        self._batch: Final = batch
        self._context: Final = context
        self._keyspace: Final = keyspace
        self._chain: Final = chain
        self.done = 0
        """Not 0 once anything is done."""

    def effect(self, parts: list[Part]) -> None:
        """Do all operations on keys. Costs: those of the types."""
        keyspace = self._keyspace
        seq = self._batch.first
        for part in parts:
            if isinstance(part, Run):
                at, count = 0, part.count
                while (at := keyspace.effect_run(part, at)) < count:
                    self.done += at
                    self._effect_one(part.operation(at), seq + at)
                    at += 1
                seq += count
            elif isinstance(part, Pushes):
                if not keyspace.effect_pushes(part):
                    for at in range(len(part.values)):
                        self._effect_one(part.operation(at), seq + at)
                seq += len(part.values)
            else:
                if not isinstance(part, RosterOperation):
                    self._effect_one(part, seq)
                seq += width_of(part)
            self.done += 1

    def _effect_one(self, operation: AnyOperation, seq: int) -> None:
        batch = self._batch
        if not self._keyspace.effect(operation, (batch.origin, seq), batch.stamp, self._context):
            self._chain.plain = False
        self.done += 1
