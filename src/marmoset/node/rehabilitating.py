"""The node that was presumed dead: it keeps what only it has, joins anew, and submits it (floor 7, DESIGN.md 4.6).

What is kept and what is submitted is decided in `replication.rehabilitation`. Here is the order: a member that is
believed says that we were presumed dead; links end; what is to be kept is gathered in slices, while reads are still
answered; the data is wiped; the node joins under a new id and its own name through a member that it knew, the one that
told it first; once it is born it submits what it kept, in slices, and only then it serves. Clients stay connected and
are told LOADING meanwhile.

*Who is believed.* A member of our roster that we have not buried ourselves; and a stranger of our group, if we are not
in touch with a majority: who was let in while we were away knows us by our gravestone alone. Two sides that have buried
each other both stay as they are, until an operator decides.
"""

from itertools import islice
from typing import TYPE_CHECKING, Final, final

from marmoset.codec.messages import Refuse
from marmoset.errors import UsageError
from marmoset.ids import Dot, ReplicaId, id_text, parse_id
from marmoset.membership.states import ALIVE
from marmoset.node.states import DEAD, JOINING, LEAVING, REHABILITATING, SERVING, WAITING
from marmoset.replication.electorate import is_majority
from marmoset.replication.memory import Observed
from marmoset.replication.places import Renamed
from marmoset.replication.rehabilitation import Exile, Rehabilitation, replay, sort_held
from marmoset.replication.replica import Replica
from marmoset.replication.report import Report, Row

if TYPE_CHECKING:
    from marmoset.node.links import Link
    from marmoset.node.node import Node

GATHER_OPERATIONS: Final = 1000
SUBMIT_OPERATIONS: Final = 200
WAIT_MS: Final = 50
REPLAY_ROWS: Final = 1000
HELD_BATCHES: Final = 1000
HELD_INTERVALS: Final = 10
"""Once in so many gossip intervals it is asked what has come of what was held of others."""


@final
class Rehabilitating:
    """What one node does when it was presumed dead, and what it could not submit then."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.report = Report()
        self.submit_operations = SUBMIT_OPERATIONS
        """How much is done in one slice; the simulator makes it small."""
        self.leaves = False
        """Whether the node leaves as soon as it has submitted everything."""
        self._exiles: list[Exile] = []
        self._former: dict[ReplicaId, Observed] = {}
        self._attempts: dict[ReplicaId, Observed] = {}
        """What this node had observed under the ids that it had, the oldest first: those with which it was done, and
        those that it lost before it had submitted all that it had kept."""
        self._renamed = Renamed()
        self._task: Rehabilitation | None = None
        self._addresses: list[str] = []
        self._intervals = 0
        self._claims = 0

    # -- presumed dead

    def believes(self, peer: ReplicaId) -> bool:
        """Whether a peer's word that we were presumed dead counts. O(members)."""
        node = self._node
        roster = node.replica.roster
        if peer in roster.buried or peer in roster.graves:
            return False
        return peer in roster.members or self.believes_stranger(peer)

    def believes_stranger(self, peer: ReplicaId) -> bool:
        """The same of a peer that is not in the roster. O(members)."""
        node = self._node
        roster = node.replica.roster
        if not peer or node.state == LEAVING or peer in roster.members or peer in roster.graves:
            return False  # who is about to leave is forgotten in good order by those who come after
        voters = [r for r in node.linked if node.membership.state(r) == ALIVE]
        return not is_majority(node.replica.roster, node.replica.stability.known, [node.replica.me, *voters])

    def begin(self, link: "Link", refusal: Refuse) -> None:
        """We were presumed dead. O(log + links)."""
        node, replica = self._node, self._node.replica
        was_leaving = node.state == LEAVING
        node.become(DEAD)
        node.notify(
            "error",
            "presumed dead",
            by=link.peer_name,
            reason=refusal.reason,
            buried=id_text(refusal.buried) if refusal.buried else "",
            final_seq=refusal.final_seq,
        )
        if was_leaving:
            return
        roster = replica.roster
        others = sorted(r for r in roster.members if r != replica.me)
        others.sort(key=lambda r: r in roster.left or r in roster.buried)
        addresses = [link.peer_address, *(roster.members[r].address for r in others)]
        self._addresses = [address for address in dict.fromkeys([*addresses, *node.config.join]) if address]
        if node.config.rejoin == "rehabilitate":
            self._exiles.append(self._keep(replica, refusal))
        self._task = None
        for other in list(node.links.values()):
            if other is not link:
                node.refuse(other, "not yet", f"{node.name} is {node.state}")
        node.arm("rehabilitate", 1)

    def _keep(self, replica: Replica, refusal: Refuse) -> Exile:
        unfinished = any(exile.own for exile in self._exiles)  # what was submitted meanwhile is of that alone
        if not unfinished:
            self._former |= self._attempts
            self._attempts.clear()
        roster = replica.roster
        self._former = {r: seen for r, seen in self._former.items() if r in roster.members or r in roster.graves}
        exile = Exile(
            replica,
            refusal.buried,
            refusal.final_seq,
            keeps_own=not unfinished,
            former=dict(self._former),
            attempts=frozenset(self._attempts),
        )
        (self._attempts if unfinished else self._former)[replica.me] = exile.observed
        return exile

    def handle_timer(self) -> None:
        """Do the next slice of what is under way."""
        node = self._node
        if node.state == DEAD:
            if self._exiles and self._exiles[-1].gather(node.replica, GATHER_OPERATIONS):
                node.arm("rehabilitate", 1)
            else:
                self._wipe()
        elif node.state == REHABILITATING and self._task is not None:
            self._submit(self._task)

    def _wipe(self) -> None:
        node = self._node
        kept = self.operations_left
        lost = self._exiles[-1].lost if self._exiles else 0
        if lost:
            node.notify("error", "own operations are no longer in the log and cannot be submitted", operations=lost)
        node.notify("warning", "wiping the data, joining anew", operations_kept=kept, addresses=self._addresses)
        node.become(WAITING)
        node.become_replica()
        node.joining.begin_anew(self._addresses)

    @property
    def is_under_way(self) -> bool:
        """Whether this node is coming back, from the refusal on until it serves again."""
        if self._node.state in (DEAD, REHABILITATING):
            return True
        awaits_birth = self._node.state in (WAITING, JOINING)
        return any(exile.own or (exile.held and awaits_birth) for exile in self._exiles)

    @property
    def operations_left(self) -> int:
        """How many operations are kept that are not yet submitted. O(batches)."""
        if self._task is not None:
            return self._task.operations_left
        return sum(entry.width for exile in self._exiles for entry in exile.own)

    @property
    def operations_held(self) -> int:
        """How many operations of others are kept that nobody else may be able to bring. O(batches)."""
        return sum(entry.width for exile in self._exiles for entry in exile.held)

    @property
    def unsubmitted(self) -> str:
        """What is lost if this node ends now, in words. O(batches)."""
        held = self.operations_held
        others = f", and {held} of others that perhaps nobody else has" if held else ""
        return f"{self.operations_left} operations that only this node had{others}"

    def tell_the_rest(self) -> None:
        """The node ends: say what is still in the report, which ends with it. O(rows)."""
        self.report.drop_claimed(self._node.replica.roster.claims)
        for row in self.report:
            self._node.notify("error", "not submitted", **row.fields())

    # -- born again

    def handle_name_taken(self) -> bool:
        """Somebody has our name: whether we join with another one, to submit and leave."""
        node = self._node
        if not self._exiles:
            return False
        stem, _, number = node.name.rpartition("~")
        node.name = f"{stem}~{int(number) + 1}" if stem and number.isdigit() else f"{node.name}~2"
        node.replica.name = node.name
        self.leaves = True
        node.notify("warning", "the name is taken, joining under another one, to submit and leave", name=node.name)
        return True

    def handle_born(self) -> None:
        """The node is a member: it serves, but for what it kept. O(log)."""
        node = self._node
        if not self._exiles:
            node.become(SERVING)
            return
        self._task = Rehabilitation(node.replica, self._exiles, self.report, self._renamed)
        node.become(REHABILITATING)
        node.arm("rehabilitate", 1)

    def _submit(self, task: Rehabilitation) -> None:
        node = self._node
        if node.budget.is_used_up or task.is_waiting:
            node.arm("rehabilitate", WAIT_MS)
        elif task.step(self.submit_operations):
            node.arm("rehabilitate", 1)
        else:
            self._finish(task)

    def _finish(self, task: Rehabilitation) -> None:
        node = self._node
        self._task = None
        self._exiles = [exile for exile in self._exiles if exile.held]
        node.counters["rehabilitations"] += 1
        severity = "warning" if len(self.report) else "info"
        node.notify(severity, "rehabilitated", **task.counters, report=len(self.report))
        node.become(SERVING)
        if self.leaves:
            node.leave()

    # -- the report

    def handle_interval(self) -> None:
        """Look for what others have brought or submitted meanwhile. O(rows), where something has changed."""
        node = self._node
        if node.state != SERVING:
            return
        claims = node.replica.roster.claims
        if len(self.report) and claims.version != self._claims:
            self._claims = claims.version
            self.report.drop_claimed(claims)
        self._intervals += 1
        if self._exiles and self._intervals % HELD_INTERVALS == 0:
            for exile in self._exiles:
                sort_held(exile, node.replica, self.report, HELD_BATCHES)
            self._exiles = [exile for exile in self._exiles if exile.held]

    def rows(self, count: int) -> list[dict[str, str | int]]:
        """The first rows of the report, for people. O(rows)."""
        self.report.drop_claimed(self._node.replica.roster.claims)
        return [row.fields() for row in islice(self.report, count)]

    def replay(self, ids: list[str]) -> int:
        """Submit rows of the report after all, each in a batch of its own; how many were. Where `ids` is empty, the
        first `REPLAY_ROWS`. What somebody else has submitted is not among them. O(rows).

        Raises:
            UsageError: there is no such row; nothing was changed.
        """
        done = 0
        for row in self._chosen(ids)[: len(ids) or REPLAY_ROWS]:
            self._node.replica.cut()
            done += replay(self._node.replica, row, self._renamed)
            self.report.drop(row.dot)
        return done

    def dismiss(self, ids: list[str]) -> int:
        """Take rows out of the report, all where `ids` is empty; how many.

        Raises:
            UsageError: there is no such row; nothing was changed.
        """
        rows = self._chosen(ids)
        for row in rows:
            self.report.drop(row.dot)
        return len(rows)

    def _chosen(self, ids: list[str]) -> list[Row]:
        self.report.drop_claimed(self._node.replica.roster.claims)
        if not ids:
            return list(self.report)
        rows: list[Row] = []
        for each in dict.fromkeys(ids):
            dot = _parse_dot(each)
            row = None if dot is None else self.report.get(dot)
            if row is None:
                raise UsageError(f"no operation {each!r} is in the report: it was never there, or is submitted by now")
            rows.append(row)
        return rows


def _parse_dot(text: str) -> Dot | None:
    replica, _, seq = text.partition(":")
    found = parse_id(replica)
    return (found, int(seq)) if found is not None and seq.isascii() and seq.isdigit() else None


def proof(node: "Node", peer: ReplicaId, line: list[ReplicaId]) -> tuple[int, ReplicaId]:
    """Final seq and whose it is, for somebody who is refused: its own, or that of the first of the dead in its line of
    sponsors; zeros without a gravestone. O(line)."""
    roster = node.replica.roster
    buried = peer if roster.presumed_dead(peer) else roster.first_dead(line)
    return (node.replica.final_seq(buried), buried) if buried else (0, 0)
