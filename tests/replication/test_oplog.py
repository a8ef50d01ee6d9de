"""The log: apply order, queues of origins, release from the left."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.frames import frames
from marmoset.codec.messages import Batch, encode
from marmoset.codec.operations import AnyOperation, Reset
from marmoset.codec.wire import encode_operations
from marmoset.replication.oplog import LogEntry, OpLog, log_entry
from tests.codec.strategies import batch_operations


def entry(origin: int, first: int, last: int, size: int = 10) -> LogEntry:
    return LogEntry(origin, first, last, 0, [Reset(b"k")], b"x" * size)


def test_batches_keep_the_order_in_which_they_were_applied() -> None:
    log = OpLog()
    for origin, seq in ((1, 1), (2, 1), (1, 2), (3, 1)):
        log.append(entry(origin, seq, seq))
    assert [(e.index, e.origin) for e in log.entries.values()] == [(0, 1), (1, 2), (2, 1), (3, 3)]
    assert (log.first_index, log.next_index, len(log), log.size_bytes) == (0, 4, 4, 40)
    log._check()


def test_a_batch_is_released_only_when_it_is_covered_whole_and_is_its_origins_oldest() -> None:
    log = OpLog()
    log.append(entry(1, 1, 3))
    log.append(entry(1, 4, 4))
    assert log.take_stable(1, 2, 2) is None
    assert log.take_stable(2, 99, 2) is None
    assert log.take_stable(1, 3, 0) is None
    taken = log.take_stable(1, 3, 1)
    assert taken is not None and taken.last == 3
    assert log.take_stable(1, 3, 2) is None
    assert log.first_index == 1
    assert log.take_stable(1, 99, 2) is not None
    assert (len(log), log.size_bytes, log.first_index, log.queues) == (0, 0, 2, {})
    log._check()


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans())))
def test_whatever_is_appended_and_released_the_log_agrees_with_a_list(steps: list[tuple[int, int, bool]]) -> None:
    log = OpLog()
    plain: list[LogEntry] = []
    last = {1: 0, 2: 0, 3: 0}
    for origin, count, appending in steps:
        if appending:
            plain.append(entry(origin, last[origin] + 1, last[origin] + count, count))
            last[origin] += count
            log.append(plain[-1])
        else:
            upto = last[origin] - count
            oldest = next((e for e in plain if e.origin == origin), None)
            expected = oldest if oldest is not None and oldest.last <= upto else None
            assert log.take_stable(origin, upto, log.next_index) is expected
            if expected is not None:
                plain.remove(expected)
        log._check()
        assert list(log.entries.values()) == plain
        assert log.first_index == (plain[0].index if plain else log.next_index)


@given(batch_operations, st.sampled_from([1 << 16, 9]))
def test_operations_are_read_when_they_are_asked_for_if_nobody_keeps_them(
    operations: list[AnyOperation], frame_bytes_max: int
) -> None:
    raw = encode_operations(operations, 3, 5)
    batch = Batch(3, 5, sum(each.width for each in operations), 9, 1, [(2, 7)], [], raw)
    framed = frames(encode(batch), frame_bytes_max)
    for kept in (None, operations):
        made = log_entry(batch, kept, framed)
        assert made.operations == operations and made.operations is made.operations
        made.let_go()
        assert made.operations == operations
        assert (made.origin, made.first, made.last, made.stamp) == (3, 5, batch.last, 9)
