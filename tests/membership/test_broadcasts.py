"""Rumours: how often each is passed on, in which order, and within which room."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.membership.broadcasts import ANNOUNCEMENT, Broadcasts, retransmits


def test_each_is_passed_on_a_bounded_number_of_times() -> None:
    queue = Broadcasts(4)
    queue.put(1, b"a" * 10)
    taken = sum(len(queue.take(1000, members=100)) for _ in range(50))
    assert taken == retransmits(4, 100) == 12
    assert len(queue) == 0


def test_what_was_sent_least_goes_first_and_the_newest_of_that() -> None:
    queue = Broadcasts(4)
    queue.put(1, b"a" * 10)
    queue.take(10, 5)
    queue.put(2, b"b" * 10)
    queue.put(3, b"c" * 10)
    assert queue.take(20, 5) == [b"c" * 10, b"b" * 10]
    assert len(queue.take(30, 5)) == 3


def test_later_news_takes_the_place_of_earlier_and_counts_anew() -> None:
    queue = Broadcasts(1)
    queue.put(1, b"old-------")
    queue.put(1, b"new-------")
    assert queue.take(100, 5) == [b"new-------"] and queue.take(100, 5) == []
    queue.put(1, b"claim-----")
    queue.put(1, b"announced-", ANNOUNCEMENT)
    assert len(queue.take(100, 5)) == 2, "an announcement and a claim do not replace one another"


def test_accusations_of_different_members_stand_side_by_side_until_there_is_news() -> None:
    queue = Broadcasts(4)
    queue.put(1, b"by seven--", topic=7)
    queue.put(1, b"by eight--", topic=8)
    queue.put(1, b"by seven 2", topic=7)
    assert sorted(queue.take(100, 5)) == [b"by eight--", b"by seven 2"]
    queue.put(1, b"alive-----")
    assert queue.take(100, 5) == [b"alive-----"]


def test_nothing_is_said_about_whom_one_leaves_out_or_follows_no_more() -> None:
    queue = Broadcasts(4)
    queue.put(1, b"a" * 10)
    queue.put(2, b"b" * 10)
    assert queue.take(100, 5, without=1) == [b"b" * 10]
    queue.drop(2)
    queue.drop(77)
    assert queue.take(100, 5) == [b"a" * 10]


def test_what_does_not_fit_waits_for_the_next_packet() -> None:
    queue = Broadcasts(4)
    queue.put(1, b"a" * 30)
    queue.put(2, b"b" * 10)
    assert queue.take(20, 5) == [b"b" * 10]
    assert queue.take(30, 5) == [b"a" * 30]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 6), st.integers(8, 60), st.integers(-1, 3)),
            st.tuples(st.just("take"), st.integers(0, 200), st.integers(0, 6), st.just(0)),
            st.tuples(st.just("drop"), st.integers(1, 6), st.just(0), st.just(0)),
        ),
        max_size=80,
    )
)
def test_any_use_keeps_it_sound_and_within_its_room(steps: list[tuple[str, int, int, int]]) -> None:
    queue = Broadcasts(2)
    sent: dict[bytes, int] = {}
    for number, (what, first, second, topic) in enumerate(steps):
        if what == "put":
            queue.put(first, number.to_bytes(4, "big").ljust(second, b"."), topic)
        elif what == "drop":
            queue.drop(first)
        else:
            taken = queue.take(first, 5, second)
            assert sum(map(len, taken)) <= first
            for data in taken:
                sent[data] = sent.get(data, 0) + 1
        queue._check()
    assert all(times <= retransmits(2, 5) for times in sent.values())
