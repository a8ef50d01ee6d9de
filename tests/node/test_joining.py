"""Joining and sponsoring: through any member, under a name that is taken, and when one side is lost in the middle."""

import pytest
from msgspec.structs import replace as replaced

from marmoset.codec.messages import AnyMessage, CaughtUp, Refuse, SnapshotBegin, SnapshotEnd, SnapshotProgress
from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Bury,
    Inside,
    Join,
    MapAssign,
    ScoreAssign,
    SequenceInsert,
    SetAdd,
)
from marmoset.errors import UsageError
from marmoset.node import Node, joining, sponsoring
from marmoset.sim.network import Conditions
from marmoset.sim.specification import plain
from tests.node.group import Alone, Group, HandTime, a_config


def test_a_node_without_addresses_begins_a_group_and_says_so() -> None:
    alone = Alone()
    assert alone.node.state == "serving" and alone.node.replica.group
    assert alone.events("began a new group") and alone.events("serving")
    assert alone.node.refusal(write=True) is None


def test_a_new_group_where_others_can_reach_it_needs_to_be_asked_for() -> None:
    from dataclasses import replace
    from random import Random

    config = replace(a_config("n1", 7001), bind="10.0.0.5")
    with pytest.raises(UsageError, match="--new-group"):
        Node(config, HandTime(), Random(1)).start()
    node = Node(replace(config, new_group=True), HandTime(), Random(1))
    node.start()
    assert node.state == "serving"


def test_a_join_list_of_nobody_but_oneself_begins_no_group_unless_that_is_said() -> None:
    itself, other = "127.0.0.1:7001", "127.0.0.1:7009"
    with pytest.raises(UsageError, match="nobody but this node itself, 127.0.0.1:7001.*--new-group"):
        Alone(join=(itself,))
    assert Alone(join=(itself,), new_group=True).node.state == "serving"
    assert Alone(join=(itself, other)).dialled == [other]
    assert Alone(join=(itself, other), bootstrap_expect=2).node.state == "waiting"


def test_a_node_that_has_not_joined_answers_loading() -> None:
    alone = Alone(join=("127.0.0.1:7009",))
    for write in (True, False):
        assert str(alone.node.refusal(write)).startswith("LOADING")
    alone.node.handle_dial_failed("127.0.0.1:7009", "refused")
    alone.take()
    assert alone.events("join address does not answer, still trying")[0]["address"] == "127.0.0.1:7009"
    alone.run(30_000)
    assert alone.dialled.count("127.0.0.1:7009") >= 2


def test_an_address_that_answered_is_not_said_to_give_no_answer() -> None:
    alone = Alone(join=("127.0.0.1:7009",))
    alone.node.handle_dial_failed("127.0.0.1:7009", "no key in common", answered=True)
    alone.take()
    (said,) = alone.events("join address cannot be used, still trying")
    assert said["problem"] == "no key in common"
    assert not alone.events("join address does not answer, still trying")


def test_addresses_are_tried_one_after_another() -> None:
    addresses = ("127.0.0.1:7008", "127.0.0.1:7009")
    alone = Alone(join=(*addresses, "127.0.0.1:7001"))  # the last is its own
    for _ in range(4):
        alone.node.handle_dial_failed(alone.dialled[-1], "refused")
        alone.run(6000)
    assert alone.dialled[:4] == [*addresses, *addresses]


def test_whoever_is_refused_tries_again_with_growing_pauses() -> None:
    group = Group(2, replicas_max=2)
    group.start_one("n3")
    group.run(60_000)
    refused = group.events("n3", "not let in")
    assert {fields["code"] for fields in refused} == {"full"} and 10 <= len(refused) <= 30


def test_an_address_that_takes_the_link_and_does_not_greet_is_soon_left_for_the_next() -> None:
    clients_port, other = "127.0.0.1:6379", "127.0.0.1:7009"
    alone = Alone(join=(clients_port, other))
    alone.link(clients_port)
    alone.run(2500)
    assert alone.dialled == [clients_port] and not alone.closed
    alone.run(1500)
    assert alone.dialled == [clients_port, other] and alone.closed
    (said,) = alone.events("join address cannot be used, still trying")
    assert said["address"] == clients_port and "gossip_port" in str(said["problem"])


def test_whoever_is_given_nothing_but_itself_goes_on_trying() -> None:
    itself = "localhost:7001"
    alone = Alone(join=(itself, itself))
    for _ in range(3):
        link = alone.link(itself)
        alone.hear(link, alone.hello(alone.node.replica.me))
        alone.run(3000)
    assert alone.dialled == [itself] * 4


@pytest.mark.parametrize("through", [1, 2, 3])
def test_joining_through_any_member(through: int) -> None:
    group = Group(3)
    group.do(1, Assign(b"k", b"v"), SetAdd(b"s", [b"x"]))
    group.run(200)
    group.start_one(join=(group.hosts[through - 1].address,))
    group.until(group.is_whole)
    assert group.values() == [b"v"] * 4 and group.values(b"s") == [{b"x"}] * 4
    group.until(group.is_at_rest)
    group.check()


LONG = b"x" * 60_000


@pytest.mark.parametrize(
    "operations",
    [
        [MapAssign(b"k", [b"%d" % i, LONG]) for i in range(120)],
        [SetAdd(b"k", [b"%d" % i + LONG]) for i in range(120)],
        [ScoreAssign(b"k", [b"%d" % i + LONG, i]) for i in range(120)],
        [SequenceInsert(b"k", None, None if i == 0 else (1, i), [LONG]) for i in range(120)],
        [Inside(b"k", [b"%d" % i], SetAdd(b"", [LONG])) for i in range(120)],
    ],
    ids=["hash", "set", "zset", "list", "nested"],
)
def test_a_collection_may_be_larger_than_any_batch(operations: list[AnyOperation]) -> None:
    """Each element is a batch of its own; in a snapshot they come in as many messages as that takes."""
    group = Group(1, batch_bytes_max=64 << 10)
    me = group[1].replica.me
    for operation in operations:
        if isinstance(operation, SequenceInsert) and operation.right is not None:
            operation = SequenceInsert(b"k", None, (me, operation.right[1]), operation.values)
        group.do(1, operation)
    group.start_one()
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    first, second = map(plain, group.values())
    assert first == second and len(first) == 120  # type: ignore[arg-type]


def test_a_string_that_is_not_stable_may_be_as_large_as_a_batch() -> None:
    """Its window has it twice more, and cannot be cut; it stays as long as somebody is cut off."""
    group = Group(2, batch_bytes_max=4 << 20)
    group.cut(2)
    group.write(1, b"x" * ((4 << 20) - 100))
    newcomer = group.start_one(join=(group.hosts[0].address,))
    group.until(lambda: newcomer.is_serving)
    assert group[3].replica.keyspace.get(b"k") == group[1].replica.keyspace.get(b"k")


def test_several_join_at_once_while_the_group_is_written_to() -> None:
    group = Group(2)
    for i in range(300):
        group.write(1, b"x" * 100, b"%d" % i)
    for _ in range(3):
        group.start_one()
    for i in range(60):
        group.write(1 + i % 2, b"%d" % i)
        group.run(5)
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    assert len(set(group.values())) == 1 and all(len(node.replica.keyspace) == 301 for node in group.nodes())


def test_a_restart_under_the_same_name_buries_the_predecessor_without_waiting() -> None:
    group = Group(3)
    group.write(1, b"v")
    old = group[3].replica.me
    group.run(500)
    group.hosts[2].crash()
    group.write(2, b"meanwhile")
    group.hosts[2].start((group.hosts[0].address,))
    took = group.until(group.is_whole)
    assert took < 8000
    assert group.values() == [b"meanwhile"] * 3
    group.until(group.is_at_rest)
    assert all(old in node.replica.roster.graves and old not in node.replica.seen for node in group.nodes())
    assert group.events("n1", "buried the predecessor of a newcomer")
    group.check()


def test_a_restart_under_the_same_name_has_the_patience_that_long_intervals_take() -> None:
    group = Group(3, gossip_interval=3000)
    group.hosts[2].crash()
    group.run(20_000)
    group.start_one("n3")
    group.until(group.is_whole, within_ms=120_000)
    assert not group.events("n3", "no progress while joining, beginning again")


def test_a_restart_with_only_half_of_the_members_left_needs_an_operator() -> None:
    group = Group(2)
    group.hosts[1].crash()
    group.hosts[1].start((group.hosts[0].address,))
    group.run(8000)
    assert group[2].state == "waiting"
    assert any(fields["code"] == "majority" for fields in group.events("n2", "not let in"))
    group[1].bury("n2", force=True)
    group.settle(1)
    group.until(group.is_whole)
    group.until(group.is_at_rest)


def test_those_who_accept_the_risk_restart_without_a_majority() -> None:
    group = Group(2, presumed_dead_quorum="one")
    group.hosts[1].crash()
    group.hosts[1].start((group.hosts[0].address,))
    group.until(group.is_whole)
    group.until(group.is_at_rest)


def test_a_second_node_of_a_name_gives_up_and_the_first_goes_on() -> None:
    group = Group(3, join_timeout=3000)
    twin = group.start_one("n3")
    group.until(lambda: "n3" in group.exits)
    assert twin.node is None and group.exits["n3"].code == 1 and "in use" in group.exits["n3"].why
    group.hosts.pop()
    assert group.is_whole()
    group.until(group.is_at_rest)


def test_two_newcomers_of_one_name_are_not_both_let_in() -> None:
    alone = Alone(presumed_dead_quorum="one")
    member = alone.let_in(50)
    alone.node.handle_closed(member)
    one, two = alone.link(), alone.link()
    alone.hear(one, alone.newcomer(51))
    alone.hear(two, alone.newcomer(52))
    alone.run(3000)
    refusals = [m.code for m in alone.said[two] if isinstance(m, Refuse)]
    assert refusals == ["not yet"]
    assert any(isinstance(m, SnapshotBegin) for m in alone.said[one])
    assert [m.replica for m in alone.node.replica.roster.by_name("n2")] == [51]


def test_a_newcomer_that_is_lost_before_it_is_born_is_buried_by_its_sponsor_alone() -> None:
    alone = Alone()
    link = alone.let_in(50, born=False)
    assert alone.node.replica.roster.state(50) == "unborn"
    alone.node.handle_closed(link)
    alone.take()
    alone.run(2000)
    assert 50 not in alone.node.replica.roster.members and 50 in alone.node.replica.roster.graves
    assert alone.node.replica.is_at_rest


def test_a_member_that_is_born_is_not_buried_when_its_link_is_lost() -> None:
    alone = Alone()
    link = alone.let_in(50)
    alone.node.handle_closed(link)
    alone.run(2000)
    assert alone.node.replica.roster.present() == sorted([50, alone.node.replica.me])


def filled_slowly(members: int = 2) -> Group:
    """The last host is in the middle of its snapshot."""
    group = Group(members)
    for i in range(400):
        group.write(1, b"x" * 2000, b"key%d" % i)
    group.until(group.is_at_rest)
    group[1].snapshot_step_elements = 5
    group.network.conditions = Conditions(latency_us_min=20_000, latency_us_max=20_000, window_bytes=4096)
    group.start_one(join=(group.hosts[0].address,))
    group.until(lambda: group[members + 1].state == "joining")
    sink = group[members + 1].joining.sink
    assert sink is not None and not sink.ended
    return group


def test_a_newcomer_folds_and_forgets_nothing_before_it_is_complete() -> None:
    group = Group(2)
    group.network.conditions = Conditions(latency_us_min=20_000, latency_us_max=20_000, window_bytes=4096)
    for i in range(200):
        group.write(1, b"x" * 2000, b"key%d" % i)
    group[1].fold_pace.least = group[1].fold_pace.most = 0
    group.until(lambda: len(group[1].replica.folding) > 0)  # stable, not yet folded: part of the log of a join
    group[1].snapshot_step_elements = 5
    group.start_one(join=(group.hosts[0].address,))
    group.until(lambda: group[3].state == "joining" and bool(group[3].replica.log.entries))
    newcomer = group[3]
    newcomer.replica.keyspace.garbage.put_table({b"of an": b"earlier attempt"})
    group.until(lambda: not newcomer.replica.keyspace.garbage)
    group[1].fold_pace.least = group[1].fold_pace.most = 2000
    while newcomer.state == "joining":
        assert newcomer.replica.counters["batches_folded"] == newcomer.replica.counters["forgotten"] == 0
        group.run(1)
    group.until(group.is_whole)
    group.until(group.is_at_rest)


def test_a_newcomer_that_dies_in_the_middle_leaves_nothing_behind() -> None:
    group = filled_slowly()
    group.hosts[2].crash()
    group.hosts.pop()
    group.network.conditions = Conditions()
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    assert len(group[1].replica.roster.graves) == 1


def test_a_sponsor_that_dies_in_the_middle_costs_the_newcomer_a_second_attempt() -> None:
    group = filled_slowly(3)
    first_id = group[4].replica.me
    group.hosts[0].crash()
    group.network.conditions = Conditions()
    group.hosts[3].node.joining.addresses[:] = [group.hosts[1].address]  # type: ignore[union-attr]
    group.until(lambda: group.hosts[3].is_serving)
    assert group.events("n4", "lost the sponsor while joining, beginning again")
    assert group[4].replica.me != first_id
    group.hosts[0].start((group.hosts[1].address,))
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    graves = [sorted(node.replica.roster.graves) for node in group.nodes()]
    assert first_id in graves[0], "the unborn is buried with its sponsor"
    assert graves[0] == graves[1] == graves[2] == graves[3]
    assert len(group[4].replica.keyspace) == 400
    group.check()


def test_a_sponsor_that_hangs_is_given_up_even_when_its_snapshot_has_come() -> None:
    """Nothing closes the link: only the silence of the sponsor tells."""
    alone = Alone(join=("127.0.0.1:7009",), join_timeout=3000)
    sponsor = Alone("n9")
    link = alone.link("127.0.0.1:7009")
    theirs = sponsor.link()
    sponsor.hear(theirs, *alone.said[link])
    sponsor.run(50)
    heard = sponsor.said[theirs]
    end = next(i for i, message in enumerate(heard) if isinstance(message, SnapshotEnd))
    alone.hear(link, *heard[: end + 1])
    assert alone.node.state == "joining" and alone.node.joining.sink is not None and alone.node.joining.sink.ended
    alone.run(10_000)
    assert link in alone.closed and alone.node.state == "joining", "it may be born, and nobody can tell yet"
    assert alone.events("no progress while joining, beginning again")
    alone.run(10_000)
    assert alone.node.state == "waiting"
    assert alone.events("nobody knows of the birth, beginning again")


def test_a_newcomer_that_falls_silent_is_given_up_by_its_sponsor() -> None:
    """Its machine has lost power: nothing closes the link, and it would hold the frontier until TCP gives up."""
    alone = Alone(join_timeout=3000)
    alone.let_in(50, born=False)
    alone.run(2000)
    assert 50 in alone.node.replica.roster.present()
    alone.run(2000)
    assert alone.events("no sign of life from a newcomer, giving it up")
    assert 50 in alone.node.replica.roster.buried or 50 in alone.node.replica.roster.graves


def test_a_newcomer_that_takes_long_and_says_so_is_waited_for() -> None:
    alone = Alone(join_timeout=3000)
    link = alone.let_in(50, born=False)
    for turn in range(10):
        alone.run(2000)
        alone.hear(link, SnapshotProgress(turn, turn))
    assert 50 in alone.node.replica.roster.present() and link not in alone.closed


def test_progress_from_somebody_who_is_not_filled_is_a_fault_of_the_peer() -> None:
    alone = Alone()
    link = alone.link()
    alone.hear(link, SnapshotProgress(1, 1))
    assert link in alone.closed and alone.node.counters["messages_bad"] == 1


@pytest.mark.interpreted
def test_both_sides_say_how_far_a_snapshot_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (joining, sponsoring):
        monkeypatch.setattr(module, "PROGRESS_MS", 500)
    group = filled_slowly()
    group.until(lambda: bool(group[3].status()["snapshot_in_keys"] and group.events("n1", "sending a snapshot")))
    there, here = group[1].status(), group[3].status()
    assert 0 < int(here["snapshot_in_keys"]) <= int(there["snapshot_out_keys"]) < 400
    assert here["snapshot_in_of"] == there["snapshot_out_of"] == 400
    assert 2000 < int(here["snapshot_in_bytes"]) <= int(there["snapshot_out_bytes"])
    group.until(lambda: bool(group.events("n3", "receiving a snapshot")))
    group.network.conditions = Conditions()
    group.until(group.is_whole)
    assert group[1].status()["snapshot_out_keys"] == 0 == group[3].status()["snapshot_in_keys"]
    assert group.events("n3", "snapshot received")[0]["keys"] == 400
    assert group.events("n1", "snapshot sent")[-1]["keys"] == 400


@pytest.mark.parametrize("split_above", [16, 10_000])
def test_a_snapshot_that_is_cut_off_behind_any_message_is_begun_again_and_never_served(split_above: int) -> None:
    sponsor = Alone("n9", split_above=split_above)
    sponsor.node.snapshot_step_elements = 8
    sponsor.node.replica.submit(SetAdd(b"set", [b"%d" % i for i in range(100)]))
    sponsor.node.replica.submit(SequenceInsert(b"list", None, None, [b"%d" % i for i in range(100)]))
    for i in range(20):
        sponsor.node.replica.submit(Assign(b"%d" % i, b"v"))
    sponsor.node.end_turn()
    alone = Alone(join=("127.0.0.1:7009",), split_above=split_above, reconnect_max=2000)
    cut = complete = 0
    while not complete:
        link = alone.link("127.0.0.1:7009")
        theirs = sponsor.link()
        sponsor.hear(theirs, *alone.said[link])
        sponsor.run(200)
        heard = sponsor.said[theirs]
        end = next(i for i, message in enumerate(heard) if isinstance(message, SnapshotEnd))
        alone.hear(link, *heard[: cut + 1])
        assert alone.node.state in ("waiting", "joining")
        assert str(alone.node.refusal(write=False)).startswith("LOADING")
        complete = cut == end
        if not complete:
            alone.node.handle_closed(link)
            sponsor.node.handle_closed(theirs)
            alone.take()
            sponsor.take()
            assert alone.node.state == "waiting" and len(alone.node.replica.keyspace) == 0
            assert not any(slots.readings for slots in sponsor.node.replica.keyspace.shards)
            alone.run(3000)
            sponsor.run(2800)
            cut += 1
    assert cut > 6
    assert len(alone.node.replica.keyspace) == 22 and len(alone.node.replica.keyspace.get(b"list")) == 100  # type: ignore[arg-type]
    alone.node._check()


def test_a_sponsor_that_leaves_buries_whom_it_has_not_brought_to_birth() -> None:
    group = filled_slowly(3)
    first_id = group[4].replica.me
    group[1].leave()
    group.settle(1)
    group.network.conditions = Conditions()
    group.until(lambda: "n1" in group.exits)
    assert group.exits["n1"].code == 0
    group.hosts[3].crash()  # it does not come back: a second attempt would have its predecessor buried
    group.until(group.is_whole)
    group.until(group.is_at_rest)
    assert all(first_id in node.replica.roster.graves for node in group.nodes())


def test_a_newcomer_that_others_bury_while_it_is_filled_is_sent_away() -> None:
    alone = Alone()
    member = alone.let_in(60, "n3")
    for i in range(3000):
        alone.node.replica.submit(Assign(b"%d" % i, b"v"))
    alone.node.end_turn()
    alone.take()
    link = alone.link()
    alone.hear(link, alone.newcomer(50))
    alone.node.handle_paused(link)
    alone.hear(member, alone.batch(60, [Bury(50)]))
    for _ in range(3):
        alone.hear(member, alone.report(60))
        alone.run(1000)
    assert 50 not in alone.node.replica.roster.members, "buried, and forgotten"
    alone.node.handle_resumed(link)
    alone.run(1000)
    assert [m.code for m in alone.said[link] if isinstance(m, Refuse)] == ["not yet"]
    assert link in alone.closed


def test_whoever_is_leaving_lets_nobody_in_any_more() -> None:
    alone = Alone(presumed_dead_quorum="one")
    alone.let_in(60, "n3")
    member = alone.let_in(50)
    alone.node.handle_closed(member)
    link = alone.link()
    alone.hear(link, alone.newcomer(51))  # waits, since its predecessor is asked first
    alone.node.leave()
    alone.take()
    alone.run(4000)
    assert [m.code for m in alone.said[link] if isinstance(m, Refuse)] == ["not yet"]
    last = list(alone.node.replica.log.entries.values())[-1]
    assert not any(isinstance(operation, Join) for operation in last.operations), "its leave is its last operation"
    assert 51 not in alone.node.replica.roster.members


def test_the_unborn_are_buried_with_their_sponsor_in_one_batch() -> None:
    alone = Alone()
    member = alone.let_in(60, "n3")
    alone.hear(member, alone.batch(60, [Join(70, "n4", "127.0.0.1:7004")]))
    assert alone.node.replica.roster.state(70) == "unborn"
    alone.node.bury("n3", force=True)
    last = list(alone.node.replica.log.entries.values())[-1]
    assert last.operations == [Bury(60), Bury(70)]


def test_whoever_was_presumed_dead_meanwhile_lets_nobody_in_any_more() -> None:
    alone = Alone(presumed_dead_quorum="one")
    other, member = alone.let_in(60, "n3"), alone.let_in(50)
    alone.node.handle_closed(member)
    link = alone.link()
    alone.hear(link, alone.newcomer(51))
    alone.hear(other, Refuse("presumed dead", "", 1))
    alone.run(4000)
    assert [m.code for m in alone.said[link] if isinstance(m, Refuse)] == ["not yet"]
    assert 51 not in alone.node.replica.roster.members


# -- a sponsor whose clock was wrong while it was alone


def test_who_stamps_far_ahead_lets_nobody_in_before_the_newcomers_clock_is_near() -> None:
    """A clock that was wrong while its node was alone is slewed back: what it stamps meanwhile leads no other clock."""
    group = Group(1)
    sponsor = group.hosts[0]
    sponsor.time.skew_ms = 30_000
    group.write(1, b"from the future")
    sponsor.time.skew_ms = 0
    newcomer = group.start_one()
    assert newcomer.node is not None
    group.run(5000)
    assert newcomer.node.state == "waiting" and group[1].counters["joins"] == 0, "a join would have to be buried"
    assert {refused["code"] for refused in group.events("n1", "refused a link")} == {"clock"}
    assert {refused["code"] for refused in group.events("n2", "not let in")} == {"clock"}
    group.until(group.is_whole)
    assert group.values() == [b"from the future"] * 2
    assert newcomer.node.clock_ms() - newcomer.time.wall_ms() <= 2 * newcomer.config.clock_skew_max
    group.write(1, b"w")
    group.until(lambda: group.values() == [b"w"] * 2)
    for name in ("n1", "n2"):
        assert not any(link["reason"] == "stamps from the future" for link in group.events(name, "refused a link"))


@pytest.mark.parametrize("lead_ms", [19_000, 21_000, 1 << 40])
def test_a_snapshot_from_the_future_does_not_lead_the_clock_of_a_newcomer(lead_ms: int) -> None:
    alone, sponsor = Alone(join=("127.0.0.1:7009",)), Alone("n9")
    link, theirs = alone.link("127.0.0.1:7009"), sponsor.link()
    sponsor.hear(theirs, *alone.said[link])
    sponsor.run(50)
    hello, begin, *rest = sponsor.said[theirs]
    assert isinstance(begin, SnapshotBegin)
    alone.hear(link, hello, replaced(begin, stamp=alone.time.wall + lead_ms << 16), *rest)
    is_near = lead_ms < 2 * alone.config.clock_skew_max
    assert is_near == (alone.node.state == "joining") == (link not in alone.closed)
    assert is_near == (alone.node.clock_ms() >= alone.time.wall + lead_ms)
    if not is_near:
        assert [m.code for m in alone.said[link] if isinstance(m, Refuse)] == ["clock"]
        assert [said["code"] for said in alone.events("cannot join")] == ["clock"]
        assert not alone.node.clock_ms() and not alone.node.replica.roster.members
        alone.run(5000)
        assert alone.dialled == ["127.0.0.1:7009"] * 2, "it tries again"


@pytest.mark.parametrize("message", [SnapshotEnd(), SnapshotProgress(1, 1), CaughtUp()])
def test_what_comes_before_a_snapshot_has_begun_is_a_fault_of_the_peer(message: AnyMessage) -> None:
    alone, sponsor = Alone(join=("127.0.0.1:7009",)), Alone("n9")
    link, theirs = alone.link("127.0.0.1:7009"), sponsor.link()
    sponsor.hear(theirs, *alone.said[link])
    sponsor.run(50)
    alone.hear(link, sponsor.said[theirs][0], message)
    assert link in alone.closed and alone.node.counters["messages_bad"] == 1
    assert alone.node.joining.sink is None and alone.node.state == "waiting"
