"""The table of verdicts, rule by rule."""

import pytest

from marmoset.codec.packets import SAYS_ALIVE, SAYS_LEFT, SAYS_SUSPECT, SAYS_UNREACHABLE
from marmoset.membership.states import ALIVE, STATES, SUSPECT, UNREACHABLE, VERDICTS, verdict

KINDS = (SAYS_ALIVE, SAYS_SUSPECT, SAYS_UNREACHABLE, SAYS_LEFT)


def test_the_table_has_every_state_and_every_claim() -> None:
    assert set(VERDICTS) == {(state, kind) for state in STATES for kind in KINDS}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_older_incarnation_never_counts(state: str, kind: int) -> None:
    assert verdict(state, kind, 4, 5) == ""


@pytest.mark.parametrize("state", STATES)
def test_alive_takes_a_newer_incarnation(state: str) -> None:
    assert verdict(state, SAYS_ALIVE, 5, 5) == ""
    assert verdict(state, SAYS_ALIVE, 6, 5) == ALIVE


def test_at_the_same_incarnation_only_worse_news_counts() -> None:
    assert verdict(ALIVE, SAYS_SUSPECT, 5, 5) == SUSPECT
    assert verdict(ALIVE, SAYS_LEFT, 5, 5) == verdict(SUSPECT, SAYS_UNREACHABLE, 5, 5) == UNREACHABLE
    assert verdict(UNREACHABLE, SAYS_SUSPECT, 5, 5) == ""
    assert verdict(UNREACHABLE, SAYS_SUSPECT, 6, 5) == SUSPECT
