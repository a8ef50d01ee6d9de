"""The roster: who counts for stability (floor 5, DESIGN.md 4).

Members come and go by operations in the log alone: `Join`, `Ready`, `Leave`, `Bury`. What a member is follows from
three facts, in this order: buried, left, born; `MEMBER_STATES` below is the whole table. Liveness plays no part here.

Burials take effect all together (4.4): nobody who is buried stops counting until every member that is not buried is
known to have every burial in the table. What has taken effect stays so, whoever is buried later: all who were members
then had those burials, and who joins has them with its snapshot. Who left by itself is no longer waited for, and its
burial, logged by somebody who did not know that it left, does nothing.

A node that has logged its own leave lets no further burial take effect: the others do not wait for it any more, so what
it knows of them is not behind everything that they had. What had taken effect before stays so.

A replica that is gone for good, and of whom everything is stable, is forgotten (4.7); a buried one leaves a gravestone
with its final seq.
"""

from collections.abc import Iterable, Mapping
from typing import Final, final

from marmoset.clocks import VersionVector, upto
from marmoset.ids import Dot, ReplicaId
from marmoset.replication.claims import Claims

MEMBER_STATES: Final = (
    # (buried, left, born) -> state
    ((None, True, None), "left"),
    ((True, False, None), "presumed dead"),
    ((False, False, False), "unborn"),
    ((False, False, True), "member"),
)


@final
class Member:
    """One replica of the roster."""

    __slots__ = ("address", "born", "join", "name", "replica")

    def __init__(self, replica: ReplicaId, name: str, address: str, join: Dot | None, born: bool) -> None:
        self.replica = replica
        self.name = name
        self.address = address
        self.join = join
        self.born = born


@final
class Roster:
    """All replicas that are not forgotten, with the dots of their joins, leaves and burials."""

    __slots__ = ("buried", "claims", "dead", "graves", "graves_ms", "joins", "left", "members")

    def __init__(self) -> None:
        self.members: dict[ReplicaId, Member] = {}
        self.joins: dict[ReplicaId, Dot] = {}
        """The dot of each join; the first replica of all has none. Contexts read missing entries by it."""
        self.left: dict[ReplicaId, Dot] = {}
        self.buried: dict[ReplicaId, Dot] = {}
        self.dead: set[ReplicaId] = set()
        """Those of the buried whose burials have taken effect here."""
        self.graves: dict[ReplicaId, int] = {}
        """Buried and forgotten: replica to its final seq."""
        self.graves_ms: dict[ReplicaId, int] = {}
        """When they were forgotten, in milliseconds since 1970."""
        self.claims = Claims()

    def add(self, member: Member) -> None:
        """Effect of a join, or the first member of all. O(1)."""
        self.members[member.replica] = member
        if member.join is not None:
            self.joins[member.replica] = member.join

    def bury(self, replica: ReplicaId, dot: Dot) -> bool:
        """Effect of a burial; False when the replica is not in the roster: it left, or was buried, and is forgotten."""
        if replica not in self.members:
            return False
        self.buried.setdefault(replica, dot)
        return True

    def forget(self, replica: ReplicaId, final_seq: int, now_ms: int) -> None:
        """Take out a replica that is gone and of whom everything is stable. O(1)."""
        if replica in self.buried and replica not in self.left:
            self.graves[replica] = final_seq
            self.graves_ms[replica] = now_ms
        self.dead.discard(replica)
        for table in (self.members, self.joins, self.left, self.buried):
            table.pop(replica, None)

    def forget_graves(self, before_ms: int) -> bool:
        """Drop gravestones and claims that are older than a moment; whether any gravestone was. O(graves)."""
        self.claims.forget_before(before_ms)
        old = [replica for replica, since in self.graves_ms.items() if since < before_ms]
        for replica in old:
            del self.graves[replica], self.graves_ms[replica]
        return bool(old)

    def gone(self) -> set[ReplicaId]:
        """Everybody who was buried, from the moment that counts on: with a gravestone, or to get one. O(graves)."""
        return self.graves.keys() | self.dead

    def first_dead(self, line: Iterable[ReplicaId]) -> ReplicaId:
        """The first of a line of sponsors, nearest first, whose burial has taken effect here; 0 where it comes to a
        member before, as who sponsored that one may well be dead by now. O(length of the line)."""
        for replica in line:
            if self.presumed_dead(replica):
                return replica
            if replica in self.members:  # perhaps buried: whoever it let in cannot be judged yet
                return 0
        return 0

    def state(self, replica: ReplicaId) -> str:
        """One of `MEMBER_STATES`."""
        member = self.members[replica]
        facts = (replica in self.buried, replica in self.left, member.born)
        return next(
            state
            for pattern, state in MEMBER_STATES
            if all(want is None or want == fact for want, fact in zip(pattern, facts, strict=True))
        )

    def present(self) -> list[ReplicaId]:
        """Those that have neither left nor been buried, in the order of ids. O(n log n)."""
        return sorted(r for r in self.members if r not in self.left and r not in self.buried)

    def take_effect(self, known: Mapping[ReplicaId, VersionVector]) -> None:
        """Let the burials take effect, all together, if every member that is not buried is known to have each of them.
        O(1) where none is waiting, else O(members x burials)."""
        if len(self.buried) == len(self.dead):
            return
        waiting = {r: dot for r, dot in self.buried.items() if r not in self.dead and r not in self.left}
        for member in self.members:
            if member in self.left or member in self.buried:
                continue
            vector = known.get(member)
            if vector is None or any(upto(vector, by, self.joins) < seq for by, seq in waiting.values()):
                return
        self.dead.update(waiting)

    def counted(self) -> list[ReplicaId]:
        """The members that hold the frontier, in the order of ids. O(n log n)."""
        return sorted(r for r in self.members if r not in self.left and r not in self.dead)

    def presumed_dead(self, replica: ReplicaId) -> bool:
        """Whether the burial of a replica has taken effect here."""
        return replica in self.graves or replica in self.dead

    def line(self, replica: ReplicaId) -> list[ReplicaId]:
        """The sponsor of a replica, its sponsor, and so on, as far as is remembered; nearest first."""
        line: list[ReplicaId] = []
        while (join := self.joins.get(replica)) is not None and join[0] not in line:
            replica = join[0]
            line.append(replica)
        return line

    def electorate(self) -> list[ReplicaId]:
        """Of whom a majority is needed: the born that have not left; who is buried counts until forgotten. Which of
        them have a vote says `replication.electorate`. O(members log members)."""
        return sorted(r for r, member in self.members.items() if member.born and r not in self.left)

    def by_name(self, name: str) -> list[Member]:
        """The present members of a name, in the order of ids."""
        return [self.members[r] for r in self.present() if self.members[r].name == name]

    def lets_in(self, sponsor: ReplicaId) -> bool:
        """Whether somebody has newcomers that are neither born nor buried. O(members)."""
        for replica, member in self.members.items():
            if not member.born and replica not in self.buried and self.joins.get(replica, (0, 0))[0] == sponsor:
                return True
        return False

    def unborn_of(self, sponsor: ReplicaId) -> list[ReplicaId]:
        """The present newcomers of a sponsor that are not born; they are buried with it."""
        return [r for r in self.present() if not self.members[r].born and self.joins.get(r, (0, 0))[0] == sponsor]

    def _check(self) -> None:
        for table in (self.joins, self.left, self.buried):
            assert all(replica in self.members for replica in table), "a fact about somebody who is not in the roster"
        assert self.graves.keys() == self.graves_ms.keys()
        self.claims._check()
        assert self.dead <= self.buried.keys() - self.left.keys()
