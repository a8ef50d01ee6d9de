"""The return of one that is buried once more in the middle of it: nothing twice, and nothing lost."""

from marmoset.codec.operations import Increment, SetAdd
from marmoset.replication.report import CHANGED
from tests.node.group import Group
from tests.node.test_rehabilitating import bury, come_back, everywhere, pop, push, reported, value


def test_one_that_is_buried_again_before_it_was_done_submits_nothing_twice() -> None:
    group = Group(3)
    group.until(group.is_at_rest)
    group.cut(3)
    for number in range(30):
        group.do(3, Increment(b"n", 1), SetAdd(b"u", [b"%d" % number]))
        push(group, 3, b"l", b"%d" % number)
    bury(group, 1, "n3")
    group[3].rehabilitating.submit_operations = 1
    group.network.heal()
    group.until(lambda: group[3].state == "rehabilitating")
    group.until(lambda: int(value(group[1], b"n") or 0) >= 5)  # type: ignore[call-overload]
    assert group[3].state == "rehabilitating" and group[3].refusal(write=False).startswith("LOADING")  # type: ignore[union-attr]
    group.cut(3)
    group.run(20)  # what is under way goes on into the void
    bury(group, 1, "n3")
    seen = int(value(group[1], b"n") or 0)  # type: ignore[call-overload]
    assert 5 <= seen <= 30
    come_back(group)
    assert everywhere(group, b"n") == 30 and len(everywhere(group, b"u")) == 30  # type: ignore[arg-type]
    assert everywhere(group, b"l") == [b"%d" % number for number in range(30)]


def test_what_a_node_did_to_its_own_elements_is_done_again_where_the_first_attempt_was_buried_too() -> None:
    """The attempt that is lost has put what it withholds into the report, and with it done the rest."""
    group = Group(3)
    push(group, 1, b"l", b"a", b"b")
    group.until(group.is_at_rest)
    group.cut(3)
    for number in range(300):
        group.do(3, Increment(b"n", 1))
        if number == 30:
            push(group, 3, b"l", b"x", b"y", b"z")
            pop(group, 3, b"l", 1, 3)  # b, which is of the group, and x
    pop(group, 1, b"l", 0, 1)
    bury(group, 1, "n3")
    group[3].rehabilitating.submit_operations = 1
    group.network.heal()
    group.until(lambda: group[3].state == "rehabilitating")
    group.cut(3)  # before it comes to the list
    group.until(lambda: bool(reported(group[3])))
    assert group[3].state == "rehabilitating"
    group.hosts[2].stop()
    bury(group, 1, "n3")
    group.network.heal()
    group.hosts[2].go_on()
    come_back(group)
    assert reported(group[3]) == [("l", CHANGED)]
    assert everywhere(group, b"n") == 300
    assert everywhere(group, b"l") == [b"b", b"y", b"z"], "x is removed, though it came under a name of its own again"
