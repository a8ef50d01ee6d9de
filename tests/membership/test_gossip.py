"""Liveness by counters: the table of states, what a digest teaches, and who is never blamed."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marmoset.membership.gossip import ALIVE, STATES, SUSPECT, UNREACHABLE, Membership


def membership(*others: int, now_ms: int = 0) -> Membership:
    table = Membership(1, suspect_after_ms=2000, unreachable_after_ms=5000)
    for replica in others:
        table.add(replica, now_ms)
    return table


@pytest.mark.parametrize(
    ("silent_ms", "state"),
    [(0, ALIVE), (1999, ALIVE), (2000, SUSPECT), (4999, SUSPECT), (5000, UNREACHABLE), (10**9, UNREACHABLE)],
)
def test_silence_alone_decides(silent_ms: int, state: str) -> None:
    table = membership(2, now_ms=100)
    assert table.state(2, 100 + silent_ms) == state
    assert table.silent_ms(2, 100 + silent_ms) == silent_ms


def test_we_are_alive_and_strangers_are_unreachable() -> None:
    table = membership(2)
    table.add(1, 0)
    assert 1 not in table.contacts
    assert table.state(1, 10**9) == ALIVE and table.state(77, 0) == UNREACHABLE
    assert table.silent_ms(1, 500) == table.silent_ms(77, 500) == 0


def test_every_change_of_state_is_told_once() -> None:
    table = membership(2, 3)
    told = []
    for now in range(0, 9001, 500):
        if now == 6000:
            table.merge([(3, 1)], now)
        told += table.tick(now)
    assert told == [
        (2, ALIVE, SUSPECT), (3, ALIVE, SUSPECT), (2, SUSPECT, UNREACHABLE), (3, SUSPECT, UNREACHABLE),
        (3, UNREACHABLE, ALIVE), (3, ALIVE, SUSPECT),
    ]  # fmt: skip
    assert table.counter == 19
    table._check()


def test_a_counter_that_grows_is_heard_over_any_path_and_one_that_does_not_is_old_news() -> None:
    table = membership(2, 3)
    table.merge([(2, 5), (3, 1)], 1000)
    assert table.silent_ms(2, 1000) == 0
    table.merge([(2, 5)], 3000)
    table.merge([(2, 4)], 3000)
    assert table.silent_ms(2, 3000) == 2000
    assert table.is_heard_since(2, 999) and not table.is_heard_since(2, 1000)
    table.merge([(2, 6)], 3000)
    assert table.silent_ms(2, 3000) == 0


def test_nothing_is_learned_of_ourselves_or_of_strangers() -> None:
    table = membership(2)
    table.merge([(1, 99), (77, 99)], 10)
    assert table.counter == 0 and 77 not in table.contacts
    assert not table.is_heard_since(77, 0)


def test_the_digest_has_everybody_in_the_order_of_ids() -> None:
    table = membership(9, 4)
    table.tick(0)
    table.merge([(4, 7)], 1)
    assert table.digest() == [(1, 1), (4, 7), (9, 0)]


def test_the_choice_is_among_the_candidates_and_the_generators_alone() -> None:
    table = membership(2, 3, 4)
    assert table.choose([], Random(1)) is None
    assert {table.choose([4, 2, 3], Random(seed)) for seed in range(40)} == {2, 3, 4}
    assert table.choose([4, 2, 3], Random(5)) == table.choose([3, 4, 2], Random(5)), "whatever order they come in"


def test_who_is_taken_out_is_followed_no_more() -> None:
    table = membership(2, 3)
    table.remove(2)
    table.remove(77)
    assert sorted(table.contacts) == [3] and table.state(2, 0) == UNREACHABLE
    table.merge([(2, 9)], 5)
    assert 2 not in table.contacts


def test_adding_again_changes_nothing() -> None:
    table = membership(2)
    table.merge([(2, 5)], 700)
    table.add(2, 9000)
    assert table.silent_ms(2, 9000) == 8300


def test_whoever_was_stopped_blames_nobody_for_the_time_it_lost() -> None:
    table = Membership(1, 2000, 5000, interval_ms=200)
    table.add(2, 0)
    for now in range(0, 1001, 200):
        table.tick(now)
    assert table.tick(61_000) == []
    assert table.state(2, 61_000) == ALIVE
    told = [change for now in range(61_200, 70_000, 200) for change in table.tick(now)]
    assert told == [(2, ALIVE, SUSPECT), (2, SUSPECT, UNREACHABLE)]


def test_unreachable_is_counted_from_the_tick_that_sees_it_and_without_a_break() -> None:
    table = Membership(1, 2000, 5000, interval_ms=500)
    table.add(2, 0)
    seen = []
    for now in range(0, 9001, 500):
        if now == 8000:
            table.merge([(2, 1)], now)
        table.tick(now)
        seen.append(table.unreachable_ms(2, now))
    assert seen == [0] * 11 + [500, 1000, 1500, 2000, 2500, 0, 0, 0]
    assert table.unreachable_ms(1, 9000) == table.unreachable_ms(77, 9000) == 0


def test_whoever_slept_has_not_found_anybody_unreachable() -> None:
    table = Membership(1, 2000, 5000, interval_ms=500)
    table.add(2, 0)
    for now in range(0, 20_001, 500):
        table.tick(now)
    assert table.unreachable_ms(2, 20_400) == 15_000
    assert table.unreachable_ms(2, 80_000) == 0, "before it has noticed that it slept"
    table.tick(80_000)
    assert table.unreachable_ms(2, 80_000) == 0
    table.tick(80_500)
    assert table.unreachable_ms(2, 80_500) == 500


@given(st.lists(st.tuples(st.integers(0, 3000), st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9))))))
def test_any_digests_in_any_order_leave_a_sound_table(steps: list[tuple[int, list[tuple[int, int]]]]) -> None:
    table = membership(2, 3, 4)
    now = 0
    counters = {2: 0, 3: 0, 4: 0}
    for passed, digest in steps:
        now += passed
        table.merge(digest, now)
        table.tick(now)
        for replica, counter in digest:
            if replica in counters:
                counters[replica] = max(counters[replica], counter)
        assert {r: contact.counter for r, contact in table.contacts.items()} == counters
        assert all(table.state(r, now) in STATES for r in counters)
        table._check()
