"""What SWIM asks of whoever drives it (floor 6)."""

from dataclasses import dataclass

from marmoset.codec.packets import Announcement
from marmoset.ids import ReplicaId


@dataclass(frozen=True, slots=True)
class SendPacket:
    """Send a datagram; it may be lost."""

    address: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ProbeLink:
    """Ask a member for a sign of life over a TCP link; `Swim.handle_link_heard` tells of it."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class Exchange:
    """Exchange digests with a member over a TCP link, in both directions."""

    replica: ReplicaId


@dataclass(frozen=True, slots=True)
class Changed:
    """A member has gone from one state to another."""

    replica: ReplicaId
    before: str
    state: str


@dataclass(frozen=True, slots=True)
class Announced:
    """Somebody who is not followed says who it is; whether it is a member is decided elsewhere."""

    announcement: Announcement


SwimEffect = SendPacket | ProbeLink | Exchange | Changed | Announced
