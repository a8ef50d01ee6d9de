"""Liveness (floor 7): between the node and `membership.swim`, which finds out who can be reached.

Packets and time go in, and what SWIM wants done becomes effects of the node. A probe over a TCP link and an exchange of
digests are both a meeting: it carries the digest of either side, and is answered. SWIM follows exactly the members of
the roster. It is at rest until the node has an id, and again once the node has left.
"""

from random import Random
from typing import TYPE_CHECKING, Final, final

from marmoset.codec.packets import Details
from marmoset.ids import ReplicaId, id_text
from marmoset.membership.effects import Changed, Exchange, ProbeLink, SendPacket
from marmoset.membership.profiles import LAN, LOOPBACK, PROFILES, Profile
from marmoset.membership.states import ALIVE
from marmoset.membership.swim import COUNTERS, Swim
from marmoset.node.addresses import is_loopback
from marmoset.node.states import LEFT
from marmoset.units import address_text, parse_address
from marmoset.version import VERSION

if TYPE_CHECKING:
    from marmoset.config import Config
    from marmoset.node.node import Node

PERIODS_TO_UNREACHABLE: Final = 8
"""About so many periods pass in a small group until a member that died is known as unreachable."""


def profile_of(config: "Config") -> Profile:
    """The pace of failure detection that a configuration asks for."""
    name = config.membership_profile
    profile = PROFILES.get(name) or (LOOPBACK if is_loopback(config.bind) else LAN)
    if not config.unreachable_after:
        return profile
    return profile.paced(max(1, config.unreachable_after // PERIODS_TO_UNREACHABLE))


@final
class Liveness:
    """How one node takes part in failure detection."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._counters = dict.fromkeys(COUNTERS, 0)

    def begin(self) -> Swim:
        """Failure detection for a fresh id."""
        node, config = self._node, self._node.config
        clients = address_text(parse_address(node.address)[0], config.port) if config.port else ""
        details = Details(config.name, node.address, clients, VERSION)
        rng = Random(node.rng.getrandbits(64))
        swim = Swim(node.replica.me, config.cluster, profile_of(config), rng, node.time.monotonic_ms(), details)
        swim.counters = self._counters  # a node counts on under its next id
        return swim

    @property
    def is_active(self) -> bool:
        """Whether this node probes others and answers them."""
        return bool(self._node.replica.me) and self._node.state != LEFT

    def follow(self, present: list[ReplicaId]) -> None:
        """Follow exactly these members. O(members)."""
        node, now = self._node, self._node.time.monotonic_ms()
        for replica in present:
            node.membership.add(replica, now, node.replica.roster.members[replica].address)
        for replica in sorted(set(node.membership.peers) - set(present)):
            node.membership.remove(replica)
            node.meeting.clock_offsets.pop(replica, None)

    def handle_packet(self, address: str, data: bytes) -> None:
        """A datagram has come. Before the node has an id and once it has left, it is dropped and counted."""
        if not self.is_active:
            self._node.counters["packets_ignored"] += 1
        else:
            self._node.membership.handle_packet(address, data, self._node.time.monotonic_ms())

    def handle_timer(self) -> None:
        """It may be time for what SWIM does next."""
        node, now = self._node, self._node.time.monotonic_ms()
        if self.is_active and now >= node.membership.due_ms:
            node.membership.tick(now)

    def leave(self) -> None:
        """The node ends: tell some, so that nobody has to find out."""
        if self.is_active:
            self._node.membership.leave()
            self.carry_out()

    def carry_out(self) -> None:
        """Make effects of the node of what SWIM wants done, and see to it that its time is not missed."""
        node, swim = self._node, self._node.membership
        for effect in swim.effects:
            if isinstance(effect, SendPacket):
                node.effects.append(effect)
            elif isinstance(effect, (ProbeLink, Exchange)):
                node.meeting.meet(effect.replica)
            elif isinstance(effect, Changed):
                self._tell_of(effect)
        swim.effects.clear()
        if self.is_active:
            node.arm_at("liveness", swim.due_ms)

    def _tell_of(self, change: Changed) -> None:
        node = self._node
        member = node.replica.roster.members.get(change.replica)
        name = member.name if member is not None else id_text(change.replica)
        node.explaining.note(change.replica, f"liveness: {change.state}, was {change.before}")
        level = "info" if change.state == ALIVE else "warning"
        node.notify(level, f"member is {change.state}", name=name, was=change.before)
