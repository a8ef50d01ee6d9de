"""Leaving and coming back: a node that ends before all it kept is with the others says what is lost."""

from marmoset.codec.operations import Assign, SetAdd
from marmoset.replication.report import CHANGED
from tests.node.group import Group
from tests.node.test_rehabilitating import bury, closely, exile, holding, reported, value


def test_what_is_stopped_before_it_was_done_says_what_is_lost() -> None:
    group = Group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(3, SetAdd(b"u", [b"a"]))
    bury(group, 1, "n3")
    group.network.heal()
    closely(group, lambda: any(notice.event == "presumed dead" for _, notice in group.notices))
    group.cut(3)
    group.run(5000)
    assert group[3].state == "waiting" and group[3].status()["rehabilitating"] == 1
    group[3].leave()
    group.settle(3)
    assert group.exits["n3"].code == 1 and "1 operations" in group.exits["n3"].why


def test_asked_to_leave_while_it_submits_it_finishes_first() -> None:
    group = Group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    group.do(3, *(SetAdd(b"u", [b"%d" % number]) for number in range(5)))
    bury(group, 1, "n3")
    group[3].rehabilitating.submit_operations = 1
    group.network.heal()
    group.until(lambda: group[3].state == "rehabilitating")
    group[3].leave()
    group.settle(3)
    group.until(lambda: group.hosts[2].node is None)
    assert group.exits["n3"].code == 0
    group.until(group.is_at_rest)
    assert value(group[1], b"u") == value(group[2], b"u") == {b"0", b"1", b"2", b"3", b"4"}


def test_what_was_held_of_others_is_told_by_one_that_is_stopped_before_it_is_back() -> None:
    group = holding()
    group.network.heal()
    closely(group, lambda: any(notice.event == "presumed dead" for _, notice in group.notices))
    group.cut(5)
    group.run(5000)
    assert group[5].state == "waiting" and group[5].rehabilitating.operations_left == 0
    group[5].leave()
    group.settle(5)
    assert group.exits["n5"].code == 1 and "2 of others that perhaps nobody else has" in group.exits["n5"].why


def test_who_leaves_with_rows_in_its_report_says_them() -> None:
    group = Group(3)
    exile(group, SetAdd(b"u", [b"a"]), Assign(b"s", b"ours"), others=(Assign(b"s", b"theirs"),))
    assert reported(group[3]) == [("s", CHANGED)]
    group[3].leave()
    group.settle(3)
    group.until(lambda: group.hosts[2].node is None)
    assert group.exits["n3"].code == 0
    said = [(name, notice.fields["key"]) for name, notice in group.notices if notice.event == "not submitted"]
    assert said == [("n3", "s")]
