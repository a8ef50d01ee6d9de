"""Clocks of a node beside those of its members: bounds, steps, and peers from the future."""

from marmoset.codec.messages import Refuse
from marmoset.codec.operations import Assign
from tests.node.group import WALL_MS, Alone

HOUR = 3_600_000


def three_alone() -> tuple[Alone, int, int]:
    alone = Alone()
    return alone, alone.let_in(50), alone.let_in(60, "n3")


def test_one_peer_out_of_bound_is_refused_and_a_majority_out_of_bound_means_us() -> None:
    alone, b, c = three_alone()
    alone.hear(b, alone.gossip(50, 1, answer=True, wall_ms=alone.time.wall + HOUR))
    assert [m.code for m in alone.said[b] if isinstance(m, Refuse)] == ["clock"]
    assert alone.node.refusal(write=True) is None
    alone.hear(c, alone.gossip(60, 1, answer=True, wall_ms=alone.time.wall + HOUR))
    assert str(alone.node.refusal(write=True)).startswith("CLOCK") and alone.node.refusal(write=False) is None
    assert alone.refusal(alone.hello(50)) is None, "compared again, and right"
    assert alone.node.refusal(write=True) is None


def test_a_round_trip_is_taken_into_account() -> None:
    alone, b, _ = three_alone()
    sent = alone.gossip(50, 1, answer=True)
    alone.run(400)
    alone.hear(b, sent)
    assert alone.node.meeting.clock_offsets[50] == -200
    assert alone.node.meeting.clock_offsets.keys() == {50}


def test_a_large_step_of_the_clock_is_followed_once_others_agree() -> None:
    alone, b, c = three_alone()
    before = alone.node.wall_ms()
    alone.time.wall += HOUR
    alone.node.replica.submit(Assign(b"k", b"v"))
    alone.node.end_turn()
    assert alone.node.clock_ms() < before + 1000
    alone.hear(b, alone.gossip(50, 1, answer=True, wall_ms=alone.time.wall - HOUR))
    assert alone.node.wall_ms() < before + 1000, "one that was compared does not agree"
    alone.hear(c, alone.gossip(60, 1, answer=True))
    assert alone.node.wall_ms() < before + 1000, "one against one"
    again = alone.link()
    alone.hear(again, alone.hello(50))
    assert alone.node.wall_ms() < before + 1000, "a Hello may have waited for us for long"
    alone.hear(again, alone.gossip(50, 2, answer=True))
    assert alone.node.wall_ms() == alone.time.wall, "they all agree now: we have slept"
    assert alone.events("followed a step of the wall clock that others confirm")


def test_a_node_that_has_nobody_follows_its_own_clock() -> None:
    alone = Alone()
    alone.time.wall += HOUR
    alone.node.replica.submit(Assign(b"k", b"v"))
    alone.node.end_turn()
    assert alone.node.clock_ms() == alone.time.wall


def test_a_clock_that_is_set_back_does_not_set_stamps_back() -> None:
    alone = Alone()
    first = alone.node.wall_ms()
    alone.time.wall -= HOUR
    alone.run(1000)
    assert first + 450 <= alone.node.wall_ms() <= first + 550


def test_a_peer_from_the_future_does_not_move_our_clock() -> None:
    alone, b, _ = three_alone()
    stamp = (WALL_MS + 50 * 365 * 24 * HOUR) << 16
    alone.hear(b, alone.batch(50, [Assign(b"k", b"wins for ever")], stamp=stamp))
    assert [m.code for m in alone.said[b] if isinstance(m, Refuse)] == ["clock"]
    assert alone.node.replica.keyspace.get(b"k") is None and alone.node.clock_ms() < WALL_MS + HOUR
    (refused,) = alone.events("refused a link")
    assert (refused["peer"], refused["code"]) == ("n2", "clock")
