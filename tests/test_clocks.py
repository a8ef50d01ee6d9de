"""Vectors whose missing entries have two meanings, the hybrid clock, and the wall clock behind it."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import (
    COUNTER_BITS,
    EVERYTHING_SEQ,
    Context,
    HybridClock,
    LocalContext,
    WallClock,
    latest_stamp,
    stamp_ms,
    upto,
)
from marmoset.ids import Dot

FIRST, SPONSOR, NEWCOMER, LATE = 1, 2, 3, 4
JOINS: dict[int, Dot] = {SPONSOR: (FIRST, 5), NEWCOMER: (SPONSOR, 7), LATE: (NEWCOMER, 9)}


# -- vectors


def test_an_entry_is_taken_as_it_is() -> None:
    assert upto({NEWCOMER: 4, SPONSOR: 0}, NEWCOMER, JOINS) == 4


def test_no_entry_where_the_join_is_covered_means_everything() -> None:
    assert upto({FIRST: 5, SPONSOR: 7}, NEWCOMER, JOINS) == EVERYTHING_SEQ


def test_no_entry_where_the_join_is_not_covered_means_nothing_yet() -> None:
    assert upto({FIRST: 5, SPONSOR: 6}, NEWCOMER, JOINS) == 0


def test_no_entry_of_a_replica_without_a_join_means_everything() -> None:
    assert upto({SPONSOR: 1}, FIRST, JOINS) == EVERYTHING_SEQ
    assert upto({}, 99, JOINS) == EVERYTHING_SEQ


def test_where_the_sponsor_has_no_entry_its_own_line_decides() -> None:
    assert upto({FIRST: 5}, NEWCOMER, JOINS) == EVERYTHING_SEQ  # the sponsor was known there, and is forgotten
    assert upto({FIRST: 4}, NEWCOMER, JOINS) == 0  # the sponsor itself is not known there yet
    assert upto({FIRST: 5}, LATE, JOINS) == EVERYTHING_SEQ
    assert upto({FIRST: 4}, LATE, JOINS) == 0


@given(
    st.dictionaries(st.integers(1, 6), st.integers(0, 9)),
    st.dictionaries(st.integers(2, 6), st.tuples(st.integers(1, 5), st.integers(1, 9))),
    st.integers(1, 6),
    st.integers(1, 12),
)
def test_a_context_covers_exactly_what_its_vector_reaches(
    vector: dict[int, int], joins: dict[int, Dot], replica: int, seq: int
) -> None:
    joins = {r: dot for r, dot in joins.items() if dot[0] < r}  # a line of sponsors ends
    assert Context(vector, joins).covers((replica, seq)) == (seq <= upto(vector, replica, joins))

    def model(who: int) -> int:  # the rule of DESIGN.md 4.7, said recursively
        if who in vector:
            return vector[who]
        join = joins.get(who)
        return EVERYTHING_SEQ if join is None or join[1] <= model(join[0]) else 0

    assert upto(vector, replica, joins) == model(replica)


def test_an_operation_of_our_own_has_observed_everything() -> None:
    assert LocalContext().covers((NEWCOMER, 1 << 59))


# -- the hybrid clock


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 44))))
def test_stamps_only_grow_and_are_later_than_every_stamp_that_was_merged(events: list[tuple[bool, int]]) -> None:
    clock = HybridClock()
    latest = 0
    for is_tick, value in events:
        if is_tick:
            stamp = clock.tick(value)
            assert stamp > latest
            assert stamp_ms(stamp) >= value
            latest = stamp
        else:
            clock.merge(value << 8)
            latest = max(latest, value << 8)
        assert clock.stamp >= latest


def test_a_clock_that_stands_still_counts() -> None:
    clock = HybridClock()
    first = clock.tick(1000)
    assert first == 1000 << COUNTER_BITS
    assert [clock.tick(1000), clock.tick(999)] == [first + 1, first + 2]
    assert clock.tick(1001) == 1001 << COUNTER_BITS


@given(st.integers(0, 1 << 44))
def test_the_latest_stamp_of_a_moment_is_followed_by_the_next_moment(moment: int) -> None:
    assert stamp_ms(latest_stamp(moment)) == moment
    assert latest_stamp(moment) + 1 == (moment + 1) << COUNTER_BITS


# -- the wall clock


def test_readings_are_followed_forwards_at_once() -> None:
    clock = WallClock(10_000)
    assert clock.read(0, 1_000_000) == 1_000_000
    assert clock.read(100, 1_000_100) == 1_000_100
    assert clock.read(200, 1_000_200 + 9_999) == 1_010_199
    assert clock.held_since_ms is None


def test_a_large_step_forwards_is_held_until_it_is_confirmed() -> None:
    clock = WallClock(10_000)
    clock.read(0, 1_000_000)
    assert clock.read(100, 4_000_000) == 1_000_100
    assert clock.held_since_ms == 100
    assert clock.read(300, 4_000_200) == 1_000_300  # it runs on meanwhile
    assert clock.held_since_ms == 100
    assert clock.confirm(400, 4_000_300) == 4_000_300
    assert clock.held_since_ms is None
    assert clock.read(500, 4_000_400) == 4_000_400


def test_a_step_that_is_taken_back_was_nothing() -> None:
    clock = WallClock(10_000)
    clock.read(0, 1_000_000)
    clock.read(100, 4_000_000)
    assert clock.read(200, 1_000_200) == 1_000_200
    assert clock.held_since_ms is None
    assert clock.confirm(300, 1_000_300) == 1_000_300


def test_a_sleep_that_the_monotonic_clock_counts_is_no_step() -> None:
    clock = WallClock(10_000)
    clock.read(0, 1_000_000)
    assert clock.read(3_600_000, 4_600_000) == 4_600_000


def test_readings_that_go_back_slow_the_clock_to_half_speed() -> None:
    clock = WallClock(10_000)
    clock.read(0, 1_000_000)
    values = [clock.read(ms, 1_000_000 - 500 + ms) for ms in range(1, 1001)]
    assert values[99] == 1_000_050
    assert values[998] == 1_000_499
    assert clock.read(1001, 1_000_501) == 1_000_501  # caught up


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.sampled_from([0, 0, 1, -1, 500, -500, 20_000, -20_000]), st.booleans()),
        max_size=60,
    )
)
def test_the_clock_never_goes_back_nor_ahead_of_what_was_read_or_passed(steps: list[tuple[int, int, bool]]) -> None:
    clock = WallClock(10_000)
    monotonic, offset = 0, 1_000_000
    shown = clock.read(monotonic, offset)
    for passed, step, confirmed in steps:
        monotonic += passed
        offset += step
        reading = monotonic + offset
        value = clock.confirm(monotonic, reading) if confirmed else clock.read(monotonic, reading)
        assert value >= shown
        assert value <= max(reading, shown + passed)
        assert value >= shown + passed // 2
        if clock.held_since_ms is None and reading >= shown + passed:
            assert value == reading
        shown = value
