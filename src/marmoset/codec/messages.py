"""The messages between nodes (floor 2).

A stream begins with a `Hello` from either side and then carries, in each direction, batches in the sender's own apply
order with reports behind what they speak of (DESIGN.md 3.2, 3.4). Vectors are written as lists of pairs, sorted by
replica. `encode` and `decode` are the only ways in and out.
"""

from typing import Annotated, Final

import msgspec

from marmoset.clocks import VersionVector
from marmoset.codec.wire import Id, Seq, Text, WireDot
from marmoset.errors import PeerError

PROTOCOL_VERSION: Final = 6

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Vector = Annotated[list[tuple[Id, Count]], msgspec.Meta(max_length=4096)]
Ids = Annotated[list[Id], msgspec.Meta(max_length=4096)]

GRAVES_MAX: Final = 1 << 20
"""How many of those that are gone may be told of: each member that was lost within `grave_memory` is one."""

ROLE_MEMBER: Final = 0
ROLE_NEWCOMER: Final = 1


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What all messages have in common: nothing but the way they are written."""


class Hello(Message, tag=1, frozen=True):
    """Who speaks, the first message of either side. `line` is the sender's line of sponsors, nearest first."""

    protocol: Count
    cluster: Text
    group: Count
    replica: Id
    name: Text
    address: Text
    role: Count
    wall_ms: Count
    vector: Vector
    line: Ids


class Refuse(Message, tag=2, frozen=True):
    """Why the sender will not go on with this link; it closes behind this.

    `final_seq` is the proof of a burial: how far the group has the operations of `buried`, who is whom it speaks to or
    one of its line of sponsors. Both are 0 where there is no gravestone.
    """

    code: Text
    reason: Annotated[str, msgspec.Meta(max_length=4096)]
    final_seq: Count
    buried: Count = 0


class Batch(Message, tag=3, frozen=True):
    """Operations that are applied all or not at all: `count` dots from `first` on.

    `raised` and `dropped` are the difference of the origin's context from its context before its previous batch;
    `state` numbers the origin's vector after it.
    """

    origin: Id
    first: Seq
    count: Seq
    stamp: Count
    state: Count
    raised: Vector
    dropped: Ids
    operations: bytes

    @property
    def last(self) -> int:
        """The seq of its last operation."""
        return self.first + self.count - 1


class KnownRow(Message, frozen=True):
    """What a member is known to have, and the state and clock that came with it."""

    replica: Id
    state: Count
    clock: Count
    vector: Vector


class Report(Message, tag=4, frozen=True):
    """The sender's own row and the rows that changed since its last report on this link."""

    own: KnownRow
    rows: Annotated[list[KnownRow], msgspec.Meta(max_length=4096)]


class Gossip(Message, tag=5, frozen=True):
    """A meeting: own id and clock, version vector, what the sender knows of everyone. Symmetrical: it is answered.

    `counter` is the sender's incarnation, and `peers` what it holds of everyone, as `Swim.digest` has it.
    `unreachable` says for how many milliseconds, without a break, the sender has found members unreachable, `stalled`
    for how many they have lacked something and taken nothing.
    """

    replica: Id
    counter: Count
    wall_ms: Count
    vector: Vector
    peers: Vector
    unreachable: Vector
    stalled: Vector
    echo_ms: Count
    answer: bool


class CaughtUp(Message, tag=6, frozen=True):
    """Everything that the sender had when the stream began is before this."""


class Resume(Message, tag=7, frozen=True):
    """Begin the stream again from this vector, leaving out the origins that the sender of this hears directly."""

    vector: Vector
    direct: Ids


class Resumed(Message, tag=8, frozen=True):
    """The stream begins again behind this."""


class Direct(Message, tag=9, frozen=True):
    """From now on the origins named may be left out: their own streams reach the sender of this."""

    origins: Ids


class RosterRow(Message, frozen=True):
    """One replica of the roster. `dead` says that its burial has taken effect at the sponsor."""

    replica: Id
    name: Text
    address: Text
    join: WireDot | None
    born: bool
    left: WireDot | None
    buried: WireDot | None
    dead: bool


class SnapshotBegin(Message, tag=10, frozen=True):
    """The tables as they stand just behind the newcomer's join; its log follows, then the values.

    A gravestone is (replica, final seq, when, in milliseconds since 1970); what was resubmitted is (replica, when,
    ranges of seqs).
    """

    group: Id
    replica: Id
    vector: Vector
    stamp: Count
    roster: Annotated[list[RosterRow], msgspec.Meta(max_length=4096)]
    graves: Annotated[list[tuple[Id, Count, Count]], msgspec.Meta(max_length=GRAVES_MAX)]
    resubmitted: Annotated[list[tuple[Id, Count, list[tuple[Seq, Seq]]]], msgspec.Meta(max_length=GRAVES_MAX)]
    contexts: Annotated[list[tuple[Id, Vector]], msgspec.Meta(max_length=4096)]
    known: Annotated[list[KnownRow], msgspec.Meta(max_length=4096)]
    shards: Count
    keys: Count


class SnapshotPart(Message, tag=11, frozen=True):
    """Values of `shards` shards from `first` on, all read at `vector`; a shard may come in several parts."""

    first: Count
    shards: Count
    vector: Vector
    entries: bytes


class SnapshotEnd(Message, tag=12, frozen=True):
    """All values were sent; what was logged since the join follows as batches."""


Dots = list[tuple[bytes, Annotated[list[WireDot], msgspec.Meta(min_length=1)]]]


class SnapshotChanges(Message, tag=13, frozen=True):
    """What the sponsor remembers of changes since there are gravestones, in parts; the last has `blind` and flushes."""

    ended: Dots
    grown: Dots
    flushes: Annotated[list[tuple[Id, Count]], msgspec.Meta(max_length=GRAVES_MAX)]
    blind: Annotated[list[Id], msgspec.Meta(max_length=GRAVES_MAX)]


class Waits(Message, tag=14, frozen=True):
    """The sender waits for a group to begin: its address and join list, whom it prefers and whom it has voted for, both
    empty at first, and whether it asks for a vote."""

    address: Text
    joins: Annotated[list[Text], msgspec.Meta(max_length=4096)]
    prefers: Text
    voted: Text
    asks: bool


class SnapshotProgress(Message, tag=15, frozen=True):
    """What a newcomer has received so far. It says so again and again until it is born, as a sign of life too."""

    keys: Count
    received_bytes: Count


AnyMessage = (
    Hello
    | Refuse
    | Batch
    | Report
    | Gossip
    | CaughtUp
    | Resume
    | Resumed
    | Direct
    | SnapshotBegin
    | SnapshotPart
    | SnapshotEnd
    | SnapshotChanges
    | Waits
    | SnapshotProgress
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[AnyMessage]] = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage) -> bytes:
    """The bytes of a message; equal messages give equal bytes. O(length)."""
    return _encoder.encode(message)


def decode(data: bytes) -> AnyMessage:
    """The message that `data` is. O(length).

    Raises:
        PeerError: it is none.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise PeerError(f"a message that cannot be read: {problem}") from problem


def vector_pairs(vector: VersionVector) -> list[tuple[int, int]]:
    """A vector as it is written: pairs in the order of replicas. O(n log n)."""
    return sorted(vector.items())
