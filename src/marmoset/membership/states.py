"""The states of a member and what a claim makes of them (floor 6).

A claim carries the *incarnation* of its subject, a number that only the subject raises. `VERDICTS` is the whole rule:
what a claim does depends on the state that we hold, on what is claimed, and on whether the claim's incarnation is
older than, equal to or newer than the one that we know. Alive needs a newer incarnation to win, so a suspicion can be
ended by nobody but its subject; suspect and unreachable win at the same one.

Where we differ from SWIM (Das, Gupta, Motivala 2002): unreachable is not the end. A newer incarnation brings a member
back from it, since who is a member is not decided here.
"""

from typing import Final

from marmoset.codec.packets import SAYS_ALIVE, SAYS_LEFT, SAYS_SUSPECT, SAYS_UNREACHABLE

ALIVE: Final = "alive"
SUSPECT: Final = "suspect"
UNREACHABLE: Final = "unreachable"
STATES: Final = (ALIVE, SUSPECT, UNREACHABLE)

SAID_OF: Final = {ALIVE: SAYS_ALIVE, SUSPECT: SAYS_SUSPECT, UNREACHABLE: SAYS_UNREACHABLE}
"""The claim that says that a member is in a state."""

_ALIVE_WINS: Final = ("", "", ALIVE)
_SUSPECT_WINS: Final = ("", SUSPECT, SUSPECT)
_UNREACHABLE_WINS: Final = ("", UNREACHABLE, UNREACHABLE)

VERDICTS: Final[dict[tuple[str, int], tuple[str, str, str]]] = {
    (ALIVE, SAYS_ALIVE): _ALIVE_WINS,
    (ALIVE, SAYS_SUSPECT): _SUSPECT_WINS,
    (ALIVE, SAYS_UNREACHABLE): _UNREACHABLE_WINS,
    (ALIVE, SAYS_LEFT): _UNREACHABLE_WINS,
    (SUSPECT, SAYS_ALIVE): _ALIVE_WINS,
    (SUSPECT, SAYS_SUSPECT): _SUSPECT_WINS,
    (SUSPECT, SAYS_UNREACHABLE): _UNREACHABLE_WINS,
    (SUSPECT, SAYS_LEFT): _UNREACHABLE_WINS,
    (UNREACHABLE, SAYS_ALIVE): _ALIVE_WINS,
    (UNREACHABLE, SAYS_SUSPECT): ("", "", SUSPECT),
    (UNREACHABLE, SAYS_UNREACHABLE): ("", "", UNREACHABLE),
    (UNREACHABLE, SAYS_LEFT): ("", "", UNREACHABLE),
}
"""(state that we hold, claim) -> the state that follows from an older, the same and a newer incarnation; "" is none."""


def verdict(state: str, kind: int, claimed: int, known: int) -> str:
    """The state that follows from a claim, or "" when it changes nothing.

    >>> verdict(SUSPECT, SAYS_ALIVE, 4, 4), verdict(SUSPECT, SAYS_ALIVE, 5, 4)
    ('', 'alive')
    """
    return VERDICTS[state, kind][1 + (claimed > known) - (claimed < known)]
