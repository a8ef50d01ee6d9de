"""Identities: replicas and dots (floor 1).

A `ReplicaId` is a random integer of 60 bits, made when a node starts and never used again: memory is gone with a
process, so a restarted node is a new replica. Sixty bits stay within what mypyc keeps unboxed. Zero is not an id.

A `Dot` is `(replica, seq)`: it names one operation. `seq` counts a replica's own operations from 1 without gaps.
Both are plain values, since they are made and compared on every write.
"""

import random
from typing import Final

ReplicaId = int
Dot = tuple[int, int]

ID_BITS: Final = 60
ID_TEXT_LENGTH: Final = ID_BITS // 4


def new_replica_id(rng: random.Random) -> ReplicaId:
    """A fresh id, drawn from `rng`; never 0."""
    return rng.getrandbits(ID_BITS) or 1


def id_text(replica: ReplicaId) -> str:
    """How an id is shown to people: fifteen hexadecimal digits.

    >>> id_text(255)
    '0000000000000ff'
    """
    return f"{replica:0{ID_TEXT_LENGTH}x}"


def parse_id(text: str) -> ReplicaId | None:
    """The id that `id_text` shows as `text`, or None when it is no id."""
    if len(text) != ID_TEXT_LENGTH or any(c not in "0123456789abcdef" for c in text):
        return None
    return int(text, 16) or None


def is_replica_id(value: int) -> bool:
    """Whether an integer that came from elsewhere can be an id."""
    return 0 < value < 1 << ID_BITS
