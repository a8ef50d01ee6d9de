"""Membership alone, simulated (beside the floors): many `Swim` machines, datagrams, and links that only carry digests.

No node, no data: what is simulated is who knows what of whom, and when. A member can be down (nothing answers), slow
(what comes and what goes waits until the slow time is over, its timers run on, as in the experiments of Lifeguard),
or paused (nothing runs at all, as after a SIGSTOP). Packets may be lost, doubled, and overtake one another; cuts are
pairs of members, so one-way ones too. Links are TCP's: they lose nothing, but do not cross a cut.

Everything follows from the seed.
"""

from collections.abc import Callable
from random import Random
from typing import Final, final

import msgspec

from marmoset.codec.packets import Details
from marmoset.membership.effects import Announced, Changed, Exchange, ProbeLink, SendPacket
from marmoset.membership.profiles import Profile
from marmoset.membership.states import ALIVE
from marmoset.membership.swim import Swim
from marmoset.sim.world import US_PER_MS, World

LATENCY_US: Final = (200, 2000)
CLUSTER: Final = "simulated"
DIGEST_OVERHEAD: Final = 40
FIRST_ID: Final = 1 << 40


@final
class Member:
    """One simulated member."""

    __slots__ = (
        "armed_ms",
        "changes",
        "free_us",
        "index",
        "is_down",
        "is_paused",
        "link_bytes",
        "run",
        "swim",
        "waiting",
    )

    def __init__(self, index: int, swim: Swim) -> None:
        self.index = index
        self.swim = swim
        self.run = 0
        self.armed_ms = -1
        self.free_us = 0
        """Until then it is slow."""
        self.is_down = False
        self.is_paused = False
        self.link_bytes = 0
        self.waiting: list[Callable[[], None]] = []


@final
class SwimCluster:
    """Members that follow one another, on one simulated network."""

    def __init__(self, seed: int, profile: Profile, size: int, *, loss_share: float = 0.0, double_share: float = 0.0):
        self.world = World()
        self.rng = Random(f"{seed} swim")
        self.seed = seed
        self.profile = profile
        self.loss_share = loss_share
        self.double_share = double_share
        self.cuts: set[tuple[int, int]] = set()
        self.members: list[Member] = []
        self.on_change: Callable[[Member, int, str, str], None] = lambda member, subject, before, state: None
        self.on_packet: Callable[[Member, int, bytes], None] = lambda member, target, data: None
        self.on_arrival: Callable[[Member, bytes], None] = lambda member, data: None
        """A packet is about to be handled."""
        self.on_digest: Callable[[Member, int], None] = lambda member, by: None
        """A digest of another member is about to be merged."""
        for _ in range(size):
            self._new_member(None)
        for member in self.members:
            for other in self.members:
                member.swim.add(replica_of(other), 0, str(other.index))
        for member in self.members:
            self._settle(member)

    @property
    def now_ms(self) -> int:
        """The simulated time."""
        return self.world.now_us // US_PER_MS

    def _new_member(self, details: Details | None) -> Member:
        index = len(self.members)
        rng = Random(f"{self.seed} member {index}")
        member = Member(index, Swim(FIRST_ID + index, CLUSTER, self.profile, rng, self.now_ms, details))
        self.members.append(member)
        return member

    def run_ms(self, ms: int) -> None:
        """Let time pass."""
        self.world.run_until(self.world.now_us + ms * US_PER_MS)

    # -- faults

    def join(self) -> Member:
        """A new member that knows everybody, and that nobody but a random sponsor knows."""
        sponsor = self.rng.choice([member for member in self.members if not member.is_down])
        index = len(self.members)
        details = Details(f"n{index}", str(index), "", "1")
        member = self._new_member(details)
        for other in self.members[:-1]:
            member.swim.add(replica_of(other), self.now_ms, str(other.index))
        sponsor.swim.add(replica_of(member), self.now_ms, str(index), details)
        self._settle(member)
        self._settle(sponsor)
        return member

    def crash(self, index: int) -> None:
        """A member answers nobody any more."""
        self.members[index].is_down = True
        self.members[index].waiting.clear()

    def restart(self, index: int) -> None:
        """Another replica begins at the address of a crashed one. It knows the others, and they come to know it."""
        member = self.members[index]
        member.run += 1
        me = replica_of(member)
        rng = Random(f"{self.seed} member {index} {member.run}")
        member.swim = Swim(me, CLUSTER, self.profile, rng, self.now_ms, Details(f"n{index}", str(index), "", "1"))
        member.is_down, member.armed_ms, member.free_us = False, -1, 0
        for other in self.members:
            if not other.is_down and other is not member:
                member.swim.add(replica_of(other), self.now_ms, str(other.index))
        self._settle(member)

    def slow(self, index: int, ms: int) -> None:
        """What comes to a member and what it sends waits for so long."""
        self.members[index].free_us = self.world.now_us + ms * US_PER_MS

    def pause(self, index: int) -> None:
        """Nothing runs at a member any more, until `go_on`."""
        self.members[index].is_paused = True

    def go_on(self, index: int) -> None:
        """A paused member runs again: its timer first, then what waited."""
        member = self.members[index]
        member.is_paused = False
        self._tick(member, member.run)
        waiting, member.waiting = member.waiting, []
        for action in waiting:
            action()

    def cut(self, left: list[int], right: list[int], one_way: bool = False) -> None:
        """Nothing gets from the left to the right, nor back unless it is one way."""
        self.cuts.update((a, b) for a in left for b in right)
        if not one_way:
            self.cuts.update((b, a) for a in left for b in right)

    def heal(self) -> None:
        """Everything gets through again."""
        self.cuts.clear()

    # -- events and effects

    def _deliver(self, member: Member, action: Callable[[Member], None]) -> None:
        """Something has come to a member: handled now, when its slow time is over, or when it goes on."""
        run = member.run

        def handle() -> None:
            if member.is_down or member.run != run:
                return
            if member.is_paused:
                member.waiting.append(handle)
            elif member.free_us > self.world.now_us:
                self.world.at(member.free_us, handle)
            else:
                action(member)
                self._settle(member)

        self.world.at(max(self.world.now_us + self.rng.randint(*LATENCY_US), 0), handle)

    def _tick(self, member: Member, run: int) -> None:
        if member.is_down or member.is_paused or member.run != run:
            return
        member.armed_ms = -1
        if self.now_ms >= member.swim.due_ms:
            member.swim.tick(self.now_ms)
        self._settle(member)

    def _settle(self, member: Member) -> None:
        swim = member.swim
        while swim.effects:
            effects = swim.effects[:]
            swim.effects.clear()
            for effect in effects:
                if isinstance(effect, SendPacket):
                    self._send(member, int(effect.address), effect.data)
                elif isinstance(effect, Changed):
                    self.on_change(member, effect.replica, effect.before, effect.state)
                elif isinstance(effect, Announced):
                    details = effect.announcement.details
                    swim.add(effect.announcement.subject, self.now_ms, details.address, details)
                    self.on_change(member, effect.announcement.subject, "", ALIVE)
                elif isinstance(effect, ProbeLink):
                    self._probe_link(member, effect.replica)
                else:
                    self._exchange(member, effect)
        due = swim.due_ms
        if member.armed_ms < 0 or due < member.armed_ms:
            member.armed_ms = due
            run = member.run
            self.world.at(due * US_PER_MS, lambda: self._tick(member, run))

    def _send(self, member: Member, target: int, data: bytes) -> None:
        self.on_packet(member, target, data)
        address = str(member.index)
        copies = 1
        if self.loss_share and self.rng.random() < self.loss_share:
            copies = 0
        elif self.double_share and self.rng.random() < self.double_share:
            copies = 2
        for _ in range(copies):
            self._leave(member, target, lambda other: self._arrive(other, address, data))

    def _arrive(self, member: Member, address: str, data: bytes) -> None:
        self.on_arrival(member, data)
        member.swim.handle_packet(address, data, self.now_ms)

    def _merge(self, member: Member, digest: list[tuple[int, int]], by: int) -> None:
        self.on_digest(member, by)
        member.swim.merge(digest, by, self.now_ms)

    def _leave(self, member: Member, target: int, action: Callable[[Member], None]) -> None:
        """Something is sent: it leaves now, or when the slow time is over."""
        if member.free_us > self.world.now_us:
            self.world.at(member.free_us, lambda: self._cross(member, target, action))
        else:
            self._cross(member, target, action)

    def _cross(self, member: Member, target: int, action: Callable[[Member], None]) -> None:
        if not member.is_down and (member.index, target) not in self.cuts:
            self._deliver(self.members[target], action)

    def _is_linked(self, member: Member, other: Member) -> bool:
        cut = (member.index, other.index) in self.cuts or (other.index, member.index) in self.cuts
        return not cut and not other.is_down

    def _other(self, replica: int) -> Member | None:
        """Who runs under an id; None when another replica is at its address."""
        other = self.members[index_of(replica)]
        return other if replica_of(other) == replica else None

    def _probe_link(self, member: Member, replica: int) -> None:
        other, me = self._other(replica), replica_of(member)
        if other is None or not self._is_linked(member, other):
            return

        def answer(other: Member) -> None:
            other.swim.handle_link_heard(me, self.now_ms)
            self._leave(other, member.index, lambda member: member.swim.handle_link_heard(replica, self.now_ms))

        self._leave(member, other.index, answer)

    def _exchange(self, member: Member, effect: Exchange) -> None:
        other, me = self._other(effect.replica), replica_of(member)
        if other is None or not self._is_linked(member, other):
            return
        digest = member.swim.digest()
        member.link_bytes += DIGEST_OVERHEAD + len(msgspec.msgpack.encode(digest))

        def answer(other: Member) -> None:
            back = other.swim.digest()
            other.link_bytes += DIGEST_OVERHEAD + len(msgspec.msgpack.encode(back))
            self._merge(other, digest, me)
            self._leave(other, member.index, lambda member: self._merge(member, back, effect.replica))

        self._leave(member, other.index, answer)

    # -- what is known

    def states(self, subject: int) -> list[str]:
        """What every other member that is up holds a member to be."""
        replica = replica_of(self.members[subject])
        return [m.swim.state(replica) for m in self.members if not m.is_down and m.index != subject]

    def all_alive(self) -> bool:
        """Whether everybody who is up holds everybody who is up to be alive."""
        up = [member for member in self.members if not member.is_down]
        return all(a.swim.state(replica_of(b)) == ALIVE for a in up for b in up)

    def _check(self) -> None:
        for member in self.members:
            member.swim._check()


RUNS: Final = 1 << 20


def replica_of(member: Member) -> int:
    """The id under which a member runs now."""
    return FIRST_ID + member.index + member.run * RUNS


def index_of(replica: int) -> int:
    """Whose id an id is, or was."""
    return (replica - FIRST_ID) % RUNS
