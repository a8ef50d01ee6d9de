"""Burial by majority: who buries whom, on whose word, and who is never believed."""

from collections.abc import Callable

import pytest

from marmoset.codec.messages import Gossip
from marmoset.codec.operations import Bury, Join
from marmoset.errors import UsageError
from marmoset.ids import id_text
from marmoset.node.burying import FRESH_MS_MIN
from marmoset.node.states import SERVING
from marmoset.sim.network import Conditions
from tests.node.group import Alone, Group

HOUR_MS = 3_600_000
BURIED = "buried a member that is presumed dead"


def a_group(size: int, *, gossip_interval: int = 200, quorum: str = "majority") -> Group:
    return Group(
        size,
        unreachable_after=2000,
        presumed_dead_after=4000,
        gossip_interval=gossip_interval,
        presumed_dead_quorum=quorum,
    )


def burials(group: Group) -> list[tuple[str, object]]:
    """Who has buried whom by itself."""
    return sorted((who, notice.fields["name"]) for who, notice in group.notices if notice.event == BURIED)


def is_done(group: Group) -> bool:
    return group.is_whole() and group.is_at_rest()


def test_whoever_is_gone_for_long_is_buried_once_and_everything_is_forgotten() -> None:
    group = a_group(4)
    group.hosts[3].crash()
    group.write(1, b"v")
    group.run(5500)
    assert burials(group) == [], "unreachable after two seconds, for four"
    group.until(lambda: is_done(group))
    assert len(burials(group)) == 1, "the others have left it to one of them"
    (fields,) = [notice.fields for _, notice in group.notices if notice.event == BURIED]
    assert fields["name"] == "n4" and len(fields["witnesses"]) >= 1  # type: ignore[arg-type]
    assert isinstance(fields["unreachable_ms"], int) and fields["unreachable_ms"] >= 4000


@pytest.mark.interpreted
def test_the_one_with_the_lowest_id_in_touch_goes_first_and_another_if_it_does_not() -> None:
    group = a_group(4)
    group.hosts[3].crash()
    first = min(group.nodes(), key=lambda node: node.replica.me)
    group.until(lambda: bool(burials(group)))
    assert [who for who, _ in burials(group)] == [first.config.name]
    other = a_group(4)
    first = min(other.nodes()[:3], key=lambda node: node.replica.me)
    other.hosts[3].crash()
    first.burying.handle_interval = lambda: None  # type: ignore[method-assign]
    other.until(lambda: is_done(other))
    assert len(burials(other)) == 1 and burials(other)[0][0] != first.config.name


def test_of_a_cut_three_to_two_the_three_bury_the_two_and_the_two_nobody() -> None:
    group = a_group(5)
    group.cut(4, 5)
    group.write(4, b"v")
    group.run(30_000)
    buried = burials(group)
    assert {name for _, name in buried} == {"n4", "n5"}
    assert {who for who, _ in buried} <= {"n1", "n2", "n3"}
    for number in (1, 2, 3):
        assert len(group[number].replica.roster.graves) == 2 and group[number].replica.is_at_rest
    for number in (4, 5):
        assert not group[number].replica.roster.buried and group[number].state == SERVING


def test_newcomers_that_one_side_of_a_cut_lets_in_do_not_make_it_a_majority() -> None:
    """Three, of whom the third is cut off and lets in two more: three of five there, and two of three here."""
    group = a_group(3)
    group.cut(3)
    for number in (4, 5):
        group.start_one(join=(group.hosts[2].address,))
        group.cut(*range(3, number + 1))
        group.until(lambda: group.hosts[-1].is_serving)
    group.write(3, b"v")
    group.run(20_000)
    assert {name for _, name in burials(group)} == {"n3"} and {who for who, _ in burials(group)} <= {"n1", "n2"}
    why = "\n".join(group[3].why(b"n1"))
    assert "burial: no vote yet has n4, n5: too few are known to have heard of them" in why
    group.network.heal()
    group.until(lambda: is_done(group), 60_000)
    assert group.values() == [b"v"] * 5 and {node.state for node in group.nodes()} == {SERVING}


def who_votes_still(patient_ms: int, go: Callable[[Group], None]) -> Group:
    """Five, of whom two are dead; two more are let in; then a third of the five goes, and nobody else does."""
    group = Group(5, unreachable_after=2000, presumed_dead_after=patient_ms, gossip_interval=200)
    group.hosts[3].crash()
    group.hosts[4].crash()
    for _ in range(2):
        group.start_one()
        group.until(lambda: group.hosts[-1].is_serving)
    group.until(lambda: all(len(group[n].linked) == 4 for n in (1, 2, 3, 6, 7)))
    go(group)
    group.until(lambda: is_done(group))
    assert {name for _, name in burials(group)} == {"n4", "n5"}
    return group


def test_newcomers_keep_their_votes_when_somebody_leaves_who_knew_of_them() -> None:
    """Two of the four older ones that are counted then are dead, and the other two are no majority of them: `churn`
    300270, where nobody could bury the dead any more, though four of six were there."""

    def leave(group: Group) -> None:
        group[3].leave()
        group.settle(3)

    group = who_votes_still(8000, leave)
    assert group.exits["n3"].code == 0 and len(group.nodes()) == 4


def test_newcomers_keep_their_votes_when_somebody_is_buried_who_knew_of_them() -> None:
    """It restarts, and its predecessor is buried at once, before the two that are dead for good."""

    def restart(group: Group) -> None:
        group.hosts[2].crash()
        group.hosts[2].start((group.hosts[0].address,))

    group = who_votes_still(12_000, restart)
    assert len(group.events("n1", "buried the predecessor of a newcomer")) == 1 and len(group.nodes()) == 5


def test_who_is_cut_off_and_has_not_found_out_yet_buries_no_predecessor() -> None:
    """Its links look as they did, nobody is unreachable to it: `churn` 210107, where it had been buried meanwhile."""
    group = Group(5, unreachable_after=HOUR_MS, conditions=Conditions(latency_us_max=400, break_us=HOUR_MS * 1000))
    group.cut(4, 5)
    group.hosts[4].crash()
    group.hosts[4].start((group.hosts[3].address,))
    group.run(10_000)
    assert not group[4].replica.roster.buried and not group.hosts[4].is_serving
    assert len(group[4].burying.in_touch()) >= 3 and group[4].burying.answering() == []
    assert {fields["code"] for fields in group.events("n5", "not let in")} == {"majority"}
    group.network.heal()
    group.until(lambda: is_done(group))


def test_a_majority_for_an_operator_is_of_those_that_have_answered_lately() -> None:
    trial = Witnesses()
    node = trial.alone.node
    trial.pass_by(10, None)
    trial.alone.run(FRESH_MS_MIN + 500)
    assert node.membership.state(60) == "unreachable" and node.burying.in_touch() == [50]
    with pytest.raises(UsageError, match=r"no majority of 3 members with those that answer it \(nobody\)"):
        node.bury("n3", force=False)
    asked = [m for m in trial.alone.said[trial.link] if isinstance(m, Gossip) and not m.answer]
    assert asked[-1].echo_ms >= trial.alone.time.now - 500, "it is asked again and again while somebody is unreachable"
    trial.answer([])
    node.bury("n3", force=False)
    assert node.replica.roster.buried.keys() == {60}


def test_a_witness_that_has_what_is_not_here_counts_when_that_has_come() -> None:
    group = a_group(3)
    first, second = group[1], group[2]
    group.run(1000)
    now, vector = first.time.monotonic_ms(), sorted(second.replica.seen.items())
    found = [(group[3].replica.me, 5000)]
    answer = Gossip(second.replica.me, 0, 0, vector, [], found, [], now, True)
    first.burying.handle_evidence(second.replica.me, answer)
    assert first.burying.said(second.replica.me, group[3].replica.me) == (5000, 0)
    ahead = [(replica, seq + (replica == second.replica.me)) for replica, seq in vector]
    answer = Gossip(second.replica.me, 0, 0, ahead, [], found, [], now, True)
    first.burying.handle_evidence(second.replica.me, answer)
    assert first.burying.said(second.replica.me, group[3].replica.me) is None
    group.write(2, b"more")
    group.until(lambda: first.burying.said(second.replica.me, group[3].replica.me) is not None)


def test_of_a_cut_two_to_two_nobody_buries_anybody_and_it_heals() -> None:
    group = a_group(4)
    group.cut(3, 4)
    group.write(1, b"one side", b"a")
    group.write(3, b"the other", b"b")
    group.run(60_000)
    assert burials(group) == []
    group.network.heal()
    group.until(lambda: is_done(group))
    assert group.values(b"a") == [b"one side"] * 4 and group.values(b"b") == [b"the other"] * 4


def test_one_may_decide_alone_where_the_operator_accepted_that() -> None:
    group = a_group(2, quorum="one")
    group.hosts[1].crash()
    group.until(lambda: bool(burials(group)))
    group.until(lambda: is_done(group))
    pair = a_group(2)
    pair.hosts[1].crash()
    pair.run(30_000)
    assert burials(pair) == [], "two have no majority without each other"


def test_a_machine_that_slept_for_an_hour_buries_nobody() -> None:
    group = a_group(4, gossip_interval=1000)
    group.hosts[3].stop()
    group.hosts[2].stop()  # no majority is awake
    group.run(HOUR_MS)
    group.hosts[2].go_on()
    group.hosts[3].go_on()
    group.run(3000)
    assert burials(group) == []
    group.until(lambda: is_done(group))
    assert burials(group) == []


def test_a_sleeper_that_wakes_alone_buries_nobody_either() -> None:
    group = a_group(3, gossip_interval=1000)
    for host in group.hosts:
        host.stop()
    group.run(HOUR_MS)
    group.hosts[0].go_on()
    group.run(1500)
    group.hosts[1].go_on()
    group.run(3000)
    assert burials(group) == []
    group.hosts[2].go_on()
    group.until(lambda: is_done(group))
    assert burials(group) == []


# -- evidence, played by hand


class Witnesses:
    """One node of three, and what the test says in the name of the second: the third is gone."""

    def __init__(self) -> None:
        self.alone = Alone(unreachable_after=2000, presumed_dead_after=4000)
        self.link = self.alone.let_in(50)
        self.gone = self.alone.let_in(60, "n3")
        self.alone.answering = {50: 0}
        self.alone.node.handle_closed(self.gone)
        self.alone.take()
        self.counter = 0

    def answer(self, found: list[tuple[int, int]], late_ms: int = 0) -> None:
        self.counter += 1
        message = self.alone.gossip(50, self.counter, answer=True, unreachable=found)
        fields = {name: getattr(message, name) for name in message.__struct_fields__}
        self.alone.hear(self.link, Gossip(**{**fields, "echo_ms": self.alone.time.now - late_ms}))

    def pass_by(self, seconds: int, found: list[tuple[int, int]] | None, late_ms: int = 0) -> None:
        for _ in range(seconds * 2):
            self.alone.run(500)
            self.answer([] if found is None else found, late_ms)

    @property
    def buried(self) -> list[dict[str, object]]:
        return self.alone.events(BURIED)


def test_nobody_is_buried_on_our_own_word_alone() -> None:
    trial = Witnesses()
    trial.pass_by(20, None)
    assert not trial.buried
    trial.pass_by(1, [(60, 3999)])
    assert not trial.buried, "not for long enough"
    trial.pass_by(2, [(60, 4000)])
    assert [(fields["witnesses"], fields["witness_ids"]) for fields in trial.buried] == [(["n2"], [id_text(50)])]
    assert trial.alone.node.replica.roster.buried.keys() == {60}
    assert trial.alone.node.status()["burials_automatic"] == 1


def test_nobody_is_buried_on_the_word_of_others_alone() -> None:
    trial = Witnesses()
    trial.pass_by(5, [(60, HOUR_MS), (50, HOUR_MS)])
    assert not trial.buried, "we ourselves have it unreachable for three seconds"


def test_what_was_said_long_ago_does_not_count_however_late_it_comes() -> None:
    trial = Witnesses()
    trial.pass_by(4, None)
    trial.pass_by(20, [(60, HOUR_MS)], late_ms=FRESH_MS_MIN + 1000)
    assert trial.alone.node.burying.due() == [60]
    assert not trial.buried
    trial.answer([(60, HOUR_MS)], late_ms=-HOUR_MS)
    trial.alone.run(1000)
    assert not trial.buried, "nor what was said in the future"
    trial.pass_by(2, [(60, HOUR_MS)], late_ms=FRESH_MS_MIN // 2)
    assert trial.buried


def test_a_witness_that_cannot_be_reached_any_more_does_not_count() -> None:
    trial = Witnesses()
    trial.pass_by(5, [(60, HOUR_MS)])
    trial.alone.node.handle_closed(trial.link)
    trial.alone.run(10_000)
    assert not trial.buried


def test_a_witness_that_has_fallen_silent_does_not_count_though_its_word_is_fresh() -> None:
    trial = Witnesses()
    while trial.alone.node.burying.unreachable_ms(60) < 2900:
        trial.alone.run(100)
        trial.answer([(60, HOUR_MS)])
    trial.alone.run(FRESH_MS_MIN - 100)
    assert trial.alone.node.burying.due() == [60] and trial.alone.node.burying.said(50, 60) == (HOUR_MS, 0)
    assert not trial.buried
    trial.pass_by(2, [(60, HOUR_MS)])
    assert trial.buried


def test_who_has_the_higher_id_leaves_it_to_the_other_for_a_while() -> None:
    trial = Witnesses()
    while not trial.alone.node.burying._ripe_ms:
        trial.alone.run(100)
        trial.answer([(60, HOUR_MS)])
    assert trial.alone.node.replica.me > 50
    ripe_ms = trial.alone.time.now
    while not trial.buried:
        trial.alone.run(100)
        trial.answer([(60, HOUR_MS)])
    assert 3 * 200 - 100 <= trial.alone.time.now - ripe_ms <= 2 * 3 * 200


def test_everybody_is_asked_while_a_burial_waits_for_witnesses() -> None:
    alone = Alone(unreachable_after=6000, presumed_dead_after=4000, gossip_interval=1000)
    links = [alone.let_in(50 + n, f"m{n}") for n in range(6)]
    alone.answering = {50 + n: 0 for n in range(6)}
    alone.node.handle_closed(alone.let_in(60, "gone"))
    alone.take()
    for counter in range(1, 60):
        alone.run(1000)
        for n, link in enumerate(links):
            alone.hear(link, alone.gossip(50 + n, counter, answer=True))
    assert alone.node.burying.due() == [60]
    before = [sum(isinstance(m, Gossip) and not m.answer for m in alone.said[link]) for link in links]
    alone.run(6000)
    asked = [sum(isinstance(m, Gossip) and not m.answer for m in alone.said[link]) for link in links]
    assert all(now - then >= 2 for now, then in zip(asked, before, strict=True)), "by chance it would be one each"


def test_a_machine_that_was_suspended_has_found_nothing() -> None:
    """Its monotonic clock stood still, but its wall clock is far ahead: a step that others have to confirm."""
    trial = Witnesses()
    trial.pass_by(9, [(60, HOUR_MS)])
    trial.alone.time.wall += HOUR_MS
    trial.pass_by(3, [(60, HOUR_MS)])
    assert trial.alone.node.wall_clock.held_since_ms is None, "confirmed by the second"
    assert not trial.buried
    assert trial.alone.node.burying.evidence()[0] and trial.alone.node.burying.evidence()[0][0][1] < 3500
    trial.pass_by(3, [(60, HOUR_MS)])
    assert trial.buried


def test_a_machine_that_doubts_itself_and_slept_for_seconds_has_found_nothing() -> None:
    """Its own periods are long then, so that nothing is due while it sleeps: `everything` 160317 of the simulator."""
    trial = Witnesses()
    swim = trial.alone.node.membership
    while swim.unreachable_ms(60, trial.alone.time.now) < 3000:
        trial.pass_by(1, None)
    while min(swim._period_ms, swim._retry_ms, swim._exchange_ms) < trial.alone.time.now + 1700:
        swim.health.note(swim.health.score_max)
        trial.alone.run(50)
    assert swim.unreachable_ms(60, trial.alone.time.now) >= 3000
    trial.alone.time.now += 1600
    trial.alone.time.wall += 1600
    trial.alone.hear(trial.link, trial.alone.gossip(50, trial.counter + 1))
    answers = [m for m in trial.alone.said[trial.link] if isinstance(m, Gossip) and m.answer]
    assert answers and dict(answers[-1].unreachable).get(60, 0) <= 1


def test_machines_that_are_stopped_for_a_moment_again_and_again_bury_all_the_same() -> None:
    group = Group(3, presumed_dead_after=60_000)
    group.hosts[2].crash()
    began_ms = group[1].time.monotonic_ms()
    while not burials(group):
        for host in group.hosts[:2]:
            host.stop()
        group.run(900)
        for host in group.hosts[:2]:
            host.go_on()
        group.run(9000)
        assert group[1].time.monotonic_ms() - began_ms < 100_000
    group.until(group.is_whole)
    assert group[1].membership.counters["pauses"] > 5
    assert group[1].time.monotonic_ms() - began_ms > 60_000, "what was lost does not count"


def test_whose_evidence_is_old_is_asked() -> None:
    trial = Witnesses()
    trial.pass_by(8, None)
    asked = [m for m in trial.alone.said[trial.link] if isinstance(m, Gossip) and not m.answer]
    assert asked[-1].unreachable and asked[-1].unreachable[0][0] == 60


def test_an_unborn_newcomer_is_its_sponsors_to_bury_and_everybodys_when_that_one_is_gone() -> None:
    trial = Witnesses()
    alone = trial.alone
    alone.hear(trial.link, alone.batch(50, [Join(70, "n4", "127.0.0.1:70")]))
    trial.pass_by(20, [(70, HOUR_MS)])
    assert not trial.buried, "it may be at its snapshot still"
    alone.node.replica.submit_roster([Bury(50)])
    assert alone.node.burying.is_ours_to_bury(70)


def test_with_a_sponsor_its_unborn_newcomers_are_buried() -> None:
    trial = Witnesses()
    alone = trial.alone
    alone.hear(trial.link, alone.batch(50, [Join(70, "n4", "127.0.0.1:70")]))
    alone.node.bury("n2", force=True)
    assert alone.node.replica.roster.buried.keys() == {50, 70}
