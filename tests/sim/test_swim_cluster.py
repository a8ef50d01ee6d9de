"""Membership alone in simulated clusters: what must be found, what must not be believed, and what has to heal."""

from collections import Counter

import pytest

from marmoset.membership.profiles import LAN, LOOPBACK, Profile
from marmoset.membership.states import ALIVE, SUSPECT, UNREACHABLE
from marmoset.sim.swim_cluster import Member, SwimCluster, index_of, replica_of


def cluster(size: int, seed: int = 1, profile: Profile = LAN, *, loss: float = 0.0, double: float = 0.0) -> SwimCluster:
    made = SwimCluster(seed, profile, size, loss_share=loss, double_share=double)
    made.run_ms(3000)
    return made


def verdicts(made: SwimCluster) -> list[tuple[int, int]]:
    """(who, whom) of every time that a member comes to hold another one unreachable from now on."""
    found: list[tuple[int, int]] = []

    def on_change(member: Member, subject: int, before: str, state: str) -> None:
        if state == UNREACHABLE:
            found.append((member.index, index_of(subject)))

    made.on_change = on_change
    return found


def record(made: SwimCluster, told: list[object]) -> None:
    """Write down everything that happens from now on."""
    made.on_change = lambda member, *change: told.append((made.now_ms, member.index, change))
    made.on_packet = lambda member, *packet: told.append((made.now_ms, member.index, packet))


def run_until_all_alive(made: SwimCluster, limit_ms: int) -> int:
    """How long it took."""
    began = made.now_ms
    while not made.all_alive():
        assert made.now_ms - began < limit_ms, "it does not heal in time"
        made.run_ms(200)
    made._check()
    return made.now_ms - began


@pytest.mark.parametrize("seed", range(40))
def test_a_crash_of_one_of_five_is_known_to_the_four_within_six_seconds(seed: int) -> None:
    made = cluster(5, seed, loss=0.01)
    made.run_ms(137 * seed % 500)
    made.crash(seed % 5)
    made.run_ms(6000)
    assert made.states(seed % 5) == [UNREACHABLE] * 4
    assert all(made.states(other).count(ALIVE) == 3 for other in range(5) if other != seed % 5)


def test_a_lost_link_makes_it_quicker() -> None:
    took = []
    for hinted in (False, True):
        total = 0
        for seed in range(10):
            made = cluster(5, seed)
            made.crash(0)
            if hinted:
                for member in made.members[1:]:
                    member.swim.handle_link_lost(replica_of(made.members[0]))
            began = made.now_ms
            while made.states(0) != [UNREACHABLE] * 4:
                made.run_ms(50)
            total += made.now_ms - began
        took.append(total / 10)
    assert took[1] < took[0]


def test_halves_that_were_cut_for_an_hour_are_one_within_a_minute() -> None:
    made = cluster(12)
    left, right = list(range(5)), list(range(5, 12))
    made.cut(left, right)
    made.run_ms(60_000)
    assert [made.members[0].swim.state(replica_of(made.members[n])) for n in (4, 5)] == [ALIVE, UNREACHABLE]
    made.run_ms(3_540_000)
    assert made.members[0].swim.unreachable_ms(replica_of(made.members[7]), made.now_ms) > 3_500_000
    found = verdicts(made)
    made.heal()
    assert run_until_all_alive(made, 60_000) < 60_000
    made.run_ms(20_000)
    assert found == [] and made.all_alive(), "healing takes nobody down"


@pytest.mark.parametrize("seed", range(6))
def test_fifty_members_in_three_parts_are_one_within_a_minute(seed: int) -> None:
    made = cluster(50, seed, LOOPBACK)
    parts = [list(range(10)), list(range(10, 27)), list(range(27, 50))]
    for number, part in enumerate(parts):
        for other in parts[number + 1 :]:
            made.cut(part, other)
    made.run_ms(150_000)
    found = verdicts(made)
    made.heal()
    run_until_all_alive(made, 60_000)
    assert found == []


def test_a_restart_of_all_but_one_ends_with_nobody_believed_of_the_old() -> None:
    made = cluster(6)
    old = [replica_of(member) for member in made.members]
    for index in range(1, 6):
        made.crash(index)
    for index in range(1, 6):
        made.restart(index)
        made.run_ms(300)
    made.run_ms(15_000)
    survivor = made.members[0].swim
    assert {survivor.state(replica) for replica in old[1:]} == {UNREACHABLE}
    for replica in old[1:]:
        for member in made.members:
            member.swim.remove(replica)
    run_until_all_alive(made, 30_000)
    assert all(
        set(member.swim.peers) == {replica_of(m) for m in made.members} - {member.swim.me} for member in made.members
    )


def test_a_member_that_hears_nothing_takes_nobody_down() -> None:
    for seed in range(8):
        made = cluster(8, seed)
        found = verdicts(made)
        made.cut([n for n in range(8) if n != 3], [3], one_way=True)
        made.run_ms(120_000)
        healthy = [(by, whom) for by, whom in found if 3 not in (by, whom)]
        assert healthy == []
        assert Counter(by for by, whom in found if whom == 3) == {n: 1 for n in range(8) if n != 3}, "and does not flap"
        made.heal()
        run_until_all_alive(made, 60_000)


def test_two_that_cannot_speak_to_one_another_are_alive_to_each_other_through_others() -> None:
    made = cluster(6)
    found = verdicts(made)
    made.cut([1], [4])
    made.run_ms(120_000)
    assert found == [] and made.all_alive()
    assert sum(member.swim.view.refutations for member in made.members) == 0, "they were not even suspected"


def test_a_fifth_of_all_packets_lost_and_some_doubled_makes_nobody_flap() -> None:
    made = cluster(20, loss=0.2, double=0.05)
    found = verdicts(made)
    made.run_ms(120_000)
    assert found == []


def test_where_no_packet_gets_through_links_alone_keep_everybody_alive() -> None:
    made = cluster(5, loss=1.0)
    found = verdicts(made)
    made.run_ms(60_000)
    assert found == [] and made.all_alive()
    made.crash(2)
    made.run_ms(60_000)
    assert made.states(2) == [UNREACHABLE] * 4


def test_slow_members_make_no_healthy_one_unreachable_to_a_healthy_one() -> None:
    made = cluster(24)
    found = verdicts(made)
    for step in range(20):
        for index in (2, 7, 15):
            if (step + index) % 3:
                made.slow(index, 4000)
        made.run_ms(5000)
    slow = {2, 7, 15}
    assert [(by, whom) for by, whom in found if whom not in slow and by not in slow] == []


def test_who_was_stopped_blames_nobody_and_is_alive_again_at_once() -> None:
    for stopped_ms in (30_000, 3_600_000):
        made = cluster(6, profile=LAN)
        found = verdicts(made)
        made.pause(2)
        made.run_ms(stopped_ms)
        assert made.states(2) == [UNREACHABLE] * 5
        stale = [whom for by, whom in found if by == 2]
        made.go_on(2)
        took = run_until_all_alive(made, 10_000)
        made.run_ms(20_000)
        assert stale == [] and [whom for by, whom in found if by == 2] == [], took
        assert {whom for _, whom in found} == {2}


def test_who_leaves_is_known_to_be_gone_without_suspicion() -> None:
    made = cluster(10)
    states: list[str] = []
    made.on_change = lambda member, subject, before, state: states.append(state)
    leaver = made.members[4]
    leaver.swim.leave()
    made._settle(leaver)
    made.crash(4)
    made.run_ms(2000)
    assert made.states(4) == [UNREACHABLE] * 9
    assert SUSPECT not in states


def test_a_newcomer_that_one_knows_is_known_to_all_soon() -> None:
    made = cluster(30)
    newcomer = made.join()
    made.run_ms(4000)
    assert made.states(newcomer.index) == [ALIVE] * 30
    known = [m.swim.peers[replica_of(newcomer)].details for m in made.members if m is not newcomer]
    assert {details.name for details in known if details is not None} == {"n30"} and None not in known


def test_one_seed_is_one_history() -> None:
    histories = []
    for _ in range(2):
        made = cluster(12, 5, loss=0.1, double=0.1)
        told: list[object] = []
        record(made, told)
        made.crash(3)
        made.run_ms(30_000)
        histories.append(told)
    assert histories[0] == histories[1] and len(histories[0]) > 1000
