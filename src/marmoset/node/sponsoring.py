"""Sponsoring: letting newcomers in (floor 7, DESIGN.md 4.1).

A newcomer whose name nobody has is let in at once. If a present member has that name, it is asked: as long as anybody
hears it, the newcomer is refused; if it is silent for two settling times, it is buried in the same batch that lets the
newcomer in, which needs a majority of the roster, but no waiting. The second settling time is there because what others
had heard earlier may still be on its way during the first. All others are asked meanwhile, too: the majority is one of
those that have answered since the newcomer came. Time in which we do not run settles nothing: we ask nobody then, and
what was answered before is not yet read when we wake.

A newcomer whose link ends before it is born is buried by its sponsor alone: its id was offered once. So is one that
says nothing for `join_timeout`, as after a loss of power: it would hold the frontier until TCP gives up.

Whoever was alone has followed its own clock wherever that went, and its stamps may be far ahead for long after the
clock was put right (DESIGN.md 3.8). A newcomer would have to stamp behind all of them: it is let in once they are no
further ahead of its wall clock than a member's may be.

Each attempt to join that fails leaves one more that is gone, and cannot be forgotten before every member is known to
have its burial. The tables grow with the square of those, so a newcomer has to wait while there are too many of them: a
member that cannot be heard, and a newcomer that breaks off again and again, would take all memory in the end.

A snapshot goes out in steps, one in each turn of the event loop, those of several newcomers in turns.
"""

from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Hello, SnapshotProgress
from marmoset.codec.operations import Bury, Join, RosterOperation
from marmoset.errors import PeerError
from marmoset.ids import ReplicaId, id_text
from marmoset.node.links import ADMITTING, LINKED, SPONSORING
from marmoset.replication.snapshot import SnapshotSource

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

SETTLE_MS_MIN: Final = 500
SETTLE_INTERVALS: Final = 3
GONE_MAX_MIN: Final = 64
"""So many that are gone may always wait to be forgotten, and as many as there may be members."""
LOOK_MS: Final = 50
"""How often it is looked how long a newcomer's predecessors have been silent; twice that is the most that one look
counts."""
PROGRESS_MS: Final = 5000
"""How often the log says how far a snapshot has come."""


@final
class _Admission:
    __slots__ = ("awake_ms", "hello", "link", "looked_ms", "predecessors", "settled_ms", "since_ms")

    def __init__(self, link: "Link", hello: Hello, predecessors: list[ReplicaId], since_ms: int) -> None:
        self.link = link
        self.hello = hello
        self.predecessors = predecessors
        self.since_ms = self.looked_ms = since_ms
        self.awake_ms = 0
        """For how long we have waited since, time in which we did not run left out."""
        self.settled_ms: int | None = None
        """When the first settling time was over: whoever is heard after that is there."""

    def look(self, now_ms: int) -> int:
        """Count the time since the last look; all of it until now. O(1)."""
        self.awake_ms += min(now_ms - self.looked_ms, 2 * LOOK_MS)
        self.looked_ms = now_ms
        return self.awake_ms


@final
class Sponsoring:
    """What one member does for newcomers."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._admissions: list[_Admission] = []
        self._served = 0  # the number of the link that had the last step of a snapshot
        self._said_ms = 0

    @property
    def _settle_ms(self) -> int:
        return max(SETTLE_MS_MIN, SETTLE_INTERVALS * self._node.config.gossip_interval)

    def handle_newcomer(self, link: "Link", hello: Hello) -> None:
        """Somebody asks to be let in."""
        node, roster = self._node, self._node.replica.roster
        lead_ms = max(node.wall_ms(), node.clock_ms()) - hello.wall_ms
        if node.state != "serving":
            node.refuse(link, "not yet", f"{node.config.name} is {node.state}")
        elif lead_ms > 2 * node.config.clock_skew_max:  # as `Replica.is_stamped_ahead` judges what comes from a member
            reason = f"stamps are {lead_ms / 1000:.1f} s ahead of the newcomer's clock, more than clock_skew_max allows"
            node.notify("warning", "refused a link", peer=hello.name, code="clock", reason=reason)
            node.refuse(link, "clock", reason)
        elif hello.replica in roster.members or hello.replica in roster.graves:
            node.refuse(link, "not yet", "this id was offered before")
        elif hello.name == node.name:
            node.refuse(
                link, "name", f"the name {hello.name!r} is in use at {node.address}; choose another with --name"
            )
        else:
            predecessors = [member.replica for member in roster.by_name(hello.name)]
            gone = len(roster.members) - len(roster.present())
            if gone >= max(GONE_MAX_MIN, node.config.replicas_max):
                lacking = [replica for replica in node.budget.lacking() if replica not in roster.buried]
                names = ", ".join(node.burying.names(lacking))
                reason = f"{gone} that are gone cannot be forgotten before {names} are known to have everything"
                node.refuse(link, "not yet", f"{reason}: bring them back, or presume them dead with MARMOSET BURY")
            elif len(roster.present()) - len(predecessors) >= node.config.replicas_max:  # they make room, or refuse it
                node.refuse(link, "full", f"the group has {node.config.replicas_max} members, as replicas_max allows")
            elif predecessors:
                link.become(ADMITTING)
                admission = _Admission(link, hello, predecessors, node.time.monotonic_ms())
                self._admissions.append(admission)
                node.notify("info", "a newcomer has the name of a member, asking that member", name=hello.name)
                self._ask(admission)
                node.arm("sponsor", LOOK_MS)
            else:
                self._admit(link, hello, [])

    def handle_timer(self) -> None:
        """Decide about those whose predecessors had time to answer; send what is due of snapshots."""
        node, now = self._node, self._node.time.monotonic_ms()
        for admission in list(self._admissions):
            awake_ms = admission.look(now)
            if admission.settled_ms is None:
                if awake_ms >= self._settle_ms:
                    admission.settled_ms = now
                    self._ask(admission)
            elif awake_ms >= 2 * self._settle_ms:
                self._admissions.remove(admission)
                self._decide(admission, admission.settled_ms)
        if self._admissions:
            node.arm("sponsor", LOOK_MS)
        self._send_snapshots()

    def handle_interval(self) -> None:
        """Once in a gossip interval."""
        node, now = self._node, self._node.time.monotonic_ms()
        for admission in self._admissions:
            self._ask(admission)
        for link in list(node.links.values()):
            if self._sponsors(link) and now - link.heard_ms > node.config.join_timeout:
                node.notify("warning", "no sign of life from a newcomer, giving it up", name=link.peer_name)
                node.close(link)
        if now - self._said_ms >= PROGRESS_MS:
            self._said_ms = now
            for link in node.links.values():
                if link.snapshot is not None:
                    node.notify("info", "sending a snapshot", name=link.peer_name, **link.snapshot.progress())
        self._send_snapshots()

    def handle_progress(self, link: "Link", message: SnapshotProgress) -> None:
        """A newcomer says how far it is.

        Raises:
            PeerError: nobody fills it here.
        """
        if link.state not in (SPONSORING, LINKED):
            raise PeerError(f"SnapshotProgress on a link that is {link.state}")

    def progress(self) -> dict[str, int]:
        """How far the snapshots that are on their way have come: keys given, of how many, and bytes, together."""
        total = {"keys": 0, "of": 0, "bytes": 0}
        for link in self._node.links.values():
            if link.snapshot is not None:
                for name, number in link.snapshot.progress().items():
                    total[name] += number
        return total

    def _sponsors(self, link: "Link") -> bool:
        """Whether a link leads to somebody that I let in and that is not born."""
        if link.state not in (SPONSORING, LINKED):  # whoever only claimed an id takes nobody with them
            return False
        replica = self._node.replica
        member = replica.roster.members.get(link.peer)
        return member is not None and not member.born and replica.roster.joins.get(link.peer, (0, 0))[0] == replica.me

    def _ask(self, admission: _Admission) -> None:
        """Look for members by all ways at once; whether they were heard is decided when their time is up, and so is
        whether enough of the others answer."""
        for replica in admission.predecessors:
            self._node.membership.ask(replica)
        self._node.burying.ask(admission.since_ms)

    def handle_closed(self, link: "Link") -> None:
        """A link is gone: with it a newcomer that was not born yet, unless it has come back over another one."""
        node = self._node
        self._admissions = [admission for admission in self._admissions if admission.link is not link]
        if link.peer in node.linked:
            return
        if self._sponsors(link) and link.peer not in node.replica.roster.buried and node.state == "serving":
            node.notify("warning", "a newcomer was lost before it was complete", name=link.peer_name)
            node.replica.submit_roster([Bury(link.peer)])

    def _decide(self, admission: _Admission, settled_ms: int) -> None:
        node, roster = self._node, self._node.replica.roster
        link, hello = admission.link, admission.hello
        if node.state != "serving":
            node.refuse(link, "not yet", f"{node.config.name} is {node.state}")
            return
        if any(member.replica not in admission.predecessors for member in roster.by_name(hello.name)):
            node.refuse(link, "not yet", f"somebody else was let in as {hello.name!r} meanwhile")
            return
        present = [r for r in roster.present() if r in admission.predecessors]
        for replica in present:
            if node.membership.is_heard_since(replica, settled_ms):
                address = roster.members[replica].address
                node.refuse(link, "name", f"the name {hello.name!r} is in use at {address}; choose another with --name")
                return
        alone = all(not roster.members[r].born and roster.joins[r][0] == node.replica.me for r in present)
        if present and not alone and not node.burying.has_majority(present, admission.since_ms):
            node.refuse(
                link,
                "majority",
                f"the member that had the name {hello.name!r} cannot be buried without a majority of "
                f"{len(roster.electorate())} members: bring others back, or run MARMOSET BURY {hello.name} FORCE "
                "(see presumed_dead_quorum)",
            )
            return
        self._admit(link, hello, present)

    def _admit(self, link: "Link", hello: Hello, predecessors: list[ReplicaId]) -> None:
        node = self._node
        for replica in predecessors:
            node.notify(
                "warning",
                "buried the predecessor of a newcomer",
                name=hello.name,
                id=id_text(replica),
                **node.burying.told(node.burying.answering()),
            )
        node.replica.submit_roster(
            [*node.burying.burials(predecessors), Join(hello.replica, hello.name, hello.address)]
        )
        node.counters["joins"] += 1
        link.become(SPONSORING)
        link.snapshot = SnapshotSource(node.replica, hello.replica, node.snapshot_step_elements)
        node.notify("info", "letting a newcomer in", name=hello.name, address=hello.address, id=id_text(hello.replica))
        node.arm("sponsor", 1)

    def _send_snapshots(self) -> None:
        """One step of one of the snapshots that are on their way and whose link takes more: the next one in turn."""
        node = self._node
        waiting: list[Link] = []
        for link in list(node.links.values()):
            if link.state == SPONSORING and link.snapshot is not None and not link.paused:
                if link.peer in node.replica.roster.present():
                    waiting.append(link)
                else:
                    node.refuse(link, "not yet", "it was buried before it was complete")
        if not waiting:
            return
        link = min(waiting, key=lambda each: (each.number <= self._served, each.number))
        self._served = link.number
        assert link.snapshot is not None
        for data in link.snapshot.step():
            node.send_framed(link, data)
        if link.snapshot.is_done:
            node.notify("info", "snapshot sent", name=link.peer_name, **link.snapshot.progress())
            join_index, link.snapshot = link.snapshot.join_index, None
            node.start_stream(link, dict(node.replica.contexts[link.peer]), join_index)
            waiting.remove(link)
        if waiting:
            node.arm("sponsor", 1)

    def let_go(self) -> list[RosterOperation]:
        """Burials of the newcomers that we have not brought to birth, and will not; their links end. O(members)."""
        node = self._node
        unborn = node.replica.roster.unborn_of(node.replica.me)
        for link in list(node.links.values()):
            if link.state in (ADMITTING, SPONSORING) or link.peer in unborn:
                node.refuse(link, "not yet", f"{node.config.name} is leaving")
        return [Bury(replica) for replica in unborn]
