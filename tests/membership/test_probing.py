"""The order of probes: everybody once in a round, in a fresh order each time."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from marmoset.membership.probing import Order, Probe


def order(count: int, seed: int = 1) -> Order:
    made = Order(Random(seed))
    for replica in range(1, count + 1):
        made.add(replica)
    return made


def test_everybody_has_a_turn_in_each_round_and_rounds_differ() -> None:
    made = order(20)
    rounds = [[made.next() for _ in range(20)] for _ in range(5)]
    assert all(sorted(r for r in turn if r) == list(range(1, 21)) for turn in rounds)
    assert len({tuple(turn) for turn in rounds}) == 5


def test_who_joins_in_a_round_has_a_turn_in_it() -> None:
    for seed in range(30):
        made = order(10, seed)
        for _ in range(13):
            made.next()
        made.add(99)
        assert 99 in [made.next() for _ in range(8)], "seven are left of this round, and the newcomer"


def test_who_is_put_first_comes_next_and_once() -> None:
    made = order(10)
    made.put_first(7)
    made.put_first(7)
    made.put_first(3)
    made.remove(3)
    assert made.next() == 7
    assert 3 not in [made.next() for _ in range(30)]


def test_nobody_is_there_to_probe() -> None:
    assert order(0).next() is None and order(0).sample(3, set(), 0) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 12))), st.integers(0, 99))
def test_any_joins_and_leaves_keep_every_round_whole(steps: list[tuple[bool, int]], seed: int) -> None:
    made = Order(Random(seed))
    present: set[int] = set()
    for joins, replica in steps:
        if joins and replica not in present:
            made.add(replica)
            present.add(replica)
        elif not joins and replica in present:
            made.remove(replica)
            present.discard(replica)
        made.next()
        assert made.members() == present
    turn = {made.next() for _ in range(2 * len(present))}
    assert turn == present, "two rounds have everybody, wherever the first of them began"


@given(st.integers(0, 80), st.integers(0, 5), st.integers(0, 50))
def test_a_sample_has_different_members_and_none_of_the_excluded(count: int, wanted: int, seed: int) -> None:
    made, excluded = order(count, seed), set(range(1, count, 3))
    sample = made.sample(wanted, excluded, 2)
    assert len(sample) == len(set(sample)) <= wanted
    assert not set(sample) & (excluded | {2})
    allowed = [r for r in range(1, count + 1) if r not in excluded and r != 2]
    if count <= 32:
        assert len(sample) == min(wanted, len(allowed)), "in a small group nobody is missed"


def test_blame_is_what_helpers_owe_or_one_where_there_are_none() -> None:
    probe = Probe(1, 0, 7, 100)
    assert probe.blame() == 1
    probe.helpers = [2, 3, 4]
    assert probe.blame() == 3
    probe.nacks = {2, 4}
    assert probe.blame() == 1
