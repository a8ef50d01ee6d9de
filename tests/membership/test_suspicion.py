"""Suspicions: how long they last, and that only independent members shorten them."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from marmoset.membership.profiles import LAN, PROFILES
from marmoset.membership.suspicion import Suspicion, shortest_ms


def test_it_begins_long_and_each_other_accuser_shortens_it_to_the_shortest() -> None:
    suspicion = Suspicion(LAN, 5, accuser=1, now_ms=1000)
    assert suspicion.due_ms == 1000 + 6 * 4 * 500
    dues = [suspicion.due_ms]
    for accuser in (2, 3, 4):
        assert suspicion.confirm(accuser)
        dues.append(suspicion.due_ms)
    assert dues == sorted(dues, reverse=True) and len(set(dues)) == 4
    assert dues[-1] == 1000 + 4 * 500


def test_nobody_confirms_twice_and_more_than_are_needed_are_no_news() -> None:
    suspicion = Suspicion(LAN, 10, accuser=1, now_ms=0)
    assert not suspicion.confirm(1)
    assert suspicion.confirm(2) and not suspicion.confirm(2)
    assert suspicion.confirm(3) and suspicion.confirm(4)
    assert not suspicion.confirm(5)
    assert suspicion.accusers == {1, 2, 3, 4}


def test_where_nobody_could_confirm_it_is_short() -> None:
    assert Suspicion(LAN, 2, 1, 0).due_ms == shortest_ms(LAN, 2) == 2000


def test_without_the_extension_it_is_always_short() -> None:
    assert Suspicion(replace(LAN, dynamic_suspicion=False), 100, 1, 0).due_ms == shortest_ms(LAN, 100) == 4000


@given(st.sampled_from(sorted(PROFILES)), st.integers(1, 2000), st.lists(st.integers(1, 6)))
def test_it_never_ends_outside_its_bounds(name: str, reachable: int, accusers: list[int]) -> None:
    suspicion = Suspicion(PROFILES[name], reachable, 1, 50)
    for accuser in accusers:
        suspicion.confirm(accuser)
        assert 50 + suspicion.shortest_ms <= suspicion.due_ms <= 50 + suspicion.longest_ms
        assert len(suspicion.accusers) <= suspicion.needed + 1


def test_begun_anew_it_has_all_its_time() -> None:
    suspicion = Suspicion(LAN, 5, 1, 0)
    suspicion.begin_anew(700)
    assert suspicion.due_ms == 700 + suspicion.longest_ms
