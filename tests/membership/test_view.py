"""What a member believes: claims by rule, who is believed, how we defend ourselves, digests."""

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from marmoset.codec.packets import (
    INCARNATION_LIMIT,
    SAYS_ALIVE,
    SAYS_LEFT,
    SAYS_SUSPECT,
    SAYS_UNREACHABLE,
    Claim,
    Packet,
    Rumours,
    decode_packet,
    encode_head,
    join_updates,
)
from marmoset.membership.effects import Changed, SwimEffect
from marmoset.membership.health import LocalHealth
from marmoset.membership.peers import CONFIRMED, LEFT, REFUTED, SUSPECTED
from marmoset.membership.profiles import LAN, Profile
from marmoset.membership.states import ALIVE, SUSPECT, UNREACHABLE
from marmoset.membership.suspicion import shortest_ms
from marmoset.membership.view import View

ME, A, B, C, D = 1, 2, 3, 4, 5


def view(profile: Profile = LAN) -> View:
    effects: list[SwimEffect] = []
    made = View(ME, profile, Random(1), LocalHealth(8, enabled=True), effects)
    for replica in (A, B, C, D):
        made.add(replica, f"10.0.0.{replica}:1", 0)
    return made


def claims(made: View) -> list[Claim]:
    """What it passes on in the next packet."""
    data = join_updates(encode_head("c", ME, 0, Rumours()), made.broadcasts.take(1000, 5))
    packet: Packet = decode_packet(data)
    return [update for update in packet.updates if isinstance(update, Claim)]


def state(made: View, replica: int) -> str:
    return made.peers[replica].state


def test_a_suspicion_is_believed_passed_on_and_ends_by_the_incarnation_of_its_subject_alone() -> None:
    made = view()
    made.hear(Claim(SAYS_SUSPECT, A, 0, B), 10)
    assert state(made, A) == SUSPECT and claims(made) == [Claim(SAYS_SUSPECT, A, 0, B)]
    made.hear(Claim(SAYS_ALIVE, A, 0, C), 20)
    assert state(made, A) == SUSPECT, "the same incarnation refutes nothing, whoever says so"
    made.hear(Claim(SAYS_ALIVE, A, 1, A), 30)
    assert state(made, A) == ALIVE and claims(made) == [Claim(SAYS_ALIVE, A, 1, A)]
    made.hear(Claim(SAYS_SUSPECT, A, 0, C), 40)
    assert state(made, A) == ALIVE, "old news"
    trail = made.peers[A].trail
    assert trail is not None and [(e.at_ms, e.what, e.by, e.incarnation) for e in trail] == [
        (10, SUSPECTED, B, 0), (30, REFUTED, A, 1),
    ]  # fmt: skip


def test_independent_accusers_are_counted_passed_on_and_shorten_it() -> None:
    made = view()
    made.hear(Claim(SAYS_SUSPECT, A, 0, B), 0)
    claims(made)
    due = made.expiry_ms
    made.hear(Claim(SAYS_SUSPECT, A, 0, B), 0)
    assert made.expiry_ms == due
    made.hear(Claim(SAYS_SUSPECT, A, 0, C), 5)
    assert due is not None and made.expiry_ms is not None and made.expiry_ms < due
    assert Claim(SAYS_SUSPECT, A, 0, C) in claims(made)
    trail = made.peers[A].trail
    assert trail is not None and trail[-1].what == CONFIRMED and trail[-1].by == C


def test_who_has_not_refuted_in_time_is_unreachable() -> None:
    made = view()
    made.suspect(made.peers[A], 0, ME, 0)
    due = made.expiry_ms
    assert due is not None
    made.expire(due - 1)
    assert state(made, A) == SUSPECT
    made.expire(due)
    assert state(made, A) == UNREACHABLE and made.expiry_ms is None
    assert claims(made) == [Claim(SAYS_UNREACHABLE, A, 0, ME)]
    assert [e for e in made.effects if isinstance(e, Changed)] == [
        Changed(A, ALIVE, SUSPECT), Changed(A, SUSPECT, UNREACHABLE),
    ]  # fmt: skip


def test_nobody_is_unreachable_on_one_single_word() -> None:
    made = view()
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, B), 0)
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, B), 1)
    assert state(made, A) == SUSPECT
    long = made.expiry_ms
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, C), 2)
    assert state(made, A) == SUSPECT and made.expiry_ms == shortest_ms(LAN, 5) < (long or 0)
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, D), shortest_ms(LAN, 5))
    assert state(made, A) == UNREACHABLE


def test_our_own_suspicion_makes_the_word_of_another_enough() -> None:
    made = view()
    made.suspect(made.peers[A], 0, ME, 0)
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, B), 0)
    assert state(made, A) == SUSPECT, "it has the shortest time at least, to refute"
    made.expire(shortest_ms(LAN, 5))
    assert state(made, A) == UNREACHABLE


def test_without_the_extension_one_word_is_enough() -> None:
    made = view(replace(LAN, corroborate=False))
    made.hear(Claim(SAYS_UNREACHABLE, A, 0, B), 0)
    assert state(made, A) == UNREACHABLE


def test_nobody_is_accused_by_an_unreachable_member_or_a_stranger() -> None:
    made = view()
    made.found_unreachable(made.peers[B], 0, ME, 0)
    for by in (B, 77):
        made.hear(Claim(SAYS_SUSPECT, A, 0, by), 1)
        made.hear(Claim(SAYS_UNREACHABLE, A, 0, by), 1)
        made.merge([(A, 0 * 4 + SAYS_SUSPECT)], by, 1)
    assert state(made, A) == ALIVE
    made.hear(Claim(SAYS_ALIVE, A, 3, B), 1)
    assert made.peers[A].incarnation == 3, "good news is taken from anybody"


def test_an_accusation_of_ourselves_is_refuted_above_it_and_told() -> None:
    made = view()
    for kind in (SAYS_SUSPECT, SAYS_UNREACHABLE, SAYS_LEFT):
        before = made.incarnation
        made.hear(Claim(kind, ME, before + 4, A), 0)
        assert made.incarnation == before + 5
        assert claims(made) == [Claim(SAYS_ALIVE, ME, before + 5, ME)]
        made.hear(Claim(kind, ME, before + 4, B), 0)
        assert made.incarnation == before + 5, "it is refuted already"
    assert made.health.score == 3, "to be accused is a sign of trouble of our own"


def test_the_last_incarnation_is_not_passed() -> None:
    made = view()
    made.hear(Claim(SAYS_SUSPECT, ME, INCARNATION_LIMIT - 1, A), 0)
    assert made.incarnation == 0


def test_whoever_leaves_says_so_itself_and_refutes_nothing() -> None:
    made = view()
    made.hear(Claim(SAYS_LEFT, A, 0, B), 0)
    assert state(made, A) == ALIVE, "nobody leaves for another"
    made.hear(Claim(SAYS_LEFT, A, 0, A), 0)
    trail = made.peers[A].trail
    assert state(made, A) == UNREACHABLE and trail is not None and trail[-1].what == LEFT
    made.is_leaving = True
    made.hear(Claim(SAYS_LEFT, ME, 0, ME), 0)
    assert made.incarnation == 0
    assert (ME, SAYS_LEFT) in made.digest()


def test_who_takes_the_address_of_another_has_that_one_probed_next() -> None:
    made = view()
    made.add(50, made.peers[B].address, 0)
    assert made.order.next() == B
    made.add(51, made.peers[B].address, 0)
    for replica in (51, 50, B):
        made.remove(replica)
        made._check()
    made.add(52, f"10.0.0.{B}:1", 0)
    assert made.at_address == {f"10.0.0.{r}:1": r for r in (A, C, D)} | {f"10.0.0.{B}:1": 52}


def test_unreachable_is_no_end() -> None:
    made = view()
    made.found_unreachable(made.peers[A], 0, ME, 0)
    made.hear(Claim(SAYS_ALIVE, A, 1, A), 5000)
    assert state(made, A) == ALIVE and made.peers[A].since_ms == 5000
    made._check()


def test_a_digest_brings_good_news_and_suspicions_but_no_verdicts() -> None:
    made = view()
    digest = [(A, 2 * 4 + SAYS_ALIVE), (B, 0 * 4 + SAYS_UNREACHABLE), (ME, 0 * 4 + SAYS_SUSPECT), (77, 5)]
    made.merge(digest, C, 10)
    made.merge(digest, D, 10)
    assert made.peers[A].incarnation == 2
    assert state(made, B) == SUSPECT, "not even two of them: they may have it from one and the same"
    suspicion = made.peers[B].suspicion
    assert suspicion is not None and suspicion.accusers == {C}
    assert made.incarnation == 1
    assert Claim(SAYS_SUSPECT, B, 0, C) not in claims(made), "hearsay is not passed on"


def test_digests_bring_two_views_together() -> None:
    left, right = view(), View(A, LAN, Random(2), LocalHealth(8, enabled=True), [])
    for replica in (ME, B, C, D):
        right.add(replica, "x", 0)
    left.hear(Claim(SAYS_ALIVE, C, 7, C), 0)
    right.hear(Claim(SAYS_ALIVE, D, 3, D), 0)
    left.found_unreachable(left.peers[A], 0, ME, 0)
    right.merge(left.digest(), ME, 1)
    left.merge(right.digest(), A, 1)
    assert state(left, A) == ALIVE, "it has refuted"
    assert left.peers[D].incarnation == 3 and right.peers[C].incarnation == 7


def test_lost_time_is_nobodys_fault() -> None:
    made = view()
    made.suspect(made.peers[A], 0, ME, 0)
    made.found_unreachable(made.peers[B], 0, ME, 0)
    made.forgive(3_600_000, 3_600_500)
    assert state(made, A) == SUSPECT
    suspicion = made.peers[A].suspicion
    assert suspicion is not None and made.expiry_ms == suspicion.due_ms == 3_600_500 + suspicion.longest_ms
    assert made.peers[B].since_ms == 3_600_500 and made.peers[C].heard_ms == 3_600_000


def test_a_moment_in_which_nobody_can_be_found_unreachable_is_left_out_and_no_more() -> None:
    made = view()
    made.found_unreachable(made.peers[B], 0, ME, 1000)
    shortest = shortest_ms(LAN, made.reachable)
    made.forgive(shortest - 1, 10_000)
    assert made.peers[B].since_ms == 1000 + shortest - 1
    made.forgive(shortest, 20_000)
    assert made.peers[B].since_ms == 20_000


replicas = st.integers(ME, D + 1)
events = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 3), replicas, st.integers(0, 5), replicas),
    st.tuples(st.just("mine"), st.just(0), st.integers(A, D), st.integers(0, 5), st.just(ME)),
    st.tuples(st.just("digest"), st.integers(0, 3), replicas, st.integers(0, 5), replicas),
    st.tuples(st.just("time"), st.integers(0, 9000), st.just(0), st.just(0), st.just(0)),
    st.tuples(st.just("roster"), st.integers(0, 1), st.integers(ME, D), st.just(0), st.just(0)),
)


@given(st.lists(events, max_size=60))
def test_any_claims_leave_a_sound_view_and_no_incarnation_falls(
    events: list[tuple[str, int, int, int, int]],
) -> None:
    made, now = view(), 0
    known: dict[int, int] = {}
    for what, number, subject, incarnation, by in events:
        mine = made.incarnation
        if what == "claim":
            made.hear(Claim(number, subject, incarnation, by), now)
        elif what == "mine" and subject in made.peers:
            made.suspect(made.peers[subject], incarnation, ME, now)
        elif what == "digest":
            made.merge([(subject, incarnation * 4 + number)], by, now)
        elif what == "time":
            now += number
            made.expire(now)
        elif what == "roster":
            if number:
                made.add(subject, "x", now)
            else:
                made.remove(subject)
                known.pop(subject, None)
        made._check()
        assert made.incarnation >= mine
        for replica, peer in made.peers.items():
            assert peer.incarnation >= known.get(replica, 0)
            known[replica] = peer.incarnation
