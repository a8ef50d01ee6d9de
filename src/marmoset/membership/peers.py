"""What is known of one other member (floor 6), and the trail of evidence for why it is held what it is held."""

from collections import deque
from typing import Final, NamedTuple, final

from marmoset.codec.packets import Details
from marmoset.ids import ReplicaId
from marmoset.membership.phi import Arrivals
from marmoset.membership.states import ALIVE
from marmoset.membership.suspicion import Suspicion

TRAIL_LENGTH: Final = 16

PROBE_FAILED: Final = "no answer to a probe"
SUSPECTED: Final = "suspected"
CONFIRMED: Final = "suspicion confirmed"
REFUTED: Final = "refuted"
UNREACHABLE_SINCE: Final = "unreachable"
HEARD_AGAIN: Final = "heard again"
LEFT: Final = "left"
REPLACED: Final = "another replica answers at its address"
BY_HELPER: Final = "answered through a helper only"
BY_LINK: Final = "answered over a TCP link only"
EVIDENCE: Final = (
    PROBE_FAILED,
    SUSPECTED,
    CONFIRMED,
    REFUTED,
    UNREACHABLE_SINCE,
    HEARD_AGAIN,
    LEFT,
    REPLACED,
    BY_HELPER,
    BY_LINK,
)
"""What a trail may say."""


class Evidence(NamedTuple):
    """One event in a trail: `by` is who found or said it, `incarnation` that of the member in question."""

    at_ms: int
    what: str
    by: ReplicaId
    incarnation: int


@final
class Peer:
    """One other member. What few members need (suspicion, trail, pauses) is made when it is needed."""

    __slots__ = (
        "address",
        "arrivals",
        "details",
        "heard_ms",
        "incarnation",
        "is_told",
        "replica",
        "since_ms",
        "state",
        "suspicion",
        "trail",
    )

    def __init__(self, replica: ReplicaId, address: str, now_ms: int) -> None:
        self.replica = replica
        self.address = address
        self.details: Details | None = None
        self.is_told = False
        """It has answered a packet that announced us."""
        self.state = ALIVE
        self.since_ms = now_ms
        """When it came to be in its state."""
        self.incarnation = 0
        self.heard_ms = now_ms
        self.arrivals: Arrivals | None = None
        self.suspicion: Suspicion | None = None
        self.trail: deque[Evidence] | None = None

    def heard(self, now_ms: int) -> None:
        """Something has come from it."""
        if self.arrivals is None:
            self.arrivals = Arrivals()
        elif now_ms > self.heard_ms:
            self.arrivals.note(now_ms - self.heard_ms)
        self.heard_ms = now_ms

    def note(self, now_ms: int, what: str, by: ReplicaId) -> None:
        """Add to the trail; the oldest entry makes room. The same thing again and again is kept once, as the latest."""
        if self.trail is None:
            self.trail = deque(maxlen=TRAIL_LENGTH)
        entry = Evidence(now_ms, what, by, self.incarnation)
        if self.trail and self.trail[-1][1:] == entry[1:]:
            self.trail[-1] = entry
        else:
            self.trail.append(entry)
