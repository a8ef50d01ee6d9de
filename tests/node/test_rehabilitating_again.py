"""The return of one that is buried once more in the middle of it, or whose last sponsor is: nothing twice, or lost."""

from marmoset.codec.messages import Refuse
from marmoset.codec.operations import AnyOperation, Increment, SequenceRemove, SetAdd
from marmoset.ids import Dot
from marmoset.replication.report import CHANGED, NOT_HERE
from tests.node.group import Group
from tests.node.test_rehabilitating import bury, closely, come_back, everywhere, pop, push, reported, value


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


def with_much_to_submit() -> Group:
    """The third was cut off and is buried; among much else it has removed an element of the group with one of its own,
    and the others have removed from that list as well."""
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
    return group


def test_what_a_node_did_to_its_own_elements_is_done_again_where_the_first_attempt_was_buried_too() -> None:
    """The attempt that is lost has put what it withholds into the report, and with it done the rest."""
    group = with_much_to_submit()
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


def test_what_a_node_did_to_its_own_elements_is_not_done_again_where_the_group_has_it() -> None:
    """`churn` 410376 of the simulator."""
    group = with_much_to_submit()
    removals: list[Dot] = []

    def listen(operation: AnyOperation, dot: Dot, stamp: int) -> None:
        if isinstance(operation, SequenceRemove):
            removals.append(dot)

    group[3].replica.listener = listen
    group.network.heal()
    group.until(lambda: len(reported(group[3])) > 0 and value(group[1], b"l") == [b"b", b"y", b"z"])
    assert group[3].state == "rehabilitating" and len(removals) == 1
    group.hosts[2].stop()
    bury(group, 1, "n3")
    group.hosts[2].go_on()
    come_back(group)
    assert reported(group[3]) == [("l", CHANGED)] and everywhere(group, b"n") == 300
    assert everywhere(group, b"l") == [b"b", b"y", b"z"] and len(removals) == 1


def test_what_a_removal_did_beside_elements_that_the_group_does_not_have_is_done_again() -> None:
    group = Group(5)
    push(group, 1, b"l", b"a", b"b")
    group.until(group.is_at_rest)
    group.cut(4, 5)
    push(group, 4, b"l", b"x", b"y")
    group.until(lambda: value(group[5], b"l") == [b"a", b"b", b"x", b"y"])
    for number in range(300):
        group.do(5, Increment(b"n", 1))
        if number == 30:
            pop(group, 5, b"l", 1, 3)  # b, which is of the group, and x, which nobody there has
    group.hosts[3].stop()
    bury(group, 1, "n4", "n5")
    group[5].rehabilitating.submit_operations = 1
    group.network.heal()
    group.until(lambda: group[5].state == "rehabilitating")
    group.cut(5)  # before it comes to the list
    group.until(lambda: bool(reported(group[5])))
    assert group[5].state == "rehabilitating" and value(group[1], b"l") == [b"a", b"b"]
    group.hosts[4].stop()
    bury(group, 1, "n5")
    group.network.heal()
    group.hosts[4].go_on()
    group.until(lambda: group[5].is_member() and group[5].state == "serving" and value(group[1], b"n") == 300)
    assert value(group[1], b"l") == [b"a"] and ("l", NOT_HERE) in reported(group[5])


def test_those_that_are_left_bury_the_last_that_served_while_they_submit() -> None:
    """Their logs are full of what that one lacks, so that they could not go on before."""
    group = Group(3, log_budget=60_000, presumed_dead_after=20_000, budget_grace=5000)
    group.cut(1)
    group.network.cut([("n2", "n3"), ("n3", "n2")])
    for number in (2, 3):
        group[number].rehabilitating.submit_operations = 1
        for i in range(50):
            group.do(number, SetAdd(b"s%d" % number, [b"%d" % i + b"x" * 800]))
        group[1].bury(f"n{number}", force=True)
    group.settle(1)
    group.until(lambda: len(group[1].replica.roster.members) == 1)
    group.network.heal()
    group.hosts[2].stop()
    closely(group, lambda: group[2].state == "rehabilitating")
    group.hosts[1].stop()
    group.hosts[2].go_on()
    closely(group, lambda: group[3].state == "rehabilitating")
    group.hosts[1].go_on()
    for i in range(40):
        group.write(1, b"y" * 800, b"%d" % i)
    group.run(10)
    group.hosts[0].crash(silent=True)
    group.until(lambda: all(node.budget.is_used_up for node in group.nodes()))
    assert {node.state for node in group.nodes()} == {"rehabilitating"}
    group.until(lambda: group.is_whole() and group.is_at_rest(), 60_000)
    assert [len(value) for value in group.values(b"s2") + group.values(b"s3")] == [50] * 4  # type: ignore[arg-type]
    group.check()


def test_what_it_wrote_in_a_life_counts_as_its_own_once_it_was_done_with_the_one_before() -> None:
    group = Group(2)
    node, lives = group[2], []
    group.do(2, Increment(b"n", 1))
    for _ in range(3):
        lives.append(node.replica.me)
        exile = node.rehabilitating._keep(node.replica, Refuse("presumed dead", "it was", 1, lives[-1]))
        node.rehabilitating._exiles.append(exile)
        while exile.gather(node.replica, 100):
            pass
        if lives[-1] == lives[0]:
            assert exile.own and exile.keeps_own and not exile.former and not exile.attempts
        else:
            assert not exile.keeps_own and list(exile.former) == lives[:1] and exile.attempts == set(lives[1:-1])
        node.become_replica()
        node.replica.roster.graves.update(dict.fromkeys(lives, 1))
    node.rehabilitating._exiles[0].own.clear()  # all is submitted
    for number in (3, 4):
        exile = node.rehabilitating._keep(node.replica, Refuse("presumed dead", "it was", 1, node.replica.me))
        assert exile.keeps_own and list(exile.former) == lives[:number] and not exile.attempts
        lives.append(node.replica.me)
        node.become_replica()
        node.replica.roster.graves.update(dict.fromkeys(lives, 1))
