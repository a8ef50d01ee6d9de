"""The order of a sorted set, against its specification: a sorted list of pairs of a double and a member."""

from bisect import bisect_left, insort
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.crdts.score_order import BLOCK_ENTRIES, GROUP_BLOCKS, ScoreOrder

INFINITE = float("inf")
SCORES = [-INFINITE, -2.5, -0.0, 0.0, 5e-324, 1.0, 1.0, 1.0, 2.0, 1e308, INFINITE]
Entry = tuple[float, bytes]

BLOCKS = st.integers(4, 9)
ENTRIES = st.tuples(st.sampled_from(SCORES), st.integers(0, 40).map(lambda number: b"%d" % number))


def entries_before(entries: list[Entry], score: float, *, including: bool) -> int:
    """The specification of `before`."""
    return sum(1 for other, _ in entries if other < score or (including and other == score))


def agree(order: ScoreOrder, entries: list[Entry]) -> None:
    """Whatever can be asked is answered as the sorted list answers it."""
    order._check()
    assert len(order) == len(entries) and list(order) == entries
    assert [order.rank(score, member) for score, member in entries] == list(range(len(entries)))
    for score in (*SCORES, -1.0, 3.0):
        for including in (False, True):
            assert order.before(score, including=including) == entries_before(entries, score, including=including)
    members = [member for _, member in entries]
    for start in range(len(entries) + 1):
        for stop in {start, min(start + 1, len(entries)), (start + len(entries)) // 2, len(entries)}:
            assert order.slice(start, stop) == members[start:stop]


@given(BLOCKS, st.lists(st.tuples(ENTRIES, st.booleans()), max_size=150))
def test_it_is_a_sorted_list_of_pairs(block_entries: int, changes: list[tuple[Entry, bool]]) -> None:
    order, entries = ScoreOrder(block_entries), list[Entry]()
    for entry, popping in changes:
        if entry in entries:
            entries.remove(entry)
            order.remove(*entry)
        elif popping and entries:
            entries.pop()
            order.pop()
        else:
            insort(entries, entry)
            order.add(*entry)
        order._check()
        assert list(order) == entries
    agree(order, entries)


@pytest.mark.parametrize("scores", ["all equal", "few", "distinct", "ascending", "descending"])
@pytest.mark.parametrize("block_entries", [4, 5, 32])
def test_it_grows_and_shrinks_again(scores: str, block_entries: int) -> None:
    rng = Random(block_entries)
    order, entries = ScoreOrder(block_entries), list[Entry]()

    def score(number: int) -> float:
        if scores == "all equal":
            return 7.0
        if scores == "few":
            return float(rng.randrange(3))
        return float(number if scores == "ascending" else -number) if scores != "distinct" else rng.random()

    def remove(at: int) -> None:
        order.remove(*entries.pop(at))
        probe()

    def probe() -> None:
        order._check()
        if entries:
            at = rng.randrange(len(entries))
            assert order.rank(*entries[at]) == at
            assert order.slice(at, len(entries)) == [member for _, member in entries[at:]]

    for number in range(400):
        entry = (score(number), b"%d" % rng.randrange(10**9))
        insort(entries, entry)
        order.add(*entry)
        probe()
    agree(order, entries)
    at = bisect_left(entries, entries[200])
    for _ in range(150):  # one place after the other, so blocks empty between full ones
        remove(at)
    agree(order, entries)
    while entries:
        remove(rng.randrange(len(entries)))
    agree(order, entries)


def test_entries_that_come_in_order_fill_their_blocks() -> None:
    order = ScoreOrder()
    for number in range(10 * BLOCK_ENTRIES):
        order.add(float(number), b"m")
    order._check()
    assert len(order._blocks) == 10


def test_blocks_that_merge_across_the_end_of_a_group_are_counted_in_the_first() -> None:
    order = ScoreOrder(8)
    entries = [(float(number), b"m") for number in range(8 * (GROUP_BLOCKS + 2))]
    for entry in entries:
        order.add(*entry)
    assert order.rank(*entries[-1]) == len(entries) - 1
    end = 8 * GROUP_BLOCKS
    for at in (*range(end - 8, end - 2), *range(end, end + 7)):
        order.remove(*entries[at])
        order._check()
    assert len(order._blocks) == GROUP_BLOCKS + 1
    assert order.rank(*entries[-1]) == len(entries) - 14


def test_an_entry_that_is_not_there_cannot_be_removed() -> None:
    order = ScoreOrder()
    for member in (b"a", b"c"):
        order.add(1.0, member)
    with pytest.raises(AssertionError):
        order.remove(1.0, b"b")
    assert list(order) == [(1.0, b"a"), (1.0, b"c")]
    order._check()


@pytest.mark.parametrize("fault", ["a bound", "a size", "a group", "an order", "a small block", "an empty block"])
def test_the_check_finds_what_is_wrong(fault: str) -> None:
    order = ScoreOrder(8)
    for number in range(24):
        order.add(float(number), b"m")
    assert order.rank(12.0, b"m") == 12 and order.slice(12, 13) == [b"m"]
    order._check()
    if fault == "a bound":
        order._bounds[0] += 1.5
    elif fault == "a size":
        order._sizes[0] -= 1
    elif fault == "a group":
        order._groups[0] += 1
    elif fault == "an order":
        order._blocks[1].scores[2] = 3.0
    else:
        for at in (0, 1):
            kept = 0 if fault == "an empty block" else 1
            block = order._blocks[at]
            block.scores = block.scores[:kept]
            del block.members[kept:]
            order._size -= order._sizes[at] - kept
            order._sizes[at] = kept
    with pytest.raises(AssertionError):
        order._check()
