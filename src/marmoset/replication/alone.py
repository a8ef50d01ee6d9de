"""Writes in a group of one, without operations: nobody else is told, and everything is stable at once (floor 5)."""

from marmoset.codec.operations import Scalar, SequenceInsert
from marmoset.crdts.sequence import Sequence
from marmoset.replication.replica import Replica


def push_alone(replica: Replica, key: bytes, sequence: Sequence, values: list[Scalar], is_front: bool) -> bool:
    """What `Replica.submit` does for an insertion at an end of the list that a key holds; False where there are others,
    or somebody may come back who has to be told, and nothing was done. O(log n + values)."""
    keyspace = replica.keyspace
    if keyspace.tracking or replica.roster.graves or replica.roster.dead:
        return False
    stamp = replica.begin_write()
    listener = replica.listener
    left, right = (None, None) if listener is None else sequence.neighbours(0 if is_front else len(sequence))
    dot = (replica.me, replica.next_seq)
    if not keyspace.push_alone(key, dot, values, is_front):
        return False
    replica.next_seq += len(values)
    if listener is not None:
        listener(SequenceInsert(key, left, right, values), dot, stamp)
    return True
