"""The moment of birth: a newcomer, or its sponsor, is lost when the `ready` of the newcomer is on its way."""

from marmoset.codec.messages import Batch
from marmoset.sim.network import Conditions
from tests.node.group import Alone, Group


def at_birth(size: int = 2, *, arrived: bool, presumed_dead_after: int = 600_000) -> Group:
    """One more host has logged its `ready`, before or behind its arrival at the sponsor, which is the first host."""
    group = Group(size, presumed_dead_after=presumed_dead_after)
    group.network.conditions = Conditions(latency_us_min=20_000, latency_us_max=20_000)
    newcomer = group.start_one()
    roster = group[1].replica.roster

    def is_there() -> bool:
        node = newcomer.node
        assert node is not None and node.state != "serving"
        logged = node.joining._ready is not None and node.state == "joining"
        return logged and node.replica.me in roster.members and roster.members[node.replica.me].born == arrived

    while not is_there():
        group.run(1)
    group.network.conditions = Conditions()
    return group


def test_a_newcomer_that_loses_its_sponsor_behind_its_birth_is_a_member_under_the_same_id() -> None:
    group = at_birth(arrived=True)
    group.cut(3)
    me = group[3].replica.me
    group.until(lambda: group[3].joining.is_unsure)
    assert group[3].refusal(write=False) is not None, "nobody is served before"
    group.network.heal()
    group.until(lambda: group.hosts[2].is_serving)
    assert group[3].replica.me == me
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    assert not group[1].replica.roster.graves, "nobody had to be buried"
    group.check()


def test_a_newcomer_whose_birth_never_arrived_is_told_so_and_begins_again() -> None:
    group = at_birth(arrived=False)
    group.cut(3)
    me = group[3].replica.me
    group.until(lambda: group[3].joining.is_unsure and me not in group[1].replica.roster.present())
    group.network.heal()
    group.until(lambda: group.hosts[2].is_serving)
    assert group[3].replica.me != me
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    assert list(group[1].replica.roster.graves) == [me]
    group.check()


def test_whoever_is_needed_for_a_majority_keeps_its_id_until_its_sponsor_is_buried() -> None:
    """A second id would have to be let in by two of four, and nobody could bury the sponsor any more."""
    group = at_birth(3, arrived=True, presumed_dead_after=60_000)
    group.hosts[0].crash(silent=True)
    me = group[4].replica.me
    group.until(lambda: group[4].joining.is_unsure)
    group.run(50_000)
    assert group[4].replica.me == me and group[4].refusal(write=False) is not None, "nobody is served before"
    assert not group[2].replica.roster.buried
    assert len(group.events("n4", "waiting until the sponsor is back or presumed dead: without us no majority")) == 1
    group.until(lambda: group.hosts[3].is_serving)
    assert group[4].replica.me == me
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    group.check()


def test_two_that_lost_their_sponsor_behind_their_births_do_not_wait_for_each_other() -> None:
    alone = Alone(join=("127.0.0.1:7009",), join_timeout=3000)
    sponsor = Alone("n9")
    link = alone.link("127.0.0.1:7009")
    theirs = sponsor.link()
    sponsor.hear(theirs, *alone.said[link])
    sponsor.run(50)
    alone.hear(link, *sponsor.said[theirs])
    assert alone.node.joining.is_birth_logged
    heard = len(sponsor.said[theirs])
    sponsor.let_in(50, "n5")
    alone.hear(link, *(message for message in sponsor.said[theirs][heard:] if isinstance(message, Batch)))
    assert alone.node.replica.roster.members[50].born
    alone.node.handle_closed(link)
    alone.answering = {50: 0}
    vector = [(r, q) for r, q in sorted(alone.node.replica.seen.items())]
    alone.hear(alone.link(), alone.hello(50, "n5", vector=vector))
    alone.run(8000)
    assert alone.node.joining.is_unsure and alone.node.burying.in_touch() == [50]
    alone.run(4000)
    assert alone.node.state == "waiting"
    assert alone.events("nobody knows of the birth, beginning again")


def test_whoever_is_not_needed_begins_again_when_nobody_knows_of_its_birth() -> None:
    group = at_birth(4, arrived=True)
    group.hosts[0].crash(silent=True)
    me = group[5].replica.me
    group.until(lambda: group.hosts[4].is_serving, 60_000)
    assert group[5].replica.me != me and group.events("n5", "nobody knows of the birth, beginning again")


def test_a_newcomer_that_is_not_sure_of_its_birth_leaves_as_a_member_does() -> None:
    """Else it would be one more that cannot be heard, and the three that are left of four no majority for long."""
    group = at_birth(3, arrived=True)
    group.hosts[0].crash(silent=True)
    group.until(lambda: group[4].joining.is_unsure and len(group[4].linked) == 2)
    group[4].leave()
    assert group[4].refusal(write=False) is not None, "nobody is served before"
    group.settle(4)
    group.until(lambda: "n4" in group.exits)
    assert group.exits["n4"].code == 0
    group.hosts[0].start((group.hosts[1].address,))
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    group.check()
