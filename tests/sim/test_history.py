"""What really happened, held against what is believed."""

import pytest

from marmoset.sim.history import Breach, History


def test_what_is_known_of_a_member_is_one_state_of_its_vector() -> None:
    history = History()
    history.states = {5: {7: {1: 3, 5: 9}, 8: {5: 10}}}
    history.check_row("ada", 5, {1: 3, 5: 9}, 7)
    history.check_row("ada", 5, {5: 9}, 7)  # the one who knows it has forgotten somebody
    history.check_row("ada", 5, {1: 99}, 6)  # a state that nobody saw
    with pytest.raises(Breach, match="up to 3"):
        history.check_row("ada", 5, {1: 4}, 7)
    with pytest.raises(Breach, match="up to 9"):
        history.check_row("ada", 5, {5: 8}, 7)
    with pytest.raises(Breach, match="forgotten"):
        history.check_row("ada", 5, {1: 3, 5: 10}, 8)
