"""Links and their handshake (floor 7).

Either side of a link sends a `Hello` first and judges the other's. `judge` is a pure function from what is known to a
verdict; the node only carries verdicts out. A refusal goes with a code of this table:

| code | meaning | what the refused side does |
| --- | --- | --- |
| `cluster`, `group`, `protocol` | another cluster, group or version | says so, tries again slowly |
| `encryption` | the other side has a keyring, and this one has none | says so, tries again slowly |
| `clock` | wall clocks too far apart, or stamps too far ahead | says so, tries again |
| `not yet` | not ready, a stranger, or a burial that has not taken effect | tries again |
| `left` | everything that it wrote is here, its leave too | a leaver counts it as told |
| `presumed dead` | the others have buried it | rehabilitates |
| `name` | a member with this name answers | gives up |
| `full` | `replicas_max` is reached | tries again slowly |
| `majority` | a predecessor cannot be buried without a majority | tries again |

State of a link: `STATES`.
"""

from typing import Final, final

from marmoset.codec.frames import MessageReader
from marmoset.codec.messages import PROTOCOL_VERSION, ROLE_NEWCOMER, Hello
from marmoset.ids import ReplicaId, id_text
from marmoset.replication.exchange import Stream
from marmoset.replication.replica import Replica
from marmoset.replication.snapshot import SnapshotSource

GREETING: Final = "greeting"
LINKED: Final = "linked"
ADMITTING: Final = "admitting"
SPONSORING: Final = "sponsoring"
FILLING: Final = "filling"
STATES: Final = {
    GREETING: (LINKED, ADMITTING, SPONSORING, FILLING),  # its Hello is awaited
    ADMITTING: (SPONSORING,),  # a newcomer that waits for us to let it in
    SPONSORING: (LINKED,),  # a snapshot is on its way to it
    FILLING: (LINKED,),  # we are the newcomer, and wait for or receive a snapshot
    LINKED: (),  # exchange in both directions
}
"""The states of a link, and which may follow; any link may close at any moment."""

REFUSAL_CODES: Final = (
    "cluster",
    "group",
    "protocol",
    "encryption",
    "clock",
    "not yet",
    "left",
    "presumed dead",
    "name",
    "full",
    "majority",
)


@final
class Link:
    """One connection to another node."""

    __slots__ = (
        "address",
        "asked",
        "greeted_as",
        "heard_ms",
        "messages",
        "number",
        "opened_ms",
        "outbound",
        "paused",
        "peer",
        "peer_address",
        "peer_name",
        "refused",
        "snapshot",
        "state",
        "stream",
        "whole_ms",
    )

    def __init__(self, number: int, address: str, outbound: bool, message_bytes_max: int, now_ms: int) -> None:
        self.number = number
        self.address = address
        self.outbound = outbound
        self.messages = MessageReader(message_bytes_max)
        self.opened_ms = now_ms
        self.heard_ms = now_ms
        """When something came over it last."""
        self.state = GREETING
        self.greeted_as: ReplicaId = 0
        """The member that our Hello on this link came from; 0 while we were none, and had no vector to tell."""
        self.peer: ReplicaId = 0
        self.peer_name = ""
        self.peer_address = ""
        self.stream: Stream | None = None
        self.snapshot: SnapshotSource | None = None
        self.asked = False
        """We have said to a node that waits as we do what there was to say."""
        self.paused = False
        self.refused = False
        """We have refused it, and wait for what the other side says; nothing else that comes is looked at."""
        self.whole_ms: int | None = None
        """Since when nothing is to be left out on this link's stream, as that made it wait for too long."""

    def become(self, state: str) -> None:
        """Go to another state of the table."""
        assert state in STATES[self.state], f"a link cannot go from {self.state} to {state}"
        self.state = state

    def pause(self, paused: bool) -> None:
        """Take note that the link takes no more for now, or takes more again."""
        self.paused = paused
        if self.stream is not None:
            self.stream.paused = paused

    def is_initiated_by(self, me: ReplicaId, replica: ReplicaId) -> bool:
        """Whether a given side of the link opened it."""
        return self.outbound == (replica == me)


def judge(hello: Hello, replica: Replica, cluster: str, offset_ms: int, clock_skew_max: int) -> tuple[str, str] | None:
    """Whether the sender of a Hello can be spoken to: None, or code and reason of a refusal. O(members)."""
    if hello.protocol != PROTOCOL_VERSION:
        return "protocol", f"protocol {PROTOCOL_VERSION} is spoken here, not {hello.protocol}"
    if hello.cluster != cluster:
        return "cluster", f"this is cluster {cluster!r}, not {hello.cluster!r}"
    if replica.group and hello.group and replica.group != hello.group:
        return "group", (
            f"cluster {cluster!r} has two groups, {id_text(replica.group)} here and {id_text(hello.group)}: "
            "restart the nodes of one of them with join addresses of the other"
        )
    if abs(offset_ms) > clock_skew_max:
        return "clock", f"wall clocks are {offset_ms / 1000:+.1f} s apart, more than clock_skew_max allows"
    peer, roster = hello.replica, replica.roster
    if replica.presumed_dead(peer):
        return "presumed dead", f"{hello.name} ({id_text(peer)}) was presumed dead"
    if hello.role == ROLE_NEWCOMER:
        return None
    if peer in roster.buried:
        return "not yet", "its burial has not yet taken effect"
    if peer in roster.left or replica.recently_forgotten.get(peer, False):
        return "left", "it has left"
    if peer in replica.recently_forgotten:
        return "presumed dead", f"{hello.name} ({id_text(peer)}) was presumed dead, and its gravestone is gone"
    member = roster.members.get(peer)
    if member is not None and not member.born and (peer, 0) in hello.vector:  # at the address of somebody else, say
        return "not yet", "it is not born yet"
    knows_me = any(entry[0] == replica.me for entry in hello.vector)
    if peer not in roster.members and not knows_me:
        if replica.roster.first_dead(hello.line):
            return "presumed dead", "it was let in by somebody who was presumed dead"
        return "not yet", "neither side knows the other yet"
    return None
