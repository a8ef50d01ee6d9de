"""Which operations were submitted again: a set of dots, as ranges."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.replication.claims import Claims

ranges = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 5)), min_size=1, max_size=4)


@given(st.lists(st.tuples(st.sampled_from([1, 2]), ranges), max_size=8))
def test_it_covers_exactly_what_was_claimed(claimed: list[tuple[int, list[tuple[int, int]]]]) -> None:
    claims, dots = Claims(), set()
    for replica, seqs in claimed:
        claims.add(replica, seqs, 5)
        claims._check()
        dots |= {(replica, first + n) for first, count in seqs for n in range(count)}
    for replica in (1, 2, 3):
        for seq in range(40):
            assert claims.covers((replica, seq)) == ((replica, seq) in dots)
    copy = Claims()
    for replica, since_ms, seqs in claims.rows():
        copy.add(replica, seqs, since_ms)
    assert copy.rows() == claims.rows()


def test_they_go_when_they_are_old() -> None:
    claims = Claims()
    claims.add(1, [(1, 2)], 100)
    claims.add(2, [(1, 2)], 100)
    claims.add(2, [(5, 1)], 200)
    claims.forget_before(150)
    assert not claims.covers((1, 1)) and claims.covers((2, 1)), "the last claim on a replica keeps the others"
