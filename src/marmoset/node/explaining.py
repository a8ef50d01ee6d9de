"""Explaining (floor 7): why a member stands where it stands, and what holds a key's metadata.

For people: lines of text, the most telling first. A `Trail` keeps the last few things that happened to each replica, as
this node saw them; everything else is read from the tables at the moment of asking. Nothing here visits the keyspace.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final

from marmoset.clocks import stamp_ms
from marmoset.codec.operations import AnyOperation, Flush, RosterOperation
from marmoset.errors import UsageError
from marmoset.ids import Dot, ReplicaId, id_text, parse_id
from marmoset.replication.oplog import LogEntry

if TYPE_CHECKING:
    from marmoset.node.node import Node

TRAIL_MAX: Final = 16
REPLICAS_MAX: Final = 256
SHOWN_MAX: Final = 20


@final
class Trail:
    """What happened to replicas lately: the last `TRAIL_MAX` events of each, of the last `REPLICAS_MAX` of them."""

    def __init__(self) -> None:
        self._events: dict[ReplicaId, deque[tuple[int, str]]] = {}
        self._names: dict[ReplicaId, str] = {}

    def note(self, replica: ReplicaId, name: str, now_ms: int, what: str) -> None:
        """Remember an event. O(1)."""
        events = self._events.pop(replica, None) or deque(maxlen=TRAIL_MAX)
        self._events[replica] = events  # the one that was noted last stands last
        self._names[replica] = name
        events.append((now_ms, what))
        if len(self._events) > REPLICAS_MAX:
            oldest = next(iter(self._events))
            del self._events[oldest], self._names[oldest]

    def told(self, replica: ReplicaId, now_ms: int) -> list[str]:
        """The events of a replica, latest first."""
        return [f"{seconds(now_ms - at_ms)} ago: {what}" for at_ms, what in reversed(self._events.get(replica, ()))]

    def name(self, replica: ReplicaId) -> str:
        """What a replica was called."""
        return self._names.get(replica) or id_text(replica)

    def named(self, name: str) -> list[ReplicaId]:
        """The replicas of a name that something happened to."""
        return [replica for replica, known in self._names.items() if known == name]


def seconds(duration_ms: int) -> str:
    """A duration for people."""
    return f"{duration_ms / 1000:.1f} s"


@final
class Explaining:
    """What one node can say about members and keys."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.trail = Trail()
        self._standings: dict[ReplicaId, str] = {}

    def handle_roster_changed(self) -> None:
        """Remember who has come, was buried, has left or was forgotten. O(members)."""
        roster = self._node.replica.roster
        before, self._standings = self._standings, {r: self._standing(r) for r in roster.members}
        for replica, standing in sorted(self._standings.items()):
            if before.get(replica) != standing:
                self.note(replica, f"roster: {standing}")
        now = self._node.time.monotonic_ms()
        for replica in sorted(before.keys() - self._standings.keys()):
            self.trail.note(replica, self.trail.name(replica), now, "roster: forgotten")

    def _standing(self, replica: ReplicaId) -> str:
        roster = self._node.replica.roster
        standing = roster.state(replica)
        if replica in roster.dead:
            return f"{standing}, the burial has taken effect"
        return standing if replica not in roster.buried else f"{standing}, says {self._name(roster.buried[replica][0])}"

    def note(self, replica: ReplicaId, what: str) -> None:
        """Remember what happened to a replica. O(1)."""
        self.trail.note(replica, self._name(replica), self._node.time.monotonic_ms(), what)

    def _name(self, replica: ReplicaId) -> str:
        member = self._node.replica.roster.members.get(replica)
        return id_text(replica) if member is None else member.name

    def _names(self, replicas: Iterable[ReplicaId]) -> str:
        return ", ".join(sorted(map(self._name, replicas))) or "nobody"

    # -- members

    def replicas_called(self, name: str) -> list[ReplicaId]:
        """The replicas that have a name or id, those that are gone but remembered included."""
        roster = self._node.replica.roster
        found = [r for r, member in sorted(roster.members.items()) if member.name == name]
        found += [r for r in self.trail.named(name) if r not in found]
        identified = parse_id(name)
        if not found and identified is not None and (identified in roster.members or identified in roster.graves):
            found = [identified]
        return found

    def member(self, replica: ReplicaId) -> list[str]:
        """Why a replica stands where it stands. O(members squared)."""
        node, now = self._node, self._node.time.monotonic_ms()
        roster = node.replica.roster
        lines = [f"{self._name(replica)} ({id_text(replica)})"]
        if replica not in roster.members:
            if replica in roster.graves:
                lines.append(f"roster: presumed dead and forgotten, its final seq is {roster.graves[replica]}")
            else:
                lines.append("roster: not there, it has left or was never let in")
            return lines + self.trail.told(replica, now)
        member, standing = roster.members[replica], roster.state(replica)
        lines.append(f"roster: {standing}, at {member.address}, {self._joined(replica)}")
        if replica in roster.buried:
            lines += self._burial(replica)
        if replica == node.replica.me:
            lines.append(f"liveness: this is the node that is asked; it is {node.state}")
            return lines + self._waits_of(replica) + self.trail.told(replica, now)
        if (details := node.membership.details_of(replica)) is not None:
            clients = details.clients or "nowhere: it is embedded"
            lines.append(f"says of itself: version {details.version}, clients are served at {clients}")
        link = "linked" if replica in node.linked else "not linked, it is dialled again and again"
        lines.append(f"liveness: {'; '.join(node.membership.explain(replica, now))}; {link}")
        for event in reversed(node.membership.evidence(replica)):
            by = "this node" if event.by == node.replica.me else self._name(event.by)
            ago = seconds(now - event.at_ms)
            lines.append(f"liveness: {ago} ago: {event.what}, by {by}, at incarnation {event.incarnation}")
        if replica not in roster.buried and replica not in roster.left:
            lines += self._towards_burial(replica)
        return lines + self._waits_of(replica) + self.trail.told(replica, now)

    def _joined(self, replica: ReplicaId) -> str:
        join = self._node.replica.roster.joins.get(replica)
        return "it began the group" if join is None else f"let in by {self._name(join[0])}"

    def _burial(self, replica: ReplicaId) -> list[str]:
        """What a burial waits for."""
        here = self._node.replica
        roster, dot = here.roster, here.roster.buried[replica]
        lines = [f"burial: logged by {self._name(dot[0])} as {dot[1]}"]
        if replica in roster.left:
            return [*lines, "burial: without effect, it had left by itself"]
        if replica in roster.dead:
            return [*lines, "burial: in effect; forgotten as soon as everything of it is stable"]
        if here.is_leaving:
            return [*lines, "burial: takes no effect here any more, as this node is leaving"]
        waiting = {r: d for r, d in roster.buried.items() if r not in roster.dead and r not in roster.left}
        for other in roster.present():
            missing = [r for r, d in waiting.items() if not here.is_known_to(other, d)]
            if missing:
                lines.append(
                    f"burial: waits until {self._name(other)} is known to have the burial of {self._names(missing)}; "
                    "burials take effect all together"
                )
        if dot[0] in roster.buried:
            lines.append(
                f"burial: {self._name(dot[0])}, who logged it, is buried too: burials that contradict one another. "
                "Nothing is lost by that and nothing is forgotten meanwhile; it ends when a majority of those that are "
                "not buried agree, or with MARMOSET BURY … FORCE on the side that is to go on"
            )
        return lines

    def _towards_burial(self, replica: ReplicaId) -> list[str]:
        """Who finds a member unreachable, for how long, and what is still needed to bury it."""
        node, burying = self._node, self._node.burying
        roster = node.replica.roster
        own_ms, stalled_ms, limit_ms = burying.unreachable_ms(replica), burying.stalled_ms(replica), burying.limit_ms
        lines: list[str] = []
        if stalled_ms:
            lines.append(f"progress: it lacks something and has taken nothing for {seconds(stalled_ms)}")
        if not own_ms:
            return lines
        lines.append(f"unreachable: for {seconds(own_ms)} here; buried after {seconds(limit_ms)}")
        for peer in burying.in_touch():
            said = burying.said(peer, replica)
            if said is None:
                lines.append(f"unreachable: {self._name(peer)} was not asked lately")
            else:
                lines.append(
                    f"unreachable: {self._name(peer)} finds it so for {seconds(said[0])}"
                    if said[0]
                    else f"unreachable: {self._name(peer)} can reach it"
                )
        if not burying.is_ours_to_bury(replica):
            lines.append("burial: it is not born yet; its sponsor buries it alone when it loses it")
            return lines
        if voteless := burying.without_vote():
            lines.append(f"burial: no vote yet has {self._names(voteless)}: too few are known to have heard of them")
        electorate = roster.electorate()
        if not burying.has_majority([replica]):
            lines.append(
                f"burial: never by us alone: we are answered by {self._names(burying.answering())}, which with this "
                f"node is no majority of {len(electorate)}"
            )
        elif not burying.is_provable(replica):
            witnesses = self._names(burying.witnesses(replica))
            lines.append(f"burial: waits for witnesses; so far {witnesses}, of a majority of {len(electorate)}")
        return lines

    def _waits_of(self, replica: ReplicaId) -> list[str]:
        """What is kept because a member is not known to have it."""
        here = self._node.replica
        if replica not in here.roster.counted():
            return ["frontier: it is not waited for"]
        lacks = {
            self._name(origin): seq - here.stability.known.get(replica, {}).get(origin, seq)
            for origin, seq in sorted(here.seen.items())
            if not here.is_known_to(replica, (origin, seq))
        }
        if not lacks:
            return ["frontier: it has everything that is here"]
        told = ", ".join(f"{count} of {name}" for name, count in lacks.items())
        return [f"frontier: it is not known to have {told}; that is kept until it has, or is buried"]

    # -- keys

    def key(self, key: bytes) -> list[str]:
        """What holds a key's metadata, and who has to speak for it to go. O(log)."""
        here = self._node.replica
        entries: list[tuple[LogEntry, Dot]] = []
        for entry in here.unfolded():
            if _mentions(entry, key):
                entries.append((entry, (entry.origin, entry.last)))
        window = here.keyspace.window(key)
        count = 0 if window is None else window.entries
        lines = [f"{count} window entries, {len(entries)} batches in the log"]
        if not entries:
            return [*lines, "nothing is kept beside the value"]
        wall_ms = self._node.wall_ms()
        for entry, dot in entries[:SHOWN_MAX]:
            lacking = [r for r in here.roster.counted() if not here.is_known_to(r, dot)]
            since = seconds(max(0, wall_ms - stamp_ms(entry.stamp)))
            waits = f"waits for {self._names(lacking)}" if lacking else "stable, about to be folded"
            lines.append(f"{self._name(entry.origin)}:{entry.first}, logged {since} ago: {waits}")
        if len(entries) > SHOWN_MAX:
            lines.append(f"and {len(entries) - SHOWN_MAX} more")
        return lines

    def why(self, name: bytes) -> list[str]:
        """About a member of that name or id, about a key, or about both.

        Raises:
            UsageError: there is neither.
        """
        node = self._node
        lines: list[str] = []
        for replica in self.replicas_called(name.decode("utf-8", "replace")):
            lines += self.member(replica)
        is_key = name in node.replica.keyspace
        if is_key or any(_mentions(entry, name) for entry in node.replica.unfolded()):
            lines += [f"key {name.decode('utf-8', 'backslashreplace')}", *self.key(name)]
        if not lines:
            raise UsageError("neither a member nor a key is called so, and nothing of it is remembered")
        return lines


def _mentions(entry: LogEntry, key: bytes) -> bool:
    """Whether a batch does something to a key. O(length), and it is only read where the key's bytes are in it."""
    return entry.may_have(key) and any(_touches(op, key) for op in entry.read())


def _touches(operation: AnyOperation, key: bytes) -> bool:
    if isinstance(operation, RosterOperation):
        return False
    return isinstance(operation, Flush) or operation.key == key
