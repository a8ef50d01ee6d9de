"""Who decides about burials (floor 5, DESIGN.md 4.3): majorities that always have somebody in common.

A majority of the roster as one node has it is not enough for that. While a group is cut in halves each side may let
newcomers in whom the other never heard of: three members, of whom one, cut off, lets in two, are five for those three,
and for the two others still three. Both sides would have a majority, bury the other, and be two groups for ever
(`everything` 120838 of the simulator; the design says *a majority of all born members* and no more).

So a member has a vote only once it is *established*: its birth is known to a majority of those who were established
before and are not gone. Two majorities of these have somebody in common, and what is known of a member covers
everything that it had: whoever counts the knowledge of that one also has whom it knew. The newcomer itself does not
count among those who know of it, as it does where servers are added one at a time (Ongaro, "Consensus: bridging theory
and practice", 2014, chapter 4): here two can be let in at once, each on one side. All who were born count in the number
that has to be outvoted.

This is no proof. Members can be established in different orders in different places; among 60,000 random histories of
up to twelve members that let others in while hardly anybody hears of anybody, one had two majorities with nobody in
common, where votes from birth had 8,996; among as many where members leave as well, none had, and votes from birth
5,044 (`tests/replication/test_electorate.py` plays the like). To ask that *all*
know of a newcomer would be safe in all of them, but one dead member would then keep everybody who restarts from voting.

A vote is not lost again because somebody is gone who knew of its owner. Who leaves, or is buried, goes on counting
among those who know of whom it knew, until it is forgotten: what it is known to have had is here, and nobody stops
counting a leaver who does not have all that it had. Whomever it did not know it will never know, and is not asked
about. (`churn` 300270: of five two die, two newcomers are established by the other three, and one of these leaves; two
of four are left to be asked, which is no majority, so that four of six could not bury the dead any more.) Only who was
established itself counts so: else whoever is cut off could let in some who know of each other, and leave.

What a vote is counted by has to be here: a witness whose answer speaks of members that we do not have counts only when
we do (`Burying`).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from marmoset.clocks import VersionVector, upto
from marmoset.ids import ReplicaId
from marmoset.replication.roster import Roster

BIRTH_SEQ: Final = 1
"""`ready` is the first operation of everybody who was let in."""


def established(roster: Roster, known: Mapping[ReplicaId, VersionVector]) -> set[ReplicaId]:
    """The members that have a vote, those that are buried included. O(members cubed), O(members squared) where all
    births are known everywhere."""
    electorate = set(roster.electorate())
    born = sorted(electorate | roster.left.keys())
    knowers = {
        replica: {other for other in born if other in known and upto(known[other], replica, roster.joins) >= BIRTH_SEQ}
        for replica in born
    }
    found = {r for r in born if r not in roster.joins or knowers[r] >= electorate}
    gone = roster.left.keys() | roster.buried.keys()
    grown = True
    while grown:
        grown = False
        for replica in born:
            asked = {r for r in found if r not in gone or r in knowers[replica]}
            if replica not in found and 2 * len(knowers[replica] & asked) > len(asked):
                found.add(replica)
                grown = True
    return found & electorate


def is_majority(roster: Roster, known: Mapping[ReplicaId, VersionVector], voters: Iterable[ReplicaId]) -> bool:
    """Whether the voters that have a vote, and are neither buried nor gone, are more than half of the electorate.
    Cost: that of `established`, if all voters together are enough; else O(voters)."""
    size = len(roster.electorate())
    candidates = {r for r in voters if r in roster.members and r not in roster.buried and r not in roster.left}
    return 2 * len(candidates) > size and 2 * len(candidates & established(roster, known)) > size
