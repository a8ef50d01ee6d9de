"""What must hold when a node comes back that was presumed dead (beside the floors, DESIGN.md 4.6).

At the refusal: the final seq that it is told is truly final, nobody whom the teller counts having more. When it is
done, the operations that it made above that seq are compared with what it has made under its new id and what its report
has. So is what it had made in former lives and what those had who let it in again, if they were presumed dead as well,
by others who have less of it:

- each is in one of the two, or was a reset, and none in both or twice;
- what was one transaction is one batch again, as far as it is submitted;
- what overwrote or removed and was submitted had seen, by true vectors, everything that others did at that key and that
  it takes away: nothing of others goes that its client had not seen, nothing that they removed comes back;
- what was withheld because others had changed the key was withheld with reason.

At rest: what it held of others is in the group, in its report, or claimed by somebody.

Operations are compared by what they do (`units`), since elements of sequences have other names afterwards.
"""

from collections import Counter
from collections.abc import Iterator
from typing import final

from marmoset.clocks import VersionVector
from marmoset.codec.operations import (
    AnyOperation,
    Flush,
    Increment,
    Inside,
    MapIncrement,
    Reset,
    ScoreIncrement,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.ids import Dot, ReplicaId, id_text
from marmoset.node import Node, Notify
from marmoset.replication.report import CHANGED
from marmoset.sim.cluster import Cluster
from marmoset.sim.history import Breach, History
from marmoset.sim.host import Host
from marmoset.sim.specification import Record

Unit = tuple[object, ...]
ADDING = (SetAdd, Increment, MapIncrement, ScoreIncrement, SequenceInsert)


def inside(operation: AnyOperation) -> AnyOperation:
    """What is done at the end of the path."""
    return operation.operation if isinstance(operation, Inside) else operation


def units(operation: AnyOperation) -> Iterator[Unit]:
    """What an operation does, piece by piece, without the names of elements."""
    inner = inside(operation)
    where: Unit = (type(inner).__name__, getattr(operation, "key", b""), *getattr(operation, "path", ()))
    if isinstance(inner, SetAdd):
        yield from ((*where, element) for element in inner.elements)
    elif isinstance(inner, SequenceInsert):
        yield from ((*where, value) for value in inner.values)
    elif isinstance(inner, SequenceRemove):
        yield from (where for _, _, count in inner.ranges for _ in range(count))
    elif isinstance(inner, SequenceAssign):
        yield (*where, inner.value)
    else:
        yield (*where, repr(inner))


@final
class Return:
    """One node, from its refusal on."""

    def __init__(self, host: Host, node: Node, vector: VersionVector, final_seq: int) -> None:
        self.host = host
        self.run = host.run
        self.me = node.replica.me
        self.vector = vector
        """What it truly had."""
        self.final_seq = final_seq
        self.is_done = False
        self.settled = 0
        """How far what it made was in the group when it was done."""


@final
class Returns:
    """All returns of a run."""

    def __init__(self) -> None:
        self.all: list[Return] = []

    def handle_notice(self, cluster: Cluster, host: Host, notice: Notify) -> None:
        """A node says that it was presumed dead, or that it is done."""
        if notice.event == "presumed dead":
            self._refused(cluster, host, notice)
        elif notice.event == "rehabilitated":
            self._done(cluster, host)

    def _refused(self, cluster: Cluster, host: Host, notice: Notify) -> None:
        node, witness = host.node, host.witness
        assert node is not None and witness is not None
        me, final_seq = node.replica.me, notice.fields["final_seq"]
        assert isinstance(final_seq, int)
        is_known = notice.fields["buried"] == id_text(me)
        cluster.history.exiles += 1
        self.all.append(Return(host, node, dict(witness.vector), final_seq if is_known else 0))
        teller = next(other for other in cluster.hosts if other.name == notice.fields["by"])
        if teller.node is None or teller.node.replica.me not in node.replica.roster.members:
            return  # it has ended, or begun anew, since it said so
        theirs = teller.node.replica
        if not theirs.presumed_dead(me) and not theirs.roster.first_dead(node.replica.roster.line(me)):
            raise Breach(f"{host.name} is alive, and {teller.name} says without reason that it was presumed dead")
        for other in cluster.hosts:
            if other.witness is None or other.node is None or other.node.replica.me not in theirs.roster.present():
                continue
            has = other.witness.vector.get(me, 0)
            if has > (final_seq if is_known else 0):
                raise Breach(f"{teller.name} tells {host.name} a final seq of {final_seq}, {other.name} has {has}")

    def _done(self, cluster: Cluster, host: Host) -> None:
        node, witness, history = host.node, host.witness, cluster.history
        assert node is not None and witness is not None
        lives = [each for each in self.all if each.host is host and each.run == host.run]
        returns = [each for each in lives if not each.is_done]
        cluster.counts["rehabilitations"] += 1
        lineage = {node.replica.me, *(each.me for each in lives)}
        first = returns[0]  # the others had not served: what they made was what the first one had
        written = [r for r in made_by(history, first.me) if not first.final_seq or not knows(witness.vector, r)]
        for each in lives:
            lost = [r for r in made_by(history, each.me) if not knows(witness.vector, r)] if each.is_done else []
            written += [r for r in lost if r.dot[1] <= each.settled]
        attempts = [r for each in returns[1:] for r in made_by(history, each.me) if knows(witness.vector, r)]
        made = [*attempts, *made_by(history, node.replica.me)]
        asked = {record.dot for record in written}
        rows = [row for row in node.rehabilitating.report if row.dot[0] == first.me or row.dot in asked]
        self._compare(host, written, made, [row.operation for row in rows])
        self._check_whole(host, history, first, written, made, {row.dot for row in rows})
        cluster.counts["operations_resubmitted"] += len(made)
        cluster.counts["operations_reported"] += len(rows)
        if cluster.knobs.expiry_share == 0:  # else a reset may be due to a deadline
            for record in made:
                unseen = [
                    r for r in others_at(history, record, lineage) if record.saw(r.dot) and not knows(first.vector, r)
                ]
                if unseen and not is_of_own(record.operation, lineage):
                    raise Breach(
                        f"{host.name} submits {record.operation} again, which takes {unseen[0].operation} of "
                        f"{history.name(unseen[0].dot[0])} away; that it had not seen (4.6)"
                    )
        vectors = {each.me: each.vector for each in lives}
        for row in rows:
            record = next(r for r in written if r.dot == row.dot)
            others = others_at(history, Record(row.operation, record.dot, record.stamp, record.observed), lineage)
            if row.reason == CHANGED and not any(
                knows(witness.vector, r) and not knows(vectors[row.dot[0]], r) for r in others
            ):
                raise Breach(f"{host.name} withholds {row.operation}, though nobody has changed the key (4.6)")
        for each in lives:
            known = witness.vector.get(each.me, 0)
            each.settled = min(each.settled, known) if each.is_done else known
            each.is_done = True

    def _compare(self, host: Host, written: list[Record], made: list[Record], reported: list[AnyOperation]) -> None:
        wanted = Counter(unit for record in written for unit in units(record.operation))
        found = Counter(unit for record in made for unit in units(record.operation))
        found.update(unit for operation in reported for unit in units(operation))
        for unit, count in sorted((wanted - found).items(), key=repr):
            if unit[0] != "Reset":
                raise Breach(f"{host.name} has neither submitted nor reported {unit}, {count} times (4.6)")
        for unit, count in sorted((found - wanted).items(), key=repr):
            if unit[0] != "Reset":
                raise Breach(f"{host.name} has submitted or reported {unit}, {count} times more than it was done (4.6)")

    @staticmethod
    def _check_whole(
        host: Host, history: History, old: Return, written: list[Record], made: list[Record], reported: set[Dot]
    ) -> None:
        batches: dict[tuple[ReplicaId, int], Counter[Unit]] = {}
        for record in made:
            batches.setdefault((record.dot[0], record.stamp), Counter()).update(units(record.operation))
        for start, end in history.whole(old.me):
            together = [r for r in written if start <= r.dot[1] <= end and isinstance(inside(r.operation), ADDING)]
            wanted = Counter(unit for record in together for unit in units(record.operation))
            if any(record.dot in reported for record in together):
                continue
            if wanted and not any(wanted <= batch for batch in batches.values()):
                raise Breach(f"{host.name} submits a transaction of {len(together)} additions in parts (4.6)")

    def check_rest(self, cluster: Cluster) -> None:
        """What was held of others is nowhere lost."""
        for each in self.all:
            host = each.host
            if host.run != each.run or host.node is None or host.witness is None or not each.is_done:
                continue
            rows, claims = host.node.rehabilitating.report, host.node.replica.roster.claims
            lineage = {other.me for other in self.all if other.host is host} | {host.node.replica.me}
            for record in cluster.history.records:
                if record.dot[0] in lineage or not knows(each.vector, record) or knows(host.witness.vector, record):
                    continue
                cluster.counts["held_of_others"] += record.dot in rows
                if record.dot not in rows and not claims.covers(record.dot) and not isinstance(record.operation, Reset):
                    raise Breach(
                        f"{host.name} held {record.operation} of {cluster.history.name(record.dot[0])}, which is "
                        "neither in the group nor in its report (4.6)"
                    )


def made_by(history: History, replica: ReplicaId) -> list[Record]:
    """The operations on keys of one replica."""
    return [record for record in history.records if record.dot[0] == replica]


def knows(vector: VersionVector, record: Record) -> bool:
    """Whether a true vector has an operation."""
    return vector.get(record.dot[0], 0) >= record.dot[1]


def others_at(history: History, record: Record, lineage: set[ReplicaId]) -> list[Record]:
    """What others did at the key of something that overwrote or removed, and that it gives way to."""
    inner = inside(record.operation)
    if isinstance(inner, (*ADDING, Flush)):
        return []
    places = [*history.flushes, *history.by_key.get(getattr(record.operation, "key", b""), ())]
    found = [history.records[place] for place in places if history.records[place].dot[0] not in lineage]
    if isinstance(inner, (SequenceRemove, SequenceAssign)):
        found = [r for r in found if not isinstance(inside(r.operation), ADDING)]
    return found


def is_of_own(operation: AnyOperation, lineage: set[ReplicaId]) -> bool:
    """Whether all elements that an operation names are of the returner."""
    inner = inside(operation)
    if isinstance(inner, SequenceRemove):
        return all(replica in lineage for replica, _, _ in inner.ranges)
    return isinstance(inner, SequenceAssign) and inner.element[0] in lineage
