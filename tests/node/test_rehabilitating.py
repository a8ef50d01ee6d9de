"""Nodes that were presumed dead come back: what they wrote is in the group or in their report, once."""

from collections.abc import Callable

import pytest

from marmoset.codec.operations import (
    AnyOperation,
    Assign,
    Expire,
    Flush,
    Increment,
    Inside,
    MapAssign,
    MapIncrement,
    MapRemove,
    Reset,
    SequenceAssign,
    SequenceInsert,
    SequenceRemove,
    SetAdd,
    SetRemove,
)
from marmoset.crdts.sequence import Sequence
from marmoset.node import Node
from marmoset.replication.report import CHANGED, FLUSHING, NEVER_MET, NOT_HERE, NOT_OURS, UNKNOWN
from tests.node.group import Group


def bury(group: Group, by: int, *names: str) -> None:
    """Presume members dead that were cut off for long enough."""
    group.run(8000)
    for name in names:
        group[by].bury(name, force=False)
    group.settle(by)
    members = group[by].replica.roster.members
    others = [node for node in group.nodes() if node.name not in names and node.replica.me in members]
    group.until(lambda: all(len(node.replica.roster.graves) >= len(names) for node in others))


def closely(group: Group, condition: Callable[[], bool]) -> None:
    """Let time pass until the very moment at which something holds."""
    for _ in range(300_000):
        if condition():
            return
        group.world.run_until(group.world.now_us + 100)
    raise AssertionError("it never held")


def come_back(group: Group) -> None:
    group.network.heal()
    group.until(lambda: group.is_whole() and group.is_at_rest())


def value(node: Node, key: bytes) -> object:
    found = node.replica.keyspace.get(key)
    return list(found) if isinstance(found, Sequence) else found


def everywhere(group: Group, key: bytes) -> object:
    values = [value(node, key) for node in group.nodes()]
    assert all(each == values[0] for each in values), values
    return values[0]


def reported(node: Node) -> list[tuple[object, object]]:
    return [(row["key"], row["reason"]) for row in (each.fields() for each in node.rehabilitating.report)]


def push(group: Group, number: int, key: bytes, *values: bytes, at: int | None = None) -> None:
    found = group[number].replica.keyspace.get(key)
    sequence = found if isinstance(found, Sequence) else Sequence()
    left, right = sequence.neighbours(len(sequence) if at is None else at)
    group.do(number, SequenceInsert(key, left, right, list(values)))


def pop(group: Group, number: int, key: bytes, start: int, stop: int) -> None:
    found = group[number].replica.keyspace.get(key)
    assert isinstance(found, Sequence)
    group.do(number, SequenceRemove(key, found.ranges(start, stop)))


def exile(group: Group, *operations: AnyOperation, others: tuple[AnyOperation, ...] = ()) -> None:
    """The third node writes while it is cut off, the others after that; it is buried, and comes back."""
    group.until(group.is_at_rest)
    group.cut(3)
    if operations:
        group.do(3, *operations)
    if others:
        group.do(1, *others)
    bury(group, 1, "n3")
    come_back(group)


def holding() -> Group:
    """The fifth holds what only the fourth wrote, which is gone; both were cut off and are buried."""
    group = Group(5)
    group.until(group.is_at_rest)
    group.cut(4, 5)
    group.do(4, Increment(b"n", 1), SetAdd(b"u", [b"a"]))
    group.until(lambda: value(group[5], b"n") == 1)
    group.hosts[3].crash(silent=True)
    bury(group, 1, "n4", "n5")
    return group


def test_what_nobody_else_has_touched_is_submitted_whatever_it_is() -> None:
    group = Group(3)
    group.do(1, SetAdd(b"u", [b"a", b"b"]), Assign(b"gone", b"1"), MapAssign(b"h", [b"f", b"1", b"g", b"2"]))
    group.until(group.is_at_rest)
    old = group[3].replica.me
    exile(
        group,
        SetAdd(b"u", [b"c"]),
        SetRemove(b"u", [b"a"]),
        Assign(b"s", b"new"),
        Reset(b"gone"),
        MapRemove(b"h", [b"f"]),
        MapIncrement(b"h", b"g", 5),
        Increment(b"n", 3),
    )
    assert group[3].replica.me != old and group[3].name == "n3"
    assert everywhere(group, b"u") == {b"b", b"c"}
    assert everywhere(group, b"s") == b"new" and everywhere(group, b"gone") is None
    assert everywhere(group, b"h") == {b"g": 7}
    assert everywhere(group, b"n") == 3
    assert not len(group[3].rehabilitating.report)
    assert group[3].counters["rehabilitations"] == 1


def test_only_what_is_above_the_final_seq_is_submitted() -> None:
    group = Group(3)
    for _ in range(5):
        group.do(3, Increment(b"n", 1))
    group.until(group.is_at_rest)
    group.do(3, Increment(b"n", 10))
    closely(group, lambda: value(group[1], b"n") == value(group[2], b"n") == 15)
    group.cut(3)
    assert any(entry.origin == group[3].replica.me for entry in group[3].replica.log.entries.values())
    group.do(3, Increment(b"n", 100))
    bury(group, 1, "n3")
    come_back(group)
    assert everywhere(group, b"n") == 115


def test_a_batch_comes_back_as_one_batch() -> None:
    group = Group(3)
    exile(group, SetAdd(b"u", [b"a"]), Increment(b"n", 1), Assign(b"s", b"x"))
    assert group[3].replica.counters["batches_local"] == 4, "birth, exile, birth, return"


def test_overwrites_and_removals_give_way_to_others_and_are_reported() -> None:
    group = Group(3)
    group.do(1, SetAdd(b"u", [b"a", b"b"]), Assign(b"s", b"old"), Assign(b"t", b"old"), Assign(b"n", b"1"))
    exile(
        group,
        SetRemove(b"u", [b"b"]),
        SetAdd(b"u", [b"c"]),
        Assign(b"s", b"ours"),
        Reset(b"t"),
        Increment(b"n", 7),
        others=(SetRemove(b"u", [b"a"]), Assign(b"s", b"theirs"), Reset(b"t"), Assign(b"n", b"100")),
    )
    assert everywhere(group, b"u") == {b"b", b"c"}, "the add is there, the removal is not, and nothing came back"
    assert everywhere(group, b"s") == b"theirs" and everywhere(group, b"n") == 107
    assert everywhere(group, b"t") is None, "both removed it"
    assert reported(group[3]) == [("u", CHANGED), ("s", CHANGED)]
    assert not len(group[1].rehabilitating.report)


def test_what_others_added_is_not_taken_by_an_overwrite_that_never_saw_it() -> None:
    group = Group(3)
    group.do(1, SetAdd(b"u", [b"a"]), Assign(b"n", b"1"))
    exile(
        group,
        Reset(b"u"),
        Assign(b"n", b"50"),
        others=(SetAdd(b"u", [b"fresh"]), Increment(b"n", 1)),
    )
    assert everywhere(group, b"u") == {b"a", b"fresh"} and everywhere(group, b"n") == 2
    assert reported(group[3]) == [("u", CHANGED), ("n", CHANGED)]


def test_what_is_not_stable_yet_counts_too() -> None:
    group = Group(3, gossip_interval=3000, unreachable_after=7000)
    group.do(1, Assign(b"s", b"old"))
    group.until(group.is_at_rest, 60_000)
    group.cut(3)
    group.do(3, Assign(b"s", b"ours"))
    group.run(8000)
    bury(group, 1, "n3")
    group.network.heal()
    closely(group, lambda: group[3].state == "joining")
    group.do(2, Assign(b"s", b"theirs"))
    closely(group, lambda: group[3].state == "serving")
    assert not group[3].replica.is_at_rest, "nothing was folded here since"
    group.until(group.is_at_rest, 60_000)
    assert everywhere(group, b"s") == b"theirs" and reported(group[3]) == [("s", CHANGED)]


@pytest.mark.parametrize(("seen", "unseen"), [(2, 3), (3, 2)])
def test_of_two_concurrent_overwrites_the_one_that_was_seen_does_not_hide_the_other(seen: int, unseen: int) -> None:
    """Two overwrite at the same time; n4 has seen what one of them did, and the others write that down last."""
    group = Group(4)
    group.until(group.is_at_rest)
    names = ["n1", "n2", "n3", "n4"]
    apart = {f"n{seen}", "n4"}
    group.network.cut([(a, b) for a in names for b in names if (a in apart) != (b in apart)])
    group.do(seen, Assign(b"s", b"seen"))
    group.do(unseen, Assign(b"s", b"unseen"))
    group.until(lambda: value(group[4], b"s") == b"seen")
    group.network.heal()
    group.cut(4)
    group.until(lambda: value(group[1], b"s") == value(group[2], b"s") == value(group[3], b"s") is not None)
    group.do(4, Assign(b"s", b"ours"))
    bury(group, 1, "n4")
    come_back(group)
    assert everywhere(group, b"s") != b"ours"
    assert reported(group[4]) == [("s", CHANGED)]


def test_insertions_go_behind_their_nearest_surviving_left_neighbour() -> None:
    group = Group(3)
    push(group, 1, b"l", b"a", b"b", b"c", b"d")
    group.until(group.is_at_rest)
    group.cut(3)
    push(group, 3, b"l", b"x", at=2)  # behind b
    push(group, 3, b"l", b"y", at=3)  # behind x
    push(group, 3, b"l", b"z", at=0)
    push(group, 3, b"l", b"w")  # behind d
    pop(group, 1, b"l", 1, 4)  # b, c and d are gone
    push(group, 1, b"l", b"e")
    bury(group, 1, "n3")
    come_back(group)
    assert everywhere(group, b"l") == [b"z", b"a", b"x", b"y", b"w", b"e"]
    assert not len(group[3].rehabilitating.report)


def test_what_a_node_did_to_its_own_elements_is_done_again_under_their_new_names() -> None:
    group = Group(3)
    push(group, 1, b"l", b"a", b"b")
    group.until(group.is_at_rest)
    group.cut(3)
    push(group, 3, b"l", b"x", b"y", b"z")
    found = group[3].replica.keyspace.get(b"l")
    assert isinstance(found, Sequence)
    group.do(3, SequenceAssign(b"l", found.id_at(3), b"Y"))
    pop(group, 3, b"l", 1, 3)  # b, which is of the group, and x
    pop(group, 1, b"l", 0, 1)
    bury(group, 1, "n3")
    come_back(group)
    assert everywhere(group, b"l") == [b"b", b"Y", b"z"], "x is removed, b is not, since the others have removed too"
    assert reported(group[3]) == [("l", CHANGED)]
    done = group[3].rehabilitating.replay([])
    group[3].end_turn()
    group.settle(3)
    group.until(group.is_at_rest)
    assert done == 1 and everywhere(group, b"l") == [b"Y", b"z"] and not len(group[3].rehabilitating.report)


def test_inside_maps() -> None:
    group = Group(3)
    group.do(1, Inside(b"h", [b"f", b"l"], SequenceInsert(b"", None, None, [b"a"])))
    group.until(group.is_at_rest)
    nested = group[3].replica.keyspace.get(b"h")
    first = nested.get(b"f").get(b"l").id_at(0)  # type: ignore[union-attr]
    exile(
        group,
        Inside(b"h", [b"f", b"l"], SequenceInsert(b"", first, None, [b"b"])),
        Inside(b"h", [b"f", b"u"], SetAdd(b"", [b"e"])),
        Inside(b"h", [b"f", b"u"], SetRemove(b"", [b"e"])),
    )
    inner = [node.replica.keyspace.get(b"h").get(b"f") for node in group.nodes()]  # type: ignore[union-attr]
    assert all(list(each.get(b"l")) == [b"a", b"b"] and each.get(b"u") is None for each in inner)  # type: ignore[union-attr, arg-type]


def test_flushall_is_left_to_the_operator() -> None:
    group = Group(3)
    group.do(1, Assign(b"s", b"1"))
    exile(group, Flush())
    assert everywhere(group, b"s") == b"1"
    assert reported(group[3]) == [("", FLUSHING)]
    assert group[3].rehabilitating.replay([row.id for row in group[3].rehabilitating.report]) == 1
    group[3].end_turn()
    group.settle(3)
    group.until(group.is_at_rest)
    assert everywhere(group, b"s") is None


def test_what_outgrew_the_memory_counts_as_changed() -> None:
    group = Group(3, rehabilitation_memory=2000)
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(3, Assign(b"s", b"ours"), Increment(b"n", 1))
    for number in range(20):
        group.do(1, Assign(b"k%d" % number, b"v"))
    bury(group, 1, "n3")
    group.until(lambda: group[1].replica.is_at_rest)
    come_back(group)
    assert everywhere(group, b"n") == 1
    assert reported(group[3]) == [("s", UNKNOWN)]
    group.cut(3)
    group.do(3, Assign(b"s", b"again"))
    bury(group, 1, "n3")
    come_back(group)
    assert everywhere(group, b"s") == b"again", "a later burial begins anew"


def test_a_newcomer_brings_the_memory_to_whoever_joins_by_it() -> None:
    group = Group(3)
    group.do(1, Assign(b"s", b"old"))
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(3, Assign(b"s", b"ours"))
    group.do(1, Assign(b"s", b"theirs"))
    bury(group, 1, "n3")
    group.until(lambda: group[1].replica.is_at_rest and group[2].replica.is_at_rest)
    assert list(group[1].replica.memory.ends(b"s"))
    group.start_one()
    group.until(lambda: group.hosts[3].is_serving)
    for number in (1, 2):
        group.hosts[number - 1].crash()
    group[4].bury("n1", force=True)
    group[4].bury("n2", force=True)
    group.settle(4)
    group.network.heal()
    address = group.hosts[3].address
    group[3].rehabilitating.begin(_link_to(group, 3), _refusal(group, 4, 3))
    group[3].rehabilitating._addresses = [address]
    group.settle(3)
    group.until(group.is_whole)
    assert everywhere(group, b"s") == b"theirs" and reported(group[3]) == [("s", CHANGED)]


def _link_to(group: Group, number: int):  # type: ignore[no-untyped-def]
    from marmoset.node.links import Link

    return Link(999, "", False, 1 << 20, 0)


def _refusal(group: Group, by: int, of: int):  # type: ignore[no-untyped-def]
    from marmoset.codec.messages import Refuse
    from marmoset.node.rehabilitating import proof

    return Refuse("presumed dead", "", *proof(group[by], group[of].replica.me, []))


def test_two_that_hold_each_others_writes_submit_each_their_own() -> None:
    group = Group(5)
    group.until(group.is_at_rest)
    group.cut(4, 5)
    group.do(4, Increment(b"n", 1), Assign(b"four", b"4"))
    group.do(5, Increment(b"n", 10), Assign(b"five", b"5"))
    group.until(lambda: value(group[4], b"n") == value(group[5], b"n") == 11)
    group.run(8000)
    group[1].bury("n4", force=False)
    group[1].bury("n5", force=False)
    group.settle(1)
    group.until(lambda: len(group[1].replica.roster.graves) == 2)
    come_back(group)
    assert everywhere(group, b"n") == 11 and everywhere(group, b"four") == b"4" and everywhere(group, b"five") == b"5"
    group.run(5000)
    assert not len(group[4].rehabilitating.report) and not len(group[5].rehabilitating.report)


def test_what_it_held_of_one_that_never_comes_back_is_reported_and_replayed_once() -> None:
    group = holding()
    come_back(group)
    assert value(group[1], b"n") is None
    rows = list(group[5].rehabilitating.report)
    assert [(row.name, row.reason) for row in rows] == [("n4", NOT_OURS)] * 2
    assert group[5].rehabilitating.replay([rows[0].id]) == 1
    group[5].end_turn()
    group.settle(5)
    group.until(lambda: value(group[1], b"n") == 1)
    assert group[1].replica.roster.claims.covers(rows[0].dot) and not group[1].replica.roster.claims.covers(rows[1].dot)
    group.hosts[4].node.rehabilitating.report.put(rows[0])  # type: ignore[union-attr]
    assert group[5].rehabilitating.replay([]) == 1, "what is claimed is not replayed again"
    group[5].end_turn()
    group.settle(5)
    group.until(group.is_at_rest)
    assert everywhere(group, b"n") == 1 and everywhere(group, b"u") == {b"a"}


def test_what_was_removed_of_somebody_who_was_buried_too_is_reported() -> None:
    """The group does not have those elements, and their origin may bring them: `everything` 440541 of the simulator."""
    group = Group(5)
    push(group, 1, b"l", b"a", b"b")
    group.until(group.is_at_rest)
    group.cut(4, 5)
    push(group, 4, b"l", b"x", b"y", b"z")
    group.until(lambda: value(group[5], b"l") == [b"a", b"b", b"x", b"y", b"z"])
    pop(group, 5, b"l", 1, 3)
    group.do(5, SequenceAssign(b"l", group[5].replica.keyspace.get(b"l").id_at(2), b"Z"))  # type: ignore[union-attr]
    group.hosts[3].stop()
    bury(group, 1, "n4", "n5")
    group.network.heal()
    group.until(lambda: group[5].counters["rehabilitations"] == 1 and value(group[1], b"l") == [b"a"])
    own = [row for row in group[5].rehabilitating.report if row.name == "n5"]
    assert [row.reason for row in own] == [NOT_HERE] * 2
    assert isinstance(own[0].operation, SequenceRemove) and [each[2] for each in own[0].operation.ranges] == [1]
    group.hosts[3].go_on()
    come_back(group)
    assert everywhere(group, b"l") == [b"a", b"x", b"y", b"z"]
    assert [row.reason for row in group[5].rehabilitating.report] == [NOT_HERE] * 2


def test_a_newcomer_of_the_exiled_brings_all_that_it_wrote() -> None:
    group = Group(5)
    group.until(group.is_at_rest)
    group.cut(4, 5)
    group.network.cut([(a, "n6") for a in ("n1", "n2", "n3")] + [("n6", a) for a in ("n1", "n2", "n3")])
    group.start_one("n6", (group.hosts[3].address,))
    group.until(lambda: group.hosts[5].is_serving)
    group.do(6, Increment(b"n", 5), Assign(b"six", b"6"))
    group.do(4, Increment(b"n", 1))
    group.until(lambda: value(group[4], b"n") == value(group[6], b"n") == 6)
    bury(group, 1, "n4", "n5")
    come_back(group)
    assert len(group.nodes()) == 6
    assert everywhere(group, b"n") == 6 and everywhere(group, b"six") == b"6"
    group.run(5000)
    assert all(not len(node.rehabilitating.report) for node in group.nodes())
    assert NEVER_MET


def test_wipe_drops_what_it_wrote_alone() -> None:
    group = Group(3, rejoin="wipe")
    exile(group, SetAdd(b"u", [b"a"]))
    assert everywhere(group, b"u") is None and not len(group[3].rehabilitating.report)


def test_where_the_name_is_taken_it_joins_under_another_submits_and_leaves() -> None:
    group = Group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(3, SetAdd(b"u", [b"a"]), Assign(b"s", b"ours"))
    group.do(1, Assign(b"s", b"theirs"))
    bury(group, 1, "n3")
    taker = group.host("n3", 9)
    taker.name = "taker"  # as the network has it, where n3 is cut off
    group.hosts.append(taker)
    taker.start((group.hosts[0].address,))
    group.until(lambda: taker.is_serving)
    group.network.heal()
    group.until(lambda: group.hosts[2].node is None)
    assert group.exits["n3"].code == 0
    group.until(lambda: group.is_whole() and group.is_at_rest())
    assert everywhere(group, b"u") == {b"a"} and everywhere(group, b"s") == b"theirs"
    said = [notice.fields for name, notice in group.notices if notice.event == "not submitted"]
    assert [(row["key"], row["reason"]) for row in said] == [("s", CHANGED)]
    assert any(notice.fields.get("name") == "n3~2" for _, notice in group.notices)


def test_both_that_have_buried_each_other_stay_as_they_are() -> None:
    group = Group(2)
    group.cut(2)
    group.do(1, Assign(b"a", b"1"))
    group.do(2, Assign(b"b", b"2"))
    group[1].bury("n2", force=True)
    group[2].bury("n1", force=True)
    group.settle(1)
    group.settle(2)
    group.run(3000)
    group.network.heal()
    group.run(20_000)
    assert group[1].state == group[2].state == "serving", "an operator decides"
    assert value(group[1], b"a") == b"1" and value(group[2], b"b") == b"2"


def test_strangers_that_know_its_gravestone_are_believed_by_one_that_is_alone() -> None:
    group = Group(4)
    group.until(group.is_at_rest)
    group.cut(4)
    group.do(4, SetAdd(b"u", [b"a"]))
    bury(group, 1, "n4")
    for number in (1, 2, 3):  # everybody that n4 knew is another replica by now
        host = group.hosts[number - 1]
        host.crash()
        group.run(2000)
        host.start((group.hosts[number % 3].address,))
        group.until(lambda: all(host.is_serving for host in group.hosts[:3]), 60_000)
        group.until(lambda: len(group[1].members()) == 3)
    come_back(group)
    assert everywhere(group, b"u") == {b"a"}


def test_without_a_gravestone_only_what_is_idempotent_is_submitted() -> None:
    group = Group(3, grave_memory=1)
    exile(group, SetAdd(b"u", [b"a"]), Increment(b"n", 1), Assign(b"s", b"x"))
    assert everywhere(group, b"u") == {b"a"} and everywhere(group, b"n") is None and everywhere(group, b"s") is None
    assert [key for key, _ in reported(group[3])] == ["n", "s"]


def test_one_that_was_alone_meanwhile_remembers_what_it_changed() -> None:
    group = Group(2)
    group.do(1, Assign(b"s", b"old"), Assign(b"t", b"old"))
    group.until(group.is_at_rest)
    group.cut(2)
    group.do(2, Assign(b"s", b"ours"), Assign(b"t", b"ours"))
    group[1].bury("n2", force=True)
    group.settle(1)
    group.until(lambda: len(group[1].replica.roster.graves) == 1 and not group[1].replica.keyspace.tracking)
    group.do(1, Assign(b"s", b"theirs"))
    assert group[1].replica.is_at_rest, "alone, nothing is logged"
    come_back(group)
    assert everywhere(group, b"s") == b"theirs" and everywhere(group, b"t") == b"ours"
    assert reported(group[2]) == [("s", CHANGED)]


def test_deadlines_come_back_with_their_keys() -> None:
    group = Group(3)
    group.do(1, Assign(b"s", b"1"), Assign(b"t", b"1"))
    deadline_ms = group.hosts[2].time.wall_ms() + 1_000_000
    exile(group, Expire(b"s", deadline_ms), Expire(b"t", deadline_ms), others=(Expire(b"t", deadline_ms - 5),))
    assert [node.replica.keyspace.deadline_ms(b"s") for node in group.nodes()] == [deadline_ms] * 3
    assert [node.replica.keyspace.deadline_ms(b"t") for node in group.nodes()] == [deadline_ms - 5] * 3
    assert reported(group[3]) == [("t", CHANGED)]


def test_rows_that_name_elements_which_the_group_never_had_are_replayed_without_harm() -> None:
    group = Group(5)
    push(group, 1, b"l", b"a")
    group.until(group.is_at_rest)
    group.cut(4, 5)
    push(group, 4, b"l", b"x", b"y")
    found = group[4].replica.keyspace.get(b"l")
    assert isinstance(found, Sequence)
    group.do(4, SequenceAssign(b"l", found.id_at(1), b"X"))
    pop(group, 4, b"l", 0, 2)
    group.until(lambda: value(group[5], b"l") == [b"y"])
    group.hosts[3].crash(silent=True)
    bury(group, 1, "n4", "n5")
    come_back(group)
    rows = list(group[5].rehabilitating.report)
    assert [type(row.operation) for row in rows] == [SequenceInsert, SequenceAssign, SequenceRemove]
    assert group[5].rehabilitating.replay([rows[1].id, rows[2].id]) == 2, "what they name was not inserted yet"
    group[5].end_turn()
    group.settle(5)
    group.until(group.is_at_rest)
    assert everywhere(group, b"l") is None, "a is removed"
    assert group[5].rehabilitating.replay([]) == 1
    group[5].end_turn()
    group.settle(5)
    group.until(group.is_at_rest)
    assert everywhere(group, b"l") == [b"x", b"y"]


def test_watched_keys_count_as_changed() -> None:
    from marmoset.keyspace import Watch

    group = Group(3)
    watch = Watch()
    group[3].replica.keyspace.watch(b"untouched", watch)
    exile(group)
    assert watch.touched


def test_nobody_is_believed_whom_the_node_has_buried_itself_nor_a_stranger_by_one_in_touch() -> None:
    group = Group(3)
    believes = group[1].rehabilitating.believes
    second, third = group[2].replica.me, group[3].replica.me
    assert believes(second) and not believes(0) and not believes(12345), "it is in touch with a majority"
    group.cut(1)
    group.run(8000)
    assert believes(12345), "it is alone"
    group[1].bury("n3", force=True)
    assert not believes(third) and believes(second)
