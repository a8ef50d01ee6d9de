"""Who counts: states, majorities, burials that take effect all together, gravestones."""

import itertools

import pytest

from marmoset.clocks import VersionVector
from marmoset.replication.roster import MEMBER_STATES, Member, Roster


def roster(*born: int, unborn: tuple[int, ...] = ()) -> Roster:
    table = Roster()
    for replica in (*born, *unborn):
        joined = None if replica == 1 else (1, replica)
        table.add(Member(replica, f"r{replica}", "h:1", joined, replica in born))
    return table


def test_every_standing_is_exactly_one_row_of_the_table() -> None:
    for facts in itertools.product((True, False), repeat=3):
        fitting = [
            s for pattern, s in MEMBER_STATES if all(w in (None, f) for w, f in zip(pattern, facts, strict=True))
        ]
        assert len(fitting) == 1


@pytest.mark.parametrize(
    ("buried", "left", "born", "state"),
    [
        (True, True, True, "left"),
        (True, False, False, "presumed dead"),
        (False, True, True, "left"),
        (False, False, False, "unborn"),
        (False, False, True, "member"),
    ],
)
def test_standings(buried: bool, left: bool, born: bool, state: str) -> None:
    table = roster(1, *((2,) if born else ()), unborn=() if born else (2,))
    if buried:
        table.bury(2, (1, 9))
    if left:
        table.left[2] = (2, 4)
    assert table.state(2) == state
    assert (2 in table.present()) == (state in ("unborn", "member"))


def test_burials_take_effect_only_when_everyone_left_is_known_to_have_every_one() -> None:
    table = roster(1, 2, 3, 4, 5)
    table.bury(4, (1, 10))
    table.bury(5, (2, 20))
    known: dict[int, VersionVector] = {r: {1: 10, 2: 20} for r in (1, 2)}
    known[4] = {1: 0, 2: 0}  # what the buried know does not matter
    for lacking in ({1: 9, 2: 20}, {1: 10, 2: 19}, None):  # None: nothing is known of it, not a vector without entries
        if lacking is None:
            del known[3]
        else:
            known[3] = lacking
        table.take_effect(known)
        assert table.counted() == [1, 2, 3, 4, 5]
        assert not table.presumed_dead(4)
    known[3] = {1: 10, 2: 20}
    table.take_effect(known)
    assert table.counted() == [1, 2, 3]
    assert table.presumed_dead(4)


def test_a_later_burial_does_not_bring_the_dead_back_and_waits_for_itself_alone() -> None:
    table = roster(1, 2, 3, 4)
    table.bury(4, (1, 10))
    known: dict[int, VersionVector] = {r: {1: 10} for r in (1, 2, 3)}
    table.take_effect(known)
    table.bury(3, (2, 7))
    table.take_effect(known | {2: {1: 10, 2: 6}})
    assert table.counted() == [1, 2, 3], "4 stays dead; 3 counts until its burial is known"
    assert table.presumed_dead(4) and not table.presumed_dead(3)
    table.take_effect({1: {1: 10, 2: 7}, 2: {1: 10, 2: 7}})
    assert table.counted() == [1, 2]


def test_who_has_left_neither_counts_nor_delays_a_burial() -> None:
    table = roster(1, 2, 3)
    table.left[3] = (3, 1)
    table.bury(2, (1, 5))
    table.take_effect({1: {1: 5}, 3: {1: 0}})
    assert table.counted() == [1]


def test_the_burial_of_somebody_who_left_does_nothing() -> None:
    table = roster(1, 2, 3)
    table.left[2] = (2, 9)
    table.bury(2, (3, 5))
    table.take_effect({1: {3: 4}, 3: {3: 5}})
    assert table.counted() == [1, 3], "it left, whatever is known of its burial"
    table.take_effect({1: {3: 5}, 3: {3: 5}})
    assert table.state(2) == "left" and not table.presumed_dead(2)
    table.forget(2, 9, 0)
    assert table.graves == {}


def test_a_burial_of_somebody_who_is_not_in_the_roster_does_nothing() -> None:
    table = roster(1, 2)
    assert not table.bury(9, (1, 5))
    assert table.buried == {}
    assert table.bury(2, (1, 5)) and table.bury(2, (1, 7))
    assert table.buried == {2: (1, 5)}, "the first burial that came stays"


def test_only_the_buried_leave_a_gravestone() -> None:
    table = roster(1, 2, 3)
    table.bury(2, (1, 5))
    table.left[3] = (3, 4)
    table.forget(2, 17, 5000)
    table.forget(3, 4, 5000)
    assert table.graves == {2: 17}
    assert list(table.members) == [1]
    assert table.presumed_dead(2) and not table.presumed_dead(3)
    table._check()


def test_lines_of_sponsors_and_the_unborn_of_one() -> None:
    table = Roster()
    table.add(Member(1, "a", "h:1", None, True))
    table.add(Member(2, "b", "h:2", (1, 3), True))
    table.add(Member(3, "c", "h:3", (2, 4), False))
    table.add(Member(4, "c", "h:4", (9, 4), False))  # its sponsor is forgotten here
    assert table.line(3) == [2, 1]
    assert table.line(4) == [9]
    assert table.unborn_of(2) == [3]
    assert [member.replica for member in table.by_name("c")] == [3, 4]
    table.bury(3, (1, 9))
    assert table.unborn_of(2) == [] and [m.replica for m in table.by_name("c")] == [4]


def test_a_line_of_sponsors_is_judged_by_the_first_who_is_dead_or_a_member() -> None:
    table = roster(1, 2, 3)
    table.graves[9] = 5
    assert table.first_dead([9, 1]) == 9 and table.first_dead([7, 9]) == 9
    assert table.first_dead([2, 9]) == 0, "a member: who let it in may well be dead by now"
    assert table.first_dead([]) == 0 == table.first_dead([7])
    table.bury(2, (1, 9))
    assert table.first_dead([2, 9]) == 0, "its burial has not taken effect: it is not known yet who is right"
    table.dead.add(2)
    assert table.first_dead([2, 9]) == 2
