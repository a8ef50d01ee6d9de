"""Reports: rows for people, and what takes them out."""

from marmoset.codec.operations import AnyOperation, Assign, Flush, Inside, MapAssign, SequenceRemove, SetAdd
from marmoset.replication.claims import Claims
from marmoset.replication.rehabilitation import Exile
from marmoset.replication.report import CHANGED, REASONS, Report, Row, operation_text
from tests.replication.group import new_replica


def rows(*operations: AnyOperation) -> Report:
    exile = Exile(new_replica(7), 0, 0)
    report = Report()
    for seq, operation in enumerate(operations, 1):
        report.put(Row((7, seq), operation, (5000 << 16) + 3, CHANGED, "ada", exile))
    return report


def test_a_row_has_all_that_an_operator_needs() -> None:
    (row,) = rows(Assign(b"k\xff", b"v"))
    assert row.fields() == {
        "id": "000000000000007:1",
        "key": "k\\xff",
        "operation": "Assign v False",
        "stamp_ms": 5000,
        "stamp_counter": 3,
        "written_by": "ada",
        "reason": CHANGED,
    }
    assert len(set(REASONS)) == len(REASONS)


def test_operations_as_text() -> None:
    assert operation_text(Flush()) == "Flush"
    assert operation_text(MapAssign(b"k", [b"f", b"1", b"g", 2])) == "MapAssign f 1 g 2"
    assert operation_text(Inside(b"k", [b"f", b"u"], SetAdd(b"", [b"e"]))) == "f.u: SetAdd e"
    assert operation_text(SequenceRemove(b"l", [(7, 3, 2)])) == "SequenceRemove 000000000000007:3:2"
    assert operation_text(SetAdd(b"u", [b"%d" % n for n in range(30)])).endswith("15 … (30 in all)")


def test_claimed_rows_go() -> None:
    report, claims = rows(Flush(), Flush(), Flush()), Claims()
    claims.add(7, [(2, 1)], 0)
    report.drop_claimed(claims)
    assert [row.dot for row in report] == [(7, 1), (7, 3)] and (7, 2) not in report
    report.drop((7, 1))
    report.drop((7, 1))
    assert len(report) == 1 and report.get((7, 3)) is not None and report.get((7, 1)) is None
