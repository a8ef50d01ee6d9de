"""What a batch is refused for before anything of it is done, and what becomes of a replica in which one breaks."""

import pytest

from marmoset.codec.messages import Batch, KnownRow, Report
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Bury,
    Inside,
    Join,
    MapAssign,
    Ready,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
)
from marmoset.codec.wire import encode_operations
from marmoset.errors import InternalError, PeerError
from marmoset.keyspace import Keyspace
from marmoset.replication.replica import Replica
from marmoset.replication.validation import CONTEXT_MAX
from marmoset.replication.verdicts import APPLIED

PEER = 50


@pytest.fixture
def replica() -> Replica:
    """A group of one and a member that is played."""
    made = Replica(
        keyspace=Keyspace(100),
        wall_ms=lambda: 1000,
        name="n1",
        address="",
        frame_bytes_max=1 << 20,
        batch_operations_max=9,
    )
    made.begin(1)
    made.begin_group(7)
    made.submit_roster([Join(PEER, "n2", "")])
    return made


def batch(replica: Replica, *operations: AnyOperation, count: int | None = None, **changes: object) -> Batch:
    fields: dict[str, object] = {
        "origin": PEER,
        "first": replica.seen[PEER] + 1,
        "count": len(operations) if count is None else count,
        "stamp": 1 << 20,
        "state": 1,
        "raised": [],
        "dropped": [],
        "operations": encode_operations(list(operations), PEER, replica.seen[PEER] + 1),
        **changes,
    }
    return Batch(**fields)  # type: ignore[arg-type]


MISSING = (PEER, 99)
INSERT = SequenceInsert(b"l", None, None, [b"a"])


@pytest.mark.parametrize(
    "operations",
    [
        [Ready(), Assign(b"k", b"v")],
        [Join(60, "n3", ""), Join(60, "n4", "")],
        [Join(PEER, "n3", "")],
        [SequenceInsert(b"l", MISSING, None, [b"a"])],
        [SequenceInsert(b"l", None, MISSING, [b"a"])],
        [SequenceRemove(b"l", [(PEER, 1, 1 << 50)])],
        [SequenceRemove(b"l", [(1, 9, 1)])],
        [SequenceAssign(b"l", MISSING, b"z")],
        [Assign(b"k", b"v"), Inside(b"h", [b"f"], SequenceInsert(b"", MISSING, None, [b"a"]))],
    ],
)
def test_batches_that_no_correct_replica_makes(replica: Replica, operations: list[AnyOperation]) -> None:
    with pytest.raises(PeerError) as caught:
        replica.apply(batch(replica, *operations), b"framed")
    assert not caught.value.changed and not replica.unsound
    assert replica.seen[PEER] == 0 and len(replica.keyspace) == 0
    replica._check()
    assert replica.apply(batch(replica, INSERT, SequenceInsert(b"l", (PEER, 1), None, [b"b"])), b"framed") == APPLIED


def test_a_count_that_lies_and_a_context_that_is_too_large(replica: Replica) -> None:
    for bad in (
        batch(replica, INSERT, count=2),
        batch(replica, INSERT, raised=[(r, 1) for r in range(100, 101 + CONTEXT_MAX)]),
    ):
        with pytest.raises(PeerError):
            replica.apply(bad, b"framed")
    assert replica.seen[PEER] == 0


def test_a_report_of_more_than_its_sender_has_is_refused(replica: Replica) -> None:
    row = KnownRow(1, 9, 0, [(PEER, 5)])
    with pytest.raises(PeerError, match="more than its sender has"):
        replica.count_report(Report(KnownRow(PEER, 1, 0, [(1, 1), (PEER, 0)]), [row]))
    replica._check()


BACKWARDS = SequenceInsert(b"l", (PEER, 2), (PEER, 1), [b"x"])
"""Both neighbours are there, in the wrong order."""


def test_what_breaks_first_changes_nothing(replica: Replica) -> None:
    both = batch(replica, SequenceInsert(b"l", None, None, [b"a", b"b"]), SetAdd(b"l", [b"e"]), count=3)
    replica.apply(both, b"framed")
    before = (replica.keyspace.get(b"l"), dict(replica.seen))
    with pytest.raises(InternalError) as caught:
        replica.apply(batch(replica, BACKWARDS), b"framed")
    assert not caught.value.changed and not replica.unsound
    assert (replica.keyspace.get(b"l"), dict(replica.seen)) == before
    assert [kind for kind, _ in replica.keyspace.conflicts(b"l")], "what stood beside is still there"
    replica._check()


@pytest.mark.parametrize("first", [Assign(b"k", b"v"), MapAssign(b"h", [b"f", b"v"])])
def test_what_breaks_in_the_middle_is_remembered_until_all_begins_again(replica: Replica, first: AnyOperation) -> None:
    replica.apply(batch(replica, SequenceInsert(b"l", None, None, [b"a", b"b"]), count=2), b"framed")
    with pytest.raises(InternalError) as caught:
        replica.apply(batch(replica, first, BACKWARDS), b"framed")
    assert caught.value.changed and "half of a batch" in replica.unsound
    replica.begin(2)
    assert replica.unsound == ""


@pytest.mark.interpreted
def test_a_fault_while_folding_is_remembered(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(*_: object) -> None:
        raise KeyError("on purpose")

    replica.submit(Assign(b"k", b"v"))
    replica.commit()
    replica.submit_roster([Bury(PEER)])
    monkeypatch.setattr(Keyspace, "fold", fold)
    with pytest.raises(InternalError):
        while replica.advance():
            replica.fold_slice(10)
    assert "folded" in replica.unsound
