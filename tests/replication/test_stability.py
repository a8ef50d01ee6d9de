"""What I know that you know: later states replace earlier ones whole, and the frontier is the least of all that."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.clocks import VersionVector
from marmoset.codec.operations import Bury, Leave
from marmoset.replication.stability import Stability
from tests.replication.group import catch_up, first_of_all, join, meet, rest, write

VECTORS = st.dictionaries(st.integers(1, 4), st.integers(0, 9), max_size=4)


def stability(seen: VersionVector) -> Stability:
    table = Stability(seen)
    table.known[1] = seen
    table.states[1] = 0
    return table


def test_a_later_state_replaces_an_earlier_one_as_a_whole() -> None:
    table = stability({1: 9, 2: 9, 3: 9})
    assert table.learn(2, {1: 5, 2: 9, 3: 7}, 4, 100)
    assert table.learn(2, {1: 6, 2: 9}, 5, 100)
    assert table.known[2] == {1: 6, 2: 9}, "the entry that it dropped is not kept from before"
    assert not table.learn(2, {1: 9, 2: 9, 3: 9}, 4, 999), "an earlier state teaches nothing"
    assert table.known[2] == {1: 6, 2: 9}


def test_the_same_state_with_a_later_clock_moves_the_clock_alone() -> None:
    table = stability({1: 9, 2: 9})
    table.learn(2, {1: 5, 2: 9}, 4, 100)
    assert not table.learn(2, {1: 5, 2: 9}, 4, 100)
    assert table.learn(2, {1: 5, 2: 9}, 4, 101)
    assert table.clocks[2] == 101


def test_what_is_forgotten_here_is_left_out_of_what_is_learned() -> None:
    table = stability({1: 9, 2: 9})
    table.learn(2, {1: 5, 2: 9, 7: 3}, 1, 0)
    assert table.known[2] == {1: 5, 2: 9}


@given(st.lists(VECTORS, min_size=1, max_size=3), VECTORS, st.sets(st.integers(1, 4)))
def test_the_frontier_is_the_least_of_what_the_counted_are_known_to_have(
    rows: list[VersionVector], seen: VersionVector, counting: set[int]
) -> None:
    table = stability(dict(seen))
    for number, row in enumerate(rows):
        table.learn(number + 2, row, 1, 0)
    counted = [r for r in (1, *range(2, 2 + len(rows))) if r in counting]  # one that leaves counts itself no more
    everybody_joined_by_1 = {r: (1, 5) for r in range(2, 5)}

    def reaches(vector: VersionVector, origin: int) -> int:
        if origin in vector:
            return vector[origin]
        if origin == 1:
            return 1 << 61
        return 1 << 61 if 5 <= reaches(vector, 1) else 0

    expected = {r: min([q, *(reaches(table.known[j], r) for j in counted)]) for r, q in seen.items()}
    assert table.frontier(counted, everybody_joined_by_1) == expected


def test_a_member_of_whom_nothing_is_known_holds_the_frontier() -> None:
    table = stability({1: 9, 2: 9})
    assert table.frontier([1, 2], {2: (1, 3)}) == {1: 0, 2: 0}


def test_a_report_has_the_rows_that_changed_since_the_last_one_on_that_link() -> None:
    table = stability({1: 9, 2: 9, 3: 9, 4: 9})
    for member in (2, 3, 4):
        table.learn(member, {1: 1, member: 2}, 1, 10)
    report, mark = table.report(1, 5, 77, 2, 0)
    assert (report.own.replica, report.own.state, report.own.clock) == (1, 5, 77)
    assert report.own.vector == [(1, 9), (2, 9), (3, 9), (4, 9)]
    assert [row.replica for row in report.rows] == [3, 4], "neither the sender's nor the receiver's"
    report, mark = table.report(1, 5, 78, 2, mark)
    assert report.rows == []
    table.learn(3, {1: 2, 3: 2}, 2, 11)
    report, _ = table.report(1, 5, 79, 2, mark)
    assert [(row.replica, row.state, row.vector) for row in report.rows] == [(3, 2, [(1, 2), (3, 2)])]


def test_a_report_says_nothing_of_those_whose_burials_have_taken_effect() -> None:
    table = stability({1: 9, 2: 9, 3: 9, 4: 9})
    for member in (2, 3, 4):
        table.learn(member, {1: 1, member: 2}, 1, 10)
    report, mark = table.report(1, 5, 77, 2, 0, {3})
    assert [row.replica for row in report.rows] == [4]
    assert not table.report(1, 5, 78, 2, mark, {3})[0].rows


def test_forgetting_takes_a_replica_out_of_every_row() -> None:
    table = stability({1: 9, 2: 9, 3: 9})
    table.learn(2, {1: 5, 2: 9, 3: 4}, 1, 0)
    table.learn(3, {1: 5, 3: 9}, 1, 0)
    table.forget(3)
    assert table.known == {1: {1: 9, 2: 9}, 2: {1: 5, 2: 9}}
    assert table.report(1, 1, 1, 2, 0)[0].rows == []


def test_the_order_of_the_entries_of_a_row_does_not_matter() -> None:
    table = stability({1: 9, 2: 9})
    table.learn(2, {2: 1, 1: 8}, 1, 0)
    table._check()
    assert table.frontier([1, 2], {2: (1, 3)}) == {1: 8, 2: 1}


def test_what_somebody_lacks_who_is_buried_is_not_lost_where_the_burial_has_not_taken_effect() -> None:
    """`a` has forgotten `leaver`, whose leave `buried` lacks. `c` still waits for `buried`, since it knows of another
    burial that not all are known to have, and is not to take from `a` that `buried` lacks nothing of `leaver`."""
    a = first_of_all()
    leaver, buried, b, c, d, e = others = [join(a, me) for me in (2, 3, 4, 5, 6, 7)]
    rest(a, *others)
    leaver.submit_roster([Leave()])
    catch_up(leaver, a)
    a.submit_roster([Bury(buried.me)])
    write(buried, b"1")  # so that it cannot be forgotten yet
    write(b, b"2")
    meet(b, buried)
    for each in (c, d, e, b):  # that from `b` comes last: what `a` knows of `buried` then is later than what they know
        catch_up(a, each)
        catch_up(each, a)
        a.count_report(each.report(a.me, 0)[0])
    while a.advance():
        a.fold_slice(1000)
    assert a.presumed_dead(buried.me) and buried.me in a.roster.members and leaver.me not in a.roster.members
    d.submit_roster([Bury(a.me)])
    catch_up(d, c)
    catch_up(a, c)
    assert not c.presumed_dead(buried.me)
    c.count_report(a.report(c.me, 0)[0])
    assert c.frontier()[leaver.me] < c.seen[leaver.me]
    while c.advance():
        c.fold_slice(1000)
    assert leaver.me in c.roster.members
