"""The datagrams of membership (floor 2): what fits one packet, and nothing larger.

A packet says which cluster it belongs to, who sends it under which incarnation, one body (`Ping`, `Ack`, `Nack`,
`PingRequest`, `Gone` or nothing but rumours: `Rumours`), and as many updates as there is room for. An update is either
a `Claim`, that a member is alive, suspect, unreachable or has left, or an `Announcement`, what one says of itself.

A packet has at most `PACKET_BYTES_MAX` bytes, of which `SEALING_BYTES` are left for encryption. Updates are encoded
once and put into packets as bytes, so that what a rumour costs is known before it is sent. `decode_packet` is bounded:
a packet that is too long is not looked at, and every text and list has its limit.
"""

from typing import Annotated, Final

import msgspec

from marmoset.codec.wire import Id
from marmoset.errors import PeerError

PACKET_PROTOCOL: Final = 1
PACKET_BYTES_MAX: Final = 1400
SEALING_BYTES: Final = 64
PACKET_ROOM: Final = PACKET_BYTES_MAX - SEALING_BYTES
"""What a packet may have before it is sealed."""
INCARNATION_LIMIT: Final = 1 << 60

SAYS_ALIVE: Final = 0
SAYS_SUSPECT: Final = 1
SAYS_UNREACHABLE: Final = 2
SAYS_LEFT: Final = 3

Kind = Annotated[int, msgspec.Meta(ge=0, le=3)]
Incarnation = Annotated[int, msgspec.Meta(ge=0, lt=INCARNATION_LIMIT)]
PacketSeq = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
ShortText = Annotated[str, msgspec.Meta(max_length=64)]
AddressText = Annotated[str, msgspec.Meta(max_length=262)]


class PacketPart(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """What all parts of a packet have in common: the way they are written."""


class Ping(PacketPart, tag=1, frozen=True):
    """Are you there, `target`? A restarted node on the same address is somebody else, and does not answer for it."""

    seq: PacketSeq
    target: Id


class Ack(PacketPart, tag=2, frozen=True):
    """`target` is there, under this incarnation; said by itself, or by a helper that it has answered."""

    seq: PacketSeq
    target: Id
    incarnation: Incarnation


class Nack(PacketPart, tag=3, frozen=True):
    """The helper is well, but has got no answer of the target."""

    seq: PacketSeq


class PingRequest(PacketPart, tag=4, frozen=True):
    """Ping `target` for me. Its address is not said: a helper pings nobody whom it does not follow itself."""

    seq: PacketSeq
    target: Id


class Gone(PacketPart, tag=5, frozen=True):
    """At the address of `target` there is another replica now: its process has ended."""

    seq: PacketSeq
    target: Id


class Rumours(PacketPart, tag=6, frozen=True):
    """Nothing but updates."""


AnyBody = Ping | Ack | Nack | PingRequest | Gone | Rumours


class Details(PacketPart, frozen=True):
    """What a member says of itself: name, address of its links, address for clients, version."""

    name: ShortText
    address: AddressText
    clients: AddressText
    version: ShortText


class Claim(PacketPart, tag=1, frozen=True):
    """What `by` says about a member under an incarnation of it."""

    kind: Kind
    subject: Id
    incarnation: Incarnation
    by: Id


class Announcement(PacketPart, tag=2, frozen=True):
    """A member is alive, and what it says of itself."""

    subject: Id
    incarnation: Incarnation
    details: Details


AnyUpdate = Claim | Announcement


class Packet(PacketPart, frozen=True):
    """One datagram."""

    protocol: PacketSeq
    cluster: ShortText
    sender: Id
    incarnation: Incarnation
    body: AnyBody
    updates: Annotated[list[AnyUpdate], msgspec.Meta(max_length=255)]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Packet]] = msgspec.msgpack.Decoder(Packet)
UPDATES_MAX: Final = 255
_LIST_HEAD_BYTES: Final = 3


def encode_update(update: AnyUpdate) -> bytes:
    """The bytes of an update, as `encode_packet` takes them."""
    return _encoder.encode(update)


def encode_head(cluster: str, sender: int, incarnation: int, body: AnyBody) -> bytes:
    """A packet without its updates, to be completed by `join_updates`."""
    return _encoder.encode(Packet(PACKET_PROTOCOL, cluster, sender, incarnation, body, []))[:-1]


def room_after(head: bytes) -> int:
    """The bytes that the updates of a packet may have."""
    return PACKET_ROOM - len(head) - _LIST_HEAD_BYTES


def join_updates(head: bytes, updates: list[bytes]) -> bytes:
    """The whole packet; the caller has seen to it that the updates fit. O(length)."""
    count = len(updates)
    if not count:
        return head + b"\x90"
    if count < 16:
        return head + bytes((0x90 | count,)) + b"".join(updates)
    assert count <= UPDATES_MAX
    return head + b"\xdc" + count.to_bytes(2, "big") + b"".join(updates)


def decode_packet(data: bytes) -> Packet:
    """The packet that `data` is. O(length), and the length is bounded.

    Raises:
        PeerError: it is none.
    """
    if len(data) > PACKET_BYTES_MAX:
        raise PeerError(f"a packet of {len(data)} bytes, where {PACKET_BYTES_MAX} are allowed")
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as problem:
        raise PeerError(f"a packet that cannot be read: {problem}") from problem
