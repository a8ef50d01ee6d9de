"""The log budget: warnings, slower writes, writes refused past it, burials, reads that go on, all well behind it."""

from dataclasses import replace
from random import Random

import pytest

from marmoset.codec.operations import Assign
from tests.commands.group import Group
from tests.node.group import Group as Nodes


def test_writes_are_refused_while_a_member_lacks_too_much() -> None:
    group = Group(3)
    here, there, away = group.members
    here.node.config = replace(here.node.config, log_budget=20_000)
    group.cut.add(away)
    for number, link in sorted(group.ends):
        other, _ = group.ends[number, link]
        if away in (other, group.members[number]):
            group.members[number].node.handle_closed(link)
    group.ends = {
        end: (other, link) for end, (other, link) in group.ends.items() if away not in (other, group.members[end[0]])
    }
    rng = Random(1)
    refused = b""
    for number in range(200):
        answer = here("SET", f"k{number}", rng.randbytes(400))
        if answer[0] == b"-":
            assert isinstance(answer[1], bytes)
            refused = answer[1]
            break
        group.settle()
        group.run(50)
    assert refused.startswith(b"OOM "), refused
    assert away.node.config.name.encode() in refused, "who is waited for"
    assert here("GET", "k0")[1] is not None, "reads go on"
    group.run(500)
    events = [n.fields["reached"] for n in here.notices if n.event == "log budget"]
    assert events == ["past half of log_budget", "past log_budget: writes are refused"]
    there.node.replica.submit(Assign(b"from there", b"v"))
    there.node.end_turn()
    group.settle()
    assert here("GET", "from there")[1] == b"v", "what comes from others is applied"
    group.cut.clear()
    group.run(5000)
    assert here("SET", "again", "v") == (b"+", b"OK")


# -- slower, and buried sooner


def outgrown(size: int = 4, **changes: object) -> Nodes:
    group = Nodes(
        size,
        unreachable_after=2000,
        log_budget=20_000,
        budget_grace=3000,
        **changes,  # type: ignore[arg-type]
    )
    group.until(group.is_at_rest)
    return group


def fill(group: Nodes, number: int, past: float) -> None:
    node = group[number]
    rng = Random(2)
    while node.replica.log.size_bytes <= past * node.config.log_budget:
        node.replica.submit(Assign(b"k", rng.randbytes(500)))
        node.end_turn()
        group.settle(number)
        group.run(1)


@pytest.mark.interpreted
def test_a_member_out_of_reach_is_buried_sooner_once_the_log_has_outgrown_its_budget() -> None:
    group = outgrown()
    for node in group.nodes():
        node.burying.stalled_ms = lambda replica: 0  # type: ignore[method-assign]
    group.cut(4)
    fill(group, 1, 0.9)
    group.run(20_000)
    assert group[1].replica.roster.buried == {}, "within the budget there is time: ten minutes"
    assert group[1].status()["log_level"] == "past half of log_budget"
    assert group[1].status()["log_waits_for"] == "n4"
    fill(group, 1, 1.05)
    assert str(group[1].refusal(write=True)).startswith("OOM")
    took = group.until(lambda: bool(group[1].replica.roster.graves))
    assert 3000 <= took <= 7000
    assert group[1].refusal(write=True) is None and group[1].replica.is_at_rest
    assert not group[4].replica.roster.buried


@pytest.mark.interpreted
def test_a_member_that_takes_nothing_is_buried_by_those_that_all_see_it() -> None:
    """Its liveness answers, but nothing of what is sent gets through to it."""
    group = outgrown()
    stuck = group[4]
    stuck.streaming.handle = lambda link, message, data: None  # type: ignore[method-assign]
    fill(group, 1, 1.05)
    took = group.until(lambda: stuck.replica.me in group[1].replica.roster.buried)
    assert 3000 <= took <= 9000
    assert not any(notice.event == "member is unreachable" for _, notice in group.notices)


def test_who_is_asked_as_it_wakes_knows_nothing_of_the_progress_of_others() -> None:
    """What it found before it slept is void, though it has not looked again yet."""
    group = outgrown()
    away = group[4].replica.me
    group.cut(4)
    fill(group, 1, 0.9)
    group.run(4000)
    burying = group[2].burying
    assert burying.stalled_ms(away) > 3000 and away in dict(burying.evidence()[1])
    group.hosts[1].stop()
    group.run(20_000)
    assert burying.stalled_ms(away) == 0 and burying.evidence()[1] == []
    group.hosts[1].go_on()
    group.run(1000)
    assert 0 < burying.stalled_ms(away) <= 1000


def test_a_minority_buries_nobody_however_full_its_log_is() -> None:
    group = outgrown()
    group.cut(1, 2)
    fill(group, 1, 1.05)
    group.run(60_000)
    assert all(not node.replica.roster.buried for node in group.nodes())
    assert str(group[1].refusal(write=True)).startswith("OOM") and group[3].refusal(write=True) is None
    group.network.heal()
    group.until(group.is_at_rest)
    assert group[1].refusal(write=True) is None


def test_a_full_log_takes_burials_and_joins_all_the_same() -> None:
    group = outgrown(3)
    group.hosts[2].crash()
    fill(group, 1, 1.05)
    assert str(group[1].refusal(write=True)).startswith("OOM")
    group.start_one("n3")
    group.until(lambda: group.is_whole() and group.is_at_rest())


@pytest.mark.interpreted
def test_writers_are_slowed_down_while_somebody_slow_catches_up_and_not_for_nobody() -> None:
    group = outgrown(3, write_delay_max=200)
    delays: list[int] = []
    group[3].streaming.handle = lambda link, message, data: None  # type: ignore[method-assign]
    for past in (0.5, 0.7, 0.8, 0.95, 1.05):
        fill(group, 1, past)
        group.run(250)
        delays.append(group[1].budget.delay_ms)
    assert delays[:2] == [0, 0] and 0 < delays[2] < delays[3] < delays[4] == 200
    assert group[1].status()["write_delay_ms"] == 200
    alone = outgrown(3, write_delay_max=200)
    alone.cut(1)
    alone.run(25_000)  # nobody confirms what one finds who is cut off alone
    fill(alone, 1, 0.95)
    alone.run(500)
    assert alone[1].budget.delay_ms == 0
