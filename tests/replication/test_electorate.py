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
    """Members that let others in and exchange what they know, in any order."""

    def __init__(self) -> None:
        self.sponsor: dict[int, int] = {}
        self.births: dict[int, set[int]] = {FOUNDER: {FOUNDER}}
        """Of whose birth each has heard."""
        self.rows: dict[int, dict[int, set[int]]] = {FOUNDER: {FOUNDER: self.births[FOUNDER]}}
        """What each knows that another one has heard of."""

    def join(self, sponsor: int) -> None:
        newcomer = len(self.births) + 1
        self.sponsor[newcomer] = sponsor
        self.births[sponsor].add(newcomer)
        self.births[newcomer] = set(self.births[sponsor])
        self.rows[newcomer] = {r: set(row) for r, row in self.rows[sponsor].items()}
        self.rows[newcomer][newcomer] = self.births[newcomer]
        self.rows[sponsor][newcomer] = set(self.births[newcomer])

    def tell(self, teller: int, hearer: int) -> None:
        self.births[hearer] |= self.births[teller]
        for replica, row in self.rows[teller].items():
            if replica != hearer:
                self.rows[hearer].setdefault(replica, set()).update(row)

    def view(self, replica: int) -> tuple[Roster, dict[int, VersionVector]]:
        table = Roster()
        for each in sorted(self.births[replica]):
            joined = (self.sponsor[each], each) if each in self.sponsor else None
            table.add(Member(each, f"r{each}", "h:1", joined, True))
        known: dict[int, VersionVector] = {}
        for other in table.members:
            heard = self.rows[replica].get(other, set())
            known[other] = {each: each if each in heard else 0 for each in table.members}
        return table, known

    def votes(self, replica: int) -> tuple[set[int], int]:
        """Who could vote with a member now, and how many have to."""
        table, known = self.view(replica)
        heard = self.births[replica]
        voters = {r for r in established(table, known) if self.births[r] <= heard}
        return voters, len(table.members) // 2 + 1


def disjoint_majorities(seed: int) -> tuple[int, int] | None:
    """Play a history; two members that could decide at its end without anybody in common."""
    rng, world = Random(seed), World()
    joins, most = rng.choice([0.1, 0.2, 0.3, 0.5]), rng.choice([5, 7, 9, 12])
    for _ in range(rng.randint(5, 60)):
        first, second = (rng.choice(list(world.births)) for _ in range(2))
        if rng.random() < joins and len(world.births) < most:
            world.join(first)
        elif first != second:
            world.tell(first, second)
    found = {r: world.votes(r) for r in world.births}
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
