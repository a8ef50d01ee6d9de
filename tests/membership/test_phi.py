"""The phi estimate: what is ordinary, what is not, and its bounds."""

from hypothesis import given
from hypothesis import strategies as st

from marmoset.membership.phi import PHI_MAX, Arrivals


def test_nothing_is_known_before_a_pause() -> None:
    assert Arrivals().phi(10**9) == 0.0


def test_ordinary_silence_is_no_surprise_and_a_long_one_is() -> None:
    arrivals = Arrivals()
    for pause in (1000, 1100, 900, 1000, 1050, 950) * 5:
        arrivals.note(pause)
    assert arrivals.phi(500) < 0.1
    assert 0.2 < arrivals.phi(1000) < 0.4, "half of all pauses are longer than the mean: phi is 0.3"
    assert arrivals.phi(3000) > 8


def test_who_is_irregular_may_be_silent_for_longer() -> None:
    regular, irregular = Arrivals(), Arrivals()
    for _ in range(50):
        regular.note(1000)
        for pause in (200, 1800):
            irregular.note(pause)
    assert irregular.phi(2500) < regular.phi(2500)


@given(st.lists(st.integers(0, 10**7)), st.integers(0, 10**12), st.integers(0, 10**12))
def test_phi_grows_with_the_silence_within_its_bounds(pauses: list[int], shorter: int, more: int) -> None:
    arrivals = Arrivals()
    for pause in pauses:
        arrivals.note(pause)
    assert 0.0 <= arrivals.phi(shorter) <= arrivals.phi(shorter + more) <= PHI_MAX
