"""Where insertions go that are submitted again: behind their nearest surviving left neighbour."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import LocalContext
from marmoset.crdts import sequence as sequences
from marmoset.crdts.sequence import Sequence, SequenceWindow
from marmoset.replication.places import Renamed, place

LOCAL = LocalContext()


@given(
    st.lists(st.tuples(st.just(0) | st.integers(0, 30), st.just(1) | st.integers(1, 3)), min_size=1, max_size=12),
    st.booleans(),
    st.lists(st.integers(0, 40), max_size=8),
    st.lists(st.integers(0, 40), max_size=15),
    st.data(),
)
def test_the_anchor_is_the_nearest_to_the_left_that_is_still_shown(
    inserted: list[tuple[int, int]],
    stable: bool,
    removed_there: list[int],
    removed_here: list[int],
    data: st.DataObject,
) -> None:
    old, window, new, seq, order = Sequence(), SequenceWindow(), Sequence(), 1, list[tuple[int, int]]()
    for at, count in inserted:
        index = at % (len(order) + 1)
        sequences.insert(old, window, (7, seq), LOCAL, *old.neighbours(index), [b"v"] * count)
        sequences.insert(new, None, (7, seq), LOCAL, *new.neighbours(index), [b"v"] * count)
        order[index:index] = [(7, seq + n) for n in range(count)]
        seq += count
    for dot, (count, _, _) in list(window.insertions.items()) if stable else []:
        sequences.fold_insert(old, window, dot, count)
    for number, at in enumerate(removed_there):  # by the one that was cut off: its sequence keeps them
        dot = order[at % len(order)]
        sequences.remove(old, window, (8, number + 1), [(*dot, 1)])
    gone = {order[at % len(order)] for at in removed_here}
    for dot in gone:
        sequences.remove(new, None, (9, 1), [(*dot, 1)])
    left = data.draw(st.none() | st.sampled_from(order))
    shown = [dot for dot in order if dot not in gone]
    before = [] if left is None else [dot for dot in order[: order.index(left) + 1] if dot in shown]
    anchor = before[-1] if before else None
    follower = shown[shown.index(anchor) + 1 :] if anchor is not None else shown
    assert place(old, new, left, Renamed()) == (anchor, follower[0] if follower else None)


def test_what_was_submitted_again_is_found_under_its_new_name() -> None:
    old, window, new, renamed = Sequence(), SequenceWindow(), Sequence(), Renamed()
    sequences.insert(old, window, (7, 1), LOCAL, None, None, [b"a", b"b", b"c"])
    sequences.insert(new, None, (8, 11), LOCAL, None, None, [b"b", b"c"])
    renamed.add((7, 2), 2, (8, 11))
    assert place(old, new, (7, 3), renamed) == ((8, 12), None)
    sequences.remove(new, None, (8, 20), [(8, 12, 1)])
    assert place(old, new, (7, 3), renamed) == ((8, 11), None)
    assert place(old, new, (7, 1), renamed) == (None, (8, 11))
    assert place(None, new, (6, 5), renamed) == (None, (8, 11)), "the old sequence is not known"
    assert place(old, None, (7, 1), renamed) == (None, None), "the key is gone"


def test_where_ids_fall_the_nearest_on_the_left_is_the_next_higher() -> None:
    old, new, renamed = Sequence(), Sequence(), Renamed()
    for seq in (1, 2, 3):
        sequences.insert(old, None, (7, seq), LOCAL, *old.neighbours(0), [b"v"])
    assert [run.falling for run in old.runs()] == [True]
    sequences.insert(new, None, (7, 3), LOCAL, None, None, [b"v"])
    sequences.insert(new, None, (8, 20), LOCAL, (7, 3), None, [b"v"])
    renamed.add((7, 2), 1, (8, 20))
    assert place(old, new, (7, 1), renamed) == ((8, 20), None)
    assert place(old, new, (7, 3), renamed) == ((7, 3), (8, 20))
    kept = Sequence()
    sequences.insert(kept, None, (7, 3), LOCAL, None, None, [b"v"])
    sequences.insert(kept, None, (7, 2), LOCAL, (7, 3), None, [b"v"])
    assert place(old, kept, (7, 1), Renamed()) == ((7, 2), None)


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 4), st.sampled_from([7, 8, 9])), max_size=6))
def test_names_lead_through_several_lives(steps: list[tuple[int, int, int]]) -> None:
    renamed, names = Renamed(), dict[tuple[int, int], tuple[int, int]]()
    fresh = 100
    lives = {7: 8, 8: 9, 9: 10}
    for seq, count, life in steps:
        if any((life, seq + n) in names for n in range(count)):
            continue  # an element is submitted again once in a life
        renamed.add((life, seq), count, (lives[life], fresh))
        names.update({(life, seq + n): (lives[life], fresh + n) for n in range(count)})
        fresh += count
    for life in lives:
        for seq in range(1, 30):
            expected = (life, seq)
            while expected in names:
                expected = names[expected]
            assert (renamed.find((life, seq)) or (life, seq)) == expected
            ranges = renamed.ranges(life, seq, 3)
            flat = [(r, s + n) for r, s, c in ranges for n in range(c)]
            assert flat == [renamed.find((life, seq + n)) or (life, seq + n) for n in range(3)]
