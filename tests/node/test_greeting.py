"""The handshake: every code of refusal is provoked once, and what each side does then."""

import pytest

from marmoset.codec.messages import CaughtUp, Gossip, Hello, Refuse, Report
from marmoset.codec.operations import Bury, Leave
from marmoset.node.links import REFUSAL_CODES, STATES, Link
from marmoset.node.states import NODE_STATES
from tests.node.group import Alone, Group, a_config

SECOND = 1000


def code(refusal: Refuse | None) -> str | None:
    return None if refusal is None else refusal.code


# -- the tables


@pytest.mark.parametrize("table", [STATES, NODE_STATES])
def test_every_state_is_in_its_table_and_can_be_reached(table: dict[str, tuple[str, ...]]) -> None:
    first = next(iter(table))
    reached, todo = {first}, [first]
    while todo:
        for state in table[todo.pop()]:
            assert state in table
            if state not in reached:
                reached.add(state)
                todo.append(state)
    assert reached == set(table)


def test_a_change_that_is_not_in_the_table_is_our_own_bug() -> None:
    link = Link(1, "", False, 1000, 0)
    with pytest.raises(AssertionError):
        link.become("greeting")
    alone = Alone()
    with pytest.raises(AssertionError):
        alone.node.become("joining")


# -- who is let on


def test_we_say_who_we_are_first() -> None:
    alone = Alone()
    for link in (alone.link(), alone.link("127.0.0.1:7009")):
        (hello,) = alone.said[link]
        assert isinstance(hello, Hello)
        assert (hello.cluster, hello.name, hello.address) == ("marmoset", "n1", "127.0.0.1:7001")
        assert (hello.replica, hello.group) == (alone.node.replica.me, alone.node.replica.group)


def test_a_member_is_linked() -> None:
    alone = Alone()
    first = alone.let_in(50)
    alone.node.handle_closed(first)
    assert code(alone.refusal(alone.hello(50))) is None
    assert 50 in alone.node.linked


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"protocol": 99}, "protocol"),
        ({"cluster": "another"}, "cluster"),
        ({"group": 12345}, "group"),
        ({"wall_ms": 0}, "clock"),
        ({"wall_ms": 1 << 50}, "clock"),
        ({"replica": 51, "vector": []}, "not yet"),
        ({"replica": 51, "vector": [(1, 5)], "line": [2, 3]}, "not yet"),
    ],
)
def test_refusals(changes: dict[str, object], expected: str) -> None:
    alone = Alone()
    alone.let_in(50)
    refusal = alone.refusal(alone.hello(**{"replica": 50, **changes}))  # type: ignore[arg-type]
    assert code(refusal) == expected
    assert expected in REFUSAL_CODES
    if expected != "not yet":
        assert alone.events("refused a link")[-1]["code"] == expected


def test_full() -> None:
    alone = Alone(replicas_max=2)
    alone.let_in(50)
    assert code(alone.refusal(alone.newcomer(51, "n3"))) == "full"


def test_name_of_the_sponsor_itself() -> None:
    alone = Alone()
    assert code(alone.refusal(alone.newcomer(51, "n1"))) == "name"


def test_name_of_a_member_that_answers() -> None:
    alone = Alone()
    member = alone.let_in(50)
    link = alone.link()
    alone.hear(link, alone.newcomer(51))
    for counter in range(1, 30):
        alone.run(100)
        alone.hear(member, alone.gossip(50, counter))
    assert code(next(m for m in alone.said[link] if isinstance(m, Refuse))) == "name"
    assert 51 not in alone.node.replica.roster.members and 50 not in alone.node.replica.roster.buried


def test_majority_for_a_predecessor_that_is_silent() -> None:
    alone = Alone()
    alone.let_in(50)
    link = alone.link()
    alone.hear(link, alone.newcomer(51))
    alone.run(3000)
    (refusal,) = [m for m in alone.said[link] if isinstance(m, Refuse)]
    assert refusal.code == "majority" and "FORCE" in refusal.reason
    assert 50 not in alone.node.replica.roster.buried


def test_an_id_that_was_offered_before_is_not_taken_again() -> None:
    alone = Alone()
    alone.let_in(50, born=False)
    assert code(alone.refusal(alone.newcomer(50))) == "not yet"


def test_claiming_the_id_of_a_newcomer_does_not_have_it_buried() -> None:
    alone = Alone()
    alone.let_in(50, born=False)
    alone.refusal(alone.newcomer(50))
    alone.refusal(alone.hello(50, vector=[(1, 1)], cluster="another"))
    assert 50 not in alone.node.replica.roster.buried


def test_who_is_not_born_is_linked_by_its_sponsor_alone() -> None:
    """Whoever dials its address, which may have been that of another member, would end the link that fills it."""
    alone = Alone()
    filled = alone.let_in(50, born=False)
    assert code(alone.refusal(alone.hello(50))) == "not yet"
    assert filled not in alone.closed and 50 not in alone.node.replica.roster.buried


def test_presumed_dead_with_proof_and_not_yet_before_that() -> None:
    alone = Alone()
    b, c, d = alone.let_in(50), alone.let_in(60, "n3"), alone.let_in(70, "n5")
    alone.hear(b, alone.batch(50, [Bury(60)]))
    assert code(next(m for m in alone.said[c] if isinstance(m, Refuse))) == "not yet"
    linked = len(alone.events("linked"))
    assert code(alone.refusal(alone.hello(60, "n3"))) == "not yet"
    assert len(alone.events("linked")) == linked
    final = alone.node.replica.seen[60]
    for _ in range(3):  # n5 is not known to have the burial before it says so
        alone.hear(b, alone.report(50))
        alone.hear(d, alone.report(70))
        alone.run(500)
    assert alone.node.replica.roster.graves == {60: final}
    refusal = alone.refusal(alone.hello(60, "n3"))
    assert refusal is not None and (refusal.code, refusal.final_seq) == ("presumed dead", final)
    stranger = alone.refusal(alone.hello(61, "n4", vector=[(1, 1)], line=[60]))
    assert code(stranger) == "presumed dead", "let in by somebody who is dead, and nobody knows anybody"


def test_one_that_has_left_is_not_linked_again() -> None:
    alone = Alone()
    link = alone.let_in(50)
    alone.hear(link, alone.batch(50, [Leave()]))
    alone.node.handle_closed(link)
    assert code(alone.refusal(alone.hello(50))) == "left"


def test_a_node_that_waits_itself_lets_nobody_on() -> None:
    alone = Alone(join=("127.0.0.1:7009",))
    assert alone.node.state == "waiting" and alone.dialled == ["127.0.0.1:7009"]
    assert code(alone.refusal(alone.newcomer(51))) == "not yet"
    assert code(alone.refusal(alone.hello(51, vector=[]))) == "not yet"


def test_a_link_on_which_we_had_nothing_to_tell_is_not_gone_on_with_as_a_member() -> None:
    """Our Hello was without a vector, which the other side would read as having everything."""
    alone = Alone(join=("127.0.0.1:7009",))
    early = alone.link()
    alone.node.become_replica()
    alone.node.replica.begin_group(77)
    alone.node.become("serving")
    alone.let_in(50)
    alone.hear(early, alone.hello(50))
    refusal = alone.said[early][-1]
    assert isinstance(refusal, Refuse) and refusal.code == "not yet"
    assert code(alone.refusal(alone.hello(50))) is None


# -- what is not a handshake


def test_an_address_that_is_our_own_is_closed_without_a_word() -> None:
    alone = Alone()
    link = alone.link("127.0.0.1:7009")
    alone.hear(link, alone.hello(alone.node.replica.me))
    assert link in alone.closed and alone.node.linked == {}


def test_two_hellos_on_a_link_are_a_fault() -> None:
    alone = Alone()
    link = alone.let_in(50)
    alone.hear(link, alone.hello(50))
    assert link in alone.closed and alone.node.counters["messages_bad"] == 1


@pytest.mark.parametrize("first", [CaughtUp(), Report.__name__.encode(), b"", b"\xc1", b"GET / HTTP/1.1\r\n\r\n"])
def test_whatever_comes_before_a_hello_closes_the_link(first: object) -> None:
    alone = Alone()
    link = alone.link()
    alone.hear(link, first)  # type: ignore[arg-type]
    assert link in alone.closed and alone.node.links == {}
    assert alone.events("bad message")
    alone.hear(link, alone.hello(50))  # what still comes over it is not listened to
    assert len(alone.events("bad message")) == 1


@pytest.mark.parametrize("clients", [True, False])
def test_somebody_who_says_nothing_is_not_waited_for(clients: bool) -> None:
    alone = Alone()
    if clients:
        alone.let_in(50)
    link = alone.link()
    alone.run(2 * SECOND)
    assert link not in alone.closed
    alone.run(3 * SECOND)
    assert link in alone.closed and link not in alone.node.links


def test_of_two_links_both_sides_keep_the_one_that_the_lower_id_opened() -> None:
    alone = Alone()
    lower = alone.node.replica.me // 2
    first = alone.let_in(lower)  # opened by the other side, which has the lower id
    second = alone.link("127.0.0.1:7050")
    alone.hear(second, alone.hello(lower))
    assert second in alone.closed and alone.node.linked[lower].number == first
    third = alone.link()
    alone.hear(third, alone.hello(lower))
    assert first in alone.closed and alone.node.linked[lower].number == third, "of the same side's, the later one"


def test_a_refused_member_that_the_others_buried_takes_no_more_writes_and_joins_anew() -> None:
    alone = Alone()
    link = alone.let_in(50)
    alone.hear(link, Refuse("presumed dead", "you were gone", 3))
    assert alone.node.state == "presumed dead" and link in alone.closed
    assert str(alone.node.refusal(write=True)).startswith("LOADING")
    assert alone.node.refusal(write=False) is None
    alone.run(10)
    assert alone.node.state == "waiting" and alone.dialled == ["127.0.0.1:50"]


def test_only_a_member_can_say_that_we_are_dead() -> None:
    alone = Alone()
    link = alone.link()
    alone.hear(link, Refuse("presumed dead", "", 0))
    assert alone.node.state == "serving" and link in alone.closed
    link = alone.link()
    alone.hear(link, alone.hello(99, vector=[(alone.node.replica.me, 0)]), Refuse("presumed dead", "", 0))
    assert alone.node.state == "serving"


def test_members_dial_each_other_and_a_gossip_is_answered() -> None:
    alone = Alone()
    link = alone.let_in(50)
    alone.hear(link, alone.gossip(50, 1))
    answers = [m for m in alone.said[link] if isinstance(m, Gossip) and m.answer]
    assert len(answers) == 1 and answers[0].replica == alone.node.replica.me
    alone.hear(link, alone.gossip(50, 2, answer=True))
    assert len([m for m in alone.said[link] if isinstance(m, Gossip) and m.answer]) == 1, "an answer is not answered"


def test_groups_that_began_apart_never_mix() -> None:
    group = Group(1)
    other = group.host("n9", 9)
    other.start(())
    group.hosts.append(other)
    mine, theirs = group[1].replica.group, group[2].replica.group
    assert mine != theirs
    group[1].dial(other.address)
    group.settle(1)
    group.run(500)
    assert group[1].linked == {} == group[2].linked
    assert any(fields.get("code") == "group" for fields in group.events("n1", "refused a link"))
    assert a_config("n", 1).cluster == "marmoset"
