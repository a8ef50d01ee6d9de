"""When what was written is sent: at once, but for a few writes that come fast, which wait for others a moment. And how
much is folded at a time."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.operations import Assign, Expire, Increment
from marmoset.node.pacing import (
    FAST_PER_MS,
    FOLD_MOST,
    FREE_MORE_PER_MS,
    FREE_MS_MOST,
    FREE_PER_MS,
    GARBAGE_ROOM,
    GARBAGE_SHARE,
    MANY,
    PACE_MS,
    SLICE,
    GarbagePace,
    Pace,
    SlicePace,
)
from marmoset.sim.world import US_PER_MS
from tests.node.group import Alone, Group

FAST = FAST_PER_MS + 4


def waiting_while_writing(group: Group, per_ms: int, ms: int) -> list[int]:
    """How many writes of the first node waited to be sent after each millisecond."""
    node = group[1]
    number, waiting = 0, list[int]()
    for _ in range(ms):
        for _ in range(per_ms):
            group.write(1, b"%d" % number)
            number += 1
        waiting.append(node.replica.log.next_index - node.streaming.pumped_index)
        group.run(1)
    return waiting


def test_what_comes_slowly_is_sent_in_its_turn() -> None:
    group = Group(2)
    assert not any(waiting_while_writing(group, 1, 50))
    assert not any(waiting_while_writing(group, FAST_PER_MS // 2, 50))


def test_what_comes_fast_waits_for_others() -> None:
    group = Group(2)
    waiting_while_writing(group, FAST, 10)
    waiting = waiting_while_writing(group, FAST, 10 * PACE_MS)
    assert FAST <= max(waiting) <= FAST * PACE_MS
    sent = {FAST * ms - left for ms, left in enumerate(waiting)}
    assert len(sent) <= 10 + 2, "they are sent together"
    for ms in range(10, 30):
        waiting_while_writing(group, FAST, ms)
        group.run(PACE_MS)
        node = group[1]
        assert node.streaming.pumped_index == node.replica.log.next_index, "nothing waits for longer if no more comes"
    assert group.until(group.is_at_rest) < 5000
    assert len(set(map(str, group.values()))) == 1
    group.check()


def test_what_somebody_waits_for_is_sent_at_once() -> None:
    group = Group(2)
    waiting_while_writing(group, FAST, 10)
    node = group[1]
    group.write(1, b"one more")
    known: list[int] = []
    began = group.world.now_us
    node.waiting.wait((node.replica.me, node.replica.next_seq - 1), 1, 1000, known.append)
    node.end_turn()
    assert node.streaming.pumped_index == node.replica.log.next_index
    group.settle(1)
    group.run(2)
    assert known == [1] and group.world.now_us - began <= 2 * US_PER_MS


def test_a_node_that_leaves_sends_all_at_once() -> None:
    group = Group(2)
    waiting_while_writing(group, FAST, 10)
    group.write(1, b"the last")
    node = group[1]
    node.leave()
    assert node.streaming.pumped_index == node.replica.log.next_index
    group.settle(1)
    group.until(lambda: "n1" in group.exits)
    assert group.exits["n1"].code == 0
    assert group[2].replica.keyspace.get(b"k") == b"the last"


def test_many_writes_of_one_turn_are_sent_in_it() -> None:
    group = Group(2)
    waiting_while_writing(group, FAST, 10)
    group.do(1, *(Assign(b"%d" % number, b"v") for number in range(MANY)))
    assert group[1].streaming.pumped_index == group[1].replica.log.next_index


@given(st.lists(st.tuples(st.integers(0, 2 * MANY), st.integers(0, 2 * PACE_MS)), max_size=60))
def test_nothing_waits_beyond_its_time(steps: list[tuple[int, int]]) -> None:
    """Whoever asks again when it was told to has sent everything within `PACE_MS` of the first write that waited."""
    pace, seq, now, waits_since, due = Pace(), 1, 1_000_000, -1, -1
    for written, passed in steps:
        if 0 <= due <= now + passed:  # the timer
            now, passed = due, now + passed - due
            assert pace.delay_ms(seq, now) == 0
            waits_since = due = -1
        now, seq = now + passed, seq + written
        if waits_since < 0 and written:
            waits_since = now
        delay = pace.delay_ms(seq, now)
        if delay:
            assert now + delay - waits_since <= PACE_MS and written < MANY
            due = now + delay
        else:
            waits_since = due = -1


def test_folding_keeps_up_with_what_is_written_on_several_sides() -> None:
    group = Group(2, gossip_interval=20)
    unfolded: list[int] = []
    for _ in range(120):
        for number in (1, 2):
            group.do(number, *(Increment(b"%d" % at, 1) for at in range(SLICE)))
        group.run(1)
        unfolded.append(max(sum(entry.width for entry in node.replica.folding) for node in group.nodes()))
    assert max(unfolded) < 60 * SLICE, "what small slices cannot fold piles up"
    assert group.until(group.is_at_rest) < 200
    group.check()


def keys_with_short_deadlines(alone: Alone, per_ms: int, ms: int) -> list[int]:
    """How many keys there are after each millisecond."""
    keys: list[int] = []
    for at in range(ms):
        for number in range(per_ms):
            key = b"%d %d" % (at, number)
            alone.node.replica.submit(Assign(key, b"v"))
            alone.node.replica.submit(Expire(key, alone.time.wall + 10))
        alone.node.end_turn()
        alone.take()
        alone.run(1)
        keys.append(len(alone.node.replica.keyspace))
    return keys


def test_keys_whose_deadlines_pass_go_as_fast_as_they_come() -> None:
    alone = Alone(gossip_interval=20)
    keys = keys_with_short_deadlines(alone, 3 * SLICE, 150)
    assert max(keys) < 60 * 3 * SLICE, "what small slices cannot remove piles up"
    alone.run(150)
    assert len(alone.node.replica.keyspace) == 0, "more often than at first, where there is always more"


@given(st.lists(st.integers(0, 4 * FOLD_MOST), max_size=60))
def test_a_slice_is_as_large_as_what_was_logged_since_the_one_before(logged: list[int]) -> None:
    pace, before = SlicePace(FOLD_MOST), 0
    for more in logged:
        budget = pace.budget(before + more)
        before += more
        assert SLICE <= budget <= FOLD_MOST
        assert budget >= min(more, FOLD_MOST)
        assert budget == SLICE or budget <= 2 * more, "no more than is needed"


@given(st.integers(0, FREE_MORE_PER_MS), st.integers(1, 200))
def test_garbage_is_bounded_by_what_a_turn_makes(made_per_ms: int, passed_ms: int) -> None:
    """No more than `FREE_MORE_PER_MS` in each millisecond, as fast as commands are."""
    pace, now, waiting = GarbagePace(), 1_000_000, 0
    made = made_per_ms * passed_ms
    for _ in range(200):
        now, waiting = now + passed_ms, waiting + made
        budget = pace.budget(waiting, now)
        pace.handle_ended(now)
        assert FREE_PER_MS <= budget
        if waiting <= GARBAGE_ROOM:
            assert budget <= FREE_PER_MS * FREE_MS_MOST, "clients wait for no more than that"
        assert budget <= FREE_PER_MS * FREE_MS_MOST + FREE_MORE_PER_MS * passed_ms, "however much waits"
        waiting = max(0, waiting - budget)
        assert waiting <= GARBAGE_ROOM + GARBAGE_SHARE * made


def test_garbage_goes_while_nothing_else_is_done() -> None:
    alone = Alone()
    garbage = alone.node.replica.keyspace.garbage
    garbage.put_table([b"x"] * (20 * FREE_PER_MS))
    alone.node.arm("fold", 1)
    alone.take()
    alone.run(3)
    assert garbage.entries >= 16 * FREE_PER_MS, "a slice is as large as the time before it was long, its own left out"
    alone.run(18)
    assert not garbage and not garbage.entries
