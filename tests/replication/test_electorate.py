"""Who has a vote: two majorities always have somebody in common, whoever let in whom where nobody else heard of it."""

from random import Random

import pytest

from marmoset.clocks import VersionVector
from marmoset.replication.electorate import established, is_majority
from marmoset.replication.roster import Member, Roster

FOUNDER = 1


def roster(*born: int, unborn: tuple[int, ...] = ()) -> Roster:
    table = Roster()
    for replica in (*born, *unborn):
        joined = None if replica == FOUNDER else (FOUNDER, replica)
        table.add(Member(replica, f"r{replica}", "h:1", joined, replica in born))
    return table


def all_know(*replicas: int) -> dict[int, VersionVector]:
    return {replica: dict.fromkeys(replicas, 99) for replica in replicas}


@pytest.mark.parametrize(
    ("voters", "majority"), [([1], False), ([1, 2], False), ([1, 2, 3], True), ([1, 2, 4], False), ([1, 2, 3, 9], True),
                             ([1, 2, 2, 2], False), ([1, 2, 6], False), ([1, 2, 7], False)]
)  # fmt: skip
def test_a_majority_is_of_the_born_that_have_not_left_the_buried_counting_against(
    voters: list[int], majority: bool
) -> None:
    table = roster(1, 2, 3, 4, 5, 6, unborn=(7,))
    table.bury(4, (1, 5))  # counts in the electorate until it is forgotten, and has no vote
    table.left[6] = (6, 1)
    assert table.electorate() == [1, 2, 3, 4, 5]
    assert is_majority(table, all_know(1, 2, 3, 4, 5, 6, 7), voters) == majority


def test_two_have_no_majority_without_each_other() -> None:
    assert not is_majority(roster(1, 2), all_know(1, 2), [1])
    assert is_majority(roster(1), all_know(1), [1])


def test_newcomers_of_whom_the_others_have_not_heard_have_no_vote() -> None:
    """Three, of whom the third is cut off and lets in a fourth and a fifth: three of five, and two of three."""
    table = roster(1, 2, 3)
    table.add(Member(4, "r4", "h:1", (3, 60), True))
    table.add(Member(5, "r5", "h:1", (4, 70), True))
    known = all_know(1, 2, 3, 4, 5)
    known[1] = known[2] = {1: 99, 2: 99, 3: 50}
    assert established(table, known) == {1, 2, 3}
    assert not is_majority(table, known, [3, 4, 5])
    assert is_majority(roster(1, 2, 3), all_know(1, 2, 3), [1, 2])
    known[2] = {1: 99, 2: 99, 3: 99, 4: 60}
    assert established(table, known) == {1, 2, 3, 4}, "two of the three know the fourth"


def test_a_newcomer_is_not_one_of_those_who_know_of_it() -> None:
    """Else the first of two and a third would be a majority, and the second and a fourth another."""
    known = all_know(1, 2, 3)
    known[1] = {1: 99, 2: 99, 3: 0}
    assert established(roster(1, 2, 3), known) == {1, 2}


class World:
    """Members that let others in, leave, and exchange what they know, in any order."""

    def __init__(self) -> None:
        self.sponsor: dict[int, int] = {}
        self.heard: dict[int, set[int]] = {FOUNDER: {FOUNDER}}
        """Of whose birth each has heard, and, with a minus, of whose leave."""
        self.rows: dict[int, dict[int, set[int]]] = {FOUNDER: {FOUNDER: self.heard[FOUNDER]}}
        """What each knows that another one has heard of."""
        self.gone: set[int] = set()

    def join(self, sponsor: int) -> None:
        newcomer = len(self.heard) + 1
        self.sponsor[newcomer] = sponsor
        self.heard[sponsor].add(newcomer)
        self.heard[newcomer] = set(self.heard[sponsor])
        self.rows[newcomer] = {r: set(row) for r, row in self.rows[sponsor].items()}
        self.rows[newcomer][newcomer] = self.heard[newcomer]
        self.rows[sponsor][newcomer] = set(self.heard[newcomer])

    def leave(self, leaver: int) -> None:
        """From now on it hears nothing; what it had is passed on."""
        self.heard[leaver].add(-leaver)
        self.gone.add(leaver)

    def tell(self, teller: int, hearer: int) -> None:
        self.heard[hearer] |= self.heard[teller]
        for replica, row in self.rows[teller].items():
            if replica != hearer:
                self.rows[hearer].setdefault(replica, set()).update(row)

    def view(self, replica: int) -> tuple[Roster, dict[int, VersionVector]]:
        heard, rows = self.heard[replica], self.rows[replica]
        present = [each for each in heard if each > 0 and -each not in heard]
        table = Roster()
        for each in sorted(each for each in heard if each > 0):
            if -each in heard and all(-each in rows.get(other, set()) for other in present):
                continue  # it is forgotten
            joined = (self.sponsor[each], each) if each in self.sponsor else None
            table.add(Member(each, f"r{each}", "h:1", joined, True))
            if -each in heard:
                table.left[each] = (each, 99)
        known: dict[int, VersionVector] = {}
        for other in table.members:
            known[other] = {each: each if each in rows.get(other, set()) else 0 for each in table.members}
        return table, known

    def votes(self, replica: int) -> tuple[set[int], int]:
        """Who could vote with a member now, and how many have to."""
        table, known = self.view(replica)
        heard = self.heard[replica]
        voters = {r for r in established(table, known) if r not in self.gone and self.heard[r] <= heard}
        return voters, len(table.electorate()) // 2 + 1


def a_history(seed: int) -> World:
    rng, world = Random(seed), World()
    joins, most = rng.choice([0.1, 0.2, 0.3, 0.5]), rng.choice([5, 7, 9, 12])
    leaves = rng.choice([0.0, 0.03, 0.1, 0.2])
    for _ in range(rng.randint(5, 60)):
        first, second = (rng.choice(list(world.heard)) for _ in range(2))
        here, drawn = [r for r in world.heard if r not in world.gone], rng.random()
        if drawn < joins and len(world.heard) < most and first in here:
            world.join(first)
        elif joins <= drawn < joins + leaves and first in here and len(here) > 1:
            world.leave(first)
        elif first != second and second in here:
            world.tell(first, second)
    return world


def disjoint_majorities(seed: int) -> tuple[int, int] | None:
    """Two members that could decide at the end of a history without anybody in common."""
    world = a_history(seed)
    found = {r: world.votes(r) for r in world.heard if r not in world.gone}
    for one, (voters, wanted) in found.items():
        for other, (others, needed) in found.items():
            if len(voters) >= wanted and len(others) >= needed and len(voters | others) >= wanted + needed:
                return one, other
    return None


def test_two_majorities_have_somebody_in_common() -> None:
    assert [seed for seed in range(3000) if disjoint_majorities(seed)] == []


def test_votes_from_birth_have_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "established", lambda table, known: set(table.electorate()))
    assert sum(bool(disjoint_majorities(seed)) for seed in range(300)) > 10


def test_the_buried_are_not_asked_whom_they_know() -> None:
    """Two of five have restarted, one after the other, and a third is dead: those who are left can bury it."""
    table = roster(1, 2, 3, 4, 5)
    table.add(Member(6, "r4", "h:1", (1, 60), True))
    table.add(Member(7, "r3", "h:1", (1, 70), True))
    known = all_know(1, 2, 3, 4, 5, 6, 7)
    known[5] = known[4] = {**dict.fromkeys((1, 2, 3, 4, 5), 50)}
    known[3] = {**dict.fromkeys((1, 2, 3, 4, 5), 50), 1: 65, 6: 9}
    table.bury(4, (1, 59))
    table.bury(3, (1, 69))
    assert established(table, known) == {1, 2, 3, 4, 5, 6, 7}
    assert is_majority(table, known, [1, 2, 6, 7])


def five_and_two() -> tuple[Roster, dict[int, VersionVector]]:
    """Five, of whom 2 and 5 are dead; 6 and 7 were let in, and only 1, 3 and 4 know of them."""
    table = roster(1, 2, 3, 4, 5)
    table.add(Member(6, "r6", "h:1", (3, 60), True))
    table.add(Member(7, "r7", "h:1", (4, 70), True))
    known = all_know(1, 2, 3, 4, 5, 6, 7)
    known[2] = known[5] = {**dict.fromkeys((1, 2, 3, 4, 5), 50), 6: 0, 7: 0}
    assert established(table, known) == {1, 2, 3, 4, 5, 6, 7} and not is_majority(table, known, [1, 3, 6])
    return table, known


def test_a_vote_is_not_lost_when_somebody_leaves_who_knew_of_its_owner() -> None:
    table, known = five_and_two()
    table.left[4] = (4, 99)
    assert established(table, known) == {1, 2, 3, 5, 6, 7}
    assert is_majority(table, known, [1, 3, 6, 7]) and not is_majority(table, known, [1, 3, 6])


def test_a_vote_is_not_lost_when_somebody_is_buried_who_knew_of_its_owner() -> None:
    table, known = five_and_two()
    table.bury(4, (1, 99))
    assert established(table, known) == {1, 2, 3, 4, 5, 6, 7}
    assert is_majority(table, known, [1, 3, 6, 7]) and not is_majority(table, known, [1, 3, 6])


def test_whoever_left_without_knowing_of_a_newcomer_is_not_asked_about_it() -> None:
    """Four, of whom one has left and one is dead: a newcomer that the other two know has a vote."""
    table = roster(1, 2, 3, 4)
    table.left[3] = (3, 9)
    table.add(Member(5, "r5", "h:1", (1, 60), True))
    known = all_know(1, 2, 3, 4, 5)
    known[3] = known[4] = {**dict.fromkeys((1, 2, 3, 4), 50), 5: 0}
    assert established(table, known) == {1, 2, 4, 5} and is_majority(table, known, [1, 2, 5])


def test_who_left_without_a_vote_gives_none() -> None:
    """The third of three is cut off and lets others in, who leave: what they knew of one another is of no weight."""
    table = roster(1, 2, 3)
    for newcomer in (4, 5, 6, 7):
        table.add(Member(newcomer, f"r{newcomer}", "h:1", (3, newcomer), True))
        table.left[newcomer] = (newcomer, 9)
    del table.left[7]
    known = all_know(1, 2, 3, 4, 5, 6, 7)
    known[1] = known[2] = {**dict.fromkeys((1, 2, 3), 50), 4: 0, 5: 0, 6: 0, 7: 0}
    assert established(table, known) == {1, 2, 3}
